"""Started while a dependency is down: a daemon that goes on trying has started, and is well by itself later."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lab import provision
from lab.driver import Agent, Answer
from lab.node import Node
from services.faults import ask, recovery, stopped, undisturbed
from services.processes import Processes

NOVA = provision.ZED.config
# Seconds in which a start says that a dependency is missing; the daemon must have lived for six of them.
PROMPT = 12


@pytest.fixture
def early(agent: Callable[..., Agent], config_copy: Callable[..., str]) -> Callable[[str], Agent]:
    """Give agents of daemons that do not run yet, beside those that serve all tests."""
    return lambda name: agent(name, f"early_{name}", config=config_copy(NOVA, "early", {"DEFAULT": {"host": "early"}}))


def starts(agent: Agent) -> Answer:
    """Start; that succeeds, whatever it says."""
    answer = agent.start()
    print(answer)
    assert answer.code == 0, answer
    return answer


def test_without_rabbitmq(node: Node, processes: Processes, early: Callable[[str], Agent]) -> None:
    conductor = early("nova-conductor")
    with stopped(node, "rabbitmq-server"):
        answer = starts(conductor)
        assert answer.reason == (
            "RabbitMQ at 127.0.0.1:5672 refuses connections; nova-conductor is started and goes on trying"
        )
        assert answer.seconds < PROMPT
        assert conductor.probe().code == 0
        for answer in ask([conductor], 10, 20).values():
            assert answer.code == 190, answer
            assert answer.reason.endswith("refuses connections; nova-conductor itself is running")
    with undisturbed(processes, [conductor]):
        print("well by itself, in seconds:", recovery([conductor], 10, 20))


def test_without_the_database(node: Node, processes: Processes, early: Callable[[str], Agent]) -> None:
    conductor = early("nova-conductor")
    with stopped(node, "mariadb"):
        answer = starts(conductor)
        assert "MariaDB at 127.0.0.1:3306 refuses connections" in answer.reason
        assert ask([conductor], 20)[conductor.name, 20].code == 190
    print("well by itself, in seconds:", recovery([conductor], 10, 20))


def test_a_scheduler_without_keystone(serving: Callable[[str], Agent], early: Callable[[str], Agent]) -> None:
    # Zed's scheduler gives up where others retry: it is started again while there is time, then both are named.
    keystone = serving("keystone")
    assert keystone.stop().code == 0
    scheduler = early("nova-scheduler")
    answer = scheduler.start(timeout=20)
    print(answer)
    assert answer.code == 1, answer
    assert answer.reason.startswith(
        "Keystone at http://127.0.0.1:5000/v3 refuses connections; nova-scheduler exited with status 1: "
    )
    assert answer.seconds < 20
    serving("keystone")
    assert scheduler.start().code == 0
