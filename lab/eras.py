"""OpenStack releases that Debian 12 does not have, each as a layer over the image.

- **Ocata**: nova 15.1.5, the last with nova-cert, on a Python 2.7 that is copied from the host to /opt/ocata.
- **2026.1** ("Gazpacho"): keystone 30, glance 33, nova 34 in a virtual environment of the image's Python at
  /opt/2026.1.

The container reaches no package index, so pip runs on the host. It installs into the layer's folder, and the paths
that it wrote are then changed to those in the node.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from lab import cache, settings

OCATA = "opt/ocata"
GAZPACHO = "opt/2026.1"
_OCATA_PINS = settings.PINS / "ocata-nova-py27.txt"
_GAZPACHO_PINS = settings.PINS / "2026.1-py311.txt"

# The last for Python 2.7.
_WHEEL = "wheel==0.37.1"

# pip 19 for Python 2.7 warns about its own age at every turn; nothing may ask questions.
_PIP = ["--quiet", "--disable-pip-version-check", "--no-input"]


# -- Ocata -----------------------------------------------------------------------------------------


def python27() -> Path | None:
    """Find the prefix of a Python 2.7 that works: $LAB_PYTHON27, python2.7 in PATH, one beside a pyenv shim."""
    named = os.environ.get("LAB_PYTHON27")
    found = named or shutil.which("python2.7")
    candidates = [Path(found)] if found else []
    if found and not named:
        # A shim of pyenv refuses where no 2.7 is selected; the versions lie beside the folder of shims.
        candidates += sorted(Path(found).parent.parent.glob("versions/2.7*/bin/python2.7"))
    for candidate in candidates:
        if not os.access(candidate, os.X_OK):
            continue
        # The real interpreter: the shim is a script.
        asked = subprocess.run(
            [str(candidate), "-c", "import ssl, pip, sys; sys.stdout.write(sys.prefix)"],
            capture_output=True,
            text=True,
        )
        if asked.returncode == 0 and (Path(asked.stdout) / "bin/python2.7").exists():
            return Path(asked.stdout)
    return None


def ocata_missing() -> str | None:
    """Say why there is no Ocata on this machine and how to get it; None where it can be had."""
    if python27() is None:
        return (
            "no Python 2.7 with pip and ssl at hand; install one (for example: pyenv install 2.7.18) "
            "and name it in LAB_PYTHON27 where it is not in PATH"
        )
    if not shutil.which("gcc"):
        return "some packages of Ocata have to be compiled and there is no compiler; run: apt-get install gcc libc6-dev"
    return None


def ocata() -> Path | None:
    """Give the layer with Ocata's nova, built now if it is not there; None without a Python 2.7."""
    prefix = python27()
    if prefix is None or ocata_missing():
        return None
    recipe = cache.digest("3", str(prefix), _OCATA_PINS.read_text())
    return cache.directory("ocata", recipe, lambda target: _build_ocata(target, prefix))


def _build_ocata(target: Path, prefix: Path) -> None:
    home = target / OCATA
    # Without the test suite, Tk and what only compilers read.
    ignore = shutil.ignore_patterns("test", "tests", "*.a", "*.pyo", "idlelib", "lib-tk", "share", "_tkinter.so")
    shutil.copytree(prefix, home, symlinks=True, ignore=ignore)
    pip = [str(home / "bin/python2.7"), "-m", "pip"]
    # With these two there, pip builds wheels of everything before it installs anything. Without, pbr's hooks meet
    # half an environment.
    pbr = next(line for line in _OCATA_PINS.read_text().splitlines() if line.startswith("pbr=="))
    _quiet([*pip, "install", *_PIP, "--no-deps", _WHEEL, pbr])
    _quiet([*pip, "install", *_PIP, "--no-deps", "--requirement", str(_OCATA_PINS)])
    # The wheel lacks nova's own configuration files; the source distribution has them.
    nova = next(line for line in _OCATA_PINS.read_text().splitlines() if line.startswith("nova=="))
    with tempfile.TemporaryDirectory() as folder:
        _quiet([*pip, "download", *_PIP, "--no-deps", "--no-binary", ":all:", "--dest", folder, nova])
        with tarfile.open(next(Path(folder).glob("nova-*.tar.gz"))) as archive:
            inside = nova.replace("==", "-") + "/etc/nova/"
            for member in archive.getmembers():
                name = member.name[len(inside) :]
                if member.name.startswith(inside) and name.endswith(("api-paste.ini", "rootwrap.conf", ".filters")):
                    (home / "etc/nova" / name).parent.mkdir(parents=True, exist_ok=True)
                    (home / "etc/nova" / name).write_bytes(_content(archive, member))
    _set_library_path(home, prefix)
    _correct_paths(home, "/" + OCATA)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(member)
    return stream.read() if stream else b""


def _set_library_path(home: Path, prefix: Path) -> None:
    """Let the programs find libpython beside themselves instead of in the folder they were built for.

    The old path lies in the file as a string that ends with a zero byte, and the new one fits in its place.
    """
    old, new = f"{prefix}/lib".encode(), b"$ORIGIN/../lib"
    for program in (home / "bin").glob("python2*"):
        content = program.read_bytes()
        if content.startswith(b"\x7fELF") and old + b"\0" in content and not program.is_symlink():
            if len(new) > len(old):
                raise settings.LabError(f"the path {prefix} is too short to be replaced in {program.name}")
            program.write_bytes(content.replace(old + b"\0", new.ljust(len(old) + 1, b"\0")))


# -- 2026.1 ----------------------------------------------------------------------------------------


def gazpacho() -> Path:
    """Give the layer with 2026.1, built now if it is not there.

    Raises settings.LabError where the host's interpreter is not the image's.
    """
    version = _quiet([settings.SYSTEM_PYTHON, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]).strip()
    if version != "3.11":
        raise settings.LabError(f"{settings.SYSTEM_PYTHON} is {version}, the image has 3.11: not Debian 12")
    return cache.directory("gazpacho", cache.digest("3", _GAZPACHO_PINS.read_text()), _build_gazpacho)


def _build_gazpacho(target: Path) -> None:
    home = target / GAZPACHO
    # Without pip: Debian splits ensurepip off, and a pip at hand can serve another interpreter.
    _quiet([settings.SYSTEM_PYTHON, "-m", "venv", "--without-pip", str(home)])
    pip = [*_pip(), "--python", str(home / "bin/python3")]
    # uWSGI has no wheel, and the host need not have a compiler. Debian's program in the image does as well; it
    # finds its Python plug-in by the name it is called by.
    pins = [line for line in _GAZPACHO_PINS.read_text().splitlines() if not line.startswith("uWSGI==")]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as requirements:
        requirements.write("\n".join(pins))
        requirements.flush()
        _quiet([*pip, "install", *_PIP, "--no-deps", "--requirement", requirements.name])
    (home / "bin/uwsgi_python311").symlink_to("/usr/bin/uwsgi-core")
    _correct_paths(home, "/" + GAZPACHO)


def _pip() -> list[str]:
    """Find a pip that knows --python (22.3 and later)."""
    for python in (sys.executable, settings.SYSTEM_PYTHON, shutil.which("python3") or ""):
        if python and subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode == 0:
            return [python, "-m", "pip"]
    raise settings.LabError("no pip at hand; run this from a virtual environment that has one")


# -- both ------------------------------------------------------------------------------------------


def _correct_paths(home: Path, final: str) -> None:
    """Write the path in the node into the scripts that pip and venv made for the path on the host."""
    for script in (home / "bin").iterdir():
        if script.is_symlink() or not script.is_file():
            continue
        content = script.read_bytes()
        if content.startswith(b"#!" + str(home).encode()):
            first, rest = content.split(b"\n", 1)
            script.write_bytes(first.replace(str(home).encode(), final.encode()) + b"\n" + rest)


def _quiet(command: list[str]) -> str:
    """Run a command, show what it said only when it failed.

    Raises settings.LabError with its last lines.
    """
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise settings.LabError(f"{' '.join(command[:4])} failed:\n{(done.stderr or done.stdout)[-3000:]}")
    return done.stdout
