"""Seeded clients that read and write a replicated store through the engine, and keep a history.

Rules of this file: knows requests and answers (`client`) and the judge's requests (`models`), no
protocol; a `Dialect` translates for the store under test, `KeyValueDialect` for `kv`.

Theory of operation.  A client has one operation under way at a time.  It hands it to a node it
likes; when no answer comes in time it tries another node with the *same* request identity, which
a correct store recognises (`client.Sessions`), and after a few attempts it gives up.  What it
gave up may still take effect at any time: the operation stays pending in the history, and the
client goes on under a new name, because a name has one operation at a time (as in Jepsen).

An answer `Refused` says that one copy had no effect; others may be on their way, for networks
double messages.  The client tries again soon; the operation stays pending until it is answered.

Times in the history are the engine's nanoseconds.  A client thinks for at least one nanosecond
between an answer and its next call, so its own operations never touch.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from consensus_lab import kv
from consensus_lab.client import Query, Refused, Request
from consensus_lab.node import NodeId, ParameterError, Reply
from consensus_lab.sim.history import UNKNOWN, Operation
from consensus_lab.sim.models import Append, CompareAndSwap, Delete, Get, Put
from consensus_lab.sim.streams import stream

if TYPE_CHECKING:
    from consensus_lab.sim.engine import Engine

OPERATIONS_MAX = 1_000_000
"""Operations that all clients of a run may begin."""

BACK_OFF_MAX = 16
"""A cluster that falls behind is not buried under repetitions."""


class Dialect(Protocol):
    """How the judge's requests are said to the store under test."""

    def submission(self, request_id: Hashable, request: Any) -> Any:
        """What `Engine.submit` hands to a node for that request."""
        ...

    def response(self, request: Any, result: Any) -> Any:
        """The answer in the judge's words, from the store's result."""
        ...


@dataclass(frozen=True)
class Workload:
    """What the clients do.

    Attributes
    ----------
    clients_count : int
        Clients that work side by side.
    operations_count : int
        Operations that each begins.
    keys_count : int
        Keys that they share; few keys make many conflicts.
    think_ns_max : int
        Longest pause between an answer and the next call, nanoseconds.
    timeout_ns : int
        The first attempt without an answer for that long is followed by the next one; each
        attempt waits twice as long as the one before, up to `BACK_OFF_MAX` times as long.
    attempts_max : int
        Attempts at one operation; then its client gives it up and its outcome stays unknown.
    abandoned_max : int
        Operations that one client may give up; later ones it tries until they are answered.
        Operations of unknown outcome make a history expensive to judge.
    weights : tuple of (str, int)
        How often each kind of operation is drawn: get, put, append, cas, delete.
    """

    clients_count: int = 4
    operations_count: int = 25
    keys_count: int = 3
    think_ns_max: int = 50_000_000
    timeout_ns: int = 400_000_000
    attempts_max: int = 4
    abandoned_max: int = 3
    weights: tuple[tuple[str, int], ...] = (
        ("get", 5), ("put", 2), ("append", 2), ("cas", 2), ("delete", 1),
    )  # fmt: skip

    def __post_init__(self) -> None:
        for name in ("clients_count", "operations_count", "keys_count", "think_ns_max",
                     "timeout_ns", "attempts_max", "abandoned_max"):  # fmt: skip
            value, least = getattr(self, name), 0 if name == "abandoned_max" else 1
            if not isinstance(value, int) or value < least:
                raise ParameterError(name, value, f"an integer of at least {least}")
        if self.clients_count * self.operations_count > OPERATIONS_MAX:
            allowed = f"at most {OPERATIONS_MAX} for all clients together"
            raise ParameterError("operations_count", self.operations_count, allowed)
        unknown = [kind for kind, _ in self.weights if kind not in _DRAWS]
        if unknown or sum(weight for _, weight in self.weights) < 1:
            raise ParameterError("weights", self.weights, f"weights of {sorted(_DRAWS)}")


_Draw = Callable[[random.Random, str, str, Any], Any]
_DRAWS: dict[str, _Draw] = {
    "get": lambda source, key, value, seen: Get(key),
    "put": lambda source, key, value, seen: Put(key, value),
    "append": lambda source, key, value, seen: Append(key, value),
    "delete": lambda source, key, value, seen: Delete(key),
    # Half of the time expect what was read last, so that some swaps succeed.
    "cas": lambda source, key, value, seen: CompareAndSwap(
        key, seen if source.random() < 0.5 else value, value
    ),
}


class _Client:
    """One client: its name, its draws, and the operation under way."""

    def __init__(self, name: int, source: random.Random, begins: int) -> None:
        self.name = name
        self.source = source
        self.left = begins
        self.number = 0
        self.attempt = 0
        self.abandoned = 0
        self.node: NodeId | None = None
        self.current: Hashable = None
        self.seen: dict[Hashable, Any] = {}


class Clients:
    """All clients of a run; `start` sets them going, `history` is what they saw.

    Parameters
    ----------
    engine : Engine
        Its `on_reply` hook is taken; a hook that was there before is still called.
    workload : Workload
    dialect : Dialect
    seed : int
        Gives every choice that the clients make.
    node_ids : iterable of int, optional
        Whom they talk to; all nodes of the engine if left out.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        workload: Workload,
        dialect: Dialect,
        seed: int,
        node_ids: Iterable[NodeId] | None = None,
    ) -> None:
        self.engine = engine
        self.workload = workload
        self.dialect = dialect
        self.node_ids = sorted(engine.processes if node_ids is None else node_ids)
        if not self.node_ids:
            raise ParameterError("node_ids", [], "at least one node")
        self.operations: dict[Hashable, Operation] = {}
        self.open: dict[Hashable, _Client] = {}
        self.working = workload.clients_count
        self._names = workload.clients_count
        self._kinds = [kind for kind, weight in workload.weights for _ in range(weight)]
        self._clients = [
            _Client(name, stream(seed, "client", name), workload.operations_count)
            for name in range(workload.clients_count)
        ]
        self._next_hook = engine.on_reply
        engine.on_reply = self._replied

    @property
    def is_done(self) -> bool:
        """True when every client has begun all its operations and none waits."""
        return self.working == 0

    def start(self) -> None:
        """Begin: every client calls for the first time after its own pause."""
        for client in self._clients:
            self._pause(client)

    def history(self) -> list[Operation]:
        """Every operation that may have happened, in the order of the calls."""
        return list(self.operations.values())

    def ask(self, request: Any, *, node_id: NodeId, request_id: Hashable) -> None:
        """Call once, now, apart from the clients' own work; the history holds it too."""
        self._names += 1
        self.operations[request_id] = Operation(self._names, request, UNKNOWN, self.engine.now)
        self.engine.submit(node_id, self.dialect.submission(request_id, request))

    def _pause(self, client: _Client) -> None:
        pause_ns = 1 + client.source.randrange(self.workload.think_ns_max)
        self.engine.at(self.engine.now + pause_ns, lambda: self._call(client))

    def _call(self, client: _Client) -> None:
        if client.left == 0:
            self.working -= 1
            return
        client.left -= 1
        client.number += 1
        client.attempt = 0
        request = self._draw(client)
        request_id = client.current = (client.name, client.number)
        self.operations[request_id] = Operation(client.name, request, UNKNOWN, self.engine.now)
        self.open[request_id] = client
        self._try(client)

    def _draw(self, client: _Client) -> Any:
        source = client.source
        kind = self._kinds[source.randrange(len(self._kinds))]
        key = f"k{source.randrange(self.workload.keys_count)}"
        # Every value is unique, so that a read tells which write it saw.
        value = f"{client.name}.{client.number};"
        return _DRAWS[kind](source, key, value, client.seen.get(key))

    def _try(self, client: _Client) -> None:
        """Hand the operation to a node; the last that answered, or another one."""
        if client.node is None:
            client.node = self.node_ids[client.source.randrange(len(self.node_ids))]
        client.attempt += 1
        request_id, attempt = client.current, client.attempt
        request = self.operations[request_id].request
        self.engine.submit(client.node, self.dialect.submission(request_id, request))
        patience = min(1 << (attempt - 1), BACK_OFF_MAX)
        due = self.engine.now + patience * self.workload.timeout_ns
        self.engine.at(due, lambda: self._timed_out(client, request_id, attempt))

    def _timed_out(self, client: _Client, request_id: Hashable, attempt: int) -> None:
        if client.current == request_id and client.attempt == attempt:
            self._try_again(client)

    def _try_again(self, client: _Client) -> None:
        client.node = None
        may_give_up = client.abandoned < self.workload.abandoned_max
        if client.attempt < self.workload.attempts_max or not may_give_up:
            self._try(client)
            return
        # Given up: whatever comes of it, this name never calls again.
        client.abandoned += 1
        client.current = None
        self._names += 1
        client.name = self._names
        self._pause(client)

    def _replied(self, node_id: NodeId, reply: Reply, now: int) -> None:
        if self._next_hook is not None:
            self._next_hook(node_id, reply, now)
        operation = self.operations.get(reply.request_id)
        if operation is None or not operation.is_pending:
            return
        client = self.open.get(reply.request_id)
        waits = client is not None and client.current == reply.request_id
        if isinstance(reply.result, Refused):
            if client is not None and waits:
                self._refused(client)
            return
        response = self.dialect.response(operation.request, reply.result)
        self.operations[reply.request_id] = operation._replace(response=response, returned=now)
        if client is not None:
            del self.open[reply.request_id]
            self._learn(client, operation.request, response)
            if waits:
                client.current = None
                self._pause(client)

    def _refused(self, client: _Client) -> None:
        """Let this attempt time out early, after a pause."""
        request_id, attempt = client.current, client.attempt
        pause_ns = 1 + client.source.randrange(self.workload.think_ns_max)
        due = self.engine.now + pause_ns
        self.engine.at(due, lambda: self._timed_out(client, request_id, attempt))

    def _learn(self, client: _Client, request: Any, response: Any) -> None:
        """Remember a value for the next compare-and-swap."""
        if isinstance(request, Get):
            client.seen[request.key] = response
        elif isinstance(request, Put):
            client.seen[request.key] = request.value


class KeyValueDialect:
    """Says the judge's requests to `kv.KeyValueStore`; judge with `models.REGISTER`.

    A compare-and-swap is etcd's: a transaction that puts if the value, or the absence of the
    key, is as expected.  The store has no append.
    """

    def submission(self, request_id: Hashable, request: Any) -> Request | Query:
        """A read becomes a `Query`, all else a `Request`."""
        key = request.key
        if isinstance(request, Get):
            return Query(request_id, kv.Get(key))
        if isinstance(request, Put):
            return Request(request_id, kv.Put(key, request.value))
        if isinstance(request, Delete):
            return Request(request_id, kv.Delete(key))
        if not isinstance(request, CompareAndSwap):
            raise ParameterError("weights", type(request).__name__, "kinds that the store knows")
        found = kv.Compare(key, "value", "=", request.expected)
        missing = kv.Compare(key, "version", "=", 0)
        condition = missing if request.expected is None else found
        return Request(request_id, kv.Transaction((condition,), (kv.Put(key, request.value),)))

    def response(self, request: Any, result: Any) -> Any:
        """A read's value, whether a swap took place, else nothing."""
        if isinstance(request, Get):
            return result.value
        return result.succeeded if isinstance(request, CompareAndSwap) else None
