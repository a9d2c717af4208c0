"""A cluster: booted nodes on one bridge, with our Debian package, Corosync, Pacemaker and real fencing.

What a data centre has around its servers is played by this program: the switch (`Network`), the disks that both
nodes can mount (a shared folder), and the power switch (`PowerSwitch`), which kills and boots containers when a fence
agent asks for it.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
import uuid
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from lab import cloud, controller, member, package, progress, settings
from lab.fencing import PowerSwitch
from lab.network import Network
from lab.node import Node, claim, mount_overlay, remove, until

STORAGE = "/srv/shared"  # the disks, as both nodes see them; `member.DATA` is where the active one mounts them
FENCING = "/var/lib/fence_lab"
PACKAGE = "/opt/agents.deb"
EXAMPLES = package.PROJECT / "crm-examples"
EXAMPLE = ("fencing-lab.crm", "storage-shared.crm", "active-passive.crm")
#: crmsh's helper for secrets looks for Pacemaker in the output of ps, which is cut at the terminal's width
CRM_ENVIRONMENT = {"HOME": "/root", "COLUMNS": "200"}

_COROSYNC = """\
totem {{
    version: 2
    cluster_name: openstack
    transport: knet
    # The nodes' own bridge; a real network needs a key (corosync-keygen) and: crypto_cipher, crypto_hash
    crypto_cipher: none
    crypto_hash: none
}}
nodelist {{
{nodes}}}
quorum {{
    provider: corosync_votequorum
{quorum}}}
logging {{
    to_syslog: yes
    timestamp: on
}}
"""
_NODE = "    node {{\n        name: {name}\n        nodeid: {number}\n        ring0_addr: {address}\n    }}\n"
# One vote is enough of two; after a boot both must have been seen once, so that a node which is still cut off does
# not shoot back. Of three, two are needed, and wait_for_all would have them wait for the third as well.
_TWO_NODES = "    two_node: 1\n    wait_for_all: 1\n"


@dataclass(frozen=True)
class Resource:
    """A resource on one node as crm_mon shows it."""

    name: str
    agent: str
    role: str
    node: str = ""
    failed: bool = False
    managed: bool = True

    @property
    def running(self) -> bool:
        return bool(self.node) and self.role in ("Started", "Promoted", "Unpromoted") and not self.failed


@dataclass(frozen=True)
class Status:
    """What one node says about the cluster at one moment."""

    quorate: bool = False
    controller: str = ""
    #: node → online, standby, offline, pending, unclean, maintenance
    nodes: dict[str, str] = field(default_factory=dict)
    resources: list[Resource] = field(default_factory=list)
    #: node → attribute → value
    attributes: dict[str, dict[str, str]] = field(default_factory=dict)
    #: (resource, node) → how often it failed
    fail_counts: dict[tuple[str, str], int] = field(default_factory=dict)
    #: one line each
    failures: list[str] = field(default_factory=list)
    #: one line each, the newest first: what was fenced, or could not be
    fencing: list[str] = field(default_factory=list)
    #: nodes that take part, whatever else is said of them: an unclean one may be about to be fenced
    members: list[str] = field(default_factory=list)

    def online(self) -> list[str]:
        return [name for name, state in self.nodes.items() if state == "online"]

    def lost(self, node: str) -> bool:
        """Tell whether a node is not online; who does not know, because its own Pacemaker is silent, says no."""
        return self.nodes.get(node, "online") != "online"

    def where(self, resource: str) -> str:
        """Give the node where it runs, or an empty string."""
        return next((one.node for one in self.resources if one.name == resource and one.running), "")

    def stopped(self) -> list[str]:
        """Give the resources that run nowhere."""
        return [one.name for one in self.resources if not one.running and not self.where(one.name)]


@dataclass(frozen=True)
class Event:
    """Something that happened, for the report. when: seconds since the epoch."""

    when: float
    node: str
    text: str


class Cluster:
    """Nodes that are not booted yet; use it as a context manager, or call `boot` and `destroy`."""

    def __init__(self, nodes: Sequence[str] = ("n1", "n2"), deb: Path | None = None, keep: bool = False) -> None:
        """nodes: their names, two or three. deb: our package; None builds it. keep: they outlive this program."""
        self.names = list(nodes)
        self.keep = keep
        self.deb = deb
        self.network = Network("lab" + uuid.uuid4().hex[:6])
        self.addresses = {name: f"192.0.2.{number}" for number, name in enumerate(self.names, 11)}
        self.events: list[Event] = []
        self._nodes: dict[str, Node] = {}
        self._locks = {name: threading.RLock() for name in self.names}
        self._cut: set[str] = set()
        self._frozen: set[str] = set()
        # Set when all ends: no node is booted any more.
        self._closing = threading.Event()
        self._starting: list[threading.Thread] = []
        self._folder = settings.RUN / self.network.name
        self.power = PowerSwitch(self._folder / "fencing", self._power)

    # -- life --------------------------------------------------------------------------------------

    def __enter__(self) -> Cluster:
        self.boot()
        return self

    def __exit__(self, *_: object) -> None:
        self.destroy()

    def boot(self, timeout: float = 120) -> None:
        """Boot all nodes at once and return when all are online in Pacemaker. timeout: seconds."""
        layers = member.layers()
        claim(self._folder, self.keep, hostname="storage", network=self.network.name)
        try:
            deb = self.deb or package.build(self._folder)
            mount_overlay([member.seed(layers)], self._folder)
            self.power.open()
            self.network.create()
            for name in self.names:
                self._nodes[name] = Node(
                    layers,
                    name,
                    binds=[(deb, PACKAGE)],
                    network=self.network,
                    address=f"{self.addresses[name]}/24",
                    files={"/etc/hosts": self._hosts(), "/etc/corosync/corosync.conf": self._corosync()},
                    shares=[(self._folder / "root", STORAGE), (self.power.folder, FENCING)],
                )
            with progress.step("booting the nodes"):
                self.each(self._boot)
            with progress.step("our package, Corosync and Pacemaker"):
                self.each(self._join)
                self.wait(lambda status: len(status.online()) == len(self.names), timeout, "all nodes are online")
        except BaseException:
            self.destroy()
            raise

    def destroy(self) -> None:
        """Crash all nodes and remove every trace of the cluster."""
        self._close()
        self.power.close()
        for thread in self._starting:
            thread.join()
        # The last one first, and all of them, whichever fails.
        with contextlib.ExitStack() as steps:
            steps.callback(self.network.remove)
            steps.callback(remove, self._folder)
            for node in self._nodes.values():
                steps.callback(self._destroy, node)

    def _close(self) -> None:
        """Let no node boot any more; those that do fail."""
        self._closing.set()
        for node in self._nodes.values():
            node.kill()

    def _destroy(self, node: Node) -> None:
        with self._locks[node.hostname]:
            node.destroy()

    def _boot(self, node: Node) -> bool:
        """Boot a node unless it runs or the cluster ends; tell whether it was done."""
        with self._locks[node.hostname]:
            if node.leader or self._closing.is_set():
                return False
            node.boot(keep=self.keep)
            return True

    def _join(self, node: Node) -> None:
        node.run(["dpkg", "--install", PACKAGE], timeout=120, check=True)
        node.run(["systemctl", "enable", "--now", "corosync", "pacemaker"], timeout=120, check=True)

    def _hosts(self) -> str:
        lines = ["127.0.0.1 localhost", "::1 localhost", f"{member.VIP} {controller.HOSTNAME}"]
        return "\n".join([*lines, *(f"{address} {name}" for name, address in self.addresses.items())]) + "\n"

    def _corosync(self) -> str:
        nodes = "".join(
            _NODE.format(name=name, number=number, address=self.addresses[name])
            for number, name in enumerate(self.names, 1)
        )
        return _COROSYNC.format(nodes=nodes, quorum=_TWO_NODES if len(self.names) == 2 else "")

    # -- what can happen to a node -----------------------------------------------------------------

    def node(self, name: str) -> Node:
        return self._nodes[name]

    def each(self, work: Callable[[Node], object]) -> None:
        """Do something in all running nodes at the same time."""
        nodes = [node for node in self._nodes.values() if node.leader or not node.folder.exists()]
        with ThreadPoolExecutor() as pool:
            try:
                list(pool.map(work, nodes))
            except KeyboardInterrupt:
                # The pool waits for its threads: nothing in a dead node takes long.
                self._close()
                raise

    def crash(self, name: str) -> None:
        """Pull the plug of a node."""
        with self._locks[name]:
            self.say(name, "crashes")
            self._nodes[name].crash()

    def start(self, name: str) -> None:
        """Boot a node if it is down; where it is cut off it stays so."""
        with self._locks[name]:
            if self._boot(self._nodes[name]):
                if name in self._cut:
                    self.network.cut(self._nodes[name].machine)
                self.say(name, "has booted")

    def _start_when_missed(self, name: str) -> None:
        """Boot a node when the others have lost it, as they have of a real machine, which boots for longer than this.

        Pacemaker gives up on a node that has come back before it is told that it was fenced.
        """

        def missed() -> bool:
            said = [self.status(other) for other in self.awake() if other != name]
            return self._closing.is_set() or all(one.nodes and name not in one.members for one in said)

        with contextlib.suppress(settings.LabError):
            until(missed, 20, "lost")
        try:
            self.start(name)
        except (settings.LabError, OSError, subprocess.CalledProcessError) as error:
            self.say(name, "did not boot")
            if not self._closing.is_set():
                progress.say(str(error))

    def cut(self, name: str) -> None:
        """Take out the network cable of a node; its fence device and its disks stay reachable."""
        self._cut.add(name)
        self.network.cut(self._nodes[name].machine)
        self.say(name, "is cut off")

    def mend(self, name: str) -> None:
        """Put the cable in again."""
        self._cut.discard(name)
        with self._locks[name]:
            if self._nodes[name].leader:
                self.network.mend(self._nodes[name].machine)
        self.say(name, "has its network again")

    def freeze(self, name: str) -> None:
        """Let no process of a node run."""
        self.say(name, "hangs")
        self._frozen.add(name)
        self._nodes[name].freeze()

    def thaw(self, name: str) -> None:
        """Let a frozen node go on."""
        self._nodes[name].thaw()
        self._frozen.discard(name)

    def standby(self, name: str) -> None:
        """Move everything away from a node."""
        self.say(name, "standby")
        self.crm("node", "standby", name)

    def online(self, name: str) -> None:
        """Let a node in standby have resources again."""
        self.crm("node", "online", name)
        self.say(name, "no longer standby")

    def restart(self, resource: str) -> None:
        """Let Pacemaker stop and start a resource, and wait until it runs."""
        self.crm("resource", "restart", resource, timeout=300)
        self.idle()

    def repair(self) -> None:
        """Bring every node back: booted, thawed, with its network, not in standby; what was is forgotten.

        That is failures, fencing, and properties that let the whole cluster do nothing.
        """
        for name in self.names:
            self.start(name)
            self.thaw(name)
            if name in self._cut:
                self.mend(name)
        self.wait(lambda status: "offline" not in status.nodes.values(), 120, "all nodes are members")
        for option in ("maintenance-mode", "stop-all-resources"):
            # Where it is not set this does nothing.
            self.some().run(["crm_attribute", "--type", "crm_config", "--name", option, "--delete"], check=True)
        for name, state in self.status().nodes.items():
            if state == "standby":
                self.online(name)
        self.crm("resource", "cleanup")
        self.some().run(["stonith_admin", "--cleanup", "--history", "*"], check=True)

    def _power(self, action: str, name: str) -> str:
        """Do what a fence agent asks for; give the answer."""
        if action == "list":
            return " ".join(self.names)
        if action == "monitor":
            return "ok"
        if name not in self._nodes:
            return f"there is no {name}"
        if action == "status":
            return "on" if self._nodes[name].leader else "off"
        if action in ("off", "reboot"):
            with self._locks[name]:
                self._nodes[name].crash()
                self._frozen.discard(name)
            self.say(name, "is fenced")
        if action in ("on", "reboot"):
            # As a real device: it answers when the power is off, and does not wait for the boot.
            thread = threading.Thread(target=self._start_when_missed, args=(name,), daemon=True)
            thread.start()
            self._starting.append(thread)
        return "ok"

    # -- what people and tests ask -----------------------------------------------------------------

    def say(self, node: str, text: str) -> None:
        """Note an event."""
        self.events.append(Event(time.time(), node, text))

    def awake(self) -> list[str]:
        """Give the names of the nodes that run, those that are cut off last."""
        running = [name for name, node in self._nodes.items() if node.leader and name not in self._frozen]
        return sorted(running, key=lambda name: name in self._cut)

    def some(self, on: str = "") -> Node:
        """Give the node of that name, without one any that runs, one that is not cut off if there is one."""
        if on:
            return self._nodes[on]
        for name in self.awake():
            return self._nodes[name]
        raise settings.LabError("no node is up")

    def crm(self, *arguments: str, input: str | None = None, on: str = "", timeout: float = 60) -> str:
        """Run crmsh; give what it said, warnings included. Raises settings.LabError when it fails.

        on: the node; default one that runs. timeout: seconds.
        """
        node = self.some(on)
        done = node.run(["crm", *arguments], env=CRM_ENVIRONMENT, input=input, timeout=timeout)
        said = done.stdout + done.stderr
        if done.returncode:
            # Not all of them: the last one may be a password.
            raise settings.LabError(f"crm {' '.join(arguments[:3])} … returned {done.returncode}:\n{said[-3000:]}")
        return said

    def status(self, on: str = "") -> Status:
        """Ask crm_mon; an empty status where Pacemaker does not answer. on: the node to ask."""
        try:
            done = self.some(on).run(["crm_mon", "--one-shot", "--output-as=xml"], timeout=20)
            return parse(done.stdout)
        except (settings.LabError, subprocess.TimeoutExpired, ElementTree.ParseError, OSError):
            return Status()

    def wait(self, condition: Callable[[Status], object], timeout: float, what: str, on: str = "") -> float:
        """Wait until the cluster's status satisfies a condition; give the seconds it took.

        Where Pacemaker does not answer the condition is not asked. timeout: seconds, then settings.LabError is raised
        with `what` and the last status.
        """
        begin = time.monotonic()
        last = Status()

        def holds() -> object:
            nonlocal last
            last = self.status(on)
            return last.nodes and condition(last)

        until(holds, timeout, lambda: f"{what}; last seen: {last}", pause=0.3)
        return time.monotonic() - begin

    def idle(self, timeout: float = 300, on: str = "") -> float:
        """Wait until Pacemaker has nothing left to do; give the seconds. timeout: seconds."""
        begin = time.monotonic()
        self.some(on).run(["crm_resource", "--wait", f"--timeout={timeout:g}s"], timeout=timeout + 10, check=True)
        return time.monotonic() - begin

    def use(self, *steps: str, timeout: float = 120) -> dict[str, str]:
        """Use the cloud through the virtual address, from outside of the nodes; give what came of each step.

        steps: `token`, then `image`, `server`. timeout: seconds. Raises settings.LabError where one fails.
        """
        wanted = steps or ("token", "image", "server")
        given = {"address": member.VIP, "password": self.administrators_password(), "do": wanted}
        command = ["nsenter", f"--net={self.network.path}", "--", sys.executable, "-I", cloud.__file__]
        try:
            done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, timeout=timeout)
        except subprocess.TimeoutExpired:
            raise settings.LabError(f"no answer from the cloud in {timeout:g} s") from None
        if done.returncode:
            raise settings.LabError(f"the cloud does not work: {done.stderr.strip()[-800:]}")
        answers: dict[str, str] = json.loads(done.stdout)
        return answers

    def administrators_password(self) -> str:
        return controller.passwords(next(iter(self._nodes.values()))).keystone["admin"]

    def served(self, timeout: float) -> float:
        """Wait until a token can be had through the virtual address; give the seconds. timeout: seconds."""
        begin = time.monotonic()
        said = ""

        def holds() -> bool:
            nonlocal said
            try:
                self.use("token", timeout=10)
            except settings.LabError as error:
                said = str(error)
                return False
            return True

        until(holds, timeout, lambda: f"a token through {member.VIP}; {said}", pause=0.3)
        return time.monotonic() - begin

    def load(self, *examples: str) -> str:
        """Load files of crm-examples together, as their heads say; give what crmsh said."""
        return self._load("update", examples)

    def replace(self, *examples: str) -> str:
        """Stop everything and load files of crm-examples in the place of what is there; give what crmsh said."""
        self.crm("configure", "property", "stop-all-resources=true")
        self.wait(lambda status: not any(one.running for one in status.resources), 300, "everything has stopped")
        said = self._load("replace", examples)
        # The laboratory's own settings went with all others.
        self.crm("configure", "property", *(f"{name}={value}" for name, value in member.PROPERTIES.items()))
        return said

    def _load(self, method: str, examples: Sequence[str]) -> str:
        node = self.some()
        node.path("/root/controller.crm").write_text(together(examples))
        return self.crm("configure", "load", method, "/root/controller.crm", on=node.hostname, timeout=120)


def together(examples: Iterable[str]) -> str:
    """Give files of crm-examples as one text, to be loaded all at once."""
    return "".join((EXAMPLES / name).read_text() for name in examples)


def parse(text: str) -> Status:
    """Read what `crm_mon --output-as=xml` prints."""
    root = ElementTree.fromstring(text)  # noqa: S314 - of our own node
    nodes = {one.get("name", ""): _node_state(one) for one in root.iterfind("nodes/node")}
    resources = []
    for one in root.iterfind("resources/*"):
        for primitive in one.iter("resource"):
            where = [node.get("name", "") for node in primitive.iterfind("node")]
            resources.append(
                Resource(
                    primitive.get("id", ""),
                    primitive.get("resource_agent", ""),
                    primitive.get("role", ""),
                    where[0] if where else "",
                    primitive.get("failed") == "true",
                    primitive.get("managed") == "true",
                )
            )
    attributes = {
        node.get("name", ""): {one.get("name", ""): one.get("value", "") for one in node.iterfind("attribute")}
        for node in root.iterfind("node_attributes/node")
    }
    counts = {
        (history.get("id", ""), node.get("name", "")): int(
            history.get("fail-count", "0").replace("INFINITY", "1000000")
        )
        for node in root.iterfind("node_history/node")
        for history in node.iterfind("resource_history")
        if history.get("fail-count", "0") != "0"
    }
    failures = [
        " ".join(f"{key}={one.get(key)}" for key in ("op_key", "node", "exitstatus", "exitreason") if one.get(key))
        for one in root.iterfind("failures/failure")
    ]
    fencing = [
        " ".join(f"{key}={one.get(key)}" for key in ("action", "target", "status", "exit-reason") if one.get(key))
        for one in root.iterfind("fence_history/fence_event")
    ]
    current = root.find("summary/current_dc")
    quorate = current is not None and current.get("with_quorum") == "true"
    name = current.get("name", "") if current is not None else ""
    members = [one.get("name", "") for one in root.iterfind("nodes/node") if one.get("online") == "true"]
    return Status(quorate, name, nodes, resources, attributes, counts, failures, fencing, members)


def _node_state(node: ElementTree.Element) -> str:
    # Standby and maintenance are also said of a node that is off.
    states = {**node.attrib, "offline": "false" if node.get("online") == "true" else "true"}
    order = ("unclean", "pending", "offline", "standby", "maintenance")
    return next((state for state in order if states.get(state) == "true"), "online")
