"""Who lacks transactions of which compact block: one keyed draw, the same at both speeds."""

from __future__ import annotations

from collections.abc import Callable

from consensus_lab.sim.streams import U64, derive_seed, keyed_draw


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
