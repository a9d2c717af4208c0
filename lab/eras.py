"""OpenStack releases that Debian 12 does not have, each as a layer over the image.

- **Ocata**: nova 15.1.5, the last with nova-cert, on a Python 2.7 that is copied from the host to /opt/ocata.
- **2026.1** ("Gazpacho"): keystone 30, glance 33, nova 34 in a virtual environment at /opt/2026.1 of the image's Python.

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
from typing import Optional

from lab import cache, settings

OCATA = "opt/ocata"
GAZPACHO = "opt/2026.1"
_OCATA_PINS = settings.PINS / "ocata-nova-py27.txt"
_GAZPACHO_PINS = settings.PINS / "2026.1-py311.txt"

# pip 19 for Python 2.7 warns about its own age at every turn; nothing may ask questions.
_PIP = ["--quiet", "--disable-pip-version-check", "--no-input"]


# -- Ocata -------------------------------------------------------------------------------------------------------


def python27() -> Optional[Path]:
    """Find the prefix of a Python 2.7 that works: $LAB_PYTHON27, python2.7 in PATH, one beside a pyenv shim."""
    named = os.environ.get("LAB_PYTHON27")
    found = named or shutil.which("python2.7")
    candidates = [Path(found)] if found else []
    if found and not named:
        # A shim of pyenv refuses where no 2.7 is selected; the versions lie beside the folder of shims.
        candidates += sorted(Path(found).parent.parent.glob("versions/2.7*/bin/python2.7"))
    for candidate in candidates:
        # The real interpreter: the shim is a script.
        asked = subprocess.run(
            [str(candidate), "-c", "import ssl, pip, sys; sys.stdout.write(sys.prefix)"],
            capture_output=True,
            text=True,
        )
        if asked.returncode == 0 and (Path(asked.stdout) / "bin/python2.7").exists():
            return Path(asked.stdout)
    return None


def ocata_missing() -> Optional[str]:
    """Say why there is no Ocata on this machine and how to get it; None where it can be had."""
    if python27() is None:
        return (
            "no Python 2.7 with pip and ssl at hand; install one (for example: pyenv install 2.7.18) "
            "and name it in LAB_PYTHON27 where it is not in PATH"
        )
    return None


def ocata(image: Path) -> Optional[Path]:
    """Give the layer with Ocata's nova, built now if it is not there; None without a Python 2.7.

    image: whose patchelf is used.
    """
    prefix = python27()
    if prefix is None:
        return None
    recipe = cache.digest("1", str(prefix), _OCATA_PINS.read_text())
    return cache.directory("ocata", recipe, lambda target: _build_ocata(target, prefix, image))


def _build_ocata(target: Path, prefix: Path, image: Path) -> None:
    home = target / OCATA
    # Without the test suite, the compiled files and what is installed there already.
    ignore = shutil.ignore_patterns("test", "tests", "*.pyc", "*.a", "idlelib", "lib-tk", "share", "_tkinter.so")
    shutil.copytree(prefix, home, symlinks=True, ignore=ignore)
    python = home / "bin/python2.7"
    _quiet([str(python), "-m", "pip", "install", *_PIP, "--no-deps", "--requirement", str(_OCATA_PINS)])
