"""A hashable image of any object's state: two objects with equal images behave alike.

Theory of operation.  The explorer has to know whether it has been in a state before.  `freeze`
walks an object's attributes and turns every container into a tuple that starts with its type, so
that a list never equals a tuple, True never equals 1, and a `Prepare(1)` never equals an `Ask(1)`.
The order of a set, and of a dictionary's keys, is left out: nodes are not allowed to depend on
it.  `rename` gives the image after an exchange of processes, for symmetry; it knows a process
from any other integer because processes are `Peer`s there.
"""

from __future__ import annotations

import random
from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator, Mapping
from enum import Enum
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

_ATOMS = (int, str, bytes, type(None))
_NAMES = (BuiltinFunctionType, type)

DEPTH_MAX = 200
"""Deeper nesting than this is taken for a mistake."""


class Peer(int):
    """A process's id that is told apart from other integers, so that it can be renamed."""

    __slots__ = ()


def freeze(value: Any) -> Hashable:
    """The image of a value: hashable, equal for equal states, unequal for unequal ones.

    Parameters
    ----------
    value : object
        Plain data, containers, or objects with attributes; cycles are allowed.

    Examples
    --------
    >>> freeze([1, 2]) == freeze((1, 2)), freeze({"a": {1, 2}}) == freeze({"a": {2, 1}})
    (False, True)
    """
    return _freeze(value, [])


def _freeze(value: Any, path: list[Any]) -> Hashable:
    kind = type(value)
    if kind in _ATOMS:
        return value  # type: ignore[no-any-return]
    if isinstance(value, (bool, float, Enum, Peer)) or kind in _NAMES:
        return (kind, value)
    for depth, outer in enumerate(path):
        if outer is value:
            return ("outer", depth)
    assert len(path) < DEPTH_MAX, "nested too deeply to be a node's state"
    path.append(value)
    image = _freeze_container(value, kind, path)
    path.pop()
    return image


def _freeze_container(value: Any, kind: type, path: list[Any]) -> Hashable:
    if isinstance(value, (tuple, list, deque)):
        return (kind, *(_freeze(part, path) for part in value))
    if isinstance(value, OrderedDict):
        return (kind, *((_freeze(k, path), _freeze(v, path)) for k, v in value.items()))
    if isinstance(value, Mapping):
        pairs = ((_freeze(k, path), _freeze(v, path)) for k, v in value.items())
        return (kind, frozenset(pairs))
    if isinstance(value, (set, frozenset)):
        return (kind, frozenset(_freeze(part, path) for part in value))
    if isinstance(value, bytearray):
        return (kind, bytes(value))
    if isinstance(value, random.Random):
        return (kind, value.getstate())
    if isinstance(value, FunctionType):
        # Made anew with each node, the same function has the same code and captured values.
        captured = tuple(cell.cell_contents for cell in value.__closure__ or ())
        return (kind, value.__code__, _freeze((captured, value.__defaults__), path))
    if isinstance(value, MethodType):
        return (kind, value.__func__, _freeze(value.__self__, path))
    return (kind, *((name, _freeze(part, path)) for name, part in _attributes(value)))


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    """Every attribute of an object, of its dictionary and of its slots, sorted by name."""
    found = dict(getattr(value, "__dict__", {}))
    for base in type(value).__mro__:
        slots = base.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(value, name):
                found[name] = getattr(value, name)
    return iter(sorted(found.items()))


def rename(image: Hashable, names: Mapping[int, int]) -> Hashable:
    """The image of the same state after processes have exchanged their ids.

    Parameters
    ----------
    image : hashable
        From `freeze`, with processes as `Peer`.
    names : mapping of int to int
        New ids; who is not in it keeps its own.
    """
    if isinstance(image, frozenset):
        return frozenset(rename(part, names) for part in image)
    if isinstance(image, tuple):
        if len(image) == 2 and image[0] is Peer:
            return (Peer, Peer(names.get(image[1], image[1])))
        return tuple(rename(part, names) for part in image)
    return image
