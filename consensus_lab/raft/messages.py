"""What Raft servers say to each other, in etcd's vocabulary.

Rules of this file: plain values only.  Every message is a NamedTuple that begins with `sender`
and `term`; whom it goes to stands in the `Send` effect that carries it.  A term of 0 marks a
message that belongs to no term: a local one, or a proposal or read on its way to the leader
(etcd-io/raft `raft.go`, func `send`).
"""

from __future__ import annotations

from collections.abc import Hashable
from enum import Enum
from typing import Any, NamedTuple

from consensus_lab.node import CONTROL_SIZE_BYTES, NodeId, ProtocolViolation
from consensus_lab.raft.entries import NONE, Entries, HardState, Snapshot, entries_size

LOCAL_APPEND_THREAD: NodeId = (1 << 64) - 1
"""Stands for the thread that writes the log to disk, as sender or receiver."""

LOCAL_APPLY_THREAD: NodeId = (1 << 64) - 2
"""Stands for the thread that applies committed entries, as sender or receiver."""


class Role(Enum):
    """What a server is at the moment (Raft §5.1; the pre-candidate is from thesis §9.6)."""

    FOLLOWER = "StateFollower"
    PRE_CANDIDATE = "StatePreCandidate"
    CANDIDATE = "StateCandidate"
    LEADER = "StateLeader"


# Members under names of their own: Python 3.11 is slow to find one in its class.
FOLLOWER, PRE_CANDIDATE, CANDIDATE, LEADER = Role


class SoftState(NamedTuple):
    """What is useful to know but never on disk."""

    lead: NodeId
    role: Role


# Messages between servers.


class MsgProp(NamedTuple):
    """Please append these entries: from a client by way of `sender` to the leader."""

    sender: NodeId
    term: int
    entries: Entries

    @property
    def size_bytes(self) -> int:
        """Bytes on the wire."""
        return CONTROL_SIZE_BYTES + entries_size(self.entries)


class MsgPropRefused(NamedTuple):
    """The leader put an empty entry in place of a membership change, and why.

    etcd has no such message: there the client waits until it gives up.
    """

    sender: NodeId
    term: int
    request_id: Hashable
    reason: str


class MsgApp(NamedTuple):
    """AppendEntries: `entries` follow the one at (`log_term`, `index`) (Raft §5.3)."""

    sender: NodeId
    term: int
    log_term: int
    index: int  # type: ignore[assignment]  # Hides tuple.index.
    commit: int
    entries: Entries = ()

    @property
    def size_bytes(self) -> int:
        """Bytes on the wire."""
        return CONTROL_SIZE_BYTES + entries_size(self.entries)


class MsgAppResp(NamedTuple):
    """Everything up to `index` matches; or, rejected, try after (`log_term`, `reject_hint`)."""

    sender: NodeId
    term: int
    index: int = 0  # type: ignore[assignment]  # Hides tuple.index.
    reject: bool = False
    reject_hint: int = 0
    log_term: int = 0


class MsgVote(NamedTuple):
    """RequestVote: my log ends at (`log_term`, `index`) (Raft §5.4.1)."""

    sender: NodeId
    term: int
    log_term: int
    index: int  # type: ignore[assignment]  # Hides tuple.index.
    is_transfer: bool = False


class MsgVoteResp(NamedTuple):
    """A vote granted, or refused."""

    sender: NodeId
    term: int
    reject: bool = False


class MsgPreVote(NamedTuple):
    """Would you vote for me in `term`, if I asked?  (thesis §9.6)"""

    sender: NodeId
    term: int
    log_term: int
    index: int  # type: ignore[assignment]  # Hides tuple.index.
    is_transfer: bool = False


class MsgPreVoteResp(NamedTuple):
    """Yes, or no; a yes carries the term that was asked about, a no the voter's own."""

    sender: NodeId
    term: int
    reject: bool = False


class MsgHeartbeat(NamedTuple):
    """I am the leader; `commit` is not beyond what you are known to hold (Raft §5.2)."""

    sender: NodeId
    term: int
    commit: int
    context: Hashable = None


class MsgHeartbeatResp(NamedTuple):
    """I follow you; `context` is returned, it confirms reads."""

    sender: NodeId
    term: int
    context: Hashable = None


class MsgSnap(NamedTuple):
    """Here is a snapshot, for the entries that you need are compacted (Raft §7)."""

    sender: NodeId
    term: int
    snapshot: Snapshot

    @property
    def size_bytes(self) -> int:
        """Bytes on the wire."""
        return CONTROL_SIZE_BYTES + self.snapshot.size_bytes


class MsgTimeoutNow(NamedTuple):
    """Start an election at once: you are to take over (thesis §3.10)."""

    sender: NodeId
    term: int


class MsgTransferLeader(NamedTuple):
    """Hand leadership to `transferee`; a follower passes it on to the leader."""

    sender: NodeId
    term: int
    transferee: NodeId


class MsgReadIndex(NamedTuple):
    """Up to where must a read have applied that is to see everything so far?  (thesis §6.4)"""

    sender: NodeId
    term: int
    context: Hashable


class MsgReadIndexResp(NamedTuple):
    """A read with that context may be served once `index` is applied."""

    sender: NodeId
    term: int
    index: int  # type: ignore[assignment]  # Hides tuple.index.
    context: Hashable


# Messages that never cross the network.


class MsgHup(NamedTuple):
    """The election timeout has passed, or someone asks this node to campaign."""

    sender: NodeId = NONE
    term: int = 0


class MsgBeat(NamedTuple):
    """The leader's heartbeat interval has passed."""

    sender: NodeId = NONE
    term: int = 0


class MsgCheckQuorum(NamedTuple):
    """Has a quorum been heard within the last election timeout?"""

    sender: NodeId = NONE
    term: int = 0


class MsgUnreachable(NamedTuple):
    """The transport could not deliver to `sender`."""

    sender: NodeId
    term: int = 0


class MsgSnapStatus(NamedTuple):
    """The snapshot sent to `sender` has arrived, or (reject) has not."""

    sender: NodeId
    term: int = 0
    reject: bool = False


class MsgForgetLeader(NamedTuple):
    """Forget who leads, so that this node may vote before the lease has run out."""

    sender: NodeId = NONE
    term: int = 0


class MsgStorageAppend(NamedTuple):
    """To the append thread: write these, then deliver `responses` (asynchronous storage)."""

    sender: NodeId
    term: int
    hard_state: HardState
    entries: Entries
    snapshot: Snapshot | None
    responses: tuple[Any, ...]  # Send effects, to peers and to this node itself.


class MsgStorageAppendResp(NamedTuple):
    """From the append thread: entries up to (`log_term`, `index`) and the snapshot are on disk."""

    sender: NodeId
    term: int
    log_term: int = 0
    index: int = 0  # type: ignore[assignment]  # Hides tuple.index.
    snapshot: Snapshot | None = None


class MsgStorageApply(NamedTuple):
    """To the apply thread: apply these committed entries, then deliver `responses`."""

    sender: NodeId
    term: int
    entries: Entries
    responses: tuple[Any, ...]


class MsgStorageApplyResp(NamedTuple):
    """From the apply thread: these entries are applied."""

    sender: NodeId
    term: int
    entries: Entries


class ReadState(NamedTuple):
    """The read with that context may be served once `index` is applied."""

    index: int  # type: ignore[assignment]  # Hides tuple.index.
    context: Hashable


class ProposalDropped(ProtocolViolation):
    """A proposal could not be taken: no leader, a transfer under way, a limit reached."""

    def __init__(self, detail: str = "") -> None:
        super().__init__("raft proposal dropped", detail)


LOCAL_TYPES = frozenset({
    MsgHup, MsgBeat, MsgCheckQuorum, MsgUnreachable, MsgSnapStatus, MsgStorageAppend,
    MsgStorageAppendResp, MsgStorageApply, MsgStorageApplyResp,
})  # fmt: skip
"""Not accepted from the network (etcd-io/raft `util.go`)."""

RESPONSE_TYPES = frozenset({
    MsgAppResp, MsgVoteResp, MsgPreVoteResp, MsgHeartbeatResp, MsgUnreachable, MsgReadIndexResp,
    MsgStorageAppendResp, MsgStorageApplyResp,
})  # fmt: skip
"""Accepted only from a known member (etcd-io/raft `rawnode.go`, func `Step`)."""
