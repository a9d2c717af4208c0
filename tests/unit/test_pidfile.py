"""The pid file: nothing in it is believed."""

from __future__ import annotations

import os
import resource
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocf_common.pidfile import PidRecord, parse, read, remove, replace_file, write
from ocf_common.procfs import Process

DAEMON = Process(4711, "S", 1, 4711, 4711, 184467)


@given(st.binary(max_size=200))
def test_any_bytes_give_a_number_above_1_or_nothing(text: bytes) -> None:
    record = parse(text)
    if record is not None:
        assert 1 < record.pid <= 4194304
        assert record.started >= 0
        assert (record.started == 0) == (record.boot == "")


@given(st.integers(2, 4194304), st.integers(1, 10**18), st.uuids())
def test_what_is_written_is_read(pid: int, started: int, boot: object) -> None:
    record = parse(f"{pid}\nstarted={started} boot={boot}\n".encode())
    assert record is not None
    assert (record.pid, record.started, record.boot) == (pid, started, str(boot))


@given(st.integers(2, 4194304), st.binary(max_size=100))
def test_the_number_stands_whatever_follows_it(pid: int, rest: bytes) -> None:
    record = parse(b"%d\n" % pid + rest)
    assert record is not None
    assert record.pid == pid


@pytest.mark.parametrize(
    "text",
    [
        b"", b"\n", b" ", b"0", b"1", b"-1", b"-4711", b"+4711", b"4711x", b"4711 4712", b"47.11", b"0x4711", b"1e3",
        b"\n4711", b"\xd9\xa4", b"4194305", b"9" * 5000, b"\0", b"4711\0", b"nova", b"1" * 100000,
    ],
)  # fmt: skip
def test_garbage_is_no_number(text: bytes) -> None:
    assert parse(text) is None


@pytest.mark.parametrize("text", [b"4711", b"4711\n", b" 4711 \n", b"4711\r\n", b"04711\n", b"4711\n\xff\xfe\n"])
def test_a_number_alone_is_what_the_old_agents_wrote(text: bytes) -> None:
    record = parse(text)
    assert record is not None
    assert (record.pid, record.started, record.boot) == (4711, 0, "")


@pytest.mark.parametrize("line", ["started=x boot=b", "started= boot=b", "boot=b", "started=5", "started=-5 boot=b"])
def test_half_a_proof_is_none(line: str) -> None:
    record = parse(f"4711\n{line}\n".encode())
    assert record is not None
    assert not record.is_same(DAEMON, "b")


def test_proof_is_number_start_time_and_boot() -> None:
    assert PidRecord(4711, 184467, "b").is_same(DAEMON, "b")
    assert not PidRecord(4712, 184467, "b").is_same(DAEMON, "b")
    assert not PidRecord(4711, 184468, "b").is_same(DAEMON, "b")
    assert not PidRecord(4711, 184467, "b").is_same(DAEMON, "c")
    assert not PidRecord(4711).is_same(Process(4711, "S", 1, 1, 1, 0), "")


def test_first_line_is_the_number_and_the_file_is_readable_for_all(tmp_path: Path) -> None:
    path = tmp_path / "x.pid"
    umask = os.umask(0o077)
    try:
        write(str(path), DAEMON, "b")
    finally:
        os.umask(umask)
    assert path.read_text().splitlines()[0] == "4711"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.pid"]


def test_what_cannot_be_read_is_nothing(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("4711\n")
    (tmp_path / "link").symlink_to(target)
    os.mkfifo(tmp_path / "pipe")
    for name in ("missing", "link", "pipe", ".", "target/below"):
        assert read(str(tmp_path / name)) is None
    assert read(str(target)) is not None


@pytest.mark.parametrize("name", ["x", f"x.{os.getpid()}.new"])
def test_a_planted_link_is_replaced_and_its_target_untouched(tmp_path: Path, name: str) -> None:
    """Also where the link is planted under the name of the temporary file."""
    target = tmp_path / "target"
    target.write_text("untouched")
    (tmp_path / name).symlink_to(target)
    replace_file(str(tmp_path / "x"), b"new", 0o600)
    assert target.read_text() == "untouched"
    assert (tmp_path / "x").read_bytes() == b"new"
    assert not (tmp_path / "x").is_symlink()
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o600


def test_what_could_not_be_put_there_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(OSError, match="directory"):
        replace_file(str(tmp_path / "x"), b"new", 0o600)
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


def test_half_a_content_takes_no_files_place(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3, hard))  # as a full device does it: the write is a short one
    try:
        with pytest.raises(OSError, match="No space left"):
            replace_file(str(path), b"new one", 0o600)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [("x", "old")]


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        write(str(tmp_path / "no" / "x.pid"), DAEMON, "b")


def test_removing_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("")
    remove(str(path))
    remove(str(path))
    remove(str(path / "below"))
    with pytest.raises(OSError, match=r"directory|permitted"):
        remove(str(tmp_path))
