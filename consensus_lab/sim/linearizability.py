"""Linearizability: does some order of the operations explain what every client saw?

Rules of this file: no engine, no protocol; a history comes in, a verdict goes out.

Theory of operation.  A history is linearizable when every operation can be given one instant
between its call and its return so that, executed one after the other at those instants, the
operations give exactly the answers that were seen (Herlihy & Wing 1990, section 2).  Operations
on different keys do not constrain each other (their theorem 1, locality), so each key is searched
alone.

The search is Wing & Gong's (1993, section 4): keep the events in a doubly linked list; the next
operation in the order must be one whose call comes before the first return that is left; lift it
out of the list when the model allows its answer, put it back when the way is blocked.  Lowe's
memoisation (2017, section 4.2) cuts it short: two orders of the same set of operations that leave
the same state have the same future, so a pair (set, state) is entered once.

An operation that never returned (its client timed out or crashed) may have taken effect at any
time after its call, or never.  It has no return event, so nothing forces it into the order.

Further cuts, each without loss of exactness:

* A completed operation that only reads and fits the present state is taken at once and without
  alternative: it can stand here in every order in which it stands later.  A read that never
  returned is left out.
* Of several operations that do the same the first to return is taken first, one that never
  returned last.  States that no answer depends on count as the same.
* An operation that never returned is not taken where it would change nothing.
* The next answer that names a state (a read, a successful compare-and-swap) must stay possible:
  the present state can still grow into it, or an operation that sets a state from which it can
  grow is left and was called in time.  A state that answers still need is not left for good.
* A state that must be overwritten before it can be seen is `FORGOTTEN`: what it holds makes no
  difference any more.

Every prefix of a linearizable history is linearizable, so there is a first return that no order
explains; bisection finds it.  In a prefix an operation that returns later is still pending.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import NamedTuple

from consensus_lab.node import ParameterError
from consensus_lab.sim.history import Model, Operation, label
from consensus_lab.sim.ordering import OrderSearch, UndecidedError

__all__ = [
    "CONFIGURATIONS_MAX", "Bar", "Failure", "Operation", "UndecidedError", "Verdict", "check",
]  # fmt: skip

CONFIGURATIONS_MAX = 5_000_000
"""Pairs (set, state) entered before a search gives up; about 2 GB of memory at worst."""


class Bar(NamedTuple):
    """One operation as a picture shows it: a bar on its client's line.

    Attributes
    ----------
    client : int
        The line.
    label : str
        Request and answer.
    start, end : int or None
        In the history's unit; `end` is None for a bar that is open to the right.
    order : int or None
        Place in the longest order found, from 1; None when it is not in it.
    is_culprit : bool
        True for the operation whose return no order explains.
    """

    client: int
    label: str
    start: int
    end: int | None
    order: int | None
    is_culprit: bool


class Failure(NamedTuple):
    """Why a history is not linearizable.

    Attributes
    ----------
    key : hashable
        The key whose operations cannot be ordered.
    prefix : tuple of Operation
        The shortest failing prefix of that key's history, by time of call; operations that
        return later than its end are pending in it.
    culprit : int
        Place in `prefix` of the operation whose return ends it.
    order : tuple of int
        Places in `prefix`, in the longest order that explains everything before that return.
    states : tuple
        The key's state after each operation of `order`.
    """

    key: Hashable
    prefix: tuple[Operation, ...]
    culprit: int
    order: tuple[int, ...]
    states: tuple[Hashable, ...]

    def bars(self, *, latest: int | None = None) -> list[Bar]:
        """The prefix as bars, by client and time: what `report.histories` draws.

        Parameters
        ----------
        latest : int, optional
            Only the bar that nothing explains and so many before it: those that returned last
            or, without an answer, have a place in the order.
        """
        place = {index: number for number, index in enumerate(self.order, 1)}
        shown = range(len(self.prefix)) if latest is None else self._latest(latest, place)
        bars = [
            Bar(operation.client, label(operation), operation.called, operation.returned,
                place.get(index), index == self.culprit)
            for index, operation in ((index, self.prefix[index]) for index in shown)
        ]  # fmt: skip
        return sorted(bars, key=lambda bar: (bar.client, bar.start))

    def _latest(self, count: int, place: dict[int, int]) -> list[int]:
        """The operations nearest to the failure, which itself returned last of all."""
        others = [index for index in place if index != self.culprit]
        end = _end_of_prefix(self)

        def nearness(index: int) -> tuple[int, int]:
            returned = self.prefix[index].returned
            return (end if returned is None else returned), place[index]

        others.sort(key=nearness, reverse=True)
        return [self.culprit, *others[:count]]

    def describe(self) -> str:
        """The prefix as lines of text, one operation each, with its place in the order."""
        culprit = self.prefix[self.culprit]
        lines = [
            f"key {self.key!r}: no order explains client {culprit.client}'s {label(culprit)}, "
            f"returned at {culprit.returned}; best order of what came before:"
        ]
        for bar in self.bars():
            place = f"#{bar.order}" if bar.order else "!!" if bar.is_culprit else "-"
            end = "..." if bar.end is None else bar.end
            lines.append(f"  {place:>4}  client {bar.client}  {bar.start} - {end}  {bar.label}")
        return "\n".join(lines)


class Verdict(NamedTuple):
    """The answer: linearizable, or the earliest failure; with the search's size."""

    is_linearizable: bool
    failure: Failure | None
    operations_count: int
    configurations_count: int


def check(
    history: Iterable[Operation], *, model: Model, configurations_max: int = CONFIGURATIONS_MAX
) -> Verdict:
    """Decide whether a history is linearizable.

    Parameters
    ----------
    history : iterable of Operation
        In any order.  Operations that were refused without effect do not belong into it.
    model : Model
        What the operations mean, for instance `models.REGISTER`.
    configurations_max : int
        Most pairs (set, state) that the search of one key may enter.

    Returns
    -------
    Verdict
        With the failure whose prefix ends first, when there is one.

    Raises
    ------
    UndecidedError
        The limit was reached.
    ParameterError
        An operation returns before it is called.

    Examples
    --------
    >>> from consensus_lab.sim.models import REGISTER, Get, Put
    >>> stale = [
    ...     Operation(1, Put("x", 1), None, called=0, returned=10),
    ...     Operation(2, Get("x"), None, called=20, returned=30),
    ... ]
    >>> verdict = check(stale, model=REGISTER)
    >>> verdict.is_linearizable, verdict.failure.culprit
    (False, 1)
    """
    parts: dict[Hashable, list[Operation]] = {}
    for operation in history:
        if operation.returned is not None and operation.returned < operation.called:
            raise ParameterError("returned", operation, "at or after the operation's call")
        parts.setdefault(model.key(operation.request), []).append(operation)
    failures: list[Failure] = []
    configurations = 0
    for key, operations in parts.items():
        operations.sort(key=lambda operation: operation.called)
        search = OrderSearch(operations, model)
        if not search.run(configurations_max):
            failures.append(_shortest_failure(key, operations, model, configurations_max))
        configurations += len(search.entered)
    first = min(failures, key=_end_of_prefix, default=None)
    count = sum(len(operations) for operations in parts.values())
    return Verdict(first is None, first, count, configurations)


def _end_of_prefix(failure: Failure) -> int:
    """When the failing prefix ends."""
    end = failure.prefix[failure.culprit].returned
    assert end is not None
    return end


def _shortest_failure(
    key: Hashable, operations: list[Operation], model: Model, configurations_max: int
) -> Failure:
    """The prefix that ends with the first return that no order explains."""
    returns = [index for index, operation in enumerate(operations) if not operation.is_pending]
    returns.sort(key=lambda index: (operations[index].returned, index))

    def explains(count: int) -> bool:
        prefix = _prefix(operations, returns[:count])
        return OrderSearch(prefix, model).run(configurations_max)

    good, bad = 0, len(returns)
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if explains(middle) else (good, middle)
    prefix = _prefix(operations, returns[:bad])
    culprit = returns[bad - 1]
    before = list(prefix)
    before[culprit] = before[culprit].unanswered()
    search = OrderSearch(before, model)
    is_linearizable = search.run(configurations_max)
    assert is_linearizable, "what came before the first bad return has an order"
    order = tuple(search.order)
    return Failure(key, tuple(prefix), culprit, order, search.states_along(order))


def _prefix(operations: list[Operation], answered: list[int]) -> list[Operation]:
    """The history up to the last of those returns; operations are in order of their calls."""
    end = operations[answered[-1]].returned
    assert end is not None
    kept = set(answered)
    return [
        operation if index in kept else operation.unanswered()
        for index, operation in enumerate(operations)
        if operation.called <= end
    ]
