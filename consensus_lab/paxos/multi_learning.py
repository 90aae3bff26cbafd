"""Learning: chosen slots take effect, clients get answers, laggards are brought up to date.

Theory of operation.  A replica learns that a slot is chosen in three ways: it leads and counts the
votes; the leader's `chosen_index` passes a slot that it accepted under the same ballot; or somebody
tells it the value (a Promise, Learn, or InstallSnapshot).  Whatever the way, `advance` does the
rest.
"""

from __future__ import annotations

from consensus_lab.node import Effects, NodeId, Send
from consensus_lab.paxos.multi_election import ask_for_promises, count_promise
from consensus_lab.paxos.multi_messages import (
    Accept,
    Accepted,
    Answer,
    Ballot,
    CatchUp,
    Heartbeat,
    InstallSnapshot,
    Learn,
    Promise,
    Slot,
)
from consensus_lab.paxos.multi_proposing import count_accepted, on_accept, propose
from consensus_lab.paxos.multi_rounds import leave_if_removed, on_heartbeat, serve_reads
from consensus_lab.paxos.multi_state import LEADER, State

CATCH_UP_PAUSE_MAX = 63
"""Most heartbeats between two questions for the same slot."""


def advance(state: State) -> Effects:
    """Let chosen slots take effect, answer clients, and go on with what that makes possible."""
    effects = _take_effect(state)
    if state.role != LEADER:
        return effects
    while (index := state.own.chosen_prefix(state.log.chosen_index)) > state.log.chosen_index:
        # Batches behind a slot that was learned from others were chosen before.
        state.log.choose(state.own.ballot, index)
        effects += _take_effect(state)
        if state.role != LEADER:
            return effects
    return [*effects, *propose(state), *serve_reads(state)]


def _take_effect(state: State) -> Effects:
    replica, own = state.replica, state.leadership
    eras_before = len(replica.eras)
    outcome = replica.advance()
    effects = outcome.effects
    for request_id, result in outcome.results:
        effects += state.clients.answer(request_id, result)
        if own is not None and (origin := own.forget_request(request_id)) is not None:
            effects.append(Send(origin, Answer(request_id, result)))
    if len(replica.eras) > 1 or eras_before > 1:
        effects += _eras_moved(state, grew=len(replica.eras) > eras_before)
    return effects


def _eras_moved(state: State, *, grew: bool) -> Effects:
    """New acceptors are asked for their promise; until then nothing old proves one's lead."""
    eras, own = state.replica.eras, state.leadership
    is_over = eras.forget_before(state.log.chosen_index + 1)
    if own is None:
        return []
    if grew:
        state.lease.revoke()
        state.fill_window()
    effects = ask_for_promises(state)
    if is_over and state.role == LEADER:
        effects += leave_if_removed(state)
    return effects


def learn_chosen(state: State, ballot: Ballot, index: Slot) -> Effects:
    """The leader of that ballot says that slots up to `index` are chosen."""
    return advance(state) if state.log.choose(ballot, index) else []


def receive_accept(state: State, sender: NodeId, message: Accept) -> Effects:
    """Phase 2b, and what is chosen by now."""
    effects = on_accept(state, sender, message)
    if message.ballot < state.log.promised:
        return effects
    return effects + learn_chosen(state, message.ballot, message.chosen_index)


def receive_accepted(state: State, sender: NodeId, message: Accepted) -> Effects:
    """A vote; with the last one that was missing the slot takes effect."""
    return advance(state) if count_accepted(state, sender, message) else []


def receive_promise(state: State, sender: NodeId, message: Promise) -> Effects:
    """A promise, and what its sender knows to be chosen."""
    if not count_promise(state, message, sender):
        return []
    effects: Effects = []
    known = tuple(e for slot, e in message.entries if slot <= message.chosen_index)
    if known:
        effects += state.replica.learn(message.entries[0][0], known)
        effects += advance(state)
    if state.leadership is None:
        return effects
    effects += ask_for_promises(state)
    return [*effects, *propose(state), *serve_reads(state)] if state.role == LEADER else effects


def receive_heartbeat(state: State, sender: NodeId, message: Heartbeat) -> Effects:
    """The leader lives; learn what is chosen, ask for what is missing."""
    is_current = message.ballot >= state.highest_ballot
    effects = on_heartbeat(state, sender, message)
    if not is_current:
        return effects
    effects += learn_chosen(state, message.ballot, message.chosen_index)
    if state.log.chosen_index >= message.chosen_index or _must_wait_for_answer(state):
        return effects
    return effects + _ask_for_more(state, sender, message.chosen_index)


def _ask_for_more(state: State, who: NodeId, chosen_index: Slot) -> Effects:
    if state.log.chosen_index >= chosen_index:
        return []
    return [Send(who, CatchUp(state.log.chosen_index + 1))]


def _must_wait_for_answer(state: State) -> bool:
    """True while an earlier question may still be answered: a snapshot takes its time.

    The pause doubles with each question for the same slot, so a large snapshot on a slow line is
    not sent again and again.
    """
    first_slot = state.log.chosen_index + 1
    if first_slot != state.catch_up_slot:
        state.catch_up_slot, state.catch_up_pause, state.catch_up_left = first_slot, 1, 0
    if state.catch_up_left > 0:
        state.catch_up_left -= 1
        return True
    state.catch_up_left = state.catch_up_pause
    state.catch_up_pause = min(2 * state.catch_up_pause + 1, CATCH_UP_PAUSE_MAX)
    return False


def on_catch_up(state: State, sender: NodeId, message: CatchUp) -> Effects:
    """Tell a laggard what is chosen; tell who is no acceptor who leads, for its clients."""
    effects = state.replica.bring_up_to_date(sender, message.first_slot)
    if state.role == LEADER and sender not in state.replica.eras.members:
        own = state.own
        effects.append(Send(sender, Heartbeat(own.ballot, own.round, state.log.chosen_index)))
    return effects


def on_learn(state: State, sender: NodeId, message: Learn) -> Effects:
    """Chosen values from another replica; ask for the next ones if there are more."""
    before = state.log.chosen_index
    effects = state.replica.learn(message.first_slot, message.entries)
    if state.log.chosen_index == before:
        return []
    effects += advance(state)
    return effects + _ask_for_more(state, sender, message.chosen_index)


def on_install_snapshot(state: State, sender: NodeId, message: InstallSnapshot) -> Effects:
    """The outcome of slots that are trimmed elsewhere."""
    effects = state.replica.install(message.snapshot)
    if not effects:
        return []
    if state.leadership is not None:
        effects += state.step_down("others know more")
    sessions = state.replica.sessions
    for operation in state.clients.waiting():
        if operation.request_id in sessions:
            result = sessions.result(operation.request_id)
            effects += state.clients.answer(operation.request_id, result)
    effects += advance(state)
    return [*effects, Send(sender, CatchUp(state.log.chosen_index + 1))]


def on_answer(state: State, sender: NodeId, message: Answer) -> Effects:
    """The leader's result for an operation that this replica forwarded."""
    return state.clients.answer(message.request_id, message.result)


