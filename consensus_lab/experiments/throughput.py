"""How many transactions per second does each system finish, and at what delay?

Writes are offered to a replicated log at a growing rate, until its leader's CPU is busy; what its
messages and durable writes cost is fitted to etcd's published table (`costed_logs`).  A chain
confirms what fits into its blocks, less what goes stale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consensus_lab import constants, data
from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.clusters import PROTOCOLS
from consensus_lab.experiments.costed_logs import (
    ALL,
    BENCHMARK,
    CPU_ROW,
    benchmark,
    calibrated,
    cost_measures,
)
from consensus_lab.experiments.intervals import proportion_interval
from consensus_lab.experiments.networks import NetworkParameters, build, relay_blocks
from consensus_lab.experiments.parameters import parameter
from consensus_lab.experiments.result import Measure, Published, Result
from consensus_lab.experiments.saturation import OfferedParameters, offered_row

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Parameters(OfferedParameters, NetworkParameters):
    """A replicated log under a growing load, and a chain with full blocks."""

    protocol: str = parameter("raft", meaning="the replicated log", choices=PROTOCOLS)
    n_servers: int = parameter(
        3, unit="count", meaning="servers; a majority has to agree", minimum=1, maximum=51
    )
    block_size_bytes: int = parameter(
        constants.BLOCK_SIZE_BYTES_MAX, unit="bytes", meaning="size of each block", minimum=400,
        maximum=10**9,
    )  # fmt: skip
    block_interval_s: float = parameter(
        600.0, unit="s", meaning="mean time between blocks", minimum=0.001
    )
    transaction_size_bytes: int = parameter(
        226, unit="bytes", minimum=60, maximum=100_000,
        meaning="size of a transaction; 226 is a payment with one input and change",
    )  # fmt: skip
    n_blocks: int = parameter(
        400, full=5000, unit="count", meaning="blocks found per replicate", minimum=1
    )


def run(parameters: Parameters, progress: Progress = quiet) -> Result:
    """Fill the chain, then load the cluster.

    Returns
    -------
    Result
        `frame`: one row per system and offered load: transactions per second with 95 % interval
        over replicates, latency p50 and p99 (ms).
    """
    import pandas

    steps = len(parameters.offered_per_s) + 2
    progress(0, steps, "loads")
    # Before the long part, so that a wrong network is refused at once.
    chain = chain_throughput(parameters)
    costs, rows = calibrated(parameters), list[dict[str, Any]]()
    for place, offered in enumerate(parameters.offered_per_s):
        progress(1 + place, steps, "loads")
        rows.append(_load_row(costs, offered))
    progress(steps, steps, "loads")
    frame = pandas.DataFrame([*rows, {"system": "nakamoto", **chain}])
    return Result(
        "throughput", parameters, frame, _measures(costs, rows, chain), published(), figure,
        notes=_notes(costs, rows),
    )  # fmt: skip


def _load_row(costs: Parameters, offered: float) -> dict[str, Any]:
    row = offered_row(costs, costs.protocol, offered)
    ends = {f"tps{end}": row[f"completed_per_s{end}"] for end in ("", "_low", "_high")}
    kept = ("offered_per_s", "latency_ms_p50", "latency_ms_p99", "replicates")
    return {"system": costs.protocol, **ends, **{name: row[name] for name in kept}}


def chain_throughput(parameters: Parameters) -> dict[str, float]:
    """Transactions per second that the best chain confirms, with its 95 % interval.

    The interval is that of the stale fraction.  Blocks are found, stale ones included, once per
    `block_interval_s`; where the target is adjusted to the chain's growth, nothing is lost.
    """
    from consensus_lab.gossip.mining import draw_schedule

    stale = blocks = 0
    for replicate in range(parameters.replicates):
        network, seed = build(parameters, replicate)
        schedule = draw_schedule(
            network, n_blocks=parameters.n_blocks, seed=seed,
            block_interval_s=parameters.block_interval_s,
            block_size_bytes=parameters.block_size_bytes,
        )  # fmt: skip
        stale += relay_blocks(parameters, network, schedule, seed=seed).stale_blocks()
        blocks += schedule.n_blocks
    fraction, low, high = proportion_interval(stale, blocks)
    room = parameters.block_size_bytes - constants.HEADER_SIZE_BYTES
    full = room // parameters.transaction_size_bytes / parameters.block_interval_s
    return {
        "tps": full * (1 - fraction), "tps_low": full * (1 - high), "tps_high": full * (1 - low),
        "stale_fraction": fraction, "blocks": blocks,
    }  # fmt: skip


def _measures(
    costs: Parameters, rows: list[dict[str, Any]], chain: dict[str, float]
) -> list[Measure]:
    measures = cost_measures(costs)
    for row in rows:
        name, count = f"{row['offered_per_s']:.0f}_offered", row["replicates"]
        rate, p50 = (row["tps"], row["tps_low"], row["tps_high"]), row["latency_ms_p50"]
        measures.append(Measure(f"tps_{name}", *rate, "1/s", count))
        measures.append(Measure(f"latency_ms_p50_{name}", p50, p50, p50, "ms", count))
    best = max(rows, key=lambda row: row["tps"])
    rate = (best["tps"], best["tps_low"], best["tps_high"])
    measures.append(Measure("tps_max", *rate, "1/s", best["replicates"]))
    rate = (chain["tps"], chain["tps_low"], chain["tps_high"])
    return [*measures, Measure("tps_nakamoto", *rate, "1/s", int(chain["blocks"]))]


def _notes(costs: Parameters, rows: list[dict[str, Any]]) -> list[str]:
    limit = constants.ETCD_FINALITY_MS_MAX
    both = [row for row in rows if row["latency_ms_p50"] < limit]
    best = max((row["tps"] for row in both), default=0.0)
    how = "as given"
    if costs.is_calibrated:
        how = "fitted to three rows of etcd's benchmark; notebook 34 predicts the others from them"
    return [
        f"Network {costs.network_ms:.3f} ms, disk {costs.fsync_ms:.2f} ms, CPU {costs.cpu_us:.1f} "
        f"us per message, {how}.",
        f"Costs are those of etcd's published benchmark, 2017. Within {limit:g} ms (median) the "
        f"highest rate completed of those tried is {best:,.0f}/s.",
    ]


def benchmark_rows(operation: str) -> list[dict[str, str]]:
    """The rows of etcd's own benchmark for an operation ("write", "read")."""
    return [row for row in data.rows(BENCHMARK) if row["operation"] == operation]


def published() -> list[Published]:
    """The essay's values, etcd's own benchmark, and what the essay's transaction count implies."""
    leader, everywhere = benchmark(*CPU_ROW), benchmark("write", 1000, ALL)
    implied = constants.BITCOIN_TRANSACTIONS_PER_BLOCK_MIN / constants.BLOCK_INTERVAL_S
    source = f"etcd {leader['etcd_version']} benchmark, 1000 clients"
    return [
        Published("tps_max", constants.ETCD_THROUGHPUT_TPS_MIN, "1/s", "essay (lower bound)"),
        Published("tps_max", float(leader["qps"]), "1/s", f"{source} at the leader (fitted to)"),
        Published("tps_max", float(everywhere["qps"]), "1/s", f"{source} at all members"),
        Published("tps_nakamoto", constants.BITCOIN_THROUGHPUT_TPS, "1/s", "essay"),
        Published("tps_nakamoto", implied, "1/s", "essay: 1,500 transactions per block"),
    ]  # fmt: skip


def figure(result: Result) -> Figure:
    """Rate and latency over the offered load."""
    from consensus_lab.report.figures import throughput_figure

    return throughput_figure(result)
