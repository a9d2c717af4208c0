"""The active/passive example as it stands in crm-examples: loaded, used, and its resources broken one by one."""

from __future__ import annotations

import pytest

from cluster.conftest import COMPLAINT, LONG, whole
from cluster.watch import Daemons, Identity, Story, changed
from lab import cloud
from lab.cluster import Cluster
from lab.member import DATA, VIP
from lab.node import until

SERVICES = ("keystone", "glance-api", "placement-api", "nova-conductor", "nova-api", "nova-scheduler")
RESOURCES = tuple(f"p_{name}" for name in (*SERVICES, "mariadb", "rabbitmq"))


def test_it_loads_without_a_warning(cluster: Cluster, loaded: tuple[str, float], story: Story) -> None:
    said, seconds = loaded
    assert not COMPLAINT.search(said), said
    verified = cluster.crm("configure", "verify")
    assert not COMPLAINT.search(verified), verified
    node = cluster.some()
    checked = node.run(["crm_verify", "--live-check", "--verbose"])
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    story.phases.append(("everything runs after a cold start", seconds))


@pytest.mark.parametrize("name", SERVICES)
def test_tools_know_the_agents(cluster: Cluster, name: str) -> None:
    agent = f"ocf:openstack:{name}"
    assert agent in cluster.crm("ra", "info", agent)
    described = cluster.some().run(["pcs", "resource", "describe", agent], timeout=60)
    assert described.returncode == 0, described.stderr
    assert described.stdout.startswith(agent)


def test_the_cloud_works_through_the_virtual_address(cluster: Cluster, story: Story) -> None:
    assert cluster.use() == cloud.WORKS
    story.phase("token, image and server request")


@pytest.mark.parametrize(
    ("resource", "signal"),
    [*((resource, "KILL") for resource in RESOURCES), ("p_keystone", "STOP"), ("p_nova-scheduler", "STOP")],
)
def test_a_killed_or_frozen_resource_recovers_alone_and_in_place(
    cluster: Cluster, daemons: Daemons, story: Story, resource: str, signal: str
) -> None:
    before = daemons.all()
    processes, family = daemons.family(resource)
    story.begin()
    processes.signal(signal, *family)
    recovers_in_place(cluster, daemons, story, resource, before, {resource})


@pytest.mark.parametrize(
    ("resource", "command"),
    [
        ("p_ip", ("ip", "address", "delete", f"{VIP}/24", "dev", "host0")),
        ("p_fs", ("umount", "--lazy", DATA)),
    ],
)
def test_a_lost_address_or_file_system_comes_back_and_the_services_stay(
    cluster: Cluster, daemons: Daemons, story: Story, resource: str, command: tuple[str, ...]
) -> None:
    before = daemons.all()
    story.begin()
    cluster.node(cluster.status().where(resource)).run(command, check=True)
    recovers_in_place(cluster, daemons, story, resource, before, {"p_mariadb", "p_rabbitmq"})
    until(
        lambda: not any(map(daemons.check, ("p_nova-conductor", "p_nova-scheduler"))),
        LONG,
        "conductor and scheduler have found the new broker",
        pause=0.3,
    )
    story.phase("connected")
    # Nova's API loses what it sends over a connection to the old broker, as ever in OpenStack: a user asks again.
    until(lambda: cluster.use() == cloud.WORKS, LONG, "a server request is answered")
    # Nor has a monitor taken one that was still looking for the broker for a dead one.
    assert changed(before, daemons.all()) == {"p_mariadb", "p_rabbitmq"}


def recovers_in_place(
    cluster: Cluster,
    daemons: Daemons,
    story: Story,
    resource: str,
    before: dict[str, Identity],
    renewed: set[str],
) -> None:
    """Wait until those to be renewed run as other processes on the same node; all others are the same as before."""
    (node,) = {one[0] for one in before.values()}
    cluster.wait(lambda status: (resource, node) in status.fail_counts, LONG, f"the failure of {resource} is counted")
    story.phase("noticed")

    def again() -> bool:
        found = daemons.now()
        return all(found.get(name, before[name])[1:] not in (before[name][1:], (0, 0)) for name in renewed)

    cluster.wait(lambda status: whole(status) and again(), LONG, f"{resource} runs again")
    story.phase("recovered")
    cluster.idle()
    after = daemons.all()
    assert {one[0] for one in after.values()} == {node}
    assert changed(before, after) == renewed
    cluster.served(LONG)
    story.phase("served")
