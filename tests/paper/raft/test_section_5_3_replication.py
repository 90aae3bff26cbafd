"""Raft §5.3: log replication."""

import pytest

from consensus_lab.raft.messages import MsgApp, MsgAppResp
from tests.raft.helpers import Cluster, elect, entries_of, make_core, messages, propose, settle
from tests.raft.helpers import terms_of as terms_in


def leader(size=3, **changes):
    """A leader whose opening entry is committed everywhere."""
    core = make_core(voters=range(1, size + 1), **changes)
    elect(core)
    for follower in range(2, size + 1):
        core.step(MsgAppResp(follower, core.term, core.log.last_index))
    settle(core)
    assert core.log.committed == core.log.last_index
    return core


def test_a_command_is_appended_and_sent_to_all_in_parallel():
    """The leader appends the command as a new entry, then issues AppendEntries in parallel, with
    the index and term of the entry that precedes the new ones (§5.3).
    """
    core = leader()
    before = core.log.last_index
    propose(core, "some data")
    assert core.log.last_index == before + 1
    assert core.log.committed == before
    sends = settle(core)
    assert [send.to for send in sends] == [2, 3]
    for append in messages(sends, MsgApp):
        assert (append.log_term, append.index, append.commit) == (1, before, before)
        assert [entry.data for entry in append.entries] == ["some data"]
    assert core.log.next_unstable() == ()


def test_a_replicated_entry_is_committed_and_applied():
    """When the entry has been safely replicated, the leader applies it; it keeps track of the
    highest index committed and includes it in later AppendEntries (§5.3).
    """
    core = leader()
    index = core.log.last_index + 1
    propose(core, "some data")
    settle(core)
    core.step(MsgAppResp(2, core.term, index))
    assert core.log.committed == index
    sends = settle(core)
    assert core.log.applied == index
    assert [(send.to, send.message.commit) for send in sends] == [(2, index), (3, index)]


@pytest.mark.parametrize(
    ("size", "acknowledging", "committed"),
    [
        (1, (), True), (3, (), False), (3, (2,), True), (3, (2, 3), True), (5, (), False),
        (5, (2,), False), (5, (2, 3), True), (5, (2, 3, 4), True), (5, (2, 3, 4, 5), True),
    ],
)  # fmt: skip
def test_an_entry_is_committed_once_a_majority_holds_it(size, acknowledging, committed):
    """A log entry is committed once the leader that created it has replicated it on a majority
    of the servers (§5.3).
    """
    core = leader(size)
    index = core.log.last_index + 1
    propose(core, "some data")
    settle(core)
    for follower in acknowledging:
        core.step(MsgAppResp(follower, core.term, index))
    assert (core.log.committed >= index) is committed


@pytest.mark.parametrize("terms", [(), (2,), (1, 2), (1,)])
def test_committing_an_entry_commits_all_before_it(terms):
    """This also commits all preceding entries in the leader's log, including those created by
    previous leaders; they are applied in log order (§5.3).
    """
    core = make_core(terms=terms, term=2)
    elect(core)
    propose(core, "some data")
    settle(core)
    last = len(terms) + 2
    core.step(MsgAppResp(2, core.term, last))
    assert core.log.committed == last
    assert [entry.term for entry in core.log.next_committed()] == [*terms, 3, 3]
    settle(core)
    assert core.log.applied == last


@pytest.mark.parametrize(("count", "commit"), [(1, 1), (2, 2), (2, 1), (3, 2)])
def test_a_follower_applies_what_it_learns_is_committed(count, commit):
    """Once a follower learns that an entry is committed, it applies it in log order (§5.3)."""
    core = make_core(2, term=1)
    core.step(MsgApp(1, 1, 0, 0, commit, entries_of([1] * count)))
    assert core.log.committed == commit
    assert [entry.index for entry in core.log.next_committed()] == list(range(1, commit + 1))


@pytest.mark.parametrize(
    ("log_term", "index", "answer"),
    [
        (0, 0, (1, False, 0, 0)),  # Before the committed entry: it says how far it is.
        (1, 1, (1, False, 0, 0)),
        (2, 2, (2, False, 0, 0)),
        (1, 2, (2, True, 1, 1)),  # Another term there: rejected, with a hint.
        (2, 3, (3, True, 2, 2)),  # No such entry: rejected, with a hint.
        (3, 3, (3, True, 2, 2)),
    ],
)
def test_a_follower_refuses_what_does_not_follow_its_log(log_term, index, answer):
    """If the follower does not find an entry in its log with the same index and term, it refuses
    the new entries (§5.3).
    """
    core = make_core(2, terms=[1, 2], commit=1)
    core.step(MsgApp(1, 2, log_term, index, 0))
    (response,) = messages(settle(core), MsgAppResp)
    assert (response.index, response.reject, response.reject_hint, response.log_term) == answer


@pytest.mark.parametrize(
    ("index", "log_term", "terms", "expected", "unstable"),
    [
        (2, 2, [3], [1, 2, 3], [3]),
        (1, 1, [3, 4], [1, 3, 4], [3, 4]),
        (0, 0, [1], [1, 2], []),
        (0, 0, [3], [3], [3]),
    ],
)
def test_conflicting_entries_are_replaced(index, log_term, terms, expected, unstable):
    """If an existing entry conflicts with a new one, the existing entry and all that follow it
    are deleted, and new entries not already in the log are appended (Fig. 2, §5.3).
    """
    core = make_core(2, terms=[1, 2])
    core.step(MsgApp(1, 4, log_term, index, 0, entries_of(terms, first=index + 1)))
    assert terms_in(core) == expected
    assert [entry.term for entry in core.log.next_unstable()] == unstable


FIGURE_7_LEADER = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6]
FIGURE_7_FOLLOWERS = {
    "a": [1, 1, 1, 4, 4, 5, 5, 6, 6],
    "b": [1, 1, 1, 4],
    "c": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
    "d": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
    "e": [1, 1, 1, 4, 4, 4, 4],
    "f": [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
}


@pytest.mark.parametrize("case", sorted(FIGURE_7_FOLLOWERS))
def test_a_leader_brings_any_follower_log_into_agreement(case):
    """To bring a follower's log into consistency with its own, the leader finds the latest entry
    where the two agree, deletes what follows in the follower's and sends its own (§5.3, the six
    followers of Fig. 7).
    """
    lead = make_core(1, terms=FIGURE_7_LEADER, term=8)
    follower = make_core(2, terms=FIGURE_7_FOLLOWERS[case], term=8)
    third = make_core(3, term=8)
    cluster = Cluster([lead, follower, third])
    cluster.campaign(1)
    assert lead.is_leader
    propose(lead, "some data")
    cluster.run()
    assert follower.log.entries == lead.log.entries
    assert terms_in(lead) == [*FIGURE_7_LEADER, 9, 9]
