"""Breaking what services depend on, and mending it again whatever the test said meanwhile."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from lab.driver import Agent, Answer
from lab.node import Node
from services.processes import Processes

TABLE = "outage"
# Seconds that a monitor of each level may take, and two for the measurement of coverage on a busy machine.
LIMITS = {0: 7, 10: 7, 20: 12}
# What a monitor may say after an outage: the dependency is on its way, or the service is, or is still busy.
RECOVERING = re.compile(
    r"(is back for \d+ s; .* has not reconnected yet|itself is running|1 of 2 monitors in a row\))$"
)


@contextmanager
def stopped(node: Node, unit: str) -> Iterator[None]:
    """Stop a unit: its port refuses connections."""
    node.stop_unit(unit)
    try:
        yield
    finally:
        node.start_unit(unit)


@contextmanager
def frozen(processes: Processes, *pids: int) -> Iterator[None]:
    """Stop processes by signal: their ports take connections and nobody answers."""
    processes.signal("STOP", *pids)
    try:
        yield
    finally:
        processes.signal("CONT", *pids)


@contextmanager
def filtered(node: Node, chain: str) -> Iterator[None]:
    """Have one chain of packet filter rules in the node."""
    node.run(["nft", f"add table inet {TABLE}; add chain inet {TABLE} only {{ {chain} }}"], check=True)
    try:
        yield
    finally:
        node.run(["nft", f"delete table inet {TABLE}"], check=True)


def dropped(node: Node, *ports: int, address: str = "") -> AbstractContextManager[None]:
    """Drop every packet to and from TCP ports, of open connections as well. address: of this IPv4 address only."""
    numbers = ", ".join(map(str, ports))
    to, back = (f"ip daddr {address}", f"ip saddr {address}") if address else ("", "")
    rules = f"{to} tcp dport {{ {numbers} }} drop; {back} tcp sport {{ {numbers} }} drop;"
    return filtered(node, f"type filter hook input priority 0; {rules}")


@contextmanager
def cut_off(node: Node, user: str) -> Iterator[None]:
    """Let no process of a user reach RabbitMQ, and cut the connections of all; others come back by themselves."""
    reset = f"meta skuid {user} tcp dport 5672 reject with tcp reset;"
    with filtered(node, f"type filter hook output priority 0; {reset}"):
        node.run(["rabbitmqctl", "close_all_connections", "a test"], check=True)
        yield


@contextmanager
def edited(node: Node, path: str, *changes: tuple[str, str]) -> Iterator[None]:
    """Change a text file of the node under the running services; it keeps its owner and mode."""
    place = node.path(path)
    before = place.read_text()
    after = before
    for old, new in changes:
        assert old in after, f"{path} does not hold {old!r}"
        after = after.replace(old, new)
    place.write_text(after)
    try:
        yield
    finally:
        place.write_text(before)


def lines(node: Node, path: str, since: int = 0) -> Sequence[str]:
    """Give the lines that a log file has got since it had ``since`` bytes."""
    place = node.path(path)
    if not place.exists():
        return []
    with place.open("rb") as file:
        file.seek(since)
        return file.read().decode("utf-8", "replace").splitlines()


def size(node: Node, path: str) -> int:
    """Give the length of a file in bytes, 0 without one."""
    place = node.path(path)
    return place.stat().st_size if place.exists() else 0


@contextmanager
def undisturbed(processes: Processes, agents: Sequence[Agent]) -> Iterator[None]:
    """Assert that the main process of every agent's service is the same before and after."""

    def mains(names: Sequence[Agent]) -> dict[str, tuple[int, int]]:
        return {agent.name: (agent.pid(), processes.started(agent.pid())) for agent in names}

    known = list(agents)
    before = mains(known)
    yield
    assert mains(known) == before


def ask(agents: Iterable[Agent], *levels: int, timeout: float = 20) -> dict[tuple[str, int], Answer]:
    """Monitor all agents at the same time, each at one level after the other as the cluster does.

    timeout: seconds, that of the action. Asserts that every answer came within the limit of its level.
    """

    def one(agent: Agent) -> list[tuple[tuple[str, int], Answer]]:
        return [((agent.name, level), agent.monitor(level, timeout)) for level in levels]

    with ThreadPoolExecutor() as pool:
        answers = dict(pair for found in pool.map(one, agents) for pair in found)
    for (name, level), answer in answers.items():
        limit = min(timeout, LIMITS[level])
        assert answer.seconds < limit, f"{name} at level {level} is not within {limit} s: {answer}"
    return answers


def recovery(agents: Iterable[Agent], *levels: int, seconds: float = 120) -> dict[str, float]:
    """Ask until all agents say that all is well; give the seconds it took each. They may say 190, never 1."""
    begin = time.monotonic()
    missing = list(agents)
    took = {}
    while missing:
        for agent in list(missing):
            answers = ask([agent], *levels)
            codes = {answer.code for answer in answers.values()}
            assert codes <= {0, 190}, answers
            for answer in answers.values():
                assert answer.code == 0 or RECOVERING.search(answer.reason), answers
            if codes == {0}:
                missing.remove(agent)
                took[agent.name] = round(time.monotonic() - begin, 1)
        assert time.monotonic() - begin < seconds, f"not well after {seconds} s: {answers}"
        time.sleep(0.3)
    return took


@contextmanager
def helper(node: Node, script: str, *arguments: str) -> Iterator[None]:
    """Run a script of this folder in the node, from the moment that it prints `ready`."""
    place = f"/opt/{script}"
    shutil.copy(Path(__file__).with_name(script), node.path(place))
    process = node.popen(
        ["/usr/bin/python3", place, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def same(agent: Agent, **parameters: str) -> Agent:
    """Give the same resource with other parameters."""
    return Agent(agent.node, agent.name, agent.instance, agent.prefix, agent.variables, **parameters)
