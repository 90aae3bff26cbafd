"""Block relay by inv and getdata, compiled: the same steps as `nakamoto.relay`, event for event.

Theory of operation.  The steps and their order are those of `RelayNode` under `sim.engine`: what
is a message there is an event here, pushed in the same order, so equal times come out alike.  Two
things make it fast.  First, of all announcements of a block to a node only the first to arrive
has any effect, so an announcement is an event only if it will arrive before all those made
so far (`heard` keeps the best time); of some sixteen per node about two are.  Second, there are
no objects: a node is one cache line, a link one integer, an event two.

Everything here is integer arithmetic; times are nanoseconds.
"""

from __future__ import annotations

from consensus_lab.gossip.compiled import compiled, inlined
from consensus_lab.gossip.state import (
    ACCEPTED,
    ACCEPTED_BY,
    ARRIVED,
    DELAY_SUM_NS,
    DONE,
    DOWNLOAD,
    DOWNLOAD_FREE,
    EVENTS,
    FOUND,
    FOUND_NS,
    GETDATA,
    HEIGHT,
    INV,
    INV_NS,
    IS_NEEDED,
    KIND_SHIFT,
    LATENCY_BITS,
    LATENCY_MASK,
    LINK_MASK,
    MINER,
    NEEDS_EVENTS,
    NEEDS_ORPHANS,
    NEEDS_SLOTS,
    NEXT_REACH,
    NO_SLOT,
    NODE_MASK,
    NOW,
    ORPHAN_COUNT,
    ORPHANED,
    ORPHANS,
    PARENT,
    PAUSED,
    PENDING,
    PROCESSOR_FREE,
    RECEIVED,
    REORG_DEPTH_MAX,
    REORGANISATIONS,
    REQUEST_NS,
    REQUESTED,
    SLOT,
    SLOT_MASK,
    SLOT_SHIFT,
    SOURCE_SHIFT,
    THROUGH,
    TIP,
    TIPS,
    UNHEARD,
    UPLOAD,
    UPLOAD_FREE,
    VALIDATED,
    VALIDATION_NS,
    WIRE_BYTES,
)  # fmt: skip
from consensus_lab.gossip.wheel import HIGH, LOW, TIME, WHAT, advance, push, waiting
from consensus_lab.sim.links import NANOSECONDS_PER_SECOND, PACKET_SIZE_BYTES

NEVER = 1 << 61


@inlined
def packed(kind, slot, source, link):
    """An event as one integer."""
    return kind << KIND_SHIFT | slot << SLOT_SHIFT | source << SOURCE_SHIFT | link


@inlined
def transfer_ns(size_bytes, bytes_per_s):
    """Time for that many bytes, as `sim.links.transfer_ns`; a rate of 0 takes no time."""
    if bytes_per_s == 0:
        return 0
    return size_bytes * NANOSECONDS_PER_SECOND // bytes_per_s


@compiled
def run(state, wheel, budget):
    """Handle events and find blocks until done, the budget is spent, or memory is short."""
    control, active, progress = wheel.control, wheel.active, state.progress
    room = len(wheel.pool) - most_links(state) - len(state.orphan) - 4
    n_blocks = len(state.block) - 1
    while True:
        found = progress[FOUND]
        next_found = state.block[found + 1, FOUND_NS] if found < n_blocks else NEVER
        while control[LOW] < control[HIGH] or advance(wheel, next_found):
            time = active[control[LOW], TIME]
            if time >= next_found:
                break
            if waiting(wheel) > room:
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
        if found == n_blocks:
            return DONE
        if waiting(wheel) > room:
            return NEEDS_EVENTS
        slot = take_slot(state)
        if slot < 0:
            return NEEDS_SLOTS
        progress[FOUND] = found + 1
        progress[NOW] = next_found
        find(state, wheel, found + 1, slot)


@compiled
def most_links(state):
    """The largest number of neighbours: how many events one event can push."""
    most = 0
    for v in range(len(state.node)):
        most = max(most, state.offset[v + 1] - state.offset[v])
    return most


@inlined
def handle(state, wheel, now, what):
    """One event."""
    kind = what >> KIND_SHIFT
    slot = (what >> SLOT_SHIFT) & SLOT_MASK
    link = what & LINK_MASK
    block = state.slot_block[slot]
    state.block[block, PENDING] -= 1
    if kind == INV:
        receiver = state.link[link] >> LATENCY_BITS
        if state.heard[slot, receiver] == now:
            state.heard[slot, receiver] = REQUESTED
            request(state, wheel, now, block, what - (INV << KIND_SHIFT), receiver)
    elif kind == GETDATA:
        send_block(state, wheel, now, block, slot, (what >> SOURCE_SHIFT) & NODE_MASK, link)
    elif kind == ARRIVED:
        arrive(state, wheel, now, block, what)
    elif kind == THROUGH:
        receive(state, wheel, now, block, what)
    else:
        accept(state, wheel, now, block, slot, link)


@inlined
def request(state, wheel, now, block, route, receiver):
    """The receiver of a link asks its source for a block; `route` is slot, source and link."""
    latency = state.link[route & LINK_MASK] & LATENCY_MASK
    state.block[block, PENDING] += 1
    push(wheel, now + state.node[receiver, REQUEST_NS] + latency, GETDATA << KIND_SHIFT | route)


@inlined
def send_block(state, wheel, now, block, slot, source, link):
    """A request has arrived: the block leaves when the upload line is free and travels."""
    size = state.block[block, WIRE_BYTES]
    left = now
    upload = state.node[source, UPLOAD]
    if upload > 0:
        left = now + transfer_ns(size, upload)
        if size > PACKET_SIZE_BYTES:
            left += max(0, state.node[source, UPLOAD_FREE] - now)
            state.node[source, UPLOAD_FREE] = left
    state.uploads[source] += 1
    state.block[block, PENDING] += 1
    latency = state.link[link] & LATENCY_MASK
    push(wheel, left + latency, packed(ARRIVED, slot, source, link))


@inlined
def arrive(state, wheel, now, block, what):
    """A block is at the receiver's line, which may still be busy or slower than the sender's."""
    receiver = state.link[what & LINK_MASK] >> LATENCY_BITS
    size = state.block[block, WIRE_BYTES]
    download = state.node[receiver, DOWNLOAD]
    if download > 0 and size > PACKET_SIZE_BYTES:
        source = (what >> SOURCE_SHIFT) & NODE_MASK
        first = now - transfer_ns(size, state.node[source, UPLOAD])
        begin = max(first, state.node[receiver, DOWNLOAD_FREE])
        through = max(now, begin + transfer_ns(size, download))
        state.node[receiver, DOWNLOAD_FREE] = through
        if through > now:
            state.block[block, PENDING] += 1
            push(wheel, through, what + ((THROUGH - ARRIVED) << KIND_SHIFT))
            return
    receive(state, wheel, now, block, what)


@inlined
def receive(state, wheel, now, block, what):
    """A block is here: validate it, or keep it as an orphan and ask for its parent."""
    link = what & LINK_MASK
    slot = (what >> SLOT_SHIFT) & SLOT_MASK
    receiver = state.link[link] >> LATENCY_BITS
    state.heard[slot, receiver] = RECEIVED
    if len(state.received_ns) > 0:
        state.received_ns[block, receiver] = now
    parent = state.block[block, PARENT]
    parent_slot = state.block[parent, SLOT]
    if parent_slot == NO_SLOT or state.heard[parent_slot, receiver] == ACCEPTED:
        validate(state, wheel, now, block, slot, receiver)
        return
    place = state.progress[ORPHAN_COUNT]
    state.orphan[place, 0] = parent_slot
    state.orphan[place, 1] = slot
    state.orphan[place, 2] = receiver
    state.progress[ORPHAN_COUNT] = place + 1
    state.progress[ORPHANED] += 1
    state.block[block, ORPHANS] += 1
    if state.heard[parent_slot, receiver] >= 0:
        state.heard[parent_slot, receiver] = REQUESTED
        source = (what >> SOURCE_SHIFT) & NODE_MASK
        request(state, wheel, now, parent, packed(0, parent_slot, source, link), receiver)


@inlined
def validate(state, wheel, now, block, slot, node):
    """Queue a block at the node's processor."""
    done = max(now, state.node[node, PROCESSOR_FREE]) + state.block[block, VALIDATION_NS]
    state.node[node, PROCESSOR_FREE] = done
    state.block[block, PENDING] += 1
    push(wheel, done, packed(VALIDATED, slot, 0, node))


@inlined
def accept(state, wheel, now, block, slot, node):
    """A validated block joins the node's tree; a new tip is announced; its orphans follow."""
    record(state, now, block, node)
    state.heard[slot, node] = ACCEPTED
    tip = state.node[node, TIP]
    if state.block[block, HEIGHT] > state.block[tip, HEIGHT]:
        if state.block[block, PARENT] != tip:
            note_reorganisation(state, tip, block)
        state.node[node, TIP] = block
        state.block[tip, TIPS] -= 1
        state.block[block, TIPS] += 1
        announce(state, wheel, now, block, slot, node)
    if state.progress[ORPHAN_COUNT] > 0:
        adopt(state, wheel, now, slot, node)


@inlined
def announce(state, wheel, now, block, slot, node):
    """Tell the neighbours; only what will be the first word of this block becomes an event."""
    leaves = now + state.node[node, INV_NS]
    route = packed(INV, slot, node, 0)
    pushed = 0
    for link in range(state.offset[node], state.offset[node + 1]):
        arrives = leaves + (state.link[link] & LATENCY_MASK)
        neighbour = state.link[link] >> LATENCY_BITS
        if arrives < state.heard[slot, neighbour]:
            state.heard[slot, neighbour] = arrives
            push(wheel, arrives, route | link)
            pushed += 1
    state.block[block, PENDING] += pushed


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
def find(state, wheel, block, slot):
    """A miner finds a block on its tip and accepts it at once."""
    row = state.block[block]
    miner = row[MINER]
    row[PARENT] = state.node[miner, TIP]
    row[HEIGHT] = state.block[row[PARENT], HEIGHT] + 1
    row[SLOT] = slot
    state.slot_block[slot] = block
    state.heard[slot, :] = UNHEARD
    accept(state, wheel, row[FOUND_NS], block, slot, miner)


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
        if block >= 0 and is_under_way(state, block):
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
def is_under_way(state, block):
    """True while messages or orphans of a block are about, or some build on what others lack."""
    row = state.block[block]
    if row[PENDING] > 0 or row[ORPHANS] > 0:
        return True
    return row[TIPS] > 0 and row[ACCEPTED_BY] < len(state.node)
