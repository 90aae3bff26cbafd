"""Deliberately broken Paxos: what each rule is for, seen from what happens without it.

Rules of this file: nothing here is used by a correct process.  Each variant breaks one rule and
nothing else; the explorer finds two chosen values for each, with a shortest way there.  Use them
to break it yourself, in a notebook or with `consensus-lab run paxos-explore`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from consensus_lab.node import Effects, NodeId
from consensus_lab.paxos.acceptor import Acceptor
from consensus_lab.paxos.messages import Accept, Prepare, Value
from consensus_lab.paxos.proposer import Proposer
from consensus_lab.paxos.quorum import Quorums, majority
from consensus_lab.paxos.single import SinglePaxos


class UncheckedQuorums(Quorums):
    """Quorums of any size, also of different phases without a common acceptor."""

    def check(self) -> None:
        """Accept everything."""


class ForgetfulAcceptor(Acceptor):
    """Promises without writing it down; a restart forgets the promise (breaks §2.5)."""

    def save_promise(self) -> Effects:
        """Nothing reaches the disk."""
        return []


class ObligingAcceptor(Acceptor):
    """Accepts whatever it is asked to, also below what it promised (breaks P1a)."""

    def on_accept(self, message: Accept, *, proposer: NodeId, tell: Iterable[NodeId]) -> Effects:
        """Lower the promise so far that the proposal fits."""
        self.promised = min(self.promised, message.number)
        return super().on_accept(message, proposer=proposer, tell=tell)


class LooseAcceptor(Acceptor):
    """Compares a Prepare with what it *accepted* only, and lets it replace a higher promise.

    This is the essay's sentence taken at its word.
    """

    def on_prepare(self, sender: NodeId, message: Prepare) -> Effects:
        """Promise anything above the accepted number."""
        if message.number > self.accepted_number:
            self.promised = self.accepted_number
        return super().on_prepare(sender, message)


class StubbornProposer(Proposer):
    """Proposes its own value whatever the promises report (breaks P2c)."""

    def choose_value(self) -> Value:
        """What its client wants."""
        return self.own_value


class LastWordProposer(Proposer):
    """Takes the reported value of the lowest number instead of the highest (breaks P2c)."""

    def choose_value(self) -> Value:
        """Some reported value, but of the wrong proposal."""
        reported = [report for report in self.promises.values() if report[0] >= 0]
        return min(reported, key=lambda report: report[0])[1] if reported else self.own_value


class Forgetful(SinglePaxos):
    """A process whose acceptor does not save its promises."""

    acceptor_class = ForgetfulAcceptor


class Obliging(SinglePaxos):
    """A process whose acceptor accepts below its promise."""

    acceptor_class = ObligingAcceptor


class Loose(SinglePaxos):
    """A process whose acceptor compares with accepted numbers only."""

    acceptor_class = LooseAcceptor


class Stubborn(SinglePaxos):
    """A process whose proposer ignores what promises report."""

    proposer_class = StubbornProposer


class LastWord(SinglePaxos):
    """A process whose proposer follows the oldest report."""

    proposer_class = LastWordProposer


class Variant(NamedTuple):
    """One way to break Paxos.

    Attributes
    ----------
    name, rule : str
        What it is called, and the rule that it breaks, for tables.
    process_class : type
        What the processes run.
    quorum_deficit : int
        Quorums of both phases are a majority less so many acceptors.
    crashes : bool
        It takes a crash to see it.
    """

    name: str
    rule: str
    process_class: type[SinglePaxos] = SinglePaxos
    quorum_deficit: int = 0
    crashes: bool = False

    def quorums(self, acceptors: tuple[NodeId, ...]) -> Quorums:
        """The variant's quorums among these acceptors."""
        size = majority(len(acceptors)) - self.quorum_deficit
        return UncheckedQuorums(acceptors, phase1=size, phase2=size)


VARIANTS = (
    Variant("quorum minus one", "two quorums have a common acceptor (§2.2)", quorum_deficit=1),
    Variant("promise not persisted", "an acceptor remembers (§2.5)", Forgetful, crashes=True),
    Variant("accepts below its promise", "P1a", Obliging),
    Variant("compares with accepted only", "phase 1b (§2.2)", Loose),
    Variant("own value after a report", "P2c", Stubborn),
)
"""The variants that two ballots suffice to break."""

VARIANTS_OF_THREE_BALLOTS = (Variant("oldest report followed", "P2c, highest-numbered", LastWord),)
"""Those that take three ballots."""
