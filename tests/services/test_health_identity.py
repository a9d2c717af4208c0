"""Keystone and Placement in trouble, and logins that Keystone refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from lab import controller
from lab.driver import Agent
from lab.node import Node
from services.faults import ask, dropped, frozen, lines, recovery, same, size, stopped, undisturbed
from services.processes import Processes

KEYSTONE = "Keystone at http://127.0.0.1:5000/v3"
KEYSTONE_LOG = "/var/log/keystone/keystone.log"


@pytest.fixture
def keystone(serving: Callable[[str], Agent]) -> Agent:
    return serving("keystone")


@pytest.fixture
def apis(keystone: Agent, serving: Callable[[str], Agent], processes: Processes) -> Iterator[list[Agent]]:
    """The services that log in to Keystone; the same processes must serve, and all be well, after the test."""
    agents = [serving("glance-api"), serving("nova-api")]
    with undisturbed(processes, agents):
        yield agents
        print("well again, in seconds:", recovery(agents, 10, 20))


def expect_outage(apis: list[Agent], words: str) -> None:
    for (name, level), answer in ask(apis, 10, 20).items():
        if level == 20:
            assert (answer.code, answer.reason.startswith(f"{KEYSTONE} {words}")) == (190, True), f"{name}: {answer}"
            assert answer.reason.endswith(f"; {name} itself is running")
        else:
            assert (answer.code, answer.err) == (0, ""), f"{name}, level {level}: {answer}"


def test_keystone_is_down(keystone: Agent, apis: list[Agent], serving: Callable[[str], Agent]) -> None:
    assert keystone.stop().code == 0
    expect_outage(apis, "refuses connections")
    serving("keystone")


def test_keystone_is_frozen(processes: Processes, keystone: Agent, apis: list[Agent]) -> None:
    with frozen(processes, *processes.family(keystone.pid())):
        expect_outage(apis, "gave no answer within")
        for answer in ask([keystone], 0, 10, 20).values():
            assert answer.code == 1, answer
            assert answer.reason.startswith("keystone is frozen: stopped processes (state T)")
    recovery([keystone], 10, 20)


def test_packets_to_keystone_are_dropped(node: Node, keystone: Agent, apis: list[Agent]) -> None:
    with dropped(node, 5000):
        expect_outage(apis, "gave no answer within")
        answer = ask([keystone], 10)[keystone.name, 10]
        assert answer.code == 190, answer
        assert answer.reason.endswith("(1 of 2 monitors in a row)")
    recovery([keystone], 10, 20)


def test_placement_is_down(node: Node, keystone: Agent, serving: Callable[[str], Agent], processes: Processes) -> None:
    scheduler = serving("nova-scheduler")
    with undisturbed(processes, [scheduler]), stopped(node, "placement-api"):
        for answer in ask([scheduler], 0, 10, 20).values():
            assert (answer.code, answer.err) == (0, "")


def test_refused_credentials_rest_until_they_change(node: Node, keystone: Agent, apis: list[Agent]) -> None:
    right = controller.passwords(node).keystone["glance"]

    def glance(password: str) -> Agent:
        login = {"os_username": "glance", "os_password": password, "os_project_name": "service"}
        return same(apis[0], **login)

    def logins(agent: Agent, code: int, words: str = "") -> int:
        """Monitor once; give how many logins Keystone saw."""
        begin = size(node, KEYSTONE_LOG)
        answer = ask([agent], 20)[agent.name, 20]
        assert (answer.code, words in answer.reason) == (code, True), answer
        assert "-this" not in answer.err
        # The service asks for tokens of its own now and then; those get 201.
        return sum("POST /v3/auth/tokens" in line and "401)" in line for line in lines(node, KEYSTONE_LOG, begin))

    assert logins(glance("not-this"), 190, "refuses user 'glance' of the os_* parameters (401)") == 1
    for _ in range(2):
        assert logins(glance("not-this"), 190, "not tried again before they change or 15 minutes have passed") == 0
    assert logins(glance("nor-this"), 190, "refuses user 'glance' of the os_* parameters (401)") == 1
    assert ask([glance("nor-this")], 10)["glance-api", 10].code == 0
    assert logins(glance(right), 0) == 0
    assert not node.path(f"/run/resource-agents/openstack/{apis[0].instance}.state").exists()


def test_keystone_with_credentials(node: Node, keystone: Agent) -> None:
    password = controller.passwords(node).keystone["admin"]
    login = {"os_username": "admin", "os_project_name": "admin"}
    assert ask([same(keystone, os_password=password, **login)], 20)["keystone", 20].code == 0
    answer = ask([same(keystone, os_password="wrong", **login)], 20)["keystone", 20]
    assert answer.code == 190, answer
    recovery([same(keystone, os_password=password, **login), keystone], 20)
