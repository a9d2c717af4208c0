"""Install what the commands of the Makefile need, and say so: Debian packages (as root) and a virtual environment.

Standard library only: it runs before anything is there. Done before, it costs a few milliseconds.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "tools" / "requirements.txt"
VENV = ROOT / ".venv"

# Command → the Debian package that brings it. The services themselves live in an image of their own, see lab/.
PACKAGES = {
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "make": "make",
}


def say(text: str) -> None:
    print(f"[prepare] {text}", file=sys.stderr, flush=True)


def run(*command: str | Path) -> None:
    """Run a command; its output is shown only when it fails."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"[prepare] failed: {' '.join(map(str, command))}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")


def install_packages() -> None:
    missing = [package for command, package in PACKAGES.items() if not shutil.which(command)]
    if not _has_venv():
        missing.append("python3-venv")
    if not missing:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        say(f"not installed: {' '.join(missing)}; what needs them is left out (as root: apt-get install them)")
        return
    say(f"installing {' '.join(missing)} with apt-get")
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    run("apt-get", "-q", "update")
    run("apt-get", "-q", "-y", "install", "--no-install-recommends", *missing)


def _has_venv() -> bool:
    """Tell whether this Python can make a virtual environment (Debian ships that apart)."""
    return subprocess.run([sys.executable, "-c", "import ensurepip, venv"], capture_output=True).returncode == 0


def make_environment(python: str, folder: Path) -> None:
    """Make a virtual environment of ``python`` with the test tools, unless it is there as it should be."""
    stamp = folder / "requirements.sha256"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + python.encode()).hexdigest()
    if stamp.is_file() and stamp.read_text() == wanted and (folder / "bin/python").exists():
        return
    say(f"making {folder.name} with the test tools ({python})")
    shutil.rmtree(folder, ignore_errors=True)
    run(python, "-m", "venv", folder)
    run(folder / "bin/python", "-m", "pip", "-q", "install", "-r", REQUIREMENTS)
    stamp.write_text(wanted)


if __name__ == "__main__":
    install_packages()
    make_environment(sys.executable, VENV)
