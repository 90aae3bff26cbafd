"""Graphs: every generator a user would expect, Bitcoin's own shape, and files of edges.

Theory of operation.  Every function returns an ordinary connected `networkx.Graph` with nodes
0..n-1 and no attributes; `attributes.fill` adds regions, line rates, latencies and hash shares.
Random graphs draw from the stream "topology" of the run's seed, so the same seed gives the same
graph whatever else the run draws.  A random draw that is not connected is drawn again.

`bitcoin(n)` follows Bitcoin Core's rules for connections: every node opens 8 outbound connections
to peers chosen at random, and accepts at most 117 inbound ones (125 connections in all).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from consensus_lab.node import ParameterError
from consensus_lab.sim.streams import array_stream, stream

if TYPE_CHECKING:
    import networkx
    import numpy

BITCOIN_OUTBOUND = 8
"""Outbound connections of a node, Bitcoin Core net.h, MAX_OUTBOUND_FULL_RELAY_CONNECTIONS."""

BITCOIN_INBOUND_MAX = 117
"""Inbound connections at most: 125 connections in all minus the 8 outbound ones."""

DRAWS_MAX = 100
"""How often a random graph is drawn again for being disconnected."""


def complete(n: int) -> networkx.Graph:
    """Everyone is linked to everyone."""
    import networkx

    return networkx.complete_graph(_count(n))


def ring(n: int) -> networkx.Graph:
    """A circle: every node has two neighbours."""
    import networkx

    return networkx.cycle_graph(_count(n, least=3))


def star(n: int) -> networkx.Graph:
    """Node 0 is linked to all others."""
    import networkx

    return networkx.star_graph(_count(n) - 1)


def line(n: int) -> networkx.Graph:
    """A chain: every node is linked to the next one."""
    import networkx

    return networkx.path_graph(_count(n))


def grid(n_rows: int, *, n_columns: int | None = None) -> networkx.Graph:
    """A rectangular grid; node `row * n_columns + column`."""
    import networkx

    columns = n_rows if n_columns is None else n_columns
    if n_rows < 1 or columns < 1 or n_rows * columns < 2:
        raise ParameterError("grid", (n_rows, columns), "at least two nodes")
    graph = networkx.grid_2d_graph(n_rows, columns)
    return networkx.convert_node_labels_to_integers(graph, ordering="sorted")


def random_regular(n: int, *, degree: int = 8, seed: int = 0) -> networkx.Graph:
    """Every node has exactly `degree` neighbours, chosen at random."""
    import networkx

    if not 1 <= degree < _count(n) or (n * degree) % 2:
        raise ParameterError("degree", degree, f"from 1 to {n - 1} with n * degree even")
    return _connected(
        lambda draw: networkx.random_regular_graph(degree, n, seed=draw), "degree", degree, seed
    )


def erdos_renyi(n: int, *, mean_degree: float = 8.0, seed: int = 0) -> networkx.Graph:
    """Every pair is linked with the same probability, mean_degree / (n - 1)."""
    import networkx

    if not 0.0 < mean_degree <= _count(n) - 1:
        raise ParameterError("mean_degree", mean_degree, f"above 0 and at most {n - 1}")
    chance = mean_degree / (n - 1)
    return _connected(
        lambda draw: networkx.fast_gnp_random_graph(n, chance, seed=draw),
        "mean_degree", mean_degree, seed,
    )  # fmt: skip


def watts_strogatz(
    n: int, *, degree: int = 8, rewiring: float = 0.1, seed: int = 0
) -> networkx.Graph:
    """A small world: a ring of near neighbours with a share of links thrown elsewhere."""
    import networkx

    if not 2 <= degree < _count(n):
        raise ParameterError("degree", degree, f"from 2 to {n - 1}")
    if not 0.0 <= rewiring <= 1.0:
        raise ParameterError("rewiring", rewiring, "a probability from 0 to 1")
    return _connected(
        lambda draw: networkx.watts_strogatz_graph(n, degree, rewiring, seed=draw),
        "degree", degree, seed,
    )  # fmt: skip


def barabasi_albert(n: int, *, links_per_node: int = 4, seed: int = 0) -> networkx.Graph:
    """Scale free: each new node links to `links_per_node` old ones, preferring the well linked."""
    import networkx

    if not 1 <= links_per_node < _count(n):
        raise ParameterError("links_per_node", links_per_node, f"from 1 to {n - 1}")
    return networkx.barabasi_albert_graph(
        n, links_per_node, seed=stream(seed, "topology", "barabasi_albert")
    )


def bitcoin(
    n: int,
    *,
    outbound: int = BITCOIN_OUTBOUND,
    inbound_max: int = BITCOIN_INBOUND_MAX,
    seed: int = 0,
) -> networkx.Graph:
    """Bitcoin's network: `outbound` random peers per node, at most `inbound_max` accepted.

    Parameters
    ----------
    n : int
        Nodes.
    outbound : int
        Connections that a node opens; with few nodes, as many as there are others.
    inbound_max : int
        Connections that a node accepts.
    seed : int
        Of the run.

    Examples
    --------
    >>> graph = bitcoin(100, seed=1)
    >>> min(degree for _, degree in graph.degree) >= 8
    True
    """
    import networkx

    _count(n)
    if outbound < 1:
        raise ParameterError("outbound", outbound, "at least 1")
    if inbound_max < outbound:
        raise ParameterError("inbound_max", inbound_max, f"at least outbound ({outbound})")

    draws = array_stream(seed, "topology", "bitcoin")
    for _ in range(DRAWS_MAX):
        edges = bitcoin_edges(n, outbound=outbound, inbound_max=inbound_max, generator=draws)
        graph = networkx.empty_graph(n)
        graph.add_edges_from(map(tuple, edges.tolist()))
        if networkx.is_connected(graph):
            return graph
    raise ParameterError("outbound", outbound, "large enough that the network is connected")


def bitcoin_edges(
    n: int, *, outbound: int, inbound_max: int, generator: numpy.random.Generator
) -> numpy.ndarray:
    """The links of `bitcoin`, one row (lower, higher) each, sorted; not checked for connection.

    Nodes open their connections one after the other in random order.  A peer that is full, or
    that is connected already, is passed over for another.
    """
    import numpy

    inbound = [0] * n
    peers: list[set[int]] = [set() for _ in range(n)]
    wanted = min(outbound, n - 1)
    for node in generator.permutation(n).tolist():
        opened, tries = 0, 0
        pool = iter(())
        while opened < wanted and len(peers[node]) < n - 1 and tries < 100 * outbound + n:
            candidate = next(pool, None)
            if candidate is None:
                pool = iter(generator.integers(n, size=4 * outbound).tolist())
                continue
            tries += 1
            if candidate == node or candidate in peers[node] or inbound[candidate] >= inbound_max:
                continue
            peers[node].add(candidate)
            peers[candidate].add(node)
            inbound[candidate] += 1
            opened += 1
    edges = [(a, b) for a in range(n) for b in peers[a] if a < b]
    return numpy.array(sorted(edges), dtype=numpy.int64).reshape(-1, 2)


def read_graph(path: str | Path) -> networkx.Graph:
    """A user's graph from a file: GraphML when its name ends so, otherwise an edge list.

    GraphML carries everything that `attributes.fill` knows: `region`, `hash_share` and line rates
    of nodes, `latency_s` of links, and direction (a directed graph needs every link both ways).
    """
    place = Path(path)
    if place.suffix.lower() != ".graphml":
        return read_edge_list(place)
    import networkx

    try:
        return networkx.read_graphml(place)
    except (OSError, SyntaxError, ValueError, KeyError, networkx.NetworkXError) as error:
        raise ParameterError("graph_file", str(place), f"a GraphML file ({error})") from error


def read_edge_list(path: str | Path) -> networkx.Graph:
    """A graph from a text file: one link per line, `a b` or `a b latency_s`; `#` starts a comment.

    Labels may be anything without blanks; nodes become 0..n-1 in sorted order of their labels
    (numbers before words) and keep the label as the attribute `label`.  A link is used both ways
    and may be named twice, but not with two latencies.

    Raises
    ------
    ParameterError
        With the file and the number of the line: neither two nor three fields, a link from a
        node to itself, a latency that is no number of at least 0, two latencies for one link.
    """
    import networkx

    place = Path(path)
    try:
        lines = place.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ParameterError("graph_file", str(place), f"a readable text file ({error})") from error
    graph = networkx.Graph()
    for number, text in enumerate(lines, start=1):
        fields = text.split("#", 1)[0].replace(",", " ").split()
        if not fields:
            continue
        where = f"{place} line {number}"
        if len(fields) not in (2, 3):
            raise ParameterError(where, text, "'a b' or 'a b latency_s'")
        a, b = fields[:2]
        if a == b:
            raise ParameterError(where, text, "a link between two different nodes")
        graph.add_edge(a, b)
        if len(fields) == 3:
            latency_s = _latency_s(fields[2], where)
            if graph.edges[a, b].setdefault("latency_s", latency_s) != latency_s:
                raise ParameterError(where, text, "the latency that an earlier line gave this link")
    if not graph:
        raise ParameterError("graph_file", str(place), "a file with at least one link; it is empty")
    return graph


def _latency_s(text: str, where: str) -> float:
    """Seconds, or an error that names the line."""
    try:
        latency_s = float(text)
    except ValueError:
        latency_s = -1.0
    if not 0.0 <= latency_s < float("inf"):
        raise ParameterError(where, text, "a latency in seconds of at least 0")
    return latency_s


def _count(n: int, least: int = 2) -> int:
    if isinstance(n, bool) or not isinstance(n, int) or n < least:
        raise ParameterError("n", n, f"an integer of at least {least}")
    return n


def _connected(
    draw_graph: Callable[[object], networkx.Graph], name: str, value: object, seed: int
) -> networkx.Graph:
    import networkx

    draws = stream(seed, "topology", name)
    for _ in range(DRAWS_MAX):
        graph = draw_graph(draws)
        if networkx.is_connected(graph):
            return graph
    raise ParameterError(name, value, "large enough that the random graph is connected")
