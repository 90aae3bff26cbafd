"""How long until a put is committed, how long until every replica has applied it?

The client has its answer when a majority has the entry on disk; the other replicas hear of that
later.  Measured by cluster size, geography and disk, for both protocols; then the leader dies
under the clients: a request waits for a new leader, and its client tries the next server until one
answers.  What was answered is final: no crash of a minority takes it back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consensus_lab import data
from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.clusters import DISKS, PROTOCOLS, ClusterParameters, links_of
from consensus_lab.experiments.intervals import mean_interval, quantile_interval
from consensus_lab.experiments.log_waits import crash_waits, put_waits
from consensus_lab.experiments.parameters import ParameterSet, parameter
from consensus_lab.experiments.result import Measure, Published, Result
from consensus_lab.network import geography
from consensus_lab.paxos.quorum import majority

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure


class Parameters(ParameterSet):
    """Which clusters; how many puts of each, and crashes at the first place with the first disk."""

    protocols: list[str] = parameter(
        list(PROTOCOLS), meaning="replicated logs to compare", choices=PROTOCOLS
    )
    cluster_sizes: list[int] = parameter(
        [3, 5], full=[3, 5, 7, 9], unit="count", meaning="servers", minimum=2, maximum=51
    )
    geographies: list[str] = parameter(
        ["single_region", "three_regions"], full=["single_region", "three_regions", "aws"],
        meaning="where the servers stand, in turn", choices=geography.NAMES,
    )  # fmt: skip
    disks: list[str] = parameter(
        list(DISKS), meaning="disks to compare (measured or instant)", choices=DISKS
    )
    cpu_us: float = parameter(
        5.0, unit="us", minimum=0.0, maximum=1e6,
        meaning="CPU time to handle or to send one message",
    )  # fmt: skip
    value_size_bytes: int = parameter(
        256, unit="bytes", meaning="size of the value that a client puts", minimum=0,
        maximum=1_000_000,
    )  # fmt: skip
    n_requests: int = parameter(
        100, full=2000, unit="count", meaning="puts per setting, one at a time", minimum=20
    )
    n_crashes: int = parameter(
        20, full=500, unit="count", meaning="crashes of the leader per protocol and size",
        minimum=2,
    )  # fmt: skip
    client_timeout_ms: float = parameter(
        200.0, unit="ms", meaning="a client without an answer then tries the next server",
        minimum=1.0, maximum=60_000.0,
    )  # fmt: skip


def run(parameters: Parameters, progress: Progress = quiet) -> Result:
    """Measure every setting, then crash leaders.

    Returns
    -------
    Result
        `frame`: one row per setting: milliseconds to commit and until all have applied (median,
        95 % interval, 99 % quantile), and two message delays to the nearest majority.  Crashes
        have `situation` "leader crashes"; their rows hold the wait for an answer.
    """
    import pandas

    settings = [
        (protocol, place, disk, n)
        for protocol in parameters.protocols for place in parameters.geographies
        for disk in parameters.disks for n in parameters.cluster_sizes
    ]  # fmt: skip
    crashes = [(protocol, n) for protocol in parameters.protocols for n in parameters.cluster_sizes]
    steps = len(settings) + len(crashes)
    rows: list[dict[str, Any]] = []
    for step, (protocol, place, disk, n) in enumerate(settings):
        progress(step, steps, "settings")
        one = cluster_of(parameters, protocol, place, disk, n)
        rows.append(_undisturbed(one, parameters.n_requests))
    for step, (protocol, n) in enumerate(crashes):
        progress(len(settings) + step, steps, "settings")
        place, disk = parameters.geographies[0], parameters.disks[0]
        rows.append(_crashed(parameters, cluster_of(parameters, protocol, place, disk, n)))
    progress(steps, steps, "settings")
    frame = pandas.DataFrame(rows)
    return Result(
        "commit-and-apply", parameters, frame, _measures(rows), _references(rows), figure,
        notes=_notes(frame),
    )  # fmt: skip


def cluster_of(
    parameters: Parameters, protocol: str, place: str, disk: str, n_servers: int
) -> ClusterParameters:
    """One of the clusters."""
    return ClusterParameters.of({
        "protocol": protocol, "server_geography": place, "disk": disk, "n_servers": n_servers,
        "cpu_us": parameters.cpu_us, "value_size_bytes": parameters.value_size_bytes,
        "seed": parameters.seed,
    })  # fmt: skip


def _about(parameters: ClusterParameters) -> dict[str, Any]:
    return {
        "protocol": parameters.protocol, "servers": parameters.n_servers,
        "geography": parameters.server_geography, "disk": parameters.disk,
    }  # fmt: skip


def _undisturbed(cluster: ClusterParameters, n_requests: int) -> dict[str, Any]:
    waits = put_waits(cluster, n_requests)
    row = {"situation": "undisturbed", **_about(cluster)}
    for name, values in (("commit", waits.answer_ms), ("all_applied", waits.all_applied_ms)):
        row |= _quantiles(name, values)
    row["two_delays_ms"] = two_delays_ms(cluster, waits.leader)
    return row | {"samples": len(waits.answer_ms)}


def _crashed(parameters: Parameters, cluster: ClusterParameters) -> dict[str, Any]:
    trials = crash_waits(
        cluster, parameters.n_crashes, client_timeout_ms=parameters.client_timeout_ms
    )
    under_way = [trial.under_way_ms for trial in trials]
    row = {"situation": "leader crashes", **_about(cluster)}
    row |= _quantiles("commit", under_way)
    mean, low, high = mean_interval(trial.stands_still_ms for trial in trials)
    row |= {"outage_ms_mean": mean, "outage_ms_low": low, "outage_ms_high": high}
    return row | {"samples": len(under_way)}


def _quantiles(name: str, values: list[float]) -> dict[str, float]:
    p50, low, high = quantile_interval(values, 0.5)
    p99 = quantile_interval(values, 0.99)[0]
    return {
        f"{name}_ms_p50": p50, f"{name}_ms_low": low, f"{name}_ms_high": high,
        f"{name}_ms_p99": p99,
    }  # fmt: skip


def two_delays_ms(parameters: ClusterParameters, leader: int) -> float:
    """Two message delays between the leader and the last server that it needs for a majority."""
    links, n = links_of(parameters), parameters.n_servers
    round_trips = sorted(
        links.link(leader, i).latency_ns + links.link(i, leader).latency_ns
        for i in range(1, n + 1) if i != leader
    )  # fmt: skip
    needed = majority(n) - 1
    return round_trips[needed - 1] / 1e6 if needed else 0.0


def _name(quantity: str, row: dict[str, Any]) -> str:
    parts = (row["protocol"].replace("-", "_"), row["servers"], row["geography"], row["disk"])
    return "_".join([quantity, *map(str, parts)])


def _measures(rows: list[dict[str, Any]]) -> list[Measure]:
    measures = []
    for row in rows:
        if row["situation"] == "undisturbed":
            measures += [
                _measure(row, f"{name}_ms", "p50", _name(f"{name}_ms_p50", row))
                for name in ("commit", "all_applied")
            ]
        else:
            name = f"outage_ms_mean_{row['protocol'].replace('-', '_')}_{row['servers']}"
            measures.append(_measure(row, "outage_ms", "mean", name))
    return measures


def _measure(row: dict[str, Any], stem: str, statistic: str, name: str) -> Measure:
    middle, low, high = (row[f"{stem}_{end}"] for end in (statistic, "low", "high"))
    return Measure(name, middle, low, high, "ms", row["samples"])


def _references(rows: list[dict[str, Any]]) -> list[Published]:
    """Two message delays where disks take no time; real etcd's first put after a crash."""
    known = [
        Published(_name("commit_ms_p50", row), row["two_delays_ms"], "ms", "two message delays")
        for row in rows
        if row["situation"] == "undisturbed" and row["disk"] == "instant"
    ]
    for n in sorted({row["servers"] for row in rows}):
        waits = first_put_ms(n)
        if waits:
            mean = sum(waits) / len(waits)
            source = f"real etcd 3.4.23, {len(waits)} trials, no pre-vote"
            known.append(Published(f"outage_ms_mean_raft_{n}", mean, "ms", source))
    return known


def first_put_ms(n_servers: int) -> list[float]:
    """Milliseconds from the leader's end to the first put at a survivor, on real etcd."""
    return [
        float(row["write_ok_ms"])
        for row in data.rows("etcd/published/failover.csv")
        if (row["etcd_version"], row["nodes"], row["signal"], row["extra_flags"],
            row["election_ms"]) == ("3.4.23", str(n_servers), "KILL", "", "1000")
        and row["write_ok_ms"]
    ]  # fmt: skip


def _notes(frame: pandas.DataFrame) -> list[str]:
    calm = frame[frame["situation"] == "undisturbed"]
    late = calm.groupby("protocol", sort=False)["all_applied_ms_p50"].max()
    worst = ", ".join(f"{name} up to {value:.3g} ms" for name, value in late.items())
    return [
        f"Until every replica has applied an entry (median of a setting): {worst}. Raft as etcd "
        "has it announces commits at once; Multi-Paxos with the next Accept or heartbeat.",
        "A put comes 0 to 100 ms after the last one was applied everywhere; clients stand beside "
        "the server that they ask.",
        "Crash: the leader dies while a put is under way; `commit_ms` is that put's wait for its "
        "answer, `outage_ms` the time from the crash to the first put answered by a survivor.",
    ]


def figure(result: Result) -> Figure:
    """Time to commit and to apply everywhere, by setting; and the crashes."""
    from consensus_lab.report.finality import commit_and_apply_figure

    return commit_and_apply_figure(result)
