"""A pool's door to the network: a relay node that takes in blocks from its pool as well.

Theory of operation.  A pool may have several gateways, and what it finds enters the network at all
of them at once.  The gateways of an honest pool are full nodes in all else.  Those of a
withholding pool are full nodes with these differences: they work on what the pool says (its own
branch until it adopts another), they announce what the pool says and nothing else, they pass on
nothing before it is validated, they tell nobody who asks what their best chain is, and they
request every block, however far behind, since the pool has to know what the others have.  A block
that they are asked for they send, as any node.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from consensus_lab.nakamoto.abstract_block import AbstractBlock, Reorganisation
from consensus_lab.nakamoto.relay_connections import ConnectedNode
from consensus_lab.nakamoto.relay_messages import GetBlocks
from consensus_lab.node import Effects, NodeId


class Enter(NamedTuple):
    """Command: take in the last of these blocks, with its ancestors before it, unvalidated.

    Attributes
    ----------
    blocks : tuple of AbstractBlock
        Lowest first; those that are here already are passed over.
    """

    blocks: tuple[AbstractBlock, ...]


class Hold(NamedTuple):
    """Command: take the last of these blocks in, work on it, and tell nobody."""

    blocks: tuple[AbstractBlock, ...]


class Follow(NamedTuple):
    """Command: take the last of these blocks in, work on it, and announce it."""

    blocks: tuple[AbstractBlock, ...]


class Release(NamedTuple):
    """Command: announce these blocks of the pool, lowest first."""

    blocks: tuple[AbstractBlock, ...]


class GatewayNode(ConnectedNode):
    """A gateway; parameters as for `ConnectedNode`, and whether its pool withholds blocks."""

    def __init__(self, node_id: NodeId, *arguments: Any, withholds: bool, **options: Any) -> None:
        super().__init__(node_id, *arguments, **options)
        self.withholds = withholds
        orders: dict[type, Callable[[Any, int], Effects]] = {
            Enter: self._enter,
            Hold: self._hold,
            Follow: self._follow,
            Release: self._release,
        }
        self._commands |= orders

    def _enter(self, command: Enter, now: int) -> Effects:
        return self._take_in(command.blocks, now, is_told=True)

    def _hold(self, command: Hold, now: int) -> Effects:
        effects = self._take_in(command.blocks, now, is_told=False)
        return effects + self._move(self.tree.move_to(command.blocks[-1]))

    def _follow(self, command: Follow, now: int) -> Effects:
        return self._hold(Hold(command.blocks), now) + self._announce(command.blocks[-1])

    def _release(self, command: Release, now: int) -> Effects:
        return [effect for block in command.blocks for effect in self._announce(block)]

    def _take_in(
        self, blocks: tuple[AbstractBlock, ...], now: int, *, is_told: bool
    ) -> Effects:  # fmt: skip
        """Accept what is not here; of several only the last is announced."""
        effects: Effects = []
        for block in blocks:
            if not self.tree.is_accepted(block.number):
                self.validating.pop(block.number, None)
                self._is_quiet = not is_told or block is not blocks[-1]
                effects += self._accept(block, now)
        self._is_quiet = False
        return effects

    # What differs from a relay node.

    _is_quiet = False

    def _join(self, block: AbstractBlock) -> Reorganisation | None:
        if not self.withholds:
            return self.tree.accept(block)
        self.tree.keep(block)
        if block.miner == self.node_id:
            self.tree.move_to(block)
        return None

    def _announce(self, block: AbstractBlock) -> Effects:
        return [] if self._is_quiet else super()._announce(block)

    def _send_on(self, block: AbstractBlock) -> Effects:
        return [] if self.withholds else super()._send_on(block)

    def _is_behind(self, block: AbstractBlock) -> bool:
        return not self.withholds and super()._is_behind(block)

    def _learn(self, sender: NodeId, block: AbstractBlock) -> None:
        if self.withholds:
            self.known_by.setdefault(block.number, set()).add(sender)
        else:
            super()._learn(sender, block)

    def _receive_getblocks(self, sender: NodeId, message: GetBlocks, now: int) -> Effects:
        return [] if self.withholds else super()._receive_getblocks(sender, message, now)
