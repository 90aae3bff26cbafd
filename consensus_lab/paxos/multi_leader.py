"""What a proposer knows about its own ballot, from its Prepare until it steps down.

Rules of this file: bookkeeping only; the replica in `multi` sends, persists and applies.

Theory of operation (Paxos Made Simple §3; Paxos Made Moderately Complex §3).  Phase 1 runs once
for all slots: the candidate sends Prepare to the acceptors of every era that can be open, and
leads once a phase-1 quorum of each has promised.  The promises report what was accepted; of each
slot the highest-balloted report is kept in `recovered`.  Then slots are filled in order:

    a slot with a report             gets the reported value (P2c),
    an empty slot below a report     gets a no-op, for later slots wait for it,
    a slot beyond all reports        gets the next client command.

When a reconfiguration brings new acceptors, they are asked for their promise too, with the same
ballot, and slots of the new era stay shut until a phase-1 quorum of them has promised.  A report
that comes late is merged: with or without a quorum behind it, taking a reported value is safe.

Several Accept messages may be under way (pipelining), each with several consecutive slots of one
era (batching).  A batch is chosen when a phase-2 quorum accepted it; batches are chosen in any
order, the chosen prefix ends before the first that is not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable
from typing import Final

from consensus_lab.node import NodeId, message_size
from consensus_lab.paxos.multi_eras import Eras
from consensus_lab.paxos.multi_messages import (
    NO_OP,
    Accept,
    Ballot,
    Entry,
    NoOp,
    Slot,
    Value,
    entries_size_bytes,
)
from consensus_lab.paxos.multi_parameters import MultiPaxosParameters
from consensus_lab.paxos.quorum import Quorums


class Batch:
    """One Accept message under way, and who has accepted it."""

    __slots__ = ("accepted_by", "is_chosen", "last_slot", "message", "quorums", "ticks")

    def __init__(self, message: Accept, quorums: Quorums) -> None:
        self.message = message
        self.quorums = quorums
        self.last_slot: Slot = message.first_slot + len(message.values) - 1
        self.accepted_by: set[NodeId] = set()
        self.is_chosen = False
        self.ticks = 0  # Heartbeats since it was sent; from the second on it is sent again.

    def count(self, acceptor: NodeId) -> bool:
        """An acceptor accepted it; True when that makes it chosen."""
        if acceptor not in self.quorums.acceptors:
            return False
        self.accepted_by.add(acceptor)
        if self.is_chosen or not self.quorums.phase2.is_quorum(self.accepted_by):
            return False
        self.is_chosen = True
        return True


class Leadership:
    """A ballot of one's own.

    Attributes
    ----------
    ballot : Ballot
        On disk before anybody hears of it.
    is_leader : bool
        Phase 1 is complete for every era that can be open.
    asked, promised : set of int
        Who was sent a Prepare; who answered with a Promise.
    recovered : dict of slot to Entry
        The highest-balloted report for each slot that is not yet proposed in.
    read_floor : int
        Every slot that a lower ballot may have chosen is at most this one, in prepared eras.
    next_slot : int
        The next one to propose in; valid while leader.
    fill_up_to : int
        Slots up to here get no-ops when no command waits, so that a reconfiguration takes effect.
    queue : deque of Request or Reconfigure
        Commands that wait for a slot.
    under_way : dict of request identity to slot or None
        Commands in the queue (None) or proposed; a second copy is not proposed again.
    origins : dict of request identity to int
        Which replica forwarded it and wants the answer.
    batches : dict of first slot to Batch
        Accept messages that are not chosen, or not in the chosen prefix yet, in slot order.
    round : int
        Number of the latest heartbeat round.
    confirmed_round : dict of node to int
        The latest round that each acceptor confirmed.
    known_index : dict of node to int
        How far each replica said that it knows what is chosen.
    heard : set of int
        Who answered since the last check of the quorum.
    """

    def __init__(self, ballot: Ballot, parameters: MultiPaxosParameters) -> None:
        self.ballot: Final = ballot
        self.parameters: Final = parameters
        self.is_leader = False
        self.asked: set[NodeId] = set()
        self.promised: set[NodeId] = set()
        self._prepared: Quorums | None = None  # The acceptors found prepared last.
        self.recovered: dict[Slot, Entry] = {}
        self.read_floor: Slot = 0
        self.next_slot: Slot = 0
        self.fill_up_to: Slot = 0
        self.queue: deque[Value] = deque()
        self.under_way: set[Hashable] = set()
        self.origins: dict[Hashable, NodeId] = {}
        self.batches: dict[Slot, Batch] = {}
        self.round = 0
        self.confirmed_round: dict[NodeId, int] = {}
        self.known_index: dict[NodeId, Slot] = {}
        self.heard: set[NodeId] = set()

    # Phase 1.

    def count_promise(self, acceptor: NodeId, entries: tuple[tuple[Slot, Entry], ...]) -> None:
        """Merge a promise's report; of each slot the highest ballot wins (P2c)."""
        self.promised.add(acceptor)
        for slot, entry in entries:
            if slot < self.next_slot:
                continue  # Proposed in already, or chosen.
            self.read_floor = max(self.read_floor, slot)
            known = self.recovered.get(slot)
            if known is None or entry.ballot > known.ballot:
                self.recovered[slot] = entry

    def is_prepared(self, quorums: Quorums) -> bool:
        """True when a phase-1 quorum of these acceptors has promised; once true, for ever."""
        if quorums is self._prepared:
            return True
        if not quorums.phase1.is_quorum(self.promised.intersection(quorums.acceptors)):
            return False
        self._prepared = quorums
        return True

    def unprepared(self, eras: Eras) -> tuple[NodeId, ...]:
        """Acceptors of eras without a phase-1 quorum that have not promised yet, in order."""
        missing: set[NodeId] = set()
        for _, quorums in eras.all():
            if not self.is_prepared(quorums):
                missing.update(quorums.acceptors)
        return tuple(sorted(missing - self.promised))

    def take_lead(self, chosen_index: Slot) -> None:
        """Phase 1 is complete: begin to propose behind the chosen prefix."""
        assert not self.is_leader
        self.is_leader = True
        self.read_floor = max(self.read_floor, chosen_index)
        self._begin_behind(chosen_index)

    def _begin_behind(self, chosen_index: Slot) -> None:
        self.next_slot = chosen_index + 1
        self.recovered = {s: e for s, e in self.recovered.items() if s >= self.next_slot}

    # Commands.

    def enqueue(self, operation: Value) -> None:
        """A command waits for its slot; a second copy of one that is under way does not."""
        assert not isinstance(operation, NoOp)
        if operation.request_id not in self.under_way:
            self.under_way.add(operation.request_id)
            self.queue.append(operation)

    def forget_request(self, request_id: Hashable) -> NodeId | None:
        """A command took effect: it is no longer under way.  Returns who forwarded it, if any."""
        self.under_way.discard(request_id)
        return self.origins.pop(request_id, None)

    # Phase 2.

    def next_batch(self, node_id: NodeId, eras: Eras, chosen_index: Slot) -> Batch | None:
        """Fill the next slots that are open, or None when there is nothing to do or no room."""
        first = self.next_slot
        if not self.queue and not self.recovered and first > self.fill_up_to:
            return None
        if len(self.batches) >= self.parameters.pipeline_batches_max:
            return None
        last = chosen_index + self.parameters.window_slots
        if first > last:
            return None
        quorums = eras.at(first)
        # Somebody who is no acceptor of an era leaves its slots to one who is.
        if node_id not in quorums.acceptors or not self.is_prepared(quorums):
            return None
        last = min(last, eras.last_slot(first) or last)
        values = self._take_values(last)
        if not values:
            return None
        size = entries_size_bytes(values)
        batch = Batch(Accept(self.ballot, first, values, chosen_index, size), quorums)
        self.batches[first] = batch
        return batch

    def _take_values(self, last: Slot) -> tuple[Value, ...]:
        """Values for the slots from `next_slot` up to `last`, as many as one Accept may hold."""
        values: list[Value] = []
        size_left = self.parameters.batch_size_bytes_max
        while self.next_slot <= last and len(values) < self.parameters.batch_count_max:
            value = self._value_for(self.next_slot)
            if value is None:
                break
            size_left -= message_size(value)
            if values and size_left < 0:
                break
            self._consume(self.next_slot, value)
            values.append(value)
            self.next_slot += 1
        return tuple(values)

    def _value_for(self, slot: Slot) -> Value | None:
        """What this slot has to hold, or may hold; None when nothing waits for it."""
        if slot in self.recovered:
            return self.recovered[slot].value
        if self.recovered:
            return NO_OP  # Gap filling: a later slot is in use, it must not wait for this one.
        if self.queue:
            return self.queue[0]
        return NO_OP if slot <= self.fill_up_to else None

    def _consume(self, slot: Slot, value: Value) -> None:
        if self.recovered.pop(slot, None) is not None:
            if not isinstance(value, NoOp):
                self.under_way.add(value.request_id)
        elif self.queue and not self.recovered and value is self.queue[0]:
            self.queue.popleft()

    def count_accepted(self, acceptor: NodeId, first_slot: Slot) -> bool:
        """Count a vote; True when it makes the first batch of all chosen."""
        batch = self.batches.get(first_slot)
        if batch is None or not batch.count(acceptor):
            return False
        return batch is next(iter(self.batches.values()))

    def chosen_prefix(self, chosen_index: Slot) -> Slot:
        """Take the chosen batches from the front; the last slot of the chosen prefix."""
        while self.batches:
            first_slot = next(iter(self.batches))
            batch = self.batches[first_slot]
            if not batch.is_chosen and batch.last_slot > chosen_index:
                break
            chosen_index = max(chosen_index, batch.last_slot)
            del self.batches[first_slot]
        if chosen_index >= self.next_slot:  # Learned from others, who know of a later leader.
            self._begin_behind(chosen_index)
        return chosen_index

    def overdue(self, *, count_max: int) -> list[Batch]:
        """At a heartbeat: the batches that were under way for more than one, oldest first."""
        late: list[Batch] = []
        for batch in self.batches.values():
            batch.ticks += 1
            if batch.ticks > 1 and not batch.is_chosen and len(late) < count_max:
                late.append(batch)
        return late

    # Rounds.

    def is_round_confirmed(self, number: int, eras: Eras) -> bool:
        """True when in every open era a phase-2 quorum confirmed that round or a later one."""
        confirmed = {node for node, last in self.confirmed_round.items() if last >= number}
        return all(has_phase2(quorums, confirmed) for _, quorums in eras.all())


def has_phase2(quorums: Quorums, nodes: Iterable[NodeId]) -> bool:
    """True when these nodes include a phase-2 quorum of the acceptors."""
    return quorums.phase2.is_quorum(set(nodes).intersection(quorums.acceptors))
