"""Gossip times against first-passage percolation: one message over links with Exp(1) latencies.

With blocks that take no time to send and to check, pushed unasked, a node's arrival time is the
shortest path from the source.  On the complete graph its moments are finite sums; on random graphs
the published values are averages over many graphs and runs.  On a user's own graph the shortest
paths themselves are the truth.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy

from consensus_lab import data
from consensus_lab.experiments.intervals import CONFIDENCE, mean_interval
from consensus_lab.experiments.validations.comparison import (
    CLOSED_FORM,
    SIMULATED,
    Comparison,
    Interval,
    compare,
    exact,
)
from consensus_lab.network import topology
from consensus_lab.sim.streams import array_stream, derive_seed
from consensus_lab.theory import gossip_times

if TYPE_CHECKING:
    import networkx

    from consensus_lab.network.arrays import Network

FILE = "network/published/gossip_first_passage.csv"
SOURCE = "independent Monte Carlo of first passage (standard errors given)"
COMPLETE_NODES, NODES = 100, 1000
SOURCES = 4
SHARES = {"t50": 0.5, "t90": 0.9, "t100": 1.0}
GRAPHS: dict[str, tuple[str, Callable[[int], networkx.Graph]]] = {
    "rr8": ("random regular, degree 8", lambda s: topology.random_regular(NODES, seed=s)),
    "er12": ("Erdos-Renyi, mean degree 12",
             lambda s: topology.erdos_renyi(NODES, mean_degree=12.0, seed=s)),
    "ws8_0.1": ("small world, degree 8, 10 % rewired",
                lambda s: topology.watts_strogatz(NODES, seed=s)),
    "ba2": ("scale free, 2 links per node",
            lambda s: topology.barabasi_albert(NODES, links_per_node=2, seed=s)),
}  # fmt: skip
DEFINITION = "over sources and graphs, in mean link times; links with independent Exp(1) latency"


def network_of(links: numpy.ndarray, n: int, latency_s: numpy.ndarray) -> Network:
    """Links with these latencies and lines that take no time."""
    from consensus_lab.network.arrays import from_edges

    unlimited = numpy.full(n, numpy.inf)
    return from_edges(
        links, latency_s=latency_s, upload_bytes_per_s=unlimited,
        download_bytes_per_s=unlimited, hash_share=numpy.full(n, 1.0 / n),
    )  # fmt: skip


def arrivals_s(network: Network, sources: numpy.ndarray) -> numpy.ndarray:
    """Seconds from each source until every node has its block, one row per source."""
    from consensus_lab.gossip.mining import Schedule
    from consensus_lab.gossip.simulate import simulate
    from consensus_lab.nakamoto.relay_options import Relay

    # Far enough apart that one block is everywhere before the next is found.
    apart_ns = int(network.latency_ns.sum()) + 1
    found_ns = numpy.arange(len(sources), dtype=numpy.int64) * apart_ns
    schedule = Schedule(found_ns, sources.astype(numpy.int64), numpy.zeros_like(found_ns))
    race = simulate(network, schedule, relay=Relay("push"), keep_all=True)
    assert race.accepted_ns is not None
    return (race.accepted_ns[1:] - found_ns[:, None]) / 1e9


def times_of(arrival_s: numpy.ndarray) -> dict[str, float]:
    """Mean arrival and the moments at which shares of the other nodes are reached."""
    others = numpy.sort(arrival_s, axis=1)[:, 1:]
    count = others.shape[1]
    times = {"mean_arrival": float(others.mean())}
    for name, share in SHARES.items():
        place = gossip_times.nodes_for_share(count, share) - 1
        times[name] = float(others[:, place].mean())
    return times


def _simulated(
    make: Callable[[int], networkx.Graph], *, n_graphs: int, seed: int
) -> dict[str, Interval]:
    """Each time's mean over graphs, a fresh graph and fresh latencies each."""
    per_graph = []
    for place in range(n_graphs):
        own = derive_seed(seed, "first passage", place)
        graph = make(own)
        n, links = graph.number_of_nodes(), numpy.array(sorted(graph.edges), dtype=numpy.int64)
        generator = array_stream(own, "network", "latency")
        network = network_of(links, n, generator.standard_exponential(len(links)))
        sources = generator.choice(n, size=min(SOURCES, n), replace=False)
        per_graph.append(times_of(arrivals_s(network, sources)))
    return {name: mean_interval(one[name] for one in per_graph) for name in per_graph[0]}


def on_the_complete_graph(*, n_graphs: int, seed: int) -> list[Comparison]:
    """Against the exact sums."""
    times = _simulated(lambda _: topology.complete(COMPLETE_NODES), n_graphs=n_graphs, seed=seed)
    known = {
        name: gossip_times.complete_graph_share_time(COMPLETE_NODES, share=share)
        for name, share in SHARES.items()
    }
    known["mean_arrival"] = gossip_times.complete_graph_first_passage(COMPLETE_NODES).mean_arrival
    return [
        compare(
            times[name], exact(known[name]), replicates=n_graphs, group="gossip times",
            setting=f"complete, {COMPLETE_NODES} nodes", quantity=name, definition=DEFINITION,
            unit="link times", kind=CLOSED_FORM, source="sums of 1 / (k (n - k)) (Janson 1999)",
        )
        for name in times
    ]  # fmt: skip


def on_random_graphs(name: str, *, n_graphs: int, seed: int) -> list[Comparison]:
    """Against published averages for graphs of that kind."""
    label, make = GRAPHS[name]
    times = _simulated(make, n_graphs=n_graphs, seed=derive_seed(seed, name))
    rows = []
    for row in data.rows(FILE):
        if row["graph"] != name or int(row["n_nodes"]) != NODES or row["quantity"] not in times:
            continue
        value, error = float(row["mean_link_times"]), float(row["standard_error"])
        half = error * _normal_quantile()
        rows.append(compare(
            times[row["quantity"]], (value, value - half, value + half), replicates=n_graphs,
            group="gossip times", setting=f"{label}, {NODES:,} nodes",
            quantity=row["quantity"], definition=DEFINITION, unit="link times", kind=SIMULATED,
            source=f"{SOURCE}, {row['replicates']} runs",
        ))  # fmt: skip
    return rows


def on_own_graph(network: Network, *, seed: int) -> list[Comparison]:
    """The arrival of every block at every node against shortest paths over the latencies."""
    from scipy.sparse import csgraph, csr_array

    n = network.n_nodes
    generator = array_stream(seed, "own graph")
    sources = generator.choice(n, size=min(SOURCES, n), replace=False)
    sender = numpy.repeat(numpy.arange(n), numpy.diff(network.offset))
    # A link without latency would be no link in a sparse matrix: half a nanosecond keeps it.
    weight = numpy.maximum(network.latency_ns.astype(float), 0.5)
    matrix = csr_array((weight, (sender, network.neighbour)), shape=(n, n))
    known_s = csgraph.dijkstra(matrix, indices=sources) / 1e9
    links = numpy.stack([sender, network.neighbour], axis=1)[sender < network.neighbour]
    bare = network_of(links, n, network.latency_ns[sender < network.neighbour] / 1e9)
    ours, theirs = times_of(arrivals_s(bare, sources)), times_of(known_s)
    return [
        compare(
            exact(ours[name]), (theirs[name], theirs[name] - 1e-6, theirs[name] + 1e-6),
            replicates=len(sources), group="gossip times", setting=f"own graph, {n:,} nodes",
            quantity=name, unit="s", kind=CLOSED_FORM, source="shortest paths (Dijkstra)",
            definition="over sources; blocks that take no time to send and to check",
        )
        for name in ours
    ]  # fmt: skip


def _normal_quantile() -> float:
    from scipy.special import ndtri

    return float(ndtri(0.5 + CONFIDENCE / 2))
