"""How does a node that knows nobody find its peers?

All start with an empty address book and the name of one DNS seed, which knows two of them.  They
ask, gossip addresses and connect until each has its outbound connections.  Later a newcomer joins,
and then a share of all crashes and comes back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.intervals import mean_interval
from consensus_lab.experiments.parameters import ParameterSet, parameter
from consensus_lab.experiments.result import Measure, Published, Result
from consensus_lab.nakamoto.discovery import (
    INBOUND_MAX,
    OUTBOUND_MAX,
    DiscoveryNode,
    DnsSeed,
)
from consensus_lab.node import ParameterError
from consensus_lab.sim.engine import Engine
from consensus_lab.sim.links import Link
from consensus_lab.sim.streams import derive_seed, stream

if TYPE_CHECKING:
    import networkx
    import pandas
    from matplotlib.figure import Figure

SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS
NANOSECONDS_PER_MS = 1_000_000
FINE_NS, FINE_EVERY_NS = 15 * SECOND_NS, SECOND_NS // 2
SAMPLE_EVERY_NS = 10 * SECOND_NS
"""A phase is watched closely at its beginning, then less often."""

KNOWN_TO_SEED = 2
GRAPHS = 20
"""Random graphs that the grown network is compared with."""


class Parameters(ParameterSet):
    """Size, slots and times; the phases follow each other."""

    n_nodes: int = parameter(60, full=200, unit="count", meaning="nodes at first", minimum=10,
                             maximum=5000)  # fmt: skip
    outbound_max: int = parameter(
        OUTBOUND_MAX, unit="count", meaning="connections that a node opens", minimum=1, maximum=100
    )
    inbound_max: int = parameter(
        INBOUND_MAX, unit="count", meaning="connections that a node accepts", minimum=1,
        maximum=5000,
    )  # fmt: skip
    latency_ms: float = parameter(
        50.0, unit="ms", meaning="one way between any two nodes", minimum=0.0, maximum=10_000.0
    )
    phase_min: float = parameter(
        5.0, full=20.0, unit="min", meaning="length of each phase: growth, newcomer, away, return",
        minimum=1.0, maximum=1440.0,
    )  # fmt: skip
    away_share: float = parameter(
        0.3, unit="share", meaning="nodes that crash and come back a phase later",
        minimum=0.0, maximum=0.9,
    )  # fmt: skip

    def check(self) -> None:
        """Everybody must be able to find free slots."""
        if self.inbound_max < self.outbound_max:
            allowed = f"at least outbound_max ({self.outbound_max})"
            raise ParameterError("inbound_max", self.inbound_max, allowed)


def run(parameters: Parameters, progress: Progress = quiet) -> Result:
    """Grow the network, let one join, let many leave and return, and watch the connections.

    Returns
    -------
    Result
        `frame`: one row per node and time: minute, phase, node, outbound and inbound
        connections that both ends know of.
    """
    import networkx
    import pandas

    engine = network(parameters, newcomer=True)
    rows: list[dict[str, Any]] = []
    measures: list[Measure] = []
    parts_max = 0
    newcomer = parameters.n_nodes
    engine.crash(newcomer)  # It is not born yet, and its book is empty.
    away = stream(parameters.seed, "experiment", "away").sample(
        range(parameters.n_nodes), round(parameters.away_share * parameters.n_nodes)
    )
    for number, phase in enumerate(PHASES):
        progress(number, len(PHASES), "phases")
        if phase == "newcomer":
            engine.restart(newcomer)
        for node in sorted(away):
            if phase == "away":
                engine.crash(node)
            elif phase == "return":
                engine.restart(node)
        begin_ns = round(number * parameters.phase_min * MINUTE_NS)
        end_ns = round((number + 1) * parameters.phase_min * MINUTE_NS)
        while engine.now < end_ns:
            is_fine = engine.now < begin_ns + FINE_NS
            every_ns = FINE_EVERY_NS if is_fine else SAMPLE_EVERY_NS
            engine.run(until_ns=min(engine.now + every_ns, end_ns))
            rows += _sample(engine, phase)
            if phase == "away":
                parts = networkx.number_connected_components(graph_of(engine))
                parts_max = max(parts_max, parts)
        graph = graph_of(engine)
        parts = networkx.number_connected_components(graph)
        measures.append(Measure(f"components_after_{phase}", parts, parts, parts, "count", 1))
        least = min(degree for _, degree in graph.degree)
        measures.append(Measure(f"peers_min_after_{phase}", least, least, least, "count", 1))
        if phase == "growth":
            grown = graph
    progress(len(PHASES), len(PHASES), "phases")
    frame = pandas.DataFrame(rows)
    measures.append(Measure("components_max_while_away", *[parts_max] * 3, "count", 1))
    measures += [*_times(frame, parameters, away), *degree_measures(grown)]
    return Result("peer-discovery", parameters, frame, measures,
                  published(parameters), figure, notes=[
        "Components count the nodes that are up; 1 means that nobody is cut off.",
        "A dead peer is dropped one ping (120 s) after the one that it did not answer.",
        "Who lacks connections at the end of a phase counts as waiting until then; in a small "
        "network all others may be connected already, as inbound peers.",
        "The random graph gives every node's connections to peers drawn with equal chance.",
    ])  # fmt: skip


PHASES = ("growth", "newcomer", "away", "return")


def network(parameters: Parameters, *, newcomer: bool = False) -> Engine:
    """Nodes 0 to n - 1 and one DNS seed, whose number comes after all; perhaps a newcomer n."""
    n_nodes = parameters.n_nodes + newcomer
    seed_id = n_nodes

    def make(node_id: int, disk: dict[Any, Any]) -> Any:
        source = stream(parameters.seed, "discovery", node_id)
        if node_id == seed_id:
            return DnsSeed(node_id, range(KNOWN_TO_SEED), source=source)
        return DiscoveryNode(
            node_id, disk, seeds=(seed_id,), source=source,
            outbound_max=parameters.outbound_max, inbound_max=parameters.inbound_max,
        )  # fmt: skip

    link = Link(round(parameters.latency_ms * NANOSECONDS_PER_MS))
    return Engine(make, range(n_nodes + 1), seed=parameters.seed, links=link)


def graph_of(engine: Engine) -> networkx.Graph:
    """Nodes that are up, and the connections that both ends know of."""
    import networkx

    nodes = {i: node for i, node in engine.nodes.items() if isinstance(node, DiscoveryNode)}
    graph = networkx.Graph()
    graph.add_nodes_from(sorted(nodes))
    for i in sorted(nodes):
        graph.add_edges_from(
            (i, j) for j in nodes[i].outbound if j in nodes and i in nodes[j].inbound
        )
    return graph


def _sample(engine: Engine, phase: str) -> list[dict[str, Any]]:
    """One row per node that is up."""
    nodes = {i: node for i, node in engine.nodes.items() if isinstance(node, DiscoveryNode)}
    links = [(i, j) for i in sorted(nodes) for j in nodes[i].outbound
             if j in nodes and i in nodes[j].inbound]  # fmt: skip
    outbound, inbound = dict.fromkeys(nodes, 0), dict.fromkeys(nodes, 0)
    for i, j in links:
        outbound[i] += 1
        inbound[j] += 1
    minute = engine.now / MINUTE_NS
    return [
        {"minute": minute, "phase": phase, "node": i, "outbound": outbound[i],
         "inbound": inbound[i]}
        for i in sorted(nodes)
    ]  # fmt: skip


def _times(
    frame: pandas.DataFrame, parameters: Parameters, away: Sequence[int]
) -> list[Measure]:
    """Seconds until outbound slots are full: all at first, the newcomer, who was left alone."""
    everybody = range(parameters.n_nodes)
    survivors = sorted({*everybody, parameters.n_nodes} - {*away})
    measures = []
    for name, phase, nodes in (
        ("seconds_to_fill", "growth", everybody),
        ("seconds_to_fill_newcomer", "newcomer", [parameters.n_nodes]),
        ("seconds_to_refill_survivors", "away", survivors),
        ("seconds_to_refill_returned", "return", sorted(away)),
    ):
        if nodes:
            waits_s = _waits_s(frame, parameters, phase, nodes)
            estimate = mean_interval(waits_s) if len(nodes) > 1 else (waits_s[0],) * 3
            measures.append(Measure(f"{name}_mean", *estimate, "s", len(nodes)))
            measures.append(Measure(f"{name}_max", *[max(waits_s)] * 3, "s", len(nodes)))
    return measures


def _waits_s(
    frame: pandas.DataFrame, parameters: Parameters, phase: str, nodes: Iterable[int]
) -> list[float]:
    """Seconds of a phase after which each node has its outbound connections for good.

    A node that lacks some at the end of the phase counts as waiting until then.
    """
    begin_min = PHASES.index(phase) * parameters.phase_min
    now = frame[frame["phase"] == phase]
    wanted = min(parameters.outbound_max, parameters.n_nodes - 1)
    lacking = now[now["outbound"] < wanted].groupby("node")["minute"].max()
    minutes = sorted({begin_min, *now["minute"]})
    following = dict(pairwise(minutes))
    last = minutes[-1]
    ends_min = [following.get(lacking.get(node, begin_min), last) for node in nodes]
    return [60.0 * (end_min - begin_min) for end_min in ends_min]


def degree_measures(graph: networkx.Graph) -> list[Measure]:
    """Mean, spread and extremes of a network's degrees."""
    import numpy

    degrees = numpy.array([degree for _, degree in sorted(graph.degree)])
    mean = float(degrees.mean())
    spread = float(degrees.std(ddof=1))
    exact = {"degree_mean": mean, "degree_deviation": spread, "degree_max": int(degrees.max())}
    return [Measure(name, value, value, value, "count", len(degrees))
            for name, value in exact.items()]  # fmt: skip


def random_graph_degrees(parameters: Parameters) -> list[int]:
    """Degrees of random graphs of the same size and slots, all together."""
    from consensus_lab.network import topology

    degrees: list[int] = []
    for number in range(GRAPHS):
        graph = topology.bitcoin(
            parameters.n_nodes, outbound=parameters.outbound_max,
            inbound_max=parameters.inbound_max,
            seed=derive_seed(parameters.seed, "experiment", "peers", number),
        )  # fmt: skip
        degrees += [degree for _, degree in sorted(graph.degree)]
    return degrees


def published(parameters: Parameters) -> list[Published]:
    """The random graph that propagation experiments use, as a reference for degrees."""
    import numpy

    degrees = numpy.array(random_graph_degrees(parameters))
    source = f"random graph with the same slots, mean of {GRAPHS}"
    per_graph = degrees.reshape(GRAPHS, -1)
    return [
        Published("degree_mean", float(degrees.mean()), "count", source),
        Published("degree_deviation", float(per_graph.std(axis=1, ddof=1).mean()), "count", source),
        Published("degree_max", float(per_graph.max(axis=1).mean()), "count", source),
    ]


def figure(result: Result) -> Figure:
    """Outbound connections over time: all nodes and the newcomer."""
    import pandas

    from consensus_lab.report.curves import curve_with_band

    parameters, frame = result.parameters, result.frame
    old = frame[frame["node"] < parameters.n_nodes].groupby("minute")["outbound"]
    middle = old.mean().reset_index().assign(who="mean of the others")
    worst = old.min().reset_index().assign(who="least of the others")
    mine = frame[frame["node"] == parameters.n_nodes][["minute", "outbound"]]
    shown = pandas.concat([middle, worst, mine.assign(who="newcomer")])
    wait_s = result.measure("seconds_to_fill_newcomer_max").value
    again_s = result.measure("seconds_to_refill_survivors_max").value
    parts = result.measure("components_max_while_away").value
    return curve_with_band(
        shown, x="minute", y="outbound", group="who", x_label="time (min)",
        y_label="outbound connections (count)",
        title=f"Peers found in {wait_s:.1f} s"
        + (f", lost ones replaced in {again_s:.0f} s" if parameters.away_share else ""),
        detail=f"{parameters.n_nodes} nodes; every {parameters.phase_min:g} min: newcomer, "
        f"{parameters.away_share:.0%} away, return; parts meanwhile: {parts}",
    )  # fmt: skip


def degree_figure(result: Result) -> Figure:
    """Degrees at the end of the growth beside those of random graphs."""
    from consensus_lab.report.distributions import samples_cdf

    frame = result.frame
    grown = frame[frame["phase"] == "growth"]
    grown = grown[grown["minute"] == grown["minute"].max()]
    mean = result.measure("degree_mean").value
    return samples_cdf(
        {"found by discovery": (grown["outbound"] + grown["inbound"]).tolist(),
         f"{GRAPHS} random graphs": random_graph_degrees(result.parameters)},
        x_label="connections of a node (count)", is_log=False,
        title=f"{mean:.1f} connections per node, spread more widely than at random"
        if result.measure("degree_deviation").value > result.references[1].value
        else f"{mean:.1f} connections per node, spread as at random",
        detail=f"{result.parameters.n_nodes} nodes after the growth, seed {result.parameters.seed}",
    )  # fmt: skip
