"""What the replicas of Multi-Paxos say to each other, and what one slot of the log holds.

Rules of this file: plain values only; sizes in bytes are worked out once, when a message is made.

    who leads    candidate -> all        Probe, ProbeReply     "Would you promise?", changes nothing
    phase 1      candidate -> all        Prepare, Promise      once, for every slot from a first on
    phase 2      leader -> all           Accept, Accepted      one or more slots that follow
    either       replica -> proposer     Reject                "I promised more: this much."
    liveness     leader -> all           Heartbeat, HeartbeatReply
    learning     laggard -> anyone       CatchUp               answered by Learn or InstallSnapshot
    clients      replica -> leader       Forward, answered by Answer

The words are those of the essay and of Paxos Made Simple; "ballot" (Paxos Made Moderately
Complex §2) is the proposal number of a leader, good for every slot.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NamedTuple, TypeAlias

from consensus_lab.client import Query, Request
from consensus_lab.node import CONTROL_SIZE_BYTES, NodeId, message_size
from consensus_lab.paxos.quorum import Quorums

Slot: TypeAlias = int
"""A place in the log, from 1: the i-th instance of Paxos decides the i-th command."""


class Ballot(NamedTuple):
    """A leader's proposal number: a round, then the leader's id, compared in this order.

    Two leaders never have the same ballot, for the id is part of it; one leader never has the
    same ballot twice, for it puts it on disk before it tells anybody.
    """

    number: int
    leader: NodeId


NO_BALLOT = Ballot(0, 0)
"""Below every real ballot: nothing promised, nothing accepted.  Rounds begin at 1."""


class NoOp(NamedTuple):
    """Fills a slot that a new leader found empty below one in use (Paxos Made Simple §3)."""

    @property
    def size_bytes(self) -> int:
        """A marker and nothing else."""
        return 1


NO_OP = NoOp()


class Reconfigure(NamedTuple):
    """A command that replaces the acceptors, from `window_slots` slots after its own on.

    Attributes
    ----------
    request_id : hashable
        As of every client command.
    quorums : Quorums
        The new acceptors, and how many of them each phase needs.
    """

    request_id: Hashable
    quorums: Quorums


Value: TypeAlias = Request | Reconfigure | NoOp
"""What a slot can hold."""

Operation: TypeAlias = Request | Reconfigure | Query
"""What a client can hand in."""


class Entry(NamedTuple):
    """The highest-balloted proposal that an acceptor accepted for a slot."""

    ballot: Ballot
    value: Value


def entries_size_bytes(values: tuple[Value, ...]) -> int:
    """Size of a message that carries these values: one header, then the values."""
    return CONTROL_SIZE_BYTES + sum(map(message_size, values))


class Snapshot(NamedTuple):
    """The outcome of every slot up to `last_slot`, in place of the slots.

    Attributes
    ----------
    last_slot : int
        The last slot that it covers.
    state : object
        The state machine's own snapshot.
    sessions : tuple
        Which requests took effect (`client.Sessions.snapshot`).
    eras : tuple of (slot, Quorums)
        Which acceptors decide the slots after that.
    size_bytes : int
        Bytes on disk and on the wire.
    """

    last_slot: Slot
    state: Any
    sessions: tuple[tuple[Hashable, Any], ...]
    eras: tuple[tuple[Slot, Quorums], ...]
    size_bytes: int


class Probe(NamedTuple):
    """Would you promise this ballot?  Asked before anything is changed."""

    ballot: Ballot
    first_slot: Slot


class ProbeReply(NamedTuple):
    """Yes, I would promise that ballot: no leader was heard for an election timeout."""

    ballot: Ballot


class Prepare(NamedTuple):
    """Phase 1a for every slot from `first_slot` on."""

    ballot: Ballot
    first_slot: Slot


class Promise(NamedTuple):
    """Phase 1b: nothing below the ballot is accepted again, in any slot.

    Attributes
    ----------
    entries : tuple of (slot, Entry)
        All that was accepted from the asked slot on, in slot order.
    chosen_index : int
        Entries up to this slot are known to be chosen.
    """

    ballot: Ballot
    entries: tuple[tuple[Slot, Entry], ...]
    chosen_index: Slot
    size_bytes: int = CONTROL_SIZE_BYTES


class Accept(NamedTuple):
    """Phase 2a for consecutive slots from `first_slot` on, one value each.

    `chosen_index` carries what is chosen by now, so that learning costs no message of its own.
    """

    ballot: Ballot
    first_slot: Slot
    values: tuple[Value, ...]
    chosen_index: Slot
    size_bytes: int = CONTROL_SIZE_BYTES


class Accepted(NamedTuple):
    """Phase 2b: all slots of the Accept that begins at `first_slot` are accepted, and on disk."""

    ballot: Ballot
    first_slot: Slot


class Reject(NamedTuple):
    """A Prepare, Accept, Probe or Heartbeat came too late; `promised` is the highest seen."""

    ballot: Ballot
    promised: Ballot


class Heartbeat(NamedTuple):
    """The leader lives; slots up to `chosen_index` are chosen; please confirm this round."""

    ballot: Ballot
    round: int
    chosen_index: Slot


class HeartbeatReply(NamedTuple):
    """When this was sent, nothing above the ballot was promised; known chosen so far."""

    ballot: Ballot
    round: int
    chosen_index: Slot


class CatchUp(NamedTuple):
    """Please tell what is chosen from this slot on."""

    first_slot: Slot


class Learn(NamedTuple):
    """These consecutive slots are chosen; more are known up to `chosen_index`."""

    first_slot: Slot
    entries: tuple[Entry, ...]
    chosen_index: Slot
    size_bytes: int = CONTROL_SIZE_BYTES


class InstallSnapshot(NamedTuple):
    """The slots that were asked for are trimmed: this is their outcome."""

    snapshot: Snapshot

    @property
    def size_bytes(self) -> int:
        """Bytes on the wire: the snapshot's."""
        return self.snapshot.size_bytes


class Forward(NamedTuple):
    """A client's operation, on its way to the leader."""

    operation: Operation

    @property
    def size_bytes(self) -> int:
        """Bytes on the wire: a header and the operation."""
        return CONTROL_SIZE_BYTES + message_size(self.operation)


class Answer(NamedTuple):
    """The leader's result for a forwarded operation."""

    request_id: Hashable
    result: Any

    @property
    def size_bytes(self) -> int:
        """Bytes on the wire: a header and the result."""
        return CONTROL_SIZE_BYTES + message_size(self.result)
