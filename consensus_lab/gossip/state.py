"""The compiled path's memory: what the kernel reads and changes, as integer arrays.

An event is packed into one integer: kind, slot, source node, directed link.  A *slot* is the
working memory of one block that is still under way (which node has it, who announces it first); a
block that everyone has, or that nobody can ask for any more, gives its slot back.  That keeps the
memory at a few blocks times the number of nodes, however long the run.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy

LINK_BITS, NODE_BITS, SLOT_BITS, LATENCY_BITS = 24, 20, 14, 40
SOURCE_SHIFT = LINK_BITS
SLOT_SHIFT = SOURCE_SHIFT + NODE_BITS
KIND_SHIFT = SLOT_SHIFT + SLOT_BITS
LINK_MASK = (1 << LINK_BITS) - 1
NODE_MASK = (1 << NODE_BITS) - 1
SLOT_MASK = (1 << SLOT_BITS) - 1
LATENCY_MASK = (1 << LATENCY_BITS) - 1

# Kinds of event.  The first three are messages that have a block's number, and how many, in place
# of slot and source.  From VALIDATED to RELEASE they are about a node, which stands in the link's
# place; the others are messages.  ARRIVED: a long message's last byte is at the receiver's line;
# THROUGH: and is through it.
ASK, BRANCH, BRANCH_THROUGH = range(3)
VALIDATED, ENTER, HOLD, FOLLOW, RELEASE = range(3, 8)
INV, GETDATA, GETCOMPACT, GETTXN, WANT, UNWANT = range(8, 14)
ARRIVED, ARRIVED_COMPACT, ARRIVED_FILL, THROUGH, THROUGH_COMPACT, THROUGH_FILL = range(14, 20)

COUNT_BITS = SLOT_BITS
COUNT_MASK = (1 << COUNT_BITS) - 1
NUMBER_MAX = NODE_MASK

# Relay protocols, `State.protocol`: the places in `relay_options.PROTOCOLS`.
PUSH, BY_INV, HEADERS, COMPACT_LOW, COMPACT_HIGH = range(5)

# Bits of `fast[link]`: the receiver asked for compact blocks unasked; both are in the overlay.
FAST_COMPACT, FAST_OVERLAY = 1, 2

# Columns of `node`; one row is one cache line.
(UPLOAD, DOWNLOAD, INV_NS, REQUEST_NS, UPLOAD_FREE, DOWNLOAD_FREE, PROCESSOR_FREE, TIP) = range(8)

# Columns of `overlay_free`.
OVERLAY_UPLOAD, OVERLAY_DOWNLOAD = range(2)

# What `heard[slot, node]` holds when it is not the time of the first announcement under way.
UNHEARD = (1 << 63) - 1
REQUESTED, RECEIVED, ACCEPTED, REFUSED, FILLING = -1, -2, -3, -4, -5

# Columns of `block`; row 0 is the genesis block.
(SLOT, PARENT, HEIGHT, FOUND_NS, MINER, WIRE_BYTES, VALIDATION_NS, ACCEPTED_BY, DELAY_SUM_NS,
 PENDING, TIPS, ORPHANS, NEXT_REACH, IS_NEEDED, COMPACT_WIRE_BYTES,
 FILL_WIRE_BYTES) = range(16)  # fmt: skip
BLOCK_COLUMNS = 16
NO_SLOT = -1

# Rows of `progress`.
(FOUND, ORPHAN_COUNT, REORGANISATIONS, REORG_DEPTH_MAX, ORPHANED, EVENTS, NOW,
 BRANCH_MAX, CHANGED) = range(9)  # fmt: skip
PROGRESS_SIZE = 9

# Columns of `pool`: where its gateways are listed, its strategy, what it mines on, the best public
# block and the state of the fork.
(GATEWAYS, GATEWAYS_END, WITHHOLDS, LEAD, EQUAL_FORK, TRAIL, PRIVATE, PUBLIC, FORK) = range(9)
POOL_COLUMNS = 9

# Columns of `life`.
IS_OFF, INCARNATION, OFF_AT = range(3)

# Columns of `shown`.
IS_RELEASED, MATCH = range(2)

# What the kernel says when it returns.
DONE, PAUSED, NEEDS_EVENTS, NEEDS_SLOTS, NEEDS_ORPHANS = range(5)


class State(NamedTuple):
    """Everything but the event queue; arrays are changed in place.

    Attributes
    ----------
    offset : int64, n + 1
        First directed link of each node.
    link : int64
        Receiver (upper bits) and latency in nanoseconds (lower 40 bits) of each directed link.
    node : int64, (n, 8)
    heard : int64, (slots, n)
        Per block under way and node: `UNHEARD`, the time at which the first announcement will
        arrive, or how far the node has got.
    slot_block : int64, slots
        Which block uses the slot, -1 for none.
    block : int64, (blocks + 1, 16)
    orphan : int64, (capacity, 3)
        Slot of the missing parent, slot of the orphan, node; in order of arrival.
    progress : int64
    reach_count : int64
        Numbers of nodes, ascending, whose moments are recorded per block.
    reached_ns : int64, (blocks + 1, len(reach_count))
        Delay until that many nodes had accepted the block; -1 if they never did.
    histogram : int64
        Deliveries by delay, in bins of `histogram_bin_ns`; the last bin takes the rest.
    node_delay : int64, (n, 2)
        Sum of delays in nanoseconds, and deliveries, per node.
    uploads : int64, n
        Blocks sent by each node.
    received_ns, accepted_ns : int64, (blocks + 1, n) or (0, 0)
        Everything, when asked for; -1 for never.
    histogram_bin_ns : int
    protocol : int
    reverse : int64
        The same link in the other direction.
    known : uint8, (slots, links) or (0, 0)
        Whether the source of a link knows that its receiver has the block's data; only kept
        where blocks are sent unasked.
    source : int64, (slots, n) or (0, 0)
        Source and link over which a node got the block, for high-bandwidth compact blocks.
    fast : uint8, links or 0
        Over which links compact blocks go on before validation, and why.
    overlay_free : int64, (n or 0, 2)
        When each node's upload and download line of the overlay are free.
    fast_source : int64, (n, 3)
        Sources and links that a node asked for compact blocks unasked, oldest first; -1 for none.
    fast_height : int64, n
        Highest block that a node has sent on before validation.
    chance_key, chance_threshold : uint64
        For the keyed draw of missing transactions.
    pool_of : int64, n or 0
        Place of each node's pool, -1 for none; empty without pools.
    pool : int64, (pools, 9)
    gateway : int64
        The pools' gateways, one pool after the other.
    shown : int64, (blocks + 1 or 0, 2)
        Whether a withholding pool has released the block; which block was released against it.
    life : int64, (n or 0, 3)
        Whether the node is off, how often it has been, and its next outage; empty where nothing
        ever changes.
    off_offset : int64, n + 1
        First outage of each node.
    off_ns : int64, (outages, 2)
        Begin and end.
    change : int64, (changes, 3)
        Time, kind and subject of `timeline.Change`.
    cut_ns : int64, (partitions, 2)
    is_cut : uint8, (partitions, links)
    asked : int64, (slots, n) or (0, 0)
        Over which link a node has asked for a block, or for missing transactions.
    jitter : int
        The longest, in millionths of a link's latency.
    jitter_key : uint64
    looks_ahead : int
        Whether memory is fetched ahead of the events, see `look_ahead`.
    """

    offset: numpy.ndarray
    link: numpy.ndarray
    node: numpy.ndarray
    heard: numpy.ndarray
    slot_block: numpy.ndarray
    block: numpy.ndarray
    orphan: numpy.ndarray
    progress: numpy.ndarray
    reach_count: numpy.ndarray
    reached_ns: numpy.ndarray
    histogram: numpy.ndarray
    node_delay: numpy.ndarray
    uploads: numpy.ndarray
    received_ns: numpy.ndarray
    accepted_ns: numpy.ndarray
    histogram_bin_ns: int
    protocol: int
    reverse: numpy.ndarray
    known: numpy.ndarray
    source: numpy.ndarray
    fast: numpy.ndarray
    overlay_free: numpy.ndarray
    fast_source: numpy.ndarray
    fast_height: numpy.ndarray
    chance_key: numpy.uint64
    chance_threshold: numpy.uint64
    pool_of: numpy.ndarray
    pool: numpy.ndarray
    gateway: numpy.ndarray
    shown: numpy.ndarray
    life: numpy.ndarray
    off_offset: numpy.ndarray
    off_ns: numpy.ndarray
    change: numpy.ndarray
    cut_ns: numpy.ndarray
    is_cut: numpy.ndarray
    asked: numpy.ndarray
    jitter: int
    jitter_key: numpy.uint64
    looks_ahead: int
