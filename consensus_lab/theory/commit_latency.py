"""Commit latency of a leader-based log: an order statistic of its followers' round trips.

Theory of operation.  The leader counts itself: an entry commits with the (majority - 1)-th of the
answers of its live followers.  With independent round-trip times of distribution function F the
m-th smallest of N has F(T) distributed as Beta(m, N - m + 1): quantiles are F^-1 of beta quantiles,
the mean is the integral of F^-1 against the beta density.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import NamedTuple

from scipy import integrate, special

from consensus_lab.node import ParameterError
from consensus_lab.theory._checks import count, number
from consensus_lab.theory.quorums import majority


class LatencyLaw(NamedTuple):
    """A distribution of round-trip times.

    Attributes
    ----------
    name : str
        For people.
    quantile : callable
        F^-1 as a function of (p, 1 - p): both are given so that neither tail loses precision.
    """

    name: str
    quantile: Callable[[float, float], float]


def exponential_law(mean: float) -> LatencyLaw:
    """Exponential round trips."""
    m = number("mean", mean, above=0.0)
    return LatencyLaw(f"exponential(mean {m:g})", lambda p, q: -m * _log(p, q))


def shifted_exponential_law(shift: float, mean: float) -> LatencyLaw:
    """A fixed part and an exponential part."""
    start = number("shift", shift, at_least=0.0)
    m = number("mean", mean, above=0.0)
    return LatencyLaw(f"{start:g}+Exp(mean {m:g})", lambda p, q: start - m * _log(p, q))


def uniform_law(low: float, high: float) -> LatencyLaw:
    """Uniform round trips."""
    a = number("low", low)
    width = number("high", high, above=a) - a
    return LatencyLaw(f"uniform({a:g},{a + width:g})", lambda p, q: a + width * p)


def erlang_law(stages: int, mean: float) -> LatencyLaw:
    """Sum of equal exponential parts: two of them are two exponential one-way delays."""
    k = count("stages", stages, at_least=1)
    m = number("mean", mean, above=0.0)

    def quantile(p: float, q: float) -> float:
        unit = special.gammaincinv(k, p) if p < 0.5 else special.gammainccinv(k, q)
        return m / k * float(unit)

    return LatencyLaw(f"erlang{k}(mean {m:g})", quantile)


def normal_law(mean: float, sd: float) -> LatencyLaw:
    """Normally distributed round trips (negative ones are not cut off)."""
    m = number("mean", mean)
    s = number("sd", sd, above=0.0)
    return LatencyLaw(f"normal({m:g},{s:g})", lambda p, q: m + s * _normal_quantile(p, q))


def lognormal_law(mu: float, sigma: float) -> LatencyLaw:
    """Round trips whose logarithm is normal with mean mu and standard deviation sigma."""
    m = number("mu", mu)
    s = number("sigma", sigma, above=0.0)
    name = f"lognormal(mu={m:g},sigma={s:g})"
    return LatencyLaw(name, lambda p, q: math.exp(m + s * _normal_quantile(p, q)))


def _log(p: float, q: float) -> float:
    """ln(1 - p) from whichever of p and q = 1 - p is precise."""
    return math.log1p(-p) if p < 0.5 else math.log(q)


def _normal_quantile(p: float, q: float) -> float:
    """Standard normal quantile, precise in both tails."""
    return float(special.ndtri(p)) if p < 0.5 else -float(special.ndtri(q))


_NUMBER = r"\s*([-+0-9.eE]+)\s*"
_LAWS: tuple[tuple[str, Callable[..., LatencyLaw]], ...] = (
    (rf"exponential\(mean{_NUMBER}\)", exponential_law),
    (rf"(?:shifted exp:\s*)?{_NUMBER}\+\s*Exp\(mean{_NUMBER}\)", shifted_exponential_law),
    (rf"uniform\({_NUMBER},{_NUMBER}\)", uniform_law),
    (rf"erlang{_NUMBER}\(mean{_NUMBER}\)", erlang_law),
    (rf"normal\({_NUMBER},{_NUMBER}\)", normal_law),
    (rf"lognormal\(mu={_NUMBER},\s*sigma={_NUMBER}\)", lognormal_law),
)


def latency_law(text: str) -> LatencyLaw:
    """Read a law from its name, such as "exponential(mean 1)" or "lognormal(mu=0,sigma=0.5)".

    Parameters
    ----------
    text : str
        exponential(mean M), uniform(A,B), erlangK(mean M), normal(M,S),
        lognormal(mu=M,sigma=S) or S+Exp(mean M); what follows an equals sign after the law is a
        remark.

    Returns
    -------
    LatencyLaw
        The law, in the unit of its parameters.

    Raises
    ------
    ParameterError
        For an unknown law.

    Examples
    --------
    >>> latency_law("uniform(0,1)").quantile(0.25, 0.75)
    0.25
    """
    for pattern, make in _LAWS:
        found = re.match(pattern, text.strip())
        if found:
            return make(*(float(value) for value in found.groups()))
    raise ParameterError("text", text, "a law such as exponential(mean 1) or uniform(0,1)")


def order_statistic_quantile(law: LatencyLaw, *, order: int, of: int, share: float) -> float:
    """Quantile of the m-th smallest of N independent draws: F^-1(B^-1(share)).

    Parameters
    ----------
    law : LatencyLaw
        The common law.
    order, of : int
        m and N, 1 <= m <= N.
    share : float
        The probability, in (0, 1).

    Returns
    -------
    float
        In the law's unit.

    Examples
    --------
    >>> law = latency_law("exponential(mean 1)")
    >>> round(order_statistic_quantile(law, order=1, of=2, share=0.5), 10)
    0.3465735903
    """
    draws = count("of", of, at_least=1)
    m = count("order", order, at_least=1, at_most=draws)
    part = number("share", share, above=0.0, below=1.0)
    below = float(special.betaincinv(m, draws - m + 1, part))
    above = float(special.betaincinv(draws - m + 1, m, 1.0 - part))
    return law.quantile(below, above)


def order_statistic_mean(law: LatencyLaw, *, order: int, of: int) -> float:
    """Mean of the m-th smallest of N independent draws.

    Parameters
    ----------
    law : LatencyLaw
        The common law.
    order, of : int
        m and N, 1 <= m <= N.

    Returns
    -------
    float
        In the law's unit, to about twelve digits (adaptive quadrature over a logistic scale, so
        that both tails are smooth).

    Examples
    --------
    The fastest and the slower of two exponential round trips:

    >>> law = latency_law("exponential(mean 1)")
    >>> round(order_statistic_mean(law, order=1, of=2), 10)
    0.5
    >>> round(order_statistic_mean(law, order=2, of=2), 10)
    1.5
    """
    draws = count("of", of, at_least=1)
    m = count("order", order, at_least=1, at_most=draws)
    log_scale = -float(special.betaln(m, draws - m + 1))

    def weighted(x: float) -> float:
        # u = 1 / (1 + e^-x); the beta density times du/dx is u^m (1-u)^(N-m+1) / B.
        p, q = float(special.expit(x)), float(special.expit(-x))
        if p == 0.0 or q == 0.0:
            return 0.0
        density = math.exp(log_scale + m * math.log(p) + (draws - m + 1) * math.log(q))
        return law.quantile(p, q) * density

    centre = math.log(m / (draws - m + 1))
    total = 0.0
    for low, high in ((-700.0, centre - 8.0), (centre - 8.0, centre + 8.0), (centre + 8.0, 700.0)):
        part, _ = integrate.quad(weighted, low, high, epsabs=1e-13, epsrel=1e-13, limit=400)
        total += part
    return total


def commit_order(cluster: int, *, crashed_followers: int = 0) -> tuple[int, int]:
    """Which of how many answers commits an entry: (m, N).

    m = majority - 1, since the leader counts itself; N = cluster - 1 - crashed followers.

    Parameters
    ----------
    cluster : int
        Nodes in the configuration, at least 2.
    crashed_followers : int
        How many followers are down; a majority must be left.

    Returns
    -------
    tuple of int
        (m, N).

    Examples
    --------
    >>> commit_order(5, crashed_followers=1)
    (2, 3)
    """
    n = count("cluster", cluster, at_least=2)
    needed = majority(n) - 1
    down = count("crashed_followers", crashed_followers, at_most=n - 1 - needed)
    return needed, n - 1 - down


def commit_latency_mean(cluster: int, *, law: LatencyLaw, crashed_followers: int = 0) -> float:
    """Mean time from the leader's append to the commit, without disk and processing time.

    Parameters
    ----------
    cluster : int
        Nodes in the configuration, at least 2.
    law : LatencyLaw
        Round-trip times to the followers, independent.
    crashed_followers : int
        How many followers are down; a majority must be left.

    Returns
    -------
    float
        In the law's unit.

    Examples
    --------
    >>> law = latency_law("exponential(mean 1)")
    >>> round(commit_latency_mean(5, law=law, crashed_followers=2), 10)
    1.5
    """
    m, draws = commit_order(cluster, crashed_followers=crashed_followers)
    return order_statistic_mean(law, order=m, of=draws)


def commit_latency_quantile(
    cluster: int, *, law: LatencyLaw, share: float, crashed_followers: int = 0
) -> float:
    """Quantile of the time from the leader's append to the commit.

    Parameters
    ----------
    cluster : int
        Nodes in the configuration, at least 2.
    law : LatencyLaw
        Round-trip times to the followers, independent.
    share : float
        The probability, in (0, 1).
    crashed_followers : int
        How many followers are down; a majority must be left.

    Returns
    -------
    float
        In the law's unit.

    Examples
    --------
    >>> law = latency_law("uniform(0,1)")
    >>> round(commit_latency_quantile(3, law=law, share=0.99), 10)
    0.9
    """
    m, draws = commit_order(cluster, crashed_followers=crashed_followers)
    return order_statistic_quantile(law, order=m, of=draws, share=share)
