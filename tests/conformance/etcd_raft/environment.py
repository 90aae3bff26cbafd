"""The cluster of a replayed scenario: its nodes, what is on its way, and what was printed.

What etcd's logger writes is not reproduced; the runner leaves it out of what is expected.
"""

from __future__ import annotations

from collections.abc import Callable

from consensus_lab.node import Send
from consensus_lab.raft import messages as msg
from consensus_lab.raft.core import RaftCore
from consensus_lab.raft.entries import (
    EMPTY_HARD_STATE,
    Entries,
    EntryType,
    HardState,
    Snapshot,
    conf_change_of,
)
from consensus_lab.raft.ready import RawNode
from consensus_lab.raft.reconfiguration import apply_change
from tests.conformance.etcd_raft.arguments import integer, words
from tests.conformance.etcd_raft.datadriven import Argument, ScenarioError
from tests.conformance.etcd_raft.storage import MemoryStorage

LOG_LEVELS = ("DEBUG", "INFO", "WARN", "ERROR", "FATAL", "NONE")


class CommandError(Exception):
    """An error that the scenario itself shows: it belongs to the output."""


class ReplayedNode:
    """One node with its disk, its storage threads' work, and the states it went through."""

    def __init__(self, raw: RawNode, storage: MemoryStorage, first: Snapshot) -> None:
        self.raw = raw
        self.storage = storage
        self.history = [first]
        raw.core.latest_snapshot = lambda: self.history[-1]
        self.append_work: list[msg.MsgStorageAppend] = []
        self.apply_work: list[msg.MsgStorageApply] = []

    @property
    def core(self) -> RaftCore:
        """The protocol's state."""
        return self.raw.core

    def write(self, state: HardState, entries: Entries, snapshot: Snapshot | None) -> None:
        """Do what a Ready or the append thread asks for."""
        if state != EMPTY_HARD_STATE:
            self.storage.hard_state = state
        if snapshot is None:
            self.storage.append(entries)
        elif entries:
            raise CommandError("can't apply snapshot and entries at the same time")
        else:
            self.storage.apply_snapshot(snapshot)

    def apply(self, entries: Entries) -> None:
        """Apply committed entries to a state machine that concatenates them."""
        for entry in entries:
            last = self.history[-1]
            state, update = last.conf_state, entry.data
            if entry.type is not EntryType.NORMAL:
                state, update = apply_change(self.core, conf_change_of(entry)), ""
            data = (last.data or "") + (update or "")
            self.history.append(Snapshot(entry.index, entry.term, state, data))


class Environment:
    """A scenario's cluster.

    Attributes
    ----------
    nodes : list of ReplayedNode
        Node n stands at position n - 1.
    messages : list of Send
        What is on its way.
    where : str
        File and line of the command that is carried out.
    output : list of str
        What it has printed.
    """

    def __init__(self) -> None:
        self.nodes: list[ReplayedNode] = []
        self.messages: list[Send] = []
        self.log_level = 0
        self.where = ""
        self.output: list[str] = []

    @property
    def is_quiet(self) -> bool:
        """At log level NONE nothing is printed but errors."""
        return self.log_level == len(LOG_LEVELS) - 1

    def set_log_level(self, name: str) -> None:
        """Print, or be quiet."""
        if name.upper() not in LOG_LEVELS:
            raise CommandError(f"log levels must be either of [{' '.join(LOG_LEVELS)}]")
        self.log_level = LOG_LEVELS.index(name.upper())

    def print(self, text: str) -> None:
        """Add to the command's output."""
        if not self.is_quiet:
            self.output.append(text)

    def indented(self, action: Callable[[], object]) -> None:
        """Run something whose output stands two columns in."""
        outer, self.output = self.output, []
        try:
            action()
        finally:
            inner, self.output = "".join(self.output), outer
            for line in inner.splitlines():
                self.print(f"  {line}\n")

    def node(self, number: int) -> ReplayedNode:
        """The node of that number."""
        if not 1 <= number <= len(self.nodes):
            raise ScenarioError(self.where, f"unknown node {number}: there are {len(self.nodes)}")
        return self.nodes[number - 1]

    def first_node(self, arguments: tuple[Argument, ...]) -> ReplayedNode:
        """The node that the first argument names."""
        return self.node(integer(words(arguments, 1, self.where)[0], self.where))
