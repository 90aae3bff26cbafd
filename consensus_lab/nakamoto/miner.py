"""Miner: builds the next block and searches its proof of work.

Rules of this file: what a miner does with a chain and an ordered list of transactions; which
transactions those are is the memory pool's business.

Theory of operation (essay, "build consensus").  A miner may start at any time, with any number of
transactions, even none.  Its block holds a coinbase that pays subsidy and fees to its own script
and states the height; the coinbase's script also has room for the extra nonce.  The time is the
clock, but never at or below the median of the last 11 blocks.  Whoever mines on a tip votes for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from consensus_lab.nakamoto.block import Block, commitment_output, height_script
from consensus_lab.nakamoto.block_tree import BlockNode
from consensus_lab.nakamoto.chain import Chain
from consensus_lab.nakamoto.encoding import NULL_ID
from consensus_lab.nakamoto.header import BlockHeader
from consensus_lab.nakamoto.merkle import merkle_root
from consensus_lab.nakamoto.pow import NONCES, search_extra_nonce
from consensus_lab.nakamoto.script import push, push_number
from consensus_lab.nakamoto.transaction import (
    COINBASE_SCRIPT_SIZE_BYTES,
    NULL_INDEX,
    OutPoint,
    Transaction,
    TransactionInput,
    TransactionOutput,
)
from consensus_lab.node import ParameterError

BLOCK_VERSION = 0x20000000
"""What today's miners write when they vote for nothing (BIP 9)."""

_RESERVED_WITNESS = bytes(32)


@dataclass(frozen=True)
class BlockTemplate:
    """A block that lacks nothing but its nonce.

    Parameters
    ----------
    header : BlockHeader
        Its Merkle root is filled for each extra nonce.
    height : int
        Where the block will stand.
    reward_satoshi : int
        Subsidy and fees.
    script_pubkey : bytes
        Who gets them.
    transactions : tuple of Transaction
        Without the coinbase, parents before children.
    tag : bytes
        Free bytes in the coinbase, to tell miners apart.
    """

    header: BlockHeader
    height: int
    reward_satoshi: int
    script_pubkey: bytes
    transactions: tuple[Transaction, ...]
    tag: bytes = b""

    def coinbase(self, extra_nonce: int) -> Transaction:
        """The coinbase for an extra nonce, with a commitment where witnesses need one."""
        script_sig = height_script(self.height) + push_number(extra_nonce)
        if self.tag:
            script_sig += push(self.tag)
        script_sig = script_sig.ljust(COINBASE_SCRIPT_SIZE_BYTES[0], b"\x00")
        item = TransactionInput(OutPoint(NULL_ID, NULL_INDEX), script_sig)
        outputs = [TransactionOutput(self.reward_satoshi, self.script_pubkey)]
        if any(transaction.has_witness for transaction in self.transactions):
            item = item._replace(witness=(_RESERVED_WITNESS,))
            placeholder = Transaction((item,), tuple(outputs))
            covered = (placeholder, *self.transactions)
            outputs.append(commitment_output(covered, _RESERVED_WITNESS))
        return Transaction((item,), tuple(outputs))

    def block(self, extra_nonce: int) -> Block:
        """The whole block for an extra nonce; its nonce is still to be found."""
        transactions = (self.coinbase(extra_nonce), *self.transactions)
        root = merkle_root([transaction.txid for transaction in transactions]).root
        return Block(replace(self.header, merkle_root=root), transactions)


def block_template(
    chain: Chain,
    *,
    script_pubkey: bytes,
    now_s: int,
    transactions: Sequence[Transaction] = (),
    fees_satoshi: int = 0,
    parent: BlockNode | None = None,
    tag: bytes = b"",
) -> BlockTemplate:
    """Prepare the block after the tip.

    Parameters
    ----------
    chain : Chain
        The miner's own.
    script_pubkey : bytes
        Who is paid.
    now_s : int
        The miner's clock, Unix seconds.
    transactions : sequence of Transaction
        What to confirm, parents before children.
    fees_satoshi : int
        Sum of their fees.
    parent : BlockNode, optional
        Another block than the tip to build on, as attackers do.
    tag : bytes
        Free bytes in the coinbase.
    """
    if len(tag) > COINBASE_SCRIPT_SIZE_BYTES[1] // 2:
        raise ParameterError("tag", f"{len(tag)} bytes", "at most 50 bytes long")
    parent = parent or chain.tip
    time_s = max(now_s, parent.median_time_s + 1)
    height = parent.height + 1
    nbits = chain.tree.required_nbits(parent, time_s=time_s)
    header = BlockHeader(BLOCK_VERSION, parent.block_id, NULL_ID, time_s, nbits, 0)
    reward = chain.rules.subsidy_satoshi(height) + fees_satoshi
    return BlockTemplate(header, height, reward, script_pubkey, tuple(transactions), tag)


def mine(template: BlockTemplate, *, tries_per_extra_nonce: int = NONCES) -> Block:
    """Search nonces and extra nonces until the block meets its target.

    Parameters
    ----------
    template : BlockTemplate
        What to mine.
    tries_per_extra_nonce : int
        Nonces to try before the coinbase is changed.
    """
    header, extra_nonce = search_extra_nonce(
        lambda extra: template.block(extra).header, tries_per_extra_nonce=tries_per_extra_nonce
    )
    block = template.block(extra_nonce)
    return replace(block, header=header)
