"""What share of the hash power suffices for a 51 % attack when blocks travel slowly?

An attacker mines in private: his blocks need no network, so all of them count.  The honest miners'
blocks meet on the way, and those that lose are wasted.  Who out-mines what is left of the honest
blocks out-mines the chain.  With growth G, the blocks of the honest chain per honest block, that
takes G times the honest power: a share G / (1 + G) of all power.

Two honest networks are run with the same intervals.  The *network* relays blocks as it does.  In
the *worst order* everybody hears of everything as late as the last node of that network: the
model of the proofs, whose limit is known (Dembo et al. 2020; Gazi, Kiayias and Russell 2020).
"""

from __future__ import annotations

from bisect import bisect_right
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from consensus_lab import theory
from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.intervals import mean_interval
from consensus_lab.experiments.networks import (
    NetworkParameters,
    build,
    mean_by_hash_power,
    relay_blocks,
    replicate_seed,
)
from consensus_lab.experiments.parameters import parameter
from consensus_lab.experiments.replicates import by_setting
from consensus_lab.experiments.result import Measure, Published, Result
from consensus_lab.sim.streams import array_stream

if TYPE_CHECKING:
    import networkx
    from matplotlib.figure import Figure

    from consensus_lab.network.arrays import Network

NETWORK, WORST = "network", "worst order"


class Parameters(NetworkParameters):
    """Network, and how fast the honest miners find blocks on it."""

    n_nodes: int = parameter(
        300, full=3000, unit="count", meaning="nodes in the network", minimum=2, maximum=10**6
    )
    honest_intervals_s: list[float] = parameter(
        [600.0, 120.0, 30.0, 12.0, 6.0],
        full=[1200.0, 600.0, 300.0, 120.0, 60.0, 30.0, 20.0, 12.0, 6.0], unit="s",
        meaning="mean times between blocks of the honest miners", minimum=0.01,
    )  # fmt: skip
    block_size_bytes: int = parameter(
        1_000_000, unit="bytes", meaning="size of each block", minimum=81, maximum=10**9
    )
    n_blocks: int = parameter(
        600, full=2000, unit="count", meaning="honest blocks per replicate and interval",
        minimum=10,
    )  # fmt: skip
    n_blocks_worst: int = parameter(
        20_000, full=500_000, unit="count", minimum=10,
        meaning="blocks per replicate and interval in the worst order",
    )  # fmt: skip


class Growth(NamedTuple):
    """One replicate's honest chain: blocks on it per block found, and delays (s)."""

    growth: float
    delay_s_mean: float
    delay_s_all: float


def run(
    parameters: Parameters, progress: Progress = quiet, *, graph: networkx.Graph | None = None
) -> Result:
    """Let honest miners work at several intervals and see how much of their work counts.

    Parameters
    ----------
    parameters : Parameters
    progress : callable (done, total, what)
    graph : networkx.Graph, optional
        The user's own network; see `network.attributes.fill` for its attributes.

    Returns
    -------
    Result
        `frame`: one row per honest network and interval: growth of the honest chain, the share
        needed by an attacker with its 95 % interval, delays (s), the mean and the longest delay
        in block intervals of all (attacker included), and what the theory says for the longest.
    """
    import pandas

    intervals_s = parameters.honest_intervals_s
    grown, interrupted = by_setting(
        [partial(_network, parameters, interval_s) for interval_s in intervals_s],
        parameters.replicates, prepare=partial(build, parameters, graph=graph),
        progress=progress, what="races",
    )  # fmt: skip
    delays_s = [sum(one.delay_s_all for one in came) / len(came) for came in grown]
    in_intervals = [delay / interval for delay, interval in zip(delays_s, intervals_s, strict=True)]
    worst, interrupted_there = by_setting(
        [partial(_worst, parameters, x) for x in in_intervals], [len(came) for came in grown],
        progress=progress, what="worst orders",
    )  # fmt: skip
    rows = [_row(NETWORK, *one) for one in zip(intervals_s, grown, strict=True)]
    for interval_s, delay_s, came in zip(intervals_s, delays_s, worst, strict=True):
        rows.append(_row(WORST, interval_s, [Growth(one, delay_s, delay_s) for one in came]))
    rows.sort(key=lambda row: (row["honest"] != NETWORK, -row["honest_interval_s"]))
    measures = [
        Measure(_quantity(row), row["needed_share"], row["needed_low"], row["needed_high"],
                "fraction", row["replicates"])
        for row in rows
    ]  # fmt: skip
    notes = [
        *interrupted, *interrupted_there,
        "Intervals over replicates.  The attacker's own blocks are never stale, and he does not "
        "have to be quick: he only has to be faster in the long run.",
        "The longest delay is the time until the last node has the block, mean over the blocks "
        "that come everywhere.",
    ]
    frame = pandas.DataFrame(rows).drop(columns="replicates")
    return Result("hash-power-needed", parameters, frame, measures, _closed_forms(rows), figure,
                  notes=notes)  # fmt: skip


def _network(parameters: Parameters, interval_s: float, built: tuple[Network, int]) -> Growth:
    """The honest miners on the network; a block that loses does not come everywhere."""
    import numpy

    from consensus_lab.gossip.mining import draw_schedule

    network, seed = built
    schedule = draw_schedule(
        network, n_blocks=parameters.n_blocks, block_interval_s=interval_s,
        block_size_bytes=parameters.block_size_bytes, seed=seed,
    )  # fmt: skip
    race = relay_blocks(parameters, network, schedule, seed=seed, reach_fractions=(1.0,))
    return Growth(
        1.0 - race.stale_rate(), mean_by_hash_power(network.hash_share, race.node_mean_delay_s()),
        float(numpy.nanmean(race.time_to_reach_s(1.0))),
    )  # fmt: skip


def _worst(parameters: Parameters, delay_intervals: float, replicate: int) -> float:
    seed = replicate_seed(parameters, replicate)
    return worst_order_growth(delay_intervals, n_blocks=parameters.n_blocks_worst, seed=seed)


def worst_order_growth(delay_intervals: float, *, n_blocks: int, seed: int) -> float:
    """Heights per block when many small miners all hear of a block exactly that late.

    The first block of a height is known to nobody else for the delay; whoever finds a block in
    that time builds on the height before, so it has the same height and does not count.
    """
    gaps = array_stream(seed, "worst order").standard_exponential(n_blocks)
    found = gaps.cumsum().tolist()
    heights = place = 0
    while place < n_blocks:
        heights += 1
        place = bisect_right(found, found[place] + delay_intervals, place + 1)
    return heights / n_blocks


def _row(honest: str, interval_s: float, grown: list[Growth]) -> dict[str, Any]:
    growth, low, high = mean_interval(one.growth for one in grown)
    # A chain grows by at most one per block, and not backwards.
    low, high = max(0.0, low), min(1.0, high)
    delay_s_mean, delay_s_all = (
        sum(getattr(one, name) for one in grown) / len(grown)
        for name in ("delay_s_mean", "delay_s_all")
    )
    whole_s = interval_s / (1.0 + growth)
    longest = delay_s_all / whole_s
    return {
        "replicates": len(grown), "honest": honest, "honest_interval_s": interval_s,
        "growth": growth, "growth_low": low, "growth_high": high,
        "needed_share": needed_share(growth), "needed_low": needed_share(low),
        "needed_high": needed_share(high),
        "delay_s_mean": delay_s_mean, "delay_s_all": delay_s_all,
        "interval_s_with_attacker": whole_s, "delay_intervals_mean": delay_s_mean / whole_s,
        "delay_intervals_all": longest, "needed_tight": theory.tolerated_share_tight(longest),
    }  # fmt: skip


def needed_share(growth: float) -> float:
    """Share of all hash power with which private mining keeps pace with the honest chain.

    The attacker needs `growth` times the honest power.

    Examples
    --------
    >>> needed_share(1.0), round(needed_share(0.5), 4)
    (0.5, 0.3333)
    """
    return growth / (1.0 + growth)


def _quantity(row: dict[str, Any]) -> str:
    name = row["honest"].replace(" ", "_")
    return f"needed_share_{name}_{row['honest_interval_s']:g}s"


def _closed_forms(rows: list[dict[str, Any]]) -> list[Published]:
    """The tight limit at each row's longest delay: exact in the worst order, below it else."""
    return [
        Published(
            _quantity(row), row["needed_tight"], "fraction",
            "closed form: tight limit at the longest delay (Dembo et al. 2020; Gazi et al. 2020)",
        )
        for row in rows
    ]  # fmt: skip


def figure(result: Result) -> Figure:
    """Growth of the honest chain, and the share needed, over the delay."""
    from consensus_lab.report.gossip_figures import hash_power_figure

    return hash_power_figure(result)
