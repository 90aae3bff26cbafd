"""A private branch: blocks that are mined, valid, and told to nobody until it pays.

Rules of this file: no messages; the owner decides when to begin, to mine and to publish.

Theory of operation.  A miner that withholds keeps two chains: the public one, as all see it, and
its own, which parts from it at the *fork*.  It hangs the headers of its own blocks into its block
tree (so that it can build on them) and keeps their transactions to itself: a chain does not follow
a branch whose data it lacks, and nobody is told of it.  To publish is to hand the whole blocks to
the node's books, which then follow the branch if it has more work than the public one.
"""

from __future__ import annotations

from collections.abc import Sequence

from consensus_lab.nakamoto.block import Block
from consensus_lab.nakamoto.block_tree import BlockNode
from consensus_lab.nakamoto.chain import Chain
from consensus_lab.nakamoto.miner import block_template, mine
from consensus_lab.nakamoto.transaction import Transaction


class PrivateBranch:
    """Withheld blocks on top of a public one.

    Parameters
    ----------
    chain : Chain
        The owner's; the fork is its tip now.
    script_pubkey : bytes
        Who is paid by the blocks.
    tag : bytes
        In each coinbase, to tell miners apart.

    Attributes
    ----------
    fork, tip : BlockNode
        Where it begins, and how far it is.
    blocks : list of Block
        Its blocks, the lowest first.
    """

    def __init__(self, chain: Chain, *, script_pubkey: bytes, tag: bytes) -> None:
        self.chain = chain
        self.script_pubkey = script_pubkey
        self.tag = tag
        self.fork: BlockNode = chain.tip
        self.tip: BlockNode = chain.tip
        self.blocks: list[Block] = []

    @property
    def lead(self) -> int:
        """Blocks that it is ahead of the public chain; negative when it is behind."""
        return self.tip.height - self.chain.height

    def mine(
        self, transactions: Sequence[Transaction] = (), *, fees_satoshi: int = 0, now_s: int
    ) -> Block:
        """Find the next block of the branch.

        Parameters
        ----------
        transactions : sequence of Transaction
            What it confirms, parents before children.
        fees_satoshi : int
            Sum of their fees.
        now_s : int
            The miner's clock, Unix seconds.
        """
        template = block_template(
            self.chain,
            script_pubkey=self.script_pubkey,
            now_s=now_s,
            transactions=transactions,
            fees_satoshi=fees_satoshi,
            parent=self.tip,
            tag=self.tag,
        )
        block = mine(template)
        self.tip = self.chain.add_header(block.header, now_s=now_s)
        self.blocks.append(block)
        return block
