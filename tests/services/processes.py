"""The processes of a node as seen from outside, by the numbers that they have in it."""

from __future__ import annotations

from lab.node import Node
from ocf_common.procfs import Proc, Process


class Processes:
    """What runs in ``node``, and signals for it."""

    def __init__(self, node: Node) -> None:
        self.node = node

    @property
    def proc(self) -> Proc:
        return Proc(str(self.node.path("/proc")))

    def read(self, pid: int, name: str) -> str:
        return (self.proc.read(pid, name) or b"").decode("utf-8", "replace")

    def get(self, pid: int) -> Process | None:
        """Give the process unless it is gone or a zombie."""
        process = self.proc.process(pid)
        return process if process is not None and not process.dead else None

    def alive(self, *pids: int) -> list[int]:
        return [pid for pid in pids if self.get(pid)]

    def started(self, pid: int) -> int:
        """Give the start time in clock ticks: with the number it names one process for ever."""
        process = self.get(pid)
        assert process is not None, f"process {pid} is gone"
        return process.started

    def family(self, pid: int) -> list[int]:
        """Give the process and all its descendants, itself first."""
        children: dict[int, list[int]] = {}
        for process in self.proc.processes():
            if not process.dead:
                children.setdefault(process.parent, []).append(process.pid)
        found = [pid]
        for one in found:
            found += children.get(one, [])
        return found

    def matching(self, *words: str) -> list[int]:
        """Give the living processes whose command line holds all ``words`` as parts, the oldest first."""
        found = [
            process
            for process in self.proc.processes()
            if not process.dead and all(word in " ".join(self.proc.command_line(process.pid)) for word in words)
        ]
        return [process.pid for process in sorted(found, key=lambda process: (process.started, process.pid))]

    def states(self, *pids: int) -> str:
        return "".join(process.state for process in map(self.proc.process, pids) if process is not None)

    def open_files(self, pid: int) -> tuple[int, int]:
        """Give the soft and hard limit of open files."""
        line = next(line for line in self.read(pid, "limits").splitlines() if line.startswith("Max open files"))
        soft, hard = line.split()[3:5]
        return int(soft), int(hard)

    def listens(self, port: int) -> bool:
        """Tell whether somebody in the node listens on the TCP port."""
        lines = (self.read(1, "net/tcp") + self.read(1, "net/tcp6")).splitlines()
        return any(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A" for line in lines)

    def signal(self, name: str, *pids: int) -> None:
        """Send a signal (``KILL``, ``STOP``, …); a process that is gone already is no error."""
        self.node.run(["kill", f"-{name}", *map(str, pids)])
