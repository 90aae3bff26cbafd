"""A replicated log whose every cost is explicit, clients at a distance, and what etcd's table says.

Theory of operation.  All machines, the clients' too, are one network delay apart.  Each input (a
client's request, a peer's message) and each message sent takes CPU time at its server; bytes take
CPU, line and disk time; a durable write takes a disk's time, however many entries it holds.  At
most `in_flight` messages with entries are under way to each follower; what comes meanwhile leaves
together (batching).  An answer costs no CPU: its cost is counted with the request's.

Three costs are fitted, each to one row of etcd's published benchmark: the network delay to one
client's serializable reads (there and back, nothing else), the disk to one client's writes, the
CPU to 1000 clients' writes at the leader.  The other rows are predictions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from consensus_lab import data
from consensus_lab.client import Query, Refused, Request
from consensus_lab.experiments.clusters import (
    NANOSECONDS_PER_MS,
    NANOSECONDS_PER_US,
    leader_of,
)
from consensus_lab.experiments.parameters import ParameterSet, parameter
from consensus_lab.experiments.result import Measure, Result
from consensus_lab.kv import Get, KeyValueStore, Put
from consensus_lab.node import Node, NodeId
from consensus_lab.paxos.multi import MultiPaxosNode
from consensus_lab.paxos.multi_parameters import MultiPaxosParameters
from consensus_lab.paxos.quorum import Quorums
from consensus_lab.raft.config import RaftConfig
from consensus_lab.raft.node import RaftNode
from consensus_lab.raft.requests import SerializableQuery
from consensus_lab.sim.engine import Engine
from consensus_lab.sim.links import NANOSECONDS_PER_SECOND, Bandwidth, Link, Links
from consensus_lab.sim.process import Host
from consensus_lab.sim.streams import stream

BENCHMARK = "etcd/published/benchmarks.csv"
ALL, LEADER = "all members", "leader only"
BATCH_COUNT_MAX = 100_000
"""Multi-Paxos's own limit on commands in a batch is put out of the way: bytes limit both alike."""
TIMEOUT_NS = 100 * NANOSECONDS_PER_SECOND
"""Election timeout: a busy leader whose heartbeats wait for the CPU is not unseated."""
ROUNDS, WARM_UP_ROUNDS = 8, 3
"""Each client of a closed loop is answered that often; the first rounds fill the queues."""
WARM_UP_PART = 5
"""Of a watched time, one part in so many comes from an idle cluster and is left out."""
FIT_ROUNDS = 4


class CostParameters(ParameterSet):
    """What everything costs; network, disk and CPU are fitted to etcd's table or as given."""

    is_calibrated: bool = parameter(
        True, meaning="fit network_ms, fsync_ms and cpu_us to three rows of etcd's benchmark"
    )
    network_ms: float = parameter(
        0.16, unit="ms", meaning="delay between any two machines, clients included", minimum=0.0,
        maximum=1e4,
    )  # fmt: skip
    cpu_us: float = parameter(
        22.0, unit="us", meaning="CPU time of a server per input and per message sent",
        minimum=0.01, maximum=1e6,
    )  # fmt: skip
    kilobyte_us: float = parameter(
        0.5, unit="us", minimum=0.0, maximum=1e6,
        meaning="CPU time per 1000 bytes of a message, sent or received; assumed",
    )  # fmt: skip
    fsync_ms: float = parameter(
        1.0, unit="ms", meaning="a durable write, however many entries", minimum=0.0, maximum=1e4
    )
    disk_bytes_per_s: int = parameter(
        200_000_000, unit="bytes/s", meaning="sequential writing; assumed", minimum=1000
    )
    bandwidth_bytes_per_s: int = parameter(
        1_250_000_000, unit="bytes/s", meaning="each server's line, up and down; assumed",
        minimum=1000,
    )  # fmt: skip
    in_flight: int = parameter(
        1, unit="count", minimum=1, maximum=100_000,
        meaning="messages with entries under way to a follower; the rest waits and is batched",
    )  # fmt: skip
    batch_size_bytes: int = parameter(
        1 << 20, unit="bytes", meaning="most bytes of entries in one message", minimum=1
    )
    value_size_bytes: int = parameter(
        256, unit="bytes", meaning="size of the value that a client puts", minimum=0,
        maximum=1_000_000,
    )  # fmt: skip


Costs = TypeVar("Costs", bound=CostParameters)


class Outcome(NamedTuple):
    """What a load measured: completed requests per second, and each one's latency."""

    per_s: float
    latencies_ms: list[float]

    @property
    def mean_ms(self) -> float:
        """Mean latency; nan when nothing was answered."""
        count = len(self.latencies_ms)
        return sum(self.latencies_ms) / count if count else float("nan")


def cluster(
    costs: CostParameters, protocol: str, n_servers: int, *, seed: int
) -> tuple[Engine, NodeId]:
    """A cluster with these costs that has elected its leader and come to rest, and who leads."""
    ids = tuple(range(1, n_servers + 1))
    heartbeat_ns = TIMEOUT_NS // 10
    raft = RaftConfig(
        election_timeout_range_ns=(TIMEOUT_NS, 2 * TIMEOUT_NS), heartbeat_interval_ns=heartbeat_ns,
        inflight_messages_max=costs.in_flight, append_size_bytes_max=costs.batch_size_bytes,
        snapshot_entries=None,
    )  # fmt: skip
    paxos = MultiPaxosParameters(
        Quorums(ids), election_timeout_ns=TIMEOUT_NS, heartbeat_interval_ns=heartbeat_ns,
        pipeline_batches_max=costs.in_flight, batch_count_max=BATCH_COUNT_MAX,
        batch_size_bytes_max=costs.batch_size_bytes, window_slots=1 << 20, snapshot_entries=None,
    )  # fmt: skip

    def make(node_id: NodeId, disk: Any) -> Node:
        source, machine = stream(seed, "server", node_id), KeyValueStore()
        if protocol == "raft":
            return RaftNode(
                node_id, disk, members=ids, machine=machine, random_source=source, config=raft
            )
        return MultiPaxosNode(node_id, disk, parameters=paxos, machine=machine, source=source)

    cpu_ns = round(costs.cpu_us * NANOSECONDS_PER_US)
    host = Host(
        cpu_ns, cpu_ns, round(costs.kilobyte_us * NANOSECONDS_PER_US),
        round(costs.fsync_ms * NANOSECONDS_PER_MS), 0, costs.disk_bytes_per_s,
    )  # fmt: skip
    line = Bandwidth(costs.bandwidth_bytes_per_s, costs.bandwidth_bytes_per_s)
    links = Links(Link(round(costs.network_ms * NANOSECONDS_PER_MS)), bandwidth=line)
    engine = Engine(make, ids, seed=seed, links=links, hosts=host)
    engine.run(until=lambda: leader_of(engine) is not None, until_ns=10 * TIMEOUT_NS)
    engine.run(until_ns=engine.now + NANOSECONDS_PER_SECOND)
    leader = leader_of(engine)
    assert leader is not None, "a cluster without faults has a leader"
    return engine, leader


Make = Callable[[int, str], Any]
REQUESTS: dict[tuple[str, str], Make] = {
    ("write", ""): lambda number, value: Request(number, Put(f"{number % 10**8:08d}", value)),
    ("read", "linearizable"): lambda number, value: Query(number, Get("00000000")),
    ("read", "serializable"): lambda number, value: SerializableQuery(number, Get("00000000")),
}
"""A client's request by operation and consistency."""


class Load:
    """Clients one network delay away, spread evenly over some servers.

    Parameters
    ----------
    engine : Engine
        A cluster; its `on_reply` hook is taken.
    servers : sequence of int
    delay_ns : int
        Between a client and its server.
    value_size_bytes : int
    make : callable (number, value) -> request
    """

    def __init__(
        self, engine: Engine, servers: list[NodeId], *, delay_ns: int, value_size_bytes: int,
        make: Make = REQUESTS["write", ""],
    ) -> None:  # fmt: skip
        self.engine, self.servers, self.delay_ns, self.make = engine, servers, delay_ns, make
        self.value = "v" * value_size_bytes
        self.latencies_ns: list[int] = []
        self.answers_ns: list[int] = []
        self._began: dict[int, tuple[int, NodeId]] = {}
        self._number = 0
        self._is_closed = True
        engine.on_reply = self._on_reply

    def closed(self, clients: int) -> Outcome:
        """Each client puts, waits for the answer, and puts the next; some rounds of that."""
        begin = self.engine.now
        for place in range(clients):
            self._submit(self.servers[place % len(self.servers)], begin)
        goal = ROUNDS * clients
        self.engine.run(until=lambda: len(self.latencies_ns) >= goal)
        warm_up = WARM_UP_ROUNDS * clients
        took_ns = self.answers_ns[-1] - self.answers_ns[warm_up - 1]
        latencies = [latency / NANOSECONDS_PER_MS for latency in self.latencies_ns[warm_up:]]
        return Outcome(len(latencies) * NANOSECONDS_PER_SECOND / took_ns, latencies)

    def open(self, per_s: float, watched_s: float, *, seed: int) -> Outcome:
        """Requests come as a Poisson process, whatever is answered, and are watched so long.

        The first fifth warms up.  What is beyond the capacity is not answered by the end.
        """
        self._is_closed = False
        source, begin = stream(seed, "arrivals"), self.engine.now
        end, at = begin + round(watched_s * NANOSECONDS_PER_SECOND), float(begin)
        while (at := at + source.expovariate(per_s) * NANOSECONDS_PER_SECOND) < end:
            self._submit(self.servers[self._number % len(self.servers)], round(at))
        self.engine.run(until_ns=end)
        warm_ns = begin + (end - begin) // WARM_UP_PART
        answers = zip(self.answers_ns, self.latencies_ns, strict=True)
        steady = [latency for at_ns, latency in answers if warm_ns < at_ns <= end]
        per_s = len(steady) * NANOSECONDS_PER_SECOND / (end - warm_ns)
        return Outcome(per_s, [latency / NANOSECONDS_PER_MS for latency in steady])

    def _submit(self, server: NodeId, began_ns: int) -> None:
        self._number += 1
        self._began[self._number] = (began_ns, server)
        request = self.make(self._number, self.value)
        self.engine.submit(server, request, at_ns=began_ns + self.delay_ns)

    def _on_reply(self, server: NodeId, effect: Any, now: int) -> None:
        began = self._began.pop(effect.request_id, None)
        if began is None:
            return
        assert not isinstance(effect.result, Refused), f"refused: {effect.result}"
        heard_ns = now + self.delay_ns
        self.latencies_ns.append(heard_ns - began[0])
        self.answers_ns.append(heard_ns)
        if self._is_closed:
            self._submit(began[1], heard_ns)


def load_of(
    costs: CostParameters, protocol: str, n_servers: int, *, seed: int, target: str = LEADER,
    make: Make = REQUESTS["write", ""],
) -> Load:  # fmt: skip
    """A fresh cluster and clients at its leader or at all of its members."""
    engine, leader = cluster(costs, protocol, n_servers, seed=seed)
    servers = [leader] if target == LEADER else sorted(engine.processes)
    return Load(
        engine, servers, delay_ns=round(costs.network_ms * NANOSECONDS_PER_MS),
        value_size_bytes=costs.value_size_bytes, make=make,
    )  # fmt: skip


# etcd's published table.

FITTED_COSTS = {"network_ms": "ms", "fsync_ms": "ms", "cpu_us": "us"}
"""What `calibrated` sets, with units."""


def benchmark(operation: str, clients: int, target: str, consistency: str = "") -> dict[str, str]:
    """The row of etcd's published benchmark."""
    wanted = (operation, str(clients), target, consistency)
    return next(
        row for row in data.rows(BENCHMARK)
        if (row["operation"], row["clients"], row["target"], row["consistency"]) == wanted
    )  # fmt: skip


NETWORK_ROW = ("read", 1, ALL, "serializable")
DISK_ROW = ("write", 1, LEADER, "")
CPU_ROW = ("write", 1000, LEADER, "")
FITTED = (NETWORK_ROW, DISK_ROW, CPU_ROW)


def as_benchmarked(costs: CostParameters, row: dict[str, str], *, seed: int) -> Outcome:
    """The load of a row of the benchmark on a simulated Raft with these costs.

    One connection has one server, and which one is not said: such a row is the mean over members.
    """
    make = REQUESTS[row["operation"], row["consistency"]]
    clients, n = int(row["clients"]), int(row["nodes"])
    sized = costs.replace(value_size_bytes=int(row["value_bytes"]))
    if clients == 1 and row["target"] == ALL:
        parts = []
        for server in range(1, n + 1):
            load = load_of(sized, "raft", n, seed=seed, make=make)
            load.servers = [server]
            parts.append(load.closed(1))
        latencies = [latency for part in parts for latency in part.latencies_ms]
        return Outcome(1000 * len(latencies) / sum(latencies), latencies)
    return load_of(sized, "raft", n, seed=seed, target=row["target"], make=make).closed(clients)


def calibrated(costs: Costs) -> Costs:
    """The costs with network, disk and CPU fitted to their rows.

    A client's read takes two delays and one input's CPU; a write as long as it does without a
    disk, and the disk; a busy leader's rate is in inverse proportion to its CPU time.
    """
    if not costs.is_calibrated:
        return costs
    network, disk, cpu = (float(benchmark(*row)["qps"]) for row in FITTED)
    for _ in range(FIT_ROUNDS):
        network_ms = max(0.0, (1000 / network - costs.cpu_us / 1000) / 2)
        costs = costs.replace(network_ms=network_ms, fsync_ms=0.0)
        rest_ms = as_benchmarked(costs, benchmark(*DISK_ROW), seed=costs.seed).mean_ms
        costs = costs.replace(fsync_ms=max(0.0, 1000 / disk - rest_ms))
        reached = as_benchmarked(costs, benchmark(*CPU_ROW), seed=costs.seed).per_s
        costs = costs.replace(cpu_us=costs.cpu_us * reached / cpu)
    return costs


def cost_measures(costs: CostParameters) -> list[Measure]:
    """The costs that are fitted, or as given."""
    how = "fitted" if costs.is_calibrated else "given"
    values = [(name, getattr(costs, name), unit) for name, unit in FITTED_COSTS.items()]
    return [Measure(name, value, value, value, unit, 1, how) for name, value, unit in values]


def costs_of(result: Result) -> dict[str, Any]:
    """The costs that a result's run used, for another run with `replace`."""
    fitted = {name: result.measure(name).value for name in FITTED_COSTS}
    return {**fitted, "is_calibrated": False}
