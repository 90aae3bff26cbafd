"""Chain: which branch a node follows, and what it does when another one wins.

Rules of this file: a node's whole ledger; one call per delivered block, nothing happens between.

Theory of operation (essay, "choice between conflicting chains").  A node follows the branch with
the most accumulated work, not the most blocks.  Of two branches with equal work it stays with the
one that it had first; the tie ends when somebody extends either.  A block is checked completely
only when it is about to join the best chain.  So to follow a better branch means: walk back to
the fork, undoing block after block; walk forward, checking and applying; if a block turns out
invalid, mark it and all below it and choose again, which may lead straight back.

Blocks of a lost branch are *stale*: their miners get nothing, since their coinbases exist only in
their branch.  Their other transactions return to the memory pool; `Delivery` lists the blocks
that left and joined for whoever keeps one.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import NamedTuple

from consensus_lab.nakamoto.block import Block, check_block
from consensus_lab.nakamoto.block_tree import BlockNode, BlockTree
from consensus_lab.nakamoto.header import BlockHeader
from consensus_lab.nakamoto.network_rules import NetworkRules
from consensus_lab.nakamoto.utxo import BlockUndo, UtxoSet
from consensus_lab.nakamoto.validation import (
    BlockPlace,
    ScriptCache,
    check_block_context,
    connect_block,
)
from consensus_lab.node import ProtocolViolation

MUTATION_RULES = frozenset(
    {"bad-txnmrklroot", "bad-txns-duplicate", "bad-witness-nonce-size"}
    | {"bad-witness-merkle-match", "unexpected-witness"}
)
"""Faults of a copy, not of the block: another copy with the same header may be right."""


class InvalidBlock(NamedTuple):
    """A block that turned out invalid when it was connected."""

    block_id: bytes
    violation: ProtocolViolation


class Delivery(NamedTuple):
    """What delivering a block did.

    `disconnected` are the blocks that left the chain, the old tip first; `connected` those that
    joined, lowest first; a block can be in both when a branch turned out invalid.  `invalid` are
    those that failed to connect, perhaps delivered long before.
    """

    node: BlockNode
    is_new: bool
    disconnected: tuple[Block, ...] = ()
    connected: tuple[Block, ...] = ()
    invalid: tuple[InvalidBlock, ...] = ()


class ChainStatistics:
    """Counts over a chain's life.

    Attributes
    ----------
    reorganisations : int
        How often the tip moved to another branch.
    reorganisation_depth_max : int
        Most blocks that left the chain in one.
    """

    __slots__ = ("disconnected_blocks", "reorganisation_depth_max", "reorganisations")

    def __init__(self) -> None:
        self.reorganisations = 0
        self.reorganisation_depth_max = 0
        self.disconnected_blocks = 0


class Chain:
    """The ledger of one node: block tree, best branch, coins.

    Parameters
    ----------
    rules : NetworkRules
        The network's numbers.
    blocks : mutable mapping of bytes to Block, optional
        Where blocks are kept by identity; a dictionary by default, or a store on disk.
    scripts : ScriptCache, optional
        Verdicts on scripts, may be shared between simulated nodes.
    """

    def __init__(
        self,
        rules: NetworkRules,
        *,
        blocks: MutableMapping[bytes, Block] | None = None,
        scripts: ScriptCache | None = None,
    ) -> None:
        self.rules = rules
        self.tree = BlockTree(rules)
        self.blocks = {} if blocks is None else blocks
        self.scripts = ScriptCache() if scripts is None else scripts
        self.utxo = UtxoSet()
        self.statistics = ChainStatistics()
        root = self.tree.root
        # The genesis coinbase is no coin: it cannot be spent (a quirk of the first client).
        self.blocks[root.block_id] = rules.genesis
        root.has_data, root.sequence = True, 0
        # The best branch by height, and how to leave it again.
        self.active: list[BlockNode] = [root]
        self._undo: list[BlockUndo] = []
        # Blocks that could be the tip: usable, not known invalid, at least the tip's work.
        self._candidates: dict[bytes, BlockNode] = {root.block_id: root}
        self._next_sequence = 1

    @property
    def tip(self) -> BlockNode:
        """Last block of the best branch."""
        return self.active[-1]

    @property
    def height(self) -> int:
        """Height of the tip."""
        return len(self.active) - 1

    def is_active(self, node: BlockNode) -> bool:
        """Is it on the best branch?"""
        return node.height < len(self.active) and self.active[node.height] is node

    def confirmations(self, node: BlockNode) -> int:
        """How many blocks of the best branch bury it, itself included; 0 when it is not on it."""
        return len(self.active) - node.height if self.is_active(node) else 0

    def add_header(self, header: BlockHeader, *, now_s: int) -> BlockNode:
        """Accept a header alone, as a node does that downloads headers first."""
        return self.tree.add_header(header, now_s=now_s)

    def deliver(self, block: Block, *, now_s: int) -> Delivery:
        """Take a block, and follow whatever branch is best afterwards (ProcessNewBlock).

        Parameters
        ----------
        block : Block
            From a peer or from the node's own miner.
        now_s : int
            The node's clock, Unix seconds.

        Returns
        -------
        Delivery
            What changed.  A block that fails to connect is reported in it, not raised.

        Raises
        ------
        ProtocolViolation
            When the block is refused before it enters the tree: malformed, unknown or invalid
            parent, wrong for its place.
        """
        check_block(block, target_max=self.rules.retarget.target_max)
        node = self.tree.add_header(block.header, now_s=now_s)
        if node.has_data:
            return Delivery(node, is_new=False)
        try:
            check_block_context(block, self._place(node), self.rules)
        except ProtocolViolation as violation:
            if violation.rule not in MUTATION_RULES:
                self._mark_invalid(node, violation)
            raise
        self.blocks[node.block_id] = block
        node.has_data = True
        self._make_usable(node)
        return self._follow_best(node)

    def _place(self, node: BlockNode) -> BlockPlace:
        """What the validity of a block depends on besides the coins."""
        parent = node.parent
        assert parent is not None, "the genesis block is not checked"
        return BlockPlace(
            node.height,
            parent.median_time_s,
            lambda height: parent.ancestor(height).median_time_s,
        )

    def _make_usable(self, node: BlockNode) -> None:
        """Number a block, and those that waited for it, once all ancestors have their data."""
        assert node.parent is not None
        if node.parent.sequence is None:
            return
        waiting = [node]
        for item in waiting:
            item.sequence = self._next_sequence
            self._next_sequence += 1
            if item.chain_work >= self.tip.chain_work and item.violation is None:
                self._candidates[item.block_id] = item
            waiting += (child for child in item.children if child.has_data)

    def _follow_best(self, node: BlockNode) -> Delivery:
        """Move to the best candidate, again if it fails, until the tip is the best."""
        old_tip = self.tip
        disconnected: list[Block] = []
        connected: list[Block] = []
        invalid: list[InvalidBlock] = []
        while True:
            best = max(self._candidates.values(), key=_preference)
            if best is self.tip:
                break
            failure = self._switch_to(best, disconnected, connected)
            if failure is not None:
                invalid.append(failure)
        self._drop_worse_candidates()
        self._count_reorganisation(old_tip, len(disconnected))
        return Delivery(node, True, tuple(disconnected), tuple(connected), tuple(invalid))

    def _switch_to(
        self, target: BlockNode, disconnected: list[Block], connected: list[Block]
    ) -> InvalidBlock | None:
        """Walk back to the fork and forward to the target; stops at an invalid block."""
        fork = self.tree.fork_point(self.tip, target)
        while self.tip is not fork:
            disconnected.append(self._disconnect_tip())
        path = [target]
        while path[-1].parent is not fork:
            parent = path[-1].parent
            assert parent is not None
            path.append(parent)
        for node in reversed(path):
            try:
                connected.append(self._connect(node))
            except ProtocolViolation as violation:
                self._mark_invalid(node, violation)
                return InvalidBlock(node.block_id, violation)
        return None

    def _connect(self, node: BlockNode) -> Block:
        """Apply the block that follows the tip."""
        assert node.parent is self.tip
        block = self.blocks[node.block_id]
        done = connect_block(block, self.utxo, self._place(node), self.rules, cache=self.scripts)
        self.active.append(node)
        self._undo.append(done.undo)
        return block

    def _disconnect_tip(self) -> Block:
        """Take the last block back."""
        node = self.active.pop()
        self.utxo.undo(self._undo.pop())
        return self.blocks[node.block_id]

    def _mark_invalid(self, node: BlockNode, violation: ProtocolViolation) -> None:
        """Remember that a block and all below it are invalid."""
        for item in self.tree.mark_invalid(node, violation):
            self._candidates.pop(item.block_id, None)

    def _drop_worse_candidates(self) -> None:
        """Forget candidates with less work than the tip; work only grows."""
        if len(self._candidates) > 1:
            work = self.tip.chain_work
            self._candidates = {
                key: item for key, item in self._candidates.items() if item.chain_work >= work
            }

    def _count_reorganisation(self, old_tip: BlockNode, disconnected: int) -> None:
        """Count a change of branch; a failed attempt that led back is none."""
        self.statistics.disconnected_blocks += disconnected
        if self.is_active(old_tip):
            return
        depth = old_tip.height - self.tree.fork_point(old_tip, self.tip).height
        self.statistics.reorganisations += 1
        self.statistics.reorganisation_depth_max = max(
            self.statistics.reorganisation_depth_max, depth
        )

    def stale_nodes(self) -> list[BlockNode]:
        """Blocks with data, not known invalid, that are not on the best branch; oldest first."""
        nodes = self.tree.nodes.values()
        return [n for n in nodes if n.has_data and n.violation is None and not self.is_active(n)]

    def missing_data(self, *, count_max: int) -> list[BlockNode]:
        """Next blocks to download along the branch of headers with the most work, lowest first."""
        known = (node for node in self.tree.nodes.values() if node.violation is None)
        best = max(known, key=lambda node: node.chain_work)
        missing = [node for node in best.ancestors() if not node.has_data]
        return missing[::-1][:count_max]

    def locator(self) -> list[bytes]:
        """Identities of active blocks, ever sparser towards genesis: "where do we part?"."""
        heights, step, height = [], 1, self.height
        while height > 0:
            heights.append(height)
            if len(heights) >= 10:
                step *= 2
            height -= step
        return [self.active[height].block_id for height in (*heights, 0)]


def _preference(node: BlockNode) -> tuple[int, int]:
    """Most work first, then first seen."""
    assert node.sequence is not None
    return node.chain_work, -node.sequence
