"""Fixtures that several test modules share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fake_proc import FakeProc


@pytest.fixture
def fake_proc(tmp_path: Path) -> FakeProc:
    """A made-up /proc with nothing but the first process and the agent's own."""
    return FakeProc(tmp_path / "proc")


@pytest.fixture
def root() -> None:
    """Ask for root: another user's process can only be started by it."""
    if os.geteuid() != 0:
        pytest.skip("needs root; run: sudo make check-unit")
