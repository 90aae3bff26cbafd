"""Keyed draws, the same at both speeds: missing transactions, and jitter."""

from __future__ import annotations

from collections.abc import Callable

from consensus_lab.node import ParameterError
from consensus_lab.sim.streams import U64, derive_seed, keyed_draw

MILLION = 1_000_000
JITTER_DRAW_BITS = 20
JITTER_MAX = 8.0
"""Times the latency: so that latency x jitter x draw stays below 2**63."""


def chance_key(seed: int) -> int:
    """The 64-bit key of a run's missing transactions."""
    return derive_seed(seed, "relay", "missing transactions") & U64


def chance_threshold(chance: float) -> int:
    """Draws below this 64-bit number happen; a chance of one is short of it by 2**-64."""
    return min(int(chance * (U64 + 1)), U64)


def lacks(seed: int, chance: float, node_id: int) -> Callable[[int], bool]:
    """For one node: does it lack transactions of the block of that number?

    Examples
    --------
    >>> [lacks(1, 0.5, node)(7) for node in range(6)]
    [...]
    """
    key, threshold = chance_key(seed), chance_threshold(chance)

    def draw(number: int) -> bool:
        word = keyed_draw(key, sender=node_id, receiver=node_id, kind=0, identity=number)
        return word < threshold

    return draw


def jitter_key(seed: int) -> int:
    """The 64-bit key of a run's jitter."""
    return derive_seed(seed, "relay", "jitter") & U64


def jitter_per_million(jitter: float) -> int:
    """The largest jitter, in millionths of a link's latency."""
    if not 0.0 <= jitter <= JITTER_MAX:
        raise ParameterError("jitter", jitter, f"from 0 to {JITTER_MAX:g} times the latency")
    return round(jitter * MILLION)


def jitter_ns(
    key: int,
    *,
    per_million: int,
    latency_ns: int,
    sender: int,
    receiver: int,
    kind: int,
    block: int,
) -> int:
    """How much longer a message takes: uniform from 0 to that share of the latency.

    Keyed by the directed link, the kind of message and the block that it is about, so a message
    that is repeated takes the same time again.

    Examples
    --------
    >>> link = {"latency_ns": 1000, "sender": 0, "receiver": 1}
    >>> draws = [jitter_ns(1, per_million=500_000, kind=0, block=i, **link) for i in range(1000)]
    >>> min(draws) >= 0, max(draws) < 500, 230 < sum(draws) / 1000 < 270
    (True, True, True)
    """
    word = keyed_draw(key, sender=sender, receiver=receiver, kind=kind, identity=block)
    width = latency_ns * per_million // MILLION
    return (word >> (64 - JITTER_DRAW_BITS)) * width >> JITTER_DRAW_BITS
