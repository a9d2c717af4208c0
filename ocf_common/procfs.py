"""Processes as the kernel shows them in ``/proc``.

Only what identity and health need, read with single system calls and parsed by hand: a check at level 0 must
cost little more than the interpreter. A process that ends while it is read is simply not there.
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class Process:
    """A process at one moment: number, start time in clock ticks since boot, state letter, parent and so on."""

    __slots__ = ("parent", "pgid", "pid", "session", "started", "state")

    def __init__(self, pid: int, state: str, parent: int, pgid: int, session: int, started: int) -> None:
        self.pid = pid
        self.state = state
        self.parent = parent
        self.pgid = pgid
        self.session = session
        self.started = started

    @property
    def dead(self) -> bool:
        """True for a zombie and for a process that is being removed."""
        return self.state in "ZXx"

    @property
    def stopped(self) -> bool:
        """True where a signal has stopped it (state T): a tracer (t) stops it for moments and lets it go on."""
        return self.state == "T"

    @property
    def key(self) -> tuple[int, int]:
        """Number and start time together name one process for ever (until the next boot)."""
        return (self.pid, self.started)

    def __repr__(self) -> str:
        return f"<process {self.pid} {self.state} parent {self.parent} started {self.started}>"


def parse_stat(text: bytes) -> Process | None:
    """Return the process of a ``/proc/PID/stat`` line, or None where the line is not one (proc(5))."""
    # The second field is the program's name in parentheses and may hold anything, parentheses included.
    head, _, tail = text.rpartition(b")")
    fields = tail.split()
    try:
        pid = int(head.split(b" ", 1)[0])
        return Process(pid, fields[0].decode("ascii"), int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]))
    except (ValueError, IndexError, UnicodeDecodeError):
        return None


def parse_cmdline(text: bytes) -> list[str]:
    """Return the arguments of a ``/proc/PID/cmdline``; a title that a process gave itself is one argument."""
    arguments = text.rstrip(b"\0").split(b"\0")
    return [argument.decode("utf-8", "replace") for argument in arguments] if arguments != [b""] else []


def parse_cgroup_unit(text: bytes) -> str:
    """Return the innermost systemd service in a ``/proc/PID/cgroup``, or an empty string.

    Version 2 has one line (``0::/system.slice/x.service``), version 1 one for each controller.
    """
    for line in text.decode("utf-8", "replace").splitlines():
        parts = line.split(":", 2)
        if len(parts) != 3 or (parts[1] and parts[1] != "name=systemd"):
            continue
        for name in reversed(parts[2].split("/")):
            if name.endswith(".service"):
                return name
            if name.endswith(".scope"):
                return ""
    return ""


def age(process: Process) -> float:
    """Return for how many seconds a process has been running."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - process.started / os.sysconf("SC_CLK_TCK")


class Proc:
    """Access to one ``/proc``; ``root`` is another folder in unit tests."""

    __slots__ = ("root",)

    def __init__(self, root: str = "/proc") -> None:
        self.root = root

    def read(self, pid: int | str, name: str, limit: int = 65536) -> bytes | None:
        """Return the content of ``/proc/PID/NAME``, or None where it cannot be had."""
        try:
            descriptor = os.open(f"{self.root}/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            return os.read(descriptor, limit)
        except OSError:
            return None
        finally:
            os.close(descriptor)

    def process(self, pid: int) -> Process | None:
        """Return the process, a zombie too, or None where there is none of that number."""
        text = self.read(pid, "stat", 4096)
        found = parse_stat(text) if text else None
        return found if found is not None and found.pid == pid else None

    def cpu_seconds(self, pid: int) -> float:
        """Return the processor time that the process has used; 0 where it is gone."""
        fields = (self.read(pid, "stat", 4096) or b"").rpartition(b")")[2].split()
        try:
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        except (ValueError, IndexError):
            return 0.0

    def command_line(self, pid: int) -> list[str]:
        return parse_cmdline(self.read(pid, "cmdline") or b"")

    def program(self, pid: int) -> str:
        """Return the path of the running program, or an empty string where it may not be seen."""
        try:
            return os.readlink(f"{self.root}/{pid}/exe")
        except OSError:
            return ""

    def namespace(self, pid: int | str, kind: str) -> str | None:
        """Return the identity of the ``pid`` or ``mnt`` namespace, or None where it may not be seen."""
        try:
            return os.readlink(f"{self.root}/{pid}/ns/{kind}")
        except OSError:
            return None

    def uid(self, pid: int) -> int | None:
        """Return the real user number."""
        for line in (self.read(pid, "status") or b"").split(b"\n"):
            if line.startswith(b"Uid:"):
                try:
                    return int(line.split()[1])
                except (ValueError, IndexError):
                    return None
        return None

    def unit(self, pid: int | str) -> str:
        """Return the systemd service in whose control group the process is, or an empty string."""
        return parse_cgroup_unit(self.read(pid, "cgroup") or b"")

    def foreign_unit(self, pid: int) -> str:
        """Return the systemd service that owns the process, or an empty string where Pacemaker or nobody does."""
        unit = self.unit(pid)
        # The second is Pacemaker on a remote node.
        return "" if unit in ("pacemaker.service", "pacemaker_remote.service", self.unit("self")) else unit

    def children(self, pid: int) -> list[int]:
        """Return the numbers of the children, of whichever thread (nova 33 forks from a thread)."""
        numbers: list[int] = []
        try:
            threads = os.listdir(f"{self.root}/{pid}/task")
        except OSError:
            return numbers
        for thread in threads:
            for word in (self.read(pid, f"task/{thread}/children") or b"").split():
                numbers.append(int(word))
        return numbers

    def pids(self) -> list[int]:
        """Return all process numbers; raises OSError where ``/proc`` cannot be listed."""
        return [int(name) for name in os.listdir(self.root) if name.isdigit()]

    def processes(self) -> Iterator[Process]:
        """Yield every process that is there."""
        for pid in self.pids():
            process = self.process(pid)
            if process is not None:
                yield process

    def boot(self) -> str:
        """Return the identity of this boot of the machine."""
        return (self.read("sys", "kernel/random/boot_id", 64) or b"").decode("ascii", "replace").strip()

    def hides_others(self) -> bool:
        """Tell whether processes of other users are hidden (``hidepid``): then nothing can be proven gone."""
        return self.read(1, "stat", 16) is None
