"""Races between an attacker and the honest chain, block by block."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from consensus_lab.theory._checks import count, minority, number, probability
from consensus_lab.theory.monte_carlo.estimate import Estimate, of_count, of_ratio

HOPELESS_PROBABILITY = 1e-12
"""A race is given up when drawing level has become that unlikely."""

BATCHES = 50
"""Batches of one long run; each should be long beside 1 / (1 - 2 alpha)^2 blocks."""


@njit(cache=True)
def _double_spends(
    q: float, z: int, hopeless: int, trials: int, rng: np.random.Generator
) -> int:  # pragma: no cover - compiled
    successes = 0
    for _ in range(trials):
        honest, attacker = 0, 0
        while honest < z:
            if rng.random() < q:
                attacker += 1
            else:
                honest += 1
        while attacker < honest and honest - attacker < hopeless:
            if rng.random() < q:
                attacker += 1
            else:
                honest += 1
        if attacker >= honest:
            successes += 1
    return successes


def double_spend(
    attacker_share: float, *, confirmations: int, trials: int, rng: np.random.Generator
) -> Estimate:
    """Share of successful double spends, mined block by block.

    Parameters
    ----------
    attacker_share : float
        q, in [0, 1/2).
    confirmations : int
        z, at least 0.
    trials : int
        Attacks.
    rng : numpy.random.Generator
        Source of all randomness.

    Returns
    -------
    Estimate
        Drawing level counts; a race is given up when its chance is below 1e-12.

    Examples
    --------
    >>> estimate = double_spend(0.3, confirmations=5, trials=50_000, rng=np.random.default_rng(1))
    >>> abs(estimate.mean - 0.1976173) < 5 * estimate.standard_error
    True
    """
    q = minority("attacker_share", attacker_share)
    z = count("confirmations", confirmations)
    n = count("trials", trials, at_least=1)
    hopeless = _hopeless_deficit(q / (1.0 - q)) + z
    return of_count(int(_double_spends(q, z, hopeless, n, rng)), n)


def _hopeless_deficit(ratio: float) -> int:
    """Deficit from which drawing level is as good as impossible, for a ruin ratio below 1."""
    if ratio <= 0.0:
        return 1
    return max(1, math.ceil(math.log(HOPELESS_PROBABILITY) / math.log(ratio)))


@njit(cache=True)
def _private_attacks(
    q: float, z: int, delay: float, hopeless: int, trials: int, rng: np.random.Generator
) -> int:  # pragma: no cover - compiled
    successes = 0
    for _ in range(trials):
        public, attacker = 0, 0
        while True:
            # One more height becomes public; the attacker mines meanwhile.
            wait = rng.exponential(1.0 / (1.0 - q)) + delay
            attacker += rng.poisson(q * wait)
            if public >= z and attacker >= public:
                successes += 1
                break
            public += 1
            if public >= z and attacker >= public:
                successes += 1
                break
            if public >= z and public - attacker > hopeless:
                break
    return successes


def private_attack(
    attacker_share: float,
    *,
    confirmations: int,
    delay_intervals: float,
    trials: int,
    rng: np.random.Generator,
) -> Estimate:
    """Share of successful private attacks with network delay.

    Parameters
    ----------
    attacker_share : float
        q, below the tolerated share.
    confirmations : int
        z, public heights, at least 1.
    delay_intervals : float
        x = lambda Delta.
    trials : int
        Attacks.
    rng : numpy.random.Generator
        Source of all randomness.

    Returns
    -------
    Estimate
        Drawing level counts; hopeless races are given up.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> estimate = private_attack(
    ...     0.3, confirmations=6, delay_intervals=0.5, trials=20_000, rng=rng)
    >>> abs(estimate.mean - 0.32972965) < 5 * estimate.standard_error
    True
    """
    q = minority("attacker_share", attacker_share)
    z = count("confirmations", confirmations, at_least=1)
    delay = number("delay_intervals", delay_intervals, at_least=0.0)
    n = count("trials", trials, at_least=1)
    load = q / (1.0 - q) + q * delay
    if load >= 1.0:
        return Estimate(1.0, 0.0, n)
    # The decay per block of deficit is at most about `load`, also with the delay.
    hopeless = 2 * _hopeless_deficit(load) + z
    return of_count(int(_private_attacks(q, z, delay, hopeless, n, rng)), n)


@njit(cache=True)
def _selfish_run(
    alpha: float, gamma: float, batches: int, run: int, rng: np.random.Generator
) -> NDArray[np.int64]:  # pragma: no cover - compiled
    """Blocks of the pool and of the others that joined the chain, per batch of one long run."""
    settled = np.zeros((batches, 2), np.int64)
    lead, racing = 0, False
    for batch in range(batches):
        pool, others = 0, 0
        for _ in range(run):
            by_pool = rng.random() < alpha
            if racing:
                racing = False
                if by_pool:
                    pool += 2
                elif rng.random() < gamma:
                    pool += 1
                    others += 1
                else:
                    others += 2
            elif by_pool:
                lead += 1
            elif lead == 0:
                others += 1
            elif lead == 1:
                lead, racing = 0, True
            elif lead == 2:
                pool += 2
                lead = 0
            else:
                pool += 1
                lead -= 1
        settled[batch] = pool, others
    return settled


class SelfishEstimate(NamedTuple):
    """Simulated selfish mining."""

    revenue: Estimate
    stale_fraction: Estimate


def selfish_mining(
    alpha: float, *, gamma: float, blocks: int, rng: np.random.Generator
) -> SelfishEstimate:
    """Revenue and stale fraction of SM1, mined block by block.

    Parameters
    ----------
    alpha : float
        The pool's share, in [0, 1/2).
    gamma : float
        Share of the honest miners on the pool's branch in a race.
    blocks : int
        Mined blocks of one long run, at least 5000.
    rng : numpy.random.Generator
        Source of all randomness.

    Returns
    -------
    SelfishEstimate
        With standard errors from 50 batches.

    Examples
    --------
    >>> result = selfish_mining(0.25, gamma=0.5, blocks=400_000, rng=np.random.default_rng(1))
    >>> abs(result.revenue.mean - 0.25) < 5 * result.revenue.standard_error
    True
    """
    a = minority("alpha", alpha)
    g = probability("gamma", gamma)
    run = count("blocks", blocks, at_least=100 * BATCHES) // BATCHES
    settled = _selfish_run(a, g, BATCHES, run, rng)
    kept = settled.sum(axis=1)
    total = run * BATCHES
    return SelfishEstimate(
        of_ratio(settled[:, 0], kept, total), of_ratio(run - kept, np.full(BATCHES, run), total)
    )


@njit(cache=True)
def _policy_run(
    policy: NDArray[np.int8],
    alpha: float,
    gamma: float,
    batches: int,
    run: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:  # pragma: no cover - compiled
    """Settled blocks of the pool and the others under a policy, per batch of one long run."""
    settled = np.zeros((batches, 2), np.int64)
    a, h, fork, published = 0, 0, 0, 0
    for batch in range(batches):
        for _ in range(run):
            # `published` > 0: a tie of that many blocks is being raced.
            if rng.random() < alpha:
                a += 1
                fork = 2 if published else 0
            elif published and rng.random() < gamma:
                settled[batch, 0] += published
                a -= published
                h, fork = 1, 1
            else:
                h += 1
                fork = 1
            published = 0
            action = policy[a, h, fork]
            if action == 0:
                settled[batch, 1] += h
                a, h = 0, 0
            elif action == 1:
                settled[batch, 0] += h + 1
                a, h = a - h - 1, 0
            elif action == 3:
                published = h
    return settled


def withholding_policy(
    policy: NDArray[np.int8], *, alpha: float, gamma: float, blocks: int, rng: np.random.Generator
) -> Estimate:
    """Relative revenue of a policy of `optimal_selfish_mining`, mined block by block.

    Parameters
    ----------
    policy : numpy.ndarray
        Action of every state (a, h, fork).
    alpha, gamma : float
        The pool's share and the honest miners' share on its branch in a race.
    blocks : int
        Mined blocks of one long run, at least 5000.
    rng : numpy.random.Generator
        Source of all randomness.

    Returns
    -------
    Estimate
        With a standard error from 50 batches.

    Examples
    --------
    >>> from consensus_lab import theory
    >>> best = theory.optimal_selfish_mining(0.4, gamma=0.5)
    >>> estimate = withholding_policy(
    ...     best.policy, alpha=0.4, gamma=0.5, blocks=400_000, rng=np.random.default_rng(1))
    >>> abs(estimate.mean - best.revenue) < 5 * estimate.standard_error
    True
    """
    a = minority("alpha", alpha)
    g = probability("gamma", gamma)
    run = count("blocks", blocks, at_least=100 * BATCHES) // BATCHES
    settled = _policy_run(policy, a, g, BATCHES, run, rng)
    return of_ratio(settled[:, 0], settled.sum(axis=1), run * BATCHES)


@njit(cache=True)
def _settlements(
    alpha: float, slots: int, history: int, trials: int, rng: np.random.Generator
) -> int:  # pragma: no cover - compiled
    failures = 0
    for _ in range(trials):
        reach = 0
        for _ in range(history):
            reach = reach + 1 if rng.random() < alpha else max(reach - 1, 0)
        margin = reach
        for _ in range(slots):
            if rng.random() < alpha:
                reach += 1
                margin += 1
            else:
                if not (margin == 0 and reach > 0):
                    margin -= 1
                reach = max(reach - 1, 0)
        if margin >= 0:
            failures += 1
    return failures


def settlement_failures(
    adversarial_share: float, *, slots: int, trials: int, rng: np.random.Generator
) -> Estimate:
    """Share of slots that could be reversed, over random leader sequences with a long history.

    Parameters
    ----------
    adversarial_share : float
        alpha, in [0, 1/2).
    slots : int
        k, at least 1.
    trials : int
        Sequences.
    rng : numpy.random.Generator
        Source of all randomness.

    Returns
    -------
    Estimate
        The history has 50 / (1 - 2 alpha)^2 slots, many relaxation times.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> estimate = settlement_failures(0.3, slots=20, trials=20_000, rng=rng)
    >>> abs(estimate.mean - 0.1332020118) < 5 * estimate.standard_error
    True
    """
    alpha = minority("adversarial_share", adversarial_share)
    k = count("slots", slots, at_least=1)
    n = count("trials", trials, at_least=1)
    history = math.ceil(50.0 / (1.0 - 2.0 * alpha) ** 2)
    return of_count(int(_settlements(alpha, k, history, n, rng)), n)
