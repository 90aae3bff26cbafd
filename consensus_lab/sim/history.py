"""A history: what clients asked of a store, what they were told, and what it should mean.

Rules of this file: plain data; no engine, no protocol.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any, NamedTuple, Protocol


class Impossible:
    """The type of `IMPOSSIBLE`."""

    def __repr__(self) -> str:
        return "IMPOSSIBLE"


IMPOSSIBLE = Impossible()
"""What a model's `step` returns when the answer that was seen cannot be given in that state."""


class Unknown:
    """The type of `UNKNOWN`."""

    def __repr__(self) -> str:
        return "?"


UNKNOWN = Unknown()
"""The response of an operation whose answer nobody saw."""


class Forgotten:
    """The type of `FORGOTTEN`."""

    def __repr__(self) -> str:
        return "FORGOTTEN"


FORGOTTEN = Forgotten()
"""Stands for any state that is sure to be overwritten before it is seen."""


class Operation(NamedTuple):
    """One call by one client, with its answer.

    Attributes
    ----------
    client : int
        Who called; a client has one operation under way at a time.
    request : object
        What was asked; the model understands it.
    response : object
        The answer, `UNKNOWN` when it never came.
    called, returned : int
        When, in any unit that only grows (nanoseconds, event numbers).  Operations that touch at
        one instant count as concurrent.  `returned` is None when the answer never came.
    """

    client: int
    request: Any
    response: Any
    called: int
    returned: int | None = None

    @property
    def is_pending(self) -> bool:
        """True when the answer never came."""
        return self.returned is None

    def unanswered(self) -> Operation:
        """The operation as it looked before its answer came."""
        return self._replace(response=UNKNOWN, returned=None)


def label(operation: Operation) -> str:
    """Request and answer in a few words, without the key.

    Examples
    --------
    >>> from consensus_lab.sim.models import Get, Put
    >>> label(Operation(1, Get("x"), 7, called=0, returned=5))
    'get -> 7'
    >>> label(Operation(1, Put("x", 7), None, called=0, returned=5))
    'put 7'
    """
    request, response = operation.request, operation.response
    fields = getattr(request, "_fields", None)
    if fields is None:
        return f"{request!r} -> {response!r}"
    values = [repr(getattr(request, name)) for name in fields if name != "key"]
    name = re.sub(r"(?<!^)(?=[A-Z])", "-", type(request).__name__).lower()
    words = " ".join([name, *values])
    return words if response is None and values else f"{words} -> {response!r}"


class Model(Protocol):
    """What the operations mean, one at a time."""

    @property
    def initial(self) -> Hashable:
        """The state of a key that nobody touched."""
        ...

    def key(self, request: Any) -> Hashable:
        """Which independent part of the state a request touches."""
        ...

    def step(self, state: Hashable, request: Any, response: Any) -> Hashable:
        """The state afterwards, or `IMPOSSIBLE` when this answer cannot come in this state."""
        ...

    def only_reads(self, request: Any, response: Any) -> bool:
        """True when a request with this answer leaves every state as it is."""
        ...

    def names(self, request: Any, response: Any) -> Hashable:
        """The one state on which the answer or the effect depends, or `UNKNOWN` for none."""
        ...

    def sets(self, request: Any, response: Any) -> Hashable:
        """The one state that the request leaves if it changes any, or `UNKNOWN` when it grows."""
        ...

    def can_grow(self, state: Hashable, later: Hashable) -> bool:
        """False when requests that only read or grow cannot lead from one state to the other."""
        ...
