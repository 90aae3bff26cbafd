"""What operations on a replicated store mean, one at a time: the judge's view of a key.

Rules of this file: independent of every implementation that it judges; no engine, no protocol.

Every key is a cell that holds one value.  `REGISTER` starts every cell at None (Jepsen's
compare-and-swap register is one such cell), `KEY_VALUE` starts it at the empty string, as the
key-value histories of porcupine do.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

from consensus_lab.sim.history import FORGOTTEN, IMPOSSIBLE, UNKNOWN


class Get(NamedTuple):
    """Read a cell; the answer is its value."""

    key: Hashable


class Put(NamedTuple):
    """Write a cell, whatever it held."""

    key: Hashable
    value: Any


class Append(NamedTuple):
    """Add to the end of a cell's text; a cell that holds nothing counts as empty text."""

    key: Hashable
    value: str


class Delete(NamedTuple):
    """Set a cell back to its initial value."""

    key: Hashable


class CompareAndSwap(NamedTuple):
    """Write a cell if it holds `expected`; the answer says whether it did."""

    key: Hashable
    expected: Any
    value: Any


def _get(initial: Hashable, state: Any, request: Get, response: Any) -> Any:
    return state if response is UNKNOWN or response == state else IMPOSSIBLE


def _put(initial: Hashable, state: Any, request: Put, response: Any) -> Any:
    return request.value


def _append(initial: Hashable, state: Any, request: Append, response: Any) -> Any:
    return FORGOTTEN if state is FORGOTTEN else (state or "") + request.value


def _delete(initial: Hashable, state: Any, request: Delete, response: Any) -> Any:
    return initial


def _compare_and_swap(initial: Hashable, state: Any, request: CompareAndSwap, response: Any) -> Any:
    holds = state == request.expected
    if response is UNKNOWN or response == holds:
        return request.value if holds else state
    return IMPOSSIBLE


_STEPS: dict[type, Callable[[Hashable, Any, Any, Any], Any]] = {
    Get: _get,
    Put: _put,
    Append: _append,
    Delete: _delete,
    CompareAndSwap: _compare_and_swap,
}


class CellModel(NamedTuple):
    """A store whose every key is a cell of that initial value.

    Examples
    --------
    >>> KEY_VALUE.step("ab", Append("k", "c"), None)
    'abc'
    >>> REGISTER.step(3, CompareAndSwap("k", 4, 5), True)
    IMPOSSIBLE
    """

    name: str
    initial: Hashable

    def key(self, request: Any) -> Hashable:
        """Every request names its cell."""
        key: Hashable = request.key
        return key

    def step(self, state: Hashable, request: Any, response: Any) -> Hashable:
        """The cell afterwards, or `IMPOSSIBLE` when this answer cannot come from this value."""
        after: Hashable = _STEPS[type(request)](self.initial, state, request, response)
        return after

    def only_reads(self, request: Any, response: Any) -> bool:
        """A read, or a compare-and-swap that found another value."""
        kind = type(request)
        return kind is Get or (kind is CompareAndSwap and response is False)

    def names(self, request: Any, response: Any) -> Hashable:
        """A read's answer names the cell's value, a compare-and-swap depends on the expected."""
        if type(request) is CompareAndSwap:
            expected: Hashable = request.expected
            return expected
        answer: Hashable = response if type(request) is Get else UNKNOWN
        return answer

    def sets(self, request: Any, response: Any) -> Hashable:
        """The value that a cell holds after a request that does not depend on the old one."""
        kind = type(request)
        if kind is Append or self.only_reads(request, response):
            return UNKNOWN
        value: Hashable = self.initial if kind is Delete else request.value
        return value

    def can_grow(self, state: Hashable, later: Hashable) -> bool:
        """Appending leads from a text to any text that begins with it."""
        if state == later:
            return True
        if not isinstance(later, str) or not (state is None or isinstance(state, str)):
            return False
        return later.startswith(state or "")


REGISTER = CellModel("cas-register", None)
KEY_VALUE = CellModel("key-value", "")
