"""Random runs of Multi-Paxos: clients, faults of all kinds, and every check at the end."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, NamedTuple

from consensus_lab.client import Query, Refused, Request
from consensus_lab.paxos.multi import MultiPaxosNode
from consensus_lab.paxos.multi_parameters import MultiPaxosParameters
from consensus_lab.sim.history import UNKNOWN, Operation
from consensus_lab.sim.linearizability import check
from consensus_lab.sim.links import Link
from consensus_lab.sim.models import KEY_VALUE, Append, Get, Put
from consensus_lab.sim.process import Host
from consensus_lab.sim.streams import stream
from tests.paxos.multi_cluster import MS, SECOND, Cluster


class Client:
    """One operation at a time, tried again with the same identity at another replica."""

    PATIENCE_NS = 150 * MS

    def __init__(self, cluster: Cluster, number: int, *, seed: int, until_ns: int) -> None:
        self.cluster = cluster
        self.number = number
        self.source = stream(seed, "client", number)
        self.until_ns = until_ns
        self.history: list[Operation] = []
        self.serial = 0
        self.tries = 0
        self.current: Any = None
        self.called = 0
        cluster.engine.at(number * MS, self._next)

    @property
    def request_id(self) -> Any:
        """Of the operation under way."""
        return (self.number, self.serial)

    def _next(self) -> None:
        engine = self.cluster.engine
        if engine.now >= self.until_ns:
            self.current = None
            return
        self.serial += 1
        self.tries = 0
        key, value = self.source.randrange(2), f"{self.number}.{self.serial};"
        draw = self.source.randrange(10)
        if draw < 4:
            self.current = Get(key)
        elif draw < 7:
            self.current = Append(key, value)
        else:
            self.current = Put(key, value)
        self.called = engine.now
        self._send()

    def _send(self) -> None:
        engine = self.cluster.engine
        node_id = self.source.choice(self.cluster.node_ids)
        kind = Query if type(self.current) is Get else Request
        engine.submit(node_id, kind(self.request_id, self.current))
        serial, tries = self.serial, self.tries
        engine.at(engine.now + self.PATIENCE_NS, lambda: self._impatient(serial, tries))

    def _impatient(self, serial: int, tries: int) -> None:
        if (serial, tries) != (self.serial, self.tries) or self.current is None:
            return
        self.tries += 1
        if self.tries < 4:
            self._send()
        else:
            self._close(UNKNOWN, None)

    def on_reply(self, effect: Any, now: int) -> None:
        """An answer came; one for an operation that was given up is ignored."""
        if effect.request_id != self.request_id or self.current is None:
            return
        if isinstance(effect.result, Refused):
            self._close(UNKNOWN, None)
        else:
            self._close(effect.result, now)

    def close_as_pending(self) -> None:
        """The run is over before the answer came."""
        self.history.append(
            Operation(self.number, self.current, UNKNOWN, self.called, None)
        )
        self.current = None

    def _close(self, response: Any, returned: int | None) -> None:
        self.history.append(
            Operation(self.number, self.current, response, self.called, returned)
        )
        self.current = None
        engine = self.cluster.engine
        engine.at(engine.now + self.source.randrange(1, 5) * MS, self._next)


class Weather(NamedTuple):
    """How rough a random run is.

    Attributes
    ----------
    links : Link
        What the network does to messages all the time.
    host : Host
        How long a durable write takes.
    pause_ms, fault_ms : int
        Longest time between two faults, and longest time that one lasts.
    """

    links: Link
    host: Host
    pause_ms: int
    fault_ms: int


ROUGH = Weather(
    Link(MS, jitter_ns=5 * MS, loss=0.05, duplicate=0.05, reorder=0.1, reorder_ns=60 * MS),
    Host(fsync_ns=2 * MS, fsync_jitter_ns=2 * MS),
    pause_ms=600,
    fault_ms=500,
)
# Leaders change all the time: messages take as long as patience lasts.
STORM = Weather(
    Link(2 * MS, jitter_ns=15 * MS, loss=0.1, duplicate=0.1, reorder=0.25, reorder_ns=250 * MS),
    Host(fsync_ns=3 * MS, fsync_jitter_ns=25 * MS),
    pause_ms=200,
    fault_ms=300,
)


def strike(cluster: Cluster, *, seed: int, until_ns: int, weather: Weather = ROUGH) -> None:
    """Faults of all kinds at random times, each mended before the time is over."""
    source = stream(seed, "faults")
    engine, nodes = cluster.engine, cluster.node_ids

    def crash(at: int, end: int) -> None:
        node, keep = source.choice(nodes), source.choice((0, 0, 1))
        engine.at(at, lambda: engine.crash(node, keep_unsynced=keep))
        engine.at(end, lambda: engine.restart(node))

    def crash_all(at: int, end: int) -> None:
        for node in nodes:
            engine.at(at, lambda node=node: engine.crash(node))
            engine.at(end - source.randrange(20) * MS, lambda node=node: engine.restart(node))

    def crash_leader(at: int, end: int) -> None:
        struck: list[int] = []

        def begin() -> None:
            struck.append(cluster.leader() or nodes[0])
            engine.crash(struck[0])

        engine.at(at, begin)
        engine.at(end, lambda: engine.restart(struck[0]))

    def cut(at: int, end: int) -> None:
        one = tuple(source.sample(nodes, source.randrange(1, len(nodes))))
        other = tuple(n for n in nodes if n not in one)
        both = source.random() < 0.7
        engine.at(at, lambda: engine.links.block(one, other))
        engine.at(end, lambda: engine.links.unblock(one, other))
        if both:
            engine.at(at, lambda: engine.links.block(other, one))
            engine.at(end, lambda: engine.links.unblock(other, one))

    def slow(at: int, end: int) -> None:
        node = source.choice(nodes)
        usual, delay = engine.processes[node].host, source.randrange(60) * MS
        engine.at(at, lambda: engine.processes[node].use(Host(fsync_ns=delay)))
        engine.at(end, lambda: engine.processes[node].use(usual))

    at = 300 * MS
    kinds = (crash, slow)
    if len(nodes) > 1:
        kinds = (crash, crash_all, crash_leader, crash_leader, cut, cut, slow)
    while at < until_ns:
        end = min(until_ns, at + source.randrange(20, weather.fault_ms) * MS)
        source.choice(kinds)(at, end)
        at += source.randrange(30, weather.pause_ms) * MS


def random_run(
    settings: MultiPaxosParameters,
    *,
    seed: int,
    duration_ns: int = 3 * SECOND,
    weather: Weather = ROUGH,
    clients_count: int = 3,
    node_class: type[MultiPaxosNode] = MultiPaxosNode,
    nodes: Any = None,
    is_watched: bool = True,
    before: Any = None,
) -> Cluster:
    """Clients and faults for a while, then quiet; every promise of the log is checked.

    Raises an AssertionError at the first broken one.
    """
    cluster = Cluster(
        settings, seed=seed, links=weather.links, node_class=node_class, nodes=nodes,
        host=weather.host, is_watched=is_watched,
    )  # fmt: skip
    cluster.clients = [
        Client(cluster, number, seed=seed, until_ns=duration_ns)
        for number in range(clients_count)
    ]
    strike(cluster, seed=seed, until_ns=duration_ns, weather=weather)
    if before is not None:
        before(cluster)
    cluster.engine.run(until_ns=duration_ns)
    cluster.calm()
    cluster.engine.run(until_ns=duration_ns + 4 * SECOND)
    for client in cluster.clients:
        if client.current is not None:
            client.close_as_pending()
    history = [operation for client in cluster.clients for operation in client.history]
    renamed = rename_given_up(history)
    verdict = check(renamed, model=KEY_VALUE)
    assert verdict.is_linearizable, f"not linearizable: {verdict.failure.describe()}"
    assert cluster.leader() is not None, "no leader after the faults were mended"
    cluster.check_replicas_agree()
    return cluster


def rename_given_up(history: list[Operation]) -> list[Operation]:
    """A client that gave up goes on under a new name: a name has one operation at a time."""
    renamed: list[Operation] = []
    names: dict[int, int] = defaultdict(int)
    for operation in sorted(history, key=lambda o: o.called):
        name = operation.client + 1000 * names[operation.client]
        renamed.append(operation._replace(client=name))
        if operation.is_pending:
            names[operation.client] += 1
    return renamed
