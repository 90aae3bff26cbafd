"""Paxos Made Simple (Lamport 2001), rule by rule: init, step, check.

P1 and the phases are tested on single processes; P2 to P2c, which speak of all that is ever
proposed and accepted, in every reachable state of three acceptors, two values and two ballots.
"""

from __future__ import annotations

from functools import cache
from itertools import combinations

import pytest

from consensus_lab.node import Persist, Reply, Send
from consensus_lab.paxos.group import Group
from consensus_lab.paxos.message_set import MessageSet
from consensus_lab.paxos.message_set_trace import Said
from consensus_lab.paxos.messages import (
    NO_PROPOSAL,
    Accept,
    Accepted,
    Ask,
    Learn,
    Prepare,
    Promise,
    Propose,
    Reject,
)
from consensus_lab.paxos.proposer import BackOff
from consensus_lab.paxos.single import SinglePaxos
from consensus_lab.sim.local_steps import NoChance
from consensus_lab.sim.schedule import Schedule, ScheduledRun
from tests.paxos.processes import P1, P2, A, B, C, L, apart, process, sends, written

MAJORITIES = [set(pair) for pair in combinations((1, 2, 3), 2)]


@cache
def reachable() -> list[tuple[Said, ...]]:
    """What was said in every state of three acceptors, two values and two ballots."""
    model = MessageSet(acceptor_count=3, value_count=2, ballot_count=2)
    found, todo = {model.initial()}, [model.initial()]
    while todo:
        for _, following in model.successors(todo.pop()):
            if following not in found:
                found.add(following)
                todo.append(following)
    return [model.said(state) for state in found]


def issued(state: tuple[Said, ...]) -> set[tuple[int, str]]:
    """Number and value of every proposal that was issued."""
    return {(m.number, m.value) for _, m in state if isinstance(m, Accept)}


def votes(state: tuple[Said, ...]) -> set[tuple[int, int, str]]:
    """Acceptor, number and value of every acceptance."""
    return {(who, m.number, m.value) for who, m in state if isinstance(m, Accepted)}


def chosen(state: tuple[Said, ...]) -> set[tuple[int, str]]:
    """Proposals that a majority has accepted."""
    cast = votes(state)
    return {
        (number, value)
        for number, value in issued(state)
        if {who for who, n, v in cast if (n, v) == (number, value)} in [*MAJORITIES, {1, 2, 3}]
    }


def promised(number: int):
    """An acceptor that has promised this number to its proposer, and nothing else."""
    node = process(A)
    node.receive(apart().owner(number), Prepare(number), 0)
    return node


# Section 2.2, choosing a value: the requirements.


def test_p1_an_acceptor_accepts_the_first_proposal_that_it_receives():
    """P1: without it a single proposed value might never be chosen (§2.2)."""
    assert sends(process(A).receive(P1, Accept(0, "v"), 0)) == [(P1, Accepted(0, "v"))]


@pytest.mark.parametrize("number", [4, 5, 6, 7])
def test_p1a_an_acceptor_accepts_n_iff_it_has_not_answered_a_prepare_above_n(number):
    """P1a: having promised 5, accept 5 and above, nothing below (§2.2)."""
    node = promised(5)
    owner = apart().owner(number)
    answers = [message for _, message in sends(node.receive(owner, Accept(number, "v"), 0))]
    assert answers == ([Reject(4, 5)] if number < 5 else [Accepted(number, "v")])


@pytest.mark.slow
def test_p2_every_higher_numbered_proposal_that_is_chosen_has_the_chosen_value():
    """P2, and so: only a single value is chosen (§2.2)."""
    assert any(len(chosen(state)) == 2 for state in reachable())
    for state in reachable():
        assert len({value for _, value in chosen(state)}) <= 1


@pytest.mark.slow
def test_p2a_every_higher_numbered_proposal_that_is_accepted_has_the_chosen_value():
    """P2a, by any acceptor, also one that heard nothing before (§2.2)."""
    for state in reachable():
        for number, value in chosen(state):
            assert all(v == value for _, n, v in votes(state) if n > number)


@pytest.mark.slow
def test_p2b_every_higher_numbered_proposal_that_is_issued_has_the_chosen_value():
    """P2b (§2.2)."""
    for state in reachable():
        for number, value in chosen(state):
            assert all(v == value for n, v in issued(state) if n > number)


@pytest.mark.slow
def test_p2c_a_majority_vouches_for_every_proposal_that_is_issued():
    """P2c: it accepted nothing below n, or v is the value of the highest that it did (§2.2)."""

    def vouches(state: tuple[Said, ...], majority: set[int], number: int, value: str) -> bool:
        below = [(n, v) for who, n, v in votes(state) if who in majority and n < number]
        return not below or max(below)[1] == value

    for state in reachable():
        for number, value in issued(state):
            assert any(vouches(state, majority, number, value) for majority in MAJORITIES)


# Section 2.2, the algorithm: the two phases.


def test_phase_1a_a_proposer_sends_a_prepare_with_its_number_to_the_acceptors():
    effects = process(P2).submit(Propose("y"), 0)
    assert sends(effects) == [(acceptor, Prepare(1)) for acceptor in (A, B, C)]


def test_phase_1b_an_acceptor_promises_and_reports_the_highest_that_it_accepted():
    node = process(A)
    assert sends(node.receive(P1, Prepare(0), 0)) == [(P1, Promise(0, NO_PROPOSAL, None))]
    node.receive(P1, Accept(0, "v"), 0)
    node.receive(P2, Accept(3, "w"), 0)
    assert sends(node.receive(P2, Prepare(5), 0)) == [(P2, Promise(5, 3, "w"))]


@pytest.mark.parametrize("number", [3, 5])
def test_phase_1b_only_a_number_above_every_one_answered_before_is_promised(number):
    """Answered, not accepted: this acceptor has accepted nothing (the essay is looser)."""
    node = promised(5)
    effects = node.receive(apart().owner(number), Prepare(number), 0)
    assert sends(effects) == [(P2, Reject(number, 5))]
    assert node.acceptor.promised == 5


def test_phase_2a_with_promises_of_a_majority_the_proposer_asks_for_acceptance():
    node = process(P1)
    node.submit(Propose("x"), 0)
    assert sends(node.receive(A, Promise(0, NO_PROPOSAL, None), 0)) == []
    effects = node.receive(B, Promise(0, NO_PROPOSAL, None), 0)
    assert sends(effects) == [(acceptor, Accept(0, "x")) for acceptor in (A, B, C)]


@pytest.mark.parametrize(
    ("reports", "value"),
    [
        ([(NO_PROPOSAL, None), (NO_PROPOSAL, None)], "own"),
        ([(NO_PROPOSAL, None), (1, "reported")], "reported"),
        ([(1, "older"), (3, "newer")], "newer"),
        ([(3, "newer"), (1, "older")], "newer"),
    ],
    ids=str,
)
def test_phase_2a_the_value_is_that_of_the_highest_numbered_report_or_any(reports, value):
    node = process(P1, disk={"number": 4})
    node.submit(Propose("own"), 0)
    effects = []
    for acceptor, report in zip((A, B), reports, strict=True):
        effects += node.receive(acceptor, Promise(6, *report), 0)
    assert {message for _, message in sends(effects)} == {Accept(6, value)}


def test_phase_2b_an_acceptor_accepts_unless_it_has_answered_a_higher_prepare():
    node = promised(5)
    assert sends(node.receive(P2, Accept(5, "v"), 0)) == [(P2, Accepted(5, "v"))]
    assert (node.acceptor.accepted_number, node.acceptor.accepted_value) == (5, "v")


def test_an_acceptor_that_ignores_a_request_informs_the_proposer_which_then_abandons():
    """A performance optimisation that does not affect correctness (§2.2)."""
    proposer = process(P1)
    proposer.submit(Propose("x"), 0)
    ((_, rejection),) = sends(promised(5).receive(P1, Prepare(0), 0))
    effects = proposer.receive(A, rejection, 0)
    assert sends(effects) == [(acceptor, Prepare(6)) for acceptor in (A, B, C)]


def test_a_proposer_can_abandon_a_proposal_and_forget_all_about_it():
    """Correctness is kept, even if its requests arrive after it was abandoned (§2.2)."""
    acceptor, late = process(A), Accept(0, "x")
    acceptor.receive(P1, Prepare(0), 0)
    assert sends(acceptor.receive(P1, late, 0)) == [(P1, Accepted(0, "x"))]
    assert sends(acceptor.receive(P2, Prepare(1), 0)) == [(P2, Promise(1, 0, "x"))]


# Section 2.3, learning a chosen value.


def test_a_learner_finds_out_that_a_majority_has_accepted_a_proposal():
    node = process(L, apart(informing="acceptors"))
    assert node.receive(A, Accepted(0, "v"), 0) == []
    node.receive(B, Accepted(0, "v"), 0)
    assert node.chosen == "v"


def test_acceptors_tell_every_learner_or_a_distinguished_one_that_tells_the_others():
    group = Group.of_peers((1, 2, 3), informing="distinguished", distinguished_learners=(2,))
    told = sends(process(3, group).receive(1, Accept(0, "v"), 0))
    assert told == [(1, Accepted(0, "v")), (2, Accepted(0, "v"))]
    learner = process(2, group)
    learner.receive(1, Accepted(0, "v"), 0)
    assert sends(learner.receive(3, Accepted(0, "v"), 0)) == [(1, Learn("v")), (3, Learn("v"))]


def test_asking_the_acceptors_may_not_suffice_but_a_new_proposal_does():
    """One acceptor is down and the others differ: nobody can tell; then one proposes (§2.3)."""
    left, right = process(A), process(B)
    left.receive(P1, Accept(0, "v"), 0)
    learner = process(L)
    for node in (left, right):
        for _, answer in sends(node.receive(L, Ask(), 0)):
            learner.receive(node.node_id, answer, 0)
    assert learner.chosen is None
    proposer = process(P2)
    asked = sends(proposer.submit(Propose("w"), 0))
    while asked:
        to, request = asked.pop(0)
        for node in (left, right):
            if node.node_id == to:
                for _, answer in sends(node.receive(P2, request, 0)):
                    asked += sends(proposer.receive(to, answer, 0))
    assert proposer.chosen == "v"


# Section 2.4, progress.

DUEL = Schedule.of("P1 A B C", "P1 P2 A B C P2 P1 A B C")


def duel(group: Group) -> ScheduledRun:
    """P1 has its promises when P2 begins; then each turn comes at the worst moment."""

    def make(node_id, disk):
        return process_of(node_id, group, disk)

    run = ScheduledRun(make, {"P1": P1, "P2": P2, "A": A, "B": B, "C": C, "L": L})
    run.submit("P1", Propose("x"))
    for acceptor in "ABC":
        run.turn(acceptor)
    run.submit("P2", Propose("y"))
    return run


def process_of(node_id, group, disk):
    """A process that never waits longer than it must."""
    return SinglePaxos(node_id, disk, group=group, source=NoChance())


def test_two_proposers_can_alternate_for_ever():
    """Each completes phase 1 with a higher number before the other's phase 2 (§2.4)."""
    run = duel(apart())
    assert run.run(DUEL, turns_max=5000, until=lambda: known(run)) == 5000
    numbers = [record.detail for record in run.trace if record.kind == "prepare"]
    assert numbers == list(range(len(numbers))) and len(numbers) > 900


def known(run: ScheduledRun) -> bool:
    """Somebody knows a chosen value."""
    return any(node.chosen is not None for node in run.nodes.values())


@pytest.mark.parametrize(
    "settings",
    [{"distinguished_proposer": P2}, {"back_off": BackOff(1, is_random=False)}],
    ids=["distinguished", "waits"],
)
def test_one_proposer_that_is_left_alone_succeeds_under_the_same_schedule(settings):
    """A distinguished proposer that communicates with a majority gets through (§2.4)."""
    run = duel(apart(**settings))
    assert run.run(DUEL, turns_max=5000, until=lambda: known(run)) < 20


# Section 2.5, the implementation.


def test_each_process_plays_all_roles():
    node = process(1, Group.of_peers((1, 2, 3)))
    assert node.proposer is not None and node.acceptor is not None
    assert node.node_id in node.group.learners


def test_an_acceptor_records_its_response_before_it_sends_it():
    node = process(A)
    for message in (Prepare(0), Accept(0, "v")):
        kinds = [type(effect) for effect in node.receive(P1, message, 0)]
        assert kinds.index(Persist) < kinds.index(Send)


def test_no_two_proposals_have_the_same_number_and_restarts_use_a_higher_one():
    """Disjoint sets of numbers, and the highest that was used is on disk (§2.5)."""
    numbers = {}
    for proposer in (P1, P2):
        disk: dict = {}
        for _ in range(5):
            node = process(proposer, disk=disk)
            effects = node.submit(Propose("v"), 0)
            disk.update(written(effects))
            number = node.proposer.number
            assert number not in numbers
            numbers[number] = proposer
    assert len(numbers) == 10


def test_whoever_asks_after_the_choice_gets_the_chosen_value():
    node = process(1, Group.of_peers((1, 2, 3)))
    node.receive(2, Learn("v"), 0)
    assert node.submit(Propose("w", "request"), 0) == [Reply("request", "v")]
