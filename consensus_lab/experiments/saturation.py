"""At which load does a replicated log bend, and does etcd's published table follow from its costs?

Requests are offered at a growing rate: up to the capacity all are completed, beyond it the queue
grows.  CPU, batches, bytes and durable writes all cost time, each by its own parameter.  Network,
disk and CPU are fitted to three rows of etcd's benchmark; its other four rows are predicted, and
the error stands beside them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consensus_lab import constants, data
from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.clusters import PROTOCOLS
from consensus_lab.experiments.costed_logs import (
    ALL,
    BENCHMARK,
    FITTED,
    LEADER,
    CostParameters,
    as_benchmarked,
    calibrated,
    cost_measures,
    load_of,
)
from consensus_lab.experiments.intervals import mean_interval
from consensus_lab.experiments.parameters import parameter
from consensus_lab.experiments.result import Measure, Published, Result
from consensus_lab.node import ParameterError
from consensus_lab.sim.streams import derive_seed

LEAST_REQUESTS = 50

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure


class OfferedParameters(CostParameters):
    """What everything costs, and which loads are offered."""

    offered_per_s: list[float] = parameter(
        [1000.0, 5000.0, 20_000.0, 40_000.0, 60_000.0],
        full=[500.0, 1000.0, 2000.0, 5000.0, 10_000.0, 20_000.0, 30_000.0, 40_000.0, 45_000.0,
              50_000.0, 60_000.0, 80_000.0],
        unit="1/s", meaning="rates at which writes arrive at the leader", minimum=10.0,
        maximum=1e6,
    )  # fmt: skip
    watched_s: float = parameter(
        0.15, full=0.5, unit="s", meaning="simulated time per rate and replicate", minimum=0.05,
        maximum=3600.0,
    )  # fmt: skip

    def check(self) -> None:
        """Refuse loads of which too few requests would be seen."""
        super().check()
        fewest = min(self.offered_per_s) * self.watched_s
        if fewest < LEAST_REQUESTS:
            least = LEAST_REQUESTS / min(self.offered_per_s)
            allowed = f"at least {least:g}, for {LEAST_REQUESTS} requests of the lowest load"
            raise ParameterError("watched_s", self.watched_s, allowed)


class Parameters(OfferedParameters):
    """The costs and loads, and who is loaded."""

    protocols: list[str] = parameter(
        list(PROTOCOLS), meaning="replicated logs to compare", choices=PROTOCOLS
    )
    n_servers: int = parameter(
        3, unit="count", meaning="servers of the loaded cluster", minimum=1, maximum=51
    )
    replicates: int = parameter(
        3, full=5, unit="count", meaning="independent runs per rate", minimum=2, maximum=1000
    )


def run(parameters: Parameters, progress: Progress = quiet) -> Result:
    """Fit, predict the benchmark's rows, then offer every load to every protocol.

    Returns
    -------
    Result
        `frame`: column `part` is "offered" (completed per second and mean latency with 95 %
        intervals, 99 % quantile) or "benchmark" (etcd's figures, ours, the errors, and whether
        the row was fitted).
    """
    import pandas

    steps = 2 + len(parameters.protocols) * len(parameters.offered_per_s)
    progress(0, steps, "loads")
    costs = calibrated(parameters)
    progress(1, steps, "loads")
    predictions = pandas.DataFrame(benchmark_rows(costs))
    rows: list[dict[str, Any]] = []
    for protocol in parameters.protocols:
        for offered in parameters.offered_per_s:
            progress(2 + len(rows), steps, "loads")
            rows.append(offered_row(costs, protocol, offered))
    progress(steps, steps, "loads")
    frame = pandas.concat(
        [pandas.DataFrame(rows).assign(part="offered"), predictions.assign(part="benchmark")]
    ).reset_index(drop=True)
    return Result(
        "saturation", parameters, frame, _measures(costs, rows, predictions),
        published(predictions), figure, notes=_notes(costs, predictions),
    )  # fmt: skip


def part(result: Result, name: str) -> pandas.DataFrame:
    """The rows of one part ("offered", "benchmark") with the columns that it has."""
    rows = result.frame[result.frame["part"] == name].drop(columns="part")
    whole: pandas.DataFrame = rows.dropna(axis=1, how="all").reset_index(drop=True)
    return whole


def offered_row(costs: Any, protocol: str, offered: float) -> dict[str, Any]:
    """One protocol under one load, over the replicates.

    Parameters
    ----------
    costs : OfferedParameters
        That say also how many `n_servers` and `replicates` there are.
    protocol : str
    offered : float
        Writes per second.
    """
    import numpy

    outcomes = []
    for replicate in range(costs.replicates):
        seed = derive_seed(costs.seed, "offered", replicate)
        load = load_of(costs, protocol, costs.n_servers, seed=seed)
        outcomes.append(load.open(offered, costs.watched_s, seed=seed))
    row: dict[str, Any] = {"protocol": protocol, "offered_per_s": offered}
    for name, values in (
        ("completed_per_s", [outcome.per_s for outcome in outcomes]),
        ("latency_ms_mean", [outcome.mean_ms for outcome in outcomes]),
    ):
        stem = name.removesuffix("_mean")
        row[name], row[f"{stem}_low"], row[f"{stem}_high"] = mean_interval(values)
    latencies = numpy.concatenate([outcome.latencies_ms for outcome in outcomes])
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        row[f"latency_ms_{name}"] = float(numpy.quantile(latencies, share))
    return row | {"replicates": len(outcomes)}


def benchmark_rows(costs: CostParameters) -> list[dict[str, Any]]:
    """Every row of etcd's table beside what these costs make of it."""
    rows = []
    for known in data.rows(BENCHMARK):
        key = (known["operation"], int(known["clients"]), known["target"], known["consistency"])
        outcome = as_benchmarked(costs, known, seed=costs.seed)
        etcd, at_leader = float(known["qps"]), float("nan")
        if key[1] == 1 and known["target"] == ALL:
            there = as_benchmarked(costs, {**known, "target": LEADER}, seed=costs.seed)
            at_leader = there.per_s
        rows.append({
            "operation": known["operation"], "consistency": known["consistency"] or "-",
            "clients": int(known["clients"]), "target": known["target"], "etcd_per_s": etcd,
            "simulated_per_s": outcome.per_s, "error": outcome.per_s / etcd - 1,
            "etcd_latency_ms": float(known["mean_latency_ms"]),
            "simulated_latency_ms": outcome.mean_ms, "at_leader_per_s": at_leader,
            "error_at_leader": at_leader / etcd - 1,
            "is_fitted": costs.is_calibrated and key in FITTED,
        })  # fmt: skip
    return rows


def _row_name(row: Any) -> str:
    words = [row.operation, row.consistency, f"{row.clients}_clients", row.target]
    return "per_s_" + "_".join(word for word in words if word != "-").replace(" ", "_")


def capacity(rows: list[dict[str, Any]], protocol: str) -> dict[str, Any]:
    """The row in which a protocol completed most."""
    mine = [row for row in rows if row["protocol"] == protocol]
    return max(mine, key=lambda row: row["completed_per_s"])


def _measures(
    costs: Parameters, rows: list[dict[str, Any]], predictions: pandas.DataFrame
) -> list[Measure]:
    measures = cost_measures(costs)
    for protocol in costs.protocols:
        best, name = capacity(rows, protocol), protocol.replace("-", "_")
        rate = (best[f"completed_per_s{end}"] for end in ("", "_low", "_high"))
        middle, low, high = rate
        measures.append(
            Measure(f"capacity_per_s_{name}", middle, low, high, "1/s", best["replicates"])
        )
    for row in predictions.itertuples():
        value = row.simulated_per_s
        measures.append(Measure(_row_name(row), value, value, value, "1/s", 1,
                                "fitted" if row.is_fitted else "predicted"))  # fmt: skip
    return measures


def published(predictions: pandas.DataFrame) -> list[Published]:
    """etcd's rows, and the essay's bound."""
    source = f"etcd {data.rows(BENCHMARK)[0]['etcd_version']} benchmark"
    known = [
        Published(_row_name(row), row.etcd_per_s, "1/s",
                  f"{source} ({'fitted to' if row.is_fitted else 'predicted'})")
        for row in predictions.itertuples()
    ]  # fmt: skip
    bound = constants.ETCD_THROUGHPUT_TPS_MIN
    return [*known, Published("capacity_per_s_raft", bound, "1/s", "essay (lower bound)")]


def _notes(costs: CostParameters, predictions: pandas.DataFrame) -> list[str]:
    errors = ", ".join(
        f"{row.operation} {row.consistency} {row.clients} at {row.target} {row.error * 100:+.0f} %"
        for row in predictions.itertuples() if not row.is_fitted
    ).replace(" - ", " ")  # fmt: skip
    leader = ", ".join(
        f"{row.operation} {row.consistency} {row.error_at_leader * 100:+.1f} %"
        for row in predictions.dropna(subset=["error_at_leader"]).itertuples()
    )
    fitted = (
        f"Network {costs.network_ms:.3f} ms, disk {costs.fsync_ms:.2f} ms, CPU {costs.cpu_us:.1f} "
        "us per message"
    )
    if costs.is_calibrated:
        fitted += ": fitted to one client's serializable reads, one client's writes, and 1000 "
        fitted += "clients' writes at the leader"
    return [
        f"{fitted}.",
        f"Errors of the predicted rows: {errors}.",
        "One client's connection has one server, which is not said: predicted is the mean over the "
        f"members. Had it been the leader, the errors are {leader}.",
        "CPU per byte, line and disk rates are assumed; one CPU per server, etcd's machines had "
        "eight. etcd's latencies of 1000 readers do not fit their rate (Little's law).",
    ]


def figure(result: Result) -> Figure:
    """Completed load and latency over offered load; etcd's table beside the simulation."""
    from consensus_lab.report.loads import saturation_figure

    return saturation_figure(result)
