#!/usr/bin/python3
"""A daemon for tests: main process and workers that end in order, or in every way in which real ones do not.

Runs on any Python 3. When all of it is up it prints one line of JSON: the numbers of main process, workers and child.
Each process prints ``PID TERM`` when SIGTERM or SIGINT reaches it.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config-file", action="append", help="accepted and not read, as identity needs it")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--ignore-term", choices=("main", "workers", "all"), help="who does not end on SIGTERM")
    parser.add_argument("--abandon", action="store_true", help="the main process ends without its workers")
    parser.add_argument("--linger", type=float, default=0, help="seconds that the main process takes to end")
    parser.add_argument("--worker-linger", type=float, default=0, help="seconds that each worker takes to end")
    parser.add_argument("--child", nargs="+", default=[], help="another program that is meant to outlive the daemon")
    parser.add_argument("--helper", action="store_true", help="a helper such as oslo.privsep starts")
    parser.add_argument("--background", action="store_true", help="fork, and let the first process exit with 0")
    parser.add_argument("--become", type=int, help="the number of the user that the daemon becomes, as root")
    parser.add_argument("--port", type=int, help="answer HTTP on this port of 127.0.0.1")
    parser.add_argument("--status", type=int, default=200, help="the HTTP status of every answer")
    parser.add_argument("--delay", type=float, default=0, help="seconds before it listens")
    parser.add_argument("--die", type=int, help="exit with this status at once")
    parser.add_argument("--die-later", type=float, help="seconds until the main process exits without its workers")
    parser.add_argument("--words", default="", help="what is printed to standard error at the start")
    return parser.parse_args()


class Answer(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self):
        self.send_response(self.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def say(text):
    # One system call: lines of several processes do not mix.
    os.write(1, (text + "\n").encode())


def wait_for_term(stubborn, linger=0):
    """Return ``linger`` seconds after SIGTERM or SIGINT, never where ``stubborn``; further signals are told too."""
    awaited = {signal.SIGTERM, signal.SIGINT}
    signal.sigwait(awaited)
    say(f"{os.getpid()} TERM")
    end = time.monotonic() + linger
    while stubborn or time.monotonic() < end:
        if signal.sigtimedwait(awaited, 1000 if stubborn else max(0, end - time.monotonic())):
            say(f"{os.getpid()} TERM")


def fork_worker(stubborn, linger):
    pid = os.fork()
    if pid == 0:
        wait_for_term(stubborn, linger)
        os._exit(0)
    return pid


def serve(port, status):
    Answer.status = status
    server = HTTPServer(("127.0.0.1", port), Answer)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    server.serve_forever()


def main():
    options = arguments()
    if options.words:
        sys.stderr.write(options.words + "\n")
        sys.stderr.flush()
    if options.die is not None:
        sys.exit(options.die)
    if options.become is not None:
        os.setuid(options.become)
    if options.background:
        if os.fork():
            os._exit(0)
        os.setsid()
    # Blocked from here on, so that no signal is lost between two steps; another program must not inherit that.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    unblock = {"preexec_fn": lambda: signal.pthread_sigmask(signal.SIG_SETMASK, set())}
    stubborn = options.ignore_term in ("workers", "all")
    workers = [fork_worker(stubborn, options.worker_linger) for _ in range(options.workers)]
    child = helper = None
    if options.child:
        child = subprocess.Popen(options.child, stdout=subprocess.DEVNULL, **unblock).pid
    if options.helper:
        folder = os.path.dirname(os.path.abspath(sys.argv[0]))
        helper = subprocess.Popen([sys.executable, os.path.join(folder, "privsep-helper")], **unblock).pid
    time.sleep(options.delay)
    say(json.dumps({"main": os.getpid(), "workers": workers, "child": child, "helper": helper}))
    if options.die_later is not None:
        time.sleep(options.die_later)
        os._exit(4)
    if options.port:
        serve(options.port, options.status)
    wait_for_term(options.ignore_term in ("main", "all"), options.linger)
    if not options.abandon:
        for pid in workers:
            os.kill(pid, signal.SIGTERM)
        for pid in workers:
            os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
