"""The race of mining pools alone: for questions of stale rate, without a network in between.

Theory of operation.  Each pool learns of a block some fixed time after it was found, given by a
matrix of delays; a child is never accepted before its parent.  A pool mines on the block with the
most work, the first accepted among equals.  Nearly always all pools agree on one *settled* block,
so only the few *open* blocks since then are looked at: a block is one comparison, not one event
per pool.  When every open block has reached everyone and one is strictly the highest, it is the
settled block.

Where pools withhold blocks (selfish and stubborn mining) every acceptance counts, and
`withheld_race` runs instead.
"""

# Compiled functions are typed by numba from what they are called with.
# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy

from consensus_lab.gossip import withheld_race
from consensus_lab.gossip.chance import chance_threshold
from consensus_lab.gossip.compiled import loop
from consensus_lab.gossip.mining import TIME_NS_MAX
from consensus_lab.gossip.race import races_joined
from consensus_lab.nakamoto.relay_withholding import Strategy
from consensus_lab.node import ParameterError
from consensus_lab.sim.links import NANOSECONDS_PER_SECOND
from consensus_lab.sim.streams import U64, array_stream, derive_seed

OPEN_MAX = 4096
"""Blocks that may be open at once; more means that blocks come faster than they spread."""


@dataclass(frozen=True)
class PoolRace:
    """What came of a race; block i + 1 is row i + 1, row 0 is the block that all start from.

    Attributes
    ----------
    parent, height : int64 arrays, blocks + 1
    found, stale : int64 arrays, pools
        Blocks found by each pool, and those of them that are not on the final chain.
    matched, joined : int64 arrays, pools
        Of the withholding pools: races against a public block that another pool ended, and those
        that it ended on the withholding pool's branch.
    """

    parent: numpy.ndarray
    height: numpy.ndarray
    found: numpy.ndarray
    stale: numpy.ndarray
    matched: numpy.ndarray = field(default_factory=lambda: numpy.zeros(0, numpy.int64))
    joined: numpy.ndarray = field(default_factory=lambda: numpy.zeros(0, numpy.int64))

    def chain_blocks(self) -> numpy.ndarray:
        """Blocks of each pool on the final chain; divided by their sum, its relative revenue."""
        blocks: numpy.ndarray = self.found - self.stale
        return blocks

    def stale_rate(self) -> float:
        """Stale blocks as a share of all."""
        return float(self.stale.sum() / self.found.sum())


def pool_race(
    shares: numpy.ndarray,
    delay_s: numpy.ndarray | float,
    *,
    n_blocks: int,
    block_interval_s: float = 600.0,
    seed: int = 0,
    withholding: Mapping[int, Strategy] | None = None,
    gamma: float | None = None,
) -> PoolRace:
    """Race pools against each other.

    Parameters
    ----------
    shares : array of float
        Hash power of each pool, in any unit.
    delay_s : float, or array of shape (pools, pools)
        Time from a block of the row's pool to its acceptance at the column's, seconds; the
        diagonal is not used.
    n_blocks : int
        Blocks to find.
    block_interval_s : float
        Mean time between blocks, seconds.
    seed : int
        Of the run.
    withholding : mapping of pool to Strategy, optional
        Selfish and stubborn pools.
    gamma : float, optional
        Chance that another pool takes the withholding pool's block when it is matched against
        a public one; without it the delays decide who hears of which first.

    Examples
    --------
    >>> race = pool_race([0.5, 0.3, 0.2], 0.0, n_blocks=100)
    >>> int(race.stale.sum())
    0

    A pool of 40 % that half of the others follow in a race; the closed form says 0.525:

    >>> race = pool_race([0.4, 0.6], 0.0, n_blocks=100_000, gamma=0.5, withholding={0: Strategy()})
    >>> blocks = race.chain_blocks()
    >>> round(float(blocks[0] / blocks.sum()), 1)
    0.5
    """
    weights = numpy.asarray(shares, dtype=float)
    if weights.ndim != 1 or not len(weights) or weights.min() < 0 or not weights.sum() > 0:
        raise ParameterError("shares", shares, "at least one share, none negative, not all 0")
    delays = numpy.broadcast_to(numpy.asarray(delay_s, dtype=float), (len(weights),) * 2)
    if not (numpy.isfinite(delays).all() and delays.min() >= 0):
        raise ParameterError("delay_s", delay_s, "finite and at least 0")
    if n_blocks < 1:
        raise ParameterError("n_blocks", n_blocks, "at least 1")
    if not 0.0 < block_interval_s < float("inf"):
        raise ParameterError("block_interval_s", block_interval_s, "a number above 0")
    generator = array_stream(seed, "mining")
    interval_ns = generator.standard_exponential(n_blocks)
    interval_ns *= block_interval_s * NANOSECONDS_PER_SECOND
    interval_ns = numpy.cumsum(interval_ns, out=interval_ns)
    if interval_ns[-1] > TIME_NS_MAX:
        raise ParameterError("n_blocks", n_blocks, "few enough to fit into 36 simulated years")
    found_ns = interval_ns.astype(numpy.int64)
    miner = _miners(weights, array_stream(seed, "mining", "miner").random(n_blocks))
    delay_ns = numpy.rint(delays * NANOSECONDS_PER_SECOND).astype(numpy.int64)
    if not withholding:
        return race_of_schedule(found_ns, miner, delay_ns)
    return withheld_race_of_schedule(
        found_ns, miner, delay_ns, withholding=withholding, gamma=gamma, seed=seed
    )


def withheld_race_of_schedule(
    found_ns: numpy.ndarray,
    miner: numpy.ndarray,
    delay_ns: numpy.ndarray,
    *,
    withholding: Mapping[int, Strategy],
    gamma: float | None = None,
    seed: int = 0,
) -> PoolRace:
    """As `race_of_schedule`, where some pools withhold; see `pool_race`."""
    n_blocks, n_pools = len(found_ns), len(delay_ns)
    if gamma is not None and not 0.0 <= gamma <= 1.0:
        raise ParameterError("gamma", gamma, "from 0 to 1")
    pools = numpy.zeros((n_pools, withheld_race.FORK + 1), numpy.int64)
    for pool, strategy in sorted(withholding.items()):
        if not 0 <= pool < n_pools:
            raise ParameterError("withholding", pool, f"pools from 0 to {n_pools - 1}")
        pools[pool, : withheld_race.TRAIL + 1] = (1, *strategy.validated())
    table = withheld_race.Table(
        found_ns=found_ns,
        miner=miner,
        delay_ns=numpy.ascontiguousarray(delay_ns, dtype=numpy.int64),
        parent=numpy.full(n_blocks + 1, -1, numpy.int64),
        height=numpy.zeros(n_blocks + 1, numpy.int64),
        match=numpy.full(n_blocks + 1, -1, numpy.int64),
        is_public=numpy.zeros(n_blocks + 1, numpy.uint8),
        accepted_ns=numpy.zeros((withheld_race.WINDOW, n_pools), numpy.int64),
        pool=pools,
        queue=numpy.zeros((withheld_race.EVENTS_MAX, 3), numpy.int64),
        control=numpy.zeros(2, numpy.int64),
        key=numpy.uint64(derive_seed(seed, "pools", "gamma") & U64),
        threshold=numpy.uint64(chance_threshold(0.0 if gamma is None else gamma)),
        has_gamma=int(gamma is not None),
    )
    if not withheld_race.run(table, 1):
        raise _too_fast(withheld_race.WINDOW, "blocks on a branch")
    matched, joined = races_joined(table.parent, miner, table.match, n_pools)
    public = table.height * (table.is_public == 1)
    return PoolRace(
        table.parent,
        table.height,
        numpy.bincount(miner, minlength=n_pools),
        _stale(table.parent, miner, int(public.argmax()), n_pools),
        matched,
        joined,
    )


def _stale(parent: numpy.ndarray, miner: numpy.ndarray, tip: int, n_pools: int) -> numpy.ndarray:
    """Per pool, its blocks that are not ancestors of that tip."""
    is_stale = numpy.ones(len(parent), bool)
    while tip >= 0:
        is_stale[tip] = False
        tip = int(parent[tip])
    return numpy.bincount(miner[is_stale[1:]], minlength=n_pools)


def race_of_schedule(
    found_ns: numpy.ndarray, miner: numpy.ndarray, delay_ns: numpy.ndarray
) -> PoolRace:
    """The race of given discoveries: when, by which pool, and delays in integer nanoseconds."""
    n_blocks, n_pools = len(found_ns), len(delay_ns)
    parent = numpy.full(n_blocks + 1, -1, numpy.int64)
    height = numpy.zeros(n_blocks + 1, numpy.int64)
    stale = numpy.zeros(n_pools, numpy.int64)
    open_block = numpy.zeros(OPEN_MAX, numpy.int64)
    accepted_ns = numpy.zeros(OPEN_MAX, numpy.int64)
    delay_ns = numpy.ascontiguousarray(delay_ns, dtype=numpy.int64)
    done = _run(
        int(delay_ns.max()), found_ns, miner, delay_ns, parent, height, stale, open_block,
        accepted_ns,
    )  # fmt: skip
    if done < 0:
        raise _too_fast(OPEN_MAX, "blocks open at once")
    return PoolRace(parent, height, numpy.bincount(miner, minlength=n_pools), stale)


def _too_fast(most: int, what: str) -> ParameterError:
    return ParameterError("block_interval_s", "too short", f"such that at most {most} {what}")


def _miners(weights: numpy.ndarray, drawn: numpy.ndarray) -> numpy.ndarray:
    """Pools in proportion to their weights."""
    cumulative = numpy.cumsum(weights)
    last = int(numpy.flatnonzero(weights)[-1])
    places = numpy.searchsorted(cumulative, drawn * cumulative[-1], side="right")
    pools: numpy.ndarray = numpy.minimum(places, last)
    return pools


@loop("gossip/pool_race.py")
def _run(longest_ns, found_ns, miner, delay_ns, parent, height, stale, open_block, accepted_ns):
    """All blocks in order; 0, or -1 when too many are open."""
    settled, count, reached_ns = 0, 0, 0
    for i in range(len(found_ns)):
        now, pool, block = found_ns[i], miner[i], i + 1
        if count > 0 and reached_ns <= now:
            # Everything has reached everyone: is one block strictly the highest?
            best = open_block[count - 1]
            is_alone = True
            for k in range(count - 1):
                if height[open_block[k]] > height[best]:
                    best = open_block[k]
            for k in range(count):
                if height[open_block[k]] == height[best] and open_block[k] != best:
                    is_alone = False
            if is_alone:
                settled, count = best, 0
        tip, tip_ns = settled, -1
        for k in range(count):
            other = open_block[k]
            source = miner[other - 1]
            arrives = found_ns[other - 1]
            if source != pool:
                arrives += delay_ns[source, pool]
            for j in range(k - 1, -1, -1):
                if open_block[j] == parent[other]:
                    arrives = max(arrives, accepted_ns[j])
                    break
            accepted_ns[k] = arrives
            if arrives <= now and (
                height[other] > height[tip]
                or (height[other] == height[tip] and arrives < tip_ns)
            ):
                tip, tip_ns = other, arrives
        parent[block] = tip
        height[block] = height[tip] + 1
        if count == len(open_block):
            return -1
        open_block[count] = block
        count += 1
        reached_ns = now + longest_ns
    best = 0
    for block in range(len(parent)):
        if height[block] > height[best]:
            best = block
    for block in range(len(parent) - 1, 0, -1):
        if block == best:
            best = parent[best]
        else:
            stale[miner[block - 1]] += 1
    return 0
