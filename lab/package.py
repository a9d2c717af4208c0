"""The project's Debian package, built with dpkg-buildpackage where the host has none of the tools for it.

A builder (debhelper, dh-python, lintian) is a layer of its own; the build runs in a chroot of it, without a network.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from lab import cache, image, settings

NAME = "openstack-resource-agents-python"
PROJECT = settings.HERE.parent

_TOOLS = ["debhelper", "dh-python", "fakeroot", "lintian", "python3"]

# What the package is made of; a tarball of the project has them as well as a checkout.
_SOURCES = ["agents", "ocf_common", "packaging", "debian", "docs", "crm-examples", "Makefile", "README.md", "LICENSE"]

# In a mount, network and process namespace of its own: nothing but /build is written, and nothing is downloaded.
_BUILD = """\
set -e
root=$1 work=$2; shift 2
mount --bind "$work" "$root/build"
mount -t tmpfs tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
exec chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LC_ALL=C.UTF-8 "$@"
"""


def builder() -> Path:
    """Give the directory with the build tools; the first time this takes about a minute."""
    recipe = cache.digest(image.SUITE, *image.OPTIONS, *_TOOLS)
    return cache.directory("builder", recipe, _bootstrap)


def build(target: Path, version: str = "", check: bool = False) -> Path:
    """Build the package and give its file, in the folder `target`.

    version: instead of the one in debian/changelog, for tests of an upgrade. check: with lintian, whose findings are
    printed. Raises settings.LabError with the last words of what failed.
    """
    target.mkdir(parents=True, exist_ok=True)
    with cache.locked("package", "builds the Debian package"), _work() as folder:
        work = Path(folder)
        source = work / NAME
        source.mkdir()
        for name in _SOURCES:
            _copy(PROJECT / name, source / name)
        if version:
            changelog = source / "debian/changelog"
            head, _, rest = changelog.read_text().partition("\n")
            changelog.write_text(f"{NAME} ({version}) {head.partition(') ')[2]}\n{rest}")
        # Nothing here is compiled by gcc, which dpkg takes for granted.
        _in_builder(work, ["dpkg-buildpackage", "-b", "-us", "-uc", "--ignore-builtin-builddeps"], NAME)
        built = next(work.glob("*.deb"))
        if check:
            print(_in_builder(work, ["lintian", "--allow-root", "--tag-display-limit=0", built.name]), end="")
        return Path(shutil.move(built, target / built.name))


def _work() -> tempfile.TemporaryDirectory[str]:
    """Make a folder for a build, under the lock: what is there already was left behind by a killed program."""
    builds = settings.CACHE / "package"
    shutil.rmtree(builds, ignore_errors=True)
    builds.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(dir=builds)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy2(source, target)


def _in_builder(work: Path, argv: list[str], folder: str = "") -> str:
    command = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "/bin/sh", "-c", _BUILD, "sh"]
    command += [str(builder()), str(work), "env", f"--chdir=/build/{folder}", *argv]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise settings.LabError(f"{argv[0]} returned {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


def _bootstrap(target: Path) -> None:
    image.mmdebstrap(target, image.OPTIONS, _TOOLS)
    os.mkdir(target / "build")
