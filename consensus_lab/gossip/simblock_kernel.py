"""The loop of SimBlock's model: what each event does, in whole milliseconds.

Theory of operation.  See `simblock` for the model.  The event queue is the gossip path's timing
wheel with buckets of one millisecond, so nothing is ever sorted.  Latencies are drawn per message
from a Pareto law rounded to milliseconds: the law is cut into 1024 cells of equal chance, nearly
all of which round to one value that is looked up; the few cells in which the value changes are
computed, so the draw is exact.  A message that could not be the first of its block to reach a
node has no effect, and is not drawn at all: `heard` keeps the earliest arrival so far, and no
latency is below its law's least value.
"""

# Compiled functions are typed by numba from what they are called with.
# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators

from __future__ import annotations

from typing import NamedTuple

import numpy

from consensus_lab.gossip.compiled import compiled, inlined, loop
from consensus_lab.gossip.draws import mix64
from consensus_lab.gossip.wheel import HIGH, LOW, TIME, WHAT, advance, push, waiting

INV, GETDATA, ARRIVED, COMPACT_ARRIVED, GETTXN = range(5)
NODE_BITS, SLOT_BITS = 20, 14
SLOT_SHIFT = 2 * NODE_BITS
KIND_SHIFT = SLOT_SHIFT + SLOT_BITS
NODE_MASK = (1 << NODE_BITS) - 1
SLOT_MASK = (1 << SLOT_BITS) - 1
ROUTE_MASK = (1 << KIND_SHIFT) - 1

# Columns of `node`.
REGION, USES_COMPACT, IS_CHURN, TIP, IS_BUSY, QUEUE_HEAD, QUEUE_TAIL, NODE_SPARE = range(8)
# Columns of `block`.
PARENT, HEIGHT, FOUND_MS, MINER, SLOT, REACHED, PENDING, NEXT_REACH, DELAY_SUM_MS = range(9)
# Rows of `progress`.
FOUND, RANDOM, QUEUE_FREE, DELIVERIES, EVENTS, LAST = range(6)

# What `heard` holds, in ms since the block was found: when the first announcement arrives, or that
# it has been taken, or below that, negative, how long it took until the node had the block.
UNHEARD, TAKEN, HAD = (1 << 31) - 1, -1, -2
DONE, PAUSED, NEEDS_EVENTS, NEEDS_SLOTS, NEEDS_BLOCKS = range(5)
CELL_BITS = 10
CELLS = 1 << CELL_BITS
MIXED_CELL = -1

_CELL_SHIFT = numpy.uint64(64 - CELL_BITS)
_FRACTION_SHIFT = numpy.uint64(11)
_REST_MASK = numpy.uint64((1 << (64 - CELL_BITS)) - 1)


class Arrays(NamedTuple):
    """Everything but the event queue; times in milliseconds."""

    offset: numpy.ndarray  # int64, n + 1
    neighbour: numpy.ndarray  # int32, links: the node, and its region above NODE_BITS
    node: numpy.ndarray  # int32, (n, 8)
    heard: numpy.ndarray  # int32, (slots, n): earliest inv under way, or how far the node is
    slot_block: numpy.ndarray  # int64, slots
    block: numpy.ndarray  # int64, (blocks, 9)
    progress: numpy.ndarray  # int64
    queue: numpy.ndarray  # int64, (capacity, 2): event to send, next
    latency_cell: numpy.ndarray  # int16, (regions * regions, 1024)
    latency_law: numpy.ndarray  # float64, (regions * regions, 2): scale in ms, 1 / shape
    latency_least: numpy.ndarray  # int32, regions * regions
    transfer_ms: numpy.ndarray  # int32, (regions * regions, 2): whole block, compact block
    fill_bytes: numpy.ndarray  # int64, (2, entries): missing bytes, per sender's churn flag
    bytes_per_ms_times_8: numpy.ndarray  # int64, regions * regions: bits per millisecond
    failure_chance: numpy.ndarray  # float64, 2: of a compact block, per receiver's churn flag
    reach_count: numpy.ndarray  # int64
    reached_ms: numpy.ndarray  # int64, (blocks, reaches)
    histogram: numpy.ndarray  # int64: deliveries per ms, of the blocks that reached enough nodes
    reach_least: int
    end_height: int
    overhead_ms: int
    processing_ms: int


@inlined
def random_bits(a):
    """64 fresh bits: SplitMix64 on a counter."""
    a.progress[RANDOM] += 1
    return mix64(numpy.uint64(a.progress[RANDOM]) * numpy.uint64(0x9E3779B97F4A7C15))


@inlined
def random_unit(a):
    """A fresh number in [0, 1)."""
    return (random_bits(a) >> _FRACTION_SHIFT) * (1.0 / (1 << 53))


@inlined
def latency(a, pair):
    """A fresh latency between two regions, whole milliseconds."""
    bits = random_bits(a)
    value = a.latency_cell[pair, numpy.int64(bits >> _CELL_SHIFT)]
    if value == MIXED_CELL:
        uniform = ((bits >> _FRACTION_SHIFT) + 0.5) * (1.0 / (1 << 53))
        drawn = a.latency_law[pair, 0] / uniform ** a.latency_law[pair, 1]
        return numpy.int64(min(numpy.floor(drawn + 0.5), 1e9))
    return numpy.int64(value)


@inlined
def pair_of(a, source, receiver, regions):
    """Which of the region pairs a message crosses."""
    return a.node[source, REGION] * regions + a.node[receiver, REGION]


@inlined
def handle(a, wheel, regions, now, what):
    """One event."""
    kind = what >> KIND_SHIFT
    slot = (what >> SLOT_SHIFT) & SLOT_MASK
    source = (what >> NODE_BITS) & NODE_MASK
    receiver = what & NODE_MASK
    block = a.slot_block[slot]
    a.block[block, PENDING] -= 1
    if kind == INV:
        if a.heard[slot, receiver] == now - a.block[block, FOUND_MS]:
            a.heard[slot, receiver] = TAKEN
            if is_wanted(a, block, receiver):
                delay = latency(a, pair_of(a, receiver, source, regions)) + a.overhead_ms
                a.block[block, PENDING] += 1
                push(wheel, now + delay, GETDATA << KIND_SHIFT | (what & ROUTE_MASK))
    elif kind in (GETDATA, GETTXN):
        a.block[block, PENDING] += 1
        enqueue(a, what)
        if a.node[source, IS_BUSY] == 0:
            send_next(a, wheel, regions, now, source)
    else:
        send_next(a, wheel, regions, now, source)
        if kind == COMPACT_ARRIVED and (
            random_unit(a) < a.failure_chance[a.node[receiver, IS_CHURN]]
        ):
            delay = latency(a, pair_of(a, receiver, source, regions)) + a.overhead_ms
            a.block[block, PENDING] += 1
            push(wheel, now + delay, GETTXN << KIND_SHIFT | (what & ROUTE_MASK))
        else:
            receive(a, wheel, regions, now, block, slot, receiver)


@inlined
def is_wanted(a, block, node):
    """More work than the tip, or off the tip's chain."""
    tip = a.node[node, TIP]
    if tip < 0 or a.block[block, HEIGHT] > a.block[tip, HEIGHT]:
        return True
    while a.block[tip, HEIGHT] > a.block[block, HEIGHT]:
        tip = a.block[tip, PARENT]
    return tip != block


@inlined
def enqueue(a, what):
    """Put a request at the end of its sender's queue."""
    source = (what >> NODE_BITS) & NODE_MASK
    entry = a.progress[QUEUE_FREE]
    a.progress[QUEUE_FREE] = a.queue[entry, 1]
    a.queue[entry, 0] = what
    a.queue[entry, 1] = -1
    tail = a.node[source, QUEUE_TAIL]
    if tail < 0:
        a.node[source, QUEUE_HEAD] = entry
    else:
        a.queue[tail, 1] = entry
    a.node[source, QUEUE_TAIL] = entry


@inlined
def send_next(a, wheel, regions, now, source):
    """Send the oldest request; the sender is busy until it has arrived."""
    entry = a.node[source, QUEUE_HEAD]
    if entry < 0:
        a.node[source, IS_BUSY] = 0
        return
    what = a.queue[entry, 0]
    following = a.queue[entry, 1]
    a.queue[entry, 1] = a.progress[QUEUE_FREE]
    a.progress[QUEUE_FREE] = entry
    a.node[source, QUEUE_HEAD] = following
    if following < 0:
        a.node[source, QUEUE_TAIL] = -1
    a.node[source, IS_BUSY] = 1
    receiver = what & NODE_MASK
    pair = pair_of(a, source, receiver, regions)
    kind = ARRIVED
    if what >> KIND_SHIFT == GETTXN:
        table = a.node[source, IS_CHURN]
        place = numpy.int64(random_unit(a) * a.fill_bytes.shape[1])
        transfer = a.fill_bytes[table, place] * 8 // a.bytes_per_ms_times_8[pair]
    elif a.node[source, USES_COMPACT] and a.node[receiver, USES_COMPACT]:
        kind = COMPACT_ARRIVED
        transfer = a.transfer_ms[pair, 1]
    else:
        transfer = a.transfer_ms[pair, 0]
    arrives = now + latency(a, pair) + transfer + a.processing_ms
    push(wheel, arrives, kind << KIND_SHIFT | (what & ROUTE_MASK))


@inlined
def receive(a, wheel, regions, now, block, slot, node):
    """A block is here: only more work makes it the tip and is announced."""
    record(a, now, block, slot, node)
    tip = a.node[node, TIP]
    if tip < 0 or a.block[block, HEIGHT] > a.block[tip, HEIGHT]:
        a.node[node, TIP] = block
        announce(a, wheel, regions, now, block, slot, node)


@inlined
def announce(a, wheel, regions, now, block, slot, node):
    """An inv to every neighbour; only one that may be the first is drawn and becomes an event."""
    route = INV << KIND_SHIFT | slot << SLOT_SHIFT | node << NODE_BITS
    row = a.node[node, REGION] * regions
    found = a.block[block, FOUND_MS]
    ready = now - found + a.overhead_ms
    pushed = 0
    for link in range(a.offset[node], a.offset[node + 1]):
        # The region stands beside the neighbour: no other memory of it is read but `heard`.
        neighbour = a.neighbour[link] & NODE_MASK
        pair = row + (a.neighbour[link] >> NODE_BITS)
        if ready + a.latency_least[pair] < a.heard[slot, neighbour]:
            arrives = ready + latency(a, pair)
            if arrives < a.heard[slot, neighbour]:
                a.heard[slot, neighbour] = arrives
                push(wheel, found + arrives, route | neighbour)
                pushed += 1
    a.block[block, PENDING] += pushed


@inlined
def record(a, now, block, slot, node):
    """Note when the node had the block."""
    delay = now - a.block[block, FOUND_MS]
    a.heard[slot, node] = HAD - delay
    a.progress[DELIVERIES] += 1
    a.block[block, DELAY_SUM_MS] += delay
    count = a.block[block, REACHED] + 1
    a.block[block, REACHED] = count
    reach = a.block[block, NEXT_REACH]
    while reach < len(a.reach_count) and a.reach_count[reach] == count:
        a.reached_ms[block, reach] = delay
        reach += 1
    a.block[block, NEXT_REACH] = reach


@compiled
def find(a, wheel, regions, block, slot, tip):
    """A node finds a block on its tip."""
    row = a.block[block]
    row[PARENT] = tip
    row[HEIGHT] = a.block[tip, HEIGHT] + 1 if tip >= 0 else 0
    row[SLOT] = slot
    a.slot_block[slot] = block
    a.heard[slot, :] = UNHEARD
    receive(a, wheel, regions, row[FOUND_MS], block, slot, row[MINER])


@compiled
def take_slot(a):
    """A free slot, after taking back those of blocks of which nothing is under way."""
    free = -1
    for slot in range(len(a.slot_block)):
        block = a.slot_block[slot]
        if block >= 0 and a.block[block, PENDING] == 0:
            close(a, block, slot)
        if a.slot_block[slot] < 0:
            free = slot
    return free


@compiled
def close(a, block, slot):
    """Nothing of a block is under way: pool its deliveries if it reached enough nodes."""
    if a.block[block, REACHED] >= a.reach_least and a.block[block, HEIGHT] >= 1:
        last = len(a.histogram) - 1
        for node in range(len(a.node)):
            if a.heard[slot, node] <= HAD:
                a.histogram[min(HAD - a.heard[slot, node], last)] += 1
    a.slot_block[slot] = -1


@compiled
def finish(a):
    """The run is over: pool what is complete."""
    for slot in range(len(a.slot_block)):
        if a.slot_block[slot] >= 0:
            close(a, a.slot_block[slot], slot)


@loop("gossip/simblock_kernel.py", "gossip/draws.py", "gossip/wheel.py")
def run(a, wheel, regions, budget):
    """Handle events and find blocks until the end height, or until something is needed."""
    control, active, progress = wheel.control, wheel.active, a.progress
    most = 0
    for v in range(len(a.node)):
        most = max(most, a.offset[v + 1] - a.offset[v])
    room = len(wheel.pool) - most - 4
    while True:
        found = progress[FOUND]
        if found == len(a.block):
            return NEEDS_BLOCKS
        next_found = a.block[found, FOUND_MS]
        while control[LOW] < control[HIGH] or advance(wheel, next_found):
            now = active[control[LOW], TIME]
            if now >= next_found:
                break
            if waiting(wheel) > room:
                return NEEDS_EVENTS
            if budget <= 0:
                return PAUSED
            budget -= 1
            what = active[control[LOW], WHAT]
            control[LOW] += 1
            progress[EVENTS] += 1
            handle(a, wheel, regions, now, what)
        if waiting(wheel) > room:
            return NEEDS_EVENTS
        tip = a.node[a.block[found, MINER], TIP]
        if tip >= 0 and a.block[tip, HEIGHT] == a.end_height:
            finish(a)
            return DONE
        slot = take_slot(a)
        if slot < 0:
            return NEEDS_SLOTS
        progress[FOUND] = found + 1
        # A node that has no block yet does not mine: its turn is void (thinning).
        if tip >= 0 or found == 0:
            find(a, wheel, regions, found, slot, tip)
