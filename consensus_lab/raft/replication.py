"""Replication: answers to appends, heartbeats, and the follower's side.

Theory of operation (Raft §5.3; etcd-io/raft `raft.go`).  An append names the entry that it
follows; a follower that does not hold that entry refuses and says where the logs may still match,
so that the leader skips whole terms instead of single entries (Raft §5.3, end).  A follower
answers once the entries are on its disk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from consensus_lab.node import Send
from consensus_lab.raft import read_index
from consensus_lab.raft.entries import NONE
from consensus_lab.raft.leadership import maybe_finish_transfer
from consensus_lab.raft.messages import (
    MsgApp,
    MsgAppResp,
    MsgBeat,
    MsgCheckQuorum,
    MsgHeartbeat,
    MsgHeartbeatResp,
    MsgProp,
    MsgUnreachable,
    ProposalDropped,
)
from consensus_lab.raft.progress import PROBE, REPLICATE, Progress
from consensus_lab.raft.quorum import WON, joint_vote
from consensus_lab.raft.sending import (
    broadcast_append,
    broadcast_heartbeat,
    maybe_commit,
    maybe_send_append,
)

if TYPE_CHECKING:
    from consensus_lab.raft.core import RaftCore

# The leader's side.


def beat(core: RaftCore, message: MsgBeat) -> None:
    """The heartbeat interval has passed."""
    del message
    broadcast_heartbeat(core, core.read_only.last_context())


def check_quorum(core: RaftCore, message: MsgCheckQuorum) -> None:
    """Step down unless a quorum was heard from since the last check (thesis §6.2)."""
    del message
    active = {
        node_id: member.is_recent_active
        for node_id, member in core.progress.items()
        if not member.is_learner
    }
    configuration = core.configuration
    result = joint_vote(configuration.voters, configuration.outgoing, active)
    if result is not WON:
        core.become_follower(core.term, NONE)
    for _, member in core.peers:
        member.is_recent_active = False


def append_response(core: RaftCore, message: MsgAppResp) -> None:
    """A follower, or the leader's own disk, has answered an append."""
    sender = message.sender
    member = core.progress.get(sender)
    if member is None:
        return
    member.is_recent_active = True
    if message.reject:
        _rejected(core, message, member)
        return
    index = message.index
    # An answer that says nothing new still ends probing, for it proves that the logs match.
    if not member.maybe_update(index) and not (
        member.match == index and member.state is PROBE
    ):
        return
    _acknowledged(core, member, index)
    # An acknowledgement of what is committed already cannot move the quorum's index.
    if index > core.log.committed and maybe_commit(core):
        read_index.release_pending(core)
        broadcast_append(core)
    elif sender != core.node_id and member.can_bump_commit(core.log.committed):
        maybe_send_append(core, sender, member, if_empty=True)
    if sender != core.node_id:
        # The window may have opened for several messages.
        while member.next <= core.log.last_index and maybe_send_append(
            core, sender, member, if_empty=False
        ):
            pass
    maybe_finish_transfer(core, sender, member)


def _acknowledged(core: RaftCore, member: Progress, index: int) -> None:
    """Move a follower's state along with what it has acknowledged."""
    if member.state is REPLICATE:
        member.inflights.free_to(index)
    elif member.state is PROBE:
        member.become_replicate()
    elif member.match + 1 >= core.log.first_index:
        # Whatever snapshot it took, and from whom, the log now connects to it.
        member.become_probe()
        member.become_replicate()


def _rejected(core: RaftCore, message: MsgAppResp, member: Progress) -> None:
    """Probe further back: at the last entry of ours whose term the follower may also hold.

    The follower said that its log has `log_term` at `reject_hint`.  Terms only grow along a log,
    so none of our entries of a higher term up to there can match.
    """
    probe = message.reject_hint
    if message.log_term > 0:
        probe, _ = core.log.find_conflict_by_term(message.reject_hint, message.log_term)
    if member.maybe_decrease_to(message.index, probe):
        if member.state is REPLICATE:
            member.become_probe()
        maybe_send_append(core, message.sender, member, if_empty=True)


def heartbeat_response(core: RaftCore, message: MsgHeartbeatResp) -> None:
    """A follower is there: let one append through, and count its answer for reads."""
    member = core.progress.get(message.sender)
    if member is None:
        return
    member.is_recent_active = True
    member.is_flow_paused = False
    if member.match < core.log.last_index or member.state is PROBE:
        maybe_send_append(core, message.sender, member, if_empty=True)
    if message.context is not None:
        read_index.acknowledge(core, message.sender, message.context)


def unreachable(core: RaftCore, message: MsgUnreachable) -> None:
    """What was sent ahead to that follower is probably lost: probe again."""
    member = core.progress.get(message.sender)
    if member is not None and member.state is REPLICATE:
        member.become_probe()


# The follower's side.


def append(core: RaftCore, message: MsgApp) -> None:
    """Take the leader's entries, or say where the logs may match (Raft Fig. 2, AppendEntries)."""
    core.election_elapsed = 0
    core.lead = message.sender
    log = core.log
    own, term, sender = core.node_id, core.term, message.sender
    if message.index < log.committed:
        core.send_after_append(sender, MsgAppResp(own, term, log.committed))
        return
    last = log.maybe_append(message.index, message.log_term, message.commit, message.entries)
    if last is not None:
        core.send_after_append(sender, MsgAppResp(own, term, last))
        return
    # All of the leader's log up to there has terms of at most `log_term`; skip what is higher.
    hint = min(message.index, log.last_index)
    hint, hint_term = log.find_conflict_by_term(hint, message.log_term)
    core.send_after_append(sender, MsgAppResp(own, term, message.index, True, hint, hint_term))


def heartbeat(core: RaftCore, message: MsgHeartbeat) -> None:
    """The leader is there; take its commit index and answer."""
    core.election_elapsed = 0
    if core.lead != message.sender:
        core.lead = message.sender
        core.has_changed = True
    if core.log.commit_to(message.commit):
        core.has_changed = True
    core.messages.append(
        Send(message.sender, MsgHeartbeatResp(core.node_id, core.term, message.context))
    )


def forward(core: RaftCore, message: MsgProp) -> None:
    """A follower hands a proposal on to the leader."""
    if core.lead == NONE:
        raise ProposalDropped("no leader")
    if not core.config.forwards_proposals:
        raise ProposalDropped("not forwarding")
    core.send(core.lead, message)


def drop(core: RaftCore, message: MsgProp) -> None:
    """A candidate knows no leader."""
    raise ProposalDropped(f"no leader, {len(message.entries)} entries, term {core.term}")


def append_as_candidate(core: RaftCore, message: MsgApp) -> None:
    """Another server leads this term: follow it (Raft §5.2)."""
    core.become_follower(message.term, message.sender)
    append(core, message)


def heartbeat_as_candidate(core: RaftCore, message: MsgHeartbeat) -> None:
    """Another server leads this term: follow it (Raft §5.2)."""
    core.become_follower(message.term, message.sender)
    heartbeat(core, message)


FOLLOWER = ((MsgApp, append), (MsgHeartbeat, heartbeat), (MsgProp, forward))
CANDIDATE = (
    (MsgApp, append_as_candidate),
    (MsgHeartbeat, heartbeat_as_candidate),
    (MsgProp, drop),
)
LEADER = (
    (MsgAppResp, append_response),
    (MsgHeartbeatResp, heartbeat_response),
    (MsgBeat, beat),
    (MsgCheckQuorum, check_quorum),
    (MsgUnreachable, unreachable),
)
