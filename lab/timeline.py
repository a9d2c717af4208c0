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
    #: node → its state
    nodes: dict[str, str]
    #: resource → node, of what runs
    where: dict[str, str]
    #: resources that say degraded
    degraded: frozenset[str] = field(default_factory=frozenset)


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
            sample = _sample(self._status())
            last = self.samples[-1] if self.samples else None
            if last is None or (last.nodes, last.where, last.degraded) != (sample.nodes, sample.where, sample.degraded):
                self.samples.append(sample)

    def _status(self) -> Status:
        """Ask the side that may act: a node that is cut off sees itself alone."""
        for name in self.cluster.awake():
            status = self.cluster.status(on=name)
            if status.quorate and status.resources:
                return status
        return Status()


def _sample(status: Status) -> Sample:
    where = {one.name: one.node for one in status.resources if one.running and one.agent != "ocf:pacemaker:ping"}
    marks = [name for of in status.attributes.values() for name in of if name.startswith("degraded-")]
    return Sample(time.time(), status.nodes, where, frozenset(mark.removeprefix("degraded-") for mark in marks))
