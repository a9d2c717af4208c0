"""Configurations that no cluster runs, and what Pacemaker's scheduler would do with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from xml.etree import ElementTree

from lab.cluster import CRM_ENVIRONMENT, Status, parse, together
from lab.node import Node

FILE = "/root/simulated.xml"
TRANSITIONS = 5  # that may follow each other before the scheduler has nothing left to do


class Simulation:
    """A cluster on paper: all its nodes are members, it has quorum, and every action succeeds."""

    def __init__(self, node: Node, names: Iterable[str]) -> None:
        """Begin with an empty configuration. node: where Pacemaker's programs run. names: of the cluster's nodes."""
        self.node = node
        cib = ElementTree.fromstring(node.run(["cibadmin", "--empty"], check=True).stdout)  # noqa: S314 - of our own node
        cib.set("have-quorum", "1")
        for number, name in enumerate(names, start=1):
            same = {"id": str(number), "uname": name}
            member = {"in_ccm": "true", "crmd": "online", "join": "member", "expected": "member"}
            ElementTree.SubElement(_found(cib, "configuration/nodes"), "node", same)
            ElementTree.SubElement(_found(cib, "status"), "node_state", same | member)
        self._write(cib)

    def run(self, *argv: str) -> str:
        """Run a program that finds this configuration in the place of the cluster's; give what it said."""
        done = self.node.run(argv, env={**CRM_ENVIRONMENT, "CIB_file": FILE}, timeout=120)
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        return said

    def load(self, *examples: str) -> str:
        """Load files of crm-examples together, as their heads say; give what crmsh said."""
        self.node.path("/root/simulated.crm").write_text(together(examples))
        return self.run("crm", "configure", "load", "update", "/root/simulated.crm")

    def settle(self, attributes: Mapping[str, Mapping[str, str]]) -> Status:
        """Give every node its transient attributes, and act until there is nothing left to do; give the end.

        attributes: node → attribute → value; an empty value is none.
        """
        cib = ElementTree.fromstring(self.node.path(FILE).read_text())  # noqa: S314 - our own
        for state in cib.iterfind("status/node_state"):
            for old in state.findall("transient_attributes"):
                state.remove(old)
            name = state.get("uname", "")
            transient = ElementTree.SubElement(state, "transient_attributes", id=name)
            inner = ElementTree.SubElement(transient, "instance_attributes", id=f"status-{name}")
            for key, value in attributes[name].items():
                if value:
                    ElementTree.SubElement(inner, "nvpair", id=f"status-{name}-{key}", name=key, value=value)
        self._write(cib)
        before = self._status()
        for _ in range(TRANSITIONS):
            self.run("crm_simulate", "--simulate", f"--xml-file={FILE}", f"--save-output={FILE}")
            after = self._status()
            if after.resources == before.resources:
                return after
            before = after
        raise AssertionError(f"after {TRANSITIONS} transitions there is still something to do: {before}")

    def _status(self) -> Status:
        return parse(self.run("crm_mon", "--one-shot", "--output-as=xml"))

    def _write(self, cib: ElementTree.Element) -> None:
        self.node.path(FILE).write_text(ElementTree.tostring(cib, encoding="unicode"))


def _found(cib: ElementTree.Element, path: str) -> ElementTree.Element:
    found = cib.find(path)
    assert found is not None, f"{path} is not in an empty configuration"
    return found
