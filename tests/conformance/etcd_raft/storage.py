"""The disk of a replayed node: log, hard state, and a history of snapshots.

It stands apart from the core on purpose: what `raft-log` prints is what was written through
Readies or the append thread, not what the core believes.
"""

from __future__ import annotations

from consensus_lab.raft.entries import EMPTY_HARD_STATE, Entries, Entry, HardState, Snapshot


class StorageError(Exception):
    """An operation that etcd's MemoryStorage refuses; the text is etcd's."""


class MemoryStorage:
    """A disk that starts from a snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.hard_state: HardState = EMPTY_HARD_STATE
        self.base_index = snapshot.index
        self.base_term = snapshot.term
        self.snapshot_index = snapshot.index
        self.entries: list[Entry] = []

    @property
    def first_index(self) -> int:
        """The first entry that is there, or would be."""
        return self.base_index + 1

    @property
    def last_index(self) -> int:
        """The last entry."""
        return self.base_index + len(self.entries)

    def append(self, entries: Entries) -> None:
        """Write entries, replacing what stands from the first of them on."""
        entries = tuple(entry for entry in entries if entry.index >= self.first_index)
        if not entries:
            return
        position = entries[0].index - self.first_index
        assert position <= len(self.entries), "a gap in what was written"
        self.entries[position:] = entries

    def apply_snapshot(self, snapshot: Snapshot) -> None:
        """Replace everything by a snapshot."""
        if self.snapshot_index != 0 and self.snapshot_index >= snapshot.index:
            raise StorageError("requested index is older than the existing snapshot")
        self.snapshot_index = snapshot.index
        self.base_index, self.base_term = snapshot.index, snapshot.term
        self.entries = []

    def compact(self, index: int) -> None:
        """Drop the entries up to that index."""
        if index <= self.base_index:
            raise StorageError("requested index is unavailable due to compaction")
        assert index <= self.last_index, f"compact {index} is out of bound {self.last_index}"
        self.base_term = self.entries[index - self.first_index].term
        del self.entries[: index - self.base_index]
        self.base_index = index
