"""How many transactions per second does each system finish, and at what delay?

A replicated log is loaded by more and more clients, each with one request under way, until its
leader's CPU is busy; the CPU time per message is calibrated on one published figure of etcd, the
other figures are predictions.  A chain confirms what fits into its blocks, less what goes stale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consensus_lab import constants, data
from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.clusters import NANOSECONDS_PER_MS, ClosedLoop, ClusterParameters
from consensus_lab.experiments.clusters import start as start_cluster
from consensus_lab.experiments.intervals import mean_interval, proportion_interval
from consensus_lab.experiments.networks import NetworkParameters, build, relay_blocks
from consensus_lab.experiments.parameters import parameter
from consensus_lab.experiments.result import Measure, Published, Result
from consensus_lab.sim.links import NANOSECONDS_PER_SECOND

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CALIBRATION_ROUNDS = 3
WARM_UP_SHARE = 0.2
"""The first answers of a run come from an idle cluster and are left out."""


class Parameters(ClusterParameters, NetworkParameters):
    """A cluster under load, and a chain with full blocks."""

    clients: list[int] = parameter(
        [1, 16, 128, 1000], full=[1, 4, 16, 64, 256, 1000, 4000], unit="count",
        meaning="numbers of clients to try, each with one request under way", minimum=1,
        maximum=100_000,
    )  # fmt: skip
    n_requests: int = parameter(
        2000, full=10_000, unit="count", meaning="requests per client count and replicate",
        minimum=100,
    )  # fmt: skip
    is_calibrated: bool = parameter(
        True, meaning="fit cpu_us to etcd's published rate with 1000 clients; else take it as it is"
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
        `frame`: one row per system and number of clients: transactions per second with 95 %
        interval over replicates, latency p50 and p99 (ms).
    """
    import pandas

    steps = len(parameters.clients) + 2
    progress(0, steps, "loads")
    # Before the long part, so that a wrong network is refused at once.
    chain = chain_throughput(parameters)
    cpu_us = calibrated_cpu_us(parameters) if parameters.is_calibrated else parameters.cpu_us
    rows = []
    for place, clients in enumerate(parameters.clients):
        progress(1 + place, steps, "loads")
        rows.append(_load_row(parameters.replace(cpu_us=cpu_us), clients))
    progress(steps, steps, "loads")
    frame = pandas.DataFrame([*rows, {"system": "nakamoto", **chain}])
    return Result(
        "throughput", parameters, frame, _measures(rows, chain, cpu_us), published(), figure,
        notes=_notes(parameters, rows, cpu_us),
    )  # fmt: skip


def one_load(parameters: ClusterParameters, clients: int, requests: int, seed: int) -> Any:
    """Requests per second and the latencies (ms) of one loaded run, warmed up."""
    import numpy

    engine, leader = start_cluster(parameters.replace(seed=seed))
    load = ClosedLoop(engine, leader, clients=clients, value_size_bytes=parameters.value_size_bytes)
    # Each client has to have gone round some times before the load is steady.
    load.run(max(requests, 5 * clients))
    begin = int(WARM_UP_SHARE * len(load.answers_ns))
    took_ns = load.answers_ns[-1] - load.answers_ns[begin]
    rate = (len(load.answers_ns) - 1 - begin) * NANOSECONDS_PER_SECOND / took_ns
    return rate, numpy.array(load.latencies_ns[begin:]) / NANOSECONDS_PER_MS


def calibrated_cpu_us(parameters: ClusterParameters) -> float:
    """The CPU time per message at which 1000 clients reach etcd's published rate.

    A busy leader's rate is in inverse proportion to it, so a few corrections suffice.
    """
    target = _benchmark("write", clients=1000, at="leader only")
    rate, cpu_us = float(target["qps"]), max(parameters.cpu_us, 1.0)
    trial = parameters.replace(protocol="raft", n_servers=int(target["nodes"]))
    for _ in range(CALIBRATION_ROUNDS):
        trial = trial.replace(cpu_us=cpu_us)
        reached, _latencies = one_load(trial, int(target["clients"]), 5000, parameters.seed)
        cpu_us *= reached / rate
    return cpu_us


def _load_row(parameters: Parameters, clients: int) -> dict[str, Any]:
    import numpy

    runs = [
        one_load(parameters, clients, parameters.n_requests, parameters.seed + replicate)
        for replicate in range(parameters.replicates)
    ]
    tps, low, high = mean_interval(rate for rate, _ in runs)
    latencies = numpy.concatenate([part for _, part in runs])
    return {
        "system": parameters.protocol, "clients": clients, "tps": tps, "tps_low": low,
        "tps_high": high, "latency_ms_p50": float(numpy.quantile(latencies, 0.5)),
        "latency_ms_p99": float(numpy.quantile(latencies, 0.99)),
        "replicates": len(runs),
    }  # fmt: skip


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


def _measures(rows: list[dict], chain: dict[str, float], cpu_us: float) -> list[Measure]:
    measures = [Measure("cpu_us", cpu_us, cpu_us, cpu_us, "us", 1, "calibrated")]
    for row in rows:
        name = f"tps_{row['clients']}_clients"
        count = row["replicates"]
        measures.append(Measure(name, row["tps"], row["tps_low"], row["tps_high"], "1/s", count))
        p50 = row["latency_ms_p50"]
        latency = f"latency_ms_p50_{row['clients']}_clients"
        measures.append(Measure(latency, p50, p50, p50, "ms", count))
    best = max(rows, key=lambda row: row["tps"])
    measures.append(Measure("tps_max", best["tps"], best["tps_low"], best["tps_high"], "1/s",
                            best["replicates"]))  # fmt: skip
    tps = (chain["tps"], chain["tps_low"], chain["tps_high"])
    return [*measures, Measure("tps_nakamoto", *tps, "1/s", int(chain["blocks"]))]


def _notes(parameters: Parameters, rows: list[dict], cpu_us: float) -> list[str]:
    limit = constants.ETCD_FINALITY_MS_MAX
    both = [row for row in rows if row["latency_ms_p50"] < limit]
    best = max((row["tps"] for row in both), default=0.0)
    how = "fitted to etcd's published rate with 1000 clients; the other rates are predictions"
    if not parameters.is_calibrated:
        how = "as given"
    return [
        f"CPU {cpu_us:.2f} us per message, {how}.",
        f"Within {limit:g} ms (median) the highest rate tried is {best:,.0f}/s; the essay's two "
        "figures for etcd belong to different loads.",
    ]


def benchmark_rows(operation: str) -> list[dict[str, str]]:
    """The rows of etcd's own benchmark for an operation ("write", "read")."""
    rows = data.rows("etcd/published/benchmarks.csv")
    return [row for row in rows if row["operation"] == operation]


def _benchmark(operation: str, *, clients: int, at: str) -> dict[str, str]:
    return next(
        row
        for row in benchmark_rows(operation)
        if (row["clients"], row["target"]) == (str(clients), at)
    )


def published() -> list[Published]:
    """etcd's own benchmark, the essay's values, and what its transaction count implies."""
    many = _benchmark("write", clients=1000, at="leader only")
    one = _benchmark("write", clients=1, at="leader only")
    implied = constants.BITCOIN_TRANSACTIONS_PER_BLOCK_MIN / constants.BLOCK_INTERVAL_S
    source = f"etcd {many['etcd_version']} benchmark"
    return [
        Published("tps_max", constants.ETCD_THROUGHPUT_TPS_MIN, "1/s", "essay (lower bound)"),
        Published("tps_1000_clients", float(many["qps"]), "1/s", f"{source} (calibration)"),
        Published("latency_ms_p50_1000_clients", float(many["mean_latency_ms"]), "ms",
                  f"{source} (mean)"),
        Published("tps_1_clients", float(one["qps"]), "1/s", source),
        Published("latency_ms_p50_1_clients", float(one["mean_latency_ms"]), "ms",
                  f"{source} (mean)"),
        Published("tps_nakamoto", constants.BITCOIN_THROUGHPUT_TPS, "1/s", "essay"),
        Published("tps_nakamoto", implied, "1/s", "essay: 1,500 transactions per block"),
    ]  # fmt: skip


def figure(result: Result) -> Figure:
    """Rate and latency over the number of clients."""
    from consensus_lab.report.figures import throughput_figure

    return throughput_figure(result)
