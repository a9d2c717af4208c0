"""An HTTP server that answers as no healthy service does; run in the node: ``odd_server.py FIRST_PORT [ADDRESS]``.

Each of ``BEHAVIOURS`` has a port of its own, FIRST_PORT and up in their order; `ready` is printed when all listen.
The limits of `?limit=1` let a login at level 20 get as far as its last request.
"""

import socket
import sys
import threading
import time

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def status(number, body=b"", only_with_login=False):
    answer = b"HTTP/1.1 %d Odd\r\nContent-Length: %d\r\n\r\n%s" % (number, len(body), body)

    def reply(client, request):
        client.sendall(OK if only_with_login and b"limit=1" not in request else answer)

    return reply


def says(data):
    return lambda client, _: client.sendall(data)


def endless(client, _):
    client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        client.sendall(b"x" * 65536)


def drip(client, _):
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        client.sendall(b"x")
        time.sleep(0.2)


def silent(client, _):
    while client.recv(4096):
        pass


BEHAVIOURS = {
    "well": status(200),
    "redirect": status(301),
    "who are you": status(401),
    "broken": status(500),
    "unavailable": status(503),
    "drained": status(503, b"DISABLED BY FILE"),
    "nonsense": says(b"220 mail.example ESMTP\r\n"),
    "nothing": says(b""),
    "half": says(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"),
    "endless": endless,
    "drip": drip,
    "silent": silent,
    "token refused": status(401, only_with_login=True),
    "policy": status(403, only_with_login=True),
    "rate": status(429, only_with_login=True),
}


def serve(listener, behave):
    while True:
        client, _ = listener.accept()
        threading.Thread(target=answer, args=(client, behave), daemon=True).start()


def answer(client, behave):
    request = b""
    try:
        while b"\r\n\r\n" not in request:
            request += client.recv(4096)
        behave(client, request)
    except OSError:
        pass
    finally:
        client.close()


def main(first, address="127.0.0.1"):
    for number, behave in enumerate(BEHAVIOURS.values()):
        listener = socket.create_server(
            (address, int(first) + number), family=socket.AF_INET6 if ":" in address else socket.AF_INET
        )
        threading.Thread(target=serve, args=(listener, behave), daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
