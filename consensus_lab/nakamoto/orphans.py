"""Orphans: blocks that arrived before their parent, kept for a while and not for ever.

Rules of this file: a bounded pool; nothing is checked here but what costs a sender work.

Theory of operation.  Gossip can deliver a child before its parent.  Such a block waits here until
the parent comes.  Since anyone could invent blocks without parents, only those with a valid proof
of work are kept, no more than a limit, and the oldest goes first.
"""

from __future__ import annotations

from consensus_lab.nakamoto.block import Block
from consensus_lab.nakamoto.header import check_proof_of_work
from consensus_lab.nakamoto.network_rules import NetworkRules
from consensus_lab.node import ParameterError

ORPHAN_BLOCKS_MAX = 100


class OrphanBlocks:
    """Blocks that wait for their parents.

    Parameters
    ----------
    rules : NetworkRules
        For the easiest target that proof of work must meet.
    blocks_max : int
        How many are kept.
    """

    def __init__(self, rules: NetworkRules, *, blocks_max: int = ORPHAN_BLOCKS_MAX) -> None:
        if blocks_max < 0:
            raise ParameterError("blocks_max", blocks_max, "0 or more")
        self.rules = rules
        self.blocks_max = blocks_max
        self._blocks: dict[bytes, Block] = {}
        self._by_parent: dict[bytes, list[bytes]] = {}

    def __len__(self) -> int:
        return len(self._blocks)

    def __contains__(self, block_id: bytes) -> bool:
        return block_id in self._blocks

    def add(self, block: Block) -> None:
        """Keep a block.

        Raises
        ------
        ProtocolViolation
            `high-hash` when no work stands behind it.
        """
        check_proof_of_work(block.header, target_max=self.rules.retarget.target_max)
        if block.block_id in self._blocks:
            return
        self._blocks[block.block_id] = block
        self._by_parent.setdefault(block.header.previous, []).append(block.block_id)
        if len(self._blocks) > self.blocks_max:
            self._remove(next(iter(self._blocks)))

    def missing_ancestor(self, block_id: bytes) -> bytes:
        """The identity to ask for: the first unknown one above an orphan."""
        while block_id in self._blocks:
            block_id = self._blocks[block_id].header.previous
        return block_id

    def take_children(self, parent_id: bytes) -> list[Block]:
        """Take the blocks out that waited for this parent, in order of arrival."""
        return [self._remove(child) for child in list(self._by_parent.get(parent_id, ()))]

    def _remove(self, block_id: bytes) -> Block:
        """Take one block out."""
        block = self._blocks.pop(block_id)
        siblings = self._by_parent[block.header.previous]
        siblings.remove(block_id)
        if not siblings:
            del self._by_parent[block.header.previous]
        return block
