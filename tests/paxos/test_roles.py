"""Acceptor, proposer and learner, each for itself."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus_lab.node import CancelTimer, Persist, ProtocolViolation, Send, SetTimer
from consensus_lab.paxos.acceptor import Acceptor
from consensus_lab.paxos.learner import NUMBERS_MAX, Learner
from consensus_lab.paxos.messages import (
    NO_PROPOSAL,
    Accept,
    Accepted,
    Prepare,
    Promise,
    Reject,
)
from consensus_lab.paxos.proposer import (
    ACCEPTING,
    BACK_OFF_TIMER,
    PREPARING,
    PROPOSAL_TIMER,
    WAITING,
    BackOff,
    Proposer,
)
from consensus_lab.paxos.quorum import Quorums
from tests.paxos.processes import sends, written

REQUESTS = st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=40)


AT_ONCE = BackOff()


def proposer(*, back_off: BackOff = AT_ONCE, disk: dict | None = None) -> Proposer:
    """The second of two proposers, with three acceptors."""
    return Proposer(
        rank=1,
        proposer_count=2,
        quorums=Quorums((11, 12, 13)),
        back_off=back_off,
        timeout_ns=1000,
        source=random.Random(1),
        disk=disk or {},
    )


@given(REQUESTS)
def test_an_acceptor_never_goes_back_and_forgets_nothing_in_a_crash(requests):
    """Whatever comes in whatever order, and a restart from its disk after every request."""
    disk: dict = {}
    acceptor = Acceptor(disk)
    for is_prepare, number in requests:
        promised, accepted = acceptor.promised, acceptor.accepted_number
        if is_prepare:
            effects = acceptor.on_prepare(1, Prepare(number))
            is_refused = number <= promised
        else:
            effects = acceptor.on_accept(Accept(number, f"v{number}"), proposer=1, tell=(7, 8))
            is_refused = number < promised
        assert (acceptor.promised, acceptor.accepted_number) >= (promised, accepted)
        refused = [m for _, m in sends(effects) if isinstance(m, Reject)]
        assert refused == ([Reject(number, promised)] if is_refused else [])
        assert is_refused or acceptor.promised == number
        disk.update(written(effects))
        again = Acceptor(disk)
        assert vars(again) == vars(acceptor)
        acceptor = again


def test_what_an_acceptor_says_is_on_disk_before_it_is_said():
    acceptor = Acceptor({})
    for effects in (
        acceptor.on_prepare(1, Prepare(3)),
        acceptor.on_accept(Accept(5, "v"), proposer=1, tell=(7,)),
    ):
        kinds = [type(effect) for effect in effects]
        assert kinds == [Persist, Send]


def test_an_acceptor_answers_a_second_copy_of_an_accept_without_writing_again():
    acceptor = Acceptor({})
    acceptor.on_accept(Accept(5, "v"), proposer=1, tell=(7, 8))
    again = acceptor.on_accept(Accept(5, "v"), proposer=1, tell=(7, 8))
    assert sends(again) == [(7, Accepted(5, "v")), (8, Accepted(5, "v"))]
    assert written(again) == {}


def test_an_acceptor_tells_a_learner_that_asks_what_it_accepted():
    acceptor = Acceptor({})
    assert acceptor.on_ask(7) == []
    acceptor.on_accept(Accept(5, "v"), proposer=1, tell=())
    assert sends(acceptor.on_ask(7)) == [(7, Accepted(5, "v"))]


def test_a_proposer_writes_its_number_before_it_uses_it():
    one = proposer()
    effects = one.propose("x")
    kinds = [type(effect) for effect in effects if not isinstance(effect, SetTimer)]
    assert kinds.index(Persist) < kinds.index(Send)
    assert written(effects) == {"number": 1}
    restarted = proposer(disk=written(effects))
    restarted.propose("y")
    assert restarted.number == 3


def test_a_proposer_counts_each_acceptor_once():
    one = proposer()
    one.propose("x")
    report = Promise(1, NO_PROPOSAL, None)
    assert one.on_promise(11, report) == []
    assert one.on_promise(11, report) == []
    assert one.phase == PREPARING
    accepts = sends(one.on_promise(12, report))
    assert accepts == [(acceptor, Accept(1, "x")) for acceptor in (11, 12, 13)]
    assert one.phase == ACCEPTING
    assert one.on_promise(13, report) == []


def test_a_proposer_ignores_promises_of_an_earlier_number():
    one = proposer()
    one.propose("x")
    one.on_reject(Reject(1, 6))
    assert one.number == 7
    for acceptor in (11, 12, 13):
        assert one.on_promise(acceptor, Promise(1, NO_PROPOSAL, None)) == []
    assert one.phase == PREPARING


def test_a_rejection_of_its_own_duplicate_does_not_disturb_a_proposer():
    """A second copy of Prepare n is refused with n itself as the highest number seen."""
    one = proposer()
    one.propose("x")
    assert one.on_reject(Reject(1, 1)) == []
    assert (one.phase, one.number, one.failures) == (PREPARING, 1, 0)


def test_a_promise_of_a_stranger_is_a_violation():
    one = proposer()
    one.propose("x")
    with pytest.raises(ProtocolViolation, match="promise-by-no-acceptor"):
        one.on_promise(99, Promise(1, NO_PROPOSAL, None))


def test_a_proposer_tries_again_at_once_or_after_its_back_off():
    at_once = proposer()
    at_once.propose("x")
    assert sends(at_once.on_reject(Reject(1, 4)))[0] == (11, Prepare(5))
    later = proposer(back_off=BackOff(500, is_random=False))
    later.propose("x")
    effects = later.on_reject(Reject(1, 4))
    assert SetTimer(BACK_OFF_TIMER, 500) in effects and CancelTimer(PROPOSAL_TIMER) in effects
    assert later.phase == WAITING
    assert sends(later.on_timer(BACK_OFF_TIMER))[0] == (11, Prepare(5))


def test_a_proposal_that_takes_too_long_is_given_up():
    one = proposer()
    one.propose("x")
    assert sends(one.on_timer(PROPOSAL_TIMER))[0] == (11, Prepare(3))
    assert one.failures == 1


def test_a_stopped_proposer_stays_stopped():
    one = proposer()
    one.propose("x")
    assert CancelTimer(PROPOSAL_TIMER) in one.stop()
    assert one.on_timer(PROPOSAL_TIMER) == one.on_reject(Reject(1, 9)) == one.propose("y") == []


@given(st.integers(1, 60), st.integers(0, 1000), st.integers(1, 3), st.booleans())
def test_back_off_grows_to_its_cap_and_no_further(failures, window, growth, is_random):
    policy = BackOff(window, growth, window_ns_max=window * 5, is_random=is_random).validated()
    largest = min(window * growth ** (failures - 1), window * 5)
    delay = policy.delay_ns(failures, random.Random(failures))
    assert 0 <= delay <= largest
    if not is_random:
        assert delay == largest


def test_a_learner_needs_a_quorum_under_one_number():
    learner = Learner(Quorums((11, 12, 13)), {})
    assert not learner.on_accepted(11, Accepted(1, "v"))
    assert not learner.on_accepted(11, Accepted(1, "v"))
    assert not learner.on_accepted(12, Accepted(4, "v"))
    assert learner.on_accepted(13, Accepted(1, "v"))
    assert (learner.value, learner.number) == ("v", 1)
    assert not learner.on_accepted(12, Accepted(1, "v"))


def test_a_learner_refuses_votes_of_strangers_and_two_values_under_one_number():
    learner = Learner(Quorums((11, 12, 13)), {})
    with pytest.raises(ProtocolViolation, match="accepted-by-no-acceptor"):
        learner.on_accepted(1, Accepted(1, "v"))
    learner.on_accepted(11, Accepted(1, "v"))
    with pytest.raises(ProtocolViolation, match="two-values-one-number"):
        learner.on_accepted(12, Accepted(1, "w"))


def test_a_learner_that_sees_two_values_chosen_stops():
    learner = Learner(Quorums((11, 12, 13)), {})
    learner.learn("v")
    with pytest.raises(AssertionError, match="two values chosen"):
        learner.learn("w")


def test_a_learner_counts_a_limited_number_of_proposals():
    learner = Learner(Quorums((11, 12, 13)), {})
    for number in range(NUMBERS_MAX + 10):
        learner.on_accepted(11, Accepted(number, "v"))
    assert len(learner.votes) == NUMBERS_MAX and min(learner.votes) == 10
