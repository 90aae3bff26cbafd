"""Invariants of slots with ballots: the safety properties of Multi-Paxos, after every event.

Rules of this file: it imports no protocol and looks at nodes by attributes only, through a `view`
that gives, for a node, an object with `log` (`promised`, `entries` of slot to (ballot, value),
`chosen_index`, `trimmed`) and `eras.all()` (pairs of first slot and `Quorums`); and through
`durable`, which gives for a disk a function slot -> value, or `COVERED` when a snapshot has it.

Theory of operation (Paxos Made Simple §2.2).  History variables stand for what all acceptors
together have seen:

* a ballot proposes one value in a slot, whoever accepted it (the P in P2a);
* one value is chosen in a slot, and whoever believes one chosen believes that one (P2);
* what is first believed chosen is on the disks of a phase-2 quorum of the slot's acceptors;
* the promised ballot and the chosen prefix never go back.

That ballots do not go back across a crash is checked by `invariants.Promised`, that applied
prefixes are equal by `invariants.AppliedInOrder`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from consensus_lab.node import NodeId
from consensus_lab.sim.invariants import InvariantViolation, require

if TYPE_CHECKING:
    from consensus_lab.sim.engine import Engine


class Covered:
    """The type of `COVERED`."""


COVERED = Covered()
"""A slot whose outcome is in a snapshot on that disk."""


class _Memory:
    """What a replica looked like when it was last looked at, in its present life."""

    def __init__(self, incarnation: int, view: Any) -> None:
        self.incarnation = incarnation
        self.promised = view.log.promised
        self.chosen_index = view.log.trimmed
        self.eras = view.eras.all()
        self.seen: dict[int, Any] = {}


class SlotInvariants:
    """All rules above, as one invariant for an engine.

    Parameters
    ----------
    view : callable (node) -> view
    durable : callable (disk) -> callable (slot) -> value
        See the rules of this file.

    Attributes
    ----------
    proposed : dict of (slot, ballot) to value
    chosen : dict of slot to value
    """

    def __init__(
        self, *, view: Callable[[Any], Any], durable: Callable[[Any], Callable[[int], Any]]
    ) -> None:
        self.view = view
        self.durable = durable
        self.proposed: dict[tuple[int, Any], Any] = {}
        self.chosen: dict[int, Any] = {}
        self._memories: dict[NodeId, _Memory] = {}

    def __call__(self, engine: Engine, node_id: NodeId) -> None:
        """Compare that replica with the history."""
        process = engine.processes[node_id]
        if process.node is None:
            return
        view = self.view(process.node)
        memory = self._memories.get(node_id)
        if memory is None or memory.incarnation != process.incarnation:
            memory = self._memories[node_id] = _Memory(process.incarnation, view)
        log = view.log
        if log.promised < memory.promised:
            detail = f"promised {memory.promised} and then {log.promised}"
            raise InvariantViolation("ballots never go back", node_id, detail)
        memory.promised = log.promised
        self._check_accepted(node_id, log, memory)
        if log.chosen_index != memory.chosen_index:
            self._check_chosen(engine, node_id, log, memory)
        memory.eras = view.eras.all()

    def _check_accepted(self, node_id: NodeId, log: Any, memory: _Memory) -> None:
        """One value per slot and ballot, for every entry that is new here."""
        first = memory.chosen_index + 1
        seen = {}
        for slot, entry in log.entries.items():
            if slot < first:
                continue
            seen[slot] = entry
            if memory.seen.get(slot) is entry:
                continue
            ballot, value = entry.ballot, entry.value
            known = self.proposed.setdefault((slot, ballot), value)
            if known is not value and known != value:
                detail = f"slot {slot} has {value!r} under {ballot}, elsewhere {known!r}"
                raise InvariantViolation("one value per ballot", node_id, detail)
        memory.seen = seen

    def _check_chosen(self, engine: Engine, node_id: NodeId, log: Any, memory: _Memory) -> None:
        """One value per slot; the first to believe it has a quorum of disks behind it."""
        before, now = memory.chosen_index, log.chosen_index
        require(now >= before, "chosen never goes back", node_id, f"from {before} to {now}")
        for slot in range(max(before, log.trimmed) + 1, now + 1):
            require(slot in log.entries, "chosen slots are known", node_id, f"slot {slot} is not")
            value = log.entries[slot].value
            if slot not in self.chosen:
                self.chosen[slot] = value
                self._check_on_disks(engine, node_id, slot, value, memory)
            known = self.chosen[slot]
            if known is not value and known != value:
                detail = f"slot {slot} has {value!r}, elsewhere {known!r}"
                raise InvariantViolation("one value per slot", node_id, detail)
        memory.chosen_index = now

    def _check_on_disks(
        self, engine: Engine, node_id: NodeId, slot: int, value: Any, memory: _Memory
    ) -> None:
        """A phase-2 quorum of the slot's acceptors has the value, or a snapshot beyond it."""
        quorums = next(
            quorums for first_slot, quorums in reversed(memory.eras) if first_slot <= slot
        )
        holders = []
        for acceptor in quorums.acceptors:
            held = self.durable(engine.disks.get(acceptor, {}))(slot)
            if held is COVERED or held == value:
                holders.append(acceptor)
        detail = f"slot {slot} is held by {holders} of {quorums.acceptors} only"
        require(quorums.phase2.is_quorum(holders), "chosen is durable on a quorum", node_id, detail)
