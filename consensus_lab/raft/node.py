"""A Raft server as a `Node`: messages, timers and client requests in, ordered effects out.

Theory of operation.  The protocol is the core's; this file turns what the core wants into effects
in the one order that is safe and fast (thesis §10.2.1):

1. what rests on nothing new goes out at once: the leader's appends leave before its own disk has
   the entries, so both writes run at the same time;
2. `Persist` of term, vote and entries;
3. votes and answers to appends, which rest on 2; those to the node itself are how it counts its
   own vote and its own disk;
4. `Apply` of what is committed, and `Reply` to the clients that wait here for it.

Client requests (essay, steps 6-10).  A node that is not the leader passes a command on; while no
leader is known commands wait, as in etcd.  Who took a request answers it, when it has applied it.
A request that reaches the log twice, because someone sent it again, takes effect once
(`client.Sessions`).  Linearizable reads are gathered: all that arrive while one round of ReadIndex
is under way share the next (etcd server, linearizableReadLoop).

Time.  Either a "tick" each `tick_ns`, counted by the core as in etcd, or, with
`election_timeout_range_ns`, timeouts drawn to the nanosecond as in the Raft paper (`timeouts`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from consensus_lab.client import Query, Refused, Request, Sessions, StateMachine
from consensus_lab.node import (
    Apply,
    Disk,
    Effects,
    NodeId,
    Note,
    ParameterError,
    ProtocolViolation,
    Reply,
)
from consensus_lab.raft import messages as msg
from consensus_lab.raft import requests as ask
from consensus_lab.raft.clients import Clients
from consensus_lab.raft.compaction import Compactor, take_snapshot
from consensus_lab.raft.config import RaftConfig
from consensus_lab.raft.core import RaftCore, RandomSource
from consensus_lab.raft.disk import HARD_STATE, SNAPSHOT, Outcome, Writer, read_log
from consensus_lab.raft.entries import (
    EMPTY_HARD_STATE,
    NONE,
    NORMAL,
    ConfState,
    Entry,
    Snapshot,
    conf_change_of,
    payloads_size,
    proposed,
)
from consensus_lab.raft.membership import MembershipError, first_configuration
from consensus_lab.raft.reading import Reads
from consensus_lab.raft.reconfiguration import applied_to, apply_change
from consensus_lab.raft.storage import reduce_uncommitted
from consensus_lab.raft.timeouts import SnapshotWatch, Ticks, Timeouts

NOT_FOR_THE_CORE = msg.LOCAL_TYPES | {msg.MsgPropRefused}
"""What `receive` deals with itself."""


class RaftNode:
    """One Raft server.

    Parameters
    ----------
    node_id : int
        At least 1.
    disk : Disk
        What survived the last crash; empty at the first start.
    members : iterable of int
        The voters of the cluster's first configuration, the same on every node.  A node that is
        to be added later starts with the same list, without itself in it.
    machine : StateMachine
        What committed commands are applied to; fresh, it is brought up to date from disk.
    random_source : RandomSource
        For election timeouts.
    config : RaftConfig, optional
    learners : iterable of int, optional
        Learners of the first configuration.

    Attributes
    ----------
    core : RaftCore
        The protocol's state.
    sessions : Sessions
        Requests that took effect.

    Examples
    --------
    >>> import random
    >>> from consensus_lab.kv import KeyValueStore
    >>> node = RaftNode(1, {}, members=[1], machine=KeyValueStore(), random_source=random.Random(1))
    >>> [type(effect).__name__ for effect in node.start(0)]
    ['SetTimer']
    """

    __slots__ = (
        "_clock", "_compactor", "_is_applying", "_known", "_snapshot_watch", "_submits",
        "_timeouts", "_writer", "clients", "config", "core", "machine", "node_id", "reads",
        "sessions",
    )  # fmt: skip

    def __init__(
        self,
        node_id: NodeId,
        disk: Disk,
        *,
        members: Iterable[NodeId],
        machine: StateMachine,
        random_source: RandomSource,
        config: RaftConfig | None = None,
        learners: Iterable[NodeId] = (),
    ) -> None:
        if not isinstance(node_id, int) or node_id < 1:
            raise ParameterError("node_id", node_id, "an integer of at least 1")
        self.config = config = config or RaftConfig()
        self.node_id = node_id
        self.machine = machine
        self.sessions = Sessions()
        snapshot: Snapshot | None = disk.get(SNAPSHOT)
        if snapshot is None:
            conf_state = first_configuration(members, learners)
        else:
            conf_state = snapshot.conf_state
            self._restore_machine(snapshot)
        self.core = RaftCore(
            node_id, config, random_source,
            log=read_log(disk, applying_bytes_max=config.applying_bytes_max),
            hard_state=disk.get(HARD_STATE, EMPTY_HARD_STATE),
            conf_state=conf_state,
            applied=0 if snapshot is None else snapshot.index,
        )  # fmt: skip
        self.core.latest_snapshot = self._latest_snapshot
        self._is_applying = False
        self.core.has_changed = True
        self._compactor = Compactor(config)
        self._compactor.begin_from(snapshot)
        self._writer = Writer(disk)
        self._known = (self.core.role, self.core.term, NONE)
        self._timeouts = (
            None if config.election_timeout_range_ns is None else Timeouts(config, random_source)
        )
        self._clock: Ticks | Timeouts = self._timeouts or Ticks(config, random_source)
        self._snapshot_watch = SnapshotWatch(config)
        self.clients = Clients(node_id, config)
        self.reads = Reads(node_id, machine, config)
        self._submits: dict[type, Callable[[Any, int], Effects]] = {
            Request: self._submit_request,
            Query: self._submit_query,
            ask.SerializableQuery: self._submit_serializable,
            ask.ChangeMembership: self._submit_change,
            ask.TransferLeadership: self._submit_transfer,
            ask.Campaign: lambda command, now: self._step(msg.MsgHup()),
            ask.ForgetLeader: lambda command, now: self._step(msg.MsgForgetLeader()),
        }

    # The Node contract.

    def start(self, now: int) -> Effects:
        """Set the timers, and apply again what the disk says is committed."""
        self.reads.begin_life(now)
        return [*self._clock.start(now), *self._flush()]

    def receive(self, sender: NodeId, message: Any, now: int) -> Effects:
        """A message from a peer, or from this node to itself."""
        core = self.core
        if type(message) in NOT_FOR_THE_CORE:
            return self._receive_special(sender, message)
        timeouts = self._timeouts
        if timeouts is not None:
            timeouts.before(core, now)
        try:
            core.step(message)
        except msg.ProposalDropped as dropped:
            return [Note("dropped", (sender, dropped.detail))]
        effects: Effects
        if core.has_changed:
            effects = self._flush()
        else:
            effects = core.messages  # type: ignore[assignment]  # A list of Send is one of effects.
            if effects:
                core.messages = []
        return effects if timeouts is None else timeouts.after(core, now, effects)

    def timer(self, name: str, now: int) -> Effects:
        """A timer that this node set went off."""
        core = self.core
        if name == "read":  # The present round is late: messages were lost, or no leader known.
            return [*self.reads.ask(core), *self._flush()]
        if name == "transfer":
            return self.clients.end_transfer()
        clock = self._clock
        clock.fire(core, name, now)
        if core.is_leader:
            self._snapshot_watch.look(core, now)
        effects: Effects
        if core.has_changed:
            effects = self._flush()
        else:
            effects = core.messages  # type: ignore[assignment]
            core.messages = []
        return clock.again(core, name, now, effects)

    def submit(self, command: Any, now: int) -> Effects:
        """A client asks something of this node: see `client` and `requests` for what.

        Raises
        ------
        ParameterError
            For anything else.
        """
        handler = self._submits.get(type(command))
        if handler is None:
            names = sorted(kind.__name__ for kind in self._submits)
            raise ParameterError("command", command, "one of " + ", ".join(names))
        timeouts = self._timeouts
        if timeouts is None:
            return handler(command, now)
        timeouts.before(self.core, now)
        return timeouts.after(self.core, now, handler(command, now))

    # What clients ask.

    def _submit_request(self, request: Request, now: int) -> Effects:
        del now
        request_id = request.request_id
        if request_id in self.sessions:
            return [Reply(request_id, self.sessions.result(request_id))]
        try:
            self.machine.check(request.command)
        except ProtocolViolation as violation:
            return [Reply(request_id, Refused(violation.rule, violation.detail))]
        return self.clients.propose(self.core, request_id, proposed(request)) or self._flush()

    def _submit_change(self, request: ask.ChangeMembership, now: int) -> Effects:
        del now
        effects = self.clients.propose_change(self.core, request.request_id, request.change)
        return effects or self._flush()

    def _submit_query(self, query: Query, now: int) -> Effects:
        del now
        effects = self.reads.add(self.core, query)
        return [*effects, *self._flush()] if effects else effects

    def _submit_serializable(self, query: ask.SerializableQuery, now: int) -> Effects:
        del now
        return [Reply(query.request_id, self.machine.read(query.query))]

    def _submit_transfer(self, request: ask.TransferLeadership, now: int) -> Effects:
        del now
        return [*self.clients.begin_transfer(self.core, request), *self._flush()]

    def _step(self, message: Any) -> Effects:
        self.core.step(message)
        return self._flush()

    # From the core's wishes to effects.

    def _flush(self) -> Effects:
        """Everything that the core wants done, in order; see the theory of operation."""
        core = self.core
        effects: Effects = core.messages  # type: ignore[assignment]
        core.messages = []
        while core.has_changed:
            core.has_changed = False
            if self._writer.is_behind(core):
                self._write(effects)
            if core.after_append:
                effects.extend(core.after_append)
                core.after_append = []
            if core.log.applied < core.log.committed:
                self._apply(effects)
            if core.read_states:
                effects.extend(self.reads.take_states(core))
            if core.refused:
                effects.extend(self.clients.tell_refused(core))
            if self._known != (core.role, core.term, core.lead):
                self._role_changed(effects)
            if core.messages:
                effects.extend(core.messages)
                core.messages = []
        return effects

    def _write(self, effects: Effects) -> None:
        core, log, writer = self.core, self.core.log, self._writer
        if log.snapshot is not None:
            snapshot = log.snapshot
            effects.append(writer.install(core.hard_state(), snapshot))
            log.stable_snapshot_to(snapshot.index)
            self._compactor.begin_from(snapshot)
            self._restore_machine(snapshot)
            applied_to(core, snapshot.index)
            effects.append(Note("restored", (snapshot.index, snapshot.term)))
            effects.extend(self.clients.answer_restored(self.sessions))
            effects.extend(self.reads.serve(snapshot.index))
        if log.handed_out != log.last_index:
            entries = log.next_unstable()
            effects.append(writer.append(core.hard_state(), entries))
            # What follows in the effects waits for the write, so to the log it is done.
            log.stable_to(log.last_index, log.last_term)
        elif (core.term, core.vote) != (writer.term, writer.vote):
            effects.append(writer.append(core.hard_state(), ()))

    def _apply(self, effects: Effects) -> None:
        """Apply what is committed (essay, step 10)."""
        core, log = self.core, self.core.log
        entries = log.next_committed()
        machine, sessions, waiting = self.machine, self.sessions, self.clients.waiting
        for entry in entries:
            index, data = entry.index, entry.data
            effects.append(Apply(index, data))
            if entry.type is not NORMAL:
                self._apply_change(effects, entry)
                continue
            if data is None:
                continue
            request_id = data.request_id
            if request_id in sessions:
                result = sessions.result(request_id)
            else:
                result = machine.apply(index, data.command)
                sessions.record(request_id, result)
            if request_id in waiting:
                del waiting[request_id]
                effects.append(Reply(request_id, result))
        # Applying takes no time here, so none of it is ever outstanding.
        applied_to(core, entries[-1].index)
        if core.config.uncommitted_size_bytes_max is not None:
            reduce_uncommitted(core, payloads_size(entries))
        if log.applied < log.committed:
            core.has_changed = True
        if self.reads.confirmed_rounds:
            effects.extend(self.reads.serve(log.applied))
        if log.applied >= self._compactor.due_at:
            effects.extend(self._compactor.compact(core, self._writer, machine, sessions))

    def _apply_change(self, effects: Effects, entry: Entry) -> None:
        """Put a membership change into force; one that has become impossible changes nothing."""
        change = conf_change_of(entry)
        result: ConfState | Refused
        self._is_applying = True
        try:
            result = apply_change(self.core, change)
        except MembershipError as error:
            result = Refused(error.rule)
        self._is_applying = False
        effects.append(Note("membership", result))
        effects.extend(self.clients.answer(change.context, result))

    def _latest_snapshot(self) -> Snapshot | None:
        """A snapshot for a follower: taken now, for an older one may not know it as a member.

        Not while entries are being applied: the state machine is then ahead of the log's mark.
        """
        if self._is_applying:
            return None
        return take_snapshot(self.core, self.machine, self.sessions)

    def _restore_machine(self, snapshot: Snapshot) -> None:
        outcome: Outcome = snapshot.data
        self.machine.restore(outcome.machine)
        self.sessions.restore(outcome.sessions)

    def _receive_special(self, sender: NodeId, message: Any) -> Effects:
        """A message between nodes that the core does not know, or one that is out of place."""
        if type(message) in msg.LOCAL_TYPES:
            return [Note("violation", (sender, "raft: cannot step raft local message"))]
        assert isinstance(message, msg.MsgPropRefused)
        return self.clients.answer(message.request_id, Refused(message.reason))

    def _role_changed(self, effects: Effects) -> None:
        core = self.core
        self._known = known = (core.role, core.term, core.lead)
        effects.append(Note("role", ask.RoleChange(*known)))
        if core.lead != NONE:
            effects.extend(self.clients.lead_known(core))
