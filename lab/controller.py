"""A controller, ready to use: MariaDB, RabbitMQ and Placement run, the six services are for the agents to start."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lab import cache, eras, image, progress, provision
from lab.node import Node

HOSTNAME = "controller"


def layers() -> list[Path]:
    """Give the read-only directories of a controller, the uppermost first; what is not there is built.

    Raises settings.LabError when this machine cannot build them.
    """
    with ThreadPoolExecutor() as pool:
        # At the same time: mmdebstrap keeps one core busy, pip mostly waits for downloads.
        built = [pool.submit(build) for build in (eras.ocata, eras.gazpacho, image.build)]
        below = [layer for layer in (job.result() for job in built) if layer]
    recipe = cache.digest(Path(provision.__file__).read_text(), *(path.name for path in below))
    return [cache.directory("controller", recipe, lambda target: _provision(target, below)), *below]


def boot(extra_binds: Sequence[tuple[Path, str]] = (), keep: bool = False) -> Node:
    """Give a booted controller whose MariaDB, RabbitMQ and Placement serve; destroy it, or use it with `with`.

    extra_binds: (host path, node path), shown read-only in the node. keep: the node outlives this program.
    """
    node = Node(layers(), HOSTNAME, extra_binds)
    with progress.step("booting the controller"):
        node.boot(keep=keep)
        try:
            wait_ready(node)
        except BaseException:
            node.destroy()
            raise
    return node


def wait_ready(node: Node, timeout: float = 60) -> None:
    """Wait until database, broker and Placement answer. timeout: seconds for each."""
    # These two say themselves when they are ready (Type=notify): to wait for the unit is enough.
    node.start_unit("mariadb", timeout)
    node.start_unit("rabbitmq-server", timeout)
    node.wait_until(["curl", "--silent", "--fail", "--output", "/dev/null", provision.PLACEMENT_URL], timeout)


def passwords(node: Node) -> provision.Secrets:
    """Give the passwords of a controller."""
    found: dict[str, Any] = json.loads((node.root / provision.SECRETS.lstrip("/")).read_text())
    return provision.Secrets(**found)


def _provision(target: Path, below: Sequence[Path]) -> None:
    node = Node(below, HOSTNAME)
    names = [path.name.partition("-")[0] for path in below]
    try:
        node.boot()
        provision.controller(node, "ocata" in names, "gazpacho" in names)
        node.stop()
        node.keep_changes(target)
    finally:
        node.destroy()
