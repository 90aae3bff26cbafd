"""The compiled path's links: short messages, the upload queue, the download line.

The rules are those of `sim.links`, in the same integer arithmetic: a message of more than one
packet queues at the sender's line and occupies the receiver's; a shorter one slips through.
"""

# Compiled functions are typed by numba from what they are called with.
# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators

from __future__ import annotations

from consensus_lab.gossip.compiled import compiled, inlined
from consensus_lab.gossip.draws import travel_ns
from consensus_lab.gossip.nodes import is_carried, is_connected
from consensus_lab.gossip.state import (
    ARRIVED,
    ARRIVED_COMPACT,
    COMPACT_WIRE_BYTES,
    DOWNLOAD,
    DOWNLOAD_FREE,
    FILL_WIRE_BYTES,
    KIND_SHIFT,
    LATENCY_BITS,
    LINK_MASK,
    NODE_MASK,
    PENDING,
    REQUEST_NS,
    SLOT_SHIFT,
    SOURCE_SHIFT,
    THROUGH,
    UPLOAD,
    UPLOAD_FREE,
    WIRE_BYTES,
)
from consensus_lab.gossip.wheel import push
from consensus_lab.sim.links import NANOSECONDS_PER_SECOND, PACKET_SIZE_BYTES


@inlined
def packed(kind, slot, source, link):
    """An event as one integer."""
    return kind << KIND_SHIFT | slot << SLOT_SHIFT | source << SOURCE_SHIFT | link


@inlined
def source_of(what):
    """The source node of an event about a link."""
    return (what >> SOURCE_SHIFT) & NODE_MASK


@inlined
def transfer_ns(size_bytes, bytes_per_s):
    """Time for that many bytes, as `sim.links.transfer_ns`; a rate of 0 takes no time."""
    if bytes_per_s == 0:
        return 0
    return size_bytes * NANOSECONDS_PER_SECOND // bytes_per_s


@inlined
def request(state, wheel, now, block, kind, route, receiver):
    """The receiver of a link asks its source for a block; `route` is slot, source and link."""
    link = route & LINK_MASK
    leaves = now + state.node[receiver, REQUEST_NS]
    arrives = leaves + travel_ns(state, link, receiver, source_of(route), kind, block)
    if len(state.life) > 0 and not is_carried(state, link, source_of(route), now, arrives):
        return
    state.block[block, PENDING] += 1
    push(wheel, arrives, kind << KIND_SHIFT | route)


@compiled
def reply_short(state, wheel, now, block, kind, size, route, receiver):
    """The receiver of a link sends its source a short message of another size."""
    link, source = route & LINK_MASK, source_of(route)
    leaves = now + transfer_ns(size, state.node[receiver, UPLOAD])
    arrives = leaves + travel_ns(state, link, receiver, source, kind, block)
    if len(state.life) > 0:
        is_sent = is_connected(state, link, source, now)
        if not (is_sent and is_carried(state, link, source, now, arrives)):
            return
    state.block[block, PENDING] += 1
    push(wheel, arrives, kind << KIND_SHIFT | route)


@inlined
def transmit(state, wheel, now, block, size, kind, route):
    """Something long leaves the source when its upload line is free, and travels the link."""
    source, link = source_of(route), route & LINK_MASK
    left = now
    upload = state.node[source, UPLOAD]
    if upload > 0:
        left = now + transfer_ns(size, upload)
        if size > PACKET_SIZE_BYTES:
            left += max(0, state.node[source, UPLOAD_FREE] - now)
            state.node[source, UPLOAD_FREE] = left
    receiver = state.link[link] >> LATENCY_BITS
    arrives = left + travel_ns(state, link, source, receiver, kind, block)
    if len(state.life) > 0 and not is_carried(state, link, source, now, arrives):
        return
    state.block[block, PENDING] += 1
    push(wheel, arrives, kind << KIND_SHIFT | route)


@compiled
def transmit_rarely(state, wheel, now, block, size, kind, route):
    """As `transmit`, for where it is not worth a copy of its machine code."""
    transmit(state, wheel, now, block, size, kind, route)


@inlined
def size_of(state, block, kind):
    """Bytes on the wire of a block's whole form, compact form, or missing transactions."""
    if kind == ARRIVED:
        return state.block[block, WIRE_BYTES]
    if kind == ARRIVED_COMPACT:
        return state.block[block, COMPACT_WIRE_BYTES]
    return state.block[block, FILL_WIRE_BYTES]


@inlined
def is_through(state, wheel, now, block, size, receiver, what):
    """True when the receiver's line adds nothing; else the message comes through later."""
    download = state.node[receiver, DOWNLOAD]
    if download == 0 or size <= PACKET_SIZE_BYTES:
        return True
    through = through_ns(state, now, size, source_of(what), receiver)
    if through == now:
        return True
    state.block[block, PENDING] += 1
    push(wheel, through, what + ((THROUGH - ARRIVED) << KIND_SHIFT))
    return False


@inlined
def through_ns(state, now, size, source, receiver):
    """When a long message that is at the receiver's limited line is through it."""
    first = now - transfer_ns(size, state.node[source, UPLOAD])
    begin = max(first, state.node[receiver, DOWNLOAD_FREE])
    through = max(now, begin + transfer_ns(size, state.node[receiver, DOWNLOAD]))
    state.node[receiver, DOWNLOAD_FREE] = through
    return through


@compiled
def most_links(state):
    """The largest number of neighbours: how many messages one announcement can be."""
    most = 0
    for v in range(len(state.node)):
        most = max(most, state.offset[v + 1] - state.offset[v])
    return most
