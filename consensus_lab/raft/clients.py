"""The clients that wait at a node: what they proposed, and how they hear of it.

Theory of operation.  A proposal goes to the core, which takes it or passes it on to the leader;
while no leader is known it is kept, as etcd's server does.  Whoever took it from the client
answers it, when the entry is applied there.  What is refused at once is answered at once; a
membership change that the leader put an empty entry for is reported back to where it came from.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable

from consensus_lab.client import Refused, Sessions
from consensus_lab.node import Effects, NodeId, Reply, Send, SetTimer
from consensus_lab.raft.config import RaftConfig
from consensus_lab.raft.core import RaftCore
from consensus_lab.raft.entries import (
    NONE,
    NORMAL,
    ConfChange,
    Entry,
    EntryType,
    conf_change_of,
    proposed,
)
from consensus_lab.raft.membership import MembershipError
from consensus_lab.raft.messages import MsgProp, MsgPropRefused, MsgTransferLeader, ProposalDropped
from consensus_lab.raft.requests import TransferLeadership

PROPOSALS_WAITING_MAX = 100_000
"""Commands that a node holds while it knows no leader; more are refused as "busy"."""


class Clients:
    """Requests that wait at one node.

    Attributes
    ----------
    waiting : dict
        Identities of the requests to answer when they are applied.
    queue : deque of Entry
        Proposals that wait until a leader is known.
    """

    __slots__ = ("_node_id", "_transfer", "_transfer_timer", "queue", "waiting")

    def __init__(self, node_id: NodeId, config: RaftConfig) -> None:
        self._node_id = node_id
        # A transfer has one election timeout (thesis §3.10), and the new leader's election.
        self._transfer_timer = SetTimer("transfer", 2 * config.election_tick * config.tick_ns)
        self._transfer: TransferLeadership | None = None
        self.waiting: dict[Hashable, None] = {}
        self.queue: deque[Entry] = deque()

    def propose(self, core: RaftCore, request_id: Hashable, entry: Entry) -> Effects:
        """Hand an entry to the core, or keep it; an answer when it is refused."""
        if core.lead == NONE:
            if len(self.queue) >= PROPOSALS_WAITING_MAX:
                return [Reply(request_id, Refused("busy", "no leader is known"))]
            self.queue.append(entry)
            self.waiting[request_id] = None
            return []
        self.waiting[request_id] = None
        try:
            core.step(MsgProp(self._node_id, 0, (entry,)))
        except ProposalDropped as dropped:
            del self.waiting[request_id]
            return [Reply(request_id, Refused(dropped.rule, dropped.detail))]
        return []

    def lead_known(self, core: RaftCore) -> Effects:
        """A leader is known: propose what has waited for one; a transfer to it has succeeded."""
        effects: Effects = []
        if self._transfer is not None and core.lead == self._transfer.transferee:
            effects.append(Reply(self._transfer.request_id, core.lead))
            self._transfer = None
        if self.queue:
            queue, self.queue = self.queue, deque()
            for entry in queue:
                effects.extend(self.propose(core, _request_id(entry), entry))
        return effects

    def begin_transfer(self, core: RaftCore, request: TransferLeadership) -> Effects:
        """Ask the leader to hand over; the answer comes when it has, or when time is up."""
        request_id, transferee = request
        if core.lead == NONE:
            return [Reply(request_id, Refused("etcdserver: no leader"))]
        if transferee not in core.voters:
            return [Reply(request_id, Refused("etcdserver: bad leader transferee"))]
        if core.lead == transferee:
            return [Reply(request_id, transferee)]
        effects = self.end_transfer()
        self._transfer = request
        core.step(MsgTransferLeader(self._node_id, 0, transferee))
        return [*effects, self._transfer_timer]

    def end_transfer(self) -> Effects:
        """Time is up, or another transfer is asked for."""
        if self._transfer is None:
            return []
        request_id, self._transfer = self._transfer.request_id, None
        refusal = "etcdserver: request timed out, leader transfer took too long"
        return [Reply(request_id, Refused(refusal))]

    def answer_restored(self, sessions: Sessions) -> Effects:
        """A snapshot has replaced the state: answer what took effect in it."""
        effects: Effects = []
        for request_id in tuple(self.waiting):
            if request_id in sessions:
                effects.extend(self.answer(request_id, sessions.result(request_id)))
        return effects

    def propose_change(self, core: RaftCore, request_id: Hashable, change: ConfChange) -> Effects:
        """Propose a membership change; a leader that knows the present one checks it first.

        A follower cannot: its membership may be old.  What is impossible when it is applied
        changes nothing and is answered as refused then.
        """
        change = change._replace(context=request_id)
        if core.is_leader and core.pending_conf_index <= core.log.applied:
            try:
                core.changer().change(change)
            except MembershipError as error:
                return [Reply(request_id, Refused(error.rule))]
        return self.propose(core, request_id, proposed(change, EntryType.CONF_CHANGE_V2))

    def answer(self, request_id: Hashable, result: object) -> Effects:
        """The answer, if a client waits for it here."""
        if request_id not in self.waiting:
            return []
        del self.waiting[request_id]
        return [Reply(request_id, result)]

    def tell_refused(self, core: RaftCore) -> Effects:
        """Say who proposed a membership change that this leader put an empty entry for."""
        refused, core.refused = core.refused, []
        effects: Effects = []
        for origin, entry, reason in refused:
            request_id = conf_change_of(entry).context
            if origin == self._node_id:
                effects.extend(self.answer(request_id, Refused(reason)))
            else:
                notice = MsgPropRefused(self._node_id, 0, request_id, reason)
                effects.append(Send(origin, notice))
        return effects


def _request_id(entry: Entry) -> Hashable:
    """The request that an entry stands for."""
    data = entry.data
    identity: Hashable = data.context if entry.type is not NORMAL else data.request_id
    return identity
