"""What the cluster tests get: a booted cluster of two nodes that runs crm-examples/active-passive.crm.

One cluster serves the whole session. Every test finds it whole (both nodes online, everything started, no failure
remembered) and may leave it otherwise: the next test's fixture mends it first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from cluster.watch import Daemons, Story
from lab import settings
from lab.cluster import EXAMPLE, Cluster, Status
from lab.node import orderly_exit
from lab.report import Chapter, write
from lab.timeline import Timeline

ROOT = Path(__file__).resolve().parents[2]
REPORT = ROOT / "build" / "cluster-tests.html"
COMPLAINT = re.compile(r"warning|error", re.IGNORECASE)
LONG = 400.0  # seconds: that a busy machine is slow is no failure


def whole(status: Status) -> bool:
    """Tell whether both nodes are online and everything runs."""
    return len(status.online()) == len(status.nodes) > 1 and bool(status.resources) and not status.stopped()


@pytest.fixture(scope="session")
def booted() -> Iterator[Cluster]:
    missing = settings.missing()
    if missing:
        pytest.skip("; ".join(missing))
    with orderly_exit(), Cluster() as cluster:
        timeline = Timeline(cluster)
        timeline.start()
        yield cluster
        timeline.stop()
        chapters = [Chapter(told.name, told.begun, told.ended, told.phases, told.outcome) for told in _stories]
        write(REPORT, "Cluster tests", chapters, timeline.samples, cluster.events)


@pytest.fixture(scope="session")
def loaded(booted: Cluster) -> tuple[str, float]:
    """Load the example; give what crmsh said to it, and the seconds until everything ran."""
    said = booted.load(*EXAMPLE)
    return said, booted.wait(whole, LONG, "everything runs after a cold start")


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


@pytest.fixture
def story(request: pytest.FixtureRequest, booted: Cluster) -> Iterator[Story]:
    """Note when what happened; the seconds stand in the test's output and in the report."""
    told = Story(booted, request.node.name)
    yield told
    told.end("passed" if getattr(request.node, "passed", False) else "FAILED")
    _stories.append(told)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let the story know how its test ended."""
    report = yield
    if report.when == "call":
        item.passed = report.passed  # type: ignore[attr-defined]
    return report


_stories: list[Story] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.section("seconds of each phase")
    for told in _stories:
        phases = ", ".join(f"{text} {seconds:.1f}" for text, seconds in told.phases)
        terminalreporter.write_line(f"{told.name}: {phases or '-'} (in all {told.seconds:.0f})")
    if _stories:
        terminalreporter.write_line(f"timelines: {REPORT}")
