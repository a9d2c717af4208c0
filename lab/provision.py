"""What makes the image an OpenStack controller: databases, accounts, configuration files, catalogue.

Runs once, in a booted node; the files it leaves are the `controller` layer. Any change in this file builds that
layer anew. Keystone, Glance and Nova of Debian (Zed) are set up as an administrator would, in their packages' files;
Ocata and 2026.1 beside them, each with its own schemas, broker account and configuration folder.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import shlex
import shutil
import signal
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from lab import eras, progress
from lab.config import Options, set_options
from lab.node import Node

# As Debian's own configuration files have it.
REGION = "regionOne"
SECRETS = "/root/lab-secrets.json"
OPENRC = "/root/openrc"

KEYSTONE_URL = "http://127.0.0.1:5000/v3"
PLACEMENT_URL = "http://127.0.0.1:8778"
# Ports of 2026.1, each the era's own beside Debian's 5000, 9292 and 8774.
GAZPACHO_PORTS = {"keystone": 5001, "glance": 9293, "nova": 8784}


@dataclass(frozen=True)
class Nova:
    """One release of Nova in the node."""

    release: str
    folder: str  # of nova.conf
    schema: str  # the cell's; `_api` and `_cell0` are added for the others; also the SQL account
    broker_user: str
    vhost: str
    logs: str
    manage: tuple[str, ...]
    # Ocata and 2026.1 name themselves, Zed goes by the host's name: both ways occur.
    host: str | None = None
    region: str = REGION

    @property
    def config(self) -> str:
        """Give the configuration file's path in the node."""
        return f"{self.folder}/nova.conf"


ZED = Nova("Zed", "/etc/nova", "nova", "openstack", "/", "/var/log/nova", ("nova-manage",))
OCATA = Nova(
    "Ocata", "/etc/nova-ocata", "nova_ocata", "nova-ocata", "ocata", "/var/log/nova-ocata",
    (f"/{eras.OCATA}/bin/nova-manage",), host="controller-ocata",
)  # fmt: skip
GAZPACHO = Nova(
    "2026.1", "/etc/nova-2026", "nova_2026", "nova-2026", "2026.1", "/var/log/nova-2026",
    (f"/{eras.GAZPACHO}/bin/nova-manage",), host="controller-2026", region="Gazpacho",
)  # fmt: skip

# Schema -> SQL account.
_SCHEMAS = {
    "keystone": "keystone", "glance": "glance", "placement": "placement",
    "keystone_2026": "keystone_2026", "glance_2026": "glance_2026",
    **{schema: nova.schema for nova in (ZED, OCATA, GAZPACHO)
       for schema in (nova.schema, f"{nova.schema}_api", f"{nova.schema}_cell0")},
}  # fmt: skip

_ACCOUNTS = sorted(set(_SCHEMAS.values()))

# Characters that have a meaning in URLs. No "$" (oslo.config substitutes it), no "'" (SQL quotes with it).
_MEANINGFUL = "/@:%#?&+"

_MARIADB = """\
# Small, and without care for a crash of the host: this is a laboratory.
[mysqld]
bind-address = 127.0.0.1
character-set-server = utf8mb3
collation-server = utf8mb3_general_ci
innodb-buffer-pool-size = 64M
innodb-log-file-size = 32M
innodb-flush-log-at-trx-commit = 0
performance-schema = 0
max-connections = 500
skip-name-resolve
"""

_RABBITMQ = """\
# Loopback only; the node's name does not depend on the host's, so that any node can boot with these files.
listeners.tcp.default = 127.0.0.1:5672
log.file.level = info
"""

_RABBITMQ_ENV = """\
NODENAME=rabbit@localhost
# Two cores serve several nodes: no busy waiting.
RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none"
ERL_EPMD_ADDRESS=127.0.0.1
"""

# Run in the node with Debian's keystoneclient: sixteen `openstack` commands would take half a minute.
_CATALOGUE = """\
import json, sys
from keystoneauth1 import session
from keystoneauth1.identity import v3
from keystoneclient.v3 import client
given = json.load(sys.stdin)
# uWSGI closes the connection after an answer without a body (204), which the client then takes for reusable.
keystone = client.Client(connect_retries=5, session=session.Session(v3.Password(
    given["url"], username="admin", password=given["admin"], project_name="admin",
    user_domain_id="default", project_domain_id="default")))
domain = "default"
project = keystone.projects.create("service", domain)
roles = {role.name: role for role in keystone.roles.list()}
service_role = roles.get("service") or keystone.roles.create("service")
for name, password in given["users"].items():
    user = keystone.users.create(name, domain, default_project=project, password=password)
    for role in (roles["admin"], service_role):
        keystone.roles.grant(role, user=user, project=project)
for region in sorted({region for _, _, _, region in given["services"]}):
    if region not in [known.id for known in keystone.regions.list()]:
        keystone.regions.create(region)
services = {}
for name, kind, url, region in given["services"]:
    if name not in services:
        services[name] = keystone.services.create(name, kind)
    for interface in ("public", "internal", "admin"):
        keystone.endpoints.create(services[name], url, interface, region)
"""


@dataclass
class Secrets:
    """The passwords of one controller, by kind and account."""

    sql: dict[str, str] = field(default_factory=dict)
    broker: dict[str, str] = field(default_factory=dict)
    keystone: dict[str, str] = field(default_factory=dict)

    @classmethod
    def make(cls) -> Secrets:
        """Make them up. Each holds characters that have a meaning in URLs, as an administrator's may."""
        novas = (ZED, OCATA, GAZPACHO)
        return cls(
            # Zed's Keystone cannot write a "%" of its URL into the ini file of its migrations.
            sql={account: _password("-._~" if account == "keystone" else _MEANINGFUL) for account in _ACCOUNTS},
            # oslo.messaging hands a "/" on unquoted, in every release tried.
            broker={nova.broker_user: _password(_MEANINGFUL.replace("/", "")) for nova in novas},
            keystone={name: _password() for name in ("admin", "glance", "nova", "placement", "admin-2026")},
        )

    def sql_url(self, schema: str) -> str:
        """Give the value of a `connection` option."""
        account = _SCHEMAS[schema]
        return f"mysql+pymysql://{account}:{quote(self.sql[account], safe='')}@127.0.0.1/{schema}?charset=utf8"

    def broker_url(self, nova: Nova) -> str:
        """Give the value of a `transport_url` option."""
        vhost = "" if nova.vhost == "/" else quote(nova.vhost, safe="")
        return f"rabbit://{nova.broker_user}:{quote(self.broker[nova.broker_user], safe='')}@127.0.0.1:5672/{vhost}"

    def login(self, user: str, url: str = KEYSTONE_URL) -> dict[str, object]:
        """Give the options of a `[keystone_authtoken]` or a like section."""
        return {
            "auth_type": "password", "auth_url": url, "username": user, "password": self.keystone[user],
            "project_name": "service", "user_domain_name": "Default", "project_domain_name": "Default",
        }  # fmt: skip


def _password(special: str = _MEANINGFUL) -> str:
    return f"{secrets.token_hex(6)}{special}{secrets.token_hex(4)}"


def controller(node: Node, with_ocata: bool, with_gazpacho: bool) -> None:
    """Make the booted node a controller, then stop its services in order."""
    accounts = Secrets.make()
    _write(node, SECRETS, json.dumps(accounts.__dict__, indent=1) + "\n", mode=0o600)
    with progress.step("MariaDB and RabbitMQ"):
        _infrastructure(node, accounts)
    with ThreadPoolExecutor() as pool:
        jobs = [pool.submit(_nova, node, accounts, ZED), pool.submit(_apis, node, accounts)]
        if with_ocata:
            jobs.append(pool.submit(_nova, node, accounts, OCATA))
        if with_gazpacho:
            jobs.append(pool.submit(_nova, node, accounts, GAZPACHO))
            jobs.append(pool.submit(_gazpacho_apis, node, accounts))
        for job in jobs:
            job.result()
    for unit in ("placement-api", "rabbitmq-server", "mariadb"):
        node.stop_unit(unit)


# -- database and broker ---------------------------------------------------------------------------


def _infrastructure(node: Node, accounts: Secrets) -> None:
    _write(node, "/etc/mysql/mariadb.conf.d/70-lab.cnf", _MARIADB)
    _write(node, "/etc/rabbitmq/rabbitmq.conf", _RABBITMQ)
    _write(node, "/etc/rabbitmq/rabbitmq-env.conf", _RABBITMQ_ENV)
    node.run(["systemctl", "enable", "mariadb", "rabbitmq-server"], check=True)
    with ThreadPoolExecutor() as pool:
        for job in [pool.submit(_database, node, accounts), pool.submit(_broker, node, accounts)]:
            job.result()


def _database(node: Node, accounts: Secrets) -> None:
    node.start_unit("mariadb")
    statements = []
    for account, password in accounts.sql.items():
        statements.append(f"CREATE USER '{account}'@'%' IDENTIFIED BY '{password}';")
    for schema, account in _SCHEMAS.items():
        statements.append(f"CREATE DATABASE {schema} CHARACTER SET utf8mb3;")
        statements.append(f"GRANT ALL ON {schema}.* TO '{account}'@'%';")
    node.run(["mariadb"], input="\n".join(statements), check=True)


def _broker(node: Node, accounts: Secrets) -> None:
    node.start_unit("rabbitmq-server", timeout=120)
    novas = (ZED, OCATA, GAZPACHO)
    definitions = {
        "users": [
            {"name": name, "password_hash": _rabbit_hash(password), "tags": [],
             "hashing_algorithm": "rabbit_password_hashing_sha256"}
            for name, password in accounts.broker.items()
        ],
        "vhosts": [{"name": nova.vhost} for nova in novas],
        "permissions": [
            {"user": nova.broker_user, "vhost": nova.vhost, "configure": ".*", "write": ".*", "read": ".*"}
            for nova in novas
        ],
    }  # fmt: skip
    # One call for all: each start of rabbitmqctl costs a second.
    node.run(["rabbitmqctl", "import_definitions"], input=json.dumps(definitions), check=True)


def _rabbit_hash(password: str) -> str:
    """Hash as RabbitMQ stores it: base64 of a salt of four bytes and SHA-256 of salt and password."""
    salt = os.urandom(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


# -- Keystone, Glance, Placement -------------------------------------------------------------------


def _apis(node: Node, accounts: Secrets) -> None:
    """Set up Debian's Keystone, Glance and Placement; Keystone serves meanwhile, for the catalogue."""
    _shrink_uwsgi(node.root / "etc/keystone/keystone-uwsgi.ini", processes=2)
    _shrink_uwsgi(node.root / "etc/placement/placement-api-uwsgi.ini", processes=1)
    # Debian's unit waits for the broker, which Placement does not use: together they are up in half the time.
    unit = (node.root / "lib/systemd/system/placement-api.service").read_text()
    _write(node, "/etc/systemd/system/placement-api.service", unit.replace("rabbitmq-server.service", ""))
    set_options(
        node.root / "etc/keystone/keystone.conf",
        {"database": {"connection": accounts.sql_url("keystone")}, "token": {"provider": "fernet"}},
    )
    _glance_options(
        node, "/etc/glance/glance-api.conf", accounts, "glance", "/var/log/glance", "/var/lib/glance/images"
    )
    set_options(
        node.root / "etc/placement/placement.conf",
        {
            "placement_database": {"connection": accounts.sql_url("placement")},
            "keystone_authtoken": accounts.login("placement"),
            "api": {"auth_strategy": "keystone"},
        },
    )
    with progress.step("Keystone of Zed"):
        _keystone(node, ["keystone-manage"], accounts.keystone["admin"], KEYSTONE_URL, REGION)
        argv = [
            "uwsgi_python3",
            "--ini",
            "/etc/keystone/keystone-uwsgi.ini",
            "--http-socket",
            "127.0.0.1:5000",
        ]
        with _serving(node, argv, KEYSTONE_URL):
            _catalogue(node, accounts)
    openrc = {
        "OS_AUTH_URL": KEYSTONE_URL, "OS_USERNAME": "admin", "OS_PASSWORD": accounts.keystone["admin"],
        "OS_PROJECT_NAME": "admin", "OS_USER_DOMAIN_NAME": "Default", "OS_PROJECT_DOMAIN_NAME": "Default",
        "OS_REGION_NAME": REGION, "OS_IDENTITY_API_VERSION": "3",
    }  # fmt: skip
    _write(node, OPENRC, "".join(f"export {k}={shlex.quote(v)}\n" for k, v in openrc.items()), mode=0o600)
    with progress.step("Glance and Placement of Zed"):
        node.run(["glance-manage", "db_sync"], user="glance", timeout=180, check=True)
        node.run(["placement-manage", "db", "sync"], user="placement", timeout=120, check=True)
        node.run(["systemctl", "enable", "--now", "placement-api"], check=True)


def _keystone(node: Node, manage: Sequence[str], password: str, url: str, region: str) -> None:
    """Fill Keystone's database and key folders."""

    def run(*arguments: str, **env: str) -> None:
        node.run([*manage, *arguments], user="keystone", env=env, timeout=180, check=True)

    run("db_sync")
    for keys in ("fernet_setup", "credential_setup"):
        run(keys, "--keystone-user", "keystone", "--keystone-group", "keystone")
    urls = [item for name in ("public", "internal", "admin") for item in (f"--bootstrap-{name}-url", url)]
    run("bootstrap", *urls, "--bootstrap-region-id", region, OS_BOOTSTRAP_PASSWORD=password)


def _catalogue(node: Node, accounts: Secrets) -> None:
    ports = GAZPACHO_PORTS
    services = [
        ("glance", "image", "http://127.0.0.1:9292", REGION),
        ("placement", "placement", PLACEMENT_URL, REGION),
        ("nova", "compute", "http://127.0.0.1:8774/v2.1", REGION),
        ("glance", "image", f"http://127.0.0.1:{ports['glance']}", GAZPACHO.region),
        ("placement", "placement", PLACEMENT_URL, GAZPACHO.region),
        ("nova", "compute", f"http://127.0.0.1:{ports['nova']}/v2.1", GAZPACHO.region),
    ]
    users = {name: accounts.keystone[name] for name in ("glance", "nova", "placement")}
    given = {"url": KEYSTONE_URL, "admin": accounts.keystone["admin"], "users": users, "services": services}
    node.run(["/usr/bin/python3", "-c", _CATALOGUE], input=json.dumps(given), timeout=120, check=True)


def _glance_options(node: Node, config: str, accounts: Secrets, schema: str, logs: str, images: str) -> None:
    set_options(
        node.root / config.lstrip("/"),
        {
            "DEFAULT": {"log_dir": logs, "workers": 2},
            "database": {"connection": accounts.sql_url(schema)},
            "keystone_authtoken": accounts.login("glance"),
            "paste_deploy": {"flavor": "keystone"},
            "glance_store": {
                "stores": "file,http",
                "default_store": "file",
                "filesystem_store_datadir": images,
            },
        },
    )


def _shrink_uwsgi(ini: Path, processes: int) -> None:
    """Keep the distribution's file but for what only a whole machine has: 8 workers with 32 threads, AppArmor."""
    changed = {"processes": f"processes = {processes}", "threads": "threads = 4", "plugins": "plugins = python3"}
    lines = []
    for line in ini.read_text().splitlines():
        name = line.partition("=")[0].strip()
        if name != "apparmor-profile":
            lines.append(changed.get(name, line))
    ini.write_text("\n".join(lines) + "\n")


class _serving:  # noqa: N801 (a context manager)
    """While this lasts, a WSGI server runs in the node and answers at that URL."""

    def __init__(self, node: Node, argv: Sequence[str], url: str) -> None:
        self.node, self.argv, self.url = node, argv, url

    def __enter__(self) -> None:
        with open(self.node.folder / "wsgi.log", "ab") as log:
            self.process = self.node.popen(self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.node.wait_until(["curl", "--silent", "--fail", "--output", "/dev/null", self.url], timeout=60)

    def __exit__(self, *_: object) -> None:
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(30)


# -- Nova ------------------------------------------------------------------------------------------


def _nova(node: Node, accounts: Secrets, nova: Nova) -> None:
    """Set up the API's and the cell's databases of one release of Nova, and its configuration file."""
    if nova is not ZED:
        prefix = eras.OCATA if nova is OCATA else eras.GAZPACHO
        _copy_folder(node, f"{prefix}/etc/nova", nova.folder)
    if nova is OCATA:
        # Empty: the defaults are in the code. Without a file of its own Ocata would read Zed's.
        _write(node, f"{nova.folder}/policy.json", "{}\n")
        _rootwrap(node, nova)
    _service_folder(node, nova.logs, "nova")
    config = node.root / nova.config.lstrip("/")
    set_options(config, _nova_options(accounts, nova))
    _own(node, nova.config, "root", "nova", 0o640)
    cell0 = accounts.sql_url(f"{nova.schema}_cell0")

    def manage(*arguments: str) -> None:
        node.run([*nova.manage, "--config-file", nova.config, *arguments], user="nova", timeout=300, check=True)

    with progress.step(f"Nova of {nova.release}"):
        manage("api_db", "sync")
        # Nova makes up cell0's URL, not from the right one in every release. It is corrected here: given to the
        # command, the password would stand in its arguments.
        manage("cell_v2", "map_cell0")
        statement = (
            f"UPDATE {nova.schema}_api.cell_mappings SET database_connection = '{cell0}' "
            "WHERE uuid = '00000000-0000-0000-0000-000000000000';"
        )
        node.run(["mariadb"], input=statement, check=True)
        if nova is OCATA:
            # Later releases sync cell0 by themselves; Ocata does it as well, but only once cell0 is mapped.
            manage("db", "sync")
        manage("cell_v2", "create_cell", "--name", "cell1")
        if nova is not OCATA:
            manage("db", "sync")


def _rootwrap(node: Node, nova: Nova) -> None:
    """Let this release's nova-network do as root what its own filters allow, by the program of Debian's Nova."""
    config = f"{nova.folder}/rootwrap.conf"
    set_options(node.root / config.lstrip("/"), {"DEFAULT": {"filters_path": f"{nova.folder}/rootwrap.d"}})
    rule = f"nova ALL = (root) NOPASSWD: /usr/bin/nova-rootwrap {config} *\n"
    _write(node, "/etc/sudoers.d/nova-ocata", rule, mode=0o440)


def _nova_options(accounts: Secrets, nova: Nova) -> Options:
    login = accounts.login("nova")
    region = "os_region_name" if nova is OCATA else "region_name"
    default: dict[str, object] = {
        "my_ip": "127.0.0.1",
        "transport_url": accounts.broker_url(nova),
        "log_dir": nova.logs,
        "state_path": "/var/lib/nova",
        "enabled_apis": "osapi_compute",
        "osapi_compute_workers": 2,
    }
    if nova.host:
        default["host"] = nova.host
    options: dict[str, dict[str, object]] = {
        "DEFAULT": default,
        "api_database": {"connection": accounts.sql_url(f"{nova.schema}_api")},
        "database": {"connection": accounts.sql_url(nova.schema)},
        "keystone_authtoken": {**login, "www_authenticate_uri": KEYSTONE_URL},
        "placement": {**login, region: nova.region},
        "scheduler": {"workers": 2},
        "conductor": {"workers": 2},
        "oslo_concurrency": {"lock_path": "/var/lib/nova/tmp"},
    }
    if nova is not ZED:
        options["wsgi" if nova is OCATA else "api"] = {"api_paste_config": f"{nova.folder}/api-paste.ini"}
        # Else these read Zed's /etc/nova/policy.d; Ocata dies of it.
        options["oslo_policy"] = {
            "policy_file": f"{nova.folder}/policy.json" if nova is OCATA else f"{nova.folder}/policy.yaml",
            "policy_dirs": f"{nova.folder}/policy.d",
        }
    if nova is OCATA:
        default["osapi_compute_listen_port"] = 8794
        default["rootwrap_config"] = f"{nova.folder}/rootwrap.conf"
        del options["scheduler"]
        options["cells"] = {"enable": "true"}  # nova-network refuses to run without
        options["keystone_authtoken"]["auth_uri"] = KEYSTONE_URL
    return options


# -- 2026.1 ----------------------------------------------------------------------------------------


def _gazpacho_apis(node: Node, accounts: Secrets) -> None:
    """Set up Keystone and Glance of 2026.1: a Keystone of its own, a Glance that trusts Debian's Keystone."""
    etc = eras.GAZPACHO + "/etc"
    url = f"http://127.0.0.1:{GAZPACHO_PORTS['keystone']}/v3"
    _service_folder(node, "/var/log/keystone-2026", "keystone")
    _service_folder(node, "/var/lib/keystone-2026", "keystone")
    _copy_folder(node, etc + "/keystone", "/etc/keystone-2026")
    keys = {"key_repository": "/var/lib/keystone-2026/fernet-keys"}
    set_options(
        node.root / "etc/keystone-2026/keystone.conf",
        {
            "DEFAULT": {"log_dir": "/var/log/keystone-2026"},
            "database": {"connection": accounts.sql_url("keystone_2026")},
            "token": {"provider": "fernet"},
            "fernet_tokens": keys,
            "fernet_receipts": keys,
            "credential": {"key_repository": "/var/lib/keystone-2026/credential-keys"},
            "oslo_policy": {"policy_dirs": "/etc/keystone-2026/policy.d"},
        },
    )
    _own(node, "/etc/keystone-2026/keystone.conf", "root", "keystone", 0o640)
    with progress.step("Keystone of 2026.1"):
        manage = [
            f"/{eras.GAZPACHO}/bin/keystone-manage",
            "--config-file",
            "/etc/keystone-2026/keystone.conf",
        ]
        _keystone(node, manage, accounts.keystone["admin-2026"], url, REGION)
    _service_folder(node, "/var/log/glance-2026", "glance")
    _service_folder(node, "/var/lib/glance-2026/images", "glance")
    _copy_folder(node, etc + "/glance", "/etc/glance-2026")
    config = "/etc/glance-2026/glance-api.conf"
    _glance_options(node, config, accounts, "glance_2026", "/var/log/glance-2026", "/var/lib/glance-2026/images")
    set_options(
        node.root / config.lstrip("/"),
        {
            "DEFAULT": {"bind_port": GAZPACHO_PORTS["glance"]},
            "oslo_policy": {"policy_dirs": "/etc/glance-2026/policy.d"},
        },
    )
    _own(node, config, "root", "glance", 0o640)
    with progress.step("Glance of 2026.1"):
        manage = [f"/{eras.GAZPACHO}/bin/glance-manage", "--config-file", config, "db_sync"]
        node.run(manage, user="glance", timeout=180, check=True)


# -- files -----------------------------------------------------------------------------------------


def _write(node: Node, name: str, text: str, mode: int = 0o644) -> None:
    path = node.root / name.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=mode)
    path.write_text(text)


def _copy_folder(node: Node, source: str, target: str) -> None:
    """Copy a release's own configuration folder out of its layer."""
    shutil.copytree(node.root / source, node.root / target.lstrip("/"), dirs_exist_ok=True)


def _service_folder(node: Node, name: str, user: str) -> None:
    (node.root / name.lstrip("/")).mkdir(parents=True, exist_ok=True)
    _own(node, name, user, user, 0o750)


def _own(node: Node, name: str, user: str, group: str, mode: int) -> None:
    """Set owner and mode with the node's own account names."""
    node.run(["chown", f"{user}:{group}", name], check=True)
    node.run(["chmod", f"{mode:o}", name], check=True)
