"""The service itself in trouble while all that it needs is well: proof fails at once, silence is counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from lab import controller, provision
from lab.driver import Agent
from lab.node import Node
from services.conftest import until
from services.faults import ask, cut_off, edited, frozen, helper, recovery, same, undisturbed
from services.odd_server import BEHAVIOURS
from services.processes import Processes

FIRST_PORT = 9900


@pytest.fixture
def api(serving: Callable[[str], Agent], processes: Processes) -> Iterator[Agent]:
    """A real nova-api, whose monitors a test leads elsewhere with parameter url."""
    serving("keystone")
    agent = serving("nova-api")
    with undisturbed(processes, [agent]):
        yield agent
        recovery([agent], 10, 20)


@pytest.fixture
def conductor(serving: Callable[[str], Agent], processes: Processes) -> Iterator[Agent]:
    serving("keystone")  # through which it finds Placement
    agent = serving("nova-conductor")
    with undisturbed(processes, [agent]):
        yield agent
        print("well again, in seconds:", recovery([agent], 10, 20))


@pytest.fixture(scope="module")
def odd(node: Node) -> Iterator[Callable[[str], str]]:
    """Give the URL of a server that shows a behaviour."""
    with helper(node, "odd_server.py", str(FIRST_PORT)):
        yield lambda name: f"http://127.0.0.1:{FIRST_PORT + list(BEHAVIOURS).index(name)}/"


@pytest.fixture(scope="session")
def broker_url(node: Node) -> str:
    return controller.passwords(node).broker_url(provision.ZED).replace("rabbit://", "amqp://")


# Processes


@pytest.mark.parametrize("name", ["nova-api", "nova-conductor"])
def test_stopped_processes(serving: Callable[[str], Agent], processes: Processes, name: str) -> None:
    serving("keystone")
    agent = serving(name)
    main, *workers = processes.family(agent.pid())
    for stopped in ([main, *workers], workers):
        with frozen(processes, *stopped):
            for answer in ask([agent], 0, 10, 20).values():
                assert answer.code == 1, answer
                assert answer.reason.startswith(f"{name} is frozen: stopped processes (state T) {stopped[0]}")
    with frozen(processes, workers[0]):
        for answer in ask([agent], 0, 10, 20).values():
            assert answer.code == 190, answer
            assert answer.reason == f"{name} has stopped processes (state T): {workers[0]}"
    recovery([agent], 0, 10, 20)


# HTTP


def test_nobody_listens(api: Agent) -> None:
    for answer in ask([same(api, url="http://127.0.0.1:9899/")], 10, 20).values():
        assert (answer.code, answer.reason) == (1, "http://127.0.0.1:9899/ refuses connections")


def test_nobody_listens_is_no_proof_while_a_dependency_is_down(node: Node, api: Agent) -> None:
    with edited(node, provision.ZED.config, ("@127.0.0.1/nova_api?", "@127.0.0.1:3305/nova_api?")):
        for answer in ask([same(api, url="http://127.0.0.1:9899/")], 10, 20).values():
            assert answer.code == 190, answer
            assert answer.reason == "MariaDB at 127.0.0.1:3305 refuses connections; nova-api itself is running"


@pytest.mark.parametrize(
    ("behaviour", "code", "words"),
    [
        ("well", 0, ""),
        ("redirect", 0, ""),
        ("who are you", 0, ""),
        ("broken", 1, " answers 500"),
        ("unavailable", 1, " answers 503"),
        ("drained", 190, " is drained by an operator (DISABLED BY FILE)"),
        ("nonsense", 1, " does not speak HTTP"),
        ("nothing", 1, " closes the connection without an answer"),
        ("half", 1, " ends in the middle of its answer: 4 of 100 bytes"),
        ("endless", 1, " sends an answer without an end (more than 65536 bytes)"),
        ("drip", 1, " did not finish its answer within "),
    ],
)
def test_odd_answers(api: Agent, odd: Callable[[str], str], behaviour: str, code: int, words: str) -> None:
    url = odd(behaviour)
    answer = ask([same(api, url=url)], 10)[api.name, 10]
    assert answer.code == code, answer
    assert answer.reason.startswith(f"{url}{words}" if words else ""), answer


@pytest.mark.parametrize(
    ("behaviour", "code", "words"),
    [
        ("well", 0, ""),
        ("policy", 0, ""),
        ("token refused", 190, "refuses the token that Keystone gave (401): check [keystone_authtoken]"),
        ("rate", 190, "limits our requests (429)"),
        ("broken", 1, "answers 500"),
    ],
)
def test_odd_answers_to_a_login(api: Agent, odd: Callable[[str], str], behaviour: str, code: int, words: str) -> None:
    answer = ask([same(api, url=odd(behaviour))], 20)[api.name, 20]
    assert answer.code == code, answer
    assert words in answer.reason


def test_a_refusal_by_policy_proves_no_database(node: Node, api: Agent, odd: Callable[[str], str]) -> None:
    with edited(node, provision.ZED.config, ("@127.0.0.1/nova_api?", "@127.0.0.1:3305/nova_api?")):
        answer = ask([same(api, url=odd("policy"))], 20)[api.name, 20]
    assert (answer.code, answer.reason) == (
        190,
        "MariaDB at 127.0.0.1:3305 refuses connections; nova-api itself is running",
    )


def test_drained_by_an_operator(node: Node, serving: Callable[[str], Agent]) -> None:
    serving("keystone")
    agent = serving("glance-api")
    switch = node.path("/etc/glance/healthcheck_disable")
    switch.touch()
    try:
        answers = ask([agent], 0, 10, 20)
    finally:
        switch.unlink()
    assert [answer.code for answer in answers.values()] == [0, 190, 190]
    assert answers[agent.name, 10].reason.endswith("/ is drained by an operator (DISABLED BY FILE)")
    recovery([agent], 10, 20)


# Silence


def test_silence_is_counted_for_each_level(api: Agent, odd: Callable[[str], str]) -> None:
    mute = same(api, url=odd("silent"))
    for level in (10, 20):
        answer = ask([mute], level, timeout=6)[api.name, level]
        assert answer.code == 190, answer
        assert answer.reason.endswith("(1 of 2 monitors in a row)")
    answer = ask([mute], 10)[api.name, 10]
    assert answer.code == 1, answer
    assert answer.reason.endswith(", 2 monitors in a row; its dependencies are well")
    ask([same(api, url=odd("well"))], 10)
    assert ask([mute], 10)[api.name, 10].code == 190
    assert ask([same(mute, url=odd("silent"), silent_checks="1")], 10)[api.name, 10].code == 1


def test_a_daemon_that_consumes_and_does_not_answer(node: Node, conductor: Agent, broker_url: str) -> None:
    mute = same(conductor, rpc_host="mute")
    with helper(node, "odd_consumer.py", broker_url, "conductor.mute"):
        first = ask([mute], 10)[mute.name, 10]
        second = ask([mute], 10)[mute.name, 10]
    assert (first.code, second.code) == (190, 1), (first, second)
    assert first.reason.startswith("conductor.mute gave no answer to a ping within ")


def test_a_daemon_that_never_declared_its_queue(conductor: Agent) -> None:
    lost = same(conductor, rpc_host="nobody")
    first = ask([lost], 10)[conductor.name, 10]
    assert (first.code, first.reason.endswith("nova-conductor has not reconnected yet")) == (190, True), first
    # It had its time.
    answer = ask([same(conductor, rpc_host="nobody", recovery_grace="0")], 10)[conductor.name, 10]
    assert (answer.code, answer.reason) == (
        1,
        "RabbitMQ at 127.0.0.1:5672 has no queue conductor.nobody: its daemon never connected",
    )


def test_another_daemon_of_the_same_host_name_answers(
    node: Node, conductor: Agent, agent: Callable[..., Agent], config_copy: Callable[..., str]
) -> None:
    config = config_copy(provision.ZED.config, "namesake", {})
    namesake = agent("nova-conductor", "namesake", config=config, user="root")
    assert namesake.start().code == 0
    with cut_off(node, "nova"):
        until(lambda: namesake.monitor(10).code == 0, 30, "the namesake's new connection")
        # A busy machine may keep a dependency from answering in its time: that says 190, and gives no grace here.
        strict = same(conductor, recovery_grace="0")
        answers = [strict.monitor(10)]
        while answers[-1].code == 190 and len(answers) < 6:
            answers.append(strict.monitor(10))
    assert len(answers) > 1 and answers[-1].code == 1, answers
    assert "another daemon answers for conductor.controller" in answers[-1].reason
    # Silence went on until now: it fails for as long as the daemon has not noticed that it may connect again.
    until(lambda: conductor.monitor(10).code == 0, 60, "the daemon's next try")
