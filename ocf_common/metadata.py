"""The meta-data of an agent, as XML that every tool accepts.

ocf-tester validates against ``ra-api-1.dtd``, pcs and the OCF 1.1 standard against RELAX NG schemas; the
document type below teaches the DTD what 1.1 has added. crmsh cannot read an ``encoding=``.
"""

from __future__ import annotations

from ocf_common import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ocf_common.parameters import Parameter

_HEAD = """<?xml version="1.0"?>
<!DOCTYPE resource-agent SYSTEM "ra-api-1.dtd" [
<!ATTLIST parameter unique-group CDATA #IMPLIED reloadable (1|0) #IMPLIED>
<!ATTLIST action name NMTOKEN #REQUIRED>
]>
"""

# The kinds that OCF knows; every other kind of ours is a string that is checked by its kind.
_TYPES = {"integer": "integer", "boolean": "boolean", "port": "integer"}


class Action:
    """An advertised action: name, time limit, and for monitors the interval and the check level (seconds)."""

    __slots__ = ("depth", "interval", "name", "timeout")

    def __init__(self, name: str, timeout: int, interval: int | None = None, depth: int | None = None) -> None:
        self.name = name
        self.timeout = timeout
        self.interval = interval
        self.depth = depth


ACTIONS = (
    Action("start", 120),
    Action("stop", 120),
    Action("status", 20),
    Action("monitor", 20, interval=60, depth=0),
    Action("monitor", 20, interval=20, depth=10),
    Action("monitor", 30, interval=90, depth=20),
    Action("reload-agent", 20),
    Action("validate-all", 20),
    Action("meta-data", 5),
)


def escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def render(name: str, shortdesc: str, longdesc: str, parameters: Iterable[Parameter]) -> str:
    """Return the meta-data document."""
    lines = [
        f'<resource-agent name="{escape(name)}" version="{VERSION}">',
        "<version>1.1</version>",
        f'<longdesc lang="en">\n{escape(longdesc)}\n</longdesc>',
        f'<shortdesc lang="en">{escape(shortdesc)}</shortdesc>',
        "<parameters>",
    ]
    for parameter in parameters:
        lines += _parameter(parameter)
    lines += ["</parameters>", "<actions>"]
    lines += [_action(action) for action in ACTIONS]
    lines += ["</actions>", "</resource-agent>"]
    return _HEAD + "\n".join(lines) + "\n"


def _parameter(parameter: Parameter) -> list[str]:
    attributes = f'name="{escape(parameter.name)}"'
    if parameter.unique_group:
        attributes += f' unique-group="{parameter.unique_group}"'
    if parameter.reloadable:
        attributes += ' reloadable="1"'
    content = f'type="{_TYPES.get(parameter.kind, "string")}"'
    if parameter.default is not None:
        content += f' default="{escape(parameter.default)}"'
    return [
        f"<parameter {attributes}>",
        f'<longdesc lang="en">\n{escape(parameter.longdesc)}\n</longdesc>',
        f'<shortdesc lang="en">{escape(parameter.shortdesc)}</shortdesc>',
        f"<content {content} />",
        "</parameter>",
    ]


def _action(action: Action) -> str:
    text = f'<action name="{action.name}" timeout="{action.timeout}s"'
    if action.interval is not None:
        text += f' interval="{action.interval}s"'
    if action.depth is not None:
        text += f' depth="{action.depth}"'
    return text + " />"
