"""What a node does with a block in the compiled path: the steps of `nakamoto.relay.RelayNode`.

Each function is the twin of the node's method of that name, and changes the same state and sends
the same messages in the same order.
"""

# Compiled functions are typed by numba from what they are called with.
# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators

from __future__ import annotations

from consensus_lab.gossip.compiled import compiled, inlined
from consensus_lab.gossip.draws import jitter_ns, travel_ns
from consensus_lab.gossip.nodes import (
    is_accepted,
    is_carried,
    is_connected,
    next_change_ns,
    withholds,
)
from consensus_lab.gossip.state import (
    ACCEPTED,
    ACCEPTED_BY,
    ARRIVED,
    ARRIVED_COMPACT,
    COMPACT_HIGH,
    COMPACT_WIRE_BYTES,
    DELAY_SUM_NS,
    FOUND_NS,
    GETDATA,
    HEIGHT,
    INCARNATION,
    INV,
    INV_NS,
    LATENCY_BITS,
    LATENCY_MASK,
    MINER,
    NEXT_REACH,
    NODE_MASK,
    ORPHAN_COUNT,
    ORPHANED,
    ORPHANS,
    PARENT,
    PENDING,
    PROCESSOR_FREE,
    PUSH,
    RECEIVED,
    REFUSED,
    REORG_DEPTH_MAX,
    REORGANISATIONS,
    REQUESTED,
    SLOT,
    SOURCE_SHIFT,
    TIP,
    TIPS,
    UNWANT,
    VALIDATED,
    VALIDATION_NS,
    WANT,
    WIRE_BYTES,
)
from consensus_lab.gossip.wheel import push
from consensus_lab.gossip.wire import packed, reply_short, request, transmit_rarely
from consensus_lab.gossip.withholding import tell_pool
from consensus_lab.nakamoto.relay_messages import SEND_COMPACT_BYTES
from consensus_lab.nakamoto.relay_options import HIGH_BANDWIDTH_SOURCES


@inlined
def complete(state, wheel, now, block, slot, node, link, source):
    """All of a block is here: send it on and validate it, or keep it as an orphan."""
    state.heard[slot, node] = RECEIVED
    if len(state.received_ns) > 0:
        state.received_ns[block, node] = now
    if len(state.source) > 0:
        state.source[slot, node] = source << SOURCE_SHIFT | link
    parent = state.block[block, PARENT]
    if is_accepted(state, parent, node):
        if len(state.fast) > 0 and not withholds(state, node):
            send_on(state, wheel, now, block, slot, node)
        validate(state, wheel, now, block, slot, node)
    else:
        keep_orphan(state, wheel, now, block, slot, node, link, source)


@compiled
def keep_orphan(state, wheel, now, block, slot, node, link, source):
    """Put a block aside and ask its sender for the parent, unless that is on its way."""
    parent = state.block[block, PARENT]
    parent_slot = state.block[parent, SLOT]
    place = state.progress[ORPHAN_COUNT]
    state.orphan[place, 0] = parent_slot
    state.orphan[place, 1] = slot
    state.orphan[place, 2] = node
    state.progress[ORPHAN_COUNT] = place + 1
    state.progress[ORPHANED] += 1
    state.block[block, ORPHANS] += 1
    heard = state.heard[parent_slot, node]
    if heard >= 0 or heard == REFUSED:
        state.heard[parent_slot, node] = REQUESTED
        if len(state.asked) > 0:
            state.asked[parent_slot, node] = link
        request(state, wheel, now, parent, GETDATA, packed(0, parent_slot, source, link), node)


@compiled
def send_on(state, wheel, now, block, slot, node):
    """Before validation: to the overlay, and to who asked for compact blocks unasked."""
    height = state.block[block, HEIGHT]
    if state.block[block, PARENT] != state.node[node, TIP] or height <= state.fast_height[node]:
        return
    for link in range(state.offset[node], state.offset[node + 1]):
        if state.fast[link] == 0:
            continue
        if len(state.life) > 0 and not is_connected(state, link, node, now):
            continue
        state.fast_height[node] = height
        if state.known[slot, link] == 0:
            state.known[slot, link] = 1
            state.uploads[node] += 1
            size, route = state.block[block, COMPACT_WIRE_BYTES], packed(0, slot, node, link)
            transmit_rarely(state, wheel, now, block, size, ARRIVED_COMPACT, route)


@inlined
def validate(state, wheel, now, block, slot, node):
    """Queue a block at the node's processor."""
    done = max(now, state.node[node, PROCESSOR_FREE]) + state.block[block, VALIDATION_NS]
    state.node[node, PROCESSOR_FREE] = done
    state.block[block, PENDING] += 1
    life = 0
    if len(state.life) > 0:
        life = state.life[node, INCARNATION] & NODE_MASK
    push(wheel, done, packed(VALIDATED, slot, life, node))


@inlined
def accept(state, wheel, now, block, slot, node, is_quiet):
    """A validated block joins the node's tree; a new tip is announced; its orphans follow."""
    record(state, now, block, node)
    state.heard[slot, node] = ACCEPTED
    has_pool = len(state.pool_of) > 0 and state.pool_of[node] >= 0
    if has_pool:
        tell_pool(state, wheel, now, block, slot, node)
    if state.protocol == COMPACT_HIGH and state.source[slot, node] >= 0:
        prefer(state, wheel, now, block, slot, node)
    tip = state.node[node, TIP]
    if has_pool and withholds(state, node):
        if state.block[block, MINER] == node:
            move_tip(state, block, node)
    elif state.block[block, HEIGHT] > state.block[tip, HEIGHT]:
        if state.block[block, PARENT] != tip:
            note_reorganisation(state, tip, block)
        state.node[node, TIP] = block
        state.block[tip, TIPS] -= 1
        state.block[block, TIPS] += 1
        if not is_quiet:
            if state.protocol == PUSH:
                push_to_all(state, wheel, now, block, slot, node)
            else:
                announce(state, wheel, now, block, slot, node)
    if state.progress[ORPHAN_COUNT] > 0:
        adopt(state, wheel, now, slot, node)


@compiled
def move_tip(state, block, node):
    """A pool tells its gateway what to work on."""
    tip = state.node[node, TIP]
    note_reorganisation(state, tip, block)
    state.node[node, TIP] = block
    state.block[tip, TIPS] -= 1
    state.block[block, TIPS] += 1


@inlined
def announce(state, wheel, now, block, slot, node):
    """Tell the neighbours; only what will be the first word of this block becomes an event."""
    if len(state.life) > 0:
        announce_under_change(state, wheel, now, block, slot, node)
        return
    leaves = now + state.node[node, INV_NS]
    route = packed(INV, slot, node, 0)
    tracks_known = len(state.known) > 0
    pushed = 0
    for link in range(state.offset[node], state.offset[node + 1]):
        arrives = leaves + (state.link[link] & LATENCY_MASK)
        neighbour = state.link[link] >> LATENCY_BITS
        if arrives < state.heard[slot, neighbour]:
            if tracks_known and state.known[slot, link]:
                continue
            if state.jitter > 0:
                arrives += jitter_ns(state, link, node, neighbour, INV, block)
                if arrives >= state.heard[slot, neighbour]:
                    continue
            state.heard[slot, neighbour] = arrives
            push(wheel, arrives, route | link)
            pushed += 1
    state.block[block, PENDING] += pushed


@compiled
def announce_under_change(state, wheel, now, block, slot, node):
    """As `announce`, where connections come and go.

    Which announcement is the first is certain only until the next change: those that arrive
    later are all events, as a node may by then have forgotten what it has asked for.
    """
    leaves = now + state.node[node, INV_NS]
    route = packed(INV, slot, node, 0)
    change_ns = next_change_ns(state)
    for link in range(state.offset[node], state.offset[node + 1]):
        neighbour = state.link[link] >> LATENCY_BITS
        arrives = leaves + travel_ns(state, link, node, neighbour, INV, block)
        is_certain = arrives < change_ns
        if is_certain and arrives >= state.heard[slot, neighbour]:
            continue
        if len(state.known) > 0 and state.known[slot, link]:
            continue
        if not is_connected(state, link, node, now):
            continue
        if not is_carried(state, link, node, now, arrives):
            continue
        if is_certain:
            state.heard[slot, neighbour] = arrives
        state.block[block, PENDING] += 1
        push(wheel, arrives, route | link)


@compiled
def push_to_all(state, wheel, now, block, slot, node):
    """Send the whole block to every neighbour that is not known to have it."""
    for link in range(state.offset[node], state.offset[node + 1]):
        if len(state.life) > 0 and not is_connected(state, link, node, now):
            continue
        if state.known[slot, link] == 0:
            state.uploads[node] += 1
            size = state.block[block, WIRE_BYTES]
            transmit_rarely(state, wheel, now, block, size, ARRIVED, packed(0, slot, node, link))


@compiled
def prefer(state, wheel, now, block, slot, node):
    """Have who brought the block send compact ones unasked, in place of the oldest of three."""
    mine = state.fast_source[node]
    route = state.source[slot, node]
    count = 0
    while count < HIGH_BANDWIDTH_SOURCES and mine[count] >= 0:
        count += 1
    at = 0
    while at < count and mine[at] != route:
        at += 1
    is_new = at == count
    if is_new and count == HIGH_BANDWIDTH_SOURCES:
        whole = packed(0, slot, 0, 0) | mine[0]
        reply_short(state, wheel, now, block, UNWANT, SEND_COMPACT_BYTES, whole, node)
        at = 0
    if not is_new or count == HIGH_BANDWIDTH_SOURCES:
        for i in range(at, count - 1):
            mine[i] = mine[i + 1]
        count -= 1
    mine[count] = route
    if is_new:
        whole = packed(0, slot, 0, 0) | route
        reply_short(state, wheel, now, block, WANT, SEND_COMPACT_BYTES, whole, node)


@compiled
def adopt(state, wheel, now, slot, node):
    """Validate the orphans that waited at this node for this block, in order of arrival."""
    kept = 0
    for place in range(state.progress[ORPHAN_COUNT]):
        child_slot = state.orphan[place, 1]
        if state.orphan[place, 0] == slot and state.orphan[place, 2] == node:
            child = state.slot_block[child_slot]
            state.block[child, ORPHANS] -= 1
            validate(state, wheel, now, child, child_slot, node)
        else:
            state.orphan[kept, 0] = state.orphan[place, 0]
            state.orphan[kept, 1] = child_slot
            state.orphan[kept, 2] = state.orphan[place, 2]
            kept += 1
    state.progress[ORPHAN_COUNT] = kept


@inlined
def record(state, now, block, node):
    """Count a delivery: per block, per node, and in the pooled histogram."""
    row = state.block[block]
    delay = now - row[FOUND_NS]
    count = row[ACCEPTED_BY] + 1
    row[ACCEPTED_BY] = count
    row[DELAY_SUM_NS] += delay
    reach = row[NEXT_REACH]
    while reach < len(state.reach_count) and state.reach_count[reach] == count:
        state.reached_ns[block, reach] = delay
        reach += 1
    row[NEXT_REACH] = reach
    state.histogram[min(delay // state.histogram_bin_ns, len(state.histogram) - 1)] += 1
    state.node_delay[node, 0] += delay
    state.node_delay[node, 1] += 1
    if len(state.accepted_ns) > 0:
        state.accepted_ns[block, node] = now


@compiled
def note_reorganisation(state, old, new):
    """Count a change of branch and remember how many blocks the deepest one took back."""
    depth = 0
    while old != new:
        if state.block[new, HEIGHT] >= state.block[old, HEIGHT]:
            new = state.block[new, PARENT]
        else:
            old = state.block[old, PARENT]
            depth += 1
    if depth > 0:
        state.progress[REORGANISATIONS] += 1
        state.progress[REORG_DEPTH_MAX] = max(state.progress[REORG_DEPTH_MAX], depth)
