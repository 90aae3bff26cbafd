"""A block tree without transactions: most work wins, first seen breaks ties, the rest is stale.

Rules of this file: plain values and one small class; no network, no time, no randomness.

Theory of operation.  An abstract block has a number, a parent and a size, and stands for all that
a real block holds.  Every block adds its work to that of its ancestors; the tip is the accepted
block with the most accumulated work, and among equals the one that was accepted first (Nakamoto
2008, section 5: "Nodes always consider the longest chain to be the correct one and will keep
working on extending it [...] some nodes may receive one or the other first. In that case, they
work on the first one they received, but save the other branch in case it becomes longer").

A block whose parent is not yet accepted is an *orphan*: it waits, and is handed back when the
parent comes.  When a better branch takes over, the blocks that are left are taken back from the
tip down, and those that are joined are applied from the fork up: a *reorganisation*.  Accepted
blocks off the tip's chain are *stale*.
"""

from __future__ import annotations

from typing import NamedTuple


class AbstractBlock(NamedTuple):
    """A block as a number, a place in the tree, and a size.

    Attributes
    ----------
    number : int
        Unique in the run: 0 is the genesis block, mined blocks count from 1 in order of discovery.
    parent : int
        The parent's number; -1 for the genesis block.
    height : int
        Blocks between this one and the genesis block, this one included.
    chain_work : int
        Work of this block and all its ancestors, in units of one block at constant difficulty.
    size_bytes : int
    miner : int
        The node that found it; -1 for the genesis block.
    """

    number: int
    parent: int
    height: int
    chain_work: int
    size_bytes: int
    miner: int = -1


GENESIS = AbstractBlock(number=0, parent=-1, height=0, chain_work=0, size_bytes=0)


class Reorganisation(NamedTuple):
    """How the tip moved: blocks left (tip first) and blocks joined (lowest first)."""

    left: tuple[AbstractBlock, ...]
    joined: tuple[AbstractBlock, ...]


class BlockTree:
    """The blocks that one node has accepted, and the orphans that wait for a parent."""

    def __init__(self) -> None:
        # Accepted blocks by number, in order of acceptance; the parent of each is in here.
        self.blocks: dict[int, AbstractBlock] = {GENESIS.number: GENESIS}
        self.tip: AbstractBlock = GENESIS
        # Orphans by the number of the parent that they wait for, in order of arrival.
        self._waiting: dict[int, list[AbstractBlock]] = {}
        self._orphans: set[int] = set()

    def is_accepted(self, number: int) -> bool:
        """True when the block and all its ancestors are here."""
        return number in self.blocks

    def is_orphan(self, number: int) -> bool:
        """True while the block waits for its parent."""
        return number in self._orphans

    def keep_orphan(self, block: AbstractBlock) -> None:
        """Put a block aside until its parent is accepted."""
        assert block.parent not in self.blocks
        assert block.number not in self._orphans
        self._waiting.setdefault(block.parent, []).append(block)
        self._orphans.add(block.number)

    def take_orphans(self, parent: int) -> list[AbstractBlock]:
        """The blocks that waited for this parent, in order of arrival; they wait no longer."""
        children = self._waiting.pop(parent, [])
        self._orphans.difference_update(child.number for child in children)
        return children

    def extend(self, *, number: int, size_bytes: int, miner: int) -> AbstractBlock:
        """A new block on the tip, not yet accepted."""
        tip = self.tip
        return AbstractBlock(
            number, tip.number, tip.height + 1, tip.chain_work + 1, size_bytes, miner
        )

    def accept(self, block: AbstractBlock) -> Reorganisation | None:
        """Add a block whose parent is here; say how the tip moved, or None if it did not.

        Only strictly more work moves the tip: of two equal branches the first seen stays.
        """
        self.keep(block)
        return self.move_to(block) if block.chain_work > self.tip.chain_work else None

    def keep(self, block: AbstractBlock) -> None:
        """Add a block whose parent is here; the tip stays."""
        assert block.number not in self.blocks
        assert block.chain_work > self.blocks[block.parent].chain_work
        self.blocks[block.number] = block

    def move_to(self, block: AbstractBlock) -> Reorganisation:
        """Make an accepted block the tip."""
        moved = self._path(self.tip, self.blocks[block.number])
        self.tip = block
        return moved

    def stale(self) -> list[AbstractBlock]:
        """Accepted blocks that are not on the tip's chain, in order of acceptance."""
        on_chain = {block.number for block in self.chain()}
        return [block for number, block in self.blocks.items() if number not in on_chain]

    def chain(self) -> list[AbstractBlock]:
        """From the tip down to the genesis block."""
        chain = [self.tip]
        while chain[-1].parent in self.blocks:
            chain.append(self.blocks[chain[-1].parent])
        return chain

    def _path(self, old: AbstractBlock, new: AbstractBlock) -> Reorganisation:
        """The way from one tip to another over their last common ancestor."""
        left: list[AbstractBlock] = []
        joined: list[AbstractBlock] = []
        while old.number != new.number:
            if new.height >= old.height:
                joined.append(new)
                new = self.blocks[new.parent]
            else:
                left.append(old)
                old = self.blocks[old.parent]
        return Reorganisation(tuple(left), tuple(reversed(joined)))
