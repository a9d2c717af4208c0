"""All is well: every level says so without any parameter, and what one check costs the others is counted."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from lab import eras, provision
from lab.driver import Agent
from lab.node import Node
from services.faults import ask, lines, recovery, size

APIS = ("keystone", "glance-api", "nova-api")
RPC = ("nova-scheduler", "nova-conductor")
BROKER_LOG = "/var/log/rabbitmq/rabbit@localhost.log"
KEYSTONE_LOG = "/var/log/keystone/keystone.log"
SQL_LOG = "/var/lib/mysql/general.log"
STATE = "/run/resource-agents/openstack"


@pytest.fixture(scope="module")
def services(serving: Callable[[str], Agent]) -> list[Agent]:
    agents = [serving(name) for name in (*APIS, *RPC)]
    recovery(agents, 10, 20)
    return agents


@pytest.fixture
def statements(node: Node, services: list[Agent]) -> Iterator[Callable[[], list[str]]]:
    """Give what MariaDB was asked since then."""
    log = f"SET GLOBAL general_log_file = '{SQL_LOG}'; SET GLOBAL general_log = "
    node.run(["mysql", "-e", log + "1"], check=True)
    begin = size(node, SQL_LOG)
    yield lambda: list(lines(node, SQL_LOG, begin))
    node.run(["mysql", "-e", log + "0"], check=True)


def queues(node: Node) -> set[str]:
    return set(node.run(["rabbitmqctl", "-q", "list_queues", "name"], check=True).stdout.split())


def test_no_parameter_is_needed(node: Node, services: list[Agent]) -> None:
    assert not any(agent.parameters for agent in services)
    logs = ["/var/log/syslog", *(f"/var/log/nova/{name}.log" for name in RPC)]
    begin = {log: size(node, log) for log in logs}
    for agent in services:
        for level in (None, 0, 10, 20):
            answer = agent.monitor(level)
            assert (answer.code, answer.out, answer.err) == (0, "", ""), f"{agent.name}, level {level}: {answer}"
    said = [line for log in logs for line in lines(node, log, begin[log]) if "DEBUG" not in line]
    # The daemons' own lines (a token of theirs, a periodic task) are none of ours.
    assert [line for line in said if re.search("ocf|ping|dispatcher|WARNING|ERROR", line)] == []
    # What is not normal is remembered in files; nothing is.
    assert [path.name for path in node.path(STATE).glob("s_*")] == []


def test_what_a_ping_costs_rabbitmq(node: Node, services: list[Agent]) -> None:
    before = queues(node)
    begin = size(node, BROKER_LOG)
    ask([agent for agent in services if agent.name in RPC], 10)
    left = queues(node) - before
    said = lines(node, BROKER_LOG, begin)
    for name in RPC:
        (ours,) = [line for line in said if line.endswith(f"client-provided name: ocf:{name}")]
        process = re.findall(r"<\S+>", ours)[0]
        words = [line.partition(" [info] ")[2] for line in said if process in line]
        print(f"{name}, level 10, RabbitMQ:", *words, sep="\n  ")
        # Connection, its name, login, end: all at level info.
        assert len(words) == 4
        assert all(words)
    assert left == set()
    assert "ocf:" not in node.run(["rabbitmqctl", "-q", "list_connections", "client_properties"]).stdout


def test_what_a_heartbeat_costs_mariadb(services: list[Agent], statements: Callable[[], list[str]]) -> None:
    ask([agent for agent in services if agent.name in RPC], 20)
    said = statements()
    for name in RPC:
        (question,) = [line for line in said if "SELECT * FROM services" in line and f"'{name}'" in line]
        number = question.split("Query")[0].split()[-1]
        ours = re.findall(rf"\s{number} (Connect|Query|Quit).*", "\n".join(said))
        print(f"{name}, level 20, MariaDB:", *ours)
        assert ours == ["Connect", "Query", "Quit"]


@pytest.mark.parametrize("name", APIS)
def test_what_a_login_costs_keystone_and_mariadb(
    node: Node, services: list[Agent], statements: Callable[[], list[str]], name: str
) -> None:
    agent = services[APIS.index(name)]
    ask([agent], 20)  # the service's own token is had now
    begin, before = size(node, KEYSTONE_LOG), len(statements())
    ask([agent], 20)
    said = lines(node, KEYSTONE_LOG, begin)
    requests = [found[0] for found in (re.search(r"(GET|POST|HEAD) /\S*", line) for line in said) if found]
    queries = [line for line in statements()[before:] if " Query\t" in line]
    print(f"{name}, level 20: Keystone gets {requests} and logs {len(said)} lines; {len(queries)} statements in all")
    assert requests.count("POST /v3/auth/tokens") == 1
    if name == "keystone":
        # Without credentials: a login that must be refused. uWSGI's two lines, and two warnings of Keystone's.
        assert requests == ["GET /healthcheck", "POST /v3/auth/tokens"]
        assert len([line for line in said if "WARNING" in line]) <= 2


def test_the_services_of_ocata(agent: Callable[..., Agent], node: Node, ocata: None) -> None:
    config = provision.OCATA.config
    agents = [
        agent(name, f"o_{name}", binary=f"/{eras.OCATA}/bin/{name}", config=config)
        for name in ("nova-cert", "nova-consoleauth")
    ]
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda one: one.start(), agents))
        assert [answer.code for answer in answers] == [0, 0], answers
        print(recovery(agents, 0, 10, 20))
        for answer in ask(agents, 0, 10, 20).values():
            assert (answer.code, answer.err) == (0, "")
        # Both take up to half a minute to end: at the same time.
        list(pool.map(lambda one: one.stop(), agents))
