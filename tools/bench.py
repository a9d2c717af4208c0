"""What each call costs: medians of CPU milliseconds, and how many bare interpreters that is.

Real services in the laboratory; the commands take turns, so that a busy moment hits all of them alike. The bound of
the end-to-end checks is a share of ``openstack token issue`` in the same run.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab import controller, driver, measure, provision, settings
from lab.driver import Agent, install
from lab.node import Node, orderly_exit
from ocf_common import openrc
from tools.prepare import ROOT

RUNS = 25
CLIENT_RUNS = 5
BARE = ["/usr/bin/python3", "-I", "-S", "-c", "pass"]
CLIENT = ["/usr/bin/openstack", "token", "issue"]
PATHS = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
CLOUDS = "/root/bench-clouds.yaml"
SCRIPT = "/root/measure.py"


@dataclass
class Row:
    """A line of the table; ``bound`` is in bare interpreters, or, ``of_client``, a share of the client's cost."""

    label: str
    agent: Agent
    action: str
    level: int | None
    bound: float
    of_client: bool = False
    codes: list[int] = field(default_factory=list)

    def job(self) -> list[Any]:
        interval = 20 if self.action == "monitor" else 0
        environment = {**PATHS, **self.agent.environment(interval, 20, self.level)}
        return [self.label, [f"{driver.AGENTS}/{self.agent.name}", self.action], environment, RUNS]


def rows(node: Node) -> list[Row]:
    api, rpc, keystone = (Agent(node, name) for name in ("nova-api", "nova-scheduler", "keystone"))
    other_way = Agent(node, "keystone", "p_keystone", clouds_yaml=CLOUDS)
    return [
        Row("meta-data", api, "meta-data", None, 1.7),
        Row("level 0, nova-api", api, "monitor", 0, 1.7),
        Row("level 0, nova-scheduler", rpc, "monitor", 0, 1.7),
        Row("level 10 over HTTP, nova-api", api, "monitor", 10, 7),
        Row("level 10 over HTTP, keystone", keystone, "monitor", 10, 7),
        Row("level 10 over AMQP, nova-scheduler", rpc, "monitor", 10, 10),
        Row("level 20 with SQL, nova-scheduler", rpc, "monitor", 20, 0.2, of_client=True),
        Row("level 20 with a password, nova-api", api, "monitor", 20, 0.2, of_client=True),
        Row("level 20 by a login plug-in, keystone", other_way, "monitor", 20, 0.7, of_client=True),
    ]


def write_clouds(node: Node) -> dict[str, str]:
    """Put a login by a plug-in (a token) into the node; return the variables of the administrator's openrc."""
    variables = openrc.parse((node.root / provision.OPENRC.lstrip("/")).read_text())
    client = {**variables, "PATH": PATHS["PATH"]}
    done = node.run([*CLIENT, "-f", "value", "-c", "id"], env=client, check=True)
    auth = {"auth_url": variables["OS_AUTH_URL"], "token": done.stdout.strip()}
    project = {"project_name": variables["OS_PROJECT_NAME"], "project_domain_name": "Default"}
    clouds = {"clouds": {"lab": {"auth_type": "v3token", "auth": {**auth, **project}}}}
    path = node.path(CLOUDS)
    path.write_text(json.dumps(clouds))  # JSON is YAML
    path.chmod(0o600)
    return variables


def bench(node: Node) -> int:
    for name in ("keystone", "nova-api", "nova-scheduler"):
        answer = Agent(node, name).start(120)
        if answer.code:
            print(f"{name} does not start: {answer}", file=sys.stderr)
            return 1
    variables = write_clouds(node)
    table = rows(node)
    jobs = [["bare interpreter", BARE, PATHS, RUNS], *(row.job() for row in table)]
    jobs.append(["openstack token issue", CLIENT, {**PATHS, **variables}, CLIENT_RUNS])
    node.path(SCRIPT).write_text(Path(measure.__file__).read_text())
    done = node.run(["/usr/bin/python3", SCRIPT], input=json.dumps(jobs), timeout=300, check=True)
    result = json.loads(done.stdout)
    return show(table, result)


def show(table: list[Row], result: dict[str, dict[str, Any]]) -> int:
    bare, client = result["bare interpreter"]["cpu"], result["openstack token issue"]["cpu"]
    print(f"{'call':<40} {'CPU ms':>8} {'wall ms':>8}  {'cost':>16}  bound")
    over = 0
    for label, taken in result.items():
        cost = f"{taken['cpu'] / bare:.2f} x bare"
        bound = ""
        for row in table:
            if row.label == label:
                share = taken["cpu"] / (client if row.of_client else bare)
                cost = f"{share:.2f} of client" if row.of_client else cost
                bound = f"{row.bound}{'' if share <= row.bound else '  OVER'}"
                wrong = taken["codes"] != [0]
                bound += f"  exit codes {taken['codes']}" if wrong else ""
                over += share > row.bound or wrong
        print(f"{label:<40} {taken['cpu']:>8.1f} {taken['wall']:>8.1f}  {cost:>16}  {bound}")
    return 1 if over else 0


def main() -> int:
    missing = settings.missing()
    if missing:
        print(f"cannot measure here: {'; '.join(missing)}", file=sys.stderr)
        return 1
    try:
        with orderly_exit(), controller.boot() as node:
            install(node, ROOT)
            return bench(node)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
