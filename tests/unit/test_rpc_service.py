"""Services behind the broker, as far as no broker is needed: names, what is asked, and whose answer it was."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from resource_maker import make

from ocf_common.deadline import Deadline
from ocf_common.identity import Tree
from ocf_common.outcomes import Misconfigured, Silent
from ocf_common.procfs import Proc, Process, age
from ocf_common.rpc_service import RpcService

WELL = "[DEFAULT]\ntransport_url = rabbit://h:{port}//\n[database]\nconnection = sqlite:////dev/null\n"


class Scheduler(RpcService):
    name = "nova-scheduler"
    binary = "nova-scheduler"
    project = "nova"
    config = "/etc/nova/nova.conf"
    user = "root"
    topic = "scheduler"


def me() -> Process:
    process = Proc().process(os.getpid())
    assert process is not None
    return process


def tree(*workers: Process) -> Tree:
    made = Tree()
    made.main = me()
    made.workers = list(workers)
    return made


@pytest.mark.parametrize(
    ("text", "given", "host"),
    [("", {}, os.uname().nodename), ("host = vip", {}, "vip"), ("host = vip", {"rpc_host": "other"}, "other")],
)
def test_name_at_the_broker(tmp_path: Path, text: str, given: dict[str, str], host: str) -> None:
    assert make(Scheduler, tmp_path, f"[DEFAULT]\n{text}\n", **given).host == host


@pytest.mark.parametrize(("text", "exchange"), [("", "nova"), ("control_exchange = x", "x")])
def test_exchange(tmp_path: Path, text: str, exchange: str) -> None:
    assert make(Scheduler, tmp_path, f"[DEFAULT]\n{text}\n")._exchange() == exchange


@pytest.mark.parametrize(
    ("given", "broker", "database"),
    [
        ({}, True, True),
        ({"amqp_server_port": "5673", "database_server_port": "3307"}, True, True),
        ({"amqp_server_port": ""}, False, True),
        ({"zeromq": "true"}, False, True),
        ({"database_server_port": ""}, True, False),
    ],
)
def test_what_is_asked(tmp_path: Path, given: dict[str, str], broker: bool, database: bool) -> None:
    service = make(Scheduler, tmp_path, **given)
    assert (service.uses("broker"), service.uses("database"), service.uses("identity")) == (broker, database, True)
    assert service.is_asked() is broker


def test_port_parameters_override_the_configuration(tmp_path: Path) -> None:
    text = "[DEFAULT]\ntransport_url = rabbit://h:5672//\n[database]\nconnection = mysql://n:p@h/nova\n"
    service = make(Scheduler, tmp_path, text, amqp_server_port="5673", database_server_port="33060")
    assert [broker.port for broker in service.brokers()] == [5673]
    assert [address.port for address in service.databases()] == [33060]


def test_nothing_is_asked_where_all_is_turned_off(tmp_path: Path) -> None:
    service = make(Scheduler, tmp_path, amqp_server_port="", database_server_port="")
    service.works(Deadline(1), tree())
    service.await_answer(1, tree)
    assert service.lives(Deadline(1), tree())


def test_another_database_than_mysql_is_asked_whether_it_is_there(tmp_path: Path) -> None:
    text = f"[database]\nconnection = sqlite:///{tmp_path}/nova.db\n"
    service = make(Scheduler, tmp_path, text, zeromq="true")
    with pytest.raises(Misconfigured, match="cannot be read"):
        service.works(Deadline(1), tree())
    (tmp_path / "nova.db").write_text("")
    service.works(Deadline(1), tree())


@pytest.fixture
def broker_port() -> Iterator[int]:
    """The port of a listener that holds one connection of this very process."""
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen()
        client.connect(server.getsockname())
        yield server.getsockname()[1]


@pytest.mark.parametrize("ours", [True, False])
def test_only_a_connection_of_our_own_proves_that_the_answer_was_ours(
    tmp_path: Path, broker_port: int, ours: bool
) -> None:
    service = make(Scheduler, tmp_path, WELL.format(port=broker_port if ours else 1))
    service.proc = Proc()
    assert service.connected(tree()) is service.lives(Deadline(1), tree()) is ours
    if ours:
        service._own_answer(2, tree())
    else:
        with pytest.raises(Silent, match=r"another daemon answers for scheduler"):
            service._own_answer(2, tree())


def test_age_of_a_process() -> None:
    assert 0 <= age(me()) < 86400
