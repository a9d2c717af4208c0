"""Servers on loopback that behave as a test says, and certificates for them."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

Handler = Callable[[socket.socket], object]


class Server:
    """A TCP server on loopback that hands each connection to ``handler`` and closes it afterwards."""

    def __init__(self, handler: Handler, address: str = "127.0.0.1") -> None:
        self.listener = socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
        self.port: int = self.listener.getsockname()[1]
        self.handler = handler
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                self.handler(connection)
            except OSError:
                pass  # the client has left

    def close(self) -> None:
        self.over.set()
        # A thread that waits in accept() is not woken by close(): it would keep the port, and serve whoever comes next.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join(10)
        self.listener.close()


class Authority:
    """A certificate authority in a folder, by the openssl program; the end of validity can lie in the past."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca_file = str(folder / "ca.pem")
        (folder / "index.txt").touch()
        (folder / "serial").write_text("01\n")
        self.run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                 "-subj", "/CN=test authority", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
                 "-keyout", "ca.key", "-out", "ca.pem")  # fmt: skip

    def run(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)

    def issue(self, name: str, until: str, names: str) -> str:
        """Return the path of a PEM file with key and certificate.

        :param until: like ``20260101000000Z``
        :param names: the alternative names, like ``DNS:api.example,IP:127.0.0.1``
        """
        self.run("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                 f"/O=test/CN={name}", "-keyout", "new.key", "-out", "new.csr")  # fmt: skip
        (self.folder / "ca.conf").write_text(
            "[ca]\ndefault_ca = x\n[x]\ndatabase = index.txt\nserial = serial\nnew_certs_dir = .\n"
            "default_md = sha256\npolicy = any\nunique_subject = no\nx509_extensions = names\n"
            f"[any]\ncommonName = supplied\norganizationName = optional\n[names]\nsubjectAltName = {names}\n"
            "authorityKeyIdentifier = keyid\n"  # Python 3.13 verifies strictly
        )
        self.run("ca", "-batch", "-config", "ca.conf", "-cert", "ca.pem", "-keyfile", "ca.key", "-startdate",
                 "20000101000000Z", "-enddate", until, "-in", "new.csr", "-out", "new.pem", "-notext")  # fmt: skip
        path = self.folder / f"{name}-{until}.pem"
        path.write_bytes((self.folder / "new.key").read_bytes() + (self.folder / "new.pem").read_bytes())
        return str(path)
