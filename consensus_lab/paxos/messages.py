"""What the processes of single-decree Paxos say to each other, and what they call a proposal.

Rules of this file: plain values only, no behaviour beyond sizes and number arithmetic.

Theory of operation.  A *proposal* is a number and a value (Paxos Made Simple §2.2).  Numbers are
non-negative integers, and different proposers draw theirs from disjoint residue classes, so no two
proposers ever issue the same number (§2.5).  `NO_PROPOSAL`, below every number, stands for
"none so far".

    phase 1   proposer -> acceptors   Prepare   "Promise to accept nothing below n."
              acceptor -> proposer    Promise   "I promise; this is what I accepted so far."
    phase 2   proposer -> acceptors   Accept    "Accept value v under number n."
              acceptor -> learners    Accepted  "I accepted v under n."
    either    acceptor -> proposer    Reject    "I promised more: this is the highest I have seen."
    after     learner  -> learners    Learn     "v is chosen."
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NamedTuple, TypeAlias

from consensus_lab.node import CONTROL_SIZE_BYTES

ProposalNumber: TypeAlias = int
Value: TypeAlias = Any

NO_PROPOSAL: ProposalNumber = -1
"""Below every proposal number: nothing promised, nothing accepted."""


def value_size_bytes(value: Value) -> int:
    """Size charged for a value: what it states, its length as text or bytes, else its repr's."""
    stated = getattr(value, "size_bytes", None)
    if isinstance(stated, int):
        return stated
    if isinstance(value, bytes):
        return len(value)
    return len((value if isinstance(value, str) else repr(value)).encode())


def next_number(above: ProposalNumber, *, rank: int, proposer_count: int) -> ProposalNumber:
    """The smallest number above a given one that belongs to this proposer alone.

    Numbers are divided among proposers by their remainder, so they are unique per proposer
    (Paxos Made Simple §2.5).

    Parameters
    ----------
    above : int
        The result is larger than this.
    rank : int
        The proposer's place among all proposers, from 0.
    proposer_count : int
        How many proposers there are.

    Examples
    --------
    >>> next_number(NO_PROPOSAL, rank=1, proposer_count=3)
    1
    >>> next_number(1, rank=1, proposer_count=3), next_number(1, rank=0, proposer_count=3)
    (4, 3)
    """
    assert 0 <= rank < proposer_count
    return above + 1 + (rank - above - 1) % proposer_count


class Propose(NamedTuple):
    """A client's command: have this value, or the one that is already chosen, agreed on.

    Attributes
    ----------
    value : object
        What the client wants chosen: hashable, not None.
    request_id : hashable, optional
        With one, the process replies with the chosen value.
    """

    value: Value
    request_id: Hashable | None = None


class Prepare(NamedTuple):
    """Phase 1a: the proposer asks for a promise and for what was accepted."""

    number: ProposalNumber


class Promise(NamedTuple):
    """Phase 1b: never again to accept below `number`, with the highest proposal accepted so far.

    `accepted_number` is NO_PROPOSAL, and `accepted_value` None, when nothing was accepted.
    """

    number: ProposalNumber
    accepted_number: ProposalNumber
    accepted_value: Value

    @property
    def size_bytes(self) -> int:
        """Bytes on the wire: the header, and the reported value if there is one."""
        has_value = self.accepted_number != NO_PROPOSAL
        return CONTROL_SIZE_BYTES + (value_size_bytes(self.accepted_value) if has_value else 0)


class Accept(NamedTuple):
    """Phase 2a: the proposer asks to accept the value under its number."""

    number: ProposalNumber
    value: Value

    @property
    def size_bytes(self) -> int:
        """Bytes on the wire: the header and the value."""
        return CONTROL_SIZE_BYTES + value_size_bytes(self.value)


class Accepted(NamedTuple):
    """Phase 2b: the sender has accepted this proposal, on disk."""

    number: ProposalNumber
    value: Value

    @property
    def size_bytes(self) -> int:
        """Bytes on the wire: the header and the value."""
        return CONTROL_SIZE_BYTES + value_size_bytes(self.value)


class Reject(NamedTuple):
    """The answer to a request with too low a number.

    Attributes
    ----------
    number : int
        The number that was refused.
    highest : int
        The highest number that the acceptor has seen and promised.
    """

    number: ProposalNumber
    highest: ProposalNumber


class Learn(NamedTuple):
    """This value is chosen: a distinguished learner, or the proposer, informs the others."""

    value: Value

    @property
    def size_bytes(self) -> int:
        """Bytes on the wire: the header and the value."""
        return CONTROL_SIZE_BYTES + value_size_bytes(self.value)


class Ask(NamedTuple):
    """A learner asks an acceptor what it has accepted (Paxos Made Simple §2.3)."""


class Forward(NamedTuple):
    """A client's value on its way to the distinguished proposer."""

    value: Value

    @property
    def size_bytes(self) -> int:
        """Bytes on the wire: the header and the value."""
        return CONTROL_SIZE_BYTES + value_size_bytes(self.value)


class Alive(NamedTuple):
    """A proposer's sign of life, for the election of the distinguished proposer."""
