"""What the cluster tests get: a booted cluster of two nodes that runs crm-examples/active-passive.crm.

One cluster serves the whole session. Every test finds it whole (both nodes online, everything started, no failure
remembered) and may leave it otherwise: the next test's fixture mends it first.

What was seen is kept in build/timelines, a file for each session; the report shows those of sessions that run side
by side in one page.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster.watch import BrokenPromise, Daemons, Story
from lab import cache
from lab.cluster import EXAMPLE, Cluster, Status
from lab.report import Chapter, Recording, load_all, write
from lab.timeline import Timeline

ROOT = Path(__file__).resolve().parents[2]
REPORT = ROOT / "build" / "cluster-tests.html"
TIMELINES = ROOT / "build" / "timelines"
COMPLAINT = re.compile(r"warning|error", re.IGNORECASE)
BROKEN = "promises/broken"  # where pytest's cache names the tests that tools.check gives no second try
LONG = 400.0  # seconds: that a busy machine is slow is no failure


def whole(status: Status) -> bool:
    """Tell whether both nodes are online and everything runs."""
    return len(status.online()) == len(status.nodes) > 1 and bool(status.resources) and not status.stopped()


@contextmanager
def switched_on(cluster: Cluster, name: str) -> Iterator[None]:
    """Have a property of the cluster true, and false again whatever the test said meanwhile."""
    cluster.crm("configure", "property", f"{name}=true")
    try:
        yield
    finally:
        cluster.crm("configure", "property", f"{name}=false")


@pytest.fixture(scope="session")
def booted(request: pytest.FixtureRequest, laboratory_host: None) -> Iterator[Cluster]:
    with Cluster() as cluster:
        timeline = Timeline(cluster)
        timeline.start()
        yield cluster
        timeline.stop()
        # Named after its first module: two sessions that run side by side share none.
        name = next(item.path.stem for item in request.session.items if item.path.parent == Path(__file__).parent)
        if request.config.getoption("lf", False):
            name += "-again"
        with cache.locked("report"):
            Recording(name, _chapters, timeline.samples, cluster.events).save(TIMELINES)
            write(REPORT, "Cluster tests", load_all(TIMELINES))


@pytest.fixture(scope="session")
def loaded(booted: Cluster) -> tuple[str, float]:
    """Load the example; give what crmsh said to it, and the seconds until everything ran."""
    begun = time.time()
    said = booted.load(*EXAMPLE)
    seconds = booted.wait(whole, LONG, "everything runs after a cold start")
    phases = [("loaded", time.time() - begun - seconds), ("everything runs", time.time() - begun)]
    _chapters.append(Chapter("The example is loaded and starts", begun, begun, time.time(), phases))
    return said, seconds


@pytest.fixture
def cluster(booted: Cluster, loaded: tuple[str, float]) -> Cluster:
    """Give the whole cluster: what an earlier test has left behind is mended."""
    booted.power.silent = False
    booted.repair()
    booted.wait(whole, LONG, "everything runs before the test")
    booted.idle()
    return booted


@pytest.fixture
def daemons(cluster: Cluster) -> Daemons:
    return Daemons(cluster)


@pytest.fixture
def set_parameters(cluster: Cluster) -> Iterator[Callable[..., None]]:
    """Give a function that sets parameters of a resource, and forget them afterwards.

    It waits until Pacemaker has nothing left to do.
    """
    given: list[tuple[str, str]] = []

    def set_all(resource: str, **parameters: str) -> None:
        for name, value in parameters.items():
            given.append((resource, name))
            cluster.crm("resource", "param", resource, "set", name, value)
        cluster.idle()

    yield set_all
    for resource, name in dict.fromkeys(given):
        cluster.crm("resource", "param", resource, "delete", name)
    cluster.crm("resource", "cleanup")
    cluster.idle()


@pytest.fixture(autouse=True)
def story(request: pytest.FixtureRequest, cluster: Cluster) -> Story:
    """Note when what happened; the seconds stand in the test's output and in the report."""
    told = Story(cluster, request.node.name)
    _stories.append(told)
    return told


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Function, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Make a chapter of every test, also of one that did not get as far as its call."""
    report = yield
    if call.excinfo is not None and call.excinfo.errisinstance(BrokenPromise):
        _broken.append(item.nodeid)
        remembered = getattr(item.config, "cache", None)  # absent with -p no:cacheprovider
        if remembered is not None:
            remembered.set(BROKEN, _broken)
    told: Story | None = item.funcargs.get("story")
    name = item.nodeid.rpartition("/")[2]
    reason = call.excinfo.exconly().splitlines()[0][:400] if report.failed and call.excinfo else ""
    if report.when == "call" and told is not None:
        told.end("FAILED" if report.failed else report.outcome)
        if told.cluster is item.funcargs.get("booted"):  # the timeline is that of this cluster
            _chapters.append(Chapter(name, told.begun, told.since, told.ended, told.phases, told.outcome, reason))
    elif report.failed:
        _chapters.append(Chapter(name, call.start, call.start, call.stop, outcome="FAILED", reason=reason))
    return report


_broken: list[str] = []
_stories: list[Story] = []
_chapters: list[Chapter] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.section("seconds of each phase")
    for told in _stories:
        phases = ", ".join(f"{text} {seconds:.1f}" for text, seconds in told.phases)
        terminalreporter.write_line(f"{told.name}: {phases or '-'} (in all {told.seconds:.0f})")
    if _stories:
        terminalreporter.write_line(f"timelines: {REPORT}")
