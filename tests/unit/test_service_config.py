"""The daemons' own configuration files, read as oslo.config reads them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocf_common.service_config import LARGEST_FILE, ConfigError, ServiceConfig, url_passwords


def parsed(text: str) -> ServiceConfig:
    config = ServiceConfig()
    config.add("/etc/x.conf", text)
    return config


def test_assignments_comments_sections_and_quotes() -> None:
    config = parsed(
        "# comment\n; comment\n[DEFAULT]\nhost = ctl\nurl: http://a:80/?x=1\nquoted = ' two  words '\n"
        "half = 'open\nempty =\n[database]\nconnection=mysql://u:p@h/nova  \n"
    )
    assert config.get("DEFAULT", "host") == "ctl"
    assert config.get("DEFAULT", "url") == "http://a:80/?x=1"
    assert config.get("DEFAULT", "quoted") == " two  words "
    assert config.get("DEFAULT", "half") == "'open"
    assert config.get("DEFAULT", "empty", "default") == ""
    assert config.get("database", "connection") == "mysql://u:p@h/nova"
    assert config.get("database", "missing") is None
    assert config.get("nowhere", "missing", "default") == "default"
    assert config.problems == []


def test_a_continued_value_ends_at_a_blank_line() -> None:
    config = parsed("[a]\nlist = one,\n  two\n\t# three\n\nnext = 1\n  orphan\n")
    assert config.get("a", "list") == "one,\ntwo\n# three"
    assert config.get("a", "next") == "1\norphan"


def test_the_last_value_wins_and_all_are_kept() -> None:
    config = parsed("[a]\nx = 1\nx = 2\n[b]\ny = 0\n[A]\nx = 3\n")
    assert config.get("a", "x") == "3"
    assert config.get_all("a", "x") == ["1", "2", "3"]
    assert config.get_all("a", "y") == []


def test_case_of_sections_and_dashes_of_options() -> None:
    config = parsed("[DataBase]\nmax_retries = 1\n[default]\nx = 1\n")
    assert config.get("database", "max-retries") == "1"
    assert config.get("DATABASE", "max_retries") == "1"
    assert config.get("DEFAULT", "x") is None  # oslo.config: DEFAULT is the one name with a case


def test_what_oslo_config_refuses_is_left_out_and_named() -> None:
    config = parsed("early = 1\n  more\n[]\n[open\nno assignment\n= no key\n[ok]\n  continues nothing\nx = 1\n")
    assert config.get("DEFAULT", "early") == "1\nmore"
    assert config.get("ok", "x") == "1"
    assert config.problems == [
        "/etc/x.conf line 1 stands before the first section",
        "/etc/x.conf line 3 is no section",
        "/etc/x.conf line 4 is no section",
        "/etc/x.conf line 5 is no option",
        "/etc/x.conf line 6 is no option",
        "/etc/x.conf line 8 continues no value",
    ]


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("$my_ip", "10.0.0.1"),
        ("http://${my_ip}:80/", "http://10.0.0.1:80/"),
        ("$ks.host/$ks.host", "keystone/keystone"),
        ("${ks.url}", "http://keystone"),
        ("$local", "inner"),
        ("$$my_ip", "$my_ip"),
        (r"\$my_ip", "$my_ip"),
        ("$$$my_ip", "$10.0.0.1"),
        ("$unknown ${unknown} $ks.unknown $", "$unknown ${unknown} $ks.unknown $"),
        ("${my_ip", "${my_ip"),
        ("${my-ip}", "${my-ip}"),
        ("$1 ${}", "$1 ${}"),
    ],
)
def test_references(value: str, meant: str) -> None:
    config = parsed(
        f"[DEFAULT]\nmy_ip = 10.0.0.1\nlocal = outer\n[ks]\nhost = keystone\nurl = http://$host\n"
        f"[a]\nlocal = inner\nx = {value}\n"
    )
    assert config.get("a", "x") == meant


def test_references_that_never_end() -> None:
    config = parsed("[DEFAULT]\na = $b$b\nb = $a$a\nc = $c\n" + "d = " + "$e" * 1000 + "\ne = " + "x" * 100000)
    for option in "abcd":
        assert len(config.get("DEFAULT", option) or "") < 300000


def test_first_takes_the_newest_name_that_is_set() -> None:
    config = parsed("[DEFAULT]\nold = 1\nempty =\n")
    assert config.first((("new", "x"), ("DEFAULT", "empty"), ("DEFAULT", "old")), "2") == "1"
    assert config.first((("new", "x"),), "2") == "2"


@pytest.mark.parametrize(("value", "meant"), [("True", True), ("off", False), ("1", True), ("maybe", True)])
def test_booleans(value: str, meant: bool) -> None:
    assert parsed(f"[a]\nx = {value}\n").boolean("a", "x", True) is meant
    assert parsed("").boolean("a", "x", True) is True


def test_files_before_folders_and_folders_sorted(tmp_path: Path) -> None:
    (tmp_path / "nova.conf").write_text("[a]\nx = file\ny = file\n")
    folder = tmp_path / "nova.conf.d"
    folder.mkdir()
    (folder / "20.conf").write_text("[a]\nx = 20\n")
    (folder / "10.conf").write_text("[a]\nx = 10\nz = 10\n")
    (folder / "30.conf.bak").write_text("[a]\nx = bak\n")
    (folder / ".40.conf").write_text("[a]\nx = hidden\n")
    config = ServiceConfig.load([str(tmp_path / "nova.conf")], [str(folder), str(tmp_path / "none")])
    assert [config.get("a", option) for option in "xyz"] == ["20", "file", "10"]


def refused(path: Path | str) -> str:
    with pytest.raises(ConfigError) as caught:
        ServiceConfig.load([str(path)])
    assert caught.value.path == str(path)
    assert str(caught.value) == f"{path} {caught.value.reason}"
    return caught.value.reason


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    assert refused(tmp_path / "none") == "does not exist"
    assert refused(tmp_path) == "is a folder"
    assert refused("/dev/null") == "is not a regular file"
    os.mkfifo(tmp_path / "pipe")
    assert refused(tmp_path / "pipe") == "is not a regular file"
    assert refused("\0") == "cannot be read: invalid name"
    (tmp_path / "loop").symlink_to("loop")
    assert refused(tmp_path / "loop") == "cannot be read: Too many levels of symbolic links"
    (tmp_path / "binary").write_bytes(b"[a]\nx = \0\n")
    assert refused(tmp_path / "binary") == "is a binary file"
    (tmp_path / "latin").write_bytes(b"[a]\nx = M\xfcller\n")
    assert refused(tmp_path / "latin") == "is not UTF-8 text in line 2"
    (tmp_path / "big").write_bytes(b"#" * (LARGEST_FILE + 1))
    assert refused(tmp_path / "big") == "is larger than 4 MiB"


def test_latin_1_in_a_comment_long_lines_and_other_line_ends(tmp_path: Path) -> None:
    (tmp_path / "x.conf").write_bytes(b"# M\xfcller\r\n[a]\r\nlong = " + b"x" * 1000000 + b"\r\ny = \xc3\xa4\rz = 1")
    config = ServiceConfig.load([str(tmp_path / "x.conf")])
    assert len(config.get("a", "long") or "") == 1000000
    assert config.get("a", "y") == "ä"
    assert config.get("a", "z") == "1"


def test_secrets() -> None:
    config = parsed(
        "[DEFAULT]\ntransport_url = rabbit://a:one%21@h1:5672,b:two@h2/v\nproxy_shared_secret = three\n"
        "[keystone_authtoken]\nuser = nova\nPassword = $other\nother = four\nadmin_token =\n"
        "[database]\nconnection = mysql+pymysql://nova:fi@ve/@h/nova\nplain = http://h/a@b\n"
    )
    found = set(config.secrets())
    assert {"one%21", "one!", "two", "three", "$other", "four", "fi@ve/"} <= found
    assert not {"", "nova", "a", "b"} & found


@given(st.text(), st.text(), st.text(alphabet="$ab{}.\\", max_size=60))
def test_no_text_makes_it_fail(text: str, more: str, value: str) -> None:
    config = ServiceConfig()
    try:
        config.add("x", f"{text}\n[a]\nb = {value}\na.b = {more}\n{more}")
    except ConfigError as error:
        assert "UTF-8" in error.reason
        return
    for section, options in config.sections.items():
        for option in options:
            config.get(section, option)
            config.boolean(section, option)
    config.secrets()


@given(st.binary(max_size=300))
def test_no_bytes_make_it_fail(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "bytes.conf"
    path.write_bytes(data)
    try:
        ServiceConfig.load([str(path)]).secrets()
    except ConfigError as error:
        assert "\n" not in str(error)


PLAIN = st.text(alphabet=st.characters(whitelist_categories=("L", "N")), min_size=1, max_size=20)


@given(st.dictionaries(PLAIN, st.dictionaries(PLAIN, PLAIN, min_size=1), min_size=1))
def test_what_is_written_is_read(sections: dict[str, dict[str, str]]) -> None:
    folded = {name if name == "DEFAULT" else name.lower(): options for name, options in sections.items()}
    config = parsed("".join(f"[{s}]\n" + "".join(f"{o} = {v}\n" for o, v in os.items()) for s, os in folded.items()))
    for section, options in folded.items():
        for option, value in options.items():
            assert config.get(section, option) == value


@given(st.text(min_size=1))
def test_no_password_of_a_url_is_missed(password: str) -> None:
    assert password in url_passwords(f"mysql://user:{password}@host/name")
