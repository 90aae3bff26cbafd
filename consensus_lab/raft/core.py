"""The Raft state machine: terms, roles, ticks, and who handles which message.

Rules of this file: it holds the state and switches roles, nowhere else; what each message does
stands in `election`, `replication`, `snapshots`, `read_index`, `leadership`,
`reconfiguration` and `storage`, as functions of the core and the message.

Theory of operation (Raft §5, Fig. 2; etcd-io/raft `raft.go`).  Time is cut into terms; each has at
most one leader.  Every message carries its sender's term: a server that sees a higher one adopts
it and becomes a follower; one that sees a lower one mostly ignores the message.  A follower that
hears no leader for its randomized timeout campaigns; a majority of votes makes it leader; the
leader alone appends to its log, replicates it, and commits what a majority has on disk.

The core does no input or output.  `step` takes a message, `tick` lets time pass.  What should
happen then stands in `messages` (may go out at once), in `after_append` (answers and votes: may go
out only when the term, vote and entries that they rest on are durable; those addressed to the
core itself are how it counts its own disk), in the log (to write, to apply) and in `read_states`.
`has_changed` says that there is more than `messages` to look at.

Where this differs from etcd on purpose: a leader that is the only voter answers a read only once
it has committed an entry of its term, like any other leader (thesis §6.4); etcd answers from the
commit index it restarted with, which it had not necessarily written to disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from consensus_lab.node import NodeId, Send
from consensus_lab.raft import (
    election,
    leadership,
    read_index,
    reconfiguration,
    replication,
    sending,
    snapshots,
    storage,
)
from consensus_lab.raft import messages as msg
from consensus_lab.raft.config import RaftConfig
from consensus_lab.raft.entries import (
    EMPTY_HARD_STATE,
    NONE,
    ConfState,
    Entry,
    HardState,
    Snapshot,
    proposed,
)
from consensus_lab.raft.log import RaftLog
from consensus_lab.raft.membership import Changer, Configuration, Membership, restore
from consensus_lab.raft.messages import (
    CANDIDATE,
    FOLLOWER,
    LEADER,
    PRE_CANDIDATE,
    ReadState,
    Role,
    SoftState,
)
from consensus_lab.raft.progress import Inflights, Progress, ProgressMap
from consensus_lab.raft.read_index import ReadOnly


class RandomSource(Protocol):
    """Where randomness comes from: `random.Random` or anything with its `randrange`."""

    def randrange(self, stop: int, /) -> int:
        """A whole number from 0 to stop - 1."""
        ...


def no_snapshot() -> Snapshot | None:
    """There is none."""
    return None


Handler = Callable[["RaftCore", Any], None]


class RaftCore:
    """One server's protocol state.

    Parameters
    ----------
    node_id : int
        At least 1.
    config : RaftConfig
    random_source : RandomSource
        For election timeouts.
    log : RaftLog
        What the disk holds.
    hard_state : HardState
        What the disk holds.
    conf_state : ConfState
        The membership at the last applied entry.
    applied : int
        The last entry that the state machine has already applied.

    Attributes
    ----------
    term, vote, lead, role
        Raft Fig. 2; `lead` is who leads the term, as far as known.
    election_elapsed : int
        Ticks since a leader was heard or a vote given; for a leader since its last check of
        the quorum.
    election_timeout_ticks : int
        This server's randomized timeout.
    lead_transferee : int
        To whom leadership is being handed, or 0.
    pending_conf_index : int
        No membership change beyond this index is in the log; a new one may be proposed only when
        it has been applied.
    messages, after_append : list of Send
        See the module's theory of operation.
    latest_snapshot : callable () -> Snapshot or None
        Asked for a snapshot of the own state machine when a follower needs one; None puts it off.
        Whoever drives the core sets it.
    refused : list of (int, Entry, str)
        Membership changes that this leader put an empty entry in place of: who proposed them, and
        why.
    """

    __slots__ = (
        "after_append", "config", "configuration", "election_elapsed", "election_timeout_ticks",
        "handlers", "has_changed", "heartbeat_elapsed", "is_learner", "latest_snapshot", "lead",
        "lead_transferee", "log", "messages", "node_id", "peers", "pending_conf_index",
        "pending_reads", "progress", "random_source", "read_only", "read_states", "refused", "role",
        "term", "uncommitted_bytes", "vote", "voters", "votes",
    )  # fmt: skip

    def __init__(
        self,
        node_id: NodeId,
        config: RaftConfig,
        random_source: RandomSource,
        *,
        log: RaftLog,
        hard_state: HardState = EMPTY_HARD_STATE,
        conf_state: ConfState,
        applied: int = 0,
    ) -> None:
        assert 0 < node_id < msg.LOCAL_APPLY_THREAD
        self.node_id = node_id
        self.config = config
        self.random_source = random_source
        self.log = log
        self.term = 0
        self.vote = NONE
        self.lead = NONE
        self.role = FOLLOWER
        self.is_learner = False
        self.election_elapsed = 0
        self.heartbeat_elapsed = 0
        self.election_timeout_ticks = config.election_tick
        self.lead_transferee = NONE
        self.pending_conf_index = 0
        self.uncommitted_bytes = 0
        self.votes: dict[NodeId, bool] = {}
        self.configuration = Configuration()
        self.voters: tuple[NodeId, ...] = ()
        self.progress: ProgressMap = {}
        self.peers: tuple[tuple[NodeId, Progress], ...] = ()
        self.messages: list[Send] = []
        self.after_append: list[Send] = []
        self.read_only = ReadOnly()
        self.read_states: list[ReadState] = []
        self.pending_reads: list[msg.MsgReadIndex] = []
        self.refused: list[tuple[NodeId, Entry, str]] = []
        self.latest_snapshot: Callable[[], Snapshot | None] = no_snapshot
        self.has_changed = False
        self.handlers = HANDLERS[FOLLOWER]
        self.set_membership(restore(conf_state, self.changer(Membership(Configuration(), {}))))
        if hard_state != EMPTY_HARD_STATE:
            assert log.committed <= hard_state.commit <= log.last_index
            log.committed = hard_state.commit
            self.term, self.vote = hard_state.term, hard_state.vote
        if applied > 0:
            log.applied_to(applied)
        self.become_follower(self.term, NONE)

    # What others look at.

    @property
    def is_leader(self) -> bool:
        """True when this server leads its term, as far as it knows."""
        return self.role is LEADER

    @property
    def is_promotable(self) -> bool:
        """True when this server may campaign: a voter without a snapshot still to apply."""
        member = self.progress.get(self.node_id)
        return member is not None and not member.is_learner and self.log.snapshot is None

    def hard_state(self) -> HardState:
        """What has to be on disk."""
        return HardState(self.term, self.vote, self.log.committed)

    def soft_state(self) -> SoftState:
        """What a status display shows."""
        return SoftState(self.lead, self.role)

    # Input.

    def step(self, message: Any) -> None:
        """Take a message.

        Raises
        ------
        ProposalDropped
            When the message proposes something and it cannot be taken now.
        """
        term = message.term
        # A term of 0 marks a message that belongs to no term.
        if term != self.term and term != 0 and not election.settle_term(self, message):
            return
        handler = self.handlers.get(type(message))
        if handler is not None:
            handler(self, message)

    def tick(self) -> None:
        """One tick of the clock has passed."""
        if self.role is LEADER:
            self._tick_leader()
            return
        self.election_elapsed += 1
        if self.election_elapsed >= self.election_timeout_ticks and self.is_promotable:
            self.election_elapsed = 0
            self.step(msg.MsgHup())

    def _tick_leader(self) -> None:
        self.heartbeat_elapsed += 1
        self.election_elapsed += 1
        if self.election_elapsed >= self.config.election_tick:
            self.election_elapsed = 0
            if self.config.check_quorum:
                self.step(msg.MsgCheckQuorum())
            # A transfer that takes longer than an election is given up (thesis §3.10).
            if self.role is LEADER:
                self.lead_transferee = NONE
        if self.role is LEADER and self.heartbeat_elapsed >= self.config.heartbeat_tick:
            self.heartbeat_elapsed = 0
            self.step(msg.MsgBeat())

    # Output.

    def send(self, to: NodeId, message: Any) -> None:
        """Send a message that rests on nothing that is not durable."""
        assert to != self.node_id
        self.messages.append(Send(to, message))

    def send_after_append(self, to: NodeId, message: Any) -> None:
        """Send a vote or an answer to an append, once what it rests on is durable.

        Raft §5.2, thesis §3.8: a server persists its vote, its term and new entries before it
        answers.  One addressed to this server counts its own vote or its own disk.
        """
        self.after_append.append(Send(to, message))
        self.has_changed = True

    # Roles.

    def _reset(self, term: int) -> None:
        if self.term != term:
            self.term = term
            self.vote = NONE
        self.lead = NONE
        self.election_elapsed = 0
        self.heartbeat_elapsed = 0
        ticks = self.config.election_tick
        self.election_timeout_ticks = ticks + self.random_source.randrange(ticks)
        self.lead_transferee = NONE
        self.votes = {}
        self.pending_conf_index = 0
        self.uncommitted_bytes = 0
        self.read_only = ReadOnly()
        self.has_changed = True

    def _take_role(self, role: Role) -> None:
        self.role = role
        self.handlers = HANDLERS[role]
        self.has_changed = True

    def become_follower(self, term: int, lead: NodeId) -> None:
        """Follow `lead`, or nobody in particular, in that term."""
        self._reset(term)
        self._take_role(FOLLOWER)
        self.lead = lead

    def become_pre_candidate(self) -> None:
        """Find out whether an election could be won, without touching term or vote."""
        assert self.role is not LEADER
        self._take_role(PRE_CANDIDATE)
        self.votes = {}
        self.lead = NONE

    def become_candidate(self) -> None:
        """Begin a term of one's own (Raft §5.2)."""
        assert self.role is not LEADER
        self._reset(self.term + 1)
        self._take_role(CANDIDATE)
        self.vote = self.node_id

    def become_leader(self) -> None:
        """Lead the term, and open it with an empty entry (Raft §5.2, §8).

        Progress is meaningful on a leader only, so it starts afresh here.  Any entry in the log
        may be a membership change, so none may be proposed before all are applied.
        """
        assert self.role is not FOLLOWER
        self._reset(self.term)
        self._take_role(LEADER)
        self.lead = self.node_id
        last = self.log.last_index
        for node_id, member in self.progress.items():
            fresh = self.new_progress(next_index=last + 1, is_learner=member.is_learner)
            if node_id == self.node_id:
                fresh.match = last
                fresh.become_replicate()
                fresh.is_recent_active = True
            self.progress[node_id] = fresh
        self._refresh_peers()
        self.pending_conf_index = last
        taken = sending.append_as_leader(self, (proposed(None),))
        assert taken, "the empty entry has no size and is never refused"

    # Membership.

    def new_progress(self, *, next_index: int, is_learner: bool) -> Progress:
        """Progress of a member of which nothing is known."""
        config = self.config
        inflights = Inflights(config.inflight_messages_max, config.inflight_bytes_max)
        return Progress(next_index=next_index, inflights=inflights, is_learner=is_learner)

    def changer(self, membership: Membership | None = None) -> Changer:
        """Works out changes of this membership, or of the given one."""
        return Changer(
            membership or Membership(self.configuration, self.progress),
            last_index=self.log.last_index,
            inflight_messages_max=self.config.inflight_messages_max,
            inflight_bytes_max=self.config.inflight_bytes_max,
        )

    def set_membership(self, membership: Membership) -> None:
        """Use that membership from now on; see `reconfiguration.switch_to`."""
        self.configuration, self.progress = membership
        self.voters = self.configuration.all_voters
        self.is_learner = self.node_id in self.configuration.learners
        self._refresh_peers()

    def _refresh_peers(self) -> None:
        own = self.node_id
        self.peers = tuple(
            (node_id, member) for node_id, member in self.progress.items() if node_id != own
        )


def _table(*parts: Iterable[tuple[type, Handler]]) -> dict[type, Handler]:
    return {message_type: handler for part in parts for message_type, handler in part}


HANDLERS: dict[Role, dict[type, Handler]] = {
    FOLLOWER: _table(
        election.ANY_ROLE, storage.ANY_ROLE, replication.FOLLOWER, snapshots.FOLLOWER,
        leadership.FOLLOWER, read_index.FOLLOWER,
    ),
    PRE_CANDIDATE: _table(
        election.ANY_ROLE, storage.ANY_ROLE, election.PRE_CANDIDATE, replication.CANDIDATE,
        snapshots.CANDIDATE,
    ),
    CANDIDATE: _table(
        election.ANY_ROLE, storage.ANY_ROLE, election.CANDIDATE, replication.CANDIDATE,
        snapshots.CANDIDATE,
    ),
    LEADER: _table(
        election.ANY_ROLE, storage.ANY_ROLE, replication.LEADER, snapshots.LEADER,
        leadership.LEADER, read_index.LEADER, reconfiguration.LEADER,
    ),
}  # fmt: skip
"""Which function takes which message in which role; what is not listed is ignored."""
