"""What clients and replicated logs say to each other: one contract for Raft and Multi-Paxos.

Rules of this file: standard library only, no protocol; every replicated log may import it.

Theory of operation.  A client hands a `Request` or a `Query` to any node with `submit`; the node
answers with the effect `Reply(request_id, result)`.  A network that loses, doubles and delays
messages forces clients and nodes to send again, so the same request can be chosen at two places
of the log.  `Sessions` makes its effect happen once (Raft dissertation §6.3, "Implementing
linearizable semantics"): it is part of the replicated state, remembers which requests took effect
and what they answered, and is told of requests in log order, so it is equal on all replicas.

Memory is bounded: only the last `requests_max` requests are remembered.  A copy that surfaces
after more others than that would take effect again; the limit is far above what can be under way.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, NamedTuple, Protocol

from consensus_lab.node import CONTROL_SIZE_BYTES, ParameterError, message_size

REQUESTS_REMEMBERED_MAX = 1 << 16
"""Requests whose answers a replica keeps, to recognise a second copy."""


class Request(NamedTuple):
    """A client's command for the replicated log.

    Attributes
    ----------
    request_id : hashable
        Unique among all requests of a run; a repetition of the same request repeats it.
    command : object
        What the state machine understands.
    """

    request_id: Hashable
    command: Any

    @property
    def size_bytes(self) -> int:
        """Bytes on the wire: those of the command."""
        return message_size(self.command)


class Query(NamedTuple):
    """A client's read; it changes nothing and is not written to the log.

    Attributes
    ----------
    request_id : hashable
        Unique among all requests of a run.
    query : object
        What the state machine's `read` understands.
    """

    request_id: Hashable
    query: Any

    @property
    def size_bytes(self) -> int:
        """Bytes on the wire: those of the query."""
        return message_size(self.query)


class Refused(NamedTuple):
    """A result that says: this copy of the request was not proposed, and why.

    Attributes
    ----------
    reason : str
        The broken rule, or "busy" for a full queue.
    detail : str
        What was seen, for the reader of a log.
    """

    reason: str
    detail: str = ""


class StateMachine(Protocol):
    """What a replicated log drives: handed to a node's constructor, told of commands in order."""

    def check(self, command: Any) -> None:
        """Raise `ProtocolViolation` for a command that must not be proposed (size, quota)."""
        ...

    def apply(self, index: int, command: Any) -> Any:
        """Let a command take effect, and give its result; the same on every replica."""
        ...

    def read(self, query: Any) -> Any:
        """Answer a query from the present state; changes nothing."""
        ...

    def snapshot(self) -> Any:
        """The present state as an immutable value, with `size_bytes` if it is to be charged."""
        ...

    def restore(self, snapshot: Any) -> None:
        """Replace the present state by a snapshot."""
        ...


class Sessions:
    """Which requests took effect and what they answered, the latest `requests_max` of them.

    Parameters
    ----------
    requests_max : int
        How many are remembered; the same on all replicas, at least 1.

    Examples
    --------
    >>> sessions = Sessions(requests_max=2)
    >>> sessions.record("a", 1); sessions.record("b", 2); sessions.record("c", 3)
    >>> "a" in sessions, sessions.result("c")
    (False, 3)
    """

    __slots__ = ("_results", "requests_max")

    def __init__(self, *, requests_max: int = REQUESTS_REMEMBERED_MAX) -> None:
        if requests_max < 1:
            raise ParameterError("requests_max", requests_max, "at least 1")
        self.requests_max = requests_max
        # Not a plain dict: there the way to the oldest grows with all that were taken out before.
        self._results: OrderedDict[Hashable, Any] = OrderedDict()

    def __contains__(self, request_id: Hashable) -> bool:
        return request_id in self._results

    def __len__(self) -> int:
        return len(self._results)

    def result(self, request_id: Hashable) -> Any:
        """What a remembered request answered."""
        return self._results[request_id]

    def record(self, request_id: Hashable, result: Any) -> None:
        """A request took effect for the first time; the oldest is forgotten when full."""
        results = self._results
        assert request_id not in results, "A request takes effect once."
        results[request_id] = result
        if len(results) > self.requests_max:
            results.popitem(last=False)

    def snapshot(self) -> tuple[tuple[Hashable, Any], ...]:
        """All that is remembered, oldest first, as an immutable value."""
        return tuple(self._results.items())

    def restore(self, remembered: tuple[tuple[Hashable, Any], ...]) -> None:
        """Replace what is remembered by a `snapshot`."""
        self._results = OrderedDict(remembered)


def sessions_size_bytes(remembered: tuple[tuple[Hashable, Any], ...]) -> int:
    """Bytes charged for a `Sessions.snapshot` in a message: a control message per 10 entries."""
    return CONTROL_SIZE_BYTES * (1 + len(remembered) // 10)
