"""How long does a new block take to reach the nodes of the network?

Blocks are found by random nodes and relayed by inv, getdata and block messages over links with
latency and lines with limited bandwidth; each node checks a block before it announces it.  A
delivery's delay runs from discovery to the end of the receiving node's check; the finder's own is
not counted.  The essay's 12.6 s is a mean over nodes measured in 2012.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from consensus_lab import data
from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.intervals import mean_interval
from consensus_lab.experiments.networks import (
    NetworkParameters,
    build,
    delay_mean_s,
    delay_quantile_s,
    relay_blocks,
    year_notes,
)
from consensus_lab.experiments.parameters import parameter
from consensus_lab.experiments.replicates import finished
from consensus_lab.experiments.result import Measure, Published, Result

if TYPE_CHECKING:
    import networkx
    from matplotlib.figure import Figure

    from consensus_lab.gossip.race import Race

SHARES = (0.01, *(share / 100 for share in range(5, 100, 5)), 0.99)
QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
KIT_YEAR = "2022"
"""The monitor's sample that spans the essay's date."""


class Parameters(NetworkParameters):
    """Network, blocks, and how many of them."""

    n_blocks: int = parameter(
        100, full=1000, unit="count", meaning="blocks relayed per replicate", minimum=1
    )
    block_size_bytes: int = parameter(
        1_000_000, unit="bytes", meaning="size of each block", minimum=81, maximum=10**9
    )
    block_interval_s: float = parameter(
        600.0, unit="s", meaning="mean time between blocks", minimum=0.001
    )


def run(
    parameters: Parameters, progress: Progress = quiet, *, graph: networkx.Graph | None = None
) -> Result:
    """Relay blocks over independent networks and collect the delays of all deliveries.

    Parameters
    ----------
    parameters : Parameters
    progress : callable (done, total, what)
    graph : networkx.Graph, optional
        The user's own network; see `network.attributes.fill` for its attributes.

    Returns
    -------
    Result
        `frame`: one row per replicate and share of deliveries: the delay (s) that this share
        does not exceed.
    """
    import pandas

    per_replicate, interrupted = finished(
        partial(measure, parameters, graph=graph), parameters.replicates, progress=progress,
        what="networks",
    )  # fmt: skip
    ended = len(per_replicate)
    measures = [
        Measure(name, *mean_interval(r[name] for r in per_replicate), "s", ended)
        for name in ("delay_s_mean", *(f"delay_s_{name}" for name in QUANTILES))
    ]
    deliveries = sum(r["deliveries"] for r in per_replicate)
    notes = [
        *interrupted,
        f"{deliveries:,} deliveries; intervals over {ended} independent networks.",
        "12.6 s was measured in 2012, before compact blocks and today's lines; a monitor saw a "
        "median below half a second in the month of the essay.",
        *year_notes(parameters, parameters.block_size_bytes),
    ]
    frame = pandas.DataFrame([
        {"replicate": r["replicate"], "share": share, "delay_s": r[share]}
        for r in per_replicate for share in SHARES
    ])  # fmt: skip
    return Result("propagation", parameters, frame, measures, published(), figure, notes=notes)


def measure(
    parameters: Parameters, replicate: int, *, graph: networkx.Graph | None = None
) -> dict[str | float, float]:
    """One network's delays (s): by share of the deliveries, and by the measure's name."""
    race = _race(parameters, replicate, graph)
    delays = {share: delay_quantile_s(race, share) for share in (*SHARES, *QUANTILES.values())}
    values = {f"delay_s_{name}": delays[share] for name, share in QUANTILES.items()}
    others = race.deliveries - race.schedule.n_blocks
    return {
        "replicate": replicate, "deliveries": others, "delay_s_mean": delay_mean_s(race),
        **values, **delays,
    }  # fmt: skip


def _race(parameters: Parameters, replicate: int, graph: networkx.Graph | None) -> Race:
    from consensus_lab.gossip.mining import draw_schedule

    network, seed = build(parameters, replicate, graph)
    schedule = draw_schedule(
        network, n_blocks=parameters.n_blocks, block_interval_s=parameters.block_interval_s,
        block_size_bytes=parameters.block_size_bytes, seed=seed,
    )  # fmt: skip
    return relay_blocks(parameters, network, schedule, seed=seed)


def published() -> list[Published]:
    """Delays measured on the real network: 2012, and the month of the essay."""
    known = []
    for row in data.rows("bitcoin/published/published_block_propagation.csv"):
        if row["year"] == "2012":
            quantity = f"delay_s_{row['statistic']}"
            known.append(Published(quantity, float(row["value_s"]), "s", row["source"]))
    for row in data.rows("bitcoin/published/kit_block_propagation_percentiles.csv"):
        if row["year"] == KIT_YEAR:
            source = f"KIT DSN monitor, {row['period']} (announcements within 30 s)"
            for name, column in (
                ("p50", "p50_ms_median_over_windows"),
                ("p90", "p90_ms_median"),
                ("p99", "p99_ms_median"),
            ):
                value_s = float(row[column]) / 1000
                known.append(Published(f"delay_s_{name}", value_s, "s", source))
    return known


def figure(result: Result) -> Figure:
    """The distribution of delays, with the published means and medians."""
    from consensus_lab.report.figures import propagation_figure

    return propagation_figure(result)
