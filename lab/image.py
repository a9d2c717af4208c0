"""The Debian image: built once by mmdebstrap from the host's own apt sources.

No mirror is named anywhere: the lines come from `apt-get indextargets`, apt's own network settings go along.
"""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path

from lab import cache, settings

SUITE = "bookworm"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

# Nobody but a cluster manager (or a test) starts these; a package upgrade must not either, hence the mask.
MASKED = [
    "keystone", "glance-api", "nova-api", "nova-api-metadata", "nova-scheduler", "nova-conductor", "nova-compute",
]  # fmt: skip

# Installed as enabled by their packages. A cluster or the lab starts what it needs; the timers would disturb
# measurements.
DISABLED = [
    "apache2.service", "apache-htcacheclean.service", "mariadb.service", "rabbitmq-server.service",
    "epmd.service", "epmd.socket", "placement-api.service",
    "pacemaker.service", "corosync.service", "pcsd.service", "pcsd-ruby.service", "logd.service",
    "libvirtd.service", "libvirt-guests.service", "libvirtd.socket", "libvirtd-ro.socket", "libvirtd-admin.socket",
    "virtlockd.socket", "virtlockd-admin.socket", "virtlogd.socket", "virtlogd-admin.socket",
    "iscsid.socket", "open-iscsi.service", "machines.target", "e2scrub_reap.service", "systemd-pstore.service",
    "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer",
    "logrotate.timer",
]  # fmt: skip

FILES = {
    # A node that does not stop must not hold up a test for 90 s.
    "etc/systemd/system.conf.d/lab.conf": "[Manager]\nDefaultTimeoutStopSec=15s\n",
    # Every line counts: tests count log lines.
    "etc/systemd/journald.conf.d/lab.conf": (
        "[Journal]\nStorage=volatile\nRuntimeMaxUse=32M\nForwardToSyslog=yes\n"
        "RateLimitIntervalSec=0\nRateLimitBurst=0\n"
    ),
    # The packages' own path rules were for the build; what a test installs later keeps its documentation.
    "etc/dpkg/dpkg.cfg.d/99mmdebstrap": "",
    # Names this machine's mirror or proxy.
    "etc/apt/apt.conf.d/99mmdebstrap": "",
    "etc/apt/sources.list": "",
}

OPTIONS = [
    "--variant=minbase",
    "--format=directory",
    f"--keyring={KEYRING}",
    '--aptopt=Acquire::Languages "none"',
    "--dpkgopt=force-unsafe-io",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
]


def packages() -> list[str]:
    """Read the package list."""
    lines = (settings.HERE / "packages.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def recipe() -> str:
    """Name what the image is made of."""
    files = [f"{path}={text}" for path, text in FILES.items()]
    return cache.digest(SUITE, platform.machine(), *OPTIONS, *packages(), *MASKED, *DISABLED, *files)


def build() -> Path:
    """Give the image's directory; the first time this takes about three minutes.

    Raises settings.LabError when this machine cannot build it, subprocess.CalledProcessError when mmdebstrap fails.
    """
    return cache.directory("image", recipe(), _bootstrap)


def _bootstrap(target: Path) -> None:
    mmdebstrap(target, OPTIONS, packages())
    for path, text in FILES.items():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_text(text)
    systemctl = ["systemctl", f"--root={target}", "--quiet"]
    subprocess.run([*systemctl, "disable", *DISABLED, *MASKED], check=True, capture_output=True)
    subprocess.run([*systemctl, "mask", *(f"{unit}.service" for unit in MASKED)], check=True, capture_output=True)


def mmdebstrap(target: Path, options: Sequence[str], wanted: Sequence[str]) -> None:
    """Install packages of the suite, from the host's own apt sources, into a new directory.

    options: further ones of mmdebstrap. wanted: names of packages, in one line each. What mmdebstrap prints is kept
    in a log file of the cache folder. Raises settings.LabError when this machine cannot do it, or when it fails.
    """
    reasons = settings.missing()
    if not KEYRING.exists():
        reasons.append(f"{KEYRING} is missing; run: apt-get install debian-archive-keyring")
    sources = _apt_sources()
    if not sources:
        reasons.append(f"apt knows no {SUITE} sources of Debian; run: apt-get update")
    if reasons:
        raise settings.LabError("; ".join(reasons))
    aptopts = [f"--aptopt={line}" for line in _apt_network_settings()]
    command = ["mmdebstrap", "--quiet", *options, *aptopts, "--include=" + ",".join(wanted), SUITE, str(target)]
    log = settings.CACHE / f"{target.name.lstrip('.').partition('-')[0]}.log"
    with open(log, "wb") as handle:
        done = subprocess.run(
            command, input="\n".join(sources).encode() + b"\n", stdout=handle, stderr=subprocess.STDOUT
        )
    if done.returncode:
        raise settings.LabError(f"mmdebstrap failed with {done.returncode}; see {log}")


def _apt_sources() -> list[str]:
    command = [
        "apt-get",
        "indextargets",
        "--format",
        "deb [signed-by=$(SIGNED_BY)] $(REPO_URI) $(RELEASE) $(COMPONENT)",
        "Created-By: Packages",
        "Origin: Debian",
    ]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    lines = []
    for line in listed:
        release = line.rsplit(" ", 2)[1]
        if release == SUITE or release.startswith(SUITE + "-"):
            # apt leaves the variable as it stands where a source names no key of its own.
            lines.append(line.replace("[signed-by=$(SIGNED_BY)]", f"[signed-by={KEYRING}]"))
    return sorted(set(lines))


def _apt_network_settings() -> list[str]:
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
    wanted = ("Acquire::http::", "Acquire::https::", "Acquire::Check-Valid-Until ", "Acquire::Retries ")
    return [line for line in dump.splitlines() if line.startswith(wanted)]
