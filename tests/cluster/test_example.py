"""The active/passive example as it stands in crm-examples: loaded, used, and its resources broken one by one."""

from __future__ import annotations

import pytest

from cluster.conftest import COMPLAINT, LONG, whole
from cluster.watch import Daemons, Story
from lab import cloud
from lab.cluster import Cluster

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


@pytest.mark.parametrize("resource", RESOURCES)
def test_a_killed_resource_recovers_alone_and_in_place(
    cluster: Cluster, daemons: Daemons, story: Story, resource: str
) -> None:
    before = daemons.all()
    processes, family = daemons.family(resource)
    story.begin()
    processes.signal("KILL", *family)
    recovers_alone(cluster, daemons, story, resource, before)


@pytest.mark.parametrize("resource", ["p_keystone", "p_nova-scheduler"])
def test_a_frozen_resource_recovers_alone_and_in_place(
    cluster: Cluster, daemons: Daemons, story: Story, resource: str
) -> None:
    before = daemons.all()
    processes, family = daemons.family(resource)
    story.begin()
    processes.signal("STOP", *family)
    recovers_alone(cluster, daemons, story, resource, before)


def recovers_alone(
    cluster: Cluster, daemons: Daemons, story: Story, resource: str, before: dict[str, tuple[str, int, int]]
) -> None:
    """Wait until a resource runs as another process on the same node, and see that all others are the same."""
    node = before[resource][0]
    cluster.wait(lambda status: (resource, node) in status.fail_counts, LONG, f"the failure of {resource} is counted")
    story.phase("noticed")

    def again() -> bool:
        found = daemons.all().get(resource, before[resource])
        return bool(found[2]) and found != before[resource]

    cluster.wait(lambda status: whole(status) and again(), LONG, f"{resource} runs again")
    story.phase("recovered")
    cluster.idle()
    after = daemons.all()
    assert after.pop(resource)[0] == node
    before.pop(resource)
    assert after == before
    cluster.served(LONG)
    story.phase("served")
