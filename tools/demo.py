"""The demonstration: a cluster of two nodes runs OpenStack, loses the active node, and serves on.

Two Debian nodes with Corosync, Pacemaker, fencing that really kills, and this project's Debian package load
crm-examples/active-passive.crm as it is. Then the active node's plug is pulled; each phase is shown with its seconds.
Everything is removed afterwards, also after an interruption. With KEEP=1 the cluster stays, until `make demo-down`.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable

from lab import settings
from lab.cluster import EXAMPLE, Cluster, Status
from lab.member import VIP
from lab.node import orderly_exit, until
from lab.report import Chapter, write
from lab.timeline import Timeline
from tools.prepare import ROOT

REPORT = ROOT / "build" / "cluster-demo.html"
LONG = 400.0  # seconds


class Demo:
    """One run; ``phases`` are those of the failover, with the seconds since the plug was pulled."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.phases: list[tuple[str, float]] = []
        self.begun = time.time()

    def phase(self, text: str) -> None:
        seconds = time.time() - self.begun
        self.phases.append((text, seconds))
        print(f"   {seconds:6.1f} s  {text}", flush=True)

    def wait(self, on: str, what: str, condition: Callable[[Status], object]) -> None:
        self.cluster.wait(condition, LONG, what, on=on)
        self.phase(what)

    def show(self) -> None:
        print(self.cluster.crm("status"), flush=True)

    def start(self) -> None:
        print(f"\n== crm configure load update: {', '.join(EXAMPLE)}", flush=True)
        begin = time.time()
        self.cluster.load(*EXAMPLE)
        self.cluster.wait(lambda status: status.resources and not status.stopped(), LONG, "everything runs")
        print(f"   everything runs after {time.time() - begin:.1f} s\n", flush=True)
        self.show()
        print(f"== through the virtual address {VIP}: {self.cluster.use()}\n", flush=True)

    def crash(self) -> None:
        source = self.cluster.status().where("p_ip")
        target = next(name for name in self.cluster.names if name != source)
        print(f"== the plug of {source}, the active node, is pulled", flush=True)
        self.begun = time.time()
        self.cluster.crash(source)
        self.wait(target, f"{source} is lost", lambda status: status.nodes.get(source) != "online")
        until(self.fenced, LONG, f"{source} is fenced")
        self.phase(f"{source} is fenced")
        self.wait(target, f"data and address are on {target}", lambda status: status.where("p_ip") == target)
        self.cluster.served(LONG)
        self.phase("Keystone serves again")
        self.wait(target, f"everything runs on {target}", lambda status: not status.stopped())
        self.wait(target, f"{source} is back and moves nothing", lambda status: len(status.online()) == 2)
        self.cluster.idle(on=target)
        print(f"\n== through the virtual address {VIP}: {self.cluster.use()}\n", flush=True)
        self.show()

    def fenced(self) -> bool:
        return any(event.text == "is fenced" for event in self.cluster.events)


def demonstrate(cluster: Cluster) -> None:
    """Show it all, and write the report."""
    timeline = Timeline(cluster)
    timeline.start()
    demo = Demo(cluster)
    try:
        begun = time.time()
        demo.start()
        started = time.time()
        demo.crash()
    finally:
        timeline.stop()
    chapters = [
        Chapter("Cold start", begun, started, [("everything runs, and was used", started - begun)]),
        Chapter("The active node crashes", demo.begun, time.time(), demo.phases),
    ]
    write(REPORT, "Failover of an OpenStack controller", chapters, timeline.samples, cluster.events)
    print(f"== the timeline: {REPORT.relative_to(ROOT)}")


def keep() -> int:
    """Demonstrate in a program of its own, which goes on being the cluster's power switch; return when it is shown."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            said = pipe.read(1)
        return int(said) if said else 1
    os.setsid()
    os.close(reading)
    cluster = Cluster(keep=True)
    with orderly_exit():
        try:
            cluster.boot()
            demonstrate(cluster)
            print("== it stays. Log in: python3 -m lab shell n1 (then: crm_mon). Remove it: make demo-down", flush=True)
        except BaseException as error:
            cluster.destroy()
            print(f"the laboratory: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        os.write(writing, b"0")
        os.close(writing)
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        while True:
            signal.pause()


def main() -> int:
    missing = settings.missing()
    if missing:
        print(f"the demonstration cannot run here: {'; '.join(missing)}", file=sys.stderr)
        return 1
    if os.environ.get("KEEP") == "1":
        return keep()
    try:
        with orderly_exit(), Cluster() as cluster:
            demonstrate(cluster)
    except settings.LabError as error:
        print(f"the laboratory: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
