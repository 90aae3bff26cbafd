"""Raft §5.2: leader election."""

from collections import Counter

import pytest

from consensus_lab.raft.entries import NONE
from consensus_lab.raft.messages import (
    MsgApp,
    MsgHeartbeat,
    MsgHup,
    MsgVote,
    MsgVoteResp,
    Role,
)
from tests.raft.helpers import elect, make_core, messages, settle

ELECTION_TICK = 10


def ticks_until_candidacy(core):
    """How many ticks pass before a server raises its term, and the requests it then sends."""
    term = core.term
    for count in range(1, 10 * ELECTION_TICK):
        core.tick()
        if core.term > term:
            return count, settle(core)
    raise AssertionError("no election")


def test_servers_start_as_followers():
    """When servers start up, they begin as followers (§5.2)."""
    assert make_core().role is Role.FOLLOWER


def test_leader_sends_periodic_heartbeats():
    """Leaders send periodic heartbeats, appends without entries, to all followers (§5.2)."""
    core = make_core(heartbeat_tick=3)
    elect(core)
    core.tick()
    core.tick()
    assert settle(core) == []
    core.tick()
    sends = settle(core)
    assert [send.to for send in sends] == [2, 3]
    assert all(type(send.message) is MsgHeartbeat for send in sends)
    assert all(send.message.term == core.term for send in sends)


def begins_an_election(core):
    """After its timeout, and not before, a server asks everybody for votes in a new term."""
    term, timeout = core.term, core.election_timeout_ticks
    count, sends = ticks_until_candidacy(core)
    assert count == timeout
    assert core.term == term + 1
    assert core.role is Role.CANDIDATE
    assert core.votes == {1: True}
    assert [send.to for send in sends] == [2, 3]
    assert messages(sends, MsgVote) == [MsgVote(1, core.term, 0, 0)] * 2


def test_a_follower_that_hears_nothing_starts_an_election():
    """A follower that hears nothing over an election timeout assumes that there is no viable
    leader: it increments its term, becomes candidate, votes for itself and asks all others for
    their votes in parallel (§5.2).
    """
    begins_an_election(make_core(term=1))


def test_a_candidate_without_a_majority_starts_a_new_election():
    """If votes are split, each candidate times out and starts a new election with a new term and
    another round of requests (§5.2).
    """
    core = make_core(term=1)
    core.step(MsgHup())
    settle(core)
    begins_an_election(core)


@pytest.mark.parametrize(
    ("size", "votes", "role"),
    [
        (1, {}, Role.LEADER),
        (3, {2: True}, Role.LEADER),
        (3, {2: True, 3: True}, Role.LEADER),
        (5, {2: True, 3: True}, Role.LEADER),
        (5, {2: True, 3: True, 4: True, 5: True}, Role.LEADER),
        (3, {2: False, 3: False}, Role.FOLLOWER),
        (5, {2: False, 3: False, 4: False, 5: False}, Role.FOLLOWER),
        (5, {2: True, 3: False, 4: False, 5: False}, Role.FOLLOWER),
        (3, {}, Role.CANDIDATE),
        (5, {2: True}, Role.CANDIDATE),
        (5, {2: False, 3: False}, Role.CANDIDATE),
        (5, {}, Role.CANDIDATE),
    ],
)
def test_outcome_of_one_round_of_requests(size, votes, role):
    """A candidate wins with the votes of a majority of the full cluster for the same term; if it
    loses it becomes a follower; if it is unclear it goes on waiting (§5.2).
    """
    core = make_core(voters=range(1, size + 1))
    core.step(MsgHup())
    settle(core)
    for voter, granted in votes.items():
        core.step(MsgVoteResp(voter, core.term, not granted))
    assert core.role is role
    assert core.term == 1


@pytest.mark.parametrize(
    ("vote", "candidate", "granted"),
    [(NONE, 1, True), (NONE, 2, True), (1, 1, True), (2, 2, True), (1, 2, False), (2, 1, False)],
)
def test_a_follower_votes_once_per_term(vote, candidate, granted):
    """Each server votes for at most one candidate in a given term, first come first served
    (§5.2).
    """
    core = make_core(3, term=1, vote=vote)
    core.step(MsgVote(candidate, 1, 0, 0))
    assert messages(settle(core), MsgVoteResp) == [MsgVoteResp(3, 1, not granted)]
    assert core.vote == (candidate if granted else vote)


@pytest.mark.parametrize("term", [1, 2])
def test_a_candidate_that_hears_a_leader_returns_to_follower(term):
    """A candidate recognises a leader whose term is at least as large as its own, and returns to
    follower state (§5.2).
    """
    core = make_core()
    core.step(MsgHup())
    assert core.term == 1
    core.step(MsgApp(2, term, 0, 0, 0))
    assert core.role is Role.FOLLOWER
    assert (core.term, core.lead) == (term, 2)


def reset(core, role, term):
    """Make a server a follower of nobody in a term, or from there a candidate of the next."""
    core.become_follower(term, NONE)
    if role is Role.CANDIDATE:
        core.become_candidate()


def timeouts_are_random(role):
    """Each whole number of ticks from T to 2T - 1 comes up, and no other."""
    core = make_core(seed=7)
    seen = Counter()
    for term in range(1, 50 * ELECTION_TICK):
        reset(core, role, term)
        seen[core.election_timeout_ticks] += 1
    assert sorted(seen) == list(range(ELECTION_TICK, 2 * ELECTION_TICK))
    assert min(seen.values()) > 15  # 50 expected of each.


def test_election_timeouts_of_followers_are_chosen_randomly():
    """Election timeouts are chosen randomly from a fixed interval (§5.2)."""
    timeouts_are_random(Role.FOLLOWER)


def test_election_timeouts_of_candidates_are_chosen_randomly():
    """Each candidate restarts its randomized timeout at the start of an election (§5.2)."""
    timeouts_are_random(Role.CANDIDATE)


def share_of_conflicts(role):
    """How often two of five servers time out first in the same tick."""
    rounds, conflicts = 400, 0
    cores = [make_core(node_id, voters=range(1, 6), seed=node_id) for node_id in range(1, 6)]
    for term in range(1, rounds + 1):
        for core in cores:
            reset(core, role, term)
        timeouts = sorted(core.election_timeout_ticks for core in cores)
        conflicts += timeouts[0] == timeouts[1]
    return conflicts / rounds


# Exactly: 1 - 5/10 * sum of (k/10)^4 for k = 0..9, which is 0.233.
CONFLICTS_EXPECTED = (0.15, 0.35)


def test_in_most_cases_only_one_follower_times_out():
    """Timeouts spread servers out, so that in most cases a single one times out first (§5.2)."""
    low, high = CONFLICTS_EXPECTED
    assert low < share_of_conflicts(Role.FOLLOWER) < high


def test_in_most_cases_only_one_candidate_times_out():
    """This reduces the likelihood of another split vote in the new election (§5.2)."""
    low, high = CONFLICTS_EXPECTED
    assert low < share_of_conflicts(Role.CANDIDATE) < high
