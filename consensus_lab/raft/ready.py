"""The interface that etcd offers to whoever drives Raft: take a Ready, do it, advance.

Theory of operation (etcd-io/raft `rawnode.go`, `node.go`).  A `Ready` is everything that the core
wants done: write hard state, entries and snapshot to disk, send messages, apply what is committed.
With synchronous storage the driver does all of it and calls `advance`, upon which the core takes
its own votes and acknowledgements.  With asynchronous storage the writes and the applying are
themselves messages, to a thread each, and carry the answers to deliver when they are done.

The simulator's `node.RaftNode` drives the same core without building these objects.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from consensus_lab.node import ProtocolViolation, Send
from consensus_lab.raft.core import RaftCore
from consensus_lab.raft.entries import (
    EMPTY_HARD_STATE,
    Entries,
    EntryType,
    HardState,
    Snapshot,
    proposed,
)
from consensus_lab.raft.messages import (
    LOCAL_APPEND_THREAD,
    LOCAL_APPLY_THREAD,
    LOCAL_TYPES,
    RESPONSE_TYPES,
    MsgProp,
    MsgStorageAppend,
    MsgStorageAppendResp,
    MsgStorageApply,
    MsgStorageApplyResp,
    ReadState,
    SoftState,
)

LOCAL_THREADS = (LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD)


class Ready(NamedTuple):
    """What the core wants done.

    Attributes
    ----------
    soft_state, hard_state : SoftState or None, HardState or None
        Set when they differ from those of the last Ready.
    read_states : tuple of ReadState
        Reads that may be served once their index is applied.
    entries : tuple of Entry
        To be written before `messages` are sent.
    snapshot : Snapshot or None
        To be written and applied.
    committed_entries : tuple of Entry
        To be applied.
    messages : tuple of Send
    must_sync : bool
        The write must be durable before anything else; a mere commit index need not be.
    """

    soft_state: SoftState | None
    hard_state: HardState | None
    read_states: tuple[ReadState, ...]
    entries: Entries
    snapshot: Snapshot | None
    committed_entries: Entries
    messages: tuple[Send, ...]
    must_sync: bool


class RawNode:
    """Drives a core by Ready and advance.

    Parameters
    ----------
    core : RaftCore
    asynchronous_storage : bool
        Write and apply by messages to threads instead of by `advance`.
    """

    def __init__(self, core: RaftCore, *, asynchronous_storage: bool = False) -> None:
        self.core = core
        self.asynchronous_storage = asynchronous_storage
        self._soft_state = core.soft_state()
        self._hard_state = core.hard_state()
        self._steps_on_advance: list[Any] = []

    # Input.

    def step(self, message: Any) -> None:
        """Take a message from the network or from a storage thread.

        Raises
        ------
        ProtocolViolation
            For a local message that did not come from a local thread, an answer from someone who
            is not a member, and a proposal that cannot be taken.
        """
        kind = type(message)
        if message.sender not in LOCAL_THREADS:
            if kind in LOCAL_TYPES:
                raise ProtocolViolation("raft: cannot step raft local message")
            if kind in RESPONSE_TYPES and message.sender not in self.core.progress:
                raise ProtocolViolation("raft: cannot step as peer not found")
        self.core.step(message)

    def propose(self, data: Any, type: EntryType = EntryType.NORMAL) -> None:
        """Propose a command or, with another type, a membership change."""
        self.core.step(MsgProp(self.core.node_id, 0, (proposed(data, type),)))

    # Output.

    @property
    def has_ready(self) -> bool:
        """True when there is something to do."""
        core, log = self.core, self.core.log
        hard_state = core.hard_state()
        return bool(
            core.soft_state() != self._soft_state
            or (hard_state not in (EMPTY_HARD_STATE, self._hard_state))
            or log.next_snapshot() is not None
            or core.messages
            or core.after_append
            or log.handed_out < log.last_index
            or log.has_next_committed(allow_unstable=not self.asynchronous_storage)
            or core.read_states
        )

    def ready(self) -> Ready:
        """What there is to do; it counts as begun from now on."""
        core, log = self.core, self.core.log
        soft_state, hard_state = core.soft_state(), core.hard_state()
        previous = self._hard_state
        entries = log.next_unstable()
        committed = log.next_committed(allow_unstable=not self.asynchronous_storage)
        ready = Ready(
            soft_state=soft_state if soft_state != self._soft_state else None,
            hard_state=hard_state if hard_state != previous else None,
            read_states=tuple(core.read_states),
            entries=entries,
            snapshot=log.next_snapshot(),
            committed_entries=committed,
            messages=(),
            must_sync=bool(entries) or hard_state[:2] != previous[:2],
        )
        ready = ready._replace(messages=tuple(self._messages(ready)))
        self._accept(ready)
        return ready

    def _messages(self, ready: Ready) -> list[Send]:
        core = self.core
        if not self.asynchronous_storage:
            peers = [send for send in core.after_append if send.to != core.node_id]
            return [*core.messages, *peers]
        messages = list(core.messages)
        if ready.entries or ready.hard_state or ready.snapshot or core.after_append:
            messages.append(Send(LOCAL_APPEND_THREAD, self._storage_append(ready)))
        if ready.committed_entries:
            done = self._storage_apply_response(ready.committed_entries)
            work = MsgStorageApply(
                core.node_id, 0, ready.committed_entries, (Send(core.node_id, done),)
            )
            messages.append(Send(LOCAL_APPLY_THREAD, work))
        return messages

    def _storage_append(self, ready: Ready) -> MsgStorageAppend:
        core = self.core
        hard_state = ready.hard_state or EMPTY_HARD_STATE
        responses = list(core.after_append)
        done = self._storage_append_response(ready)
        if done is not None:
            responses.append(Send(core.node_id, done))
        return MsgStorageAppend(
            core.node_id, hard_state.term, hard_state, ready.entries, ready.snapshot,
            tuple(responses),
        )  # fmt: skip

    def _storage_append_response(self, ready: Ready) -> MsgStorageAppendResp | None:
        """The answer that tells the core what is on disk, where there is something to tell.

        It names the last entry whenever any is not known to be durable, not only when this write
        holds entries: an earlier answer may have been ignored because the term had changed.
        """
        core, log = self.core, self.core.log
        if not log.has_unstable and ready.snapshot is None:
            return None
        log_term, index = (log.last_term, log.last_index) if log.has_unstable else (0, 0)
        return MsgStorageAppendResp(LOCAL_APPEND_THREAD, core.term, log_term, index, ready.snapshot)

    def _storage_apply_response(self, entries: Entries) -> MsgStorageApplyResp:
        return MsgStorageApplyResp(LOCAL_APPLY_THREAD, 0, entries)

    def _accept(self, ready: Ready) -> None:
        core, log = self.core, self.core.log
        if ready.soft_state is not None:
            self._soft_state = ready.soft_state
        if ready.hard_state is not None:
            self._hard_state = ready.hard_state
        core.read_states = []
        if not self.asynchronous_storage:
            assert not self._steps_on_advance, "two Readies without advance"
            own = [send.message for send in core.after_append if send.to == core.node_id]
            self._steps_on_advance.extend(own)
            done = self._storage_append_response(ready)
            if done is not None:
                self._steps_on_advance.append(done)
            if ready.committed_entries:
                applied = self._storage_apply_response(ready.committed_entries)
                self._steps_on_advance.append(applied)
        core.messages = []
        core.after_append = []
        core.has_changed = False
        log.hand_out()
        if ready.committed_entries:
            log.accept_applying(
                ready.committed_entries, allow_unstable=not self.asynchronous_storage
            )

    def advance(self) -> None:
        """The last Ready is written, sent and applied (synchronous storage only)."""
        assert not self.asynchronous_storage
        steps, self._steps_on_advance = self._steps_on_advance, []
        for message in steps:
            try:
                self.core.step(message)
            except ProtocolViolation:
                continue

