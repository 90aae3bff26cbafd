"""Electing a leader: by silence, a probe, and phase 1 for all slots at once.

Theory of operation (Paxos Made Simple §2.4 and §3).  A follower that hears no leader for a random
time between one and two election timeouts first *probes*: would a phase-1 quorum promise?  Nobody
who heard a leader within an election timeout says yes, so a replica that comes back from a
partition unseats nobody (the Raft dissertation §9.6 calls this pre-vote).  Then it takes a ballot
above all that it has seen, puts it on disk, and sends Prepare.  A phase-1 quorum of promises in
every open era makes it leader.

The ballot is on disk before anybody hears of it.  Otherwise a candidate could crash, come back,
and begin the same ballot again with other values.

Two leaders at once are safe: the one with the lower ballot gets nothing more chosen.  Random
timers make that rare; they are all that stands against the livelock of duelling proposers.

An acceptor that is asked by a candidate that lags far behind brings it up to date instead of
promising.  So a Promise never carries more than `learn_count_max` chosen slots and a window.
"""

from __future__ import annotations

from consensus_lab.node import CancelTimer, Effects, NodeId, Note, Send, SetTimer
from consensus_lab.paxos.multi_messages import (
    Ballot,
    CatchUp,
    Prepare,
    Probe,
    ProbeReply,
    Promise,
    Reject,
    entries_size_bytes,
)
from consensus_lab.paxos.multi_proposing import operate, propose
from consensus_lab.paxos.multi_rounds import beat, heartbeat_timer
from consensus_lab.paxos.multi_state import CANDIDATE, ELECTION, LEADER, QUORUM, State


def on_election_timer(state: State, name: str) -> Effects:
    """No leader was heard: probe, or stand at once."""
    if state.role == LEADER:
        return []
    first_slot = state.log.chosen_index + 1
    effects = state.step_down("election timeout")
    state.leader_id = None
    if state.node_id not in state.replica.eras.at(first_slot).acceptors:
        # Not an acceptor, or not any more, or not to one's knowledge: find out.
        return [*effects, *state.to_others(CatchUp(first_slot))]
    if state.is_granting:
        return effects
    ballot = state.next_ballot()
    if not state.parameters.pre_vote:
        return effects + campaign(state, ballot)
    state.probe, state.probe_granted = ballot, set()
    effects += state.to_others(Probe(ballot, first_slot))
    return effects + on_probe_reply(state, state.node_id, ProbeReply(ballot))


def on_probe(state: State, sender: NodeId, message: Probe) -> Effects:
    """Say whether one would promise; changes nothing here, but helps a laggard."""
    replica, promised = state.replica, state.log.promised
    effects = replica.bring_up_to_date(sender, message.first_slot)
    if message.ballot <= promised:
        return [*effects, Send(sender, Reject(message.ballot, promised))]
    if state.hears_leader or replica.lags_too_far(message.first_slot):
        return effects
    return [*effects, Send(sender, ProbeReply(message.ballot))]


def on_probe_reply(state: State, sender: NodeId, message: ProbeReply) -> Effects:
    """Somebody would promise; with a phase-1 quorum of them stand."""
    if state.probe is None or message.ballot != state.probe:
        return []
    state.probe_granted.add(sender)
    for _, quorums in state.replica.eras.all():
        if not quorums.phase1.is_quorum(state.probe_granted.intersection(quorums.acceptors)):
            return []
    return campaign(state, state.probe)


def campaign(state: State, ballot: Ballot) -> Effects:
    """Begin a ballot: phase 1a."""
    state.stand(ballot)
    writes = state.replica.save(state.log.promise(ballot))
    effects: Effects = [Note("candidate", ballot), *writes, heartbeat_timer(state)]
    return effects + ask_for_promises(state)


def ask_for_promises(state: State) -> Effects:
    """Send Prepare to acceptors that were not asked yet; lead when phase 1 is complete."""
    own, eras = state.own, state.replica.eras
    new = [member for member in eras.members if member not in own.asked]
    own.asked.update(new)
    prepare = Prepare(own.ballot, state.log.chosen_index + 1)
    effects: Effects = [Send(member, prepare) for member in new]
    if state.role == CANDIDATE and not own.unprepared(eras):
        effects += _lead(state)
    return effects


def on_prepare(state: State, sender: NodeId, message: Prepare) -> Effects:
    """Phase 1b: promise, unless more was promised, and report what was accepted."""
    log, ballot = state.log, message.ballot
    if ballot < log.promised:
        return [Send(sender, Reject(ballot, log.promised))]
    if state.replica.lags_too_far(message.first_slot):
        return state.replica.bring_up_to_date(sender, message.first_slot)
    effects: Effects = []
    if ballot > log.promised:
        if _is_bound_by_lease(state, ballot):
            return []
        effects = state.step_down("promised another")
        effects += state.replica.save(log.promise(ballot))
    entries = log.entries_from(message.first_slot)
    size = entries_size_bytes(tuple(entry.value for _, entry in entries))
    return [*effects, Send(sender, Promise(ballot, entries, log.chosen_index, size))]


def _is_bound_by_lease(state: State, ballot: Ballot) -> bool:
    """Having granted a lease, nobody but its holder gets a promise (`multi_lease`)."""
    if not (state.parameters.leader_lease and state.is_granting):
        return False
    return ballot.leader != state.leader_id


def count_promise(state: State, message: Promise, sender: NodeId) -> bool:
    """Merge a promise for one's own ballot, also a late one; False for any other."""
    own = state.leadership
    if own is None or message.ballot != own.ballot:
        return False
    own.count_promise(sender, message.entries)
    return True


def on_reject(state: State, sender: NodeId, message: Reject) -> Effects:
    """Somebody promised more: remember how much, and give up a lower ballot."""
    state.number_seen = max(state.number_seen, message.promised.number)
    own = state.leadership
    if own is None or message.ballot != own.ballot or message.promised <= own.ballot:
        return []
    return state.step_down("rejected")


def _lead(state: State) -> Effects:
    """Phase 1 is complete: announce it, take up what was recovered and what clients wait for."""
    state.take_lead()
    effects: Effects = [Note("leader", state.own.ballot), CancelTimer(ELECTION)]
    if state.parameters.check_quorum:
        effects.append(SetTimer(QUORUM, state.parameters.election_timeout_ns))
    effects += beat(state)
    for operation in state.clients.waiting():
        effects += operate(state, operation, state.node_id)
    return effects + propose(state)
