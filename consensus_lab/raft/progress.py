"""What the leader knows of one follower, and how much it may send.

Theory of operation (etcd-io/raft `tracker/progress.go`; thesis §10.2.1 for the pipeline).  A
follower is in one of three states.  *Probe*: the leader does not know where the logs part; it
sends one append and waits.  *Replicate*: it does know, and sends ahead without waiting, at most a
window of messages and of bytes.  *Snapshot*: the entries that the follower needs are compacted;
nothing is sent until the snapshot has arrived.

`match` is what the follower has acknowledged, `next` what goes out next, so
`0 <= match < next` always.
"""

from __future__ import annotations

from collections import deque
from enum import Enum

from consensus_lab.node import NodeId


class ProgressState(Enum):
    """How the leader talks to a follower; the values are etcd's names."""

    PROBE = "StateProbe"
    REPLICATE = "StateReplicate"
    SNAPSHOT = "StateSnapshot"


# Members under names of their own: Python 3.11 is slow to find one in its class.
PROBE, REPLICATE, SNAPSHOT = ProgressState


class Inflights:
    """The appends that are on their way: a window bounded in messages and in bytes.

    Parameters
    ----------
    messages_max : int
        Window size in messages.
    bytes_max : int or None
        Window size in payload bytes; None is without limit.  One message may exceed it.

    Attributes
    ----------
    is_full : bool
        Nothing more may be sent before an acknowledgement.
    """

    __slots__ = ("bytes", "bytes_max", "is_full", "messages_max", "window")

    def __init__(self, messages_max: int, bytes_max: int | None) -> None:
        self.messages_max = messages_max
        self.bytes_max = bytes_max
        self.bytes = 0
        self.is_full = False
        self.window: deque[tuple[int, int]] = deque()  # (last index, payload bytes)

    def __len__(self) -> int:
        return len(self.window)

    def add(self, last_index: int, payload_bytes: int) -> None:
        """An append whose last entry has that index is on its way."""
        assert not self.is_full, "an append beyond the window"
        self.window.append((last_index, payload_bytes))
        self.bytes += payload_bytes
        self._measure()

    def _measure(self) -> None:
        self.is_full = len(self.window) >= self.messages_max or (
            self.bytes_max is not None and self.bytes >= self.bytes_max
        )

    def free_to(self, index: int) -> None:
        """Everything up to that index has been acknowledged."""
        window = self.window
        while window and window[0][0] <= index:
            self.bytes -= window.popleft()[1]
        if self.is_full:
            self._measure()

    def clear(self) -> None:
        """Forget what is on its way."""
        self.window.clear()
        self.bytes = 0
        self.is_full = False


class Progress:
    """One follower (or the leader itself) in the leader's eyes.

    Attributes
    ----------
    match : int
        Highest index known to be the same in the follower's log.
    next : int
        Index of the next entry to send; those between are on their way.
    sent_commit : int
        Highest commit index that has been sent and not yet been given up as lost.
    pending_snapshot : int
        In state snapshot, the index of the snapshot that was sent; else 0.
    is_recent_active : bool
        Heard from since the last check of the quorum.
    is_flow_paused : bool
        An append is out whose answer must come first; a heartbeat's answer lifts it.
    is_learner : bool
        Receives entries and has no vote.
    """

    __slots__ = (
        "inflights", "is_flow_paused", "is_learner", "is_recent_active", "match", "next",
        "pending_snapshot", "sent_commit", "state",
    )  # fmt: skip

    def __init__(
        self,
        *,
        next_index: int,
        inflights: Inflights,
        match: int = 0,
        is_learner: bool = False,
        is_recent_active: bool = False,
    ) -> None:
        assert match < next_index
        self.match = match
        self.next = next_index
        self.sent_commit = 0
        self.state = PROBE
        self.pending_snapshot = 0
        self.is_recent_active = is_recent_active
        self.is_flow_paused = False
        self.is_learner = is_learner
        self.inflights = inflights

    def copy(self) -> Progress:
        """A copy that shares the window: only `is_learner` is changed on copies."""
        twin = Progress.__new__(Progress)
        for name in Progress.__slots__:
            setattr(twin, name, getattr(self, name))
        return twin

    def _enter(self, state: ProgressState) -> None:
        self.is_flow_paused = False
        self.pending_snapshot = 0
        self.state = state
        self.inflights.clear()

    def become_probe(self) -> None:
        """Find out where the logs part, from the last match or the snapshot just sent."""
        after_snapshot = 0
        if self.state is SNAPSHOT:
            after_snapshot = self.pending_snapshot + 1
        self._enter(PROBE)
        self.next = max(self.match + 1, after_snapshot)
        self.sent_commit = min(self.sent_commit, self.next - 1)

    def become_replicate(self) -> None:
        """Send ahead, from the last match on."""
        self._enter(REPLICATE)
        self.next = self.match + 1

    def become_snapshot(self, snapshot_index: int) -> None:
        """Wait until the snapshot of that index has arrived."""
        self._enter(SNAPSHOT)
        self.pending_snapshot = snapshot_index
        self.next = snapshot_index + 1
        self.sent_commit = snapshot_index

    def sent_entries(self, count: int, payload_bytes: int) -> None:
        """An append with so many entries went out; when probing, its answer must come first."""
        if self.state is REPLICATE:
            self.next += count
            self.inflights.add(self.next - 1, payload_bytes)
            self.is_flow_paused = self.inflights.is_full
        else:
            assert self.state is PROBE
            self.is_flow_paused = True

    def sent_probe(self) -> None:
        """An append without entries went out; through a full window it is a probe."""
        if self.state is REPLICATE:
            self.is_flow_paused = self.inflights.is_full

    def can_bump_commit(self, commit: int) -> bool:
        """True when sending that commit index may move the follower's."""
        sent = self.sent_commit
        return commit > sent and sent < self.next - 1

    def maybe_update(self, index: int) -> bool:
        """Take an acknowledgement up to `index`; False when it says nothing new."""
        if index <= self.match:
            return False
        self.match = index
        if self.next <= index:
            self.next = index + 1
        self.is_flow_paused = False
        return True

    def maybe_decrease_to(self, rejected: int, match_hint: int) -> bool:
        """Take the rejection of an append after `rejected`; False when it is an old one.

        Parameters
        ----------
        rejected : int
            The index after which the refused append stood.
        match_hint : int
            Where the logs may still match, at best.
        """
        if self.state is REPLICATE:
            if rejected <= self.match:
                return False
            self.next = self.match + 1
            self.sent_commit = min(self.sent_commit, self.next - 1)
            return True
        # Probes go one at a time, so the answer to this one names the entry before `next`.
        if self.next - 1 != rejected:
            return False
        self.next = max(min(rejected, match_hint + 1), self.match + 1)
        self.sent_commit = min(self.sent_commit, self.next - 1)
        self.is_flow_paused = False
        return True

    @property
    def is_paused(self) -> bool:
        """True when no append may be sent for now."""
        return self.is_flow_paused or self.state is SNAPSHOT

    def __str__(self) -> str:
        """The line that etcd's `status` prints."""
        parts = [f"{self.state.value} match={self.match} next={self.next}"]
        if self.is_learner:
            parts.append("learner")
        if self.is_paused:
            parts.append("paused")
        if self.pending_snapshot:
            parts.append(f"pendingSnap={self.pending_snapshot}")
        if not self.is_recent_active:
            parts.append("inactive")
        if len(self.inflights):
            full = "[full]" if self.inflights.is_full else ""
            parts.append(f"inflight={len(self.inflights)}{full}")
        return " ".join(parts)


ProgressMap = dict[NodeId, Progress]
"""The progress of every member, in ascending order of identity."""


def describe_progress(progress: ProgressMap) -> str:
    """One line per member, as etcd prints it."""
    return "".join(f"{node_id}: {progress[node_id]}\n" for node_id in sorted(progress))
