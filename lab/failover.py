"""What a failover is made of, in the order in which it is seen."""

from __future__ import annotations

from collections.abc import Iterator

from lab.cluster import Cluster, Status
from lab.node import until


def happened(cluster: Cluster, since: float, text: str) -> list[str]:
    """Give the nodes to which that happened. since: seconds since the epoch."""
    return [event.node for event in cluster.events if event.when > since and event.text == text]


def moved(status: Status, node: str) -> bool:
    """Tell whether all that exists once runs on that node."""
    once = [one.name for one in status.resources if one.name.startswith("p_") and one.name != "p_ping"]
    return bool(once) and all(status.where(name) == node for name in once)


def phases(cluster: Cluster, source: str, target: str, since: float, timeout: float) -> Iterator[str]:
    """Wait for each phase of a failover, as the surviving node sees it; give its name when it is reached.

    since: seconds since the epoch, when the source was hit. timeout: seconds for each phase; then LabError.
    """
    cluster.wait(lambda status: status.lost(source), timeout, f"{source} is lost", on=target)
    yield "lost"
    until(lambda: source in happened(cluster, since, "is fenced"), timeout, f"{source} is fenced")
    yield "fenced"
    cluster.wait(lambda status: status.where("p_ip") == target, timeout, "the address has moved", on=target)
    yield "data and address moved"
    cluster.served(timeout)
    yield "tokens again"
    cluster.wait(lambda status: moved(status, target), timeout, "everything has moved", on=target)
    yield "everything moved"
