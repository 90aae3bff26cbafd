"""A filled graph as integer arrays: the one form that both speeds are built from.

Here seconds become integer nanoseconds, once: the message-level engine's links (`engine_links`)
and the compiled path read the same numbers, so they can not differ by a rounding.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy

from consensus_lab.network.attributes import fill
from consensus_lab.network.geography import Geography
from consensus_lab.node import ParameterError
from consensus_lab.sim.links import NANOSECONDS_PER_SECOND, Bandwidth, Link, Links

if TYPE_CHECKING:
    import networkx

LATENCY_NS_MAX = 1 << 39
"""About nine minutes one way; the compiled path keeps a latency in 40 bits."""


@dataclass(frozen=True)
class Network:
    """Who is linked to whom, in compressed rows, and what lines and links cost.

    Attributes
    ----------
    offset : int64 array, n + 1
        The links of node v are offset[v] .. offset[v + 1] - 1.
    neighbour : int64 array
        The other end of each directed link, ascending per node.
    latency_ns : int64 array
        One way, per directed link; equal in both directions.
    upload, download : int64 array, n
        Bytes per second; 0 means that bytes take no time.
    hash_share : float array, n
        Sums to 1.
    region : tuple of str
    """

    offset: numpy.ndarray
    neighbour: numpy.ndarray
    latency_ns: numpy.ndarray
    upload: numpy.ndarray
    download: numpy.ndarray
    hash_share: numpy.ndarray
    region: tuple[str, ...] = ()

    @property
    def n_nodes(self) -> int:
        """How many nodes there are."""
        return len(self.offset) - 1

    @property
    def n_links(self) -> int:
        """How many links there are, each counted once."""
        return len(self.neighbour) // 2

    def neighbours(self, node: int) -> tuple[int, ...]:
        """The nodes linked to this one, ascending."""
        return tuple(self.neighbour[self.offset[node] : self.offset[node + 1]].tolist())


def from_graph(
    graph: networkx.Graph, *, where: str | Geography = "simblock_2019", seed: int = 0
) -> Network:
    """Fill the graph from a geography (see `attributes.fill`) and turn it into arrays."""
    filled = fill(graph, where=where, seed=seed)
    nodes = [filled.nodes[node] for node in range(filled.number_of_nodes())]
    links = numpy.array(filled.edges, dtype=numpy.int64).reshape(-1, 2)
    latency_s = numpy.array([d["latency_s"] for _, _, d in filled.edges(data=True)])
    return from_edges(
        links,
        latency_s=latency_s,
        upload_bytes_per_s=numpy.array([d["upload_bytes_per_s"] for d in nodes]),
        download_bytes_per_s=numpy.array([d["download_bytes_per_s"] for d in nodes]),
        hash_share=numpy.array([d["hash_share"] for d in nodes]),
        region=tuple(str(d["region"]) for d in nodes),
    )


def from_edges(
    links: numpy.ndarray,
    *,
    latency_s: numpy.ndarray,
    upload_bytes_per_s: numpy.ndarray,
    download_bytes_per_s: numpy.ndarray,
    hash_share: numpy.ndarray,
    region: tuple[str, ...] = (),
) -> Network:
    """Arrays from arrays, for networks too large for a graph of Python objects.

    Parameters
    ----------
    links : integer array of shape (links, 2)
        Each link once, in either order.
    latency_s : float array
        One per link, seconds.
    upload_bytes_per_s, download_bytes_per_s, hash_share : float arrays
        One per node.
    """
    n = len(hash_share)
    latency_ns = numpy.rint(numpy.asarray(latency_s, dtype=float) * NANOSECONDS_PER_SECOND)
    if len(latency_ns) and not (latency_ns.min() >= 0 and latency_ns.max() < LATENCY_NS_MAX):
        raise ParameterError(
            "latency_s", float(numpy.max(latency_s)), f"from 0 to {LATENCY_NS_MAX // 10**9} s"
        )
    ends = numpy.concatenate([links, links[:, ::-1]]) if len(links) else links
    both = numpy.concatenate([latency_ns, latency_ns]).astype(numpy.int64)
    order = numpy.lexsort((ends[:, 1], ends[:, 0]))
    degree = numpy.bincount(ends[:, 0], minlength=n)
    shares = numpy.asarray(hash_share, dtype=float)
    return Network(
        offset=numpy.concatenate([[0], numpy.cumsum(degree)]).astype(numpy.int64),
        neighbour=ends[order, 1].astype(numpy.int64),
        latency_ns=both[order],
        upload=_rates(upload_bytes_per_s),
        download=_rates(download_bytes_per_s),
        hash_share=shares / math.fsum(shares),
        region=region,
    )


def reverse_links(network: Network) -> numpy.ndarray:
    """For each directed link, the same link in the other direction."""
    # Sorted by (sender, receiver), the reverse links are those sorted by (receiver, sender).
    sender = numpy.repeat(numpy.arange(network.n_nodes), numpy.diff(network.offset))
    return numpy.lexsort((sender, network.neighbour)).astype(numpy.int64)


def eclipsed(network: Network, *, victims: Iterable[int], attackers: Iterable[int]) -> Network:
    """The same network, where every link of a victim goes to an attacker.

    A link keeps its latency; the attackers take turns, and of two links of a victim to one
    attacker the faster one stays.

    Parameters
    ----------
    network : Network
    victims, attackers : iterables of int
        Nodes, none in both.
    """
    eclipsed_nodes, attacking = sorted(set(victims)), sorted(set(attackers))
    given = (*eclipsed_nodes, *attacking)
    if not attacking or len(set(given)) < len(given) or not set(given) <= {*range(network.n_nodes)}:
        raise ParameterError("attackers", attacking, "at least one node that is no victim")
    kept: dict[tuple[int, int], int] = {}
    for node in range(network.n_nodes):
        for place, link in enumerate(range(network.offset[node], network.offset[node + 1])):
            other, latency_ns = int(network.neighbour[link]), int(network.latency_ns[link])
            if node in eclipsed_nodes:
                pair = (node, attacking[place % len(attacking)])
                kept[pair] = min(latency_ns, kept.get(pair, latency_ns))
            elif node < other and other not in eclipsed_nodes:
                kept[node, other] = latency_ns
    return from_edges(
        numpy.array(list(kept), dtype=numpy.int64).reshape(-1, 2),
        latency_s=numpy.array(list(kept.values())) / NANOSECONDS_PER_SECOND,
        upload_bytes_per_s=numpy.where(network.upload == 0, numpy.inf, network.upload),
        download_bytes_per_s=numpy.where(network.download == 0, numpy.inf, network.download),
        hash_share=network.hash_share,
        region=network.region,
    )


def engine_links(network: Network) -> Links:
    """The same network for the message-level engine."""
    pairs = {}
    for node in range(network.n_nodes):
        for link in range(network.offset[node], network.offset[node + 1]):
            other = int(network.neighbour[link])
            pairs[node, other] = Link(int(network.latency_ns[link]))
    lines = {
        node: Bandwidth(int(network.upload[node]) or None, int(network.download[node]) or None)
        for node in range(network.n_nodes)
    }
    return Links(Link(0), pairs=pairs, bandwidth=lines)


def _rates(bytes_per_s: numpy.ndarray) -> numpy.ndarray:
    """Whole bytes per second, at least 1; an infinite rate becomes 0, "no time"."""
    rates = numpy.asarray(bytes_per_s, dtype=float)
    whole = numpy.maximum(numpy.rint(numpy.where(numpy.isinf(rates), 1.0, rates)), 1.0)
    result: numpy.ndarray = numpy.where(numpy.isinf(rates), 0.0, whole).astype(numpy.int64)
    return result
