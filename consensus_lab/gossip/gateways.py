"""Gateways in the compiled path: the commands of `nakamoto.relay_gateway.GatewayNode`."""

# Compiled functions are typed by numba from what they are called with.
# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators

from __future__ import annotations

from consensus_lab.gossip.blocks import accept, announce, move_tip, push_to_all
from consensus_lab.gossip.compiled import compiled
from consensus_lab.gossip.nodes import is_accepted
from consensus_lab.gossip.state import (
    ENTER,
    FOLLOW,
    KIND_SHIFT,
    NO_SLOT,
    NODE_MASK,
    PARENT,
    PUSH,
    RELEASE,
    SLOT,
    SOURCE_SHIFT,
)


@compiled
def order(state, wheel, now, block, slot, node, what):
    """What a pool tells a gateway."""
    kind = what >> KIND_SHIFT
    if kind == RELEASE:
        for above in range(((what >> SOURCE_SHIFT) & NODE_MASK) - 1, -1, -1):
            shown = block
            for _ in range(above):
                shown = state.block[shown, PARENT]
            if state.block[shown, SLOT] != NO_SLOT:
                tell(state, wheel, now, shown, node)
        return
    while not is_accepted(state, block, node):
        lowest = block
        while not is_accepted(state, state.block[lowest, PARENT], node):
            lowest = state.block[lowest, PARENT]
        is_quiet = kind != ENTER or lowest != block
        accept(state, wheel, now, lowest, state.block[lowest, SLOT], node, is_quiet)
    if kind != ENTER:
        move_tip(state, block, node)
    if kind == FOLLOW:
        tell(state, wheel, now, block, node)


@compiled
def tell(state, wheel, now, block, node):
    """Announce a block, whatever the node works on."""
    if state.protocol == PUSH:
        push_to_all(state, wheel, now, block, state.block[block, SLOT], node)
    else:
        announce(state, wheel, now, block, state.block[block, SLOT], node)
