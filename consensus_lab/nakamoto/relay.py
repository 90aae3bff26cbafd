"""How a block gets from its miner to everyone: announce, ask, send, validate, announce again.

Rules of this file: a Node (see `consensus_lab.node`) over abstract blocks; nothing is drawn here.

Theory of operation.  A miner's new block is announced to all neighbours by its number (`Inv`).
Who does not have it and has not asked for it yet asks the first announcer (`GetData`) and gets
the whole block (`BlockMessage`).  A received block takes time to validate, one after the other,
in proportion to its size; then it joins the tree.  Only a block that becomes the node's new tip
is announced further (Bitcoin Core, `PeerManagerImpl::UpdatedBlockTip`): of two blocks at one
height a node relays the one that it saw first, so two fronts of a fork meet and stop.

When a branch overtakes, only its tip is announced; a neighbour on the other branch then gets a
block whose parent it does not know.  It keeps the orphan and asks the sender for the parent,
until the branches connect.

Sizes on the wire are those of Bitcoin's protocol documentation: every message has a 24-byte
header; an inventory entry has 36 bytes after a one-byte count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from consensus_lab.nakamoto.abstract_block import AbstractBlock, BlockTree
from consensus_lab.node import (
    Apply,
    Disk,
    Effect,
    Effects,
    Message,
    NodeId,
    Note,
    Persist,
    Send,
    SetTimer,
    Unapply,
)

MESSAGE_HEADER_BYTES = 24
"""Magic, command, length and checksum before every message (protocol documentation)."""

INVENTORY_BYTES = MESSAGE_HEADER_BYTES + 1 + 36
"""An `inv` or `getdata` with one entry: a count, a type of 4 bytes and a hash of 32 bytes."""

LOCATOR_BYTES = MESSAGE_HEADER_BYTES + 4 + 1 + 2 * 32
"""A `getblocks` with one hash: version, count, the hash, and the hash to stop at."""

NANOSECONDS_PER_SECOND = 1_000_000_000


class Inv(NamedTuple):
    """I have this block."""

    number: int

    @property
    def kind(self) -> str:
        """Name in traces."""
        return "inv"

    @property
    def size_bytes(self) -> int:
        """One inventory entry."""
        return INVENTORY_BYTES

    @property
    def identity(self) -> int:
        """The block that this is about."""
        return self.number


class GetData(NamedTuple):
    """Send me this block."""

    number: int

    @property
    def kind(self) -> str:
        """Name in traces."""
        return "getdata"

    @property
    def size_bytes(self) -> int:
        """One inventory entry."""
        return INVENTORY_BYTES

    @property
    def identity(self) -> int:
        """The block that this is about."""
        return self.number


class GetBlocks(NamedTuple):
    """My tip is this block: what do you have beyond it?"""

    number: int

    @property
    def kind(self) -> str:
        """Name in traces."""
        return "getblocks"

    @property
    def size_bytes(self) -> int:
        """A locator of one hash and a stop hash."""
        return LOCATOR_BYTES

    @property
    def identity(self) -> int:
        """The block that this is about."""
        return self.number


class BlockMessage(NamedTuple):
    """Here is the whole block."""

    block: AbstractBlock

    @property
    def kind(self) -> str:
        """Name in traces."""
        return "block"

    @property
    def size_bytes(self) -> int:
        """The block and the message header."""
        return MESSAGE_HEADER_BYTES + self.block.size_bytes

    @property
    def identity(self) -> int:
        """The block that this is about."""
        return self.block.number


class Found(NamedTuple):
    """Client command: this node finds the next block, with that number and size, now."""

    number: int
    size_bytes: int


class Validation(NamedTuple):
    """Time to validate a block: a fixed part, and one that grows with its size.

    Attributes
    ----------
    fixed_ns : int
    bytes_per_s : int
        0 means that bytes take no time.
    """

    fixed_ns: int = 0
    bytes_per_s: int = 0

    def time_ns(self, size_bytes: int) -> int:
        """How long that many bytes take, nanoseconds, rounded down."""
        if not self.bytes_per_s:
            return self.fixed_ns
        return self.fixed_ns + size_bytes * NANOSECONDS_PER_SECOND // self.bytes_per_s


_VALIDATE = "validate "


class RelayNode:
    """A full node of Nakamoto consensus over abstract blocks, which relays by inv and getdata.

    Parameters
    ----------
    node_id : int
    peers : iterable of int
        Its neighbours; links are used both ways.
    validation : Validation
        How long a block takes to validate.
    disk : mapping
        What survived a crash: blocks by `("block", number)` in order of acceptance.
    """

    def __init__(
        self,
        node_id: NodeId,
        peers: Iterable[NodeId],
        *,
        validation: Validation | None = None,
        disk: Disk | None = None,
    ) -> None:
        self.node_id = node_id
        self.peers = tuple(sorted(peers))
        self._peers = frozenset(self.peers)
        self.validation = validation or Validation()
        self.tree = BlockTree()
        # Blocks asked for and not yet here, with the peer that was asked.
        self.requested: dict[int, NodeId] = {}
        # Blocks received, with an accepted parent, on which validation has begun.
        self.validating: dict[int, AbstractBlock] = {}
        # When the processor has validated all that it has begun.
        self.processor_free_ns = 0
        # History, for whoever measures: blocks sent, orphans kept, branches left, most blocks
        # taken back at once.
        self.blocks_sent = 0
        self.orphans_kept = 0
        self.reorganisations = 0
        self.reorganisation_depth_max = 0
        self.was_restarted = bool(disk)
        for block in (disk or {}).values():
            self.tree.accept(block)
        self._handlers: dict[type, Callable[[NodeId, Any, int], Effects]] = {
            Inv: self._receive_inv,
            GetData: self._receive_getdata,
            GetBlocks: self._receive_getblocks,
            BlockMessage: self._receive_block,
        }

    # The Node contract.

    def start(self, now: int) -> Effects:
        """A fresh node waits; after a crash it asks its neighbours what it missed."""
        if not self.was_restarted:
            return []
        return [Send(peer, GetBlocks(self.tree.tip.number)) for peer in self.peers]

    def receive(self, sender: NodeId, message: Message, now: int) -> Effects:
        """A neighbour announces, asks for, or sends a block; anything else is ignored."""
        handler = self._handlers.get(type(message))
        if handler is None or sender not in self._peers:
            return [Note("ignored", message)]
        return handler(sender, message, now)

    def timer(self, name: str, now: int) -> Effects:
        """A block's validation is over."""
        block = self.validating.pop(int(name.removeprefix(_VALIDATE)))
        return self._accept(block, now)

    def submit(self, command: Any, now: int) -> Effects:
        """The node finds a block on its tip; its own block needs no validation."""
        assert isinstance(command, Found)
        block = self.tree.extend(
            number=command.number, size_bytes=command.size_bytes, miner=self.node_id
        )
        return self._accept(block, now)

    # Messages.

    def _receive_inv(self, sender: NodeId, message: Inv, now: int) -> Effects:
        """Ask the first announcer, once."""
        if self._has(message.number) or message.number in self.requested:
            return []
        return [self._request(message.number, sender)]

    def _receive_getdata(self, sender: NodeId, message: GetData, now: int) -> Effects:
        """Send what was validated; a request for anything else is ignored."""
        block = self.tree.blocks.get(message.number)
        if block is None:
            return []
        self.blocks_sent += 1
        return [Send(sender, BlockMessage(block))]

    def _receive_getblocks(self, sender: NodeId, message: GetBlocks, now: int) -> Effects:
        """A neighbour is back: tell it our tip, unless it is there already."""
        tip = self.tree.tip.number
        return [] if tip == message.number else [Send(sender, Inv(tip))]

    def _receive_block(self, sender: NodeId, message: BlockMessage, now: int) -> Effects:
        """Validate it, or keep it as an orphan and ask the sender for its parent."""
        block = message.block
        self.requested.pop(block.number, None)
        if self._has(block.number):
            return []
        effects: Effects = [Note("received", block.number)]
        if self.tree.is_accepted(block.parent):
            effects.append(self._validate(block, now))
            return effects
        self.tree.keep_orphan(block)
        self.orphans_kept += 1
        if not self._has(block.parent) and block.parent not in self.requested:
            effects.append(self._request(block.parent, sender))
        return effects

    # Steps.

    def _has(self, number: int) -> bool:
        """True when the block's bytes are here, in whatever state."""
        return (
            self.tree.is_accepted(number)
            or number in self.validating
            or self.tree.is_orphan(number)
        )

    def _request(self, number: int, peer: NodeId) -> Effect:
        self.requested[number] = peer
        return Send(peer, GetData(number))

    def _validate(self, block: AbstractBlock, now: int) -> Effect:
        """Queue the block at the node's one processor."""
        begin = max(now, self.processor_free_ns)
        self.processor_free_ns = begin + self.validation.time_ns(block.size_bytes)
        self.validating[block.number] = block
        return SetTimer(f"{_VALIDATE}{block.number}", self.processor_free_ns - now)

    def _accept(self, block: AbstractBlock, now: int) -> Effects:
        """The block joins the tree; a new tip is announced; orphans of it are validated."""
        moved = self.tree.accept(block)
        effects: Effects = [
            Persist(((("block", block.number), block),)),
            Note("accepted", block.number),
        ]
        if moved is not None:
            if moved.left:
                self.reorganisations += 1
                self.reorganisation_depth_max = max(self.reorganisation_depth_max, len(moved.left))
            effects += [Unapply(left.height, left) for left in moved.left]
            effects += [Apply(joined.height, joined) for joined in moved.joined]
            effects += [Send(peer, Inv(block.number)) for peer in self.peers]
        effects += [self._validate(child, now) for child in self.tree.take_orphans(block.number)]
        return effects
