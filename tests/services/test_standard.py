"""The standard, on a real host: what Pacemaker, its shells and ocf-tester want of every agent."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from lab import eras
from lab.driver import AGENTS, Agent
from lab.node import Node
from services.conftest import GLANCE, NOVA, PREFIX, copied, until
from services.processes import Processes

APIS = ("keystone", "glance-api", "placement-api", "nova-api")
RPC = ("nova-scheduler", "nova-conductor", "nova-cert", "nova-consoleauth")
ALL = (*APIS, *RPC)
OCATA = ("nova-cert", "nova-consoleauth")
# No daemon of another test runs with it.
ELSEWHERE = "/etc/hostname"
PASTE = "/etc/glance/glance-api-paste.ini"


@pytest.fixture(params=ALL)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def metadata(node: Node) -> dict[str, str]:
    """Give every agent's meta-data, as an ordinary user gets it, with nothing in the environment."""
    found = {}
    for name in ALL:
        done = node.run([f"{AGENTS}/{name}", "meta-data"], user="games")
        assert (done.returncode, done.stderr) == (0, "")
        found[name] = done.stdout
    return found


# -- what the tools say ----------------------------------------------------------------------------


def test_metadata_is_valid_by_both_schemas(name: str, metadata: dict[str, str], node: Node) -> None:
    # The first as ocf-tester calls it, in the DTD's folder.
    for lint in ("xmllint --noout --valid -", "xmllint --noout --relaxng /usr/share/pcs/data/ocf-1.1.rng -"):
        command = ["env", "--chdir=/usr/share/resource-agents", *lint.split()]
        done = node.run(command, input=metadata[name])
        assert done.returncode == 0, done.stderr


def test_the_shells_of_pacemaker_know_every_parameter(name: str, metadata: dict[str, str], node: Node) -> None:
    declared = re.findall(r'<parameter name="([^"]+)"', metadata[name])
    for command in (
        ["crm", "ra", "info", f"ocf:openstack:{name}"],
        ["pcs", "resource", "describe", f"ocf:openstack:{name}", "--full"],
    ):
        done = node.run(command)
        assert (done.returncode, done.stderr) == (0, ""), command
        for parameter in declared:
            assert any(line.lstrip().startswith(parameter) for line in done.stdout.splitlines()), parameter


def test_pacemaker_validates_it(name: str, node: Node) -> None:
    common = ["crm_resource", "--validate", "--class", "ocf", "--provider", "openstack", "--agent", name]
    done = node.run([*common, "--option", "user=nova"])
    assert done.returncode == 0, done.stderr
    done = node.run([*common, "--option", "open_files=many"])
    assert done.returncode == 6
    assert "open_files" in done.stdout + done.stderr


@pytest.fixture(scope="session")
def tested(node: Node, serving: Callable[[str], Agent]) -> Callable[[str], Future[str]]:
    """Run ocf-tester for all agents, some at the same time; give what it says about each."""
    serving("keystone")
    host = {"DEFAULT": {"host": "tested"}}
    resources = {
        "keystone": ("/etc/keystone/keystone.conf", {}, {"listen": "127.0.0.1:5991"}),
        "glance-api": (GLANCE, {"DEFAULT": {"bind_port": 9391}, "paste_deploy": {"config_file": PASTE}}, {}),
        "placement-api": ("/etc/placement/placement.conf", {}, {"listen": "127.0.0.1:8795"}),
        "nova-api": (NOVA, {"DEFAULT": {"host": "tested", "osapi_compute_listen_port": 8791}}, {}),
        "nova-scheduler": (NOVA, host, {}),
        "nova-conductor": (NOVA, host, {}),
        **{old: ("/etc/nova-ocata/nova.conf", host, {"binary": f"/opt/ocata/bin/{old}"}) for old in OCATA},
    }
    pool = ThreadPoolExecutor(3)

    def run(name: str) -> str:
        original, options, parameters = resources[name]
        with copied(node, original, f"tested-{name}", options) as config:
            given = {"config": config, "CRM_meta_timeout": "60000", **parameters}
            arguments = [part for key, value in given.items() for part in ("-o", f"{key}={value}")]
            done = node.run(["ocf-tester", "-n", f"tested-{name}", *arguments, f"{AGENTS}/{name}"], timeout=300)
            return done.stdout + done.stderr

    wanted = [name for name in resources if name not in OCATA or not eras.ocata_missing()]
    jobs = {name: pool.submit(run, name) for name in sorted(wanted, key=lambda name: name not in OCATA)}
    return lambda name: jobs[name]


def test_ocf_tester_passes(name: str, tested: Callable[[str], Future[str]], request: pytest.FixtureRequest) -> None:
    if name in OCATA:
        request.getfixturevalue("ocata")
    said = tested(name).result(300)
    assert f"{AGENTS}/{name} passed all tests" in said, said
    assert "* rc" not in said, said


# -- actions ---------------------------------------------------------------------------------------


def test_actions_that_need_no_daemon(name: str, agent: Callable[..., Agent]) -> None:
    one = agent(name, "idle", binary="/bin/true", config=ELSEWHERE)
    for action in ("usage", "help"):
        answer = one.call(action)
        assert (answer.code, answer.err) == (0, "")
        assert "reload-agent" in answer.out
    for action in ("promote", "demote", "migrate_to", "notify", "reload", "nonsense"):
        answer = one.call(action)
        assert (answer.code, answer.reason) == (3, f"unknown action '{action}'")
    assert one.call("status").code == 7
    assert one.call("reload-agent").code == 7


def test_an_ordinary_user(name: str, node: Node) -> None:
    one = Agent(node, name, "ordinary", binary="/bin/true", config=ELSEWHERE)
    for action, code in (("start", 4), ("stop", 4), ("reload-agent", 4), ("status", 1), ("validate-all", 0)):
        answer = one.call(action, user="games")
        assert (answer.code, bool(answer.reason)) == (code, code != 0), action
    answer = one.call("monitor", interval=20, user="games")
    assert (answer.code, "root" in answer.reason) == (1, True)


def test_validation_looks_at_the_host_at_level_10_only(name: str, node: Node) -> None:
    def answers(**parameters: str) -> tuple[int, int]:
        one = Agent(node, name, "valid", **{"binary": "/bin/true", **parameters})
        return one.call("validate-all", level=0).code, one.call("validate-all", level=10).code

    config = NOVA
    assert answers(config=config) == (0, 0)
    assert answers(config=config, binary="/no/such/daemon") == (0, 5)
    assert answers(config="/no/such/file") == (0, 2)
    assert answers(config=config, user="nobody-of-that-name") == (0, 2)
    assert answers(config="relative/file") == (6, 6)
    assert answers(config=config, open_files="many") == (6, 6)
    assert answers(config=config, on_dependency_failure="perhaps") == (6, 6)
    assert answers(config=config, pid="with\nnewline") == (6, 6)


def test_probes_without_a_process(name: str, node: Node) -> None:
    # Coverage costs four times the call; two agents give it, one of each kind.
    prefix = PREFIX if name in ("keystone", "nova-scheduler") else ()

    def resource(**parameters: str) -> Agent:
        given = {"binary": "/bin/true", "config": ELSEWHERE, **parameters}
        return Agent(node, name, "absent", prefix, **given)

    binary = node.path("/opt/binary.conf")
    binary.write_bytes(bytes(range(256)) * 100)
    for parameters in (
        {},
        {"config": "/no/such/file"},
        {"config": "/etc"},
        {"config": "/opt/binary.conf"},
        {"user": "nobody-of-that-name"},
        {"pid": "/no/such/folder/x.pid"},
        {"pid": "/etc"},
        {"open_files": "many", "recovery_grace": "-1", "on_dependency_failure": "?", "config": "not/absolute"},
        {"user": "\udcff\udcfe", "additional_parameters": "'never closed"},
    ):
        one = resource(**parameters)
        for action in ("monitor", "status"):
            answer = one.call(action)
            assert (answer.code, answer.err) == (7, ""), (parameters, action)
        answer = one.monitor()
        assert (answer.code, answer.reason) == (7, f"{name} is not running"), parameters
        answer = one.stop()
        assert (answer.code, answer.reason) == (0, ""), parameters
    missing = resource(binary="/no/such/daemon")
    answer = missing.probe()
    assert (answer.code, answer.err) == (5, "")
    assert (missing.monitor().code, missing.stop().code) == (7, 0)
    answer = missing.start()
    assert (answer.code, "/no/such/daemon is not installed" in answer.reason) == (5, True)
    pretended = resource()
    assert pretended.call("monitor", OCF_TESTER_FAIL_HAVE_BINARY="1").code == 5
    assert pretended.call("start", OCF_TESTER_FAIL_HAVE_BINARY="1").code == 5
    assert pretended.call("stop", OCF_TESTER_FAIL_HAVE_BINARY="1").code == 0
    binary.unlink()


def test_start_says_what_is_wrong_with_this_host(name: str, node: Node) -> None:
    for parameters, code, words in (
        ({"config": "/no/such/file"}, 2, "/no/such/file"),
        ({"config": "/etc"}, 2, "/etc"),
        ({"user": "nobody-of-that-name"}, 2, "nobody-of-that-name"),
        ({"open_files": "many"}, 6, "open_files"),
    ):
        answer = Agent(node, name, "wrong", **{"binary": "/bin/true", "config": ELSEWHERE, **parameters}).start()
        assert (answer.code, words in answer.reason) == (code, True), answer
        assert len(answer.err.splitlines()) == 1


# -- with a daemon ---------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [False, True], ids=["pid file", "lost pid file"])
def test_a_broken_environment_never_blocks_a_stop(
    lost: bool, trial_agent: Callable[..., Agent], node: Node, processes: Processes
) -> None:
    one = trial_agent("broken", "--workers 1")
    config = node.root / one.parameters["config"].lstrip("/")
    text = config.read_text()

    def gone() -> None:
        config.unlink()

    def folder() -> None:
        config.unlink()
        config.mkdir()

    def nonsense() -> None:
        config.write_bytes(bytes(range(256)) * 1000)

    def nothing() -> None:
        pass

    for breaking, changes in (
        (gone, {}),
        (folder, {}),
        (nonsense, {}),
        (nothing, {"user": "nobody-of-that-name"}),
        (nothing, {"open_files": "many", "shutdown_grace": "-3", "silent_checks": "?", "recovery_grace": "x"}),
        (nothing, {"additional_parameters": "'never closed"}),
        (gone, {"user": "nobody-of-that-name", "shutdown_grace": "soon", "insecure": "perhaps"}),
        *([] if lost else [(gone, {"binary": "/no/such/daemon", "config": "/no/such/config"})]),
    ):
        assert one.start().code == 0, (breaking, changes)
        until(lambda: len(processes.family(one.pid())) == 2, 10, "the worker")
        family = processes.family(one.pid())
        breaking()
        changed = Agent(node, one.name, one.instance, one.prefix, **{**one.parameters, **changes})
        for call in (changed.probe, lambda changed=changed: changed.monitor(0), changed.monitor):
            if lost:
                node.path(one.pid_file).unlink(missing_ok=True)
            answer = call()
            # It runs, and a recurring monitor may say what is wrong beside it.
            assert answer.code in (0, 190), (breaking, changes, answer)
            assert bool(answer.reason) or answer.code == 0
        if lost:
            node.path(one.pid_file).unlink(missing_ok=True)
        answer = changed.stop()
        assert (answer.code, processes.alive(*family)) == (0, []), (breaking, changes, answer)
        if config.is_dir():
            config.rmdir()
        config.write_text(text)


def test_check_levels(trial_agent: Callable[..., Agent]) -> None:
    one = trial_agent("levels", "", on_dependency_failure="fail")
    assert one.start().code == 0
    # Level 0 sees the process, level 10 that nobody answers at the address.
    one.parameters["url"] = "http://127.0.0.1:9377/"
    recurring = {level: one.monitor(level).code for level in (None, 0, 5, 10, 15, 20, 25, 1000)}
    assert recurring == {None: 1, 0: 0, 5: 0, 10: 1, 15: 1, 20: 1, 25: 1, 1000: 1}
    # A probe and status look at the processes, unless a level is asked for: crm_resource --force-check.
    assert [one.call("monitor", level=level).code for level in (None, 0, 10, 20)] == [0, 0, 1, 1]
    assert [one.call("status").code, one.call("status", level=10).code] == [0, 1]


def test_names_of_clones(trial_agent: Callable[..., Agent], node: Node, processes: Processes) -> None:
    one = trial_agent("cloned:0", "")
    assert one.start().code == 0
    assert not node.path("/run/resource-agents/cloned:0.pid").exists()
    pid = int(node.path("/run/resource-agents/cloned.pid").read_text().split()[0])
    other = Agent(node, one.name, "cloned", one.prefix, **one.parameters)
    assert other.pid() == pid
    assert (other.monitor().code, other.stop().code, processes.alive(pid)) == (0, 0, [])
    unique = {"OCF_RESKEY_CRM_meta_globally_unique": "true"}
    assert one.call("start", timeout=60, **unique).code == 0
    assert node.path("/run/resource-agents/cloned:0.pid").exists()
    assert one.call("stop", timeout=60, **unique).code == 0


def test_reload_takes_a_changed_parameter(trial_agent: Callable[..., Agent], processes: Processes) -> None:
    one = trial_agent("reloads", "", on_dependency_failure="fail")
    assert one.start().code == 0
    pid, started = one.pid(), processes.started(one.pid())
    one.parameters["url"] = "http://127.0.0.1:9377/"
    assert one.call("reload-agent").code == 0
    assert one.monitor().code == 1
    one.parameters["request_timeout"] = "never"
    answer = one.call("reload-agent")
    assert (answer.code, "request_timeout" in answer.reason) == (6, True)
    assert (one.pid(), processes.started(pid)) == (pid, started)
