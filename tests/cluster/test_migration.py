"""From the shell agents to these: the daemons that those have started go on, and are ours from then on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from services.processes import Processes

from cluster.conftest import LONG, switched_on, whole
from cluster.watch import Daemons, Story
from lab import controller, package
from lab.cluster import PACKAGE, Cluster
from lab.driver import AGENTS
from lab.member import VIP
from lab.node import Node

STAND_IN = Path(__file__).with_name("old_agent.sh")
TOKENS = f"http://{VIP}:5000/v2.0/tokens"
#: what configurations of the old agents may set
PARAMETERS = {
    "nova-scheduler": {"database_server_port": "3306", "amqp_server_port": "5672", "user": "nova"},
    "nova-api": {
        "url": f"http://{VIP}:8774/v2/", "keystone_get_token_url": TOKENS, "os_username": "nova",
        "os_tenant_name": "service",
    },
    "glance-api": {"os_auth_url": TOKENS, "os_username": "glance", "os_tenant_name": "service"},
}  # fmt: skip


OLD_PACKAGE = "openstack-resource-agents"
_CONTROL = f"""\
Package: {OLD_PACKAGE}
Version: 1:2015.2
Architecture: all
Maintainer: nobody <nobody@openstack-resource-agents.example>
Description: stand-ins of the tests for the old agents
"""


def old_package(node: Node) -> str:
    """Build a package with the old one's name and the stand-ins in the node; give its file there."""
    folder = "/root/old"
    control = node.path(f"{folder}/DEBIAN/control")
    control.parent.mkdir(parents=True, exist_ok=True)
    control.write_text(_CONTROL)
    node.path("/root/meta-data").mkdir(exist_ok=True)
    for name in PARAMETERS:
        said = node.run([f"{AGENTS}/{name}", "meta-data"], env={"OCF_ROOT": "/usr/lib/ocf"}, check=True)
        node.path(f"/root/meta-data/{name}.xml").write_text(said.stdout)
        agent = node.path(f"{folder}{AGENTS}/{name}")
        agent.parent.mkdir(parents=True, exist_ok=True)
        agent.write_bytes(STAND_IN.read_bytes())
        agent.chmod(0o755)
    node.run(["dpkg-deb", "--root-owner-group", "--build", folder, f"{folder}.deb"], check=True)
    return f"{folder}.deb"


def use_the_old_agents(node: Node) -> None:
    built = old_package(node)
    node.run(["dpkg", "--purge", package.NAME], timeout=120, check=True)
    # The agents of all other services stay, and no package owns them.
    node.run(["dpkg-deb", "--extract", PACKAGE, "/"], check=True)
    node.run(["dpkg", "--install", built], timeout=120, check=True)
    assert installed(node) == [OLD_PACKAGE]
    assert stand_ins(node) == list(PARAMETERS)


def install_ours(node: Node) -> None:
    node.run(["dpkg", "--install", PACKAGE], timeout=120, check=True)


def installed(node: Node) -> list[str]:
    """Give which packages of agents are installed."""
    wanted = "${db:Status-Status} ${Package}\n"
    said = node.run(["dpkg-query", "--show", f"--showformat={wanted}", f"{OLD_PACKAGE}*"], check=True).stdout
    return [name for state, name in map(str.split, said.splitlines()) if state == "installed"]


def only_ours(node: Node) -> None:
    assert installed(node) == [package.NAME]
    assert stand_ins(node) == []
    assert node.run(["dpkg", "--verify", package.NAME]).stdout == ""


def stand_ins(node: Node) -> list[str]:
    return [name for name in PARAMETERS if node.path(f"{AGENTS}/{name}").read_bytes() == STAND_IN.read_bytes()]


def each_resource(cluster: Cluster, verb: Callable[[str], tuple[str, ...]]) -> None:
    for name in PARAMETERS:
        cluster.crm("resource", *verb(f"p_{name}"))
    cluster.idle()


@pytest.fixture
def by_old_agents(cluster: Cluster, set_parameters: Callable[..., None]) -> Iterator[Cluster]:
    """Let stand-ins for the old agents start three services, with the parameters of old."""
    each_resource(cluster, lambda resource: ("stop", resource))
    try:
        # For a moment the agents of the others are not there.
        with switched_on(cluster, "maintenance-mode"):
            cluster.idle()
            cluster.each(use_the_old_agents)
        accounts = controller.passwords(cluster.some()).keystone
        for name, parameters in PARAMETERS.items():
            login = {"os_password": accounts[parameters["os_username"]]} if "os_username" in parameters else {}
            set_parameters(f"p_{name}", **parameters, **login)
        each_resource(cluster, lambda resource: ("start", resource))
        cluster.wait(whole, LONG, "everything runs, three services by the old agents")
        yield cluster
    finally:
        cluster.each(lambda node: None if installed(node) == [package.NAME] else install_ours(node))
        each_resource(cluster, lambda resource: ("start", resource))


def test_our_agents_take_over_without_a_restart(by_old_agents: Cluster, story: Story) -> None:
    cluster = by_old_agents
    daemons = Daemons(cluster)
    before = daemons.all()
    for name in PARAMETERS:
        node, pid, _ = before[f"p_{name}"]
        assert Processes(cluster.node(node)).get(pid), f"{name} does not run"
    story.begin()
    with switched_on(cluster, "maintenance-mode"):
        # Conflicts and Replaces: dpkg takes the old package out.
        cluster.each(install_ours)
        cluster.crm("resource", "refresh")
        cluster.idle()
    cluster.idle()
    story.phase("taken over")
    cluster.each(only_ours)
    for name in PARAMETERS:
        # With the credentials and the URLs of old.
        assert daemons.check(f"p_{name}") == ""
    assert daemons.all() == before
    assert not cluster.status().fail_counts
    assert not cluster.status().failures
    # And they are ours: a stop ends them, a start begins anew.
    each_resource(cluster, lambda resource: ("stop", resource))
    for name in PARAMETERS:
        node_name, pid, started = before[f"p_{name}"]
        process = Processes(cluster.node(node_name)).get(pid)
        assert process is None or process.started != started
    each_resource(cluster, lambda resource: ("start", resource))
    cluster.wait(whole, LONG, "everything runs by our agents")
