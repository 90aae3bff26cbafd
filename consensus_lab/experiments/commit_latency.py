"""How does the time to commit grow with the cluster, and with the distances in it?

The leader waits for the m-th fastest of its followers, m the majority without itself: the time
is an order statistic of the round trips.  The full Raft node, on links with uniform jitter and
nothing else that takes time, is held against that closed form, and so it is with its servers
spread over the regions of measured geographies.  Published latencies of LogCabin and etcd, with
real disks and processors, stand beside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consensus_lab import data, theory
from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.clusters import (
    NANOSECONDS_PER_MS,
    ClosedLoop,
    ClusterParameters,
    distances_of,
    start,
)
from consensus_lab.experiments.intervals import mean_interval, quantile_interval
from consensus_lab.experiments.parameters import parameter
from consensus_lab.experiments.put_latency import latency_ms
from consensus_lab.experiments.result import Measure, Published, Result
from consensus_lab.network import geography
from consensus_lab.sim.links import Link, Links

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

LOGCABIN = "raft/published/logcabin_performance.csv"
ETCD = "etcd/published/single_client.csv"
ETCD_PAGE = "etcd/published/benchmarks.csv"
UNIFORM = "uniform"
LEADER = 1


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
    geographies: list[str] = parameter(
        ["three_regions", "aws"], choices=geography.NAMES,
        meaning="where servers are spread over the regions in turn; server 1 leads",
    )  # fmt: skip
    n_distant_requests: int = parameter(
        20, unit="count", meaning="puts per geography and cluster size", minimum=10
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
    rows = []
    steps = len(parameters.cluster_sizes) * (1 + len(parameters.geographies))
    for n in parameters.cluster_sizes:
        progress(len(rows), steps, "clusters")
        mean = theory.commit_latency_mean(n, law=law)
        tail = theory.commit_latency_quantile(n, law=law, share=0.99)
        rows.append(_row(UNIFORM, n, commit_latencies_ms(parameters, n), mean, tail))
    for name in parameters.geographies:
        for n in parameters.cluster_sizes:
            progress(len(rows), steps, "clusters")
            waits, nearest_ms = distant_latencies_ms(parameters, name, n)
            rows.append(_row(name, n, waits, nearest_ms, nearest_ms))
    progress(steps, steps, "clusters")
    frame = pandas.DataFrame(rows)
    measures = [
        Measure(_name(quantity, row), row[quantity], row[f"{stem}_low"], row[f"{stem}_high"], "ms",
                row["puts"])
        for row in rows for quantity, stem in (("commit_ms_mean", "commit_ms"), ("commit_ms_p99",
                                                                                 "p99_ms"))
    ]  # fmt: skip
    known = [
        Published(_name(f"commit_ms_{part}", row), row[f"formula_ms_{part}"], "ms",
                  "order statistic")
        for row in rows for part in ("mean", "p99")
    ]  # fmt: skip
    notes = [
        f"{source}, servers: ms " + ", ".join(f"{n}: {mean_ms:g}" for n, mean_ms in points) + "."
        for source, points in real_ms().items()
    ]
    return Result("commit-latency", parameters, frame, measures, known, figure, notes=notes)


def _row(
    network: str, servers: int, waits: list[float], formula_ms_mean: float, formula_ms_p99: float
) -> dict[str, Any]:
    mean, p99 = mean_interval(waits), quantile_interval(waits, 0.99)
    return {
        "network": network, "servers": servers, "puts": len(waits), "commit_ms_mean": mean[0],
        "commit_ms_low": mean[1], "commit_ms_high": mean[2], "formula_ms_mean": formula_ms_mean,
        "commit_ms_p99": p99[0], "p99_ms_low": p99[1], "p99_ms_high": p99[2],
        "formula_ms_p99": formula_ms_p99,
    }  # fmt: skip


def _name(quantity: str, row: dict[str, Any]) -> str:
    place = "" if row["network"] == UNIFORM else f"{row['network']}_"
    return f"{quantity}_{place}{row['servers']}_servers"


def distant_latencies_ms(
    parameters: Parameters, network: str, n_servers: int
) -> tuple[list[float], float]:
    """Milliseconds of each put at server 1 in a geography, and the round trip that decides it."""
    far = parameters.replace(
        n_servers=n_servers, server_geography=network, disk="instant", cpu_us=0.0,
        n_requests=parameters.n_distant_requests,
    )  # fmt: skip
    pairs = distances_of(far)
    waits = latency_ms(far, Links(Link(0), pairs=pairs), leader=LEADER, client=LEADER)
    round_trips_ns = sorted(
        pairs[LEADER, other].latency_ns + pairs[other, LEADER].latency_ns
        for other in range(2, n_servers + 1)
    )
    return waits, round_trips_ns[theory.majority(n_servers) - 2] / NANOSECONDS_PER_MS


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


def real_ms() -> dict[str, list[tuple[int, float]]]:
    """Published mean latencies with one client, by cluster size: LogCabin, and etcd on a disk."""
    logcabin = [
        (int(row["servers"]), float(row["mean"]))
        for row in data.rows(LOGCABIN)
        if row["metric"] == "latency_ms" and row["client_threads"] == "1"
    ]
    wanted = ("3.4.23", "disk", "leader", "put", "mean")
    keys = ("etcd_version", "storage", "target", "op", "quantity")
    etcd = [
        (int(row["nodes"]), float(row["value"]))
        for row in data.rows(ETCD)
        if tuple(row[key] for key in keys) == wanted
    ]
    own = [
        (int(row["nodes"]), float(row["mean_latency_ms"]))
        for row in data.rows(ETCD_PAGE)
        if (row["operation"], row["clients"]) == ("write", "1")
    ]
    return {
        "LogCabin (Ongaro 2014, 1 kB writes)": logcabin, "etcd 3.4.23 on a disk": etcd,
        "etcd 3.2.0, its own page": own,
    }  # fmt: skip


def figure(result: Result) -> Figure:
    """Mean commit latency over cluster size with its closed form, near and far."""
    from consensus_lab.report import style
    from consensus_lab.report.curves import curve_with_band

    frame, parameters = result.frame, result.parameters
    near, far = frame[frame["network"] == UNIFORM], frame[frame["network"] != UNIFORM]
    worst = ((near["commit_ms_mean"] / near["formula_ms_mean"]) - 1).abs().max()
    points = [*_closed_forms(near)]
    points += [(n, mean, source) for source, known in real_ms().items() for n, mean in known]
    with style.style():
        whole = style.new_figure(10.5, 5.0)
        left, right = whole.subplots(1, 2)
        common = {"x": "servers", "y": "commit_ms_mean", "low": "commit_ms_low",
                  "high": "commit_ms_high", "x_label": "servers (count)"}  # fmt: skip
        curve_with_band(
            near, left, published=points, y_label="commit at the leader, mean (ms)",
            title="The m-th fastest follower decides",
            detail=f"round trips uniform from {parameters.round_trip_ms:g} to "
            f"{parameters.round_trip_ms + parameters.jitter_ms:g} ms; within {worst:.1%} of the "
            "closed form",
            **common,
        )  # fmt: skip
        curve_with_band(
            far, right, group="network", group_label="servers spread over",
            published=[*_closed_forms(far)], y_label="commit at the leader, mean (ms)",
            title="Far away, the nearest majority decides", detail="server 1 leads",
            **common,
        )  # fmt: skip
    return whole


def _closed_forms(frame: pandas.DataFrame) -> list[tuple[float, float, str]]:
    return [(row.servers, row.formula_ms_mean, "closed form") for row in frame.itertuples()]
