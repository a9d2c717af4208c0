"""The last lines that a daemon has written, for exit reasons."""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

LIMIT = 16384  # bytes that are read from the end of a file

_QUIET = ("DEBUG", "INFO", "WARNING")  # a daemon says of these that it goes on
_LEVELS = (*_QUIET, "ERROR", "CRITICAL", "TRACE")
# The frames of a traceback and uWSGI's banners tell nothing; an exception's last line names it.
_NOISE = ("File ", "***", "Traceback", "^", "~", "During handling", "The above exception", "raise ", "return ")
_TROUBLE = ("rror", "xception", "ailure", "annot", "ailed", "refused", "denied", "not found", "CRITICAL")


def size(path: str) -> int:
    """Return the bytes of a file; 0 where there is none."""
    try:
        return os.stat(path, follow_symlinks=False).st_size
    except OSError:
        return 0


def tail(paths: Iterable[str], before: dict[str, int] | None = None, any_line: bool = True) -> str:
    """Return the last line that tells why a daemon ended, from whichever of the files has one.

    ``before``: sizes of the files at an earlier moment; only what was written since then counts. ``any_line``: where
    none tells, the last line of all (else ""): a daemon that was killed had no last words. Links are not followed:
    the folders belong to the service's user.
    """
    fallback = ""
    for path in paths:
        lines = [_message(line) for line in _read(path, (before or {}).get(path, 0)).splitlines()]
        telling = [(text, level) for text, level in lines if text and not text.startswith(_NOISE)]
        for text, level in reversed(telling):
            if level not in _QUIET and any(word in text for word in _TROUBLE):
                return text
        if telling and not fallback:
            fallback = telling[-1][0]
    return fallback if any_line else ""


def _message(line: str) -> tuple[str, str]:
    """Return text and level of a line of oslo.log (date, time, process, level, logger, [request]).

    Other lines are returned whole, with an empty level.
    """
    words = line.split(None, 5)
    if len(words) < 5 or words[3] not in _LEVELS:
        return line.strip(), ""
    text = words[5].strip() if len(words) > 5 else ""
    return (text.partition("] ")[2] or text) if text.startswith("[") else text, words[3]


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
