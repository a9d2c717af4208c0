"""What happens to whole nodes: crash, standby, a cut network, a fence device that does not answer, an orderly end."""

from __future__ import annotations

import contextlib
import time
from contextlib import AbstractContextManager

import pytest
from services import faults

from cluster.conftest import LONG, whole
from cluster.watch import Daemons, Story, changed, holders, other, promise
from lab import cloud, controller, failover
from lab.cluster import Cluster, Status
from lab.failover import happened, moved
from lab.member import DATA, PROPERTIES, VIP
from lab.node import until

#: seconds: that the example's priority-fencing-delay takes, the election before it, and something more
SHOOTS_BACK = 10.0 + float(PROPERTIES["dc-deadtime"].removesuffix("s")) + 1.0
#: seconds: until the example's p_ping (10 s, dampen 30 s) has said that the serving node reaches nobody, and some more
PAST_DAMPEN = 60.0


def active(cluster: Cluster) -> str:
    """Give the node that has the virtual address."""
    name = cluster.status().where("p_ip")
    assert name
    return name


def watch_the_move(cluster: Cluster, story: Story, source: str, target: str) -> None:
    for phase in failover.phases(cluster, source, target, story.since, LONG):
        story.phase(phase)


def test_a_crashed_node_is_fenced_and_the_other_serves(cluster: Cluster, daemons: Daemons, story: Story) -> None:
    source = active(cluster)
    target = other(cluster, source)
    story.begin()
    cluster.crash(source)
    watch_the_move(cluster, story, source, target)
    # The node that comes back moves nothing.
    settled = daemons.all(cluster.status(target))
    cluster.wait(whole, LONG, f"{source} is back", on=target)
    story.phase("the node is back")
    cluster.idle(on=target)
    assert daemons.all() == settled
    assert cluster.use() == cloud.WORKS
    # One name on both nodes (nova.conf's host): the same services as before, and no dead ones beside them.
    query = "SELECT `binary`, host FROM nova.services WHERE deleted = 0 AND topic IN ('conductor', 'scheduler')"
    said = cluster.node(target).run(["mariadb", "--batch", "--skip-column-names"], input=query, check=True).stdout
    assert sorted(said.splitlines()) == [
        f"{binary}\t{controller.HOSTNAME}" for binary in ("nova-conductor", "nova-scheduler")
    ]


def test_standby_moves_everything_and_the_way_back_nothing(cluster: Cluster, daemons: Daemons, story: Story) -> None:
    source = active(cluster)
    target = other(cluster, source)
    story.begin()
    cluster.standby(source)
    cluster.wait(lambda status: moved(status, target), LONG, "everything has moved")
    story.phase("moved")
    cluster.served(LONG)
    story.phase("tokens again")
    settled = daemons.all()
    cluster.online(source)
    cluster.wait(whole, LONG, "both nodes are online")
    cluster.idle()
    assert daemons.all() == settled
    assert not cluster.status().fail_counts


@pytest.mark.parametrize("turn", range(5))
def test_a_cut_network_costs_the_node_without_the_resources(
    cluster: Cluster, daemons: Daemons, story: Story, turn: int
) -> None:
    serving = active(cluster)
    loser = other(cluster, serving)
    before = daemons.all()
    with holders(cluster) as seen:
        # On either side in turn: which end of the cable is pulled must not matter.
        story.begin()
        cluster.cut(loser if turn % 2 else serving)
        until(lambda: happened(cluster, story.since, "is fenced"), LONG, "one node is fenced")
        story.phase("fenced")
        # It boots, is still cut off, and must not shoot back: not when its Pacemaker has settled, nor later.
        until(lambda: loser in happened(cluster, story.since, "has booted"), LONG, f"{loser} has booted")
        cluster.wait(lambda status: status.controller == loser, LONG, f"{loser} is its own controller", on=loser)
        story.phase("booted, still cut off, its own controller")
        # Once for so long that the cluster knows that the serving node has lost the world.
        end = time.monotonic() + (SHOOTS_BACK if turn else PAST_DAMPEN)
        until(lambda: time.monotonic() > end, LONG, "it has had the time to shoot back", pause=0.3)
        alone = cluster.status(loser)
        promise((alone.quorate, alone.nodes[serving], alone.where("p_fs")) == (False, "unclean", ""), alone)
        assert cluster.status(serving).quorate
        story.phase("has not shot back")
        cluster.mend(loser if turn % 2 else serving)
        cluster.wait(whole, LONG, "both nodes are online again", on=serving)
        story.phase("whole")
    # Never two active, and never none.
    promise(seen == {(f"{serving} {DATA}", f"{serving} {VIP}")}, seen)
    fenced = happened(cluster, story.since, "is fenced")
    promise(fenced == [loser], fenced)
    promise(not changed(before, daemons.all()), daemons.all())


def test_a_dead_fence_device_blocks_recovery_and_is_shown(cluster: Cluster, story: Story) -> None:
    source = active(cluster)
    target = other(cluster, source)
    cluster.node(target).run(["stonith_admin", "--cleanup", f"--history={source}"], check=True)
    story.begin()
    cluster.power.silent = True
    with holders(cluster) as seen:
        cluster.crash(source)
        cluster.wait(
            lambda status: any(f"target={source}" in event and "status=failed" in event for event in status.fencing),
            LONG,
            "fencing fails",
            on=target,
        )
    story.phase("fencing has failed")
    assert cluster.status(target).nodes[source] == "unclean"
    # Taken over before it is known that the other is off, the data would be lost.
    taken = {one for look in seen for one in look if one.startswith(f"{target} ")}
    promise(seen and not taken, seen)
    cluster.power.silent = False
    cluster.wait(whole, LONG, "everything runs again", on=target)
    story.phase("device mended, everything runs")
    cluster.served(LONG)


def test_a_frozen_node_is_fenced(cluster: Cluster, story: Story) -> None:
    source = active(cluster)
    target = other(cluster, source)
    story.begin()
    cluster.freeze(source)
    watch_the_move(cluster, story, source, target)


def test_a_healthy_node_that_is_fenced_comes_back(cluster: Cluster, daemons: Daemons, story: Story) -> None:
    serving = active(cluster)
    fenced = other(cluster, serving)
    before = daemons.all()
    for turn in ("first", "second"):
        story.begin()
        cluster.node(serving).run(["stonith_admin", f"--reboot={fenced}"], timeout=LONG, check=True)
        assert happened(cluster, story.since, "is fenced") == [fenced]
        cluster.wait(lambda status: status.lost(fenced), LONG, f"{fenced} is lost", on=serving)
        cluster.wait(whole, LONG, "both nodes are online again", on=serving)
        story.phase(f"back for the {turn} time")
    assert daemons.all() == before


def asked(status: Status, hosts: str) -> bool:
    """Tell whether p_ping of every node has said that so many hosts answer."""
    return all(status.attributes.get(name, {}).get("pingd") == hosts for name in status.nodes)


def no_answer(cluster: Cluster, name: str) -> AbstractContextManager[None]:
    """Have p_ping of a node reach nobody, and nothing else disturbed."""
    gateway = cluster.network.address.partition("/")[0]
    chain = f"type filter hook output priority 0; ip daddr {gateway} icmp type echo-request drop;"
    return faults.filtered(cluster.node(name), chain)


def test_a_node_that_has_lost_the_world_gives_everything_up(cluster: Cluster, story: Story) -> None:
    source = active(cluster)
    target = other(cluster, source)
    story.begin()
    with no_answer(cluster, source):
        cluster.wait(lambda status: moved(status, target), LONG, "everything has moved")
        story.phase("everything moved")
        cluster.served(LONG)
        story.phase("tokens again")
    # Nobody was shot for it, nothing has failed, and the way back moves nothing.
    cluster.wait(lambda status: status.attributes[source].get("pingd") == "1", LONG, "the world is back")
    cluster.idle()
    assert active(cluster) == target
    assert not happened(cluster, story.since, "is fenced")
    assert not cluster.status().fail_counts


def test_a_world_that_neither_node_reaches_moves_and_stops_nothing(
    cluster: Cluster, daemons: Daemons, story: Story
) -> None:
    cluster.wait(lambda status: asked(status, "1"), LONG, "both nodes have asked")
    before = daemons.all()
    story.begin()
    with contextlib.ExitStack() as gone, holders(cluster) as seen:
        for name in cluster.names:
            gone.enter_context(no_answer(cluster, name))
        cluster.wait(lambda status: asked(status, "0"), LONG, "neither reaches the world")
        cluster.idle()
        story.phase("neither reaches the world")
        promise(not changed(before, daemons.all()), daemons.all())
    cluster.wait(lambda status: asked(status, "1"), LONG, "the world is back")
    cluster.idle()
    story.phase("the world is back")
    promise(not changed(before, daemons.all()), daemons.all())
    serving = active(cluster)
    promise(seen == {(f"{serving} {DATA}", f"{serving} {VIP}")}, seen)


def test_a_node_that_has_not_asked_the_world_yet_keeps_everything(
    cluster: Cluster, daemons: Daemons, story: Story
) -> None:
    """It has come back a moment ago, and the other one has left since: its attribute is not written yet."""
    serving = active(cluster)
    node = cluster.node(serving)
    before = daemons.all()

    cluster.wait(lambda status: asked(status, "1"), LONG, "both nodes have asked")
    story.begin()
    # Nobody asks for a while, so that what is deleted stays away; and at once, not after the time of dampen.
    cluster.crm("resource", "maintenance", "cl_ping", "on")
    try:
        for change in (["--update-delay", "--delay=0"], ["--delete"]):
            node.run(["attrd_updater", "--name=pingd", f"--node={serving}", *change], check=True)
        cluster.wait(lambda status: "pingd" not in status.attributes.get(serving, {}), LONG, "it is not known")
        cluster.idle()
        story.phase("not known whether it reaches the world")
        assert daemons.all() == before
    finally:
        node.run(["attrd_updater", "--name=pingd", "--update-delay", "--delay=30"], check=True)
        cluster.crm("resource", "maintenance", "cl_ping", "off")
    cluster.wait(lambda status: asked(status, "1"), LONG, "both nodes have asked")
    cluster.idle()
    assert daemons.all() == before


def test_a_service_that_fails_three_times_moves_everything(cluster: Cluster, daemons: Daemons, story: Story) -> None:
    resource = "p_glance-api"
    source = active(cluster)
    target = other(cluster, source)
    story.begin()
    for times in (1, 2, 3):
        before = daemons.all()
        assert before[resource][0] == source
        processes, family = daemons.family(resource)
        processes.signal("KILL", *family)
        failed = {(resource, source): times}
        cluster.wait(lambda status, failed=failed: status.fail_counts == failed, LONG, f"{failed} is counted")
        cluster.idle()
        story.phase(f"failed {times}")
    cluster.wait(lambda status: moved(status, target), LONG, "everything has moved")
    story.phase("everything moved")
    cluster.served(LONG)
    story.phase("tokens again")
    assert not happened(cluster, story.since, "is fenced")
