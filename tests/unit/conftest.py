"""Settings of all unit tests, and the fixtures that several of them share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
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
