"""What each action says, with made-up processes and a made-up service; real daemons are in test_starting."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_proc import BOOT, FakeProc

from ocf_common import lifecycle
from ocf_common.deadline import Deadline
from ocf_common.identity import Tree
from ocf_common.memory import Memory
from ocf_common.outcomes import Attention, WrongAnswer
from ocf_common.parameters import Parameter
from ocf_common.service import Service

CONFIG = "/etc/nova/nova.conf"
DAEMON = ["/usr/bin/python3", "/usr/bin/nova-scheduler", "--config-file", CONFIG]
META = "OCF_RESKEY_CRM_meta_"
#: beyond the kernel's numbers: no signal can reach a real process
NOBODYS = 5_000_100
UNIT = "0::/system.slice/nova-scheduler.service"


class Scheduler(Service):
    """A service whose health checks say what the test wants."""

    name = "nova-scheduler"
    binary = "nova-scheduler"
    project = "nova"
    config = CONFIG
    user = "no-such-user-on-this-host"
    says: Exception | None = None
    asked: list[str] = []  # the resource fixture renews it

    @classmethod
    def own_parameters(cls) -> tuple[Parameter, ...]:
        return (Parameter("os_password", "string", None, "short", "long", secret=True),)

    def answers(self, deadline: Deadline, tree: Tree) -> None:
        self.asked.append("answers")
        if self.says is not None:
            raise self.says

    def works(self, deadline: Deadline, tree: Tree) -> None:
        self.asked.append("works")


class Resource:
    """Calls the agent; ``call`` gives exit code and what went to standard error."""

    def __init__(self, fake: FakeProc, folder: Path, read_error: Callable[[], str]) -> None:
        self.fake = fake
        self.folder = folder
        self.read_error = read_error
        self.service: type[Scheduler] = type("Scheduler", (Scheduler,), {"asked": []})
        self.given: dict[str, str] = {"output_file": str(folder / "x.out")}

    @property
    def pid_file(self) -> Path:
        return self.folder / "p_x.pid"

    def call(self, action: str, interval: float = 0, level: int | None = None, uid: int = 0) -> tuple[int, str]:
        variables = {"HA_RSCTMP": str(self.folder), "OCF_RESOURCE_INSTANCE": "p_x", META + "timeout": "5000"}
        variables.update({f"OCF_RESKEY_{name}": value for name, value in self.given.items()})
        if interval:
            variables[META + "interval"] = str(interval * 1000)
        if level is not None:
            variables["OCF_CHECK_LEVEL"] = str(level)
        code = lifecycle.run(self.service, variables, ["/agents/nova-scheduler", action], uid, self.fake.proc)
        error = self.read_error()
        assert error.count("\n") == bool(error)
        return code, error.strip().replace("ocf-exit-reason:", "")

    def monitor(self, level: int | None = None) -> tuple[int, str]:
        return self.call("monitor", 20, level)

    def run_daemon(self, workers: int = 2, main: int = 100, **changes: Any) -> None:
        self.fake.add(main, DAEMON, **changes)
        for pid in range(main + 1, main + 1 + workers):
            self.fake.add(pid, DAEMON, parent=main, group=main, **changes)

    def stop_processes(self, *pids: int) -> None:
        for pid in pids:
            process = self.fake.proc.process(pid)
            assert process is not None
            self.fake.change(process, state="T")

    def remembered(self) -> Memory:
        return Memory(str(self.folder), "p_x")


@pytest.fixture
def resource(fake_proc: FakeProc, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Resource:
    folder = tmp_path / "state"
    folder.mkdir()
    return Resource(fake_proc, folder, lambda: capsys.readouterr().err)


# Nothing runs


@pytest.mark.parametrize("action", ["monitor", "status"])
@pytest.mark.parametrize(("binary", "code"), [("/bin/sh", 7), ("/nowhere/nova-scheduler", 5), ("no-such-daemon", 5)])
def test_probe_without_a_process_is_silent(resource: Resource, action: str, binary: str, code: int) -> None:
    resource.given["binary"] = binary
    assert resource.call(action) == (code, "")


@pytest.mark.parametrize(
    "given",
    [{"config": "/nowhere/nova.conf"}, {"config": "relative"}, {"open_files": "many"}, {"user": "nobody-of-here"}],
)
def test_probe_says_7_whatever_is_wrong_beside_it(resource: Resource, given: dict[str, str]) -> None:
    resource.given.update({"binary": "/bin/sh", **given})
    assert resource.call("monitor") == (7, "")


def test_recurring_monitor_of_nothing_gives_a_reason(resource: Resource) -> None:
    assert resource.monitor() == (7, "nova-scheduler is not running")


def test_crash_is_told_with_the_daemons_last_words(resource: Resource) -> None:
    resource.pid_file.write_text(f"100\nstarted=1100 boot={BOOT}\n")
    assert resource.monitor() == (7, "nova-scheduler has crashed")
    (resource.folder / "x.out").write_text("Traceback (most recent call last):\nDiskError: no space left\n")
    assert resource.monitor() == (7, "nova-scheduler has crashed; its last words: DiskError: no space left")


@pytest.mark.parametrize("interval", [0, 20])
def test_workers_without_main_process_are_a_failure_and_named(resource: Resource, interval: float) -> None:
    resource.pid_file.write_text(f"100\nstarted=1100 boot={BOOT}\n")
    for pid in (101, 102):
        resource.fake.add(pid, DAEMON, group=100)
    code, reason = resource.call("monitor", interval)
    assert code == 1
    assert "its workers are left: processes" in reason
    assert "101" in reason
    assert "102" in reason


def test_another_managers_daemon_is_not_running_and_named(resource: Resource) -> None:
    resource.given["binary"] = "/bin/sh"
    resource.run_daemon(0, cgroup=UNIT)
    assert resource.call("monitor") == (7, "")
    assert resource.monitor() == (7, "nova-scheduler is not running; process 100 belongs to nova-scheduler.service")


@pytest.mark.parametrize("name", ["config", "additional_parameters"])
def test_a_resource_with_a_wrong_configuration_sees_no_other_resources_daemon(resource: Resource, name: str) -> None:
    """It would stop the daemon of the resource that has the default."""
    resource.given.update({"binary": "/bin/sh", name: {"config": "nova.conf"}.get(name, "--config-file /x\n")})
    resource.run_daemon(main=NOBODYS)
    assert resource.call("monitor") == (7, "")
    assert resource.call("stop") == (0, "")


# What cannot be told


@pytest.mark.parametrize(("action", "code"), [("monitor", 1), ("status", 1), ("stop", 1)])
def test_hidden_processes(resource: Resource, action: str, code: int) -> None:
    resource.fake.hide(1, "stat")
    found, reason = resource.call(action)
    assert (found, "cannot tell" in reason, "hidepid" in reason) == (code, True, True)


@pytest.mark.parametrize("action", ["monitor", "stop", "reload-agent"])
def test_several_candidates_are_named_and_not_touched(resource: Resource, action: str) -> None:
    resource.run_daemon(main=NOBODYS)
    resource.run_daemon(main=NOBODYS + 100)
    code, reason = resource.call(action)
    assert code == 1
    assert str(NOBODYS) in reason
    assert str(NOBODYS + 100) in reason
    assert not resource.pid_file.exists()


@pytest.mark.parametrize(
    ("action", "code"), [("start", 4), ("stop", 4), ("reload-agent", 4), ("monitor", 1), ("status", 1)]
)
def test_ordinary_user(resource: Resource, action: str, code: int) -> None:
    resource.run_daemon()
    assert resource.call(action, uid=1000)[0] == code


# It runs


@pytest.mark.parametrize(
    ("action", "interval", "level", "asked"),
    [
        ("monitor", 0, None, []),
        ("status", 0, None, []),
        ("status", 20, None, []),
        ("monitor", 20, None, ["answers"]),
        ("monitor", 20, 0, []),
        ("monitor", 20, 5, []),
        ("monitor", 20, 10, ["answers"]),
        ("monitor", 20, 19, ["answers"]),
        ("monitor", 20, 20, ["works"]),
        ("monitor", 0, 10, ["answers"]),
        ("monitor", 0, 20, ["works"]),
        ("status", 0, 10, ["answers"]),
    ],
)
def test_check_level(resource: Resource, action: str, interval: float, level: int | None, asked: list[str]) -> None:
    resource.run_daemon()
    assert resource.call(action, interval, level) == (0, "")
    assert resource.service.asked == asked


@pytest.mark.parametrize("interval", [0, 20])
def test_lost_pid_file_is_written_anew(resource: Resource, interval: float) -> None:
    resource.run_daemon()
    assert resource.call("monitor", interval, 0) == (0, "")
    assert resource.pid_file.read_text() == f"100\nstarted=1100 boot={BOOT}\n"


def test_pid_file_of_the_old_agents_gets_its_proof(resource: Resource) -> None:
    resource.run_daemon()
    resource.pid_file.write_text("100\n")
    assert resource.monitor(0) == (0, "")
    assert f"started=1100 boot={BOOT}" in resource.pid_file.read_text()


def test_healthy_monitor_leaves_nothing_but_the_pid_file(resource: Resource) -> None:
    resource.run_daemon()
    resource.monitor(20)
    assert [path.name for path in resource.folder.iterdir()] == ["p_x.pid"]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("interval", [0, 20])
def test_frozen_service_fails(resource: Resource, workers: int, interval: float) -> None:
    resource.run_daemon(workers)
    resource.stop_processes(*range(100, 101 + workers))
    code, reason = resource.call("monitor", interval)
    assert code == 1
    assert "frozen" in reason
    assert "100" in reason


def test_all_workers_stopped_is_frozen(resource: Resource) -> None:
    resource.run_daemon()
    resource.stop_processes(101, 102)
    assert resource.monitor()[0] == 1


@pytest.mark.parametrize("stopped", [100, 101])
def test_one_stopped_process_among_several_is_degraded_and_named(resource: Resource, stopped: int) -> None:
    resource.run_daemon()
    resource.stop_processes(stopped)
    assert resource.monitor(0) == (190, f"nova-scheduler has stopped processes (state T): {stopped}")


# 190 leaves a recurring monitor and nothing else


@pytest.mark.parametrize(("interval", "action", "code"), [(20, "monitor", 190), (0, "monitor", 0), (20, "status", 0)])
def test_degraded(resource: Resource, interval: float, action: str, code: int) -> None:
    resource.run_daemon()
    resource.service.says = Attention("drained by an operator")
    assert resource.call(action, interval, 10) == (code, "drained by an operator")
    assert resource.remembered().published == ("drained by an operator" if code else "")


def test_well_again_is_published_and_forgotten(resource: Resource) -> None:
    resource.run_daemon()
    resource.service.says = Attention("drained by an operator")
    resource.monitor()
    resource.service.says = None
    assert resource.monitor() == (0, "")
    assert not Path(resource.remembered().path).exists()


def test_wrong_parameter_of_a_running_service_is_degraded(resource: Resource) -> None:
    resource.run_daemon()
    resource.given["open_files"] = "many"
    code, reason = resource.monitor()
    assert code == 190
    assert reason == "parameter open_files: 'many' is not a whole number; the default is used"


# Faults of our own, and secrets


def test_a_fault_of_ours_is_one_line_without_a_traceback(resource: Resource) -> None:
    resource.run_daemon()
    resource.service.says = ZeroDivisionError("of ours")
    code, reason = resource.monitor()
    assert code == 1
    assert reason.startswith("the agent failed itself: ZeroDivisionError: of ours at test_lifecycle.py:")


@pytest.mark.parametrize("said", [WrongAnswer, Attention])
def test_no_secret_in_a_reason_or_in_what_is_published(resource: Resource, said: type[WrongAnswer]) -> None:
    resource.run_daemon()
    resource.given["os_password"] = "hush-hush-hush"
    resource.service.says = said("the answer was hush-hush-hush")
    assert "hush" not in resource.monitor()[1]
    assert "hush" not in resource.remembered().published


# reload-agent, validate-all, stop


def test_reload_agent(resource: Resource) -> None:
    assert resource.call("reload-agent")[0] == 7
    resource.run_daemon()
    assert resource.call("reload-agent") == (0, "")
    resource.given["recovery_grace"] = "long"
    assert resource.call("reload-agent")[0] == 6


def test_validate_all_looks_at_the_host_at_level_10_only(resource: Resource) -> None:
    resource.given["binary"] = "/nowhere/nova-scheduler"
    assert resource.call("validate-all") == (0, "")
    assert resource.call("validate-all", level=0) == (0, "")
    assert resource.call("validate-all", level=10)[0] == 5
    resource.given["binary"] = "/bin/sh"
    code, reason = resource.call("validate-all", level=10)
    assert code == 2
    assert "there is no user no-such-user-on-this-host" in reason
    resource.given.update(user="root", config="/nowhere/nova.conf")
    code, reason = resource.call("validate-all", level=10)
    assert code == 2
    assert "/nowhere/nova.conf" in reason


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"config": "/nowhere/nova.conf"},
        {"config": "relative"},
        {"binary": "/nowhere/x"},
        {"user": "nobody-of-here"},
        {"shutdown_grace": "soon"},
        {"additional_parameters": "'never closed"},
    ],
)
def test_stop_of_nothing_is_well_whatever_is_broken(resource: Resource, given: dict[str, str]) -> None:
    resource.given.update(given)
    resource.pid_file.write_text("4711\n")
    for _ in range(2):
        assert resource.call("stop") == (0, "")
    assert not resource.pid_file.exists()


@pytest.mark.parametrize("text", ["0\n", "1\n", "-1\n", "garbage", ""])
def test_stop_with_a_pid_file_that_holds_no_number_signals_nobody(resource: Resource, text: str) -> None:
    """A 0 would be the agent's own process group: this test's."""
    resource.pid_file.write_text(text)
    assert resource.call("stop") == (0, "")


def test_stop_forgets_trouble_and_what_is_published(resource: Resource) -> None:
    resource.run_daemon()
    resource.service.says = Attention("drained by an operator")
    resource.monitor()
    for pid in (100, 101, 102):
        process = resource.fake.proc.process(pid)
        assert process is not None
        resource.fake.end(process)
    assert resource.call("stop") == (0, "")
    assert not Path(resource.remembered().path).exists()
