"""SimBlock's own model and settings, beside what SimBlock printed for them.

The same program in other hands: the published runs are one or five seeds, so each is taken with
the spread that our own seeds have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from consensus_lab import data
from consensus_lab.experiments.intervals import mean_interval, proportion_interval
from consensus_lab.experiments.validations.comparison import (
    SIMULATED,
    Comparison,
    compare,
    counted,
    means_of,
    one_run_of_the_same_kind,
)
from consensus_lab.sim.streams import derive_seed

if TYPE_CHECKING:
    from consensus_lab.gossip.simblock import Outcome

FILE = "network/published/simblock_run_outputs.csv"
SOURCE = "SimBlock 5fc7f9f, compiled and run"
READABLE = ("default_n600_seed10", "net2015_nocompact_n600", "litecoin_n800", "dogecoin_n600")
PER_DELIVERY = "per delivery, the miner's own with 0 s included"
PER_BLOCK = "mean over blocks of the time at which half of the nodes have it"
DELAYS = {
    "delay_mean_s": ("delay mean", PER_DELIVERY), "delay_p50_s": ("delay p50", PER_DELIVERY),
    "delay_p90_s": ("delay p90", PER_DELIVERY), "mean_t50_s": ("time to half", PER_BLOCK),
}  # fmt: skip


def published_rows(*, everything: bool) -> list[dict[str, str]]:
    """The recorded runs: all, or one of each kind."""
    rows = data.rows(FILE)
    return rows if everything else [row for row in rows if row["run"] in READABLE]


def outcomes_of(row: dict[str, str], *, end_height: int, seeds: int, seed: int) -> list[Outcome]:
    """Our runs of one recorded run's settings, to at most that height."""
    from consensus_lab.gossip.simblock import Settings, simulate

    settings = Settings(
        n_nodes=int(row["nodes"]), end_height=min(end_height, int(row["end_block_height"])),
        block_interval_s=float(row["block_interval_s"]),
        block_size_bytes=int(row["block_size_bytes"]),
        compact_usage=float(row["compact_block_usage"]),
        year=row["latency_and_bandwidth_year"], regions=row["region_distribution"],
        degrees=row["degree_distribution"],
        # Where few blocks reach everybody, the published statistics took 99.9 % of the nodes.
        complete_share=0.999 if int(row["nodes"]) > 1000 else 1.0,
    )  # fmt: skip
    return [
        simulate(settings, seed=derive_seed(seed, "validation", row["run"], place))
        for place in range(seeds)
    ]


def compare_run(row: dict[str, str], outcomes: list[Outcome]) -> list[Comparison]:
    """Delays and stale fraction of one recorded run."""
    ours = means_of(outcomes, {
        "delay_mean_s": lambda one: one.delay_mean_s(),
        "delay_p50_s": lambda one: one.delay_quantile_s(0.5),
        "delay_p90_s": lambda one: one.delay_quantile_s(0.9),
        "mean_t50_s": lambda one: float(one.reached_s[:, 0].mean()),
    })  # fmt: skip
    common = {"setting": row["run"], "kind": SIMULATED, "source": SOURCE}
    rows = [
        compare(
            mean_interval(ours[column]),
            one_run_of_the_same_kind(float(row[column]), ours[column]),
            replicates=len(outcomes), group="SimBlock: propagation", quantity=quantity,
            definition=definition, unit="s", **common,
        )
        for column, (quantity, definition) in DELAYS.items()
    ]  # fmt: skip
    stale = sum(one.stale_blocks for one in outcomes)
    found = stale + sum(one.on_chain_blocks for one in outcomes)
    theirs = int(row["stale_blocks"]) + int(row["on_chain_blocks"])
    rows.append(compare(
        proportion_interval(stale, found), counted(int(row["stale_blocks"]) / theirs, theirs),
        replicates=found, group="SimBlock: stale", quantity="stale fraction", unit="fraction",
        definition="stale blocks of all blocks", **common,
    ))  # fmt: skip
    return rows
