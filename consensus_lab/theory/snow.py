"""Snow: sampling votes instead of asking everybody (Slush, Snowflake, Snowball).

Theory of operation (Team Rocket 2018; Yin, Sekniqi, van Renesse and Sirer 2020).  A node asks k of
the other n - 1 nodes, without replacement; alpha equal answers make a successful sample, beta
successful samples of one colour in a row a decision.  The number of answers of one colour is
hypergeometric.  Slush has no memory but the colour: with everybody sampling at the same time the
number of red nodes is a Markov chain on 0 .. n whose ends absorb.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from consensus_lab.theory._checks import count, number, probability

Array = NDArray[np.float64]


def sample_majority_probability(others: int, *, favourable: int, k: int, alpha: int) -> float:
    """Probability of at least alpha favourable answers in a sample without replacement.

    Parameters
    ----------
    others : int
        Nodes that can be asked.
    favourable : int
        How many of them would give the answer.
    k : int
        Sample size, at most `others`.
    alpha : int
        Answers needed, at most k.

    Returns
    -------
    float
        Upper tail of the hypergeometric distribution.

    Examples
    --------
    >>> sample_majority_probability(4, favourable=2, k=2, alpha=2)  # 1 of 6 pairs
    0.16666666666666...
    """
    population = count("others", others, at_least=1)
    good = count("favourable", favourable, at_most=population)
    size = count("k", k, at_least=1, at_most=population)
    needed = count("alpha", alpha, at_least=0, at_most=size)
    # Exact integers: binomial coefficients of a few thousand nodes are cheap and have no error.
    ways = sum(
        math.comb(good, hits) * math.comb(population - good, size - hits)
        for hits in range(needed, min(size, good) + 1)
    )
    total = math.comb(population, size)
    return ways / total


class SampleSuccess(NamedTuple):
    """One sample of an honest node when every honest node already agrees.

    Attributes
    ----------
    success : float
        Probability of alpha answers for the honest colour, Byzantine nodes voting against it.
    minority_success : float
        Probability of alpha answers for the Byzantine colour.
    """

    success: float
    minority_success: float


def sample_success(n_nodes: int, *, byzantine_share: float, k: int, alpha: int) -> SampleSuccess:
    """Probability that a sample succeeds, for either colour.

    Parameters
    ----------
    n_nodes : int
        n, at least 2.
    byzantine_share : float
        Share of Byzantine nodes, rounded to whole nodes, below 1.
    k, alpha : int
        Sample size and answers needed.

    Returns
    -------
    SampleSuccess
        Exact hypergeometric tails.

    Examples
    --------
    >>> one = sample_success(100, byzantine_share=0.33, k=20, alpha=15)
    >>> round(one.success, 10), round(one.minority_success, 14)
    (0.2720511318, 2.370787127e-05)
    """
    n = count("n_nodes", n_nodes, at_least=2)
    byzantine = round(number("byzantine_share", byzantine_share, at_least=0.0, below=1.0) * n)
    honest = n - 1 - byzantine
    return SampleSuccess(
        sample_majority_probability(n - 1, favourable=honest, k=k, alpha=alpha),
        sample_majority_probability(n - 1, favourable=byzantine, k=k, alpha=alpha),
    )


def expected_rounds_to_run(success: float, *, beta: int) -> float:
    """Mean number of samples until beta successes in a row, (1 - p^beta) / ((1 - p) p^beta).

    Parameters
    ----------
    success : float
        p, the probability that a sample succeeds, in [0, 1].
    beta : int
        Length of the run, at least 1.

    Returns
    -------
    float
        Samples; beta for p = 1, infinity for p = 0.

    Examples
    --------
    >>> round(expected_rounds_to_run(0.5, beta=3), 12)
    14.0
    >>> expected_rounds_to_run(1.0, beta=20)
    20.0
    """
    p = probability("success", success)
    length = count("beta", beta, at_least=1)
    if p == 0.0:
        return math.inf
    if p == 1.0:
        return float(length)
    log_run = length * math.log(p)
    if log_run < -700.0:
        return math.inf
    return -math.expm1(log_run) / ((1.0 - p) * math.exp(log_run))


def beta_run_log10_probability(success: float, *, beta: int) -> float:
    """Decimal logarithm of the probability that the next beta samples all succeed.

    Parameters
    ----------
    success : float
        p, the probability that a sample succeeds, in [0, 1].
    beta : int
        Length of the run, at least 1.

    Returns
    -------
    float
        beta log10 p; minus infinity for p = 0.

    Examples
    --------
    >>> beta_run_log10_probability(0.01, beta=20)
    -40.0
    """
    p = probability("success", success)
    length = count("beta", beta, at_least=1)
    return length * math.log10(p) if p > 0.0 else -math.inf


class SlushOutcome(NamedTuple):
    """Slush from a given number of red nodes.

    Attributes
    ----------
    expected_rounds : float
        Mean number of rounds until all nodes have one colour.
    all_red_probability : float
        Probability that the colour is red.
    """

    expected_rounds: float
    all_red_probability: float


def _binomial(trials: int, p: float) -> Array:
    """Probabilities of 0 .. trials successes."""
    j = np.arange(trials + 1)
    if p <= 0.0 or p >= 1.0:
        certain: Array = np.asarray(j == (trials if p >= 1.0 else 0), dtype=np.float64)
        return certain
    log_choose = (
        special.gammaln(trials + 1) - special.gammaln(j + 1) - special.gammaln(trials - j + 1)
    )
    result: Array = np.exp(log_choose + j * math.log(p) + (trials - j) * math.log1p(-p))
    return result


def _slush_row(n: int, red: int, k: int, alpha: int) -> Array:
    """Distribution of the number of red nodes one round after `red`."""
    to_red = sample_majority_probability(n - 1, favourable=red, k=k, alpha=alpha)
    to_blue = sample_majority_probability(n - 1, favourable=n - red, k=k, alpha=alpha)
    staying = _binomial(red, to_blue)[::-1]
    joining = _binomial(n - red, to_red)
    return np.asarray(np.convolve(staying, joining), dtype=np.float64)


def slush(n_nodes: int, *, k: int, alpha: int, start_red: int) -> SlushOutcome:
    """Exact outcome of Slush when all nodes sample at the same time.

    A node flips when at least alpha of its k answers have the other colour; the number of red
    nodes then changes by two binomials.  The chain on 0 .. n is solved as a linear system.

    Parameters
    ----------
    n_nodes : int
        n, at least 2.
    k, alpha : int
        Sample size, at most n - 1, and answers needed to flip, more than k / 2.
    start_red : int
        Red nodes at the start, 0 .. n.

    Returns
    -------
    SlushOutcome
        Exact to rounding.  Some slowly drifting settings have astronomically long times; small
        networks can also swap their colours for ever (infinite time).

    Examples
    --------
    >>> outcome = slush(20, k=10, alpha=7, start_red=12)
    >>> round(outcome.expected_rounds, 9), round(outcome.all_red_probability, 10)
    (2.319675234, 0.9997843461)
    """
    n = count("n_nodes", n_nodes, at_least=2, at_most=4000)
    size = count("k", k, at_least=1, at_most=n - 1)
    needed = count("alpha", alpha, at_least=size // 2 + 1, at_most=size)
    start = count("start_red", start_red, at_most=n)
    if start in (0, n):
        return SlushOutcome(0.0, start / n)
    rows = np.array([_slush_row(n, red, size, needed) for red in range(1, n)])
    between, to_ends = rows[:, 1:n], rows[:, [0, n]]
    ending = _leading_to(between, to_ends.sum(axis=1) > 0.0)
    endless = _leading_to(between, ~ending)
    if not ending[start - 1]:
        return SlushOutcome(math.inf, 0.0)
    inner = np.ix_(ending, ending)
    system = -between[inner]
    # The diagonal from the other entries: 1 - P(stay) loses its digits where moves are rare.
    leaving = between[ending].sum(axis=1) - np.diag(between)[ending] + to_ends[ending].sum(axis=1)
    np.fill_diagonal(system, leaving)
    right = np.column_stack([np.ones(int(ending.sum())), to_ends[ending, 1]])
    rounds, red = np.linalg.solve(system, right)[int(ending[: start - 1].sum())]
    return SlushOutcome(math.inf if endless[start - 1] else float(rounds), float(red))


def _leading_to(between: Array, targets: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """States from which some target can be reached, the targets included."""
    found = targets
    while True:
        wider = found | (between[:, found].sum(axis=1) > 0.0)
        if np.array_equal(wider, found):
            return found
        found = wider
