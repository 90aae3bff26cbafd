"""How long requests wait at a replicated log: undisturbed, and while its leader is dead.

Theory of operation.  *Undisturbed*: one put at a time at the leader, handed in at a random moment
of the heartbeat interval after the one before was applied everywhere.  *Crash*: the leader dies at
a random moment while a put is under way there; more clients hand in a put each at random moments
of the following window, at servers drawn at random (a dead one does not answer).  A client
without an answer sends the same request to the next server; whoever has it already answers it
from its sessions, so it takes effect once.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

from consensus_lab.client import Refused, Request
from consensus_lab.experiments.clusters import (
    NANOSECONDS_PER_MS,
    ClusterParameters,
    leader_of,
    start,
)
from consensus_lab.kv import Put
from consensus_lab.node import NodeId
from consensus_lab.sim.engine import Engine
from consensus_lab.sim.links import NANOSECONDS_PER_SECOND
from consensus_lab.sim.streams import derive_seed, stream

SETTLE_NS = NANOSECONDS_PER_SECOND
"""After an election, until its last messages have passed."""
HEARTBEAT_NS = 100 * NANOSECONDS_PER_MS
"""Puts fall at any moment between two heartbeats."""
WINDOW_NS = 4 * NANOSECONDS_PER_SECOND
"""After a crash: longer than two election timeouts, so that late requests meet a new leader."""
LATE_CLIENTS = 16
"""Puts handed in within the window of each crash."""
LIMIT_NS = 120 * NANOSECONDS_PER_SECOND
"""No request waits that long while a majority is up: a bug."""


class PutWaits(NamedTuple):
    """Milliseconds from handing in to the answer and until all have applied; who led."""

    answer_ms: list[float]
    all_applied_ms: list[float]
    leader: NodeId


class CrashWaits(NamedTuple):
    """One crash of a leader.

    Attributes
    ----------
    under_way_ms : float
        Wait of the put that was under way at the dying leader.
    late_ms : tuple of float
        Waits of the puts handed in at random moments of the window after the crash.
    stands_still_ms : float
        From the crash to the first answer of a survivor.
    """

    under_way_ms: float
    late_ms: tuple[float, ...]
    stands_still_ms: float


class Watch:
    """Hands in puts, and notes when each is answered and where it is applied."""

    def __init__(self, engine: Engine, value_size_bytes: int) -> None:
        self.engine = engine
        self.value = "v" * value_size_bytes
        self.handed_in_ns: dict[str, int] = {}
        self.answered_ns: dict[str, int] = {}
        self.applied_ns: dict[str, dict[NodeId, int]] = {}
        engine.on_reply = self._on_reply
        engine.on_apply = self._on_apply

    def submit(self, name: str, server: NodeId) -> None:
        """Hand a put in now; again for a name that was handed in before."""
        self.handed_in_ns.setdefault(name, self.engine.now)
        self.applied_ns.setdefault(name, {})
        self.engine.submit(server, Request(name, Put(name, self.value)))

    def wait_ms(self, name: str) -> float:
        """From handing in to the answer."""
        return (self.answered_ns[name] - self.handed_in_ns[name]) / NANOSECONDS_PER_MS

    def _on_reply(self, server: NodeId, effect: Any, now: int) -> None:
        if not isinstance(effect.result, Refused) and effect.request_id in self.handed_in_ns:
            self.answered_ns.setdefault(effect.request_id, now)

    def _on_apply(self, server: NodeId, effect: Any, now: int) -> None:
        name = getattr(effect.command, "request_id", None)
        if name in self.applied_ns:
            self.applied_ns[name].setdefault(server, now)


def put_waits(parameters: ClusterParameters, n_requests: int) -> PutWaits:
    """Puts one at a time at the leader of a cluster without faults."""
    engine, leader = start(parameters)
    engine.run(until_ns=engine.now + SETTLE_NS)
    watch = Watch(engine, parameters.value_size_bytes)
    pauses = stream(parameters.seed, "pauses")
    answers, everywhere, count = [], [], parameters.n_servers
    for number in range(n_requests):
        engine.run(until_ns=engine.now + pauses.randrange(HEARTBEAT_NS))
        name = f"put-{number}"
        watch.submit(name, leader)
        applied = watch.applied_ns[name]
        engine.run(until=partial(_is_full, applied, count), until_ns=engine.now + LIMIT_NS)
        assert len(applied) == count, f"{name} is not applied everywhere"
        answers.append(watch.wait_ms(name))
        last_ns = max(applied.values()) - watch.handed_in_ns[name]
        everywhere.append(last_ns / NANOSECONDS_PER_MS)
    return PutWaits(answers, everywhere, leader)


def _is_full(applied: dict[NodeId, int], count: int) -> bool:
    """All replicas have applied it."""
    return len(applied) == count


def crash_waits(
    parameters: ClusterParameters, n_crashes: int, *, client_timeout_ms: float
) -> list[CrashWaits]:
    """Crash the leader of so many clusters, each with its own clients."""
    usual_ms = sorted(put_waits(parameters, 9).answer_ms)[4]
    return [
        _crash(parameters.replace(seed=derive_seed(parameters.seed, "crash", trial) >> 16),
               usual_ms, round(client_timeout_ms * NANOSECONDS_PER_MS))
        for trial in range(n_crashes)
    ]  # fmt: skip


def _crash(parameters: ClusterParameters, usual_ms: float, timeout_ns: int) -> CrashWaits:
    """One crash, at a random moment of the time that a put usually takes."""
    engine, leader = start(parameters)
    draws = stream(parameters.seed, "trial")
    engine.run(until_ns=engine.now + SETTLE_NS + draws.randrange(HEARTBEAT_NS))
    # Another one may have taken over from the first.
    leader = leader_of(engine) or leader
    watch = Watch(engine, parameters.value_size_bytes)
    crash_ns = engine.now + draws.randrange(max(1, round(usual_ms * NANOSECONDS_PER_MS)))
    servers = list(range(1, parameters.n_servers + 1))

    def attempt(name: str, place: int) -> None:
        if name not in watch.answered_ns:
            watch.submit(name, servers[place % len(servers)])
            engine.at(engine.now + timeout_ns, lambda: attempt(name, place + 1))

    attempt("under way", servers.index(leader))
    for number in range(LATE_CLIENTS):
        at_ns = crash_ns + draws.randrange(WINDOW_NS)
        place = draws.randrange(len(servers))
        engine.at(at_ns, partial(attempt, f"late-{number}", place))
    engine.run(until_ns=crash_ns)
    engine.crash(leader)
    wanted = LATE_CLIENTS + 1
    engine.run(until=lambda: len(watch.answered_ns) == wanted, until_ns=crash_ns + LIMIT_NS)
    assert len(watch.answered_ns) == wanted, "a majority is up and answers"
    first_ns = min(time for time in watch.answered_ns.values() if time > crash_ns)
    return CrashWaits(
        watch.wait_ms("under way"),
        tuple(watch.wait_ms(f"late-{number}") for number in range(LATE_CLIENTS)),
        (first_ns - crash_ns) / NANOSECONDS_PER_MS,
    )
