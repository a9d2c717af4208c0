"""The two ways to install without a package put the same files into the same places."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
#: Debian's own interpreter, whose installation scheme differs from that of a virtual environment, before that of the
#: tests
INTERPRETERS = ("/usr/bin/python3", sys.executable)


def installed(root: Path) -> dict[str, tuple[bytes, bool]]:
    """Return content and executability of the project's files below ``root``, by path."""
    files = [path for place in ("usr", "etc") for path in (root / place).rglob("*") if path.is_file()]
    return {
        str(path.relative_to(root)): (path.read_bytes(), bool(path.stat().st_mode & 0o100))
        for path in files
        if ".egg-info" not in str(path)
    }


def has_setuptools(interpreter: str) -> bool:
    try:
        return subprocess.run([interpreter, "-c", "import setuptools"], stderr=subprocess.DEVNULL).returncode == 0
    except FileNotFoundError:
        return False


def test_setup_py_as_the_readme_calls_it_installs_what_make_installs(tmp_path: Path) -> None:
    interpreter = next(filter(has_setuptools, INTERPRETERS), "")
    if not interpreter:
        pytest.skip("no interpreter has setuptools: apt install python3-setuptools")
    subprocess.run(["make", "-s", "install-files", f"DESTDIR={tmp_path / 'make'}"], cwd=PROJECT, check=True)
    said = re.search(r"`python3 setup\.py (install [^`]*--root=/ [^`]*)`", (PROJECT / "README.md").read_text())
    assert said
    target = tmp_path / "setup"
    arguments = shlex.split(said[1].replace("--root=/ ", f"--root={target} "))
    (tmp_path / "work").mkdir()
    # What it makes on its way stays out of the project's folder.
    away = ["egg_info", f"--egg-base={tmp_path / 'work'}", "build", f"--build-base={tmp_path / 'work'}"]
    command = [interpreter, "-W", "ignore", "setup.py", "-q", *away, *arguments]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    wanted = installed(tmp_path / "make")
    assert "usr/lib/ocf/resource.d/openstack/nova-api" in wanted
    assert installed(target) == wanted
