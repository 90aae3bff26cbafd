"""Corners of Multi-Paxos that chance seldom visits, each on one replica by hand."""

from __future__ import annotations

from typing import Any

from consensus_lab.client import Query
from consensus_lab.node import Reply, Send
from consensus_lab.paxos.multi_messages import (
    Accept,
    Accepted,
    Answer,
    Ballot,
    CatchUp,
    Entry,
    Forward,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    Learn,
    Prepare,
    Probe,
    ProbeReply,
    Promise,
    Reconfigure,
    Reject,
    Snapshot,
)
from consensus_lab.paxos.quorum import Quorums
from consensus_lab.sim.models import Get
from tests.paxos.test_multi_rules import A, B, C, Hand, answers


def accepts_to(effects: list[Any]) -> dict[int, tuple[int, ...]]:
    """For each slot, the replicas that are asked to accept something in it."""
    asked: dict[int, list[int]] = {}
    for effect in effects:
        if isinstance(effect, Send) and isinstance(effect.message, Accept):
            for offset in range(len(effect.message.values)):
                asked.setdefault(effect.message.first_slot + offset, []).append(effect.to)
    return {slot: tuple(sorted(to)) for slot, to in asked.items()}


def reconfigured(members: tuple[int, ...] = (1, 4, 5), *, window: int = 1) -> Hand:
    """A leader of 1, 2 and 3 whose slot 1 replaced the acceptors, from slot 1 + window on."""
    hand = Hand(window_slots=window)
    hand.lead()
    hand.carry_out(hand.node.submit(Reconfigure("change", Quorums(members)), 0))
    hand.sent = hand.tell(2, Accepted(hand.node.own.ballot, 1))
    assert hand.node.log.chosen_index == 1
    return hand


def test_new_acceptors_are_asked_for_a_promise_under_the_same_ballot() -> None:
    """Phase 1 for the slots of the new era, by whoever has not promised yet."""
    hand = reconfigured()
    prepare = Prepare(hand.node.own.ballot, 2)
    assert [(e.to, e.message) for e in hand.sent if isinstance(e, Send)][-2:] == [
        (4, prepare), (5, prepare),
    ]  # fmt: skip


def test_slots_of_a_new_era_stay_shut_until_its_acceptors_promised() -> None:
    """No Accept in slot 2 before a phase-1 quorum of 1, 4 and 5 answered."""
    hand = reconfigured()
    assert accepts_to(hand.carry_out(hand.node.submit(C, 0))) == {}
    sent = hand.tell(4, Promise(hand.node.own.ballot, (), 0))
    assert accepts_to(sent) == {2: (4, 5)}


def test_what_new_acceptors_report_is_proposed() -> None:
    """An earlier leader got as far as the new era: its value comes before the client's."""
    hand = reconfigured()
    hand.carry_out(hand.node.submit(C, 0))
    report = (2, Entry(Ballot(0, 9), B))
    sent = hand.tell(4, Promise(hand.node.own.ballot, (report,), 0))
    values = [e.message.values for e in sent if isinstance(e, Send) and e.to == 4]
    assert (B,) in values


def test_reads_wait_until_the_acceptors_of_the_next_slot_have_promised() -> None:
    """Before, an earlier leader's write in the new era could be missed."""
    hand = reconfigured()
    ballot = hand.node.own.ballot
    hand.carry_out(hand.node.submit(Query("r", Get("k")), 0))
    for acceptor in (2, 3, 4, 5):
        for number in (1, 2, 3):
            assert hand.tell(acceptor, HeartbeatReply(ballot, number, 0)) == []
    report = (2, Entry(Ballot(0, 9), B))
    hand.tell(4, Promise(ballot, (report,), 0))
    assert "r" not in [e.request_id for e in hand.tell(5, HeartbeatReply(ballot, 3, 0))
                       if isinstance(e, Reply)]  # fmt: skip
    done = hand.tell(4, Accepted(ballot, 2))
    assert Reply("r", "b") in done


def test_a_round_needs_a_quorum_of_every_open_era() -> None:
    """Replica 2 alone confirms for 1, 2 and 3, not for 1, 4 and 5."""
    hand = reconfigured(window=2)
    own, eras = hand.node.own, hand.node.replica.eras
    assert len(eras) == 2
    own.confirmed_round.update({1: 7, 2: 7})
    assert not own.is_round_confirmed(7, eras)
    own.confirmed_round[4] = 7
    assert own.is_round_confirmed(7, eras)


def test_a_batch_ends_with_its_era() -> None:
    """Slots 2 and 3 go to the old acceptors, slot 4 to the new ones."""
    hand = Hand(window_slots=3)
    hand.lead()
    ballot = hand.node.own.ballot
    hand.tell(3, Promise(ballot, (), 0))
    hand.carry_out(hand.node.submit(Reconfigure("change", Quorums((1, 3, 4))), 0))
    hand.node.own.queue.extend([A, B, C])
    asked = accepts_to(hand.tell(2, Accepted(ballot, 1)))
    assert asked == {2: (2, 3), 3: (2, 3), 4: (3, 4)}


def test_who_hears_the_leader_again_forgets_its_probe() -> None:
    """A late answer to it must not start an election: a lease may have been granted since."""
    hand = Hand(pre_vote=True, leader_lease=True)
    hand.tell(2, Heartbeat(Ballot(5, 2), 1, 0))
    hand.carry_out(hand.node.timer("grant", 0))
    hand.stand()
    probe = hand.node.probe
    assert probe == Ballot(6, 1)
    hand.tell(2, Heartbeat(Ballot(5, 2), 2, 0))
    hand.tell(3, ProbeReply(probe))
    assert hand.node.role == "follower"


def test_who_granted_a_lease_does_not_stand_itself() -> None:
    """Also when both timers end at the same instant."""
    hand = Hand(leader_lease=True)
    hand.tell(2, Heartbeat(Ballot(5, 2), 1, 0))
    assert hand.stand() == []
    assert hand.node.role == "follower"


def test_who_granted_a_lease_promises_to_its_holder_only() -> None:
    """Another candidate gets no answer, the holder does."""
    hand = Hand(leader_lease=True)
    hand.tell(2, Heartbeat(Ballot(5, 2), 1, 0))
    assert hand.tell(3, Prepare(Ballot(6, 3), 1)) == []
    assert [type(m) for m in answers(hand.tell(2, Prepare(Ballot(7, 2), 1)))] == [Promise]
    hand.carry_out(hand.node.timer("grant", 0))
    assert [type(m) for m in answers(hand.tell(3, Prepare(Ballot(8, 3), 1)))] == [Promise]


def test_a_lease_ends_with_the_leadership() -> None:
    """Elected again under another ballot it has to be earned anew: others led in between."""
    hand = Hand(leader_lease=True)
    hand.lead()
    hand.tell(2, HeartbeatReply(hand.node.own.ballot, 1, 0))
    assert hand.node.lease.is_held
    hand.tell(3, Prepare(Ballot(50, 3), 1))
    assert hand.node.role == "follower"
    assert not hand.node.lease.is_held
    hand.lead()
    assert hand.node.role == "leader"
    assert not hand.node.lease.is_held


def test_who_hears_a_leader_grants_no_probe() -> None:
    """A replica that the leader does not reach cannot unseat it."""
    hand = Hand(pre_vote=True)
    hand.tell(2, Heartbeat(Ballot(5, 2), 1, 0))
    assert hand.tell(3, Probe(Ballot(6, 3), 1)) == []
    hand.carry_out(hand.node.timer("grant", 0))
    assert answers(hand.tell(3, Probe(Ballot(6, 3), 1))) == [ProbeReply(Ballot(6, 3))]
    hand.tell(3, Prepare(Ballot(8, 3), 1))
    assert answers(hand.tell(2, Probe(Ballot(7, 2), 1))) == [Reject(Ballot(7, 2), Ballot(8, 3))]


def test_a_second_copy_takes_no_slot() -> None:
    """Under way, or in effect already: it is not proposed again."""
    hand = Hand()
    hand.lead()
    assert accepts_to(hand.carry_out(hand.node.submit(A, 0))) == {1: (2, 3)}
    assert accepts_to(hand.carry_out(hand.node.submit(A, 0))) == {}
    hand.tell(2, Accepted(hand.node.own.ballot, 1))
    assert hand.carry_out(hand.node.submit(A, 0)) == [Reply("a", None)]
    assert hand.tell(3, Forward(A)) == [Send(3, Answer("a", None))]


def test_an_accept_for_a_chosen_slot_changes_nothing() -> None:
    """It is acknowledged, for the value is the same (P2), and not written again."""
    hand = Hand(3)
    hand.tell(1, Accept(Ballot(1, 1), 1, (A,), 0))
    hand.tell(1, Heartbeat(Ballot(1, 1), 1, 1))
    assert hand.node.log.chosen_index == 1
    before = dict(hand.disk)
    told = hand.tell(2, Accept(Ballot(2, 2), 1, (A,), 0))
    assert answers(told) == [Accepted(Ballot(2, 2), 1)]
    assert hand.disk["slot", 1] == before["slot", 1] == Entry(Ballot(1, 1), A)


def test_a_batch_behind_a_slot_that_was_learned_takes_effect() -> None:
    """Slot 2 was chosen before slot 1; slot 1 is learned from somebody else."""
    hand = Hand(batch_count_max=1)
    hand.lead()
    ballot = hand.node.own.ballot
    for command in (A, B):
        hand.carry_out(hand.node.submit(command, 0))
    hand.tell(2, Accepted(ballot, 2))
    told = hand.tell(3, Learn(1, (Entry(ballot, A),), 1))
    assert [e.request_id for e in told if isinstance(e, Reply)] == ["a", "b"]
    assert hand.node.log.chosen_index == 2


def test_a_candidate_that_gets_a_snapshot_steps_down() -> None:
    """Others know more; it asks for the rest and stands again later."""
    hand = Hand()
    hand.stand()
    snapshot = Snapshot(9, (9, (("k", "v"),)), (), ((1, Quorums((1, 2, 3))),), 100)
    told = hand.tell(2, InstallSnapshot(snapshot))
    assert hand.node.role == "follower"
    assert answers(told) == [CatchUp(10)]
    assert hand.crash().node.replica.machine.cells == {"k": "v"}


def test_a_candidate_that_lags_too_far_gets_no_promise() -> None:
    """Its slots are trimmed here: a promise could not report them, so it is helped instead."""
    hand = Hand(3, snapshot_entries=2, catch_up_entries=0)
    hand.tell(1, Accept(Ballot(1, 1), 1, (A, B, C), 0))
    hand.tell(1, Heartbeat(Ballot(1, 1), 1, 3))
    assert hand.node.log.trimmed == 2
    told = answers(hand.tell(2, Prepare(Ballot(2, 2), 1)))
    assert [type(message) for message in told] == [InstallSnapshot]
    assert hand.node.log.promised == Ballot(1, 1)
    told = answers(hand.tell(2, Prepare(Ballot(2, 2), 3)))
    assert [type(message) for message in told] == [Promise]


def test_a_gap_in_what_is_told_teaches_nothing() -> None:
    """Slots 3 and 4 are useless without slots 1 and 2."""
    hand = Hand()
    assert hand.tell(2, Learn(3, (Entry(Ballot(1, 2), A), Entry(Ballot(1, 2), B)), 4)) == []
    assert hand.node.log.chosen_index == 0
