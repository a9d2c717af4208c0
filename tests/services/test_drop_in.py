"""Configurations of the shell agents of 2012 to 2018, in the shape that the OpenStack HA guide showed, with ours."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator

import pytest

from lab import controller
from lab.driver import Agent
from lab.node import Node
from services.conftest import PREFIX

MONITOR = (
    "op start timeout=120s op stop timeout=120s op monitor interval=30s timeout=30s op status interval=0 timeout=30s"
)

# Every parameter that those agents had, with the values of their own defaults; {password} is the lab's.
GUIDE = {
    "keystone": """
        binary="keystone-all" config="/etc/keystone/keystone.conf" user="keystone"
        os_username="admin" os_password="{password}" os_tenant_name="admin" os_auth_url="http://127.0.0.1:5000/v2.0/"
        client_binary="keystone" """,
    "glance-api": """
        binary="glance-api" config="/etc/glance/glance-api.conf" user="glance"
        os_username="admin" os_password="{password}" os_tenant_name="admin" os_auth_url="http://127.0.0.1:5000/v2.0/"
        client_binary="glance" """,
    "nova-api": """
        binary="nova-api" config="/etc/nova/nova.conf" user="nova" url="http://127.0.0.1:8774/v2/"
        keystone_get_token_url="http://127.0.0.1:5000/v2.0/tokens"
        os_username="admin" os_password="{password}" os_tenant_name="admin"
        additional_parameters="--config-file=/etc/nova/nova.conf" """,
    "nova-scheduler": """
        binary="nova-scheduler" config="/etc/nova/nova.conf" user="nova"
        database_server_port="3306" amqp_server_port="5672" zeromq="false" """,
    "nova-consoleauth": """
        binary="/opt/ocata/bin/nova-consoleauth" config="/etc/nova-ocata/nova.conf" user="nova"
        database_server_port="3306" amqp_server_port="5672" zeromq="false" """,
    "nova-cert": """
        binary="/opt/ocata/bin/nova-cert" config="/etc/nova-ocata/nova.conf" user="nova"
        database_server_port="3306" amqp_server_port="5672" zeromq="false" """,
}


def parameters(name: str, password: str) -> dict[str, str]:
    return dict(word.split("=", 1) for word in shlex.split(GUIDE[name].format(password=password)))


@pytest.fixture(scope="module")
def guide(node: Node) -> Iterator[Callable[[str], Agent]]:
    """Give running agents with the guide's parameters; they stop in reverse order at the end."""
    running: dict[str, Agent] = {}
    password = controller.passwords(node).keystone["admin"]

    def give(name: str) -> Agent:
        if name != "keystone" and "keystone" not in running:
            give("keystone")
        if name not in running:
            pid = f"/run/resource-agents/guide-{name}.pid"
            one = Agent(node, name, f"guide-{name}", PREFIX, pid=pid, **parameters(name, password))
            answer = one.start(timeout=120)
            assert answer.code == 0, answer
            running[name] = one
        return running[name]

    yield give
    for one in reversed(list(running.values())):
        assert one.stop().code == 0
        assert one.probe().code == 7


@pytest.mark.parametrize("name", GUIDE)
def test_the_guides_parameters_work(name: str, guide: Callable[[str], Agent], request: pytest.FixtureRequest) -> None:
    if parameters(name, "")["binary"].startswith("/opt/ocata"):
        request.getfixturevalue("ocata")
    one = guide(name)
    for level in (None, 0, 10, 20):
        answer = one.monitor(level)
        assert (answer.code, answer.reason) == (0, ""), level
    for action in ("status", "validate-all"):
        answer = one.call(action, level=10)
        assert (answer.code, answer.reason) == (0, ""), action
    # Their pid file: the number alone on its first line.
    one.node.path(one.pid_file).write_text(f"{one.pid()}\n")
    assert one.monitor().code == 0
    assert one.start().code == 0


def test_a_wrong_password_is_an_operators_matter(guide: Callable[[str], Agent]) -> None:
    one = guide("nova-api")
    wrong = Agent(one.node, one.name, one.instance, one.prefix, **{**one.parameters, "os_password": "wrong-password"})
    try:
        answer = wrong.monitor(20)
        assert answer.code == 190, answer
        assert "401" in answer.reason or "refuses" in answer.reason
        assert "wrong-password" not in answer.err
        assert wrong.monitor(10).code == 0
    finally:
        assert one.monitor(20).code == 0


def test_the_guides_configuration_loads(node: Node) -> None:
    # A cluster without fencing is not valid; this device does nothing, and the cluster does not run.
    lines = ["primitive fencing stonith:null params hostlist=controller"]
    for name in GUIDE:
        words = " ".join(GUIDE[name].format(password="secret").split())
        lines.append(f"primitive p_{name} ocf:openstack:{name} params {words} {MONITOR}")
    lines.append("group g_services_api " + " ".join(f"p_{name}" for name in ("keystone", "glance-api", "nova-api")))
    cib = "/var/tmp/guide.xml"
    node.path("/var/tmp/guide.crm").write_text("\n".join(lines) + "\n")
    node.path(cib).write_text(node.run(["cibadmin", "--empty"], check=True).stdout)
    environment = {"CIB_file": cib, "HOME": "/root", "USER": "root"}
    done = node.run(["crm", "configure", "load", "update", "/var/tmp/guide.crm"], env=environment)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert not any(word in said for word in ("ocf:openstack", "parameter", "ERROR", "does not", "not allowed")), said
    # What it says of a parameter that no agent ever had.
    odd = node.run(
        ["crm", "configure", "primitive", "p_odd", "ocf:openstack:nova-api", "params", "odd=1"], env=environment
    )
    assert 'parameter "odd" is not known' in odd.stderr
    shown = node.run(["crm", "configure", "show"], env=environment).stdout
    assert all(f"ocf:openstack:{name}" in shown for name in GUIDE), shown
    verified = node.run(["crm_verify", "--xml-file", cib, "-V"])
    complaints = [line for line in verified.stderr.splitlines() if "p_" in line]
    assert complaints == []
    node.path(cib).unlink()
    node.path("/var/tmp/guide.crm").unlink()
