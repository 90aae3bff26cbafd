"""Raft §5.4.1 and §5.4.2: the election restriction, and entries from previous terms."""

import pytest

from consensus_lab.raft.messages import MsgApp, MsgAppResp, MsgVote, MsgVoteResp
from tests.raft.helpers import elect, entries_of, make_core, messages, propose, settle


@pytest.mark.parametrize(("terms", "term"), [([1], 2), ([1, 2], 3)])
def test_a_request_for_votes_describes_the_candidates_log(terms, term):
    """The RequestVote RPC includes information about the candidate's log (§5.4.1)."""
    core = make_core(1)
    core.step(MsgApp(2, term - 1, 0, 0, 0, entries_of(terms)))
    settle(core)
    for _ in range(2 * core.config.election_tick):
        core.tick()
        if core.term == term:
            break
    sends = settle(core)
    assert sorted(send.to for send in sends) == [2, 3]
    assert messages(sends, MsgVote) == [MsgVote(1, term, terms[-1], len(terms))] * 2


@pytest.mark.parametrize(
    ("terms", "log_term", "index", "refused"),
    [
        ([1], 1, 1, False),  # The same log.
        ([1], 1, 2, False),
        ([1, 1], 1, 1, True),  # Same last term: the longer log is more up-to-date.
        ([1], 2, 1, False),  # Later last term, whatever the length.
        ([1], 2, 2, False),
        ([1, 1], 2, 1, False),
        ([2], 1, 1, True),
        ([2], 1, 2, True),
        ([2, 1], 1, 1, True),
    ],
)
def test_a_voter_refuses_a_candidate_with_an_older_log(terms, log_term, index, refused):
    """The voter denies its vote if its own log is more up-to-date than the candidate's (§5.4.1)."""
    core = make_core(1, terms=terms, term=2)
    core.step(MsgVote(2, 3, log_term, index))
    assert messages(settle(core), MsgVoteResp) == [MsgVoteResp(1, 3, refused)]


@pytest.mark.parametrize(("acknowledged", "committed"), [(1, 0), (2, 0), (3, 3)])
def test_only_entries_of_the_own_term_are_committed_by_counting(acknowledged, committed):
    """Only log entries from the leader's current term are committed by counting replicas; older
    ones are then committed indirectly (§5.4.2, Fig. 8).
    """
    core = make_core(1, voters=(1, 2), terms=[1, 2], term=2)
    elect(core)
    propose(core, "some data")
    settle(core)
    core.step(MsgAppResp(2, core.term, acknowledged))
    assert core.log.committed == committed
