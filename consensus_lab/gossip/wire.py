"""The compiled path's links: short messages, the upload queue, the download line.

The rules are those of `sim.links`, in the same integer arithmetic: a message of more than one
packet queues at the sender's line and occupies the receiver's; a shorter one slips through.
Members of an overlay have lines of their own, equally fast, for what they send each other.
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
    ARRIVED_FILL,
    COMPACT_WIRE_BYTES,
    DOWNLOAD,
    DOWNLOAD_FREE,
    FAST_OVERLAY,
    FILL_WIRE_BYTES,
    KIND_SHIFT,
    LATENCY_BITS,
    LINK_MASK,
    NODE_MASK,
    OVERLAY_DOWNLOAD,
    OVERLAY_UPLOAD,
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
    source = source_of(route)
    left = now
    upload = state.node[source, UPLOAD]
    if upload > 0:
        left = now + transfer_ns(size, upload)
        if size > PACKET_SIZE_BYTES:
            left += max(0, state.node[source, UPLOAD_FREE] - now)
            state.node[source, UPLOAD_FREE] = left
    travel(state, wheel, now, left, block, kind, route)


@inlined
def travel(state, wheel, now, left, block, kind, route):
    """Something that has left its source travels the link."""
    source, link = source_of(route), route & LINK_MASK
    receiver = state.link[link] >> LATENCY_BITS
    arrives = left + travel_ns(state, link, source, receiver, kind, block)
    if len(state.life) > 0 and not is_carried(state, link, source, now, arrives):
        return
    state.block[block, PENDING] += 1
    push(wheel, arrives, kind << KIND_SHIFT | route)


@compiled
def transmit_rarely(state, wheel, now, block, size, kind, route):
    """As `transmit`, for what is rare; by the overlay where source and receiver are in it."""
    source = source_of(route)
    upload = state.node[source, UPLOAD]
    if not is_by_overlay(state, kind, route & LINK_MASK) or upload == 0:
        transmit(state, wheel, now, block, size, kind, route)
        return
    left = now + transfer_ns(size, upload)
    if size > PACKET_SIZE_BYTES:
        left += max(0, state.overlay_free[source, OVERLAY_UPLOAD] - now)
        state.overlay_free[source, OVERLAY_UPLOAD] = left
    travel(state, wheel, now, left, block, kind, route)


@compiled
def is_by_overlay(state, kind, link):
    """True for compact blocks, and what lacks of them, between members of the overlay."""
    is_compact = kind in (ARRIVED_COMPACT, ARRIVED_FILL)
    return len(state.overlay_free) > 0 and is_compact and state.fast[link] & FAST_OVERLAY != 0


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
    kind = what >> KIND_SHIFT
    if kind != ARRIVED and is_by_overlay(state, kind, what & LINK_MASK):
        through = overlay_through_ns(state, now, size, source_of(what), receiver)
    else:
        through = through_ns(state, now, size, source_of(what), receiver)
    if through == now:
        return True
    state.block[block, PENDING] += 1
    push(wheel, through, what + ((THROUGH - ARRIVED) << KIND_SHIFT))
    return False


@inlined
def through_ns(state, now, size, source, receiver):
    """When a long message that is at the receiver's limited line is through it."""
    free = state.node[receiver, DOWNLOAD_FREE]
    through = after_ns(state, free, now, size, source, receiver)
    state.node[receiver, DOWNLOAD_FREE] = through
    return through


@compiled
def overlay_through_ns(state, now, size, source, receiver):
    """As `through_ns`, for the receiver's line of the overlay."""
    free = state.overlay_free[receiver, OVERLAY_DOWNLOAD]
    through = after_ns(state, free, now, size, source, receiver)
    state.overlay_free[receiver, OVERLAY_DOWNLOAD] = through
    return through


@inlined
def after_ns(state, free, now, size, source, receiver):
    """When a message is through a line that is free from that time on."""
    begin = max(now - transfer_ns(size, state.node[source, UPLOAD]), free)
    return max(now, begin + transfer_ns(size, state.node[receiver, DOWNLOAD]))


@compiled
def most_links(state):
    """The largest number of neighbours: how many messages one announcement can be."""
    most = 0
    for v in range(len(state.node)):
        most = max(most, state.offset[v + 1] - state.offset[v])
    return most
