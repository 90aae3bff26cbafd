"""Retarget: every 2016 blocks the target is set so that the next 2016 take two weeks again.

Rules of this file: integers only, rounding as in consensus.

Theory of operation.  At each height that is a multiple of 2016, the new target is the old one
times the time that the last period took, divided by two weeks.  The factor is held between 1/4
and 4, the target below the network's easiest, and the result is rounded to what `nbits` can say.
The measured time spans from the first to the last block of the period, so 2015 intervals and not
2016: an off-by-one of the first client that is consensus now.  It makes blocks 0.05 % too hard.

Test networks bend this: `is_retargeting_off` keeps the target for ever (regtest), and
`has_easy_blocks_after_pause` lets any block that comes 20 minutes after its parent have the
easiest target (testnet3, simnet).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from consensus_lab.constants import BLOCK_INTERVAL_S, RETARGET_INTERVAL_BLOCKS
from consensus_lab.nakamoto.header import nbits_to_target, target_to_nbits
from consensus_lab.node import ParameterError

TARGET_SPACING_S = int(BLOCK_INTERVAL_S)
CLAMP_FACTOR = 4


@dataclass(frozen=True)
class RetargetRule:
    """How a network sets its targets.

    Parameters
    ----------
    target_max : int
        Easiest target.
    interval_blocks : int
        Length of a period, in blocks.
    spacing_s : int
        Time wanted between blocks, in seconds.
    is_retargeting_off : bool
        Never change the target.
    has_easy_blocks_after_pause : bool
        Easiest target allowed for a block that comes late.
    """

    target_max: int
    interval_blocks: int = RETARGET_INTERVAL_BLOCKS
    spacing_s: int = TARGET_SPACING_S
    is_retargeting_off: bool = False
    has_easy_blocks_after_pause: bool = False

    def __post_init__(self) -> None:
        if self.interval_blocks < 1:
            raise ParameterError("interval_blocks", self.interval_blocks, "at least 1")
        if self.spacing_s < 1:
            raise ParameterError("spacing_s", self.spacing_s, "at least 1 second")
        if not 0 < self.target_max < 1 << 256:
            raise ParameterError("target_max", self.target_max, "between 1 and 2^256 - 1")

    @property
    def timespan_s(self) -> int:
        """How long a period should take, in seconds."""
        return self.interval_blocks * self.spacing_s

    @cached_property
    def nbits_max(self) -> int:
        """The easiest target in compact form."""
        return target_to_nbits(self.target_max)

    def is_boundary(self, height: int) -> bool:
        """Does the block at this height start a new period?"""
        return height % self.interval_blocks == 0

    def is_late(self, time_s: int, *, parent_time_s: int) -> bool:
        """Does a block come so late that it may have the easiest target?"""
        return self.has_easy_blocks_after_pause and time_s > parent_time_s + 2 * self.spacing_s


def next_nbits(nbits: int, *, first_time_s: int, last_time_s: int, rule: RetargetRule) -> int:
    """Compact target of the period that follows one.

    Parameters
    ----------
    nbits : int
        Compact target of the last block of the period.
    first_time_s, last_time_s : int
        Times of the first and the last block of the period, Unix seconds.
    rule : RetargetRule
        The network's.

    Returns
    -------
    int
        The next `nbits`.

    Examples
    --------
    The first change ever, at height 32256:

    >>> rule = RetargetRule(target_max=0xFFFF << 208)
    >>> hex(next_nbits(0x1D00FFFF, first_time_s=1261130161, last_time_s=1262152739, rule=rule))
    '0x1d00d86a'
    """
    if rule.is_retargeting_off:
        return nbits
    target = nbits_to_target(nbits)
    assert target is not None, "a header in the chain has a possible target"
    shortest, longest = rule.timespan_s // CLAMP_FACTOR, rule.timespan_s * CLAMP_FACTOR
    actual_s = min(max(last_time_s - first_time_s, shortest), longest)
    return target_to_nbits(min(target * actual_s // rule.timespan_s, rule.target_max))
