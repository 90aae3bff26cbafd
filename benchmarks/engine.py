"""How fast is the engine with full Raft, in pure Python, tracing off?

Prints for three loads events per second of CPU time with the promise beside it (250,000), and the
Python calls that an event costs: heartbeats of an idle cluster; elections of five servers (also
promised: 10,000 in 10 s); 100,000 commands on three servers, with wall time and memory.  Run it
by hand on a quiet machine; figures are for comparison with each other in one run.

Heartbeats keep the promise.  Elections and commands do not: an event of theirs makes about three
times the calls, for a campaign or a command is not only delivered but decided on, written to disk,
answered and applied, and four of its calls build a message or an effect.  100,000 commands are
slower than the first 10,000: keys, remembered answers and log outgrow the processor's cache, and
Python still looks for cycles among what is new.

What helped (Python 3.11).  Rare collections while a run goes on and constant time to forget a
request: 100,000 commands 1.35 times as fast (10,000: 1.07).  Members of enumerations under names of
their own: 1.03 on commands, 1.04 on elections and heartbeats, as instructions per event.  Effects
carried out by a table: 1.02.  What is left out: making tuples past their `__new__`, which takes
nearly a fifth of the time, but every place would read worse; fewer calls in `RaftLog.slice`,
`next_committed` and `Inflights.add` (1.01 together); a deque beside a dict for
the requests.
"""

from __future__ import annotations

import random
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

from consensus_lab.client import Request
from consensus_lab.kv import KeyValueStore, Put
from consensus_lab.raft.config import RaftConfig
from consensus_lab.raft.node import RaftNode
from consensus_lab.raft.requests import Campaign
from consensus_lab.sim.engine import Engine
from consensus_lab.sim.links import Link

MILLISECOND_NS = 1_000_000
SECOND_NS = 1000 * MILLISECOND_NS
PROMISED_EVENTS_PER_S = 250_000
HEARTBEAT_EVENTS = 1_000_000
ELECTIONS = 10_000
COMMANDS = 100_000
CLIENTS = 100
COUNTED_PART = 50
"""Calls are counted in a run that much shorter."""


def cluster(n_servers: int, seed: int, config: RaftConfig | None = None) -> Engine:
    """A Raft cluster on plain links of 0.5 ms, with instant disks, that has had time to elect."""
    ids = tuple(range(1, n_servers + 1))
    engine = Engine(
        lambda i, disk: RaftNode(
            i, disk, members=ids, machine=KeyValueStore(),
            random_source=random.Random(1000 * seed + i), config=config,
        ),
        ids, seed=seed, links=Link(MILLISECOND_NS // 2),
    )  # fmt: skip
    engine.run(until_ns=5 * SECOND_NS)
    return engine


def heartbeats(count: int) -> tuple[Engine, Callable[[], None]]:
    """A leader of five that only sends heartbeats, for so many events."""
    engine = cluster(5, seed=1)
    return engine, lambda: assert_equal(engine.run(events_max=count), count)


def elections(count: int) -> tuple[Engine, Callable[[], None]]:
    """So many times one of five campaigns and wins; nothing protects the old leader."""
    engine = cluster(5, seed=2, config=RaftConfig(pre_vote=False, check_quorum=False))

    def work() -> None:
        for number in range(count):
            candidate = engine.nodes[number % 5 + 1]
            engine.submit(candidate.node_id, Campaign())
            engine.run(until_ns=engine.now + 5 * MILLISECOND_NS)
            assert candidate.core.is_leader

    return engine, work


def commands(count: int) -> tuple[Engine, Callable[[], None]]:
    """Three servers commit so many puts; each client sends its next when it has its answer."""
    engine = cluster(3, seed=3)
    leader = next(i for i, node in engine.nodes.items() if node.core.is_leader)
    answered = submitted = 0

    def submit() -> None:
        nonlocal submitted
        submitted += 1
        engine.submit(leader, Request(submitted, Put(f"key{submitted % 1000}", "value")))

    def on_reply(*_: Any) -> None:
        nonlocal answered
        answered += 1
        submit()

    def work() -> None:
        engine.on_reply = on_reply
        for _ in range(CLIENTS):
            submit()
        engine.run(until=lambda: answered >= count)

    return engine, work


def assert_equal(seen: int, expected: int) -> None:
    """The load was what it says."""
    assert seen == expected, (seen, expected)


def calls_per_event(engine: Engine, work: Callable[[], None]) -> float:
    """Python and built-in functions called while a load runs, per event."""
    calls, before = 0, engine.events

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls / (engine.events - before)


def measure(name: str, load: Callable[[int], tuple[Engine, Callable[[], None]]], n: int) -> None:
    """Run a load, and a short one of its kind to count calls; print what came of it."""
    calls = calls_per_event(*load(n // COUNTED_PART))
    engine, work = load(n)
    before, begin, wall = engine.events, time.process_time(), time.perf_counter()
    work()
    took, wall = time.process_time() - begin, time.perf_counter() - wall
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{n:,} {name}: {(engine.events - before) / took:,.0f} events/s "
        f"(promise: {PROMISED_EVENTS_PER_S:,}), {calls:.0f} calls per event, "
        f"{took:.1f} s CPU, {wall:.1f} s wall, {memory_mb:.0f} MB"
    )


if __name__ == "__main__":
    measure("events of heartbeats, 5 servers", heartbeats, HEARTBEAT_EVENTS)
    measure("elections, 5 servers (promise: 10 s)", elections, ELECTIONS)
    measure("commands, 3 servers", commands, COMMANDS)
