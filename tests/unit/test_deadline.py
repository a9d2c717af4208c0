"""Time limits that hold, whatever blocks."""

from __future__ import annotations

import threading
import time

import pytest

from ocf_common.deadline import Deadline, OutOfTime, within


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_is_left_never_falls_below_zero() -> None:
    clock = Clock()
    deadline = Deadline(5, clock)
    assert (deadline.left(), deadline.passed()) == (5, False)
    clock.now += 4
    assert deadline.left() == 1
    clock.now += 4
    assert (deadline.left(), deadline.passed()) == (0, True)


def test_a_part_never_reaches_beyond_the_whole() -> None:
    clock = Clock()
    deadline = Deadline(5, clock)
    assert deadline.part(2).left() == 2
    assert deadline.part(9).left() == 5
    clock.now += 9
    assert deadline.part(2).left() == 0


def test_what_a_function_returns_or_raises_comes_through() -> None:
    assert within(Deadline(5), lambda: "x") == "x"
    with pytest.raises(ZeroDivisionError):
        within(Deadline(5), lambda: 1 / 0)
    with pytest.raises(SystemExit):
        within(Deadline(5), lambda: exec("raise SystemExit"))  # noqa: S102 - a lambda cannot raise


@pytest.mark.parametrize("seconds", [0.0, 0.2])
def test_a_function_that_hangs_is_left_behind(seconds: float) -> None:
    release = threading.Event()
    begin = time.monotonic()
    with pytest.raises(OutOfTime):
        within(Deadline(seconds), release.wait)
    assert time.monotonic() - begin >= seconds - 0.05  # in 3.9 locks wait by another clock
    release.set()
