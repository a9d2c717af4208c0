"""What the laboratory itself promises, without OpenStack: three nodes, and leaving nothing behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster.conftest import LONG
from cluster.watch import Story
from lab import node, settings
from lab.cluster import Cluster

THIRD = """\
primitive st_n3 stonith:fence_lab \\
    params port=n3 pcmk_host_list=n3 \\
    op monitor interval=60s timeout=20s
location l_st_n3 st_n3 -inf: n3
"""


@pytest.fixture
def cluster(laboratory_host: None) -> Iterator[Cluster]:
    """Give three nodes in the place of the session's two, each with its fence device."""
    with Cluster(("n1", "n2", "n3")) as three:
        mine = {settings.RUN / three.network.name, *(three.node(name).folder for name in three.names)}
        assert mine <= set(node.records())
        three.load("fencing-lab.crm")
        three.crm("configure", "load", "update", "-", input=THIRD)
        three.wait(lambda status: len(status.resources) == 3 and not status.stopped(), LONG, "the fence devices run")
        yield three
    assert not mine & set(node.records())
    assert not any(folder.exists() for folder in mine)
    assert not three.network.path.exists()


def test_three_nodes_keep_quorum_without_one_and_lose_it_without_two(cluster: Cluster, story: Story) -> None:
    def fenced() -> list[str]:
        return [event.node for event in cluster.events if event.when > story.since and event.text == "is fenced"]

    def all_online() -> None:
        cluster.wait(lambda status: len(status.online()) == 3 and not status.stopped(), LONG, "all are back", on="n1")

    story.begin()
    cluster.crash("n3")
    cluster.wait(lambda status: status.lost("n3"), LONG, "n3 is lost", on="n1")
    assert cluster.status("n1").quorate
    assert cluster.status("n2").quorate
    story.phase("one of three lost")
    node.until(fenced, LONG, "n3 is fenced", pause=0.3)
    story.phase("fenced")
    all_online()
    story.phase("back")
    assert fenced() == ["n3"]

    # Two at once: nobody is left who may shoot.
    story.begin()
    cluster.cut("n2")
    cluster.crash("n3")
    for name in ("n1", "n2"):
        cluster.wait(lambda status: status.nodes and not status.quorate, LONG, f"{name} has no quorum", on=name)
    story.phase("two of three lost")
    assert fenced() == []
    cluster.mend("n2")
    cluster.wait(lambda status: status.quorate, LONG, "n1 has quorum again", on="n1")
    story.phase("two of three again")
    node.until(fenced, LONG, "n3 is fenced", pause=0.3)
    all_online()
    story.phase("all three again")
    assert fenced() == ["n3"]
