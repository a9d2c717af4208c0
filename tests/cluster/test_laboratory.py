"""What the laboratory itself promises, without resources: three nodes, and leaving nothing behind."""

from __future__ import annotations

import pytest

from cluster.conftest import LONG
from lab import node, settings
from lab.cluster import Cluster


def test_three_nodes_keep_quorum_without_one_and_lose_it_without_two() -> None:
    missing = settings.missing()
    if missing:
        pytest.skip("; ".join(missing))
    with node.orderly_exit(), Cluster(("n1", "n2", "n3")) as cluster:
        mine = {settings.RUN / cluster.network.name, *(cluster.node(name).folder for name in cluster.names)}
        assert mine <= set(node.records())
        cluster.crash("n3")
        cluster.wait(lambda status: status.nodes.get("n3") not in ("online", None), LONG, "n3 is lost", on="n1")
        assert cluster.status("n1").quorate
        assert cluster.status("n2").quorate
        cluster.cut("n2")
        cluster.wait(lambda status: status.nodes and not status.quorate, LONG, "n1 has no quorum", on="n1")
        cluster.wait(lambda status: status.nodes and not status.quorate, LONG, "n2 has no quorum", on="n2")
        cluster.mend("n2")
        cluster.wait(lambda status: status.quorate, LONG, "n1 has quorum again", on="n1")
    assert not mine & set(node.records())
    assert not any(folder.exists() for folder in mine)
    assert not cluster.network.path.exists()
