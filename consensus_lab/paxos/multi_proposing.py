"""Phase 2: client commands into slots, slots to the acceptors, votes counted.

Theory of operation (Paxos Made Simple §2.2 phase 2, §3).  The leader checks a command before it
proposes it: what breaks a limit is refused and costs no slot.  The Accept goes to the others
before the leader's own disk is done; the leader's own vote counts once it is.  Two message delays
after it came, the command is chosen.

A Reconfigure is refused while another one is under way: each names the whole new membership, so
the second would undo the first.  (Two can still follow each other closely after a change of
leader; `multi_eras` gives each its own era.)
"""

from __future__ import annotations

from consensus_lab.client import Query, Refused, Request
from consensus_lab.node import Effects, NodeId, Persist, ProtocolViolation, Send, SetTimer
from consensus_lab.paxos.multi_leader import Batch
from consensus_lab.paxos.multi_messages import (
    Accept,
    Accepted,
    Answer,
    Operation,
    Reconfigure,
    Reject,
)
from consensus_lab.paxos.multi_parameters import MEMBERS_MAX
from consensus_lab.paxos.multi_rounds import add_read
from consensus_lab.paxos.multi_state import BATCH, LEADER, State

RESENT_BATCHES_MAX = 64
"""Most Accept messages that one heartbeat sends again."""


def operate(state: State, operation: Operation, origin: NodeId) -> Effects:
    """The leader takes an operation in, its own client's or a forwarded one."""
    if isinstance(operation, Query):
        return add_read(state, operation, origin)
    request_id, own = operation.request_id, state.own
    sessions = state.replica.sessions
    if request_id in sessions:
        return answer(state, operation, origin, sessions.result(request_id))
    if origin != state.node_id:
        own.origins[request_id] = origin
    if request_id in own.under_way:
        return []
    try:
        _check(state, operation)
    except ProtocolViolation as violation:
        own.origins.pop(request_id, None)
        return answer(state, operation, origin, Refused(violation.rule, violation.detail))
    own.enqueue(operation)
    return _send_or_wait(state)


def answer(state: State, operation: Operation, origin: NodeId, result: object) -> Effects:
    """The result to where the operation came from."""
    if origin == state.node_id:
        return state.clients.answer(operation.request_id, result)
    return [Send(origin, Answer(operation.request_id, result))]


def _check(state: State, operation: Request | Reconfigure) -> None:
    """Raise `ProtocolViolation` for what must not be proposed."""
    if len(state.own.queue) >= state.parameters.queue_count_max:
        raise ProtocolViolation("busy", f"{len(state.own.queue)} commands wait")
    if isinstance(operation, Request):
        state.replica.machine.check(operation.command)
    elif len(operation.quorums.acceptors) > MEMBERS_MAX:
        raise ProtocolViolation("too-many-acceptors", f"at most {MEMBERS_MAX}")
    elif len(state.replica.eras) > 1 or _has_reconfiguration_under_way(state):
        raise ProtocolViolation("reconfiguration-under-way", "try again when it is in effect")


def _has_reconfiguration_under_way(state: State) -> bool:
    own = state.own
    values = [*own.queue, *(entry.value for entry in own.recovered.values())]
    for batch in own.batches.values():
        values += batch.message.values
    return any(isinstance(value, Reconfigure) for value in values)


def _send_or_wait(state: State) -> Effects:
    """Propose at once, or let the command wait for company."""
    delay_ns = state.parameters.batch_delay_ns
    if delay_ns == 0 or state.is_batch_waiting:
        return propose(state)
    state.is_batch_waiting = True
    return [SetTimer(BATCH, delay_ns)]


def on_batch_timer(state: State, name: str) -> Effects:
    """The batch has waited long enough."""
    state.is_batch_waiting = False
    return propose(state) if state.role == LEADER else []


def propose(state: State) -> Effects:
    """Fill open slots and send them: phase 2a."""
    own, eras = state.own, state.replica.eras
    if state.is_batch_waiting and len(own.queue) < state.parameters.batch_count_max:
        return []
    effects: Effects = []
    while (batch := own.next_batch(state.node_id, eras, state.log.chosen_index)) is not None:
        effects += _send_batch(state, batch)
    return effects


def _send_batch(state: State, batch: Batch) -> Effects:
    message, me = batch.message, state.node_id
    assert state.log.promised == message.ballot, "A leader has promised nothing higher."
    effects: Effects = [Send(a, message) for a in batch.quorums.acceptors if a != me]
    writes = state.log.accept(message.ballot, message.first_slot, message.values)
    effects.append(Persist(tuple(writes), message.size_bytes))
    effects.append(Send(me, Accepted(message.ballot, message.first_slot)))
    return effects


def resend_overdue(state: State) -> Effects:
    """Accept messages that seem lost, to who has not answered; also to oneself, by its disk."""
    effects: Effects = []
    for batch in state.own.overdue(count_max=RESENT_BATCHES_MAX):
        message = batch.message._replace(chosen_index=state.log.chosen_index)
        missing = [a for a in batch.quorums.acceptors if a not in batch.accepted_by]
        effects += [Send(acceptor, message) for acceptor in missing if acceptor != state.node_id]
    return effects


def on_accept(state: State, sender: NodeId, message: Accept) -> Effects:
    """Phase 2b: accept, unless more was promised (P1a).  The caller learns what is chosen."""
    log, ballot = state.log, message.ballot
    if ballot < log.promised:
        return [Send(sender, Reject(ballot, log.promised))]
    if sender != ballot.leader:
        raise ProtocolViolation("accept-by-another", f"{ballot} from {sender}")
    effects = state.follow(ballot)
    assert state.leadership is None or ballot < state.own.ballot, "Nobody else has this ballot."
    writes = log.accept(ballot, message.first_slot, message.values)
    if writes:
        effects.append(Persist(tuple(writes), message.size_bytes))
    effects.append(Send(sender, Accepted(ballot, message.first_slot)))
    return effects


def count_accepted(state: State, sender: NodeId, message: Accepted) -> bool:
    """Count a vote; True when the chosen prefix grew."""
    own = state.leadership
    if own is None or message.ballot != own.ballot:
        return False
    if not own.count_accepted(sender, message.first_slot):
        return False
    index = own.chosen_prefix(state.log.chosen_index)
    state.log.choose(own.ballot, index)
    assert state.log.chosen_index == index, "The leader is an acceptor of every slot it fills."
    return True
