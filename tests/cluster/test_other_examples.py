"""The other files of crm-examples, each loaded as it stands there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster.conftest import COMPLAINT, LONG, whole
from cluster.watch import Daemons, Story
from lab import cloud, eras
from lab.cluster import EXAMPLE, Cluster

OLD = ("p_nova-consoleauth", "p_nova-cert")
#: in the order in which the group starts them
GROUP = (
    "p_mariadb", "p_rabbitmq",
    "p_keystone", "p_glance-api", "p_placement-api", "p_nova-conductor", "p_nova-api", "p_nova-scheduler",
)  # fmt: skip


@pytest.fixture
def with_old_releases(cluster: Cluster) -> Iterator[str]:
    """Load old-releases.crm beside the example, give what crmsh said, and take its resources out again."""
    missing = eras.ocata_missing()
    if missing:
        pytest.skip(f"no daemons of Ocata: {missing}")
    yield cluster.load("old-releases.crm")
    for resource in OLD:
        cluster.crm("resource", "stop", resource)
    cluster.idle()
    cluster.crm("configure", "delete", *OLD)


def test_old_releases_run_beside_the_example(
    cluster: Cluster, daemons: Daemons, story: Story, with_old_releases: str
) -> None:
    before = daemons.all()
    story.begin()
    assert not COMPLAINT.search(with_old_releases), with_old_releases
    cluster.wait(lambda status: whole(status) and all(map(status.where, OLD)), LONG, "all run")
    story.phase("started")
    node = cluster.node(cluster.status().where("p_ip"))
    for resource in OLD:
        # At the level that looks at everything, here the row in the database as well.
        argv = ["crm_resource", f"--resource={resource}", "--force-check", "--verbose"]
        checked = node.run(argv, env={"OCF_CHECK_LEVEL": "20"}, timeout=60)
        assert checked.returncode == 0, checked.stdout + checked.stderr
    after = daemons.all()
    assert {name: after[name] for name in before} == before
    assert not cluster.status().fail_counts


@pytest.fixture
def grouped(cluster: Cluster) -> Iterator[str]:
    """Load the classic form in the place of the example, give what crmsh said, and put the example back."""
    yield cluster.replace("fencing-lab.crm", "storage-shared.crm", "active-passive-grouped.crm")
    cluster.replace(*EXAMPLE)
    cluster.wait(whole, LONG, "everything runs as single resources")


def test_the_classic_form_works_and_costs_what_its_head_says(
    cluster: Cluster, daemons: Daemons, story: Story, grouped: str
) -> None:
    assert not COMPLAINT.search(grouped), grouped
    story.begin()
    cluster.wait(whole, LONG, "everything runs in one group")
    story.phase("started")
    assert cluster.use() == cloud.WORKS
    before = daemons.all()
    processes, family = daemons.family("p_rabbitmq")
    story.begin()
    processes.signal("KILL", *family)
    cluster.wait(lambda status: status.fail_counts, LONG, "the failure is counted")
    cluster.wait(lambda status: whole(status) and not changed_only_in_part(daemons, before), LONG, "all behind it runs")
    story.phase("broker and all behind it started anew")
    after = daemons.all()
    assert [name for name in GROUP if after[name] != before[name]] == list(GROUP[1:])


def changed_only_in_part(daemons: Daemons, before: dict[str, tuple[str, int, int]]) -> list[str]:
    """Give what is still to be started anew after the broker was killed."""
    after = daemons.all()
    return [name for name in GROUP[1:] if not after[name][1] or after[name] == before[name]]
