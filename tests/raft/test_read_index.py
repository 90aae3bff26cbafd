"""Linearizable reads: what a leader must know before it answers (thesis §6.4)."""

from consensus_lab.raft.config import ReadMode
from consensus_lab.raft.messages import (
    MsgAppResp,
    MsgHeartbeat,
    MsgHeartbeatResp,
    MsgHup,
    MsgReadIndex,
    MsgReadIndexResp,
    ReadState,
)
from consensus_lab.raft.ready import RawNode
from tests.raft.helpers import Cluster, elect, make_core, messages, settle


def committed_leader(size=3, **changes):
    """A leader that has committed an entry of its term."""
    core = make_core(voters=range(1, size + 1), **changes)
    elect(core)
    for follower in range(2, size + 1):
        core.step(MsgAppResp(follower, core.term, core.log.last_index))
    settle(core)
    return core


def ask(core, context, sender=1):
    """A read arrives; what the leader sends, and what it may serve itself."""
    core.step(MsgReadIndex(sender, 0, context))
    return take(core)


def take(core):
    """What the leader sends, and the reads that it may serve itself."""
    states, core.read_states = core.read_states, []
    return settle(core), states


def test_a_read_is_served_after_a_quorum_has_answered():
    """The index is the commit index when the read arrived, not when it is confirmed."""
    core = committed_leader(5)
    index = core.log.committed
    sends, states = ask(core, "r1")
    assert states == []
    assert [message.context for message in messages(sends, MsgHeartbeat)] == ["r1"] * 4
    core.step(MsgHeartbeatResp(2, core.term, "r1"))
    assert take(core)[1] == []
    core.log.append((core.log.entries[0].taken(core.term, index + 1),))
    core.log.commit_to(index + 1)
    core.step(MsgHeartbeatResp(3, core.term, "r1"))
    assert take(core)[1] == [ReadState(index, "r1")]


def test_a_later_confirmation_serves_all_earlier_reads():
    """Who confirms the leader now confirms it for every read that came before."""
    core = committed_leader()
    for context in ("r1", "r2", "r3"):
        ask(core, context)
    core.step(MsgHeartbeatResp(2, core.term, "r2"))
    assert [state.context for state in take(core)[1]] == ["r1", "r2"]
    core.step(MsgHeartbeatResp(3, core.term, "r1"))
    assert take(core)[1] == []


def test_regular_heartbeats_carry_the_newest_read():
    """A read whose own round was lost is confirmed by the next one."""
    core = committed_leader()
    ask(core, "r1")
    ask(core, "r2")
    for _ in range(core.config.heartbeat_tick):
        core.tick()
    assert {message.context for message in messages(settle(core), MsgHeartbeat)} == {"r2"}


def test_answers_without_context_confirm_nothing():
    """They may have been sent before the read arrived."""
    core = committed_leader()
    ask(core, "r1")
    core.step(MsgHeartbeatResp(2, core.term))
    core.step(MsgHeartbeatResp(3, core.term, "unknown"))
    assert take(core)[1] == []


def test_a_new_leader_waits_for_an_entry_of_its_term():
    """It does not know yet what is committed (Raft §8); the reads are taken then."""
    core = make_core(terms=[1], commit=1, term=1)
    elect(core)
    sends, states = ask(core, "r1")
    assert (messages(sends, MsgHeartbeat), states) == ([], [])
    core.step(MsgAppResp(2, core.term, core.log.last_index))
    assert [m.context for m in messages(settle(core), MsgHeartbeat)] == ["r1", "r1"]
    core.step(MsgHeartbeatResp(2, core.term, "r1"))
    assert take(core)[1] == [ReadState(2, "r1")]


def test_a_lone_voter_waits_too():
    """After a restart its commit index may be older than what it had answered."""
    core = make_core(voters=(1,), terms=[1, 1], term=1)
    core.step(MsgHup())
    raw, served = RawNode(core), []
    raw.ready()
    raw.advance()
    assert core.is_leader
    core.step(MsgReadIndex(1, 0, "early"))
    assert core.read_states == []
    while raw.has_ready:
        served += raw.ready().read_states
        raw.advance()
    assert served == [ReadState(3, "early")]
    assert ask(core, "late")[1] == [ReadState(3, "late")]


def test_a_lease_answers_at_once():
    """Without a round, on the strength of the last check of the quorum."""
    core = committed_leader(check_quorum=True, read_mode=ReadMode.LEASE)
    sends, states = ask(core, "r1")
    assert messages(sends, MsgHeartbeat) == []
    assert states == [ReadState(core.log.committed, "r1")]


def test_followers_ask_the_leader():
    """Forwarded with the asker's name; the answer goes straight to it."""
    cluster = Cluster([make_core(node_id) for node_id in (1, 2, 3)])
    cluster.campaign(1)
    follower = cluster.cores[3]
    follower.step(MsgReadIndex(3, 0, "r1"))
    (send,) = settle(follower)
    assert send.to == 1
    lead = cluster.cores[1]
    lead.step(send.message)
    settle(lead)
    lead.step(MsgHeartbeatResp(2, lead.term, "r1"))
    (answer,) = settle(lead)
    assert (answer.to, type(answer.message)) == (3, MsgReadIndexResp)
    follower.step(answer.message)
    assert follower.read_states == [ReadState(1, "r1")]


def test_without_a_leader_a_read_is_lost():
    """The reader asks again."""
    core = make_core()
    assert ask(core, "r1") == ([], [])


def test_a_deposed_leader_forgets_its_reads():
    """A late answer must not confirm it."""
    core = committed_leader()
    ask(core, "r1")
    term = core.term
    core.become_follower(term, 0)
    core.step(MsgHeartbeatResp(2, term, "r1"))
    assert core.read_states == []
    elect(core)
    core.tick()
    assert {message.context for message in messages(settle(core), MsgHeartbeat)} == {None}
