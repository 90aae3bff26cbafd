"""What may happen in a run besides honest relay.

Pools with gateways, withholding ones too; nodes that are off for a while; partitions that heal.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy
from numpy.random import Generator

from consensus_lab.gossip.chance import jitter_per_million
from consensus_lab.nakamoto.relay_withholding import Strategy
from consensus_lab.network.arrays import Network, eclipsed
from consensus_lab.node import ParameterError
from consensus_lab.sim.streams import array_stream


@dataclass(frozen=True)
class Pool:
    """Miners that work as one.

    Attributes
    ----------
    gateways : tuple of int
        Nodes at which the pool's blocks enter the network, all at once.  The pool's hash power is
        that of these nodes together.
    strategy : Strategy or None
        How the pool withholds its blocks; None for an honest one.
    """

    gateways: tuple[int, ...]
    strategy: Strategy | None = None


@dataclass(frozen=True)
class Outage:
    """A node is off from `start_s` until `end_s` (infinity: for good).

    What it had accepted it keeps; everything else is lost, and so is what is sent to it.  It finds
    no blocks.  When it is back it asks its neighbours what it missed.
    """

    node: int
    start_s: float
    end_s: float = float("inf")


@dataclass(frozen=True)
class Partition:
    """Links are cut from `start_s` until `end_s`; then both ends tell each other what they have.

    Attributes
    ----------
    group : tuple of int
        Nodes of one side: all links between them and the others are cut.
    links : tuple of pairs of int
        Links that are cut besides.
    """

    start_s: float
    end_s: float
    group: tuple[int, ...] = ()
    links: tuple[tuple[int, int], ...] = ()


def eclipse(
    network: Network,
    *,
    victims: Iterable[int],
    attackers: Iterable[int],
    start_s: float,
    end_s: float,
    feeds: bool = False,
) -> tuple[Network, Partition]:
    """Victims whose links all go to attackers, and what the attackers do with them for a while.

    Parameters
    ----------
    network : Network
    victims, attackers : iterables of int
    start_s, end_s : float
        When the attack begins and ends, seconds; outside of it the attackers relay as any node.
    feeds : bool
        False: the attackers let nothing through, either way.  True: they and the victims are cut
        off together, so the victims see, and mine on, the chain that the attackers find.

    Returns
    -------
    tuple of Network and Partition
        To run on, and for `Conditions.partitions`.
    """
    victims, attackers = sorted(set(victims)), sorted(set(attackers))
    group = (*victims, *attackers) if feeds else tuple(victims)
    dark = eclipsed(network, victims=victims, attackers=attackers)
    return dark, Partition(start_s, end_s, group=group)


@dataclass(frozen=True)
class Conditions:
    """The circumstances of a run; as they stand, none.

    Attributes
    ----------
    pools : tuple of Pool
        A node is a gateway of one pool at most; nodes of no pool mine alone.
    outages : tuple of Outage
        Gateways stay on.
    partitions : tuple of Partition
    jitter : float
        Each message takes up to that share of its link's latency longer, uniformly.
    """

    pools: tuple[Pool, ...] = ()
    outages: tuple[Outage, ...] = ()
    partitions: tuple[Partition, ...] = ()
    jitter: float = 0.0

    def validated(self, n_nodes: int) -> Conditions:
        """These conditions, or a `ParameterError` naming what is wrong with them."""
        _check_nodes("gateways", (g for pool in self.pools for g in pool.gateways), n_nodes)
        taken: set[int] = set()
        for pool in self.pools:
            if not pool.gateways:
                raise ParameterError("gateways", pool.gateways, "at least one node per pool")
            if taken.intersection(pool.gateways) or len(set(pool.gateways)) < len(pool.gateways):
                raise ParameterError("gateways", pool.gateways, "nodes of no other pool, each once")
            taken.update(pool.gateways)
            if pool.strategy is not None:
                pool.strategy.validated()
        jitter_per_million(self.jitter)
        _check_nodes("outages", (outage.node for outage in self.outages), n_nodes)
        for outage in self.outages:
            _check_span("outages", outage.start_s, outage.end_s)
            if outage.node in taken:
                raise ParameterError("outages", outage.node, "nodes that are no pool's gateway")
        for cut in self.partitions:
            _check_span("partitions", cut.start_s, cut.end_s)
            ends = (node for link in cut.links for node in link)
            _check_nodes("partitions", (*cut.group, *ends), n_nodes)
        return self

    def pool_of(self) -> dict[int, int]:
        """For each gateway, the place of its pool."""
        return {g: place for place, pool in enumerate(self.pools) for g in pool.gateways}


def _check_nodes(name: str, nodes: Iterable[int], n_nodes: int) -> None:
    for node in nodes:
        if not 0 <= node < n_nodes:
            raise ParameterError(name, node, f"nodes from 0 to {n_nodes - 1}")


def _check_span(name: str, start_s: float, end_s: float) -> None:
    if not 0.0 <= start_s < end_s:
        raise ParameterError(name, (start_s, end_s), "a start of at least 0 and an end after it")


def draw_outages(
    nodes: Iterable[int],
    *,
    session_s: float | numpy.ndarray,
    downtime_s: float | numpy.ndarray,
    until_s: float,
    seed: int = 0,
) -> tuple[Outage, ...]:
    """Churn in equilibrium: nodes that go off and come back, independently of each other.

    Each node alternates sessions and downtimes.  At time 0 it is on with the chance that it is on
    at any time, mean session / (mean session + mean downtime), and the interval under way is drawn
    as one met at a random moment: longer ones are met more often.

    Parameters
    ----------
    nodes : iterable of int
    session_s, downtime_s : float, or array of float
        Mean lengths of exponential laws, or measured lengths to draw from, seconds.
    until_s : float
        Outages that begin later are not drawn.
    seed : int
        Each node has a stream of its own.

    Examples
    --------
    >>> len(draw_outages(range(100), session_s=3600, downtime_s=3600, until_s=3600)) > 50
    True
    """
    laws = []
    for name, given in (("session_s", session_s), ("downtime_s", downtime_s)):
        lengths = numpy.atleast_1d(numpy.asarray(given, dtype=float))
        if not (len(lengths) and numpy.isfinite(lengths).all() and lengths.min() > 0):
            raise ParameterError(name, given, "numbers above 0")
        laws.append((lengths, numpy.ndim(given) == 0))
    (sessions, _), (downtimes, _) = laws
    share = sessions.mean() / (sessions.mean() + downtimes.mean())
    outages = []
    for node in nodes:
        generator = array_stream(seed, "churn", node)
        is_on = bool(generator.random() < share)
        now_s, following_s = 0.0, _rest(*laws[not is_on], generator)
        while now_s < until_s:
            if not is_on:
                outages.append(Outage(node, now_s, now_s + following_s))
            now_s += following_s
            is_on = not is_on
            following_s = _length(*laws[not is_on], generator)
    return tuple(outages)


def _length(lengths: numpy.ndarray, is_exponential: bool, generator: Generator) -> float:
    """One whole interval."""
    if is_exponential:
        return float(generator.exponential(lengths[0]))
    return float(generator.choice(lengths))


def _rest(lengths: numpy.ndarray, is_exponential: bool, generator: Generator) -> float:
    """What is left of the interval that is under way at a random moment."""
    if is_exponential:
        return float(generator.exponential(lengths[0]))
    met = generator.choice(lengths, p=lengths / lengths.sum())
    return float(met * (1.0 - generator.random()))
