"""Majority quorums: their size and how often one is up.

Nodes fail independently and are down a share p of the time; a group of n works while a majority
of floor(n/2) + 1 is up.
"""

from __future__ import annotations

from typing import NamedTuple

from scipy import special

from consensus_lab.theory._checks import count, probability

MINUTES_PER_YEAR = 365.25 * 24 * 60
"""A Julian year, minutes."""


def majority(n: int) -> int:
    """Smallest number of nodes of which any two groups intersect, floor(n/2) + 1.

    Parameters
    ----------
    n : int
        Group size, at least 1.

    Returns
    -------
    int
        The size of a majority.

    Examples
    --------
    >>> [majority(n) for n in (3, 4, 5)]
    [2, 3, 3]
    """
    return count("n", n, at_least=1) // 2 + 1


class QuorumAvailability(NamedTuple):
    """How often a majority is up.

    Attributes
    ----------
    available : float
        Probability that a majority is up.
    unavailable : float
        Probability that it is not, to full relative precision.
    minutes_down_per_year : float
        The same in minutes of a Julian year.
    """

    available: float
    unavailable: float
    minutes_down_per_year: float


def quorum_availability(n: int, *, down: float) -> QuorumAvailability:
    """Availability of a majority of n independent nodes.

    unavailable = P(Binomial(n, p) > n - majority) = I_p(n - majority + 1, majority).

    Parameters
    ----------
    n : int
        Group size, at least 1.
    down : float
        p, the share of time that a node is down, in [0, 1].

    Returns
    -------
    QuorumAvailability
        Exact.

    Examples
    --------
    Five nodes that are each down 1 % of the time fail together five minutes a year:

    >>> round(quorum_availability(5, down=0.01).minutes_down_per_year, 2)
    5.18
    """
    needed = majority(n)
    p = probability("down", down)
    unavailable = float(special.betainc(n - needed + 1, needed, p))
    available = float(special.betainc(needed, n - needed + 1, 1.0 - p))
    return QuorumAvailability(available, unavailable, unavailable * MINUTES_PER_YEAR)
