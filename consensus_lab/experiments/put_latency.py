"""What does distance cost a replicated put?

The leader answers after one round trip to the nearest majority, a follower after one more to the
leader.  Both lines, and nine placements of leader and client over three regions, were measured on
real etcd; against cluster size the time is an order statistic of the followers' round trips.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consensus_lab import data
from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.clusters import (
    NANOSECONDS_PER_MS,
    ClosedLoop,
    ClusterParameters,
    leader_of,
    start,
)
from consensus_lab.experiments.intervals import quantile_interval
from consensus_lab.experiments.parameters import parameter
from consensus_lab.experiments.result import Measure, Published, Result
from consensus_lab.raft.requests import TransferLeadership
from consensus_lab.sim.links import Link, Links

if TYPE_CHECKING:
    from matplotlib.figure import Figure

class Parameters(ClusterParameters):
    """Distances and sizes to try."""

    round_trips_ms: list[float] = parameter(
        [0.0, 1.0, 10.0, 50.0, 100.0], full=[0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0],
        unit="ms", meaning="round trips between any two servers", minimum=0.0, maximum=1e5,
    )  # fmt: skip
    n_requests: int = parameter(
        200, full=1000, unit="count", meaning="puts per setting", minimum=10
    )


def run(parameters: Parameters, progress: Progress = quiet) -> Result:
    """Measure puts at the leader and at a follower, and over three regions.

    Returns
    -------
    Result
        `frame`: one row per setting: where the client is, round trip, latency p50 (ms) with its
        95 % interval.
    """
    import pandas

    rows = []
    steps = len(parameters.round_trips_ms) + 9
    for place, rtt_ms in enumerate(parameters.round_trips_ms):
        progress(place, steps, "settings")
        for at in ("leader", "follower"):
            low_high = latency_ms(parameters, _uniform(rtt_ms), at=at)
            rows.append(_row("uniform", at, rtt_ms, low_high))
    slopes = {at: _slope(rows, at) for at in ("leader", "follower")}
    for number, (leader, client) in enumerate([(a, b) for a in range(3) for b in range(3)]):
        progress(len(parameters.round_trips_ms) + number, steps, "settings")
        waits = latency_ms(parameters, _regions(), leader=leader + 1, client=client + 1)
        rows.append(_row("three regions", f"leader {leader}, client {client}", float("nan"), waits))
    progress(steps, steps, "settings")
    measures = [
        Measure(f"put_ms_per_rtt_ms_{at}", slope, slope, slope, "", parameters.n_requests)
        for at, (slope, _) in slopes.items()
    ]
    for row in rows:
        if row["network"] == "three regions":
            name = "put_ms_p50_" + row["client_at"].replace(", ", "_").replace(" ", "_")
            measures.append(Measure(name, row["put_ms_p50"], row["put_ms_low"], row["put_ms_high"],
                                    "ms", parameters.n_requests))  # fmt: skip
    frame = pandas.DataFrame(rows)
    return Result("put-latency", parameters, frame, measures, published(), figure, notes=[
        "Real etcd adds 1.5 to 4 ms of its own on the machine on which it was measured; the "
        "network's part is what is compared.",
    ])  # fmt: skip


def _uniform(rtt_ms: float) -> Links:
    return Links(Link(round(rtt_ms * NANOSECONDS_PER_MS / 2)))


def _regions() -> Links:
    """The three regions of the measurement on real etcd; a server's number is its region + 1."""
    pairs = {}
    for row in data.rows("etcd/published/three_regions.csv"):
        ends = int(row["leader_region"]) + 1, int(row["client_region"]) + 1
        half_ms = float(row["rtt_leader_client_ms"]) / 2
        pairs[ends] = Link(round(half_ms * NANOSECONDS_PER_MS))
    return Links(Link(0), pairs=pairs)


def latency_ms(
    parameters: ClusterParameters, links: Links, *, at: str = "leader", leader: int = 0,
    client: int = 0,
) -> list[float]:  # fmt: skip
    """Milliseconds of each put of one client.

    The client talks to the leader or a follower (`at`), or, with `leader` and `client`, to a
    given server while a given one leads.
    """
    engine, leads = start(parameters, links=links)
    if leader and leads != leader:
        engine.submit(leads, TransferLeadership("move", leader))
        engine.run(
            until=lambda: leader_of(engine) == leader,
            until_ns=engine.now + 60_000 * NANOSECONDS_PER_MS,
        )
        assert leader_of(engine) == leader, "leadership was not handed over"
        leads = leader
    server = client or (leads if at == "leader" else leads % parameters.n_servers + 1)
    # Let the last heartbeats of the election pass.
    engine.run(until_ns=engine.now + 1000 * NANOSECONDS_PER_MS)
    load = ClosedLoop(engine, server, clients=1, value_size_bytes=parameters.value_size_bytes)
    load.run(getattr(parameters, "n_requests", 200))
    return [latency / NANOSECONDS_PER_MS for latency in load.latencies_ns]


def _row(network: str, at: str, rtt_ms: float, waits: list[float]) -> dict[str, Any]:
    p50, low, high = quantile_interval(waits, 0.5)
    return {
        "network": network, "client_at": at, "rtt_ms": rtt_ms, "put_ms_p50": p50,
        "put_ms_low": low, "put_ms_high": high,
    }  # fmt: skip


def _slope(rows: list[dict[str, Any]], at: str) -> tuple[float, float]:
    """Least squares of latency over round trip: milliseconds per millisecond, and the rest."""
    import numpy

    points = [(r["rtt_ms"], r["put_ms_p50"]) for r in rows if r["client_at"] == at]
    if len({x for x, _ in points}) < 2:
        return float("nan"), float("nan")
    slope, offset = numpy.polyfit(*zip(*points, strict=True), 1)
    return float(slope), float(offset)


def published() -> list[Published]:
    """Real etcd: the slope of both lines, and the nine placements."""
    import numpy

    known = []
    rows = data.rows("etcd/published/put_latency_by_rtt.csv")
    for at in ("leader", "follower"):
        points = [
            (float(r["rtt_ms"]), float(r["value_ms"])) for r in rows
            if (r["nodes"], r["client_at"], r["op"], r["quantity"]) == ("3", at, "put", "p50")
            and float(r["rtt_ms"]) >= 1.0
        ]  # fmt: skip
        slope, _ = numpy.polyfit(*zip(*points, strict=True), 1)
        known.append(Published(f"put_ms_per_rtt_ms_{at}", float(slope), "", "real etcd 3.4.23"))
    for row in data.rows("etcd/published/three_regions.csv"):
        if row["op"] == "put":
            name = f"put_ms_p50_leader_{row['leader_region']}_client_{row['client_region']}"
            known.append(Published(name, float(row["p50_ms"]), "ms", "real etcd 3.4.23"))
    return known


def figure(result: Result) -> Figure:
    """Latency over round trip, at the leader and at a follower."""
    from consensus_lab.report.curves import curve_with_band

    frame = result.frame[result.frame["network"] == "uniform"]
    rows = data.rows("etcd/published/put_latency_by_rtt.csv")
    points = [
        (float(r["rtt_ms"]), float(r["value_ms"]), f"real etcd, client at the {r['client_at']}")
        for r in rows
        if (r["nodes"], r["op"], r["quantity"]) == ("3", "put", "p50")
    ]
    lines = [result.measure(f"put_ms_per_rtt_ms_{at}").value for at in ("leader", "follower")]
    return curve_with_band(
        frame, x="rtt_ms", y="put_ms_p50", low="put_ms_low", high="put_ms_high",
        group="client_at", group_label="client beside", published=points,
        x_label="round trip between servers (ms)", y_label="put, median (ms)",
        title=f"A put costs {lines[0]:.2f} round trips at the leader, {lines[1]:.2f} at a follower",
        detail=f"{result.parameters.n_servers} servers, {result.parameters.n_requests} puts per "
        f"point, seed {result.parameters.seed}",
    )  # fmt: skip
