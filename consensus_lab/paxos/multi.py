"""Multi-Paxos: a replicated log whose every slot is one instance of Paxos.

Rules of this file: the Node contract and the dispatch of inputs, nothing else.

Theory of operation (Paxos Made Simple §3; Paxos Made Moderately Complex; the essay's paragraph on
Multi-Paxos).  Every replica is acceptor and learner of every slot, and proposer while it leads.

    Who leads       heartbeats, probes, and phase 1 for all slots at once    multi_election
    Steady state    a command is sent in an Accept to the acceptors, and is chosen when a phase-2
                    quorum has it on disk: two message delays at the leader, four for a client
                    elsewhere, 2(n-1) messages; what is chosen rides on the next Accept or
                    Heartbeat                                                 multi_proposing
    Bookkeeping     promises, no-ops for gaps, batches and the pipeline      multi_leader
    The acceptor    what is promised and accepted, on disk                   multi_log
    Chosen slots    take effect in order, once; snapshots; laggards          multi_replica,
                                                                             multi_learning
    New acceptors   a window of slots after the command that names them      multi_eras
    Reads           without a slot: a confirmed round, or a lease            multi_reads,
                                                                             multi_rounds,
                                                                             multi_lease
    Clients         any replica takes an operation and sends it on           multi_clients

With no leader nothing is chosen; with two, the one with the lower ballot gets nothing chosen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from consensus_lab.node import Effects, Message, NodeId, Note, Persist, ProtocolViolation, Send
from consensus_lab.paxos.multi_election import (
    on_election_timer,
    on_prepare,
    on_probe,
    on_probe_reply,
    on_reject,
)
from consensus_lab.paxos.multi_learning import (
    advance,
    on_answer,
    on_catch_up,
    on_install_snapshot,
    on_learn,
    receive_accept,
    receive_accepted,
    receive_heartbeat,
    receive_promise,
)
from consensus_lab.paxos.multi_lease import LEASE_TIMERS
from consensus_lab.paxos.multi_messages import (
    Accept,
    Accepted,
    Answer,
    CatchUp,
    Forward,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    Learn,
    Operation,
    Prepare,
    Probe,
    ProbeReply,
    Promise,
    Reject,
)
from consensus_lab.paxos.multi_proposing import on_batch_timer, operate, resend_overdue
from consensus_lab.paxos.multi_rounds import (
    ask_again,
    beat,
    heartbeat_timer,
    on_heartbeat_reply,
    on_quorum_timer,
)
from consensus_lab.paxos.multi_state import (
    BATCH,
    ELECTION,
    GRANT,
    HEARTBEAT,
    LEADER,
    QUORUM,
    State,
)

STARTED = "started"
"""Key on disk: this replica ran before, and may have granted a lease that it forgot."""


class MultiPaxosNode(State):
    """One replica, as a Node; what it knows is described in `multi_state.State`.

    Parameters
    ----------
    node_id : int
        Its identity, also within ballots.
    disk : mapping
        What survived; empty at the first start.
    parameters : MultiPaxosParameters
        The same for every replica.
    machine : StateMachine
        A fresh one; commands take effect on it in slot order.
    source : RandomSource
        For election timeouts, as `random.Random`.

    Examples
    --------
    >>> import random
    >>> from consensus_lab.client import Request
    >>> from consensus_lab.kv import KeyValueStore, Put
    >>> from consensus_lab.paxos.multi_parameters import MultiPaxosParameters
    >>> from consensus_lab.paxos.quorum import Quorums
    >>> from consensus_lab.sim.engine import Engine
    >>> parameters = MultiPaxosParameters(Quorums((1, 2, 3)))
    >>> engine = Engine(lambda node_id, disk: MultiPaxosNode(
    ...     node_id, disk, parameters=parameters, machine=KeyValueStore(),
    ...     source=random.Random(node_id)), (1, 2, 3), seed=1)
    >>> engine.submit(1, Request("first", Put("foo", "bar")))
    >>> engine.on_reply = lambda node_id, reply, now: print(reply)
    >>> _ = engine.run(until_ns=5_000_000_000)
    Reply(request_id='first', result=PutResult(revision=2))
    >>> sorted(node.role for node in engine.nodes.values())
    ['follower', 'follower', 'leader']
    """

    def start(self, now: int) -> Effects:
        """Let what is known to be chosen take effect again, and wait for a leader."""
        effects: Effects = [*advance(self), self.election_timer()]
        if self.parameters.leader_lease:
            if self.is_first_start:
                effects.append(Persist(((STARTED, 1),)))
            else:  # It may have granted a lease just before it went down.
                effects += self.grant()
        return effects

    def receive(self, sender: NodeId, message: Message, now: int) -> Effects:
        """Handle a message; what breaks the rules is noted and dropped."""
        handler = _HANDLERS.get(type(message))
        if handler is None:
            return [Note("violation", f"unknown-message: {type(message).__name__}")]
        try:
            return handler(self, sender, message)
        except ProtocolViolation as violation:
            return [Note("violation", str(violation))]

    def timer(self, name: str, now: int) -> Effects:
        """Handle a timer that went off."""
        return _TIMERS[name](self, name)

    def submit(self, command: Operation, now: int) -> Effects:
        """A client hands in a `Request`, a `Query` or a `Reconfigure`."""
        sessions = self.replica.sessions
        self.clients.add(command)
        if command.request_id in sessions:
            return self.clients.answer(command.request_id, sessions.result(command.request_id))
        if self.role == LEADER:
            return operate(self, command, self.node_id)
        if self.leader_id is None:
            return []  # No progress without a leader; it is sent on when there is one.
        return [Send(self.leader_id, Forward(command))]


def _on_forward(state: State, sender: NodeId, message: Forward) -> Effects:
    """An operation from another replica's client; who no longer leads lets it go by."""
    return operate(state, message.operation, sender) if state.role == LEADER else []


def _on_heartbeat_timer(state: State, name: str) -> Effects:
    """A leader begins a round and repeats what seems lost; a candidate asks again."""
    if state.leadership is None:
        return []
    effects: Effects = [heartbeat_timer(state), *ask_again(state)]
    if state.role == LEADER:
        effects += [*beat(state), *resend_overdue(state)]
    return effects


def _on_grant_timer(state: State, name: str) -> Effects:
    """No heartbeat for an election timeout: others may be helped to lead."""
    state.is_granting = False
    return []


def _on_lease_timer(state: State, name: str) -> Effects:
    """A period of the lease is over."""
    state.lease.end(name)
    return []


_HANDLERS: dict[type, Callable[[State, NodeId, Any], Effects]] = {
    Accept: receive_accept,
    Accepted: receive_accepted,
    Heartbeat: receive_heartbeat,
    HeartbeatReply: on_heartbeat_reply,
    Forward: _on_forward,
    Answer: on_answer,
    Probe: on_probe,
    ProbeReply: on_probe_reply,
    Prepare: on_prepare,
    Promise: receive_promise,
    Reject: on_reject,
    CatchUp: on_catch_up,
    Learn: on_learn,
    InstallSnapshot: on_install_snapshot,
}

_TIMERS: dict[str, Callable[[State, str], Effects]] = {
    ELECTION: on_election_timer,
    HEARTBEAT: _on_heartbeat_timer,
    GRANT: _on_grant_timer,
    QUORUM: on_quorum_timer,
    BATCH: on_batch_timer,
    **dict.fromkeys(LEASE_TIMERS, _on_lease_timer),
}
