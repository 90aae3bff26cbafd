"""Classic bugs of Multi-Paxos, each a change to one function, for the tests to find.

A bug is a function that plants itself with a `pytest.MonkeyPatch`; its docstring says what it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from consensus_lab.node import Persist
from consensus_lab.paxos import multi, multi_election, multi_proposing, multi_rounds
from consensus_lab.paxos.multi_eras import Eras
from consensus_lab.paxos.multi_leader import Batch, Leadership
from consensus_lab.paxos.multi_log import SLOT, SlotLog
from consensus_lab.paxos.multi_messages import NO_OP, Accept
from consensus_lab.paxos.multi_replica import Replica

Patch = pytest.MonkeyPatch


def phase_1_value_not_adopted(patch: Patch) -> None:
    """A new leader ignores what promises report, and uses the slots for its own commands."""

    def count_promise(self: Any, acceptor: int, entries: Any) -> None:
        self.promised.add(acceptor)

    patch.setattr(Leadership, "count_promise", count_promise)


def no_op_over_a_chosen_value(patch: Patch) -> None:
    """A new leader fills every slot below the highest report with a no-op, reports or not."""
    right = Leadership._value_for

    def value_for(self: Any, slot: int) -> Any:
        if self.recovered and slot < max(self.recovered):
            return NO_OP
        return right(self, slot)

    patch.setattr(Leadership, "_value_for", value_for)


def any_report_instead_of_the_highest(patch: Patch) -> None:
    """Of several reports for a slot the first is taken, whatever its ballot (P2c)."""

    def count_promise(self: Any, acceptor: int, entries: Any) -> None:
        self.promised.add(acceptor)
        for slot, entry in entries:
            if slot >= self.next_slot:
                self.read_floor = max(self.read_floor, slot)
                self.recovered.setdefault(slot, entry)

    patch.setattr(Leadership, "count_promise", count_promise)


def promise_not_persisted(patch: Patch) -> None:
    """An acceptor keeps its promise in memory only."""

    def promise(self: Any, ballot: Any) -> Any:
        self.promised = max(self.promised, ballot)
        return []

    patch.setattr(SlotLog, "promise", promise)


def accepted_value_not_persisted(patch: Patch) -> None:
    """An acceptor keeps the values of its slots in memory only."""
    right = SlotLog.accept

    def accept(self: Any, ballot: Any, first_slot: int, values: Any) -> Any:
        writes = right(self, ballot, first_slot, values)
        self._chosen_written = self.chosen_index = max(self.chosen_index, 0)
        return [w for w in writes if not isinstance(w[0], tuple) and w[0] != "chosen"]

    assert SLOT == "slot"
    patch.setattr(SlotLog, "accept", accept)


def quorum_minus_one(patch: Patch) -> None:
    """A leader takes a slot for chosen one vote too early."""

    def count(self: Any, acceptor: int) -> bool:
        self.accepted_by.add(acceptor)
        if self.is_chosen or len(self.accepted_by) < self.quorums.phase2.size - 1:
            return False
        self.is_chosen = True
        return True

    patch.setattr(Batch, "count", count)


def vote_told_before_it_is_durable(patch: Patch) -> None:
    """An acceptor says "accepted" while its disk is still writing."""
    right = multi._HANDLERS[Accept]

    def receive_accept(state: Any, sender: int, message: Any) -> Any:
        return sorted(right(state, sender, message), key=lambda effect: type(effect) is Persist)

    patch.setitem(multi._HANDLERS, Accept, receive_accept)


def accepts_below_the_promise(patch: Patch) -> None:
    """An acceptor accepts any ballot, whatever it promised (against P1a)."""
    right = multi._HANDLERS[Accept]

    def receive_accept(state: Any, sender: int, message: Any) -> Any:
        promised = state.log.promised
        state.log.promised = min(promised, message.ballot)
        effects = right(state, sender, message)
        state.log.promised = max(promised, state.log.promised)
        return effects

    patch.setitem(multi._HANDLERS, Accept, receive_accept)


def chosen_whatever_the_ballot(patch: Patch) -> None:
    """A follower takes its own entry for the chosen one, although another leader sent it."""

    def choose(self: Any, ballot: Any, index: int) -> bool:
        before = self.chosen_index
        while self.chosen_index < index and self.chosen_index + 1 in self.entries:
            self.chosen_index += 1
        return bool(self.chosen_index > before)

    patch.setattr(SlotLog, "choose", choose)


def read_without_a_round(patch: Patch) -> None:
    """A leader answers reads at once, without asking whether it still leads."""
    patch.setattr(multi_proposing, "add_read", multi_rounds._answer_read)


def read_before_catching_up(patch: Patch) -> None:
    """A new leader answers reads before the slots of its predecessor took effect."""
    patch.setattr(multi_rounds, "can_read", lambda state: True)


def ballot_not_persisted(patch: Patch) -> None:
    """A candidate tells its ballot before it is on disk, and may use it again after a crash."""
    right = multi_election.campaign

    def campaign(state: Any, ballot: Any) -> Any:
        return [e for e in right(state, ballot) if type(e) is not Persist]

    patch.setattr(multi_election, "campaign", campaign)
    promise_not_persisted(patch)


def command_takes_effect_twice(patch: Patch) -> None:
    """A command that was chosen in two slots takes effect at both."""

    def take_effect(self: Any, slot: int, value: Any, outcome: Any) -> None:
        if value != NO_OP:
            result = self.machine.apply(slot, value.command)
            outcome.results.append((value.request_id, result))

    patch.setattr(Replica, "_take_effect", take_effect)


def snapshot_without_sessions(patch: Patch) -> None:
    """A snapshot forgets which requests took effect."""
    right = Replica._restore

    def restore(self: Any, snapshot: Any) -> None:
        right(self, snapshot._replace(sessions=()))

    patch.setattr(Replica, "_restore", restore)


def era_begins_at_once(patch: Patch) -> None:
    """A reconfiguration takes effect in the next slot, not after the window."""
    right = Eras.add

    def add(self: Any, first_slot: int, quorums: Any) -> None:
        right(self, max(first_slot - 15, self.all()[-1][0] + 1), quorums)

    patch.setattr(Eras, "add", add)


BUGS: tuple[Callable[[Patch], None], ...] = (
    phase_1_value_not_adopted,
    no_op_over_a_chosen_value,
    any_report_instead_of_the_highest,
    promise_not_persisted,
    accepted_value_not_persisted,
    quorum_minus_one,
    vote_told_before_it_is_durable,
    accepts_below_the_promise,
    chosen_whatever_the_ballot,
    read_without_a_round,
    read_before_catching_up,
    ballot_not_persisted,
    command_takes_effect_twice,
    snapshot_without_sessions,
    era_begins_at_once,
)
