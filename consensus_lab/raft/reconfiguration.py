"""Changing the membership of a running cluster.

Theory of operation (Raft §6, thesis §4; etcd-io/raft `raft.go`).  A change is an entry like any
other; it takes effect on a server when that server *applies* it (the paper: when it appends it).
That is safe because at most one change is in the log and not applied: a leader refuses a second
one, and puts an empty entry in its place so that the log keeps its shape.

A joint configuration with `auto_leave` is left by the leader itself, by proposing an empty change,
as soon as everything up to the change that entered it is applied.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from consensus_lab.node import NodeId
from consensus_lab.raft import sending
from consensus_lab.raft.entries import (
    NONE,
    NORMAL,
    ConfChange,
    ConfState,
    Entries,
    EntryType,
    conf_change_of,
    proposed,
)
from consensus_lab.raft.messages import MsgProp, ProposalDropped, Role

if TYPE_CHECKING:
    from consensus_lab.raft.core import RaftCore

LEAVE_JOINT = proposed(None, EntryType.CONF_CHANGE_V2)
"""The proposal that ends a joint configuration: without content, so never refused for size."""


def propose(core: RaftCore, message: MsgProp) -> None:
    """The leader takes proposals into its log and sends them out."""
    assert message.entries, "an empty proposal"
    if core.node_id not in core.progress:
        raise ProposalDropped("this leader is no longer a member")
    if core.lead_transferee != NONE:
        raise ProposalDropped(f"leadership is being handed to {core.lead_transferee}")
    entries = message.entries
    for position, entry in enumerate(entries):
        if entry.type is not NORMAL:
            entries = _check_change(core, message.sender, entries, position)
    if not sending.append_as_leader(core, entries):
        raise ProposalDropped("too much is uncommitted")
    sending.broadcast_append(core)


def _check_change(core: RaftCore, origin: NodeId, entries: Entries, position: int) -> Entries:
    """Let a membership change pass, or put an empty entry in its place."""
    entry = entries[position]
    change = conf_change_of(entry)
    failure = ""
    if core.pending_conf_index > core.log.applied:
        failure = (
            f"possible unapplied conf change at index {core.pending_conf_index} "
            f"(applied to {core.log.applied})"
        )
    elif core.configuration.is_joint and change.changes:
        failure = "must transition out of joint config first"
    elif not core.configuration.is_joint and not change.changes:
        failure = "not in joint state; refusing empty conf change"
    if failure and core.config.validates_changes:
        core.refused.append((origin, entry, failure))
        core.has_changed = True
        return (*entries[:position], proposed(None), *entries[position + 1 :])
    core.pending_conf_index = core.log.last_index + position + 1
    return entries


def apply_change(core: RaftCore, change: ConfChange) -> ConfState:
    """Put a committed membership change into force.

    Raises
    ------
    MembershipError
        When it is not possible from the present membership; nothing has changed then.
    """
    membership = core.changer().change(change)
    core.set_membership(membership)
    state = core.configuration.conf_state()
    if core.role is not Role.LEADER:
        return state
    if core.node_id not in core.progress or core.is_learner:
        # Removed or demoted: leads on until the entry is replicated, unless told to step down.
        if core.config.steps_down_on_removal:
            core.become_follower(core.term, NONE)
        return state
    if not state.voters:
        return state
    if sending.maybe_commit(core):
        sending.broadcast_append(core)
    else:
        for node_id, member in core.peers:
            sending.maybe_send_append(core, node_id, member, if_empty=False)
    if core.lead_transferee not in core.voters:
        core.lead_transferee = NONE
    return state


def applied_to(core: RaftCore, index: int, size_bytes: int = 0) -> None:
    """Everything up to that index is applied; leave a joint configuration if it is time."""
    log = core.log
    log.applied_to(max(index, log.applied), size_bytes)
    if not core.configuration.auto_leave or core.role is not Role.LEADER:
        return
    if log.applied >= core.pending_conf_index:
        # Refused while leadership is being handed over: the next leader leaves, or we later.
        with suppress(ProposalDropped):
            core.step(MsgProp(core.node_id, 0, (LEAVE_JOINT,)))


LEADER = ((MsgProp, propose),)
