"""Block tree: all headers that a node knows, each below its parent, with the work behind it.

Rules of this file: headers only; whether a block's coins are right is not known here.

Theory of operation.  Every accepted header becomes a node of a tree that starts at the genesis
block.  `chain_work` is the sum of the work of a block and all its ancestors; it, not the height,
measures a branch.  A header is accepted when its parent is known and not invalid, its proof of
work is right, and target, time and version are what its ancestors ask for.

A tree may also start in the middle, at a `Checkpoint` that the caller vouches for; it then needs
the times that the rules look back to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field as dataclass_field

from consensus_lab.constants import MEDIAN_TIME_SPAN_BLOCKS
from consensus_lab.nakamoto.encoding import display_id
from consensus_lab.nakamoto.header import (
    BlockHeader,
    block_work,
    check_proof_of_work,
    median_time_past,
)
from consensus_lab.nakamoto.network_rules import NetworkRules
from consensus_lab.nakamoto.retarget import next_nbits
from consensus_lab.nakamoto.validation import check_header_context
from consensus_lab.node import ParameterError, ProtocolViolation


class BlockNode:
    """A header's place in the tree.

    Attributes
    ----------
    chain_work : int
        Hashes that this block and all its ancestors took on average.
    sequence : int or None
        When the block became usable, its transactions and those of all ancestors being there;
        lower is earlier.  The earlier of two branches with equal work wins.
    has_data : bool
        Are its transactions known?
    violation : ProtocolViolation or None
        Why it or an ancestor is invalid.
    """

    __slots__ = (
        "block_id",
        "chain_work",
        "children",
        "has_data",
        "header",
        "height",
        "median_time_s",
        "parent",
        "regular_nbits",
        "sequence",
        "violation",
    )

    def __init__(
        self, header: BlockHeader, *, parent: BlockNode | None, height: int, chain_work: int
    ) -> None:
        self.header = header
        self.block_id = header.block_id
        self.parent = parent
        self.height = height
        self.chain_work = chain_work
        # Median of this block's time and ten ancestors; filled when the tree is told.
        self.median_time_s = 0
        # Target of the last block, this or an ancestor, that was no exception after a pause.
        self.regular_nbits = header.nbits
        self.children: list[BlockNode] = []
        self.sequence: int | None = None
        self.has_data = False
        self.violation: ProtocolViolation | None = None

    def ancestors(self) -> Iterator[BlockNode]:
        """This node, its parent, and so on to the root."""
        node: BlockNode | None = self
        while node is not None:
            yield node
            node = node.parent

    def ancestor(self, height: int) -> BlockNode:
        """The ancestor at a height between the root's and its own."""
        node = self
        while node.height > height:
            assert node.parent is not None
            node = node.parent
        return node

    def descendants(self) -> Iterator[BlockNode]:
        """All nodes below, parents before children."""
        waiting = list(reversed(self.children))
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(node.children))

    def __repr__(self) -> str:
        return f"<block {self.height} {display_id(self.block_id)}>"


@dataclass(frozen=True)
class Checkpoint:
    """A block in the middle of a chain from which a tree may start.

    Parameters
    ----------
    header : BlockHeader
        The block, believed without checks.
    height : int
        Where it stands.
    chain_work : int
        Work of it and all before it; 0 when unknown, which leaves differences right.
    earlier_times_s : tuple of int
        Times of up to ten blocks before it, oldest first.
    times_s : mapping of int to int
        Times of earlier blocks by height, for retargets that look back before the start.
    """

    header: BlockHeader
    height: int
    chain_work: int = 0
    earlier_times_s: tuple[int, ...] = ()
    times_s: dict[int, int] = dataclass_field(default_factory=dict)


class BlockTree:
    """All headers that a node knows.

    Parameters
    ----------
    rules : NetworkRules
        The network's numbers.
    start : Checkpoint, optional
        Where to start instead of the genesis block.
    """

    def __init__(self, rules: NetworkRules, *, start: Checkpoint | None = None) -> None:
        self.rules = rules
        self.start = start or Checkpoint(
            rules.genesis.header, 0, block_work(rules.genesis.header.nbits)
        )
        self.root = BlockNode(
            self.start.header,
            parent=None,
            height=self.start.height,
            chain_work=self.start.chain_work,
        )
        self.root.median_time_s = self._median_time_past(self.root)
        self.nodes: dict[bytes, BlockNode] = {self.root.block_id: self.root}

    def add_header(self, header: BlockHeader, *, now_s: int) -> BlockNode:
        """Accept a header, or find the node that it has already (AcceptBlockHeader).

        Parameters
        ----------
        header : BlockHeader
            From a peer.
        now_s : int
            The node's clock, Unix seconds.

        Raises
        ------
        ProtocolViolation
            `duplicate-invalid`, `high-hash`, `prev-blk-not-found`, `bad-prevblk`, or a rule of
            `validation.check_header_context`.
        """
        known = self.nodes.get(header.block_id)
        if known is not None:
            if known.violation is not None:
                raise ProtocolViolation("duplicate-invalid", display_id(header.block_id))
            return known
        check_proof_of_work(header, target_max=self.rules.retarget.target_max)
        parent = self.nodes.get(header.previous)
        if parent is None:
            raise ProtocolViolation("prev-blk-not-found", display_id(header.previous))
        if parent.violation is not None:
            raise ProtocolViolation("bad-prevblk", display_id(header.previous))
        check_header_context(
            header,
            height=parent.height + 1,
            required_nbits=self.required_nbits(parent, time_s=header.time_s),
            median_time_s=parent.median_time_s,
            now_s=now_s,
            rules=self.rules,
        )
        return self._insert(header, parent)

    def _insert(self, header: BlockHeader, parent: BlockNode) -> BlockNode:
        """Hang a checked header below its parent."""
        work = parent.chain_work + block_work(header.nbits)
        node = BlockNode(header, parent=parent, height=parent.height + 1, chain_work=work)
        node.median_time_s = self._median_time_past(node)
        rule = self.rules.retarget
        if header.nbits == rule.nbits_max and not rule.is_boundary(node.height):
            node.regular_nbits = parent.regular_nbits
        parent.children.append(node)
        self.nodes[node.block_id] = node
        return node

    def _median_time_past(self, node: BlockNode) -> int:
        """Median of its time and those of up to ten ancestors, Unix seconds."""
        times: list[int] = []
        current: BlockNode | None = node
        while current is not None and len(times) < MEDIAN_TIME_SPAN_BLOCKS:
            times.append(current.header.time_s)
            current = current.parent
        missing = MEDIAN_TIME_SPAN_BLOCKS - len(times)
        if missing and self.start.earlier_times_s:
            times += self.start.earlier_times_s[-missing:]
        return median_time_past(times)

    def required_nbits(self, parent: BlockNode, *, time_s: int) -> int:
        """The compact target that a child of `parent` must state (GetNextWorkRequired).

        Parameters
        ----------
        parent : BlockNode
            The block before.
        time_s : int
            Time of the child, which matters on networks with easy blocks after a pause.

        Raises
        ------
        ParameterError
            When the rule looks back before the tree's start and the time there is not given.
        """
        rule = self.rules.retarget
        if rule.is_boundary(parent.height + 1):
            first = self._time_at(parent, parent.height + 1 - rule.interval_blocks)
            last = parent.header.time_s
            return next_nbits(parent.header.nbits, first_time_s=first, last_time_s=last, rule=rule)
        if not rule.has_easy_blocks_after_pause:
            return parent.header.nbits
        if rule.is_late(time_s, parent_time_s=parent.header.time_s):
            return rule.nbits_max
        return parent.regular_nbits

    def _time_at(self, node: BlockNode, height: int) -> int:
        """Time of an ancestor, Unix seconds; before the start, what the checkpoint says."""
        if self.rules.retarget.is_retargeting_off:
            return 0  # Not looked at, and walking back is not free.
        if height >= self.root.height:
            return node.ancestor(height).header.time_s
        if height not in self.start.times_s:
            raise ParameterError("times_s", sorted(self.start.times_s), f"given at {height}")
        return self.start.times_s[height]

    def is_retarget_known(self, parent: BlockNode) -> bool:
        """Can `required_nbits` be computed for a child, as far back as the tree reaches?"""
        rule = self.rules.retarget
        first = parent.height + 1 - rule.interval_blocks
        is_needed = rule.is_boundary(parent.height + 1) and not rule.is_retargeting_off
        return not is_needed or first >= self.root.height or first in self.start.times_s

    def mark_invalid(self, node: BlockNode, violation: ProtocolViolation) -> list[BlockNode]:
        """Mark a node and all below it; returns them, the node first."""
        marked = [node, *node.descendants()]
        for item in marked:
            if item.violation is None:
                item.violation = violation
        return marked

    def fork_point(self, one: BlockNode, other: BlockNode) -> BlockNode:
        """The last common ancestor."""
        while one is not other:
            if one.height >= other.height:
                assert one.parent is not None, "all nodes share the root"
                one = one.parent
            else:
                assert other.parent is not None
                other = other.parent
        return one
