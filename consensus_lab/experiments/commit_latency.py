"""How does the time to commit grow with the cluster?

The leader waits for the m-th fastest of its followers, m the majority without itself: the time
is an order statistic of the round trips.  The full Raft node, on links with uniform jitter and
nothing else that takes time, is held against that closed form; LogCabin's published latencies,
with real disks and processors, stand beside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from consensus_lab import data, theory
from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.clusters import (
    NANOSECONDS_PER_MS,
    ClosedLoop,
    ClusterParameters,
    start,
)
from consensus_lab.experiments.intervals import mean_interval, quantile_interval
from consensus_lab.experiments.parameters import parameter
from consensus_lab.experiments.result import Measure, Published, Result
from consensus_lab.sim.links import Link, Links

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOGCABIN = "raft/published/logcabin_performance.csv"


class Parameters(ClusterParameters):
    """Cluster sizes, and the law of the round trips."""

    cluster_sizes: list[int] = parameter(
        [2, 3, 5, 9], full=[2, 3, 4, 5, 6, 7, 8, 9], unit="count", meaning="servers", minimum=2,
        maximum=51,
    )  # fmt: skip
    round_trip_ms: float = parameter(
        1.0, unit="ms", meaning="least round trip to a follower", minimum=0.0, maximum=1e4
    )
    jitter_ms: float = parameter(
        2.0, unit="ms", meaning="each round trip takes up to this much longer, uniformly",
        minimum=0.001, maximum=1e4,
    )  # fmt: skip
    n_requests: int = parameter(
        1000, full=20_000, unit="count", meaning="puts per cluster size", minimum=10
    )


def run(parameters: Parameters, progress: Progress = quiet) -> Result:
    """Measure the leader's commit latency for every size.

    Returns
    -------
    Result
        `frame`: one row per size: mean and 99 % quantile (ms) with 95 % intervals, and formulas.
    """
    import pandas

    law = theory.uniform_law(
        parameters.round_trip_ms, parameters.round_trip_ms + parameters.jitter_ms
    )
    rows, measures, known = [], [], []
    for place, n in enumerate(parameters.cluster_sizes):
        progress(place, len(parameters.cluster_sizes), "cluster sizes")
        waits = commit_latencies_ms(parameters, n)
        mean, p99 = mean_interval(waits), quantile_interval(waits, 0.99)
        expected = theory.commit_latency_mean(n, law=law)
        tail = theory.commit_latency_quantile(n, law=law, share=0.99)
        rows.append({
            "servers": n, "commit_ms_mean": mean[0], "commit_ms_low": mean[1],
            "commit_ms_high": mean[2], "formula_ms_mean": expected, "commit_ms_p99": p99[0],
            "formula_ms_p99": tail,
        })  # fmt: skip
        measures += [Measure(f"commit_ms_mean_{n}_servers", *mean, "ms", len(waits)),
                     Measure(f"commit_ms_p99_{n}_servers", *p99, "ms", len(waits))]  # fmt: skip
        known += [Published(f"commit_ms_mean_{n}_servers", expected, "ms", "order statistic"),
                  Published(f"commit_ms_p99_{n}_servers", tail, "ms", "order statistic")]
    progress(len(parameters.cluster_sizes), len(parameters.cluster_sizes), "cluster sizes")
    frame = pandas.DataFrame(rows)
    logcabin = ", ".join(f"{n}: {mean_ms:g}" for n, mean_ms in logcabin_ms())
    return Result("commit-latency", parameters, frame, measures, known, figure, notes=[
        f"LogCabin (Ongaro 2014, 1 kB writes), servers: ms {logcabin}.",
    ])  # fmt: skip


def commit_latencies_ms(parameters: Parameters, n_servers: int) -> list[float]:
    """Milliseconds from submission at the leader to its answer; only round trips take time.

    All jitter is on the way to the follower, so that a round trip is uniform.
    """
    half = round(parameters.round_trip_ms * NANOSECONDS_PER_MS / 2)
    jitter = round(parameters.jitter_ms * NANOSECONDS_PER_MS)
    small = parameters.replace(n_servers=n_servers, disk="instant", cpu_us=0.0)
    links = Links(Link(half))
    engine, leader = start(small, links=links)
    engine.run(until_ns=engine.now + 50 * NANOSECONDS_PER_MS)
    for follower in engine.processes:
        if follower != leader:
            links.change(leader, follower, Link(half, jitter_ns=jitter))
    load = ClosedLoop(engine, leader, clients=1, value_size_bytes=parameters.value_size_bytes)
    load.run(parameters.n_requests)
    return [latency / NANOSECONDS_PER_MS for latency in load.latencies_ns]


def logcabin_ms() -> list[tuple[int, float]]:
    """LogCabin's published mean latency with one client, by cluster size."""
    return [
        (int(row["servers"]), float(row["mean"]))
        for row in data.rows(LOGCABIN)
        if row["metric"] == "latency_ms" and row["client_threads"] == "1"
    ]


def figure(result: Result) -> Figure:
    """Mean commit latency over cluster size; closed form and LogCabin as points."""
    from consensus_lab.report.curves import curve_with_band

    frame = result.frame
    points = [(row.servers, row.formula_ms_mean, "closed form") for row in frame.itertuples()]
    points += [(n, mean_ms, "LogCabin (other network and disks)") for n, mean_ms in logcabin_ms()]
    worst = ((frame["commit_ms_mean"] / frame["formula_ms_mean"]) - 1).abs().max()
    return curve_with_band(
        frame, x="servers", y="commit_ms_mean", low="commit_ms_low", high="commit_ms_high",
        published=points, x_label="servers (count)", y_label="commit at the leader, mean (ms)",
        title=f"The m-th fastest follower decides: within {worst:.1%} of the closed form",
        detail=f"round trips uniform from {result.parameters.round_trip_ms:g} to "
        f"{result.parameters.round_trip_ms + result.parameters.jitter_ms:g} ms, seed "
        f"{result.parameters.seed}",
    )  # fmt: skip
