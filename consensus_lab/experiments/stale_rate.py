"""How many blocks go stale when blocks come faster or are larger?

Two miners who find a block before hearing of each other's fork the chain; the branch that is
extended first wins and the other's blocks are stale.  Nothing but the network, the interval and
the size goes in; who wins is decided by each node's own rule: most work, first seen.

Theory beside it: x is the delay from miner to miner, weighted by hash power, in block intervals.
To first order a share x of all blocks is stale, whatever the network (Decker and Wattenhofer 2013);
if everybody heard of a block exactly x after it was found, the share would be x / (1 + x).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from consensus_lab import constants, data, theory
from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.intervals import mean_interval, proportion_interval
from consensus_lab.experiments.networks import (
    NetworkParameters,
    build,
    mean_by_hash_power,
    relay_blocks,
    year_notes,
)
from consensus_lab.experiments.parameters import parameter
from consensus_lab.experiments.replicates import by_setting
from consensus_lab.experiments.result import Measure, Published, Result

if TYPE_CHECKING:
    import networkx
    from matplotlib.figure import Figure

    from consensus_lab.network.arrays import Network

MEASURED_FORKS = "fork rate, blocks 180000-190000"
"""Row of the published stale rates that belongs to the delays measured in 2012."""

PUBLISHED_YEARS = ("2012", "2016", "2022")


class Parameters(NetworkParameters):
    """Network, and the grid of block intervals and sizes."""

    block_intervals_s: list[float] = parameter(
        [600.0, 120.0, 30.0, 12.0], full=[600.0, 300.0, 120.0, 60.0, 30.0, 12.0], unit="s",
        meaning="mean times between blocks to try", minimum=0.01,
    )  # fmt: skip
    block_sizes_bytes: list[int] = parameter(
        [250_000, 1_000_000, 4_000_000],
        full=[100_000, 250_000, 500_000, 1_000_000, 2_000_000, 4_000_000],
        unit="bytes", meaning="block sizes to try", minimum=81, maximum=10**9,
    )  # fmt: skip
    n_blocks: int = parameter(
        200, full=400, unit="count", meaning="blocks per replicate and setting", minimum=1
    )
    transaction_size_bytes: int = parameter(
        250, unit="bytes", meaning="mean size of a transaction", minimum=60, maximum=100_000
    )


def run(
    parameters: Parameters, progress: Progress = quiet, *, graph: networkx.Graph | None = None
) -> Result:
    """Count stale blocks for every interval and size on independent networks.

    Returns
    -------
    Result
        `frame`: one row per interval and size, pooled over replicates: blocks, stale blocks,
        stale fraction with its 95 % interval (Wilson), mean delay (s), the delay between miners
        in block intervals and the stale fraction that the full delay predicts for it,
        transactions per second that the best chain confirms.
    """
    import pandas

    settings = [
        (interval_s, size_bytes)
        for size_bytes in parameters.block_sizes_bytes
        for interval_s in parameters.block_intervals_s
    ]
    races, interrupted = by_setting(
        [partial(_race, parameters, *setting) for setting in settings], parameters.replicates,
        prepare=partial(build, parameters, graph=graph), progress=progress, what="races",
    )  # fmt: skip
    rows = [
        _row(parameters, *setting, came) for setting, came in zip(settings, races, strict=True)
    ]
    measures = [
        Measure(
            _quantity(row["block_interval_s"], row["block_size_bytes"]),
            row["stale_fraction"], row["stale_low"], row["stale_high"], "fraction", row["blocks"],
        )
        for row in rows
    ]  # fmt: skip
    notes = [
        *interrupted,
        "Intervals are binomial over all blocks; a stale block is one that was found and is not "
        "on the chain that most nodes hold at the end.",
        "Published rates are counted by archives that miss stale blocks: lower bounds.",
        *year_notes(parameters),
    ]
    frame = pandas.DataFrame(rows)
    return Result("stale-rate", parameters, frame, measures, published(parameters), figure,
                  notes=notes)  # fmt: skip


class _Raced(NamedTuple):
    """Of one replicate of a setting; `miner_delay_s` is weighted by hash power."""

    blocks: int
    stale: int
    delay_s: float
    miner_delay_s: float


def _race(
    parameters: Parameters, interval_s: float, size_bytes: int, built: tuple[Network, int]
) -> _Raced:
    from consensus_lab.gossip.mining import draw_schedule

    network, seed = built
    schedule = draw_schedule(
        network, n_blocks=parameters.n_blocks, block_interval_s=interval_s,
        block_size_bytes=size_bytes, seed=seed,
    )  # fmt: skip
    race = relay_blocks(parameters, network, schedule, seed=seed)
    return _Raced(
        schedule.n_blocks, race.stale_blocks(), race.mean_delay_s(),
        mean_by_hash_power(network.hash_share, race.node_mean_delay_s()),
    )  # fmt: skip


def _row(
    parameters: Parameters, interval_s: float, size_bytes: int, races: list[_Raced]
) -> dict[str, float]:
    blocks, stale = sum(one.blocks for one in races), sum(one.stale for one in races)
    fraction, low, high = proportion_interval(stale, blocks)
    delay_s, delay_low_s, delay_high_s = mean_interval(one.delay_s for one in races)
    delay_intervals = sum(one.miner_delay_s for one in races) / len(races) / interval_s
    transactions = size_bytes // parameters.transaction_size_bytes
    return {
        "block_interval_s": interval_s, "block_size_bytes": size_bytes, "blocks": blocks,
        "stale_blocks": stale, "stale_fraction": fraction, "stale_low": low, "stale_high": high,
        "delay_s_mean": delay_s, "delay_s_low": delay_low_s, "delay_s_high": delay_high_s,
        "delay_intervals": delay_intervals,
        "stale_full_delay": theory.full_delay_forks(delay_intervals).stale_fraction,
        "confirmed_tps": transactions / interval_s * (1.0 - fraction),
    }  # fmt: skip


def _quantity(interval_s: float, size_bytes: int) -> str:
    return f"stale_fraction_{interval_s:g}s_{size_bytes / 1000:g}kB"


def published(parameters: Parameters) -> list[Published]:
    """Stale blocks per block of all, as archived from the real network, by year.

    Beside the size that comes next to the limit of 1 MB; real blocks were smaller at first.
    """
    limit = constants.BLOCK_SIZE_BYTES_MAX
    size_bytes = min(parameters.block_sizes_bytes, key=lambda size: abs(size - limit))
    return [
        Published(
            _quantity(constants.BLOCK_INTERVAL_S, size_bytes),
            float(row["stale_fraction_of_all_blocks"]), "fraction",
            f"stale-block archive, {row['year']} (lower bound)",
        )
        for row in data.rows("bitcoin/published/stale_rate_by_year.csv")
        if row["year"] in PUBLISHED_YEARS
    ]  # fmt: skip


def measured_forks() -> list[tuple[float, float, str]]:
    """Delay in block intervals and stale share, as both were measured in 2012, with the source.

    Decker and Wattenhofer's own count of forks, and what the archive holds of that year.
    """
    delay_s = next(
        float(row["value_s"])
        for row in data.rows("bitcoin/published/published_block_propagation.csv")
        if row["year"] == "2012" and row["statistic"] == "mean"
    )
    counted = [
        (float(row["value"]), "Decker and Wattenhofer 2013")
        for row in data.rows("bitcoin/published/published_stale_rates.csv")
        if row["what"] == MEASURED_FORKS
    ] + [
        (float(row["stale_fraction_of_all_blocks"]), "archive, 2012 (lower bound)")
        for row in data.rows("bitcoin/published/stale_rate_by_year.csv")
        if row["year"] == "2012"
    ]
    delay_intervals = delay_s / constants.BLOCK_INTERVAL_S
    return [(delay_intervals, share, source) for share, source in counted]


def figure(result: Result) -> Figure:
    """The trade-off: stale share over interval and size with the throughput; and why."""
    from consensus_lab.report.gossip_figures import trade_off_figure

    return trade_off_figure(result, measured_forks())


def curves(result: Result) -> Figure:
    """Stale fraction over the interval, one curve per size, archived rates beside it."""
    from consensus_lab.report.figures import stale_rate_figure

    return stale_rate_figure(result)
