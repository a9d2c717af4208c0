"""The daemon's own configuration: oslo.config files, as the daemon reads them.

Rules of the format, read from oslo.config 10 (``iniparser``, ``cfg``) and compared with it:

1. ``key = value`` or ``key: value``, whichever sign comes first; ``#`` or ``;`` begins a comment line.
2. A line that begins with white space continues the value above it; a blank line ends that value.
3. One pair of quotes around a value is dropped.
4. The last value of an option wins, and a later file wins over an earlier one.
5. Names of sections do not depend on case, except ``DEFAULT``; names of options do.
6. ``$name``, ``${name}``, ``$group.name`` stand for other options; ``$$`` and ``\\$`` for a dollar sign.

Lines that oslo.config refuses are left out here and listed in ``ServiceConfig.problems``: a monitor goes
on with what can be read, a start says why the daemon will not have this file.
"""

from __future__ import annotations

import os
import stat

from ocf_common.connection_urls import TRUE_VALUES, unquote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

LARGEST_FILE = 4 * 1024 * 1024  # bytes; the full sample of nova.conf has 0.2 MB
MOST_SUBSTITUTIONS = 100  # of one value: two options that name each other must come to an end
MOST_CHARACTERS = 65536  # to which references may let one value grow

FALSE_VALUES = ("false", "0", "off", "no")

# How options that hold secrets end, over the services of Ocata to 2026.1.
SECRET_ENDINGS = (
    "password", "passwd", "passphrase", "secret", "token", "secret_key", "shared_key", "fixed_key", "api_key",
)  # fmt: skip
NAME_START = frozenset("_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
NAME_PART = NAME_START | frozenset(".0123456789")


class ConfigError(Exception):
    """A configuration file that cannot be used: ``path``, and ``reason`` in a few words."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path} {reason}")
        self.path = path
        self.reason = reason


class ServiceConfig:
    """Options by section; :meth:`load` reads them from files.

    ``problems`` holds one line for each line of the files that the daemon would refuse.
    """

    __slots__ = ("problems", "sections")

    def __init__(self) -> None:
        self.sections: dict[str, dict[str, list[str]]] = {}
        self.problems: list[str] = []

    @classmethod
    def load(cls, files: Sequence[str], directories: Sequence[str] = (), before: Sequence[str] = ()) -> ServiceConfig:
        """Return the options of the ``*.conf`` files in ``before``, of ``files`` and of those in ``directories``.

        What is read later wins. A directory that is missing is fine, as it is for oslo.config.

        :raises ConfigError: a file is missing, unreadable, binary, not UTF-8 or larger than 4 MiB
        """
        config = cls()
        for path in [*_in_folders(before), *files, *_in_folders(directories)]:
            config.add(path, read_text(path))
        return config

    def add(self, path: str, text: str) -> None:
        """Take the options of ``text``, which was read from ``path``; they win over those that are there.

        :raises ConfigError: a line that is no comment holds other bytes than UTF-8
        """
        section = self._section("DEFAULT")
        headed = False
        key = ""
        value: list[str] = []
        for number, line in enumerate(text.split("\n"), 1):
            if line[:1] == "#" and not key:  # most lines of a sample file
                continue
            line = line.rstrip()
            if not line.isascii() and line[0] not in "#;" and not _is_text(line):
                raise ConfigError(path, f"is not UTF-8 text in line {number}")
            if line[:1] in (" ", "\t"):
                if key:
                    value.append(line.lstrip())
                else:
                    self._refuse(path, number, "continues no value")
                continue
            if key:
                section.setdefault(key, []).append("\n".join(value))
                key = ""
            if not line or line[0] in "#;":
                continue
            if line[0] == "[":
                if line[-1] == "]" and len(line) > 2:
                    section = self._section(line[1:-1])
                    headed = True
                else:
                    self._refuse(path, number, "is no section")
                continue
            key, first = _split(line)
            value = [first]
            if not key:
                self._refuse(path, number, "is no option")
            elif not headed:
                self._refuse(path, number, "stands before the first section")
        if key:
            section.setdefault(key, []).append("\n".join(value))

    def _section(self, name: str) -> dict[str, list[str]]:
        return self.sections.setdefault(_section_name(name), {})

    def _refuse(self, path: str, number: int, what: str) -> None:
        if len(self.problems) < 100:  # the text of the line may hold a password, and is not shown
            self.problems.append(f"{path} line {number} {what}")

    def get_all(self, section: str, option: str) -> list[str]:
        """Return every value of an option that may be given several times, first file first."""
        name = option.replace("-", "_")
        values = self.sections.get(_section_name(section), {}).get(name, [])
        return [self._substitute(value, section) for value in values]

    def get(self, section: str, option: str, default: str | None = None) -> str | None:
        """Return the value of ``option``, its references to other options replaced, or ``default``."""
        values = self.sections.get(_section_name(section), {}).get(option.replace("-", "_"))
        return self._substitute(values[-1], section) if values else default

    def first(self, names: Iterable[tuple[str, str]], default: str | None = None) -> str | None:
        """Return the value of the first (section, option) that is set and not empty.

        For options that had other names in earlier releases: the newest name first.
        """
        for section, option in names:
            value = self.get(section, option)
            if value:
                return value
        return default

    def boolean(self, section: str, option: str, default: bool = False) -> bool:
        """Return a boolean option; one with a value that oslo.config refuses counts as not set."""
        value = (self.get(section, option) or "").lower()
        if value in TRUE_VALUES:
            return True
        return default if value not in FALSE_VALUES else False

    def secrets(self) -> list[str]:
        """Return all that must never be shown: passwords, tokens, and the passwords inside URLs.

        Values stand as they are in the file and as the daemon uses them (unquoted).
        """
        found: dict[str, None] = {}
        for section, options in self.sections.items():
            for option, values in options.items():
                hidden = option.lower().endswith(SECRET_ENDINGS)
                for value in values:
                    for text in (value, self._substitute(value, section)):
                        for secret in ([text] if hidden else []) + url_passwords(text):
                            found[secret] = None
        found.pop("", None)
        return list(found)

    def _substitute(self, value: str, section: str) -> str:
        if "$" not in value:
            return value
        return self._expand(value, section, [MOST_SUBSTITUTIONS])

    def _expand(self, value: str, section: str, left: list[int]) -> str:
        """Replace references; ``left`` is how many more may be, over all levels.

        A reference to an option that is not in the files stays as it is: its default is known to the
        daemon alone.
        """
        parts = value.replace("\\$", "$$").split("$")
        result = [parts[0]]
        size = len(parts[0])
        position = 1
        while position < len(parts):
            part = parts[position]
            position += 1
            if not part and position < len(parts):  # "$$"
                result.append("$" + parts[position])
                position += 1
                continue
            name, rest = _reference(part)
            target = self._target(name, section) if name and left[0] > 0 else None
            if target is None or size > MOST_CHARACTERS:
                result.append("$" + part)
                continue
            left[0] -= 1
            text, of = target
            replaced = self._expand(text, of, left) if "$" in text else text
            size += len(replaced)
            result.append(replaced + rest)
        return "".join(result)

    def _target(self, name: str, section: str) -> tuple[str, str] | None:
        """Return the value that a reference inside ``section`` means, and that value's own section."""
        group, dot, option = name.partition(".")
        for of, wanted in [(group, option)] if dot else [(section, name), ("DEFAULT", name)]:
            values = self.sections.get(_section_name(of), {}).get(wanted)
            if values:
                return values[-1], of
        return None


def _section_name(name: str) -> str:
    return name if name == "DEFAULT" else name.lower()


def _split(line: str) -> tuple[str, str]:
    """Return key and value of an assignment; an empty key where there is none."""
    colon = line.find(":")
    equal = line.find("=")
    if colon < 0 and equal < 0:
        return "", ""
    cut = equal if colon < 0 or 0 <= equal < colon else colon
    value = line[cut + 1 :].strip()
    if value and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1]
    return line[:cut].strip(), value


def _reference(text: str) -> tuple[str, str]:
    """Return the name at the beginning of ``text``, which stood behind a dollar sign, and what follows it."""
    braced = text[:1] == "{"
    start = end = 1 if braced else 0
    if text[start : start + 1] in NAME_START:
        while text[end : end + 1] in NAME_PART:
            end += 1
    if not braced:
        return text[:end], text[end:]
    return (text[1:end], text[end + 1 :]) if text[end : end + 1] == "}" else ("", text)


def _is_text(line: str) -> bool:
    try:
        line.encode()
    except UnicodeEncodeError:  # surrogates stand for bytes that are not UTF-8
        return False
    return True


def url_passwords(text: str) -> list[str]:
    """Return the passwords of the URL ``text``, as written and unquoted; rather too many than too few.

    A transport URL may hold several, ``rabbit://u1:p1@h1,u2:p2@h2/``; one that was written without
    quoting may hold ``@``, ``,`` and ``/`` inside a password.
    """
    _, _, rest = text.partition("://")
    logins, at, _ = rest.rpartition("@")
    if not at:
        return []
    found = [logins.partition(":")[2]]
    for part in logins.split(","):
        login, at, _ = part.rpartition("@")
        found.append((login if at else part).partition(":")[2])
    return [form for password in found if password for form in (password, unquote(password))]


def read_text(path: str) -> str:
    """Return the text of a file, its line ends as ``\\n``; other bytes than UTF-8 as surrogates.

    :raises ConfigError: it is no regular file, cannot be read, is binary or larger than 4 MiB
    """
    try:
        # Without O_NONBLOCK a named pipe in the file's place would hold the agent for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISDIR(mode):
                raise ConfigError(path, "is a folder")
            if not stat.S_ISREG(mode):
                raise ConfigError(path, "is not a regular file")
            with open(descriptor, "rb", closefd=False) as file:
                data = file.read(LARGEST_FILE + 1)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise ConfigError(path, "does not exist") from None
    except PermissionError:
        raise ConfigError(path, "cannot be read: permission denied") from None
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or "invalid name"
        raise ConfigError(path, f"cannot be read: {cause}") from None
    if len(data) > LARGEST_FILE:
        raise ConfigError(path, f"is larger than {LARGEST_FILE // 1048576} MiB")
    if b"\0" in data:
        raise ConfigError(path, "is a binary file")
    text = data.decode("utf-8", "surrogateescape")
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _in_folders(folders: Sequence[str]) -> Iterator[str]:
    """Give the paths that oslo.config reads of folders, in its order."""
    for folder in folders:
        try:
            names = sorted(os.listdir(folder))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise ConfigError(folder, f"cannot be read: {error.strerror}") from None
        # glob("*.conf"), with which it looks, leaves hidden files out.
        yield from (os.path.join(folder, name) for name in names if name.endswith(".conf") and not name.startswith("."))
