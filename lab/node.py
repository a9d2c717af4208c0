"""One node: a systemd container over the image, and what can be done to it.

A node's files are an overlay: read-only layers below, one writable directory above. It boots with systemd-nspawn
in namespaces and cgroups of its own. All that exists because of a node is written to `record.json` in its run
folder before it is made, so that `reap` can remove what a killed program left behind.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lab import cache, progress, settings
from lab.network import Network

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Of the host's cgroups a node gets its own part of these: systemd's own tree (version 1 hosts) and the unified one.
_CGROUP_TREES = [Path("/sys/fs/cgroup/systemd"), Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")]

# Commands of `run` sit beside systemd's units, in no unit, as a shell on the console would.
_COMMANDS_CGROUP = "lab-commands"

# Moves itself into the cgroups named before "--", then becomes the command. Two forks less than any other way.
_JOIN = 'while [ "$1" != -- ]; do echo 0 >"$1"; shift; done; shift; unset PWD; exec "$@"'


class Node:
    """A node that is not booted yet; use it as a context manager, or call `boot` and `destroy`.

    layers: read-only directories, the uppermost first. hostname: its name in the node. binds: (host path, node path)
    shown read-only in the node. network: the bridge to join; None for a node with only a loopback.
    files: text files to write before the boot, by path in the node. shares: as binds, and the node may write there.
    """

    def __init__(
        self,
        layers: Sequence[Path],
        hostname: str = "controller",
        binds: Sequence[tuple[Path, str]] = (),
        network: Network | None = None,
        address: str = "",
        files: Mapping[str, str] | None = None,
        shares: Sequence[tuple[Path, str]] = (),
    ) -> None:
        self.layers = list(layers)
        self.hostname = hostname
        self.binds = list(binds)
        self.shares = list(shares)
        self.network = network
        self.address = address
        self.files = dict(files or {})
        # Interface names have at most 15 characters, nspawn's are `vb-` and the machine's name.
        self.machine = "lab" + uuid.uuid4().hex[:8]
        self.folder = settings.RUN / self.machine
        self.upper = self.folder / "upper"
        self.root = self.folder / "root"
        self.leader = 0
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._record: dict[str, Any] = {}
        # The roots of the node's own cgroup trees; known when it is up.
        self._cgroups: list[Path] = []

    # -- life --------------------------------------------------------------------------------------

    def __enter__(self) -> Node:
        if not self.leader:
            self.boot()
        return self

    def __exit__(self, *_: object) -> None:
        self.destroy()

    def boot(self, timeout: float = 180, keep: bool = False) -> None:
        """Mount, boot, and return when the node's systemd has finished its start.

        timeout: seconds. keep: the node outlives this program (`python3 -m lab down` removes it).
        Raises settings.LabError when it does not come up: then a new node is removed, and one that has run before
        is down and keeps its files.
        """
        new = not self._record
        try:
            if new:
                reap()
                self._prepare(keep)
            elif not self.folder.exists():
                raise settings.LabError(f"{self.hostname} has been removed")
            self._start(timeout)
            self.wait_booted(timeout)
        except BaseException:
            if new:
                self.destroy()
            else:
                self.crash()
            raise

    def wait_booted(self, timeout: float = 180) -> None:
        """Wait until systemd in the node has no more jobs; units that failed do not count. timeout: seconds."""
        try:
            self.run(["systemctl", "is-system-running", "--wait"], timeout=timeout)
        except subprocess.TimeoutExpired:
            raise settings.LabError(f"{self.hostname} did not finish its boot in {timeout:g} s") from None

    def stop(self, timeout: float = 40) -> None:
        """Shut the node down in an orderly way; its files stay, `boot` brings it back. timeout: seconds."""
        if self._nspawn is None:
            return
        # systemd(1): SIGRTMIN+4 powers off.
        self._signal(signal.SIGRTMIN + 4)
        try:
            self._nspawn.wait(timeout)
        except subprocess.TimeoutExpired:
            progress.say(f"{self.hostname} did not shut down in {timeout:g} s")
        self.crash()

    def crash(self) -> None:
        """Pull the plug: SIGKILL for the node's first process, and with it for all others; its files stay."""
        if self._nspawn is None:
            return
        self.kill()
        self.thaw()
        self._nspawn.wait()
        self._nspawn = None
        self.leader = 0

    def kill(self) -> None:
        """Do the first part of `crash`, from any thread: a boot that is under way in another one fails soon."""
        self._signal(signal.SIGKILL)

    def freeze(self) -> None:
        """Let no process of the node run, as a hanging virtual machine."""
        for cgroup in self._cgroups:
            if (cgroup / "cgroup.freeze").exists():
                (cgroup / "cgroup.freeze").write_text("1")
                until(lambda cgroup=cgroup: "frozen 1" in (cgroup / "cgroup.events").read_text(), 10, "frozen")

    def thaw(self) -> None:
        """Let a frozen node go on."""
        for cgroup in self._cgroups:
            if (cgroup / "cgroup.freeze").exists():
                (cgroup / "cgroup.freeze").write_text("0")

    def keep_changes(self, target: Path) -> None:
        """Move what a stopped node has written to a directory that can be a layer of other nodes, and destroy it.

        target: on the cache's file system; must not exist.
        """
        if self.leader:
            raise settings.LabError(f"{self.hostname} is running")
        # Unmounted, the upper directory is complete; a rename keeps its marks for deleted files.
        subprocess.run(["umount", str(self.root)], check=True)
        self.upper.rename(target)
        self.destroy()

    def destroy(self) -> None:
        """Crash the node and remove every trace of it."""
        self.crash()
        remove(self.folder)
        _alive.discard(self)

    # -- work --------------------------------------------------------------------------------------

    def run(
        self,
        argv: Sequence[str],
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        input: str | None = None,
        timeout: float = 60,
        check: bool = False,
        cgroup: str = _COMMANDS_CGROUP,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the node, in all its namespaces, and give back what it said.

        env: the whole environment, PATH aside. user: whom to run as, with all groups; None is root. timeout: seconds,
        then the command's process group is killed and subprocess.TimeoutExpired raised. check: raise
        settings.LabError with its last words unless it returned 0. cgroup: the node's cgroup to run in, for example
        `system.slice/pacemaker.service`.
        """
        process = self.popen(
            argv,
            env,
            user,
            cgroup,
            stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            out, err = process.communicate(input, timeout)
        except BaseException:
            # nsenter waits for the command in the node: the group holds both.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
            raise
        done = subprocess.CompletedProcess(list(argv), process.returncode, out, err)
        if check and done.returncode:
            words = (done.stderr or done.stdout)[-3000:]
            raise settings.LabError(f"{' '.join(argv)[:100]} returned {done.returncode} in {self.hostname}:\n{words}")
        return done

    def popen(
        self,
        argv: Sequence[str],
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        cgroup: str = _COMMANDS_CGROUP,
        **options: Any,
    ) -> subprocess.Popen[str]:
        """Start a command in the node as `run` does; options are those of subprocess.Popen.

        Its process number is that of a helper on the host (nsenter), which leads a process group that also holds
        the command: `os.killpg(process.pid, ...)` reaches both.
        """
        if not self.leader:
            raise settings.LabError(f"{self.hostname} is not running")
        command = ["/bin/sh", "-c", _JOIN, "sh"]
        for tree in self._cgroups:
            (tree / cgroup).mkdir(parents=True, exist_ok=True)
            command.append(f"{tree / cgroup}/cgroup.procs")
        command += ["--", "nsenter", "--all", "--target", str(self.leader)]
        if user is not None:
            command += ["/usr/bin/setpriv", "--reuid", user, "--regid", user, "--init-groups"]
        options.setdefault("start_new_session", True)
        return subprocess.Popen([*command, "--", *argv], env={"PATH": PATH, **(env or {})}, text=True, **options)

    def path(self, name: str) -> Path:
        """Give the host's name of a file in the running node, its /run and /tmp included.

        `root` shows the node's disk only, but also while the node is down.
        """
        return Path(f"/proc/{self.leader}/root", name.lstrip("/"))

    def start_unit(self, name: str, timeout: float = 60) -> None:
        """Start a unit and wait until systemd calls it started. timeout: seconds."""
        self._systemctl("start", name, timeout)

    def stop_unit(self, name: str, timeout: float = 60) -> None:
        """Stop a unit and wait until it is. timeout: seconds."""
        self._systemctl("stop", name, timeout)

    def wait_until(self, argv: Sequence[str], timeout: float = 30, **options: Any) -> None:
        """Repeat a command until it returns 0; options are those of `run`.

        timeout: seconds. Raises settings.LabError with the command's last words.
        """
        said = ""

        def succeeds() -> bool:
            nonlocal said
            done = self.run(argv, **options)
            said = (done.stderr or done.stdout).strip()
            return done.returncode == 0

        until(succeeds, timeout, lambda: f"{' '.join(argv)}: {said}", pause=0.2)

    # -- inside ------------------------------------------------------------------------------------

    def _systemctl(self, verb: str, unit: str, timeout: float) -> None:
        done = self.run(["systemctl", verb, unit], timeout=timeout)
        if done.returncode:
            status = self.run(["systemctl", "status", "--no-pager", "--lines=20", unit]).stdout
            raise settings.LabError(f"systemctl {verb} {unit}: {done.stderr.strip()}\n{status}")

    def _signal(self, number: int) -> None:
        """Signal the node's first process; for as long as none is known, systemd-nspawn and what it has begun."""
        nspawn, leader = self._nspawn, self._record.get("leader")
        if nspawn is None or nspawn.poll() is not None:
            return
        targets = [leader[0]] if leader and _lives(leader) else [*_children(nspawn.pid), nspawn.pid]
        for pid in targets:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _prepare(self, keep: bool) -> None:
        """Write the record, mount the files, write what is this node's own."""
        facts = {"hostname": self.hostname}
        if self.network is not None:
            facts["network"] = self.network.name
        self._record = claim(self.folder, keep, **facts)
        if not keep:
            _alive.add(self)
        mount_overlay(self.layers, self.folder)
        own = {
            "/etc/hostname": f"{self.hostname}\n",
            # Without one systemd takes this for a first boot and enables every unit again.
            "/etc/machine-id": f"{uuid.uuid4().hex}\n",
            "/etc/hosts": f"127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {self.hostname}\n",
        }
        for name, text in {**own, **self.files}.items():
            place = self.root / name.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        if self.address:
            self._configure_network()

    def _configure_network(self) -> None:
        """Let systemd-networkd give the node its address, at every boot."""
        etc = self.root / "etc/systemd"
        (etc / "network").mkdir(parents=True, exist_ok=True)
        text = f"[Match]\nName=host0\n\n[Network]\nAddress={self.address}\nLinkLocalAddressing=no\n"
        (etc / "network/10-host0.network").write_text(text)
        unit = "systemd-networkd.service"
        wants = etc / "system/multi-user.target.wants"
        wants.mkdir(parents=True, exist_ok=True)
        (wants / unit).symlink_to(f"/lib/systemd/system/{unit}")

    def _start(self, timeout: float) -> None:
        """Start systemd-nspawn; return when it names the first process and that one says it is up."""
        command = [
            "systemd-nspawn", "--quiet", "--boot", f"--directory={self.root}", f"--machine={self.machine}",
            f"--hostname={self.hostname}", "--register=no", "--notify-ready=yes", "--console=read-only",
            "--resolv-conf=off", "--timezone=off", "--link-journal=no",
            "--capability=CAP_SYS_NICE,CAP_IPC_LOCK,CAP_NET_ADMIN",
        ]  # fmt: skip
        command += [f"--bind-ro={source}:{target}" for source, target in self.binds]
        command += [f"--bind={source}:{target}" for source, target in self.shares]
        if self.network is None:
            command.append("--private-network")
        else:
            command = ["nsenter", f"--net={self.network.path}", "--", *command]
            command.append(f"--network-bridge={self.network.BRIDGE}")
        join = []
        if not Path("/run/systemd/system").exists():
            # No systemd on the host that would make a scope. In the caller's cgroup two nodes would be in each
            # other's way: each takes its own for the root.
            command.append("--keep-unit")
            own = [tree / self.machine for tree in _cgroup_trees()]
            self._record["own_cgroups"] = [str(cgroup) for cgroup in own]
            self._save()
            for cgroup in own:
                cgroup.mkdir(exist_ok=True)
                join.append(f"{cgroup}/cgroup.procs")
        address = self.folder / "notify"
        address.unlink(missing_ok=True)
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify,
            open(self.folder / "console.log", "ab") as log,
        ):
            notify.bind(str(address))
            self._nspawn = subprocess.Popen(
                ["/bin/sh", "-c", _JOIN, "sh", *join, "--", *command],
                env={"PATH": PATH, "NOTIFY_SOCKET": str(address), "SYSTEMD_LOG_LEVEL": "warning"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            self._record["nspawn"] = _identity(self._nspawn.pid)
            self._save()
            self._listen(notify, time.monotonic() + timeout)
        self._cgroups = _cgroup_roots(self.leader)
        self._record["cgroups"] = [str(path) for path in self._cgroups]
        self._save()

    def _save(self) -> None:
        _write_record(self.folder, self._record)

    def _listen(self, notify: socket.socket, deadline: float) -> None:
        """Read nspawn's notifications until the node is up (sd_notify(3), `X_NSPAWN_LEADER_PID`)."""
        assert self._nspawn is not None
        notify.settimeout(0.5)
        while True:
            if self._nspawn.poll() is not None or time.monotonic() > deadline:
                console = (self.folder / "console.log").read_text(errors="replace")[-2000:]
                raise settings.LabError(f"{self.hostname} did not boot:\n{console}")
            try:
                message = dict(line.partition("=")[::2] for line in notify.recv(4096).decode().splitlines())
            except (TimeoutError, socket.timeout):  # the second is its name before Python 3.10
                continue
            if "X_NSPAWN_LEADER_PID" in message:
                leader = int(message["X_NSPAWN_LEADER_PID"])
                self._record["leader"] = _identity(leader)
                self._save()
                self.leader = leader
            if message.get("READY") == "1":
                return


def claim(folder: Path, keep: bool, **facts: str) -> dict[str, Any]:
    """Make a run folder with the record that `reap` goes by; give the record.

    keep: what is there outlives this program as it is now; where it goes on (a cluster's power switch), removing
    the folder ends it. facts: put into the record (`hostname`, `network`).
    """
    for name in ("upper", "work", "root"):
        (folder / name).mkdir(parents=True)
    own = _identity(os.getpid())
    record: dict[str, Any] = {"owner": None, "program": own, **facts} if keep else {"owner": own, **facts}
    _write_record(folder, record)
    return record


def mount_overlay(layers: Sequence[Path], folder: Path) -> None:
    """Mount read-only layers, the uppermost first, on `root` of a run folder; what is written lands in `upper`."""
    if any(":" in str(path) or "," in str(path) for path in [settings.CACHE, *layers]):
        raise settings.LabError("the cache folder's name may hold neither ':' nor ','")
    lower = ":".join(str(path) for path in layers)
    # volatile: fsync costs nothing. What a crash of the node (not of the host) may lose is the same.
    options = f"volatile,lowerdir={lower},upperdir={folder / 'upper'},workdir={folder / 'work'}"
    subprocess.run(["mount", "-t", "overlay", folder.name, "-o", options, str(folder / "root")], check=True)


def _write_record(folder: Path, record: dict[str, Any]) -> None:
    # Whole at any moment: to another program that cleans up, a folder with half a record is nobody's.
    new = folder / "record.json.new"
    new.write_text(json.dumps(record))
    new.replace(folder / "record.json")


_alive: set[Node] = set()


@atexit.register
def _destroy_all() -> None:
    for node in list(_alive):
        node.destroy()


@contextlib.contextmanager
def orderly_exit() -> Iterator[None]:
    """Within this, SIGTERM and SIGHUP end the program as Ctrl-C does: with all context managers left in order."""

    def leave(number: int, _frame: object) -> None:
        # As Ctrl-C indeed: to pytest any other exception, SystemExit too, is a failed test, and it goes on.
        raise KeyboardInterrupt(signal.Signals(number).name)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# -- what is left behind ---------------------------------------------------------------------------


def records() -> dict[Path, dict[str, Any]]:
    """Read what every node on this machine wrote about itself, by run folder."""
    found = {}
    for folder in sorted(settings.RUN.glob("*")):
        try:
            found[folder] = json.loads((folder / "record.json").read_text())
        except (OSError, ValueError):
            # Died before its record was written: nothing but folders exists.
            found[folder] = {}
    return found


def state(record: Mapping[str, Any]) -> str:
    """Say in a word what a node of that record does."""
    return "running" if _lives(record.get("leader")) else "down"


def attach(folder: Path) -> Node:
    """Give the kept node of that run folder, to run commands in it; what it is made of is not known here."""
    record = json.loads((folder / "record.json").read_text())
    if not _lives(record.get("leader")):
        raise settings.LabError(f"{folder.name} is not running")
    node = Node([], hostname=record["hostname"])
    node.machine, node.folder, node.upper, node.root = folder.name, folder, folder / "upper", folder / "root"
    node._cgroups = [Path(path) for path in record["cgroups"]]
    node.leader = record["leader"][0]
    return node


def reap(kept: bool = False, living: bool = False, names: Sequence[str] = ()) -> list[str]:
    """Remove the nodes whose program is dead; also kept ones, also those of living programs, if so told.

    names: look at these only. Returns the names of the removed; what cannot be removed is said, and stays.
    """
    removed = []
    with cache.locked("run", "removes what is left of old nodes"):
        # First the programs that would boot their nodes again.
        for folder, record in sorted(records().items(), key=lambda item: "program" not in item[1]):
            if names and folder.name not in names:
                continue
            owner = record.get("owner")
            # A folder without a record may be a node that another program is making this very moment.
            fresh = not record and time.time() - folder.stat().st_mtime < 10
            if kept if owner is None and record else living or not (_lives(owner) or fresh):
                try:
                    remove(folder, record)
                    removed.append(folder.name)
                except (settings.LabError, OSError, subprocess.CalledProcessError) as error:
                    progress.say(f"{folder.name} ({record.get('hostname', '?')}) could not be removed: {error}")
    return removed


def remove(folder: Path, record: dict[str, Any] | None = None) -> None:
    """Remove processes, mount, cgroups and files of one node."""
    record = records().get(folder, {}) if record is None else record
    for name in ("program", "leader", "nspawn"):
        if _lives(record.get(name)) and record[name][0] != os.getpid():
            pid = record[name][0]
            # Its children: a first process that had no time to be recorded.
            for one in [*(_children(pid) if name == "nspawn" else []), pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(one, signal.SIGKILL)
    for cgroup in map(Path, record.get("own_cgroups", [])):
        _remove_cgroup(cgroup)
    for process in ("leader", "nspawn"):
        until(lambda process=process: not _lives(record.get(process)), 10, f"the end of {process}")
    while os.path.ismount(folder / "root"):
        subprocess.run(["umount", str(folder / "root")], check=True)
    shutil.rmtree(folder, ignore_errors=True)
    network = record.get("network")
    if network and not any(other.get("network") == network for other in records().values()):
        Network(network).remove()


def _remove_cgroup(cgroup: Path) -> None:
    """Remove a tree of cgroups with all processes in it; frozen ones die as soon as they are thawed."""
    if not cgroup.is_dir():
        return
    if (cgroup / "cgroup.freeze").exists():
        (cgroup / "cgroup.freeze").write_text("0")
    for folder, _, _ in os.walk(cgroup, topdown=False):

        def gone(folder: str = folder) -> bool:
            with contextlib.suppress(OSError):
                # Also what no record names, as its program was killed before it could write one.
                for pid in map(int, Path(folder, "cgroup.procs").read_text().split()):
                    if pid:  # 0 stands for a process that is not seen from here
                        os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(OSError):
                os.rmdir(folder)
            return not os.path.isdir(folder)

        # Not empty for as long as a killed process has not been collected.
        until(gone, 10, f"an empty {folder}")


def _cgroup_trees() -> list[Path]:
    found = [tree for tree in _CGROUP_TREES if (tree / "cgroup.procs").exists()]
    if not found:
        raise settings.LabError("no cgroups are mounted on this machine")
    return found


def _cgroup_roots(leader: int) -> list[Path]:
    """Find which of the host's cgroups the node takes for its roots: those above systemd's init.scope."""
    hybrid = Path("/sys/fs/cgroup/unified")
    places = {
        "name=systemd": Path("/sys/fs/cgroup/systemd"),
        "": hybrid if hybrid.is_dir() else Path("/sys/fs/cgroup"),
    }
    roots = []
    for line in Path(f"/proc/{leader}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in places:
            roots.append(places[controllers] / path.lstrip("/").removesuffix("init.scope"))
    return roots


def _identity(pid: int) -> list[int]:
    """Name a process beyond its number's reuse: number and start time in clock ticks (proc(5), field 22)."""
    text = Path(f"/proc/{pid}/stat").read_text()
    return [pid, int(text.rpartition(")")[2].split()[19])]


def _children(pid: int) -> list[int]:
    try:
        return [int(number) for number in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _lives(identity: list[int] | None) -> bool:
    if not identity:
        return False
    try:
        text = Path(f"/proc/{identity[0]}/stat").read_text()
        return _identity(identity[0]) == identity and text.rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def until(condition: Any, timeout: float, what: Any, pause: float = 0.02) -> None:
    """Wait for a condition that nobody reports, asking it again and again."""
    deadline = time.monotonic() + timeout
    waiting = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            raise settings.LabError(f"not in {timeout:g} s: {what() if callable(what) else what}")
        waiting.wait(pause)
