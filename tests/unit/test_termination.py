"""Ending a tree of processes: real ones, with a daemon that behaves in every way in which real ones do."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest
from fake_proc import FakeProc
from real_daemon import RealDaemon, until

from ocf_common.identity import Tree
from ocf_common.pidfile import PidRecord
from ocf_common.procfs import Proc, Process
from ocf_common.termination import STEP, Termination, send

SURVIVOR = ["--child", "/bin/sleep", "300"]


def end(daemon: RealDaemon, main: Process, grace: float = 5.0, limit: float = 10.0) -> tuple[Termination, float]:
    """End the daemon; give what was done, and the seconds it took. Nothing of the tree may be left."""
    record = PidRecord(main.pid, main.started, daemon.proc.boot())
    termination = Termination(daemon.proc, lambda: daemon.find(record), lambda _: signal.SIGTERM)
    begin = time.monotonic()
    left = termination.run(grace, limit)
    seconds = time.monotonic() - begin
    assert left == []
    assert daemon.alive([main.pid, *daemon.numbers["workers"]]) == []
    return termination, seconds


@pytest.mark.parametrize("workers", ["0", "3"])
def test_a_tree_that_ends_in_order_is_not_killed(daemon: RealDaemon, workers: str) -> None:
    termination, seconds = end(daemon, daemon.start("--workers", workers))
    assert termination.killed == []
    assert seconds < 1.0


def test_each_process_is_asked_once(daemon: RealDaemon) -> None:
    """A second signal cuts an orderly end short; the workers are their main process's matter."""
    main = daemon.start("--workers", "2", "--linger", "1.5")
    termination, seconds = end(daemon, main)
    assert termination.killed == []
    assert 1.5 <= seconds < 1.5 + 0.3
    assert sorted(daemon.output().split("\n")) == sorted(
        ["", *(f"{pid} TERM" for pid in (main.pid, *daemon.numbers["workers"]))]
    )


@pytest.mark.parametrize("who", ["main", "workers", "all"])
def test_what_does_not_end_is_killed_after_the_grace(daemon: RealDaemon, who: str) -> None:
    main = daemon.start("--workers", "2", "--ignore-term", who)
    termination, seconds = end(daemon, main, grace=0.5)
    assert main.pid in [process.pid for process in termination.killed]
    assert 0.5 <= seconds < 0.5 + 0.3


def test_workers_that_their_main_process_abandons_are_ended_in_order(daemon: RealDaemon) -> None:
    termination, seconds = end(daemon, daemon.start("--workers", "3", "--abandon"))
    assert termination.killed == []
    assert seconds < 2.0


def test_stubborn_workers_that_their_main_process_abandons_are_killed(daemon: RealDaemon) -> None:
    termination, _ = end(daemon, daemon.start("--workers", "3", "--abandon", "--ignore-term", "workers"), grace=1.0)
    assert {process.pid for process in termination.killed} == set(daemon.numbers["workers"])


@pytest.mark.parametrize("workers", ["1", "3"])
def test_orphans_of_a_killed_main_process_are_ended(daemon: RealDaemon, workers: str) -> None:
    main = daemon.start("--workers", workers)
    daemon.signal(signal.SIGKILL, [main.pid])
    until(lambda: not daemon.alive([main.pid]))
    assert daemon.alive(daemon.numbers["workers"]) == daemon.numbers["workers"]
    termination, _ = end(daemon, main)
    assert termination.killed == []


def test_a_frozen_tree_ends_in_order(daemon: RealDaemon) -> None:
    main = daemon.start("--workers", "2")
    tree = [main.pid, *daemon.numbers["workers"]]
    daemon.signal(signal.SIGSTOP, tree)
    for pid in tree:
        until(lambda pid=pid: daemon.note(pid).stopped)
    termination, _ = end(daemon, main)
    assert termination.killed == []


@pytest.mark.parametrize(
    "options", [[], ["--ignore-term", "all"], ["--abandon"]], ids=["in order", "killed", "abandoned"]
)
def test_a_child_that_is_meant_to_outlive_the_service_survives(daemon: RealDaemon, options: list[str]) -> None:
    main = daemon.start("--workers", "1", *options, *SURVIVOR)
    survivor = daemon.numbers["child"]
    end(daemon, main, grace=0.5)
    assert daemon.alive([survivor]) == [survivor]
    assert daemon.find().all() == []


def test_helpers_end_with_the_service(daemon: RealDaemon) -> None:
    """A helper that outlives its main process is nothing that a search could find: it is remembered."""
    main = daemon.start("--helper")
    assert [helper.pid for helper in daemon.find().helpers] == [daemon.numbers["helper"]]
    termination, _ = end(daemon, main, grace=0.5)
    assert [process.pid for process in termination.killed][:1] == [daemon.numbers["helper"]]
    assert daemon.alive([daemon.numbers["helper"]]) == []


def test_nothing_to_end_takes_no_time(daemon: RealDaemon) -> None:
    termination = Termination(daemon.proc, daemon.find, lambda _: signal.SIGTERM)
    begin = time.monotonic()
    assert termination.run(5.0, 10.0) == []
    assert time.monotonic() - begin < 0.3


def test_what_the_kernel_holds_is_named_at_the_limit(fake_proc: FakeProc) -> None:
    """Such a process cannot be made; this one has a number beyond the kernel's, so that no signal reaches it."""
    held = fake_proc.add(5_000_000)
    tree = Tree()
    tree.main = held
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    termination = Termination(fake_proc.proc, lambda: tree, lambda _: signal.SIGTERM, lambda: now, sleep)
    assert termination.run(3.0, 5.0) == [held]
    assert 5.0 <= now <= 5.0 + 2 * STEP
    assert termination.killed[0] is held


def test_a_later_process_of_the_same_number_gets_no_signal() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        now = Proc().process(child.pid)
        assert now is not None
        earlier = Process(now.pid, now.state, now.parent, now.pgid, now.session, now.started - 1)
        send(Proc(), earlier, signal.SIGKILL)
        child.communicate(b"\n")
    assert child.returncode == 0


def test_a_process_that_is_gone_is_no_error() -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    process = Proc().process(child.pid)
    assert process is not None
    child.wait()
    send(Proc(), process, signal.SIGTERM)
