"""How a node that knows nobody finds peers: DNS seeds, then addresses that peers tell each other.

Rules of this file: a Node (see `consensus_lab.node`); an address is the node's number.

Theory of operation (Bitcoin Core, net.cpp and addrman; protocol documentation).  A node that
starts with an empty address book asks the *DNS seeds* whose names are built into the program.  A
seed crawls the network: it asks nodes for addresses and forgets those that do not answer.  The
node tries addresses at random until it has 8 *outbound* connections; it accepts up to 117
*inbound* ones.  A connection begins with `Version` and is there with `Verack`.  Who opened it asks
once for addresses (`GetAddr`) and makes its own known; a small `Addr` message is passed on to two
peers, so a newcomer becomes known.  Only who accepted a connection answers `GetAddr`, so that
nobody can be made to tell what it is connected to.

Peers that fall silent are found by `Ping` and replaced.  The address book is on disk: a node that
restarts asks the seeds only if nobody in it answers.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from consensus_lab.node import (
    Disk,
    Effects,
    Message,
    NodeId,
    Note,
    ParameterError,
    Persist,
    Send,
    SetTimer,
)

SECOND_NS = 1_000_000_000
OUTBOUND_MAX = 8
"""Full-relay outbound connections (Core net.h, MAX_OUTBOUND_FULL_RELAY_CONNECTIONS)."""

INBOUND_MAX = 117
"""125 connections in all (Core net.h, DEFAULT_MAX_PEER_CONNECTIONS) without the outbound ones."""

ADDRESSES_PER_MESSAGE_MAX = 1000
"""Core net_processing.cpp, MAX_ADDR_TO_SEND."""

ADDRESSES_TOLD_PERCENT = 23
"""Share of the book that a `GetAddr` is answered with (Core, MAX_PCT_ADDR_TO_SEND)."""

ADDRESSES_RELAYED_MAX = 10
"""Only messages of at most so many addresses are passed on (Core, ProcessAddrs)."""

RELAY_PEERS = 2
"""To how many peers an address is passed on (Core, RelayAddress)."""

BOOK_MAX = 65_536
"""Addresses that a book holds: as many as Core's tables of new addresses."""

SEED_ANSWER_MAX = 25
"""Addresses in one DNS answer: about what fits into a reply."""

CONNECT_EVERY_NS = SECOND_NS // 2
"""Pause between two tries to open a connection (Core, ThreadOpenConnections)."""

CONNECT_TIMEOUT_NS = 5 * SECOND_NS
"""How long the other side has to answer (Core, DEFAULT_CONNECT_TIMEOUT)."""

DNS_EVERY_NS = 11 * SECOND_NS
FEW_PEERS = 2
"""With fewer outbound peers the seeds are asked again after that long (Core, net.cpp,
DNSSEEDS_DELAY_FEW_PEERS and ThreadDNSAddressSeed)."""

PING_EVERY_NS = 120 * SECOND_NS
"""Core net_processing.cpp, PING_INTERVAL."""

CRAWL_EVERY_NS = 10 * SECOND_NS
CRAWL_AT_ONCE = 8


class RandomSource(Protocol):
    """What is used of `random.Random`."""

    def randrange(self, stop: int) -> int:
        """A number from 0 to stop - 1."""
        ...

    def sample(self, population: Sequence[Any], k: int) -> list[Any]:
        """So many different members."""
        ...


class DnsQuery(NamedTuple):
    """Which nodes do you know?"""


class DnsAnswer(NamedTuple):
    """Some nodes that answered the crawler lately."""

    addresses: tuple[NodeId, ...]


class Version(NamedTuple):
    """I want to connect to you."""


class Verack(NamedTuple):
    """We are connected."""


class Refusal(NamedTuple):
    """No connection, or no longer: all slots are taken, or there is one already."""


class GetAddr(NamedTuple):
    """Whom do you know?"""


class Addr(NamedTuple):
    """Nodes that may be reached."""

    addresses: tuple[NodeId, ...]

    @property
    def size_bytes(self) -> int:
        """Header, count, and 30 bytes for each address (protocol documentation)."""
        return 24 + 3 + 30 * len(self.addresses)


class Ping(NamedTuple):
    """Are you there?"""


class Pong(NamedTuple):
    """Yes."""


class DnsSeed:
    """A DNS seed: answers with nodes that its crawler found alive.

    Parameters
    ----------
    node_id : int
    known : iterable of int
        Where the crawl begins.
    source : RandomSource
    """

    def __init__(self, node_id: NodeId, known: Iterable[NodeId], *, source: RandomSource) -> None:
        self.node_id = node_id
        self.source = source
        self.alive: dict[NodeId, None] = dict.fromkeys(sorted(known))
        self.asked: set[NodeId] = set()

    def start(self, now: int) -> Effects:
        """Begin to crawl."""
        return [SetTimer("crawl", CRAWL_EVERY_NS)]

    def timer(self, name: str, now: int) -> Effects:
        """Forget who did not answer since the last round, and ask the next ones."""
        for silent in self.asked:
            self.alive.pop(silent, None)
        known = list(self.alive)
        self.asked = set(self.source.sample(known, min(CRAWL_AT_ONCE, len(known))))
        asks = [Send(node, GetAddr()) for node in sorted(self.asked)]
        return [SetTimer("crawl", CRAWL_EVERY_NS), *asks]

    def receive(self, sender: NodeId, message: Message, now: int) -> Effects:
        """Answer a question; learn from a crawled node's answer."""
        if isinstance(message, DnsQuery):
            others = [node for node in self.alive if node != sender]
            chosen = self.source.sample(others, min(SEED_ANSWER_MAX, len(others)))
            return [Send(sender, DnsAnswer(tuple(chosen)))]
        if isinstance(message, Addr):
            self.asked.discard(sender)
            for address in message.addresses[:ADDRESSES_PER_MESSAGE_MAX]:
                if len(self.alive) < BOOK_MAX:
                    self.alive.setdefault(address)
        return []

    def submit(self, command: Any, now: int) -> Effects:
        """A seed has no clients."""
        raise ParameterError("command", command, "none: a seed takes no commands")


class DiscoveryNode:
    """A node that keeps itself connected.

    Parameters
    ----------
    node_id : int
    disk : mapping
        The address book, under "addresses".
    seeds : iterable of int
        DNS seeds, built into the program.
    source : RandomSource
    outbound_max, inbound_max : int
        Slots.

    Attributes
    ----------
    outbound, inbound : dict of int
        Connected peers, in the order in which they came.
    book : dict of int
        Known addresses, oldest first.
    """

    def __init__(
        self,
        node_id: NodeId,
        disk: Disk,
        *,
        seeds: Iterable[NodeId],
        source: RandomSource,
        outbound_max: int = OUTBOUND_MAX,
        inbound_max: int = INBOUND_MAX,
    ) -> None:
        self.node_id = node_id
        self.seeds = tuple(sorted(seeds))
        if not self.seeds:
            raise ParameterError("seeds", self.seeds, "at least one DNS seed")
        if outbound_max < 1 or inbound_max < 1:
            slots = (outbound_max, inbound_max)
            raise ParameterError("outbound_max, inbound_max", slots, "at least 1 each")
        self.source = source
        self.outbound_max, self.inbound_max = outbound_max, inbound_max
        self.outbound: dict[NodeId, None] = {}
        self.inbound: dict[NodeId, None] = {}
        self.opening: NodeId | None = None
        self.unanswered: set[NodeId] = set()
        self.told: set[NodeId] = set()
        self.book: OrderedDict[NodeId, None] = OrderedDict.fromkeys(disk.get("addresses", ()))
        self._handlers: dict[type, Callable[[NodeId, Any], Effects]] = {
            DnsAnswer: self._on_dns_answer,
            Version: self._on_version,
            Verack: self._on_verack,
            Refusal: self._on_refusal,
            GetAddr: self._on_getaddr,
            Addr: self._on_addr,
            Ping: self._on_ping,
            Pong: self._on_pong,
        }
        self._timers: dict[str, Callable[[], Effects]] = {
            "connect": self._connect,
            "give-up": self._give_up,
            "ping": self._ping,
            "dns": self._ask_again,
        }

    @property
    def peers(self) -> list[NodeId]:
        """All connected peers, sorted."""
        return sorted({*self.outbound, *self.inbound})

    def start(self, now: int) -> Effects:
        """Ask the seeds if the book is empty, and begin to connect."""
        every = {"connect": CONNECT_EVERY_NS, "ping": PING_EVERY_NS, "dns": DNS_EVERY_NS}
        timers = [SetTimer(name, delay_ns) for name, delay_ns in every.items()]
        return [*timers, *([] if self.book else self._ask_seeds())]

    def receive(self, sender: NodeId, message: Message, now: int) -> Effects:
        """Handle a message; an unknown kind is noted and ignored."""
        handler = self._handlers.get(type(message))
        if handler is None:
            return [Note("violation", f"unknown message {type(message).__name__}")]
        return handler(sender, message)

    def timer(self, name: str, now: int) -> Effects:
        """Handle a timer that went off."""
        return self._timers[name]()

    def submit(self, command: Any, now: int) -> Effects:
        """Discovery has no clients."""
        raise ParameterError("command", command, "none: discovery takes no commands")

    # Opening connections.

    def _ask_seeds(self) -> Effects:
        return [Send(seed, DnsQuery()) for seed in self.seeds]

    def _ask_again(self) -> Effects:
        """With few peers: all that are known may be full, the seeds may know others."""
        few = len(self.outbound) < min(FEW_PEERS, self.outbound_max)
        return [SetTimer("dns", DNS_EVERY_NS), *(self._ask_seeds() if few else [])]

    def _on_dns_answer(self, sender: NodeId, message: DnsAnswer) -> Effects:
        return self._learn(message.addresses) if sender in self.seeds else []

    def _connect(self) -> Effects:
        """Try one more address, if an outbound slot is free and nothing is under way."""
        effects: Effects = [SetTimer("connect", CONNECT_EVERY_NS)]
        if self.opening is not None or len(self.outbound) >= self.outbound_max:
            return effects
        connected = {self.node_id, *self.outbound, *self.inbound}
        candidates = [address for address in self.book if address not in connected]
        if not candidates:
            return effects
        self.opening = candidates[self.source.randrange(len(candidates))]
        give_up = SetTimer("give-up", CONNECT_TIMEOUT_NS)
        return [*effects, give_up, Send(self.opening, Version())]

    def _give_up(self) -> Effects:
        """No answer: the address is forgotten."""
        if self.opening is None:
            return []
        self.book.pop(self.opening, None)
        self.opening = None
        return [self._save()]

    def _on_version(self, sender: NodeId, _message: Version) -> Effects:
        if sender == self.node_id or len(self.inbound) >= self.inbound_max:
            return [Send(sender, Refusal())]
        if self.opening == sender:
            if self.node_id < sender:
                return []  # Both open at once: the lower one's connection counts.
            self.opening = None
        self.outbound.pop(sender, None)  # It lost the old connection and opens it again.
        self.inbound[sender] = None
        return [Send(sender, Verack()), *self._learn((sender,))]

    def _on_verack(self, sender: NodeId, _message: Verack) -> Effects:
        if sender != self.opening:
            return []
        self.opening = None
        self.outbound[sender] = None
        own = Addr((self.node_id,))
        return [Note("connected", sender), Send(sender, GetAddr()), Send(sender, own)]

    def _on_refusal(self, sender: NodeId, _message: Refusal) -> Effects:
        if self.opening == sender:
            self.opening = None
        return self._lose(sender)

    # Addresses.

    def _learn(self, addresses: Iterable[NodeId]) -> Effects:
        new = [a for a in addresses if a not in self.book and a != self.node_id]
        for address in new:
            if len(self.book) >= BOOK_MAX:
                self.book.popitem(last=False)
            self.book[address] = None
        return [self._save()] if new else []

    def _save(self) -> Persist:
        return Persist((("addresses", tuple(self.book)),), size_bytes=30 * len(self.book))

    def _on_getaddr(self, sender: NodeId, _message: GetAddr) -> Effects:
        """Tell a part of the book, once per connection; a crawler gets an answer too."""
        if sender in self.outbound or sender in self.told:
            return []
        if sender in self.inbound:
            self.told.add(sender)
        known = [address for address in self.book if address != sender]
        count = min(-(-len(known) * ADDRESSES_TOLD_PERCENT // 100), ADDRESSES_PER_MESSAGE_MAX)
        return [Send(sender, Addr((*self.source.sample(known, count), self.node_id)))]

    def _on_addr(self, sender: NodeId, message: Addr) -> Effects:
        """Learn, and pass on what is new if it was told in a small message."""
        if len(message.addresses) > ADDRESSES_PER_MESSAGE_MAX:
            return [Note("violation", f"{len(message.addresses)} addresses in one message")]
        new = tuple(a for a in message.addresses if a not in self.book and a != self.node_id)
        effects = self._learn(new)
        others = [peer for peer in self.peers if peer != sender]
        if new and len(message.addresses) <= ADDRESSES_RELAYED_MAX:
            chosen = self.source.sample(others, min(RELAY_PEERS, len(others)))
            effects += [Send(peer, Addr(new)) for peer in sorted(chosen)]
        return effects

    # Keeping connections.

    def _ping(self) -> Effects:
        """Drop who did not answer the last ping, and ask all again."""
        effects: Effects = [SetTimer("ping", PING_EVERY_NS)]
        for silent in sorted(self.unanswered):
            effects += self._lose(silent)
        self.unanswered = set(self.peers)
        return [*effects, *(Send(peer, Ping()) for peer in self.peers)]

    def _on_ping(self, sender: NodeId, _message: Ping) -> Effects:
        """Who counts on a connection that this node has forgotten is told so."""
        is_peer = sender in self.outbound or sender in self.inbound
        return [Send(sender, Pong() if is_peer else Refusal())]

    def _on_pong(self, sender: NodeId, _message: Pong) -> Effects:
        self.unanswered.discard(sender)
        return []

    def drop(self, peer: NodeId) -> Effects:
        """End a connection, and say so."""
        return [Send(peer, Refusal()), *self._lose(peer)]

    def _lose(self, peer: NodeId) -> Effects:
        """A connection is gone; the address too, until somebody tells it again."""
        was_connected = peer in self.outbound or peer in self.inbound
        self.outbound.pop(peer, None)
        self.inbound.pop(peer, None)
        self.told.discard(peer)
        self.unanswered.discard(peer)
        if not was_connected or peer not in self.book:
            return []
        del self.book[peer]
        return [Note("lost", peer), self._save()]
