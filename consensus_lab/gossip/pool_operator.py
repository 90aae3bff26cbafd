"""At the message level: what a pool's operator tells its gateways, as commands to the engine."""

from __future__ import annotations

from typing import Any

from consensus_lab.gossip.conditions import Conditions
from consensus_lab.nakamoto.abstract_block import AbstractBlock
from consensus_lab.nakamoto.relay_gateway import Enter, Follow, Hold, Release
from consensus_lab.nakamoto.relay_withholding import Orders, Withholding
from consensus_lab.sim.engine import Engine


class Operators:
    """All pools of a run.

    Parameters
    ----------
    conditions : Conditions
    engine : Engine
        Whose nodes at the gateways are `GatewayNode`s.
    match : int64 array, blocks + 1
        Filled with the block that was released against each one.
    """

    def __init__(self, conditions: Conditions, engine: Engine, match: Any) -> None:
        self.pools, self.engine, self.match = conditions.pools, engine, match
        self.pool_of = conditions.pool_of()
        self.minds = [Withholding(p.strategy) if p.strategy else None for p in self.pools]

    def accepted(self, node_id: int, number: int) -> None:
        """A node accepted a block: if it is a gateway its pool may act, at this moment."""
        place = self.pool_of.get(node_id)
        if place is None:
            return
        block = self._tree(node_id).blocks[number]
        mind, is_own = self.minds[place], self.pool_of.get(block.miner) == place
        others = [g for g in self.pools[place].gateways if g != node_id]
        if mind is None:
            if block.miner == node_id:
                self._order(others, Enter, node_id, block)
        elif not is_own:
            self._carry_out(place, node_id, mind.heard(block))
        elif block.miner == node_id:
            self._order(others, Hold, node_id, block)
            self._carry_out(place, node_id, mind.found(block))

    def _carry_out(self, place: int, node_id: int, orders: Orders) -> None:
        gateways = self.pools[place].gateways
        if orders.follow is not None:
            self._order(gateways, Follow, node_id, orders.follow)
        if orders.release:
            for gateway in gateways:
                self.engine.submit(gateway, Release(orders.release))
        if orders.match is not None:
            self.match[orders.match.number] = orders.release[-1].number

    def _order(self, gateways: Any, command: Any, source: int, block: AbstractBlock) -> None:
        """Give gateways a block with those ancestors that they lack."""
        blocks = self._tree(source).blocks
        for gateway in gateways:
            has = self._tree(gateway).blocks
            chain = [block]
            while chain[-1].parent not in has:
                chain.append(blocks[chain[-1].parent])
            self.engine.submit(gateway, command(tuple(chain[::-1])))

    def _tree(self, node_id: int) -> Any:
        return self.engine.processes[node_id].node.tree
