"""SimBlock's own model, so that both programs can be run side by side on the same settings.

Theory of operation (after Aoki et al. 2019 and the program itself, in our own words).  Nodes have
a region, a number of outbound links drawn from a table, a hash rate (normal, mean 400,000 and
deviation 100,000), a flag for compact blocks and a flag for being often offline ("churn").  Links
are used both ways.  A block is announced to all neighbours; who wants it asks the first announcer.
A node sends one block at a time, and is busy until that message has *arrived*; requests queue.
Every message draws its latency anew, from a Pareto law around the mean between the two regions;
short messages take 10 ms more, blocks their bytes over the slower of the sender's upload and the
receiver's download plus 2 ms.  Between two nodes that use them, compact blocks are sent; one fails
with a chance given by the receiver's churn flag, and a second round trip then fetches a fraction
of the block that is drawn from the table for the sender's churn flag.  There is no validation
time.  A block with more height than the tip becomes the tip, whatever it builds on.

All times are whole milliseconds, as in SimBlock.  The network's next block and its miner are
drawn once for all instead of once per node (see `mining`), which has the same law.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy

from consensus_lab import data
from consensus_lab.gossip import simblock_kernel as names
from consensus_lab.gossip.simblock_kernel import Arrays, run
from consensus_lab.gossip.wheel import Wheel, grown, new_wheel
from consensus_lab.network.geography import PARETO_SPREAD_MS, geography
from consensus_lab.node import ParameterError
from consensus_lab.sim.streams import array_stream, derive_seed

HASH_RATE_MEAN, HASH_RATE_DEVIATION = 400_000.0, 100_000.0
CHURN_SHARE = 0.976
COMPACT_BLOCK_BYTES = 18_000
FAILURE_CHANCE = (0.13, 0.27)
"""A compact block fails: at a steady node, at a churn node (SimulationConfiguration.java)."""

OVERHEAD_MS, PROCESSING_MS = 10, 2
HISTOGRAM_MS = 120_000
REACH_FRACTIONS = (0.5, 0.9, 0.99, 1.0)
SLICE_EVENTS = 4_000_000
LINK_DRAWS_MAX = 1000


@dataclass(frozen=True)
class Settings:
    """What SimBlock is told.

    Attributes
    ----------
    n_nodes, end_height : int
    block_interval_s : float
    block_size_bytes : int
    compact_usage : float
        Share of nodes that use compact blocks.
    year : str
        "2015" or "2019": tables of latency and bandwidth.
    regions, degrees : str
        Tables of node shares and of outbound links.
    complete_share : float
        Statistics take blocks of height 1 and more that reached this share of the nodes.
    """

    n_nodes: int = 600
    end_height: int = 1000
    block_interval_s: float = 600.0
    block_size_bytes: int = 535_000
    compact_usage: float = 0.964
    year: str = "2019"
    regions: str = "bitcoin_2019"
    degrees: str = "bitcoin_2015"
    complete_share: float = 1.0


@dataclass(frozen=True)
class Outcome:
    """What a run gives; the names are those of the published table.

    Attributes
    ----------
    on_chain_blocks, stale_blocks : int
        Blocks of height 1 and more on the final chain; found and not on it.
    blocks_in_statistics : int
        Those that reached enough nodes.
    delay_ms : int64 array
        Deliveries per millisecond of delay, the miner's own included with 0.
    reached_s : float array (blocks, 4)
        Per block in the statistics: seconds until 50, 90, 99 and 100 % of the nodes had it.
    deliveries, events : int
    mean_degree : float
    """

    on_chain_blocks: int
    stale_blocks: int
    blocks_in_statistics: int
    delay_ms: numpy.ndarray
    reached_s: numpy.ndarray
    deliveries: int
    events: int
    mean_degree: float

    @property
    def stale_fraction(self) -> float:
        """Stale blocks as a share of all."""
        return self.stale_blocks / max(1, self.stale_blocks + self.on_chain_blocks)

    def delay_mean_s(self) -> float:
        """Mean over deliveries, seconds."""
        milliseconds = numpy.arange(len(self.delay_ms))
        return float((self.delay_ms * milliseconds).sum() / self.delay_ms.sum() / 1e3)

    def delay_quantile_s(self, quantile: float) -> float:
        """Quantile over deliveries, seconds."""
        total = numpy.cumsum(self.delay_ms)
        return float(numpy.searchsorted(total, quantile * total[-1])) / 1e3


def simulate(settings: Settings, *, seed: int = 0) -> Outcome:
    """Run SimBlock's model, compiled.

    Parameters
    ----------
    settings : Settings
    seed : int
    """
    if not 2 <= settings.n_nodes <= names.NODE_MASK:
        raise ParameterError("n_nodes", settings.n_nodes, f"from 2 to {names.NODE_MASK}")
    if settings.end_height < 1:
        raise ParameterError("end_height", settings.end_height, "at least 1")
    arrays, n_regions = _arrays(settings, seed)
    wheel = new_wheel(4 * settings.n_nodes + 1024, 0)
    answer = names.PAUSED
    while answer != names.DONE:
        answer = run(arrays, wheel, n_regions, SLICE_EVENTS)
        if answer == names.NEEDS_EVENTS:
            arrays, wheel = _with_more_events(arrays, wheel)
        elif answer == names.NEEDS_SLOTS:
            arrays = _with_more_slots(arrays)
        elif answer == names.NEEDS_BLOCKS:
            arrays = _with_more_blocks(arrays, settings, seed)
    return _outcome(settings, arrays)


def _share_list(values: Sequence[int], cumulative: Sequence[float], n: int) -> numpy.ndarray:
    """n entries with the shares of a cumulative table, as evenly as whole numbers allow."""
    edges = numpy.rint(numpy.asarray(cumulative) * n).astype(int)
    edges[-1] = n
    return numpy.repeat(values, numpy.diff(edges, prepend=0))


def _links(settings: Settings, seed: int) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Rows of neighbours: every node opens its number of links to peers drawn without repeats."""
    generator = array_stream(seed, "simblock", "links")
    n = settings.n_nodes
    rows = [r for r in data.rows("network/outbound_degree_cdf.csv")
            if r["network"] == settings.degrees]  # fmt: skip
    if not rows:
        raise ParameterError("degrees", settings.degrees, "a table of outbound_degree_cdf.csv")
    degree = _share_list(
        [int(r["outbound_connections"]) for r in rows],
        [float(r["cumulative_fraction"]) for r in rows],
        n,
    )
    generator.shuffle(degree)
    source = numpy.repeat(numpy.arange(n), degree)
    links = numpy.zeros(0, numpy.int64)
    # Every link that is still wanted draws a peer; a draw that repeats a link is made again.
    for _ in range(LINK_DRAWS_MAX):
        target = generator.integers(n, size=len(source))
        link = numpy.minimum(source, target) * n + numpy.maximum(source, target)
        value, place = _first_places(link)
        is_new = source[place] != target[place]
        if len(links):
            known = links[numpy.minimum(numpy.searchsorted(links, value), len(links) - 1)]
            is_new &= known != value
        links = _merged(links, value[is_new])
        source = numpy.delete(source, place[is_new])
        if not len(source) or len(links) == n * (n - 1) // 2:
            break
    low, high = numpy.divmod(links, n)
    both = _merged(links, numpy.sort(high * n + low))
    offset = numpy.concatenate([[0], numpy.cumsum(numpy.bincount(both // n, minlength=n))])
    return offset.astype(numpy.int64), (both % n).astype(numpy.int32)


def _first_places(values: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
    """The different values, ascending, and where each occurs first.

    As `numpy.unique`, for values below 2**40 of which there are at most 2**23: value and place
    are one integer, and plain integers are sorted several times faster than places.
    """
    bits = len(values).bit_length()
    assert bits <= 23, "too many links"
    ordered = numpy.sort(values << bits | numpy.arange(len(values)))
    value = ordered >> bits
    is_first = numpy.diff(value, prepend=-1) != 0
    return value[is_first], ordered[is_first] & (1 << bits) - 1


def _merged(one: numpy.ndarray, other: numpy.ndarray) -> numpy.ndarray:
    """Two ascending arrays as one: a stable sort finds the two runs and merges them."""
    merged: numpy.ndarray = numpy.sort(numpy.concatenate([one, other]), kind="stable")
    return merged


def _nodes(settings: Settings, regions: Sequence[str], seed: int) -> numpy.ndarray:
    generator = array_stream(seed, "simblock", "nodes")
    n = settings.n_nodes
    shares = {r["region"]: float(r["node_share"])
              for r in data.rows("network/simblock_region_distribution.csv")
              if r["network"] == settings.regions}  # fmt: skip
    if not shares:
        raise ParameterError("regions", settings.regions, "of simblock_region_distribution.csv")
    node = numpy.zeros((n, 8), numpy.int32)
    cumulative = numpy.cumsum([shares[region] for region in regions])
    for column, values, table in (
        (names.REGION, range(len(regions)), cumulative),
        (names.USES_COMPACT, (1, 0), (settings.compact_usage, 1.0)),
        (names.IS_CHURN, (1, 0), (CHURN_SHARE, 1.0)),
    ):
        drawn = _share_list(list(values), list(table), n)
        generator.shuffle(drawn)
        node[:, column] = drawn
    node[:, names.TIP] = node[:, names.QUEUE_HEAD] = node[:, names.QUEUE_TAIL] = -1
    return node


def _arrays(settings: Settings, seed: int) -> tuple[Arrays, int]:
    """Draw the network and lay out the memory."""
    place = geography(f"simblock_{settings.year}")
    n, size = settings.n_nodes, len(place.regions)
    offset, neighbour = _links(settings, seed)
    node = _nodes(settings, place.regions, seed)
    cell, law, least = _latency_tables(numpy.array(place.latency_s).ravel() * 1e3)
    bits_per_ms = 8 * numpy.minimum.outer(
        numpy.array(place.upload_bytes_per_s), numpy.array(place.download_bytes_per_s)
    ).ravel() // 1000  # fmt: skip
    sizes = numpy.array([settings.block_size_bytes, COMPACT_BLOCK_BYTES])
    capacity = 2 * n + 1024
    progress = numpy.zeros(6, numpy.int64)
    progress[names.RANDOM] = derive_seed(seed, "simblock", "kernel") & (1 << 60) - 1
    reach = sorted({max(1, int(numpy.ceil(f * n))) for f in REACH_FRACTIONS})
    queue = numpy.zeros((capacity, 2), numpy.int64)
    queue[:, 1] = numpy.arange(1, capacity + 1)
    arrays = Arrays(
        offset=offset,
        neighbour=neighbour | node[neighbour, names.REGION] << names.NODE_BITS,
        node=node,
        heard=numpy.zeros((4, n), numpy.int32),
        slot_block=numpy.full(4, -1, numpy.int64),
        block=numpy.zeros((0, 9), numpy.int64),
        progress=progress,
        queue=queue,
        latency_cell=cell,
        latency_law=law,
        latency_least=least,
        transfer_ms=(sizes * 8 // bits_per_ms[:, None]).astype(numpy.int32),
        fill_bytes=_fill_bytes(settings.block_size_bytes),
        bytes_per_ms_times_8=bits_per_ms.astype(numpy.int64),
        failure_chance=numpy.array(FAILURE_CHANCE),
        reach_count=numpy.array(reach, numpy.int64),
        reached_ms=numpy.zeros((0, len(reach)), numpy.int64),
        histogram=numpy.zeros(HISTOGRAM_MS + 1, numpy.int64),
        reach_least=int(numpy.ceil(settings.complete_share * n)),
        end_height=settings.end_height,
        overhead_ms=OVERHEAD_MS,
        processing_ms=PROCESSING_MS,
    )
    return _with_more_blocks(arrays, settings, seed), size


def _latency_tables(
    mean_ms: numpy.ndarray,
) -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray]:
    """Per pair of regions: the rounded law by cells of equal chance, its figures, its least."""
    scale = mean_ms - PARETO_SPREAD_MS
    exponent = PARETO_SPREAD_MS / mean_ms
    edge = numpy.arange(names.CELLS + 1) / names.CELLS
    with numpy.errstate(divide="ignore"):
        value = numpy.floor(scale[:, None] / edge[None, :] ** exponent[:, None] + 0.5)
    same = (value[:, :-1] == value[:, 1:]) & (value[:, :-1] < 1 << 15)
    cell = numpy.where(same, value[:, 1:], names.MIXED_CELL).astype(numpy.int16)
    law = numpy.stack([scale, exponent], axis=1)
    return cell, law, value[:, -1].astype(numpy.int32)


def _fill_bytes(block_size_bytes: int) -> numpy.ndarray:
    """What a failed compact block still needs: a table to draw from, steady and churn senders."""
    rows = data.rows("network/simblock_compact_block_failure_size.csv")
    tables = []
    for name in ("control", "churn"):
        mine = [r for r in rows if r["node_class"] == name]
        fraction = numpy.repeat(
            [float(r["fraction_of_block_bytes"]) for r in mine], [int(r["count"]) for r in mine]
        )
        tables.append(fraction)
    length = numpy.lcm(len(tables[0]), len(tables[1]))
    whole = [numpy.repeat(table, length // len(table)) for table in tables]
    sizes: numpy.ndarray = numpy.rint(numpy.stack(whole) * block_size_bytes).astype(numpy.int64)
    return sizes


def _with_more_blocks(arrays: Arrays, settings: Settings, seed: int) -> Arrays:
    """Draw the next blocks: exponential intervals, miners by hash rate; the first is at time 0."""
    have = len(arrays.block)
    count = settings.end_height + settings.end_height // 8 + 64
    rate = array_stream(seed, "simblock", "hash rate").normal(
        HASH_RATE_MEAN, HASH_RATE_DEVIATION, settings.n_nodes
    )
    cumulative = numpy.cumsum(numpy.maximum(1.0, rate))
    generator = array_stream(seed, "simblock", "mining", have)
    rows = numpy.zeros((count, arrays.block.shape[1]), numpy.int64)
    interval_ms = generator.standard_exponential(count) * settings.block_interval_s * 1e3
    if have == 0:
        interval_ms[0] = 0.0
    start_ms = int(arrays.block[-1, names.FOUND_MS]) if have else 0
    rows[:, names.FOUND_MS] = start_ms + numpy.floor(numpy.cumsum(interval_ms)).astype(numpy.int64)
    drawn = generator.random(count) * cumulative[-1]
    rows[:, names.MINER] = numpy.searchsorted(cumulative, drawn, side="right")
    rows[:, names.PARENT] = -1
    reached = numpy.full((count, arrays.reached_ms.shape[1]), -1, numpy.int64)
    return arrays._replace(
        block=numpy.concatenate([arrays.block, rows]),
        reached_ms=numpy.concatenate([arrays.reached_ms, reached]),
    )


def _with_more_slots(arrays: Arrays) -> Arrays:
    return arrays._replace(
        heard=numpy.concatenate([arrays.heard, arrays.heard]),
        slot_block=numpy.concatenate([arrays.slot_block, numpy.full_like(arrays.slot_block, -1)]),
    )


def _with_more_events(arrays: Arrays, wheel: Wheel) -> tuple[Arrays, Wheel]:
    """Twice the room for events; a queued request was an event, so its room grows alike."""
    old = len(arrays.queue)
    more = numpy.zeros((old, 2), numpy.int64)
    more[:, 1] = numpy.arange(old + 1, 2 * old + 1)
    queue = numpy.concatenate([arrays.queue, more])
    return arrays._replace(queue=queue), grown(wheel, 2 * len(wheel.pool))


def _outcome(settings: Settings, arrays: Arrays) -> Outcome:
    found = int(arrays.progress[names.FOUND])
    block = arrays.block[:found]
    mined = block[:, names.REACHED] > 0
    on_chain = numpy.zeros(found, bool)
    best = int(numpy.argmax(numpy.where(mined, block[:, names.HEIGHT], -1)))
    while best >= 0:
        on_chain[best] = True
        best = int(block[best, names.PARENT])
    counted = (block[:, names.REACHED] >= arrays.reach_least) & (block[:, names.HEIGHT] >= 1)
    reached = arrays.reached_ms[:found][counted].astype(float)
    return Outcome(
        on_chain_blocks=int(numpy.count_nonzero(on_chain & (block[:, names.HEIGHT] >= 1))),
        stale_blocks=int(numpy.count_nonzero(mined & ~on_chain)),
        blocks_in_statistics=int(numpy.count_nonzero(counted)),
        delay_ms=arrays.histogram,
        reached_s=numpy.where(reached < 0, numpy.nan, reached / 1e3),
        deliveries=int(arrays.progress[names.DELIVERIES]),
        events=int(arrays.progress[names.EVENTS]),
        mean_degree=float(len(arrays.neighbour)) / settings.n_nodes,
    )
