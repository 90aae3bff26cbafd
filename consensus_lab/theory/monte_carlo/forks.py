"""Forks by simulation: miners, delays, the longest chain.

Theory of operation.  Blocks are mined as a Poisson process of rate 1.  A miner drawn by hash share
puts each on the highest block that he knows.  Only heights matter: a block's height is one more
than the greatest known to its miner, and what adds nothing to the height of the chain is stale.
Blocks older than the longest delay are known to all: a short window of recent blocks is enough.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from consensus_lab.node import ParameterError
from consensus_lab.theory._checks import choice, count, number
from consensus_lab.theory.monte_carlo.estimate import Estimate, of_batches

BATCHES = 50
"""Batches of a run: enough for a standard error that is itself known to 10 %."""

WARM_UP_BLOCKS = 1000

Floats = NDArray[np.float64]

DELAY_LAWS = ("exponential", "uniform")

_LONGEST = {"exponential": 40.0, "uniform": 2.0}
"""Delay after which everybody knows a block, in means: e^-40 is never seen."""


@njit(cache=True)
def _matrix_heights(
    delays: Floats, cumulative: Floats, blocks: int, rng: np.random.Generator
) -> NDArray[np.int64]:  # pragma: no cover - compiled
    """Chain height after each block; delays[i, j] from miner i to miner j."""
    longest = delays.max()
    heights = np.empty(blocks, np.int64)
    times = np.empty(blocks)
    tops = np.empty(blocks, np.int64)
    miners = np.empty(blocks, np.int64)
    now = 0.0
    settled, first, top = 0, 0, 0
    for i in range(blocks):
        now += rng.exponential(1.0)
        miner = np.searchsorted(cumulative, rng.random(), side="right")
        while first < i and times[first] + longest <= now:
            settled = max(settled, heights[first])
            first += 1
        best = settled
        for j in range(first, i):
            if heights[j] > best and times[j] + delays[miners[j], miner] <= now:
                best = heights[j]
        heights[i], times[i], miners[i] = best + 1, now, miner
        top = max(top, best + 1)
        tops[i] = top
    return tops


@njit(cache=True)
def _random_heights(
    mean: float, law: int, longest: float, blocks: int, rng: np.random.Generator
) -> NDArray[np.int64]:  # pragma: no cover - compiled
    """Chain height after each block; a fresh miner each time, a fresh delay per block and miner."""
    heights = np.empty(blocks, np.int64)
    times = np.empty(blocks)
    tops = np.empty(blocks, np.int64)
    now = 0.0
    settled, first, top = 0, 0, 0
    for i in range(blocks):
        now += rng.exponential(1.0)
        while first < i and times[first] + longest <= now:
            settled = max(settled, heights[first])
            first += 1
        best = settled
        for j in range(i - 1, first - 1, -1):
            if heights[j] > best:
                delay = rng.exponential(mean) if law == 0 else 2.0 * mean * rng.random()
                if times[j] + delay <= now:
                    best = heights[j]
        heights[i], times[i] = best + 1, now
        top = max(top, best + 1)
        tops[i] = top
    return tops


def _stale_fraction(tops: NDArray[np.int64], blocks: int) -> Estimate:
    """Blocks that added no height, by batches after the warm-up."""
    marks = WARM_UP_BLOCKS - 1 + np.linspace(0, blocks, BATCHES + 1).astype(int)
    mined = np.diff(marks)
    return of_batches(1.0 - np.diff(tops[marks]) / mined, blocks)


def stale_fraction(
    delays: ArrayLike,
    *,
    blocks: int,
    rng: np.random.Generator,
    shares: ArrayLike | None = None,
) -> Estimate:
    """Stale fraction of miners with a matrix of delays.

    Parameters
    ----------
    delays : array_like
        delays[i, j]: from the block's miner i to miner j, in mean block intervals.  One miner
        with a delay to himself stands for infinitely many small ones (the fully delayed model).
    blocks : int
        Mined blocks to count, after a warm-up of 1000.
    rng : numpy.random.Generator
        Source of all randomness.
    shares : array_like, optional
        Hash shares; equal without.

    Returns
    -------
    Estimate
        With a standard error from 50 batches.

    Examples
    --------
    >>> estimate = stale_fraction([[0.5]], blocks=200_000, rng=np.random.default_rng(1))
    >>> abs(estimate.mean - 1 / 3) < 5 * estimate.standard_error
    True
    """
    matrix = np.atleast_2d(np.asarray(delays, dtype=float))
    n = len(matrix)
    if matrix.shape != (n, n) or not np.all(np.isfinite(matrix)) or np.any(matrix < 0.0):
        raise ParameterError("delays", matrix.shape, "a square matrix of delays of at least 0")
    weights = np.full(n, 1.0 / n) if shares is None else np.asarray(shares, dtype=float)
    if weights.shape != (n,) or np.any(weights < 0.0) or not weights.sum() > 0.0:
        raise ParameterError("shares", shares, f"{n} shares of at least 0")
    counted = count("blocks", blocks, at_least=BATCHES)
    cumulative = np.cumsum(weights / weights.sum())
    cumulative[-1] = 1.0
    tops = _matrix_heights(matrix, cumulative, counted + WARM_UP_BLOCKS, rng)
    return _stale_fraction(tops, counted)


def stale_fraction_random_delay(
    mean_delay: float, *, law: str, blocks: int, rng: np.random.Generator
) -> Estimate:
    """Stale fraction of infinitely many miners with a fresh delay per block and receiver.

    Whoever knows a block knows its ancestors.

    Parameters
    ----------
    mean_delay : float
        In mean block intervals.
    law : str
        "exponential" or "uniform" (between 0 and twice the mean).
    blocks : int
        Mined blocks to count, after a warm-up of 1000.
    rng : numpy.random.Generator
        Source of all randomness.

    Returns
    -------
    Estimate
        With a standard error from 50 batches.

    Examples
    --------
    Spread delays fork less than a fixed one of the same mean (0.0909 for 0.1):

    >>> rng = np.random.default_rng(1)
    >>> estimate = stale_fraction_random_delay(0.1, law="exponential", blocks=200_000, rng=rng)
    >>> 0.080 < estimate.mean < 0.0909
    True
    """
    mean = number("mean_delay", mean_delay, above=0.0)
    kind = DELAY_LAWS.index(choice("law", law, DELAY_LAWS))
    counted = count("blocks", blocks, at_least=BATCHES)
    longest = _LONGEST[law] * mean
    tops = _random_heights(mean, kind, longest, counted + WARM_UP_BLOCKS, rng)
    return _stale_fraction(tops, counted)
