"""A pool's mind in the compiled path: the steps of `nakamoto.relay_withholding.Withholding`.

What a gateway accepts its pool learns at that moment; what the pool orders comes to its gateways
as events of the same moment (`gateways`), as commands come to the engine's nodes.
"""

# Compiled functions are typed by numba from what they are called with.
# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators

from __future__ import annotations

from consensus_lab.gossip.compiled import compiled
from consensus_lab.gossip.state import (
    BRANCH_MAX,
    ENTER,
    EQUAL_FORK,
    FOLLOW,
    FORK,
    GATEWAYS,
    GATEWAYS_END,
    HEIGHT,
    HOLD,
    IS_RELEASED,
    LEAD,
    MATCH,
    MINER,
    PARENT,
    PENDING,
    PRIVATE,
    PUBLIC,
    RELEASE,
    SLOT,
    TRAIL,
    WITHHOLDS,
)
from consensus_lab.gossip.wheel import push
from consensus_lab.gossip.wire import packed
from consensus_lab.nakamoto.relay_withholding import (
    ACTIVE,
    ADOPT,
    IRRELEVANT,
    OVERRIDE,
    RELEVANT,
    WAIT,
    decide,
)

_decide = compiled(decide)


@compiled
def tell_pool(state, wheel, now, block, slot, node):
    """A gateway accepted a block: its pool may act."""
    pool = state.pool_of[node]
    mine, miner = state.pool[pool], state.block[block, MINER]
    is_own = state.pool_of[miner] == pool
    if mine[WITHHOLDS] == 0:
        if miner == node:
            tell_gateways(state, wheel, now, block, pool, node, ENTER, 0)
    elif is_own:
        if miner == node:
            tell_gateways(state, wheel, now, block, pool, node, HOLD, 0)
            if state.block[block, HEIGHT] > state.block[mine[PRIVATE], HEIGHT]:
                mine[PRIVATE] = block
                if mine[FORK] != ACTIVE:
                    mine[FORK] = IRRELEVANT
                act(state, wheel, now, pool)
    else:
        state.shown[block, IS_RELEASED] = 1
        if state.block[block, HEIGHT] > state.block[mine[PUBLIC], HEIGHT]:
            mine[PUBLIC], mine[FORK] = block, RELEVANT
            act(state, wheel, now, pool)


@compiled
def tell_gateways(state, wheel, now, block, pool, but, kind, count):
    """An order to a pool's gateways, one of them left out; `count` goes where the source stands."""
    slot = state.block[block, SLOT]
    for place in range(state.pool[pool, GATEWAYS], state.pool[pool, GATEWAYS_END]):
        if state.gateway[place] != but:
            state.block[block, PENDING] += 1
            push(wheel, now, packed(kind, slot, count, state.gateway[place]))


@compiled
def act(state, wheel, now, pool):
    """Decide, and order."""
    mine, block = state.pool[pool], state.block
    own, public = mine[PRIVATE], mine[PUBLIC]
    while own != public:
        if block[own, HEIGHT] >= block[public, HEIGHT]:
            own = block[own, PARENT]
        else:
            public = block[public, PARENT]
    parted = block[own, HEIGHT]
    length, rival = block[mine[PRIVATE], HEIGHT] - parted, block[mine[PUBLIC], HEIGHT] - parted
    state.progress[BRANCH_MAX] = max(state.progress[BRANCH_MAX], length)
    action = _decide(length, rival, mine[FORK], mine[LEAD] != 0, mine[EQUAL_FORK] != 0, mine[TRAIL])
    if action == WAIT:
        return
    if action == ADOPT:
        mine[PRIVATE] = mine[PUBLIC]
        tell_gateways(state, wheel, now, mine[PUBLIC], pool, -1, FOLLOW, 0)
        return
    last = mine[PRIVATE]
    while block[last, HEIGHT] > parted + rival + (1 if action == OVERRIDE else 0):
        last = block[last, PARENT]
    count, shown = 0, last
    while shown != own and state.shown[shown, IS_RELEASED] == 0:
        state.shown[shown, IS_RELEASED] = 1
        shown = block[shown, PARENT]
        count += 1
    if count > 0 and block[last, SLOT] >= 0:
        tell_gateways(state, wheel, now, last, pool, -1, RELEASE, count)
    if action == OVERRIDE:
        mine[PUBLIC], mine[FORK] = last, IRRELEVANT
        return
    if mine[FORK] == RELEVANT:
        state.shown[mine[PUBLIC], MATCH] = last
    mine[FORK] = ACTIVE
