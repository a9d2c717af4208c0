"""The row of an RPC service in the services table: age, and what operators set."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from lab import provision
from lab.driver import Agent
from lab.node import Node
from services.conftest import until
from services.faults import ask, edited, recovery, undisturbed
from services.processes import Processes

ROW = "`binary` = 'nova-scheduler' AND host = 'controller'"
NOW = "last_seen_up = UTC_TIMESTAMP(), updated_at = UTC_TIMESTAMP()"
STALE = 15  # seconds; more than the ten between two reports


@pytest.fixture
def scheduler(serving: Callable[[str], Agent], processes: Processes) -> Iterator[Agent]:
    serving("keystone")
    agent = serving("nova-scheduler")
    with undisturbed(processes, [agent]):
        yield agent
        print("well again, in seconds:", recovery([agent], 20))


@contextmanager
def row(node: Node, change: str, back: str) -> Iterator[None]:
    """Change the scheduler's row."""

    def update(what: str) -> None:
        node.run(["mysql", "nova", "-e", f"UPDATE services SET {what} WHERE {ROW}"], check=True)  # noqa: S608

    update(change)
    try:
        yield
    finally:
        update(back)


@pytest.mark.parametrize(
    ("change", "back", "words"),
    [
        (
            "disabled = 1, disabled_reason = 'a new disk'",
            "disabled = 0, disabled_reason = NULL",
            "nova-scheduler on controller is disabled in the services table: a new disk",
        ),
        ("forced_down = 1", "forced_down = 0", "nova-scheduler on controller is forced down in the services table"),
    ],
)
def test_what_an_operator_set(node: Node, scheduler: Agent, change: str, back: str, words: str) -> None:
    with row(node, change, back):
        answers = ask([scheduler], 10, 20)
    assert answers[scheduler.name, 10].code == 0
    assert (answers[scheduler.name, 20].code, answers[scheduler.name, 20].reason) == (190, words)


@contextmanager
def old_row(node: Node, scheduler: Agent, processes: Processes) -> Iterator[None]:
    """Have a heartbeat of ten minutes ago, too old for the scheduler, until it writes the next one."""
    # A daemon younger than the limit is not blamed for what its predecessor left.
    until(lambda: age(processes, scheduler.pid()) > STALE + 1, 30, "a daemon older than the limit")
    old = "last_seen_up = UTC_TIMESTAMP() - INTERVAL 10 MINUTE, updated_at = UTC_TIMESTAMP() - INTERVAL 10 MINUTE"
    with (
        edited(node, provision.ZED.config, ("transport_url =", f"service_down_time = {STALE}\ntransport_url =")),
        row(node, old, NOW),
    ):
        yield


def test_a_database_that_takes_no_writes(node: Node, scheduler: Agent, processes: Processes) -> None:
    node.run(["mysql", "-e", "SET GLOBAL read_only = 1"], check=True)
    try:
        with old_row(node, scheduler, processes):
            answer = ask([scheduler], 20)[scheduler.name, 20]
    finally:
        node.run(["mysql", "-e", "SET GLOBAL read_only = 0"], check=True)
    assert answer.code == 190, answer
    assert answer.reason == "MariaDB at 127.0.0.1:3306 is read-only; nova-scheduler itself is running"


def test_a_row_that_grows_old(node: Node, scheduler: Agent, processes: Processes) -> None:
    with old_row(node, scheduler, processes):
        answer = ask([scheduler], 20)[scheduler.name, 20]
    assert answer.code == 1, answer
    assert answer.reason.startswith("the heartbeat of nova-scheduler on controller in the services table is 6")
    assert answer.reason.endswith(f" s old (limit {STALE} s)")


def test_a_row_from_the_future(node: Node, scheduler: Agent) -> None:
    with row(node, "last_seen_up = UTC_TIMESTAMP() + INTERVAL 10 MINUTE", NOW):
        answer = ask([scheduler], 20)[scheduler.name, 20]
    assert answer.code == 190, answer
    assert "s in the future: the clock of this host, or of the one that wrote it, is wrong" in answer.reason


def test_no_row(node: Node, scheduler: Agent) -> None:
    with row(node, "deleted = id", "deleted = 0"):
        answer = ask([scheduler], 20)[scheduler.name, 20]
    assert (answer.code, answer.reason) == (1, "the services table has no row for nova-scheduler on controller")


def age(processes: Processes, pid: int) -> float:
    """Give the age of a process in seconds."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - processes.started(pid) / 100
