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


def told(*pids: int) -> list[str]:
    """Give the words that the daemon prints where each of these processes got one signal."""
    return [word for pid in pids for word in (str(pid), "TERM")]


@pytest.mark.parametrize("workers", ["0", "3"])
def test_a_tree_that_ends_in_order_is_not_killed(daemon: RealDaemon, workers: str) -> None:
    termination, _ = end(daemon, daemon.start("--workers", workers))
    assert termination.killed == []


def test_each_process_is_asked_once(daemon: RealDaemon) -> None:
    """A second signal cuts an orderly end short; the workers are their main process's matter."""
    main = daemon.start("--workers", "2", "--linger", "1.5")
    termination, seconds = end(daemon, main)
    assert termination.killed == []
    assert seconds >= 1.5
    assert sorted(daemon.output().split()) == sorted(told(main.pid, *daemon.numbers["workers"]))


def test_each_orphan_is_asked_once(daemon: RealDaemon) -> None:
    main = daemon.start("--workers", "2", "--worker-linger", "2.5")
    daemon.signal(signal.SIGKILL, [main.pid])
    until(lambda: not daemon.alive([main.pid]))
    termination, _ = end(daemon, main)
    assert termination.killed == []
    assert sorted(daemon.output().split()) == sorted(told(*daemon.numbers["workers"]))


@pytest.mark.parametrize("who", ["main", "workers", "all"])
def test_what_does_not_end_is_killed_after_the_grace(daemon: RealDaemon, who: str) -> None:
    main = daemon.start("--workers", "2", "--ignore-term", who)
    termination, seconds = end(daemon, main, grace=0.5)
    assert main.pid in [process.pid for process in termination.killed]
    assert seconds >= 0.5


def test_workers_that_their_main_process_abandons_are_ended_in_order(daemon: RealDaemon) -> None:
    termination, _ = end(daemon, daemon.start("--workers", "3", "--abandon"))
    assert termination.killed == []


def test_stubborn_workers_that_their_main_process_abandons_are_killed(daemon: RealDaemon) -> None:
    termination, _ = end(daemon, daemon.start("--workers", "3", "--abandon", "--ignore-term", "workers"), grace=3.0)
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
    termination, _ = end(daemon, main)
    assert termination.killed == []
    assert daemon.alive([daemon.numbers["helper"]]) == []


def test_nothing_to_end_takes_no_time(daemon: RealDaemon) -> None:
    termination = Termination(daemon.proc, daemon.find, lambda _: signal.SIGTERM)
    assert termination.run(5.0, 10.0) == []


class Held:
    """A process that ends when ``ends`` on a made-up clock says so, whatever signal it gets.

    Its number is beyond the kernel's, so that no signal reaches a real one.
    """

    def __init__(self, fake: FakeProc, ends: float) -> None:
        self.fake = fake
        self.ends = ends
        self.now = 0.0
        self.tree = Tree()
        self.process = self.tree.main = fake.add(5_000_000)
        self.termination = Termination(fake.proc, lambda: self.tree, lambda _: signal.SIGTERM, self.clock, self.sleep)

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.now >= self.ends and self.tree.main is not None:
            self.fake.end(self.process)
            self.tree.main = None


def test_what_the_kernel_holds_is_named_at_the_limit(fake_proc: FakeProc) -> None:
    held = Held(fake_proc, ends=1000)
    assert held.termination.run(3.0, 5.0) == [held.process]
    assert 5.0 <= held.now <= 5.0 + 2 * STEP
    assert held.termination.killed[0] is held.process


@pytest.mark.parametrize("ends", [0.2, 2.7, 3.1, 4.9])
def test_it_returns_within_three_tenths_of_a_second_of_the_last_exit(fake_proc: FakeProc, ends: float) -> None:
    """The grace is 3 s: two exits come before SIGKILL, two after it."""
    held = Held(fake_proc, ends)
    assert held.termination.run(3.0, 5.0) == []
    assert ends <= held.now <= ends + 0.3
    assert bool(held.termination.killed) == (ends > 3)


def test_a_child_that_was_seen_between_fork_and_exec_is_none_of_the_tree(fake_proc: FakeProc) -> None:
    tree = Tree()
    tree.workers = [fake_proc.add(50, ["/usr/bin/python3", "/usr/bin/neutron-dhcp-agent"])]
    termination = Termination(fake_proc.proc, lambda: tree, lambda _: signal.SIGTERM)
    termination.look()
    assert [process.pid for process in termination.left()] == [50]
    (fake_proc.root / "50" / "cmdline").write_bytes(b"/usr/sbin/dnsmasq\0")
    assert termination.left() == []


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
