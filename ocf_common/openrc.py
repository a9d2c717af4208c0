"""Reads the settings of an openrc file without a shell.

Understood: ``export OS_X=value`` and ``OS_X=value``, several on a line, ``;`` between them, single and double
quotes, backslashes, comments, ``unset OS_X``, and references to variables that the file has set before. All
other commands are passed over; a value that only a running shell could know is an error, said with its line.
"""

from __future__ import annotations


class OpenrcError(Exception):
    """The file cannot be used; the text is the rest of a sentence about it, without any value."""


def parse(text: str) -> dict[str, str]:
    """Return the variables that the file sets, in the order of the file.

    Raises :class:`OpenrcError` for a quote that does not end, and for an ``OS_*`` value that holds a command or a
    variable that the file does not set.
    """
    variables: dict[str, str] = {}
    number = 0
    lines = text.split("\n")
    while number < len(lines):
        first = number
        line = lines[number]
        # A value in quotes, or one with a backslash at the end, goes on in the next line.
        while (after := _run(line, variables, first + 1)) is None:
            number += 1
            if number == len(lines):
                raise OpenrcError(f"has a quote in line {first + 1} that does not end")
            line += "\n" + lines[number]
        variables = after
        number += 1
    return variables


class _Word:
    """A word of a command: its text, and why it cannot be known, where it cannot."""

    __slots__ = ("problem", "text")

    def __init__(self) -> None:
        self.text = ""
        self.problem = ""


def _apply(words: list[_Word], variables: dict[str, str], number: int) -> None:
    """Take over what one command sets or unsets."""
    if words and words[0].text == "unset":
        for word in words[1:]:
            variables.pop(word.text, None)
        return
    for position, word in enumerate(words):
        name, equals, value = word.text.partition("=")
        if not equals or not name.isidentifier():
            if position == 0 and word.text in ("export", "declare", "typeset"):
                continue
            return  # another command, or the end of the assignments before one
        if not word.problem:
            variables[name] = value
        elif name.startswith("OS_"):
            raise OpenrcError(f"sets {name} in line {number} to {word.problem}: write the value itself")


def _run(line: str, variables: dict[str, str], number: int) -> dict[str, str] | None:
    """Return the variables after the commands of ``line``, or None where it goes on in the next one."""
    variables = dict(variables)
    words: list[_Word] = []
    word: _Word | None = None
    quote = ""
    position = 0
    while position < len(line):
        character = line[position]
        position += 1
        if quote == "'":
            if character == "'":
                quote = ""
            elif word is not None:
                word.text += character
            continue
        if not quote and character in " \t\r\n;&|":
            word = None
            if character in ";&|\n":
                _apply(words, variables, number)
                words = []
            continue
        if not quote and character == "#" and word is None:
            break
        if character == "\\" and line[position:] in ("", "\r"):
            return None
        if character == "\\" and line[position] == "\n":
            position += 1
            continue
        if word is None:
            word = _Word()
            words.append(word)
        if character == '"':
            quote = "" if quote else '"'
        elif character == "'" and not quote:
            quote = "'"
        elif character == "\\":
            following = line[position]
            position += 1
            word.text += following if not quote or following in '$`"\\' else "\\" + following
        elif character == "$" and line[position : position + 1] not in ("", '"', " "):
            position = _reference(line, position, word, variables)
        elif character == "`":
            word.problem = "the output of a command"
        else:
            word.text += character
    _apply(words, variables, number)
    return None if quote else variables


def _reference(line: str, position: int, word: _Word, variables: dict[str, str]) -> int:
    """Put the variable named at ``position`` into the word; return where the line goes on."""
    if line[position] == "(":
        word.problem = "the output of a command"
        return position + 1
    braces = line[position] == "{"
    start = end = position + 1 if braces else position
    while end < len(line) and (line[end].isalnum() or line[end] == "_"):
        end += 1
    name = line[start:end]
    closed = not braces or line[end : end + 1] == "}"
    if closed and name in variables:
        word.text += variables[name]
    else:
        word.problem = f"${name}, which the file does not set" if name and closed else "what only a shell knows"
    return end + 1 if braces and closed else end
