"""The network between nodes: when, and whether, a message arrives.

Theory of operation.  Every ordered pair of nodes is a `Link`: a propagation latency, a jitter
drawn anew for each message, chances of loss, duplication and of being held back so that later
messages overtake.  A node's own line is shared by all its links: messages longer than one packet
queue for upload one behind the other and for download at the receiver; a message that fits in
one packet slips between the packets of the long ones, as it does on a real line, and never waits.

All chances are keyed by what the message is (see `streams.keyed_draw`), so a draw does not depend
on the order of events.  All times are integer nanoseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from consensus_lab.node import (
    Message,
    NodeId,
    ParameterError,
    message_identity,
    message_kind,
    message_size,
)
from consensus_lab.sim.streams import derive_seed, keyed_draw, kind_code

NANOSECONDS_PER_SECOND = 1_000_000_000
PACKET_SIZE_BYTES = 1500
"""One Ethernet frame's payload: messages up to this size interleave, longer ones queue."""

_U64_RANGE = 1 << 64


class Link(NamedTuple):
    """One direction between two nodes.

    Attributes
    ----------
    latency_ns : int
        Propagation delay, nanoseconds.
    jitter_ns : int
        Each message takes up to this much longer, uniformly.
    loss, duplicate, reorder : float
        Chance in [0, 1] that a message is lost; comes twice; is held back by up to
        `reorder_ns`, so that later ones overtake it.
    reorder_ns : int
        Longest time that a reordered or duplicated message is held back.
    fifo : bool
        Deliver in the order of sending, as a TCP connection does.
    """

    latency_ns: int
    jitter_ns: int = 0
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    reorder_ns: int = 0
    fifo: bool = False

    def validated(self) -> Link:
        """This link, or a `ParameterError` naming what is wrong with it."""
        for name in ("latency_ns", "jitter_ns", "reorder_ns"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 0:
                raise ParameterError(name, value, "an integer of at least 0 nanoseconds")
        for name in ("loss", "duplicate", "reorder"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise ParameterError(name, value, "a probability from 0 to 1")
        return self

    @property
    def is_certain(self) -> bool:
        """True when every message takes exactly the latency."""
        return not (self.jitter_ns or self.loss or self.duplicate or self.reorder or self.fifo)


class Bandwidth(NamedTuple):
    """A node's own line; None means that bytes take no time."""

    upload_bytes_per_s: int | None = None
    download_bytes_per_s: int | None = None


def transfer_ns(size_bytes: int, bytes_per_s: int | None) -> int:
    """Time to push that many bytes through a line, nanoseconds, rounded down."""
    if bytes_per_s is None:
        return 0
    return size_bytes * NANOSECONDS_PER_SECOND // bytes_per_s


class Links:
    """All links of a run, with what faults do to them.

    Parameters
    ----------
    default : Link
        Used by every pair that has none of its own.
    pairs : mapping of (sender, receiver) to Link, optional
        Directed links that differ.
    bandwidth : mapping of node to Bandwidth, or one Bandwidth for all, optional
    """

    def __init__(
        self,
        default: Link,
        *,
        pairs: Mapping[tuple[NodeId, NodeId], Link] | None = None,
        bandwidth: Mapping[NodeId, Bandwidth] | Bandwidth | None = None,
    ) -> None:
        self.default = default.validated()
        self.pairs = {pair: link.validated() for pair, link in (pairs or {}).items()}
        self.bandwidth = bandwidth if bandwidth is not None else Bandwidth()
        self.blocked: dict[tuple[NodeId, NodeId], int] = {}
        self.troubles: list[Any] = []  # Faults that spoil all links now, see `faults.Trouble`.
        self.is_plain = False  # Every message takes exactly its link's latency, nothing else.
        self._upload_free: dict[NodeId, int] = {}
        self._download_free: dict[NodeId, int] = {}
        self._last_arrival: dict[tuple[NodeId, NodeId], int] = {}
        self._numbers: dict[tuple[int, ...], int] = {}
        self._certain = all(link.is_certain for link in (default, *self.pairs.values()))
        self._certain &= self.bandwidth == Bandwidth()
        self.seed(0)
        self.changed()

    def changed(self) -> None:
        """To be called when `blocked` or `troubles` changed."""
        self.is_plain = self._certain and not self.blocked and not self.troubles

    def seed(self, seed: int) -> None:
        """Take the keys of all chances from the run's seed; the engine calls this once."""
        names = ("jitter", "loss", "duplicate", "reorder", "held")
        self._keys = {name: derive_seed(seed, "links", name) for name in names}

    def link(self, sender: NodeId, receiver: NodeId) -> Link:
        """The link from one node to another, as it is now."""
        link = self.pairs.get((sender, receiver), self.default)
        for trouble in self.troubles:
            link = link._replace(
                jitter_ns=link.jitter_ns + trouble.jitter_ns,
                loss=max(link.loss, trouble.loss),
                duplicate=max(link.duplicate, trouble.duplicate),
                reorder=max(link.reorder, trouble.reorder),
                reorder_ns=max(link.reorder_ns, trouble.reorder_ns),
            )
        return link

    def change(self, sender: NodeId, receiver: NodeId, link: Link) -> None:
        """From now on that direction is that link (do not write to `pairs` in a run)."""
        self.pairs[sender, receiver] = link.validated()
        self._certain = False  # Engines keep the latencies of plain links; so none is plain now.
        self.changed()

    def line(self, node_id: NodeId) -> Bandwidth:
        """A node's own upload and download line."""
        if isinstance(self.bandwidth, Bandwidth):
            return self.bandwidth
        return self.bandwidth.get(node_id, Bandwidth())

    def block(self, senders: Iterable[NodeId], receivers: Iterable[NodeId]) -> None:
        """Cut every link from a sender to a receiver; cuts count, each needs its `unblock`."""
        receivers = tuple(receivers)
        for sender in senders:
            for receiver in receivers:
                if sender != receiver:
                    pair = (sender, receiver)
                    self.blocked[pair] = self.blocked.get(pair, 0) + 1
        self.changed()

    def unblock(self, senders: Iterable[NodeId], receivers: Iterable[NodeId]) -> None:
        """Take one cut back from every link from a sender to a receiver."""
        receivers = tuple(receivers)
        for sender in senders:
            for receiver in receivers:
                pair = (sender, receiver)
                cuts = self.blocked.get(pair, 0)
                if cuts > 1:
                    self.blocked[pair] = cuts - 1
                elif cuts == 1:
                    del self.blocked[pair]
        self.changed()

    def leave(self, sender: NodeId, message: Message, now: int) -> int:
        """When the last byte has left the sender's line; moves its upload queue along."""
        upload = self.line(sender).upload_bytes_per_s
        if upload is None:
            return now
        size = message_size(message)
        if size <= PACKET_SIZE_BYTES:
            return now + transfer_ns(size, upload)
        left = max(now, self._upload_free.get(sender, 0)) + transfer_ns(size, upload)
        self._upload_free[sender] = left
        return left

    def travel(
        self, sender: NodeId, receiver: NodeId, message: Message, left: int
    ) -> tuple[int, ...]:
        """Arrival times of the copies of a message: none when lost, two when duplicated."""
        if self.blocked and (sender, receiver) in self.blocked:
            return ()
        link = self.link(sender, receiver)
        if link.is_certain:
            return (left + link.latency_ns,)
        return self._uncertain_travel(sender, receiver, message, left, link)

    def _uncertain_travel(
        self, sender: NodeId, receiver: NodeId, message: Message, left: int, link: Link
    ) -> tuple[int, ...]:
        kind = kind_code(message_kind(message))
        about = message_identity(message)
        counted = (sender, receiver) if about is None else (sender, receiver, kind, about)
        attempt = self._numbers.get(counted, 0)
        self._numbers[counted] = attempt + 1

        def draw(name: str) -> int:
            identity, again = (attempt, 0) if about is None else (about, attempt)
            return keyed_draw(
                self._keys[name], sender=sender, receiver=receiver, kind=kind,
                identity=identity, attempt=again,
            )  # fmt: skip

        def happens(name: str, chance: float) -> bool:
            return chance > 0.0 and draw(name) < int(chance * _U64_RANGE)

        if happens("loss", link.loss):
            return ()
        arrival = left + link.latency_ns
        if link.jitter_ns:
            arrival += draw("jitter") * (link.jitter_ns + 1) // _U64_RANGE
        held_ns = draw("held") * (link.reorder_ns + 1) // _U64_RANGE
        if happens("reorder", link.reorder):
            arrival += held_ns
        elif link.fifo:
            arrival = max(arrival, self._last_arrival.get((sender, receiver), 0))
            self._last_arrival[sender, receiver] = arrival
        if happens("duplicate", link.duplicate):
            return (arrival, arrival + held_ns)
        return (arrival,)

    def received(self, sender: NodeId, receiver: NodeId, message: Message, arrival: int) -> int:
        """When the last byte is through the receiver's line, for a message arriving now.

        A long message occupies the line from its first byte on, and waits for the one before:
        with `first = arrival - upload time`, it is through at
        `max(arrival, max(first, line free) + download time)`.
        """
        download = self.line(receiver).download_bytes_per_s
        if download is None:
            return arrival
        size = message_size(message)
        if size <= PACKET_SIZE_BYTES:
            return arrival
        first = arrival - transfer_ns(size, self.line(sender).upload_bytes_per_s)
        begin = max(first, self._download_free.get(receiver, 0))
        through = max(arrival, begin + transfer_ns(size, download))
        self._download_free[receiver] = through
        return through

    def forget(self, node_id: NodeId) -> None:
        """A node crashed: its queues are empty."""
        self._upload_free.pop(node_id, None)
        self._download_free.pop(node_id, None)
