"""What a person who waits is told, on stderr."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator

_lock = threading.Lock()


def say(text: str) -> None:
    """Print one line; several threads may build at once."""
    with _lock:
        print(f"lab: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def step(text: str) -> Iterator[None]:
    """Announce a piece of work and, when it is done, how many seconds it took."""
    say(f"{text} ...")
    begin = time.monotonic()
    try:
        yield
    except BaseException as error:
        say(f"{text}: {type(error).__name__} after {time.monotonic() - begin:.1f} s")
        raise
    say(f"{text}: {time.monotonic() - begin:.1f} s")
