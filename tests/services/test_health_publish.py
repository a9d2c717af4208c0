"""What operators see besides exit codes: one line in syslog and one node attribute, on a change only."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from lab import provision
from lab.driver import Agent
from lab.node import Node
from services.faults import edited, lines, recovery, same, size

UPDATER = "/usr/sbin/attrd_updater"
CALLS = "/tmp/attrd_calls"
SYSLOG = "/var/log/syslog"
RECORDER = f"""#!/usr/bin/python3 -IS
import json, os, sys, time
with open({CALLS!r}, "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
if os.path.exists({CALLS!r} + ".hang"):
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def _recorder(node: Node) -> Iterator[None]:
    """Put a recorder in attrd_updater's place; without a cluster the real one could only fail."""
    real = node.path(UPDATER)
    saved = real.with_name("attrd_updater.real")
    real.rename(saved)
    real.write_text(RECORDER)
    real.chmod(0o755)
    yield
    saved.replace(real)


@pytest.fixture
def calls(node: Node, _recorder: None) -> Iterator[Callable[[], list[list[str]]]]:
    """Give what attrd_updater was called with since the last time."""
    seen = size(node, CALLS)

    def new() -> list[list[str]]:
        nonlocal seen
        found = [json.loads(line) for line in lines(node, CALLS, seen)]
        seen = size(node, CALLS)
        return found

    yield new
    node.path(CALLS + ".hang").unlink(missing_ok=True)


@pytest.fixture
def scheduler(serving: Callable[[str], Agent]) -> Agent:
    serving("keystone")
    agent = serving("nova-scheduler")
    recovery([agent], 10, 20)
    return agent


def broken(node: Node, port: int = 5671):  # type: ignore[no-untyped-def]
    return edited(node, provision.ZED.config, ("@127.0.0.1:5672/", f"@127.0.0.1:{port}/"))


def said(node: Node, since: int) -> list[str]:
    return [line.partition("ocf-openstack: ")[2] for line in lines(node, SYSLOG, since) if "ocf-openstack: " in line]


def test_a_change_is_published_once(node: Node, scheduler: Agent, calls: Callable[[], list[list[str]]]) -> None:
    begin = size(node, SYSLOG)
    assert scheduler.monitor(10).code == 0
    assert calls() == []
    attribute = "degraded-s_nova-scheduler"
    first = "RabbitMQ at 127.0.0.1:5671 refuses connections; nova-scheduler itself is running"
    with broken(node):
        assert [scheduler.monitor(10).code for _ in range(3)] == [190, 190, 190]
        assert calls() == [["-n", attribute, "-U", first]]
        assert scheduler.monitor(20).code == 190
        assert scheduler.probe().code == 0
        assert calls() == []
    second = first.replace("5671", "5673")
    with broken(node, 5673):
        assert scheduler.monitor(10).code == 190
        assert calls() == [["-n", attribute, "-U", second]]
    assert [scheduler.monitor(level).code for level in (10, 20, 10, 20)] == [0, 0, 0, 0]
    assert calls() == [["-n", attribute, "-D"]]
    assert said(node, begin) == [
        f"s_nova-scheduler: degraded: {first}",
        f"s_nova-scheduler: degraded: {second}",
        "s_nova-scheduler: all is well again",
    ]


def test_what_level_20_found_is_not_taken_back_by_level_10(
    node: Node, scheduler: Agent, calls: Callable[[], list[list[str]]]
) -> None:
    with edited(node, provision.ZED.config, ("@127.0.0.1/nova?", "@127.0.0.1:3305/nova?")):
        assert [scheduler.monitor(level).code for level in (20, 10, 20, 10)] == [190, 0, 190, 0]
        (call,) = calls()
        assert call[3] == "MariaDB at 127.0.0.1:3305 refuses connections; nova-scheduler itself is running"
    assert scheduler.monitor(10).code == 0
    assert calls() == []
    assert scheduler.monitor(20).code == 0
    assert calls() == [["-n", "degraded-s_nova-scheduler", "-D"]]


@pytest.mark.parametrize("trouble", ["hangs", "is missing"])
def test_trouble_with_publishing_changes_nothing(
    node: Node, scheduler: Agent, calls: Callable[[], list[list[str]]], trouble: str
) -> None:
    updater = node.path(UPDATER)
    aside = updater.with_name("attrd_updater.aside")
    if trouble == "hangs":
        node.path(CALLS + ".hang").touch()
    else:
        updater.rename(aside)
    try:
        with broken(node):
            answer = scheduler.monitor(10)
            assert answer.code == 190
            assert answer.seconds < 4
        assert scheduler.monitor(10).code == 0
    finally:
        if trouble != "hangs":
            aside.rename(updater)


def test_stop_leaves_no_attribute(
    node: Node, serving: Callable[[str], Agent], calls: Callable[[], list[list[str]]]
) -> None:
    agent = serving("nova-conductor")
    with broken(node):
        assert same(agent).monitor(10).code == 190
    assert agent.stop().code == 0
    assert [call[2] for call in calls()] == ["-U", "-D"]
    assert agent.probe().code == 7
    assert not node.path("/run/resource-agents/openstack/s_nova-conductor.state").exists()
