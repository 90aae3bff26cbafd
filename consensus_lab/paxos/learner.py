"""The learner: counts who accepted which proposal, until a quorum accepted one.

Theory of operation (Paxos Made Simple §2.3).  A value is chosen the moment that a phase-2 quorum
has accepted one proposal; nobody needs to notice.  A learner finds out by hearing from the
acceptors, or from another learner that did.  Votes are counted per number: an acceptor that went
on to accept a higher number did accept the lower one.  Quorums of different numbers are not
added up, although the values may be equal.

Whichever proposals are chosen after the first, they have its value (P2).  A learner that sees two
different values chosen has met a bug, and stops there.
"""

from __future__ import annotations

from consensus_lab.node import Disk, NodeId, ProtocolViolation
from consensus_lab.paxos.messages import NO_PROPOSAL, Accepted, ProposalNumber, Value
from consensus_lab.paxos.quorum import Quorums

CHOSEN = "chosen"
"""Key on disk: the chosen value, in a tuple of one."""

NUMBERS_MAX = 1000
"""Most proposals counted at once; the lowest-numbered are forgotten first (a retry brings more)."""


class Learner:
    """One learner's count.

    Attributes
    ----------
    has_chosen, value : bool, object
        Whether the chosen value is known here, and what it is.
    number : int
        The number under which it was seen chosen; NO_PROPOSAL if it was told by another learner.
    """

    def __init__(self, quorums: Quorums, disk: Disk) -> None:
        self.quorums = quorums
        self.votes: dict[ProposalNumber, frozenset[NodeId]] = {}
        self.values: dict[ProposalNumber, Value] = {}
        self.number: ProposalNumber = NO_PROPOSAL
        self.has_chosen = CHOSEN in disk
        self.value: Value = disk[CHOSEN][0] if self.has_chosen else None

    def on_accepted(self, sender: NodeId, message: Accepted) -> bool:
        """Count a vote; True when this one makes the value known.

        Raises
        ------
        ProtocolViolation
            For a vote of a process that is no acceptor, or two values under one number.
        """
        if sender not in self.quorums.acceptors:
            raise ProtocolViolation("accepted-by-no-acceptor", f"process {sender}")
        number = message.number
        if self.has_chosen and message.value == self.value:
            return False  # Nothing new; only a different value is worth counting still.
        if self.values.setdefault(number, message.value) != message.value:
            raise ProtocolViolation("two-values-one-number", f"number {number}")
        votes = self.votes.get(number, frozenset()) | {sender}
        self.votes[number] = votes
        if len(self.votes) > NUMBERS_MAX:
            self._forget(min(self.votes))
        if not self.quorums.phase2.is_quorum(votes):
            return False
        is_new = self.learn(message.value)
        self.number = number if is_new else self.number
        return is_new

    def learn(self, value: Value) -> bool:
        """Take a value as chosen; True when that is news."""
        self.votes.clear()
        self.values.clear()
        if self.has_chosen:
            assert self.value == value, f"two values chosen: {self.value!r} and {value!r}"
            return False
        self.has_chosen, self.value = True, value
        return True

    def _forget(self, number: ProposalNumber) -> None:
        del self.votes[number]
        del self.values[number]
