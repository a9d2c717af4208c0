"""Calling agents in a node as Pacemaker does: action and environment in, exit code and reason out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from lab.node import Node

AGENTS = "/usr/lib/ocf/resource.d/openstack"
LIBRARY = "/usr/lib/ocf/lib/openstack"
REASON = "ocf-exit-reason:"

#: what each exit code is called in reports
CODES = {
    0: "running / done",
    1: "failed",
    2: "wrong here",
    3: "not implemented",
    4: "no permission",
    5: "not installed",
    6: "wrong parameter",
    7: "not running",
    190: "degraded",
}


class Answer:
    """What an agent said: exit code, exit reason (the last one), all output, and the seconds it took."""

    def __init__(self, code: int, out: str, err: str, seconds: float) -> None:
        self.code = code
        self.out = out
        self.err = err
        self.seconds = seconds

    @property
    def reason(self) -> str:
        reasons = [line[len(REASON) :] for line in self.err.splitlines() if line.startswith(REASON)]
        return reasons[-1] if reasons else ""

    def __repr__(self) -> str:
        return f"<{self.code} {CODES.get(self.code, '?')} {self.seconds:.2f} s {self.reason or self.err!r}>"


class Agent:
    """One resource of one agent in a node; parameters as in the cluster's configuration.

    `prefix` is put before the agent's path, for example to measure its coverage.
    """

    def __init__(
        self,
        node: Node,
        name: str,
        instance: str = "",
        prefix: tuple[str, ...] = (),
        variables: Mapping[str, str] | None = None,
        **parameters: str,
    ) -> None:
        self.node = node
        self.name = name
        self.instance = instance or f"p_{name}"
        self.parameters = parameters
        self.prefix = prefix
        self.variables = dict(variables or {})

    @property
    def pid_file(self) -> str:
        return self.parameters.get("pid", f"/run/resource-agents/{self.instance}.pid")

    def environment(self, interval: float, timeout: float, level: int | None) -> dict[str, str]:
        """Give the environment that Pacemaker sets. interval, timeout: seconds."""
        result = {
            "OCF_ROOT": "/usr/lib/ocf",
            "OCF_RA_VERSION_MAJOR": "1",
            "OCF_RA_VERSION_MINOR": "1",
            "OCF_RESOURCE_INSTANCE": self.instance,
            "OCF_RESOURCE_TYPE": self.name,
            "OCF_RESOURCE_PROVIDER": "openstack",
            "OCF_EXIT_REASON_PREFIX": REASON,
            "OCF_RESKEY_CRM_meta_timeout": str(int(timeout * 1000)),
            "OCF_RESKEY_CRM_meta_interval": str(int(interval * 1000)),
        }
        if level is not None:
            result["OCF_CHECK_LEVEL"] = str(level)
        result.update({f"OCF_RESKEY_{name}": value for name, value in self.parameters.items()})
        return {**result, **self.variables}

    def call(
        self,
        action: str,
        interval: float = 0,
        timeout: float = 20,
        level: int | None = None,
        user: str | None = None,
        **options: str,
    ) -> Answer:
        """Run an action. interval, timeout: seconds; options: further environment. An overrun is a TimeoutExpired."""
        begin = time.monotonic()
        done = self.node.run(
            [*self.prefix, f"{AGENTS}/{self.name}", action],
            env={**self.environment(interval, timeout, level), **options},
            user=user,
            timeout=timeout + 5,
        )
        return Answer(done.returncode, done.stdout, done.stderr, time.monotonic() - begin)

    def monitor(self, level: int | None = None, timeout: float = 20) -> Answer:
        """Run a recurring monitor; without a level the agent chooses its default."""
        return self.call("monitor", interval=20, timeout=timeout, level=level)

    def probe(self) -> Answer:
        return self.call("monitor")

    def start(self, timeout: float = 60) -> Answer:
        return self.call("start", timeout=timeout)

    def stop(self, timeout: float = 60) -> Answer:
        return self.call("stop", timeout=timeout)

    def pid(self) -> int:
        """Give the number of the main process as the pid file says; 0 without one."""
        path = self.node.path(self.pid_file)
        try:
            return int(path.read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return 0


def install(node: Node, project: Path) -> None:
    """Put the project's agents and library into a running node, as `make install` does."""
    import subprocess

    subprocess.run(
        ["make", "-s", "-C", str(project), "install", f"DESTDIR={node.path('/')}"], check=True, capture_output=True
    )
