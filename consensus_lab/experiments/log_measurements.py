"""Clusters of replicated logs under measurement: commits, takeovers, load, servers that are down.

Theory of operation.  Both protocols are set up alike: the same links, machines, timeouts and state
machine.  What is to be counted is kept free of the rest: commits and messages are measured with
heartbeats so rare that none falls into the run, load on a network without jitter, so that nothing
is overtaken and sent again.  All systems of one size are measured with the same seeds.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from consensus_lab.client import Request
from consensus_lab.experiments.clusters import NANOSECONDS_PER_US, ClosedLoop, leader_of
from consensus_lab.experiments.intervals import mean_interval, proportion_interval
from consensus_lab.experiments.log_closed_forms import RAFT, System
from consensus_lab.kv import KeyValueStore, Put
from consensus_lab.node import Node, NodeId
from consensus_lab.paxos.multi import MultiPaxosNode
from consensus_lab.paxos.multi_parameters import MultiPaxosParameters
from consensus_lab.raft.config import RaftConfig
from consensus_lab.raft.node import RaftNode
from consensus_lab.sim.engine import Engine
from consensus_lab.sim.links import NANOSECONDS_PER_SECOND, Link
from consensus_lab.sim.process import Host
from consensus_lab.sim.streams import derive_seed, stream
from consensus_lab.sim.trace import Trace

if TYPE_CHECKING:
    from consensus_lab.experiments.replicated_logs import Parameters

MS = 1_000_000
VALUE_SIZE_BYTES = 64
LOAD_ROUNDS, WARM_UP_ROUNDS = 10, 2
"""So many answers per client under load; the first come from an idle cluster and are left out."""
SETTLE_NS = NANOSECONDS_PER_SECOND
"""After an election, until its last messages have passed."""
TAKEOVERS_WAITED = 8
"""A cluster that can elect a leader has one after so many election timeouts, but for bad luck."""


class Timing(NamedTuple):
    """Heartbeat interval and election timeout, nanoseconds."""

    heartbeat_ns: int
    election_ns: int


# A cluster of either protocol, set up alike.


def cluster(
    parameters: Parameters,
    system: System,
    n: int,
    *,
    seed: int,
    timing: Timing,
    link: Link,
    cpu_us: float = 0.0,
    trace: Trace | None = None,
) -> tuple[Engine, NodeId]:
    """A cluster that has elected its leader and come to rest, and who leads."""
    ids = tuple(range(1, n + 1))
    quorums = system.quorums(n)
    paxos = MultiPaxosParameters(
        quorums, election_timeout_ns=timing.election_ns, heartbeat_interval_ns=timing.heartbeat_ns,
        pipeline_batches_max=parameters.in_flight, window_slots=1 << 20, snapshot_entries=None,
    )  # fmt: skip
    raft = RaftConfig(
        election_timeout_range_ns=(timing.election_ns, 2 * timing.election_ns),
        heartbeat_interval_ns=timing.heartbeat_ns, inflight_messages_max=parameters.in_flight,
        snapshot_entries=None,
    )  # fmt: skip

    def make(node_id: NodeId, disk: Any) -> Node:
        source, machine = stream(seed, "server", node_id), KeyValueStore()
        if system.protocol == RAFT:
            return RaftNode(
                node_id, disk, members=ids, machine=machine, random_source=source, config=raft
            )
        return MultiPaxosNode(node_id, disk, parameters=paxos, machine=machine, source=source)

    cpu_ns = round(cpu_us * NANOSECONDS_PER_US)
    engine = Engine(make, ids, seed=seed, links=link, hosts=Host(cpu_ns, cpu_ns), trace=trace)
    limit_ns = 100 * timing.election_ns
    leader = None
    # A rival whose timeout ended at nearly the same time may take over once more.
    while leader is None or leader_of(engine) != leader:
        leader = await_leader(engine, limit_ns)
        engine.run(until_ns=engine.now + SETTLE_NS)
    return engine, leader


def await_leader(engine: Engine, limit_ns: int) -> NodeId:
    """Run until somebody leads; nobody by that time is a bug."""
    engine.run(until=lambda: leader_of(engine) is not None, until_ns=limit_ns)
    leader = leader_of(engine)
    assert leader is not None, "enough servers are up for a leader"
    return leader


def network(parameters: Parameters) -> Link:
    """The link between every two servers."""
    return Link(round(parameters.latency_ms * MS), jitter_ns=round(parameters.jitter_ms * MS))


def even_network(parameters: Parameters) -> Link:
    """The same without jitter, at its mean: under load nothing overtakes, as with TCP."""
    return Link(round((parameters.latency_ms + parameters.jitter_ms / 2) * MS))


def usual_timing(parameters: Parameters) -> Timing:
    """The timing of the parameters."""
    return Timing(round(parameters.heartbeat_ms * MS), round(parameters.election_ms * MS))


def undisturbed_timing(parameters: Parameters) -> Timing:
    """Heartbeats so rare that none falls into a run of `n_commands`."""
    longest_ms = 2 * (parameters.latency_ms + parameters.jitter_ms)
    heartbeat_ns = 10 * SETTLE_NS + round(parameters.n_commands * longest_ms * MS)
    return Timing(heartbeat_ns, 10 * heartbeat_ns)


# What is measured.


def commits(parameters: Parameters, system: System, n: int) -> dict[str, Any]:
    """Commands one after the other at the leader: time to commit, messages sent for each.

    `messages_to_commit` leaves out Raft's announcements (appends without entries) and their
    answers.
    """
    trace = Trace()
    engine, leader = cluster(
        parameters, system, n, seed=derive_seed(parameters.seed, "commits", n),
        timing=undisturbed_timing(parameters), link=network(parameters), trace=trace,
    )  # fmt: skip
    begin, sent = len(trace), _sent(engine)
    load = ClosedLoop(engine, leader, clients=1, value_size_bytes=VALUE_SIZE_BYTES)
    load.run(parameters.n_commands)
    # The client has put one command more by now; let its messages pass too.
    count = parameters.n_commands + 1
    engine.run(until=lambda: len(load.latencies_ns) >= count)
    engine.on_reply = None
    engine.run(until_ns=engine.now + SETTLE_NS)
    announced = sum(
        record.event == "send" and record.kind == "MsgApp" and not record.detail.entries
        for record in trace.records[begin:]
    )
    # One more was begun when the last one was answered.
    total, told = (part / (count + 1) for part in (_sent(engine) - sent, 2 * announced))
    mean, low, high = mean_interval(latency / MS for latency in load.latencies_ns)
    return {
        "commit_ms_mean": mean, "commit_ms_low": low, "commit_ms_high": high,
        "messages_per_command": total, "messages_to_commit": total - told,
    }  # fmt: skip


def _sent(engine: Engine) -> int:
    return sum(process.messages_sent for process in engine.processes.values())


def takeover(parameters: Parameters, system: System, n: int, trial: int) -> tuple[float, float]:
    """A crash of the leader at a random phase: ms to a new one, and to its first commit."""
    timing = usual_timing(parameters)
    seed = derive_seed(parameters.seed, "takeover", n, trial)
    engine, leader = cluster(
        parameters, system, n, seed=seed, timing=timing, link=network(parameters)
    )
    phase_ns = stream(seed, "trial").randrange(timing.heartbeat_ns)
    engine.run(until_ns=engine.now + timing.heartbeat_ns + phase_ns)
    engine.crash(leader)
    crashed_ns = engine.now
    limit_ns = crashed_ns + 100 * timing.election_ns
    new = await_leader(engine, limit_ns)
    elected_ns = engine.now
    assert answers_within(engine, new, limit_ns - engine.now), "a new leader commits"
    return (elected_ns - crashed_ns) / MS, (engine.now - crashed_ns) / MS


def takeovers(parameters: Parameters, system: System, n: int) -> dict[str, Any]:
    """Mean times of `n_trials` crashes."""
    return takeover_means(
        [takeover(parameters, system, n, trial) for trial in range(parameters.n_trials)]
    )


def takeover_means(times: list[tuple[float, float]]) -> dict[str, Any]:
    """Means of both times, with their intervals."""
    row: dict[str, Any] = {}
    for place, name in enumerate(("takeover", "first_commit")):
        mean, low, high = mean_interval(time[place] for time in times)
        row |= {f"{name}_ms_mean": mean, f"{name}_ms_low": low, f"{name}_ms_high": high}
    return row


def answers_within(engine: Engine, server: NodeId, time_ns: int) -> bool:
    """A put at that server is answered within so much time; stops when it is."""
    answers: list[Any] = []
    engine.on_reply = lambda node_id, effect, now: answers.append(effect)
    engine.submit(server, Request("probe", Put("key", "value")))
    engine.run(until=lambda: bool(answers), until_ns=engine.now + time_ns)
    return bool(answers)


def throughput(parameters: Parameters, system: System, n: int) -> dict[str, Any]:
    """Requests per second of many clients at a leader whose CPU is the bottleneck."""
    engine, leader = cluster(
        parameters, system, n, seed=derive_seed(parameters.seed, "load", n),
        timing=Timing(100 * SETTLE_NS, 1000 * SETTLE_NS), link=even_network(parameters),
        cpu_us=parameters.cpu_us,
    )  # fmt: skip
    load = ClosedLoop(engine, leader, clients=parameters.clients, value_size_bytes=VALUE_SIZE_BYTES)
    load.run(LOAD_ROUNDS * parameters.clients)
    # Each client is answered once per round, more or less; the first rounds are the start-up.
    ends = load.answers_ns[WARM_UP_ROUNDS * parameters.clients - 1 :: parameters.clients]
    mean, low, high = mean_interval(after - before for before, after in pairwise(ends))
    per_s = parameters.clients * NANOSECONDS_PER_SECOND
    return {"tps": per_s / mean, "tps_low": per_s / high, "tps_high": per_s / low}


def is_available(parameters: Parameters, system: System, n: int, trial: int) -> bool:
    """Crash each server with probability `down`; is a put still answered?"""
    # Rare heartbeats: all that counts is whether there is a leader in the end.
    timing = usual_timing(parameters)
    timing = timing._replace(heartbeat_ns=timing.election_ns // 3)
    seed = derive_seed(parameters.seed, "availability", n, trial)
    engine, _ = cluster(
        parameters, system, n, seed=seed, timing=timing, link=network(parameters)
    )
    draws = stream(seed, "trial")
    for server in [i for i in engine.processes if draws.random() < parameters.down]:
        engine.crash(server)
    engine.run(until_ns=engine.now + TAKEOVERS_WAITED * timing.election_ns)
    leader = leader_of(engine)
    return leader is not None and answers_within(engine, leader, timing.election_ns)


def availability(parameters: Parameters, system: System, n: int) -> dict[str, Any]:
    """How often enough servers are up, in `n_draws` clusters."""
    return available_share(
        [is_available(parameters, system, n, trial) for trial in range(parameters.n_draws)]
    )


def available_share(answered: list[bool]) -> dict[str, Any]:
    """The share, with its interval."""
    share, low, high = proportion_interval(sum(answered), len(answered))
    return {"available": share, "available_low": low, "available_high": high}
