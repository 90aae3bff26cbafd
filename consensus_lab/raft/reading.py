"""A node's linearizable reads: gathered into rounds, one under way at a time.

Theory of operation (etcd server, linearizableReadLoop; thesis §6.4).  The first read starts a
round; those that arrive while it is under way wait for the next.  A round's context is unique
over all lives of all nodes, so an answer to an old one confirms nothing.  When the leader has
confirmed a round at some index, its reads are served as soon as that index is applied here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable

from consensus_lab.client import Query, StateMachine
from consensus_lab.node import Effects, NodeId, Reply, SetTimer
from consensus_lab.raft.config import RaftConfig
from consensus_lab.raft.core import RaftCore
from consensus_lab.raft.messages import MsgReadIndex, ReadState


class Reads:
    """The linearizable reads that wait at one node.

    Parameters
    ----------
    node_id : int
    machine : StateMachine
        Answers the reads.
    config : RaftConfig
        For the time after which a round is asked again.
    """

    __slots__ = (
        "_arrived", "_began_ns", "_context", "_machine", "_node_id", "_round", "_rounds",
        "_timer", "confirmed_rounds",
    )  # fmt: skip

    def __init__(self, node_id: NodeId, machine: StateMachine, config: RaftConfig) -> None:
        self._node_id = node_id
        self._machine = machine
        self._timer = SetTimer("read", config.read_retry_ticks * config.tick_ns)
        self._began_ns = 0
        self._rounds = 0
        self._context: Hashable = None  # Of the round under way, if there is one.
        self._round: list[Query] = []
        self._arrived: list[Query] = []
        self.confirmed_rounds: deque[tuple[int, list[Query]]] = deque()

    def begin_life(self, now: int) -> None:
        """The node has started: contexts of this life are told apart by that time."""
        self._began_ns = now

    def add(self, core: RaftCore, query: Query) -> Effects:
        """Take a read; it begins a round, or waits for the next."""
        self._arrived.append(query)
        return self._next_round(core)

    def _next_round(self, core: RaftCore) -> Effects:
        """Begin a round for the reads that have arrived, if none is under way."""
        if self._context is not None or not self._arrived:
            return []
        self._rounds += 1
        self._context = (self._node_id, self._began_ns, self._rounds)
        self._round, self._arrived = self._arrived, []
        return self.ask(core)

    def ask(self, core: RaftCore) -> Effects:
        """Ask for the round under way, if there is one; again when the timer goes off."""
        if self._context is None:
            return []
        core.step(self.message())
        return [self._timer]

    def message(self) -> MsgReadIndex:
        """What asks for the round under way."""
        return MsgReadIndex(self._node_id, 0, self._context)

    def take_states(self, core: RaftCore) -> Effects:
        """Answer what the leader has confirmed, and ask for the reads that have come since."""
        states, core.read_states = core.read_states, []
        for state in states:
            self.confirmed(state)
        return [*self.serve(core.log.applied), *self._next_round(core)]

    def confirmed(self, state: ReadState) -> None:
        """The leader has confirmed a round; answers to earlier rounds mean nothing."""
        if self._context is not None and state.context == self._context:
            self.confirmed_rounds.append((state.index, self._round))
            self._context = None
            self._round = []

    def serve(self, applied: int) -> Effects:
        """Answer the reads whose index is applied."""
        effects: Effects = []
        rounds = self.confirmed_rounds
        while rounds and rounds[0][0] <= applied:
            for query in rounds.popleft()[1]:
                effects.append(Reply(query.request_id, self._machine.read(query.query)))
        return effects
