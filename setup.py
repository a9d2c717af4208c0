"""Puts agents and library where Pacemaker looks for them; ``make install`` does the same and compiles the library."""

from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent
OCF = "lib/ocf"  # below the prefix: --prefix=/usr gives /usr/lib/ocf


def files(folder: str, pattern: str) -> "list[str]":
    return sorted(str(path.relative_to(HERE)) for path in (HERE / folder).glob(pattern) if path.is_file())


setup(
    name="openstack-resource-agents",
    version="1.0.0",
    description="Pacemaker resource agents for OpenStack (ocf:openstack:*)",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.9",
    # The agents find their library beside themselves, so it is installed as data, in their own place.
    packages=[],
    data_files=[
        (f"{OCF}/resource.d/openstack", files("agents", "*")),
        (f"{OCF}/lib/openstack/ocf_common", files("ocf_common", "*.py")),
    ],
    install_requires=["requests", "python-keystoneclient", "pika", "PyMySQL"],
    extras_require={"test": ["pytest", "hypothesis"]},
)
