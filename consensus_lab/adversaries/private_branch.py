"""A private branch: blocks that are mined, valid, and told to nobody until it pays.

Rules of this file: the owner decides when to begin, to mine and to publish.

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
from consensus_lab.nakamoto.full_node import FullNode
from consensus_lab.nakamoto.full_node_messages import Inv
from consensus_lab.nakamoto.miner import block_template, mine
from consensus_lab.nakamoto.peer_state import SECOND_NS
from consensus_lab.nakamoto.transaction import Transaction
from consensus_lab.node import Effects, Message, Note, Send


class PrivateBranch:
    """Withheld blocks on top of a public one.

    Parameters
    ----------
    node : FullNode
        The owner's public face; its wallet is paid by the blocks.
    fork : BlockNode, optional
        The block to part from; the public tip as it is now, if left out.

    Attributes
    ----------
    fork, tip : BlockNode
        Where it begins, and how far it is.
    blocks : list of Block
        Its blocks, the lowest first.
    """

    def __init__(self, node: FullNode, *, fork: BlockNode | None = None) -> None:
        self.node = node
        self.chain: Chain = node.chain
        self.fork: BlockNode = fork or self.chain.tip
        self.tip: BlockNode = self.fork
        self.blocks: list[Block] = []

    @property
    def lead(self) -> int:
        """Blocks that it is ahead of the public chain; negative when it is behind."""
        return self.tip.height - self.chain.height

    def mine(
        self, transactions: Sequence[Transaction] = (), *, fees_satoshi: int = 0, now: int
    ) -> Block:
        """Find the next block of the branch.

        Parameters
        ----------
        transactions : sequence of Transaction
            What it confirms, parents before children.
        fees_satoshi : int
            Sum of their fees.
        now : int
            Nanoseconds.
        """
        now_s = clock_s(self.node, now)
        template = block_template(
            self.chain,
            script_pubkey=self.node.ledger.wallet.scripts[0],
            now_s=now_s,
            transactions=transactions,
            fees_satoshi=fees_satoshi,
            parent=self.tip,
            tag=self.node.node_id.to_bytes(4, "big"),
        )
        block = mine(template)
        self.tip = self.chain.add_header(block.header, now_s=now_s)
        self.blocks.append(block)
        return block

    def publish(self, now: int) -> Effects:
        """Follow the branch, and announce its tip: the others will ask for the rest."""
        effects: Effects = []
        for block in self.blocks:
            effects += self.node.ledger.take(block, now_s=clock_s(self.node, now)).effects
        assert self.chain.tip is self.tip, "a longer valid branch is followed"
        effects += to_connected(self.node, Inv((), (self.tip.block_id,)), now)
        return [*effects, Note("released", len(self.blocks))]


def to_connected(node: FullNode, message: Message, now: int) -> Effects:
    """The same message to all peers that a node is connected to."""
    return [
        Send(peer.peer_id, message)
        for peer in node.peers.values()
        if peer.is_connected and not peer.is_banned(now)
    ]


def clock_s(node: FullNode, now: int) -> int:
    """A node's clock, Unix seconds."""
    return node.start_s + now // SECOND_NS
