"""Single elections under the conditions of published measurements, run by the full Raft node.

Theory of operation.  Five servers know each other.  What a trial needs before it begins, who holds
which log entries and when followers last heard a leader, is prepared on their disks and by
heartbeats from a leader that is not there any more.
"""

from __future__ import annotations

import random
from typing import Any

from consensus_lab.kv import KeyValueStore
from consensus_lab.node import NodeId
from consensus_lab.raft.config import RaftConfig
from consensus_lab.raft.disk import HARD_STATE
from consensus_lab.raft.entries import Entry, HardState
from consensus_lab.raft.messages import MsgHeartbeat
from consensus_lab.raft.node import RaftNode
from consensus_lab.sim.engine import Engine
from consensus_lab.sim.links import Link
from consensus_lab.sim.process import Host
from consensus_lab.sim.streams import stream

MS = 1_000_000
SERVERS = (1, 2, 3, 4, 5)
CRASHED = 1
HEARD_WITHIN_NS = 2 * MS
TRIAL_NS_MAX = 600_000 * MS
"""Ten minutes: a trial without a leader by then is a bug."""


def disk_with(entries: int) -> dict[Any, Any]:
    """The disk of a server in term 1 that holds so many entries."""
    log = {("entry", index): Entry(1, index, None) for index in range(1, entries + 1)}
    return {HARD_STATE: HardState(term=1, vote=CRASHED, commit=0), **log}


def survivors(
    config: RaftConfig,
    *,
    entries: dict[NodeId, int],
    seed: int,
    link: Link,
    host: Host,
) -> Engine:
    """An engine with the servers named in `entries`, all of them members of a cluster of five."""

    def make(node_id: NodeId, disk: Any) -> RaftNode:
        return RaftNode(
            node_id, disk or disk_with(entries[node_id]), members=SERVERS,
            machine=KeyValueStore(), random_source=stream(seed, "server", node_id), config=config,
        )  # fmt: skip

    return Engine(make, sorted(entries), seed=seed, links=link, hosts=host)


def lan_election_ms(low_ms: int, high_ms: int, *, seed: int) -> float:
    """Time without a leader after a crash, as in figure 16 of the Raft paper, milliseconds.

    Five servers; broadcast takes about 15 ms: one-way latency 1 to 4 ms, a voter's disk 2 to
    6 ms.  A last heartbeat has set all timers within 2 ms of each other; once all have it the
    crash comes uniformly within the heartbeat interval, half of the least timeout.  The logs
    differ, so that only two servers can win.  The time runs until another server hears the new
    leader's first message (the definitions are those of Ongaro's dissertation, §9.3).
    """
    timeouts = (low_ms * MS, high_ms * MS)
    config = RaftConfig(election_timeout_range_ns=timeouts, pre_vote=False, check_quorum=False)
    entries = {2: 4, 3: 3, 4: 2, 5: 1}
    engine = survivors(
        config, entries=entries, seed=seed, link=Link(1 * MS, jitter_ns=3 * MS),
        host=Host(fsync_ns=2 * MS, fsync_jitter_ns=4 * MS),
    )  # fmt: skip
    draws = stream(seed, "trial")
    last = MsgHeartbeat(CRASHED, 1, 0)
    for server in entries:
        heard_ns = draws.randrange(HEARD_WITHIN_NS + 1)
        engine.at(heard_ns, lambda s=server: engine.inject(CRASHED, s, last))
    crash_ns = HEARD_WITHIN_NS + draws.randrange(low_ms * MS // 2 + 1)
    engine.run(until=lambda: _is_heard(engine), until_ns=TRIAL_NS_MAX)
    assert _is_heard(engine), f"no leader in trial {seed}"
    return (engine.now - crash_ns) / MS


def _is_heard(engine: Engine) -> bool:
    """True when a survivor follows another one, the new leader."""
    for node_id, process in engine.processes.items():
        if process.node.core.lead not in (0, CRASHED, node_id):
            return True
    return False


def wan_election_ms(failed: int, *, same_logs: bool, seed: int) -> float:
    """Start of the first leadership that lasts, over a wide area network, milliseconds.

    As the dissertation's simulator AvailSim defines it (figures 9.4 and 9.5): timers start fresh
    at 0, latency 30 to 40 ms, timeouts 300 to 600 ms, no disk time; counted is the start of the
    first leader that leads for more than 16 heartbeat rounds.
    """
    config = RaftConfig(
        election_timeout_range_ns=(300 * MS, 600 * MS), pre_vote=False, check_quorum=False
    )
    gone = stream(seed, "failed").sample(SERVERS, failed)
    alive = {s: 1 if same_logs else 6 - s for s in SERVERS if s not in gone}
    engine = survivors(
        config, entries=alive, seed=seed, link=Link(30 * MS, jitter_ns=10 * MS), host=Host()
    )
    rounds_ns = 16 * config.heartbeat_ns
    began: dict[NodeId, int] = {}

    def lasting() -> bool:
        for node_id, process in engine.processes.items():
            if not process.node.core.is_leader:
                began.pop(node_id, None)
            elif engine.now - began.setdefault(node_id, engine.now) > rounds_ns:
                return True
        return False

    engine.run(until=lasting, until_ns=TRIAL_NS_MAX)
    return min(began.values()) / MS


def failover_ms(n_servers: int, *, check_quorum: bool, seed: int) -> tuple[float, int]:
    """Time from a leader's crash to a new leader at etcd's default settings, and terms used.

    Ticks of 100 ms that are not in step, timeouts of 10 to 19 ticks, the crash at a random
    phase; as etcd 3.4 has it, without pre-vote.  On one machine: messages take 0.1 ms.
    """
    ids = tuple(range(1, n_servers + 1))
    config = RaftConfig(pre_vote=False, check_quorum=check_quorum)
    engine = Engine(
        lambda i, disk: RaftNode(
            i, disk, members=ids, machine=KeyValueStore(),
            random_source=stream(seed, "server", i), config=config,
        ),
        ids, seed=seed, links=Link(MS // 10),
    )  # fmt: skip

    def leaders() -> list[NodeId]:
        return [i for i, node in engine.nodes.items() if node.core.is_leader]

    engine.run(until=lambda: bool(leaders()), until_ns=TRIAL_NS_MAX)
    phase_ns = stream(seed, "trial").randrange(100 * MS)
    engine.run(until_ns=engine.now + 3000 * MS + phase_ns)
    (old,) = leaders()
    term, crash_ns = engine.nodes[old].core.term, engine.now
    engine.crash(old)
    engine.run(until=lambda: bool(leaders()), until_ns=TRIAL_NS_MAX)
    (new,) = leaders()
    return (engine.now - crash_ns) / MS, engine.nodes[new].core.term - term


def trial_seeds(count: int, seed: int) -> list[int]:
    """The seeds of that many independent trials, which derive from one."""
    return random.Random(seed).sample(range(1 << 48), count)


def synchronised_election(
    n_servers: int, *, failed: int, latency_over_range: float, seed: int
) -> tuple[bool, float]:
    """Whether the first term splits, and the time to an elected leader in widths of the range.

    The conditions of the dissertation's formulas (§9.3, §9.4): timeouts from one to two widths,
    started together by a last heartbeat; fixed latency, no disk time, equal logs; the crash
    falls uniformly within a heartbeat interval of half a width.
    """
    width_ns = 1000 * MS
    config = RaftConfig(
        election_timeout_range_ns=(width_ns, 2 * width_ns), pre_vote=False, check_quorum=False
    )
    members = tuple(range(1, n_servers + 1))
    alive = members[failed:]
    engine = Engine(
        lambda i, disk: RaftNode(
            i, disk or disk_with(1), members=members, machine=KeyValueStore(),
            random_source=stream(seed, "server", i), config=config,
        ),
        alive, seed=seed, links=Link(round(latency_over_range * width_ns)),
    )  # fmt: skip
    crash_ns = stream(seed, "trial").randrange(width_ns // 2)
    engine.run(until=lambda: _leads(engine) is not None, until_ns=TRIAL_NS_MAX)
    leader = _leads(engine)
    assert leader is not None, f"no leader in trial {seed}"
    first_term = 2
    is_split = engine.nodes[leader].core.term > first_term
    return is_split, (engine.now - crash_ns) / width_ns


def _leads(engine: Engine) -> NodeId | None:
    return next((i for i, node in engine.nodes.items() if node.core.is_leader), None)
