"""Which process is ours: one test for each rule, in a made-up /proc."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from typing import Any

import pytest
from fake_proc import AGENT, BOOT, UID, FakeProc

from ocf_common.identity import Ambiguous, CannotTell, Expected, Finder, Tree, is_running, option_values
from ocf_common.pidfile import PidRecord
from ocf_common.procfs import Process

PYTHON = "/usr/bin/python3"
SCRIPT = "/usr/bin/nova-scheduler"
CONFIG = "/etc/nova/nova.conf"
OTHER = "/etc/nova/other.conf"
DAEMON = [PYTHON, SCRIPT, "--config-file", CONFIG]
BARE = [PYTHON, SCRIPT]
DNSMASQ = ["/usr/sbin/dnsmasq", "--no-hosts", "--interface=tap0"]
PRIVSEP = ["sudo", "nova-rootwrap", "/etc/nova/rootwrap.conf", "privsep-helper", "--config-file", CONFIG]
MASTER = f"nova-scheduler: master process [{SCRIPT} --config-file {CONFIG}]"
WORKER = "nova-scheduler: ServiceWrapper worker(0)"
UNIT = "0::/system.slice/nova-scheduler.service"
UNIT_V1 = "9:name=systemd:/system.slice/nova-scheduler.service\n4:memory:/system.slice\n0::/"

INI = "/etc/keystone/keystone-uwsgi.ini"
MODULE = "keystone.wsgi.api:application"
KEYSTONE = "/etc/keystone/keystone.conf"
UWSGI = "/usr/bin/uwsgi_python3"
PLACEHOLDER = ["--set-placeholder", f"ocf-config={KEYSTONE}"]


def expect(**changes: Any) -> Expected:
    settings: dict[str, Any] = {
        "names": ["nova-scheduler"],
        "configs": [CONFIG],
        "default_configs": [CONFIG],
        "uid": UID,
        **changes,
    }
    return Expected(**settings)


def keystone() -> Expected:
    return expect(
        names=["keystone-all"],
        configs=[KEYSTONE],
        default_configs=[KEYSTONE],
        wsgi=[INI, MODULE, "keystone-wsgi-public"],
    )


def find(fake: FakeProc, record: PidRecord | None = None, thorough: bool = False, **changes: Any) -> Tree:
    expected = changes.pop("expected", None) or expect(**changes)
    return Finder(fake.proc, expected, AGENT).find(record, thorough)


def main_of(fake: FakeProc, record: PidRecord | None = None, **changes: Any) -> int:
    main = find(fake, record, **changes).main
    return main.pid if main is not None else 0


def pids(processes: Sequence[Process]) -> list[int]:
    return sorted(process.pid for process in processes)


def nothing(tree: Tree) -> bool:
    return not (tree.all() or tree.foreign or tree.from_pid_file)


def proof(process: Process, boot: str = BOOT) -> PidRecord:
    """Give the record that this suite writes for a process."""
    return PidRecord(process.pid, process.started, boot)


def family(fake: FakeProc, number: int = 2, main: int = 100, arguments: Sequence[str] = DAEMON, **changes: Any) -> None:
    """Add a main process with its workers, whose numbers follow the main process's."""
    fake.add(main, arguments, **changes)
    for pid in range(main + 1, main + 1 + number):
        fake.add(pid, arguments, parent=main, group=main, **changes)


# Command lines


@pytest.mark.parametrize(
    "arguments",
    [
        DAEMON,
        BARE,
        [PYTHON, SCRIPT, f"--config-file={CONFIG}"],
        [PYTHON, "-s", "-E", SCRIPT, "--config-file", CONFIG, "--log-file", "/var/log/nova/x.log"],
        ["/opt/ocata/bin/python2.7", "/opt/ocata/bin/nova-scheduler", "--config-file", CONFIG],
        [SCRIPT, "--config-file", CONFIG],
        ["python3", "nova-scheduler"],
    ],
)
def test_script_form_is_recognised(arguments: list[str]) -> None:
    likeness = expect().recognise(arguments, "")
    assert likeness is not None
    assert (likeness.role, likeness.configured) == ("", True)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        [""],
        [PYTHON],
        [PYTHON, "-V"],
        ["/usr/bin/vi", SCRIPT],
        ["/bin/sh", "-c", " ".join(DAEMON)],
        ["su", "nova", "-s", "/bin/sh", "-c", " ".join(DAEMON)],
        ["grep", "nova-scheduler"],
        [PYTHON, "/usr/bin/nova-scheduler-wrapper"],
        [PYTHON, "/usr/bin/nova-api", "--config-file", CONFIG],
        [PYTHON, "/srv/nova-scheduler/manage.py"],
        ["nova-scheduler talks"],
        ["tail", "-f", "/var/log/nova/nova-scheduler"],
    ],
)
def test_another_program_is_not_recognised(arguments: list[str]) -> None:
    assert expect().recognise(arguments, "python3.11") is None


@pytest.mark.parametrize(
    "arguments", [[PYTHON, SCRIPT, "--config-file", OTHER], [PYTHON, SCRIPT, f"--config-file={OTHER}"]]
)
def test_another_configuration_is_another_resource(arguments: list[str]) -> None:
    assert expect().recognise(arguments, "") is None
    assert expect(configs=[OTHER]).recognise(arguments, "") is not None


def test_daemon_without_configuration_belongs_to_the_default_only() -> None:
    assert expect().recognise(BARE, "") is not None
    assert expect(configs=[OTHER]).recognise(BARE, "") is None


def test_all_configuration_files_must_match() -> None:
    both = [*DAEMON, f"--config-file={OTHER}"]
    assert expect().recognise(both, "") is None
    assert expect(configs=[CONFIG, OTHER]).recognise(both, "") is not None
    assert expect(configs=[CONFIG, OTHER]).recognise(DAEMON, "") is None


def test_configuration_folders_must_match_too() -> None:
    ours, theirs = [*DAEMON, "--config-dir", "/etc/a.d"], [*DAEMON, "--config-dir=/etc/b.d"]
    title = MASTER.replace("]", " --config-dir /etc/a.d]")
    assert expect(configs=[CONFIG, "/etc/a.d"]).recognise(ours, "") is not None
    assert expect(configs=[CONFIG, "/etc/a.d"]).recognise([*BARE, "--config-dir=/etc/a.d"], "") is not None
    assert expect(configs=[CONFIG, "/etc/a.d"]).recognise([title], "python3.11") is not None
    for expected in (expect(), expect(configs=[CONFIG, "/etc/a.d"])):
        assert expected.recognise(theirs, "") is None
        assert expected.recognise([title.replace("a.d", "b.d")], "python3.11") is None


@pytest.mark.parametrize(
    ("title", "role", "configured"),
    [
        (MASTER, "main", True),
        (f"nova-scheduler: master process [{SCRIPT}]", "main", True),
        ("nova-scheduler: master process", "main", True),
        (f"nova-scheduler: master process [{SCRIPT} --config-file={CONFIG}]", "main", True),
        (WORKER, "worker", False),
    ],
)
def test_titles_of_nova_34_are_recognised(title: str, role: str, configured: bool) -> None:
    likeness = expect().recognise([title], "python3.11")
    assert likeness is not None
    assert (likeness.role, likeness.configured) == (role, configured)


@pytest.mark.parametrize(
    ("title", "program"),
    [
        (MASTER, "bash"),
        (WORKER, ""),
        (MASTER.replace("nova-scheduler", "nova-conductor"), "python3.11"),
        (MASTER.replace(CONFIG, OTHER), "python3.11"),
        ("nova-scheduler:", "python3.11"),
    ],
)
def test_other_titles_are_not_recognised(title: str, program: str) -> None:
    assert expect().recognise([title], program) is None


@pytest.mark.parametrize(
    "arguments",
    [
        [UWSGI, "--ini", INI, "--http-socket", ":5000"],
        [UWSGI, f"--ini={INI}"],
        ["uwsgi", "--master", "--module", MODULE, *PLACEHOLDER],
        ["/srv/venv/bin/uwsgi", f"--module={MODULE}", f"--set-placeholder=ocf-config={KEYSTONE}"],
        [UWSGI, "--wsgi-file", "/usr/bin/keystone-wsgi-public", "--pyargv", f"--config-file {KEYSTONE}"],
        [UWSGI, "--wsgi-file", "/usr/bin/keystone-wsgi-public", *PLACEHOLDER],
    ],
)
def test_uwsgi_forms_are_recognised(arguments: list[str]) -> None:
    assert keystone().recognise(arguments, "uwsgi-core") is not None


@pytest.mark.parametrize(
    "arguments",
    [
        [UWSGI, "--ini", "/etc/glance/glance-api-uwsgi.ini"],
        [UWSGI, "--ini", "/srv/copy/keystone-uwsgi.ini"],
        [UWSGI, "--ini", INI, "--set-placeholder", f"ocf-config={OTHER}"],
        [UWSGI, "--wsgi-file", "/usr/bin/keystone-wsgi-public", "--pyargv", f"--config-file {OTHER}"],
        [UWSGI, "--ini", INI, "--pyargv", "--config-dir /etc/b.d"],
        [UWSGI],
        [PYTHON, INI],
    ],
)
def test_uwsgi_of_another_service_or_configuration_is_not_recognised(arguments: list[str]) -> None:
    assert keystone().recognise(arguments, "uwsgi-core") is None


def test_option_values_in_both_spellings() -> None:
    assert option_values("--o", ["--o", "a", "--o=b", "--other=c", "--o"]) == ["a", "b"]


@pytest.mark.parametrize(
    ("script", "own_script"),
    [
        ("/usr/lib/ocf/resource.d/openstack/nova-scheduler", ""),
        ("/home/me/project/agents/nova-scheduler", "/home/me/project/agents/nova-scheduler"),
        ("agents/nova-scheduler", "agents/nova-scheduler"),
    ],
)
def test_the_agents_own_script_is_not_the_daemon(fake_proc: FakeProc, script: str, own_script: str) -> None:
    """Another call of the same agent runs a script of the daemon's name, with the default configuration."""
    fake_proc.add(100, [PYTHON, "-IS", script, "monitor"], uid=0)
    assert nothing(find(fake_proc, uid=0, own_script=own_script))
    assert nothing(find(fake_proc, PidRecord(100), uid=0, own_script=own_script))


def test_the_agents_own_process_is_never_ours(fake_proc: FakeProc) -> None:
    fake_proc.add(100, DAEMON)
    assert Finder(fake_proc.proc, expect(), own_pid=100).find(None).main is None


# What the pid file leads to


def test_proven_by_start_time_and_boot_whatever_the_title(fake_proc: FakeProc) -> None:
    daemon = fake_proc.add(100, ["renamed itself beyond recognition"])
    tree = find(fake_proc, proof(daemon))
    assert tree.main is not None
    assert tree.main.key == daemon.key
    assert tree.from_pid_file


@pytest.mark.parametrize("arguments", [DAEMON, BARE, [MASTER]])
def test_number_alone_with_the_command_line_of_an_old_agents_daemon(fake_proc: FakeProc, arguments: list[str]) -> None:
    fake_proc.add(100, arguments, group=90, session=80)
    tree = find(fake_proc, PidRecord(100))
    assert tree.main is not None
    assert tree.from_pid_file


def test_nothing_runs(fake_proc: FakeProc) -> None:
    assert nothing(find(fake_proc))
    assert nothing(find(fake_proc, PidRecord(100)))
    assert nothing(find(fake_proc, PidRecord(100, 1100, BOOT)))


def test_zombie_is_dead(fake_proc: FakeProc) -> None:
    daemon = fake_proc.add(100, DAEMON, state="Z")
    assert nothing(find(fake_proc, PidRecord(100)))
    assert nothing(find(fake_proc, proof(daemon)))
    assert nothing(find(fake_proc))


@pytest.mark.parametrize("started", [1101, 1])
def test_recycled_number_is_another_process(fake_proc: FakeProc, started: int) -> None:
    fake_proc.add(100, [PYTHON, "/usr/bin/something"])
    assert nothing(find(fake_proc, PidRecord(100, started, BOOT)))


def test_recycled_number_of_a_later_instance_is_found_by_the_search_alone(fake_proc: FakeProc) -> None:
    """So that its pid file is written anew, with its own start time."""
    fake_proc.add(100, DAEMON)
    tree = find(fake_proc, PidRecord(100, 1, BOOT))
    assert tree.main is not None
    assert not tree.from_pid_file


def test_number_and_start_time_of_an_earlier_boot_prove_nothing(fake_proc: FakeProc) -> None:
    other = fake_proc.add(100, [PYTHON, "/usr/bin/something"])
    assert nothing(find(fake_proc, proof(other, boot="an earlier one")))


def test_number_of_another_program_proves_nothing(fake_proc: FakeProc) -> None:
    fake_proc.add(100, ["/usr/sbin/sshd", "-D"], uid=UID)
    assert nothing(find(fake_proc, PidRecord(100)))


def test_recycled_number_does_not_hide_the_daemon_that_runs(fake_proc: FakeProc) -> None:
    fake_proc.add(100, [PYTHON, "/usr/bin/something"])
    fake_proc.add(200, DAEMON)
    tree = find(fake_proc, PidRecord(100))
    assert tree.main is not None
    assert tree.main.pid == 200
    assert not tree.from_pid_file


def test_number_of_a_worker_leads_to_its_main_process(fake_proc: FakeProc) -> None:
    family(fake_proc)
    assert main_of(fake_proc, PidRecord(101)) == 100


@pytest.mark.parametrize(
    "changes",
    [
        {"pid_namespace": "pid:[4026532999]"},
        {"mount_namespace": "mnt:[4026532999]"},
        {"uid": UID + 1},
        {"uid": 0},
    ],
)
def test_other_namespace_or_user_is_never_ours(fake_proc: FakeProc, changes: dict[str, Any]) -> None:
    """Not even where the pid file names it with its start time."""
    daemon = fake_proc.add(100, DAEMON, **changes)
    assert nothing(find(fake_proc, proof(daemon)))
    assert nothing(find(fake_proc, PidRecord(100)))
    assert nothing(find(fake_proc))


def test_user_unknown_on_this_host_forbids_nothing(fake_proc: FakeProc) -> None:
    fake_proc.add(100, DAEMON, uid=4711)
    assert main_of(fake_proc, uid=None) == 100


def test_a_daemon_that_was_started_as_root_may_have_become_anybody(fake_proc: FakeProc) -> None:
    daemon = fake_proc.add(100, DAEMON, uid=UID)
    for record in (proof(daemon), PidRecord(100), None):
        assert main_of(fake_proc, record, uid=0) == 100


def test_two_resources_never_see_each_other(fake_proc: FakeProc) -> None:
    family(fake_proc, main=100)
    family(fake_proc, main=200, arguments=[PYTHON, SCRIPT, "--config-file", OTHER])
    assert pids(find(fake_proc).all()) == [100, 101, 102]
    assert pids(find(fake_proc, configs=[OTHER]).all()) == [200, 201, 202]
    assert pids(find(fake_proc, PidRecord(200)).all()) == [100, 101, 102]


# Other managers


@pytest.mark.parametrize("cgroup", [UNIT, UNIT + "/payload", UNIT_V1])
def test_daemon_of_a_systemd_unit_is_foreign_and_named(fake_proc: FakeProc, cgroup: str) -> None:
    fake_proc.add(100, DAEMON, cgroup=cgroup)
    for record in (None, PidRecord(100)):
        tree = find(fake_proc, record)
        assert not tree.all()
        assert [(process.pid, unit) for process, unit in tree.foreign] == [(100, "nova-scheduler.service")]


@pytest.mark.parametrize(
    "cgroup",
    [
        "0::/system.slice/pacemaker.service",
        "0::/system.slice/pacemaker_remote.service",
        "9:name=systemd:/system.slice/pacemaker.service\n0::/",
        "0::/",
        "0::/user.slice/user-1000.slice/session-3.scope",
        "0::/user.slice/user-1000.slice/user@1000.service/app.slice/run-1.scope",
    ],
)
def test_daemon_of_no_unit_or_of_pacemakers_is_ours(fake_proc: FakeProc, cgroup: str) -> None:
    fake_proc.add(100, DAEMON, cgroup=cgroup)
    assert main_of(fake_proc) == 100


def test_daemon_in_the_agents_own_unit_is_ours(fake_proc: FakeProc) -> None:
    (fake_proc.root / str(AGENT) / "cgroup").write_text("0::/system.slice/nova-scheduler.service\n")
    fake_proc.add(100, DAEMON, cgroup=UNIT)
    assert main_of(fake_proc) == 100


def test_proof_in_the_pid_file_beats_the_unit(fake_proc: FakeProc) -> None:
    """An agent that was called from within some service starts its daemon there."""
    family(fake_proc, cgroup=UNIT)
    tree = find(fake_proc, PidRecord(100, 1100, BOOT), thorough=True)
    assert pids(tree.all()) == [100, 101, 102]
    assert not tree.foreign


# A lost pid file


@pytest.mark.parametrize("arguments", [DAEMON, BARE])
def test_lost_pid_file_the_leader_of_its_group_is_found(fake_proc: FakeProc, arguments: list[str]) -> None:
    family(fake_proc, arguments=arguments)
    tree = find(fake_proc)
    assert tree.main is not None
    assert tree.main.pid == 100
    assert pids(tree.workers) == [101, 102]
    assert not tree.from_pid_file
    assert not tree.orphans


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_lost_pid_file_old_agents_daemon_in_a_dead_shells_group(fake_proc: FakeProc, workers: int) -> None:
    fake_proc.add(100, DAEMON, group=90, session=80)
    for pid in range(101, 101 + workers):
        fake_proc.add(pid, DAEMON, parent=100, group=90, session=80)
    tree = find(fake_proc)
    assert tree.main is not None
    assert tree.main.pid == 100
    assert len(tree.workers) == workers
    assert not tree.orphans


def test_lost_pid_file_renamed_daemon_is_found(fake_proc: FakeProc) -> None:
    fake_proc.add(100, [MASTER])
    fake_proc.add(101, [WORKER], parent=100, group=100, thread=105)
    tree = find(fake_proc)
    assert tree.main is not None
    assert (tree.main.pid, pids(tree.workers)) == (100, [101])


def test_lost_pid_file_uwsgi_is_found(fake_proc: FakeProc) -> None:
    family(fake_proc, arguments=[UWSGI, "--ini", INI], exe="/usr/bin/uwsgi-core")
    tree = find(fake_proc, expected=keystone())
    assert tree.main is not None
    assert (tree.main.pid, pids(tree.workers)) == (100, [101, 102])


def test_several_candidates_are_named_and_none_is_taken(fake_proc: FakeProc) -> None:
    family(fake_proc, main=100)
    family(fake_proc, main=200)
    with pytest.raises(Ambiguous, match="100, 200") as caught:
        find(fake_proc)
    assert pids(caught.value.processes) == [100, 200]


def test_several_candidates_the_pid_file_decides(fake_proc: FakeProc) -> None:
    family(fake_proc, main=100)
    family(fake_proc, main=200)
    assert main_of(fake_proc, PidRecord(200)) == 200
    tree = find(fake_proc, PidRecord(200, 1200, BOOT), thorough=True)
    assert pids(tree.all()) == [200, 201, 202]


# A main process that is gone


@pytest.mark.parametrize("workers", [1, 3])
def test_orphaned_workers_of_ours(fake_proc: FakeProc, workers: int) -> None:
    for pid in range(101, 101 + workers):
        fake_proc.add(pid, DAEMON, group=100)
    tree = find(fake_proc, PidRecord(100, 1100, BOOT))
    assert tree.main is None
    assert len(tree.orphans) == workers


def test_orphaned_workers_beside_a_zombie_main(fake_proc: FakeProc) -> None:
    family(fake_proc)
    fake_proc.change(fake_proc.proc.process(100) or pytest.fail("it was just added"), state="Z")
    tree = find(fake_proc, PidRecord(100, 1100, BOOT))
    assert tree.main is None
    assert pids(tree.orphans) == [101, 102]


@pytest.mark.parametrize("zombie", [False, True])
@pytest.mark.parametrize("workers", [1, 3])
def test_orphaned_workers_of_an_old_agents_daemon(fake_proc: FakeProc, workers: int, zombie: bool) -> None:
    """Their group is a dead shell's, so only the pid file's number says that the main process is gone."""
    if zombie:
        fake_proc.add(100, state="Z", group=90, session=80)
    for pid in range(101, 101 + workers):
        fake_proc.add(pid, DAEMON, group=90, session=80)
    tree = find(fake_proc, PidRecord(100))
    assert tree.main is None
    assert len(tree.orphans) == workers


def test_orphaned_workers_without_any_pid_file(fake_proc: FakeProc) -> None:
    for pid in (101, 102):
        fake_proc.add(pid, DAEMON, group=100)
    tree = find(fake_proc)
    assert tree.main is None
    assert pids(tree.orphans) == [101, 102]


def test_orphaned_renamed_workers(fake_proc: FakeProc) -> None:
    fake_proc.add(101, [WORKER], group=100)
    tree = find(fake_proc, PidRecord(100, 1100, BOOT))
    assert tree.main is None
    assert pids(tree.orphans) == [101]


def test_renamed_workers_of_another_configuration_are_not_ours(fake_proc: FakeProc) -> None:
    """Their title shows no configuration: their main process and the pid file must tell."""
    fake_proc.add(200, [MASTER.replace(CONFIG, OTHER)])
    fake_proc.add(201, [WORKER], parent=200, group=200)
    fake_proc.add(301, [WORKER], group=300)
    assert nothing(find(fake_proc))
    assert nothing(find(fake_proc, PidRecord(100, 1100, BOOT)))
    assert nothing(find(fake_proc, PidRecord(200)))


def test_orphans_bring_their_own_children_along(fake_proc: FakeProc) -> None:
    fake_proc.add(101, DAEMON, group=100)
    fake_proc.add(102, DAEMON, parent=101, group=100)
    fake_proc.add(103, DNSMASQ, parent=101, group=100)
    assert pids(find(fake_proc, PidRecord(100, 1100, BOOT)).orphans) == [101, 102]


def test_leftovers_beside_a_new_main_process_are_found_by_a_thorough_search(fake_proc: FakeProc) -> None:
    for pid in (51, 52):
        fake_proc.add(pid, DAEMON, group=50)
    family(fake_proc)
    record = PidRecord(100, 1100, BOOT)
    assert pids(find(fake_proc, record).all()) == [100, 101, 102]
    tree = find(fake_proc, record, thorough=True)
    assert pids(tree.orphans) == [51, 52]
    assert pids(tree.all()) == [51, 52, 100, 101, 102]


# What belongs to a main process


@pytest.mark.parametrize("thorough", [False, True])
def test_children_that_are_meant_to_outlive_the_service_do_not_count(fake_proc: FakeProc, thorough: bool) -> None:
    family(fake_proc)
    fake_proc.add(110, DNSMASQ, parent=100, group=100)
    fake_proc.add(111, ["haproxy", "-f", "x.cfg"], parent=101, group=100)
    fake_proc.add(112, ["qemu-img", "convert"], parent=100, group=100, uid=0)
    assert pids(find(fake_proc, PidRecord(100), thorough).all()) == [100, 101, 102]


def test_dnsmasq_that_survived_its_service_is_nothing_of_ours(fake_proc: FakeProc) -> None:
    fake_proc.add(110, DNSMASQ, group=100)
    assert nothing(find(fake_proc, PidRecord(100, 1100, BOOT), thorough=True))


@pytest.mark.parametrize("thorough", [False, True])
@pytest.mark.parametrize(
    "arguments",
    [PRIVSEP, [PYTHON, "/usr/bin/privsep-helper", "--privsep_sock_path", "/tmp/x"], ["sudo", "nova-rootwrap-daemon"]],
)
def test_privileged_helpers_belong_to_the_service(fake_proc: FakeProc, arguments: list[str], thorough: bool) -> None:
    fake_proc.add(100, DAEMON)
    fake_proc.add(101, arguments, parent=100, group=100, uid=0)
    tree = find(fake_proc, PidRecord(100), thorough)
    assert pids(tree.helpers) == [101]
    assert not tree.workers
    assert pids(tree.serving()) == [100]


def test_children_forked_by_another_thread_are_found(fake_proc: FakeProc) -> None:
    fake_proc.add(100, DAEMON)
    fake_proc.add(101, DAEMON, parent=100, group=100, thread=107)
    assert pids(find(fake_proc, PidRecord(100)).workers) == [101]


def test_dead_workers_do_not_count(fake_proc: FakeProc) -> None:
    family(fake_proc)
    fake_proc.change(fake_proc.proc.process(101) or pytest.fail("it was just added"), state="Z")
    for thorough in (False, True):
        assert pids(find(fake_proc, PidRecord(100), thorough).workers) == [102]


def test_workers_of_workers_are_found_by_a_thorough_search(fake_proc: FakeProc) -> None:
    family(fake_proc, number=1)
    fake_proc.add(110, DAEMON, parent=101, group=100)
    assert pids(find(fake_proc, PidRecord(100), thorough=True).workers) == [101, 110]


def test_uwsgi_workers_with_titles_of_their_own(fake_proc: FakeProc) -> None:
    main = fake_proc.add(100, ["uWSGI master"], exe="/usr/bin/uwsgi-core")
    fake_proc.add(101, ["uWSGI worker 1"], parent=100, group=100, exe="/usr/bin/uwsgi-core")
    fake_proc.add(102, ["uWSGI http 1"], parent=100, group=100, exe="/usr/bin/uwsgi-core")
    fake_proc.add(103, ["uWSGI plays"], parent=100, group=100, exe="/usr/bin/python3.11")
    assert pids(find(fake_proc, proof(main), expected=keystone()).workers) == [101, 102]


def test_serving_are_the_workers_else_the_main_process(fake_proc: FakeProc) -> None:
    family(fake_proc, number=0)
    assert pids(find(fake_proc).serving()) == [100]
    fake_proc.add(101, DAEMON, parent=100, group=100)
    assert pids(find(fake_proc).serving()) == [101]


@pytest.mark.parametrize(("state", "stopped"), [("T", [101]), ("t", [])])
def test_stopped_processes_are_shown_as_such(fake_proc: FakeProc, state: str, stopped: list[int]) -> None:
    """A debugger's stop is no proof of death: whether the service answers tells."""
    family(fake_proc)
    fake_proc.change(fake_proc.proc.process(101) or pytest.fail("it was just added"), state=state)
    tree = find(fake_proc)
    assert [process.pid for process in tree.serving() if process.stopped] == stopped
    assert tree.main is not None
    assert not tree.main.stopped


# What cannot be told


def test_hidden_processes_prove_nothing_gone(fake_proc: FakeProc) -> None:
    fake_proc.hide(1, "stat")
    with pytest.raises(CannotTell, match="hidepid"):
        find(fake_proc)


def test_unreadable_proc_proves_nothing_gone(fake_proc: FakeProc) -> None:
    shutil.rmtree(fake_proc.root)
    with pytest.raises(CannotTell, match="cannot be read"):
        find(fake_proc)


@pytest.mark.parametrize("pid", [100, AGENT])
@pytest.mark.parametrize("kind", ["pid", "mnt"])
def test_unreadable_namespace_of_a_candidate_proves_nothing(fake_proc: FakeProc, pid: int, kind: str) -> None:
    fake_proc.add(100, DAEMON)
    fake_proc.hide(pid, f"ns/{kind}")
    for record in (None, PidRecord(100)):
        with pytest.raises(CannotTell, match="namespaces of process 100"):
            find(fake_proc, record)


def test_unreadable_namespace_of_an_unlike_process_does_not_matter(fake_proc: FakeProc) -> None:
    fake_proc.add(100, DAEMON)
    fake_proc.add(200, ["/usr/sbin/sshd"])
    fake_proc.hide(200, "ns/pid")
    assert main_of(fake_proc) == 100


# is_running


def test_is_running_knows_a_process_from_a_later_one_of_its_number(fake_proc: FakeProc) -> None:
    process = fake_proc.add(100, DAEMON)
    assert is_running(fake_proc.proc, process)
    fake_proc.end(process)
    assert not is_running(fake_proc.proc, process)
    fake_proc.add(100, DAEMON, started=5000)
    assert not is_running(fake_proc.proc, process)


def test_is_running_counts_no_zombie(fake_proc: FakeProc) -> None:
    process = fake_proc.add(100, DAEMON)
    fake_proc.change(process, state="Z")
    assert not is_running(fake_proc.proc, process)


def test_the_real_proc_shows_this_test() -> None:
    """The made-up /proc has the same shape as the real one."""
    from ocf_common.procfs import Proc

    proc = Proc()
    process = proc.process(os.getpid())
    assert process is not None
    assert process.parent == os.getppid()
    assert process.session == os.getsid(0)
    assert is_running(proc, process)
    assert proc.uid(os.getpid()) == os.getuid()
    assert proc.namespace("self", "pid")
    assert proc.boot()
    assert os.getpid() in proc.children(os.getppid()) or process.parent == 0
