"""Which process is ours: pid files that lie, namesakes, other managers, other namespaces, and what a crash leaves."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest

from lab.driver import Agent
from lab.node import Node
from services.conftest import GLANCE, until
from services.processes import Processes

#: where a test daemon can be asked: without, its start waits to see it live on
ASKED = "http://127.0.0.1:9377/"
LIES = (
    "nothing there",
    "empty",
    "0",
    "-1",
    "garbage",
    "another program",
    "another program of the same user",
    "another start time",
    "another boot",
    "a link",
    "a zombie",
    "a worker",
)


class Decoys:
    """Processes and files that must be the same after a test as before."""

    def __init__(self, node: Node, processes: Processes) -> None:
        self.node = node
        self.processes = processes
        self.started: list[subprocess.Popen[str]] = []
        self.target = node.path("/var/tmp/decoy-target")
        self.target.write_text("precious\n")
        self.root = self._sleep("1111", None)
        self.glance = self._sleep("2222", "glance")

    def _sleep(self, seconds: str, user: str | None) -> int:
        self.started.append(self.node.popen(["sleep", seconds], user=user))
        until(lambda: self._find(seconds), 10, "the decoy")
        return self._find(seconds)[0]

    def _find(self, seconds: str) -> list[int]:
        return [pid for pid in self.processes.proc.pids() if self._is_sleep(pid, seconds)]

    def _is_sleep(self, pid: int, seconds: str) -> bool:
        return self.processes.proc.command_line(pid) == ["sleep", seconds]

    def zombie(self) -> int:
        script = "import os, time; pid = os.fork() or os._exit(0); print(pid, flush=True); time.sleep(3333)"
        process = self.node.popen(["/usr/bin/python3", "-c", script], user="glance", stdout=subprocess.PIPE)
        self.started.append(process)
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        until(lambda: self.processes.states(pid) == "Z", 10, "the zombie")
        return pid

    def untouched(self) -> bool:
        return (
            self.processes.alive(self.root, self.glance) == [self.root, self.glance]
            and self.target.read_text() == "precious\n"
            and oct(self.target.stat().st_mode & 0o7777) == "0o644"
        )

    def end(self) -> None:
        self.processes.signal("KILL", self.root, self.glance, *self.processes.matching("time.sleep(3333)"))
        for process in self.started:
            process.communicate()
        self.target.unlink()


@pytest.fixture
def decoys(node: Node, processes: Processes) -> Iterator[Decoys]:
    made = Decoys(node, processes)
    yield made
    made.end()


def plant(lie: str, one: Agent, decoys: Decoys, main: int = 0, worker: int = 0) -> None:
    """Put something untrue in the place of the pid file."""
    path = one.node.path(one.pid_file)
    record = path.read_text() if path.exists() else ""
    boot = (decoys.processes.proc.read("sys", "kernel/random/boot_id") or b"").decode().strip()
    path.unlink(missing_ok=True)
    texts = {
        "empty": "",
        "0": "0\n",
        "-1": "-1\n",
        "garbage": "\0\xff no number\n" * 1000,
        "another program": f"{decoys.root}\n",
        "another program of the same user": f"{decoys.glance}\n",
        "another start time": f"{main or decoys.glance}\nstarted=17 boot={boot}\n",
        "another boot": record.replace(boot, "00000000-0000-0000-0000-000000000000"),
        "a zombie": f"{decoys.zombie()}\n" if lie == "a zombie" else "",
        "a worker": f"{worker or decoys.glance}\n",
    }
    if lie == "a link":
        path.symlink_to("/var/tmp/decoy-target")
    elif lie in texts:
        path.write_text(texts[lie])


def test_a_running_daemon_is_found_whatever_the_pid_file_says(
    trial_agent: Callable[..., Agent], processes: Processes, decoys: Decoys
) -> None:
    one = trial_agent("lied", "--workers 2 --port 9377", url=ASKED)
    for lie in LIES:
        assert one.start().code == 0, lie
        pid = one.pid()
        until(lambda pid=pid: len(processes.family(pid)) == 3, 10, "the workers")
        family = processes.family(pid)
        # A probe, a monitor and a start find it, and write the file anew.
        for call in (one.probe, lambda: one.monitor(0), one.start):
            plant(lie, one, decoys, pid, family[1])
            answer = call()
            assert (answer.code, answer.reason) == (0, ""), (lie, call)
            assert one.pid() == pid, lie
            assert not one.node.path(one.pid_file).is_symlink()
            assert processes.matching(one.parameters["config"]) == family, lie
        # A stop finds it too.
        plant(lie, one, decoys, pid, family[1])
        assert (one.stop().code, processes.alive(*family)) == (0, []), lie
        assert not one.node.path(one.pid_file).exists(), lie
        assert decoys.untouched(), lie


def test_what_does_not_run_is_not_made_out_by_a_pid_file(
    trial_agent: Callable[..., Agent], processes: Processes, decoys: Decoys
) -> None:
    one = trial_agent("absent", "--workers 1 --port 9377", url=ASKED)
    for lie in LIES:
        plant(lie, one, decoys)
        probe = one.probe()
        assert (probe.code, probe.err) == (7, ""), lie
        assert one.monitor().code == 7, lie
        assert one.stop().code == 0, lie
        plant(lie, one, decoys)
        assert one.start().code == 0, lie
        assert processes.matching("image-daemon", one.parameters["config"])[0] == one.pid(), lie
        assert one.stop().code == 0, lie
        assert decoys.untouched(), lie


def test_a_real_daemon_with_workers_and_a_lost_pid_file(
    conductor: Callable[..., Agent], processes: Processes, node: Node
) -> None:
    one, other = conductor("first", 2), conductor("second")
    assert one.start().code == 0
    assert other.start().code == 0
    families = {agent: processes.family(agent.pid()) for agent in (one, other)}
    assert [len(family) for family in families.values()] == [3, 1]
    # Two resources of one agent with different configurations: each finds its own.
    for agent, family in families.items():
        node.path(agent.pid_file).unlink()
        monitored = agent.monitor(10)
        assert (monitored.code, agent.pid()) == (0, family[0]), monitored
        node.path(agent.pid_file).unlink()
    # One worker that is stopped is named, all of them are a failure.
    main, *workers = families[one]
    processes.signal("STOP", workers[0])
    until(lambda: processes.states(workers[0]) == "T", 5, "a stopped worker")
    answer = one.monitor(0)
    assert (answer.code, str(workers[0]) in answer.reason, str(workers[1]) in answer.reason) == (190, True, False)
    processes.signal("STOP", workers[1])
    until(lambda: processes.states(*workers) == "TT", 5, "stopped workers")
    answer = one.monitor(0)
    assert (answer.code, "frozen" in answer.reason) == (1, True)
    processes.signal("CONT", *workers)
    until(lambda: one.monitor(0).code == 0, 5, "all well again")
    # Neither start nor stop of one touches the other, also without pid files.
    node.path(one.pid_file).unlink(missing_ok=True)
    assert one.start().code == 0
    assert processes.family(main) == families[one]
    node.path(one.pid_file).unlink()
    assert (one.stop().code, processes.alive(*families[one])) == (0, [])
    assert processes.alive(*families[other]) == families[other]
    assert (other.probe().code, one.probe().code) == (0, 7)


def test_a_daemon_of_a_unit_is_not_ours(conductor: Callable[..., Agent], node: Node, processes: Processes) -> None:
    one = conductor("unit")
    command = ["/usr/bin/nova-conductor", "--config-file", one.parameters["config"]]
    node.run(["systemd-run", "--unit=conductor-of-a-unit", "--property=User=nova", *command], check=True)
    try:
        until(lambda: processes.matching("/usr/bin/nova-conductor", one.parameters["config"]), 10, "the unit's daemon")
        pids = processes.matching("/usr/bin/nova-conductor", one.parameters["config"])
        for text in ("", f"{pids[0]}\n"):
            if text:
                node.path(one.pid_file).write_text(text)
            probe = one.probe()
            assert (probe.code, probe.err) == (7, "")
            answer = one.start()
            assert answer.code == 1
            assert f"pid {pids[0]} of conductor-of-a-unit.service" in answer.reason
            assert "run: systemctl disable --now conductor-of-a-unit" in answer.reason
            assert one.stop().code == 0
            assert processes.alive(*pids) == pids
    finally:
        node.stop_unit("conductor-of-a-unit")


@pytest.mark.parametrize("kind", ["--pid --mount-proc", "--mount"])
def test_a_daemon_of_another_namespace_is_not_ours(
    kind: str, trial_agent: Callable[..., Agent], node: Node, processes: Processes
) -> None:
    one = trial_agent("contained", "--workers 1")
    daemon = ["/opt/trial/image-daemon", "--config-file", one.parameters["config"]]
    contained = node.popen(
        ["unshare", *kind.split(), "--fork", "setpriv", "--reuid=glance", "--regid=glance", "--clear-groups", *daemon],
        stdout=subprocess.PIPE,
    )
    try:
        assert contained.stdout is not None
        contained.stdout.readline()
        pids = [pid for pid in processes.matching(*daemon) if processes.proc.command_line(pid)[0].startswith("/usr")]
        node.path(one.pid_file).write_text(f"{pids[0]}\n")
        assert one.probe().code == 7
        assert one.start().code == 0
        assert one.pid() not in pids
        assert one.stop().code == 0
        assert processes.alive(*pids) == pids
    finally:
        processes.signal("KILL", *processes.matching(*daemon))
        contained.communicate()


def test_workers_that_outlive_their_main_process(
    agent: Callable[..., Agent], config_copy: Callable[..., str], processes: Processes
) -> None:
    # Glance's go on serving: a second instance beside them would get every other request.
    paste = "/etc/glance/glance-api-paste.ini"  # which it would look for under the name of its configuration
    options = {"DEFAULT": {"bind_port": 9378, "workers": 2}, "paste_deploy": {"config_file": paste}}
    one = agent("glance-api", "orphaned", config=config_copy(GLANCE, "orphaned", options))
    for ending in (one.start, one.stop):
        assert one.start().code == 0
        main, *workers = processes.family(one.pid())
        assert len(workers) == 2
        processes.signal("KILL", main)
        until(lambda main=main: not processes.alive(main), 5, "the end of the main process")
        assert processes.alive(*workers) == workers
        for answer in (one.monitor(), one.monitor(0), one.probe()):
            assert answer.code == 1, answer
            assert all(str(pid) in answer.reason for pid in workers), answer
        answer = ending()
        assert (answer.code, processes.alive(*workers)) == (0, []), answer
    assert one.probe().code == 7


def test_daemons_of_the_old_shell_agents(conductor: Callable[..., Agent], node: Node, processes: Processes) -> None:
    one = conductor("old", 2)
    command = f"nova-conductor --config-file={one.parameters['config']} >> /dev/null 2>&1 & echo $!"  # as they wrote it

    def start_as_they_did() -> list[int]:
        said = node.run(["su", "nova", "-s", "/bin/sh", "-c", command], check=True).stdout
        node.path(one.pid_file).write_text(said)
        until(lambda: len(processes.family(int(said))) == 3, 60, "the workers")
        return processes.family(int(said))

    family = start_as_they_did()
    assert one.monitor(0).code == 0
    until(lambda: one.monitor(10).code == 0, 60, "an answer")
    assert one.pid() == family[0]
    assert one.start().code == 0
    assert processes.family(one.pid()) == family
    assert (one.stop().code, processes.alive(*family)) == (0, [])
    family = start_as_they_did()
    processes.signal("KILL", family[0])
    until(lambda: not processes.alive(family[0]), 5, "the end of the main process")
    answer = one.monitor(0)
    # Its workers end by themselves some seconds later.
    assert answer.code in (1, 7), answer
    assert "is gone" in answer.reason or "crashed" in answer.reason
    assert (one.stop().code, processes.alive(*family)) == (0, [])
    # And with the pid file lost as well.
    family = start_as_they_did()
    node.path(one.pid_file).unlink()
    assert (one.probe().code, one.pid()) == (0, family[0])
    node.path(one.pid_file).unlink()
    assert (one.stop().code, processes.alive(*family)) == (0, [])


def test_a_crash_is_told_with_the_last_words(conductor: Callable[..., Agent], processes: Processes) -> None:
    one = conductor("crash")
    assert one.start().code == 0
    processes.signal("KILL", one.pid())
    until(lambda: not processes.alive(one.pid()), 5, "its end")
    for level in (0, 10, 20):
        answer = one.monitor(level)
        assert (answer.code, "nova-conductor has crashed" in answer.reason) == (7, True)
    probe = one.probe()
    assert (probe.code, probe.err) == (7, "")
    assert one.start().code == 0
    assert one.monitor().code == 0
