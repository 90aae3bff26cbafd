"""Argument checks shared by the closed forms: every wrong value is a ParameterError."""

from __future__ import annotations

import math
from numbers import Integral, Real

from consensus_lab.node import ParameterError


def number(
    name: str,
    value: float,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
) -> float:
    """Return `value` as a float, or refuse it by name with the allowed range."""
    bounds = (
        ("at least", at_least),
        ("above", above),
        ("at most", at_most),
        ("below", below),
    )
    allowed = " and ".join(f"{word} {limit:g}" for word, limit in bounds if limit is not None)
    allowed = f"a finite number {allowed}".rstrip()
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ParameterError(name, value, allowed)
    result = float(value)
    fits = (
        math.isfinite(result)
        and (at_least is None or result >= at_least)
        and (above is None or result > above)
        and (at_most is None or result <= at_most)
        and (below is None or result < below)
    )
    if not fits:
        raise ParameterError(name, value, allowed)
    return result


def probability(name: str, value: float) -> float:
    """Return a probability or a share in [0, 1] as a float."""
    return number(name, value, at_least=0.0, at_most=1.0)


def minority(name: str, value: float) -> float:
    """Return an attacker's share in [0, 1/2): above it every race is won with certainty."""
    return number(name, value, at_least=0.0, below=0.5)


def count(name: str, value: int, *, at_least: int = 0, at_most: int | None = None) -> int:
    """Return `value` as an int; integral floats and numpy integers are accepted."""
    allowed = f"an integer of at least {at_least}"
    if at_most is not None:
        allowed += f" and at most {at_most}"
    is_integral = isinstance(value, Integral) or (
        isinstance(value, Real) and math.isfinite(value) and float(value).is_integer()
    )
    if isinstance(value, bool) or not is_integral:
        raise ParameterError(name, value, allowed)
    result = int(value)
    if result < at_least or (at_most is not None and result > at_most):
        raise ParameterError(name, value, allowed)
    return result


def choice(name: str, value: str, choices: tuple[str, ...]) -> str:
    """Return `value` if it is one of the choices."""
    if value not in choices:
        raise ParameterError(name, value, "one of " + ", ".join(choices))
    return value
