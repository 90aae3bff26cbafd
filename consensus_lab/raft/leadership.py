"""Handing leadership over on purpose, and forgetting who leads.

Theory of operation (thesis §3.10; etcd-io/raft `raft.go`).  To hand over, the leader stops taking
proposals, brings the chosen server's log up to its own, and tells it to campaign at once.  That
election passes over leases and pre-vote, for the old leader itself wants it.  If it takes longer
than an election timeout the leader carries on.

A server that is told to forget its leader may vote again before the lease has run out: an
operator who knows that the leader is dead saves the wait.  With lease-based reads that would be
unsafe and is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from consensus_lab.node import NodeId
from consensus_lab.raft.config import ReadMode
from consensus_lab.raft.election import Campaign, start
from consensus_lab.raft.entries import NONE
from consensus_lab.raft.messages import MsgForgetLeader, MsgTimeoutNow, MsgTransferLeader
from consensus_lab.raft.progress import Progress
from consensus_lab.raft.sending import maybe_send_append

if TYPE_CHECKING:
    from consensus_lab.raft.core import RaftCore


def transfer(core: RaftCore, message: MsgTransferLeader) -> None:
    """The leader begins to hand over to `transferee`."""
    transferee = message.transferee
    member = core.progress.get(transferee)
    if member is None or member.is_learner or core.lead_transferee == transferee:
        return
    core.lead_transferee = NONE
    if transferee == core.node_id:
        return
    core.election_elapsed = 0  # It has one election timeout from now on.
    core.lead_transferee = transferee
    if member.match == core.log.last_index:
        core.send(transferee, MsgTimeoutNow(core.node_id, core.term))
    else:
        maybe_send_append(core, transferee, member, if_empty=True)


def maybe_finish_transfer(core: RaftCore, sender: NodeId, member: Progress) -> None:
    """Tell the chosen server to campaign, now that its log is as long as the leader's."""
    if sender == core.lead_transferee and member.match == core.log.last_index:
        core.send(sender, MsgTimeoutNow(core.node_id, core.term))


def forward_transfer(core: RaftCore, message: MsgTransferLeader) -> None:
    """A follower passes the request on to the leader."""
    if core.lead != NONE:
        core.send(core.lead, message._replace(term=core.term))


def timeout_now(core: RaftCore, message: MsgTimeoutNow) -> None:
    """The leader wants this server to take over."""
    del message
    start(core, Campaign.TRANSFER)


def forget_leader(core: RaftCore, message: MsgForgetLeader) -> None:
    """Forget who leads."""
    del message
    if core.config.read_mode is not ReadMode.LEASE and core.lead != NONE:
        core.lead = NONE
        core.has_changed = True


FOLLOWER = (
    (MsgTransferLeader, forward_transfer),
    (MsgTimeoutNow, timeout_now),
    (MsgForgetLeader, forget_leader),
)
LEADER = ((MsgTransferLeader, transfer),)
