"""One HTTP request against servers that behave in every bad way."""

from __future__ import annotations

import errno
import re
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loopback import Authority, Handler, Server

from ocf_common import http_check
from ocf_common.certificate import describe
from ocf_common.connection_urls import HttpUrl, parse_http_url
from ocf_common.deadline import Deadline
from ocf_common.http_check import HttpAnswer, Tls, Unreachable, Unresolved, request
from ocf_common.outcomes import Attention, CheckFailed, Refused, Silent, WrongAnswer
from ocf_common.resolve import Unresolvable

Serve = Callable[..., Server]


def url_of(server: Server, scheme: str = "http", path: str = "/") -> HttpUrl:
    return HttpUrl(scheme, "127.0.0.1", server.port, path)


def says(data: bytes) -> Handler:
    """A server that reads one request, says ``data`` and closes."""

    def handler(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(data)

    return handler


def read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            break
        data += more
    return data


def holds(connection: socket.socket) -> None:
    """Say nothing until the client leaves."""
    while connection.recv(65536):
        pass


OK = b"HTTP/1.1 200 OK\r\n"


def ask(serve: Serve, data: bytes, seconds: float = 5, **options: object) -> HttpAnswer:
    return request(url_of(serve(says(data))), Deadline(seconds), **options)  # type: ignore[arg-type]


def test_the_request_and_its_answer(serve: Serve) -> None:
    seen = []

    def handler(connection: socket.socket) -> None:
        seen.append(read_request(connection))
        connection.sendall(OK + b"X-A: 1\r\nx-a: 2\r\nContent-Length: 5\r\n\r\nhello and more")

    server = serve(handler)
    url = url_of(server, path="/v2.1/?a=b")
    answer = request(url, Deadline(5), method="POST", headers={"X-Auth-Token": "t", "Accept": "a/b"}, body=b"body")
    assert (answer.status, answer.body, answer.text, answer.headers["x-a"]) == (200, b"hello", "hello", "1, 2")
    assert seen[0].startswith(b"POST /v2.1/?a=b HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % server.port)
    for line in (b"X-Auth-Token: t\r\n", b"Accept: a/b\r\n", b"Connection: close\r\n", b"Content-Length: 4\r\n"):
        assert line in seen[0]
    with pytest.raises(ValueError, match="line end"):
        request(url, Deadline(5), headers={"X": "a\r\nY: b"})


@pytest.mark.parametrize(
    ("data", "status", "body"),
    [
        (OK + b"\r\nuntil the end", 200, b"until the end"),
        (
            OK + b"Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0A\r\n0123456789\r\n0\r\n\r\n",
            200,
            b"abc0123456789",
        ),
        (b"HTTP/1.0 300 Multiple\r\nContent-Length: 0\r\n\r\n", 300, b""),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 401 Unauthorized\r\nContent-Length: 1\r\n\r\nx", 401, b"x"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 503\r\nodd line\r\nContent-Length: 2\r\n\r\n{}", 503, b"{}"),
        (OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{} and more", 200, b"{}"),
        (OK + b"Content-Length: 100000000000\r\n\r\n" + b"x" * 70000, 200, b"x" * 65536),
    ],
)
def test_forms_of_an_answer(serve: Serve, data: bytes, status: int, body: bytes) -> None:
    answer = ask(serve, data)
    assert (answer.status, answer.body) == (status, body)


def test_head_has_no_body(serve: Serve) -> None:
    assert ask(serve, OK + b"Content-Length: 5\r\n\r\n", method="HEAD").body == b""


def test_an_answer_in_single_bytes(serve: Serve) -> None:
    def handler(connection: socket.socket) -> None:
        read_request(connection)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n":
            connection.sendall(bytes((byte,)))

    assert request(url_of(serve(handler)), Deadline(5)).body == b"abc"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "closes the connection without an answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak HTTP"),
        (b"HT", "ends in the middle of its headers"),
        (b"HTTP/1.1 twohundred OK\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/\r\n\r\n", "does not speak HTTP"),
        (b"\x15\x03\x03\0\x02\x02\x0a", "speaks TLS: the URL must begin with https"),
        (OK + b"Content-Length: 5\r\n", "ends in the middle of its headers"),
        (OK + b"Content-Length: 5\r\n\r\nabc", "ends in the middle of its answer: 3 of 5 bytes"),
        (OK + b"Content-Length: five\r\n\r\n", "sends a length that is no number"),
        (OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", "sends a length that is no number"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", "sends a chunk without a length"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", "sends a chunk without a length"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"1" * 5000, "sends a chunk without a length"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", "ends in the middle of its answer"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nfffff\r\n", "sends an answer without an end (more than 65536 bytes)"),
        (OK + b"\r\n" + b"x" * 70000, "sends an answer without an end (more than 65536 bytes)"),
        (OK + b"X: y\r\n" * 20000, "sends headers without an end"),
    ],
)
def test_wrong_answers(serve: Serve, data: bytes, reason: str) -> None:
    server = serve(says(data))
    with pytest.raises(WrongAnswer) as caught:
        request(url_of(server), Deadline(5))
    assert caught.value.reason == f"http://127.0.0.1:{server.port}/ {reason}"


def test_a_reset(serve: Serve) -> None:
    def handler(connection: socket.socket) -> None:
        read_request(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with pytest.raises(WrongAnswer, match="resets connections"):
        request(url_of(serve(handler)), Deadline(5))


def test_an_answer_before_the_request_was_read(serve: Serve) -> None:
    def handler(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        holds(connection)

    assert request(url_of(serve(handler)), Deadline(5), method="POST", body=b"x" * 1000000).status == 413


def measured(action: Callable[[], object], finding: type[CheckFailed]) -> tuple[str, float]:
    before = time.monotonic()
    with pytest.raises(finding) as caught:
        action()
    assert type(caught.value) is finding
    return caught.value.reason, time.monotonic() - before


def test_silence(serve: Serve) -> None:
    url = url_of(serve(holds))
    reason, seconds = measured(lambda: request(url, Deadline(0.3)), Silent)
    assert re.fullmatch(rf"{re.escape(str(url))} gave no answer within 0\.[23]\d* s", reason)
    assert 0.25 < seconds < 2


def test_a_backlog_that_is_full() -> None:
    """A frozen server: the kernel takes connections until the queue is full, then drops them."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            url = HttpUrl("http", "127.0.0.1", port)
            assert "gave no answer within 0." in measured(lambda: request(url, Deadline(0.3)), Silent)[0]


@pytest.mark.parametrize("start", [b"H", OK, OK + b"\r\n", OK + b"Content-Length: 9\r\n\r\n"])
def test_endless_trickle_ends_at_the_deadline(serve: Serve, start: bytes) -> None:
    server: Server

    def handler(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(start)
        while not server.over.wait(0.02) and start.endswith(b"\n\r\n") and b"Length" not in start:
            connection.sendall(b"x")
        holds(connection)

    server = serve(handler)
    reason, seconds = measured(lambda: request(url_of(server), Deadline(0.4)), WrongAnswer)
    assert re.search(r"did not finish its answer within 0\.[34]\d* s$", reason)
    assert seconds < 2


def test_refused(closed_port: int) -> None:
    url = HttpUrl("http", "127.0.0.1", closed_port, "/v2")
    assert measured(lambda: request(url, Deadline(5)), Refused)[0] == f"{url} refuses connections"


def test_all_addresses_are_tried(serve: Serve, monkeypatch: pytest.MonkeyPatch, closed_port: int) -> None:
    server = serve(says(OK + b"Content-Length: 0\r\n\r\n"))
    other = ("127.0.0.1", closed_port)
    good = ("127.0.0.1", server.port)

    def resolves_to(*addresses: tuple[str, int]) -> None:
        found = [(socket.AF_INET, address) for address in addresses]
        monkeypatch.setattr(http_check, "resolve", lambda *_: found)

    url = HttpUrl("http", "controller", server.port)
    resolves_to(other, good)
    assert request(url, Deadline(5)).status == 200
    resolves_to(other, other)
    with pytest.raises(Refused):
        request(url, Deadline(5))


@pytest.mark.parametrize(
    ("codes", "finding", "reason"),
    [
        ([errno.ENETUNREACH], Unreachable, "cannot be reached: Network is unreachable"),
        ([errno.EADDRNOTAVAIL, errno.ECONNREFUSED], Refused, "refuses connections"),
        ([errno.ECONNREFUSED, errno.ETIMEDOUT], Silent, "gave no answer within 5 s"),
        ([errno.ECONNRESET], WrongAnswer, "resets connections"),
    ],
)
def test_failures_of_several_addresses(
    monkeypatch: pytest.MonkeyPatch, codes: list[int], finding: type[CheckFailed], reason: str
) -> None:
    left: Iterator[int] = iter(codes)

    def fail(*_: object) -> None:
        code = next(left)
        raise OSError(code, "Network is unreachable" if code == errno.ENETUNREACH else "x")

    monkeypatch.setattr(http_check, "resolve", lambda *_: [(socket.AF_INET, ("", 1))] * len(codes))
    monkeypatch.setattr(http_check, "_connect", fail)
    url = parse_http_url("http://controller/")
    assert measured(lambda: request(url, Deadline(5, lambda: 0.0)), finding)[0] == f"{url} {reason}"


def test_a_name_without_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(host: str, *_: object) -> None:
        raise Unresolvable(host, " in time")

    monkeypatch.setattr(http_check, "resolve", fail)
    url = parse_http_url("http://controller/")
    assert measured(lambda: request(url, Deadline(5)), Unresolved)[0] == (
        "http://controller/ cannot be reached: controller cannot be resolved in time"
    )


def test_ipv6_and_another_address_than_the_name_says(serve: Serve) -> None:
    server = serve(says(OK + b"Content-Length: 0\r\n\r\n"), "::1")
    assert request(HttpUrl("http", "::1", server.port), Deadline(5)).status == 200
    assert request(HttpUrl("http", "api.example", server.port), Deadline(5), address="::1").status == 200


def test_proxies_are_ignored(serve: Serve, monkeypatch: pytest.MonkeyPatch, closed_port: int) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port}")
    assert ask(serve, OK + b"Content-Length: 0\r\n\r\n").status == 200


def with_tls(certificate: str, handler: Handler) -> Handler:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def handle(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            handler(secured)

    return handle


FAR = "20991231000000Z"


def test_tls(serve: Serve, authority: Authority) -> None:
    certificate = authority.issue("api.example", FAR, "DNS:api.example,IP:127.0.0.1,IP:::1")
    handler = with_tls(certificate, says(OK + b"Content-Length: 2\r\n\r\nhi"))
    url = url_of(serve(handler), "https")
    assert request(url, Deadline(5), tls=Tls(authority.ca_file)).body == b"hi"
    assert request(url, Deadline(5), tls=Tls(authority.ca_file, server_name="api.example")).body == b"hi"
    assert request(url, Deadline(5), tls=Tls(verify=False)).body == b"hi"
    six = HttpUrl("https", "::1", serve(handler, "::1").port)
    assert request(six, Deadline(5), tls=Tls(authority.ca_file)).body == b"hi"


@pytest.mark.parametrize(
    ("until", "names", "trusted", "seen", "reason"),
    [
        (FAR, "DNS:api.example", True, "2099-12-31", "IP address mismatch"),
        (FAR, "IP:127.0.0.1", False, "2099-12-31", "unable to get local issuer certificate"),
        ("20200229120000Z", "IP:127.0.0.1", True, "2020-02-29", "certificate has expired"),
    ],
)
def test_certificates_that_prove_nothing(
    serve: Serve, authority: Authority, until: str, names: str, trusted: bool, seen: str, reason: str
) -> None:
    server = serve(with_tls(authority.issue("api.example", until, names), says(OK)))
    url = url_of(server, "https")
    tls = Tls(authority.ca_file if trusted else "")
    said = measured(lambda: request(url, Deadline(5), tls=tls), Attention)[0]
    assert said.startswith(f"certificate of {url} (CN=api.example, until {seen}) is not valid for 127.0.0.1: ")
    assert reason in said and "\n" not in said


def test_tls_that_fails_otherwise(serve: Serve, authority: Authority) -> None:
    tls = Tls(authority.ca_file)
    plain = url_of(serve(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")), "https")
    assert measured(lambda: request(plain, Deadline(5), tls=tls), WrongAnswer)[0] == f"{plain} does not speak TLS"
    closes = url_of(serve(lambda connection: connection.recv(1)), "https")
    assert "TLS handshake" in measured(lambda: request(closes, Deadline(5), tls=tls), WrongAnswer)[0]
    silent = url_of(serve(holds), "https")
    assert "gave no answer within 0." in measured(lambda: request(silent, Deadline(0.3), tls=tls), Silent)[0]
    for file, said in (("/nonexistent", "No such file"), (__file__, "no certificate")):
        assert said in measured(lambda: request(silent, Deadline(5), tls=Tls(file)), Attention)[0]  # noqa: B023
    dotted = Tls(authority.ca_file, server_name=".x")
    assert "cannot be the name" in measured(lambda: request(silent, Deadline(5), tls=dotted), Attention)[0]


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", OK, OK + b"Content-Length: ", OK + b"Transfer-Encoding: chunked\r\n\r\n"]),
)
def test_any_bytes_are_an_answer_or_a_finding(data: bytes, start: bytes) -> None:
    client, server = socket.socketpair()
    with client, server:
        server.sendall(start + data)
        server.shutdown(socket.SHUT_WR)
        exchange = http_check._Exchange(parse_http_url("http://h"), Deadline(5), Tls(), 100)
        try:
            answer = exchange.ask(client, "GET", {}, b"")
        except WrongAnswer as error:
            assert "\n" not in error.reason
        else:
            assert 200 <= answer.status <= 999 and len(answer.body) <= 100


@given(st.binary())
def test_any_bytes_as_a_certificate(data: bytes) -> None:
    assert "\n" not in describe(data)
    assert "\n" not in describe(b"\x30\x7f\x30\x7d" + b"\x30\0\x30\0\x30\x04\x17\x00\x17\x00" + data)
