"""What a leader appends, sends and commits.

Theory of operation (Raft §5.3, §5.4.2; thesis §10.2.1; etcd-io/raft `raft.go`).  The leader takes
a proposal into its own log and sends it to all at once; it does not wait for its own disk, which
is one vote among the others.  What a majority has on disk is committed, if it is of the leader's
own term (§5.4.2).

A follower that keeps up is sent to ahead of its answers, within a window.  When the window is
full, empty appends still go out once per heartbeat: if everything under way was lost, one of them
will find that out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from consensus_lab.node import NodeId, Send
from consensus_lab.raft.entries import Entries, payloads_size
from consensus_lab.raft.messages import MsgApp, MsgAppResp, MsgHeartbeat
from consensus_lab.raft.progress import REPLICATE, SNAPSHOT, Progress
from consensus_lab.raft.quorum import joint_committed
from consensus_lab.raft.snapshots import maybe_send_snapshot

if TYPE_CHECKING:
    from consensus_lab.raft.core import RaftCore


def append_as_leader(core: RaftCore, entries: Entries) -> bool:
    """Take proposals into the leader's log; False when too much is uncommitted already.

    The leader acknowledges them to itself once they are on its disk.
    """
    if not _reserve(core, payloads_size(entries)):
        return False
    term, index = core.term, core.log.last_index + 1
    last = core.log.append(
        tuple([
            entry.taken(term, index + offset) for offset, entry in enumerate(entries)
        ])
    )  # fmt: skip
    core.send_after_append(core.node_id, MsgAppResp(core.node_id, term, last))
    return True


def _reserve(core: RaftCore, size_bytes: int) -> bool:
    """Count proposed content; the first of it and anything empty is taken whatever its size."""
    limit = core.config.uncommitted_size_bytes_max
    if limit is not None:
        total = core.uncommitted_bytes + size_bytes
        if core.uncommitted_bytes > 0 and size_bytes > 0 and total > limit:
            return False
        core.uncommitted_bytes = total
    return True


def maybe_send_append(core: RaftCore, to: NodeId, member: Progress, *, if_empty: bool) -> bool:
    """Send a follower what comes next, or a snapshot; False when nothing was sent.

    Parameters
    ----------
    if_empty : bool
        Send also when there is no entry to send: it carries the commit index.
    """
    if member.is_flow_paused or member.state is SNAPSHOT:
        return False
    log = core.log
    previous = member.next - 1
    log_term = log.term(previous)
    if log_term is None:
        return maybe_send_snapshot(core, to, member)
    entries: Entries = ()
    if previous < log.last_index and (
        member.state is not REPLICATE or not member.inflights.is_full
    ):
        entries = log.slice(previous + 1, log.last_index + 1, core.config.append_size_bytes_max)
    if not entries and not if_empty:
        return False
    commit = log.committed
    core.messages.append(
        Send(to, MsgApp(core.node_id, core.term, log_term, previous, commit, entries))
    )
    if entries:
        member.sent_entries(len(entries), payloads_size(entries))
    else:
        member.sent_probe()
    member.sent_commit = commit
    return True


def broadcast_append(core: RaftCore) -> None:
    """Send every other member what it lacks, or at least the commit index."""
    for node_id, member in core.peers:
        maybe_send_append(core, node_id, member, if_empty=True)


def broadcast_heartbeat(core: RaftCore, context: object) -> None:
    """Assert leadership; `context` comes back in the answers and confirms reads.

    The commit index goes no further than what the follower is known to hold, for the rest of
    its log may still be replaced.
    """
    own, term, committed = core.node_id, core.term, core.log.committed
    messages = core.messages
    for node_id, member in core.peers:
        commit = member.match if member.match < committed else committed
        messages.append(Send(node_id, MsgHeartbeat(own, term, commit, context)))
        member.sent_commit = commit


def maybe_commit(core: RaftCore) -> bool:
    """Commit what a quorum holds (Raft §5.3, §5.4.2); True when the commit index moved."""
    configuration = core.configuration
    acked = {node_id: member.match for node_id, member in core.progress.items()}
    index = joint_committed(configuration.voters, configuration.outgoing, acked)
    if core.log.maybe_commit(index, core.term):
        core.has_changed = True
        return True
    return False
