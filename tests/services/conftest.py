"""What the service tests get: a booted controller with our agents installed, and agents to call.

One controller serves the whole session. A test asks for an agent with ``agent(NAME, …)``; what it starts is stopped
after the test, unless it uses ``serving``, whose services keep running between tests because nothing is broken there.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

import pytest

from lab import controller, settings
from lab.config import Options, set_options
from lab.driver import Agent, install
from lab.node import Node, attach
from services.processes import Processes

ROOT = Path(__file__).resolve().parents[2]
NOVA = "/etc/nova/nova.conf"
GLANCE = "/etc/glance/glance-api.conf"
TRIAL = "/opt/trial/image-daemon"
COVERED = "/opt/covered.py"
PREFIX = ("/usr/bin/python3", "-IS", COVERED)


def until(condition: Callable[[], object], seconds: float, what: str, pause: float = 0.05) -> float:
    """Wait until ``condition`` holds; return the seconds it took, fail with ``what`` when it never does."""
    begin = time.monotonic()
    while not condition():
        if time.monotonic() - begin > seconds:
            pytest.fail(f"not within {seconds} s: {what}")
        time.sleep(pause)
    return time.monotonic() - begin


@pytest.fixture(scope="session")
def node(laboratory_host: None) -> Iterator[Node]:
    # While tests are written: a controller of `python3 -m lab up`, by its name, instead of one of our own.
    kept = os.environ.get("LAB_NODE")
    with nullcontext(attach(settings.RUN / kept)) if kept else controller.boot() as booted:
        install(booted, ROOT)
        shutil.copy(Path(__file__).with_name("covered.py"), booted.path(COVERED))
        yield booted
        collect_coverage(booted)


@pytest.fixture(scope="session")
def processes(node: Node) -> Processes:
    return Processes(node)


def collect_coverage(booted: Node) -> None:
    """Put the node's measurements together into one file beside those of the other groups."""
    from coverage import Coverage

    found = [str(path) for path in (booted.root / "var/tmp/coverage").glob(".coverage.*")]
    if found:
        os.chdir(ROOT)
        total = Coverage(
            data_file=str(ROOT / f".coverage.services.{os.getpid()}"), config_file=str(ROOT / "pyproject.toml")
        )
        total.combine(found)
        total.save()


@contextmanager
def copied(node: Node, original: str, name: str, options: Options) -> Iterator[str]:
    """Give a copy of a service's configuration file, beside it, with some options changed."""
    source = node.root / original.lstrip("/")
    path = source.with_name(f"{name}.conf")
    try:
        shutil.copy2(source, path)
        os.chown(path, source.stat().st_uid, source.stat().st_gid)
        set_options(path, options)
        yield f"{Path(original).parent}/{path.name}"
    finally:
        path.unlink(missing_ok=True)


@pytest.fixture
def config_copy(node: Node) -> Iterator[Callable[..., str]]:
    """Give copies of configuration files until the end of the test: a resource of its own."""
    with ExitStack() as copies:
        yield lambda original, name, options: copies.enter_context(copied(node, original, name, options))


@pytest.fixture
def agent(node: Node) -> Iterator[Callable[..., Agent]]:
    """Give agents; at the end of the test each is stopped, with its own parameters, and must leave nothing."""
    given: list[Agent] = []

    def give(name: str, instance: str = "", **parameters: str) -> Agent:
        given.append(Agent(node, name, instance, PREFIX, **parameters))
        return given[-1]

    yield give
    for one in reversed(given):
        answer = one.stop()
        assert answer.code == 0, f"{one.name} after the test: {answer}"


@pytest.fixture(scope="session")
def serving(node: Node) -> Iterator[Callable[[str], Agent]]:
    """Give running agents that stay for the whole session: for tests that break nothing, or mend what they break."""
    running: dict[str, Agent] = {}

    def give(name: str) -> Agent:
        if name not in running:
            running[name] = Agent(node, name, f"s_{name}", PREFIX)
        one = running[name]
        if one.probe().code != 0:
            answer = one.start(timeout=120)
            assert answer.code == 0, f"{name}: {answer}"
        return one

    yield give
    for one in reversed(list(running.values())):
        assert one.stop().code == 0


@pytest.fixture(scope="session")
def trial(node: Node) -> str:
    """Put the test daemon into the node."""
    node.path("/opt/trial").mkdir(exist_ok=True)
    shutil.copy(ROOT / "tests/daemons/daemon.py", node.path(TRIAL))
    node.path(TRIAL).chmod(0o755)
    return TRIAL


@pytest.fixture
def trial_agent(agent: Callable[..., Agent], trial: str, config_copy: Callable[..., str]) -> Callable[..., Agent]:
    """Give agents of Glance whose daemon is the small one of tests/daemons, with these options and a port."""

    def give(instance: str, options: str, **parameters: str) -> Agent:
        config = config_copy(GLANCE, instance, {"DEFAULT": {"bind_port": 9377}})
        return agent(
            "glance-api",
            instance,
            **{"binary": trial, "config": config, "url": "", "additional_parameters": options, **parameters},
        )

    return give


@pytest.fixture
def conductor(agent: Callable[..., Agent], config_copy: Callable[..., str]) -> Callable[..., Agent]:
    """Give conductors of their own, by another host. With one worker that is the main process itself."""

    def give(host: str, workers: int = 1) -> Agent:
        config = config_copy(NOVA, host, {"DEFAULT": {"host": host}, "conductor": {"workers": workers}})
        return agent("nova-conductor", host, config=config)

    return give
