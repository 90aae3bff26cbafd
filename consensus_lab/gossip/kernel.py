"""The compiled path's loop: take the next event or find the next block, and hand it on.

Theory of operation.  The steps and their order are those of `nakamoto.relay.RelayNode` under
`sim.engine`: what is a message or a timer there is an event here, pushed in the same order, so
equal times come out alike.  Two things make it fast.  First, of all announcements of a block to a
node only the first to arrive has any effect, so an announcement is an event only if it will
arrive before all those made so far (`heard` keeps the best time); of some sixteen per node about
one and a half are.  Second, there are no objects: a node is one cache line, a link one integer,
an event two.

Everything here is integer arithmetic; times are nanoseconds.
"""

# Compiled functions are typed by numba from what they are called with.
# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators

from __future__ import annotations

from consensus_lab.gossip.blocks import accept, complete, send_on
from consensus_lab.gossip.compiled import compiled, inlined, loop
from consensus_lab.gossip.connections import catch_up, change, is_off, most_pushes
from consensus_lab.gossip.draws import lacks_transactions
from consensus_lab.gossip.gateways import order
from consensus_lab.gossip.look_ahead import look_ahead
from consensus_lab.gossip.nodes import (
    NEVER,
    is_accepted,
    is_awaited,
    is_connected,
    next_change_ns,
    withholds,
)
from consensus_lab.gossip.state import (
    ACCEPTED,
    ARRIVED,
    ARRIVED_COMPACT,
    ARRIVED_FILL,
    BRANCH_MAX,
    COMPACT_LOW,
    COMPACT_WIRE_BYTES,
    DONE,
    EVENTS,
    FAST_COMPACT,
    FILL_WIRE_BYTES,
    FILLING,
    FOUND,
    FOUND_NS,
    GETCOMPACT,
    GETDATA,
    GETTXN,
    HEADERS,
    HEIGHT,
    INCARNATION,
    INV,
    IS_NEEDED,
    KIND_SHIFT,
    LATENCY_BITS,
    LINK_MASK,
    MINER,
    NEEDS_EVENTS,
    NEEDS_ORPHANS,
    NEEDS_SLOTS,
    NO_SLOT,
    NODE_MASK,
    NOW,
    ORPHAN_COUNT,
    ORPHANS,
    PARENT,
    PAUSED,
    PENDING,
    RECEIVED,
    REFUSED,
    REQUESTED,
    SLOT,
    SLOT_MASK,
    SLOT_SHIFT,
    SOURCE_SHIFT,
    THROUGH,
    TIP,
    TIPS,
    UNHEARD,
    VALIDATED,
    WANT,
    WIRE_BYTES,
)
from consensus_lab.gossip.wheel import HIGH, LOW, TIME, WHAT, advance, waiting
from consensus_lab.gossip.wire import (
    is_through,
    most_links,
    reply_short,
    request,
    size_of,
    source_of,
    transmit,
    transmit_rarely,
)
from consensus_lab.nakamoto.relay_messages import GET_TRANSACTIONS_BYTES

_ROUTE_MASK = (1 << KIND_SHIFT) - 1


@inlined
def handle(state, wheel, now, what):
    """One event."""
    kind = what >> KIND_SHIFT
    if kind < VALIDATED:
        catch_up(state, wheel, now, what)
        return
    slot = (what >> SLOT_SHIFT) & SLOT_MASK
    link = what & LINK_MASK
    block = state.slot_block[slot]
    state.block[block, PENDING] -= 1
    if kind < INV:
        if kind != VALIDATED:
            order(state, wheel, now, block, slot, link, what)
        elif is_still_valid(state, slot, link, what):
            accept(state, wheel, now, block, slot, link, False)
        return
    receiver = state.link[link] >> LATENCY_BITS
    if kind == INV:
        if state.heard[slot, receiver] >= now:
            hear(state, wheel, now, block, slot, receiver, what)
    elif kind == GETDATA:
        state.uploads[(what >> SOURCE_SHIFT) & NODE_MASK] += 1
        size = state.block[block, WIRE_BYTES]
        transmit(state, wheel, now, block, size, ARRIVED, what & _ROUTE_MASK)
    elif kind >= ARRIVED:
        long_message(state, wheel, now, block, slot, receiver, kind, what)
    elif kind == GETCOMPACT:
        state.uploads[(what >> SOURCE_SHIFT) & NODE_MASK] += 1
        size = state.block[block, COMPACT_WIRE_BYTES]
        transmit_rarely(state, wheel, now, block, size, ARRIVED_COMPACT, what & _ROUTE_MASK)
    elif kind == GETTXN:
        if len(state.life) > 0 and state.heard[slot, source_of(what)] not in (RECEIVED, ACCEPTED):
            return
        size = state.block[block, FILL_WIRE_BYTES]
        transmit_rarely(state, wheel, now, block, size, ARRIVED_FILL, what & _ROUTE_MASK)
    elif kind == WANT:
        state.fast[link] |= FAST_COMPACT
    else:
        state.fast[link] &= ~FAST_COMPACT


@inlined
def is_still_valid(state, slot, node, what):
    """Whether what was validated is still to be accepted: not yet, and the node was not off."""
    if len(state.pool_of) > 0 and state.heard[slot, node] == ACCEPTED:
        return False
    return len(state.life) == 0 or source_of(what) == state.life[node, INCARNATION] & NODE_MASK


@inlined
def hear(state, wheel, now, block, slot, receiver, what):
    """The first announcement of a block: ask for it, unless it is known to be behind."""
    kind = GETDATA
    if state.protocol >= HEADERS:
        tip = state.node[receiver, TIP]
        is_behind = state.block[block, HEIGHT] < state.block[tip, HEIGHT]
        if is_behind and not withholds(state, receiver):
            state.heard[slot, receiver] = REFUSED
            return
        has_parent = is_accepted(state, state.block[block, PARENT], receiver)
        if state.protocol >= COMPACT_LOW and has_parent:
            kind = GETCOMPACT
    state.heard[slot, receiver] = REQUESTED
    if len(state.asked) > 0:
        state.asked[slot, receiver] = what & LINK_MASK
    request(state, wheel, now, block, kind, what & _ROUTE_MASK, receiver)


@inlined
def long_message(state, wheel, now, block, slot, receiver, kind, what):
    """A block, a compact block or missing transactions are at the receiver's line or through."""
    if kind < THROUGH:
        size = size_of(state, block, kind)
        if not is_through(state, wheel, now, block, size, receiver, what):
            return
    else:
        kind -= THROUGH - ARRIVED
        if len(state.life) > 0 and not is_connected(state, what & LINK_MASK, source_of(what), now):
            return
    link = what & LINK_MASK
    source = (what >> SOURCE_SHIFT) & NODE_MASK
    if len(state.known) > 0 and kind <= ARRIVED_COMPACT:
        state.known[slot, state.reverse[link]] = 1
    heard = state.heard[slot, receiver]
    if heard in (RECEIVED, ACCEPTED):
        return
    if kind == ARRIVED_COMPACT:
        if heard == FILLING:
            return
        if lacks_transactions(state.chance_key, state.chance_threshold, receiver, block):
            state.heard[slot, receiver] = FILLING
            if len(state.asked) > 0:
                state.asked[slot, receiver] = link
            size = GET_TRANSACTIONS_BYTES
            reply_short(state, wheel, now, block, GETTXN, size, what & _ROUTE_MASK, receiver)
            return
    complete(state, wheel, now, block, slot, receiver, link, source)


@compiled
def find(state, wheel, block, slot):
    """A miner finds a block on its tip, sends it on and accepts it at once."""
    row = state.block[block]
    miner, now = row[MINER], row[FOUND_NS]
    row[PARENT] = state.node[miner, TIP]
    row[HEIGHT] = state.block[row[PARENT], HEIGHT] + 1
    row[SLOT] = slot
    state.slot_block[slot] = block
    state.heard[slot, :] = UNHEARD
    if len(state.known) > 0:
        state.known[slot, :] = 0
    if len(state.source) > 0:
        state.source[slot, :] = -1
    if len(state.fast) > 0 and not withholds(state, miner):
        send_on(state, wheel, now, block, slot, miner)
    accept(state, wheel, now, block, slot, miner, False)


@compiled
def take_slot(state):
    """A free slot, after taking back those that nobody needs any more; -1 when all are in use.

    A block needs its slot while it is under way, and so does every ancestor that has one: whoever
    gets the block may have to ask for them.
    """
    free = -1
    slots = len(state.slot_block)
    for slot in range(slots):
        block = state.slot_block[slot]
        if block >= 0 and is_under_way(state, block, slot):
            while state.block[block, SLOT] != NO_SLOT and state.block[block, IS_NEEDED] == 0:
                state.block[block, IS_NEEDED] = 1
                block = state.block[block, PARENT]
    for slot in range(slots):
        block = state.slot_block[slot]
        if block >= 0:
            if state.block[block, IS_NEEDED] == 0:
                state.block[block, SLOT] = NO_SLOT
                state.slot_block[slot] = -1
            state.block[block, IS_NEEDED] = 0
        if state.slot_block[slot] < 0:
            free = slot
    return free


@compiled
def is_under_way(state, block, slot):
    """True while messages or orphans of a block are about, or some build on what others lack."""
    row = state.block[block]
    if row[PENDING] > 0 or row[ORPHANS] > 0:
        return True
    return row[TIPS] > 0 and is_awaited(state, block, slot)


@loop(
    "gossip/kernel.py",
    "gossip/blocks.py",
    "gossip/wire.py",
    "gossip/nodes.py",
    "gossip/draws.py",
    "gossip/chance.py",
    "gossip/connections.py",
    "gossip/look_ahead.py",
    "gossip/timeline.py",
    "gossip/mining.py",
    "gossip/gateways.py",
    "gossip/withholding.py",
    "nakamoto/relay_withholding.py",
    "gossip/wheel.py",
    "gossip/state.py",
    "nakamoto/relay_messages.py",
    "nakamoto/relay_options.py",
    "sim/links.py",
)
def run(state, wheel, budget):
    """Handle events and find blocks until done, the budget is spent, or memory is short."""
    control, active, progress = wheel.control, wheel.active, state.progress
    links = most_links(state)
    # What one event can push: announcements, orphans, requests, orders to a pool's gateways.
    room = len(wheel.pool) - 2 * links - len(state.orphan) - 2 * len(state.gateway) - 8
    room -= len(state.slot_block)
    n_blocks = len(state.block) - 1
    seen = 0
    while True:
        found = progress[FOUND]
        next_found = state.block[found + 1, FOUND_NS] if found < n_blocks else NEVER
        change_ns = next_change_ns(state)
        stop_ns = min(next_found, change_ns)
        while control[LOW] < control[HIGH] or advance(wheel, stop_ns):
            if state.looks_ahead and control[LOW] == 0:
                seen = look_ahead(state, wheel, seen)
            time = active[control[LOW], TIME]
            if time >= stop_ns:
                break
            if waiting(wheel) > room - progress[BRANCH_MAX] * links:
                return NEEDS_EVENTS
            if progress[ORPHAN_COUNT] == len(state.orphan):
                return NEEDS_ORPHANS
            if budget <= 0:
                return PAUSED
            budget -= 1
            what = active[control[LOW], WHAT]
            control[LOW] += 1
            progress[EVENTS] += 1
            handle(state, wheel, time, what)
            progress[NOW] = time
        if stop_ns == NEVER:
            return DONE
        if change_ns == stop_ns:
            if waiting(wheel) + most_pushes(state, links) > room:
                return NEEDS_EVENTS
            progress[NOW] = change_ns
            change(state, wheel, change_ns)
            continue
        if is_off(state, state.block[found + 1, MINER]):
            progress[FOUND] = found + 1
            progress[NOW] = next_found
            continue
        if waiting(wheel) > room - progress[BRANCH_MAX] * links:
            return NEEDS_EVENTS
        slot = take_slot(state)
        if slot < 0:
            return NEEDS_SLOTS
        progress[FOUND] = found + 1
        progress[NOW] = next_found
        find(state, wheel, found + 1, slot)
