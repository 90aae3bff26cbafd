"""How much do the unknown inputs of a year's network matter?

What is unknown for a year is carried over from another one: the speed at which a node checks a
block above all, then lines, pools and what a compact block lacks.  Here each input is changed
alone, with the same blocks, and the change of the delay says how much rests on it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from consensus_lab import constants
from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.intervals import mean_interval
from consensus_lab.experiments.networks import (
    NetworkParameters,
    build,
    delay_quantile_s,
    read_graph,
    relay_blocks,
)
from consensus_lab.experiments.parameters import ParameterSet, parameter
from consensus_lab.experiments.replicates import by_setting
from consensus_lab.experiments.result import Measure, Result
from consensus_lab.experiments.validations.forks import mean_delay_by_hash_power_s
from consensus_lab.experiments.validations.years import parameters_of
from consensus_lab.network.years import YEARS, network_year

if TYPE_CHECKING:
    import networkx
    from matplotlib.figure import Figure

SMALLER, LARGER = 0.25, 4.0
HALF, TWICE = 0.5, 2.0
MISSING = (0.0, 0.5)
"""A compact block that never lacks a transaction, and the worst that was seen for weeks (2024)."""

OF_NODES = {"validation_bytes_per_s", "missing_chance"}
"""Changes that leave the network as it is."""


class Parameters(ParameterSet):
    """Which years, and how large the runs are."""

    network_years: list[int] = parameter(
        list(YEARS), choices=YEARS, unit="years", meaning="networks to change"
    )
    n_nodes: int = parameter(
        200, full=6000, unit="count", minimum=40, maximum=10**5, meaning="nodes in the network"
    )
    n_blocks: int = parameter(
        40, full=200, unit="count", minimum=2, meaning="blocks relayed per replicate"
    )
    replicates: int = parameter(
        4, full=6, unit="count", minimum=2, maximum=1000,
        meaning="independent networks, the same ones for every change",
    )  # fmt: skip
    graph_file: str = parameter("", meaning="own edge list or .graphml file instead of a topology")


def changes_of(chosen: NetworkParameters) -> list[tuple[str, str, str, dict[str, Any]]]:
    """Each change of a year's network: its input, what is done, the data's name, parameters."""
    speed = chosen.chosen("validation_bytes_per_s")
    degree = chosen.chosen("degree")
    lists: list[tuple[str, str, str, dict[str, Any]]] = []
    for factor in (SMALLER, LARGER):
        lists.append(("checking speed", f"x {factor:g}", "validation_bytes_per_s",
                      {"validation_bytes_per_s": round(factor * speed)}))  # fmt: skip
    for factor in (HALF, TWICE):
        lists.append(("line rates", f"x {factor:g}", "geography", {"bandwidth_scale": factor}))
    for factor in (HALF, TWICE):
        lists.append(("connections", f"x {factor:g}", "degree",
                      {"degree": round(factor * degree)}))  # fmt: skip
    for chance in MISSING if chosen.chosen("relay").startswith("compact") else ():
        lists.append(("missing transactions", f"chance {chance:g}", "missing_chance",
                      {"missing_chance": chance}))  # fmt: skip
    lists.append(("miners", "every node alike", "pools", {"pools": "equal"}))
    lists.append(("miners", "pools with a relay network", "pools", {"relay_network": True}))
    for factor in (HALF, TWICE):
        lists.append(("nodes", f"x {factor:g}", "n_nodes",
                      {"n_nodes": round(factor * chosen.n_nodes)}))  # fmt: skip
    return lists


def run(
    parameters: Parameters, progress: Progress = quiet, *, graph: networkx.Graph | None = None
) -> Result:
    """Change one input at a time.

    Returns
    -------
    Result
        `frame`: one row per year and change: the status of that input in the year's data, the
        median delay per delivery and the mean delay of the hash power (s), and the ratio of the
        median to the unchanged network's with its 95 % interval over paired replicates.
    """
    import pandas

    if graph is None and parameters.graph_file:
        graph = read_graph(parameters.graph_file)
    years = parameters.network_years
    came, interrupted = by_setting(
        [partial(_delays, parameters, year, graph) for year in years], parameters.replicates,
        progress=progress, what="networks",
    )  # fmt: skip
    rows = []
    for year, networks in zip(years, came, strict=True):
        unchanged = [one[0] for one in networks]
        for (name, change, status, _), *delays in zip(
            _changes(parameters, year, graph), *networks, strict=True
        ):
            rows.append(_row(year, name, change, status, delays, unchanged))
    frame = pandas.DataFrame(rows)
    notes = [
        *interrupted,
        "Intervals are over networks, each paired with itself unchanged.",
        "The checking speed is one developer's log of another year for 2013, 2019, 2022 and 2025.",
    ]
    return Result("validation-sensitivity", parameters, frame, _measures(frame), [], figure,
                  notes=notes)  # fmt: skip


def _changes(
    p: Parameters, year: int, graph: networkx.Graph | None
) -> list[tuple[str, str, str, dict[str, Any]]]:
    """What is changed in a year: nothing, then nodes, then the network; with the data's status."""
    status = {one.quantity: one.status for one in network_year(year).inputs}
    changes = sorted(changes_of(_base(p, year)), key=lambda one: not set(one[3]) <= OF_NODES)
    return [("nothing", "", "", {})] + [
        (name, change, status[quantity], values)
        for name, change, quantity, values in changes
        # A user's graph has its own nodes and links.
        if graph is None or not set(values) & {"n_nodes", "degree"}
    ]


def _base(p: Parameters, year: int) -> NetworkParameters:
    return parameters_of(year, n_nodes=p.n_nodes, seed=p.seed)


def _delays(
    p: Parameters, year: int, graph: networkx.Graph | None, replicate: int
) -> list[tuple[float, float]]:
    """Of each change: the median per delivery and the mean of the hash power (s)."""
    from consensus_lab.gossip.mining import draw_schedule

    base = _base(p, year)
    network, seed = build(base, replicate, graph)
    delays = []
    for *_, values in _changes(p, year, graph):
        changed = base.replace(**values)
        # Changes of nodes come first, so they find the unchanged network.
        if not set(values) <= OF_NODES:
            network, seed = build(changed, replicate, graph)
        schedule = draw_schedule(
            network, n_blocks=p.n_blocks, block_interval_s=constants.BLOCK_INTERVAL_S, seed=seed,
            block_size_bytes=network_year(year).block_size_bytes,
        )  # fmt: skip
        race = relay_blocks(changed, network, schedule, seed=seed)
        delays.append((delay_quantile_s(race, 0.5), mean_delay_by_hash_power_s(race)))
    return delays
def _row(
    year: int, name: str, change: str, status: str, delays: list[tuple[float, float]],
    unchanged: list[tuple[float, float]],
) -> dict[str, Any]:  # fmt: skip
    pairs = zip(delays, unchanged, strict=True)
    ratio, low, high = mean_interval(ours / before for (ours, _), (before, _) in pairs)
    return {
        "year": year, "input": name, "change": change, "status": status,
        "delay_s_p50": mean_interval(median_s for median_s, _ in delays)[0],
        "hash_power_delay_s": mean_interval(mean_s for _, mean_s in delays)[0],
        "ratio": ratio, "ratio_low": low, "ratio_high": high, "replicates": len(delays),
    }  # fmt: skip


def _measures(frame: Any) -> list[Measure]:
    """Per year, the change that moves the median most."""
    measures = []
    for year, part in frame[frame["input"] != "nothing"].groupby("year"):
        away = part["ratio"].map(lambda ratio: max(ratio, 1.0 / ratio))
        row = part.loc[away.idxmax()]
        name = f"ratio_{year}_{row['input']}_{row['change']}".replace(" ", "_")
        measures.append(Measure(name, row["ratio"], row["ratio_low"], row["ratio_high"], "ratio",
                                int(row["replicates"])))  # fmt: skip
    return measures


def figure(result: Result) -> Figure:
    """How far the median delay moves with each input, per year."""
    from consensus_lab.report.validation import sensitivity_figure

    return sensitivity_figure(result)
