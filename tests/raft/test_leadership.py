"""Leadership: transfer, quorum, leases, votes, membership changes; beyond etcd's scenarios."""

import pytest

from consensus_lab.node import Send
from consensus_lab.raft.entries import (
    ConfChange,
    ConfChangeSingle,
    ConfChangeType,
    ConfState,
    Entry,
    EntryType,
    Snapshot,
    proposed,
)
from consensus_lab.raft.log import RaftLog
from consensus_lab.raft.messages import (
    LOCAL_APPEND_THREAD,
    MsgApp,
    MsgAppResp,
    MsgHeartbeat,
    MsgHeartbeatResp,
    MsgHup,
    MsgPreVote,
    MsgProp,
    MsgSnap,
    MsgStorageAppendResp,
    MsgTimeoutNow,
    MsgTransferLeader,
    MsgVote,
    ProposalDropped,
    Role,
)
from consensus_lab.raft.reconfiguration import apply_change
from tests.raft.helpers import (
    Cluster,
    elect,
    entries_of,
    make_core,
    messages,
    propose,
    settle,
    terms_of,
)


def replicating_leader(**changes):
    """A leader that knows that both followers match."""
    core = make_core(**changes)
    elect(core)
    for follower in (2, 3):
        core.step(MsgAppResp(follower, core.term, core.log.last_index))
    settle(core)
    return core


def three(**changes):
    """Three connected servers, 1 leading."""
    cluster = Cluster([make_core(node_id, seed=node_id, **changes) for node_id in (1, 2, 3)])
    cluster.campaign(1)
    assert cluster.cores[1].is_leader
    return cluster


@pytest.mark.parametrize("by", [1, 2, 3])
def test_leadership_is_handed_over(by):
    """Whoever is asked passes it on; the lease of check-quorum does not stand in the way."""
    cluster = three(check_quorum=True, pre_vote=True)
    cluster.cores[by].step(MsgTransferLeader(by, 0, 3))
    cluster.run()
    assert [core.lead for core in cluster.cores.values()] == [3, 3, 3]


def test_a_transferee_that_is_behind_is_brought_up_first():
    """It is told to campaign when its log is as long as the leader's."""
    cluster = three()
    cluster.isolate(3)
    propose(cluster.cores[1], "a")
    cluster.run()
    cluster.heal()
    lead = cluster.cores[1]
    lead.step(MsgTransferLeader(1, 0, 3))
    with pytest.raises(ProposalDropped, match="handed"):
        propose(lead, "b")
    # What went out ahead was lost; a heartbeat's answer lets the leader find that out.
    cluster.tick(1)
    assert cluster.cores[3].is_leader
    assert terms_of(cluster.cores[3]) == [1, 1, 2]


def test_a_transfer_that_takes_too_long_is_given_up():
    """After an election timeout the leader takes proposals again."""
    cluster = three()
    cluster.isolate(3)
    lead = cluster.cores[1]
    lead.step(MsgTransferLeader(1, 0, 3))
    for _ in range(lead.config.election_tick):
        cluster.tick(1)
    propose(lead, "b")


def test_a_transfer_has_a_whole_election_timeout():
    """Counted from its beginning, wherever the leader's own count stood."""
    core = replicating_leader()
    core.election_elapsed = core.config.election_tick - 1
    core.step(MsgTransferLeader(1, 0, 3))
    core.tick()
    assert core.lead_transferee == 3


def test_a_transfer_to_a_removed_server_is_given_up():
    """It could never succeed."""
    core = replicating_leader()
    propose(core, "a")
    core.step(MsgTransferLeader(1, 0, 3))
    apply_change(core, ConfChange((ConfChangeSingle(ConfChangeType.REMOVE_NODE, 3),)))
    assert core.lead_transferee == 0


def test_a_vote_given_delays_ones_own_election():
    """A pre-vote does not: nothing was promised."""
    core = make_core(term=1)
    core.election_elapsed = 5
    core.step(MsgPreVote(2, 2, 0, 0))
    assert core.election_elapsed == 5
    core.step(MsgVote(2, 1, 0, 0))
    assert core.election_elapsed == 0


@pytest.mark.parametrize("switch", ["pre_vote", "check_quorum"])
def test_a_server_with_a_higher_term_answers_the_old_leader(switch):
    """Or it could neither win nor follow: with either switch its own requests are ignored."""
    core = make_core(term=5, **{switch: True})
    core.step(MsgHeartbeat(2, 3, 0))
    assert settle(core) == [Send(2, MsgAppResp(1, 5))]
    silent = make_core(term=5)
    silent.step(MsgHeartbeat(2, 3, 0))
    assert settle(silent) == []


def membership_change(letter_type, node_id):
    """A proposal to change one member."""
    change = ConfChange((ConfChangeSingle(letter_type, node_id),))
    return MsgProp(1, 0, (proposed(change, EntryType.CONF_CHANGE_V2),))


def test_one_membership_change_at_a_time():
    """Until it is applied, not only committed; a new leader waits for all that it inherited."""
    core = make_core(terms=[1], term=1)
    elect(core)
    core.step(membership_change(ConfChangeType.ADD_NODE, 4))
    assert "unapplied conf change at index 1 " in core.refused.pop()[2]
    for follower in (2, 3):
        core.step(MsgAppResp(follower, core.term, core.log.last_index))
    settle(core)
    core.step(membership_change(ConfChangeType.ADD_NODE, 4))
    settle(core)
    last = core.log.last_index
    core.step(MsgAppResp(2, core.term, last))
    assert core.log.committed == last
    core.step(membership_change(ConfChangeType.ADD_NODE, 5))
    assert f"unapplied conf change at index {last} " in core.refused.pop()[2]


def test_no_campaign_before_a_committed_change_is_applied():
    """The votes of a membership that is no longer in force would be counted."""
    core = make_core(2, term=1)
    change = ConfChange((ConfChangeSingle(ConfChangeType.ADD_NODE, 4),))
    entry = Entry(1, 1, change, EntryType.CONF_CHANGE_V2)
    core.step(MsgApp(1, 1, 0, 0, 1, (entry,)))
    core.step(MsgHup())
    assert core.role is Role.FOLLOWER
    core.log.applied_to(1)
    core.step(MsgHup())
    assert core.role is Role.CANDIDATE


def test_an_answer_of_the_disk_from_an_older_term_proves_nothing_of_entries():
    """A snapshot that it names is applied all the same (the ABA race)."""
    core = make_core(2, term=2)
    core.step(MsgSnap(1, 2, Snapshot(5, 1, ConfState((1, 2, 3)))))
    core.step(MsgApp(1, 2, 1, 5, 5, entries_of([2], first=6)))
    core.log.hand_out()
    late = MsgStorageAppendResp(LOCAL_APPEND_THREAD, 1, 2, 6, Snapshot(5, 1))
    core.step(late)
    assert (core.log.snapshot, core.log.applied, core.log.stable) == (None, 5, 5)
    core.step(late._replace(term=2, snapshot=None))
    assert core.log.stable == 6


def test_a_learner_does_not_become_leader():
    """Neither by transfer nor by itself."""
    core = make_core(voters=(1, 2), learners=(3,))
    elect(core)
    core.step(MsgAppResp(3, core.term, core.log.last_index))
    core.step(MsgTransferLeader(1, 0, 3))
    assert messages(settle(core), MsgTimeoutNow) == []
    learner = make_core(3, voters=(1, 2), learners=(3,))
    for _ in range(50):
        learner.tick()
    learner.step(MsgTimeoutNow(1, 0))
    assert learner.role is Role.FOLLOWER


def test_a_leader_without_a_quorum_steps_down():
    """Thesis §6.2; without the switch it leads on, alone."""
    for check_quorum, role in ((True, Role.FOLLOWER), (False, Role.LEADER)):
        cluster = three(check_quorum=check_quorum)
        cluster.isolate(1)
        cluster.tick(1, 2 * cluster.cores[1].config.election_tick)
        assert cluster.cores[1].role is role


@pytest.mark.parametrize("kind", [MsgVote, MsgPreVote])
def test_who_hears_a_leader_ignores_candidates(kind):
    """Until the least election timeout has passed, unless the leader itself wants the election
    (thesis §4.2.3).
    """
    core = make_core(check_quorum=True, term=1)
    core.step(MsgHeartbeat(2, 1, 0))
    settle(core)
    core.step(kind(3, 5, 9, 9))
    assert (settle(core), core.term) == ([], 1)
    for _ in range(core.config.election_tick):
        core.election_elapsed += 1
    core.step(kind(3, 5, 9, 9))
    assert len(settle(core)) == 1


def test_a_partitioned_server_does_not_disrupt_with_pre_vote():
    """It cannot win, so its term stays, and those who hear the leader refuse it when it is back;
    without the switches its higher term deposes the leader (thesis §9.6).
    """
    for pre_vote in (True, False):
        cluster = three(pre_vote=pre_vote, check_quorum=pre_vote)
        lost = cluster.cores[3]
        cluster.isolate(3)
        cluster.tick(3, 60)
        assert (lost.term == 1) is pre_vote
        cluster.heal()
        cluster.tick(3, 30)
        assert cluster.cores[1].is_leader is pre_vote


def test_only_messages_of_the_role_are_taken():
    """Answers that come after the role has changed change nothing."""
    core = make_core(term=2)
    core.step(MsgAppResp(2, 2, 1))
    core.step(MsgHeartbeatResp(2, 2))
    assert settle(core) == []
    assert core.role is Role.FOLLOWER


def test_a_follower_may_refuse_to_forward():
    """A proposal that must be made at the leader is dropped elsewhere."""
    core = make_core(forwards_proposals=False, term=1)
    core.step(MsgHeartbeat(2, 1, 0))
    with pytest.raises(ProposalDropped, match="not forwarding"):
        propose(core, "a")


def test_a_log_that_begins_after_a_snapshot_restarts_there():
    """Commit and applied begin at the base."""
    log = RaftLog(base_index=7, base_term=3)
    assert (log.committed, log.applied, log.last_index, log.last_term) == (7, 7, 7, 3)
