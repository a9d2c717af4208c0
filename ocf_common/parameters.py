"""Parameters of a resource: their declaration, and their values for one call.

A value is checked where it is declared, by its kind. Two ways to read one: ``validate`` for the actions
that must refuse a wrong configuration, and plain access for stop and monitor, which must work with any:
there a wrong value gives the default, and ``problems`` tells what was wrong.
"""

from __future__ import annotations

from ocf_common.environment import parse_boolean
from ocf_common.exit_codes import NotConfigured

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Parameter:
    """The declaration of one parameter.

    ``kind`` is string, integer, boolean, seconds, port, path, url or address (host:port). ``default`` is what
    holds when nothing is set; ``None`` means that it is found out (the description says how). ``empty`` says
    what an empty string does: "off" turns the check off that the parameter belongs to, "default" means unset.
    ``reloadable`` parameters take effect without a restart.
    """

    __slots__ = (
        "choices",
        "default",
        "empty",
        "kind",
        "longdesc",
        "name",
        "reloadable",
        "secret",
        "shortdesc",
        "unique_group",
    )

    def __init__(
        self,
        name: str,
        kind: str,
        default: str | None,
        shortdesc: str,
        longdesc: str,
        reloadable: bool = False,
        empty: str = "default",
        choices: tuple[str, ...] = (),
        secret: bool = False,
        unique_group: str = "",
    ) -> None:
        self.name = name
        self.kind = kind
        self.default = default
        self.shortdesc = shortdesc
        self.longdesc = longdesc
        self.reloadable = reloadable
        self.empty = empty
        self.choices = choices
        self.secret = secret
        self.unique_group = unique_group

    def replaced(self, **changes: object) -> Parameter:
        """Return a copy with some attributes changed."""
        values = {name: getattr(self, name) for name in self.__slots__}
        values.update(changes)
        return Parameter(**values)

    def problem(self, value: str) -> str:
        """Return what is wrong with ``value`` in the words of the exit reason, or an empty string."""
        shown = "" if self.secret else f" '{printable(value)}'"
        if any(ord(letter) < 32 or ord(letter) == 127 or 0xD800 <= ord(letter) <= 0xDFFF for letter in value):
            return f"parameter {self.name}: the value{shown} holds control characters or bytes that are not UTF-8"
        wrong = ""
        if self.choices and value not in self.choices:
            wrong = "is not one of " + ", ".join(self.choices)
        elif self.kind == "integer" and not (value.isascii() and value.isdigit() and len(value) < 10):
            wrong = "is not a whole number"
        elif self.kind == "seconds" and not _is_seconds(value):
            wrong = "is not a number of seconds between 0 and 86400"
        elif self.kind == "port" and not _is_port(value):
            wrong = "is not a port from 1 to 65535"
        elif self.kind == "boolean" and not _is_boolean(value):
            wrong = "is not a boolean (true or false)"
        elif self.kind == "path" and not value.startswith("/"):
            wrong = "is not an absolute path"
        elif self.kind == "address" and not _is_address(value):
            wrong = "is not of the form HOST:PORT"
        elif self.kind == "url":
            from ocf_common.connection_urls import InvalidUrl, parse_http_url

            try:
                parse_http_url(value)
            except InvalidUrl as error:
                wrong = f"is not a URL that can be asked: {error}"
        return f"parameter {self.name}:{shown} {wrong}" if wrong else ""


def printable(text: str, limit: int = 120) -> str:
    """Return ``text`` on one line, without control characters, cut to ``limit`` characters."""
    clean = "".join(letter if letter.isprintable() else "?" for letter in text[: limit + 1])
    return clean if len(clean) <= limit else clean[:limit] + "…"


def _is_seconds(value: str) -> bool:
    whole, _, part = value.partition(".")
    return value.isascii() and whole.isdigit() and (part.isdigit() or not part) and float(value) <= 86400


def _is_port(value: str) -> bool:
    return value.isascii() and value.isdigit() and len(value) <= 5 and 1 <= int(value) <= 65535


def _is_address(value: str) -> bool:
    """Tell whether it is HOST:PORT; HOST may be empty (all addresses), and [IPv6] in brackets."""
    host, colon, port = value.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    return bool(colon) and _is_port(port) and (bracketed or ":" not in host) and not any(map(str.isspace, host))


def _is_boolean(value: str) -> bool:
    try:
        parse_boolean(value)
    except ValueError:
        return False
    return True


class Parameters:
    """The values of one call."""

    __slots__ = ("_given", "_wrong", "declared", "problems")

    def __init__(self, declared: Iterable[Parameter], given: Mapping[str, str]) -> None:
        self.declared = {parameter.name: parameter for parameter in declared}
        self._given: dict[str, str] = {}
        self._wrong: dict[str, str] = {}
        self.problems: list[str] = []
        for name, parameter in self.declared.items():
            value = given.get(name)
            if value is None or (value == "" and parameter.empty == "default"):
                continue
            problem = parameter.problem(value) if value else ""
            if problem:
                self.problems.append(problem)
                self._wrong[name] = value
            else:
                self._given[name] = value

    def validate(self) -> None:
        """Raise NotConfigured with the first problem."""
        if self.problems:
            raise NotConfigured(self.problems[0])

    def given(self, name: str) -> str | None:
        """Return the value that the configuration sets, or None where it sets none or a wrong one."""
        return self._given.get(name)

    def text(self, name: str) -> str:
        """Return the value, else the default, else an empty string."""
        value = self._given.get(name)
        return value if value is not None else (self.declared[name].default or "")

    def as_set(self, name: str) -> str:
        """Return the value, be it wrong, else the default.

        For what tells resources apart: one with a wrong configuration must not take the daemon of the default one.
        """
        return self._wrong.get(name) or self.text(name)

    def seconds(self, name: str) -> float:
        return float(self.text(name) or 0)

    def integer(self, name: str) -> int:
        return int(self.text(name) or 0)

    def boolean(self, name: str) -> bool:
        return name in self.declared and parse_boolean(self.text(name) or "no")

    def turned_off(self, name: str) -> bool:
        """Tell whether the configuration sets an empty string, which turns the check off."""
        return self._given.get(name) == ""

    def secrets(self) -> list[str]:
        return [value for name, value in self._given.items() if self.declared[name].secret and value]
