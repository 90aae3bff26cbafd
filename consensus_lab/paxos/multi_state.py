"""All that one replica of Multi-Paxos knows, and the switching of its role.

Rules of this file: the role changes in `step_down`, `stand` and `take_lead` only.  What the replica
does with messages stands in the files that import this one: `multi_election` (phase 1),
`multi_proposing` (phase 2), `multi_rounds` (heartbeats and reads), `multi_learning`.
"""

from __future__ import annotations

from typing import Final, Protocol

from consensus_lab.client import StateMachine
from consensus_lab.node import (
    CancelTimer,
    Disk,
    Effects,
    Message,
    NodeId,
    Note,
    Send,
    SetTimer,
)
from consensus_lab.paxos.multi_clients import Clients
from consensus_lab.paxos.multi_leader import Leadership
from consensus_lab.paxos.multi_lease import Lease
from consensus_lab.paxos.multi_messages import NO_BALLOT, Ballot, Forward, Slot
from consensus_lab.paxos.multi_parameters import MultiPaxosParameters
from consensus_lab.paxos.multi_reads import Reads
from consensus_lab.paxos.multi_replica import Replica

FOLLOWER, CANDIDATE, LEADER = "follower", "candidate", "leader"

ELECTION, HEARTBEAT, GRANT, QUORUM, BATCH = "election", "heartbeat", "grant", "quorum", "batch"
"""Timers: no leader heard; time to send heartbeats; an election timeout has passed since the
leader was heard; time to check that a quorum answers; a batch has waited long enough."""


class RandomSource(Protocol):
    """Where randomness comes from, as `random.Random`."""

    def randrange(self, stop: int, /) -> int:
        """An integer from 0 to `stop - 1`."""
        ...


class State:
    """What a replica knows.

    Attributes
    ----------
    replica : Replica
        The log and what it has led to; on disk, as far as it must be.
    role : str
        "follower", "candidate" or "leader".
    leader_id : int or None
        Who is believed to lead.
    leader_ballot : Ballot
        The highest ballot of a leader that was heard.
    number_seen : int
        The highest round of any ballot that was heard of; the next one is above.
    leadership : Leadership or None
        The ballot of one's own, while candidate or leader.
    probe, probe_granted : Ballot or None, set of int
        The ballot that one asks about before beginning it, and who would promise it.
    is_granting : bool
        A leader was heard within the last election timeout.
    is_batch_waiting : bool
        The batch timer runs: commands wait for company.
    catch_up_slot, catch_up_pause, catch_up_left : int
        The slot that was asked for last, the heartbeats to wait before asking for it again, and
        how many of them are left.
    """

    def __init__(
        self,
        node_id: NodeId,
        disk: Disk,
        *,
        parameters: MultiPaxosParameters,
        machine: StateMachine,
        source: RandomSource,
    ) -> None:
        self.node_id = node_id
        self.parameters: Final = parameters
        self.source: Final = source
        self.replica: Final = Replica(disk, parameters=parameters, machine=machine)
        self.log: Final = self.replica.log
        self.clients: Final = Clients(queue_count_max=parameters.queue_count_max)
        self.reads: Final = Reads()
        self.lease: Final = Lease(parameters.lease_duration_ns)
        self.is_first_start = not disk
        self.role = FOLLOWER
        self.leader_id: NodeId | None = None
        self.leader_ballot: Ballot = NO_BALLOT
        self.number_seen = 0
        self.leadership: Leadership | None = None
        self.probe: Ballot | None = None
        self.probe_granted: set[NodeId] = set()
        self.is_granting = False
        self.is_batch_waiting = False
        self.catch_up_slot: Slot = 0
        self.catch_up_pause = 0
        self.catch_up_left = 0

    @property
    def own(self) -> Leadership:
        """The ballot of one's own; only to be asked while there is one."""
        assert self.leadership is not None
        return self.leadership

    @property
    def hears_leader(self) -> bool:
        """True while there is no reason to help another candidate."""
        return self.is_granting or self.role == LEADER

    @property
    def highest_ballot(self) -> Ballot:
        """The highest ballot that was promised, or whose leader was heard."""
        return max(self.log.promised, self.leader_ballot)

    def next_ballot(self) -> Ballot:
        """A ballot of one's own above all that were seen."""
        return Ballot(max(self.number_seen, self.highest_ballot.number) + 1, self.node_id)

    def to_others(self, message: Message) -> Effects:
        """The message for every acceptor of every open era but oneself."""
        return [Send(m, message) for m in self.replica.eras.members if m != self.node_id]

    def election_timer(self) -> SetTimer:
        """Begin to wait for a leader anew, a random time, so that not all candidates coincide."""
        timeout = self.parameters.election_timeout_ns
        return SetTimer(ELECTION, timeout + self.source.randrange(timeout))

    def grant(self) -> Effects:
        """A leader was heard: help nobody else for one election timeout."""
        assert self.probe is None, "To follow a leader is to give up one's own probe."
        self.is_granting = True
        return [SetTimer(GRANT, self.parameters.election_timeout_ns)]

    def stand(self, ballot: Ballot) -> None:
        """Become a candidate with that ballot."""
        assert ballot > self.highest_ballot
        self.probe = None
        self.role = CANDIDATE
        self.leadership = Leadership(ballot, self.parameters)

    def take_lead(self) -> None:
        """Become the leader; the caller knows that phase 1 is complete."""
        assert self.role == CANDIDATE
        self.role = LEADER
        self.leader_id = self.node_id
        self.leader_ballot = self.own.ballot
        self.own.take_lead(self.log.chosen_index)
        self.fill_window()

    def fill_window(self) -> None:
        """Let no-ops fill the slots before the last era, so that it begins now, not some day."""
        last_era_slot, _ = self.replica.eras.all()[-1]
        self.own.fill_up_to = last_era_slot - 1

    def step_down(self, reason: str) -> Effects:
        """Become a follower; what waits here waits for the next leader."""
        self.probe = None
        effects: Effects = [self.election_timer()]
        if self.leadership is None:
            return effects
        effects.append(Note("step-down", (self.leadership.ballot, reason)))
        effects += [CancelTimer(name) for name in (HEARTBEAT, QUORUM, BATCH)]
        self.role = FOLLOWER
        self.leadership = None
        self.leader_id = None
        self.is_batch_waiting = False
        self.lease.revoke()
        self.reads.clear()
        return effects

    def follow(self, ballot: Ballot) -> Effects:
        """A leader was heard; if it is news, hand it what clients wait for."""
        is_known = ballot == self.leader_ballot and self.leader_id is not None
        if is_known or ballot < self.leader_ballot:
            return []
        effects: Effects = [Note("follow", ballot), *self.step_down("another leader")]
        self.leader_ballot = ballot
        self.leader_id = ballot.leader
        forwards = [Send(ballot.leader, Forward(op)) for op in self.clients.waiting()]
        return [*effects, *forwards]
