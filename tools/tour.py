"""The tour: the agents drive real OpenStack services through start, monitors, faults, recovery and stop.

A controller boots in a container of its own: MariaDB, RabbitMQ and Placement by systemd; Keystone, Glance and Nova by
our agents only, called as Pacemaker calls them. nova-cert and nova-consoleauth are the daemons of Ocata. At the end a
table says what happened. Everything is removed afterwards, also after an interruption.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from lab import controller, eras, settings
from lab.driver import CODES, Agent, Answer, install
from lab.node import Node, orderly_exit
from tools.prepare import ROOT

START_TIMEOUT = 120.0  # seconds, as README and examples give to start and stop
RECOVERY_TIMEOUT = 120.0  # seconds
OCATA = {"config": "/etc/nova-ocata/nova.conf"}


@dataclass
class Line:
    """A line of the table; ``expected`` are the exit codes that a good operator would give."""

    service: str
    event: str
    answer: Answer
    expected: tuple[int, ...]

    @property
    def right(self) -> bool:
        return self.answer.code in self.expected


class Tour:
    """Takes all services through one event after the other, those of one event side by side."""

    def __init__(self, node: Node, agents: Sequence[Agent]) -> None:
        self.node = node
        self.agents = list(agents)
        self.lines: list[Line] = []

    def each(
        self, event: str, work: Callable[[Agent], Answer], expected: tuple[int, ...], agents: Sequence[Agent] = ()
    ) -> None:
        """Do ``work`` for all agents at once, and note and show what they say."""
        with ThreadPoolExecutor(max_workers=4) as pool:
            chosen = list(agents or self.agents)
            for agent, answer in zip(chosen, pool.map(work, chosen)):
                line = Line(agent.name, event, answer, expected)
                self.lines.append(line)
                mark = "  " if line.right else "!!"
                said = f"{answer.code} {CODES.get(answer.code, '?')}"
                print(
                    f"{mark} {event:<22} {agent.name:<17} {said:<16} {answer.seconds:5.1f} s  {answer.reason}",
                    flush=True,
                )

    def processes(self, agent: Agent) -> list[int]:
        """Give the main process and its children, by their numbers in the node."""
        pid = agent.pid()
        children = self.node.run(["pgrep", "-P", str(pid)]).stdout.split()
        return [pid, *map(int, children)]

    def signal(self, name: str, pids: Sequence[int]) -> None:
        self.node.run(["kill", f"-{name}", *map(str, pids)], check=True)

    # The events

    def start(self) -> None:
        first, rest = self.agents[:1], self.agents[1:]
        self.each("start", lambda agent: agent.start(START_TIMEOUT), (0,), first)  # all others log in to Keystone
        self.each("start", lambda agent: agent.start(START_TIMEOUT), (0,), rest)

    def monitors(self) -> None:
        for level in (0, 10, 20):
            self.each(f"monitor, level {level}", lambda agent, level=level: agent.monitor(level), (0,))

    def freeze(self) -> None:
        def frozen(agent: Agent) -> Answer:
            pids = self.processes(agent)
            self.signal("STOP", pids)
            try:
                return agent.monitor()
            finally:
                self.signal("CONT", pids)

        self.each("frozen (SIGSTOP)", frozen, (1,))
        self.each("continued", lambda agent: agent.monitor(), (0,))

    def lose_pid_file(self) -> None:
        def lost(agent: Agent) -> Answer:
            self.node.run(["rm", agent.pid_file], check=True)
            return agent.monitor()

        self.each("pid file lost", lost, (0,))

    def kill(self) -> None:
        def killed(agent: Agent) -> Answer:
            pid = agent.pid()
            self.signal("KILL", [pid])
            # The kernel takes a moment; the question is what the agent says of a process that is gone.
            self.node.wait_until(["/usr/bin/test", "!", "-e", f"/proc/{pid}"], timeout=20)
            return agent.monitor()

        def recovered(agent: Agent) -> Answer:
            stopped = agent.stop(START_TIMEOUT)
            return stopped if stopped.code else agent.start(START_TIMEOUT)

        # 7: nothing is left; 1: the workers have outlived their main process.
        self.each("main process killed", killed, (7, 1))
        self.each("recovery: stop, start", recovered, (0,), self.agents[:1])
        self.each("recovery: stop, start", recovered, (0,), self.agents[1:])

    def lose_database(self) -> None:
        before = {agent.instance: agent.pid() for agent in self.agents}
        self.node.stop_unit("mariadb")
        self.each("database down, level 20", lambda agent: agent.monitor(20), (190,))
        self.node.start_unit("mariadb")

        def well_again(agent: Agent) -> Answer:
            begin = time.monotonic()
            answer = agent.monitor(20)
            while answer.code == 190 and time.monotonic() - begin < RECOVERY_TIMEOUT:
                time.sleep(0.5)
                answer = agent.monitor(20)
            answer.seconds = time.monotonic() - begin
            return answer

        self.each("database back", well_again, (0,))
        restarted = [agent.name for agent in self.agents if agent.pid() != before[agent.instance]]
        print(f"   restarted because of the database: {', '.join(restarted) or 'none'}", flush=True)

    def stop(self) -> None:
        self.each("stop", lambda agent: agent.stop(START_TIMEOUT), (0,))
        self.each("probe afterwards", lambda agent: agent.probe(), (7,))

    def run(self) -> None:
        for event in (
            self.start, self.monitors, self.lose_pid_file, self.freeze, self.kill, self.lose_database, self.stop,
        ):  # fmt: skip
            event()


def table(lines: Sequence[Line]) -> str:
    """Give the final table: service, event, what the agent said, seconds, exit reason."""
    rows = [("service", "event", "the agent said", "seconds", "exit reason")]
    for line in sorted(lines, key=lambda line: line.service):  # stable: the events stay in their order
        said = f"{line.answer.code} {CODES.get(line.answer.code, '?')}" + ("" if line.right else "  UNEXPECTED")
        rows.append((line.service, line.event, said, f"{line.answer.seconds:.2f}", line.answer.reason))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    text = ["  ".join([*(row[column].ljust(widths[column]) for column in range(4)), row[4]]) for row in rows]
    return "\n".join([text[0], "-" * 100, *text[1:]])


def services(node: Node) -> tuple[list[Agent], str]:
    """Give the agents, Keystone first, and what was left out with its reason."""
    agents = [Agent(node, name) for name in ("keystone", "glance-api", "nova-api", "nova-scheduler")]
    without = eras.ocata_missing()
    if without:
        return agents, f"left out: nova-cert, nova-consoleauth (Ocata): {without}"
    for name in ("nova-cert", "nova-consoleauth"):
        # Idle daemons of Ocata take 14 to 30 s to end in order; here they need not.
        agents.append(Agent(node, name, binary=f"/opt/ocata/bin/{name}", shutdown_grace="5", **OCATA))
    return agents, ""


def main() -> int:
    missing = settings.missing()
    if missing:
        print(f"the tour cannot run here: {'; '.join(missing)}", file=sys.stderr)
        return 1
    begin = time.monotonic()
    try:
        with orderly_exit(), controller.boot() as node:
            install(node, ROOT)
            agents, without = services(node)
            tour = Tour(node, agents)
            tour.run()
    except KeyboardInterrupt:
        print("\ninterrupted; container and network are removed", file=sys.stderr)
        return 130
    except settings.LabError as error:
        print(f"the laboratory: {error}", file=sys.stderr)
        return 1
    print(f"\n{table(tour.lines)}")
    if without:
        print(without)
    wrong = [line for line in tour.lines if not line.right]
    print(f"\n{len(tour.lines)} answers, {len(wrong)} unexpected; {time.monotonic() - begin:.0f} s in all")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
