"""What every agent must say about itself, and how it takes a call: each file in agents/ against the standard.

The golden files in tests/golden/ are compared byte by byte. After a wanted change renew them all with::

    for agent in agents/*; do "$agent" meta-data > "tests/golden/${agent##*/}.xml"; done
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Union

import pytest

PROJECT = Path(__file__).resolve().parent.parent
AGENTS = sorted((PROJECT / "agents").iterdir())
GOLDEN = Path(__file__).resolve().parent / "golden"
PREFIX = "ocf-exit-reason:"
NOBODY = 65534
Text = Union[str, bytes]

COMMON = ("binary", "config", "user", "pid", "additional_parameters")
LOGIN = ("os_username", "os_password", "os_tenant_name")
API = (*COMMON, "url", "keystone_get_token_url", *LOGIN)
CLIENT = (*COMMON, *LOGIN, "os_auth_url", "client_binary")
RPC = (*COMMON, "database_server_port", "amqp_server_port", "zeromq")
#: what configurations of the old shell agents may set
DROP_IN = {
    "nova-api": API,
    "cinder-api": API,
    "manila-api": API,
    "glance-registry": API,
    "glance-api": CLIENT,
    "keystone": CLIENT,
    "nova-scheduler": RPC,
    "nova-network": RPC,
    "nova-cert": RPC,
    "nova-consoleauth": RPC,
    "nova-volume": RPC,
    "cinder-volume": (*COMMON, "amqp_server_port", "multibackend"),
    "cinder-schedule": (*COMMON, "amqp_server_port"),
    "heat-engine": (*COMMON, "amqp_server_port", "zeromq"),
    "ceilometer-agent-central": (*COMMON, "amqp_server_port"),
    "neutron-server": (*API, "plugin_config"),
    "neutron-agent-dhcp": (*COMMON, "plugin_config", "amqp_server_port", "neutron_server_port"),
    "neutron-agent-l3": (*COMMON, "plugin_config", "amqp_server_port", "neutron_server_port"),
    "neutron-metadata-agent": (*COMMON, "agent_config"),
    "nova-novnc": (*COMMON, "console_port", "web"),
}
ACTIONS = ("start", "stop", "status", "monitor", "reload-agent", "validate-all", "meta-data")

DIRTY = ("a\nb", "/a\x01b", b"/\xff\xfe", "\x7f/")  # control characters, and bytes that are not UTF-8
PORTS = ("0", "65536", "70000", "abc", "-1", "5672 ", "5672.0", "1e3", "0x1", "٥٦٧٢", "9" * 5000)
URLS = (
    "ftp://127.0.0.1/",
    "127.0.0.1:8774",
    "http://",
    "http:///v2",
    "http://:8774/",
    "http://127.0.0.1:0/",
    "http://127.0.0.1:70000/",
    "http://127.0.0.1:abc/",
    "http://exa mple/",
    "http://[::1/",
    "http://a\tb/",
    "http://a/\x00"[:-1] + "\x1b",
)
#: what no host can make right, by parameter
WRONG: dict[str, Sequence[Text]] = {
    "binary": DIRTY,
    "user": DIRTY,
    "additional_parameters": DIRTY,
    "config": (*DIRTY, "nova.conf", "~/nova.conf"),
    "pid": (*DIRTY, "nova.pid"),
    "output_file": (*DIRTY, "x.log"),
    "open_files": (*DIRTY, "many", "-1", "1.5", "9" * 5000),
    "shutdown_grace": (*DIRTY, "soon", "-1", "nan", "inf", "86401", "1e3", "9" * 5000),
    "request_timeout": ("soon", "-0", "²"),
    "recovery_grace": ("3m",),
    "silent_checks": ("two", "1.0", "٢"),
    "on_dependency_failure": (*DIRTY, "maybe", "FAIL"),
    "url": (*DIRTY, *URLS),
    "keystone_get_token_url": (*DIRTY, *URLS),
    "os_auth_url": (*DIRTY, *URLS),
    "listen": (*DIRTY, "8774", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:70000", "127.0.0.1:x", "::1:8774", "a b:80"),
    "insecure": (*DIRTY, "maybe", "2"),
    "os_cacert": ("ca.pem",),
    "openrc": ("openrc",),
    "clouds_yaml": ("clouds.yaml",),
    "os_username": DIRTY,
    "os_password": DIRTY,
    "os_tenant_name": DIRTY,
    "client_binary": DIRTY,
    "amqp_server_port": (*DIRTY, *PORTS),
    "database_server_port": (*DIRTY, *PORTS),
    "zeromq": (*DIRTY, "maybe"),
    "rpc_host": DIRTY,
}


def call(
    agent: Path,
    action: str,
    given: Mapping[str, Text] | None = None,
    user: int | None = None,
    interpreter: Sequence[str] = (),
    **variables: Text,
) -> subprocess.CompletedProcess[str]:
    """Run one action the way a cluster manager does; ``given`` are parameters, ``user`` another user's number."""
    environment: dict[str, Text] = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **variables}
    environment.update({f"OCF_RESKEY_{name}": value for name, value in (given or {}).items()})
    return subprocess.run(
        [*interpreter, str(agent), *([action] if action else [])],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        cwd="/",
        user=user,
        stdin=subprocess.DEVNULL,
    )


def meta_data(agent: Path) -> ElementTree.Element:
    return ElementTree.fromstring(call(agent, "meta-data").stdout)  # noqa: S314 - it is our own


def names(agent: Path) -> list[str]:
    return [parameter.get("name", "") for parameter in meta_data(agent).iter("parameter")]


def one_reason(done: subprocess.CompletedProcess[str]) -> str:
    """Give the exit reason, having made sure that there is just one line."""
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith(PREFIX)
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith("\n")
    return done.stderr[len(PREFIX) : -1]


@pytest.fixture(params=AGENTS, ids=lambda path: path.name)
def agent(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


@pytest.fixture(scope="session")
def installed() -> Iterator[Path]:
    """The agents as ``make install`` puts them, readable for everybody: resource.d/openstack and lib/openstack."""
    with tempfile.TemporaryDirectory() as folder:
        agents = Path(folder) / "resource.d" / "openstack"
        shutil.copytree(PROJECT / "agents", agents)
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROJECT / "ocf_common", Path(folder) / "lib" / "openstack" / "ocf_common", ignore=ignore)
        for place in (Path(folder), *Path(folder).rglob("*")):
            place.chmod(place.stat().st_mode | (0o555 if place.is_dir() else 0o444))
        yield agents


@pytest.fixture
def ordinary() -> int | None:
    """The number of a user without rights, to be changed to where the tests run as root."""
    return NOBODY if os.geteuid() == 0 else None


# The file


def test_first_line_is_what_every_call_pays_for(agent: Path) -> None:
    assert agent.read_text().splitlines()[0] == "#!/usr/bin/python3 -IS"


def test_agent_is_executable_for_all(agent: Path) -> None:
    assert stat.S_IMODE(agent.stat().st_mode) & 0o555 == 0o555


def test_found_through_a_symbolic_link(agent: Path, tmp_path: Path) -> None:
    link = tmp_path / agent.name
    link.symlink_to(agent)
    assert call(link, "meta-data").stdout == call(agent, "meta-data").stdout


def test_found_where_it_is_installed(agent: Path, installed: Path) -> None:
    assert call(installed / agent.name, "meta-data").stdout == call(agent, "meta-data").stdout


# Meta-data


def test_meta_data_is_the_golden_file(agent: Path) -> None:
    golden = GOLDEN / f"{agent.name}.xml"
    assert golden.exists(), "renew the golden files, see the head of this module"
    assert call(agent, "meta-data").stdout.encode() == golden.read_bytes(), "renew the golden files if this is wanted"


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.xml")} == {path.name for path in AGENTS}


def test_meta_data_needs_no_rights_no_environment_no_daemon(agent: Path, installed: Path, ordinary: int | None) -> None:
    done = subprocess.run(
        [str(installed / agent.name), "meta-data"], env={}, capture_output=True, text=True, cwd="/", user=ordinary
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == call(agent, "meta-data").stdout
    assert done.stdout.isascii(), "an operator's locale may know no other characters"
    assert done.stdout.startswith('<?xml version="1.0"?>\n<!DOCTYPE resource-agent')


@pytest.mark.parametrize("given", [{"url": b"\xff"}, {"amqp_server_port": "x"}, {"config": "/dev/null/x"}])
def test_meta_data_whatever_the_parameters_are(agent: Path, given: dict[str, Text]) -> None:
    done = call(agent, "meta-data", given, OCF_TESTER_FAIL_HAVE_BINARY="1")
    assert (done.returncode, done.stderr) == (0, "")


def test_name_is_the_files_name(agent: Path) -> None:
    assert meta_data(agent).get("name") == agent.name
    assert [child.tag for child in meta_data(agent)] == ["version", "longdesc", "shortdesc", "parameters", "actions"]


def test_every_parameter_of_the_old_agent_is_there(agent: Path) -> None:
    assert set(DROP_IN.get(agent.name, COMMON)) <= set(names(agent))


def test_parameters_are_described_and_typed(agent: Path) -> None:
    assert len(set(names(agent))) == len(names(agent))
    for parameter in meta_data(agent).iter("parameter"):
        assert [child.tag for child in parameter] == ["longdesc", "shortdesc", "content"]
        assert all((parameter.findtext(tag) or "").strip() for tag in ("longdesc", "shortdesc"))
        content = parameter.find("content")
        assert content is not None
        assert content.get("type") in ("string", "integer", "boolean")


def test_actions_and_their_timeouts(agent: Path) -> None:
    actions = list(meta_data(agent).iter("action"))
    assert {action.get("name") for action in actions} == set(ACTIONS)
    assert all((action.get("timeout") or "").endswith("s") for action in actions)


def test_each_check_level_is_a_monitor_with_an_interval_of_its_own(agent: Path) -> None:
    monitors = [action for action in meta_data(agent).iter("action") if action.get("name") == "monitor"]
    assert sorted(monitor.get("depth") or "" for monitor in monitors) == ["0", "10", "20"]
    assert len({monitor.get("interval") for monitor in monitors}) == 3


def schema_tool(path: str) -> list[str]:
    """Give the beginning of a command that has xmllint and the file ``path``: this host's, else the lab image's."""
    if shutil.which("xmllint") and Path(path).exists():
        return []
    if os.geteuid() == 0:
        from lab import settings

        for root in settings.LAYERS.glob("image-*"):
            if (root / path.lstrip("/")).exists():
                return ["chroot", str(root)]
    pytest.skip(f"xmllint or {path} is missing; run: apt-get install libxml2-utils resource-agents pcs")


@pytest.mark.parametrize(
    ("path", "options"),
    [
        # ocf-tester's own call, which finds the DTD by the name in the document.
        ("/usr/share/resource-agents/ra-api-1.dtd", ["--valid", "--path", "/usr/share/resource-agents"]),
        ("/usr/share/pcs/data/ocf-1.1.rng", ["--relaxng", "/usr/share/pcs/data/ocf-1.1.rng"]),
    ],
)
def test_meta_data_is_valid(agent: Path, path: str, options: list[str]) -> None:
    command = [*schema_tool(path), "xmllint", "--noout", "--nonet", *options, "-"]
    done = subprocess.run(command, input=call(agent, "meta-data").stdout, capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr


# Calls


def test_usage_names_the_actions(agent: Path) -> None:
    done = call(agent, "usage")
    assert (done.returncode, done.stderr) == (0, "")
    assert all(action in done.stdout for action in ACTIONS)


def test_no_action_is_not_implemented_and_shows_the_usage(agent: Path) -> None:
    done = call(agent, "")
    assert (done.returncode, done.stdout) == (3, "")
    assert "usage" in done.stderr


@pytest.mark.parametrize(
    "action", ["promote", "demote", "notify", "migrate_to", "Start", "\x1b[31m", "reload", "--help"]
)
def test_unknown_action_is_not_implemented(agent: Path, action: str, tmp_path: Path) -> None:
    done = call(agent, action, HA_RSCTMP=str(tmp_path))
    assert (done.returncode, done.stdout) == (3, "")
    assert "\x1b" not in one_reason(done)


@pytest.mark.parametrize("action", ["start", "stop", "reload-agent"])
def test_ordinary_user_has_no_permission(agent: Path, action: str, installed: Path, ordinary: int | None) -> None:
    done = call(installed / agent.name, action, user=ordinary)
    assert done.returncode == 4
    assert "needs root" in one_reason(done)


@pytest.mark.parametrize("action", ["monitor", "status"])
def test_ordinary_user_cannot_tell_what_runs(agent: Path, action: str, installed: Path, ordinary: int | None) -> None:
    done = call(installed / agent.name, action, user=ordinary)
    assert done.returncode == 1
    assert "root" in one_reason(done)


@pytest.mark.parametrize("action", ["start", "stop", "monitor", "validate-all"])
def test_other_prefix_of_the_exit_reason(agent: Path, action: str, installed: Path, ordinary: int | None) -> None:
    given = {"config": "no path"}
    done = call(installed / agent.name, action, given, user=ordinary, OCF_EXIT_REASON_PREFIX="why: ")
    assert done.returncode in (1, 4, 6)
    assert done.stderr.startswith("why: ")


@pytest.mark.parametrize("streams", [">&-", "2>&-", ">/dev/full", "2>/dev/full", "<&- >&- 2>&-"])
@pytest.mark.parametrize(("config", "code"), [("/x", 0), ("no path", 6)])
def test_no_stream_changes_the_exit_code(config: str, code: int, streams: str) -> None:
    done = call(AGENTS[0], "validate-all", {"config": config}, None, ["/bin/sh", "-c", f'exec "$0" "$@" {streams}'])
    assert done.returncode == code
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("action", "stream", "code"),
    [("validate-all", "stderr", 6), ("meta-data", "stderr", 0), ("meta-data", "stdout", 1), ("usage", "stdout", 0)],
)
def test_a_pipe_that_nobody_reads_ends_no_agent(action: str, stream: str, code: int) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: writer}
    try:
        done = subprocess.run([str(AGENTS[0]), action], env={"OCF_RESKEY_config": "no path"}, timeout=30, **streams)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr or b"") == (code, b"")


@pytest.mark.parametrize("streams", [">&-", ">/dev/full"])
def test_meta_data_that_cannot_be_written_is_an_error_without_a_traceback(streams: str) -> None:
    done = call(AGENTS[0], "meta-data", {}, None, ["/bin/sh", "-c", f'exec "$0" "$@" {streams}'])
    assert (done.returncode, done.stderr) == (1, "")


# validate-all at level 0 looks at the parameters alone


def test_no_parameter_at_all_is_a_valid_configuration(agent: Path, installed: Path, ordinary: int | None) -> None:
    done = call(installed / agent.name, "validate-all", user=ordinary)
    assert (done.returncode, done.stderr) == (0, "")


def test_defaults_and_empty_strings_are_valid(agent: Path) -> None:
    parameters = list(meta_data(agent).iter("parameter"))
    contents = [(parameter.get("name") or "", parameter.find("content")) for parameter in parameters]
    defaults = {name: content.get("default") or "" for name, content in contents if content is not None}
    for given in (defaults, dict.fromkeys(defaults, "")):
        done = call(agent, "validate-all", given, OCF_CHECK_LEVEL="0")
        assert (done.returncode, done.stderr) == (0, "")


def test_lines_of_the_high_availability_guide_are_valid(agent: Path) -> None:
    guide = {
        "binary": "keystone-all" if agent.name == "keystone" else agent.name,
        "config": f"/etc/x/{agent.name}.conf",
        "user": "nova",
        "pid": "/var/run/x.pid",
        "additional_parameters": '--verbose --log-file="/var/log/x y.log"',
        "url": "http://192.168.42.103:8774/v2/",
        "keystone_get_token_url": "http://192.168.42.103:5000/v2.0/tokens",
        "os_auth_url": "http://192.168.42.103:5000/v2.0/",
        "os_username": "admin",
        "os_password": "secretsecret",
        "os_tenant_name": "admin",
        "client_binary": agent.name,
        "database_server_port": "3306",
        "amqp_server_port": "5672",
        "zeromq": "false",
    }
    known = names(agent)
    done = call(agent, "validate-all", {name: value for name, value in guide.items() if name in known})
    assert (done.returncode, done.stderr) == (0, "")


def wrong_cases() -> Iterator[object]:
    """Every wrong value of every parameter once, and one of each parameter for each agent."""
    seen: set[str] = set()
    for path in AGENTS:
        for name in names(path):
            values = WRONG.get(name, ())
            for number, value in enumerate(values[-1:] if name in seen else values):
                yield pytest.param(path, name, value, id=f"{path.name}-{name}-{number}")
            seen.add(name)


@pytest.mark.parametrize(("path", "name", "value"), list(wrong_cases()))
def test_a_wrong_value_is_not_configured_with_one_reason(path: Path, name: str, value: Text) -> None:
    done = call(path, "validate-all", {name: value})
    assert done.returncode == 6, done.stderr
    reason = one_reason(done)
    assert name in reason
    assert len(reason) < 500
    assert reason.isprintable()


def test_every_kind_of_parameter_has_wrong_values(agent: Path) -> None:
    plain = {"os_project_name", "os_user_domain_name", "os_project_domain_name", "os_region_name", "tls_name", "cloud"}
    assert set(names(agent)) - set(WRONG) <= plain


def test_a_wrong_secret_is_not_shown(agent: Path) -> None:
    if "os_password" not in names(agent):
        return
    done = call(agent, "validate-all", {"os_password": "hush-hush\nhush-hush"})
    assert done.returncode == 6
    assert "hush" not in done.stderr


# A level-0 monitor and its cost

#: what costs more than the whole level-0 check
HEAVY_NAMES = (
    "argparse ast asyncio collections concurrent configparser contextlib ctypes dataclasses email enum functools "
    "http importlib.metadata inspect json logging pathlib pika pymysql random re requests selectors shlex shutil "
    "site socket ssl string subprocess tempfile threading traceback typing urllib uuid xml yaml"
)
HEAVY = frozenset(HEAVY_NAMES.split())
#: runs an agent in this very process and tells at its end which modules it has imported and what it has started
WATCH = """
import os, sys
started = []
def hook(event, arguments):
    if event in ("os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system", "subprocess.Popen"):
        started.append(event)
sys.addaudithook(hook)
leave = os._exit
def tell(code):
    sys.stdout.write(f"{code} {','.join(sorted(sys.modules))} {','.join(started)}\\n")
    sys.stdout.flush()
    leave(code)
os._exit = tell
path = sys.argv[1]
sys.argv[:] = sys.argv[1:]
with open(path) as file:
    code = compile(file.read(), path, "exec")
exec(code, {"__name__": "__main__", "__file__": path})
"""


def watched(agent: Path, action: str, given: Mapping[str, Text], **variables: Text) -> tuple[int, set[str], str]:
    """Give exit code, modules and children of one call."""
    done = call(agent, action, given, None, ["/usr/bin/python3", "-IS", "-c", WATCH], **variables)
    code, modules, children = done.stdout.rstrip("\n").rsplit("\n", 1)[-1].split(" ")
    return int(code), set(modules.split(",")), children


def test_meta_data_imports_nothing_heavy_and_starts_nothing(agent: Path) -> None:
    code, modules, children = watched(agent, "meta-data", {})
    assert (code, modules & HEAVY, children) == (0, set(), "")


@pytest.mark.parametrize("interval", ["0", "20000"])
def test_healthy_level_0_imports_nothing_heavy_and_starts_nothing(
    agent: Path, interval: str, tmp_path: Path, root: None
) -> None:
    """A process that looks like the daemon is enough for level 0."""
    config = tmp_path / "x.conf"
    script = tmp_path / "bin" / "lookalike"
    script.parent.mkdir()
    script.write_text("import sys\nprint('up', flush=True)\nsys.stdin.read()\n")
    given = {"binary": str(script), "config": str(config), "user": "root"}
    with subprocess.Popen(
        [sys.executable, str(script), "--config-file", str(config)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as daemon:
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == b"up\n"
        # The first call finds the daemon and writes the pid file, as after a lost one; the second is the usual case.
        for _ in range(2):
            code, modules, children = watched(
                agent,
                "monitor",
                given,
                OCF_CHECK_LEVEL="0",
                OCF_RESKEY_CRM_meta_interval=interval,
                HA_RSCTMP=str(tmp_path),
            )
            assert (code, modules & HEAVY, children) == (0, set(), "")
        pid_file = tmp_path / "default.pid"
        assert pid_file.read_text().splitlines()[0] == str(daemon.pid)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "default.pid"]
