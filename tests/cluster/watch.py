"""What the cluster tests look at: daemons and when they were started, and the phases of what happens."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.processes import Processes

from lab.cluster import Cluster, Status
from lab.member import DATA, VIP
from lab.node import Node

Identity = tuple[str, int, int]


class BrokenPromise(AssertionError):
    """What may never happen has happened: a second try would not make it good."""


def promise(holds: object, seen: object) -> None:
    """Raise BrokenPromise unless that holds. seen: what was seen instead."""
    if not holds:
        raise BrokenPromise(f"{seen}")


def other(cluster: Cluster, name: str) -> str:
    """Give the other one of two nodes."""
    return next(one for one in cluster.names if one != name)


class Daemons:
    """The main processes of the resources, wherever they run."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def pid(self, node: Node, resource: str, agent: str) -> int:
        """Give the number of a resource's main process in its node; 0 where it has none."""
        if agent.startswith("systemd:"):
            unit = agent.partition(":")[2]
            return int(node.run(["systemctl", "show", "--property=MainPID", "--value", unit]).stdout or 0)
        pid_file = node.path(f"/run/resource-agents/{resource}.pid")
        try:
            return int(pid_file.read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return 0

    def all(self, status: Status | None = None) -> dict[str, Identity]:
        """Give node, number and start time (clock ticks) of the main process of every resource that has one.

        All of them are there: two looks that find nothing would be equal.
        """
        found = self.now(status)
        assert found, "no resource with a daemon runs"
        absent = {name: one for name, one in found.items() if not (one[1] and one[2])}
        assert not absent, f"no process of {absent}"
        return found

    def now(self, status: Status | None = None) -> dict[str, Identity]:
        """Give the same while something happens: number and start time may be 0."""
        found = {}
        for one in (status or self.cluster.status()).resources:
            if one.node and one.agent.startswith(("systemd:", "ocf:openstack:")):
                node = self.cluster.node(one.node)
                pid = self.pid(node, one.name, one.agent)
                process = Processes(node).get(pid) if pid else None
                found[one.name] = (one.node, pid, process.started if process else 0)
        return found

    def family(self, resource: str) -> tuple[Processes, list[int]]:
        """Give the processes of a running resource, the main one first, and how to signal them."""
        node, pid, _ = self.all()[resource]
        processes = Processes(self.cluster.node(node))
        return processes, processes.family(pid)

    def check(self, resource: str) -> str:
        """Ask a resource out of turn, at the level that looks at everything; give what it said if all is not well."""
        where = self.cluster.status().where(resource)
        if not where:
            return f"{resource} does not run"
        node = self.cluster.node(where)
        argv = ["crm_resource", f"--resource={resource}", "--force-check", "--verbose"]
        checked = node.run(argv, env={"OCF_CHECK_LEVEL": "20"}, timeout=60)
        return checked.stdout + checked.stderr if checked.returncode else ""


def changed(before: dict[str, Identity], after: dict[str, Identity]) -> set[str]:
    """Give the resources that run as another process than before. All of them run, before and after."""
    assert before.keys() == after.keys()
    return {name for name in before if after[name] != before[name]}


def held(node: Node) -> set[str]:
    """Give what only one node may have at a time, of that node: the data, the address.

    Read from outside, without a process in the node: it costs next to nothing, and a node that goes down has none.
    """
    found = set()
    with contextlib.suppress(OSError):
        proc = Path(f"/proc/{node.leader}")
        if f" {DATA} " in (proc / "mounts").read_text():
            found.add(DATA)
        # proc_net(5) has no list of addresses; the kernel routes those of its own to itself.
        if re.search(rf"\|-- {re.escape(VIP)}\n\s+/32 host LOCAL", (proc / "net/fib_trie").read_text()):
            found.add(VIP)
    return found if node.leader else set()


@contextmanager
def holders(cluster: Cluster) -> Iterator[set[tuple[str, ...]]]:
    """Look all the time who has the data and the address; give the sets of holders that were seen.

    Each is what one look found: (n1 has it, n1 has it too) or, for two at once, more.
    """
    seen: set[tuple[str, ...]] = set()
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.1):
            seen.add(tuple(f"{name} {what}" for name in cluster.names for what in sorted(held(cluster.node(name)))))

    thread = threading.Thread(target=look, name="holders", daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


class Story:
    """Seconds of each phase of a test, from the moment that something is done to the cluster."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster = cluster
        self.name = name
        self.phases: list[tuple[str, float]] = []
        self.begun = time.time()
        self.ended = 0.0
        self.outcome = ""
        #: seconds since the epoch: when the phases began to count
        self.since = self.begun

    def begin(self) -> None:
        """Count from now."""
        self.since = time.time()

    def phase(self, text: str) -> None:
        """Say what has just been reached."""
        self.phases.append((text, time.time() - self.since))
        self.cluster.say("", text)

    def end(self, outcome: str) -> None:
        """The test is over."""
        self.ended = time.time()
        self.outcome = outcome

    @property
    def seconds(self) -> float:
        return (self.ended or time.time()) - self.begun
