"""A replicated key-value store on simulated machines, and clients that load it.

The clusters are Raft and Multi-Paxos, told apart by one parameter; all else is the same: links
from a geography, disks whose write time was measured, a CPU that takes its time for each message.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from consensus_lab import data
from consensus_lab.client import Refused, Request
from consensus_lab.experiments.parameters import ParameterSet, parameter
from consensus_lab.kv import KeyValueStore, Put, StoreConfig
from consensus_lab.network import geography
from consensus_lab.node import Node, NodeId, ParameterError
from consensus_lab.paxos.multi import MultiPaxosNode
from consensus_lab.paxos.multi_parameters import MultiPaxosParameters
from consensus_lab.paxos.multi_state import LEADER
from consensus_lab.paxos.quorum import Quorums
from consensus_lab.raft.config import RaftConfig
from consensus_lab.raft.node import RaftNode
from consensus_lab.sim.engine import Engine
from consensus_lab.sim.links import NANOSECONDS_PER_SECOND, Bandwidth, Link, Links
from consensus_lab.sim.process import Host
from consensus_lab.sim.streams import stream
from consensus_lab.sim.trace import Trace

NANOSECONDS_PER_MS = 1_000_000
NANOSECONDS_PER_US = 1_000
PROTOCOLS = ("raft", "multi-paxos")
DISKS = ("measured", "instant")

_LEADER_WITHIN_NS = 60 * NANOSECONDS_PER_SECOND
"""A cluster without faults that has no leader after that long never will: a bug."""


class ClusterParameters(ParameterSet):
    """What every experiment on a replicated log has in common."""

    protocol: str = parameter("raft", meaning="the replicated log", choices=PROTOCOLS)
    n_servers: int = parameter(
        3, unit="count", meaning="servers; a majority has to agree", minimum=1, maximum=101
    )
    server_geography: str = parameter(
        "single_region", meaning="where the servers stand", choices=geography.NAMES
    )
    disk: str = parameter(
        "measured", choices=DISKS,
        meaning="durable writes take as long as fdatasync on a real disk, or no time",
    )  # fmt: skip
    cpu_us: float = parameter(
        5.0, unit="us", minimum=0.0, maximum=1e6,
        meaning="CPU time to handle or to send one message",
    )  # fmt: skip
    value_size_bytes: int = parameter(
        256, unit="bytes", meaning="size of the value that a client puts", minimum=0,
        maximum=1_572_000,
    )  # fmt: skip


def measured_disk() -> Host:
    """A host whose fsync takes as long as on the disk beside which etcd was measured.

    Uniform between the ends that give the measured median and 90 % quantile; the rarer long
    writes (99 %: 0.25 ms) are left out.
    """
    rows = data.rows("etcd/disk_fdatasync.csv")
    at = {row["quantile"]: float(row["fdatasync_ms"]) * NANOSECONDS_PER_MS for row in rows}
    spread = (at["0.9"] - at["0.5"]) / 0.4
    return Host(fsync_ns=round(at["0.5"] - spread / 2), fsync_jitter_ns=round(spread))


def host_of(parameters: ClusterParameters) -> Host:
    """The machine that every server runs on."""
    disk = measured_disk() if parameters.disk == "measured" else Host()
    cpu_ns = round(parameters.cpu_us * NANOSECONDS_PER_US)
    return Host(cpu_ns, cpu_ns, 0, disk.fsync_ns, disk.fsync_jitter_ns)


def distances_of(parameters: ClusterParameters) -> dict[tuple[NodeId, NodeId], Link]:
    """Latencies between servers that are spread over the regions in turn."""
    place = geography.geography(parameters.server_geography)
    ids = range(1, parameters.n_servers + 1)
    region = {i: (i - 1) % len(place.regions) for i in ids}
    return {
        (a, b): Link(round(place.latency_s[region[a]][region[b]] * NANOSECONDS_PER_SECOND))
        for a in ids
        for b in ids
        if a != b
    }


def links_of(parameters: ClusterParameters) -> Links:
    """Links between servers spread over the regions in turn, and their lines."""
    place = geography.geography(parameters.server_geography)
    lines = {}
    for server in range(1, parameters.n_servers + 1):
        region = (server - 1) % len(place.regions)
        upload, download = place.upload_bytes_per_s[region], place.download_bytes_per_s[region]
        lines[server] = Bandwidth(upload, download)
    return Links(Link(0), pairs=distances_of(parameters), bandwidth=lines)


def factory(
    parameters: ClusterParameters, *, raft: RaftConfig | None = None,
    store: StoreConfig | None = None,
) -> Callable[[NodeId, Any], Node]:  # fmt: skip
    """What makes a server of that protocol, at the start and after each crash."""
    ids = tuple(range(1, parameters.n_servers + 1))
    restarts: Counter[NodeId] = Counter()  # Of members, and of who may join them later.

    def make(node_id: NodeId, disk: Any) -> Node:
        restarts[node_id] += 1
        source = stream(parameters.seed, "server", node_id, restarts[node_id])
        if parameters.protocol == "raft":
            return RaftNode(
                node_id, disk, members=ids, machine=KeyValueStore(store), random_source=source,
                config=raft,
            )  # fmt: skip
        return MultiPaxosNode(
            node_id, disk, parameters=MultiPaxosParameters(Quorums(ids)),
            machine=KeyValueStore(store), source=source,
        )  # fmt: skip

    return make


def start(
    parameters: ClusterParameters,
    *,
    trace: Trace | None = None,
    raft: RaftConfig | None = None,
    links: Links | None = None,
    store: StoreConfig | None = None,
) -> tuple[Engine, NodeId]:
    """A running cluster that has just elected its leader, and who that is."""
    ids = range(1, parameters.n_servers + 1)
    engine = Engine(
        factory(parameters, raft=raft, store=store), ids, seed=parameters.seed,
        links=links or links_of(parameters), hosts=host_of(parameters), trace=trace,
    )  # fmt: skip
    engine.run(until=lambda: leader_of(engine) is not None, until_ns=_LEADER_WITHIN_NS)
    leader = leader_of(engine)
    assert leader is not None, "no leader"
    return engine, leader


def leader_of(engine: Engine) -> NodeId | None:
    """The server that leads now; the lowest one if several think so."""
    for node_id, node in sorted(engine.nodes.items()):
        leads = node.core.is_leader if isinstance(node, RaftNode) else node.role == LEADER
        if leads:
            return node_id
    return None


class ClosedLoop:
    """Clients that each put one value, wait for the answer, and put the next.

    Parameters
    ----------
    engine : Engine
        A cluster; its `on_reply` hook is taken.
    server : int
        Whom all clients talk to, with no network between.
    clients : int
        How many work side by side.
    value_size_bytes : int

    Attributes
    ----------
    latencies_ns : list of int
        From submission to answer, in the order of the answers.
    answers_ns : list of int
        When they came.
    refused : int
        Requests that the server did not take.
    """

    def __init__(
        self, engine: Engine, server: NodeId, *, clients: int, value_size_bytes: int
    ) -> None:
        if clients < 1:
            raise ParameterError("clients", clients, "at least 1")
        self.engine, self.server, self.clients = engine, server, clients
        self.value = "v" * value_size_bytes
        self.latencies_ns: list[int] = []
        self.answers_ns: list[int] = []
        self.refused = 0
        self._submitted: dict[Any, int] = {}
        self._next = 0
        engine.on_reply = self._on_reply

    def run(self, requests: int) -> None:
        """Let the clients go on until that many requests are answered."""
        for _ in range(self.clients):
            self._submit()
        goal = len(self.latencies_ns) + requests
        self.engine.run(until=lambda: len(self.latencies_ns) >= goal)

    def _submit(self) -> None:
        self._next += 1
        request_id = ("load", self._next)
        self._submitted[request_id] = self.engine.now
        # Keys of eight bytes, as in etcd's benchmark.
        put = Put(f"{self._next % 100_000_000:08d}", self.value)
        self.engine.submit(self.server, Request(request_id, put))

    def _on_reply(self, node_id: NodeId, effect: Any, now: int) -> None:
        began = self._submitted.pop(effect.request_id, None)
        if began is None:
            return
        if isinstance(effect.result, Refused):
            self.refused += 1
        else:
            self.latencies_ns.append(now - began)
            self.answers_ns.append(now)
        self._submit()
