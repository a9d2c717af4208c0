"""What makes a controller a member of a cluster: one layer over it, the same for every node.

Databases, messages, images and keys lie in one folder (`DATA`) that only the active node has mounted, the services
are found at one virtual address, and Pacemaker alone starts them.
"""

from __future__ import annotations

from pathlib import Path

from lab import cache, controller, progress
from lab.config import set_options
from lab.node import Node
from lab.provision import GAZPACHO

VIP = "192.0.2.10"
#: where the active node has the data mounted
DATA = "/srv/openstack"
#: the data as it was provisioned, for the storage of a new cluster
SEED = "/srv/seed"

_CONFIGS = [
    "etc/keystone/keystone.conf", "etc/glance/glance-api.conf", "etc/placement/placement.conf", "etc/nova/nova.conf",
    "etc/nova-ocata/nova.conf", "root/openrc",
]  # fmt: skip
_FENCE_AGENT = Path(__file__).parent / "files/fence_lab"
_UNITS = ["mariadb", "rabbitmq-server", "placement-api"]

_MARIADB = f"""\
[mysqld]
datadir = {DATA}/mysql
bind-address = 0.0.0.0
"""

# Addresses that the services were provisioned with, and where others see them now. 2026.1 has no place in the cluster,
# and Nova would take its Glance for its own.
_SQL = """\
DELETE FROM keystone.endpoint WHERE region_id = '{other}';
UPDATE keystone.endpoint SET url = REPLACE(url, '127.0.0.1', '{vip}');
"""
_CELLS = """\
UPDATE {schema}_api.cell_mappings SET transport_url = REPLACE(transport_url, '127.0.0.1', '{vip}'),
    database_connection = REPLACE(database_connection, '127.0.0.1', '{vip}');
DELETE FROM {schema}.services;
"""

#: A new cluster's first settings. The first election needs not wait for nodes that may be slow (20 s), and a busy host
#: is no reason to start one service after the other.
PROPERTIES = {"dc-deadtime": "3s", "load-threshold": "800%"}

_CIB = """\
<cib crm_feature_set="3.16.1" validate-with="pacemaker-3.9" epoch="1" num_updates="0" admin_epoch="0">
  <configuration>
    <crm_config>
      <cluster_property_set id="cib-bootstrap-options">
{properties}\
      </cluster_property_set>
    </crm_config>
    <nodes/>
    <resources/>
    <constraints/>
  </configuration>
  <status/>
</cib>
"""

_PROPERTY = '        <nvpair id="cib-bootstrap-options-{name}" name="{name}" value="{value}"/>\n'

_MOVE = f"""\
set -e
mkdir -p {SEED} {DATA}
mv /var/lib/mysql {SEED}/mysql
mv /var/lib/rabbitmq/mnesia {SEED}/rabbitmq
mv /var/lib/glance/images {SEED}/images
mkdir {SEED}/keystone
mv /etc/keystone/fernet-keys /etc/keystone/credential-keys {SEED}/keystone
chown keystone: {SEED}/keystone
"""


def layers() -> list[Path]:
    """Give the read-only directories of a member, the uppermost first; what is not there is built."""
    below = controller.layers()
    recipe = cache.digest(Path(__file__).read_text(), _FENCE_AGENT.read_text(), *(path.name for path in below))
    return [cache.directory("member", recipe, lambda target: _provision(target, below)), *below]


def seed(layers: list[Path]) -> Path:
    """Give the folder with the data that a new cluster begins with."""
    return layers[0] / SEED.lstrip("/")


def _provision(target: Path, below: list[Path]) -> None:
    node = Node(below, controller.HOSTNAME)
    try:
        node.boot()
        node.start_unit("mariadb")
        for unit in _UNITS[1:]:
            # Its boot had begun it.
            node.stop_unit(unit)
        schemas = ["nova"] + (["nova_ocata"] if (node.root / "opt/ocata").is_dir() else [])
        statements = _SQL + "".join(_CELLS.replace("{schema}", schema) for schema in schemas)
        node.run(["mariadb"], input=statements.replace("{vip}", VIP).replace("{other}", GAZPACHO.region), check=True)
        node.stop_unit("mariadb")
        with progress.step("data to where it can be shared, addresses"):
            node.run(["/bin/sh", "-c", _MOVE], check=True)
            _configure(node)
            node.run(["chown", "-R", "hacluster:haclient", "/var/lib/pacemaker/cib"], check=True)
        node.run(["systemctl", "disable", *_UNITS], check=True)
        # A package upgrade would start it beside Pacemaker's.
        node.run(["systemctl", "mask", "placement-api"])
        node.stop()
        node.keep_changes(target)
    finally:
        node.destroy()


def _configure(node: Node) -> None:
    etc = node.root / "etc"
    for name in _CONFIGS:
        config = node.root / name
        if config.exists():
            config.write_text(config.read_text().replace("127.0.0.1", VIP))
    keys = {"key_repository": f"{DATA}/keystone/fernet-keys"}
    set_options(
        etc / "keystone/keystone.conf",
        {
            "fernet_tokens": keys,
            "fernet_receipts": keys,
            "credential": {"key_repository": f"{DATA}/keystone/credential-keys"},
        },
    )
    set_options(etc / "glance/glance-api.conf", {"glance_store": {"filesystem_store_datadir": f"{DATA}/images"}})
    # One name on all nodes: after a failover the services are the same ones, and no dead row is left.
    set_options(etc / "nova/nova.conf", {"DEFAULT": {"host": controller.HOSTNAME}})
    (etc / "mysql/mariadb.conf.d/80-cluster.cnf").write_text(_MARIADB)
    broker = etc / "rabbitmq/rabbitmq.conf"
    broker.write_text(broker.read_text().replace("127.0.0.1:5672", "5672"))
    environment = etc / "rabbitmq/rabbitmq-env.conf"
    environment.write_text(f"{environment.read_text()}MNESIA_BASE={DATA}/rabbitmq\n")
    cib = node.root / "var/lib/pacemaker/cib/cib.xml"
    properties = "".join(_PROPERTY.format(name=name, value=value) for name, value in PROPERTIES.items())
    cib.write_text(_CIB.format(properties=properties))
    cib.chmod(0o600)
    # ocf:heartbeat:Filesystem asks for it; a container has no modules to load.
    (node.root / "usr/sbin/modprobe").symlink_to("/bin/true")
    fence = node.root / "usr/sbin/fence_lab"
    fence.write_bytes(_FENCE_AGENT.read_bytes())
    fence.chmod(0o755)
