"""What the laboratory does when something ends before its time; no node is booted here."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import cache, node, settings
from lab.cluster import Cluster, Status
from lab.node import Node


@pytest.fixture(autouse=True)
def laboratory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the laboratory have nothing but a folder that is not there yet, as on a new machine."""
    monkeypatch.setattr(settings, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(settings, "RUN", tmp_path / "cache" / "run")


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """Give a process with a child, as systemd-nspawn is before it names the node's first process."""
    with subprocess.Popen(["/bin/sh", "-c", "sleep 600 & exec sleep 600"], start_new_session=True) as started:
        node.until(lambda: node._children(started.pid), 10, "a child")
        yield started
        if started.poll() is None:
            os.killpg(started.pid, signal.SIGKILL)


def test_a_crash_before_there_is_a_first_process_ends_the_container_alone(process: subprocess.Popen[bytes]) -> None:
    early = Node([])
    early._nspawn = process
    child = node._identity(*node._children(process.pid))
    early.crash()
    assert process.returncode == -signal.SIGKILL
    node.until(lambda: not node._lives(child), 10, "the end of its child")


def test_a_boot_that_fails_keeps_the_files_of_a_node_that_has_run_before(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(timeout: float) -> None:
        raise settings.LabError("did not boot")

    slow = Node([])
    slow._record = node.claim(slow.folder, keep=False)
    monkeypatch.setattr(slow, "_start", fails)
    with pytest.raises(settings.LabError, match="did not boot"):
        slow.boot()
    assert slow.upper.is_dir()
    slow.destroy()
    with pytest.raises(settings.LabError, match="has been removed"):
        slow.boot()
    assert not slow.folder.exists()


def test_what_cannot_be_removed_keeps_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = settings.RUN / "lab1", settings.RUN / "lab2"
    for folder in (first, second):
        node._write_record(folder, {**node.claim(folder, keep=False), "owner": [os.getpid(), 0]})
    remove = node.remove

    def busy(folder: Path, record: dict[str, object] | None = None) -> None:
        if folder == first:
            raise subprocess.CalledProcessError(32, ["umount", str(folder)])
        remove(folder, record)

    monkeypatch.setattr(node, "remove", busy)
    assert node.reap() == ["lab2"]
    assert [folder.exists() for folder in (first, second)] == [True, False]
    assert "lab1 (?) could not be removed" in capsys.readouterr().err


@pytest.mark.parametrize(("patience", "said"), [(60.0, ""), (0.0, "lab: waiting for another program, which builds x")])
def test_who_waits_for_long_is_told_what_for(
    patience: float, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cache, "PATIENCE", patience)
    told = ""

    def second() -> None:
        with cache.locked("x", "builds x"):
            pass

    with cache.locked("x", "builds x"):
        waiting = threading.Thread(target=second)
        waiting.start()
        waiting.join(0.1)
        if said:

            def heard() -> bool:
                nonlocal told
                told += capsys.readouterr().err
                return said in told

            node.until(heard, 10, "a word")
    waiting.join()
    assert bool(told + capsys.readouterr().err) == bool(said)


def test_where_pacemaker_does_not_answer_no_condition_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = iter([Status(), Status(nodes={"n1": "online"})])
    cluster = Cluster()
    monkeypatch.setattr(cluster, "status", lambda _: next(seen))
    asked: list[Status] = []

    def condition(status: Status) -> bool:
        asked.append(status)
        return not any(one.running for one in status.resources)

    cluster.wait(condition, 10, "all has stopped")
    assert asked == [Status(nodes={"n1": "online"})]


class Machine(Node):
    """A node that says whether it was booted."""

    boots = 0

    def boot(self, timeout: float = 0, keep: bool = False) -> None:
        self.boots += 1
        self.leader = 1


def test_a_node_is_booted_once_and_never_when_the_cluster_ends() -> None:
    cluster = Cluster()
    cluster._nodes = {name: Machine([], name) for name in cluster.names}
    cluster.start("n1")
    cluster.start("n1")
    assert cluster.node("n1").leader
    cluster._close()
    cluster._start_when_missed("n2")
    assert [getattr(cluster.node(name), "boots", None) for name in cluster.names] == [1, 0]
    assert [event.text for event in cluster.events] == ["has booted"]


@pytest.mark.parametrize("silent", [True, False])
def test_a_node_is_missed_when_the_others_say_so(silent: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    unclean = {"n1": "online", "n2": "unclean"}
    first = Status() if silent else Status(nodes=unclean, members=["n1", "n2"])
    answers = iter([first, Status(nodes=unclean, members=["n1"])])
    cluster = Cluster()
    cluster._nodes = {name: Machine([], name) for name in cluster.names}
    cluster.node("n1").leader = 1
    monkeypatch.setattr(cluster, "status", lambda _: next(answers))
    cluster._start_when_missed("n2")
    assert cluster.node("n2").leader
    # The first answer was a reason to wait.
    assert next(answers, None) is None
