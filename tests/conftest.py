"""Fixtures that several test modules share."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_proc import FakeProc
from real_daemon import RealDaemon

from lab.node import orderly_exit


@pytest.fixture(scope="session", autouse=True)
def in_order() -> Iterator[None]:
    """Let SIGTERM end the tests as Ctrl-C does: what they have started goes with them."""
    with orderly_exit():
        yield


@pytest.fixture
def fake_proc(tmp_path: Path) -> FakeProc:
    """A made-up /proc with nothing but the first process and the agent's own."""
    return FakeProc(tmp_path / "proc")


@pytest.fixture
def root() -> None:
    """Ask for root: another user's process can only be started by it."""
    if os.geteuid() != 0:
        pytest.skip("needs root; run: sudo make check-unit")


@pytest.fixture(scope="session")
def laboratory_host() -> None:
    """Ask for what the laboratory's nodes need."""
    from lab import settings

    missing = settings.missing()
    if missing:
        pytest.skip("; ".join(missing))


@pytest.fixture(scope="session")
def ocata() -> None:
    """Ask for the daemons of Ocata."""
    from lab import eras

    missing = eras.ocata_missing()
    if missing:
        pytest.skip(missing)


@pytest.fixture
def public(tmp_path: Path) -> Iterator[Path]:
    """A folder that every user may enter and read, which pytest's own is not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def daemon(public: Path) -> Iterator[RealDaemon]:
    """A real daemon, not yet started; whatever is left of it ends with the test."""
    real = RealDaemon(public)
    yield real
    real.clean()
