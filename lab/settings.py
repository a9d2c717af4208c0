"""Where the laboratory keeps what it builds, and what it needs on the host."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

CACHE = Path(os.environ.get("OPENSTACK_LAB_CACHE", "/var/cache/openstack-resource-agents-lab"))
LAYERS = CACHE / "layers"
RUN = CACHE / "run"
HERE = Path(__file__).resolve().parent
PINS = HERE / "pins"

# Debian's own interpreter, which is the image's as well: what is installed for it here runs there.
SYSTEM_PYTHON = "/usr/bin/python3"

# Command on the host -> Debian package that brings it.
HOST_TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "nsenter": "util-linux",
    "ip": "iproute2",
}


class LabError(Exception):
    """Something the laboratory needs is missing or did not happen; the text says what."""


def missing() -> list[str]:
    """Say what keeps this machine from running the laboratory, one reason an entry."""
    reasons = [] if os.geteuid() == 0 else ["the laboratory boots containers and needs root: run it as root"]
    absent = sorted({package for tool, package in HOST_TOOLS.items() if not shutil.which(tool)})
    if absent:
        reasons.append("not installed; run: apt-get install " + " ".join(absent))
    return reasons
