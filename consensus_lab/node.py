"""The Node contract: one input in, an ordered list of effects out.

Rules of this file: standard library only, no behaviour, every protocol and the engine import it.

Theory of operation.  A protocol is a pure state machine.  Whoever runs it (the simulation engine,
the exhaustive explorer, a transcript test) hands it one input at a time: a message from a peer, a
timer that went off, or a command from a client.  The node changes its own state and returns what
should happen next as a list of *effects*.  It never looks at a clock, never draws from a global
random source and never sees the network; time comes in as `now`, randomness from a source given
to its constructor.

The effects of a node form one ordered stream over its whole life.  What stands before a `Send`,
`Reply` or `Apply` is durable before it happens, also when the `Persist` belongs to an earlier
input whose disk write is still under way.  `SetTimer`, `CancelTimer` and `Note` happen at once.

A node may send to itself.  Such a message is never lost and takes no time on a wire, but it keeps
its place in the stream: `[Persist(...), Send(self_id, vote)]` counts the node's own vote only
once the vote is on disk.

Time is an integer number of nanoseconds since the start of the run, sizes are integer bytes.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

NodeId: TypeAlias = int
"""A node's identity: a small integer, unique in its cluster or network."""

Message: TypeAlias = Any
"""What nodes send each other: a NamedTuple of plain values; see `message_kind`, `message_size`."""

Disk: TypeAlias = Mapping[Hashable, Any]
"""What survived a crash: the last durable value of every key that was ever persisted."""

CONTROL_SIZE_BYTES = 100
"""Size charged for a message that does not state one: a header and a few integers."""


class Send(NamedTuple):
    """Hand a message to the network.  It may be lost, duplicated, delayed or overtaken."""

    to: NodeId
    message: Message


class SetTimer(NamedTuple):
    """Call `timer(name, now)` after `delay_ns` on this node's clock; replaces one of that name."""

    name: str
    delay_ns: int


class CancelTimer(NamedTuple):
    """Forget the timer of that name, if there is one."""

    name: str


class Persist(NamedTuple):
    """Write all pairs to disk in one atomic batch; a value of None deletes the key."""

    writes: tuple[tuple[Hashable, Any], ...]
    size_bytes: int = CONTROL_SIZE_BYTES


class Apply(NamedTuple):
    """The command at `index` (log position, block height) is decided and takes effect here."""

    index: int  # type: ignore[assignment]  # Hides tuple.index, which nobody needs here.
    command: Any


class Unapply(NamedTuple):
    """A command that was applied is taken back: a reorganisation left its block."""

    index: int  # type: ignore[assignment]  # Hides tuple.index, which nobody needs here.
    command: Any


class Reply(NamedTuple):
    """Answer the client request of that identity."""

    request_id: Hashable
    result: Any


class Note(NamedTuple):
    """Something worth a mark in a trace: a role change, a decision, a refused message."""

    kind: str
    detail: Any = None


Effect: TypeAlias = Send | SetTimer | CancelTimer | Persist | Apply | Unapply | Reply | Note
Effects: TypeAlias = list[Effect]


@runtime_checkable
class Node(Protocol):
    """What every protocol implements.  Built by a factory `make(node_id, disk) -> Node`.

    The factory is called once at the start with an empty disk and again after each crash with
    what was durable; everything else that the node knew is gone.
    """

    node_id: NodeId

    def start(self, now: int) -> Effects:
        """The first input after construction: set the timers, announce oneself."""
        ...

    def receive(self, sender: NodeId, message: Message, now: int) -> Effects:
        """A message arrived.  `sender` is who sent it, as the transport knows it."""
        ...

    def timer(self, name: str, now: int) -> Effects:
        """A timer that this node set went off; it is no longer set."""
        ...

    def submit(self, command: Any, now: int) -> Effects:
        """A client hands in a command at this node."""
        ...


class ParameterError(ValueError):
    """A user's mistake: names the parameter, the value that was given and what is allowed.

    Parameters
    ----------
    parameter : str
        The name as the user wrote it.
    value : object
        What was given.
    allowed : str
        The allowed range or choices, as the rest of a sentence after "must be".

    Examples
    --------
    >>> print(ParameterError("n_nodes", 4, "odd and at least 3"))
    n_nodes must be odd and at least 3; got 4
    """

    def __init__(self, parameter: str, value: object, allowed: str) -> None:
        self.parameter = parameter
        self.value = value
        self.allowed = allowed
        super().__init__(f"{parameter} must be {allowed}; got {value!r}")

    def __reduce__(self) -> tuple[type, tuple[str, object, str]]:
        # An exception with its own constructor does not pickle by itself; workers need it to.
        return ParameterError, (self.parameter, self.value, self.allowed)


class ProtocolViolation(Exception):
    """A peer's misbehaviour: something it sent breaks a rule.  The node handles it, never dies.

    Parameters
    ----------
    rule : str
        The broken rule's name, in the protocol's own vocabulary ("bad-txnmrklroot").
    detail : str
        What was seen, for the reader of a log.
    """

    def __init__(self, rule: str, detail: str = "") -> None:
        self.rule = rule
        self.detail = detail
        super().__init__(f"{rule}: {detail}" if detail else rule)

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return ProtocolViolation, (self.rule, self.detail)


def message_kind(message: Message) -> str:
    """Name of a message in traces: its `kind` field where it has one, else its type's name."""
    kind = getattr(message, "kind", None)
    return kind if isinstance(kind, str) else type(message).__name__


def message_size(message: Message) -> int:
    """Bytes on the wire: the message's `size_bytes` where it has one, else a control message."""
    size: int = getattr(message, "size_bytes", CONTROL_SIZE_BYTES)
    return size


def message_identity(message: Message) -> int | None:
    """What a message is about (a block's number), as the key of its own random draws, or None.

    Draws keyed by identity come out the same in any order of events; without one the engine
    numbers the messages of each directed link.
    """
    identity: int | None = getattr(message, "identity", None)
    return identity
