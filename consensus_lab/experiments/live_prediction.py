"""A simulated cluster on a machine of which a few times were measured.

Rules of this file: what it predicts for three or five servers follows from the `Machine` alone,
and that holds nothing of theirs: clusters of one and of two, and writers without any cluster.

Theory of operation.  A put goes through client and leader, to the followers and onto all disks at
about the same moment, and is answered when a majority has written (etcd's leader sends before it
writes itself); then the leader tells the followers, who answer again: two rounds of messages.
All servers and the client share the machine's cores, and what is ready takes the core that is
free first (`sim.process.Cores`).  The times are found in the order in which they add up:

    request     of the client and of the leader by itself: a put to one server, less its write
    message     processor time of each message sent or received: what a put costs the leader more
                with one follower than with none, and the follower, each by the four messages
    link        what is then missing in a put to two servers, half of it on each way
    write       of the last server of a majority, when that many write at once

A request's time varies, uniformly and by as much as puts to one server do; for with constant
times two servers could for ever just miss, or just meet, each other at a core.

Two things are not known, so there are two ends.  A server with a second processor (Go's word for
a thread that may run) spends time looking for work; that gives way when somebody needs the core,
or does not.  And more processor time is counted than fits into a put to one server: the rest is
spent beside it, and stands in others' way or does not.  `LEAST`: the messages' cost is that of
servers with one processor, which look for nothing, and nothing is spent beside.  `ALL`: whatever
was counted stands in the way.  The truth lies between: a core does no work twice, and none that
was not counted.

Sampling error comes on top: rounds of measurement are drawn anew (bootstrap, Efron 1979).  What is
printed as predicted goes from the lower 95 % limit of `LEAST` to the upper one of `ALL`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from statistics import fmean
from typing import Any, NamedTuple

from consensus_lab import data
from consensus_lab.client import Request
from consensus_lab.experiments.clusters import (
    NANOSECONDS_PER_MS,
    ClusterParameters,
    factory,
    leader_of,
)
from consensus_lab.experiments.intervals import bootstrap_interval
from consensus_lab.kv import KeyValueStore, Put
from consensus_lab.kv_requests import REQUEST_ID_BYTES, RequestError
from consensus_lab.node import NodeId
from consensus_lab.raft.config import RaftConfig
from consensus_lab.sim.engine import Engine
from consensus_lab.sim.links import Link
from consensus_lab.sim.process import Cores, Host
from consensus_lab.sim.streams import stream

TRIAL_NS_MAX = 60_000 * NANOSECONDS_PER_MS
MESSAGES = 4
"""Between leader and follower for one put: entry, answer, commit, answer."""
PUTS, WARM_UP_PUTS = 28, 4
"""Simulated for one prediction; the requests' times are spread evenly, so that few are enough."""
GOLDEN = (5**0.5 - 1) / 2
"""Its multiples, whole parts left out, fill the unit interval evenly."""
LINK_STEPS, HALVINGS = 3, 8
LEAST, ALL = "least work", "all work"
ENDS = (LEAST, ALL)


class Machine(NamedTuple):
    """What was measured on a machine, milliseconds: medians of puts and writes, mean CPU times.

    A put to a cluster of one, with the width of the uniform law that its first and last tenth fit,
    and a put to one of two.  Durable writes: of one writer, of the later of
    two, and of the last of a majority of as many as the predicted cluster has servers.  Processor
    time per put of the client, of a server alone, of the leader and the follower of two; the last
    three also of servers with one processor.
    """

    put_alone_ms: float
    put_alone_spread_ms: float
    put_pair_ms: float
    write_alone_ms: float
    write_pair_ms: float
    write_majority_ms: float
    client_cpu_ms: float
    alone_cpu_ms: float
    leader_cpu_ms: float
    follower_cpu_ms: float
    one_processor_alone_cpu_ms: float
    one_processor_leader_cpu_ms: float
    one_processor_follower_cpu_ms: float

    @property
    def request_ms(self) -> float:
        """Of a put to one server, what is not its write."""
        return max(0.0, self.put_alone_ms - self.write_alone_ms)


def typical(machines: Iterable[Machine]) -> Machine:
    """The mean over rounds of each quantity."""
    return Machine(*(fmean(values) for values in zip(*machines, strict=True)))


class Costs(NamedTuple):
    """What a simulated cluster is made of, milliseconds; see the theory of operation."""

    request_ms: float
    spread_ms: float
    beside_ms: float
    leader_message_ms: float
    follower_message_ms: float
    link_ms: float

    def of(self, share: float) -> Costs:
        """The same with that share of the processor time that is not the request's."""
        return self._replace(
            beside_ms=share * self.beside_ms, leader_message_ms=share * self.leader_message_ms,
            follower_message_ms=share * self.follower_message_ms,
        )  # fmt: skip


def costs_of(machine: Machine, end: str, cores: int) -> Costs:
    """The costs at one end with which two simulated servers take as long as the real two took.

    Where they take longer even with no way between them, more processor time was counted than can
    have stood in the way: all of it is taken in part.
    """
    m, request_ms = machine, machine.request_ms
    if end == ALL:
        alone, leader, follower = m.alone_cpu_ms, m.leader_cpu_ms, m.follower_cpu_ms
        beside_ms = max(0.0, m.client_cpu_ms + alone - request_ms)
    else:
        alone, leader, follower = (
            m.one_processor_alone_cpu_ms, m.one_processor_leader_cpu_ms,
            m.one_processor_follower_cpu_ms,
        )  # fmt: skip
        beside_ms = 0.0
    per_message_ms = (max(0.0, leader - alone) / MESSAGES, follower / MESSAGES)
    counted = Costs(request_ms, m.put_alone_spread_ms, beside_ms, *per_message_ms, 0.0)

    def missing_ms(costs: Costs) -> float:
        return m.put_pair_ms - simulated_put_ms(2, costs, m.write_pair_ms, cores)

    missing = missing_ms(counted)
    if missing < 0:
        share = 0.0
        for step in range(1, HALVINGS + 1):
            more = share + 0.5**step
            share = more if missing_ms(counted.of(more)) > 0 else share
        return counted.of(share)
    found = counted
    for step in range(LINK_STEPS):
        missing = missing_ms(found) if step else missing
        found = found._replace(link_ms=max(0.0, found.link_ms + missing / 2))
    return found


def _engine(
    n_servers: int, costs: Costs, write_ms: float, cores: Cores, seed: int
) -> tuple[Engine, NodeId]:
    """A simulated cluster that has just elected its leader; etcd's defaults."""

    def host(message_ms: float) -> Host:
        return Host(_ns(message_ms), _ns(message_ms), 0, _ns(write_ms), cores=cores)

    cluster = ClusterParameters.of({"n_servers": n_servers, "seed": seed})
    engine = Engine(
        factory(cluster, raft=RaftConfig(pre_vote=True)), range(1, n_servers + 1), seed=seed,
        links=Link(_ns(costs.link_ms)), hosts=host(costs.follower_message_ms),
    )  # fmt: skip
    engine.run(until=lambda: leader_of(engine) is not None, until_ns=TRIAL_NS_MAX)
    leader = leader_of(engine)
    assert leader is not None, "no leader"
    engine.processes[leader].use(host(costs.leader_message_ms))
    return engine, leader


def _ns(time_ms: float) -> int:
    return max(0, round(time_ms * NANOSECONDS_PER_MS))


def simulated_put_ms(
    n_servers: int, costs: Costs, write_ms: float, cores: int, *, seed: int = 1
) -> float:
    """Milliseconds of a put of one client that waits for each answer, on shared cores.

    Parameters
    ----------
    n_servers : int
    costs : Costs
    write_ms : float
        A durable write of each server.
    cores : int
        Shared by all servers and the client.
    seed : int
        Chooses the leader, nothing else.
    """
    shared = Cores(cores)
    engine, leader = _engine(n_servers, costs, write_ms, shared, seed)
    # Let the last heartbeats of the election pass.
    engine.run(until_ns=engine.now + 1000 * NANOSECONDS_PER_MS)
    begins, answers = [engine.now], []

    def put() -> None:
        # The leader's handling of the request is part of the request's own time.
        varied_ms = costs.request_ms + costs.spread_ms * (len(begins) * GOLDEN % 1.0 - 0.5)
        sent_ns = shared.work(engine.now, _ns(varied_ms - costs.leader_message_ms))
        shared.work(engine.now, _ns(costs.beside_ms))
        request = Request(len(begins), Put(f"{len(begins):08d}", "v"))
        engine.submit(leader, request, at_ns=sent_ns)

    def on_reply(server: NodeId, effect: Any, now: int) -> None:
        answers.append(now)
        if len(answers) < PUTS:
            begins.append(now)
            put()

    engine.on_reply = on_reply
    put()
    engine.run(until=lambda: len(answers) == PUTS, until_ns=engine.now + TRIAL_NS_MAX)
    took = [end - begin for begin, end in zip(begins, answers, strict=True)]
    return fmean(took[WARM_UP_PUTS:]) / NANOSECONDS_PER_MS


def predicted_put_ms(n_servers: int, machine: Machine, end: str, cores: int) -> float:
    """What one end of the model says for a put to that many servers, milliseconds."""
    costs = costs_of(machine, end, cores)
    return simulated_put_ms(n_servers, costs, machine.write_majority_ms, cores)


def predicted_interval(
    n_servers: int, machines: Sequence[Machine], end: str, cores: int, *, seed: int
) -> tuple[float, float, float]:
    """One end of the model for the mean of all rounds, with its 95 % interval over rounds."""
    return bootstrap_interval(
        machines, lambda drawn: predicted_put_ms(n_servers, typical(drawn), end, cores),
        source=stream(seed, "rounds"),
    )  # fmt: skip


class Recorded(NamedTuple):
    """A run that was made before: what it measured, the real puts, and what else was going on."""

    n_servers: int
    machines: list[Machine]
    put_ms: float
    others_share: float
    cores: int

    def predicted_ms(self, end: str) -> float:
        """One end of the model for this run's mean machine."""
        return predicted_put_ms(self.n_servers, typical(self.machines), end, self.cores)


def recorded_runs() -> list[Recorded]:
    """The runs in `data/etcd`, all that were made after the model was last changed."""
    inputs, puts = (
        groupby(data.rows(name), key=lambda row: (row["n_servers"], row["run"]))
        for name in ("etcd/live_machines.csv", "etcd/published/live_puts.csv")
    )
    found = []
    for (key, rounds), (same, answers) in zip(inputs, puts, strict=True):
        assert key == same, (key, same)
        measured, real = list(rounds), list(answers)
        machines = [Machine(*(float(row[name]) for name in Machine._fields)) for row in measured]
        found.append(Recorded(
            int(key[0]), machines, fmean(float(row["put_ms_p50"]) for row in real),
            float(real[0]["others_share_of_cores"]), int(measured[0]["cores"]),
        ))  # fmt: skip
    return found


def simulated_failover_ms(
    n_servers: int, costs: Costs, write_ms: float, cores: int, seed: int
) -> float:
    """Milliseconds from the crash of a leader, at a random phase, to the next one."""
    engine, old = _engine(n_servers, costs, write_ms, Cores(cores), seed)
    phase_ns = stream(seed, "trial").randrange(100 * NANOSECONDS_PER_MS)
    engine.run(until_ns=engine.now + 1500 * NANOSECONDS_PER_MS + phase_ns)
    crash_ns = engine.now
    engine.crash(old)
    engine.run(until=lambda: leader_of(engine) not in (None, old), until_ns=TRIAL_NS_MAX)
    return (engine.now - crash_ns) / NANOSECONDS_PER_MS


def simulated_value_size_bytes_max(request_number_bytes: int = REQUEST_ID_BYTES) -> int:
    """The largest value that our store takes with a one-byte key.

    Our store counts `REQUEST_ID_BYTES` for the number that a server gives to a request.
    """
    store = KeyValueStore()
    accepted, refused = 1, 2_000_000
    while refused - accepted > 1:
        middle = (accepted + refused) // 2
        try:
            store.check(Put("k", "v" * middle))
            accepted = middle
        except RequestError:
            refused = middle
    return accepted + REQUEST_ID_BYTES - request_number_bytes
