"""Other releases: Ocata's daemons are slow to stop; those of 2026.1 rename themselves, or are gone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lab.driver import Agent
from lab.node import Node
from services.conftest import until
from services.processes import Processes

OCATA_NOVA = "/etc/nova-ocata/nova.conf"
LATER = "/opt/2026.1/bin"
UWSGI = f"{LATER}/uwsgi_python311"  # whose name makes Debian's program load its plugin


@pytest.mark.usefixtures("ocata")
@pytest.mark.parametrize("name", ["nova-cert", "nova-consoleauth"])
def test_ocata(name: str, agent: Callable[..., Agent], config_copy: Callable[..., str], processes: Processes) -> None:
    config = config_copy(OCATA_NOVA, f"era-{name}", {"DEFAULT": {"host": f"era-{name}"}})
    one = agent(name, f"era-{name}", binary=f"/opt/ocata/bin/{name}", config=config)
    assert one.start().code == 0
    pid = one.pid()
    for level in (0, 10, 20):
        answer = one.monitor(level)
        assert (answer.code, answer.reason) == (0, ""), level
    processes.signal("STOP", pid)
    until(lambda: processes.states(pid) == "T", 5, "a stopped process")
    answer = one.monitor()
    assert (answer.code, "frozen" in answer.reason) == (1, True)
    processes.signal("CONT", pid)
    until(lambda: one.monitor(10).code == 0, 20, "an answer")
    processes.signal("KILL", pid)
    until(lambda: not processes.alive(pid), 5, "its end")
    answer = one.monitor()
    assert (answer.code, "has crashed" in answer.reason) == (7, True)
    assert one.start().code == 0
    # An idle one takes 14 to 30 s to end by itself; old configurations give a stop 20.
    pid = one.pid()
    answer = one.stop(timeout=20)
    assert (answer.code, processes.alive(pid), answer.seconds < 20) == (0, [], True)


def test_the_scheduler_that_renames_itself(
    agent: Callable[..., Agent], node: Node, processes: Processes, serving: Callable[[str], Agent]
) -> None:
    serving("keystone")
    one = agent("nova-scheduler", "later", binary=f"{LATER}/nova-scheduler", config="/etc/nova-2026/nova.conf")
    assert one.start().code == 0
    family = processes.family(one.pid())
    title = processes.proc.command_line(family[0])
    assert title[0].startswith("nova-scheduler: master process ["), title
    assert len(family) > 1
    for level in (0, 10, 20):
        answer = one.monitor(level)
        assert (answer.code, answer.reason) == (0, ""), level
    # Lost and found, once by a monitor and once by a start.
    for call in (lambda: one.monitor(0), one.start):
        node.path(one.pid_file).unlink()
        assert (call().code, one.pid()) == (0, family[0])
    assert processes.family(one.pid()) == family
    processes.signal("KILL", family[0])
    until(lambda: not processes.alive(family[0]), 5, "the end of the main process")
    answer = one.monitor(0)
    assert answer.code in (1, 7), answer
    assert one.start().code == 0
    assert processes.alive(*family) == []
    family = processes.family(one.pid())
    processes.signal("STOP", *family)
    until(lambda: set(processes.states(*family)) == {"T"}, 5, "all stopped")
    assert one.monitor(0).code == 1
    node.path(one.pid_file).unlink()
    answer = one.stop(timeout=20)
    assert (answer.code, processes.alive(*family)) == (0, [])


@pytest.mark.parametrize(
    ("name", "config", "port", "module"),
    [
        ("keystone", "/etc/keystone-2026/keystone.conf", 5001, "keystone.wsgi.api:application"),
        ("nova-api", "/etc/nova-2026/nova.conf", 8784, "nova.wsgi.osapi_compute:application"),
        ("glance-api", "/etc/glance-2026/glance-api.conf", 9293, "glance.wsgi.api:application"),
    ],
)
def test_apis_as_modules(
    name: str,
    config: str,
    port: int,
    module: str,
    agent: Callable[..., Agent],
    serving: Callable[[str], Agent],
    processes: Processes,
) -> None:
    serving("keystone")
    one = agent(name, "module", binary=UWSGI, config=config, listen=f"127.0.0.1:{port}")
    assert one.start().code == 0
    family = processes.family(one.pid())
    line = processes.proc.command_line(family[0])
    assert line[0] == UWSGI
    assert module in line
    for level in (0, 10, 20):
        answer = one.monitor(level)
        assert (answer.code, answer.reason) == (0, ""), (level, answer)
    one.node.path(one.pid_file).unlink()
    assert (one.monitor(0).code, one.pid()) == (0, family[0])
    answer = one.stop(timeout=20)
    assert (answer.code, processes.alive(*family)) == (0, [])


def test_forms_of_keystone(agent: Callable[..., Agent], config_copy: Callable[..., str], processes: Processes) -> None:
    config = config_copy("/etc/keystone/keystone.conf", "forms", {})
    for binary, words in (
        # The daemon of old is gone: today's service is meant.
        ("keystone-all", ["--ini", "/etc/keystone/keystone-uwsgi.ini"]),
        ("/usr/bin/keystone-all", ["--ini", "/etc/keystone/keystone-uwsgi.ini"]),
        ("keystone-wsgi-public", ["--wsgi-file", "/usr/bin/keystone-wsgi-public"]),
        ("/usr/bin/uwsgi_python3", ["--ini", "/etc/keystone/keystone-uwsgi.ini"]),
    ):
        one = agent("keystone", "forms", binary=binary, config=config, listen="127.0.0.1:5992")
        answer = one.start()
        assert answer.code == 0, (binary, answer)
        line = processes.proc.command_line(one.pid())
        assert all(word in line for word in words), (binary, line)
        assert one.monitor(10).code == 0
        family = processes.family(one.pid())
        assert (one.stop().code, processes.alive(*family)) == (0, [])


def test_a_module_by_name(agent: Callable[..., Agent], node: Node, processes: Processes) -> None:
    # Zed's Keystone has no such module yet; the form is the same with one of our own.
    module = node.path("/opt/trial_module.py")
    module.write_text("def application(environ, start):\n    start('200 OK', [('X', 'y')])\n    return [b'{}']\n")
    one = agent(
        "keystone",
        "by-name",
        binary="trial_module:application",
        listen="127.0.0.1:5993",
        additional_parameters="--pythonpath /opt",
    )
    try:
        assert one.start().code == 0
        family = processes.family(one.pid())
        assert one.monitor(10).code == 0
        node.path(one.pid_file).unlink()
        assert (one.stop().code, processes.alive(*family)) == (0, [])
    finally:
        module.unlink()


def test_the_stub_of_glance_is_no_daemon(
    agent: Callable[..., Agent], processes: Processes, serving: Callable[[str], Agent]
) -> None:
    # It only says that it is gone: uWSGI beside it serves instead.
    config = "/etc/glance-2026/glance-api.conf"
    one = agent("glance-api", "stub", binary=f"{LATER}/glance-api", config=config, listen="127.0.0.1:9293")
    answer = one.start()
    assert answer.code == 0, answer
    assert processes.proc.command_line(one.pid())[0] == UWSGI
    assert one.monitor(10).code == 0
