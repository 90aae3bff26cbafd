"""How fast is the engine with full Raft, in pure Python, tracing off?

Prints events per second of CPU time for three workloads, and the promises beside them:
idle clusters (heartbeats and elections only), elections of five servers, and 100,000 committed
commands on three servers.  Run it by hand on a quiet machine; figures are for comparison with
each other in one run.
"""

from __future__ import annotations

import random
import resource
import time

from consensus_lab.client import Request
from consensus_lab.kv import KeyValueStore, Put
from consensus_lab.raft.config import RaftConfig
from consensus_lab.raft.node import RaftNode
from consensus_lab.raft.requests import Campaign
from consensus_lab.sim.engine import Engine
from consensus_lab.sim.links import Link

MILLISECOND_NS = 1_000_000
SECOND_NS = 1000 * MILLISECOND_NS
ELECTIONS = 10_000
COMMANDS = 100_000


def cluster(n_servers: int, seed: int, config: RaftConfig | None = None) -> Engine:
    """A Raft cluster on plain links of 0.5 ms, with instant disks."""
    ids = tuple(range(1, n_servers + 1))
    return Engine(
        lambda i, disk: RaftNode(
            i, disk, members=ids, machine=KeyValueStore(),
            random_source=random.Random(1000 * seed + i), config=config,
        ),
        ids, seed=seed, links=Link(MILLISECOND_NS // 2),
    )  # fmt: skip


def rate(events: int, begin: float) -> str:
    """Events per CPU second since `begin`."""
    return f"{events / (time.process_time() - begin):,.0f} events/s"


def idle() -> None:
    """Leaders that only send heartbeats."""
    engine = cluster(5, seed=1)
    begin = time.process_time()
    events = engine.run(until_ns=10_000 * SECOND_NS, events_max=1_000_000)
    print(f"heartbeats, 5 servers: {rate(events, begin)} (promise: 250,000)")


def elections() -> None:
    """One server after the other campaigns and wins; nothing protects the old leader."""
    engine = cluster(5, seed=2, config=RaftConfig(pre_vote=False, check_quorum=False))
    engine.run(until_ns=3 * SECOND_NS)
    begin, events = time.process_time(), engine.events
    won = 0
    for number in range(ELECTIONS):
        candidate = number % 5 + 1
        before = engine.nodes[candidate].core.term
        engine.submit(candidate, Campaign())
        engine.run(until_ns=engine.now + 5 * MILLISECOND_NS)
        won += engine.nodes[candidate].core.term > before
    took = time.process_time() - begin
    print(f"{ELECTIONS:,} campaigns, 5 servers: {took:.1f} s CPU (promise: 10 s), "
          f"{rate(engine.events - events, begin)}, {won:,} new terms")  # fmt: skip


def commands() -> None:
    """Three servers commit 100,000 puts of 100 clients."""
    engine = cluster(3, seed=3)
    engine.run(until_ns=5 * SECOND_NS)
    leader = next(i for i, node in engine.nodes.items() if node.core.is_leader)
    answered = 0

    def on_reply(node_id: int, effect: object, now: int) -> None:
        nonlocal answered
        answered += 1
        submit()

    submitted = 0

    def submit() -> None:
        nonlocal submitted
        submitted += 1
        engine.submit(leader, Request(submitted, Put(f"key{submitted % 1000}", "value")))

    engine.on_reply = on_reply
    begin, wall, events = time.process_time(), time.perf_counter(), engine.events
    for _ in range(100):
        submit()
    engine.run(until=lambda: answered >= COMMANDS)
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{COMMANDS:,} commands, 3 servers: {time.process_time() - begin:.1f} s CPU, "
          f"{time.perf_counter() - wall:.1f} s wall, {rate(engine.events - events, begin)}, "
          f"{memory_mb:.0f} MB")  # fmt: skip


if __name__ == "__main__":
    idle()
    elections()
    commands()
