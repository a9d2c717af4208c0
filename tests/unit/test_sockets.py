"""Sockets and their owners, from the real /proc and from made-up ones."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocf_common.sockets import (
    established,
    has_connection,
    listeners,
    normal,
    owners,
    parse_line,
    socket_inodes,
)

FAMILIES = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"), (socket.AF_INET6, "::ffff:127.0.0.1")]


@pytest.mark.parametrize(("family", "address"), FAMILIES)
def test_own_sockets_in_the_real_proc(family: int, address: str) -> None:
    with socket.socket(family) as server, socket.socket(family) as client:
        server.bind((address, 0))
        server.listen()
        port = server.getsockname()[1]
        # Another program may listen on the same port of another address.
        mine = {seen: inode for seen, inode in listeners(port) if seen == normal(address)}
        ((seen, inode),) = mine.items()
        assert owners([inode]) == {inode: [os.getpid()]}
        assert not has_connection([os.getpid()], [(address, port)])
        client.connect((address, port))
        assert (os.getpid(), seen, port) in established([os.getpid()], [port])
        assert has_connection([os.getpid()], [("192.0.2.1", port), (address, port)])
        assert not has_connection([os.getpid()], [("192.0.2.1", port)])
        assert not has_connection([os.getpid()], [(address, port - 1)])
    assert inode not in [of for _, of in listeners(port)]


HEAD = b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
# 10.0.0.7:5672 is remote port 1628; the second line has that number as its local port, the third as inode.
LINES = (
    b"   0: 0100007F:C350 0700000A:1628 01 00000000:00000000 00:00000000 00000000 118 0 777 1 0 20 4 30 10 -1\n"
    b"   1: 0100007F:1628 0700000A:C350 01 00000000:00000000 00:00000000 00000000 118 0 778 1 0 20 4 30 10 -1\n"
    b"   2: 0100007F:C351 0700000A:1629 01 00000000:00000000 00:00000000 00000000 118 0 1628 1 0 20 4 30 10 -1\n"
    b"   3: 00000000:1628 00000000:0000 0A 00000000:00000000 00:00000000 00000000 118 0 779 1 0 20 4 30 10 -1\n"
    b"   4: 0100007F:C352 0700000A:1628 06 00000000:00000000 00:00000000 00000000 118 0 0 1 0 20 4 30 10 -1\n"
)


def made_up(root: Path, pid: int, descriptors: dict[str, str], table: bytes = HEAD + LINES) -> None:
    (root / str(pid) / "fd").mkdir(parents=True)
    (root / str(pid) / "net").mkdir()
    (root / str(pid) / "net" / "tcp").write_bytes(table)
    for name, target in descriptors.items():
        (root / str(pid) / "fd" / name).symlink_to(target)


LITTLE_ENDIAN = "the tables of this test are a little-endian machine's; run it on one"


@pytest.mark.skipif(sys.byteorder != "little", reason=LITTLE_ENDIAN)
def test_a_made_up_proc(tmp_path: Path) -> None:
    made_up(tmp_path, 10, {"0": "/dev/null", "3": "socket:[777]", "4": "socket:[1628]", "5": "socket:[x]"})
    made_up(tmp_path, 11, {"3": "socket:[777]", "4": "socket:[779]"}, b"garbage\n\xff\n" + HEAD)
    made_up(tmp_path, 12, {})
    (tmp_path / "self").symlink_to("10")
    (tmp_path / "version").write_text("")
    root = str(tmp_path)
    assert listeners(5672, root) == [(normal("::ffff:0.0.0.0"), 779)]
    assert listeners(5672, root, 11) == []
    assert socket_inodes(10, root) == {777, 1628}
    assert {inode: sorted(pids) for inode, pids in owners([777, 779, 5], root).items()} == {
        777: [10, 11],
        779: [11],
        5: [],
    }
    assert established([10, 11, 12, 13], [5672], root) == [(10, "10.0.0.7", 5672)]
    # In one namespace the table is read once, through whichever process is first.
    for pid in (10, 11):
        (tmp_path / str(pid) / "ns").mkdir()
        (tmp_path / str(pid) / "ns" / "net").symlink_to("net:[4026531840]")
    assert established([10, 11], [5672], root) == [(10, "10.0.0.7", 5672), (11, "10.0.0.7", 5672)]


def test_descriptors_of_others_may_not_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_up(tmp_path, 10, {"3": "socket:[777]"})
    real = os.listdir

    def refuse(path: str) -> list[str]:
        if path.endswith("/fd"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(PermissionError):
        established([10], [5672], str(tmp_path))
    assert owners([777], str(tmp_path)) == {777: []}


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("::ffff:10.0.0.5", "10.0.0.5"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("10.0.0.5", "10.0.0.5"),
        ("controller", "controller"),
        ("a\0b", "a\0b"),
    ],
)
def test_spellings_of_an_address(address: str, expected: str) -> None:
    assert normal(address) == expected


@given(st.binary() | st.lists(st.sampled_from(LINES.split())).map(b" ".join))
def test_no_line_makes_it_fail(line: bytes) -> None:
    found = parse_line(line)
    assert found is None or "\n" not in found.remote[0]


@given(st.binary(max_size=200))
def test_no_table_makes_it_fail(tmp_path_factory: pytest.TempPathFactory, text: bytes) -> None:
    root = tmp_path_factory.getbasetemp() / "table"
    (root / "self" / "net").mkdir(parents=True, exist_ok=True)
    (root / "self" / "net" / "tcp").write_bytes(text + b"\n :1628 0A " + text)
    assert listeners(5672, str(root)) == []
