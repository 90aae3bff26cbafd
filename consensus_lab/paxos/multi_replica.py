"""The learner of Multi-Paxos: chosen slots take effect in order, once, and are trimmed later.

Rules of this file: no messages but those that bring a laggard up to date.

Theory of operation (Paxos Made Simple §3; Paxos Made Moderately Complex §2 "replicas").  Slots take
effect one after the other, each as soon as the chosen prefix reaches it.  A command that was chosen
twice takes effect at its first slot only (`client.Sessions`); its second slot is then as good as a
no-op.  A reconfiguration begins an era (`multi_eras`).

Each so many slots the replica takes a snapshot of the outcome and drops slots.  Replicas do so on
their own; a chosen slot needs no agreement to be forgotten, because the snapshot knows its
outcome.  Who asks for slots that are gone gets the snapshot.
"""

from __future__ import annotations

from typing import Any

from consensus_lab.client import Sessions, StateMachine, sessions_size_bytes
from consensus_lab.node import (
    Apply,
    Disk,
    Effects,
    NodeId,
    Note,
    Persist,
    Send,
    message_size,
)
from consensus_lab.paxos.multi_eras import Eras
from consensus_lab.paxos.multi_log import SlotLog, Writes
from consensus_lab.paxos.multi_messages import (
    Entry,
    InstallSnapshot,
    Learn,
    NoOp,
    Reconfigure,
    Slot,
    Snapshot,
    Value,
    entries_size_bytes,
)
from consensus_lab.paxos.multi_parameters import MultiPaxosParameters


class Outcome:
    """What taking effect led to: effects, and results by request in log order."""

    __slots__ = ("effects", "results")

    def __init__(self) -> None:
        self.effects: Effects = []
        self.results: list[tuple[Any, Any]] = []


class Replica:
    """The log with what it has led to.

    Attributes
    ----------
    log : SlotLog
        The acceptor's memory.
    applied : int
        Slots up to here took effect; equal to the log's `chosen_index` between inputs.
    eras : Eras
        Who decides the slots after `applied`.
    sessions : Sessions
        Which requests took effect.
    """

    def __init__(
        self, disk: Disk, *, parameters: MultiPaxosParameters, machine: StateMachine
    ) -> None:
        self.parameters = parameters
        self.machine = machine
        self.sessions = Sessions()
        self.log = SlotLog(disk)
        self.applied: Slot = 0
        self.eras = Eras(((1, parameters.quorums),))
        if self.log.snapshot is not None:
            self._restore(self.log.snapshot)

    def advance(self) -> Outcome:
        """Let every chosen slot that has not yet done so take effect."""
        outcome = Outcome()
        log = self.log
        interval = self.parameters.snapshot_entries
        while self.applied < log.chosen_index:
            self.applied += 1
            value = log.entries[self.applied].value
            outcome.effects.append(Apply(self.applied, value))
            self._take_effect(self.applied, value, outcome)
            if interval is not None and self.applied % interval == 0:
                outcome.effects += self._take_snapshot()
        return outcome

    def _take_effect(self, slot: Slot, value: Value, outcome: Outcome) -> None:
        if isinstance(value, NoOp):
            return
        request_id = value.request_id
        if request_id not in self.sessions:
            if isinstance(value, Reconfigure):
                self.eras.add(slot + self.parameters.window_slots, value.quorums)
                result: Any = value.quorums
            else:
                result = self.machine.apply(slot, value.command)
            self.sessions.record(request_id, result)
        outcome.results.append((request_id, self.sessions.result(request_id)))

    def _take_snapshot(self) -> Effects:
        """The outcome so far takes the place of old slots."""
        state, sessions = self.machine.snapshot(), self.sessions.snapshot()
        self.eras.forget_before(self.applied + 1)
        size = message_size(state) + sessions_size_bytes(sessions)
        snapshot = Snapshot(self.applied, state, sessions, self.eras.all(), size)
        writes = self.log.compact(snapshot, trailing=self.parameters.catch_up_entries)
        return [Note("snapshot", self.applied), Persist(tuple(writes), size)]

    def learn(self, first_slot: Slot, entries: tuple[Entry, ...]) -> Effects:
        """Take chosen values from another replica; the caller lets them take effect."""
        return self.save(self.log.learn(first_slot, entries), entries)

    def install(self, snapshot: Snapshot) -> Effects:
        """Take over another replica's outcome if it reaches further than this one's."""
        if snapshot.last_slot <= self.log.chosen_index:
            return []
        writes = self.log.install(snapshot)
        self._restore(snapshot)
        return [Note("install", snapshot.last_slot), Persist(tuple(writes), snapshot.size_bytes)]

    def _restore(self, snapshot: Snapshot) -> None:
        self.machine.restore(snapshot.state)
        self.sessions.restore(snapshot.sessions)
        self.eras = Eras(snapshot.eras)
        self.applied = snapshot.last_slot

    def bring_up_to_date(self, laggard: NodeId, first_slot: Slot) -> Effects:
        """Send what is chosen from that slot on: slots, or the snapshot if they are trimmed."""
        log = self.log
        if first_slot > log.chosen_index:
            return []
        if first_slot <= log.trimmed:
            assert log.snapshot is not None
            return [Send(laggard, InstallSnapshot(log.snapshot))]
        entries = log.chosen_from(first_slot, count_max=self.parameters.learn_count_max)
        size = entries_size_bytes(tuple(entry.value for entry in entries))
        return [Send(laggard, Learn(first_slot, entries, log.chosen_index, size))]

    def lags_too_far(self, first_slot: Slot) -> bool:
        """True for a candidate whose missing slots are trimmed, or too many for one Promise."""
        log = self.log
        lag = log.chosen_index - first_slot
        return first_slot <= log.trimmed or lag >= self.parameters.learn_count_max

    @staticmethod
    def save(writes: Writes, entries: tuple[Entry, ...] = ()) -> Effects:
        """The writes as one atomic batch, or nothing."""
        if not writes:
            return []
        size = entries_size_bytes(tuple(entry.value for entry in entries))
        return [Persist(tuple(writes), size)]
