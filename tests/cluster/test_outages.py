"""A database, broker or Keystone that cannot be reached: no healthy daemon is restarted, and the culprit is named."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, ExitStack

import pytest
from services import faults
from services.processes import Processes

from cluster.conftest import LONG, switched_on, whole
from cluster.watch import Daemons, Story, changed, promise
from lab import cloud
from lab.cluster import Cluster, Status
from lab.member import VIP
from lab.node import until

DROPPED = 120.0  # seconds
FROZEN = 45.0
AWAY = 180.0
CULPRITS = {
    "mariadb": (3306, "MariaDB", ("p_keystone", "p_glance-api", "p_placement-api", "p_nova-api")),
    "rabbitmq": (5672, "RabbitMQ", ("p_nova-conductor", "p_nova-scheduler")),
    "keystone": (5000, "Keystone", ("p_glance-api", "p_placement-api", "p_nova-api")),
}


def dropped(cluster: Cluster, node: str, port: int) -> AbstractContextManager[None]:
    """Drop the packets to a port of the virtual address, as a network between would; loopback stays."""
    return faults.dropped(cluster.node(node), port, address=VIP)


def refused(cluster: Cluster, node: str, port: int) -> AbstractContextManager[None]:
    """Refuse connections to a port of the virtual address, as if nobody were there."""
    rules = f"type filter hook input priority 0; ip daddr {VIP} tcp dport {port} reject with tcp reset;"
    return faults.filtered(cluster.node(node), rules)


def hold(cluster: Cluster, story: Story, culprit: str, resources: tuple[str, ...], seconds: float) -> None:
    """Wait until everybody concerned names the culprit, and until the outage has lasted that long, named to its end."""
    end = time.monotonic() + seconds
    node = cluster.status().where("p_ip")

    def silent(status: Status) -> list[str]:
        said = status.attributes.get(node, {})
        return [resource for resource in resources if culprit not in said.get(f"degraded-{resource}", "")]

    cluster.wait(lambda status: not silent(status), LONG, f"{culprit} is named by {resources}")
    story.phase(f"{culprit} named by all")
    until(lambda: time.monotonic() > end, LONG, "the outage has lasted", pause=0.3)
    status = cluster.status()
    assert not silent(status), status


def settled(cluster: Cluster, story: Story, failed: str = "") -> None:
    """Wait until nobody says degraded any more, without help; nothing but ``failed`` has failed meanwhile."""
    cluster.wait(
        lambda status: not any(name.startswith("degraded-") for of in status.attributes.values() for name in of),
        LONG,
        "no attribute is left",
    )
    story.phase("attributes gone")
    assert {resource for resource, _ in cluster.status().fail_counts} <= {failed}


@pytest.mark.parametrize("name", sorted(CULPRITS))
def test_dropped_packets_restart_nobody(cluster: Cluster, daemons: Daemons, story: Story, name: str) -> None:
    port, culprit, resources = CULPRITS[name]
    before = daemons.all()
    story.begin()
    with dropped(cluster, before["p_keystone"][0], port):
        hold(cluster, story, culprit, resources, DROPPED)
    story.phase("mended")
    settled(cluster, story)
    promise(not changed(before, daemons.all()), daemons.all())


@pytest.mark.parametrize("name", sorted(CULPRITS))
def test_a_frozen_server_restarts_nobody_else(cluster: Cluster, daemons: Daemons, story: Story, name: str) -> None:
    _, culprit, resources = CULPRITS[name]
    before = daemons.all()
    resource = f"p_{name}"
    node, pid, _ = before[resource]
    processes = Processes(cluster.node(node))
    story.begin()
    end = time.monotonic() + FROZEN
    with faults.frozen(processes, *processes.family(pid)):
        if name == "keystone":
            # Frozen processes are a proof of death: its own agent starts it anew before anybody misses it.
            cluster.wait(lambda _: time.monotonic() > end, LONG, "it has been frozen")
        else:
            hold(cluster, story, culprit, resources, FROZEN)
    story.phase("thawed")
    if name == "keystone":
        cluster.wait(lambda status: status.where(resource), LONG, "Keystone runs")
    cluster.served(LONG)
    settled(cluster, story, resource if name == "keystone" else "")
    after = daemons.all()
    promise(changed(before, after) == ({resource} if name == "keystone" else set()), after)
    assert after[resource][0] == node


def starts_without_placement(status: Status) -> bool:
    """Tell whether the scheduler's start has found out, be it that it failed or that it began degraded."""
    said = [attributes.get("degraded-p_nova-scheduler", "") for attributes in status.attributes.values()]
    said += [failure for failure in status.failures if failure.startswith("op_key=p_nova-scheduler_start_0")]
    return any("Placement" in one for one in said)


def test_a_cold_start_without_placement_ends_well(cluster: Cluster, story: Story) -> None:
    """Nova's scheduler (Zed) ends itself when it finds no Placement."""
    with ExitStack() as away:
        with switched_on(cluster, "stop-all-resources"):
            cluster.wait(lambda status: not any(one.running for one in status.resources), LONG, "everything stopped")
            for node in cluster.names:
                away.enter_context(refused(cluster, node, 8778))
        story.begin()
        end = time.monotonic() + AWAY
        cluster.wait(starts_without_placement, LONG, "the scheduler's start says that it misses Placement")
        story.phase("the scheduler's start misses Placement")
        until(lambda: time.monotonic() > end, LONG, "Placement has been away", pause=0.3)
    story.phase("Placement is back")
    cluster.wait(whole, LONG, "everything runs, and no human did anything")
    story.phase("everything runs")
    assert cluster.use() == cloud.WORKS
