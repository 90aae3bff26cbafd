"""Linearizable reads without writing to the log.

Theory of operation (thesis §6.4; etcd-io/raft `read_only.go`).  A read must see every write that
was answered before it began.  The leader notes its commit index when the read arrives, makes sure
that it still is the leader, and the read may be served by whoever has applied up to that index.
It makes sure either by a round of heartbeats that a quorum answers, or by its lease, if a quorum
has answered within the election timeout and clocks can be trusted.

A new leader does not know the commit index before it has committed an entry of its own term
(Raft §8), so reads wait until then.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from consensus_lab.node import NodeId
from consensus_lab.raft.config import ReadMode
from consensus_lab.raft.entries import NONE
from consensus_lab.raft.messages import MsgReadIndex, MsgReadIndexResp, ReadState
from consensus_lab.raft.quorum import WON, joint_vote
from consensus_lab.raft.sending import broadcast_heartbeat

if TYPE_CHECKING:
    from consensus_lab.raft.core import RaftCore


class _Round:
    """One read request and who has confirmed the leader since."""

    __slots__ = ("acks", "index", "request")

    def __init__(self, request: MsgReadIndex, index: int) -> None:
        self.request = request
        self.index = index
        self.acks: dict[NodeId, bool] = {}


class ReadOnly:
    """Reads that wait for a quorum, oldest first."""

    __slots__ = ("rounds",)

    def __init__(self) -> None:
        self.rounds: dict[Hashable, _Round] = {}

    def last_context(self) -> Hashable:
        """The newest read's context: a heartbeat that carries it confirms all older ones too."""
        return next(reversed(self.rounds)) if self.rounds else None

    def add(self, request: MsgReadIndex, index: int) -> None:
        """Queue a read that arrived when the commit index was `index`; a repeated one is known."""
        if request.context not in self.rounds:
            self.rounds[request.context] = _Round(request, index)

    def acks(self, sender: NodeId, context: Hashable) -> dict[NodeId, bool]:
        """Who has confirmed that read, `sender` now among them; empty for an unknown read."""
        waiting = self.rounds.get(context)
        if waiting is None:
            return {}
        waiting.acks[sender] = True
        return waiting.acks

    def advance(self, context: Hashable) -> list[_Round]:
        """Take out that read and all older ones."""
        done: list[_Round] = []
        if context in self.rounds:
            for older in tuple(self.rounds):
                done.append(self.rounds.pop(older))
                if older == context:
                    break
        return done


def _has_committed_in_term(core: RaftCore) -> bool:
    return core.log.term(core.log.committed) == core.term


def request(core: RaftCore, message: MsgReadIndex) -> None:
    """The leader takes a read request, its own or a follower's."""
    if not _has_committed_in_term(core):
        core.pending_reads.append(message)
    elif core.configuration.is_singleton:
        _answer(core, message, core.log.committed)
    else:
        _begin(core, message)


def release_pending(core: RaftCore) -> None:
    """The first entry of the term is committed: take the reads that waited for it."""
    if core.pending_reads and _has_committed_in_term(core):
        waiting, core.pending_reads = core.pending_reads, []
        for message in waiting:
            request(core, message)


def _begin(core: RaftCore, message: MsgReadIndex) -> None:
    if core.config.read_mode is ReadMode.LEASE:
        _answer(core, message, core.log.committed)
        return
    core.read_only.add(message, core.log.committed)
    core.read_only.acks(core.node_id, message.context)
    broadcast_heartbeat(core, message.context)


def acknowledge(core: RaftCore, sender: NodeId, context: Hashable) -> None:
    """A follower has confirmed the leader; with a quorum the reads up to there are answered."""
    if core.config.read_mode is ReadMode.LEASE:
        return
    acks = core.read_only.acks(sender, context)
    configuration = core.configuration
    if joint_vote(configuration.voters, configuration.outgoing, acks) is WON:
        for done in core.read_only.advance(context):
            _answer(core, done.request, done.index)


def _answer(core: RaftCore, message: MsgReadIndex, index: int) -> None:
    if message.sender in (NONE, core.node_id):
        core.read_states.append(ReadState(index, message.context))
        core.has_changed = True
    else:
        response = MsgReadIndexResp(core.node_id, core.term, index, message.context)
        core.send(message.sender, response)


def forward(core: RaftCore, message: MsgReadIndex) -> None:
    """A follower asks the leader on the reader's behalf; without a leader the read is lost."""
    if core.lead != NONE:
        sender = message.sender or core.node_id
        core.send(core.lead, message._replace(sender=sender))


def response(core: RaftCore, message: MsgReadIndexResp) -> None:
    """The leader has answered a read that came in here."""
    core.read_states.append(ReadState(message.index, message.context))
    core.has_changed = True


FOLLOWER = ((MsgReadIndex, forward), (MsgReadIndexResp, response))
LEADER = ((MsgReadIndex, request),)
