"""How many blocks go stale when blocks come faster or are larger?

Two miners who find a block before hearing of each other's fork the chain; the branch that is
extended first wins and the other's blocks are stale.  Nothing but the network, the interval and
the size goes in; who wins is decided by each node's own rule: most work, first seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from consensus_lab import constants, data
from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.intervals import mean_interval, proportion_interval
from consensus_lab.experiments.networks import NetworkParameters, build, relay_blocks
from consensus_lab.experiments.parameters import parameter
from consensus_lab.experiments.result import Measure, Published, Result

if TYPE_CHECKING:
    import networkx
    from matplotlib.figure import Figure

PUBLISHED_YEARS = ("2012", "2016", "2022")


class Parameters(NetworkParameters):
    """Network, and the grid of block intervals and sizes."""

    block_intervals_s: list[float] = parameter(
        [600.0, 60.0, 12.0], full=[600.0, 300.0, 120.0, 60.0, 30.0, 12.0], unit="s",
        meaning="mean times between blocks to try", minimum=0.01,
    )  # fmt: skip
    block_sizes_bytes: list[int] = parameter(
        [250_000, 1_000_000], full=[100_000, 250_000, 500_000, 1_000_000, 2_000_000, 4_000_000],
        unit="bytes", meaning="block sizes to try", minimum=81, maximum=10**9,
    )  # fmt: skip
    n_blocks: int = parameter(
        300, full=5000, unit="count", meaning="blocks per replicate and setting", minimum=1
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
        stale fraction with its 95 % interval (Wilson), mean delay (s), transactions per second
        that the best chain confirms.
    """
    import pandas

    networks = [build(parameters, r, graph) for r in range(parameters.replicates)]
    settings = [
        (interval_s, size_bytes)
        for size_bytes in parameters.block_sizes_bytes
        for interval_s in parameters.block_intervals_s
    ]
    rows = []
    for place, (interval_s, size_bytes) in enumerate(settings):
        progress(place, len(settings), "settings")
        rows.append(_setting(parameters, networks, interval_s, size_bytes))
    progress(len(settings), len(settings), "settings")
    measures = [
        Measure(
            _quantity(row["block_interval_s"], row["block_size_bytes"]),
            row["stale_fraction"], row["stale_low"], row["stale_high"], "fraction", row["blocks"],
        )
        for row in rows
    ]  # fmt: skip
    notes = [
        "Intervals are binomial over all blocks; a stale block is one that was found and is not "
        "on the chain that most nodes hold at the end.",
        "Published rates are counted by archives that miss stale blocks: lower bounds.",
    ]
    frame = pandas.DataFrame(rows)
    return Result("stale-rate", parameters, frame, measures, published(parameters), figure,
                  notes=notes)  # fmt: skip


def _setting(parameters: Parameters, networks: list, interval_s: float, size_bytes: int) -> dict:
    from consensus_lab.gossip.mining import draw_schedule

    stale = blocks = 0
    delays_s = []
    for network, seed in networks:
        schedule = draw_schedule(
            network, n_blocks=parameters.n_blocks, block_interval_s=interval_s,
            block_size_bytes=size_bytes, seed=seed,
        )  # fmt: skip
        race = relay_blocks(parameters, network, schedule, seed=seed)
        stale += race.stale_blocks()
        blocks += schedule.n_blocks
        delays_s.append(race.mean_delay_s())
    fraction, low, high = proportion_interval(stale, blocks)
    delay_s, delay_low_s, delay_high_s = mean_interval(delays_s)
    transactions = size_bytes // parameters.transaction_size_bytes
    return {
        "block_interval_s": interval_s, "block_size_bytes": size_bytes, "blocks": blocks,
        "stale_blocks": stale, "stale_fraction": fraction, "stale_low": low, "stale_high": high,
        "delay_s_mean": delay_s, "delay_s_low": delay_low_s, "delay_s_high": delay_high_s,
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


def figure(result: Result) -> Figure:
    """Stale fraction over the interval, one curve per size."""
    from consensus_lab.report.figures import stale_rate_figure

    return stale_rate_figure(result)
