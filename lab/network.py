"""A network for several nodes: a bridge in a network namespace of its own, unseen by the host.

A single node needs none of this: it boots with a private network that has nothing but its loopback.
"""

from __future__ import annotations

import subprocess
from pathlib import Path


class Network:
    """One namespace with one bridge.

    name: unique on this host, at most 12 characters. address: the namespace's own address on the bridge, so that a
    test can talk to the nodes (`nsenter --net=...`), with its prefix length.
    """

    BRIDGE = "br0"

    def __init__(self, name: str, address: str = "192.0.2.254/24") -> None:
        self.name = name
        self.address = address
        # Entered with `nsenter --net=`, never `ip netns exec`: that mounts /sys anew, and then systemd-nspawn finds
        # no cgroups.
        self.path = Path("/run/netns") / name

    def create(self) -> None:
        """Make the namespace and the bridge."""
        _ip("netns", "add", self.name)
        inside = ("-n", self.name)
        _ip(*inside, "link", "set", "lo", "up")
        _ip(*inside, "link", "add", self.BRIDGE, "type", "bridge", "forward_delay", "0")
        _ip(*inside, "address", "add", self.address, "dev", self.BRIDGE)
        _ip(*inside, "link", "set", self.BRIDGE, "up")

    def remove(self) -> None:
        """Remove the namespace with all that is in it; none is fine."""
        if self.path.exists():
            _ip("netns", "delete", self.name)

    def cut(self, machine: str) -> None:
        """Take the cable of that machine out."""
        _ip("-n", self.name, "link", "set", f"vb-{machine}", "down")

    def mend(self, machine: str) -> None:
        """Put the cable of that machine in again."""
        _ip("-n", self.name, "link", "set", f"vb-{machine}", "up")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
