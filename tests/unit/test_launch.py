"""Starting a daemon: what it gets is read back from /proc, whatever state the calling agent was in."""

from __future__ import annotations

import contextlib
import os
import pwd
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from real_daemon import until

from ocf_common.launch import OUTPUT_LIMIT, Command, LaunchError, launch
from ocf_common.pidfile import read, write
from ocf_common.procfs import Proc

LIBRARY = Path(__file__).resolve().parents[2]
#: 32 and 33 are the C library's own: its posix_spawn leaves them ignored and no program can change that
LIBRARY_SIGNALS = 1 << 31 | 1 << 32
SLEEP = ["/bin/sleep", "300"]
#: an agent as Pacemaker might run it: odd umask, limits, signals, descriptors, and a password in the environment
AGENT = """
import os, pwd, resource, signal, sys
sys.path.insert(0, sys.argv[1])
from ocf_common.launch import Command, launch
os.umask(0o026)
os.chdir("/tmp")
for number in (signal.SIGINT, signal.SIGCHLD, signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR2])
resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
os.environ["OCF_RESKEY_os_password"] = "secretsecret"
for number in (7, 9):
    os.dup2(os.open("/etc/passwd", os.O_RDONLY), number, inheritable=True)
with open("/proc/self/oom_score_adj", "w") as score:
    score.write("500")
account = pwd.getpwuid(int(sys.argv[2]))
child = launch(Command(sys.argv[5:], account, {"OS_X_CONFIG": "/etc/x"}, sys.argv[3], int(sys.argv[4])))
print(child.pid, flush=True)
os._exit(0)
"""


class Launcher:
    """Launches through an agent's process of its own, for launching changes the process that does it."""

    def __init__(self, folder: Path) -> None:
        self.account = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        self.logs = folder / "log"
        self.logs.mkdir()
        if os.geteuid() == 0:
            os.chown(self.logs, self.account.pw_uid, self.account.pw_gid)
        self.output = self.logs / "x.out"
        self.pids: list[int] = []

    def start(self, arguments: Sequence[str] = SLEEP, open_files: int = 1000) -> int:
        """Give the number of the daemon, which executes already."""
        command = [sys.executable, "-c", AGENT, str(LIBRARY), str(self.account.pw_uid), str(self.output)]
        done = subprocess.run([*command, str(open_files), *arguments], stdout=subprocess.PIPE, check=True)
        self.pids.append(int(done.stdout))
        return self.pids[-1]

    def clean(self) -> None:
        for pid in self.pids:
            # What was launched leads its own session, so nobody else can be hit.
            with contextlib.suppress(ProcessLookupError):
                if os.getsid(pid) == pid:
                    os.kill(pid, signal.SIGKILL)


@pytest.fixture
def launcher(public: Path) -> Iterator[Launcher]:
    made = Launcher(public)
    yield made
    made.clean()


def status(pid: int) -> Mapping[str, str]:
    """Give the fields of /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def descriptors(pid: int) -> dict[str, str]:
    """Give what each descriptor leads to; nothing where one was closed meanwhile."""
    folder = Path(f"/proc/{pid}/fd")
    try:
        return {name: os.readlink(folder / name) for name in os.listdir(folder)}
    except FileNotFoundError:
        return {}


def open_files(pid: int) -> tuple[int, int]:
    """Give the soft and the hard limit of open files."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    soft, hard = next(line for line in lines if line.startswith("Max open files")).split()[3:5]
    return int(soft), int(hard)


def test_everything_that_a_good_init_system_sets(launcher: Launcher) -> None:
    pid = launcher.start()
    folder = Path(f"/proc/{pid}")
    expected = {"0": "/dev/null", "1": str(launcher.output), "2": str(launcher.output)}
    until(lambda: descriptors(pid) == expected)  # its loader has closed the libraries and locales
    fields = status(pid)
    assert folder.joinpath("cmdline").read_bytes().split(b"\0")[:-1] == [word.encode() for word in SLEEP]
    assert os.getsid(pid) == os.getpgid(pid) == pid
    assert fields["Umask"] == "0022"
    assert os.readlink(folder / "cwd") == "/"
    assert {int(fields[name], 16) & ~LIBRARY_SIGNALS for name in ("SigIgn", "SigBlk")} == {0}
    environment = dict(word.split(b"=", 1) for word in folder.joinpath("environ").read_bytes().split(b"\0")[:-1])
    assert environment == {
        b"PATH": b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        b"HOME": launcher.account.pw_dir.encode(),
        b"LANG": b"C.UTF-8",
        b"OS_X_CONFIG": b"/etc/x",
    }


def test_oom_score_is_an_ordinary_services(launcher: Launcher, root: None) -> None:
    assert Path(f"/proc/{launcher.start()}/oom_score_adj").read_text().strip() == "0"


@pytest.mark.parametrize("wanted", [100, 1000])
def test_limit_of_open_files(launcher: Launcher, wanted: int) -> None:
    assert open_files(launcher.start(open_files=wanted)) == (wanted, wanted)


def test_limit_of_open_files_that_is_not_allowed_becomes_the_highest_that_is(launcher: Launcher) -> None:
    soft, hard = open_files(launcher.start(open_files=2_000_000_000))
    assert soft == hard >= resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def test_user_with_all_its_groups(launcher: Launcher, root: None) -> None:
    account = max(pwd.getpwall(), key=lambda entry: (len(os.getgrouplist(entry.pw_name, entry.pw_gid)), entry.pw_uid))
    launcher.account = account
    fields = status(launcher.start())
    assert fields["Uid"].split() == [str(account.pw_uid)] * 4
    assert fields["Gid"].split() == [str(account.pw_gid)] * 4
    assert sorted(map(int, fields["Groups"].split())) == sorted(os.getgrouplist(account.pw_name, account.pw_gid))


def test_ordinary_user_keeps_no_right_of_root(launcher: Launcher, root: None) -> None:
    fields = status(launcher.start())
    assert {int(fields[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}


def test_output_is_kept_in_a_file_of_the_daemons_user(launcher: Launcher) -> None:
    launcher.start(["/bin/sh", "-c", "echo out; echo err >&2"])
    until(lambda: launcher.output.exists() and launcher.output.read_text() == "out\nerr\n")
    found = launcher.output.stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o640, launcher.account.pw_uid)


def test_output_is_appended_and_becomes_an_old_one_when_it_is_large(launcher: Launcher) -> None:
    def speak() -> None:
        launcher.start(["/bin/sh", "-c", "echo more"])
        until(lambda: launcher.output.exists() and launcher.output.read_bytes().endswith(b"more\n"))

    launcher.output.write_bytes(b"x" * OUTPUT_LIMIT)
    os.chown(launcher.output, launcher.account.pw_uid, launcher.account.pw_gid)
    speak()
    assert launcher.output.stat().st_size == OUTPUT_LIMIT + 5
    speak()
    assert launcher.output.read_text() == "more\n"
    assert (launcher.logs / "x.out.1").stat().st_size == OUTPUT_LIMIT + 5


def plant_link(output: Path, target: Path) -> None:
    output.symlink_to(target)


def plant_second_name(output: Path, target: Path) -> None:
    os.link(target, output)


def plant_pipe(output: Path, target: Path) -> None:
    os.mkfifo(output)


def plant_folder(output: Path, target: Path) -> None:
    output.mkdir()


@pytest.mark.parametrize("plant", [plant_link, plant_second_name, plant_pipe, plant_folder])
def test_what_is_planted_in_place_of_the_output_is_not_written(launcher: Launcher, plant: object) -> None:
    target = launcher.logs / "target"
    target.write_text("untouched")
    target.chmod(0o666)
    assert callable(plant)
    plant(launcher.output, target)
    pid = launcher.start(["/bin/sh", "-c", "echo out; exec sleep 300"])
    assert os.readlink(f"/proc/{pid}/fd/1") == "/dev/null"
    assert target.read_text() == "untouched"


def test_a_folder_that_the_user_may_not_write_costs_the_output_only(launcher: Launcher, root: None) -> None:
    os.chown(launcher.logs, 0, 0)
    pid = launcher.start()
    assert os.readlink(f"/proc/{pid}/fd/2") == "/dev/null"
    assert not launcher.output.exists()


@pytest.mark.parametrize(
    ("program", "why"), [("/nowhere/daemon", "No such file"), ("/etc/passwd", "denied"), ("/", "denied")]
)
def test_what_cannot_be_executed_is_an_error_with_its_reason(tmp_path: Path, program: str, why: str) -> None:
    """In a process of its own, for launching gives this one's limits away."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            launch(Command([program], pwd.getpwuid(os.geteuid()), {}, str(tmp_path / "x.out"), 1000))
        except LaunchError as error:
            code = 0 if program in str(error) and why in str(error) and "\n" not in str(error) else 2
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0


def test_the_agent_outlives_a_connection_that_is_closed_at_its_other_end(tmp_path: Path) -> None:
    """It goes on to ask the service and its dependencies. In a process of its own, as above."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            launch(Command(["/bin/true"], pwd.getpwuid(os.geteuid()), {}, str(tmp_path / "x.out"), 1000))
            reader, writer = os.pipe()
            os.close(reader)
            os.write(writer, b"x")
        except BrokenPipeError:
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0


def test_the_pid_file_takes_the_place_of_a_planted_link(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("untouched")
    path = tmp_path / "x.pid"
    path.symlink_to(target)
    assert read(str(path)) is None
    me = Proc().process(os.getpid())
    assert me is not None
    write(str(path), me, Proc().boot())
    assert target.read_text() == "untouched"
    assert not path.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    record = read(str(path))
    assert record is not None
    assert record.is_same(me, Proc().boot())
