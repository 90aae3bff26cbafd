"""Linearizable reads without a slot of the log: by confirmation, or by lease.

Rules of this file: bookkeeping only.

Theory of operation (Raft dissertation §6.4; the argument is the same for any leader).  The
leader's state is the latest one when two things hold.

First, it must have caught up with every lower ballot: whatever an earlier leader chose is among
the slots that promises reported, up to `Leadership.read_floor`, provided that the acceptors of the
next slot have been asked (their era is prepared).  So a read waits until the floor has taken
effect.

Second, no higher ballot may have chosen anything before the read came.  A heartbeat round that
begins after the read came, and that a phase-2 quorum of every open era confirms, proves it: each
confirming acceptor had promised nothing higher by then, and every phase-1 quorum needs one of
them.  Reads that come during a round share the next one.  A lease proves it in advance.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from consensus_lab.client import Query
from consensus_lab.node import NodeId


class WaitingRead(NamedTuple):
    """A read that came to the leader, and the round that has to be confirmed for it."""

    query: Query
    origin: NodeId
    round: int


class Reads:
    """Reads that wait, in the order in which they came; their rounds never decrease."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: deque[WaitingRead] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, query: Query, origin: NodeId, number: int) -> None:
        """A read that has to wait for that round."""
        assert not self._waiting or self._waiting[-1].round <= number
        self._waiting.append(WaitingRead(query, origin, number))

    @property
    def next_round(self) -> int | None:
        """The round that the first waiting read needs."""
        return self._waiting[0].round if self._waiting else None

    @property
    def last_round(self) -> int | None:
        """The round that the last waiting read needs."""
        return self._waiting[-1].round if self._waiting else None

    def take(self, confirmed_round: int) -> list[WaitingRead]:
        """Remove and return the reads whose round is confirmed."""
        ready: list[WaitingRead] = []
        while self._waiting and self._waiting[0].round <= confirmed_round:
            ready.append(self._waiting.popleft())
        return ready

    def clear(self) -> None:
        """Leadership was lost; whoever handed the reads in sends them to the next leader."""
        self._waiting.clear()
