"""How a block gets from its miner to everyone: announce, ask, send, validate, announce again.

Rules of this file: a Node (see `consensus_lab.node`) over abstract blocks; nothing is drawn here.

Theory of operation.  A node that has validated a block which becomes its new tip tells its
neighbours (Bitcoin Core, `PeerManagerImpl::UpdatedBlockTip`); of two blocks at one height it
relays only the one that it saw first, so two fronts of a fork meet and stop.  How it tells is the
*relay protocol*:

- `push`: it sends the whole block, unasked, to every neighbour not known to have it.
- `inv`: it announces the block's number; who lacks it asks the first announcer for the block.
- `headers` (BIP 130): it announces the header, so a neighbour does not ask for a block with less
  work than its own tip.
- `compact_low` (BIP 152, low bandwidth): as `headers`, but a neighbour that has the parent asks
  for the compact form: short ids of transactions, most of which it has.  With some chance
  transactions are missing and cost another round trip.
- `compact_high` (BIP 152, high bandwidth): each node asks the last three neighbours that brought
  it a block to send compact blocks unasked, and these are sent on before they are validated.

An *overlay* (as the relay network that Bitcoin's pools have used since 2013, now FIBRE) is a set of
neighbours to whom a block goes on in compact form as soon as it is here, before it is validated.
It has connections of its own: between its members, compact blocks and what lacks of them do not
wait behind the whole blocks in a node's line.  (FIBRE sends spare data with a block, which saves
the round trip for what lacks; here it costs one.)  Only a block on the node's tip is sent on
before validation, and one per height.

Validation takes time, one block after the other, in proportion to size.  A block whose parent is
not accepted yet is kept as an orphan, and its sender is asked for the parent, until the branches
connect: a branch that overtakes is announced by its tip only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from consensus_lab.nakamoto.abstract_block import AbstractBlock, BlockTree, Reorganisation
from consensus_lab.nakamoto.relay_messages import (
    TRANSACTIONS_FIXED_BYTES,
    BlockMessage,
    CompactBlock,
    GetData,
    GetTransactions,
    Headers,
    Inv,
    SendCompact,
    Transactions,
    compact_bytes,
)
from consensus_lab.nakamoto.relay_options import (
    HIGH_BANDWIDTH_SOURCES,
    Found,
    Relay,
    Validation,
)
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

_VALIDATE = "validate "


class RelayNode:
    """A full node of Nakamoto consensus over abstract blocks.

    Parameters
    ----------
    node_id : int
    peers : iterable of int
        Its neighbours; links are used both ways.
    relay : Relay
        How blocks are told on.
    validation : Validation
        How long a block takes to validate.
    lacks_transactions : callable (block number) -> bool, optional
        The chance of a compact block, drawn by whoever runs the node; never, by default.
    overlay : iterable of int
        Neighbours to whom compact blocks go on before validation, on connections of their own.
    disk : mapping
        What survived a crash: blocks by `("block", number)` in order of acceptance.
    """

    def __init__(
        self,
        node_id: NodeId,
        peers: Iterable[NodeId],
        *,
        relay: Relay | None = None,
        validation: Validation | None = None,
        lacks_transactions: Callable[[int], bool] | None = None,
        overlay: Iterable[NodeId] = (),
        disk: Disk | None = None,
    ) -> None:
        self.node_id = node_id
        self.peers = tuple(sorted(peers))
        self._peers = frozenset(self.peers)
        self.relay = (relay or Relay()).validated()
        self.validation = validation or Validation()
        self.lacks_transactions = lacks_transactions or (lambda number: False)
        self.overlay = frozenset(overlay)
        self.tree = BlockTree()
        # Blocks asked for and not yet here, with the peer that was asked.
        self.requested: dict[int, NodeId] = {}
        # Compact blocks of which transactions were asked for.
        self.filling: set[int] = set()
        # Blocks received, with an accepted parent, on which validation has begun.
        self.validating: dict[int, AbstractBlock] = {}
        # When the processor has validated all that it has begun.
        self.processor_free_ns = 0
        # Peers that sent us a block's data, or got it from us unasked.
        self.known_by: dict[int, set[NodeId]] = {}
        # Who brought each block that is not yet accepted.
        self.source: dict[int, NodeId] = {}
        # High bandwidth: who sends to us unasked (oldest first), and who asked us to.
        self.fast_sources: list[NodeId] = []
        self.fast_peers: set[NodeId] = set()
        # Highest block sent on before validation: one per height (Core, m_highest_fast_announce).
        self.fast_height = 0
        # History, for whoever measures: blocks sent, orphans kept, branches left, most blocks
        # taken back at once.
        self.blocks_sent = 0
        self.orphans_kept = 0
        self.reorganisations = 0
        self.reorganisation_depth_max = 0
        for block in (disk or {}).values():
            self.tree.accept(block)
        self._handlers: dict[type, Callable[[NodeId, Any, int], Effects]] = {
            Inv: self._receive_inv,
            Headers: self._receive_headers,
            GetData: self._receive_getdata,
            BlockMessage: self._receive_block,
            CompactBlock: self._receive_compact,
            GetTransactions: self._receive_get_transactions,
            Transactions: self._receive_transactions,
            SendCompact: self._receive_send_compact,
        }

    # The Node contract.

    def start(self, now: int) -> Effects:
        """A node waits until it hears something."""
        return []

    def receive(self, sender: NodeId, message: Message, now: int) -> Effects:
        """A neighbour's message; anything else is ignored."""
        handler = self._handlers.get(type(message))
        if handler is None or sender not in self._peers:
            return [Note("ignored", message)]
        return handler(sender, message, now)

    def timer(self, name: str, now: int) -> Effects:
        """A block's validation is over, unless it was accepted in the meantime on other grounds."""
        block = self.validating.pop(int(name.removeprefix(_VALIDATE)), None)
        return self._accept(block, now) if block is not None else []

    def submit(self, command: Any, now: int) -> Effects:
        """The node finds a block on its tip; its own block needs no validation."""
        assert isinstance(command, Found)
        block = self.tree.extend(
            number=command.number, size_bytes=command.size_bytes, miner=self.node_id
        )
        return [*self._send_on(block), *self._accept(block, now)]

    # Announcements and requests.

    def _receive_inv(self, sender: NodeId, message: Inv, now: int) -> Effects:
        """Ask the first announcer, once."""
        if not self._wants(message.number):
            return []
        return [self._request(message.number, sender)]

    def _receive_headers(self, sender: NodeId, message: Headers, now: int) -> Effects:
        """Ask the first announcer, once, unless the block has less work than our tip."""
        block = message.block
        if not self._wants(block.number) or self._is_behind(block):
            return []
        is_compact = self.relay.protocol.startswith("compact")
        return [
            self._request(
                block.number, sender, compact=is_compact and self.tree.is_accepted(block.parent)
            )
        ]

    def _receive_getdata(self, sender: NodeId, message: GetData, now: int) -> Effects:
        """Send what was validated; a request for anything else is ignored."""
        block = self.tree.blocks.get(message.number)
        if block is None:
            return []
        return [self._send_compact(sender, block) if message.compact else self._send(sender, block)]

    def _receive_send_compact(self, sender: NodeId, message: SendCompact, now: int) -> Effects:
        """A neighbour wants compact blocks unasked, or no longer."""
        if message.is_wanted:
            self.fast_peers.add(sender)
        else:
            self.fast_peers.discard(sender)
        return []

    # Blocks.

    def _receive_block(self, sender: NodeId, message: BlockMessage, now: int) -> Effects:
        """The whole block is here."""
        block = message.block
        self._learn(sender, block)
        return [] if self._has(block.number) else self._complete(sender, block, now)

    def _receive_compact(self, sender: NodeId, message: CompactBlock, now: int) -> Effects:
        """The short ids are here: all transactions may be, or some are asked for."""
        block = message.block
        self._learn(sender, block)
        if self._has(block.number) or block.number in self.filling:
            return []
        if not self.lacks_transactions(block.number):
            return self._complete(sender, block, now)
        self.filling.add(block.number)
        self.requested[block.number] = sender
        return [Send(sender, GetTransactions(block.number))]

    def _receive_get_transactions(
        self, sender: NodeId, message: GetTransactions, now: int
    ) -> Effects:
        """Send the transactions of a block that was sent in compact form."""
        block = self.tree.blocks.get(message.number) or self.validating.get(message.number)
        if block is None:
            return []
        size = TRANSACTIONS_FIXED_BYTES + self.relay.missing_bytes(block.size_bytes)
        return [Send(sender, Transactions(block, size, sender in self.overlay))]

    def _receive_transactions(self, sender: NodeId, message: Transactions, now: int) -> Effects:
        """The compact block is filled."""
        block = message.block
        return [] if self._has(block.number) else self._complete(sender, block, now)

    # Steps.

    def _reachable(self) -> tuple[NodeId, ...]:
        """The neighbours to whom there is a connection now, ascending."""
        return self.peers

    def _has(self, number: int) -> bool:
        """True when the block's bytes are here, in whatever state."""
        return (
            self.tree.is_accepted(number)
            or number in self.validating
            or self.tree.is_orphan(number)
        )

    def _wants(self, number: int) -> bool:
        """True when the block is not here and nothing of it is on the way at our request."""
        return not (number in self.requested or number in self.filling or self._has(number))

    def _is_behind(self, block: AbstractBlock) -> bool:
        """True when the block has less work than our tip."""
        return block.chain_work < self.tree.tip.chain_work

    def _request(self, number: int, peer: NodeId, *, compact: bool = False) -> Effect:
        self.requested[number] = peer
        return Send(peer, GetData(number, compact))

    def _learn(self, sender: NodeId, block: AbstractBlock) -> None:
        """Who sent a block has it; of no use any more once it is accepted and announced."""
        if not self.tree.is_accepted(block.number):
            self.known_by.setdefault(block.number, set()).add(sender)

    def _send(self, peer: NodeId, block: AbstractBlock) -> Effect:
        self.blocks_sent += 1
        return Send(peer, BlockMessage(block))

    def _send_compact(self, peer: NodeId, block: AbstractBlock) -> Effect:
        self.blocks_sent += 1
        size = compact_bytes(block.size_bytes, self.relay.transaction_bytes)
        return Send(peer, CompactBlock(block, size, peer in self.overlay))

    def _complete(self, sender: NodeId, block: AbstractBlock, now: int) -> Effects:
        """All of a block is here: send it on and validate it, or keep it as an orphan."""
        self.requested.pop(block.number, None)
        self.filling.discard(block.number)
        self.source[block.number] = sender
        effects: Effects = [Note("received", block.number)]
        if self.tree.is_accepted(block.parent):
            effects += self._send_on(block)
            effects.append(self._validate(block, now))
            return effects
        self.tree.keep_orphan(block)
        self.orphans_kept += 1
        if self._wants(block.parent):
            effects.append(self._request(block.parent, sender))
        return effects

    def _send_on(self, block: AbstractBlock) -> Effects:
        """Before validation: to the overlay, and to who asked for compact blocks unasked."""
        if block.parent != self.tree.tip.number or block.height <= self.fast_height:
            return []
        told_early = self.overlay | self.fast_peers
        fast = [peer for peer in self._reachable() if peer in told_early]
        if not fast:
            return []
        self.fast_height = block.height
        known_by = self.known_by.setdefault(block.number, set())
        fresh = [peer for peer in fast if peer not in known_by]
        known_by.update(fresh)
        return [self._send_compact(peer, block) for peer in fresh]

    def _validate(self, block: AbstractBlock, now: int) -> Effect:
        """Queue the block at the node's one processor."""
        begin = max(now, self.processor_free_ns)
        self.processor_free_ns = begin + self.validation.time_ns(block.size_bytes)
        self.validating[block.number] = block
        return SetTimer(f"{_VALIDATE}{block.number}", self.processor_free_ns - now)

    def _accept(self, block: AbstractBlock, now: int) -> Effects:
        """The block joins the tree; a new tip is announced; orphans of it are validated."""
        moved = self._join(block)
        effects: Effects = [
            Persist(((("block", block.number), block),)),
            Note("accepted", block.number),
        ]
        source = self.source.pop(block.number, None)
        if source is not None and self.relay.protocol == "compact_high":
            effects += self._prefer(source, block.number)
        if moved is not None:
            effects += self._move(moved)
            effects += self._announce(block)
        effects += [self._validate(child, now) for child in self.tree.take_orphans(block.number)]
        return effects

    def _join(self, block: AbstractBlock) -> Reorganisation | None:
        """Add the block to the tree; how the tip moved, if it is to be announced."""
        return self.tree.accept(block)

    def _move(self, moved: Reorganisation) -> Effects:
        """The tip has moved: count it and hand it to who follows the chain."""
        if moved.left:
            self.reorganisations += 1
            self.reorganisation_depth_max = max(self.reorganisation_depth_max, len(moved.left))
        effects: Effects = [Unapply(left.height, left) for left in moved.left]
        return effects + [Apply(joined.height, joined) for joined in moved.joined]

    def _announce(self, block: AbstractBlock) -> Effects:
        """Tell every neighbour that is not known to have the block, by the relay protocol."""
        known_by = self.known_by.pop(block.number, ())
        fresh = [peer for peer in self._reachable() if peer not in known_by]
        if self.relay.protocol == "push":
            return [self._send(peer, block) for peer in fresh]
        announcement = Inv(block.number) if self.relay.protocol == "inv" else Headers(block)
        return [Send(peer, announcement) for peer in fresh]

    def _prefer(self, source: NodeId, number: int) -> Effects:
        """Have this neighbour send compact blocks unasked, in place of the oldest of three."""
        if source in self.fast_sources:
            self.fast_sources.remove(source)
            self.fast_sources.append(source)
            return []
        effects: Effects = []
        if len(self.fast_sources) == HIGH_BANDWIDTH_SOURCES:
            effects.append(Send(self.fast_sources.pop(0), SendCompact(False, number)))
        self.fast_sources.append(source)
        return [*effects, Send(source, SendCompact(True, number))]
