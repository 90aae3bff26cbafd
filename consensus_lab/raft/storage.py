"""What comes back from the disk and from the state machine.

Theory of operation (etcd-io/raft `rawnode.go`, newStorageAppendRespMsg).  Writes may be under way
while the core works on.  An answer from the disk names the last entry of the log at the time of
the write, and carries the term at that time.  If the term has changed since, entries may have been
replaced and replaced back while several writes were queued (the ABA race), so the answer is not
taken as proof that the present entries are on disk; a later answer will be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from consensus_lab.raft.entries import entries_size, payloads_size
from consensus_lab.raft.messages import MsgStorageAppendResp, MsgStorageApplyResp
from consensus_lab.raft.reconfiguration import applied_to

if TYPE_CHECKING:
    from consensus_lab.raft.core import RaftCore


def appended(core: RaftCore, message: MsgStorageAppendResp) -> None:
    """Entries, and perhaps a snapshot, are on disk; a snapshot on disk is also applied."""
    if message.index:
        core.log.stable_to(message.index, message.log_term)
        core.has_changed = True  # With asynchronous storage more may be applied now.
    if message.snapshot is not None:
        core.log.stable_snapshot_to(message.snapshot.index)
        applied_to(core, message.snapshot.index)
        core.has_changed = True


def applied(core: RaftCore, message: MsgStorageApplyResp) -> None:
    """The state machine has applied those entries."""
    entries = message.entries
    if not entries:
        return
    applied_to(core, entries[-1].index, entries_size(entries))
    reduce_uncommitted(core, payloads_size(entries))
    core.has_changed = True


def reduce_uncommitted(core: RaftCore, size_bytes: int) -> None:
    """Content that is applied no longer counts as uncommitted; the count is an estimate."""
    core.uncommitted_bytes = max(0, core.uncommitted_bytes - size_bytes)


ANY_ROLE = ((MsgStorageAppendResp, appended), (MsgStorageApplyResp, applied))
