"""Queues: what load does to latency, and closed loops of clients.

Conventions.  Waits and sojourns are in units of the mean service time; rho is the load, arrival
rate times service time, below 1.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from consensus_lab.theory._checks import count, number


def _load(load: float) -> float:
    """Check a load: below 1, or the queue grows for ever."""
    return number("load", load, at_least=0.0, below=1.0)


def mm1_wait(load: float) -> float:
    """Mean wait with Poisson arrivals and exponential service, rho / (1 - rho).

    Parameters
    ----------
    load : float
        rho, in [0, 1).

    Returns
    -------
    float
        Service times (M/M/1).

    Examples
    --------
    >>> mm1_wait(0.5)
    1.0
    """
    rho = _load(load)
    return rho / (1.0 - rho)


def mm1_sojourn(load: float) -> float:
    """Mean wait plus service of M/M/1, 1 / (1 - rho).

    Parameters
    ----------
    load : float
        rho, in [0, 1).

    Returns
    -------
    float
        Service times.

    Examples
    --------
    >>> mm1_sojourn(0.5)
    2.0
    """
    return 1.0 / (1.0 - _load(load))


def mm1_sojourn_quantile(load: float, *, share: float) -> float:
    """Quantile of the sojourn of M/M/1: it is exponential, -ln(1 - share) / (1 - rho).

    Parameters
    ----------
    load : float
        rho, in [0, 1).
    share : float
        The probability, in [0, 1).

    Returns
    -------
    float
        Service times.

    Examples
    --------
    >>> round(mm1_sojourn_quantile(0.5, share=0.99), 8)
    9.21034037
    """
    part = number("share", share, at_least=0.0, below=1.0)
    return -math.log1p(-part) * mm1_sojourn(load)


def md1_wait(load: float) -> float:
    """Mean wait with Poisson arrivals and constant service, rho / (2 (1 - rho)).

    Parameters
    ----------
    load : float
        rho, in [0, 1).

    Returns
    -------
    float
        Service times (M/D/1; Pollaczek-Khinchine).

    Examples
    --------
    >>> md1_wait(0.5)
    0.5
    """
    return mm1_wait(load) / 2.0


def md1_sojourn(load: float) -> float:
    """Mean wait plus service of M/D/1.

    Parameters
    ----------
    load : float
        rho, in [0, 1).

    Returns
    -------
    float
        Service times.

    Examples
    --------
    >>> md1_sojourn(0.5)
    1.5
    """
    return 1.0 + md1_wait(load)


class ClosedLoop(NamedTuple):
    """A fixed number of clients around one server.

    Attributes
    ----------
    throughput : float
        Requests per service time, at most 1.
    response : float
        Mean wait plus service, service times.
    throughput_bound : float
        min(1, N / (1 + Z)): what no queueing would allow (asymptotic bound).
    """

    throughput: float
    response: float
    throughput_bound: float


def closed_loop(clients: int, *, think: float) -> ClosedLoop:
    """Throughput and response time of N clients that think, send one request and wait for it.

    Exact mean value analysis (Reiser and Lavenberg 1980) of one exponential first-come
    first-served server and a delay Z: R_N = 1 + Q_(N-1), X_N = N / (R_N + Z), Q_N = X_N R_N.

    Parameters
    ----------
    clients : int
        N, at least 1.
    think : float
        Z, time between an answer and the next request (with network delay), service times.

    Returns
    -------
    ClosedLoop
        In units of the service time.

    Examples
    --------
    >>> loop = closed_loop(5, think=5.0)
    >>> round(loop.throughput, 10), round(loop.response, 9)
    (0.7151321787, 1.991714468)
    """
    n = count("clients", clients, at_least=1, at_most=10_000_000)
    pause = number("think", think, at_least=0.0)
    queue, throughput, response = 0.0, 0.0, 1.0
    for population in range(1, n + 1):
        response = 1.0 + queue
        throughput = population / (response + pause)
        queue = throughput * response
    return ClosedLoop(throughput, response, min(1.0, n / (1.0 + pause)))


def littles_law_throughput(clients: float, *, latency_s: float) -> float:
    """Throughput of clients that each keep one request in flight: N / latency.

    Parameters
    ----------
    clients : float
        N, requests in flight.
    latency_s : float
        Mean latency, seconds.

    Returns
    -------
    float
        Requests per second (Little 1961).

    Examples
    --------
    etcd's page prints 44,341/s for 1,000 clients at 22 ms:

    >>> round(littles_law_throughput(1000, latency_s=0.022))
    45455
    """
    in_flight = number("clients", clients, at_least=0.0)
    return in_flight / number("latency_s", latency_s, above=0.0)


def littles_law_latency_s(clients: float, *, throughput_per_s: float) -> float:
    """Mean latency of clients that each keep one request in flight: N / throughput.

    Parameters
    ----------
    clients : float
        N, requests in flight.
    throughput_per_s : float
        Requests per second.

    Returns
    -------
    float
        Seconds (Little 1961).

    Examples
    --------
    >>> littles_law_latency_s(1000, throughput_per_s=50_000)
    0.02
    """
    in_flight = number("clients", clients, at_least=0.0)
    return in_flight / number("throughput_per_s", throughput_per_s, above=0.0)
