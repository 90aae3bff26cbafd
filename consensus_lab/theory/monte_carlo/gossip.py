"""Gossip by simulation: rounds, fanout, and first passage over random graphs."""

from __future__ import annotations

import math
import re

import networkx as nx
import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.sparse import csgraph, csr_array

from consensus_lab.node import ParameterError
from consensus_lab.theory._checks import choice, count
from consensus_lab.theory.gossip_times import RUMOR_MODES, nodes_for_share
from consensus_lab.theory.monte_carlo.estimate import Estimate, of_count, of_samples


@njit(cache=True)
def _other(n: int, me: int, rng: np.random.Generator) -> int:  # pragma: no cover - compiled
    """A node drawn uniformly among the others."""
    drawn = int(rng.integers(0, n - 1))
    return drawn + 1 if drawn >= me else drawn


@njit(cache=True)
def _rumor_rounds(
    n: int, push: bool, pull: bool, rng: np.random.Generator
) -> int:  # pragma: no cover - compiled
    knows = np.zeros(n, np.bool_)
    knows[0] = True
    informed, rounds = 1, 0
    while informed < n:
        before = knows.copy()
        for node in range(n):
            if before[node]:
                if push:
                    knows[_other(n, node, rng)] = True
            elif pull and before[_other(n, node, rng)]:
                knows[node] = True
        informed = int(np.sum(knows))
        rounds += 1
    return rounds


def rumor_rounds(n_nodes: int, *, mode: str, runs: int, rng: np.random.Generator) -> Estimate:
    """Synchronous rounds until everybody knows a rumor: each node calls one other per round.

    Parameters
    ----------
    n_nodes : int
        n, at least 2.
    mode : str
        "push", "pull" or "push-pull".
    runs : int
        Independent rumors.
    rng : numpy.random.Generator
        Source of all randomness.

    Returns
    -------
    Estimate
        Rounds.

    Examples
    --------
    >>> estimate = rumor_rounds(100, mode="push", runs=2000, rng=np.random.default_rng(1))
    >>> 12.1 < estimate.mean < 12.5
    True
    """
    n = count("n_nodes", n_nodes, at_least=2)
    how = choice("mode", mode, RUMOR_MODES)
    times = count("runs", runs, at_least=2)
    push, pull = how != "pull", how != "push"
    return of_samples([_rumor_rounds(n, push, pull, rng) for _ in range(times)])


@njit(cache=True)
def _infect_and_die(
    n: int, fanout: int, distinct: bool, rng: np.random.Generator
) -> int:  # pragma: no cover - compiled
    """Nodes reached when everybody tells `fanout` others, once."""
    knows = np.zeros(n, np.bool_)
    knows[0] = True
    queue = np.empty(n, np.int64)
    queue[0] = 0
    chosen = np.empty(fanout, np.int64)
    done, reached = 0, 1
    while done < reached:
        node = queue[done]
        done += 1
        for i in range(fanout):
            # Rejection: fanouts are small beside n.
            target = _other(n, node, rng)
            while distinct and np.any(chosen[:i] == target):
                target = _other(n, node, rng)
            chosen[i] = target
            if not knows[target]:
                knows[target] = True
                queue[reached] = target
                reached += 1
    return reached


def infect_and_die(
    n_nodes: int, *, fanout: int, runs: int, rng: np.random.Generator, distinct: bool = True
) -> tuple[Estimate, Estimate]:
    """Reached share and probability that all are reached when everybody tells `fanout` others once.

    Parameters
    ----------
    n_nodes : int
        n, at least 2.
    fanout : int
        f, at most n - 1.
    runs : int
        Independent rumors.
    rng : numpy.random.Generator
        Source of all randomness.
    distinct : bool
        Whether the others told by one node are distinct.  Drawn independently instead, the chance
        to be missed is closer to the e^-f of the closed form.

    Returns
    -------
    tuple of Estimate
        Share of all nodes that were reached; share of runs that reached all.

    Examples
    --------
    >>> reached, everyone = infect_and_die(
    ...     1000, fanout=8, runs=2000, rng=np.random.default_rng(1))
    >>> abs(reached.mean - 0.99968) < 1e-4, abs(everyone.mean - 0.7246) < 0.05
    (True, True)
    """
    n = count("n_nodes", n_nodes, at_least=2)
    told = count("fanout", fanout, at_least=1, at_most=n - 1)
    times = count("runs", runs, at_least=2)
    reached = np.array([_infect_and_die(n, told, distinct, rng) for _ in range(times)])
    return of_samples(reached / n), of_count(int(np.sum(reached == n)), times)


def random_graph(name: str, n_nodes: int, rng: np.random.Generator) -> nx.Graph:
    """Draw a random graph by its short name.

    Parameters
    ----------
    name : str
        rrD (random D-regular), erL (G(n, p) of mean degree L, giant component), wsK_P
        (Watts-Strogatz, K neighbours, rewired with probability P) or baM (Barabasi-Albert).
    n_nodes : int
        Nodes before taking the giant component.
    rng : numpy.random.Generator
        Gives the generator its seed.

    Returns
    -------
    networkx.Graph
        Connected.

    Raises
    ------
    ParameterError
        For an unknown name.
    """
    n = count("n_nodes", n_nodes, at_least=2)
    seed = int(rng.integers(0, 2**32))
    if found := re.fullmatch(r"rr(\d+)", name):
        graph = nx.random_regular_graph(int(found[1]), n, seed=seed)
    elif found := re.fullmatch(r"er([\d.]+)", name):
        graph = nx.fast_gnp_random_graph(n, float(found[1]) / (n - 1), seed=seed)
    elif found := re.fullmatch(r"ws(\d+)_([\d.]+)", name):
        graph = nx.watts_strogatz_graph(n, int(found[1]), float(found[2]), seed=seed)
    elif found := re.fullmatch(r"ba(\d+)", name):
        graph = nx.barabasi_albert_graph(n, int(found[1]), seed=seed)
    else:
        raise ParameterError("name", name, "rrD, erL, wsK_P or baM")
    if nx.is_connected(graph):
        return graph
    return graph.subgraph(max(nx.connected_components(graph), key=len))


def _one_passage(graph: nx.Graph, rng: np.random.Generator) -> NDArray[np.float64]:
    """Sorted arrival times at all nodes but the source, with Exp(1) links."""
    n = graph.number_of_nodes()
    index = {node: i for i, node in enumerate(graph)}
    ends = np.array([(index[u], index[v]) for u, v in graph.edges])
    delays = rng.exponential(1.0, len(ends))
    links = csr_array((delays, (ends[:, 0], ends[:, 1])), shape=(n, n))
    source = int(rng.integers(0, n))
    times = csgraph.dijkstra(links, directed=False, indices=source)
    return np.sort(np.delete(times, source))


def first_passage(
    name: str, n_nodes: int, *, runs: int, rng: np.random.Generator
) -> dict[str, Estimate]:
    """First-passage times over random graphs, a fresh graph and fresh Exp(1) links per run.

    Parameters
    ----------
    name : str
        As for `random_graph`.
    n_nodes : int
        Nodes before taking the giant component.
    runs : int
        Independent runs.
    rng : numpy.random.Generator
        Source of all randomness.

    Returns
    -------
    dict of str to Estimate
        mean_arrival; t50, t90, t99 and t100, when that share of the other nodes is reached; and
        giant_size.  Unit: the mean link time.

    Examples
    --------
    >>> times = first_passage("rr8", 100, runs=200, rng=np.random.default_rng(1))
    >>> abs(times["t100"].mean - 1.4427) < 5 * times["t100"].standard_error
    True
    """
    shares = {"t50": 0.5, "t90": 0.9, "t99": 0.99, "t100": 1.0}
    values: dict[str, list[float]] = {key: [] for key in ("mean_arrival", *shares, "giant_size")}
    for _ in range(count("runs", runs, at_least=2)):
        times = _one_passage(random_graph(name, n_nodes, rng), rng)
        values["mean_arrival"].append(float(np.mean(times)))
        values["giant_size"].append(len(times) + 1.0)
        for key, share in shares.items():
            values[key].append(float(times[nodes_for_share(len(times), share) - 1]))
    return {key: of_samples(data) for key, data in values.items()}


def complete_graph_passage(n_nodes: int, *, runs: int, rng: np.random.Generator) -> Estimate:
    """Time until a complete graph with Exp(1) links is flooded, over all n (n-1) / 2 links.

    Parameters
    ----------
    n_nodes : int
        n, at least 2.
    runs : int
        Independent runs.
    rng : numpy.random.Generator
        Source of all randomness.

    Returns
    -------
    Estimate
        Mean link times.

    Examples
    --------
    >>> estimate = complete_graph_passage(10, runs=500, rng=np.random.default_rng(1))
    >>> abs(estimate.mean - 0.5657936508) < 5 * estimate.standard_error
    True
    """
    n = count("n_nodes", n_nodes, at_least=2)
    graph = nx.complete_graph(n)
    times = [_one_passage(graph, rng)[-1] for _ in range(count("runs", runs, at_least=2))]
    assert all(math.isfinite(time) for time in times)
    return of_samples(times)
