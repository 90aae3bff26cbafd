"""The rules of Multi-Paxos, one sentence of the papers per test, on single replicas by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from consensus_lab.client import Query, Request
from consensus_lab.node import Effects, Note, Persist, Reply, Send, SetTimer
from consensus_lab.paxos.multi import MultiPaxosNode
from consensus_lab.paxos.multi_messages import (
    NO_OP,
    Accept,
    Accepted,
    Ballot,
    Entry,
    Heartbeat,
    HeartbeatReply,
    Prepare,
    Promise,
    Reject,
)
from consensus_lab.sim.models import Get, Put
from tests.paxos import multi_bugs as bugs
from tests.paxos.multi_cluster import Cells, Fixed, parameters

A, B, C = (Request(name, Put("k", name)) for name in "abc")


class Hand:
    """One replica, driven by hand; its disk holds what it persisted."""

    def __init__(self, node_id: int = 1, disk: Any = None, **settings: Any) -> None:
        self.disk: dict[Any, Any] = dict(disk or {})
        self.settings = {"pre_vote": False, **settings}
        self.node = MultiPaxosNode(
            node_id, dict(self.disk), parameters=parameters(**self.settings), machine=Cells(),
            source=Fixed(0),
        )  # fmt: skip
        self.sent = self.carry_out(self.node.start(0))

    def carry_out(self, effects: Effects) -> list[Any]:
        """Write to disk, hand messages to itself, and return the rest but timers and notes."""
        out: list[Any] = []
        for effect in effects:
            if isinstance(effect, Persist):
                self.disk.update(effect.writes)
            if isinstance(effect, Send) and effect.to == self.node.node_id:
                out += self.carry_out(self.node.receive(effect.to, effect.message, 0))
            elif not isinstance(effect, SetTimer | Note | Persist):
                out.append(effect)
        return out

    def tell(self, sender: int, message: Any) -> list[Any]:
        """A message comes; what leaves the replica."""
        return self.carry_out(self.node.receive(sender, message, 0))

    def stand(self) -> list[Any]:
        """The election timeout has passed."""
        return self.carry_out(self.node.timer("election", 0))

    def lead(self, *entries: tuple[int, Entry], chosen_index: int = 0) -> list[Any]:
        """Stand, and get the promise of replica 2 with these reports."""
        self.stand()
        ballot = self.node.own.ballot
        return self.tell(2, Promise(ballot, entries, chosen_index))

    def crash(self) -> Hand:
        """The replica with what was durable."""
        return Hand(self.node.node_id, self.disk, **self.settings)


def accepts(effects: list[Any]) -> dict[int, Any]:
    """What is proposed in which slot."""
    return {
        effect.message.first_slot + offset: value
        for effect in effects
        if isinstance(effect, Send) and isinstance(effect.message, Accept)
        for offset, value in enumerate(effect.message.values)
    }


def answers(effects: list[Any]) -> list[Any]:
    """The messages that leave."""
    return [effect.message for effect in effects if isinstance(effect, Send)]


def test_an_acceptor_promises_once_for_all_slots() -> None:
    """"It need not send a separate promise for each instance" (Paxos Made Simple §3)."""
    hand = Hand()
    hand.tell(2, Accept(Ballot(1, 2), 1, (A, B), 0))
    told = answers(hand.tell(3, Prepare(Ballot(2, 3), 1)))
    reports = ((1, Entry(Ballot(1, 2), A)), (2, Entry(Ballot(1, 2), B)))
    assert told == [Promise(Ballot(2, 3), reports, 0, told[0].size_bytes)]
    for slot in (1, 2, 3, 50):
        assert answers(hand.tell(2, Accept(Ballot(1, 2), slot, (C,), 0))) == [
            Reject(Ballot(1, 2), Ballot(2, 3))
        ]


def test_a_promise_survives_a_crash() -> None:
    """"An acceptor must remember its promise even if it fails and then restarts" (§2.2)."""
    hand = Hand()
    hand.tell(3, Prepare(Ballot(5, 3), 1))
    hand = hand.crash()
    assert answers(hand.tell(2, Prepare(Ballot(4, 2), 1))) == [Reject(Ballot(4, 2), Ballot(5, 3))]
    assert answers(hand.tell(2, Accept(Ballot(4, 2), 1, (A,), 0))) == [
        Reject(Ballot(4, 2), Ballot(5, 3))
    ]


def test_an_accepted_value_survives_a_crash() -> None:
    """What was accepted is reported to the next candidate (§2.2, phase 1b)."""
    hand = Hand()
    hand.tell(2, Accept(Ballot(1, 2), 7, (A,), 0))
    promise = answers(hand.crash().tell(3, Prepare(Ballot(2, 3), 1)))[0]
    assert promise.entries == ((7, Entry(Ballot(1, 2), A)),)


@pytest.mark.parametrize(
    "message", [Prepare(Ballot(3, 2), 1), Accept(Ballot(3, 2), 1, (A,), 0)]
)
def test_an_answer_follows_the_write_that_it_rests_on(message: Any) -> None:
    """Nothing is told before it is on disk (§2.2, "stable storage")."""
    effects = Hand().node.receive(2, message, 0)
    kinds = [type(effect) for effect in effects]
    assert Persist in kinds
    assert kinds.index(Persist) < kinds.index(Send)


def test_a_candidate_writes_its_ballot_before_it_tells_anybody() -> None:
    """So that it never begins the same ballot twice (§2.5)."""
    effects = Hand().node.timer("election", 0)
    kinds = [type(effect) for effect in effects]
    assert Persist in kinds
    assert kinds.index(Persist) < kinds.index(Send)


def test_the_highest_report_is_proposed() -> None:
    """P2c: the value of the highest-numbered proposal among the reports, own or not."""
    hand = Hand()
    hand.tell(2, Accept(Ballot(1, 2), 1, (A, A), 0))
    sent = accepts(hand.lead((1, Entry(Ballot(2, 3), B)), (2, Entry(Ballot(1, 1), B))))
    assert sent == {1: B, 2: A}


def test_slots_without_a_report_below_one_become_no_ops() -> None:
    """"It fills the gap by proposing no-op commands" (§3)."""
    assert accepts(Hand().lead((3, Entry(Ballot(1, 2), A)))) == {1: NO_OP, 2: NO_OP, 3: A}


def test_a_command_of_a_client_goes_behind_all_reports() -> None:
    """"The leader assigns it the next slot" (§3)."""
    hand = Hand()
    hand.node.submit(C, 0)
    assert accepts(hand.lead((2, Entry(Ballot(1, 2), A)))) == {1: NO_OP, 2: A, 3: C}


def test_chosen_values_in_a_promise_are_learned_not_proposed() -> None:
    """What the promise says is chosen takes effect at once."""
    hand = Hand()
    reports = ((1, Entry(Ballot(1, 2), A)), (2, Entry(Ballot(1, 2), B)))
    sent = accepts(hand.lead(*reports, chosen_index=1))
    assert sent == {2: B}
    assert hand.node.log.chosen_index == 1


def test_a_leader_counts_each_acceptor_once() -> None:
    """A doubled Accepted is one vote."""
    settings = {"members": (1, 2, 3, 4, 5)}
    hand = Hand(**settings)
    hand.stand()
    ballot = hand.node.own.ballot
    hand.tell(2, Promise(ballot, (), 0))
    hand.tell(3, Promise(ballot, (), 0))
    hand.carry_out(hand.node.submit(A, 0))
    hand.tell(2, Accepted(ballot, 1))
    hand.tell(2, Accepted(ballot, 1))
    assert hand.node.log.chosen_index == 0
    assert Reply("a", None) in hand.tell(4, Accepted(ballot, 1))


def test_a_vote_of_somebody_who_is_no_acceptor_does_not_count() -> None:
    """Only acceptors of the slot's era make a quorum."""
    hand = Hand()
    hand.lead()
    hand.carry_out(hand.node.submit(A, 0))
    hand.tell(9, Accepted(hand.node.own.ballot, 1))
    assert hand.node.log.chosen_index == 0


def test_slots_take_effect_in_order() -> None:
    """Slot 2 is chosen first; it waits for slot 1 (§3)."""
    hand = Hand(batch_count_max=1)
    hand.lead()
    ballot = hand.node.own.ballot
    for command in (A, B):
        hand.carry_out(hand.node.submit(command, 0))
    assert hand.tell(2, Accepted(ballot, 2)) == []
    effects = hand.tell(2, Accepted(ballot, 1))
    assert [e.request_id for e in effects if isinstance(e, Reply)] == ["a", "b"]


def test_a_follower_believes_an_entry_chosen_only_under_the_leaders_ballot() -> None:
    """Its own entry of an older ballot may be a value that lost."""
    hand = Hand(3)
    hand.tell(2, Accept(Ballot(1, 2), 1, (A,), 0))
    told = hand.tell(1, Heartbeat(Ballot(2, 1), 1, 1))
    assert hand.node.log.chosen_index == 0
    assert [type(message).__name__ for message in answers(told)] == ["HeartbeatReply", "CatchUp"]
    hand.tell(1, Accept(Ballot(2, 1), 1, (B,), 1))
    assert hand.node.log.chosen_index == 1
    assert hand.node.replica.machine.cells == {"k": "b"}


def test_a_rejection_carries_the_highest_ballot_seen() -> None:
    """The proposer goes above it next time (the essay's rejection)."""
    hand = Hand()
    hand.stand()
    first = hand.node.own.ballot
    hand.tell(2, Reject(first, Ballot(41, 2)))
    assert hand.node.leadership is None
    hand.stand()
    assert hand.node.own.ballot == Ballot(42, 1)


def test_a_confirmation_of_an_earlier_round_does_not_serve_a_later_read() -> None:
    """It may have been given before the read came."""
    hand = Hand()
    hand.lead()
    ballot = hand.node.own.ballot
    hand.tell(2, HeartbeatReply(ballot, 1, 0))
    hand.carry_out(hand.node.submit(Query("r", Get("k")), 0))
    assert hand.tell(3, HeartbeatReply(ballot, 1, 0)) == []
    assert hand.tell(3, HeartbeatReply(ballot, 2, 0)) == [Reply("r", "")]


CAUGHT_BY_HAND: tuple[tuple[Callable[..., None], Callable[..., None]], ...] = (
    (bugs.promise_not_persisted, test_a_promise_survives_a_crash),
    (bugs.accepted_value_not_persisted, test_an_accepted_value_survives_a_crash),
    (bugs.any_report_instead_of_the_highest, test_the_highest_report_is_proposed),
    (bugs.ballot_not_persisted, test_a_candidate_writes_its_ballot_before_it_tells_anybody),
    (
        bugs.vote_told_before_it_is_durable,
        lambda: test_an_answer_follows_the_write_that_it_rests_on(
            Accept(Ballot(3, 2), 1, (A,), 0)
        ),
    ),
    (
        bugs.chosen_whatever_the_ballot,
        test_a_follower_believes_an_entry_chosen_only_under_the_leaders_ballot,
    ),
    (bugs.phase_1_value_not_adopted, test_the_highest_report_is_proposed),
)


@pytest.mark.parametrize(
    ("bug", "rule"), CAUGHT_BY_HAND, ids=[bug.__name__ for bug, _ in CAUGHT_BY_HAND]
)
def test_a_planted_bug_breaks_its_rule(
    bug: Callable[..., None], rule: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tests above can fail: each of these bugs makes one of them do so."""
    rule()
    bug(monkeypatch)
    with pytest.raises(AssertionError):
        rule()
