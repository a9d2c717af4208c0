"""The last lines that a daemon has written, for exit reasons."""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

LIMIT = 8192  # bytes that are read from the end of a file


def size(path: str) -> int:
    """Return the bytes of a file; 0 where there is none."""
    try:
        return os.stat(path, follow_symlinks=False).st_size
    except OSError:
        return 0


def tail(paths: Iterable[str], before: dict[str, int] | None = None) -> str:
    """Return the last telling line of the first file that has one, else an empty string.

    ``before``: sizes of the files at an earlier moment; only what was written since then counts. Links are not
    followed: the folders belong to the service's user.
    """
    for path in paths:
        lines = [line.strip() for line in _read(path, (before or {}).get(path, 0)).splitlines() if line.strip()]
        # An exception's last line names it; a traceback's frames and uWSGI's banners tell nothing.
        telling = [line for line in lines if not line.startswith(("File ", "***", "Traceback", "^", "~"))]
        if telling:
            return telling[-1]
    return ""


def _read(path: str, before: int) -> str:
    if not path:
        return ""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return ""
        start = before if status.st_size >= before else 0  # it was rotated: all of it is new
        return os.pread(descriptor, LIMIT, max(start, status.st_size - LIMIT)).decode("utf-8", "replace")
    except OSError:
        return ""
    finally:
        os.close(descriptor)
