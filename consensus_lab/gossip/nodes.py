"""Questions about a node and its links in the compiled path."""

# Compiled functions are typed by numba from what they are called with.
# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators

from __future__ import annotations

from consensus_lab.gossip.compiled import compiled, inlined
from consensus_lab.gossip.mining import TIME_NS_MAX
from consensus_lab.gossip.state import (
    ACCEPTED,
    ACCEPTED_BY,
    CHANGED,
    IS_OFF,
    LATENCY_BITS,
    NO_SLOT,
    OFF_AT,
    SLOT,
    WITHHOLDS,
)

NEVER = 1 << 61


@inlined
def is_accepted(state, block, node):
    """True when the node has validated a block; one without a slot everybody has."""
    slot = state.block[block, SLOT]
    return slot == NO_SLOT or state.heard[slot, node] == ACCEPTED


@compiled
def is_awaited(state, block, slot):
    """True while a node lacks a block that it may still get: it is on, or off but not for good."""
    if state.block[block, ACCEPTED_BY] == len(state.node):
        return False
    for node in range(len(state.node)):
        if state.heard[slot, node] != ACCEPTED and not is_gone(state, node):
            return True
    return False


@inlined
def is_gone(state, node):
    """True for a node that is off and does not come back."""
    if len(state.life) == 0 or state.life[node, IS_OFF] == 0:
        return False
    return state.off_ns[state.off_offset[node] + state.life[node, OFF_AT], 1] == TIME_NS_MAX


@inlined
def withholds(state, node):
    """True for a gateway of a withholding pool."""
    if len(state.pool_of) == 0 or state.pool_of[node] < 0:
        return False
    return state.pool[state.pool_of[node], WITHHOLDS] != 0


@inlined
def next_change_ns(state):
    """When the next node goes on or off, or the next partition begins or ends."""
    place = state.progress[CHANGED]
    return state.change[place, 0] if place < len(state.change) else NEVER


@compiled
def is_on(state, node, now, until):
    """Whether the node is on from now until that time."""
    place = state.off_offset[node] + state.life[node, OFF_AT]
    while place < state.off_offset[node + 1] and state.off_ns[place, 0] <= until:
        if now < state.off_ns[place, 1]:
            return False
        place += 1
    return True


@compiled
def is_whole(state, link, source, now, until):
    """Whether a link is whole and both its ends are on, from now until that time."""
    receiver = state.link[link] >> LATENCY_BITS
    if not (is_on(state, source, now, until) and is_on(state, receiver, now, until)):
        return False
    for place in range(len(state.cut_ns)):
        is_during = state.cut_ns[place, 0] <= until and now < state.cut_ns[place, 1]
        if is_during and state.is_cut[place, link]:
            return False
    return True


@inlined
def is_connected(state, link, source, now):
    """Whether there is a connection between a link's ends now."""
    return is_whole(state, link, source, now, now)


@inlined
def is_carried(state, link, source, now, arrives):
    """Whether a connection that there is now lasts until a message over it arrives."""
    return arrives < next_change_ns(state) or is_whole(state, link, source, now, arrives)
