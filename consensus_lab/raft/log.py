"""The replicated log of one server: what it holds, what is on disk, what is committed, applied.

Theory of operation (Raft §5.3, §7).  Entries have consecutive indexes.  The entry at `base_index`
is gone, compacted into a snapshot, but its term is still known, because an append that follows it
must be matched.  Five marks move along the log, none of them ever backwards within one life,
except `stable` when a conflicting suffix is replaced:

    base <= applied <= applying <= committed <= last,    stable <= handed_out <= last

`stable`: durable on this disk.  `handed_out`: given to the disk.  `committed`: known to be on a
quorum of disks.  `applying`: given to the state machine.  `applied`: applied.  A snapshot that a
leader has sent replaces the whole log; it is pending until it is on disk and applied.

How much may be given to the state machine before it answers is bounded in bytes
(etcd-io/raft `log.go`, acceptApplying).
"""

from __future__ import annotations

from collections.abc import Iterable

from consensus_lab.raft.entries import NORMAL, Entries, Entry, Snapshot, entries_size


def limited(entries: Iterable[Entry], size_bytes_max: int | None) -> Entries:
    """The longest prefix within that size, but at least one entry if there is any.

    >>> limited([Entry(1, 1, b"abc"), Entry(1, 2)], 0)
    (Entry(term=1, index=1, data=b'abc', ...),)
    """
    entries = tuple(entries)
    if size_bytes_max is None or len(entries) < 2:
        return entries
    size = 0
    for position, entry in enumerate(entries):
        size += entry.size_bytes
        if size > size_bytes_max and position:
            return entries[:position]
    return entries


class RaftLog:
    """The log.

    Parameters
    ----------
    entries : iterable of Entry
        What the disk holds after the base.
    base_index, base_term : int
        The last compacted entry; 0, 0 for a log that begins at 1.
    applying_bytes_max : int or None
        Bytes that may be given to the state machine before it answers.
    """

    __slots__ = (
        "applied", "applying", "applying_bytes", "applying_bytes_max", "base_index", "base_term",
        "committed", "entries", "handed_out", "is_applying_paused", "is_snapshot_handed_out",
        "last_index", "snapshot", "stable",
    )  # fmt: skip

    def __init__(
        self,
        entries: Iterable[Entry] = (),
        *,
        base_index: int = 0,
        base_term: int = 0,
        applying_bytes_max: int | None = None,
    ) -> None:
        self.entries: list[Entry] = list(entries)
        self.base_index = base_index
        self.base_term = base_term
        self.last_index = base_index + len(self.entries)
        if self.entries:
            assert self.entries[0].index == base_index + 1
            assert self.entries[-1].index == self.last_index
        self.stable = self.last_index
        self.handed_out = self.last_index
        self.committed = base_index
        self.applying = base_index
        self.applied = base_index
        self.snapshot: Snapshot | None = None
        self.is_snapshot_handed_out = False
        self.applying_bytes_max = applying_bytes_max
        self.applying_bytes = 0
        self.is_applying_paused = False

    # Reading.

    @property
    def first_index(self) -> int:
        """The first index whose entry is still here."""
        return self.base_index + 1

    @property
    def last_term(self) -> int:
        """Term of the last entry, compacted or not."""
        return self.entries[-1].term if self.entries else self.base_term

    def term(self, index: int) -> int | None:
        """The term at that index; None when it is compacted or not yet there."""
        position = index - self.base_index
        if position > 0:
            return self.entries[position - 1].term if index <= self.last_index else None
        return self.base_term if position == 0 else None

    def matches(self, index: int, term: int) -> bool:
        """True when there is an entry with that index and term (log matching, Raft §5.3)."""
        return self.term(index) == term

    def is_up_to_date(self, last_index: int, last_term: int) -> bool:
        """True when a log that ends so is at least as up-to-date as this one (Raft §5.4.1)."""
        own = self.last_term
        return last_term > own or (last_term == own and last_index >= self.last_index)

    def slice(self, low: int, high: int, size_bytes_max: int | None = None) -> Entries:
        """Entries with low <= index < high, as many as fit, but at least one if there is any."""
        base = self.base_index
        assert low > base, "compacted"
        assert high <= self.last_index + 1, "not there yet"
        if size_bytes_max is None:
            return tuple(self.entries[low - base - 1 : high - base - 1])
        return limited(self.entries[low - base - 1 : high - base - 1], size_bytes_max)

    def find_conflict_by_term(self, index: int, term: int) -> tuple[int, int]:
        """The highest index at or below `index` whose term is at most `term`, and that term.

        It is the best guess where this log stops matching one that holds (index, term).  Where
        the own term is not known the guess is that index, with term 0 (Raft §5.3, end).
        """
        while index > 0:
            own = self.term(index)
            if own is None:
                return index, 0
            if own <= term:
                return index, own
            index -= 1
        return 0, 0

    def has_unapplied_conf_change(self) -> bool:
        """True when a committed membership change is not applied yet."""
        if self.applied >= self.committed:
            return False
        first = max(self.applied, self.base_index) + 1
        return any(entry.type is not NORMAL for entry in self.slice(first, self.committed + 1))

    # Appending.

    def append(self, entries: Entries) -> int:
        """Put entries after what they follow, dropping what was there; the new last index."""
        if not entries:
            return self.last_index
        before = entries[0].index - 1
        assert before >= self.committed, "a committed entry would be replaced"
        assert before <= self.last_index, "a gap in the log"
        if before < self.last_index:
            del self.entries[before - self.base_index :]
            self.stable = min(self.stable, before)
            self.handed_out = min(self.handed_out, before)
        self.entries.extend(entries)
        self.last_index = before + len(entries)
        return self.last_index

    def maybe_append(
        self, index: int, log_term: int, commit: int, entries: Entries
    ) -> int | None:
        """Take an append that follows (index, log_term), and the leader's commit index.

        Returns
        -------
        int or None
            The index up to which the logs match now; None when they do not match at `index`.
            Entries that are here already are not touched (Raft Fig. 2, AppendEntries 3-5).
        """
        if self.term(index) != log_term:
            return None
        if index == self.last_index:
            # The common case: nothing of ours stands where these entries go.
            self.entries.extend(entries)
            self.last_index = last_new = index + len(entries)
            self.commit_to(min(commit, last_new))
            return last_new
        for position, entry in enumerate(entries):
            if self.term(entry.index) != entry.term:
                assert entry.index > self.committed, "conflict with a committed entry"
                self.append(entries[position:] if position else entries)
                break
        last_new = index + len(entries)
        self.commit_to(min(commit, last_new))
        return last_new

    # Committing.

    def commit_to(self, index: int) -> bool:
        """Move the commit index forward; False when it was there already."""
        if index <= self.committed:
            return False
        assert index <= self.last_index, "commit beyond the log: was it lost or cut?"
        self.committed = index
        return True

    def maybe_commit(self, index: int, term: int) -> bool:
        """Commit up to an index that a quorum holds, if its entry is of that term.

        A leader counts replicas only of entries of its own term; older ones are committed with
        them (Raft §5.4.2).
        """
        if index <= self.committed or self.term(index) != term:
            return False
        return self.commit_to(index)

    # To disk.

    @property
    def has_unstable(self) -> bool:
        """True while some entries are not durable."""
        return self.stable < self.last_index

    def next_unstable(self) -> Entries:
        """What has to be written and has not been handed out."""
        if self.handed_out == self.last_index:
            return ()
        return tuple(self.entries[self.handed_out - self.base_index :])

    def next_snapshot(self) -> Snapshot | None:
        """The snapshot that has to be written and has not been handed out."""
        return None if self.is_snapshot_handed_out else self.snapshot

    def hand_out(self) -> None:
        """All that `next_unstable` and `next_snapshot` gave is on its way to disk."""
        self.handed_out = self.last_index
        self.is_snapshot_handed_out = self.snapshot is not None

    def stable_to(self, index: int, term: int) -> None:
        """Everything up to that entry is durable; ignored when the entry was replaced since."""
        if self.stable < index <= self.last_index and self.term(index) == term:
            self.stable = index
            self.handed_out = max(self.handed_out, index)

    def stable_snapshot_to(self, index: int) -> None:
        """The snapshot of that index is durable and applied."""
        if self.snapshot is not None and self.snapshot.index == index:
            self.snapshot = None
            self.is_snapshot_handed_out = False

    # To the state machine.

    def appliable_to(self, *, allow_unstable: bool) -> int:
        """The highest index that may be applied now."""
        return self.committed if allow_unstable else min(self.committed, self.stable)

    def has_next_committed(self, *, allow_unstable: bool = True) -> bool:
        """True when there is something to give to the state machine."""
        if self.is_applying_paused or self.snapshot is not None:
            return False
        return self.applying < self.appliable_to(allow_unstable=allow_unstable)

    def next_committed(self, *, allow_unstable: bool = True) -> Entries:
        """What to give to the state machine next, within the bound on bytes."""
        if not self.has_next_committed(allow_unstable=allow_unstable):
            return ()
        room = None
        if self.applying_bytes_max is not None:
            room = self.applying_bytes_max - self.applying_bytes
            assert room > 0
        high = self.appliable_to(allow_unstable=allow_unstable) + 1
        return self.slice(self.applying + 1, high, room)

    def accept_applying(self, entries: Entries, *, allow_unstable: bool = True) -> None:
        """Those entries were given to the state machine."""
        index = entries[-1].index
        assert index <= self.committed
        self.applying = index
        if self.applying_bytes_max is not None:
            self.applying_bytes += entries_size(entries)
            # Fewer than there are were given: the next one did not fit, so wait for an answer.
            self.is_applying_paused = (
                self.applying_bytes >= self.applying_bytes_max
                or index < self.appliable_to(allow_unstable=allow_unstable)
            )

    def applied_to(self, index: int, size_bytes: int = 0) -> None:
        """The state machine has applied everything up to that index."""
        assert self.applied <= index <= self.committed
        self.applied = index
        if self.applying < index:
            self.applying = index
        if self.applying_bytes_max is not None:
            self.applying_bytes = max(0, self.applying_bytes - size_bytes)
            self.is_applying_paused = self.applying_bytes >= self.applying_bytes_max

    # Snapshots.

    def restore(self, snapshot: Snapshot) -> None:
        """Replace everything by a snapshot that the leader sent (Raft §7)."""
        assert snapshot.index > self.committed
        self.entries.clear()
        self.base_index, self.base_term = snapshot.index, snapshot.term
        self.last_index = self.committed = snapshot.index
        self.stable = self.handed_out = snapshot.index
        self.snapshot = snapshot
        self.is_snapshot_handed_out = False

    def compact(self, index: int) -> None:
        """Forget the entries up to that index; the state machine must have applied them."""
        if index <= self.base_index:
            return
        assert index <= self.applied
        term = self.term(index)
        assert term is not None
        del self.entries[: index - self.base_index]
        self.base_index, self.base_term = index, term
