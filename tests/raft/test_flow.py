"""Flow control, paging, snapshots: what etcd's scenarios do not reach."""

import pytest

from consensus_lab.raft.entries import (
    ConfState,
    Snapshot,
    proposed,
)
from consensus_lab.raft.messages import (
    MsgApp,
    MsgAppResp,
    MsgHeartbeatResp,
    MsgHup,
    MsgProp,
    MsgSnap,
    MsgSnapStatus,
    ProposalDropped,
    Role,
)
from consensus_lab.raft.progress import ProgressState
from tests.raft.helpers import (
    elect,
    make_core,
    messages,
    propose,
    settle,
)


def replicating_leader(**changes):
    """A leader that knows that both followers match."""
    core = make_core(**changes)
    elect(core)
    for follower in (2, 3):
        core.step(MsgAppResp(follower, core.term, core.log.last_index))
    settle(core)
    return core


def appends_to(sends, follower):
    """The entries of each append that goes to a follower."""
    return [
        [entry.index for entry in send.message.entries]
        for send in sends
        if send.to == follower and type(send.message) is MsgApp
    ]


def test_one_entry_per_message_when_the_size_limit_is_zero():
    """At least one always goes, and the rest follows at once within the window."""
    core = replicating_leader(append_size_bytes_max=0, inflight_messages_max=3)
    core.step(MsgProp(1, 0, tuple(proposed("x" * 10) for _ in range(4))))
    assert appends_to(settle(core), 2) == [[2]]
    core.step(MsgAppResp(2, core.term, 2))
    assert appends_to(settle(core), 2) == [[3], [4], [5]]


def test_the_window_in_messages_fills_and_opens():
    """Beyond it nothing is sent until the first is acknowledged."""
    core = replicating_leader(append_size_bytes_max=0, inflight_messages_max=2)
    sends = []
    for number in range(5):
        propose(core, f"{number}")
        sends += settle(core)
    assert appends_to(sends, 2) == [[2], [3]]
    assert core.progress[2].is_paused
    core.step(MsgAppResp(2, core.term, 2))
    assert [4] in appends_to(settle(core), 2)


def test_the_window_in_bytes_fills():
    """Counted are the contents of what is on its way."""
    core = replicating_leader(append_size_bytes_max=100, inflight_bytes_max=100)
    sends = []
    for _ in range(4):
        propose(core, "x" * 60)
        sends += settle(core)
    assert appends_to(sends, 2) == [[2], [3]]


def test_a_full_window_is_probed_once_per_heartbeat():
    """If everything on its way was lost, an empty append finds that out."""
    core = replicating_leader(append_size_bytes_max=0, inflight_messages_max=1)
    propose(core, "a")
    propose(core, "b")
    settle(core)
    core.step(MsgHeartbeatResp(2, core.term))
    assert appends_to(settle(core), 2) == [[]]
    propose(core, "c")
    assert appends_to(settle(core), 2) == []


def test_too_much_uncommitted_content_is_refused():
    """But the first proposal is taken, whatever its size; applying makes room."""
    core = replicating_leader(uncommitted_size_bytes_max=100)
    propose(core, "x" * 500)
    settle(core)
    with pytest.raises(ProposalDropped, match="uncommitted"):
        propose(core, "y")
    propose(core, "")
    core.step(MsgAppResp(2, core.term, core.log.last_index))
    settle(core)
    propose(core, "y")
    assert core.log.entries[-1].data == "y"


def compacted_leader():
    """A leader whose log begins after entry 5, with a snapshot of that; follower 3 is behind."""
    core = make_core(terms=[1] * 5, term=1, commit=5)
    core.log.applied_to(5)
    core.latest_snapshot = lambda: Snapshot(5, 1, ConfState((1, 2, 3)), "state")
    core.log.compact(5)
    elect(core)
    core.step(MsgAppResp(2, core.term, 6))
    settle(core)
    return core


def snapshot_sent(core):
    """Follower 3 says that its log is empty, and gets the snapshot."""
    core.step(MsgAppResp(3, core.term, 5, True, 0, 0))
    (snap,) = messages(settle(core), MsgSnap)
    return snap


def test_who_needs_compacted_entries_gets_a_snapshot():
    """And nothing else until it answers; the answer need not name the snapshot's index."""
    core = compacted_leader()
    assert snapshot_sent(core).snapshot.index == 5
    assert core.progress[3].state is ProgressState.SNAPSHOT
    propose(core, "a")
    assert appends_to(settle(core), 3) == []
    core.step(MsgAppResp(3, core.term, 5))
    assert appends_to(settle(core), 3) == [[6, 7]]


@pytest.mark.parametrize(("reject", "next_index"), [(False, 6), (True, 1)])
def test_a_reported_snapshot_is_followed_by_a_probe(reject, next_index):
    """Behind the snapshot if it arrived, from the last match if not, and not at once."""
    core = compacted_leader()
    snapshot_sent(core)
    core.step(MsgSnapStatus(3, 0, reject))
    member = core.progress[3]
    assert (member.state, member.next, member.is_paused) == (
        ProgressState.PROBE, next_index, True,
    )  # fmt: skip


def test_a_silent_follower_gets_no_snapshot():
    """A server that is down would get one per heartbeat."""
    core = compacted_leader()
    core.step(MsgAppResp(3, core.term, 5, True, 0, 0))
    core.step(MsgSnapStatus(3, 0, True))
    settle(core)
    member = core.progress[3]
    for is_active in (False, True):
        member.is_recent_active = is_active
        member.is_flow_paused = False
        propose(core, "a")
        assert bool(messages(settle(core), MsgSnap)) is is_active


def test_a_snapshot_that_matches_only_moves_the_commit_index():
    """The log is right so far; nothing is thrown away."""
    core = make_core(2, terms=[1, 1, 1], term=1)
    core.step(MsgSnap(1, 1, Snapshot(2, 1, ConfState((1, 2, 3)))))
    assert (core.log.committed, core.log.last_index, core.log.snapshot) == (2, 3, None)


def test_an_old_snapshot_and_one_without_us_are_ignored():
    """The answer says how far this server is."""
    core = make_core(2, terms=[1, 1], term=1, commit=2)
    core.step(MsgSnap(1, 1, Snapshot(2, 1, ConfState((1, 2, 3)))))
    core.step(MsgSnap(1, 1, Snapshot(9, 1, ConfState((1, 3)))))
    assert [response.index for response in messages(settle(core), MsgAppResp)] == [2, 2]
    assert core.log.last_index == 2


def test_a_server_with_a_snapshot_to_apply_does_not_campaign():
    """Its state machine does not stand where its log does."""
    core = make_core(2, term=1)
    core.step(MsgSnap(1, 1, Snapshot(9, 1, ConfState((1, 2, 3)))))
    assert not core.is_promotable
    core.step(MsgHup())
    assert core.role is Role.FOLLOWER
    settle(core)
    assert core.is_promotable
