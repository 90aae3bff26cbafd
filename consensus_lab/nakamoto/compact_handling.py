"""What a full node does when a peer speaks of compact blocks.

Rules of this file: functions of the node, registered by it; the decisions are `compact_relay`'s.

Theory of operation.  The header of a compact block is checked first, so nobody makes us search the
pool without having done the work.  If the block would not be next on a branch whose blocks are
here, or another peer was asked for it, only a complete match from the pool is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from consensus_lab.nakamoto.block import Block
from consensus_lab.nakamoto.compact_block import (
    parse_block_transactions,
    parse_compact_block,
    parse_request,
)
from consensus_lab.nakamoto.compact_relay import (
    TRANSACTIONS_DEPTH_MAX,
    Step,
    compact_form,
    is_recent,
    lacking_transactions,
)
from consensus_lab.nakamoto.full_node_messages import (
    BlockMessage,
    BlockTransactionsMessage,
    CompactBlockMessage,
    GetBlockTransactions,
    GetData,
    Inv,
    SendCompact,
)
from consensus_lab.nakamoto.peer_state import Peer
from consensus_lab.node import Effects, Note, ProtocolViolation, Send

if TYPE_CHECKING:
    from consensus_lab.nakamoto.full_node import FullNode


def on_send_compact(node: FullNode, peer: Peer, message: SendCompact, now: int) -> Effects:
    """The peer knows compact blocks, and says how it wants to hear of new ones."""
    peer.knows_compact_blocks = True
    peer.wants_high_bandwidth = message.is_high_bandwidth
    return []


def on_compact_block(
    node: FullNode, peer: Peer, message: CompactBlockMessage, now: int
) -> Effects:
    """A block in compact form, asked for or not."""
    source = parse_compact_block(message.data)
    if source.header.previous not in node.chain.tree.nodes:
        return [node.ask_headers(peer)]
    place = node.chain.add_header(source.header, now_s=node.now_s(now))
    peer.learn_block(place)
    node.download.want(place, node.chain.tip)
    if place.has_data or place.violation is not None or place.block_id not in node.download.missing:
        return node.fetch(now)
    assert place.parent is not None
    is_ours = place.parent.has_data and node.download.claim(place.block_id, peer.peer_id, now)
    pool = (entry.transaction for entry in node.pool)
    step = node.compact.take(source, peer, pool, may_ask=is_ours)
    if not is_ours and step.block is None:
        return node.fetch(now)
    return _follow(node, peer, place.block_id, step, now)


def on_block_transactions(
    node: FullNode, peer: Peer, message: BlockTransactionsMessage, now: int
) -> Effects:
    """The transactions that we lacked."""
    answer = parse_block_transactions(message.data)
    return _follow(node, peer, answer.block_id, node.compact.fill(answer, peer), now)


def on_get_block_transactions(
    node: FullNode, peer: Peer, message: GetBlockTransactions, now: int
) -> Effects:
    """Transactions of a block by position; of an old block, the whole block."""
    request = parse_request(message.data)
    place = node.chain.tree.nodes.get(request.block_id)
    if place is None or not place.has_data or place.violation is not None:
        return []
    block = node.chain.blocks[request.block_id]
    answer = lacking_transactions(block, request)
    if is_recent(place, node.chain.tip, depth_max=TRANSACTIONS_DEPTH_MAX):
        return [Send(peer.peer_id, BlockTransactionsMessage(answer.serialize()))]
    return [Send(peer.peer_id, BlockMessage(block.serialize()))]


def _follow(node: FullNode, peer: Peer, block_id: bytes, step: Step, now: int) -> Effects:
    """Take what is complete, ask for what is not."""
    if step.request is not None:
        return [Send(peer.peer_id, GetBlockTransactions(step.request.serialize()))]
    if step.is_whole_needed:
        return [Send(peer.peer_id, GetData((), (block_id,)))]
    if step.block is None:
        return []
    node.download.received(block_id)
    try:
        # Nobody is named as its source, so nobody is blamed for what is wrong in it.
        return node.take_blocks(step.block, node.node_id, now) + praise(node, peer, step.block)
    except ProtocolViolation as violation:
        return [Note("refused", (node.node_id, violation.rule)), *node.fetch(now)]


def praise(node: FullNode, peer: Peer, block: Block) -> Effects:
    """Who brought the new tip is asked for high bandwidth, and the fourth last no more."""
    if node.chain.tip.block_id != block.block_id:
        return []
    told = node.compact.choose(peer)
    return [Send(peer_id, SendCompact(is_high)) for peer_id, is_high in told]


def announcement(node: FullNode, peer: Peer) -> Inv | CompactBlockMessage:
    """How to tell a peer of our tip: at once in compact form, if it wants that and can use it."""
    tip = node.chain.tip
    if peer.wants_high_bandwidth and tip.parent is not None and peer.has(tip.parent):
        peer.learn_block(tip)
        block = node.chain.blocks[tip.block_id]
        form = compact_form(block, node_id=node.node_id, session=node.session)
        return CompactBlockMessage(form.serialize())
    return Inv((), (tip.block_id,))
