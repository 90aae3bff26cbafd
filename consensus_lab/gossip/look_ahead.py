"""Has the memory of events to come brought near, on networks that do not fit into the cache.

Theory of operation.  An event of a large network waits for main memory twice in a row: for its
link, and for the node at the link's end.  The wheel knows what comes next, so while a bucket is
handled the processor is told of two buckets some way ahead: of the farther one it fetches the
links and nodes that its events name, of the nearer one what these name.  Nothing waits for it and
nothing is changed: results do not depend on it.  Where everything fits into the cache it costs a
tenth of the speed, so the run is told by `State.looks_ahead` whether to do it.
"""

# Compiled functions are typed by numba from what they are called with.
# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators

from __future__ import annotations

from consensus_lab.gossip.compiled import fetch, inlined
from consensus_lab.gossip.state import (
    GETDATA,
    INV,
    KIND_SHIFT,
    LATENCY_BITS,
    LINK_MASK,
    SLOT_MASK,
    SLOT_SHIFT,
    VALIDATED,
)
from consensus_lab.gossip.wheel import BUCKETS, CURSOR, WHAT
from consensus_lab.gossip.wire import source_of

FARTHER, NEARER = 4, 2
"""Buckets ahead; three events are in each."""

LINE = 8
"""Integers in a cache line, and columns of `node`."""


@inlined
def look_ahead(state, wheel, seen):
    """A bucket is open: look at those ahead that were not yet seen from it; up to here now."""
    cursor = wheel.control[CURSOR]
    for at in range(max(seen, cursor - FARTHER) + 1, cursor + 1):
        fetch_what_they_name(state, wheel, at + FARTHER)
        fetch_what_follows(state, wheel, at + NEARER)
    return cursor


@inlined
def fetch_what_they_name(state, wheel, bucket):
    """Of each event its link and, if that sends a block, the source's row; or its node."""
    event = wheel.bucket[bucket & (BUCKETS - 1)]
    while event >= 0:
        what = wheel.pool[event, WHAT]
        event = wheel.following[event]
        kind, link = what >> KIND_SHIFT, what & LINK_MASK
        if kind == VALIDATED:
            fetch(state.node, link, 0)
            fetch(state.node_delay, link, 0)
            fetch(state.offset, link, 0)
        elif kind >= INV:
            fetch(state.link, link, 0)
            if kind != INV:
                fetch(state.node, source_of(what), 0)
            if kind == GETDATA:
                fetch(state.uploads, source_of(what), 0)


@inlined
def fetch_what_follows(state, wheel, bucket):
    """Of each event the row of the link's receiver and what it has heard, or the node's links."""
    event = wheel.bucket[bucket & (BUCKETS - 1)]
    while event >= 0:
        what = wheel.pool[event, WHAT]
        event = wheel.following[event]
        kind, link = what >> KIND_SHIFT, what & LINK_MASK
        if kind == VALIDATED:
            first = state.offset[link]
            fetch(state.link, first, 0)
            fetch(state.link, first, LINE)
            fetch(state.link, first, 2 * LINE)
        elif kind >= INV and kind != GETDATA:
            receiver = state.link[link] >> LATENCY_BITS
            fetch(state.node, receiver, 0)
            fetch(state.heard, (what >> SLOT_SHIFT) & SLOT_MASK, receiver)
