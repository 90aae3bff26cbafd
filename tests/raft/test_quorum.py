"""Quorum arithmetic against its definition, by trying everything."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus_lab.raft.quorum import (
    UNBOUNDED_INDEX,
    VoteResult,
    joint_committed,
    joint_vote,
    majority_committed,
    majority_size,
    majority_vote,
)

VOTERS = st.sets(st.integers(1, 7), max_size=7)
ACKED = st.dictionaries(st.integers(1, 7), st.integers(0, 9))
VOTES = st.dictionaries(st.integers(1, 7), st.booleans())


@pytest.mark.parametrize("count", range(1, 10))
def test_two_majorities_always_share_a_voter(count):
    """And no smaller number has that property."""
    size = majority_size(count)
    assert 2 * size > count
    assert 2 * (size - 1) <= count


@pytest.mark.slow
@given(voters=VOTERS, acked=ACKED)
def test_committed_is_the_highest_index_that_a_majority_has(voters, acked):
    """The definition: count for each index who has it."""
    index = majority_committed(voters, acked)
    if not voters:
        assert index == UNBOUNDED_INDEX
        return
    reached = [sum(acked.get(v, 0) >= candidate for v in voters) for candidate in range(11)]
    assert index == max(c for c in range(11) if reached[c] >= majority_size(len(voters)))


@pytest.mark.slow
@given(voters=VOTERS, votes=VOTES)
def test_an_election_is_decided_when_no_missing_vote_can_change_it(voters, votes):
    """The definition: complete the votes in every way and see whether the outcomes agree."""
    missing = sorted(voters - votes.keys())
    outcomes = set()
    for completion in product((True, False), repeat=len(missing)):
        full = {**votes, **dict(zip(missing, completion, strict=True))}
        granted = sum(full[voter] for voter in voters)
        outcomes.add(not voters or granted >= majority_size(len(voters)))
    expected = {
        (True,): VoteResult.WON, (False,): VoteResult.LOST, (False, True): VoteResult.PENDING,
    }[tuple(sorted(outcomes))]  # fmt: skip
    assert majority_vote(voters, votes) is expected


@pytest.mark.slow
@given(incoming=VOTERS, outgoing=VOTERS, acked=ACKED, votes=VOTES)
def test_joint_decisions_need_both_halves(incoming, outgoing, acked, votes):
    """Committed in both, won in both, lost if either is lost; the order does not matter."""
    index = joint_committed(incoming, outgoing, acked)
    halves = majority_committed(incoming, acked), majority_committed(outgoing, acked)
    assert index == min(halves) == joint_committed(outgoing, incoming, acked)
    result = joint_vote(incoming, outgoing, votes)
    parts = {majority_vote(incoming, votes), majority_vote(outgoing, votes)}
    assert (result is VoteResult.WON) == (parts == {VoteResult.WON})
    assert (result is VoteResult.LOST) == (VoteResult.LOST in parts)
    assert result is joint_vote(outgoing, incoming, votes)
