"""How does one block move over the network?

A node finds a block, announces it, is asked for it, sends it; whoever has checked it does the same.
The front passes region by region and hop by hop; the last nodes wait longest.  Blocks are found an
hour apart, so that none waits for another; one of them is drawn, all of them are counted.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from consensus_lab.experiments import Progress, propagation, quiet
from consensus_lab.experiments.intervals import mean_interval
from consensus_lab.experiments.networks import NetworkParameters, build, relay_blocks
from consensus_lab.experiments.parameters import parameter
from consensus_lab.experiments.replicates import finished
from consensus_lab.experiments.result import Measure, Published, Result
from consensus_lab.node import ParameterError
from consensus_lab.sim.links import NANOSECONDS_PER_SECOND

if TYPE_CHECKING:
    import networkx
    import numpy
    from matplotlib.figure import Figure

    from consensus_lab.gossip.mining import Schedule
    from consensus_lab.gossip.race import Race
    from consensus_lab.network.arrays import Network
    from consensus_lab.report.fronts import FrontAnimation

SPACING_S = 3600.0
"""Between blocks: far longer than any takes to arrive everywhere."""

REACHED = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "all": 1.0}


class Parameters(NetworkParameters):
    """Network, block, and how the picture is laid out."""

    n_nodes: int = parameter(
        400, full=3000, unit="count", meaning="nodes in the network", minimum=2, maximum=10**5
    )
    n_blocks: int = parameter(
        20, full=100, unit="count", meaning="blocks per replicate, one after the other", minimum=1
    )
    block_size_bytes: int = parameter(
        1_000_000, unit="bytes", meaning="size of each block", minimum=81, maximum=10**9
    )
    layout: str = parameter(
        "region", meaning="nodes stand by region, or on rings by hops from the finder",
        choices=("region", "hops"),
    )  # fmt: skip
    shares_drawn: list[float] = parameter(
        [0.0, 0.05, 0.25, 0.5, 0.9, 1.0], unit="fraction", minimum=0.0, maximum=1.0,
        meaning="the maps show the moments when these shares of the nodes have the block",
    )  # fmt: skip

    def check(self) -> None:
        super().check()
        if list(self.shares_drawn) != sorted(set(self.shares_drawn)):
            raise ParameterError("shares_drawn", self.shares_drawn, "rising, each once")


def run(
    parameters: Parameters, progress: Progress = quiet, *, graph: networkx.Graph | None = None
) -> Result:
    """Send blocks over independent networks; keep every node's times of the first one.

    Parameters
    ----------
    parameters : Parameters
    progress : callable (done, total, what)
    graph : networkx.Graph, optional
        The user's own network; see `network.attributes.fill` for its attributes.

    Returns
    -------
    Result
        `frame`: one row per node of the first network: region, links, neighbours, hops from the
        finder of the first block, and when that block had arrived and was accepted there (s).
    """
    import pandas

    sent, interrupted = finished(
        partial(_sent, parameters, graph), parameters.replicates, progress=progress,
        what="networks",
    )  # fmt: skip
    reached = [means for means, _ in sent]
    # In an interrupted run the first network may be the one that had not ended.
    rows = sent[0][1] or _sent(parameters, graph, 0)[1]
    measures = [
        Measure(f"reach_s_{name}", *mean_interval(one[name] for one in reached), "s",
                len(reached))
        for name in REACHED
    ] + [Measure("hops_mean", *mean_interval(one["hops"] for one in reached), "hops",
                 len(reached))]  # fmt: skip
    notes = [
        *interrupted,
        "Means over the blocks of a network, intervals over networks; the finder counts.",
        "hops_mean is the mean distance from the finders to all other nodes.",
    ]
    frame = pandas.DataFrame(rows)
    return Result("gossip-front", parameters, frame, measures, published(parameters), figure,
                  notes=notes)  # fmt: skip


def _sent(
    parameters: Parameters, graph: networkx.Graph | None, replicate: int
) -> tuple[dict[str, float], dict[str, object] | None]:
    """Mean times and hops on one network; and, of the first one, every node's."""
    network, seed = build(parameters, replicate, graph)
    race = relay_blocks(
        parameters, network, _schedule(parameters, network, seed), seed=seed,
        reach_fractions=tuple(REACHED.values()), keep_all=replicate == 0,
    )  # fmt: skip
    means = {name: race.time_to_reach_s(share).mean() for name, share in REACHED.items()}
    means["hops"] = _mean_hops(network, race.schedule.miner)
    return means, _rows(network, race) if replicate == 0 else None


def _schedule(parameters: Parameters, network: Network, seed: int) -> Schedule:
    """Finders in proportion to hash power, at fixed distances in time."""
    import numpy

    from consensus_lab.gossip.mining import Schedule, draw_schedule

    drawn = draw_schedule(
        network, n_blocks=parameters.n_blocks, block_size_bytes=parameters.block_size_bytes,
        seed=seed,
    )  # fmt: skip
    found_ns = numpy.arange(parameters.n_blocks) * int(SPACING_S * NANOSECONDS_PER_SECOND)
    return Schedule(found_ns, drawn.miner, drawn.size_bytes)


def _rows(network: Network, race: Race) -> dict[str, object]:
    """What happened to the first block at every node."""
    import numpy

    assert race.received_ns is not None and race.accepted_ns is not None
    miner = int(race.schedule.miner[0])
    n = network.n_nodes
    return {
        "node": numpy.arange(n),
        "region": list(network.region) or [""] * n,
        "links": numpy.diff(network.offset),
        "neighbours": [" ".join(map(str, network.neighbours(node))) for node in range(n)],
        "hops": _hops(network, numpy.array([miner]))[0].astype(int),
        "received_s": race.received_ns[1] / NANOSECONDS_PER_SECOND,
        "accepted_s": race.accepted_ns[1] / NANOSECONDS_PER_SECOND,
    }


def _hops(network: Network, sources: numpy.ndarray) -> numpy.ndarray:
    """Fewest links from each source to each node."""
    import numpy
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import dijkstra

    n = network.n_nodes
    ones = numpy.ones(len(network.neighbour))
    matrix = csr_array((ones, network.neighbour, network.offset), shape=(n, n))
    hops: numpy.ndarray = dijkstra(matrix, unweighted=True, indices=sources)
    return hops


def _mean_hops(network: Network, sources: numpy.ndarray) -> float:
    """Mean distance from the sources to all others, hops."""
    return float(_hops(network, sources).sum() / len(sources) / (network.n_nodes - 1))


def published(parameters: Parameters) -> list[Published]:
    """Times measured on the real network; for random regular graphs the formula for hops."""
    from consensus_lab import theory

    known = [
        one._replace(quantity=one.quantity.replace("delay_s_", "reach_s_"))
        for one in propagation.published()
        if one.quantity.removeprefix("delay_s_") in REACHED
    ]
    degree = parameters.chosen("degree")
    has_formula = parameters.topology == "random_regular" and degree >= 3
    if has_formula and not parameters.graph_file:
        hops = theory.random_regular_mean_hops(parameters.n_nodes, degree=degree)
        source = "mean shortest path of random regular graphs, Tishby et al. 2022"
        known.append(Published("hops_mean", hops, "hops", source))
    return known


def figure(result: Result) -> Figure:
    """The front of the first block at several moments."""
    from consensus_lab.report.fronts import front_strip

    return front_strip(result)


def animation(result: Result) -> FrontAnimation:
    """The same front as a small moving picture."""
    from consensus_lab.report.fronts import front_animation

    return front_animation(result)
