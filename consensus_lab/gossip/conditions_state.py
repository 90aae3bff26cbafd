"""The compiled path's memory of a run's conditions."""

from __future__ import annotations

import numpy

from consensus_lab.gossip import state as names
from consensus_lab.gossip.conditions import Conditions
from consensus_lab.gossip.state import State


def with_pools(state: State, conditions: Conditions, n_blocks: int) -> State:
    """Add the pools and their gateways."""
    if not conditions.pools:
        return state
    pool_of = numpy.full(len(state.node), -1, numpy.int64)
    pool = numpy.zeros((len(conditions.pools), names.POOL_COLUMNS), numpy.int64)
    gateways: list[int] = []
    for row, given in zip(pool, conditions.pools, strict=True):
        row[names.GATEWAYS] = len(gateways)
        gateways += given.gateways
        row[names.GATEWAYS_END] = len(gateways)
        if given.strategy is not None:
            row[names.WITHHOLDS : names.TRAIL + 1] = (1, *given.strategy)
    for gateway, place in conditions.pool_of().items():
        pool_of[gateway] = place
    shown = numpy.zeros((n_blocks + 1, 2), numpy.int64)
    shown[:, names.MATCH] = -1
    return state._replace(
        pool_of=pool_of, pool=pool, gateway=numpy.array(gateways, numpy.int64), shown=shown
    )
