"""The pid file: which process an agent has started.

First line: the number of the main process, as every tool expects it. Second line, where this suite wrote the
file: the start time of that process and the boot, which prove for ever which process was meant::

    4711
    started=184467 boot=6d1f2c0e-…

The file's folder may belong to somebody else, so nothing in it is believed: a link is not followed, garbage is
no number, and the number alone proves nothing (see ``identity``).
"""

from __future__ import annotations

import errno
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocf_common.procfs import Process

_LIMIT = 4096  # bytes that are read
_HIGHEST_PID = 4194304  # the kernel's limit on 64 bit


class PidRecord:
    """What a pid file says: the number, and start time and boot where this suite wrote it (else 0 and "")."""

    __slots__ = ("boot", "pid", "started")

    def __init__(self, pid: int, started: int = 0, boot: str = "") -> None:
        self.pid = pid
        self.started = started
        self.boot = boot

    def is_same(self, process: Process, boot: str) -> bool:
        """Tell whether the record proves that ``process`` is the one that was meant."""
        return self.started != 0 and self.pid == process.pid and self.started == process.started and self.boot == boot


def parse(text: bytes) -> PidRecord | None:
    """Return the record, or None for whatever is not a process number above 1."""
    lines = text.split(b"\n")
    number = lines[0].strip()
    if not number.isdigit() or len(number) > 7 or not 1 < int(number) <= _HIGHEST_PID:
        return None
    values = dict(word.partition(b"=")[::2] for word in lines[1].split()) if len(lines) > 1 else {}
    started, boot = values.get(b"started", b""), values.get(b"boot", b"")
    if not (started.isdigit() and len(started) < 20 and boot):
        return PidRecord(int(number))
    return PidRecord(int(number), int(started), boot.decode("ascii", "replace"))


def read(path: str) -> PidRecord | None:
    """Return what the file says; None where it is missing, a link, not a file, or holds no number."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        return parse(os.read(descriptor, _LIMIT))
    except OSError:
        return None
    finally:
        os.close(descriptor)


def write(path: str, process: Process, boot: str) -> None:
    """Write the record of ``process`` (mode 0644); raises OSError.

    A new file takes the place of whatever was there: a planted link is replaced, not followed.
    """
    text = f"{process.pid}\nstarted={process.started} boot={boot}\n"
    replace_file(path, text.encode("ascii"), 0o644)


def replace_file(path: str, content: bytes, mode: int) -> None:
    """Put a file with this content and mode at ``path``, whole or not at all; raises OSError."""
    temporary = f"{path}.{os.getpid()}.new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(temporary, flags, mode)
    except FileExistsError:
        os.unlink(temporary)  # left by an agent that was killed, or planted: unlink removes a link, not its target
        descriptor = os.open(temporary, flags, mode)
    try:
        try:
            os.fchmod(descriptor, mode)  # whatever umask the cluster manager has
            if os.write(descriptor, content) < len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), temporary)
        finally:
            os.close(descriptor)
        os.rename(temporary, path)
    except OSError:
        # Each call has a number of its own: what is left on a full device would become many.
        os.unlink(temporary)
        raise


def remove(path: str) -> None:
    """Remove the file; it is no error when it is not there. Raises OSError otherwise."""
    try:
        os.unlink(path)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise
