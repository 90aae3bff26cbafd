"""Raft §5.1: terms act as a logical clock."""

import pytest

from consensus_lab.raft.messages import MsgApp, MsgHup, Role
from tests.raft.helpers import elect, make_core, settle


def newer_append(term: int) -> MsgApp:
    """An append from the leader of a later term."""
    return MsgApp(2, term, 0, 0, 0)


def test_follower_adopts_a_larger_term():
    """A server whose term is smaller than another's updates it to the larger value (§5.1)."""
    core = make_core(term=1)
    core.step(newer_append(2))
    assert core.term == 2
    assert core.role is Role.FOLLOWER


def test_candidate_with_an_old_term_reverts_to_follower():
    """A candidate that discovers that its term is out of date reverts to follower (§5.1)."""
    core = make_core(term=1)
    core.step(MsgHup())
    assert core.role is Role.CANDIDATE
    core.step(newer_append(3))
    assert core.term == 3
    assert core.role is Role.FOLLOWER


def test_leader_with_an_old_term_reverts_to_follower():
    """A leader that discovers that its term is out of date reverts to follower (§5.1)."""
    core = make_core(term=1)
    elect(core)
    core.step(newer_append(3))
    assert core.term == 3
    assert core.role is Role.FOLLOWER
    assert core.lead == 2


@pytest.mark.parametrize("stale", [1, 2])
def test_requests_with_a_stale_term_are_rejected(stale):
    """A server that receives a request with a stale term number rejects it (§5.1)."""
    core = make_core(term=3)
    core.step(MsgApp(2, stale, 0, 0, 0))
    assert settle(core) == []
    assert core.term == 3
    assert core.lead == 0
