"""Single-decree Paxos: a group of processes chooses one value, once, whatever the network does.

Rules of this file: it only joins the roles of one process and hands each message to its role.
What the roles do, and why, stands in `proposer`, `acceptor` and `learner`; who plays what in
`group`; what they say in `messages`.

Theory of operation (Paxos Made Simple §2.5).  Processes run at any speed, may stop and restart;
messages may take any time, come twice, in any order or never, but are not corrupted.  Safety:
only a proposed value is chosen, only one, and no process learns another.  Two phases:

    client --Propose v--> proposer
    proposer --Prepare n--> acceptors          phase 1: nothing below n will be accepted any more,
    proposer <--Promise n-- acceptors          and the proposer knows what may have been chosen
    proposer --Accept n, v'--> acceptors       phase 2: v' is that, or v where there is none
    learners <--Accepted n, v'-- acceptors     a quorum of these, and v' is chosen
    learners <--Learn v'-- who saw it          the others follow

With the proposer's own acceptor on the same machine that takes four message delays until the
proposer knows and five until all do, and 4(n-1) messages without the last step.

On disk, before anything that depends on it is sent: the acceptor's promise and accepted
proposal, and the highest number that the proposer issued.  The chosen value is saved as well,
but nothing waits for that: what is chosen can always be found out again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, ClassVar

from consensus_lab.node import (
    Apply,
    CancelTimer,
    Disk,
    Effects,
    Message,
    NodeId,
    Note,
    ParameterError,
    Persist,
    ProtocolViolation,
    Reply,
    Send,
    SetTimer,
)
from consensus_lab.paxos.acceptor import Acceptor
from consensus_lab.paxos.election import ALIVE_TIMER, SILENT_TIMER_PREFIX, Election
from consensus_lab.paxos.group import Group
from consensus_lab.paxos.learner import CHOSEN, Learner
from consensus_lab.paxos.messages import (
    NO_PROPOSAL,
    Accept,
    Accepted,
    Alive,
    Ask,
    Forward,
    Learn,
    Prepare,
    Promise,
    ProposalNumber,
    Propose,
    Reject,
    Value,
    value_size_bytes,
)
from consensus_lab.paxos.proposer import IDLE, Proposer, Source

ASK_TIMER, FORWARD_TIMER = "ask", "forward"

REQUESTS_MAX = 10_000
"""Most clients that may wait at one process for the same decision."""

THE_ONLY_INSTANCE = 0
"""Index under which the chosen value is applied."""


class SinglePaxos:
    """One process of single-decree Paxos, with the roles that its group gives it.

    Parameters
    ----------
    node_id : int
        Which process this is.
    disk : mapping
        What was durable before the last crash; empty at first.
    group : Group
        Roles and policies, the same at every process.
    source : object with randrange(n)
        Randomness of this process's back-off.

    Attributes
    ----------
    proposer, acceptor : Proposer or None, Acceptor or None
        The roles, where this process plays them.
    learner : Learner
        Counts acceptances; also at a proposer that is no learner, which has to know when to stop.

    Raises
    ------
    ParameterError
        When the process plays no role in the group.
    """

    # Taken from the class, so that a deliberately broken role can stand in (see the explorer).
    acceptor_class: ClassVar[type[Acceptor]] = Acceptor
    proposer_class: ClassVar[type[Proposer]] = Proposer

    def __init__(self, node_id: NodeId, disk: Disk, *, group: Group, source: Source) -> None:
        if node_id not in group.processes:
            raise ParameterError("node_id", node_id, f"one of {group.processes}")
        self.node_id = node_id
        self.group = group
        self.acceptor = self.acceptor_class(disk) if node_id in group.acceptors else None
        self.learner = Learner(group.quorums, disk)
        self.proposer: Proposer | None = None
        self.election: Election | None = None
        self.wanted: Value = None
        self.requests: tuple[Hashable, ...] = ()
        if node_id in group.proposers:
            self.proposer = self.proposer_class(
                rank=group.proposers.index(node_id),
                proposer_count=len(group.proposers),
                quorums=group.quorums,
                back_off=group.back_off,
                timeout_ns=group.timeout_ns,
                source=source,
                disk=disk,
            )
            if group.election is not None:
                self.election = Election(node_id, group.proposers, group.election)

    @property
    def chosen(self) -> Value:
        """The chosen value, or None while this process does not know it."""
        return self.learner.value

    @property
    def leads(self) -> bool:
        """True when this process may propose: every proposer may, unless one is distinguished."""
        if self.proposer is None:
            return False
        return self._distinguished() in (None, self.node_id)

    # Inputs: the Node contract.

    def start(self, now: int) -> Effects:
        """Apply again what was known before a crash, or begin to ask; join the election."""
        effects: Effects = []
        if self.learner.has_chosen:
            effects += self._apply()
        elif self.group.ask_ns is not None and self.node_id in self.group.learners:
            effects += [SetTimer(ASK_TIMER, self.group.ask_ns)]
        if self.election is not None:
            effects += self.election.start()
        return effects

    def submit(self, command: Propose, now: int) -> Effects:
        """A client asks for a value; whoever may propose proposes it.

        Raises
        ------
        ParameterError
            At a process that is no proposer, for something else than `Propose`, or for a value
            that is None, not hashable or too large.
        """
        if self.proposer is None:
            raise ParameterError("node_id", self.node_id, f"a proposer: {self.group.proposers}")
        if not isinstance(command, Propose):
            raise ParameterError("command", command, "a Propose")
        self.group.check_value(command.value)
        if self.learner.has_chosen:
            return self._reply((command.request_id,))
        if len(self.requests) >= REQUESTS_MAX:
            return [Note("refused", "too-many-requests")]
        self.requests += (command.request_id,)
        if self.wanted is not None:
            return []  # The first value is under way; every client gets what is chosen.
        self.wanted = command.value
        return self._pursue()

    def receive(self, sender: NodeId, message: Message, now: int) -> Effects:
        """Hand a message to its role; what breaks a rule is noted and otherwise ignored."""
        handler = _HANDLERS.get(type(message))
        try:
            if handler is None:
                raise ProtocolViolation("unknown-message", type(message).__name__)
            return handler(self, sender, message)
        except ProtocolViolation as violation:
            return [Note("refused", (sender, violation.rule))]

    def timer(self, name: str, now: int) -> Effects:
        """A timer of this process went off."""
        if name == ASK_TIMER:
            return self._ask()
        if name == FORWARD_TIMER:
            return self._pursue()
        if name == ALIVE_TIMER or name.startswith(SILENT_TIMER_PREFIX):
            assert self.election is not None
            return self._after_election(self.election.on_timer(name))
        assert self.proposer is not None
        return self.proposer.on_timer(name)

    # Phase 1 and phase 2: this process as acceptor and as proposer.

    def _prepare(self, sender: NodeId, message: Prepare) -> Effects:
        acceptor = self._as_acceptor()
        self._check_owner(sender, message.number)
        effects = acceptor.on_prepare(sender, message)
        return [*effects, *self._notice(sender, message.number)]

    def _accept(self, sender: NodeId, message: Accept) -> Effects:
        acceptor = self._as_acceptor()
        self._check_owner(sender, message.number)
        if value_size_bytes(message.value) > self.group.value_size_bytes_max:
            raise ProtocolViolation("value-too-large", f"number {message.number}")
        tell = self.group.hears_accepted(sender)
        effects = acceptor.on_accept(message, proposer=sender, tell=tell)
        return [*effects, *self._notice(sender, message.number)]

    def _promise(self, sender: NodeId, message: Promise) -> Effects:
        return self._as_proposer().on_promise(sender, message)

    def _reject(self, sender: NodeId, message: Reject) -> Effects:
        return self._as_proposer().on_reject(message)

    def _notice(self, sender: NodeId, number: ProposalNumber) -> Effects:
        """The acceptor of this process saw a number: its proposer had better know (§2.4)."""
        if self.proposer is None or sender == self.node_id:
            return []
        if self.group.abandons_when_overtaken:
            return self.proposer.overtaken(number)
        return self.proposer.noticed(number)

    def _as_acceptor(self) -> Acceptor:
        if self.acceptor is None:
            raise ProtocolViolation("not-an-acceptor")
        return self.acceptor

    def _as_proposer(self) -> Proposer:
        if self.proposer is None:
            raise ProtocolViolation("not-a-proposer")
        return self.proposer

    def _check_owner(self, sender: NodeId, number: ProposalNumber) -> None:
        if number <= NO_PROPOSAL or self.group.owner(number) != sender:
            raise ProtocolViolation("number-of-another-proposer", f"{number} by {sender}")

    # Learning.

    def _accepted(self, sender: NodeId, message: Accepted) -> Effects:
        if not self.learner.on_accepted(sender, message):
            return []
        return self._learned(informs=self.group.informs(self.node_id, message.number))

    def _learn(self, sender: NodeId, message: Learn) -> Effects:
        return self._learned(informs=False) if self.learner.learn(message.value) else []

    def _learned(self, *, informs: bool) -> Effects:
        """The value is news here: use it, answer the clients, stop proposing, tell the others."""
        value = self.learner.value
        effects: Effects = [Note("chosen", value), *self._apply(), *self._reply(self.requests)]
        self.requests = ()
        if self.group.ask_ns is not None:
            effects.append(CancelTimer(ASK_TIMER))
        if self.proposer is not None:
            effects += self.proposer.stop()
        if self.wanted is not None:
            effects.append(CancelTimer(FORWARD_TIMER))
        if informs:
            others = self.group.hears_learn(self.node_id)
            effects += [Send(process, Learn(value)) for process in others]
        return [*effects, Persist(((CHOSEN, (value,)),))]

    def _apply(self) -> Effects:
        is_learner = self.node_id in self.group.learners
        return [Apply(THE_ONLY_INSTANCE, self.learner.value)] if is_learner else []

    def _reply(self, requests: tuple[Hashable, ...]) -> Effects:
        return [Reply(who, self.learner.value) for who in requests if who is not None]

    def _ask(self) -> Effects:
        """Still in the dark: ask the acceptors, and again later (§2.3)."""
        if self.learner.has_chosen:
            return []
        assert self.group.ask_ns is not None
        asked = [Send(acceptor, Ask()) for acceptor in self.group.acceptors]
        return [SetTimer(ASK_TIMER, self.group.ask_ns), *asked]

    def _asked(self, sender: NodeId, message: Ask) -> Effects:
        if self.learner.has_chosen:
            return [Send(sender, Learn(self.learner.value))]
        return self._as_acceptor().on_ask(sender)

    # The distinguished proposer.

    def _distinguished(self) -> NodeId | None:
        """Who alone may propose, as this process sees it; None when everyone may."""
        if self.election is not None:
            return self.election.leader
        return self.group.distinguished_proposer

    def _pursue(self) -> Effects:
        """Propose the wanted value, or hand it to the one that may; again until it is decided."""
        if self.wanted is None or self.learner.has_chosen:
            return []
        proposer = self._as_proposer()
        if self.leads:
            return proposer.propose(self.wanted) if proposer.phase == IDLE else []
        leader = self._distinguished()
        assert leader is not None
        forwarded = Send(leader, Forward(self.wanted))
        return [SetTimer(FORWARD_TIMER, self.group.timeout_ns), forwarded]

    def _forwarded(self, sender: NodeId, message: Forward) -> Effects:
        """A value from a proposer that takes this one for distinguished."""
        if sender not in self.group.proposers:
            raise ProtocolViolation("forward-by-no-proposer", f"process {sender}")
        if self.learner.has_chosen:
            return [Send(sender, Learn(self.learner.value))]
        if not self.leads:
            return []  # The sender tries again, perhaps elsewhere.
        self.wanted = message.value if self.wanted is None else self.wanted
        return self._pursue()

    def _alive(self, sender: NodeId, message: Alive) -> Effects:
        if self.election is None:
            raise ProtocolViolation("no-election-here")
        return self._after_election(self.election.on_alive(sender))

    def _after_election(self, effects: Effects) -> Effects:
        """Act on a change of leader: step in, or step back and forward."""
        assert self.proposer is not None
        is_new = any(isinstance(effect, Note) for effect in effects)
        if not is_new or self.learner.has_chosen:
            return effects
        stepped_back = [] if self.leads else self.proposer.pause()
        return [*effects, *stepped_back, *self._pursue()]


_HANDLERS: dict[type, Callable[[SinglePaxos, NodeId, Any], Effects]] = {
    Prepare: SinglePaxos._prepare,
    Promise: SinglePaxos._promise,
    Accept: SinglePaxos._accept,
    Accepted: SinglePaxos._accepted,
    Reject: SinglePaxos._reject,
    Learn: SinglePaxos._learn,
    Ask: SinglePaxos._asked,
    Forward: SinglePaxos._forwarded,
    Alive: SinglePaxos._alive,
}
