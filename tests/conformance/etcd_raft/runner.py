"""Finds the files, replays each, compares what it prints with what etcd printed.

Two kinds of files: a *scenario* drives a cluster and counts as one; a *table* (quorum arithmetic,
membership changes) counts each of its cases.  Which kind a file is shows in its first command.

What is compared: the whole output of every command but for the logger's prose.  That holds the
messages of every link in their order with type, term, log term and index, commit, entries,
rejection and hint; every Ready with its hard state, entries, snapshot and messages; and what
`raft-log`, `raft-state` and `status` show.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.conformance.etcd_raft.datadriven import Directive, ScenarioError, read_file
from tests.conformance.etcd_raft.interaction import Scenario
from tests.conformance.etcd_raft.tables import MembershipTable, quorum_case

QUORUM, MEMBERSHIP, SCENARIO = "quorum cases", "membership cases", "scenario files"
_TABLES = {
    "committed": QUORUM, "vote": QUORUM,
    "simple": MEMBERSHIP, "enter-joint": MEMBERSHIP, "leave-joint": MEMBERSHIP,
}  # fmt: skip

_PROSE = re.compile(r"^ *(DEBUG|INFO|WARN|ERROR|FATAL) ")


class Failure(NamedTuple):
    """A command that did not print what etcd printed, or could not be replayed."""

    where: str
    command: str
    what: str


class FileResult(NamedTuple):
    """What became of one file."""

    path: Path
    kind: str
    commands: int
    passed: int
    failures: tuple[Failure, ...]

    @property
    def failed(self) -> int:
        """Cases or, for a scenario, files that failed."""
        if self.kind == SCENARIO:
            return int(bool(self.failures))
        return len(self.failures)


def find_files(folder: Path) -> list[Path]:
    """The one file that was named, or those of a folder and its subfolders.

    A data-driven file ends with .txt, or has no ending at all; editors' leftovers are none.
    """
    if folder.is_file():
        return [folder]
    return sorted(
        path for path in folder.rglob("*")
        if path.suffix in ("", ".txt") and not path.name.startswith((".", "#")) and path.is_file()
    )  # fmt: skip


def without_prose(output: str) -> list[str]:
    """The lines of an output that are not the logger's; "ok" stands for an empty output."""
    lines = [line for line in output.splitlines() if not _PROSE.match(line)]
    return [] if lines == ["ok"] else lines


def first_difference(found: list[str], expected: list[str]) -> str:
    """The first line in which two outputs part, as text."""
    for number in range(max(len(found), len(expected))):
        ours = found[number] if number < len(found) else "(end of output)"
        theirs = expected[number] if number < len(expected) else "(end of output)"
        if ours != theirs:
            return f"line {number + 1} of the output is {ours!r}, etcd printed {theirs!r}"
    return ""


def replay(path: Path) -> FileResult:
    """Replay one file to its end; a file that cannot be read to its end fails."""
    kind = SCENARIO
    commands = 0
    handle: Callable[[Directive], str] | None = None
    failures: list[Failure] = []
    directives: Iterator[Directive] = read_file(path)
    while True:
        try:
            directive = next(directives, None)
        except ScenarioError as error:
            failures.append(Failure(error.where, "", error.what))
            break
        if directive is None:
            break
        if handle is None:
            kind = _TABLES.get(directive.command, SCENARIO)
            handle = _handler(kind)
        commands += 1
        difference = _difference(directive, handle)
        if difference:
            failures.append(Failure(directive.where, directive.text, difference))
            if kind == SCENARIO:
                break  # What follows starts from another state.
    if not commands and not failures:
        failures.append(Failure(str(path), "", "no command in this file"))
    passed = max(0, commands - len(failures)) if kind != SCENARIO else int(not failures)
    return FileResult(path, kind, commands, passed, tuple(failures))


def _difference(directive: Directive, handle: Callable[[Directive], str]) -> str:
    """What is wrong with what a command prints; empty when nothing is."""
    try:
        return compare(directive, handle(directive))
    except ScenarioError as error:
        return error.what
    except Exception as error:  # A bug here must not hide what the other files show.
        return f"the replay broke: {type(error).__name__}: {error}"


def _handler(kind: str) -> Callable[[Directive], str]:
    if kind == QUORUM:
        return quorum_case
    return MembershipTable().case if kind == MEMBERSHIP else Scenario().handle


def compare(directive: Directive, output: str) -> str:
    """What differs between an output and what etcd printed; empty when nothing does."""
    return first_difference(without_prose(output), without_prose(directive.expected))
