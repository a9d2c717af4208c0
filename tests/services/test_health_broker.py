"""RabbitMQ in trouble: the services behind it are degraded, named is RabbitMQ, and nobody is restarted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import unquote, urlsplit

import pytest

from lab import controller, provision
from lab.driver import Agent
from lab.node import Node
from services.conftest import until
from services.faults import ask, cut_off, dropped, edited, frozen, recovery, same, stopped, undisturbed
from services.processes import Processes

CONFIG = provision.ZED.config
BROKER = "RabbitMQ at 127.0.0.1:5672"


@pytest.fixture
def services(serving: Callable[[str], Agent], processes: Processes) -> Iterator[list[Agent]]:
    """A service behind the broker; the same process must serve, and all be well by itself, after the test."""
    serving("keystone")
    agents = [serving("nova-scheduler")]
    with undisturbed(processes, agents):
        yield agents
        print("well again, in seconds:", recovery(agents, 10, 20))


@pytest.fixture(scope="session")
def url(node: Node) -> str:
    return controller.passwords(node).broker_url(provision.ZED)


def expect(agents: list[Agent], code: int, *words: str) -> None:
    """Assert that both levels of all agents give the code, with all words in the reason."""
    for (name, level), answer in ask(agents, 10, 20).items():
        assert answer.code == code, f"{name}, level {level}: {answer}"
        for word in words:
            assert word in answer.reason, f"{name}, level {level}: {answer}"


def test_stopped(node: Node, services: list[Agent], serving: Callable[[str], Agent]) -> None:
    services.append(serving("nova-conductor"))
    with stopped(node, "rabbitmq-server"):
        expect(services, 190, f"{BROKER} refuses connections; nova-", "itself is running")


def test_restarted_between_two_monitors(node: Node, services: list[Agent], serving: Callable[[str], Agent]) -> None:
    services.append(serving("nova-conductor"))
    # Kept away, so that none is there again sooner than it is asked.
    with cut_off(node, "nova"):
        node.run(["systemctl", "restart", "rabbitmq-server"], timeout=120, check=True)
        # Nobody was asked meanwhile, and none is to blame.
        for answer in ask(services, 10).values():
            assert (answer.code, answer.reason.endswith(" has not reconnected yet")) == (190, True), answer


def test_frozen(processes: Processes, services: list[Agent]) -> None:
    with frozen(processes, processes.matching("beam.smp")[0]):
        expect(services, 190, f"{BROKER} does not answer within", "itself is running")


def test_dropped_packets(node: Node, services: list[Agent]) -> None:
    with dropped(node, 5672):
        expect(services, 190, f"{BROKER} does not answer within", "itself is running")


def test_memory_alarm(node: Node, services: list[Agent]) -> None:
    node.run(["rabbitmqctl", "set_vm_memory_high_watermark", "0.0001"], check=True)
    try:
        expect(services, 190, f"{BROKER} has stopped publishers (low on memory)", "itself is running")
    finally:
        node.run(["rabbitmqctl", "set_vm_memory_high_watermark", "0.4"], check=True)


def test_an_operator_can_choose_failover(node: Node, services: list[Agent]) -> None:
    strict = [same(one, on_dependency_failure="fail") for one in services]
    with edited(node, CONFIG, ("@127.0.0.1:5672/", "@127.0.0.1:5671/")):
        expect(strict, 1, "RabbitMQ at 127.0.0.1:5671 refuses connections; nova-")
        expect(services, 190, "RabbitMQ at 127.0.0.1:5671 refuses connections; nova-")


def test_a_dead_first_host_of_several(node: Node, services: list[Agent], url: str) -> None:
    login = url.partition("://")[2].rpartition("@")[0]
    several = f"rabbit://{login}@127.0.0.1:5671,{login}@127.0.0.1:5672/"
    with edited(node, CONFIG, (url, several)):
        expect(services, 0)
        with dropped(node, 5671):
            expect(services, 0)
        with dropped(node, 5671, 5672):
            expect(services, 190, "127.0.0.1:5671 does not answer", "127.0.0.1:5672 does not answer")


def test_a_name_without_an_address(node: Node, services: list[Agent]) -> None:
    with edited(node, CONFIG, ("@127.0.0.1:5672/", "@rabbit.invalid:5672/")):
        expect(services, 190, "RabbitMQ at rabbit.invalid:5672 cannot be resolved")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("rabbit://openstack:", "rabbit://openstack:not-", "refuses the login of user 'openstack'"),
        ("@127.0.0.1:5672/", "@127.0.0.1:5672/elsewhere", "has no virtual host 'elsewhere'"),
        ("rabbit://", "rubbish://", "transport_url cannot be used"),
        ("@127.0.0.1:5672/", "@127.0.0.1:notaport/", "transport_url cannot be used"),
    ],
)
def test_a_misfit_under_a_working_daemon(
    node: Node, services: list[Agent], url: str, old: str, new: str, words: str
) -> None:
    secret = unquote(urlsplit(url).password or "")
    with edited(node, CONFIG, (old, new)):
        expect(services, 190, words, "itself still answers")
        for answer in ask(services, 10, 20).values():
            assert secret not in answer.err


def test_a_misfit_of_a_daemon_without_a_connection(node: Node, services: list[Agent]) -> None:
    with cut_off(node, "nova"), edited(node, CONFIG, ("@127.0.0.1:5672/", "@127.0.0.1:5672/elsewhere")):
        answers = ask(services, 10, 20)
    for answer in answers.values():
        assert (answer.code, answer.reason) == (1, f"{BROKER} has no virtual host 'elsewhere'"), answer
    until(lambda: services[0].monitor(10).code == 0, 60, "the daemon's next try")
