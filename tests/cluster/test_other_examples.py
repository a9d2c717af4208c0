"""The other files of crm-examples, each loaded as it stands there."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest

from cluster.conftest import COMPLAINT, LONG, whole
from cluster.simulation import Simulation
from cluster.watch import Daemons, Story, changed, other
from lab import cloud
from lab.cluster import EXAMPLE, Cluster
from lab.node import Node

OLD = ("p_nova-consoleauth", "p_nova-cert")
GROUPED = ("fencing-lab.crm", "storage-shared.crm", "active-passive-grouped.crm")
#: in the order in which the group starts them
GROUP = (
    "p_mariadb", "p_rabbitmq",
    "p_keystone", "p_glance-api", "p_placement-api", "p_nova-conductor", "p_nova-api", "p_nova-scheduler",
)  # fmt: skip


@pytest.fixture
def with_old_releases(ocata: None, cluster: Cluster) -> Iterator[str]:
    """Load old-releases.crm beside the example, give what crmsh said, and take its resources out again."""
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
    for resource in OLD:
        # Which looks here at the row in the database as well.
        assert daemons.check(resource) == ""
    after = daemons.all()
    assert {name: after[name] for name in before} == before
    assert not cluster.status().fail_counts


@pytest.fixture
def grouped(cluster: Cluster) -> Iterator[str]:
    """Load the classic form in the place of the example, give what crmsh said, and put the example back."""
    yield cluster.replace(*GROUPED)
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
    assert changed(before, daemons.all()) == set(GROUP[1:])


def changed_only_in_part(daemons: Daemons, before: dict[str, tuple[str, int, int]]) -> list[str]:
    """Give what is still to be started anew after the broker was killed."""
    after = daemons.now()
    return [name for name in GROUP[1:] if not after[name][2] or after[name] == before[name]]


#: What is asked of agents that the laboratory's nodes have not: parameters and actions as the examples use them.
DRBD = """\
#!/bin/sh
[ "$1" = meta-data ] && cat <<END
<?xml version="1.0"?>
<resource-agent name="drbd" version="1.0">
<version>1.0</version><longdesc lang="en">stand-in</longdesc><shortdesc lang="en">stand-in</shortdesc>
<parameters>
<parameter name="drbd_resource" unique="1" required="1"><longdesc lang="en">name</longdesc>
<shortdesc lang="en">name</shortdesc><content type="string"/></parameter>
</parameters>
<actions>
<action name="start" timeout="240s"/><action name="stop" timeout="100s"/>
<action name="promote" timeout="90s"/><action name="demote" timeout="90s"/>
<action name="notify" timeout="90s"/><action name="meta-data" timeout="5s"/><action name="validate-all" timeout="5s"/>
<action name="monitor" depth="0" timeout="20s" interval="20s" role="Unpromoted"/>
<action name="monitor" depth="0" timeout="20s" interval="10s" role="Promoted"/>
</actions>
</resource-agent>
END
"""
IPMI = """\
#!/bin/sh
cat <<END
<?xml version="1.0"?>
<resource-agent name="fence_ipmilan" shortdesc="stand-in">
<longdesc>stand-in</longdesc>
<parameters>
<parameter name="action" unique="0" required="1"><content type="string" default="reboot"/>
<shortdesc lang="en">action</shortdesc></parameter>
<parameter name="ip" unique="0" required="1"><content type="string"/><shortdesc lang="en">address</shortdesc>
</parameter>
<parameter name="username" unique="0" required="0"><content type="string"/><shortdesc lang="en">user</shortdesc>
</parameter>
<parameter name="password" unique="0" required="0"><content type="string"/><shortdesc lang="en">secret</shortdesc>
</parameter>
<parameter name="lanplus" unique="0" required="0"><content type="boolean" default="0"/>
<shortdesc lang="en">protocol</shortdesc></parameter>
</parameters>
<actions>
<action name="on" automatic="0"/><action name="off"/><action name="reboot"/><action name="status"/>
<action name="monitor"/><action name="metadata"/><action name="validate-all"/>
</actions>
</resource-agent>
END
"""
STAND_INS = {"/usr/lib/ocf/resource.d/linbit/drbd": DRBD, "/usr/sbin/fence_ipmilan": IPMI}


@pytest.fixture
def with_stand_ins(cluster: Cluster) -> Iterator[Node]:
    """Give a node that has something in the place of the agents for real machines."""
    node = cluster.some()
    written = [(node.path(name), text) for name, text in STAND_INS.items() if not node.path(name).exists()]
    for place, text in written:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(0o755)
    yield node
    for place, _ in written:
        place.unlink()


@pytest.fixture
def simulation(cluster: Cluster, with_stand_ins: Node) -> Simulation:
    return Simulation(with_stand_ins, cluster.names)


REAL = ("fencing-ipmi.crm", "storage-drbd.crm", "active-passive.crm")


@pytest.mark.parametrize(
    ("files", "resources"),
    [
        (REAL, ("st_n2", "ms_drbd", "p_fs", "p_keystone")),
        (("fencing-ipmi.crm", "services.crm"), ("st_n1", "p_keystone", "p_placement-api", "p_nova-scheduler")),
    ],
    ids=["a whole controller", "services alone"],
)
def test_the_files_for_real_machines_are_understood(
    simulation: Simulation, files: tuple[str, ...], resources: tuple[str, ...]
) -> None:
    said = simulation.load(*files)
    assert not COMPLAINT.search(said), said
    assert simulation.run("crm_verify", "--live-check", "--verbose") == ""
    shown = simulation.run("crm", "configure", "show")
    assert all(name in shown for name in resources)


SCORE, WHOLE, SYNCING = "master-p_drbd", "10000", "10"  # what ocf:linbit:drbd says of a disk: in sync, or not yet


@pytest.mark.parametrize(
    ("files", "disk"),
    [(EXAMPLE, ""), (GROUPED, ""), (REAL, WHOLE), (REAL, SYNCING)],
    ids=["as in the laboratory", "grouped", "on DRBD", "on DRBD, which is not in sync"],
)
def test_everything_moves_only_from_a_node_that_reaches_nobody_to_one_that_reaches_somebody(
    cluster: Cluster, simulation: Simulation, files: tuple[str, ...], disk: str
) -> None:
    simulation.load(*files)
    whole_disk = WHOLE if disk else ""
    both = {name: {"pingd": "1", SCORE: whole_disk} for name in cluster.names}
    status = simulation.settle(both)
    for here, there in product(("1", "0", ""), repeat=2):
        serving = status.where("p_ip")
        better = other(cluster, serving)
        given = {serving: {"pingd": here, SCORE: whole_disk}, better: {"pingd": there, SCORE: disk}}
        moves = (here, there) == ("0", "1") and disk != SYNCING
        # A second time with both of them well again: the way back moves nothing.
        for said in (given, both):
            status = simulation.settle(said)
            expected = {better if moves else serving}
            assert {status.where(name) for name in ("p_fs", "p_ip", *GROUP)} == expected, (here, there, status)
