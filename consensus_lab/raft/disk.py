"""What a Raft node keeps on disk, as key and value, and how it is read back after a crash.

Keys: `HARD_STATE`; `("entry", index)` for every entry after the base; `BASE`, the index and term
of the last entry that was compacted; `SNAPSHOT`.  Every batch of writes is atomic and batches
become durable in order, so a crash leaves a log without gaps.

The commit index is written along with other things only.  It is a hint: after a crash the node
learns the commit index anew from the leader, or commits anew as leader (Raft Fig. 2 lists it as
volatile).
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NamedTuple

from consensus_lab.client import sessions_size_bytes
from consensus_lab.node import CONTROL_SIZE_BYTES, Disk, Persist, message_size
from consensus_lab.raft.core import RaftCore
from consensus_lab.raft.entries import (
    EMPTY_HARD_STATE,
    Entries,
    Entry,
    HardState,
    Snapshot,
    entries_size,
)
from consensus_lab.raft.log import RaftLog

HARD_STATE = "hard_state"
BASE = "base"
SNAPSHOT = "snapshot"

HARD_STATE_BYTES = 32
"""Term, vote and commit index with the write-ahead log's record around them."""


class Outcome(NamedTuple):
    """What a node's own snapshot holds: the state machine and the requests it remembers."""

    machine: Any
    sessions: tuple[tuple[Hashable, Any], ...]

    @property
    def size_bytes(self) -> int:
        """Bytes on the wire and on disk."""
        return message_size(self.machine) + sessions_size_bytes(self.sessions)


class Writer:
    """Turns what the core wants written into `Persist` effects.

    Parameters
    ----------
    disk : Disk
        What is durable now.
    """

    __slots__ = ("first_index", "last_index", "term", "vote")

    def __init__(self, disk: Disk) -> None:
        state: HardState = disk.get(HARD_STATE, EMPTY_HARD_STATE)
        self.term, self.vote = state.term, state.vote
        base_index, _ = disk.get(BASE, (0, 0))
        self.first_index = base_index + 1
        self.last_index = base_index
        while ("entry", self.last_index + 1) in disk:
            self.last_index += 1

    def is_behind(self, core: RaftCore) -> bool:
        """True when there is something to write."""
        log = core.log
        return (
            log.handed_out != log.last_index
            or core.term != self.term
            or core.vote != self.vote
            or log.snapshot is not None
        )

    def append(self, hard_state: HardState, entries: Entries) -> Persist:
        """Write entries and state; entries that stand behind the new ones were replaced."""
        self.term, self.vote = hard_state.term, hard_state.vote
        writes: list[tuple[Hashable, Any]] = [(HARD_STATE, hard_state)]
        if not entries:
            return Persist(tuple(writes), HARD_STATE_BYTES)
        for entry in entries:
            writes.append((("entry", entry.index), entry))
        last = entries[-1].index
        for replaced in range(last + 1, self.last_index + 1):
            writes.append((("entry", replaced), None))
        self.last_index = last
        return Persist(tuple(writes), HARD_STATE_BYTES + entries_size(entries))

    def install(self, hard_state: HardState, snapshot: Snapshot) -> Persist:
        """Replace everything by a snapshot that came from the leader."""
        self.term, self.vote = hard_state.term, hard_state.vote
        writes: list[tuple[Hashable, Any]] = [
            (HARD_STATE, hard_state),
            (SNAPSHOT, snapshot),
            (BASE, (snapshot.index, snapshot.term)),
        ]
        writes.extend((("entry", i), None) for i in range(self.first_index, self.last_index + 1))
        self.first_index = snapshot.index + 1
        self.last_index = snapshot.index
        return Persist(tuple(writes), HARD_STATE_BYTES + snapshot.size_bytes)

    def compact(
        self, hard_state: HardState, snapshot: Snapshot, *, base_index: int, base_term: int
    ) -> Persist:
        """Write the node's own snapshot and drop the entries up to the base.

        The state goes along, for the commit index on disk must not be behind the snapshot.
        """
        self.term, self.vote = hard_state.term, hard_state.vote
        writes: list[tuple[Hashable, Any]] = [
            (HARD_STATE, hard_state),
            (SNAPSHOT, snapshot),
            (BASE, (base_index, base_term)),
        ]
        writes.extend((("entry", i), None) for i in range(self.first_index, base_index + 1))
        self.first_index = max(self.first_index, base_index + 1)
        return Persist(tuple(writes), CONTROL_SIZE_BYTES + snapshot.size_bytes)


def read_log(disk: Disk, *, applying_bytes_max: int | None) -> RaftLog:
    """The log as it is on disk."""
    base_index, base_term = disk.get(BASE, (0, 0))
    entries: list[Entry] = []
    while (key := ("entry", base_index + len(entries) + 1)) in disk:
        entries.append(disk[key])
    return RaftLog(
        entries,
        base_index=base_index,
        base_term=base_term,
        applying_bytes_max=applying_bytes_max,
    )
