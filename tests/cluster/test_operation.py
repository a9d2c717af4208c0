"""What an administrator does to a running cluster: upgrade, parameters, a secret, maintenance, the orderly end."""

from __future__ import annotations

import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import pytest
from services.processes import Processes

from cluster.conftest import LONG, switched_on, whole
from cluster.watch import Daemons, Story, changed
from lab import package
from lab.cluster import Cluster
from lab.member import DATA, VIP
from lab.node import Node

SECRETS = "/var/lib/pacemaker/lrm/secrets"
#: what Pacemaker calls these operations of a resource
RELOAD = "{}_reload-agent_0"
LEVEL_20 = "{}_monitor_90000"


@pytest.fixture(scope="session")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build our package once more, as a later version."""
    return package.build(tmp_path_factory.mktemp("newer"), version="99.0")


def test_an_upgrade_of_our_package_restarts_nothing(
    cluster: Cluster, daemons: Daemons, story: Story, newer: Path
) -> None:
    before = daemons.all()
    story.begin()

    def upgrade(node: Node) -> None:
        node.path("/root/newer.deb").write_bytes(newer.read_bytes())
        node.run(["dpkg", "--install", "/root/newer.deb"], timeout=120, check=True)

    cluster.each(upgrade)
    story.phase("upgraded")
    version = cluster.some().run(["dpkg-query", "--show", "--showformat=${Version}", package.NAME]).stdout
    assert version == "99.0"
    # With the new files the monitors go on, and a question out of turn is answered.
    for resource in before:
        cluster.crm("resource", "refresh", resource)
    cluster.idle()
    assert daemons.all() == before
    assert not cluster.status().fail_counts


def test_a_reloadable_parameter_reloads_and_another_restarts(
    cluster: Cluster, daemons: Daemons, story: Story, set_parameters: Callable[..., None]
) -> None:
    resource = "p_nova-scheduler"
    # Pacemaker reloads only what it has started itself since the last refresh: docs/operations.md.
    cluster.restart(resource)
    before = daemons.all()
    story.begin()
    known = len(noted(cluster, RELOAD.format(resource)))
    set_parameters(resource, request_timeout="3")
    story.phase("reloaded")
    assert noted(cluster, RELOAD.format(resource))[known:] == ["rc=0"]
    assert daemons.all() == before
    set_parameters(resource, open_files="60000")
    story.phase("restarted")
    assert changed(before, daemons.all()) == {resource}
    assert len(noted(cluster, RELOAD.format(resource))) == known + 1


def test_another_configuration_file_restarts(
    cluster: Cluster, daemons: Daemons, story: Story, set_parameters: Callable[..., None]
) -> None:
    before = daemons.all()
    for node in map(cluster.node, cluster.names):
        shutil.copy2(node.path("/etc/nova/nova.conf"), node.path("/etc/nova/other.conf"))
        node.run(["chown", "--reference=/etc/nova/nova.conf", "/etc/nova/other.conf"], check=True)
    story.begin()
    set_parameters("p_nova-conductor", config="/etc/nova/other.conf")
    story.phase("restarted")
    after = daemons.all()
    assert changed(before, after) == {"p_nova-conductor"}
    _, pid, _ = after["p_nova-conductor"]
    assert pid != before["p_nova-conductor"][1]
    node = cluster.node(cluster.status().where("p_nova-conductor"))
    assert "/etc/nova/other.conf" in Processes(node).read(pid, "cmdline").split("\0")


def keep_secret(cluster: Cluster, resource: str, name: str, value: str) -> None:
    """Have crmsh make a parameter a secret.

    It copies secrets to the other nodes over ssh. The laboratory's nodes have no server for that: programs that do
    nothing take the place of ssh and scp, and the files are copied from outside.
    """
    active = cluster.node(cluster.status().where(resource))
    programs = [active.path(f"/usr/local/bin/{program}") for program in ("ssh", "scp")]
    for program in programs:
        program.symlink_to("/bin/true")
    try:
        cluster.crm("resource", "secret", resource, "set", name, value, on=active.hostname)
    finally:
        for program in programs:
            program.unlink()
    for other in cluster.names:
        if other != active.hostname:
            shutil.copytree(active.path(SECRETS), cluster.node(other).path(SECRETS))


def noted(cluster: Cluster, operation: str) -> list[str]:
    """Give what the active node's Pacemaker has noted of an operation: of a monitor only what has changed."""
    log = cluster.node(cluster.status().where("p_ip")).path("/var/log/pacemaker/pacemaker.log").read_text()
    ends = (line.rpartition(f"key={operation} ") for line in log.splitlines() if "Result of" in line)
    return [result for _, key, result in ends if key]


def values(cluster: Cluster, name: str) -> list[str]:
    """Give all values in the configuration and the status, as a node knows them."""
    seen = cluster.node(name).run(["cibadmin", "--query"], check=True).stdout
    return [value for element in ElementTree.fromstring(seen).iter() for value in element.attrib.values()]  # noqa: S314


def test_a_password_can_be_a_secret(
    cluster: Cluster, daemons: Daemons, story: Story, set_parameters: Callable[..., None]
) -> None:
    resource = "p_glance-api"
    cluster.restart(resource)
    before = daemons.all()
    secret = cluster.administrators_password()
    attribute = f"degraded-{resource}"
    node = cluster.status().where(resource)
    story.begin()
    # As the right one it holds a letter that XML writes in another way.
    wrong = "lab-wrong&"
    set_parameters(resource, os_username="admin", os_project_name="admin", os_password=wrong)
    assert all(any(wrong in value for value in values(cluster, name)) for name in cluster.names)
    cluster.wait(
        lambda status: "refuses user 'admin'" in status.attributes[node].get(attribute, ""),
        LONG,
        "a wrong password shows",
    )
    story.phase("a wrong password shows")
    cluster.crm("resource", "param", resource, "delete", "os_password")
    level_20 = LEVEL_20.format(resource)
    known = len(noted(cluster, level_20))
    keep_secret(cluster, resource, "os_password", secret)
    story.phase("the right one is kept secret")
    for name in cluster.names:
        seen = values(cluster, name)
        assert not any(password in value for value in seen for password in (secret, wrong))
        assert "lrm://" in seen
    cluster.wait(lambda _: len(noted(cluster, level_20)) > known, LONG, "level 20 looks with it")
    assert noted(cluster, level_20)[-1] == "rc=0"
    cluster.wait(lambda status: attribute not in status.attributes[node], LONG, "the attribute is gone")
    story.phase("the right password is used")
    assert daemons.all() == before
    assert not cluster.status().fail_counts


def test_maintenance_leaves_everything_alone(cluster: Cluster, daemons: Daemons, story: Story) -> None:
    before = daemons.all()
    story.begin()
    with switched_on(cluster, "maintenance-mode"):
        cluster.wait(lambda status: not any(one.managed for one in status.resources), LONG, "nothing is managed")
        cluster.crm("resource", "refresh")
        cluster.idle()
        story.phase("looked at anew, and left alone")
        assert daemons.all() == before
    cluster.wait(lambda status: all(one.managed for one in status.resources), LONG, "everything is managed")
    cluster.idle()
    story.phase("managed again")
    assert daemons.all() == before


def test_what_dies_in_maintenance_stays_down_until_its_end(cluster: Cluster, daemons: Daemons, story: Story) -> None:
    resource = "p_glance-api"
    others = daemons.all()
    processes, family = daemons.family(resource)
    node, pid, _ = others.pop(resource)
    assert pid in processes.matching("glance-api")
    story.begin()
    with switched_on(cluster, "maintenance-mode"):
        cluster.wait(lambda status: not any(one.managed for one in status.resources), LONG, "nothing is managed")
        processes.signal("KILL", *family)
        cluster.crm("resource", "refresh")
        cluster.idle()
        assert resource in cluster.status().stopped()
        assert processes.matching("glance-api") == []
        story.phase("seen to be down, and left so")
    cluster.wait(whole, LONG, "it runs again")
    story.phase("runs again")
    cluster.idle()
    after = daemons.all()
    assert after.pop(resource)[0] == node
    assert after == others


def test_a_full_stop_leaves_nothing_running(cluster: Cluster, story: Story) -> None:
    users = {"keystone", "glance", "placement", "nova", "mysql", "rabbitmq"}

    def processes(node: Node) -> list[str]:
        said = node.run(["ps", "-o", "user:32=,pid=,args=", "-u", ",".join(users)]).stdout
        return [line for line in said.splitlines() if "epmd" not in line]

    def addresses(node: Node) -> str:
        return node.run(["ip", "-brief", "address"], check=True).stdout

    # What is to be gone can be seen.
    active = cluster.node(cluster.status().where("p_ip"))
    assert {line.split()[0] for line in processes(active)} == users
    assert f" {VIP}/" in addresses(active)
    assert active.run(["findmnt", DATA]).returncode == 0
    story.begin()
    cluster.each(lambda node: node.run(["systemctl", "stop", "pacemaker", "corosync"], timeout=LONG, check=True))
    story.phase("stopped")
    for name in cluster.names:
        node = cluster.node(name)
        assert processes(node) == []
        assert f" {VIP}/" not in addresses(node)
        assert node.run(["findmnt", DATA]).returncode == 1
    cluster.each(lambda node: node.run(["systemctl", "start", "pacemaker"], timeout=LONG, check=True))
    cluster.wait(whole, LONG, "everything runs again")
    story.phase("everything runs again")
