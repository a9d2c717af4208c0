"""What a resource is: files, arguments, configuration, and how its processes look."""

from __future__ import annotations

from pathlib import Path

import pytest
from resource_maker import make

from ocf_common.exit_codes import BadArguments, NotInstalled
from ocf_common.forms import Form, Wsgi
from ocf_common.service import Service


class Scheduler(Service):
    name = "nova-scheduler"
    binary = "nova-scheduler"
    project = "nova"
    config = "/etc/nova/nova.conf"
    user = "root"


class Image(Service):
    name = "image"
    binary = "zzimage-api"
    project = "image"
    config = "/etc/image/image.conf"
    user = "root"
    wsgi = Wsgi("", "image.wsgi:application", "image-wsgi", {"OS_IMAGE_CONFIG_DIR": "{folder}"})


def test_files_by_default(tmp_path: Path) -> None:
    service = make(Scheduler, tmp_path)
    assert service.pid_file == f"{tmp_path}/p_x.pid"
    assert service.output_file == "/var/log/nova/nova-scheduler.out"


def test_files_by_parameter(tmp_path: Path) -> None:
    service = make(Scheduler, tmp_path, pid="/run/a.pid", output_file="/var/log/b")
    assert (service.pid_file, service.output_file) == ("/run/a.pid", "/var/log/b")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("--debug  --log-file /x", ["--debug", "--log-file", "/x"]),
        ("--name 'a b' \"c d\"", ["--name", "a b", "c d"]),
        ("it's never closed", ["it's", "never", "closed"]),
        ("$(reboot) `x` ; | &", ["$(reboot)", "`x`", ";", "|", "&"]),
    ],
)
def test_additional_parameters_are_words_that_no_shell_reads(tmp_path: Path, text: str, words: list[str]) -> None:
    assert make(Scheduler, tmp_path, additional_parameters=text).additional_arguments() == words


def test_command_of_a_daemon(tmp_path: Path) -> None:
    service = make(Scheduler, tmp_path, additional_parameters="--debug")
    assert service.command(Form("daemon", "/usr/bin/nova-scheduler")) == (
        ["/usr/bin/nova-scheduler", "--config-file", f"{tmp_path}/service.conf", "--debug"],
        {},
    )


def test_command_of_uwsgi(tmp_path: Path) -> None:
    service = make(Image, tmp_path, additional_parameters="--stats /x")
    arguments, environment = service.command(Form("module", "/usr/bin/uwsgi", "image.wsgi:application"))
    assert arguments[-2:] == ["--stats", "/x"]
    assert f"ocf-config={tmp_path}/service.conf" in arguments
    assert environment == {"OS_IMAGE_CONFIG_DIR": str(tmp_path)}


@pytest.mark.parametrize("more", ["", "--config-file /etc/more.conf", "--config-dir=/etc/more.d"])
@pytest.mark.parametrize(
    ("kind", "form", "interpreter", "shape"),
    [
        (Scheduler, Form("daemon", "/usr/bin/nova-scheduler"), ["/usr/bin/python3"], "{}"),
        (Image, Form("module", "/usr/bin/uwsgi", "image.wsgi:application"), [], "--pyargv '{}'"),
    ],
)
def test_what_is_started_is_expected_by_its_own_resource_alone(
    tmp_path: Path, kind: type[Service], form: Form, interpreter: list[str], shape: str, more: str
) -> None:
    service = make(kind, tmp_path, additional_parameters=shape.format(more))
    arguments, _ = service.command(form)
    assert service.expected().recognise([*interpreter, *arguments], "") is not None
    service.parameters._given["additional_parameters"] = shape.format("--config-dir /etc/other.d")
    assert service.expected().recognise([*interpreter, *arguments], "") is None


def test_a_binary_of_another_name_is_expected_too(tmp_path: Path) -> None:
    expected = make(Scheduler, tmp_path, binary="/opt/x/my-scheduler").expected()
    config = f"--config-file={tmp_path}/service.conf"
    assert expected.recognise(["python3", "/opt/x/my-scheduler", config], "") is not None
    assert expected.recognise(["python3", "/usr/bin/nova-scheduler", config], "") is not None


def folder_of_options(place: Path, value: str) -> None:
    place.mkdir()
    (place / "x.conf").write_text(f"[DEFAULT]\n{value} = {value}\nlast = {value}\n")


@pytest.mark.parametrize(
    ("kind", "binary", "last"), [(Scheduler, "nova-scheduler", "file"), (Image, "x.ini", "program")]
)
def test_the_file_wins_over_folders_for_a_daemon_and_loses_for_uwsgi(
    tmp_path: Path, kind: type[Service], binary: str, last: str
) -> None:
    """As oslo.config has it with --config-file, and with the file as its default."""
    for program in ("nova-scheduler", "uwsgi"):
        (tmp_path / program).symlink_to("/bin/true")
    (tmp_path / "x.ini").write_text("[uwsgi]\n")
    folder_of_options(tmp_path / "service.conf.d", "project")
    folder_of_options(tmp_path / f"{kind.binary}.conf.d", "program")
    service = make(kind, tmp_path, "[DEFAULT]\nfile = file\nlast = file\n", binary=str(tmp_path / binary))
    service.environment.search_path = str(tmp_path)
    form = service.form()
    assert form is not None
    assert form.uwsgi == (kind is Image)
    assert [service.settings.get("DEFAULT", name) for name in ("project", "program", "file", "last")] == [
        "project",
        "program",
        "file",
        last,
    ]
    assert service.settings is service.settings


def test_a_folder_that_is_given_takes_the_place_of_the_others_and_wins(tmp_path: Path) -> None:
    for name in ("service", "given"):
        folder_of_options(tmp_path / f"{name}.conf.d", name)
    text = "[DEFAULT]\nlast = file\n"
    service = make(Scheduler, tmp_path, text, additional_parameters=f"--config-dir {tmp_path}/given.conf.d")
    assert service.settings.get("DEFAULT", "service") is None
    assert service.settings.get("DEFAULT", "last") == "given"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", ""),
        ("log_file = /var/log/x.log", "/var/log/x.log"),
        ("log_dir = /var/log/nova", "/var/log/nova/nova-scheduler.log"),
        ("log_dir = /var/log/nova\nlog_file = y.log", "/var/log/nova/y.log"),
        ("log_file = relative.log", ""),
    ],
)
def test_log_file_of_the_configuration(tmp_path: Path, text: str, path: str) -> None:
    assert make(Scheduler, tmp_path, f"[DEFAULT]\n{text}\n").log_file() == path


def test_log_file_of_a_uwsgi_ini(tmp_path: Path) -> None:
    ini = tmp_path / "x.ini"
    ini.write_text("[uwsgi]\nlogto = /var/log/image.log\n")
    (tmp_path / "uwsgi").write_text("")
    (tmp_path / "uwsgi").chmod(0o755)
    service = make(Image, tmp_path, binary=str(ini))
    service.environment.search_path = str(tmp_path)
    assert service.form().kind == "ini"
    assert service.log_file() == "/var/log/image.log"


def test_a_configuration_that_cannot_be_read_names_no_log_file(tmp_path: Path) -> None:
    service = make(Scheduler, tmp_path)
    (tmp_path / "service.conf").write_bytes(b"\xff\0")
    assert service.log_file() == ""
    with pytest.raises(BadArguments, match=r"configuration file .*service\.conf"):
        make_installed(service).require_host()


def make_installed(service: Service) -> Service:
    service.parameters._given["binary"] = "/bin/sh"
    return service


def test_host_requirements(tmp_path: Path) -> None:
    form, account = make(Scheduler, tmp_path, binary="/bin/sh").require_host()
    assert (form.kind, form.program, account.pw_uid) == ("daemon", "/bin/sh", 0)


def test_hidden_binaries_are_not_installed(tmp_path: Path) -> None:
    service = make(Scheduler, tmp_path, binary="/bin/sh")
    service.environment.pretend_missing = True
    with pytest.raises(NotInstalled, match="/bin/sh is not installed"):
        service.require_host()


def test_secrets_are_those_of_parameters_and_of_what_was_read(tmp_path: Path) -> None:
    service = make(Scheduler, tmp_path, "[database]\nconnection = mysql://nova:hush@h/nova\n")
    assert service.secrets() == []
    assert service.settings
    assert any("hush" in secret for secret in service.secrets())
