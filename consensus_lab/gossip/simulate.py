"""Runs the compiled path: allocates, grows what runs short, reports progress, gives a `Race`.

The kernel works in slices; between two of them Python grows an array that is full, calls the
progress function, and can be interrupted.  Ctrl-C during a run gives up the run; what the caller
has collected of earlier ones stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy

from consensus_lab.gossip import state as names
from consensus_lab.gossip.chance import chance_key, chance_threshold
from consensus_lab.gossip.conditions import Conditions
from consensus_lab.gossip.conditions_state import with_changes, with_jitter, with_pools
from consensus_lab.gossip.kernel import run
from consensus_lab.gossip.mining import Schedule
from consensus_lab.gossip.race import Race
from consensus_lab.gossip.state import State
from consensus_lab.gossip.timeline import Timeline
from consensus_lab.gossip.wheel import OPENED, SHIFT, Wheel, grown, new_wheel
from consensus_lab.nakamoto.relay_messages import (
    HEADERS_BYTES,
    INVENTORY_BYTES,
    MESSAGE_HEADER_BYTES,
    TRANSACTIONS_FIXED_BYTES,
    compact_bytes,
)
from consensus_lab.nakamoto.relay_options import (
    HIGH_BANDWIDTH_SOURCES,
    PROTOCOLS,
    Relay,
    Validation,
)
from consensus_lab.network.arrays import Network, reverse_links
from consensus_lab.node import ParameterError
from consensus_lab.sim.links import NANOSECONDS_PER_SECOND

SLICE_EVENTS = 4_000_000
"""Events between two looks at progress and at Ctrl-C: some tenths of a second."""

HISTOGRAM_BIN_NS = 10_000_000
HISTOGRAM_BINS = 30_000
"""Pooled delays in bins of 10 ms up to 300 s."""

REACH_FRACTIONS = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
EVENTS_PER_BUCKET = 3

LOOK_AHEAD_LINKS = 400_000
"""Directed links from which on their memory and that of the nodes, some 5 MB, is fetched ahead."""

Progress = Callable[[int, int], None]


def simulate(
    network: Network,
    schedule: Schedule,
    *,
    relay: Relay | None = None,
    validation: Validation | None = None,
    overlay: Iterable[int] = (),
    seed: int = 0,
    reach_fractions: Sequence[float] = REACH_FRACTIONS,
    keep_all: bool = False,
    progress: Progress | None = None,
    conditions: Conditions | None = None,
) -> Race:
    """Relay every block of a schedule through a network, compiled.

    Parameters
    ----------
    network : Network
    schedule : Schedule
        When and where blocks are found.
    relay : Relay, optional
        The relay protocol; inv and getdata by default.
    validation : Validation, optional
        How long a node takes per block.
    overlay : iterable of int
        Nodes that send compact blocks on to each other before validating them: where they are
        linked, on connections that their other blocks do not slow.
    seed : int
        Of the run; for missing transactions of compact blocks, and jitter.
    reach_fractions : sequence of float
        Shares of the nodes, in (0, 1], whose moments are recorded for each block.
    keep_all : bool
        Keep every arrival of every block at every node (two arrays of blocks x nodes).
    progress : callable (blocks found, blocks in all), optional
        Called some times per second.
    conditions : Conditions, optional
        Pools with gateways, selfish and stubborn ones; nodes that are off for a while;
        partitions; jitter.

    Returns
    -------
    Race
        Equal, to the nanosecond, to `message_level.simulate` on the same arguments.
    """
    relay = (relay or Relay()).validated()
    state = _new_state(network, schedule, reach_fractions, keep_all)
    state = _with_costs(state, network, schedule, relay, validation or Validation())
    state = _with_relay(state, network, relay, frozenset(overlay), seed)
    if conditions is not None:
        conditions = conditions.validated(network.n_nodes)
        state = with_pools(state, conditions, schedule.n_blocks)
        state = with_changes(state, Timeline(conditions, network), schedule.n_blocks)
        state = with_jitter(state, conditions, seed)
    wheel = new_wheel(4 * network.n_nodes + 1024, _bucket_shift(network, schedule))
    answer = names.PAUSED
    while answer != names.DONE:
        answer = run(state, wheel, SLICE_EVENTS)
        if answer == names.NEEDS_EVENTS:
            wheel = grown(wheel, 2 * len(wheel.pool))
        elif answer == names.NEEDS_SLOTS:
            state = _with_more_slots(state)
        elif answer == names.NEEDS_ORPHANS:
            room = numpy.zeros_like(state.orphan)
            state = state._replace(orphan=numpy.concatenate([state.orphan, room]))
            wheel = grown(wheel, len(wheel.pool) + 2 * len(room))
        if progress is not None:
            progress(int(state.progress[names.FOUND]), schedule.n_blocks)
    return _race(network, schedule, state, wheel)


def _new_state(
    network: Network,
    schedule: Schedule,
    reach_fractions: Sequence[float],
    keep_all: bool,
) -> State:
    """Empty memory for that many nodes and blocks."""
    n, n_blocks = network.n_nodes, schedule.n_blocks
    if n > names.NODE_MASK or len(network.neighbour) > names.LINK_MASK:
        raise ParameterError("network", f"{n} nodes", f"at most {names.NODE_MASK} nodes")
    if not all(0.0 < fraction <= 1.0 for fraction in reach_fractions):
        raise ParameterError("reach_fractions", tuple(reach_fractions), "in (0, 1]")
    reach = sorted({max(1, int(numpy.ceil(fraction * n))) for fraction in reach_fractions})
    size = (n_blocks + 1, n) if keep_all else (0, 0)
    return State(
        offset=network.offset,
        link=network.neighbour << names.LATENCY_BITS | network.latency_ns,
        node=_cache_lines(n),
        heard=numpy.full((4, n), names.UNHEARD, numpy.int64),
        slot_block=numpy.full(4, -1, numpy.int64),
        block=numpy.zeros((n_blocks + 1, names.BLOCK_COLUMNS), numpy.int64),
        orphan=numpy.zeros((64, 3), numpy.int64),
        progress=numpy.zeros(names.PROGRESS_SIZE, numpy.int64),
        reach_count=numpy.array(reach, numpy.int64),
        reached_ns=numpy.full((n_blocks + 1, len(reach)), -1, numpy.int64),
        histogram=numpy.zeros(HISTOGRAM_BINS + 1, numpy.int64),
        node_delay=numpy.zeros((n, 2), numpy.int64),
        uploads=numpy.zeros(n, numpy.int64),
        received_ns=numpy.full(size, -1, numpy.int64),
        accepted_ns=numpy.full(size, -1, numpy.int64),
        histogram_bin_ns=HISTOGRAM_BIN_NS,
        protocol=names.BY_INV,
        reverse=numpy.zeros(0, numpy.int64),
        known=numpy.zeros((0, 0), numpy.uint8),
        source=numpy.zeros((0, 0), numpy.int64),
        fast=numpy.zeros(0, numpy.uint8),
        overlay_free=numpy.zeros((0, 2), numpy.int64),
        fast_source=numpy.full((n, HIGH_BANDWIDTH_SOURCES), -1, numpy.int64),
        fast_height=numpy.zeros(n, numpy.int64),
        chance_key=numpy.uint64(0),
        chance_threshold=numpy.uint64(0),
        pool_of=numpy.zeros(0, numpy.int64),
        pool=numpy.zeros((0, names.POOL_COLUMNS), numpy.int64),
        gateway=numpy.zeros(0, numpy.int64),
        shown=numpy.zeros((0, 2), numpy.int64),
        life=numpy.zeros((0, 3), numpy.int64),
        off_offset=numpy.zeros(0, numpy.int64),
        off_ns=numpy.zeros((0, 2), numpy.int64),
        change=numpy.zeros((0, 3), numpy.int64),
        cut_ns=numpy.zeros((0, 2), numpy.int64),
        is_cut=numpy.zeros((0, 0), numpy.uint8),
        asked=numpy.zeros((0, 0), numpy.int64),
        jitter=0,
        jitter_key=numpy.uint64(0),
        looks_ahead=int(len(network.neighbour) >= LOOK_AHEAD_LINKS),
    )


def _cache_lines(rows: int) -> numpy.ndarray:
    """Zeros, eight integers per row, each row one cache line: not parts of two, as numpy has it."""
    memory = numpy.zeros(8 * (rows + 1), numpy.int64)
    ahead = -memory.ctypes.data % 64 // 8
    return memory[ahead : ahead + 8 * rows].reshape(rows, 8)


def _with_costs(
    state: State, network: Network, schedule: Schedule, relay: Relay, validation: Validation
) -> State:
    """Fill in what lines, messages and validation cost."""
    node, block = state.node, state.block
    node[:, names.UPLOAD] = network.upload
    node[:, names.DOWNLOAD] = network.download
    announcement = INVENTORY_BYTES if relay.protocol == "inv" else HEADERS_BYTES
    node[:, names.INV_NS] = _short_ns(network, announcement)
    node[:, names.REQUEST_NS] = _short_ns(network, INVENTORY_BYTES)
    block[:, names.SLOT] = names.NO_SLOT
    block[:, names.PARENT] = block[0, names.MINER] = -1
    block[0, names.TIPS] = block[0, names.ACCEPTED_BY] = network.n_nodes
    block[1:, names.FOUND_NS] = schedule.found_ns
    block[1:, names.MINER] = schedule.miner
    block[1:, names.WIRE_BYTES] = schedule.size_bytes + MESSAGE_HEADER_BYTES
    sizes, places = numpy.unique(schedule.size_bytes, return_inverse=True)
    for column, cost in (
        (names.VALIDATION_NS, validation.time_ns),
        (names.COMPACT_WIRE_BYTES, lambda size: compact_bytes(size, relay.transaction_bytes)),
        (names.FILL_WIRE_BYTES, lambda size: TRANSACTIONS_FIXED_BYTES + relay.missing_bytes(size)),
    ):
        block[1:, column] = numpy.array([cost(int(size)) for size in sizes], numpy.int64)[places]
    return state


def _short_ns(network: Network, size_bytes: int) -> numpy.ndarray:
    """Time that a short message takes to leave, per node."""
    unlimited = network.upload == 0
    divisor = numpy.where(unlimited, 1, network.upload)
    return numpy.where(unlimited, 0, size_bytes * NANOSECONDS_PER_SECOND // divisor)


def _with_relay(
    state: State, network: Network, relay: Relay, overlay: frozenset[int], seed: int
) -> State:
    """Add the memory that only some relay protocols need."""
    slots, n = state.heard.shape
    if not all(0 <= node < n for node in overlay):
        raise ParameterError("overlay", sorted(overlay), f"nodes from 0 to {n - 1}")
    links = len(network.neighbour)
    state = state._replace(
        protocol=PROTOCOLS.index(relay.protocol),
        chance_key=numpy.uint64(chance_key(seed)),
        chance_threshold=numpy.uint64(chance_threshold(relay.missing_chance)),
    )
    is_high = relay.protocol == "compact_high"
    if not (is_high or overlay or relay.protocol == "push"):
        return state
    state = state._replace(
        reverse=reverse_links(network), known=numpy.zeros((slots, links), numpy.uint8)
    )
    if is_high:
        state = state._replace(source=numpy.full((slots, n), -1, numpy.int64))
    if is_high or overlay:
        inside = numpy.zeros(n, bool)
        inside[list(overlay)] = True
        sender = numpy.repeat(numpy.arange(n), numpy.diff(network.offset))
        is_linked = inside[sender] & inside[network.neighbour]
        state = state._replace(
            fast=(is_linked * names.FAST_OVERLAY).astype(numpy.uint8),
            overlay_free=numpy.zeros((n if overlay else 0, 2), numpy.int64),
        )
    return state


def _bucket_shift(network: Network, schedule: Schedule) -> int:
    """Bucket width, a power of two, for some events per bucket while a block spreads."""
    latency_ns = float(numpy.median(network.latency_ns)) if network.n_links else 1.0
    rates = network.upload[network.upload > 0]
    size = float(numpy.mean(schedule.size_bytes))
    transfer = size * NANOSECONDS_PER_SECOND / float(numpy.median(rates)) if len(rates) else 0.0
    hops = 2.0 + numpy.log2(network.n_nodes + 1) / 2
    spread_ns = hops * (3 * latency_ns + 2 * transfer) + 1.0
    width = spread_ns * EVENTS_PER_BUCKET / (5 * network.n_nodes)
    return int(numpy.clip(numpy.log2(max(width, 1.0)), 0, 40))


def _with_more_slots(state: State) -> State:
    slots = len(state.slot_block)
    if 2 * slots > names.SLOT_MASK + 1:
        raise ParameterError(
            "block_interval_s",
            "too short",
            f"long enough that at most {slots} blocks are under way",
        )
    twice: dict[str, Any] = {}
    for name in ("heard", "slot_block", "known", "source", "asked"):
        array = getattr(state, name)
        if len(array):
            # What is added is set when a block takes the slot; a free slot's block is -1.
            twice[name] = numpy.concatenate(
                [array, numpy.full_like(array, -1 if array.dtype == numpy.int64 else 0)]
            )
    return state._replace(**twice)


def _race(network: Network, schedule: Schedule, state: State, wheel: Wheel) -> Race:
    return Race(
        network=network,
        schedule=schedule,
        parent=state.block[:, names.PARENT].copy(),
        height=state.block[:, names.HEIGHT].copy(),
        accepted_by=state.block[:, names.ACCEPTED_BY].copy(),
        delay_sum_ns=state.block[:, names.DELAY_SUM_NS].copy(),
        reach_count=state.reach_count,
        reached_ns=state.reached_ns,
        tip=state.node[:, names.TIP].copy(),
        histogram=state.histogram,
        histogram_bin_ns=state.histogram_bin_ns,
        node_delay_sum_ns=state.node_delay[:, 0].copy(),
        node_deliveries=state.node_delay[:, 1].copy(),
        uploads=state.uploads,
        received_ns=state.received_ns if len(state.received_ns) else None,
        accepted_ns=state.accepted_ns if len(state.accepted_ns) else None,
        reorganisations=int(state.progress[names.REORGANISATIONS]),
        reorganisation_depth_max=int(state.progress[names.REORG_DEPTH_MAX]),
        orphans=int(state.progress[names.ORPHANED]),
        events=int(state.progress[names.EVENTS]),
        end_ns=int(state.progress[names.NOW]),
        match=state.shown[:, names.MATCH].copy(),
        work={"buckets": int(wheel.control[OPENED]), "shift": int(wheel.control[SHIFT]),
              "slots": len(state.slot_block), "capacity": len(wheel.pool),
              "looks_ahead": state.looks_ahead},
    )  # fmt: skip
