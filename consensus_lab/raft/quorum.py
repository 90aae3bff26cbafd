"""Who must agree: majorities, and two majorities at once.

Theory of operation.  A decision needs a majority of the voters; any two majorities of the same
set share a member, so two decisions cannot contradict each other (Raft §5.2, §5.3).  While the
membership changes, decisions need a majority of the old voters *and* one of the new ones, each
counted by itself (joint consensus, Raft §6).  A configuration that is not joint has an empty
outgoing half; an empty half agrees to everything.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import Enum

from consensus_lab.node import NodeId

UNBOUNDED_INDEX = (1 << 64) - 1
"""What an empty half has "committed": it never holds the other half back."""


class VoteResult(Enum):
    """How an election stands; the values are etcd's names."""

    PENDING = "VotePending"
    LOST = "VoteLost"
    WON = "VoteWon"


# Members under names of their own: Python 3.11 is slow to find one in its class.
PENDING, LOST, WON = VoteResult


def majority_size(voters_count: int) -> int:
    """Votes that decide among so many voters.

    >>> [majority_size(n) for n in (1, 2, 3, 4, 5)]
    [1, 2, 2, 3, 3]
    """
    return voters_count // 2 + 1


def majority_committed(voters: Collection[NodeId], acked: Mapping[NodeId, int]) -> int:
    """The highest index that a majority of the voters has acknowledged.

    Parameters
    ----------
    voters : collection of int
        The voters; for none of them the answer is `UNBOUNDED_INDEX`.
    acked : mapping of node to index
        A voter that is missing has acknowledged nothing.

    Examples
    --------
    >>> majority_committed((1, 2, 3), {1: 10, 2: 7})
    7
    """
    if not voters:
        return UNBOUNDED_INDEX
    ordered = sorted([acked.get(voter, 0) for voter in voters], reverse=True)
    # As far from the top as a majority is large: of 3 the second, of 5 the third.
    return ordered[len(ordered) // 2]


def majority_vote(voters: Collection[NodeId], votes: Mapping[NodeId, bool]) -> VoteResult:
    """How an election among those voters stands.

    Examples
    --------
    >>> majority_vote((1, 2, 3), {1: True, 2: False})
    <VoteResult.PENDING: 'VotePending'>
    """
    if not voters:
        return WON
    granted = missing = 0
    for voter in voters:
        vote = votes.get(voter)
        if vote is None:
            missing += 1
        elif vote:
            granted += 1
    needed = majority_size(len(voters))
    if granted >= needed:
        return WON
    return PENDING if granted + missing >= needed else LOST


def joint_committed(
    incoming: Collection[NodeId], outgoing: Collection[NodeId], acked: Mapping[NodeId, int]
) -> int:
    """The highest index that both halves have committed (Raft §6)."""
    committed = majority_committed(incoming, acked)
    return min(committed, majority_committed(outgoing, acked)) if outgoing else committed


def joint_vote(
    incoming: Collection[NodeId], outgoing: Collection[NodeId], votes: Mapping[NodeId, bool]
) -> VoteResult:
    """How an election stands that both halves must win (Raft §6)."""
    result = majority_vote(incoming, votes)
    if not outgoing or result is LOST:
        return result
    other = majority_vote(outgoing, votes)
    return result if other is WON else other
