"""Fills what a graph does not say from a geography, and refuses what is wrong with a reason.

A node's attributes are `region`, `hash_share`, `upload_bytes_per_s`, `download_bytes_per_s`; a
link's is `latency_s` (one way, the same in both directions).  Any of them may be missing.  An
infinite rate means that bytes take no time.  Latencies and regions are drawn from streams of
their own in the order of the nodes, so giving one node its region does not move another's.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from consensus_lab.network.geography import Geography, geography, pareto_latency_s
from consensus_lab.node import ParameterError
from consensus_lab.sim.streams import array_stream

if TYPE_CHECKING:
    import networkx

RATES = ("upload_bytes_per_s", "download_bytes_per_s")


def fill(
    graph: networkx.Graph, *, where: str | Geography = "simblock_2019", seed: int = 0
) -> networkx.Graph:
    """A new graph with nodes 0..n-1 and every attribute present and checked.

    Parameters
    ----------
    graph : networkx.Graph
        Anyone's graph.  Nodes that are not 0..n-1 are renumbered in sorted order and keep their
        name as the attribute `label`.  A directed graph must have every link both ways.
    where : str or Geography
        Fills what is missing.
    seed : int
        Of the run; for regions and latencies that are drawn.

    Raises
    ------
    ParameterError
        Naming what is wrong: no nodes, not connected, a link to itself, a one-way link, two
        latencies for one link, a negative or undefined number, no hash power at all.

    Examples
    --------
    >>> import networkx
    >>> filled = fill(networkx.path_graph(2), where="single_region")
    >>> filled.edges[0, 1]["latency_s"], filled.nodes[0]["hash_share"]
    (0.00025, 0.5)
    """
    place = geography(where) if isinstance(where, str) else where
    filled = _undirected(graph)
    _check_shape(filled)
    filled = _numbered(filled)
    _fill_regions(filled, place, seed)
    _fill_rates(filled, place)
    _fill_hash_shares(filled)
    _fill_latencies(filled, place, seed)
    return filled


def check(graph: networkx.Graph) -> None:
    """Raise the `ParameterError` that `fill` would raise for the shape of this graph."""
    _check_shape(_undirected(graph))


def with_pools(
    graph: networkx.Graph, pool_shares: Iterable[float], *, seed: int = 0, gateways: int = 1,
    regions: Sequence[str] = (), line_bytes_per_s: float | None = None,
) -> networkx.Graph:  # fmt: skip
    """Give the hash power to mining pools at nodes drawn at random; all others mine nothing.

    Parameters
    ----------
    graph : networkx.Graph
        Already filled; not changed.
    pool_shares : iterable of float
        Hash power of each pool, in any unit.
    seed : int
        Of the run.
    gateways : int
        Nodes of each pool; its hash power is split evenly over them.
    regions : sequence of str
        Of each pool; its nodes are drawn there while that region has any left.
    line_bytes_per_s : float, optional
        Both ways, of every pool's nodes; their own lines by default.
    """
    shares = [float(share) for share in pool_shares]
    n = graph.number_of_nodes()
    if not shares or min(shares) < 0 or not sum(shares) > 0:
        raise ParameterError("pool_shares", shares, "at least one share, none negative, not all 0")
    if gateways < 1 or gateways * len(shares) > n:
        raise ParameterError("gateways", gateways, f"from 1 to {n // len(shares)} for {n} nodes")
    if regions and len(regions) != len(shares):
        raise ParameterError("regions", len(regions), f"one per pool ({len(shares)})")
    order = array_stream(seed, "network", "pools").permutation(n).tolist()
    chosen = [
        _taken(order, graph, regions[place // gateways] if regions else None)
        for place in range(gateways * len(shares))
    ]
    copy = graph.copy()
    for node in copy:
        copy.nodes[node]["hash_share"] = 0.0
    for place, node in enumerate(chosen):
        share = shares[place // gateways] / gateways / sum(shares)
        copy.nodes[node]["hash_share"] = share
        if line_bytes_per_s is not None:
            copy.nodes[node].update(dict.fromkeys(RATES, line_bytes_per_s))
    return copy


def _taken(order: list[int], graph: networkx.Graph, region: str | None) -> int:
    """Take out the first node of that region, or the first of all where it has none."""
    places = (i for i, v in enumerate(order) if region in (None, graph.nodes[v].get("region")))
    return order.pop(next(places, 0))


def _undirected(graph: networkx.Graph) -> networkx.Graph:
    import networkx

    if not isinstance(graph, networkx.Graph):
        raise ParameterError("graph", type(graph).__name__, "a networkx.Graph")
    if graph.is_multigraph():
        raise ParameterError("graph", type(graph).__name__, "without parallel links")
    if not graph.is_directed():
        return networkx.Graph(graph)
    for a, b, attributes in graph.edges(data=True):
        if not graph.has_edge(b, a):
            raise ParameterError("link", f"{a} -> {b}", "both ways; it is one-way")
        back = graph.edges[b, a].get("latency_s")
        if attributes.get("latency_s") != back:
            raise ParameterError("latency_s", (a, b), "the same in both directions of a link")
    return networkx.Graph(graph)


def _check_shape(graph: networkx.Graph) -> None:
    import networkx

    if graph.number_of_nodes() == 0:
        raise ParameterError("graph", "no nodes", "a graph with at least one node")
    loops = sorted(networkx.nodes_with_selfloops(graph), key=str)
    if loops:
        raise ParameterError("link", f"{loops[0]} - {loops[0]}", "between two different nodes")
    if not networkx.is_connected(graph):
        parts = sorted(networkx.connected_components(graph), key=len)
        raise ParameterError(
            "graph", f"{len(parts)} parts, the smallest with node {min(parts[0], key=str)!r}",
            "connected",
        )  # fmt: skip


def _numbered(graph: networkx.Graph) -> networkx.Graph:
    """Nodes 0..n-1 in order, neighbours too; other names become labels."""
    import networkx

    names = sorted(graph, key=_sort_key)
    if names != list(range(len(names))):
        for name in names:
            graph.nodes[name].setdefault("label", name)
        graph = networkx.relabel_nodes(graph, {name: i for i, name in enumerate(names)})
    ordered = networkx.Graph(**graph.graph)
    ordered.add_nodes_from((i, dict(graph.nodes[i])) for i in range(len(names)))
    ordered.add_edges_from((min(a, b), max(a, b), dict(d)) for a, b, d in graph.edges(data=True))
    return ordered


def _sort_key(name: Hashable) -> tuple[int, float, str]:
    """Numbers, also written as text, in their order; then all else by its text."""
    try:
        return (0, float(name), str(name))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return (1, 0.0, str(name))


def _number(value: Any, attribute: str, at: object, *, least: float, infinite: bool) -> float:
    """The value as a float, or an error that names the attribute and where it stands."""
    above = least > 0
    allowed = f"a number {'above 0' if above else 'of at least 0'} at {at}"
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ParameterError(attribute, value, allowed) from None
    if math.isnan(number) or number < least or (math.isinf(number) and not infinite):
        raise ParameterError(attribute, value, allowed)
    return number


def _fill_regions(graph: networkx.Graph, place: Geography, seed: int) -> None:
    import numpy

    n = graph.number_of_nodes()
    drawn = array_stream(seed, "network", "region").random(n)
    index = numpy.searchsorted(numpy.cumsum(place.node_shares), drawn, side="right")
    index = numpy.minimum(index, len(place.regions) - 1)
    for node in range(n):
        attributes = graph.nodes[node]
        if attributes.get("region") is None:
            attributes["region"] = place.regions[index[node]]


def _fill_rates(graph: networkx.Graph, place: Geography) -> None:
    for node, attributes in graph.nodes(data=True):
        for name in RATES:
            if attributes.get(name) is None:
                attributes[name] = getattr(place, name)[place.index(attributes["region"])]
            attributes[name] = _number(
                attributes[name], name, f"node {node}", least=1e-9, infinite=True
            )


def _fill_hash_shares(graph: networkx.Graph) -> None:
    given = {
        node: _number(share, "hash_share", f"node {node}", least=0.0, infinite=False)
        for node, share in graph.nodes(data="hash_share")
        if share is not None
    }
    n = graph.number_of_nodes()
    shares = [given.get(node, 0.0) for node in range(n)] if given else [1.0] * n
    total = math.fsum(shares)
    if not total > 0.0:
        raise ParameterError("hash_share", "0 everywhere", "above 0 at one node at least")
    for node in range(n):
        graph.nodes[node]["hash_share"] = shares[node] / total


def _fill_latencies(graph: networkx.Graph, place: Geography, seed: int) -> None:
    import numpy

    links = sorted(graph.edges)
    mean_s = numpy.zeros(len(links))
    for i, (a, b) in enumerate(links):
        if graph.edges[a, b].get("latency_s") is None:
            from_region = place.index(graph.nodes[a]["region"])
            to_region = place.index(graph.nodes[b]["region"])
            mean_s[i] = place.latency_s[from_region][to_region]
    drawn_s = mean_s
    if place.latency_law == "pareto":
        drawn_s = pareto_latency_s(mean_s, array_stream(seed, "network", "latency"))
    for i, (a, b) in enumerate(links):
        attributes = graph.edges[a, b]
        if attributes.get("latency_s") is None:
            attributes["latency_s"] = float(drawn_s[i])
        attributes["latency_s"] = _number(
            attributes["latency_s"], "latency_s", f"link {a}-{b}", least=0.0, infinite=False
        )
