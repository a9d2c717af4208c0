"""Start and stop of real small daemons behind an agent that is made for the test; no root is needed."""

from __future__ import annotations

import json
import os
import pwd
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from fake_proc import FakeProc
from real_daemon import RealDaemon, until
from resource_maker import make

from ocf_common import starting
from ocf_common.api_service import ApiService
from ocf_common.deadline import Deadline, OutOfTime
from ocf_common.exit_codes import GenericError
from ocf_common.forms import Form
from ocf_common.lifecycle import Lifecycle
from ocf_common.outcomes import DependencyDown, Misconfigured
from ocf_common.pidfile import read
from ocf_common.procfs import Proc
from ocf_common.service import Service
from ocf_common.starting import Starting

#: an agent like those in agents/, which takes an ordinary user for root: it starts daemons of that user only
AGENT = """
import os, sys
sys.path.insert(0, sys.argv.pop(1))
from ocf_common import lifecycle
from ocf_common.api_service import ApiService
from ocf_common.procfs import Proc

class Api(ApiService):
    name = "nova-scheduler"
    shortdesc = "a test"
    project = "nova"
    binary = "nova-scheduler"
    dependencies = ("database",)
    bind_host = (("DEFAULT", "address"),)
    bind_port = (("DEFAULT", "port"),)

code = lifecycle.run(Api, os.environ, sys.argv, 0, Proc())
sys.stderr.flush()
os._exit(code)
"""


class Resource:
    """One resource; ``call`` gives exit code, reason and seconds."""

    def __init__(self, daemon: RealDaemon, folder: Path) -> None:
        self.daemon = daemon
        self.folder = folder
        # Bound, not listening, to the end of the test: nobody else is given it; who asks for it by SO_REUSEADDR, as the
        # daemon does, may listen there.
        self.reserved = socket.socket()
        self.reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.reserved.bind(("127.0.0.1", 0))
        self.port = self.reserved.getsockname()[1]
        self.configure()
        self.options = ["--port", str(self.port)]
        self.given = {
            "binary": str(daemon.script),
            "config": str(daemon.config),
            "user": pwd.getpwuid(os.geteuid()).pw_name,
            "output_file": str(folder / "x.out"),
        }

    def configure(self, database: str = "sqlite:////dev/null", address: str = "") -> None:
        text = f"[DEFAULT]\naddress = {address}\nport = {self.port}\n[database]\nconnection = {database}\n"
        self.daemon.config.write_text(text)

    @property
    def pid_file(self) -> Path:
        return self.folder / "p_x.pid"

    def call(self, action: str, timeout: float = 20, interval: float = 0) -> tuple[int, str, float]:
        variables = {
            "PATH": os.environ["PATH"],
            "HA_RSCTMP": str(self.folder),
            "OCF_RESOURCE_INSTANCE": "p_x",
            "OCF_RESKEY_CRM_meta_timeout": str(timeout * 1000),
            "OCF_RESKEY_CRM_meta_interval": str(interval * 1000),
            "OCF_RESKEY_additional_parameters": " ".join(self.options),
            **{f"OCF_RESKEY_{name}": value for name, value in self.given.items()},
        }
        begin = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", AGENT, str(Path(__file__).resolve().parents[2]), action],
            env=variables,
            stderr=subprocess.PIPE,
            text=True,
            timeout=timeout + 30,
        )
        seconds = time.monotonic() - begin
        for process in self.daemon.find().all():
            self.daemon.seen[process.key] = process
        assert done.stderr.count("\n") == bool(done.stderr)
        return done.returncode, done.stderr.strip().replace("ocf-exit-reason:", ""), seconds

    def start_unasked(self) -> None:
        """Start a daemon that listens nowhere; it is up when it says so itself."""
        self.given["url"] = ""
        assert self.call("start")[0] == 0
        until(lambda: '"main"' in (self.folder / "x.out").read_text())

    def main(self) -> int:
        """Give the number of the main process that runs, or 0."""
        tree = self.daemon.find()
        return tree.main.pid if tree.main is not None else 0


@pytest.fixture
def resource(daemon: RealDaemon, public: Path) -> Iterator[Resource]:
    folder = public / "state"
    folder.mkdir()
    made = Resource(daemon, folder)
    with made.reserved:
        yield made


def test_from_start_to_stop(resource: Resource) -> None:
    assert resource.call("monitor")[0] == 7
    assert resource.call("start")[:2] == (0, "")
    main = resource.main()
    assert resource.pid_file.read_text().splitlines()[0] == str(main)
    assert resource.call("start")[:2] == (0, "")
    assert resource.main() == main
    assert resource.call("monitor", interval=20)[:2] == (0, "")
    assert resource.call("stop")[:2] == (0, "")
    assert not resource.pid_file.exists()
    assert resource.call("monitor")[0] == 7
    assert resource.call("stop")[:2] == (0, "")


def test_start_waits_until_the_service_answers(resource: Resource) -> None:
    resource.options += ["--delay", "1.5"]
    code, _, seconds = resource.call("start")
    assert code == 0
    assert seconds >= 1.5


def test_a_daemon_that_dies_at_its_start_fails_the_start_with_its_last_words(resource: Resource) -> None:
    resource.options = ["--die", "3", "--words", "'ConfigError: no paste file'"]
    code, reason, _ = resource.call("start")
    assert (code, reason) == (1, "nova-scheduler exited with status 3: ConfigError: no paste file")


def test_a_daemon_that_is_not_asked_must_live_on_all_the_same(resource: Resource) -> None:
    resource.given["url"] = ""
    resource.options = ["--die-later", "0.5"]
    code, reason, _ = resource.call("start")
    assert (code, "nova-scheduler exited with status 4" in reason) == (1, True)


def test_a_daemon_that_is_not_asked_and_never_idle_has_started_when_the_time_is_over(
    fake_proc: FakeProc, public: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = make(type("Api", (ApiService,), {"binary": "nova-api"}), public, url="")
    service.proc = fake_proc.proc
    fake_proc.add(100, ["/usr/bin/nova-api", "--config-file", service.config_file])
    start = Starting(Lifecycle(service))
    start.deadline = Deadline(0.8)
    monkeypatch.setattr(start, "_has_settled", lambda: False)
    assert start._until_ready(Form("daemon", "/usr/bin/nova-api"), pwd.getpwuid(os.geteuid()))


def test_last_words_of_an_earlier_start_are_not_repeated(resource: Resource) -> None:
    (resource.folder / "x.out").write_text("an Error of yesterday\n")
    resource.options = ["--die", "3"]
    assert resource.call("start")[1] == "nova-scheduler exited with status 3"


def test_a_daemon_that_dies_while_a_dependency_is_down_is_started_again_until_the_time_is_over(
    resource: Resource, closed_port: int
) -> None:
    resource.configure(f"postgresql://u:p@127.0.0.1:{closed_port}/x")
    resource.options = ["--die", "3", "--words", "no-database-Error"]
    code, reason, seconds = resource.call("start", timeout=14)
    assert code == 1
    assert reason.endswith("; nova-scheduler exited with status 3: no-database-Error")
    assert str(closed_port) in reason
    assert (resource.folder / "x.out").read_text().count("no-database-Error") >= 2
    assert seconds < 14


def test_workers_of_a_main_process_that_died_are_ended_before_it_is_started_again(
    resource: Resource, closed_port: int
) -> None:
    resource.configure(f"postgresql://u:p@127.0.0.1:{closed_port}/x")
    resource.options = ["--workers", "2", "--die-later", "0"]
    assert resource.call("start", timeout=9)[0] == 1
    started = [json.loads(line) for line in (resource.folder / "x.out").read_text().splitlines() if "main" in line]
    assert len(started) >= 2
    assert resource.daemon.alive([pid for one in started[:-1] for pid in one["workers"]]) == []
    assert resource.daemon.alive(started[-1]["workers"]) == started[-1]["workers"]


def test_a_daemon_that_died_is_started_again_as_soon_as_the_dependency_is_back(resource: Resource) -> None:
    resource.options = ["--die", "3", "--words", "no-database-Error"]
    with socket.socket() as database:
        database.bind(("127.0.0.1", 0))
        resource.configure(f"postgresql://u:p@127.0.0.1:{database.getsockname()[1]}/x")
        words = resource.folder / "x.out"

        def come_back() -> None:
            until(lambda: words.exists() and words.read_text(), 30)
            time.sleep(3)  # it has been found dead, and its database down
            database.listen()

        back = threading.Thread(target=come_back)
        back.start()
        code, reason, seconds = resource.call("start", timeout=60)
        back.join()
    # It dies again, now with nothing to excuse it.
    assert (code, reason) == (1, "nova-scheduler exited with status 3: no-database-Error")
    assert (resource.folder / "x.out").read_text().count("no-database-Error") == 2
    assert 3 <= seconds < 20


@pytest.mark.parametrize(
    ("seen", "now", "reason"),
    [
        ([DependencyDown("Placement is down", "placement")], [], ""),
        ([], [], " exited with status 1"),
        (
            [DependencyDown("Placement is down", "placement")],
            [Misconfigured("no such user", "database")],
            "no such user; ",
        ),
    ],
    ids=["it was down and is back", "it was never down", "something else is wrong"],
)
def test_a_dependency_excuses_an_end_although_it_has_just_come_back(
    seen: list[DependencyDown | Misconfigured],
    now: list[DependencyDown | Misconfigured],
    reason: str,
    public: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = Starting(Lifecycle(make(type("Api", (ApiService,), {"binary": "nova-api"}), public)))
    launched: list[str] = []
    monkeypatch.setattr(starting.health, "ask_dependencies", lambda *_: now)
    monkeypatch.setattr(start, "_launch", lambda *_: launched.append("again"))
    with pytest.raises(GenericError, match=reason) if reason else nullcontext():
        start._relaunch_or_fail(1, seen, Form("daemon", "/usr/bin/nova-api"), pwd.getpwuid(os.geteuid()))
    assert launched == ([] if reason else ["again"])


def test_a_living_daemon_whose_dependency_is_down_has_started(resource: Resource, closed_port: int) -> None:
    resource.configure(f"postgresql://u:p@127.0.0.1:{closed_port}/x")
    resource.options += ["--status", "503"]
    code, reason, _ = resource.call("start", timeout=10)
    assert code == 0
    assert str(closed_port) in reason
    assert "is started and goes on trying" in reason
    assert resource.main()
    code, reason, _ = resource.call("monitor", interval=20)
    assert code == 190
    assert str(closed_port) in reason
    # The dependency is back, the service has not noticed yet:
    resource.configure()
    code, reason, _ = resource.call("monitor", interval=20)
    assert code == 190
    assert "is back for" in reason


def test_a_living_daemon_that_never_answers_fails_just_before_the_limit(resource: Resource) -> None:
    resource.options += ["--delay", "60"]
    code, reason, seconds = resource.call("start", timeout=10)
    assert code == 1
    assert reason.startswith("nova-scheduler is not ready after 10 s: ")
    assert 6 <= seconds < 10


def test_the_last_question_ends_inside_the_actions_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = Starting(Lifecycle(make(Service, tmp_path)))
    start.environment.timeout = 10
    start.deadline = Deadline(0.51)
    limits = []

    def hang(deadline: Deadline, _: object) -> None:
        limits.append(deadline.left())
        raise OutOfTime

    monkeypatch.setattr(starting, "within", hang)
    assert not start._answers()
    assert limits[0] < 0.51 + start.environment.margin


@pytest.mark.parametrize(
    ("ours", "held"),
    [
        ("", "127.0.0.9"),
        ("127.0.0.1", "0.0.0.0"),  # noqa: S104 - as another program would
        ("127.0.0.1", "127.0.0.1"),
        ("localhost", "127.0.0.1"),
        ("nöbody-knows-it", "127.0.0.9"),
    ],
)
def test_a_port_that_somebody_else_holds_is_named_with_its_holder(resource: Resource, ours: str, held: str) -> None:
    resource.configure(address=ours)
    with socket.socket() as rival:
        rival.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        rival.bind((held, resource.port))
        rival.listen()
        code, reason, _ = resource.call("start")
    assert code == 1
    assert reason.startswith(f"port {resource.port} is held by pid {os.getpid()}")
    assert not resource.main()


@pytest.mark.parametrize(
    ("unit", "advice"),
    [
        ("haproxy", "of haproxy.service; run: systemctl disable --now haproxy.service"),
        ("pacemaker", "(/usr/sbin/haproxy); end it first"),
        ("pacemaker_remote", "(/usr/sbin/haproxy); end it first"),
    ],
)
def test_nobody_is_told_to_disable_pacemaker(fake_proc: FakeProc, public: Path, unit: str, advice: str) -> None:
    """What another resource has started runs in Pacemaker's unit."""
    fake_proc.listen(fake_proc.add(100, ["/usr/sbin/haproxy"], cgroup=f"0::/system.slice/{unit}.service"), 8774)
    service = make(type("Api", (ApiService,), {"default_port": 8774}), public)
    service.proc = fake_proc.proc
    with pytest.raises(GenericError) as caught:
        Starting(Lifecycle(service))._refuse_rivals()
    assert caught.value.reason == f"port 8774 is held by pid 100 {advice}"


def test_the_same_port_of_another_address_may_be_held(resource: Resource) -> None:
    """haproxy listens on the virtual address, the service on the node's own."""
    resource.configure(address="127.0.0.1")
    with socket.socket() as proxy:
        proxy.bind(("127.0.0.9", resource.port))
        proxy.listen()
        assert resource.call("start")[:2] == (0, "")


@pytest.mark.parametrize("lost", [True, False])
def test_a_daemon_that_runs_is_not_started_twice(resource: Resource, lost: bool) -> None:
    assert resource.call("start")[:2] == (0, "")
    main = resource.main()
    if lost:
        resource.pid_file.unlink()
    else:
        resource.pid_file.write_text(f"{main}\n")  # as the old agents wrote it
    assert resource.call("start")[:2] == (0, "")
    assert resource.main() == main
    record = read(str(resource.pid_file))
    process = Proc().process(main)
    assert record is not None
    assert process is not None
    assert record.is_same(process, Proc().boot())


def test_a_daemon_that_gives_root_up_is_known_and_ended(resource: Resource, root: None) -> None:
    resource.options += ["--become", str(pwd.getpwnam("nobody").pw_uid)]
    assert resource.call("start")[:2] == (0, "")
    assert resource.call("monitor", interval=20)[:2] == (0, "")
    assert resource.call("start")[:2] == (0, "")
    assert resource.call("stop")[:2] == (0, "")
    assert resource.main() == 0


def test_a_pid_file_of_another_program_hides_nothing_and_harms_nobody(resource: Resource) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        resource.pid_file.write_text(f"{other.pid}\n")
        assert resource.call("monitor")[0] == 7
        assert resource.call("start")[:2] == (0, "")
        resource.pid_file.write_text(f"{other.pid}\n")
        assert resource.call("stop")[:2] == (0, "")
        assert resource.main() == 0
        other.communicate(b"\n")
    assert other.returncode == 0


def test_workers_of_a_killed_main_process_fail_the_monitor_and_are_ended_by_a_start(resource: Resource) -> None:
    resource.options += ["--workers", "2"]
    assert resource.call("start")[:2] == (0, "")
    first = resource.daemon.find()
    assert first.main is not None
    os.kill(first.main.pid, signal.SIGKILL)
    until(lambda: resource.main() == 0)
    code, reason, _ = resource.call("monitor", interval=20)
    assert code == 1
    assert "its workers are left" in reason
    assert resource.call("start")[:2] == (0, "")
    assert resource.daemon.alive([worker.pid for worker in first.workers]) == []
    assert len(resource.daemon.find().workers) == 2


def test_frozen_service_fails_the_monitor_and_stops(resource: Resource) -> None:
    assert resource.call("start")[:2] == (0, "")
    main = resource.main()
    os.kill(main, signal.SIGSTOP)
    until(lambda: resource.daemon.note(main).stopped)
    code, reason, _ = resource.call("monitor", interval=20)
    assert code == 1
    assert "frozen" in reason
    assert resource.call("stop")[0] == 0
    assert resource.main() == 0


def test_stop_kills_in_time_and_says_so(resource: Resource) -> None:
    resource.options = ["--workers", "2", "--ignore-term", "all"]
    resource.start_unasked()
    code, reason, seconds = resource.call("stop", timeout=10)
    assert (code, reason) == (0, "nova-scheduler did not end in time and was killed")
    assert 7 <= seconds < 10
    assert resource.daemon.find().all() == []


def test_shutdown_grace_kills_earlier(resource: Resource) -> None:
    resource.options = ["--ignore-term", "all"]
    resource.given["shutdown_grace"] = "0.5"
    resource.start_unasked()
    code, _, seconds = resource.call("stop", timeout=20)
    assert code == 0
    assert seconds < 10


@pytest.mark.parametrize("broken", ["config", "binary", "user"])
def test_stop_works_with_a_broken_environment(resource: Resource, broken: str) -> None:
    assert resource.call("start")[:2] == (0, "")
    if broken == "config":
        resource.daemon.config.unlink()
    elif broken == "binary":
        resource.daemon.script.unlink()
    else:
        resource.given["user"] = "removed-from-this-host"
    assert resource.call("stop")[:2] == (0, "")
    assert resource.daemon.find().all() == []


def test_a_daemon_that_puts_itself_into_the_background_is_found(resource: Resource) -> None:
    resource.options += ["--background"]
    assert resource.call("start")[:2] == (0, "")
    assert resource.pid_file.read_text().splitlines()[0] == str(resource.main())
    assert resource.call("monitor", interval=20)[:2] == (0, "")


@pytest.mark.parametrize(
    ("name", "value", "code", "words"),
    [
        ("binary", "/nowhere/nova-scheduler", 5, "is not installed"),
        ("user", "no-such-user", 2, "no user no-such-user"),
        ("config", "/nowhere/x.conf", 2, "/nowhere/x.conf"),
        ("config", "/dev", 2, "/dev"),
        ("open_files", "many", 6, "open_files"),
        ("pid", "/nowhere/x.pid", 2, "/nowhere/x.pid"),
    ],
)
def test_what_is_missing_here_or_wrong_everywhere(
    resource: Resource, name: str, value: str, code: int, words: str
) -> None:
    resource.given[name] = value
    found, reason, _ = resource.call("start")
    assert found == code
    assert words in reason
    assert resource.main() == 0


def test_ocf_tester_can_hide_the_daemon(resource: Resource) -> None:
    resource.given["binary"] = "no-such-daemon"
    assert resource.call("start")[0] == 5
