"""A folder tree that looks like /proc, for rules about processes that no test could start."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from ocf_common.procfs import Proc, Process

AGENT = 999  # the agent's own process
BOOT = "6d1f2c0e-2f6c-4d0a-9d3e-0c1d2e3f4a5b"
UID = 118


class FakeProc:
    """Processes are added and removed one by one; ``proc`` is what the library gets."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.proc = Proc(str(root))
        boot = root / "sys" / "kernel" / "random"
        boot.mkdir(parents=True)
        (boot / "boot_id").write_text(BOOT + "\n")
        self.add(1, ["/sbin/init"], parent=0, uid=0)
        self.add(AGENT, ["/usr/bin/python3", "-IS", "/usr/lib/ocf/resource.d/openstack/other"], uid=0)
        (root / "self").symlink_to(str(AGENT))

    def add(
        self,
        pid: int,
        arguments: Sequence[str] = (),
        parent: int = 1,
        group: int = 0,
        session: int = 0,
        started: int = 0,
        state: str = "S",
        uid: int = UID,
        exe: str = "/usr/bin/python3.11",
        cgroup: str = "0::/system.slice/pacemaker.service",
        pid_namespace: str = "pid:[4026531836]",
        mount_namespace: str = "mnt:[4026531841]",
        thread: int = 0,
    ) -> Process:
        """Add a process; group and session are its own unless given, ``thread`` is the parent's that forked it."""
        folder = self.root / str(pid)
        (folder / "ns").mkdir(parents=True)
        (folder / "ns" / "pid").symlink_to(pid_namespace)
        (folder / "ns" / "mnt").symlink_to(mount_namespace)
        (folder / "exe").symlink_to(exe)
        (folder / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in arguments))
        (folder / "status").write_text(f"Name:\tpython3\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nGid:\t1\t1\t1\t1\n")
        (folder / "cgroup").write_text(cgroup + "\n")
        self._children(pid, pid).write_text("")
        if parent:
            listed = self._children(parent, thread or parent)
            listed.write_text(f"{listed.read_text() if listed.exists() else ''}{pid} ")
        group, started = group or pid, started or 1000 + pid
        self._stat(pid, state, parent, group, session or group, started)
        return Process(pid, state, parent, group, session or group, started)

    def _children(self, pid: int, thread: int) -> Path:
        folder = self.root / str(pid) / "task" / str(thread)
        folder.mkdir(parents=True, exist_ok=True)
        return folder / "children"

    def _stat(self, pid: int, state: str, parent: int, group: int, session: int, started: int) -> None:
        # The name may hold whatever a process likes, proc(5).
        numbers = " ".join(["0"] * 15)
        text = f"{pid} (a) R (b) {state} {parent} {group} {session} {numbers} {started} 0 0\n"
        (self.root / str(pid) / "stat").write_text(text)

    def listen(self, process: Process, port: int) -> None:
        """Let a process listen on all IPv4 addresses, seen by the agent's own process."""
        for pid, name in ((AGENT, "net"), (process.pid, "fd")):
            (self.root / str(pid) / name).mkdir(exist_ok=True)
        inode = 100_000 + port
        line = f"0: 00000000:{port:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 {inode} 1\n"
        (self.root / str(AGENT) / "net" / "tcp").write_text(line)
        (self.root / str(process.pid) / "fd" / str(port)).symlink_to(f"socket:[{inode}]")

    def change(self, process: Process, state: str = "", parent: int = 0) -> None:
        """Change the state or the parent; a dead process has no command line any more."""
        process.state, process.parent = state or process.state, parent or process.parent
        self._stat(process.pid, process.state, process.parent, process.pgid, process.session, process.started)
        if process.dead:
            (self.root / str(process.pid) / "cmdline").write_bytes(b"")

    def retitle(self, pid: int, title: str) -> None:
        (self.root / str(pid) / "cmdline").write_bytes(title.encode() + b"\0\0\0")

    def end(self, process: Process) -> None:
        """Remove a process; its children become the first process's."""
        shutil.rmtree(self.root / str(process.pid))

    def hide(self, pid: int, name: str) -> None:
        """Make one file of a process unreadable, as hidepid or missing rights do."""
        path = self.root / str(pid) / name
        path.unlink()
