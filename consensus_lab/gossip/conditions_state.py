"""The compiled path's memory of a run's conditions."""

from __future__ import annotations

import numpy

from consensus_lab.gossip import state as names
from consensus_lab.gossip.chance import jitter_key, jitter_per_million
from consensus_lab.gossip.conditions import Conditions
from consensus_lab.gossip.state import State
from consensus_lab.gossip.timeline import Timeline
from consensus_lab.network.arrays import reverse_links
from consensus_lab.node import ParameterError


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


def with_changes(state: State, timeline: Timeline, n_blocks: int) -> State:
    """Add what happens to nodes and links, and what the nodes have to remember for it."""
    if timeline.is_empty:
        return state
    if n_blocks > names.NUMBER_MAX:
        raise ParameterError("n_blocks", n_blocks, f"at most {names.NUMBER_MAX} under conditions")
    slots, n = state.heard.shape
    spans = [timeline.off_ns.get(node, []) for node in range(n)]
    flat = [span for of_node in spans for span in of_node]
    return state._replace(
        life=numpy.zeros((n, 3), numpy.int64),
        off_offset=numpy.cumsum([0, *(len(of_node) for of_node in spans)]),
        off_ns=numpy.array(flat, numpy.int64).reshape(-1, 2),
        change=numpy.array(timeline.changes, numpy.int64),
        cut_ns=numpy.array(timeline.cut_ns, numpy.int64).reshape(-1, 2),
        is_cut=timeline.is_cut.astype(numpy.uint8),
        asked=numpy.full((slots, n), -1, numpy.int64),
        reverse=reverse_links(timeline.network),
    )


def with_jitter(state: State, conditions: Conditions, seed: int) -> State:
    """Add what messages take longer than their links' latencies."""
    return state._replace(
        jitter=jitter_per_million(conditions.jitter), jitter_key=numpy.uint64(jitter_key(seed))
    )
