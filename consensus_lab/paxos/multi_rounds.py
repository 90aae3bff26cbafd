"""Heartbeat rounds: the leader shows that it lives, and learns whether it still leads.

Theory of operation.  Every round has a number.  An acceptor confirms a round if it has promised
nothing above the leader's ballot.  A round that a phase-2 quorum of every open era confirmed
proves that no higher ballot had completed phase 1 when the round began: that serves waiting reads
(`multi_reads`) and earns the lease (`multi_lease`).  A leader that nobody confirms for an
election timeout steps down; its clients are better off elsewhere.
"""

from __future__ import annotations

from consensus_lab.client import Query
from consensus_lab.node import Effects, NodeId, Note, ProtocolViolation, Send, SetTimer
from consensus_lab.paxos.multi_leader import has_phase2
from consensus_lab.paxos.multi_messages import Answer, Heartbeat, HeartbeatReply, Prepare, Reject
from consensus_lab.paxos.multi_state import HEARTBEAT, LEADER, QUORUM, State


def beat(state: State) -> Effects:
    """Begin a round: a heartbeat to everybody."""
    own = state.own
    assert state.role == LEADER
    own.round += 1
    own.confirmed_round[state.node_id] = own.round
    effects: Effects = []
    if state.parameters.leader_lease:
        effects += state.lease.ask(own.round)
    effects += state.to_others(Heartbeat(own.ballot, own.round, state.log.chosen_index))
    return effects + _confirmed(state)


def heartbeat_timer(state: State) -> SetTimer:
    """Time until the next round, or until lost Prepare messages are sent again."""
    return SetTimer(HEARTBEAT, state.parameters.heartbeat_interval_ns)


def ask_again(state: State) -> Effects:
    """Send Prepare once more to those whose promise is still needed."""
    prepare = Prepare(state.own.ballot, state.log.chosen_index + 1)
    return [Send(member, prepare) for member in state.own.unprepared(state.replica.eras)]


def on_heartbeat(state: State, sender: NodeId, message: Heartbeat) -> Effects:
    """Follow the leader, grant it time, confirm.  The caller learns what is chosen."""
    ballot = message.ballot
    if ballot < state.highest_ballot:
        return [Send(sender, Reject(ballot, state.highest_ballot))]
    if sender != ballot.leader:
        raise ProtocolViolation("heartbeat-by-another", f"{ballot} from {sender}")
    effects = [*state.follow(ballot), state.election_timer(), *state.grant()]
    reply = HeartbeatReply(ballot, message.round, state.log.chosen_index)
    return [*effects, Send(sender, reply)]


def on_heartbeat_reply(state: State, sender: NodeId, message: HeartbeatReply) -> Effects:
    """Somebody confirms a round."""
    own = state.leadership
    if own is None or message.ballot != own.ballot or state.role != LEADER:
        return []
    own.heard.add(sender)
    own.known_index[sender] = max(own.known_index.get(sender, 0), message.chosen_index)
    own.confirmed_round[sender] = max(own.confirmed_round.get(sender, 0), message.round)
    return [*_confirmed(state), *leave_if_removed(state)]


def _confirmed(state: State) -> Effects:
    """What a confirmation makes possible."""
    own, eras = state.own, state.replica.eras
    state.lease.confirm(lambda number: own.is_round_confirmed(number, eras))
    return serve_reads(state)


def leave_if_removed(state: State) -> Effects:
    """A leader that is no acceptor any more hands over once its successors know who they are."""
    own, eras = state.own, state.replica.eras
    chosen_index = state.log.chosen_index
    successors = eras.at(chosen_index + 1)
    if state.node_id in successors.acceptors:
        return []
    informed = {node for node, index in own.known_index.items() if index >= chosen_index}
    if not successors.phase1.is_quorum(informed.intersection(successors.acceptors)):
        return []
    return [Note("removed", chosen_index), *state.step_down("removed")]


def on_quorum_timer(state: State, name: str) -> Effects:
    """A leader that no quorum answers steps down (Raft calls this check-quorum)."""
    if state.role != LEADER:
        return []
    own, heard = state.own, state.own.heard | {state.node_id}
    if not all(has_phase2(quorums, heard) for _, quorums in state.replica.eras.all()):
        return state.step_down("no quorum answers")
    own.heard = set()
    return [SetTimer(QUORUM, state.parameters.election_timeout_ns)]


# Reads.


def can_read(state: State) -> bool:
    """True when this leader has caught up with every lower ballot (`multi_reads`, first)."""
    own, log = state.own, state.log
    return log.chosen_index >= own.read_floor and own.is_prepared(
        state.replica.eras.at(log.chosen_index + 1)
    )


def add_read(state: State, query: Query, origin: NodeId) -> Effects:
    """The leader takes a read in: answered at once under a lease, else after a round."""
    own = state.own
    if state.lease.is_held and not state.reads and can_read(state):
        return _answer_read(state, query, origin)
    state.reads.add(query, origin, own.round + 1)
    if own.is_round_confirmed(own.round, state.replica.eras):
        return beat(state)
    return []  # It shares the round that begins when the present one is confirmed.


def serve_reads(state: State) -> Effects:
    """Answer the reads that may be answered; begin the round that the others wait for."""
    own, eras, reads = state.own, state.replica.eras, state.reads
    effects: Effects = []
    if not reads or not can_read(state):
        return effects
    while (needed := reads.next_round) is not None:
        if not state.lease.is_held and not own.is_round_confirmed(needed, eras):
            break
        for read in reads.take(needed):
            effects += _answer_read(state, read.query, read.origin)
    last = reads.last_round
    if last is not None and last > own.round and own.is_round_confirmed(own.round, eras):
        effects += beat(state)
    return effects


def _answer_read(state: State, query: Query, origin: NodeId) -> Effects:
    result = state.replica.machine.read(query.query)
    if origin != state.node_id:
        return [Send(origin, Answer(query.request_id, result))]
    return state.clients.answer(query.request_id, result)
