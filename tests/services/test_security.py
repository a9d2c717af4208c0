"""No secret where others can read it, no link followed, no parameter in a shell, no certificate taken on trust."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from lab import controller
from lab.driver import Agent, Answer
from lab.node import Node
from services.conftest import until
from services.processes import Processes

SECRET = "Sesame-0pen/&;$(touch_x)"
STATE = "/run/resource-agents/openstack"


class Sampler:
    """Reads the arguments and environments of all processes of the node, again and again, until it is left."""

    def __init__(self, node: Node, processes: Processes, wanted: list[str], ours: list[str]) -> None:
        self.root = node.path("/proc")
        self.processes = processes
        self.wanted = [secret.encode() for secret in wanted]
        self.ours = ours
        self.found: list[str] = []
        self.rounds = 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def __enter__(self) -> Sampler:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()

    def _run(self) -> None:
        while not self.over.is_set():
            self.rounds += 1
            for pid in os.listdir(self.root):
                if pid.isdigit():
                    self._look(int(pid))

    def _look(self, pid: int) -> None:
        # Arguments before and after: at the moment of an exec they are empty, or still another program's.
        before, environment, after = (
            self.processes.proc.read(pid, name, 1 << 20) or b"" for name in ("cmdline", "environ", "cmdline")
        )
        arguments = before + after
        # The agent's own environment is how Pacemaker hands parameters over; only root can read it.
        if any(name.encode() in arguments for name in self.ours):
            environment = b""
        for secret in self.wanted:
            if secret in arguments + b"\0" + environment:
                self.found.append(f"{pid} {arguments[:80]!r}")


@pytest.fixture(scope="session")
def secrets(node: Node) -> list[str]:
    known = controller.passwords(node)
    return [SECRET, *known.sql.values(), *known.broker.values(), *known.keystone.values()]


def journal(node: Node, since: float) -> str:
    """Give what syslog and the journal have got since then."""
    log = node.run(["journalctl", "--quiet", "--since", f"@{since:.0f}", "--output=cat"]).stdout
    return log + node.path("/var/log/syslog").read_text(errors="replace")


@pytest.mark.parametrize("name", ["keystone", "nova-api", "nova-conductor"])
def test_no_secret_is_shown(
    name: str,
    node: Node,
    agent: Callable[..., Agent],
    processes: Processes,
    secrets: list[str],
    config_copy: Callable[..., str],
) -> None:
    begin = time.time()
    original, options, more = {
        "keystone": ("/etc/keystone/keystone.conf", {}, {"listen": "127.0.0.1:5994", "os_password": SECRET}),
        "nova-api": ("/etc/nova/nova.conf", {"osapi_compute_listen_port": 8794}, {"os_password": SECRET}),
        "nova-conductor": ("/etc/nova/nova.conf", {"host": "secretive"}, {}),
    }[name]
    if more:
        more = {**more, "os_username": "monitor"}
    one = agent(name, "secretive", config=config_copy(original, "secretive", {"DEFAULT": options}), **more)
    answers: list[Answer] = []
    with Sampler(node, processes, secrets, [f"resource.d/openstack/{name}"]) as sampler:
        answers.append(one.start())
        assert answers[0].code == 0, answers
        answers += [one.monitor(level) for level in (0, 10, 20, 20)]
        answers.append(one.call("validate-all", level=10))
        daemon = "".join(processes.read(pid, "environ") for pid in processes.family(one.pid()))
        answers.append(one.stop())
        answers += [one.monitor(), one.probe()]
    assert sampler.rounds > 20
    assert sampler.found == []
    texts = {
        "answers": "".join(answer.out + answer.err for answer in answers),
        "journal": journal(node, begin),
        "daemon's environment": daemon,
    }
    for folder in ("/run/resource-agents", STATE):
        for path in node.path(folder).iterdir():
            if path.is_file():
                texts[path.name] = path.read_text(errors="replace")
    for place, text in texts.items():
        assert not any(secret in text for secret in secrets), place
    assert [answer.code for answer in answers[-3:]] == [0, 7, 7]


def test_our_own_files(trial_agent: Callable[..., Agent], node: Node) -> None:
    one = trial_agent("modes", "", on_dependency_failure="degraded", silent_checks="5")
    assert one.start().code == 0
    one.parameters["url"] = "http://127.0.0.1:9/"
    one.monitor()
    state = node.path(STATE)
    assert oct(node.path(one.pid_file).stat().st_mode & 0o7777) == "0o644"
    assert (oct(state.stat().st_mode & 0o7777), state.stat().st_uid) == ("0o700", 0)
    for path in state.iterdir():
        assert (oct(path.stat().st_mode & 0o7777), path.stat().st_uid) == ("0o600", 0), path


def test_planted_links_lead_nowhere(trial_agent: Callable[..., Agent], node: Node, processes: Processes) -> None:
    target = node.path("/var/tmp/planted-target")
    output = node.path("/var/log/glance/planted.out")
    state = node.path(STATE)
    one = trial_agent("planted", "--words words", output_file="/var/log/glance/planted.out", silent_checks="5")
    saved = node.path("/run/resource-agents/openstack.saved")
    try:
        for what in ("pid file", "output file", "hard link", "state file", "state folder"):
            target.write_text("precious\n")
            target.chmod(0o666)
            for path in (node.path(one.pid_file), output):
                path.unlink(missing_ok=True)
            if what == "pid file":
                node.path(one.pid_file).symlink_to("/var/tmp/planted-target")
            elif what == "output file":
                output.symlink_to("/var/tmp/planted-target")
            elif what == "hard link":
                node.run(["ln", "/var/tmp/planted-target", "/var/log/glance/planted.out"], check=True)
            elif what == "state file":
                state.mkdir(mode=0o700, exist_ok=True)
                (state / f"{one.instance}.state").symlink_to("/var/tmp/planted-target")
            else:
                (state / f"{one.instance}.state").unlink(missing_ok=True)
                state.rename(saved)
                node.path("/var/tmp/planted-folder").mkdir()
                state.symlink_to("/var/tmp/planted-folder")
            url = one.parameters["url"]
            assert one.start().code == 0, what
            # Silent and refused: something to remember.
            one.parameters["url"] = "http://127.0.0.1:9/"
            one.monitor()
            one.parameters["url"] = url
            assert one.stop().code == 0, what
            assert target.read_text() == "precious\n", what
            assert oct(target.stat().st_mode & 0o7777) == "0o666", what
            if what == "state folder":
                assert list(node.path("/var/tmp/planted-folder").iterdir()) == []
    finally:
        if state.is_symlink():
            state.unlink()
            saved.rename(state)
            node.path("/var/tmp/planted-folder").rmdir()
        (state / f"{one.instance}.state").unlink(missing_ok=True)
        output.unlink(missing_ok=True)
        target.unlink()


def test_the_output_file_is_bounded(trial_agent: Callable[..., Agent], node: Node) -> None:
    output = node.path("/var/log/glance/bounded.out")
    output.write_bytes(b"x" * (1 << 20) + b"y")
    owner = node.path("/var/log/glance").stat().st_uid
    os.chown(output, owner, -1)
    one = trial_agent("bounded", "--words fresh", output_file="/var/log/glance/bounded.out")
    try:
        assert one.start().code == 0
        until(lambda: "fresh" in output.read_text(), 5, "the daemon's words")
        assert output.stat().st_size < 1000
        assert (oct(output.stat().st_mode & 0o7777), output.stat().st_uid) == ("0o640", owner)
        assert output.with_name("bounded.out.1").stat().st_size == (1 << 20) + 1
    finally:
        output.unlink()
        output.with_name("bounded.out.1").unlink(missing_ok=True)


def test_no_parameter_reaches_a_shell(node: Node, agent: Callable[..., Agent], trial: str) -> None:
    planted = node.path("/var/tmp/ran")
    bad = "x; touch /var/tmp/ran; $(touch /var/tmp/ran) `touch /var/tmp/ran` | touch /var/tmp/ran && touch /var/tmp/ran"
    listed = node.run(["/usr/lib/ocf/resource.d/openstack/glance-api", "meta-data"]).stdout
    names = [line.split('"')[1] for line in listed.splitlines() if line.startswith("<parameter name=")]
    assert len(names) > 20
    for value in (bad, f"/tmp/{bad}", f"http://127.0.0.1:9/{bad}"):
        # Those that a start needs one at a time, all others together.
        needed = ("binary", "config", "user", "pid", "url", "output_file")
        together = {name: value for name in names if name not in needed}
        for given in (together, *({name: value} for name in needed)):
            one = Agent(node, "glance-api", "shells", **{"binary": trial, "url": "", **given})
            one.start(timeout=3)
            one.monitor(20, timeout=3)
            one.call("validate-all", level=10)
            assert one.stop(timeout=10).code == 0
            assert not planted.exists(), given


# -- certificates ----------------------------------------------------------------------------------

# OpenSSL's own commands make none that has expired.
CERTIFICATE = """
import datetime, sys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
path, host, days = sys.argv[1:]
key = ec.generate_private_key(ec.SECP256R1())
name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
end = datetime.datetime.utcnow() + datetime.timedelta(days=int(days))
built = (
    x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    .serial_number(x509.random_serial_number()).not_valid_before(end - datetime.timedelta(days=60)).not_valid_after(end)
    .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), False)
    .add_extension(x509.BasicConstraints(True, None), True).sign(key, hashes.SHA256())
)
text = serialization.Encoding.PEM
with open(path, "wb") as file:
    file.write(key.private_bytes(text, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    file.write(built.public_bytes(text))
"""
SERVER = """
import http.server, ssl, sys
server = http.server.HTTPServer(("127.0.0.1", 9399), http.server.SimpleHTTPRequestHandler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1])
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


@pytest.fixture
def certificate(node: Node) -> Iterator[Callable[[str, int], str]]:
    """Serve TLS on port 9399 with certificates made as told; give the file that also verifies them."""
    running: list[subprocess.Popen[str]] = []

    def end() -> None:
        for process in running:
            os.killpg(process.pid, 15)
            process.wait()
        running.clear()

    def serve(host: str, days: int) -> str:
        end()
        path = "/var/tmp/server.pem"
        node.run(["/usr/bin/python3", "-c", CERTIFICATE, path, host, str(days)], check=True)
        running.append(
            node.popen(["/usr/bin/python3", "-c", SERVER, path], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        )
        node.wait_until(["curl", "--silent", "--insecure", "--output", "/dev/null", "https://127.0.0.1:9399/"])
        return path

    yield serve
    end()


def test_certificates_are_verified(trial_agent: Callable[..., Agent], certificate: Callable[[str, int], str]) -> None:
    one = trial_agent("tls", "")
    assert one.start().code == 0
    plain = dict(one.parameters, url="https://127.0.0.1:9399/")

    def monitored(**parameters: str) -> Answer:
        one.parameters = {**plain, **parameters}
        return one.monitor(10)

    ca = certificate("image.example.org", 30)
    # Nobody vouches for it; somebody does, for another name; for this name.
    answer = monitored()
    assert answer.code == 190, answer
    for part in ("image.example.org", "127.0.0.1"):
        assert part in answer.reason, answer
    answer = monitored(os_cacert=ca)
    assert answer.code == 190, answer
    for part in ("image.example.org", "127.0.0.1", "20"):
        assert part in answer.reason, answer
    assert monitored(os_cacert=ca, tls_name="image.example.org").code == 0
    assert monitored(insecure="true").code == 0
    ca = certificate("image.example.org", -1)
    answer = monitored(os_cacert=ca, tls_name="image.example.org")
    assert answer.code == 190, answer
    assert "expired" in answer.reason, answer
    assert monitored(insecure="true").code == 0
    one.parameters = {**plain, "url": ""}
