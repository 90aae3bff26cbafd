"""Who is the distinguished proposer: the lowest-numbered proposer that shows signs of life.

Theory of operation (Paxos Made Simple §2.4).  Agreement needs no leader: with none, or with
several, no two values are chosen.  Progress does: a single proposer that nobody overtakes gets
its proposal chosen.  By the result of Fischer, Lynch and Patterson an election has to use
randomness or real time; this one uses time.  Each proposer says every so often that it is alive;
who was not heard for the timeout is taken for dead until heard again.  A new proposer counts as
alive at first, so that a start does not begin with everybody leading.

The timeout must exceed the interval by more than a message takes, else live ones seem dead.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from consensus_lab.node import Effects, NodeId, Note, ParameterError, Send, SetTimer
from consensus_lab.paxos.messages import Alive

ALIVE_TIMER = "alive"
SILENT_TIMER_PREFIX = "silent:"


class Timing(NamedTuple):
    """How often proposers show that they live, and when they count as dead.

    Attributes
    ----------
    interval_ns : int
        Between two signs of life.
    timeout_ns : int
        Of silence, after which a proposer is taken for dead.
    """

    interval_ns: int
    timeout_ns: int

    def validated(self) -> Timing:
        """This timing, or a `ParameterError` naming what is wrong with it."""
        if self.interval_ns <= 0:
            raise ParameterError("interval_ns", self.interval_ns, "above 0 nanoseconds")
        if self.timeout_ns <= self.interval_ns:
            raise ParameterError("timeout_ns", self.timeout_ns, "above interval_ns")
        return self


class Election:
    """One proposer's opinion of who leads.

    Attributes
    ----------
    leader : int
        The lowest id among oneself and those not taken for dead.
    """

    def __init__(self, node_id: NodeId, proposers: Iterable[NodeId], timing: Timing) -> None:
        self.node_id = node_id
        self.peers = tuple(peer for peer in sorted(proposers) if peer != node_id)
        self.timing = timing
        self.alive = frozenset(self.peers)
        self.leader = min(self.alive | {node_id})

    def start(self) -> Effects:
        """Show oneself, and begin to listen for silence."""
        listening: Effects = [self._expect(peer) for peer in self.peers]
        return [*self.show(), *listening]

    def show(self) -> Effects:
        """Tell the other proposers that this one is alive."""
        timer = SetTimer(ALIVE_TIMER, self.timing.interval_ns)
        return [timer, *(Send(peer, Alive()) for peer in self.peers)]

    def on_alive(self, sender: NodeId) -> Effects:
        """A peer lives."""
        if sender not in self.peers:
            return []
        self.alive |= {sender}
        return [*self._elect(), self._expect(sender)]

    def on_timer(self, name: str) -> Effects:
        """Time to show oneself, or a peer was silent for too long."""
        if name == ALIVE_TIMER:
            return self.show()
        assert name.startswith(SILENT_TIMER_PREFIX)
        self.alive -= {int(name.removeprefix(SILENT_TIMER_PREFIX))}
        return self._elect()

    def _expect(self, peer: NodeId) -> SetTimer:
        return SetTimer(f"{SILENT_TIMER_PREFIX}{int(peer)}", self.timing.timeout_ns)

    def _elect(self) -> Effects:
        leader = min(self.alive | {self.node_id})
        if leader == self.leader:
            return []
        self.leader = leader
        return [Note("leader", leader)]
