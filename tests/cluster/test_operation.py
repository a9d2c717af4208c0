"""What an administrator does to a running cluster: upgrade, parameters, a secret, maintenance, the orderly end."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.conftest import LONG, whole
from cluster.watch import Daemons, Story
from lab import package
from lab.cluster import Cluster
from lab.node import Node


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


def test_a_reloadable_parameter_reloads_and_another_restarts(cluster: Cluster, daemons: Daemons, story: Story) -> None:
    before = daemons.all()
    resource = "p_nova-scheduler"
    cluster.crm("resource", "param", resource, "set", "request_timeout", "3")
    cluster.idle()
    assert daemons.all() == before
    story.begin()
    cluster.crm("resource", "param", resource, "set", "open_files", "60000")
    cluster.idle()
    story.phase("restarted")
    after = daemons.all()
    assert after.pop(resource) != before.pop(resource)
    assert after == before
    for name in ("request_timeout", "open_files"):
        cluster.crm("resource", "param", resource, "delete", name)
    cluster.idle()


def test_a_password_can_be_a_secret(cluster: Cluster, daemons: Daemons) -> None:
    before = daemons.all()
    secret = cluster.administrators_password()
    for name, value in (("os_username", "admin"), ("os_project_name", "admin")):
        cluster.crm("resource", "param", "p_glance-api", "set", name, value)
    for node in map(cluster.node, cluster.names):
        # Not by `crm resource secret set`, which copies over ssh: the laboratory's nodes have none.
        place = node.path("/var/lib/pacemaker/lrm/secrets/cib/p_glance-api/os_password")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(secret)
        digest = node.run(["md5sum", "/var/lib/pacemaker/lrm/secrets/cib/p_glance-api/os_password"]).stdout.split()[0]
        place.with_suffix(".sign").write_text(f"{digest}\n")
    cluster.crm("resource", "param", "p_glance-api", "set", "os_password", "lrm://")
    cluster.idle()
    node = cluster.node(cluster.status().where("p_glance-api"))
    assert secret not in node.run(["cibadmin", "--query"]).stdout
    checked = node.run(["crm_resource", "--resource=p_glance-api", "--force-check"], timeout=60)
    assert checked.returncode == 0, checked.stdout
    assert daemons.all() == before
    for name in ("os_username", "os_project_name", "os_password"):
        cluster.crm("resource", "param", "p_glance-api", "delete", name)
    cluster.idle()


def test_maintenance_leaves_everything_alone(cluster: Cluster, daemons: Daemons) -> None:
    before = daemons.all()
    cluster.crm("configure", "property", "maintenance-mode=true")
    try:
        cluster.wait(lambda status: not any(one.managed for one in status.resources), LONG, "nothing is managed")
        cluster.crm("resource", "refresh")
        cluster.idle()
        assert daemons.all() == before
    finally:
        cluster.crm("configure", "property", "maintenance-mode=false")
    cluster.wait(lambda status: all(one.managed for one in status.resources), LONG, "everything is managed")
    cluster.idle()
    assert daemons.all() == before


def test_a_full_stop_leaves_nothing_running(cluster: Cluster, story: Story) -> None:
    users = ("keystone", "glance", "placement", "nova", "mysql", "rabbitmq")
    story.begin()
    cluster.each(lambda node: node.run(["systemctl", "stop", "pacemaker", "corosync"], timeout=LONG, check=True))
    story.phase("stopped")
    for name in cluster.names:
        node = cluster.node(name)
        left = node.run(["ps", "-o", "user=,pid=,args=", "-u", ",".join(users)]).stdout.splitlines()
        assert [line for line in left if "epmd" not in line] == []
        assert node.run(["findmnt", "/srv/openstack"]).returncode == 1
    cluster.each(lambda node: node.run(["systemctl", "start", "pacemaker"], timeout=LONG, check=True))
    cluster.wait(whole, LONG, "everything runs again")
    story.phase("everything runs again")
