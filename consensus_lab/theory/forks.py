"""Forks without an attacker: what a network delay does to the chain.

Theory of operation.  Blocks are mined as a Poisson process; x = lambda Delta is the delay in mean
block intervals.  In the *fully delayed* model infinitely many small miners hear of a block exactly
Delta after it was mined.  The first block of a height opens a window of length Delta in which every
other block has the same height, so a height has 1 + Poisson(x) blocks and a new height begins
every Exp(lambda) + Delta: the chain grows at lambda / (1 + x) and a share x / (1 + x) of all blocks
is stale (growth: Sompolinsky and Zohar 2015; Dembo et al. 2020).  With fewer miners there are fewer
forks, since nobody forks himself: `equal_miners_*` scale by 1 - 1/n, `two_miner_growth` is exact.
For a distribution of arrival times F, Decker and Wattenhofer 2013 take one integral, I = the
integral of 1 - F(t): the mean delay weighted by hash power.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from scipy import special

from consensus_lab.theory._checks import count, number, probability


class FullDelayForks(NamedTuple):
    """The fully delayed model at one x = lambda Delta.  All exact.

    Attributes
    ----------
    growth : float
        New heights per mined block, 1 / (1 + x).
    stale_fraction : float
        Share of mined blocks outside the longest chain, x / (1 + x).
    height_has_fork_probability : float
        P(a height has more than one block) = 1 - e^-x.
    blocks_per_height_mean : float
        1 + x.
    lagger_probability : float
        P(no block in the Delta before this one) = e^-x.
    loner_probability : float
        P(no block within Delta before or after this one) = e^-2x.
    sampling_constant : float
        Standard error of the stale fraction times sqrt(mined blocks), sqrt(x / (1 + x)^3)
        (renewal central limit theorem).
    """

    growth: float
    stale_fraction: float
    height_has_fork_probability: float
    blocks_per_height_mean: float
    lagger_probability: float
    loner_probability: float
    sampling_constant: float


def full_delay_forks(delay_intervals: float) -> FullDelayForks:
    """Return the fully delayed model's quantities.

    Parameters
    ----------
    delay_intervals : float
        x = lambda Delta, at least 0.

    Returns
    -------
    FullDelayForks
        Exact values (Sompolinsky and Zohar 2015; the rest derived from 1 + Poisson(x)).

    Examples
    --------
    The 12.6 s mean delay of 2012 against 600 s blocks, x = 0.021:

    >>> round(full_delay_forks(0.021).stale_fraction, 10)
    0.0205680705
    """
    x = number("delay_intervals", delay_intervals, at_least=0.0)
    return FullDelayForks(
        growth=1.0 / (1.0 + x),
        stale_fraction=x / (1.0 + x),
        height_has_fork_probability=-math.expm1(-x),
        blocks_per_height_mean=1.0 + x,
        lagger_probability=math.exp(-x),
        loner_probability=math.exp(-2.0 * x),
        sampling_constant=math.sqrt(x / (1.0 + x) ** 3),
    )


def blocks_at_height_probability(blocks: int, *, delay_intervals: float) -> float:
    """Probability that a height has exactly that many blocks: e^-x x^(k-1) / (k-1)!.

    Parameters
    ----------
    blocks : int
        k, at least 1.
    delay_intervals : float
        x = lambda Delta, at least 0.

    Returns
    -------
    float
        A probability of the fully delayed model.

    Examples
    --------
    >>> round(blocks_at_height_probability(2, delay_intervals=0.05), 11)
    0.04756147123
    """
    k = count("blocks", blocks, at_least=1)
    x = number("delay_intervals", delay_intervals, at_least=0.0)
    return math.exp(float(special.xlogy(k - 1, x)) - x - math.lgamma(k))


def two_miner_growth(share: float, *, delay_intervals: float) -> float:
    """Growth of the chain of two miners who hear of each other's blocks after a delay.

    With a = share, b = 1 - share and x = lambda d:
    (a^2 e^(2ax) - b^2 e^(2bx)) / (a e^(2ax) - b e^(2bx)); for a = b the limit
    (1 + x/2) / (1 + x) (Sompolinsky and Zohar 2015, two nodes).

    Parameters
    ----------
    share : float
        The first miner's share of the hash power, in [0, 1].
    delay_intervals : float
        x = lambda d, the one-way delay in mean block intervals, at least 0.

    Returns
    -------
    float
        New heights per mined block.

    Examples
    --------
    >>> round(two_miner_growth(0.8, delay_intervals=1.0), 10)
    0.8488580741
    """
    a = probability("share", share)
    x = number("delay_intervals", delay_intervals, at_least=0.0)
    # Divided by e^(2ax) of the larger share, nothing overflows.
    if a < 0.5:
        a = 1.0 - a
    b = 1.0 - a
    gap = 2.0 * (a - b) * x
    # a - b e^-gap and a^2 - b^2 e^-gap without cancellation near a = b.
    faded = -math.expm1(-gap)
    numerator = (a - b) * (a + b) + b * b * faded
    denominator = (a - b) + b * faded
    if denominator < 1e-12:
        return (1.0 + x / 2.0) / (1.0 + x)
    return numerator / denominator


def two_miner_stale_fraction(share: float, *, delay_intervals: float) -> float:
    """Share of stale blocks of two miners, 1 - `two_miner_growth`.

    a b (1 - e^-g) / ((a - b) + b (1 - e^-g)) with g = 2 (a - b) x: the same formula rearranged so
    that it keeps its precision for short delays.

    Parameters
    ----------
    share : float
        The first miner's share of the hash power, in [0, 1].
    delay_intervals : float
        x = lambda d, the one-way delay in mean block intervals, at least 0.

    Returns
    -------
    float
        A share of all mined blocks.

    Examples
    --------
    >>> round(two_miner_stale_fraction(0.9, delay_intervals=0.01), 12)
    0.001782140575
    """
    a = probability("share", share)
    x = number("delay_intervals", delay_intervals, at_least=0.0)
    if a < 0.5:
        a = 1.0 - a
    b = 1.0 - a
    faded = -math.expm1(-2.0 * (a - b) * x)
    denominator = (a - b) + b * faded
    if denominator < 1e-12:
        return (x / 2.0) / (1.0 + x)
    return a * b * faded / denominator


def equal_miners_stale_first_order(n_miners: int, *, delay_intervals: float) -> float:
    """First-order stale fraction of n equal miners, (1 - 1/n) x.

    Parameters
    ----------
    n_miners : int
        n, at least 1.
    delay_intervals : float
        x = lambda Delta, at least 0; useful for x much smaller than 1.

    Returns
    -------
    float
        An approximation from above; not bounded by 1.

    Examples
    --------
    >>> round(equal_miners_stale_first_order(10, delay_intervals=0.05), 12)
    0.045
    """
    n = count("n_miners", n_miners, at_least=1)
    x = number("delay_intervals", delay_intervals, at_least=0.0)
    return (1.0 - 1.0 / n) * x


def equal_miners_stale_scaled(n_miners: int, *, delay_intervals: float) -> float:
    """Stale fraction of n equal miners as a share of the full delay's, (1 - 1/n) x / (1 + x).

    Exact for n = 1, 2 and infinity; in between it is within 2 % for x up to 2.

    Parameters
    ----------
    n_miners : int
        n, at least 1.
    delay_intervals : float
        x = lambda Delta, at least 0.

    Returns
    -------
    float
        A share of all mined blocks.

    Examples
    --------
    >>> equal_miners_stale_scaled(2, delay_intervals=1.0)
    0.25
    """
    x = number("delay_intervals", delay_intervals, at_least=0.0)
    return equal_miners_stale_first_order(n_miners, delay_intervals=x) / (1.0 + x)


def stale_by_share(shares: Sequence[float], *, delay_intervals: float) -> tuple[float, ...]:
    """Stale share of each miner's blocks when all hear of a block equally late.

    x / (1 + x) ((1 - p_i)^2 + the sum of p_j^2 over the others).  A block of i meets a rival of j
    that was found up to x later (rate p_j x) and is beaten if j, who alone works on the rival,
    finds the next block (chance p_j); or one found up to x earlier (rate p_j x), and is beaten
    unless i finds the next block (chance 1 - p_i).  Exact to first order in x, derived here;
    scaled by 1 / (1 + x) as in `equal_miners_stale_scaled`, whose formula this is for equal shares.

    Parameters
    ----------
    shares : sequence of float
        Hash power of each miner, in any unit.
    delay_intervals : float
        x = lambda Delta, at least 0.

    Returns
    -------
    tuple of float
        For each miner, stale blocks over blocks found.

    Examples
    --------
    A miner with 80 % loses a sixteenth of what the one with 20 % does:

    >>> large, small = stale_by_share([0.8, 0.2], delay_intervals=0.1)
    >>> round(small / large, 9)
    16.0
    """
    given = [number("shares", share, at_least=0.0) for share in shares]
    x = number("delay_intervals", delay_intervals, at_least=0.0)
    total = number("shares", math.fsum(given), above=0.0)
    parts = [share / total for share in given]
    squares = math.fsum(part * part for part in parts)
    return tuple(x / (1.0 + x) * ((1.0 - part) ** 2 + squares - part * part) for part in parts)


def diameter_stale_bound(diameter_hops: float, *, hop_delay_intervals: float) -> float:
    """Upper bound of the stale fraction on a graph: the full delay of its diameter.

    D / (1 + D) with D = diameter times lambda times the delay of one hop.

    Parameters
    ----------
    diameter_hops : float
        Longest shortest path, hops.
    hop_delay_intervals : float
        Delay of one hop in mean block intervals.

    Returns
    -------
    float
        A share of all mined blocks.

    Examples
    --------
    >>> round(diameter_stale_bound(10, hop_delay_intervals=0.002), 11)
    0.01960784314
    """
    hops = number("diameter_hops", diameter_hops, at_least=0.0)
    delay = number("hop_delay_intervals", hop_delay_intervals, at_least=0.0)
    return full_delay_forks(hops * delay).stale_fraction


def fork_probability_first_order(*, mean_delay_s: float, block_interval_s: float) -> float:
    """First order of every fork formula here: I / T, the mean delay over the block interval.

    Parameters
    ----------
    mean_delay_s, block_interval_s : float
        I and T, seconds.

    Returns
    -------
    float
        An approximation from above, for I much smaller than T.

    Examples
    --------
    >>> round(fork_probability_first_order(mean_delay_s=12.6, block_interval_s=600.0), 12)
    0.021
    """
    delay = number("mean_delay_s", mean_delay_s, at_least=0.0)
    return delay / number("block_interval_s", block_interval_s, above=0.0)


def fork_probability_discrete(*, mean_delay_s: float, block_interval_s: float) -> float:
    """Probability of a fork while a block spreads, 1 - (1 - P_b)^I with P_b = 1 s / T.

    Decker and Wattenhofer 2013 equation 4: P_b is the network's chance to find a block within a
    second and I the integral of 1 - F(t) in seconds, with F the share that knows the block.

    Parameters
    ----------
    mean_delay_s : float
        I, seconds.
    block_interval_s : float
        T, seconds, above 1.

    Returns
    -------
    float
        A probability.

    Raises
    ------
    ParameterError
        For a block interval of a second or less: the formula counts seconds.

    Examples
    --------
    Decker and Wattenhofer's own numbers, 11.37 s and 633.68 s (they measured 1.69 % of forks):

    >>> round(fork_probability_discrete(mean_delay_s=11.37, block_interval_s=633.68), 6)
    0.017797
    """
    delay = number("mean_delay_s", mean_delay_s, at_least=0.0)
    interval = number("block_interval_s", block_interval_s, above=1.0)
    return -math.expm1(delay * math.log1p(-1.0 / interval))


def fork_probability_exponential(*, mean_delay_s: float, block_interval_s: float) -> float:
    """Probability of a fork in continuous time, 1 - e^(-I/T).

    Parameters
    ----------
    mean_delay_s, block_interval_s : float
        I and T, seconds.

    Returns
    -------
    float
        A probability.

    Examples
    --------
    >>> round(fork_probability_exponential(mean_delay_s=12.6, block_interval_s=600.0), 10)
    0.0207810354
    """
    x = fork_probability_first_order(mean_delay_s=mean_delay_s, block_interval_s=block_interval_s)
    return -math.expm1(-x)
