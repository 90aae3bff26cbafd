"""Prints entries, messages and Readies as etcd's tests do (etcd-io/raft `util.go`)."""

from __future__ import annotations

from typing import Any

from consensus_lab.node import Send
from consensus_lab.raft.entries import (
    ConfState,
    Entries,
    Entry,
    EntryType,
    HardState,
    Snapshot,
    conf_change_of,
)
from consensus_lab.raft.messages import (
    LOCAL_APPEND_THREAD,
    LOCAL_APPLY_THREAD,
    MsgStorageAppend,
    MsgTransferLeader,
)
from consensus_lab.raft.ready import Ready

_ENTRY_NAMES = {
    EntryType.NORMAL: "EntryNormal",
    EntryType.CONF_CHANGE: "EntryConfChange",
    EntryType.CONF_CHANGE_V2: "EntryConfChangeV2",
}
_TARGETS = {0: "None", LOCAL_APPEND_THREAD: "AppendThread", LOCAL_APPLY_THREAD: "ApplyThread"}
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def quoted(data: Any) -> str:
    """A text as Go's %q prints it."""
    text = "" if data is None else str(data)
    return '"' + "".join(_ESCAPES.get(letter, letter) for letter in text) + '"'


def describe_entry(entry: Entry) -> str:
    """Term, index, type and content."""
    if entry.type is EntryType.NORMAL:
        content = quoted(entry.data)
    else:
        changes = conf_change_of(entry).changes
        content = " ".join(f"{change.type.value}{change.node_id}" for change in changes)
    text = f"{entry.term}/{entry.index} {_ENTRY_NAMES[entry.type]}"
    return f"{text} {content}" if content else text


def describe_entries(entries: Entries) -> str:
    """One line per entry."""
    return "".join(describe_entry(entry) + "\n" for entry in entries)


def describe_hard_state(state: HardState) -> str:
    """Term, vote if there is one, commit."""
    vote = f" Vote:{state.vote}" if state.vote else ""
    return f"Term:{state.term}{vote} Commit:{state.commit}"


def describe_snapshot(snapshot: Snapshot) -> str:
    """Index, term and membership."""

    def ids(values: tuple[int, ...]) -> str:
        return "[" + " ".join(str(value) for value in values) + "]"

    state: ConfState = snapshot.conf_state
    return (
        f"Index:{snapshot.index} Term:{snapshot.term} ConfState:"
        f"Voters:{ids(state.voters)} VotersOutgoing:{ids(state.voters_outgoing)} "
        f"Learners:{ids(state.learners)} LearnersNext:{ids(state.learners_next)} "
        f"AutoLeave:{str(state.auto_leave).lower()}"
    )


def _target(node_id: int) -> str:
    return _TARGETS.get(node_id, f"{node_id:x}")


def describe_message(send: Send, indent: str = "") -> str:
    """Who to whom, type, term, log position, and what else is set."""
    message = send.message
    # A request for a transfer names the new leader as its sender in etcd.
    sender = message.transferee if isinstance(message, MsgTransferLeader) else message.sender
    log_term = getattr(message, "log_term", 0)
    # Every tuple has a method of that name, so a plain getattr would find it.
    index = message.index if "index" in message._fields else 0
    commit, vote = getattr(message, "commit", 0), 0
    if isinstance(message, MsgStorageAppend):
        commit, vote = message.hard_state.commit, message.hard_state.vote
    text = (
        f"{indent}{_target(sender)}->{_target(send.to)} {type(message).__name__} "
        f"Term:{message.term} Log:{log_term}/{index}"
    )
    if getattr(message, "reject", False):
        text += f" Rejected (Hint: {getattr(message, 'reject_hint', 0)})"
    text += f" Commit:{commit}" if commit else ""
    text += f" Vote:{vote}" if vote else ""
    text += _described_entries(getattr(message, "entries", ()), indent)
    snapshot = getattr(message, "snapshot", None)
    if snapshot is not None:
        text += f"\n{indent}  Snapshot: {describe_snapshot(snapshot)}"
    responses = getattr(message, "responses", ())
    if responses:
        lines = "".join("\n" + describe_message(response, indent + "  ") for response in responses)
        text += f" Responses:[{lines}\n{indent}]"
    return text


def _described_entries(entries: Entries, indent: str) -> str:
    if not entries:
        return ""
    if len(entries) == 1:
        return f" Entries:[{describe_entry(entries[0])}]"
    lines = "".join(f"\n{indent}  {describe_entry(entry)}" for entry in entries)
    return f" Entries:[{lines}\n{indent}]"


def describe_ready(ready: Ready) -> str:
    """Everything in it, in etcd's order."""
    text = ""
    if ready.soft_state is not None:
        text += f"Lead:{ready.soft_state.lead} State:{ready.soft_state.role.value}\n"
    if ready.hard_state is not None:
        text += f"HardState {describe_hard_state(ready.hard_state)}\n"
    if ready.read_states:
        states = " ".join(f"{{{state.index} {state.context}}}" for state in ready.read_states)
        text += f"ReadStates [{states}]\n"
    if ready.entries:
        text += "Entries:\n" + describe_entries(ready.entries)
    if ready.snapshot is not None:
        text += f"Snapshot {describe_snapshot(ready.snapshot)}\n"
    if ready.committed_entries:
        text += "CommittedEntries:\n" + describe_entries(ready.committed_entries)
    if ready.messages:
        text += "Messages:\n"
        text += "".join(describe_message(send) + "\n" for send in ready.messages)
    if not text:
        return "<empty Ready>"
    return f"Ready MustSync={str(ready.must_sync).lower()}:\n{text}"
