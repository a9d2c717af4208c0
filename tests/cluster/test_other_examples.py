"""The other files of crm-examples, each loaded as it stands there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster.conftest import COMPLAINT, LONG, whole
from cluster.watch import Daemons, Story, changed
from lab import cloud
from lab.cluster import EXAMPLE, EXAMPLES, Cluster
from lab.node import Node

OLD = ("p_nova-consoleauth", "p_nova-cert")
#: in the order in which the group starts them
GROUP = (
    "p_mariadb", "p_rabbitmq",
    "p_keystone", "p_glance-api", "p_placement-api", "p_nova-conductor", "p_nova-api", "p_nova-scheduler",
)  # fmt: skip


@pytest.fixture
def with_old_releases(ocata: None, cluster: Cluster) -> Iterator[str]:
    """Load old-releases.crm beside the example, give what crmsh said, and take its resources out again."""
    yield cluster.load("old-releases.crm")
    for resource in OLD:
        cluster.crm("resource", "stop", resource)
    cluster.idle()
    cluster.crm("configure", "delete", *OLD)


def test_old_releases_run_beside_the_example(
    cluster: Cluster, daemons: Daemons, story: Story, with_old_releases: str
) -> None:
    before = daemons.all()
    story.begin()
    assert not COMPLAINT.search(with_old_releases), with_old_releases
    cluster.wait(lambda status: whole(status) and all(map(status.where, OLD)), LONG, "all run")
    story.phase("started")
    for resource in OLD:
        # Which looks here at the row in the database as well.
        assert daemons.check(resource) == ""
    after = daemons.all()
    assert {name: after[name] for name in before} == before
    assert not cluster.status().fail_counts


@pytest.fixture
def grouped(cluster: Cluster) -> Iterator[str]:
    """Load the classic form in the place of the example, give what crmsh said, and put the example back."""
    yield cluster.replace("fencing-lab.crm", "storage-shared.crm", "active-passive-grouped.crm")
    cluster.replace(*EXAMPLE)
    cluster.wait(whole, LONG, "everything runs as single resources")


def test_the_classic_form_works_and_costs_what_its_head_says(
    cluster: Cluster, daemons: Daemons, story: Story, grouped: str
) -> None:
    assert not COMPLAINT.search(grouped), grouped
    story.begin()
    cluster.wait(whole, LONG, "everything runs in one group")
    story.phase("started")
    assert cluster.use() == cloud.WORKS
    before = daemons.all()
    processes, family = daemons.family("p_rabbitmq")
    story.begin()
    processes.signal("KILL", *family)
    cluster.wait(lambda status: status.fail_counts, LONG, "the failure is counted")
    cluster.wait(lambda status: whole(status) and not changed_only_in_part(daemons, before), LONG, "all behind it runs")
    story.phase("broker and all behind it started anew")
    assert changed(before, daemons.all()) == set(GROUP[1:])


def changed_only_in_part(daemons: Daemons, before: dict[str, tuple[str, int, int]]) -> list[str]:
    """Give what is still to be started anew after the broker was killed."""
    after = daemons.now()
    return [name for name in GROUP[1:] if not after[name][2] or after[name] == before[name]]


#: What is asked of agents that the laboratory's nodes have not: parameters and actions as the examples use them.
DRBD = """\
#!/bin/sh
[ "$1" = meta-data ] && cat <<END
<?xml version="1.0"?>
<resource-agent name="drbd" version="1.0">
<version>1.0</version><longdesc lang="en">stand-in</longdesc><shortdesc lang="en">stand-in</shortdesc>
<parameters>
<parameter name="drbd_resource" unique="1" required="1"><longdesc lang="en">name</longdesc>
<shortdesc lang="en">name</shortdesc><content type="string"/></parameter>
</parameters>
<actions>
<action name="start" timeout="240s"/><action name="stop" timeout="100s"/>
<action name="promote" timeout="90s"/><action name="demote" timeout="90s"/>
<action name="notify" timeout="90s"/><action name="meta-data" timeout="5s"/><action name="validate-all" timeout="5s"/>
<action name="monitor" depth="0" timeout="20s" interval="20s" role="Unpromoted"/>
<action name="monitor" depth="0" timeout="20s" interval="10s" role="Promoted"/>
</actions>
</resource-agent>
END
"""
IPMI = """\
#!/bin/sh
cat <<END
<?xml version="1.0"?>
<resource-agent name="fence_ipmilan" shortdesc="stand-in">
<longdesc>stand-in</longdesc>
<parameters>
<parameter name="action" unique="0" required="1"><content type="string" default="reboot"/>
<shortdesc lang="en">action</shortdesc></parameter>
<parameter name="ip" unique="0" required="1"><content type="string"/><shortdesc lang="en">address</shortdesc>
</parameter>
<parameter name="username" unique="0" required="0"><content type="string"/><shortdesc lang="en">user</shortdesc>
</parameter>
<parameter name="password" unique="0" required="0"><content type="string"/><shortdesc lang="en">secret</shortdesc>
</parameter>
<parameter name="lanplus" unique="0" required="0"><content type="boolean" default="0"/>
<shortdesc lang="en">protocol</shortdesc></parameter>
</parameters>
<actions>
<action name="on" automatic="0"/><action name="off"/><action name="reboot"/><action name="status"/>
<action name="monitor"/><action name="metadata"/><action name="validate-all"/>
</actions>
</resource-agent>
END
"""
STAND_INS = {"/usr/lib/ocf/resource.d/linbit/drbd": DRBD, "/usr/sbin/fence_ipmilan": IPMI}


@pytest.fixture
def with_stand_ins(cluster: Cluster) -> Iterator[Node]:
    """Give a node that has something in the place of the agents for real machines."""
    node = cluster.some()
    written = [(node.path(name), text) for name, text in STAND_INS.items() if not node.path(name).exists()]
    for place, text in written:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(0o755)
    yield node
    for place, _ in written:
        place.unlink()


@pytest.mark.parametrize(
    ("files", "resources"),
    [
        (("fencing-ipmi.crm", "storage-drbd.crm", "active-passive.crm"), ("st_n2", "ms_drbd", "p_fs", "p_keystone")),
        (("fencing-ipmi.crm", "services.crm"), ("st_n1", "p_keystone", "p_placement-api", "p_nova-scheduler")),
    ],
    ids=["a whole controller", "services alone"],
)
def test_the_files_for_real_machines_are_understood(
    cluster: Cluster, with_stand_ins: Node, files: tuple[str, ...], resources: tuple[str, ...]
) -> None:
    """They are loaded into a configuration that no cluster runs."""
    node = with_stand_ins
    env = {"HOME": "/root", "COLUMNS": "200", "CIB_file": "/root/real.xml"}
    # Two nodes that are members, with quorum: the only thing to find fault with is what is loaded.
    nodes = "".join(f'<node id="{name[1:]}" uname="{name}"/>' for name in cluster.names)
    joined = 'in_ccm="true" crmd="online" join="member" expected="member"'
    members = "".join(f'<node_state id="{name[1:]}" uname="{name}" {joined}/>' for name in cluster.names)
    cib = node.run(["cibadmin", "--empty"], check=True).stdout
    for old, new in (
        ("<cib ", '<cib have-quorum="1" '),
        ("<nodes/>", f"<nodes>{nodes}</nodes>"),
        ("<status/>", f"<status>{members}</status>"),
    ):
        assert old in cib
        cib = cib.replace(old, new)
    node.path("/root/real.xml").write_text(cib)
    node.path("/root/real.crm").write_text("".join((EXAMPLES / name).read_text() for name in files))
    loaded = node.run(["crm", "configure", "load", "update", "/root/real.crm"], env=env, timeout=120)
    said = loaded.stdout + loaded.stderr
    assert loaded.returncode == 0, said
    assert not COMPLAINT.search(said), said
    checked = node.run(["crm_verify", "--xml-file=/root/real.xml", "--verbose"])
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    shown = node.run(["crm", "configure", "show"], env=env, check=True).stdout
    assert all(name in shown for name in resources)
