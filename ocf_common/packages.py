"""Packages of the distribution, for an interpreter that was started without them.

The agents run as ``/usr/bin/python3 -IS``: the site folders cost 7 ms a call that most calls have no use for.
A check that needs a package asks for it here.
"""

from __future__ import annotations

import sys

from ocf_common.outcomes import Attention

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# What to install when a module is missing; the name is the same on Debian and RHEL unless stated.
DISTRIBUTION_NAMES = {
    "keystoneauth1": "python3-keystoneauth1",
    "keystoneclient": "python3-keystoneclient",
    "pika": "python3-pika",
    "pymysql": "python3-pymysql (RHEL: python3-PyMySQL)",
    "requests": "python3-requests",
    "yaml": "python3-yaml (RHEL: python3-pyyaml)",
}


class PackageMissing(Attention):
    """A Python package that this check needs is not installed: nothing is known about the service."""


def folders(major: int, minor: int) -> list[str]:
    """Return the site folders of Debian and RHEL for Python ``major``.``minor``, the administrator's first."""
    version = f"python{major}.{minor}"
    return [
        f"/usr/local/lib/{version}/dist-packages",
        f"/usr/local/lib64/{version}/site-packages",
        f"/usr/local/lib/{version}/site-packages",
        f"/usr/lib/python{major}/dist-packages",
        f"/usr/lib64/{version}/site-packages",
        f"/usr/lib/{version}/site-packages",
    ]


def enable() -> None:
    """Let packages of the distribution be imported; does nothing where ``site`` has done so already."""
    if not sys.flags.no_site:
        return
    for folder in folders(*sys.version_info[:2]):
        if folder not in sys.path:
            sys.path.append(folder)


def load(module: str) -> Any:
    """Import and return ``module`` (dotted names return the leaf).

    Raises :class:`PackageMissing` with the command that would mend it.
    """
    enable()
    try:
        return __import__(module, fromlist=["*"])
    except ImportError as error:
        top = module.partition(".")[0]
        name = DISTRIBUTION_NAMES.get(top, f"python3-{top}")
        if isinstance(error, ModuleNotFoundError) and error.name == top:
            package = name.partition(" ")[0]
            raise PackageMissing(
                f"{name} is not installed: apt install {package} / dnf install {_rhel(name)}"
            ) from error
        raise PackageMissing(f"{name} cannot be imported: {error}") from error


def _rhel(name: str) -> str:
    return name.partition("RHEL: ")[2].rstrip(")") or name
