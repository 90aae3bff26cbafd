"""Who plays which role in a group of Paxos processes, and by which policies.

Theory of operation (Paxos Made Simple §2).  There are three roles, proposer, acceptor, learner;
a process may play any of them, and in practice plays all.  What a policy decides never touches
agreement: which learners hear from the acceptors (§2.3), who may propose (§2.4), how long one
waits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from consensus_lab.constants import ETCD_REQUEST_SIZE_BYTES_MAX
from consensus_lab.node import NodeId, ParameterError
from consensus_lab.paxos.election import Timing
from consensus_lab.paxos.messages import ProposalNumber, Value, value_size_bytes
from consensus_lab.paxos.proposer import BackOff
from consensus_lab.paxos.quorum import Quorums

BY_PROPOSER, BY_ACCEPTORS, BY_DISTINGUISHED = "proposer", "acceptors", "distinguished"
INFORMING = (BY_PROPOSER, BY_ACCEPTORS, BY_DISTINGUISHED)
"""Who informs the learners: the proposer, every acceptor directly, distinguished learners."""

SECOND_NS = 1_000_000_000


@dataclass(frozen=True)
class Group:
    """The processes of one instance of Paxos, their roles and their policies.

    Parameters
    ----------
    proposers, learners : tuple of int
        At least one proposer; both without duplicates.
    quorums : Quorums
        The acceptors and the quorums of both phases.
    informing : str
        One of `INFORMING`.  "proposer": acceptors answer the proposer, which sends Learn to the
        others (fewest messages).  "acceptors": each tells every learner (one delay less).
        "distinguished": each tells the `distinguished_learners`, which send Learn (§2.3).
    distinguished_learners : tuple of int
        Some of the learners; used, and needed, with informing "distinguished".
    distinguished_proposer : int, optional
        The only one that proposes; the others forward their clients' values to it.
    election : Timing, optional
        Elect the distinguished proposer instead, and a new one when it falls silent.
    back_off : BackOff
        How long a proposer waits before it tries again.
    timeout_ns : int
        A proposal, or a forwarded value, that takes longer is tried again.
    ask_ns : int, optional
        A learner that does not know the value asks the acceptors every so often.
    abandons_when_overtaken : bool
        A proposer whose own process promises a higher number gives up at once (§2.4).
    value_size_bytes_max : int
        The largest value; the essay's limit of an etcd request, 1.5 MiB.

    Raises
    ------
    ParameterError
        Naming the first parameter that is wrong.
    """

    proposers: tuple[NodeId, ...]
    quorums: Quorums
    learners: tuple[NodeId, ...]
    informing: str = BY_PROPOSER
    distinguished_learners: tuple[NodeId, ...] = ()
    distinguished_proposer: NodeId | None = None
    election: Timing | None = None
    back_off: BackOff = field(default=BackOff())
    timeout_ns: int = SECOND_NS
    ask_ns: int | None = None
    abandons_when_overtaken: bool = False
    value_size_bytes_max: int = ETCD_REQUEST_SIZE_BYTES_MAX

    @classmethod
    def of_peers(cls, processes: Iterable[NodeId], **settings: Any) -> Group:
        """A group in which every process is proposer, acceptor and learner.

        Parameters
        ----------
        processes : iterable of int
            Their ids.
        **settings
            As for `Group`; `quorums` are majorities if left out.

        Examples
        --------
        >>> Group.of_peers([1, 2, 3]).quorums.remark
        '3 acceptors tolerate 1 failure.'
        """
        ids = tuple(processes)
        quorums = settings.pop("quorums", None) or Quorums(ids)
        return cls(proposers=ids, quorums=quorums, learners=ids, **settings)

    def __post_init__(self) -> None:
        _check_ids("proposers", self.proposers)
        _check_ids("learners", self.learners)
        if not self.proposers:
            raise ParameterError("proposers", self.proposers, "at least one proposer")
        if self.informing not in INFORMING:
            raise ParameterError("informing", self.informing, "one of " + ", ".join(INFORMING))
        chosen = self.distinguished_learners
        is_wanted = self.informing == BY_DISTINGUISHED
        if is_wanted != bool(chosen) or not set(chosen) <= set(self.learners):
            rule = "some of the learners" if is_wanted else "empty unless informing=distinguished"
            raise ParameterError("distinguished_learners", chosen, rule)
        leader = self.distinguished_proposer
        if leader is not None and leader not in self.proposers:
            raise ParameterError("distinguished_proposer", leader, f"one of {self.proposers}")
        if leader is not None and self.election is not None:
            raise ParameterError("distinguished_proposer", leader, "left out with an election")
        if self.election is not None:
            self.election.validated()
        self.back_off.validated()
        for name in ("timeout_ns", "ask_ns", "value_size_bytes_max"):
            number = getattr(self, name)
            if number is not None and number <= 0:
                raise ParameterError(name, number, "above 0")

    @property
    def acceptors(self) -> tuple[NodeId, ...]:
        """The acceptors, in the order given."""
        return self.quorums.acceptors

    @property
    def processes(self) -> tuple[NodeId, ...]:
        """Every process that plays a role, sorted."""
        return tuple(sorted({*self.proposers, *self.acceptors, *self.learners}))

    def owner(self, number: ProposalNumber) -> NodeId:
        """The only proposer that may issue this number."""
        return self.proposers[number % len(self.proposers)]

    def hears_accepted(self, proposer: NodeId) -> tuple[NodeId, ...]:
        """Whom an acceptor tells that it accepted this proposer's proposal, sorted."""
        told = {
            BY_PROPOSER: (),
            BY_ACCEPTORS: self.learners,
            BY_DISTINGUISHED: self.distinguished_learners,
        }[self.informing]
        return tuple(sorted({proposer, *told}))

    def hears_learn(self, teller: NodeId) -> tuple[NodeId, ...]:
        """Whom a process tells that a value is chosen, sorted."""
        return tuple(sorted({*self.learners, *self.proposers} - {teller}))

    def informs(self, process: NodeId, number: ProposalNumber) -> bool:
        """True when it falls to this process to spread a value chosen under this number."""
        if self.informing == BY_PROPOSER:
            return self.owner(number) == process
        return process in self.distinguished_learners

    def check_value(self, value: Value) -> None:
        """Raise `ParameterError` for a value that cannot be proposed."""
        if value is None:
            raise ParameterError("value", value, "anything but None")
        try:
            hash(value)
        except TypeError:
            raise ParameterError("value", value, "hashable, so that values compare") from None
        size = value_size_bytes(value)
        if size > self.value_size_bytes_max:
            raise ParameterError("value", f"{size} bytes", f"at most {self.value_size_bytes_max}")


def _check_ids(name: str, ids: tuple[NodeId, ...]) -> None:
    if len(set(ids)) != len(ids):
        raise ParameterError(name, ids, "without duplicate ids")
