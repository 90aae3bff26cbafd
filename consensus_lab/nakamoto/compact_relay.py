"""Who tells whom of blocks in their compact form, and what becomes of one (BIP 152).

Rules of this file: no effects; a compact block comes in, what to do with it comes out.

Theory of operation (Bitcoin Core, net_processing).  Both ends of a connection say that they know
compact blocks (`sendcmpct`).  A node asks the last three peers that brought it a new tip for
*high bandwidth*: they send each new block in compact form at once and unasked.  From the others,
in *low bandwidth*, it hears the identity, asks for headers, and then for the compact form of a
block that would be the next on its tip; of older blocks the pool no longer has the transactions,
so they are asked for whole.  One block is put together from one peer at a time; when that peer
does not answer in time the whole block is asked from another (see `block_download`).

A peer is not blamed for an invalid block that it told of in compact form: it may pass one on
before it has checked the transactions.  It is blamed for one that cannot be read.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from consensus_lab.nakamoto.block import Block
from consensus_lab.nakamoto.block_tree import BlockNode
from consensus_lab.nakamoto.compact_block import (
    NONCE_BYTES,
    BlockTransactions,
    BlockTransactionsRequest,
    CompactBlock,
    PartialBlock,
    compact,
)
from consensus_lab.nakamoto.encoding import sha256
from consensus_lab.nakamoto.peer_state import Peer
from consensus_lab.nakamoto.transaction import Transaction
from consensus_lab.node import NodeId, ProtocolViolation

HIGH_BANDWIDTH_PEERS_MAX = 3
"""Core, lNodesAnnouncingHeaderAndIDs."""

COMPACT_DEPTH_MAX, TRANSACTIONS_DEPTH_MAX = 5, 10
"""Blocks deeper below the tip are sent whole (Core, MAX_CMPCTBLOCK_DEPTH, MAX_BLOCKTXN_DEPTH)."""

PARTIAL_BLOCKS_MAX = 16


class Step(NamedTuple):
    """What to do with a compact block.

    Attributes
    ----------
    block : Block or None
        It is complete.
    request : BlockTransactionsRequest or None
        Ask its sender for these.
    is_whole_needed : bool
        Ask its sender for the whole block.
    """

    block: Block | None = None
    request: BlockTransactionsRequest | None = None
    is_whole_needed: bool = False


class CompactRelay:
    """One node's part in the relay of compact blocks.

    Attributes
    ----------
    announcers : list of int
        Peers that were asked for high bandwidth, the latest last.
    partial : dict of bytes to (PartialBlock, int)
        Blocks that wait for transactions, and from whom.
    """

    def __init__(self) -> None:
        self.announcers: list[NodeId] = []
        self.partial: dict[bytes, tuple[PartialBlock, NodeId]] = {}

    def choose(self, peer: Peer) -> list[tuple[NodeId, bool]]:
        """A peer brought a new tip; whom to tell that high bandwidth is wanted, or no more."""
        if not peer.knows_compact_blocks or peer.peer_id in self.announcers[-1:]:
            return []
        is_new = peer.peer_id not in self.announcers
        if not is_new:
            self.announcers.remove(peer.peer_id)
        self.announcers.append(peer.peer_id)
        told = [(peer.peer_id, True)] if is_new else []
        if len(self.announcers) > HIGH_BANDWIDTH_PEERS_MAX:
            told.append((self.announcers.pop(0), False))
        return told

    def forget(self, peer_id: NodeId) -> None:
        """A peer is gone, with what it was asked for."""
        self.announcers = [other for other in self.announcers if other != peer_id]
        for block_id, (_, asked) in list(self.partial.items()):
            if asked == peer_id:
                del self.partial[block_id]

    def settle(self, block_id: bytes) -> None:
        """The block is here, or never will be."""
        self.partial.pop(block_id, None)

    def take(
        self, source: CompactBlock, peer: Peer, pool: Iterable[Transaction], *, may_ask: bool
    ) -> Step:
        """A compact block of which only the header is known; without `may_ask` all or nothing."""
        block_id = source.header.block_id
        block = PartialBlock(source, pool)
        if not (block.is_ambiguous or block.missing):
            return self._finished(block, ())
        if not may_ask:
            return Step()
        if block.is_ambiguous:
            return Step(is_whole_needed=True)
        self.partial[block_id] = (block, peer.peer_id)
        if len(self.partial) > PARTIAL_BLOCKS_MAX:
            del self.partial[next(iter(self.partial))]
        return Step(request=BlockTransactionsRequest(block_id, block.missing))

    def fill(self, answer: BlockTransactions, peer: Peer) -> Step:
        """What was missing; an answer that nobody waits for is passed over.

        Raises
        ------
        ProtocolViolation
            `bad-blocktxn` for another number of transactions.
        """
        block, asked = self.partial.get(answer.block_id, (None, None))
        if block is None or asked != peer.peer_id:
            return Step()
        del self.partial[answer.block_id]
        return self._finished(block, answer.transactions)

    def _finished(self, block: PartialBlock, transactions: tuple[Transaction, ...]) -> Step:
        filled = block.filled(transactions)
        return Step(block=filled, is_whole_needed=filled is None)


def compact_form(block: Block, *, node_id: NodeId, session: int) -> CompactBlock:
    """A block as a node tells it; its number differs from that of every other node."""
    secret = b"%d %d" % (node_id, session)
    nonce = int.from_bytes(sha256(secret + block.block_id)[:NONCE_BYTES], "little")
    return compact(block, nonce=nonce)


def lacking_transactions(block: Block, request: BlockTransactionsRequest) -> BlockTransactions:
    """The answer to a request.

    Raises
    ------
    ProtocolViolation
        `bad-getblocktxn` for a position that the block does not have.
    """
    if request.positions and request.positions[-1] >= len(block.transactions):
        raise ProtocolViolation("bad-getblocktxn", f"position {request.positions[-1]}")
    wanted = tuple(block.transactions[place] for place in request.positions)
    return BlockTransactions(block.block_id, wanted)


def is_recent(node: BlockNode, tip: BlockNode, *, depth_max: int) -> bool:
    """Is a block so near to the tip that its transactions may still be in pools?"""
    return tip.height - node.height <= depth_max
