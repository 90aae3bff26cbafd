"""What longest-chain consensus tolerates under a bounded delay, and how fast confidence grows.

Theory of operation.  A message takes at most Delta; x = lambda Delta is that delay in mean block
intervals, c = 1 / x the block interval in delays (Pass, Seeman and Shelat).  The adversary has a
share beta of the hash power and orders deliveries.

Tolerance.  The chain of the honest miners grows at (1 - beta) / (1 + (1 - beta) x) in the worst
order; an adversary who mines faster than that wins by the private attack, one who mines slower
cannot win at all (Dembo et al. 2020; Gazi, Kiayias and Russell 2020: the bound is tight).  The two
older, sufficient conditions are kept beside it.

Latency.  Guo and Ren 2022 bound the probability that a block k deep is reversed, for the best
possible attack.  Their race counts a honest block only when no block was mined in the Delta before
it: p = (1 - beta) e^-x against 1 - p in the upper bounds, 1 - beta against beta in the lower.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import optimize, special

from consensus_lab.theory._checks import count, minority, number


def tolerated_share_tight(delay_intervals: float) -> float:
    """Largest adversarial share against which the longest chain is safe: the exact limit.

    The beta with beta = (1 - beta) / (1 + (1 - beta) x); equivalently 1/beta - 1/(1-beta) = x,
    where the attack of Pass, Seeman and Shelat 2017 begins (tight: Dembo et al. 2020; Gazi,
    Kiayias and Russell 2020).

    Parameters
    ----------
    delay_intervals : float
        x = lambda Delta, at least 0.

    Returns
    -------
    float
        beta, at most 1/2.

    Examples
    --------
    One block per delay leaves 38 %:

    >>> round(tolerated_share_tight(1.0), 10)
    0.3819660113
    """
    x = number("delay_intervals", delay_intervals, at_least=0.0)
    # beta^2 x - beta (2 + x) + 1 = 0, the smaller root without cancellation.
    return 2.0 / (2.0 + x + math.sqrt(4.0 + x * x))


def tolerated_share_pass_seeman_shelat(delay_intervals: float) -> float:
    """Share for which the proof of Pass, Seeman and Shelat 2017 guarantees consistency.

    The beta with (1 - beta)(1 - 2 x (1 - beta)) = beta, the limit of many small rounds of
    alpha (1 - (2 Delta + 2) alpha) > beta; 0 for x > 1/2.

    Parameters
    ----------
    delay_intervals : float
        x = lambda Delta, at least 0.

    Returns
    -------
    float
        beta, at most 1/2.

    Examples
    --------
    >>> round(tolerated_share_pass_seeman_shelat(0.1), 9)
    0.472135955
    """
    x = number("delay_intervals", delay_intervals, at_least=0.0)
    if x > 0.5:
        return 0.0
    # 2 x h^2 - 2 h + 1 = 0 for the honest share h.
    honest = 1.0 / (1.0 + math.sqrt(1.0 - 2.0 * x))
    return 1.0 - honest


def tolerated_share_ren_zhao(delay_intervals: float) -> float:
    """Share for which the "neat" condition guarantees safety: (1 - beta) e^(-2x(1-beta)) = beta.

    Honest blocks with no other honest block within Delta before or after them must outnumber
    the adversary's (Ren 2019); the same as c > 2 mu / ln(mu / nu) of Zhao et al. 2020.

    Parameters
    ----------
    delay_intervals : float
        x = lambda Delta, at least 0.

    Returns
    -------
    float
        beta, at most 1/2.

    Examples
    --------
    >>> round(tolerated_share_ren_zhao(1.0), 10)
    0.1560530006
    """
    x = number("delay_intervals", delay_intervals, at_least=0.0)

    def surplus(beta: float) -> float:
        return (1.0 - beta) * math.exp(-2.0 * x * (1.0 - beta)) - beta

    return float(optimize.brentq(surplus, 0.0, 0.5, xtol=1e-16, rtol=1e-14))


def _honest_advantage(adversarial_share: float, delay_intervals: float) -> tuple[float, float]:
    """Return 1 - beta and p = (1 - beta) e^-x."""
    beta = minority("adversarial_share", adversarial_share)
    x = number("delay_intervals", delay_intervals, at_least=0.0)
    return 1.0 - beta, (1.0 - beta) * math.exp(-x)


def guo_ren_closed_bounds(
    adversarial_share: float, *, delay_intervals: float, depth: int
) -> tuple[float, float]:
    """Closed bounds of the probability that a block `depth` deep is reversed (theorem 1).

    Upper: (2 + 2 sqrt(p / (1-p))) (4 p (1-p))^k with p = (1 - beta) e^-x, at most 1; lower:
    (4 beta (1-beta))^k / sqrt(k) (Guo and Ren 2022, theorem 1).

    Parameters
    ----------
    adversarial_share : float
        beta, in [0, 1/2).
    delay_intervals : float
        x = lambda Delta, at least 0.  Where (1 - beta) e^-x is not above 1/2 the theorem promises
        nothing and the upper bound is 1.
    depth : int
        k, at least 1.

    Returns
    -------
    tuple of float
        (lower, upper).

    Examples
    --------
    >>> lower, upper = guo_ren_closed_bounds(0.05, delay_intervals=0.0, depth=3)
    >>> round(lower, 12), round(upper, 11)
    (0.003960045496, 0.07351337571)
    """
    honest, p = _honest_advantage(adversarial_share, delay_intervals)
    k = count("depth", depth, at_least=1)
    lower = (4.0 * honest * (1.0 - honest)) ** k / math.sqrt(k)
    if p <= 0.5 or p == 1.0:
        return lower, 1.0 if p <= 0.5 else 0.0
    upper = (2.0 + 2.0 * math.sqrt(p / (1.0 - p))) * (4.0 * p * (1.0 - p)) ** k
    return lower, min(1.0, upper)


def _reversal(p: float, k: int, spare: int) -> float:
    """Probability that a race with honest chance p per block still goes to the adversary.

    The adversary starts with a lead L >= 0, P(L = i) = (1 - r) r^i with r = (1-p)/p; then
    2 k - L blocks are mined, of which he needs more than k - L - 1; when he has j <= k - 1 - L of
    them he still catches up from 2 (k - L - j) - 1 - spare behind with chance r^that.
    """
    q = 1.0 - p
    if q == 0.0:
        return 0.0
    r = q / p
    total = r**k
    for lead in range(k):
        mined = 2 * k - lead
        j = np.arange(k - lead)
        log_choose = (
            special.gammaln(mined + 1) - special.gammaln(j + 1) - special.gammaln(mined - j + 1)
        )
        weight = np.exp(log_choose + j * math.log(q) + (mined - j) * math.log(p))
        behind = 2 * (k - lead - j) - 1 + spare
        outright = float(special.betainc(k - lead, k + 1, q))
        total += (1.0 - r) * r**lead * (outright + float(np.sum(weight * r**behind)))
    return min(1.0, total)


def guo_ren_exact_bounds(
    adversarial_share: float, *, delay_intervals: float, depth: int
) -> tuple[float, float]:
    """Sharper bounds of the probability that a block `depth` deep is reversed (theorem 2).

    Upper: the race with p = (1 - beta) e^-x per block; lower: with 1 - beta, one block more to
    catch up (Guo and Ren 2022, theorem 2).  For Bitcoin with Delta = 10 s, beta = 10 % and six
    confirmations they give the 0.11 % to 0.35 % of the paper's abstract.

    Parameters
    ----------
    adversarial_share : float
        beta, in [0, 1/2).
    delay_intervals : float
        x = lambda Delta, at least 0.  Where (1 - beta) e^-x is not above 1/2 the theorem promises
        nothing and the upper bound is 1.
    depth : int
        k, at least 1.

    Returns
    -------
    tuple of float
        (lower, upper).

    Examples
    --------
    >>> lower, upper = guo_ren_exact_bounds(0.1, delay_intervals=1 / 60, depth=6)
    >>> round(100 * lower, 2), round(100 * upper, 2)
    (0.11, 0.35)
    """
    honest, p = _honest_advantage(adversarial_share, delay_intervals)
    k = count("depth", depth, at_least=1)
    return _reversal(honest, k, 1), _reversal(p, k, 0) if p > 0.5 else 1.0
