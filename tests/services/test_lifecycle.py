"""Start and stop: what a daemon gets, how soon each action returns, and what happens to daemons that misbehave.

Resources of their own (copies of a configuration with another host or port), so that no other test's daemon is met.
``/opt/trial/image-daemon`` is the small daemon of tests/daemons under the agent of Glance: it ignores signals, dies
or hangs as told.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from lab import controller
from lab.driver import Agent, Answer
from lab.node import Node
from services import faults
from services.conftest import NOVA, until
from services.processes import Processes

LATE = 0.3  # seconds that an action may take after what it waits for
TRIES = 3  # noise of the machine only ever adds to a measured time: the best of these counts

# As Pacemaker calls: its umask, ignored and blocked signals, OOM score, limits, and a descriptor left open.
AS_PACEMAKER = """
import os, resource, signal, sys
os.umask(0o026)
for number in (signal.SIGHUP, signal.SIGPIPE, signal.SIGUSR2):
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGTERM, signal.SIGCHLD})
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
with open("/proc/self/oom_score_adj", "w") as file:
    file.write("500")
os.dup2(os.open("/etc/hostname", os.O_RDONLY), 77, inheritable=True)
os.chdir("/var/tmp")
os.execv(sys.argv[1], sys.argv[1:])
"""

# Says when something answers: on a clock that all containers of a machine share.
HTTP_READY = """
import http.client, sys, time
while True:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=5)
        connection.request("GET", "/")
        connection.getresponse().read()
        break
    except (OSError, http.client.HTTPException):
        time.sleep(0.02)
print(time.monotonic())
"""
QUEUE_READY = """
import pika, sys, time
connection = pika.BlockingConnection(pika.URLParameters(sys.argv[1]))
while True:
    channel = connection.channel()
    try:
        if channel.queue_declare(sys.argv[2], passive=True).method.consumer_count:
            break
    except pika.exceptions.ChannelClosedByBroker:
        pass
    time.sleep(0.02)
print(time.monotonic())
"""


@pytest.fixture
def in_background() -> Iterator[Callable[..., threading.Thread]]:
    threads: list[threading.Thread] = []

    def run(action: Callable[[], object]) -> threading.Thread:
        threads.append(threading.Thread(target=action))
        threads[-1].start()
        return threads[-1]

    yield run
    for thread in threads:
        thread.join()


class Watch:
    """Notes when the last of some processes has ended."""

    def __init__(self, processes: Processes, pids: list[int]) -> None:
        self.pids = pids
        self.end = 0.0
        self.thread = threading.Thread(target=self._run, args=(processes,))
        self.thread.start()

    def _run(self, processes: Processes) -> None:
        while processes.alive(*self.pids):
            time.sleep(0.005)
        self.end = time.monotonic()


def ready(node: Node, script: str, *arguments: str) -> subprocess.Popen[str]:
    return node.popen(["/usr/bin/python3", "-c", script, *arguments], stdout=subprocess.PIPE)


# -- start -----------------------------------------------------------------------------------------


def test_start_twice_is_one_daemon(conductor: Callable[..., Agent], processes: Processes) -> None:
    one = conductor("twice")
    assert one.start().code == 0
    pid, started = one.pid(), processes.started(one.pid())
    again = one.start()
    assert (again.code, again.reason) == (0, "")
    assert (one.pid(), processes.started(pid)) == (pid, started)
    assert len(processes.matching("nova-conductor", one.parameters["config"])) == 1


def test_what_the_daemon_gets(conductor: Callable[..., Agent], processes: Processes, node: Node) -> None:
    one = conductor("gets")
    one.prefix = ("/usr/bin/python3", "-c", AS_PACEMAKER, *one.prefix)
    one.variables = {"OS_PASSWORD": "from-the-caller", "SECRET": "x", "OCF_RESKEY_os_password": "never"}
    assert one.start().code == 0
    pid = one.pid()
    status = dict(line.split(":\t", 1) for line in processes.read(pid, "status").splitlines() if ":\t" in line)
    account = node.run(["id", "-u", "nova"]).stdout.strip()
    groups = node.run(["id", "-G", "nova"]).stdout.split()
    assert status["Uid"].split() == [account] * 4
    assert status["Gid"].split() == [groups[0]] * 4
    assert sorted(status["Groups"].split()) == sorted(groups)
    assert len(groups) > 1
    assert status["Umask"] == "0022"
    process = processes.get(pid)
    assert process is not None
    assert (process.session, process.pgid) == (pid, pid)
    folder = node.path(f"/proc/{pid}")
    assert str((folder / "cwd").readlink()) == "/"
    assert processes.read(pid, "oom_score_adj").strip() == "0"
    # A container may have a ceiling below what the agent asks for.
    most = min(65536, int(node.run(["/bin/sh", "-c", "ulimit -H -n"]).stdout))
    assert processes.open_files(pid) == (most, most)
    variables = dict(item.split("=", 1) for item in processes.read(pid, "environ").rstrip("\0").split("\0"))
    assert set(variables) == {"PATH", "HOME", "LANG"}
    assert (variables["HOME"], variables["LANG"]) == ("/var/lib/nova", "C.UTF-8")
    descriptors = {int(link.name): str(link.readlink()) for link in (folder / "fd").iterdir()}
    assert descriptors[0] == "/dev/null"
    assert descriptors[1] == descriptors[2] == "/var/log/nova/nova-conductor.out"
    assert 77 not in descriptors
    assert "/etc/hostname" not in descriptors.values()
    output = node.path(descriptors[1]).stat()
    assert (oct(output.st_mode & 0o7777), str(output.st_uid)) == ("0o640", account)


def test_signals_and_descriptors_of_a_plain_program(
    trial_agent: Callable[..., Agent], processes: Processes, node: Node
) -> None:
    # Python and Nova change signals for themselves; this one keeps what it was given.
    program = node.path("/opt/trial/image-plain")
    program.write_text("#!/bin/sh\nexec sleep 1000\n")
    program.chmod(0o755)
    one = trial_agent("plain", "", binary="/opt/trial/image-plain", open_files="1234")
    one.prefix = ("/usr/bin/python3", "-c", AS_PACEMAKER, *one.prefix)
    assert one.start().code == 0
    status = dict(line.split(":\t", 1) for line in processes.read(one.pid(), "status").splitlines() if ":\t" in line)
    # The C library keeps 32 and 33 for itself: no program can change them, and who ignores them hands that on.
    changeable = sum(1 << number - 1 for number in signal.valid_signals())
    masks = {name: int(status[name], 16) & changeable for name in ("SigBlk", "SigIgn", "ShdPnd", "SigPnd")}
    assert not any(masks.values()), masks
    assert processes.open_files(one.pid()) == (1234, 1234)
    assert sorted(link.name for link in node.path(f"/proc/{one.pid()}/fd").iterdir()) == ["0", "1", "2"]


def test_uwsgi_gets_only_the_service_s_own_variables(
    serving: Callable[[str], Agent], processes: Processes, node: Node
) -> None:
    pid = serving("keystone").pid()
    variables = processes.read(pid, "environ").rstrip("\0").split("\0")
    names = {item.partition("=")[0] for item in variables}
    # uWSGI adds UWSGI_* for itself.
    assert {name for name in names if not name.startswith("UWSGI_")} == {
        "PATH",
        "HOME",
        "LANG",
        "OS_KEYSTONE_CONFIG_FILES",
    }


@pytest.mark.parametrize("service", ["nova-api", "nova-conductor"])
def test_start_returns_when_the_service_is_ready(
    service: str, agent: Callable[..., Agent], config_copy: Callable[..., str], node: Node
) -> None:
    options = {"host": "prompt", "osapi_compute_listen_port": 8799, "osapi_compute_workers": 1}
    config = config_copy(NOVA, "prompt", {"DEFAULT": options, "conductor": {"workers": 1}})
    one = agent(service, f"prompt-{service}", config=config)
    plain = Agent(node, service, one.instance, config=config)  # without what measures coverage
    late = []
    for _ in range(TRIES):
        if service == "nova-api":
            waiting = ready(node, HTTP_READY, "8799")
        else:
            url = node.path(NOVA).read_text().split("\ntransport_url = rabbit", 1)[1].splitlines()[0]
            waiting = ready(node, QUEUE_READY, f"amqp{url.rstrip('/')}/%2F", "conductor.prompt")
        assert plain.start().code == 0
        returned = time.monotonic()
        late.append(returned - float(waiting.communicate(timeout=20)[0]))
        assert plain.stop().code == 0
        if service == "nova-conductor":
            # The queue outlives its daemon, its consumer does not.
            until(lambda: not consumers(node, "conductor.prompt"), 10, "the consumer gone")
        if late[-1] < LATE:
            break
    assert min(late) < LATE, late


def consumers(node: Node, queue: str) -> int:
    listed = node.run(["rabbitmqctl", "--quiet", "list_queues", "name", "consumers"]).stdout
    return sum(int(line.split()[1]) for line in listed.splitlines() if line.split()[:1] == [queue])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"DEFAULT": {"report_interval": "never"}}, "never"),
        ({"DEFAULT": {"log_dir": "/nowhere/at/all"}}, "/nowhere/at/all"),
    ],
)
def test_an_early_death_fails_the_start_at_once(
    options: dict[str, dict[str, str]],
    words: str,
    agent: Callable[..., Agent],
    config_copy: Callable[..., str],
    processes: Processes,
    node: Node,
    in_background: Callable[..., threading.Thread],
) -> None:
    config = config_copy(NOVA, "early", {"DEFAULT": {"host": "early", **options["DEFAULT"]}})
    one = agent("nova-conductor", "early", config=config)
    died = []

    def watch() -> None:
        until(lambda: processes.matching("nova-conductor", "--config-file", config), 30, "the daemon", 0.01)
        until(lambda: not processes.matching("nova-conductor", "--config-file", config), 30, "its death", 0.01)
        died.append(time.monotonic())

    watching = in_background(watch)
    answer = one.start()
    returned = time.monotonic()
    watching.join()
    assert answer.code == 1, answer
    assert words in answer.reason
    assert "exited with status" in answer.reason
    assert returned - died[0] < 2.0
    secrets = controller.passwords(node)
    for secret in (secrets.sql["nova"], secrets.broker["openstack"], secrets.keystone["nova"]):
        assert secret not in answer.err + answer.out


def test_a_port_that_another_program_holds(trial_agent: Callable[..., Agent], node: Node, processes: Processes) -> None:
    holder = node.popen(["/usr/bin/python3", "-m", "http.server", "--bind", "127.0.0.1", "9377"])
    try:
        until(lambda: processes.listens(9377), 10, "the port")
        answer = trial_agent("held", "--port 9377").start()
        pid = processes.matching("http.server", "9377")[0]
        assert answer.code == 1
        assert f"port 9377 is held by pid {pid} (/usr/bin/python3)" in answer.reason
        assert processes.alive(pid)
    finally:
        processes.signal("KILL", *processes.matching("http.server", "9377"))
        holder.wait()


def test_a_unit_that_serves_already(
    agent: Callable[..., Agent], node: Node, processes: Processes, serving: Callable[[str], Agent]
) -> None:
    # The one of the session has the same configuration and port; it is started again where it is wanted.
    assert agent("nova-api", "s_nova-api").stop().code == 0
    one = agent("nova-api", "rival")
    node.run(["systemctl", "unmask", "nova-api.service"], check=True)
    try:
        node.start_unit("nova-api")
        until(lambda: processes.listens(8774), 60, "port 8774")
        pids = processes.matching("uwsgi", "/etc/nova/nova-api-uwsgi.ini")
        assert one.probe().code == 7
        answer = one.start()
        assert answer.code == 1
        assert "nova-api.service" in answer.reason
        assert str(pids[0]) in answer.reason
        assert "systemctl disable --now nova-api" in answer.reason
        monitored = one.monitor(0)
        assert (monitored.code, "nova-api.service" in monitored.reason) == (7, True)
        assert one.stop().code == 0
        assert processes.alive(*pids) == pids
        # The same through the port alone: the agent's own configuration is another one.
        other = agent("nova-api", "rival2", config="/etc/nova/nova-other.conf")
        shutil.copy2(node.path(NOVA), node.path("/etc/nova/nova-other.conf"))
        answer = other.start()
        assert answer.code == 1
        assert "port 8774 is held by pid" in answer.reason
        assert "of nova-api.service; run: systemctl disable --now nova-api" in answer.reason
    finally:
        node.stop_unit("nova-api")
        node.run(["systemctl", "mask", "nova-api.service"], check=True)
        node.path("/etc/nova/nova-other.conf").unlink(missing_ok=True)


def test_a_start_that_runs_out_of_time_says_what_it_waits_for(trial_agent: Callable[..., Agent]) -> None:
    one = trial_agent("slow", "--delay 100 --port 9377", url="http://127.0.0.1:9377/", shutdown_grace="1")
    answer = one.start(timeout=5)
    assert answer.code == 1
    assert answer.seconds < 5
    assert "not ready after 5 s" in answer.reason
    assert "http://127.0.0.1:9377/ refuses connections" in answer.reason


def test_start_without_the_broker_succeeds_and_the_daemon_consumes_later(
    conductor: Callable[..., Agent], node: Node
) -> None:
    one = conductor("nobroker")
    with faults.stopped(node, "rabbitmq-server"):
        answer = one.start(timeout=20)
        assert answer.code == 0, answer
        assert "RabbitMQ at 127.0.0.1:5672 refuses connections" in answer.reason
        assert answer.seconds < 18
        monitored = one.monitor(10)
        assert (monitored.code, "RabbitMQ" in monitored.reason) == (190, True)
    pid = one.pid()
    until(lambda: one.monitor(10).code == 0, 60, "an answer after the broker is back", 0.5)
    assert one.pid() == pid


def test_a_scheduler_without_placement(
    agent: Callable[..., Agent],
    config_copy: Callable[..., str],
    serving: Callable[[str], Agent],
    node: Node,
    processes: Processes,
    in_background: Callable[..., threading.Thread],
) -> None:
    serving("keystone")
    one = agent("nova-scheduler", "unplaced", config=config_copy(NOVA, "unplaced", {"DEFAULT": {"host": "unplaced"}}))
    with faults.stopped(node, "placement-api"):
        answer = one.start(timeout=30)
        assert (answer.code, answer.seconds < 30) == (1, True), answer
        assert "nova-scheduler exited with status" in answer.reason
        assert "Placement" in answer.reason
        assert "8778" in answer.reason
        assert one.stop().code == 0  # as Pacemaker does: the last daemon that was tried may still live
        answers: list[Answer] = []
        starting = in_background(lambda: answers.append(one.start(timeout=120)))
        first: list[int] = []
        until(lambda: first.append(one.pid()) or first[-1], 20, "the daemon")
        # Placement may be back before the agent asks why the daemon has ended: it was away while that waited.
        until(lambda: not processes.alive(first[-1]), 90, "its end")
    # Placement is back: with it the daemon, in the same action.
    starting.join()
    assert answers[0].code == 0, answers
    assert one.pid() != first[-1]


# -- stop ------------------------------------------------------------------------------------------


def test_stopping_what_is_frozen(conductor: Callable[..., Agent], processes: Processes) -> None:
    one = conductor("frozen")
    assert one.start().code == 0
    family = processes.family(one.pid())
    processes.signal("STOP", *family)
    until(lambda: set(processes.states(*family)) == {"T"}, 10, "all stopped")
    monitored = one.monitor()
    assert (monitored.code, "frozen" in monitored.reason) == (1, True)
    answer = one.stop(timeout=20)
    assert (answer.code, processes.alive(*family)) == (0, [])
    assert answer.seconds < 20


def test_deaf_daemons_are_killed_in_time(trial_agent: Callable[..., Agent], processes: Processes) -> None:
    ones = {
        timeout: trial_agent(
            f"deaf{timeout}", "--workers 2 --ignore-term all", config=f"/etc/glance/deaf{timeout}.conf"
        )
        for timeout in (5, 10, 20)
    }
    families = {}
    for timeout, one in ones.items():
        assert one.start().code == 0
        until(lambda one=one: len(processes.family(one.pid())) == 3, 10, "the workers")
        families[timeout] = processes.family(one.pid())
    with ThreadPoolExecutor() as pool:
        answers = dict(zip(ones, pool.map(lambda pair: pair[1].stop(timeout=pair[0]), ones.items())))
    for timeout, answer in answers.items():
        assert (answer.code, processes.alive(*families[timeout])) == (0, [])
        assert "was killed" in answer.reason
        assert timeout * 0.5 < answer.seconds < timeout


def test_the_operator_can_shorten_the_grace(trial_agent: Callable[..., Agent]) -> None:
    one = trial_agent("grace", "--ignore-term main", shutdown_grace="1")
    assert one.start().code == 0
    answer = one.stop(timeout=60)
    assert (answer.code, answer.seconds < 5) == (0, True)


def test_stop_returns_with_the_last_exit(trial_agent: Callable[..., Agent], processes: Processes) -> None:
    one = trial_agent("linger", "--workers 2 --linger 0.7")
    late = []
    for _ in range(TRIES):
        assert one.start().code == 0
        until(lambda: len(processes.family(one.pid())) == 3, 10, "the workers")
        watch = Watch(processes, processes.family(one.pid()))
        plain = Agent(one.node, one.name, one.instance, **one.parameters)
        assert plain.stop().code == 0
        returned = time.monotonic()
        watch.thread.join()
        late.append(returned - watch.end)
        if late[-1] < LATE:
            break
    assert min(late) < LATE, late


def test_stop_twice_and_of_what_never_ran(trial_agent: Callable[..., Agent], node: Node) -> None:
    one = trial_agent("never", "")
    assert (one.stop().code, one.probe().code) == (0, 7)
    assert one.start().code == 0
    assert one.stop().code == 0
    assert not node.path(one.pid_file).exists()
    again = one.stop()
    assert (again.code, again.reason) == (0, "")


def test_uwsgi_that_would_only_reload(
    agent: Callable[..., Agent], serving: Callable[[str], Agent], node: Node, processes: Processes
) -> None:
    application = node.path("/opt/trial-wsgi.py")
    application.write_text(
        "def application(environ, start):\n    start('200 OK', [('Content-Length', '0')])\n    return []\n"
    )
    ini = node.path("/etc/keystone/reloads.ini")
    ini.write_text(
        "[uwsgi]\nmaster = true\nprocesses = 2\nplugins = python3\nlazy-apps = true\n"
        "http-socket = 127.0.0.1:5990\nwsgi-file = /opt/trial-wsgi.py\n"
    )
    # With the configuration, and beside the daemon, of another resource.
    other = serving("keystone").pid()
    one = agent("keystone", "reloads", binary="/etc/keystone/reloads.ini")
    try:
        assert one.start().code == 0
        family = processes.family(one.pid())
        assert len(family) == 3
        answer = one.stop(timeout=20)
        assert (answer.code, processes.alive(*family)) == (0, [])
        assert (answer.reason, answer.seconds < 10) == ("", True)
        assert processes.alive(other) == [other]
    finally:
        one.stop()
        application.unlink()
        ini.unlink()


def test_stop_while_the_broker_hangs(conductor: Callable[..., Agent], processes: Processes) -> None:
    one = conductor("hangs")
    assert one.start().code == 0
    family = processes.family(one.pid())
    with faults.frozen(processes, *processes.matching("beam.smp", "rabbit")):
        answer = one.stop(timeout=20)
    assert (answer.code, processes.alive(*family)) == (0, [])
    assert answer.seconds < 20


def test_children_that_outlive_the_service_stay(
    trial_agent: Callable[..., Agent], processes: Processes, node: Node
) -> None:
    one = trial_agent("parent", "--workers 1 --helper --child sleep 731")
    helper = node.path("/opt/trial/privsep-helper")
    helper.write_text("import signal\nsignal.pause()\n")
    assert one.start().code == 0
    until(lambda: len(processes.family(one.pid())) == 4, 10, "worker, helper and child")
    family = processes.family(one.pid())
    child = [pid for pid in family if processes.proc.command_line(pid) == ["sleep", "731"]]
    answer = one.stop()
    try:
        assert (answer.code, answer.reason) == (0, "")
        assert processes.alive(*family) == child
        assert len(child) == 1
    finally:
        processes.signal("KILL", *child)
