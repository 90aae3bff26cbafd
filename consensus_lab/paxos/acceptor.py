"""The acceptor: the memory of Paxos, and the only role whose state decides what is chosen.

Theory of operation (Paxos Made Simple §2.2).  An acceptor remembers two things on disk: the
highest number that it has promised, and the highest-numbered proposal that it has accepted.

    Prepare n:    n is above the promised number -> promise n, report the accepted proposal.
    Accept n, v:  n is not below the promised number -> accept, tell the learners (P1a).
    otherwise     refuse, and say which number was promised.

The essay compares n of a Prepare with the numbers *accepted* before.  That is too weak: an
acceptor that promised 5 and accepted nothing would then promise 3 as well, and a stale proposer
could believe itself current.  It would not break agreement by itself, for a promise also holds
below a lower promise, but an implementation that overwrites 5 with 3 forgets its promise, and
then two values can be chosen.  Paxos Made Simple compares with every Prepare *answered* before;
so do we.
"""

from __future__ import annotations

from collections.abc import Iterable

from consensus_lab.node import CONTROL_SIZE_BYTES, Disk, Effects, NodeId, Persist, Send
from consensus_lab.paxos.messages import (
    NO_PROPOSAL,
    Accept,
    Accepted,
    Prepare,
    Promise,
    ProposalNumber,
    Reject,
    Value,
    value_size_bytes,
)

PROMISED, ACCEPTED = "promised", "accepted"
"""Keys on disk: the promised number; the pair of accepted number and value."""


class Acceptor:
    """One acceptor's state; its methods are the answers to Prepare and Accept.

    Attributes
    ----------
    promised : int
        Accepts nothing numbered below this.  Never decreases, on disk before it is told.
    accepted_number, accepted_value : int, object
        The highest-numbered proposal that was accepted; never above `promised`.
    """

    def __init__(self, disk: Disk) -> None:
        self.promised: ProposalNumber = disk.get(PROMISED, NO_PROPOSAL)
        number, value = disk.get(ACCEPTED, (NO_PROPOSAL, None))
        self.accepted_number: ProposalNumber = number
        self.accepted_value: Value = value
        assert self.accepted_number <= self.promised

    def on_prepare(self, sender: NodeId, message: Prepare) -> Effects:
        """Promise, if the number is above every number promised before (§2.2, phase 1b)."""
        if message.number <= self.promised:
            return [Send(sender, Reject(message.number, self.promised))]
        self.promised = message.number
        report = Promise(message.number, self.accepted_number, self.accepted_value)
        return [*self.save_promise(), Send(sender, report)]

    def on_accept(self, message: Accept, *, proposer: NodeId, tell: Iterable[NodeId]) -> Effects:
        """Accept, unless more was promised (P1a; §2.2, phase 2b), and tell these processes."""
        if message.number < self.promised:
            return [Send(proposer, Reject(message.number, self.promised))]
        saved: Effects = []
        if self.accepted_number != message.number:
            self.promised = self.accepted_number = message.number
            self.accepted_value = message.value
            saved = self.save_accepted()
        # One number is one proposal: a proposer asks for one value only under its number (P2b).
        assert self.accepted_value == message.value
        told = Accepted(message.number, message.value)
        return [*saved, *(Send(process, told) for process in tell)]

    def on_ask(self, sender: NodeId) -> Effects:
        """Tell a learner what was accepted last, if anything (§2.3)."""
        if self.accepted_number == NO_PROPOSAL:
            return []
        return [Send(sender, Accepted(self.accepted_number, self.accepted_value))]

    def save_promise(self) -> Effects:
        """The promise, on its way to disk."""
        return [Persist(((PROMISED, self.promised),))]

    def save_accepted(self) -> Effects:
        """The accepted proposal and the promise that it implies, in one write."""
        pair = (self.accepted_number, self.accepted_value)
        size = CONTROL_SIZE_BYTES + value_size_bytes(self.accepted_value)
        return [Persist(((PROMISED, self.promised), (ACCEPTED, pair)), size)]
