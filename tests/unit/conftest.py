"""Settings of all unit tests, and the fixtures that several of them share."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator

import pytest
from fake_keystone import FakeKeystone
from hypothesis import settings
from loopback import Authority, Handler, Server

# A busy machine is no defect: an example may take as long as it takes.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Return a function that starts a :class:`Server`; all are closed at the end of the test."""
    servers: list[Server] = []

    def start(handler: Handler, address: str = "127.0.0.1") -> Server:
        servers.append(Server(handler, address))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def keystone() -> Iterator[FakeKeystone]:
    fake = FakeKeystone()
    yield fake
    fake.end()


@pytest.fixture
def tls_keystone(keystone: FakeKeystone, authority: Authority) -> FakeKeystone:
    """A Keystone whose certificate is for ``keystone.test``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue("keystone", "20400101000000Z", "DNS:keystone.test"))
    keystone.server.socket = context.wrap_socket(keystone.server.socket, server_side=True)
    keystone.server.handle_error = lambda *_: None  # a client that hangs up in the handshake
    keystone.url = keystone.url.replace("http:", "https:")
    return keystone


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that refuses connections for as long as the test runs: bound, and not listening."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture
def closed_url(closed_port: int) -> str:
    """An Identity URL at a port that refuses connections."""
    return f"http://127.0.0.1:{closed_port}/v3"
