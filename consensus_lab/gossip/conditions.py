"""What may happen in a run besides honest relay: pools with gateways, withholding ones too."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from consensus_lab.nakamoto.relay_withholding import Strategy
from consensus_lab.node import ParameterError


@dataclass(frozen=True)
class Pool:
    """Miners that work as one.

    Attributes
    ----------
    gateways : tuple of int
        Nodes at which the pool's blocks enter the network, all at once.  The pool's hash power is
        that of these nodes together.
    strategy : Strategy or None
        How the pool withholds its blocks; None for an honest one.
    """

    gateways: tuple[int, ...]
    strategy: Strategy | None = None


@dataclass(frozen=True)
class Conditions:
    """The circumstances of a run; as they stand, none.

    Attributes
    ----------
    pools : tuple of Pool
        A node is a gateway of one pool at most; nodes of no pool mine alone.
    """

    pools: tuple[Pool, ...] = ()

    def validated(self, n_nodes: int) -> Conditions:
        """These conditions, or a `ParameterError` naming what is wrong with them."""
        _check_nodes("gateways", (g for pool in self.pools for g in pool.gateways), n_nodes)
        taken: set[int] = set()
        for pool in self.pools:
            if not pool.gateways:
                raise ParameterError("gateways", pool.gateways, "at least one node per pool")
            if taken.intersection(pool.gateways) or len(set(pool.gateways)) < len(pool.gateways):
                raise ParameterError("gateways", pool.gateways, "nodes of no other pool, each once")
            taken.update(pool.gateways)
            if pool.strategy is not None:
                pool.strategy.validated()
        return self

    def pool_of(self) -> dict[int, int]:
        """For each gateway, the place of its pool."""
        return {g: place for place, pool in enumerate(self.pools) for g in pool.gateways}


def _check_nodes(name: str, nodes: Iterable[int], n_nodes: int) -> None:
    for node in nodes:
        if not 0 <= node < n_nodes:
            raise ParameterError(name, node, f"nodes from 0 to {n_nodes - 1}")
