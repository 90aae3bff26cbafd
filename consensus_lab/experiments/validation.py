"""Does the simulated network do what was measured, published and proved?

Everything that has a published value, beside it: the real network by year, Bitcoin-Simulator's and
SimBlock's runs, the four coins' stale rates, closed forms of forks, and gossip times against first
passage.  Inputs are measured ones (`data/network`); none was chosen to bring an output near a
published one.  Where the two differ, the row says why, as far as that is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from consensus_lab import constants
from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.intervals import proportion_interval
from consensus_lab.experiments.networks import build, read_graph, relay_blocks
from consensus_lab.experiments.parameters import ParameterSet, parameter
from consensus_lab.experiments.replicates import by_setting
from consensus_lab.experiments.result import Measure, Result
from consensus_lab.experiments.validations import (
    coins,
    first_passage,
    forks,
    gervais,
    simblock,
)
from consensus_lab.experiments.validations import years as by_year
from consensus_lab.experiments.validations.comparison import (
    HOLDS,
    WITHIN,
    Comparison,
    by_group,
    frame_of,
)
from consensus_lab.network.years import YEARS
from consensus_lab.node import ParameterError

if TYPE_CHECKING:
    import networkx
    from matplotlib.figure import Figure

    from consensus_lab.gossip.race import Race
    from consensus_lab.network.arrays import Network

GROUPS = ("years", "gervais", "coins", "simblock", "forks", "gossip_times")
Step = Callable[[], list[Comparison]]

ON_OWN_GRAPH = ("years", "forks", "gossip_times")
"""What makes sense on a user's graph; the other groups bring the graph of their publication."""

FORKS_YEAR, FORKS_INTERVAL_S = 2016, 30.0
"""A network with slow relay and quick blocks: enough forks to tell formulas apart."""



class Parameters(ParameterSet):
    """What to compare, and how large the runs are."""

    groups: list[str] = parameter(
        list(GROUPS), choices=GROUPS, meaning="what to compare with", unit="names"
    )
    n_nodes: int = parameter(
        200, full=6000, unit="count", minimum=40, maximum=10**5,
        meaning="nodes of a year's and a coin's network (Bitcoin-Simulator's has its 6000)",
    )  # fmt: skip
    n_blocks: int = parameter(
        1500, full=2000, unit="count", minimum=10, meaning="blocks per network"
    )
    simblock_height: int = parameter(
        200, full=3_000, unit="count", minimum=10, meaning="height of SimBlock's runs at most"
    )
    n_blocks_large: int = parameter(
        30, full=100, unit="count", minimum=2,
        meaning="blocks per network of Bitcoin-Simulator's 6000 nodes",
    )  # fmt: skip
    n_graphs: int = parameter(
        8, full=200, unit="count", minimum=2, meaning="graphs per kind for gossip times"
    )
    replicates: int = parameter(
        4, full=5, unit="count", minimum=2, maximum=1000, meaning="independent networks"
    )
    everything: bool = parameter(
        False, full=True, meaning="every published setting instead of a readable choice"
    )
    graph_file: str = parameter(
        "", meaning="own edge list or .graphml file, for years, forks and gossip_times"
    )

    def check(self) -> None:
        if len(set(self.groups)) < len(self.groups):
            raise ParameterError("groups", self.groups, "each name once")
        if self.graph_file and not set(self.groups) & set(ON_OWN_GRAPH):
            raise ParameterError("groups", self.groups, f"one of {', '.join(ON_OWN_GRAPH)}")


def run(
    parameters: Parameters, progress: Progress = quiet, *, graph: networkx.Graph | None = None
) -> Result:
    """Make every comparison that was asked for.

    Parameters
    ----------
    parameters : Parameters
    progress : callable (done, total, what)
    graph : networkx.Graph, optional
        The user's own network for the groups in `ON_OWN_GRAPH`; the others are left out.

    Returns
    -------
    Result
        `frame`: one row per comparison, see `validations.comparison.Comparison`; columns ratio
        and verdict (within, differs, holds, broken) besides.
    """
    if graph is None and parameters.graph_file:
        graph = read_graph(parameters.graph_file)
    steps = list(_steps(parameters, graph))
    if not steps:
        raise ParameterError("groups", parameters.groups, f"one of {', '.join(ON_OWN_GRAPH)}")
    came, interrupted = by_setting(
        [partial(_made, step) for step in steps], 1, progress=progress, what="comparisons",
        may_lack=True,
    )  # fmt: skip
    rows = [row for made in came for part in made for row in part]
    frame = frame_of(rows)
    return Result(
        "validation", parameters, frame, _measures(frame), [], figure,
        notes=interrupted + _notes(
            frame, graph.number_of_nodes() if graph is not None else parameters.n_nodes
        ),
    )  # fmt: skip


def _steps(p: Parameters, graph: networkx.Graph | None) -> Iterator[Step]:
    """Each piece of work, in the order of the rows."""
    own = graph is not None
    if "years" in p.groups:
        for year in YEARS:
            yield partial(_year, p, year, graph)
        yield partial(_year, p, by_year.BRACKETED_YEAR, graph, relay_network=True)
    if "gervais" in p.groups and not own:
        made = gervais.networks(p.seed, p.replicates)
        for row in gervais.published_rows(everything=p.everything):
            yield partial(_gervais, p, row, made)
    if "coins" in p.groups and not own:
        for row in coins.settings():
            yield partial(_coin, p, row)
    if "simblock" in p.groups and not own:
        for row in simblock.published_rows(everything=p.everything):
            yield partial(_simblock, p, row)
    if "forks" in p.groups:
        yield partial(_forks, p, graph)
    if "gossip_times" in p.groups:
        yield partial(_gossip_times, p, graph)


def _made(step: Step, _: int) -> list[Comparison]:
    return step()


def _year(
    p: Parameters, year: int, graph: networkx.Graph | None, *, relay_network: bool = False
) -> list[Comparison]:
    chosen = by_year.parameters_of(
        year, n_nodes=p.n_nodes, seed=p.seed, relay_network=relay_network
    )
    races = by_year.races_of(chosen, n_blocks=p.n_blocks, replicates=p.replicates, graph=graph)
    return by_year.compare_year(year, races, relay_network=relay_network)


def _gervais(
    p: Parameters, row: dict[str, str], pairs: list[tuple[Network, int]]
) -> list[Comparison]:
    races = [
        gervais.race_of(row, network, n_blocks=p.n_blocks_large, seed=seed)
        for network, seed in pairs
    ]
    return gervais.compare_row(row, races)


def _coin(p: Parameters, row: dict[str, str]) -> list[Comparison]:
    races = [
        coins.race_of(row, n_nodes=p.n_nodes, n_blocks=p.n_blocks, seed=p.seed + replicate)
        for replicate in range(p.replicates)
    ]
    return coins.compare_coin(row, races)


def _simblock(p: Parameters, row: dict[str, str]) -> list[Comparison]:
    outcomes = simblock.outcomes_of(
        row, end_height=p.simblock_height, seeds=p.replicates, seed=p.seed
    )
    return simblock.compare_run(row, outcomes)


def _forks(p: Parameters, graph: networkx.Graph | None) -> list[Comparison]:
    rows: list[Comparison] = []
    if graph is None:
        rows += forks.fully_delayed(n_blocks=150 * p.n_blocks, seed=p.seed)
        rows += forks.two_miners(n_blocks=150 * p.n_blocks, seed=p.seed)
    races = quick_races(p, graph)
    n = races[0].network.n_nodes
    setting = f"network of {FORKS_YEAR}, {n:,} nodes, every {FORKS_INTERVAL_S:g} s"
    return rows + forks.on_a_network(races, interval_s=FORKS_INTERVAL_S, setting=setting)


def quick_races(p: Parameters, graph: networkx.Graph | None) -> list[Race]:
    """A slow network with quick blocks, every arrival kept: many forks."""
    from consensus_lab.gossip.mining import draw_schedule

    chosen = by_year.parameters_of(FORKS_YEAR, n_nodes=p.n_nodes, seed=p.seed)
    races = []
    for replicate in range(p.replicates):
        network, seed = build(chosen, replicate, graph)
        schedule = draw_schedule(
            network, n_blocks=p.n_blocks, block_interval_s=FORKS_INTERVAL_S, seed=seed,
            block_size_bytes=constants.BLOCK_SIZE_BYTES_MAX // 10,
        )  # fmt: skip
        races.append(relay_blocks(chosen, network, schedule, seed=seed, keep_all=True))
    return races


def _gossip_times(p: Parameters, graph: networkx.Graph | None) -> list[Comparison]:
    if graph is not None:
        network, _ = build(by_year.parameters_of(FORKS_YEAR, n_nodes=p.n_nodes, seed=p.seed), 0,
                           graph)  # fmt: skip
        return first_passage.on_own_graph(network, seed=p.seed)
    rows = first_passage.on_the_complete_graph(n_graphs=p.n_graphs, seed=p.seed)
    for name in first_passage.GRAPHS:
        rows += first_passage.on_random_graphs(name, n_graphs=p.n_graphs, seed=p.seed)
    return rows


def _measures(frame: object) -> list[Measure]:
    """The share of comparisons that agree, per group."""
    return [
        Measure(
            f"agreeing_{row.group.replace(': ', '_').replace(' ', '_')}",
            *proportion_interval(row.agree, row.comparisons), "fraction", row.comparisons,
            "intervals overlap",
        )
        for row in by_group(frame).itertuples()
    ]  # fmt: skip


def _notes(frame: object, n_nodes: int) -> list[str]:
    agree = int(frame["verdict"].isin([WITHIN, HOLDS]).sum())  # type: ignore[index]
    notes = [
        f"{agree} of {len(frame)} comparisons agree within the two 95 % intervals; "  # type: ignore[arg-type]
        "where model and publication are the same, one in twenty would differ by chance.",
        f"A year's network has {n_nodes:,} nodes; its delays grow with the logarithm of that.",
        "Inputs are measured, none was fitted; what is unknown for a year is carried over and "
        "marked in data/network/network_years.csv.",
    ]
    for why, part in frame[frame["why"] != ""].groupby("why", sort=False):  # type: ignore[index]
        groups = ", ".join(dict.fromkeys(part["group"]))
        notes.append(f"{len(part)} differ in {groups}: {why}.")
    return notes


def figure(result: Result) -> Figure:
    """Simulated against published, with the line on which they are equal."""
    from consensus_lab.report.validation import validation_figure

    return validation_figure(result)
