"""MariaDB in trouble: level 10 does not need it, level 20 names it, and nobody is restarted."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from lab import provision
from lab.driver import Agent
from lab.node import Node
from services.faults import ask, dropped, edited, frozen, recovery, same, stopped, undisturbed
from services.processes import Processes

DATABASE = "MariaDB at 127.0.0.1:3306"
GALERA = "/var/tmp/galera"
GALERA_PORT = 13306


@pytest.fixture
def services(
    serving: Callable[[str], Agent], processes: Processes, request: pytest.FixtureRequest
) -> Iterator[list[Agent]]:
    """Services that use the database (a test may choose them); the same processes must serve after the test."""
    names = getattr(request, "param", ("keystone", "glance-api", "nova-api", "nova-scheduler"))
    agents = [serving(name) for name in names]
    with undisturbed(processes, agents):
        yield agents
        print("well again, in seconds:", recovery(agents, 20))


def expect_outage(services: list[Agent], words: str) -> None:
    for (name, level), answer in ask(services, 0, 10, 20).items():
        if level == 20:
            assert (answer.code, answer.reason.startswith(f"{DATABASE} {words}")) == (190, True), f"{name}: {answer}"
            assert answer.reason.endswith(f"; {name} itself is running")
        else:
            assert (answer.code, answer.err) == (0, ""), f"{name}, level {level}: {answer}"


def test_stopped(node: Node, services: list[Agent]) -> None:
    with stopped(node, "mariadb"):
        expect_outage(services, "refuses connections")


def test_frozen(processes: Processes, services: list[Agent]) -> None:
    with frozen(processes, *processes.matching("mariadbd")):
        expect_outage(services, "does not answer within")


def test_dropped_packets(node: Node, services: list[Agent]) -> None:
    with dropped(node, 3306):
        expect_outage(services, "does not answer within")


@pytest.mark.parametrize("services", [("nova-scheduler",)], indirect=True)
@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("mysql+pymysql://nova:", "mysql+pymysql://nova:not-", f"{DATABASE} refuses the login of user 'nova'"),
        ("@127.0.0.1/nova?", "@127.0.0.1/elsewhere?", f"{DATABASE} "),
        ("@127.0.0.1/nova?", "@127.0.0.1:notaport/nova?", "[database] connection cannot be used"),
    ],
)
def test_a_misfit_under_a_working_daemon(node: Node, services: list[Agent], old: str, new: str, words: str) -> None:
    with edited(node, provision.ZED.config, (old, new)):
        answers = ask(services, 10, 20)
    assert answers["nova-scheduler", 10].code == 0
    answer = answers["nova-scheduler", 20]
    assert answer.code == 190, answer
    assert words in answer.reason, answer
    assert answer.reason.endswith("; nova-scheduler itself still answers")
    assert "not-" not in answer.err


@pytest.mark.parametrize("services", [("keystone", "glance-api")], indirect=True)
def test_a_login_that_the_database_refuses_to_the_daemons(node: Node, services: list[Agent]) -> None:
    locked = ["keystone", "glance"]

    def sql(*statements: str) -> None:
        node.run(["mysql"], input=";".join(statements), check=True)

    sql(*(f"ALTER USER {name} ACCOUNT LOCK; KILL USER {name}" for name in locked))
    try:
        answers = ask(services, 10, 20)
    finally:
        sql(*(f"ALTER USER {name} ACCOUNT UNLOCK" for name in locked))
    for (name, level), answer in answers.items():
        assert answer.code == (190 if level == 20 else 0), f"{name}, level {level}: {answer}"
    assert answers["keystone", 20].reason == (f"{DATABASE} has locked user 'keystone'; keystone itself still answers")


@contextmanager
def galera(node: Node) -> Iterator[None]:
    """Run a Galera node with an empty database nova_api, which lets everybody in and then loses its quorum."""
    node.run(["install", "-d", "-o", "mysql", GALERA], check=True)
    common = ["--no-defaults", "--user=mysql", f"--datadir={GALERA}/data"]
    node.run(["mariadb-install-db", *common], check=True)
    server = node.popen(
        [
            "mariadbd", *common, f"--socket={GALERA}/socket", f"--port={GALERA_PORT}", "--bind-address=127.0.0.1",
            "--skip-grant-tables", "--binlog-format=ROW", "--innodb-autoinc-lock-mode=2", "--wsrep-on=ON",
            "--wsrep-provider=/usr/lib/galera/libgalera_smm.so", "--wsrep-cluster-address=gcomm://",
            "--wsrep-node-address=127.0.0.1",
            "--wsrep-provider-options=base_port=14567;gmcast.listen_addr=tcp://127.0.0.1:14567",
        ],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip

    def client(statement: str) -> list[str]:
        return ["mariadb", "--no-defaults", f"--socket={GALERA}/socket", "--execute", statement]

    try:
        node.wait_until(client("CREATE DATABASE IF NOT EXISTS nova_api"), 60)
        # It looks for others where nobody is.
        alone = "SET GLOBAL wsrep_cluster_address = 'gcomm://127.0.0.1:14999?pc.wait_prim=no'"
        node.run(client(alone), check=True)
        yield
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.communicate()
        node.run(["rm", "-r", GALERA], check=True)


@pytest.mark.parametrize("services", [("keystone", "nova-api")], indirect=True)
def test_a_galera_node_without_its_quorum(node: Node, services: list[Agent]) -> None:
    # The daemon itself keeps the real database; only its agent is led to the other one, by a request that fails.
    moved = ("@127.0.0.1/nova_api?", f"@127.0.0.1:{GALERA_PORT}/nova_api?")
    with galera(node), edited(node, provision.ZED.config, moved):
        for answer in ask([same(services[1], url="http://127.0.0.1:9899/")], 10, 20).values():
            assert (answer.code, answer.reason) == (
                190,
                f"MariaDB at 127.0.0.1:{GALERA_PORT} is not part of the cluster (WSREP is not ready); "
                "nova-api itself is running",
            )
