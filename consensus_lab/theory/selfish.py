"""Selfish mining (SM1): revenue, rates, thresholds and how long one has to sample.

Theory of operation (Eyal and Sirer 2014).  A pool with share alpha keeps its blocks to itself.
State k is its lead over the public chain; state 0' is a public race between two branches of equal
length, in which a share gamma of the honest miners works on the pool's branch.

    0 -> 1 when the pool finds a block; 1 -> 0' when the others answer and the pool publishes;
    0' -> 0 with the next block, whoever finds it; k -> k+1 for the pool, k -> k-1 for the others
    when k > 2; from 2 the others' block makes the pool publish everything: back to 0.

The chain is solved in closed form (ibid. section 4).  It regenerates in state 0, and a cycle is one
of five cases (no lead; race won, shared or lost; a lead of two or more, whose length is a first
passage of a random walk), which also gives the sampling constants below.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from consensus_lab.theory._checks import choice, minority, number, probability


class SelfishMiningRates(NamedTuple):
    """Blocks per mined block under SM1.

    Attributes
    ----------
    pool : float
        The pool's blocks that end up in the chain, per mined block.
    honest : float
        The others' blocks that end up in the chain, per mined block.
    stale_fraction : float
        What remains: 1 - pool - honest.
    relative_revenue : float
        pool / (pool + honest), the pool's share of the chain.
    """

    pool: float
    honest: float
    stale_fraction: float
    relative_revenue: float


def selfish_mining_state_probability(alpha: float, *, state: str) -> float:
    """Stationary probability of a state of SM1.

    p_0 = (1 - 2 alpha) / c, p_1 = alpha p_0, p_0' = (1 - alpha) p_1 with
    c = 2 alpha^3 - 4 alpha^2 + 1 (Eyal and Sirer 2014 equations 2-5).

    Parameters
    ----------
    alpha : float
        The pool's share, in [0, 1/2).
    state : str
        "0", "0'" or "1".

    Returns
    -------
    float
        A probability; the same for every gamma.

    Examples
    --------
    >>> round(selfish_mining_state_probability(0.1, state="0'"), 11)
    0.07484407484
    """
    a = minority("alpha", alpha)
    named = choice("state", state, ("0", "0'", "1"))
    none = (1.0 - 2.0 * a) / (2.0 * a**3 - 4.0 * a**2 + 1.0)
    return {"0": none, "1": a * none, "0'": (1.0 - a) * a * none}[named]


def selfish_mining_rates(alpha: float, *, gamma: float) -> SelfishMiningRates:
    """Blocks in the chain per mined block, for the pool and the others, under SM1.

    A cycle from state 0 to state 0 mines N blocks, of which R of the pool and H of the others
    stay; the rates are E R / E N and E H / E N (renewal reward; equal to Eyal and Sirer 2014
    equations 6-8).

    Parameters
    ----------
    alpha : float
        The pool's share, in [0, 1/2).
    gamma : float
        Share of the honest miners on the pool's branch in a race, in [0, 1].

    Returns
    -------
    SelfishMiningRates
        Rates per mined block.

    Examples
    --------
    A quarter of the power and half of the network is the break-even point of the paper:

    >>> rates = selfish_mining_rates(0.25, gamma=0.5)
    >>> round(rates.relative_revenue, 12), round(rates.stale_fraction, 12)
    (0.25, 0.18)
    """
    a = minority("alpha", alpha)
    g = probability("gamma", gamma)
    b = 1.0 - a
    lead_steps = a / (1.0 - 2.0 * a)
    mined = b + 3.0 * a * b + a * a * (3.0 + 2.0 * lead_steps)
    pool = a * b * (2.0 * a + g * b) + a * a * (2.0 + lead_steps)
    honest = b + a * b * (g * b + 2.0 * (1.0 - g) * b)
    stale = a * b + a * a * (1.0 + lead_steps)
    return SelfishMiningRates(pool / mined, honest / mined, stale / mined, pool / (pool + honest))


def selfish_mining_revenue(alpha: float, *, gamma: float) -> float:
    """Share of the chain that a selfish pool (SM1) earns.

    (alpha (1-alpha)^2 (4 alpha + gamma (1 - 2 alpha)) - alpha^3) /
    (1 - alpha (1 + (2 - alpha) alpha)) (Eyal and Sirer 2014 equation 8).

    Parameters
    ----------
    alpha : float
        The pool's share, in [0, 1/2).
    gamma : float
        Share of the honest miners on the pool's branch in a race, in [0, 1].

    Returns
    -------
    float
        Relative revenue; honest mining would earn alpha.

    Examples
    --------
    With nobody on its side the pool breaks even at a third:

    >>> round(selfish_mining_revenue(1 / 3, gamma=0.0), 12)
    0.333333333333
    """
    a = minority("alpha", alpha)
    g = probability("gamma", gamma)
    gain = a * (1.0 - a) ** 2 * (4.0 * a + g * (1.0 - 2.0 * a)) - a**3
    return gain / (1.0 - a * (1.0 + (2.0 - a) * a))


def selfish_mining_threshold(gamma: float) -> float:
    """Smallest share from which SM1 pays: (1 - gamma) / (3 - 2 gamma).

    Parameters
    ----------
    gamma : float
        Share of the honest miners on the pool's branch in a race, in [0, 1].

    Returns
    -------
    float
        alpha (Eyal and Sirer 2014, observation 1).

    Examples
    --------
    >>> selfish_mining_threshold(0.5)
    0.25
    """
    g = probability("gamma", gamma)
    return (1.0 - g) / (3.0 - 2.0 * g)


def withholding_revenue_bound(alpha: float) -> float:
    """Upper bound of any withholding strategy's relative revenue, alpha / (1 - alpha).

    Each of the pool's blocks can displace at most one honest block; attained for gamma = 1
    (Sapirshtein, Sompolinsky and Zohar 2016).

    Parameters
    ----------
    alpha : float
        The pool's share, in [0, 1/2).

    Returns
    -------
    float
        A share of the chain.

    Examples
    --------
    >>> round(withholding_revenue_bound(0.4), 12)
    0.666666666667
    """
    a = minority("alpha", alpha)
    return a / (1.0 - a)


class SelfishMiningSampling(NamedTuple):
    """Standard errors of a simulation of n mined blocks are these constants over sqrt(n)."""

    revenue: float
    stale_fraction: float

    def blocks_for(self, *, tolerance: float, sigmas: float = 3.0) -> int:
        """Mined blocks after which `sigmas` standard errors of the revenue are `tolerance`."""
        width = number("tolerance", tolerance, above=0.0)
        factor = number("sigmas", sigmas, above=0.0)
        return math.ceil((factor * self.revenue / width) ** 2)


def selfish_mining_sampling_constants(alpha: float, *, gamma: float) -> SelfishMiningSampling:
    """Asymptotic standard error of simulated revenue and stale fraction, times sqrt(n).

    Renewal reward over the cycles from state 0: with Z = R - r (R + H) the variance of the
    revenue is E Z^2 E N / (E (R + H))^2 per mined block, with Z = S - s N that of the stale
    fraction is E Z^2 / E N.  A lead of two ends after 2 n + 1 further blocks, with mean
    n = alpha / (1 - 2 alpha) and variance alpha (1 - alpha) / (1 - 2 alpha)^3.  Derived here.

    Parameters
    ----------
    alpha : float
        The pool's share, in [0, 1/2).
    gamma : float
        Share of the honest miners on the pool's branch in a race, in [0, 1].

    Returns
    -------
    SelfishMiningSampling
        Constants for the revenue and for the stale fraction.

    Examples
    --------
    >>> constants = selfish_mining_sampling_constants(0.3, gamma=0.0)
    >>> round(constants.revenue, 3)
    0.831
    >>> constants.blocks_for(tolerance=0.002) > 1_000_000
    True
    """
    a = minority("alpha", alpha)
    g = probability("gamma", gamma)
    b = 1.0 - a
    rates = selfish_mining_rates(a, gamma=g)
    r, s = rates.relative_revenue, rates.stale_fraction
    mean = a / (1.0 - 2.0 * a)
    square = a * b / (1.0 - 2.0 * a) ** 3 + mean**2
    mined = b + 3.0 * a * b + a * a * (3.0 + 2.0 * mean)
    kept = (rates.pool + rates.honest) * mined
    race = a * b
    revenue_square = (
        b * r**2
        + race * (a * 4.0 * (1.0 - r) ** 2)
        + race * b * (g * (1.0 - 2.0 * r) ** 2 + (1.0 - g) * 4.0 * r**2)
        + a * a * (1.0 - r) ** 2 * (4.0 + 4.0 * mean + square)
    )
    base, slope = 1.0 - 3.0 * s, 1.0 - 2.0 * s
    stale_square = (
        b * s**2
        + race * base**2
        + a * a * (base**2 + 2.0 * base * slope * mean + slope**2 * square)
    )
    return SelfishMiningSampling(
        math.sqrt(revenue_square * mined) / kept, math.sqrt(stale_square / mined)
    )
