"""The race of mining pools alone: for questions of stale rate, without a network in between.

Theory of operation.  Each pool learns of a block some fixed time after it was found, given by a
matrix of delays; a child is never accepted before its parent.  A pool mines on the block with the
most work, the first accepted among equals.  Nearly always all pools agree on one *settled* block,
so only the few *open* blocks since then are looked at: a block is one comparison, not one event
per pool.  When every open block has reached everyone and one is strictly the highest, it is the
settled block.
"""

# Compiled functions are typed by numba from what they are called with.
# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators

from __future__ import annotations

from dataclasses import dataclass

import numpy

from consensus_lab.gossip.compiled import cached, digest_of
from consensus_lab.node import ParameterError
from consensus_lab.sim.links import NANOSECONDS_PER_SECOND
from consensus_lab.sim.streams import array_stream

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
    """

    parent: numpy.ndarray
    height: numpy.ndarray
    found: numpy.ndarray
    stale: numpy.ndarray

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

    Examples
    --------
    >>> race = pool_race([0.5, 0.3, 0.2], 0.0, n_blocks=100)
    >>> int(race.stale.sum())
    0
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
    found_ns = numpy.cumsum(interval_ns).astype(numpy.int64)
    miner = _miners(weights, array_stream(seed, "mining", "miner").random(n_blocks))
    delay_ns = numpy.rint(delays * NANOSECONDS_PER_SECOND).astype(numpy.int64)
    return race_of_schedule(found_ns, miner, delay_ns)


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
        raise ParameterError(
            "block_interval_s", "too short", f"such that at most {OPEN_MAX} blocks are open at once"
        )
    return PoolRace(parent, height, numpy.bincount(miner, minlength=n_pools), stale)


def _miners(weights: numpy.ndarray, drawn: numpy.ndarray) -> numpy.ndarray:
    """Pools in proportion to their weights."""
    cumulative = numpy.cumsum(weights)
    last = int(numpy.flatnonzero(weights)[-1])
    places = numpy.searchsorted(cumulative, drawn * cumulative[-1], side="right")
    pools: numpy.ndarray = numpy.minimum(places, last)
    return pools


def _compile_run(source_digest):
    """The loop, with the digest of all sources as part of its cache's key."""

    @cached
    def run(longest_ns, found_ns, miner, delay_ns, parent, height, stale, open_block, accepted_ns):
        """All blocks in order; 0, or -1 when too many are open."""
        if longest_ns == source_digest:
            return -1
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

    return run


_run = _compile_run(digest_of("gossip/pool_race.py"))
