"""The leader lease: reads without a round, as long as clocks keep within their bound.

Rules of this file: no clock is read.  Leases are measured with timers, so a wall clock that jumps
does no harm; only its rate matters.

Theory of operation (the essay's stable leader "by implementing leader lease"; Gray and Cheriton
1989; Raft dissertation §6.4.1).  An acceptor that confirms a heartbeat *grants* the leader an
election timeout, measured on its own clock from the moment at which the heartbeat came: so long
it promises no other ballot, and asks for none itself.  A new leader needs a phase-1 quorum of
promises; every such quorum meets the phase-2 quorum that granted; so nobody else can choose
anything before the first grant ends.  The leader counts from when it *sent* the heartbeat, which
is earlier, and ends its lease sooner by what clocks may drift (`lease_duration_ns`).  While it
holds, the leader's own state is the latest there is.

A clock that drifts more than the bound breaks this: the leader believes in a lease that the
others have outlived, and answers with what is no longer true.

A restarted acceptor does not know what it granted, so it grants to nobody for one more election
timeout (`multi.MultiPaxosNode.start`).

Two periods are enough: one that runs and is used, one that is being asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from consensus_lab.node import Effects, SetTimer

LEASE_TIMERS: Final = ("lease-0", "lease-1")

FREE, ASKED, HELD = "free", "asked", "held"


class Lease:
    """The leader's side of the lease.

    Parameters
    ----------
    duration_ns : int
        From the sending of a heartbeat to the end of what it earns, on the leader's clock.
    """

    __slots__ = ("_rounds", "_states", "duration_ns")

    def __init__(self, duration_ns: int) -> None:
        self.duration_ns = duration_ns
        self._states = [FREE, FREE]
        self._rounds = [0, 0]

    @property
    def is_held(self) -> bool:
        """True while reads need no round."""
        return HELD in self._states

    def ask(self, number: int) -> Effects:
        """A heartbeat round is being sent: start the period that it may earn."""
        for period in (0, 1):
            other = 1 - period
            is_older = self._rounds[period] < self._rounds[other]
            both_held = self._states[period] == self._states[other] == HELD
            if self._states[period] == FREE or (both_held and is_older):
                self._states[period], self._rounds[period] = ASKED, number
                return [SetTimer(LEASE_TIMERS[period], self.duration_ns)]
        return []

    def confirm(self, is_confirmed: Callable[[int], bool]) -> None:
        """A confirmation came: hold each period whose round has every quorum that it needs."""
        for period in (0, 1):
            if self._states[period] == ASKED and is_confirmed(self._rounds[period]):
                self._states[period] = HELD

    def end(self, name: str) -> None:
        """A period is over, whether it was earned or not."""
        self._states[LEASE_TIMERS.index(name)] = FREE

    def revoke(self) -> None:
        """Give up all periods: leadership was lost, or other acceptors count from now on."""
        self._states = [FREE, FREE]
