"""Elections: terms, votes, and the question before the question.

Theory of operation (Raft §5.2, §5.4.1; thesis §4.2.3, §9.6; etcd-io/raft `raft.go`, Step).  A
candidate needs the votes of a majority.  A server votes once per term, for a candidate whose log
is at least as up-to-date as its own; so two leaders of one term cannot exist, and a leader holds
every committed entry.

With pre-vote a server first asks whether it *would* be voted for, without raising its term, so
that one which comes back from a partition does not depose a working leader.  With check-quorum a
server that has heard a leader within the election timeout ignores candidates altogether (the
lease), unless the election is a leadership transfer.

Learners vote too, when asked: a learner may have been promoted without having heard of it, and
the candidate that asks knows better.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from consensus_lab.raft.entries import NONE
from consensus_lab.raft.messages import (
    MsgApp,
    MsgAppResp,
    MsgHeartbeat,
    MsgHup,
    MsgPreVote,
    MsgPreVoteResp,
    MsgSnap,
    MsgStorageAppendResp,
    MsgVote,
    MsgVoteResp,
    Role,
)
from consensus_lab.raft.quorum import LOST, WON, VoteResult, joint_vote
from consensus_lab.raft.sending import broadcast_append

if TYPE_CHECKING:
    from consensus_lab.raft.core import RaftCore


class Campaign(Enum):
    """Why and how a server campaigns."""

    PRE_ELECTION = "asks first whether it could win"
    ELECTION = "asks for votes"
    TRANSFER = "asks for votes at the leader's own wish, so leases do not count"


def settle_term(core: RaftCore, message: Any) -> bool:
    """Compare a message's term with ours, where they differ; False when it is dealt with.

    Raft §5.1: a server that sees a higher term adopts it and follows; a message of a lower term
    is refused.
    """
    if message.term > core.term:
        return _settle_higher(core, message)
    _settle_lower(core, message)
    return False


def _settle_higher(core: RaftCore, message: Any) -> bool:
    kind = type(message)
    if kind is MsgVote or kind is MsgPreVote:
        if not message.is_transfer and _is_in_lease(core):
            return False
        if kind is MsgPreVote:
            return True  # A question about a future term does not change ours.
    elif kind is MsgPreVoteResp and not message.reject:
        return True  # Granted for the term that we asked about; it becomes ours if we win.
    is_from_leader = kind is MsgApp or kind is MsgHeartbeat or kind is MsgSnap
    core.become_follower(message.term, message.sender if is_from_leader else NONE)
    return True


def _is_in_lease(core: RaftCore) -> bool:
    """True while a leader was heard within the least election timeout (thesis §4.2.3)."""
    if not core.config.check_quorum or core.lead == NONE:
        return False
    return core.election_elapsed < core.config.election_tick


def _settle_lower(core: RaftCore, message: Any) -> None:
    kind = type(message)
    if kind is MsgHeartbeat or kind is MsgApp:
        # With either switch our own higher term may go unheard, as our requests for votes are
        # ignored; this answer is how the old leader learns of it and we get back into the cluster.
        if core.config.check_quorum or core.config.pre_vote:
            core.send_after_append(message.sender, MsgAppResp(core.node_id, core.term))
    elif kind is MsgPreVote:
        # Or a pre-candidate with an old term would never learn the new one.
        core.send_after_append(message.sender, MsgPreVoteResp(core.node_id, core.term, True))
    elif kind is MsgStorageAppendResp and message.snapshot is not None:
        # Entries written under an older term may have been replaced since; a snapshot holds
        # committed state and is good in any term.
        core.handlers[MsgStorageAppendResp](core, message._replace(index=0, log_term=0))


def hup(core: RaftCore, message: MsgHup) -> None:
    """The election timeout has passed, or someone wants this server to campaign."""
    del message
    start(core, Campaign.PRE_ELECTION if core.config.pre_vote else Campaign.ELECTION)


def start(core: RaftCore, campaign: Campaign) -> None:
    """Campaign, if this server may.

    It may not while a committed membership change is not applied: it would count the votes of
    a membership that is no longer in force.
    """
    if core.role is Role.LEADER or not core.is_promotable:
        return
    if core.log.has_unapplied_conf_change():
        return
    run(core, campaign)


def run(core: RaftCore, campaign: Campaign) -> None:
    """Become a (pre-)candidate and ask every voter; one's own vote counts once it is on disk."""
    log = core.log
    own = core.node_id
    request: Any
    response: Any
    if campaign is Campaign.PRE_ELECTION:
        core.become_pre_candidate()
        term = core.term + 1
        request, response = MsgPreVote, MsgPreVoteResp
    else:
        core.become_candidate()
        term = core.term
        request, response = MsgVote, MsgVoteResp
    is_transfer = campaign is Campaign.TRANSFER
    for voter in core.voters:
        if voter == own:
            core.send_after_append(own, response(own, term))
        else:
            core.send(voter, request(own, term, log.last_term, log.last_index, is_transfer))


def vote(core: RaftCore, message: MsgVote) -> None:
    """Vote for a candidate of this term, or refuse (Raft Fig. 2, RequestVote)."""
    can_vote = core.vote == message.sender or (core.vote == NONE and core.lead == NONE)
    if can_vote and core.log.is_up_to_date(message.index, message.log_term):
        core.send_after_append(message.sender, MsgVoteResp(core.node_id, message.term))
        core.election_elapsed = 0
        core.vote = message.sender
    else:
        core.send_after_append(message.sender, MsgVoteResp(core.node_id, core.term, True))


def pre_vote(core: RaftCore, message: MsgPreVote) -> None:
    """Say whether we would vote for that server in that term; nothing is recorded.

    A yes carries the term that was asked about: the asker would ignore ours if it is lower.
    """
    can_vote = (
        message.term > core.term
        or core.vote == message.sender
        or (core.vote == NONE and core.lead == NONE)
    )
    if can_vote and core.log.is_up_to_date(message.index, message.log_term):
        core.send_after_append(message.sender, MsgPreVoteResp(core.node_id, message.term))
    else:
        core.send_after_append(message.sender, MsgPreVoteResp(core.node_id, core.term, True))


def _count(core: RaftCore, message: MsgVoteResp | MsgPreVoteResp) -> VoteResult:
    core.votes.setdefault(message.sender, not message.reject)
    configuration = core.configuration
    return joint_vote(configuration.voters, configuration.outgoing, core.votes)


def vote_response(core: RaftCore, message: MsgVoteResp) -> None:
    """A candidate counts a vote (Raft §5.2)."""
    result = _count(core, message)
    if result is WON:
        core.become_leader()
        broadcast_append(core)
    elif result is LOST:
        core.become_follower(core.term, NONE)


def pre_vote_response(core: RaftCore, message: MsgPreVoteResp) -> None:
    """A pre-candidate counts an answer; with a majority it begins the real election."""
    result = _count(core, message)
    if result is WON:
        run(core, Campaign.ELECTION)
    elif result is LOST:
        core.become_follower(core.term, NONE)


ANY_ROLE = ((MsgHup, hup), (MsgVote, vote), (MsgPreVote, pre_vote))
PRE_CANDIDATE = ((MsgPreVoteResp, pre_vote_response),)
CANDIDATE = ((MsgVoteResp, vote_response),)
