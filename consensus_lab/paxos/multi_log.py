"""The acceptor of Multi-Paxos: one promise for all slots, and what was accepted in each.

Rules of this file: state and disk only, no messages.  A method that changes what must survive a
crash returns the writes; the caller puts them into a `Persist` before it tells anybody.

Theory of operation (Paxos Made Simple §2.2 and §3).  Every slot is an instance of single-decree
Paxos.  All instances share the promised ballot, which is why one phase 1 serves them all.  In slot
i the acceptor remembers the highest-balloted proposal that it accepted.

A slot is *chosen* when a phase-2 quorum of its acceptors accepted one ballot; the leader counts
and says so.  An acceptor may believe "slot i is chosen" of its own entry only if the entry has the
ballot of the leader who says it: an entry with a lower ballot may be another leader's proposal
that lost.  `chosen_index` is the end of the prefix whose chosen values are all here.  It goes to
disk with the next write, never with a write of its own: it can be learned again.

Chosen slots that a snapshot covers are trimmed.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from consensus_lab.node import Disk
from consensus_lab.paxos.multi_messages import NO_BALLOT, Ballot, Entry, Slot, Snapshot, Value

PROMISED, CHOSEN, SNAPSHOT, SLOT = "promised", "chosen", "snapshot", "slot"
"""Keys on disk; a slot's entry stands under the pair (SLOT, i)."""

Writes = list[tuple[Hashable, Any]]


class SlotLog:
    """One acceptor's promise and slots.

    Attributes
    ----------
    promised : Ballot
        Nothing below is accepted.  Never decreases; on disk before it is told.
    entries : dict of slot to Entry
        What is accepted, for slots above `trimmed`.
    chosen_index : int
        All slots up to here are chosen, and known by value.  Never decreases.
    trimmed : int
        Slots up to here are gone; the snapshot stands for them.  At most `snapshot.last_slot`.
    snapshot : Snapshot or None
        The latest one; its index is at most `chosen_index`.
    """

    def __init__(self, disk: Disk) -> None:
        self.promised: Ballot = disk.get(PROMISED, NO_BALLOT)
        self.snapshot: Snapshot | None = disk.get(SNAPSHOT)
        slots = sorted(key[1] for key in disk if isinstance(key, tuple) and key[0] == SLOT)
        self.entries: dict[Slot, Entry] = {slot: disk[SLOT, slot] for slot in slots}
        base = self.snapshot.last_slot if self.snapshot else 0
        self.chosen_index: Slot = max(disk.get(CHOSEN, 0), base)
        self._chosen_written: Slot = self.chosen_index
        self.trimmed: Slot = min(base, slots[0] - 1) if slots else base
        known = range(base + 1, self.chosen_index + 1)
        assert all(slot in self.entries for slot in known), "The chosen prefix has a hole."

    @property
    def last_slot(self) -> Slot:
        """The highest slot with an entry, or the end of the chosen prefix."""
        return max(self.chosen_index, max(self.entries, default=0))

    def promise(self, ballot: Ballot) -> Writes:
        """Promise to accept nothing below (phase 1b)."""
        assert ballot >= self.promised, "A promise is never taken back."
        if ballot == self.promised:
            return []
        self.promised = ballot
        return [(PROMISED, ballot)]

    def accept(self, ballot: Ballot, first_slot: Slot, values: tuple[Value, ...]) -> Writes:
        """Accept values for consecutive slots (phase 2b); chosen slots stay as they are.

        The caller has checked that the ballot is not below the promised one (P1a).
        """
        writes = self.promise(ballot)
        entries = self.entries
        for slot, value in enumerate(values, first_slot):
            if slot <= self.chosen_index:
                # Chosen is chosen (P2): a proposal with a valid ballot has the same value.
                assert slot <= self.trimmed or entries[slot].value == value, "Two values chosen."
                continue
            entry = Entry(ballot, value)
            if entries.get(slot) != entry:
                entries[slot] = entry
                writes.append(((SLOT, slot), entry))
        return self._with_chosen(writes)

    def choose(self, ballot: Ballot, index: Slot) -> bool:
        """The leader of that ballot says that slots up to `index` are chosen; True when news.

        Stops at the first slot whose entry has another ballot: its value has to be asked for.
        """
        slot = self.chosen_index
        while slot < index:
            entry = self.entries.get(slot + 1)
            if entry is None or entry.ballot != ballot:
                break
            slot += 1
        is_news = slot > self.chosen_index
        self.chosen_index = slot
        return is_news

    def learn(self, first_slot: Slot, entries: tuple[Entry, ...]) -> Writes:
        """Take consecutive chosen values from somebody who knows them; a gap takes none."""
        if first_slot > self.chosen_index + 1:
            return []
        writes: Writes = []
        for slot, entry in enumerate(entries, first_slot):
            if slot > self.chosen_index:
                self.entries[slot] = entry
                self.chosen_index = slot
                writes.append(((SLOT, slot), entry))
        return self._with_chosen(writes)

    def entries_from(self, slot: Slot) -> tuple[tuple[Slot, Entry], ...]:
        """What is accepted from that slot on, in slot order: the report of a promise."""
        return tuple(sorted((i, entry) for i, entry in self.entries.items() if i >= slot))

    def chosen_from(self, slot: Slot, *, count_max: int) -> tuple[Entry, ...]:
        """Chosen entries from that slot on, at most so many; the slot must not be trimmed."""
        assert slot > self.trimmed
        last = min(self.chosen_index, slot + count_max - 1)
        return tuple(self.entries[i] for i in range(slot, last + 1))

    def compact(self, snapshot: Snapshot, *, trailing: int) -> Writes:
        """A snapshot of one's own was taken: keep it and the last `trailing` slots before it."""
        assert snapshot.last_slot <= self.chosen_index
        self.snapshot = snapshot
        return [(SNAPSHOT, snapshot), *self._trim(snapshot.last_slot - trailing)]

    def install(self, snapshot: Snapshot) -> Writes:
        """Take over another replica's snapshot, which reaches further than this log."""
        assert snapshot.last_slot > self.chosen_index
        self.snapshot = snapshot
        self.chosen_index = snapshot.last_slot
        writes = [(SNAPSHOT, snapshot), *self._trim(snapshot.last_slot)]
        return self._with_chosen(writes)

    def _trim(self, last: Slot) -> Writes:
        gone = [slot for slot in self.entries if slot <= last]
        for slot in gone:
            del self.entries[slot]
        self.trimmed = max(self.trimmed, last)
        return [((SLOT, slot), None) for slot in sorted(gone)]

    def _with_chosen(self, writes: Writes) -> Writes:
        """Let `chosen_index` ride along with a write that happens anyway."""
        if writes and self.chosen_index > self._chosen_written:
            self._chosen_written = self.chosen_index
            writes.append((CHOSEN, self.chosen_index))
        return writes
