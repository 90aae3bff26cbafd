"""The event loop: simulated time moves from event to event, in one fixed order.

An event is a tuple `(time, counter, kind, process, a, b, c)`.  The heap gives the earliest; the
counter makes equal times come out in the order in which they were scheduled, so a run is one
fixed sequence.  `kind` is the place of its handler, which is called with the last four.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from heapq import heappop, heappush
from typing import Any, TypeAlias

from consensus_lab.sim.process import Process

Check: TypeAlias = Callable[[Any, int], None]
"""An invariant: called with the engine and the node that an event touched, raises if broken."""

OBJECTS_BETWEEN_COLLECTIONS = 50_000
"""New objects after which Python looks for cycles nobody holds while a run goes on (else: 700).

Messages, effects and log entries form no cycles and are freed as soon as nobody holds them.  To
look through all that a long run keeps every 700 objects would take a third of its time.
"""

_CALL = 0
_NEVER = 1 << 200


@contextmanager
def _rare_collections() -> Iterator[None]:
    """See `OBJECTS_BETWEEN_COLLECTIONS`; who has switched collections off keeps them off."""
    young, middle, old = gc.get_threshold()
    gc.set_threshold(young and max(young, OBJECTS_BETWEEN_COLLECTIONS), middle, old)
    try:
        yield
    finally:
        gc.set_threshold(young, middle, old)


class EventLoop:
    """A heap of events and the time.

    Parameters
    ----------
    handlers : iterable of callable (process, a, b, c)
        The first handles events of kind 1, and so on; kind 0 calls a function.
    invariants : iterable of callable (loop, node_id)
        Called after every event that touched a node.
    """

    def __init__(
        self, handlers: Iterable[Callable[..., None]], invariants: Iterable[Check]
    ) -> None:
        self.now = 0
        self.events = 0
        self.invariants = tuple(invariants)
        self._handlers = (self._call, *handlers)
        self._heap: list[tuple[Any, ...]] = []
        self._counter = 0

    def at(self, time_ns: int, action: Callable[[], None]) -> None:
        """Call a function at that time, or now if it has passed."""
        self._push(max(time_ns, self.now), _CALL, None, action)

    def run(
        self,
        *,
        until_ns: int | None = None,
        until: Callable[[], bool] | None = None,
        events_max: int | None = None,
    ) -> int:
        """Handle events until the time, the condition or the count is reached or none is left.

        Parameters
        ----------
        until_ns : int, optional
            Events after this time stay; `now` is then this time.
        until : callable, optional
            Asked after every event.
        events_max : int, optional
            Handle at most so many.

        Returns
        -------
        int
            Events handled by this call.
        """
        horizon = until_ns if until_ns is not None else _NEVER
        left = events_max if events_max is not None else _NEVER
        with _rare_collections():
            return self._run(horizon, until, left)

    def _run(self, horizon: int, until: Callable[[], bool] | None, left: int) -> int:
        heap, handlers, invariants = self._heap, self._handlers, self.invariants
        before = self.events
        while heap and left > 0 and heap[0][0] <= horizon:
            self.now, _, kind, process, a, b, c = heappop(heap)
            self.events += 1
            left -= 1
            handlers[kind](process, a, b, c)
            if invariants and process is not None:
                for check in invariants:
                    check(self, process.node_id)
            if until is not None and until():
                return self.events - before
        if horizon != _NEVER and left > 0:
            self.now = max(self.now, horizon)
        return self.events - before

    def _call(self, _process: None, action: Callable[[], None], _b: Any, _c: Any) -> None:
        action()

    def _push(
        self, time: int, kind: int, process: Process | None, a: Any, b: Any = None, c: Any = None
    ) -> None:
        self._counter += 1
        heappush(self._heap, (time, self._counter, kind, process, a, b, c))
