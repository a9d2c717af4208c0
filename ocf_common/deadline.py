"""Time limits that hold, whatever blocks.

A socket time limit bounds one read, not a whole answer, and nothing bounds a name server that does not
answer. So a check runs in a thread of its own and the agent waits for it no longer than it may; the
agent's process ends by ``os._exit`` and takes a hung thread with it. ``_thread`` is built in: this costs
no import.
"""

from __future__ import annotations

import _thread
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")


class OutOfTime(Exception):
    """The time limit ran out before the function returned."""


class Deadline:
    """A point in time; ``seconds`` from now on the monotonic ``clock``."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.end = clock() + seconds

    def left(self) -> float:
        """Return the seconds that are left, never less than 0."""
        return max(0.0, self.end - self.clock())

    def passed(self) -> bool:
        return self.left() == 0.0

    def part(self, seconds: float) -> Deadline:
        """Return a deadline of its own for one step: ``seconds`` from now, or this one if that is earlier."""
        return Deadline(min(seconds, self.left()), self.clock)


def within(deadline: Deadline, function: Callable[[], T]) -> T:
    """Return what ``function`` returns, raise what it raises, or :class:`OutOfTime` at the deadline.

    A function that did not end goes on in its thread: the caller must leave by ``os._exit``.
    """
    finished = _thread.allocate_lock()
    finished.acquire()
    results: list[T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)
        finally:
            finished.release()

    _thread.start_new_thread(work, ())
    if not finished.acquire(timeout=max(deadline.left(), 0.001)):
        raise OutOfTime
    if errors:
        raise errors[0]
    return results[0]
