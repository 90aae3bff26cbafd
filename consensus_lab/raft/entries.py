"""What Raft servers write down: entries, state, snapshots, membership changes.

Rules of this file: plain values only.  Sizes are those of etcd's protocol-buffer encoding,
because its flow control counts them: paging by message size and by size of what is being applied
must cut at the same entries.
"""

from __future__ import annotations

from collections.abc import Hashable
from enum import Enum, IntEnum
from typing import Any, NamedTuple, TypeAlias

from consensus_lab.node import CONTROL_SIZE_BYTES, NodeId

NONE: NodeId = 0
"""No node: no leader known, no vote cast.  Node identities start at 1."""

class EntryType(IntEnum):
    """What an entry holds, with the numbers of etcd's encoding."""

    NORMAL = 0
    CONF_CHANGE = 1
    CONF_CHANGE_V2 = 2


# Under a name of its own: Python 3.11 is slow to find a member in its class.
NORMAL = EntryType.NORMAL


def varint_size(value: int) -> int:
    """Bytes of an unsigned integer in protocol-buffer encoding, seven bits to a byte.

    >>> [varint_size(n) for n in (0, 127, 128, 16383, 16384)]
    [1, 1, 2, 2, 3]
    """
    return (value.bit_length() + 6) // 7 or 1


def payload_size(data: Any) -> int:
    """Bytes of an entry's content: 0 for none, the length of bytes and text, else its own word."""
    if data is None:
        return 0
    if isinstance(data, bytes):
        return len(data)
    if isinstance(data, str):
        return len(data.encode())
    size: int = getattr(data, "size_bytes", CONTROL_SIZE_BYTES)
    return size


class _EntryFields(NamedTuple):
    term: int
    index: int  # type: ignore[assignment]  # Hides tuple.index.
    data: Any
    type: EntryType
    payload_bytes: int
    size_bytes: int


class Entry(_EntryFields):
    """One log entry; its sizes are worked out once, when it is made.

    Parameters
    ----------
    term : int
        The leader's term when it was proposed; 0 before a leader has taken it.
    index : int
        Position in the log, from 1; 0 before a leader has taken it.
    data : object, optional
        A command, a membership change, or None for the empty entry that opens a term.
    type : EntryType, optional

    Attributes
    ----------
    payload_bytes : int
        Size of the content.
    size_bytes : int
        Size of the whole entry as etcd encodes it.

    Examples
    --------
    >>> Entry(1, 200, b"abc").size_bytes
    12
    """

    __slots__ = ()

    def __new__(
        cls, term: int, index: int, data: Any = None, type: EntryType = EntryType.NORMAL
    ) -> Entry:
        """An entry with its sizes."""
        payload = payload_size(data)
        size = 4 + varint_size(term) + varint_size(index)
        if data is not None:
            size += 1 + varint_size(payload) + payload
        return tuple.__new__(cls, (term, index, data, type, payload, size))

    def __getnewargs__(self) -> tuple[Any, ...]:
        return self[:4]

    def taken(self, term: int, index: int) -> Entry:
        """This proposal as the leader of that term puts it into its log."""
        size = self.size_bytes - 2 + varint_size(term) + varint_size(index)
        fields = (term, index, self.data, self.type, self.payload_bytes, size)
        return tuple.__new__(Entry, fields)


Entries: TypeAlias = tuple[Entry, ...]


def proposed(data: Any, type: EntryType = EntryType.NORMAL) -> Entry:
    """An entry that no leader has taken yet: no term, no index."""
    return Entry(0, 0, data, type)


def entries_size(entries: Entries) -> int:
    """Encoded bytes of several entries."""
    if len(entries) < 2:  # Most appends hold one entry or none.
        return entries[0].size_bytes if entries else 0
    return sum([entry.size_bytes for entry in entries])


def payloads_size(entries: Entries) -> int:
    """Bytes of the contents of several entries."""
    if len(entries) < 2:
        return entries[0].payload_bytes if entries else 0
    return sum([entry.payload_bytes for entry in entries])


class HardState(NamedTuple):
    """What must be on disk before a server answers (Raft Fig. 2, "persistent state")."""

    term: int = 0
    vote: NodeId = NONE
    commit: int = 0


EMPTY_HARD_STATE = HardState()


class ConfState(NamedTuple):
    """A membership, as snapshots carry it: sorted tuples of node identities."""

    voters: tuple[NodeId, ...] = ()
    voters_outgoing: tuple[NodeId, ...] = ()
    learners: tuple[NodeId, ...] = ()
    learners_next: tuple[NodeId, ...] = ()
    auto_leave: bool = False


class Snapshot(NamedTuple):
    """The state after applying everything up to `index`, whose entry had that `term`."""

    index: int  # type: ignore[assignment]  # Hides tuple.index.
    term: int
    conf_state: ConfState = ConfState()
    data: Any = None

    @property
    def size_bytes(self) -> int:
        """Bytes on the wire and on disk."""
        return CONTROL_SIZE_BYTES + payload_size(self.data)


class ConfChangeType(Enum):
    """One step of a membership change; the value is its letter in etcd's notation."""

    ADD_NODE = "v"
    REMOVE_NODE = "r"
    UPDATE_NODE = "u"
    ADD_LEARNER_NODE = "l"


class ConfChangeSingle(NamedTuple):
    """Make `node_id` a voter or a learner, remove it, or (update) leave it as it is."""

    type: ConfChangeType
    node_id: NodeId


class Transition(Enum):
    """How a change of several members passes through joint consensus (thesis §4.3).

    AUTO uses a joint configuration only when it must, and leaves it by itself; the other two
    always use one, and leave it by themselves (IMPLICIT) or on request (EXPLICIT).
    """

    AUTO = "auto"
    JOINT_IMPLICIT = "implicit"
    JOINT_EXPLICIT = "explicit"


_CONF_CHANGE_TYPE_NUMBERS = {
    ConfChangeType.ADD_NODE: 0,
    ConfChangeType.REMOVE_NODE: 1,
    ConfChangeType.UPDATE_NODE: 2,
    ConfChangeType.ADD_LEARNER_NODE: 3,
}


class ConfChange(NamedTuple):
    """A membership change, the content of a configuration entry.

    A change without steps leaves a joint configuration.  `context` is the proposer's own, for
    instance the identity of the client's request.
    """

    changes: tuple[ConfChangeSingle, ...] = ()
    transition: Transition = Transition.AUTO
    context: Hashable = None

    @property
    def leaves_joint(self) -> bool:
        """True for the change that ends a joint configuration."""
        return self.transition is Transition.AUTO and not self.changes

    @property
    def enters_joint(self) -> bool:
        """True when the change must or should pass through a joint configuration."""
        return self.transition is not Transition.AUTO or len(self.changes) > 1

    @property
    def auto_leave(self) -> bool:
        """True when the joint configuration that this change enters is left by itself."""
        return self.transition is not Transition.JOINT_EXPLICIT

    @property
    def size_bytes(self) -> int:
        """Bytes of etcd's ConfChangeV2 encoding."""
        size = 2 + (0 if self.context is None else 1 + payload_size(self.context))
        for change in self.changes:
            single = 3 + varint_size(change.node_id)
            size += 1 + varint_size(single) + single
        return size


class ConfChangeV1(NamedTuple):
    """The older form: exactly one step, never joint."""

    change: ConfChangeSingle
    context: Hashable = None

    @property
    def size_bytes(self) -> int:
        """Bytes of etcd's ConfChange encoding."""
        size = 5 + varint_size(self.change.node_id)
        return size + (0 if self.context is None else 1 + payload_size(self.context))

    def as_v2(self) -> ConfChange:
        """The same change in the newer form."""
        return ConfChange((self.change,), Transition.AUTO, self.context)


def conf_change_of(entry: Entry) -> ConfChange:
    """The membership change that a configuration entry holds; no content means "leave joint"."""
    data = entry.data
    if data is None:
        return ConfChange()
    if isinstance(data, ConfChangeV1):
        return data.as_v2()
    assert isinstance(data, ConfChange)
    return data
