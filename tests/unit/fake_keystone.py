"""An HTTP server that answers as a test wants Keystone to."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from ocf_common.credentials import Credentials

CATALOG = [
    {
        "type": "compute",
        "endpoints": [
            {"interface": "public", "region": "South", "url": "http://south/v2.1"},
            {"interface": "public", "region_id": "North", "url": "http://north/v2.1"},
            {"interface": "internal", "region_id": "North", "url": "http://inside/v2.1"},
        ],
    },
    {"type": "image", "endpoints": None},
]
METHODS = {"GET": "version", "POST": "login"}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.answer(self.server.keystone)

    do_POST = do_GET  # noqa: N815 - the name that http.server looks for

    def answer(self, keystone: FakeKeystone) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        content = self.rfile.read(length)
        keystone.requests.append((self.command, self.path, dict(self.headers), json.loads(content or b"null")))
        if keystone.drops:
            return
        if keystone.silent:
            keystone.release.wait(10)
            return
        keystone.release.wait(keystone.delay)
        self.send_response(keystone.status[self.command])
        self.send_header("Content-Type", "application/json")
        for name, value in keystone.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(keystone.body)))
        self.end_headers()
        for piece in [keystone.body] if not keystone.delay else [bytes((byte,)) for byte in keystone.body]:
            self.wfile.write(piece)
            keystone.release.wait(keystone.delay)

    def log_message(self, *_: object) -> None:
        pass


class FakeKeystone:
    """A Keystone that does as its attributes say."""

    def __init__(self) -> None:
        self.status = {"GET": 200, "POST": 201}
        self.headers = {"X-Subject-Token": "gAAAA-token"}
        self.body = json.dumps({"token": {"catalog": CATALOG, "methods": ["password"]}}).encode()
        self.silent = self.drops = False
        self.delay = 0.0  # seconds before an answer's headers, and before each byte of its body
        self.release = threading.Event()
        self.requests: list[tuple] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = False
        self.server.keystone = self
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v3"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def end(self) -> None:
        self.release.set()
        self.server.shutdown()
        self.thread.join(10)
        self.server.server_close()

    def credentials(self, **changes: str) -> Credentials:
        options = {
            "auth_url": self.url,
            "username": "monitor",
            "password": "very-secret",
            "project_name": "service",
            "user_domain_name": "Users",
            **changes,
        }
        return Credentials(options, "a test")
