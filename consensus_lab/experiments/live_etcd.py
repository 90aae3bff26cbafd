"""Does the simulated Raft predict what a real etcd cluster does on this machine?

A real cluster runs on the loopback interface.  On the same machine, in the same minute, are
measured: durable writes in its folder, by one writer and by as many as there are servers, the round
trip of a message over TCP, a call that one server answers alone, a linearizable read from the
cluster, and a put to a cluster of one.  The simulation gets these and nothing else, and has to say
how long a put to three or five servers takes and how long a failover.  What it says for a put is a
range, not a confidence interval: from the lowest round to the highest, with a core for each server
or with the machine's cores shared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consensus_lab import constants, data
from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.intervals import mean_interval, quantile_interval
from consensus_lab.experiments.live_prediction import (
    Machine,
    cpu_share,
    simulated_failover_ms,
    simulated_puts_ms,
    simulated_value_size_bytes_max,
    typical,
)
from consensus_lab.experiments.parameters import ParameterSet, parameter
from consensus_lab.experiments.result import Measure, Published, Result
from consensus_lab.sim.streams import stream

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from consensus_lab.live.etcd import EtcdCluster

LIVE, SIMULATED = "live etcd", "simulated"
SIMULATED_FAILOVERS = 200
LOG_RECORD_BYTES = 100
"""About what etcd writes to its log besides key and value."""


class Parameters(ParameterSet):
    """The real cluster, and how long it is watched."""

    n_servers: int = parameter(3, unit="count", meaning="servers of the cluster", choices=(3, 5))
    n_requests: int = parameter(
        200, full=2000, unit="count", meaning="puts of one client per round", minimum=20
    )
    rounds: int = parameter(
        3, full=10, unit="count", minimum=2, maximum=1000,
        meaning="times that machine and clusters are measured in turn",
    )  # fmt: skip
    n_failovers: int = parameter(
        3, full=50, unit="count", meaning="leaders that are killed", minimum=2, maximum=1000
    )
    clients: list[int] = parameter(
        [1, 16, 64], full=[1, 16, 64, 256, 1000], unit="count", minimum=1, maximum=10_000,
        meaning="numbers of clients to load the cluster with, each with one request under way",
    )  # fmt: skip
    load_s: float = parameter(
        1.0, full=10.0, unit="s", meaning="duration of each load", minimum=0.1, maximum=600.0
    )
    value_size_bytes: int = parameter(
        256, unit="bytes", meaning="size of the value that a client puts", minimum=0,
        maximum=1_000_000,
    )  # fmt: skip
    folder: str = parameter(
        "", meaning="where the cluster's temporary folder is made; empty is the system's place"
    )


def run(parameters: Parameters, progress: Progress = quiet) -> Result:
    """Start real clusters, measure, predict, compare.

    Returns
    -------
    Result
        `frame`: one row per observation: quantity (put_ms, new_leader_ms, puts_per_s), system
        (live etcd, simulated low and high), round, clients, value.

    Raises
    ------
    ParameterError
        When there is no etcd program or no grpcio: the extra `consensus-lab[live]` brings both.
    """
    import pandas

    from consensus_lab.live.etcd import EtcdCluster

    steps = parameters.rounds + len(parameters.clients) + 2
    where = parameters.folder or None
    rows: list[dict[str, Any]] = []
    machines: list[Machine] = []
    with (
        EtcdCluster(parameters.n_servers, folder=where, flags=("--pre-vote=true",)) as cluster,
        EtcdCluster(1, folder=where) as alone,
    ):
        version = cluster.status(0).version
        for place in range(parameters.rounds):
            progress(place, steps, "measurements")
            machines.append(_round(parameters, cluster, alone, place, rows))
        alone.close()
        for place, clients in enumerate(parameters.clients):
            progress(parameters.rounds + place, steps, "measurements")
            rows += _load_rows(parameters, cluster, clients)
        progress(steps - 2, steps, "measurements")
        limit_measures = _limits(cluster)
        progress(steps - 1, steps, "measurements")
        rows += _failover_rows(parameters, cluster, typical(machines))
    rows += _prediction_rows(parameters, machines)
    progress(steps, steps, "measurements")
    frame = pandas.DataFrame(rows)
    measures = [*_inputs(machines), *_put_measures(frame), *_load_measures(frame),
                *_failover_measures(frame), *limit_measures]  # fmt: skip
    return Result(
        "live-etcd", parameters, frame, measures, published(parameters), figure,
        notes=_notes(parameters, frame, machines, version),
    )  # fmt: skip


def _row(quantity: str, system: str, place: int, clients: int, value: float) -> dict[str, Any]:
    return {"quantity": quantity, "system": system, "round": place, "clients": clients,
            "value": value}  # fmt: skip


def _round(
    parameters: Parameters, cluster: EtcdCluster, alone: EtcdCluster, place: int,
    rows: list[dict[str, Any]],
) -> Machine:  # fmt: skip
    """Measure machine and clusters in turn; the puts are added to `rows`."""
    from consensus_lab.live import etcd_load, machine

    n, size = parameters.n_requests, parameters.value_size_bytes
    record_bytes, leader = size + LOG_RECORD_BYTES, cluster.wait_for_leader()
    puts_ms = etcd_load.put_latencies_ms(
        cluster, server=leader, n_requests=n, value_size_bytes=size
    )
    alone_ms = etcd_load.put_latencies_ms(alone, server=0, n_requests=n, value_size_bytes=size)
    reads_ms = etcd_load.read_latencies_ms(cluster, server=leader, n_requests=n)
    calls_ms = etcd_load.status_latencies_ms(cluster, server=leader, n_requests=n)
    # As many writers as servers, for they share the disk.
    writes_ms = machine.fdatasync_ms(
        cluster.folder, writers=cluster.n_servers, n_writes=n, size_bytes=record_bytes
    )
    lone_ms = machine.fdatasync_ms(cluster.folder, n_writes=n, size_bytes=record_bytes)
    trips_ms = machine.round_trips_ms(n_messages=n, size_bytes=record_bytes)
    rows += [_row("put_ms", LIVE, place, 1, time_ms) for time_ms in puts_ms]
    return Machine(*(
        quantile_interval(times, share)[0]
        for times, share in (
            (writes_ms, 0.5), (writes_ms, 0.9), (trips_ms, 0.5), (calls_ms, 0.5), (alone_ms, 0.5),
            (reads_ms, 0.5), (lone_ms, 0.5),
        )
    ))  # fmt: skip


def _prediction_rows(parameters: Parameters, machines: list[Machine]) -> list[dict[str, Any]]:
    """Simulated puts for what each round measured: a core per server (low), or shared (high)."""
    return [
        _row("put_ms", f"{SIMULATED}, {end}", place, 1, time_ms)
        for place, machine in enumerate(machines)
        for end, share in (("low", 1.0), ("high", cpu_share(parameters.n_servers)))
        for time_ms in simulated_puts_ms(
            parameters.n_servers, machine, share, n_requests=parameters.n_requests,
            value_size_bytes=parameters.value_size_bytes, seed=parameters.seed,
        )
    ]  # fmt: skip


def _load_rows(parameters: Parameters, cluster: EtcdCluster, clients: int) -> list[dict[str, Any]]:
    """Puts per second of that many clients in each of four parts of the time."""
    from consensus_lab.live import etcd_load

    leader = cluster.wait_for_leader()
    rates = [
        etcd_load.puts_per_s(
            cluster, server=leader, clients=clients, duration_s=parameters.load_s / 4,
            value_size_bytes=parameters.value_size_bytes,
        )[0]
        for _ in range(4)
    ]  # fmt: skip
    return [_row("puts_per_s", LIVE, part, clients, rate) for part, rate in enumerate(rates)]


def _failover_rows(
    parameters: Parameters, cluster: EtcdCluster, machine: Machine
) -> list[dict[str, Any]]:
    """Time to a new leader, killed live and simulated."""
    from consensus_lab.live import etcd_load

    phases = stream(parameters.seed, "phases")
    rows = []
    for trial in range(parameters.n_failovers):
        settle_s = 1.2 + 0.3 * phases.random()
        found = etcd_load.fail_over(cluster, settle_s=settle_s)
        rows.append(_row("new_leader_ms", LIVE, trial, 0, found.new_leader_ms))
    for trial in range(SIMULATED_FAILOVERS):
        time_ms = simulated_failover_ms(parameters.n_servers, machine, phases.randrange(1 << 48))
        rows.append(_row("new_leader_ms", SIMULATED, trial, 0, time_ms))
    return rows


def _limits(cluster: EtcdCluster) -> list[Measure]:
    """The largest value with a one-byte key, of both stores; the same request numbers."""
    from consensus_lab.live.etcd_load import request_limit, request_number_bytes

    leader = cluster.wait_for_leader()
    live = request_limit(cluster, server=leader).value_size_bytes_max
    number_bytes = request_number_bytes(cluster.status(leader).member_id)
    ours = simulated_value_size_bytes_max(number_bytes)
    return [
        Measure("value_size_bytes_max", live, live, live, "bytes", 1, "live"),
        Measure("predicted_value_size_bytes_max", ours, ours, ours, "bytes", 1),
    ]


def _inputs(machines: list[Machine]) -> list[Measure]:
    """What was measured on the machine: means over rounds of each round's median."""
    named = {**{name: [getattr(one, name) for one in machines] for name in Machine._fields},
             "cpu_ms": [one.cpu_ms for one in machines]}  # fmt: skip
    return [
        Measure(f"input_{name}", *mean_interval(values), "ms", len(values), "live")
        for name, values in named.items()
    ]


def _put_measures(frame: Any) -> list[Measure]:
    """Live and predicted medians, and their ratio over rounds."""
    puts = frame[frame["quantity"] == "put_ms"]
    live = puts[puts["system"] == LIVE]["value"]
    ours = [puts[puts["system"] == f"{SIMULATED}, {end}"]["value"] for end in ("low", "high")]
    # The inputs differ from round to round, and so does what is predicted from them.
    ends = [part.groupby(puts["round"]).median() for part in ours]
    low, high = float(ends[0].min()), float(ends[1].max())
    p50, middle = quantile_interval(live, 0.5), float((ends[0].mean() + ends[1].mean()) / 2)
    ratio = (p50[0] / middle, p50[1] / high, p50[2] / low)
    return [
        Measure("put_ms_p50", *p50, "ms", len(live), "live"),
        Measure("put_ms_p99", *quantile_interval(live, 0.99), "ms", len(live), "live"),
        Measure("predicted_put_ms_p50", middle, low, high, "ms", len(ours[0])),
        Measure("put_ms_p50_live_over_predicted", *ratio, "", len(live), "live"),
    ]


def _load_measures(frame: Any) -> list[Measure]:
    loads = frame[frame["quantity"] == "puts_per_s"]
    return [
        Measure(f"puts_per_s_{clients}_clients", *mean_interval(rates["value"]), "1/s",
                len(rates), "live")
        for clients, rates in loads.groupby("clients")
    ]  # fmt: skip


def _failover_measures(frame: Any) -> list[Measure]:
    from scipy.stats import ks_2samp

    trials = frame[frame["quantity"] == "new_leader_ms"]
    live, ours = (trials[trials["system"] == name]["value"] for name in (LIVE, SIMULATED))
    mean, low, high = mean_interval(live)
    predicted = mean_interval(ours)
    ratio = (mean / predicted[0], low / predicted[0], high / predicted[0])
    p_value = float(ks_2samp(live, ours).pvalue)
    count = len(live)
    return [
        Measure("new_leader_ms_mean", mean, low, high, "ms", count, "live"),
        Measure("predicted_new_leader_ms_mean", *predicted, "ms", len(ours)),
        Measure("new_leader_ms_live_over_predicted", *ratio, "", count, "live"),
        Measure("new_leader_ks_p_value", p_value, p_value, p_value, "", count, "live"),
    ]


def published(parameters: Parameters) -> list[Published]:
    """The essay's bound, and what etcd 3.4.23 did on another machine's disk."""
    known = [Published("put_ms_p50", constants.ETCD_FINALITY_MS_MAX, "ms", "essay (upper bound)")]
    for row in data.rows("etcd/published/single_client.csv"):
        key = tuple(row[name] for name in ("nodes", "storage", "target", "op", "quantity"))
        if key == (str(parameters.n_servers), "disk", "leader", "put", "p50"):
            source = f"real etcd {row['etcd_version']}, another machine"
            known.append(Published("put_ms_p50", float(row["value"]), "ms", source))
    most = f"puts_per_s_{max(parameters.clients)}_clients"
    known.append(Published(most, constants.ETCD_THROUGHPUT_TPS_MIN, "1/s", "essay (lower bound)"))
    for row in data.rows("etcd/published/limits.csv"):
        if row["quantity"].startswith("largest_accepted_put_value"):
            source = f"real etcd {row['etcd_version']}"
            known.append(Published("value_size_bytes_max", float(row["value"]), "bytes", source))
    return known


def _notes(
    parameters: Parameters, frame: Any, machines: list[Machine], version: str
) -> list[str]:
    put, predicted = (m for m in _put_measures(frame) if m.quantity.endswith("put_ms_p50"))
    is_within = predicted.low <= put.value <= predicted.high
    notes = [
        f"Live: etcd {version}, {parameters.n_servers} servers on the loopback interface, all on "
        "this machine; times are those that a client in Python sees.",
        "Predicted put: from measured disk, call, linearizable read and a put to a cluster of one; "
        "from the lowest round with a core for each server to the highest with all servers sharing "
        "this machine's cores. The live median is "
        f"{'within' if is_within else 'outside'} this interval.",
        "The largest value depends by a byte on the number that a server gives to a request, "
        "nine or ten bytes long: its first two bytes are the last two of the server's identity.",
    ]
    if typical(machines).cpu_ms == 0.0:
        notes.append(
            "A put to a cluster of one took no longer than call and disk: other programs kept "
            "this machine busy, and the prediction leaves out CPU time."
        )
    return notes


def figure(result: Result) -> Figure:
    """Distributions of put latency, live and simulated."""
    from consensus_lab.report.distributions import samples_cdf

    puts = result.frame[result.frame["quantity"] == "put_ms"]
    series = {
        str(name): [value / 1000 for value in part["value"]]
        for name, part in puts.groupby("system")
    }
    ratio = result.measure("put_ms_p50_live_over_predicted")
    return samples_cdf(
        series, x_label="time from a put to its answer",
        title=f"A put to real etcd takes {ratio.value:.2f} times what is predicted",
        detail=f"{result.parameters.n_servers} servers on this machine, "
        f"{len(series[LIVE])} puts, seed {result.parameters.seed}",
    )  # fmt: skip
