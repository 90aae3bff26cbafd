"""Reads data-driven test files: commands, each with its expected output after `----`.

The format is that of github.com/cockroachdb/datadriven: a command line with arguments `key`,
`key=value` or `key=(value,value)`; optional input lines; `----`; the expected output up to a blank
line, or, after a second `----`, up to two more.  Lines that begin with `#` are comments.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SEPARATOR = "----"
COMMANDS_PER_FILE_MAX = 100_000

_ARGUMENT = re.compile(r" *([^\s=()]+)(?:=(\([^()]*\)|[^\s()]*))?(?=\s|$)")


class ScenarioError(Exception):
    """A file that cannot be replayed: where, and what is wrong with it."""

    def __init__(self, where: str, what: str) -> None:
        self.where = where
        self.what = what
        super().__init__(f"{where}: {what}")


class Argument(NamedTuple):
    """One argument of a command; without values it is a plain word."""

    key: str
    values: tuple[str, ...]


class Directive(NamedTuple):
    """One command with what it should print."""

    where: str
    text: str
    command: str
    arguments: tuple[Argument, ...]
    input: str
    expected: str


def parse_line(line: str, where: str) -> tuple[str, tuple[Argument, ...]]:
    """The command and its arguments; an empty command for an empty line."""
    line = line.strip()
    words: list[Argument] = []
    position = 0
    while position < len(line):
        match = _ARGUMENT.match(line, position)
        if match is None:
            column = position + 1
            raise ScenarioError(where, f"cannot parse directive at column {column}: {line}")
        words.append(Argument(match.group(1), _values(match.group(2))))
        position = match.end()
    if not words:
        return "", ()
    if words[0].values:
        raise ScenarioError(where, f"a command, not an argument, must come first: {line}")
    return words[0].key, tuple(words[1:])


def _values(text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    if not text.startswith("("):
        return (text,)
    inner = text[1:-1].strip()
    return tuple(value.strip() for value in inner.split(",")) if inner else ()


def read_file(path: Path) -> Iterator[Directive]:
    """The commands of a file in order.

    Raises
    ------
    ScenarioError
        For a line that is no command and a command without `----`.
    """
    try:
        # Only at line ends: str.splitlines would also split a proposal's text at a form feed.
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(str(path), f"cannot be read: {error}") from error
    position = 0
    count = 0
    while position < len(lines):
        where = f"{path}:{position + 1}"
        line = lines[position].strip()
        position += 1
        if line.startswith("#"):
            continue
        while line.endswith("\\") and position < len(lines):
            line = line[:-1] + " " + lines[position].strip()
            position += 1
        command, arguments = parse_line(line, where)
        if not command or command == "subtest":
            continue
        count += 1
        if count > COMMANDS_PER_FILE_MAX:
            raise ScenarioError(where, f"more than {COMMANDS_PER_FILE_MAX} commands")
        try:
            separator = lines.index(SEPARATOR, position)
        except ValueError:
            raise ScenarioError(where, f"no {SEPARATOR} after command {command!r}") from None
        text = "\n".join(lines[position:separator]).strip()
        expected, position = _expected(lines, separator + 1, where)
        yield Directive(where, line, command, arguments, text, expected)


def _expected(lines: list[str], position: int, where: str) -> tuple[str, int]:
    """The expected output that begins at that line, and where it ends."""
    taken: list[str] = []
    if position < len(lines) and lines[position] == SEPARATOR:
        position += 1
        while position + 1 < len(lines):
            if lines[position] == SEPARATOR == lines[position + 1]:
                return _text(taken), position + 2
            taken.append(lines[position])
            position += 1
        raise ScenarioError(where, f"expected output is not closed by two {SEPARATOR}")
    while position < len(lines) and lines[position].strip():
        taken.append(lines[position])
        position += 1
    return _text(taken), position


def _text(lines: list[str]) -> str:
    return "".join(line + "\n" for line in lines)
