"""The race of pools when some of them withhold blocks; the loop behind `pool_race`.

Theory of operation.  Here every acceptance of a block at a pool is an event, for a withholding
pool acts at the moment when it hears of another's block.  An honest pool mines on the block with
the most work, the first accepted among equals; a withholding pool follows `relay_withholding`.

gamma, the share of the other miners that work for a withholding pool when it matches a block, is
either what the delays make of it (who hears of which block first), or given: then each of the
others takes, of two blocks that race, the withholding pool's with that chance, whichever comes
first.  The chance is a keyed draw per pool and race, so it does not depend on the order of events.
"""

# Compiled functions are typed by numba from what they are called with.
# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators

from __future__ import annotations

from typing import NamedTuple

import numpy

from consensus_lab.gossip.compiled import compiled, inlined, loop
from consensus_lab.gossip.draws import lacks_transactions
from consensus_lab.nakamoto.relay_withholding import (
    ACTIVE,
    ADOPT,
    IRRELEVANT,
    MATCH,
    OVERRIDE,
    RELEVANT,
    decide,
)

WINDOW = 4096
"""Blocks whose acceptance times are kept, and the longest branch."""

EVENTS_MAX = 1 << 17

# Columns of `pool`.
WITHHOLDS, LEAD, EQUAL_FORK, TRAIL, TIP, PUBLIC, FORK = range(7)
# Columns of `queue`.
TIME, WHERE, BLOCK = range(3)

_decide = compiled(decide)
_happens = lacks_transactions  # The keyed draw of the same form: (key, threshold, node, block).


class Table(NamedTuple):
    """Everything that the loop reads and changes.

    Attributes
    ----------
    found_ns, miner : int64, blocks
        Block i + 1 is row i.
    delay_ns : int64, (pools, pools)
    parent, height : int64, blocks + 1
    match : int64, blocks + 1
        The block that was published against this one, -1 for none.
    is_public : uint8, blocks + 1
    accepted_ns : int64, (WINDOW, pools)
    pool : int64, (pools, 7)
        Strategy, the block that it mines on, the best public block and the state of the fork.
    queue : int64, (EVENTS_MAX, 3)
        Acceptances to come, sorted by time, from `control[0]` to `control[1]`.
    control : int64, 2
    key, threshold : uint64
        Of the draw of gamma.
    has_gamma : int
    """

    found_ns: numpy.ndarray
    miner: numpy.ndarray
    delay_ns: numpy.ndarray
    parent: numpy.ndarray
    height: numpy.ndarray
    match: numpy.ndarray
    is_public: numpy.ndarray
    accepted_ns: numpy.ndarray
    pool: numpy.ndarray
    queue: numpy.ndarray
    control: numpy.ndarray
    key: numpy.uint64
    threshold: numpy.uint64
    has_gamma: int


@compiled
def publish(table, now, block):
    """Tell everybody of a block; False when too many blocks are open."""
    if table.is_public[block]:
        return True
    table.is_public[block] = 1
    source, parent = table.miner[block - 1], table.parent[block]
    for pool in range(len(table.pool)):
        if pool == source:
            continue
        arrives = now + table.delay_ns[source, pool]
        if parent > block - WINDOW and parent > 0:
            arrives = max(arrives, table.accepted_ns[parent % WINDOW, pool])
        table.accepted_ns[block % WINDOW, pool] = arrives
        if not push(table, arrives, pool, block):
            return False
    return True


@inlined
def _move(queue, place, to):
    for column in range(3):
        queue[to, column] = queue[place, column]


@inlined
def push(table, time, pool, block):
    """Insert an event behind its equals."""
    queue, control = table.queue, table.control
    if control[1] == len(queue):
        if control[0] == 0:
            return False
        for i in range(control[0], control[1]):
            _move(queue, i, i - control[0])
        control[1] -= control[0]
        control[0] = 0
    i = control[1]
    while i > control[0] and queue[i - 1, TIME] > time:
        _move(queue, i - 1, i)
        i -= 1
    queue[i, TIME], queue[i, WHERE], queue[i, BLOCK] = time, pool, block
    control[1] += 1
    return True


@inlined
def hear(table, now, pool, block):
    """A pool accepts another's block; False when too many blocks are open."""
    mine, height = table.pool[pool], table.height
    if mine[WITHHOLDS]:
        if height[block] <= height[mine[PUBLIC]]:
            return True
        mine[PUBLIC], mine[FORK] = block, RELEVANT
        return act(table, now, pool)
    tip = mine[TIP]
    is_better = height[block] > height[tip]
    if table.has_gamma and height[block] == height[tip]:
        if table.match[tip] == block:
            is_better = _happens(table.key, table.threshold, pool, tip)
        elif table.match[block] == tip:
            is_better = not _happens(table.key, table.threshold, pool, block)
    if is_better:
        mine[TIP] = block
    return True


@compiled
def act(table, now, pool):
    """A withholding pool decides and publishes; False when too many blocks are open."""
    mine, height, parent = table.pool[pool], table.height, table.parent
    own, public = mine[TIP], mine[PUBLIC]
    while own != public:
        if height[own] >= height[public]:
            own = parent[own]
        else:
            public = parent[public]
    length, rival = height[mine[TIP]] - height[own], height[mine[PUBLIC]] - height[own]
    if length == WINDOW:
        return False
    action = _decide(length, rival, mine[FORK], mine[LEAD] != 0, mine[EQUAL_FORK] != 0, mine[TRAIL])
    if action == ADOPT:
        mine[TIP] = mine[PUBLIC]
    elif action in (MATCH, OVERRIDE):
        last = height[mine[PUBLIC]] + (1 if action == OVERRIDE else 0)
        for level in range(height[own] + 1, last + 1):
            block = mine[TIP]
            while height[block] > level:
                block = parent[block]
            if level == last and action == MATCH:
                table.match[mine[PUBLIC]] = block
            if not publish(table, now, block):
                return False
            if level == last and action == OVERRIDE:
                mine[PUBLIC] = block
        mine[FORK] = ACTIVE if action == MATCH else IRRELEVANT
    return True


@inlined
def find(table, block):
    """A pool finds a block on what it mines on; False when too many blocks are open."""
    now, pool = table.found_ns[block - 1], table.miner[block - 1]
    mine = table.pool[pool]
    table.parent[block] = mine[TIP]
    table.height[block] = table.height[mine[TIP]] + 1
    table.accepted_ns[block % WINDOW, pool] = now
    mine[TIP] = block
    if not mine[WITHHOLDS]:
        return publish(table, now, block)
    if mine[FORK] != ACTIVE:
        mine[FORK] = IRRELEVANT
    return act(table, now, pool)


@loop("gossip/withheld_race.py", "gossip/draws.py", "nakamoto/relay_withholding.py")
def run(table, first):
    """All blocks in order; 0 when too many blocks are open."""
    queue, control = table.queue, table.control
    for block in range(first, len(table.parent)):
        now = table.found_ns[block - 1]
        # An acceptance at the moment of a discovery comes before it.
        while control[0] < control[1] and queue[control[0], TIME] <= now:
            time = queue[control[0], TIME]
            pool, other = queue[control[0], WHERE], queue[control[0], BLOCK]
            control[0] += 1
            if not hear(table, time, pool, other):
                return 0
        if not find(table, block):
            return 0
    return 1
