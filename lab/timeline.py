"""What a cluster looked like over time: who was there and what ran where, as Pacemaker on the nodes saw it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from lab.cluster import Cluster, Status

PAUSE = 0.7  # seconds between two looks


@dataclass(frozen=True)
class Sample:
    """The cluster from one moment until the next sample. when: seconds since the epoch."""

    when: float
    #: node → its state; none where nobody with quorum answered
    nodes: dict[str, str]
    #: resource → node; an empty string where it runs nowhere
    where: dict[str, str]
    #: resource → what it says is the matter, of those that call themselves degraded
    degraded: dict[str, str] = field(default_factory=dict)


class Timeline:
    """Looks at a cluster in a thread of its own between `start` and `stop`; only changes are kept."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.samples: list[Sample] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="timeline", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopped.wait(PAUSE):
            sample = look(self._status(), time.time())
            last = self.samples[-1] if self.samples else None
            if last is None or (last.nodes, last.where, last.degraded) != (sample.nodes, sample.where, sample.degraded):
                self.samples.append(sample)

    def _status(self) -> Status:
        """Ask the side that may act: a node that is cut off sees itself alone."""
        found = Status()
        for name in self.cluster.awake():
            status = self.cluster.status(on=name)
            if status.quorate:
                found = status
                # A node without any may have come back a moment ago.
                if status.resources:
                    break
        return found


def look(status: Status, when: float) -> Sample:
    """Give what the report shows of a status. when: seconds since the epoch."""
    # The pings run on every node; a row has one place.
    where = {one.name: status.where(one.name) for one in status.resources if one.agent != "ocf:pacemaker:ping"}
    said = {name: status.attributes.get(node, {}).get(f"degraded-{name}", "") for name, node in where.items()}
    return Sample(when, status.nodes, where, {name: text for name, text in said.items() if text})
