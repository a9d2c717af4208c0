"""The demonstration: a cluster of two nodes runs OpenStack, loses the active node, and serves on.

Two Debian nodes with Corosync, Pacemaker, fencing that really kills, and this project's Debian package load
crm-examples/active-passive.crm as it is. Then the active node's plug is pulled; each phase is shown with its seconds,
and build/demo.html draws it all. Everything is removed afterwards, also after an interruption. With KEEP=1 the cluster
stays, until `make demo-down`.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lab import failover, settings
from lab.cluster import EXAMPLE, Cluster, Status
from lab.member import VIP
from lab.node import orderly_exit
from lab.report import Chapter, Recording, write
from lab.timeline import Timeline
from tools.prepare import ROOT

REPORT = ROOT / "build" / "demo.html"
LONG = 400.0  # seconds
BEFORE = 3.0  # seconds: what the picture of the crash shows of the time before


def head(text: str) -> None:
    print(f"\n== {text}", flush=True)


class Demo:
    """One run; what is printed is kept as chapters of the report."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.chapters: list[Chapter] = []
        self.phases: list[tuple[str, float]] = []
        self.since = 0.0

    @contextmanager
    def chapter(self, title: str, before: float = 0.0) -> Iterator[None]:
        """Count the seconds of the phases in this. before: seconds that the picture begins earlier."""
        self.since, self.phases, outcome = time.time(), [], "FAILED"
        try:
            yield
            outcome = "passed"
        finally:
            begun = self.since - before
            self.chapters.append(Chapter(title, begun, self.since, time.time(), self.phases, outcome))

    def phase(self, text: str) -> None:
        """Say what has just been reached."""
        seconds = time.time() - self.since
        self.phases.append((text, seconds))
        print(f"   {seconds:6.1f} s  {text}", flush=True)

    def wait(self, what: str, condition: Callable[[Status], object], on: str = "") -> None:
        self.cluster.wait(condition, LONG, what, on=on)
        self.phase(what)

    def show(self) -> None:
        """Use the cloud, and let the cluster speak for itself."""
        # That there is none is what the scheduler says, the last of the services to be reached.
        head(f"through the virtual address {VIP} (there is no compute node)")
        for step, answer in self.cluster.use().items():
            print(f"   {step}: {answer}", flush=True)
        head("crm status")
        print(self.cluster.crm("status").strip(), flush=True)

    def start(self) -> None:
        head(f"crm configure load update: {', '.join(EXAMPLE)}")
        with self.chapter("The example is loaded and starts"):
            self.cluster.load(*EXAMPLE)
            self.phase("loaded")
            self.wait("everything runs", lambda status: status.resources and not status.stopped())

    def crash(self) -> None:
        source = self.cluster.status().where("p_ip")
        target = next(name for name in self.cluster.names if name != source)
        head(f"the plug of {source}, the active node, is pulled")
        with self.chapter("The active node crashes", BEFORE):
            self.cluster.crash(source)
            for phase in failover.phases(self.cluster, source, target, self.since, LONG):
                self.phase(phase)
            self.cluster.wait(lambda status: len(status.online()) == 2, LONG, f"{source} is back", on=target)
            self.cluster.idle(on=target)
            self.wait(f"{source} is back, and nothing has moved", lambda status: status.where("p_ip") == target, target)


def demonstrate(cluster: Cluster) -> None:
    """Show it all, and write the report, also of what went wrong."""
    timeline = Timeline(cluster)
    timeline.start()
    demo = Demo(cluster)
    try:
        demo.start()
        demo.show()
        demo.crash()
        demo.show()
    finally:
        timeline.stop()
        recording = Recording("demo", demo.chapters, timeline.samples, cluster.events)
        write(REPORT, "Failover of an OpenStack controller", [recording])
        head(f"the timeline: {REPORT.relative_to(ROOT)}")


def keep() -> int:
    """Demonstrate in a program of its own, which goes on being the cluster's power switch; return when it is shown."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        try:
            with orderly_exit(), os.fdopen(reading, "rb") as shown:
                return 0 if shown.read(1) else 1
        except BaseException:
            # It is in a session of its own, where Ctrl-C does not reach.
            os.kill(child, signal.SIGTERM)
            os.waitpid(child, 0)
            raise
    os.setsid()
    os.close(reading)
    with orderly_exit(), Cluster(keep=True) as cluster:
        demonstrate(cluster)
        head("it stays. Log in: python3 -m lab shell n1 (then: crm_mon). Remove it: make demo-down")
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
    head("two nodes with Corosync, Pacemaker and this project's package; about three minutes, the first time ten")
    try:
        if os.environ.get("KEEP") == "1":
            return keep()
        with orderly_exit(), Cluster() as cluster:
            demonstrate(cluster)
    except settings.LabError as error:
        print(f"the laboratory: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; everything is removed", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
