"""From the shell agents to these: the daemons that those have started go on, and are ours from then on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from services.processes import Processes

from cluster.conftest import LONG, whole
from cluster.watch import Daemons, Story
from lab import controller
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


def use_the_old_agents(node: Node) -> None:
    folder = node.path("/root/meta-data")
    folder.mkdir(exist_ok=True)
    for name in PARAMETERS:
        said = node.run([f"{AGENTS}/{name}", "meta-data"], env={"OCF_ROOT": "/usr/lib/ocf"}, check=True)
        (folder / f"{name}.xml").write_text(said.stdout)
        node.path(f"{AGENTS}/{name}").write_bytes(STAND_IN.read_bytes())


def install_ours(node: Node) -> None:
    node.run(["dpkg", "--install", "--force-confmiss", PACKAGE], timeout=120, check=True)


def each_resource(cluster: Cluster, verb: Callable[[str], tuple[str, ...]]) -> None:
    for name in PARAMETERS:
        cluster.crm("resource", *verb(f"p_{name}"))
    cluster.idle()


@pytest.fixture
def by_old_agents(cluster: Cluster, set_parameters: Callable[..., None]) -> Cluster:
    """Let stand-ins for the old agents start three services, with the parameters of old."""
    each_resource(cluster, lambda resource: ("stop", resource))
    cluster.each(use_the_old_agents)
    accounts = controller.passwords(cluster.some()).keystone
    for name, parameters in PARAMETERS.items():
        login = {"os_password": accounts[parameters["os_username"]]} if "os_username" in parameters else {}
        set_parameters(f"p_{name}", **parameters, **login)
    each_resource(cluster, lambda resource: ("start", resource))
    cluster.wait(whole, LONG, "everything runs, three services by the old agents")
    return cluster


def test_our_agents_take_over_without_a_restart(by_old_agents: Cluster, story: Story) -> None:
    cluster = by_old_agents
    daemons = Daemons(cluster)
    before = daemons.all()
    for name in PARAMETERS:
        node, pid, _ = before[f"p_{name}"]
        assert Processes(cluster.node(node)).get(pid), f"{name} does not run"
    story.begin()
    cluster.crm("configure", "property", "maintenance-mode=true")
    cluster.each(install_ours)
    cluster.crm("resource", "refresh")
    cluster.idle()
    cluster.crm("configure", "property", "maintenance-mode=false")
    cluster.idle()
    story.phase("taken over")
    for name in PARAMETERS:
        # At the level that looks at everything: with the credentials and the URLs of old.
        node = cluster.node(before[f"p_{name}"][0])
        argv = ["crm_resource", f"--resource=p_{name}", "--force-check", "--verbose"]
        checked = node.run(argv, env={"OCF_CHECK_LEVEL": "20"}, timeout=60)
        assert checked.returncode == 0, checked.stdout + checked.stderr
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
