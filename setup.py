"""Puts agents, library and logrotate file where ``make install`` puts them, which also compiles the library.

Call it as README.md says. ``--install-data=/usr`` is what gives /usr/lib/ocf, where Pacemaker looks: on Debian
``--prefix=/usr`` alone means /usr/local.
"""

from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent
OCF = "lib/ocf"  # below --install-data


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
        ("/etc/logrotate.d", files("packaging/logrotate.d", "*")),
    ],
    install_requires=["requests", "python-keystoneclient", "pika", "PyMySQL", "PyYAML"],
    extras_require={"test": ["pytest", "hypothesis"]},
)
