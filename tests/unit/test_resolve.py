"""Names to addresses."""

from __future__ import annotations

import socket
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocf_common import resolve as module
from ocf_common.deadline import Deadline
from ocf_common.resolve import Unresolvable, resolve


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", [(socket.AF_INET, ("127.0.0.1", 80))]),
        ("::1", [(socket.AF_INET6, ("::1", 80, 0, 0))]),
    ],
)
def test_numbers_ask_nobody(monkeypatch: pytest.MonkeyPatch, host: str, expected: object) -> None:
    monkeypatch.setattr(module, "getaddrinfo", None)
    assert resolve(host, 80, Deadline(1)) == expected


def test_localhost() -> None:
    assert (socket.AF_INET, ("127.0.0.1", 80)) in resolve("localhost", 80, Deadline(5))


def test_a_resolver_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "getaddrinfo", lambda *_: time.sleep(3))
    before = time.monotonic()
    with pytest.raises(Unresolvable, match="controller cannot be resolved in time"):
        resolve("controller", 80, Deadline(0.1))
    assert time.monotonic() - before < 2


def test_a_name_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(module, "getaddrinfo", unknown)
    with pytest.raises(Unresolvable, match="controller cannot be resolved: Name or service not known"):
        resolve("controller", 80, Deadline(5))
    monkeypatch.setattr(module, "getaddrinfo", lambda *_: [])
    with pytest.raises(Unresolvable, match="no address"):
        resolve("controller", 80, Deadline(5))


@given(st.text())
def test_no_text_makes_it_fail(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "getaddrinfo", lambda *_: [])
        try:
            resolve(text, 80, Deadline(5))
        except Unresolvable as error:
            assert "cannot be resolved" in str(error)
