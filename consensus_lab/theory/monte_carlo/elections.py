"""Raft's elections by simulation: one term, and term after term until there is a leader.

Theory of operation (Ongaro 2014 chapter 9, his steps).  Every live server draws a timeout; one that
has not voted when it ends votes for itself and asks the others, each request with its own latency.
A server votes for the first that asks it.  `split_votes` is one term of that.  `election_time` goes
on: a granted vote or a new term restarts the voter's timer with a fresh draw, a candidate restarts
its own, answers take time too, a higher term makes its receiver a follower; the election ends when
a candidate holds a majority of the whole cluster.  Logs are equal; disks and processors take no
time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from consensus_lab.theory._checks import count, number
from consensus_lab.theory.monte_carlo.estimate import Estimate, of_count, of_samples
from consensus_lab.theory.quorums import majority

EVENTS_MAX = 4096
"""Messages in flight in one election; far more than any live cluster needs."""

REQUEST, GRANT, REFUSE = 0, 1, 2


@njit(cache=True)
def _split_terms(
    live: int, needed: int, low: float, high: float, trials: int, rng: np.random.Generator
) -> int:  # pragma: no cover - compiled
    splits = 0
    timeouts = np.empty(live)
    arrival = np.empty((live, live))
    vote = np.empty(live, np.int64)
    votes = np.empty(live, np.int64)
    for _ in range(trials):
        for i in range(live):
            timeouts[i] = rng.random()
        order = np.argsort(timeouts)
        arrival[:] = np.inf
        vote[:] = -1
        # In the order of their timeouts: who was asked before its timeout is no candidate.
        for i in order:
            first = np.argmin(arrival[:, i])
            if arrival[first, i] <= timeouts[i]:
                continue
            vote[i] = i
            for j in range(live):
                if j != i:
                    arrival[i, j] = timeouts[i] + low + (high - low) * rng.random()
        votes[:] = 0
        for i in range(live):
            if vote[i] < 0:
                vote[i] = np.argmin(arrival[:, i])
            votes[vote[i]] += 1
        if votes.max() < needed:
            splits += 1
    return splits


def split_votes(
    cluster: int,
    *,
    live: int,
    latency_low: float,
    latency_high: float,
    trials: int,
    rng: np.random.Generator,
) -> Estimate:
    """Share of terms without a leader, with uniformly random one-way latencies.

    Parameters
    ----------
    cluster, live : int
        Servers in the configuration and alive, at least a majority.
    latency_low, latency_high : float
        Range of the latency, in widths of the timeout range.
    trials : int
        Terms.
    rng : numpy.random.Generator
        Source of all randomness.

    Returns
    -------
    Estimate
        A probability.

    Examples
    --------
    The dissertation reads about 16 % off its figure:

    >>> estimate = split_votes(5, live=4, latency_low=0.1, latency_high=0.2, trials=20_000,
    ...                        rng=np.random.default_rng(1))
    >>> 0.15 < estimate.mean < 0.175
    True
    """
    n = count("cluster", cluster, at_least=1)
    s = count("live", live, at_least=majority(n), at_most=n)
    low = number("latency_low", latency_low, at_least=0.0)
    high = number("latency_high", latency_high, at_least=low)
    terms = count("trials", trials, at_least=1)
    return of_count(int(_split_terms(s, majority(n), low, high, terms, rng)), terms)


@njit(cache=True)
def _one_election(
    live: int,
    needed: int,
    timeout: NDArray[np.float64],
    latency: NDArray[np.float64],
    rng: np.random.Generator,
) -> tuple[float, int]:  # pragma: no cover - compiled
    """Time until a candidate holds a majority, and its term."""
    width, delay_width = timeout[1] - timeout[0], latency[1] - latency[0]
    deadline = timeout[0] + width * rng.random(live)
    term = np.zeros(live, np.int64)
    voted = np.full(live, -1)
    votes = np.zeros(live, np.int64)
    candidate = np.zeros(live, np.bool_)
    # Messages in flight: arrival, kind, sender, receiver, term; the earliest is searched for.
    arrival = np.full(EVENTS_MAX, np.inf)
    message = np.zeros((EVENTS_MAX, 4), np.int64)
    used = 0
    while True:
        timer = np.argmin(deadline)
        next_message = np.argmin(arrival[: used + 1])
        if deadline[timer] < arrival[next_message]:
            now, node = deadline[timer], timer
            term[node] += 1
            voted[node], votes[node], candidate[node] = node, 1, True
            deadline[node] = now + timeout[0] + width * rng.random()
            if needed == 1:
                return now, term[node]
            for other in range(live):
                if other != node:
                    arrival[used] = now + latency[0] + delay_width * rng.random()
                    message[used] = (REQUEST, node, other, term[node])
                    used += 1
            continue
        now = arrival[next_message]
        kind, sender, node, its_term = message[next_message]
        used -= 1
        arrival[next_message], message[next_message] = arrival[used], message[used]
        arrival[used] = np.inf
        if its_term > term[node]:
            term[node], voted[node], candidate[node] = its_term, -1, False
        if kind == REQUEST:
            grant = its_term == term[node] and voted[node] in (-1, sender)
            if grant:
                voted[node] = sender
                deadline[node] = now + timeout[0] + width * rng.random()
            arrival[used] = now + latency[0] + delay_width * rng.random()
            message[used] = (GRANT if grant else REFUSE, node, sender, term[node])
            used += 1
        elif kind == GRANT and candidate[node] and its_term == term[node]:
            votes[node] += 1
            if votes[node] >= needed:
                return now, term[node]


class Elections(NamedTuple):
    """Simulated elections.

    Attributes
    ----------
    times : numpy.ndarray
        Time of each, in the unit of the timeouts.
    terms : numpy.ndarray
        Term of each leader; the first is 1.
    """

    times: NDArray[np.float64]
    terms: NDArray[np.int64]

    @property
    def time(self) -> Estimate:
        """Mean election time."""
        return of_samples(self.times)

    @property
    def term(self) -> Estimate:
        """Mean number of terms."""
        return of_samples(self.terms)

    @property
    def more_than_one_term(self) -> Estimate:
        """Share of elections with more than one term."""
        return of_count(int(np.sum(self.terms > 1)), len(self.terms))


def election_times(
    cluster: int,
    *,
    live: int,
    timeout: tuple[float, float],
    latency: tuple[float, float],
    runs: int,
    rng: np.random.Generator,
) -> Elections:
    """Elections from fresh timers to a leader, with uniform timeouts and one-way latencies.

    Parameters
    ----------
    cluster, live : int
        Servers in the configuration and alive, at least a majority.
    timeout, latency : tuple of float
        Ranges (low, high) in any common unit of time.
    runs : int
        Elections.
    rng : numpy.random.Generator
        Source of all randomness.

    Returns
    -------
    Elections
        Times and terms.

    Examples
    --------
    >>> elections = election_times(3, live=2, timeout=(150.0, 300.0), latency=(0.5, 1.5),
    ...                            runs=5000, rng=np.random.default_rng(1))
    >>> 202 < elections.time.mean < 207
    True
    """
    n = count("cluster", cluster, at_least=1)
    s = count("live", live, at_least=majority(n), at_most=n)
    soonest = number("timeout", timeout[0], above=0.0)
    fastest = number("latency", latency[0], at_least=0.0)
    wait = np.array([soonest, number("timeout", timeout[1], at_least=soonest)])
    trip = np.array([fastest, number("latency", latency[1], at_least=fastest)])
    elections = [
        _one_election(s, majority(n), wait, trip, rng)
        for _ in range(count("runs", runs, at_least=2))
    ]
    return Elections(
        np.array([time for time, _ in elections]), np.array([term for _, term in elections])
    )
