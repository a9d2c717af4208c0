"""In which form a service is started: a daemon of its own, or an application that uWSGI serves."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocf_common.forms import Wsgi, choose, find_program, is_stub, uwsgi_arguments, wsgi_environment, wsgi_markers

PACKAGES = "lib/python3.11/site-packages"


class Host:
    """A virtual environment with what the test puts there, and nothing of the machine's."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = str(root / "bin")
        (root / "pyvenv.cfg").parent.mkdir()
        (root / "pyvenv.cfg").write_text("")
        self.ini = root.parent / "image-uwsgi.ini"
        # Names of its own: what this machine has in the standard folders must not be found.
        self.wsgi = Wsgi(str(self.ini), "zzimage.wsgi.api:application", "zzimage-wsgi-api", {"OS_X": "{folder}"})

    def program(self, name: str) -> str:
        path = self.root / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
        path.chmod(0o755)
        return str(path)

    def module(self, name: str) -> None:
        path = self.root / PACKAGES / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")

    def choose(self, binary: str = "") -> tuple[str, str, str] | None:
        form = choose(binary, "zzimage-api", self.wsgi, self.path)
        return (form.kind, form.program, form.application) if form is not None else None


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "environment")


def test_nothing_is_installed(host: Host) -> None:
    for binary in ("", "zzimage-api", "/nowhere/x", "zzimage.wsgi.api:application", "/x.ini", "zzimage-wsgi-api"):
        assert host.choose(binary) is None


def test_the_daemon_comes_first(host: Host) -> None:
    daemon = host.program("zzimage-api")
    host.program("uwsgi")
    host.module("zzimage/wsgi/api.py")
    assert host.choose() == ("daemon", daemon, "")


def test_then_the_module_then_the_script(host: Host) -> None:
    uwsgi = host.program("uwsgi")
    assert host.choose() is None
    script = host.program("zzimage-wsgi-api")
    assert host.choose() == ("script", uwsgi, script)
    host.module("zzimage/wsgi/api.py")
    assert host.choose() == ("module", uwsgi, "zzimage.wsgi.api:application")


def test_the_distributions_ini_is_not_for_a_virtual_environment(host: Host) -> None:
    uwsgi = host.program("uwsgi")
    host.ini.write_text("")
    assert host.choose() is None
    (host.root / "pyvenv.cfg").unlink()
    assert host.choose() == ("ini", uwsgi, str(host.ini))


def test_the_programs_own_plugin_build_of_uwsgi_comes_first(host: Host) -> None:
    host.program("uwsgi")
    with_python = host.program("uwsgi_python3")
    host.module("zzimage/wsgi/api/__init__.py")
    assert host.choose() == ("module", with_python, "zzimage.wsgi.api:application")


def test_binary_says_which_form(host: Host) -> None:
    daemon, uwsgi, script = host.program("zzimage-api"), host.program("uwsgi"), host.program("zzimage-wsgi-api")
    host.module("zzimage/wsgi/api.py")
    own_ini = host.root / "own.ini"
    own_ini.write_text("")
    assert host.choose("zzimage-api") == host.choose(daemon) == ("daemon", daemon, "")
    assert host.choose(str(own_ini)) == ("ini", uwsgi, str(own_ini))
    assert host.choose("other.wsgi:app") == ("module", uwsgi, "other.wsgi:app")
    assert host.choose(uwsgi) == ("module", uwsgi, "zzimage.wsgi.api:application")
    assert host.choose(script) == ("script", uwsgi, script)


def test_the_daemon_of_old_means_the_service_of_today(host: Host) -> None:
    uwsgi = host.program("uwsgi")
    host.module("zzimage/wsgi/api.py")
    assert host.choose("/usr/bin/zzimage-api") == ("module", uwsgi, "zzimage.wsgi.api:application")
    assert host.choose("/usr/bin/something-else") is None


def test_a_wsgi_script_that_is_called_like_a_daemon_is_none(host: Host) -> None:
    """placement-api."""
    host.wsgi = Wsgi(str(host.ini), "zzimage.wsgi.api:application", "zzimage-api", {})
    uwsgi, script = host.program("uwsgi"), host.program("zzimage-api")
    assert host.choose() == host.choose("zzimage-api") == host.choose(script) == ("script", uwsgi, script)


def test_a_stub_that_only_says_it_is_gone_is_no_daemon(host: Host) -> None:
    """glance-api from glance 33 on."""
    stub = host.program("glance-api")
    assert not is_stub(stub)
    source = host.root / PACKAGES / "glance/cmd/api.py"
    source.parent.mkdir(parents=True)
    source.write_text("def main():\n    server = wsgi.Server(initialize_glance_store=True)\n")
    assert not is_stub(stub)
    source.write_text("def main():\n    sys.exit(1)\n")
    assert is_stub(stub)
    assert not is_stub(host.program("nova-api"))


@pytest.mark.parametrize("mode", [0o644, 0o755])
def test_a_program_is_an_executable_file(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "zzprogram"
    path.write_text("")
    path.chmod(mode)
    expected = str(path) if mode & 0o111 else ""
    assert find_program("zzprogram", str(tmp_path)) == find_program(str(path), "") == expected
    assert find_program(str(tmp_path), "") == ""


def arguments(host: Host, socket: str = "127.0.0.1:9292", **changes: str) -> list[str]:
    form = choose(changes.get("binary", ""), "zzimage-api", host.wsgi, host.path)
    assert form is not None
    return uwsgi_arguments(form, host.wsgi, "/etc/zz/image.conf", socket, 3)


def test_arguments_of_the_module_form(host: Host) -> None:
    host.program("uwsgi")
    host.module("zzimage/wsgi/api.py")
    found = " ".join(arguments(host))
    for words in (
        "--master --processes 3 --die-on-term --need-app",
        "--rem-header Content-Length",
        "--module zzimage.wsgi.api:application",
        "--http-socket 127.0.0.1:9292",
        f"--virtualenv {host.root}",
        "--set-placeholder ocf-config=/etc/zz/image.conf",
    ):
        assert words in found


def test_an_ini_keeps_its_own_settings(host: Host) -> None:
    uwsgi = host.program("uwsgi_python3")
    host.ini.write_text("")
    (host.root / "pyvenv.cfg").unlink()
    assert arguments(host, socket="") == [
        uwsgi,
        "--ini",
        str(host.ini),
        "--set-placeholder",
        "ocf-config=/etc/zz/image.conf",
    ]


def test_what_is_started_is_recognised_again(host: Host) -> None:
    from ocf_common.identity import Expected

    host.program("uwsgi")
    host.module("zzimage/wsgi/api.py")
    script = host.program("zzimage-wsgi-api")
    config = "/etc/zz/image.conf"
    for binary in ("", script, "other.wsgi:app"):
        expected = Expected(["zzimage-api"], [config], ["/etc/default.conf"], None, wsgi_markers(host.wsgi, binary))
        assert expected.recognise(arguments(host, binary=binary), "uwsgi") is not None
        other = Expected(["zzimage-api"], ["/etc/other"], [config], None, wsgi_markers(host.wsgi, binary))
        assert other.recognise(arguments(host, binary=binary), "uwsgi") is None


def test_environment_leads_to_the_configuration() -> None:
    wsgi = Wsgi("", "m", "s", {"A": "{config}", "B": "{folder}", "C": "{file}"})
    assert wsgi_environment(wsgi, "/etc/x/y.conf") == {"A": "/etc/x/y.conf", "B": "/etc/x", "C": "y.conf"}
