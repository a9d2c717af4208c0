"""What the kernel writes in /proc, and what processes may write there."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from fake_proc import FakeProc
from hypothesis import given
from hypothesis import strategies as st

from ocf_common.procfs import Proc, parse_cgroup_unit, parse_cmdline, parse_stat

PLAIN = st.text("abcdefgh-./", min_size=1, max_size=20)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_process_or_none(text: bytes) -> None:
    parse_stat(text)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_command_line(text: bytes) -> None:
    assert all(isinstance(argument, str) for argument in parse_cmdline(text))


@given(st.binary(max_size=300))
def test_any_bytes_are_in_a_unit_or_in_none(text: bytes) -> None:
    unit = parse_cgroup_unit(text)
    assert unit == "" or unit.endswith(".service")


@given(st.binary(max_size=15), st.integers(1, 4194304), st.integers(0, 2**63))
def test_the_programs_name_may_hold_anything(name: bytes, pid: int, started: int) -> None:
    process = parse_stat(b"%d (%s) T 1 2 3%s %d 0\n" % (pid, name, b" 0" * 15, started))
    assert process is not None
    assert (process.pid, process.parent, process.pgid, process.session) == (pid, 1, 2, 3)
    assert process.key == (pid, started)
    assert process.stopped
    assert not process.dead


@given(st.lists(PLAIN, min_size=1))
def test_arguments_are_what_was_given(arguments: list[str]) -> None:
    assert parse_cmdline(b"".join(word.encode() + b"\0" for word in arguments)) == arguments


def test_empty_command_line_of_a_kernel_thread_or_a_zombie() -> None:
    assert parse_cmdline(b"") == parse_cmdline(b"\0\0") == []


@pytest.mark.parametrize("state", "ZXx")
def test_dead_states(state: str) -> None:
    process = parse_stat(f"5 (x) {state} 1 2 3{' 0' * 15} 9 0".encode())
    assert process is not None
    assert process.dead


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("0::/system.slice/nova-api.service", "nova-api.service"),
        ("0::/system.slice/nova-api.service/payload", "nova-api.service"),
        ("0::/system.slice/system-x.slice/x@1.service", "x@1.service"),
        ("0::/user.slice/user-0.slice/session-1.scope", ""),
        ("0::/user.slice/user-0.slice/user@0.service/app.slice/run-7.scope", ""),
        ("0::/", ""),
        ("4:memory:/system.slice/x.service\n1:name=systemd:/system.slice/y.service", "y.service"),
        ("4:memory:/system.slice/x.service\n1:name=systemd:/", ""),
        ("1:name=systemd:/system.slice/a:b.service", "a:b.service"),
        ("", ""),
    ],
)
def test_unit_of_a_control_group(text: str, unit: str) -> None:
    assert parse_cgroup_unit(text.encode()) == unit


def test_a_process_that_is_gone_is_simply_not_there(fake_proc: FakeProc) -> None:
    proc = fake_proc.proc
    assert proc.process(4242) is None
    assert proc.command_line(4242) == proc.children(4242) == []
    assert proc.program(4242) == proc.unit(4242) == ""
    assert proc.uid(4242) is proc.namespace(4242, "pid") is None


@pytest.mark.parametrize("text", ["", "Uid:\n", "Uid:\tx\n", "Name:\tx\n"])
def test_a_status_without_a_user_is_unknown(fake_proc: FakeProc, text: str) -> None:
    fake_proc.add(100)
    (fake_proc.root / "100" / "status").write_text(text)
    assert fake_proc.proc.uid(100) is None


def test_a_stat_of_another_number_is_not_believed(fake_proc: FakeProc) -> None:
    fake_proc.add(100)
    (fake_proc.root / "200").mkdir()
    (fake_proc.root / "200" / "stat").write_bytes((fake_proc.root / "100" / "stat").read_bytes())
    assert fake_proc.proc.process(200) is None


def test_the_real_proc() -> None:
    proc = Proc()
    code = "print('up', flush=True); input()"
    command = [sys.executable, "-c", code, "a b", ""]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"  # before that it may still be this very program
        process = proc.process(child.pid)
        assert process is not None
        assert process.parent == os.getpid()
        assert proc.command_line(child.pid)[-2:] == [code, "a b"]
        assert os.path.basename(proc.program(child.pid)).startswith("python")
        assert child.pid in proc.children(os.getpid())
        assert child.pid in [other.pid for other in proc.processes()]
        assert not proc.hides_others()
        child.communicate(b"\n")
    assert proc.process(child.pid) is None
