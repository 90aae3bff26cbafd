"""Whose blocks go stale: does it depend on a miner's size, or on where it stands?

A miner never races against itself and always works on its own branch, so the larger one loses a
smaller share of its blocks.  Whoever hears late works on old blocks, and whoever is heard late
meets more rivals: position counts like size.

Three measurements.  *Size*: a race of pools alone, all equally far from each other, beside its
closed form; the distance is the one that was measured on the network.  *Pools on the network*:
the same pools at nodes of a network, where size and position act together.  *Position*: every
node mines alike, and nodes are told apart by their links and their regions.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from consensus_lab import theory
from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.intervals import mean_interval, proportion_interval
from consensus_lab.experiments.networks import (
    EQUAL_POOLS,
    NetworkParameters,
    build,
    mean_by_hash_power,
    relay_blocks,
)
from consensus_lab.experiments.parameters import parameter
from consensus_lab.experiments.replicates import by_setting
from consensus_lab.experiments.result import Measure, Result
from consensus_lab.network import years
from consensus_lab.node import ParameterError

if TYPE_CHECKING:
    import networkx
    import numpy
    from matplotlib.figure import Figure

    from consensus_lab.gossip.race import Race

RACE, POOLS, LINKS, REGION = "pools alone", "pools on the network", "links", "region"

SIZE_CLASSES = (0.01, 0.05, 0.15)
"""Shares of hash power at which pools on the network are put together, to have blocks enough."""

QUARTERS = ("fewest links", "few links", "many links", "most links")


class Parameters(NetworkParameters):
    """Network, pools, and how many blocks."""

    n_nodes: int = parameter(
        500, full=3000, unit="count", meaning="nodes in the network", minimum=4, maximum=10**6
    )
    pools: str = parameter(
        "bitcoin_2016", choices=years.POOLS, meaning="whose shares of hash power the pools have"
    )
    n_blocks: int = parameter(
        1500, full=10_000, unit="count", meaning="blocks per replicate on the network", minimum=10
    )
    n_blocks_alone: int = parameter(
        400_000, full=5_000_000, unit="count", meaning="blocks of the race of pools alone",
        minimum=10,
    )  # fmt: skip
    block_interval_s: float = parameter(
        60.0, unit="s", meaning="mean time between blocks; 600 s give a tenth of the stale blocks",
        minimum=0.01,
    )  # fmt: skip
    block_size_bytes: int = parameter(
        1_000_000, unit="bytes", meaning="size of each block", minimum=81, maximum=10**9
    )


class _Equal(Parameters):
    """The same network, with every node mining alike."""

    pools: str = parameter(EQUAL_POOLS, choices=(EQUAL_POOLS,), meaning="none")


class Tally(NamedTuple):
    """What every miner found and lost on one network.

    `links`, `region` and `share` (of the hash power) are of each miner, `delay_s` is the mean
    delay between two of them, weighted by hash power.
    """

    links: numpy.ndarray
    region: numpy.ndarray
    share: numpy.ndarray
    found: numpy.ndarray
    stale: numpy.ndarray
    delay_s: float


def run(
    parameters: Parameters, progress: Progress = quiet, *, graph: networkx.Graph | None = None
) -> Result:
    """Count each miner's stale blocks: by size, and by position.

    Parameters
    ----------
    parameters : Parameters
    progress : callable (done, total, what)
    graph : networkx.Graph, optional
        The user's own network.  Where it says who mines (`hash_share`), these are the pools;
        positions are compared with equal hash power all the same.

    Returns
    -------
    Result
        `frame`: one row per measurement and group of miners: their mean share of the hash power,
        blocks found, stale blocks, stale fraction with its 95 % interval (Wilson), and for pools
        alone the closed form's.
    """
    import pandas

    bare = _without_shares(graph)
    equal = _Equal.of({**parameters.as_dict(), "pools": EQUAL_POOLS, "relay_network": False})
    (pools, nodes), interrupted = by_setting(
        [partial(_tally, parameters, graph=graph), partial(_tally, equal, graph=bare)],
        parameters.replicates, progress=progress, what="networks",
    )  # fmt: skip
    alone, delay_s = _alone(parameters, pools)
    rows = [*alone, *_by_size(pools), *_by_links(nodes), *_by_region(nodes)]
    frame = pandas.DataFrame(rows)
    measures = [_measure(row) for row in rows] + [
        Measure("delay_s_between_pools", *delay_s, "s", len(pools))
    ]
    notes = [
        *interrupted,
        "Intervals are binomial over a group's blocks; small groups have few.",
        "On the network a pool's region counts too: where large pools are remote, size and "
        "position act against each other.",
    ]
    return Result("who-loses", parameters, frame, measures, draw=figure, notes=notes)


def _tally(
    parameters: NetworkParameters, replicate: int, *, graph: networkx.Graph | None
) -> Tally:
    """One network's race."""
    import numpy

    from consensus_lab.gossip.mining import draw_schedule

    network, seed = build(parameters, replicate, graph)
    schedule = draw_schedule(
        network, n_blocks=parameters.n_blocks, block_interval_s=parameters.block_interval_s,
        block_size_bytes=parameters.block_size_bytes, seed=seed,
    )  # fmt: skip
    race: Race = relay_blocks(parameters, network, schedule, seed=seed)
    share = network.hash_share
    miners = numpy.flatnonzero(share)
    if len(miners) < 2:
        raise ParameterError("hash_share", "one miner", "above 0 at two nodes at least")
    found, stale = race.stale_by_miner()
    # The finder's own delay is 0: the mean over all pairs becomes that over two different ones.
    apart = 1.0 - mean_by_hash_power(share, share)
    delay_s = mean_by_hash_power(share, race.node_mean_delay_s()) / apart
    return Tally(
        numpy.diff(network.offset)[miners], numpy.array(network.region)[miners], share[miners],
        found[miners], stale[miners], delay_s,
    )  # fmt: skip


def _without_shares(graph: networkx.Graph | None) -> networkx.Graph | None:
    """The user's graph with hash power left open."""
    if graph is None:
        return None
    copy = graph.copy()
    for node in copy:
        copy.nodes[node].pop("hash_share", None)
    return copy


def _alone(
    parameters: Parameters, tallies: list[Tally]
) -> tuple[list[dict[str, Any]], tuple[float, float, float]]:
    """The race of pools that are all as far from each other as those on the network on average."""
    from consensus_lab.gossip.pool_race import pool_race

    delay_s = mean_interval(tally.delay_s for tally in tallies)
    shares = sorted(tallies[0].share.tolist(), reverse=True)
    race = pool_race(
        shares, delay_s[0], n_blocks=parameters.n_blocks_alone,
        block_interval_s=parameters.block_interval_s, seed=parameters.seed,
    )  # fmt: skip
    expected = theory.stale_by_share(
        shares, delay_intervals=delay_s[0] / parameters.block_interval_s
    )
    rows = [
        _row(RACE, f"pool {rank + 1}", share, int(race.found[rank]), int(race.stale[rank]),
             expected[rank])
        for rank, share in enumerate(shares)
    ]  # fmt: skip
    return rows, delay_s


def _row(
    measurement: str, group: str, share: float, found: int, stale: int,
    expected: float = float("nan"),
) -> dict[str, Any]:  # fmt: skip
    fraction, low, high = proportion_interval(stale, found)
    return {
        "measurement": measurement, "group": group, "hash_share_mean": share,
        "blocks": found, "stale_blocks": stale, "stale_fraction": fraction, "stale_low": low,
        "stale_high": high, "stale_closed_form": expected,
    }  # fmt: skip


def _grouped(
    measurement: str, names: Iterable[str], tallies: list[Tally], groups: list[numpy.ndarray]
) -> list[dict[str, Any]]:
    """Rows over all networks; `groups` holds each miner's group number, network by network."""
    rows = []
    for number, name in enumerate(names):
        parts = [(tally, group == number) for tally, group in zip(tallies, groups, strict=True)]
        miners = sum(int(inside.sum()) for _, inside in parts)
        found = sum(int(tally.found[inside].sum()) for tally, inside in parts)
        stale = sum(int(tally.stale[inside].sum()) for tally, inside in parts)
        share = sum(float(tally.share[inside].sum()) for tally, inside in parts)
        if found:
            rows.append(_row(measurement, name, share / miners, found, stale))
    return rows


def _by_size(tallies: list[Tally]) -> list[dict[str, Any]]:
    """Pools on the network, by their share of the hash power."""
    import numpy

    edges = [f"{edge * 100:g} %" for edge in SIZE_CLASSES]
    names = [f"below {edges[0]}",
             *(f"{low} to {high}" for low, high in pairwise(edges)),
             f"{edges[-1]} and above"]  # fmt: skip
    groups = [numpy.searchsorted(SIZE_CLASSES, tally.share, side="right") for tally in tallies]
    return _grouped(POOLS, names, tallies, groups)


def _by_links(tallies: list[Tally]) -> list[dict[str, Any]]:
    """Equal miners, by quarters of the number of links; ties are split by node number."""
    import numpy

    groups = []
    for tally in tallies:
        rank = numpy.argsort(numpy.argsort(tally.links, kind="stable"), kind="stable")
        groups.append(rank * len(QUARTERS) // len(rank))
    return _grouped(LINKS, QUARTERS, tallies, groups)


def _by_region(tallies: list[Tally]) -> list[dict[str, Any]]:
    """Equal miners, by their region."""
    import numpy

    names = sorted(set(numpy.concatenate([tally.region for tally in tallies]).tolist()))
    groups = [numpy.searchsorted(names, tally.region) for tally in tallies]
    return _grouped(REGION, names, tallies, groups)


def _measure(row: dict[str, Any]) -> Measure:
    """A row of the frame as a measure: `stale_fraction_pools_alone_pool_1`."""
    words = f"{row['measurement']} {row['group']}".lower().replace("%", "percent")
    name = "stale_fraction_" + "_".join(words.split())
    return Measure(name, row["stale_fraction"], row["stale_low"], row["stale_high"], "fraction",
                   row["blocks"])  # fmt: skip


def figure(result: Result) -> Figure:
    """Stale share over hash power beside the closed form; and by links and region."""
    from consensus_lab.report.gossip_figures import who_loses_figure

    return who_loses_figure(result)
