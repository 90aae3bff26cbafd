"""Answers to peers that ask for headers, blocks and payments.

Rules of this file: it reads the node's books and decides nothing.

Only blocks that were not found invalid are given out, and only headers of the best branch: whoever
follows them meets nothing that this node would not vouch for.
"""

from __future__ import annotations

from collections.abc import Iterable

from consensus_lab.nakamoto.chain import Chain
from consensus_lab.nakamoto.compact_relay import COMPACT_DEPTH_MAX, compact_form, is_recent
from consensus_lab.nakamoto.full_node_messages import (
    HEADERS_MAX,
    BlockMessage,
    CompactBlockMessage,
    GetData,
    NotFound,
    TransactionMessage,
)
from consensus_lab.nakamoto.mempool import Mempool
from consensus_lab.nakamoto.peer_state import Peer
from consensus_lab.node import NodeId

Answer = TransactionMessage | BlockMessage | NotFound


def answer_getdata(
    pool: Mempool, peer: Peer, message: GetData, *, node_id: NodeId, session: int
) -> list[Answer]:
    """What is here, one message each, and one that names what is not.

    Parameters
    ----------
    pool : Mempool
        The node's, with its chain.
    peer : Peer
        Who asks; from now on it knows what it is sent.
    message : GetData
        Its request.
    node_id, session : int
        Of the node that answers; compact blocks are salted with them.
    """
    answers: list[Answer] = []
    lacking: list[bytes] = []
    for txid in message.transactions:
        entry = pool.entries.get(txid)
        if entry is None:
            lacking.append(txid)
            continue
        peer.learn_transaction(txid)
        answers.append(TransactionMessage(entry.transaction.serialize()))
    lacking_blocks: list[bytes] = []
    chain = pool.chain
    for block_id in (*message.blocks, *message.compact_blocks):
        node = chain.tree.nodes.get(block_id)
        if node is None or not node.has_data or node.violation is not None:
            lacking_blocks.append(block_id)
            continue
        peer.learn_block(node)
        block = chain.blocks[block_id]
        is_near = is_recent(node, chain.tip, depth_max=COMPACT_DEPTH_MAX)
        if block_id in message.compact_blocks and is_near:
            form = compact_form(block, node_id=node_id, session=session)
            answers.append(CompactBlockMessage(form.serialize()))
        else:
            answers.append(BlockMessage(block.serialize()))
    if lacking or lacking_blocks:
        answers.append(NotFound(tuple(lacking), tuple(lacking_blocks)))
    return answers


def headers_after(chain: Chain, locator: Iterable[bytes]) -> tuple[bytes, ...]:
    """Headers of the best branch after the first identity that is on it, else after genesis."""
    nodes = (chain.tree.nodes.get(block_id) for block_id in locator)
    common = next((n for n in nodes if n is not None and chain.is_active(n)), None)
    begin = 1 if common is None else common.height + 1
    return tuple(n.header.serialize() for n in chain.active[begin : begin + HEADERS_MAX])
