"""A simulated cluster on a machine of which a few times were measured.

Rules of this file: what it predicts follows from the `Machine` alone.  That holds two times of the
real cluster, of calls and of linearizable reads; it never sees a put of it, nor a failover.

Which times to measure was chosen after looking at puts: bare TCP in place of the read predicted
half of them.  So agreement on the machine where it was chosen is weaker evidence than elsewhere.
"""

from __future__ import annotations

import os
from statistics import median
from typing import NamedTuple

from consensus_lab.experiments.clusters import (
    NANOSECONDS_PER_MS,
    ClosedLoop,
    ClusterParameters,
    factory,
    leader_of,
)
from consensus_lab.kv import KeyValueStore, Put
from consensus_lab.kv_requests import RequestError
from consensus_lab.raft.config import RaftConfig
from consensus_lab.sim.engine import Engine
from consensus_lab.sim.links import Link
from consensus_lab.sim.process import Host
from consensus_lab.sim.streams import stream

TRIAL_NS_MAX = 60_000 * NANOSECONDS_PER_MS


class Machine(NamedTuple):
    """What one round measured on the machine: medians, and one 90 % quantile, in milliseconds.

    A durable write; a message over TCP and back; a call that one server answers alone; a put to a
    cluster of one, the same as the call but for the log; a linearizable read from the cluster, the
    same as the call but for one round of messages between its servers; a durable write when nobody
    else writes.
    """

    fdatasync_ms: float
    fdatasync_ms_p90: float
    round_trip_ms: float
    call_ms: float
    put_alone_ms: float
    read_ms: float
    fdatasync_alone_ms: float

    @property
    def servers_round_trip_ms(self) -> float:
        """On the way between two servers and back, through their own transport; not below TCP's.

        A read's round holds two messages, whose handling is charged to the processors.
        """
        return max(self.round_trip_ms, self.read_ms - self.call_ms - 2 * self.cpu_ms)

    @property
    def cpu_ms(self) -> float:
        """What is left of a put to a cluster of one: handling a message, without disk and call."""
        return max(0.0, self.put_alone_ms - self.call_ms - self.fdatasync_alone_ms)

    def host(self, cpu_share: float) -> Host:
        """A server that gets that share of a core."""
        cpu_ns = round(self.cpu_ms / cpu_share * NANOSECONDS_PER_MS)
        # Uniform between the ends that give the measured median and 90 % quantile.
        spread_ms = min((self.fdatasync_ms_p90 - self.fdatasync_ms) / 0.4, 2 * self.fdatasync_ms)
        least_ms = self.fdatasync_ms - spread_ms / 2
        fsync_ns, jitter_ns = (round(x * NANOSECONDS_PER_MS) for x in (least_ms, spread_ms))
        return Host(cpu_ns, cpu_ns, 0, fsync_ns, jitter_ns)


def typical(machines: list[Machine]) -> Machine:
    """The median over rounds of each quantity: a busy moment of the machine spoils one round."""
    return Machine(*(median(values) for values in zip(*machines, strict=True)))


def cpu_share(n_servers: int) -> float:
    """What a server gets of a core when all servers are busy at once on this machine."""
    usable = getattr(os, "sched_getaffinity", None)
    cores = len(usable(0)) if usable else os.cpu_count() or 1
    return min(1.0, cores / n_servers)


def _engine(n_servers: int, machine: Machine, share: float, seed: int) -> Engine:
    """A simulated cluster on the measured machine, with its leader elected; etcd's defaults."""
    cluster = ClusterParameters.of({"n_servers": n_servers, "seed": seed})
    engine = Engine(
        factory(cluster, raft=RaftConfig(pre_vote=True)), range(1, n_servers + 1), seed=seed,
        links=Link(round(machine.servers_round_trip_ms / 2 * NANOSECONDS_PER_MS)),
        hosts=machine.host(share),
    )  # fmt: skip
    engine.run(until=lambda: leader_of(engine) is not None, until_ns=TRIAL_NS_MAX)
    assert leader_of(engine) is not None, "no leader"
    return engine


def simulated_puts_ms(
    n_servers: int, machine: Machine, share: float, *, n_requests: int, value_size_bytes: int,
    seed: int,
) -> list[float]:  # fmt: skip
    """Milliseconds of simulated puts; the client's way to the leader and back is as measured.

    Parameters
    ----------
    n_servers : int
    machine : Machine
        What they run on.
    share : float
        What each server gets of a core, 0 to 1.
    n_requests, value_size_bytes, seed : int
    """
    engine = _engine(n_servers, machine, share, seed)
    leader = leader_of(engine)
    assert leader is not None
    # Let the last heartbeats of the election pass.
    engine.run(until_ns=engine.now + 1000 * NANOSECONDS_PER_MS)
    load = ClosedLoop(engine, leader, clients=1, value_size_bytes=value_size_bytes)
    load.run(n_requests)
    return [latency / NANOSECONDS_PER_MS + machine.call_ms for latency in load.latencies_ns]


def simulated_failover_ms(n_servers: int, machine: Machine, seed: int) -> float:
    """Milliseconds from the crash of a leader, at a random phase, to the next one."""
    engine = _engine(n_servers, machine, cpu_share(n_servers), seed)
    phase_ns = stream(seed, "trial").randrange(100 * NANOSECONDS_PER_MS)
    engine.run(until_ns=engine.now + 1500 * NANOSECONDS_PER_MS + phase_ns)
    old, crash_ns = leader_of(engine), engine.now
    assert old is not None
    engine.crash(old)
    engine.run(until=lambda: leader_of(engine) not in (None, old), until_ns=TRIAL_NS_MAX)
    return (engine.now - crash_ns) / NANOSECONDS_PER_MS


def simulated_value_size_bytes_max(request_number_bytes: int = 10) -> int:
    """The largest value that our store takes with a one-byte key.

    Our store counts ten bytes for the number that a server gives to a request.
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
    return accepted + 10 - request_number_bytes
