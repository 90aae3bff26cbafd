"""How fast and how surely gossip spreads: first-passage times, rumor rounds, fanout.

Theory of operation.  *First passage*: every link takes an independent Exp(1) time; from k informed
nodes of a complete graph the next is reached at rate k (n - k), so all moments are finite sums
(classical; Janson 1999).  *Rumor rounds*: in every round each node calls one other at random;
informed callers push, others pull.  With a rate-1 clock at each node instead of rounds the time
is a sum of exponentials again.  *Infect and die*: who hears for the first time tells f others;
the reached share solves s = 1 - e^(-f s), and everybody is reached when f exceeds ln n
(Kermarrec, Massoulie and Ganesh 2003).  *Random graphs*: leading orders in ln n (Bhamidi, van der
Hofstad and Hooghiemstra 2010; Ding, Kim, Lubetzky and Peres 2010), and the mean distance of random
regular graphs with its constant term (Tishby, Biham, Katzav and Kuehn 2022).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import special

from consensus_lab.theory._checks import choice, count, number, probability

EULER_GAMMA = float(np.euler_gamma)

RUMOR_MODES = ("push", "pull", "push-pull")


def harmonic_number(n: int) -> float:
    """Sum of 1/k for k = 1 .. n.

    Parameters
    ----------
    n : int
        At least 0.

    Returns
    -------
    float
        H_n.

    Examples
    --------
    >>> round(harmonic_number(4), 12)
    2.083333333333
    """
    n = count("n", n)
    return (
        float(special.digamma(n + 1) + EULER_GAMMA)
        if n > 64
        else math.fsum(1.0 / k for k in range(1, n + 1))
    )


class FirstPassage(NamedTuple):
    """First-passage times on a complete graph with Exp(1) links, in mean link times.

    Attributes
    ----------
    mean_arrival : float
        Mean time at which a node other than the source is reached, H_(n-1) / (n-1).
    everyone_mean, everyone_sd : float
        Mean, 2 H_(n-1) / n, and standard deviation of the time until all are reached.
    """

    mean_arrival: float
    everyone_mean: float
    everyone_sd: float


def _passage_rates(n: int, steps: int) -> np.ndarray:
    """Rates j (n - j) of the first `steps` steps."""
    informed = np.arange(1, steps + 1, dtype=float)
    return informed * (n - informed)


def complete_graph_first_passage(n_nodes: int) -> FirstPassage:
    """First-passage moments on the complete graph with independent Exp(1) links.

    T_k = sum_{j<=k} Exp(j (n - j)).

    Parameters
    ----------
    n_nodes : int
        n, at least 2.

    Returns
    -------
    FirstPassage
        Exact moments; for links with mean m multiply by m.

    Examples
    --------
    >>> times = complete_graph_first_passage(5)
    >>> round(times.mean_arrival, 10), round(times.everyone_sd, 10)
    (0.5208333333, 0.4249182928)
    """
    n = count("n_nodes", n_nodes, at_least=2)
    harmonic = harmonic_number(n - 1)
    return FirstPassage(
        mean_arrival=harmonic / (n - 1),
        everyone_mean=2.0 * harmonic / n,
        everyone_sd=math.sqrt(float(np.sum(_passage_rates(n, n - 1)[::-1] ** -2.0))),
    )


def complete_graph_share_time(n_nodes: int, *, share: float) -> float:
    """Mean time until a share of the other nodes is reached on the complete graph.

    E T_k = sum_{j<=k} 1 / (j (n - j)) with k the smallest count of at least share (n - 1).

    Parameters
    ----------
    n_nodes : int
        n, at least 2.
    share : float
        Share of the n - 1 nodes other than the source, in [0, 1].

    Returns
    -------
    float
        Mean link times (exact).

    Examples
    --------
    >>> round(complete_graph_share_time(10, share=0.5), 10)
    0.3028968254
    """
    n = count("n_nodes", n_nodes, at_least=2)
    reached = nodes_for_share(n - 1, probability("share", share))
    return float(np.sum(1.0 / _passage_rates(n, reached))) if reached else 0.0


def nodes_for_share(n_nodes: int, share: float) -> int:
    """Smallest number of nodes that is at least a share of them.

    Parameters
    ----------
    n_nodes : int
        At least 0.
    share : float
        In [0, 1]; a product that is whole up to rounding (0.99 * 100) counts as whole.

    Returns
    -------
    int
        ceil(share * n).

    Examples
    --------
    >>> nodes_for_share(99, 0.5), nodes_for_share(100, 0.99)
    (50, 99)
    """
    whole = count("n_nodes", n_nodes)
    part = probability("share", share)
    return math.ceil(part * whole * (1.0 - 1e-12))


def complete_graph_asynchronous_rumor_time(n_nodes: int, *, mode: str) -> float:
    """Mean time until everybody knows a rumor when each node calls at rate 1.

    2 H_(n-1) (n-1) / n for push or pull, half of it for push-pull: from k informed nodes the
    next is informed at rate k (n - k) / (n - 1), twice that when calls work both ways.

    Parameters
    ----------
    n_nodes : int
        n, at least 2.
    mode : str
        "push", "pull" or "push-pull".

    Returns
    -------
    float
        Mean times between two calls of a node (exact).

    Examples
    --------
    >>> round(complete_graph_asynchronous_rumor_time(100, mode="push"), 8)
    10.25120748
    """
    n = count("n_nodes", n_nodes, at_least=2)
    ways = 2.0 if choice("mode", mode, RUMOR_MODES) == "push-pull" else 1.0
    return 2.0 * harmonic_number(n - 1) * (n - 1) / n / ways


def rumor_rounds_leading_order(n_nodes: int, *, mode: str) -> float:
    """Leading order of the synchronous rounds until everybody knows a rumor.

    push: log2 n + ln n (Frieze and Grimmett 1985; Pittel 1987); push-pull: log3 n (Karp,
    Schindelhauer, Shenker and Voecking 2000).  The remainders are bounded (push) or of order
    ln ln n (push-pull).

    Parameters
    ----------
    n_nodes : int
        n, at least 2.
    mode : str
        "push" or "push-pull".

    Returns
    -------
    float
        Rounds.

    Examples
    --------
    >>> round(rumor_rounds_leading_order(100, mode="push"), 8)
    11.24902638
    """
    n = count("n_nodes", n_nodes, at_least=2)
    if choice("mode", mode, ("push", "push-pull")) == "push":
        return math.log2(n) + math.log(n)
    return math.log(n) / math.log(3.0)


def fanout_reached_fraction(fanout: float) -> float:
    """Share of a large network that infect-and-die gossip reaches once it takes off.

    The positive solution of s = 1 - e^(-f s), s = 1 + W(-f e^-f) / f with Lambert's W; 0 for
    f <= 1.

    Parameters
    ----------
    fanout : float
        f, how many others each node tells, at least 0.

    Returns
    -------
    float
        A share of the nodes, in the limit of many.

    Examples
    --------
    >>> round(fanout_reached_fraction(3), 10)
    0.9404797907
    """
    f = number("fanout", fanout, at_least=0.0)
    if f <= 1.0:
        return 0.0
    return 1.0 + float(special.lambertw(-f * math.exp(-f)).real) / f


def fanout_everyone_probability(n_nodes: int, *, fanout: float) -> float:
    """Probability that infect-and-die gossip reaches everybody, e^(-n e^-f).

    Limit for n to infinity with f = ln n + c: e^(-e^-c) (Kermarrec, Massoulie and Ganesh 2003).

    Parameters
    ----------
    n_nodes : int
        n, at least 1.
    fanout : float
        f, how many others each node tells, at least 0.

    Returns
    -------
    float
        An approximation; close for n in the hundreds (0.715 against 0.725 simulated for n = 1000
        and f = 8).

    Examples
    --------
    >>> round(fanout_everyone_probability(1000, fanout=8), 10)
    0.7150072275
    """
    n = count("n_nodes", n_nodes, at_least=1)
    return math.exp(-n * math.exp(-number("fanout", fanout, at_least=0.0)))


def random_graph_first_passage_leading_order(n_nodes: int, *, branching: float) -> float:
    """Leading order of the first-passage time between two typical nodes: ln n / (nu - 1).

    Parameters
    ----------
    n_nodes : int
        n, at least 2.
    branching : float
        nu, the mean number of further links of a node reached by a link: d - 1 for a random
        d-regular graph, the mean degree for G(n, p); above 1.

    Returns
    -------
    float
        Mean link times; the remainder is bounded (Bhamidi, van der Hofstad and Hooghiemstra
        2010).

    Examples
    --------
    >>> round(random_graph_first_passage_leading_order(100, branching=2), 9)
    4.605170186
    """
    n = count("n_nodes", n_nodes, at_least=2)
    return math.log(n) / (number("branching", branching, above=1.0) - 1.0)


def random_regular_flooding_leading_order(n_nodes: int, *, degree: int) -> float:
    """Leading order of the time until a random regular graph is flooded.

    (1 / (d - 2) + 1 / d) ln n: the typical time, and the last node waits for the best of its d
    links (Ding, Kim, Lubetzky and Peres 2010).

    Parameters
    ----------
    n_nodes : int
        n, at least 2.
    degree : int
        d, at least 3.

    Returns
    -------
    float
        Mean link times.

    Examples
    --------
    >>> round(random_regular_flooding_leading_order(100, degree=3), 9)
    6.140226915
    """
    n = count("n_nodes", n_nodes, at_least=2)
    d = count("degree", degree, at_least=3)
    return (1.0 / (d - 2) + 1.0 / d) * math.log(n)


def random_regular_mean_hops(n_nodes: int, *, degree: int) -> float:
    """Mean shortest path of a large random regular graph, hops.

    ln n / ln(d-1) + 1/2 - (ln d - ln(d-2) + gamma) / ln(d-1), with Euler's constant gamma
    (Tishby, Biham, Katzav and Kuehn 2022; the remainder is of order ln n / n).

    Parameters
    ----------
    n_nodes : int
        n, at least 2.
    degree : int
        d, at least 3.

    Returns
    -------
    float
        Hops.

    Examples
    --------
    >>> round(random_regular_mean_hops(1000, degree=8), 9)
    3.605414474
    """
    n = count("n_nodes", n_nodes, at_least=2)
    d = count("degree", degree, at_least=3)
    base = math.log(d - 1)
    return math.log(n) / base + 0.5 - (math.log(d / (d - 2)) + EULER_GAMMA) / base
