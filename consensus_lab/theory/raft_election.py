"""How often Raft's votes split and how long an election takes.

Theory of operation (Ongaro 2014 chapter 9).  s of the cluster's n servers are alive; each draws an
election timeout uniformly from a range, which is the unit of time here: base timeout 1, timeouts in
[1, 2].  With a fixed one-way latency l the first server to time out gets its own vote and those of
all that do not time out within l of it.  A majority of n is out of reach when at least
c = s - floor(n/2) + 1 servers time out within l, and the gap between the first and the c-th of s
uniform draws is at most l with the probability that c - 1 or more of s uniform draws fall below l.
Terms are independent, so their number is geometric.
"""

from __future__ import annotations

from typing import NamedTuple

from scipy import special

from consensus_lab.node import ParameterError
from consensus_lab.theory._checks import count, number, probability
from consensus_lab.theory.quorums import majority


def _live(cluster: int, live: int) -> tuple[int, int]:
    """Check a cluster size and how many of it are alive: at least a majority must be."""
    n = count("cluster", cluster, at_least=1)
    return n, count("live", live, at_least=majority(n), at_most=n)


def raft_split_vote_probability(cluster: int, *, live: int, latency: float) -> float:
    """Probability that a term ends without a leader, with a fixed latency.

    P(Binomial(s, l) >= s - floor(n/2)) (Ongaro 2014 section 9.3, his closing sum).

    Parameters
    ----------
    cluster : int
        n, servers in the configuration, at least 1.
    live : int
        s, servers alive, at least a majority.
    latency : float
        l, one-way latency over the width of the timeout range, in [0, 1].

    Returns
    -------
    float
        A probability.

    Examples
    --------
    The dissertation: about 5.2 % for five servers, one failed, a tenth of the range:

    >>> round(raft_split_vote_probability(5, live=4, latency=0.1), 4)
    0.0523
    """
    n, s = _live(cluster, live)
    late = probability("latency", latency)
    votes_to_spare = s - n // 2
    if votes_to_spare > s:
        return 0.0
    return float(special.betainc(votes_to_spare, s - votes_to_spare + 1, late))


def _mean_square_free(low: float, high: float, power: int) -> float:
    """Integral over u in [0, 1] of (E max(1 - u - L, 0))^power for L uniform in [low, high]."""
    if high == low:
        return (1.0 - low) ** (power + 1) / (power + 1)
    width = high - low
    # y = 1 - u: from `low` to `high` the mean is (y - low)^2 / (2 width), above it y - middle.
    middle = (low + high) / 2.0
    partly = width ** (power + 1) / (2.0**power * (2 * power + 1))
    wholly = ((1.0 - middle) ** (power + 1) - (high - middle) ** (power + 1)) / (power + 1)
    return partly + wholly


def raft_split_vote_probability_bare_majority(
    cluster: int, *, latency_low: float, latency_high: float
) -> float:
    """Split votes with uniformly random latencies when only a bare majority is alive.

    Every live server must then vote for one candidate, so there is a leader exactly when the
    first request reaches each of the other s - 1 servers before its own timeout:
    1 - s * integral of (E max(1 - u - L, 0))^(s-1) du.  Derived here; Ongaro simulates it.

    Parameters
    ----------
    cluster : int
        n, servers in the configuration, at least 2.
    latency_low, latency_high : float
        Range of the one-way latency L over the width of the timeout range, within [0, 1].

    Returns
    -------
    float
        A probability.

    Examples
    --------
    The dissertation reads "nearly 40 %" off its figure for five servers and [0.1, 0.2]:

    >>> round(raft_split_vote_probability_bare_majority(5, latency_low=0.1, latency_high=0.2), 4)
    0.3859
    """
    s = majority(count("cluster", cluster, at_least=2))
    low = probability("latency_low", latency_low)
    high = number("latency_high", latency_high, at_least=low, at_most=1.0)
    return 1.0 - s * _mean_square_free(low, high, s - 1)


class ElectionTime(NamedTuple):
    """Expected times of an election, in widths of the timeout range.

    Attributes
    ----------
    first_timeout : float
        Mean of the earliest timeout above the base, 1 / (s + 1).
    terms : float
        Mean number of terms, 1 / (1 - split vote probability).
    without_split : float
        From the crash of the leader to the new one when the first term succeeds.
    election : float
        The same, with split votes.
    """

    first_timeout: float
    terms: float
    without_split: float
    election: float


def raft_election_time(
    cluster: int,
    *,
    live: int,
    latency: float,
    base_timeout: float = 1.0,
    heartbeat_interval: float = 0.5,
    disk_write: float = 0.0,
) -> ElectionTime:
    """Expected election time after a crash of the leader.

    E = (terms - 1)(b + 1/(s+1) + l) + (b + 1/(s+1) + 2 l + w - h/2): each split term costs a
    timeout and a latency; the crash falls uniformly between two heartbeats, so h/2 of the first
    timeout has passed already (Ongaro 2014 section 9.4).

    Parameters
    ----------
    cluster : int
        n, servers in the configuration.
    live : int
        s, servers alive, at least a majority.
    latency : float
        l, one-way latency, in widths of the timeout range, in [0, 1).
    base_timeout : float
        b, smallest timeout, in widths of the range.
    heartbeat_interval : float
        h, in widths of the range.
    disk_write : float
        w, one durable write, in widths of the range.

    Returns
    -------
    ElectionTime
        In widths of the timeout range.

    Raises
    ------
    ParameterError
        When every term splits.

    Examples
    --------
    >>> time = raft_election_time(5, live=4, latency=0.1)
    >>> round(time.terms, 8), round(time.election, 9)
    (1.05518624, 1.221742112)
    """
    n, s = _live(cluster, live)
    base = number("base_timeout", base_timeout, at_least=0.0)
    heartbeat = number("heartbeat_interval", heartbeat_interval, at_least=0.0)
    disk = number("disk_write", disk_write, at_least=0.0)
    split = raft_split_vote_probability(n, live=s, latency=latency)
    if split >= 1.0:
        raise ParameterError("latency", latency, "below 1, or every vote splits")
    first = 1.0 / (s + 1)
    terms = 1.0 / (1.0 - split)
    without_split = base + first + 2.0 * latency + disk - heartbeat / 2.0
    election = (terms - 1.0) * (base + first + latency) + without_split
    return ElectionTime(first, terms, without_split, election)
