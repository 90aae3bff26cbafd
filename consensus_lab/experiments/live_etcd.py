"""Does the simulated Raft predict what a real etcd cluster does on this machine?

A real cluster runs on the loopback interface.  On the same machine, in turn with it, are measured
what the prediction is made of: puts to other clusters, of one and of two servers, the processor
time that they take, and durable writes by as many writers as there are servers.  The simulation
gets these and nothing else, and has to say how long a put to three or five servers takes and how
long a failover.  What it says for a put has two ends (`live_prediction`), each with its 95 %
interval.
"""

from __future__ import annotations

from contextlib import ExitStack
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from consensus_lab import constants, data
from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.intervals import (
    bootstrap_interval,
    mean_interval,
    quantile_interval,
)
from consensus_lab.experiments.live_measurements import Spent, measured, others_ms, start
from consensus_lab.experiments.live_prediction import (
    ALL,
    ENDS,
    LEAST,
    Machine,
    costs_of,
    predicted_interval,
    simulated_failover_ms,
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
PREDICTED = {LEAST: "predicted_put_ms_least_work", ALL: "predicted_put_ms_all_work"}
OTHERS_SHARE_MAX = 0.05
"""With more of the cores in other programs' hands the machine is not the one that is predicted."""


class Parameters(ParameterSet):
    """The real cluster, and how long it is watched."""

    n_servers: int = parameter(3, unit="count", meaning="servers of the cluster", choices=(3, 5))
    n_requests: int = parameter(
        30, full=100, unit="count", meaning="puts of one client per round", minimum=5
    )
    rounds: int = parameter(
        20, full=60, unit="count", minimum=2, maximum=1000,
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
        `frame`: one row per observation: quantity (put_ms, puts_per_s, ...), system
        (live etcd, simulated), round, clients, value.

    Raises
    ------
    ParameterError
        When there is no etcd program or no grpcio: the extra `consensus-lab[live]` brings both.
    """
    import pandas

    from consensus_lab.live.machine import cores

    steps = parameters.rounds + len(parameters.clients) + 2
    rows: list[dict[str, Any]] = []
    machines: list[Machine] = []
    with ExitStack() as stack:
        clusters, writers = start(
            stack, parameters.n_servers, folder=parameters.folder or None,
            value_size_bytes=parameters.value_size_bytes,
        )  # fmt: skip
        version = clusters.live.status(0).version
        before = others_ms(clusters, writers)
        for place in range(parameters.rounds):
            progress(place, steps, "measurements")
            puts_ms, found = measured(
                clusters, writers, n_requests=parameters.n_requests,
                value_size_bytes=parameters.value_size_bytes,
            )  # fmt: skip
            machines.append(found)
            rows += [_row("put_ms", LIVE, place, 1, time_ms) for time_ms in puts_ms]
        others = _others_measures(before, others_ms(clusters, writers))
        for other in clusters[1:]:
            other.close()
        for place, clients in enumerate(parameters.clients):
            progress(parameters.rounds + place, steps, "measurements")
            rows += _load_rows(parameters, clusters.live, clients)
        progress(steps - 2, steps, "measurements")
        limit_measures = _limits(clusters.live)
        progress(steps - 1, steps, "measurements")
        rows += _failover_rows(parameters, clusters.live, typical(machines))
    progress(steps, steps, "measurements")
    rows += [
        _row(f"input_{name}", LIVE, place, 1, value)
        for place, one in enumerate(machines) for name, value in one._asdict().items()
    ]  # fmt: skip
    frame = pandas.DataFrame(rows)
    measures = [
        *put_measures(parameters, frame, machines, cores()), *_load_measures(frame),
        *_failover_measures(frame), *limit_measures, *others, *_inputs(machines),
    ]  # fmt: skip
    return Result(
        "live-etcd", parameters, frame, measures, published(parameters), figure,
        notes=_notes(parameters, measures, version),
    )  # fmt: skip


def _row(quantity: str, system: str, place: int, clients: int, value: float) -> dict[str, Any]:
    return {"quantity": quantity, "system": system, "round": place, "clients": clients,
            "value": value}  # fmt: skip


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
    from consensus_lab.live.machine import cores

    phases, n = stream(parameters.seed, "phases"), parameters.n_servers
    costs, write_ms = costs_of(machine, ALL, cores()), machine.write_majority_ms
    rows = []
    for trial in range(parameters.n_failovers):
        settle_s = 1.2 + 0.3 * phases.random()
        found = etcd_load.fail_over(cluster, settle_s=settle_s)
        rows.append(_row("new_leader_ms", LIVE, trial, 0, found.new_leader_ms))
    for trial in range(SIMULATED_FAILOVERS):
        seed = phases.randrange(1 << 48)
        time_ms = simulated_failover_ms(n, costs, write_ms, cores(), seed)
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


def _others_measures(before: Spent | None, after: Spent | None) -> list[Measure]:
    """What other programs had of the cores meanwhile; nothing where the system does not tell."""
    from consensus_lab.live.machine import cores

    if before is None or after is None:
        return []
    share = max(0.0, (after.others_ms - before.others_ms) / (after.at_ms - before.at_ms) / cores())
    return [Measure("others_share_of_cores", share, share, share, "", 1, "live")]


def _inputs(machines: list[Machine]) -> list[Measure]:
    """What the prediction is made of: means over rounds."""
    return [
        Measure(f"input_{name}", *mean_interval(values), "ms", len(machines), "live")
        for name, values in zip(Machine._fields, zip(*machines, strict=True), strict=True)
    ]


def put_measures(
    parameters: Parameters, frame: Any, machines: list[Machine], cores: int
) -> list[Measure]:
    """The live median, mean over rounds, and what both ends of the model say for it."""
    puts = frame[frame["quantity"] == "put_ms"]
    rounds = [float(value) for value in puts.groupby("round")["value"].median()]
    live = bootstrap_interval(rounds, fmean, source=stream(parameters.seed, "live"))
    count, times = len(machines), puts["value"]
    return [
        Measure("put_ms_p50", *live, "ms", count, "live"),
        *(
            Measure(PREDICTED[end], *predicted_interval(
                parameters.n_servers, machines, end, cores, seed=parameters.seed
            ), "ms", count)
            for end in ENDS
        ),
        Measure("put_ms_p99", *quantile_interval(times, 0.99), "ms", len(times), "live"),
    ]  # fmt: skip


class Prediction(NamedTuple):
    """The live put beside the range predicted for it; not a confidence interval, milliseconds."""

    put_ms: float
    low_ms: float
    high_ms: float

    @property
    def words(self) -> str:
        """Whether the put is within the range, and which it is."""
        place = "within" if self.low_ms <= self.put_ms <= self.high_ms else "outside"
        return f"{place} what is predicted, {self.low_ms:.2f} to {self.high_ms:.2f} ms"


def prediction(measures: list[Measure]) -> Prediction:
    """From the lower limit of the least work to the upper limit of all of it."""
    named = {measure.quantity: measure for measure in measures}
    ends = [named[PREDICTED[end]] for end in ENDS]
    low_ms, high_ms = min(end.low for end in ends), max(end.high for end in ends)
    return Prediction(named["put_ms_p50"].value, low_ms, high_ms)


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


def _notes(parameters: Parameters, measures: list[Measure], version: str) -> list[str]:
    notes = [
        f"Live: etcd {version}, {parameters.n_servers} servers on the loopback interface, all on "
        "this machine; times are those that a client in Python sees.",
        f"The live put is {prediction(measures).words}: a range, from the lower 95 % limit of the "
        "least work to the upper one of all work that was counted.  It is made from clusters of "
        "one and two servers and from durable writes; nothing of this cluster is in it.",
        "The largest value depends by a byte on the number that a server gives to a request, "
        "nine or ten bytes long: its first two bytes are the last two of the server's identity.",
    ]
    others = [one.value for one in measures if one.quantity == "others_share_of_cores"]
    if not others:
        notes.append(
            "This system does not tell the processor time of another process, so that no server "
            "stands in another's way here: the prediction is too low where cores are scarce."
        )
    elif others[0] > OTHERS_SHARE_MAX:
        notes.append(
            f"Other programs had {others[0]:.0%} of this machine's cores meanwhile. The prediction "
            "knows nothing of them: measure again when the machine is at rest."
        )
    return notes


def figure(result: Result) -> Figure:
    """Distribution of live put latency, and the range predicted for its median."""
    from consensus_lab.report.distributions import samples_cdf

    frame, found = result.frame, prediction(result.measures)
    puts = frame[frame["quantity"] == "put_ms"]["value"]
    return samples_cdf(
        {LIVE: [time_ms / 1000 for time_ms in puts]}, x_label="time from a put to its answer",
        published=[
            (found.low_ms / 1000, f"{found.low_ms:.2f} ms", "at least"),
            (found.high_ms / 1000, f"{found.high_ms:.2f} ms", "at most"),
        ],
        title=f"A put to real etcd: {found.put_ms:.2f} ms, {found.low_ms:.2f} to "
        f"{found.high_ms:.2f} predicted",
        detail=f"{result.parameters.n_servers} servers on this machine, median over "
        f"{result.parameters.rounds} rounds, seed {result.parameters.seed}",
    )  # fmt: skip
