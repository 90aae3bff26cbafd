"""Snapshots: for followers whose next entries are compacted (Raft §7).

Theory of operation (etcd-io/raft `raft.go`, maybeSendSnapshot, restore).  A leader that no longer
has the entries a follower needs sends its latest snapshot instead, and nothing else until the
follower acknowledges an index that connects to the log, or the transport reports how the
snapshot fared.  A follower takes a snapshot that is ahead of its commit index; if its log holds
the snapshot's last entry, the log is right so far and only the commit index moves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from consensus_lab.node import NodeId
from consensus_lab.raft.entries import Snapshot
from consensus_lab.raft.membership import Configuration, Membership, restore
from consensus_lab.raft.messages import MsgAppResp, MsgSnap, MsgSnapStatus, Role
from consensus_lab.raft.progress import SNAPSHOT, Progress

if TYPE_CHECKING:
    from consensus_lab.raft.core import RaftCore


def maybe_send_snapshot(core: RaftCore, to: NodeId, member: Progress) -> bool:
    """Send the latest snapshot to a follower that is there; False when it was not sent."""
    if not member.is_recent_active:
        return False
    snapshot = core.log.snapshot or core.latest_snapshot()
    if snapshot is None:
        return False
    member.become_snapshot(snapshot.index)
    core.send(to, MsgSnap(core.node_id, core.term, snapshot))
    return True


def status(core: RaftCore, message: MsgSnapStatus) -> None:
    """The transport says how a snapshot fared; in either case the next append waits a little."""
    member = core.progress.get(message.sender)
    if member is None or member.state is not SNAPSHOT:
        return
    if message.reject:
        member.pending_snapshot = 0  # Or probing would begin behind a snapshot that never came.
    member.become_probe()
    member.is_flow_paused = True


def snapshot(core: RaftCore, message: MsgSnap) -> None:
    """A follower takes the leader's snapshot, or says how far it already is."""
    core.election_elapsed = 0
    core.lead = message.sender
    restored = _restore(core, message.snapshot)
    index = core.log.last_index if restored else core.log.committed
    core.send_after_append(message.sender, MsgAppResp(core.node_id, core.term, index))


def snapshot_as_candidate(core: RaftCore, message: MsgSnap) -> None:
    """Another server leads this term: follow it (Raft §5.2)."""
    core.become_follower(message.term, message.sender)
    snapshot(core, message)


def _restore(core: RaftCore, new: Snapshot) -> bool:
    """Replace log and membership by the snapshot; False when it is not needed or not for us."""
    log = core.log
    if new.index <= log.committed:
        return False
    assert core.role is Role.FOLLOWER
    state = new.conf_state
    if core.node_id not in {*state.voters, *state.learners, *state.voters_outgoing}:
        return False
    if log.matches(new.index, new.term):
        log.commit_to(new.index)
        core.has_changed = True
        return False
    log.restore(new)
    core.set_membership(restore(state, core.changer(Membership(Configuration(), {}))))
    core.has_changed = True
    return True


FOLLOWER = ((MsgSnap, snapshot),)
CANDIDATE = ((MsgSnap, snapshot_as_candidate),)
LEADER = ((MsgSnapStatus, status),)
