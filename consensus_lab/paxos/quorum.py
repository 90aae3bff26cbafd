"""Quorums: which sets of acceptors are enough, and the check that makes them safe.

Theory of operation.  A value can be chosen safely because any two majorities have an acceptor in
common (Paxos Made Simple §2.2).  Looking closer, only a quorum that answers phase 1 has to meet
every quorum that accepts in phase 2: that one common acceptor reports what was accepted.  Two
phase-2 quorums need not meet (Howard, Malkhi, Spiegelman, "Flexible Paxos", OPODIS 2016).  So a
deployment may take small phase-2 quorums, used for every command, and pay with large phase-1
quorums, used when a leader changes.

A family of quorums is given by a size (any so many acceptors) or as explicit sets (a grid's rows
and columns).  A family that does not intersect the other is refused when it is built.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import combinations, product

from consensus_lab.node import NodeId, ParameterError

EXPLICIT_PAIRS_MAX = 1_000_000
"""Most pairs of explicit quorums that the intersection check looks at."""


def majority(acceptor_count: int) -> int:
    """The smallest size of which any two sets intersect: floor(n/2) + 1.

    Examples
    --------
    >>> [majority(n) for n in (1, 2, 3, 4, 5)]
    [1, 2, 2, 3, 3]
    """
    return acceptor_count // 2 + 1


@dataclass(frozen=True)
class Family:
    """All sets that count as a quorum: any `size` acceptors, or one of `sets` and its supersets."""

    size: int = 0
    sets: tuple[frozenset[NodeId], ...] = ()

    def is_quorum(self, members: Collection[NodeId]) -> bool:
        """True when these acceptors include a quorum."""
        if self.sets:
            present = frozenset(members)
            return any(quorum <= present for quorum in self.sets)
        return len(members) >= self.size

    def smallest(self) -> int:
        """How many acceptors the smallest quorum has."""
        return min(map(len, self.sets)) if self.sets else self.size

    def minimal(self, acceptors: Iterable[NodeId]) -> tuple[frozenset[NodeId], ...]:
        """Every quorum from which no acceptor could be left out, in a fixed order."""
        if not self.sets:
            return tuple(map(frozenset, combinations(sorted(acceptors), self.size)))
        least = {q for q in self.sets if not any(other < q for other in self.sets)}
        return tuple(sorted(least, key=sorted))


@dataclass(frozen=True)
class Quorums:
    """The acceptors, and the quorums of the two phases.

    Parameters
    ----------
    acceptors : tuple of int
        At least one, without duplicates.
    phase1, phase2 : int, or iterable of sets of acceptors, optional
        A size, or the sets themselves; majorities if left out.

    Raises
    ------
    ParameterError
        For no acceptors, duplicates, a size out of range, unknown acceptors in a set, or two
        quorums of different phases that have no acceptor in common.

    Examples
    --------
    >>> Quorums((1, 2, 3)).failures_tolerated
    1
    >>> Quorums((1, 2, 3, 4), phase1=3, phase2=2).failures_tolerated
    1
    >>> Quorums((1, 2, 3), phase1=2, phase2=1)
    Traceback (most recent call last):
    ...
    consensus_lab.node.ParameterError: phase2 must be at least 2, so that ...; got 1
    """

    acceptors: tuple[NodeId, ...]
    phase1: Family
    phase2: Family

    def __init__(
        self,
        acceptors: Iterable[NodeId],
        *,
        phase1: int | Iterable[Collection[NodeId]] | None = None,
        phase2: int | Iterable[Collection[NodeId]] | None = None,
    ) -> None:
        members = tuple(acceptors)
        if not members:
            raise ParameterError("acceptors", members, "at least one acceptor")
        if len(set(members)) != len(members):
            raise ParameterError("acceptors", members, "without duplicate ids")
        object.__setattr__(self, "acceptors", members)
        object.__setattr__(self, "phase1", _family("phase1", phase1, members))
        object.__setattr__(self, "phase2", _family("phase2", phase2, members))
        self.check()

    def check(self) -> None:
        """Raise `ParameterError` unless every phase-1 quorum meets every phase-2 quorum."""
        count = len(self.acceptors)
        first, second = self.phase1, self.phase2
        if not first.sets and not second.sets:
            if first.size + second.size <= count:
                least = count - first.size + 1
                rule = f"at least {least}, so that it meets every phase-1 quorum of {first.size}"
                raise ParameterError("phase2", second.size, f"{rule} among {count} acceptors")
            return
        _check_explicit(first, second, self.acceptors)

    @property
    def failures_tolerated(self) -> int:
        """How many acceptors may be down, whichever they are, with both phases still possible."""
        return min(
            _failures_tolerated(family, self.acceptors) for family in (self.phase1, self.phase2)
        )

    @property
    def remark(self) -> str:
        """What these quorums tolerate, in a sentence; says when one acceptor is of no use."""
        count = len(self.acceptors)
        tolerated = self.failures_tolerated
        noun = "failure" if tolerated == 1 else "failures"
        sentence = f"{count} acceptors tolerate {tolerated} {noun}"
        fewer = count - 1
        if count % 2 == 0 and self == Quorums(self.acceptors) and tolerated == (fewer - 1) // 2:
            return f"{sentence}, no more than {fewer} would."
        return f"{sentence}."


def _family(
    name: str, given: int | Iterable[Collection[NodeId]] | None, members: tuple[NodeId, ...]
) -> Family:
    count = len(members)
    if given is None:
        return Family(size=majority(count))
    if isinstance(given, int):
        if not 1 <= given <= count:
            raise ParameterError(name, given, f"from 1 to {count}, the number of acceptors")
        return Family(size=given)
    sets = tuple(frozenset(quorum) for quorum in given)
    for quorum in sets:
        if not quorum or not quorum <= set(members):
            raise ParameterError(name, sorted(quorum), f"a non-empty subset of {sorted(members)}")
    if not sets:
        raise ParameterError(name, (), "a size or at least one set of acceptors")
    return Family(sets=sets)


def _check_explicit(first: Family, second: Family, acceptors: tuple[NodeId, ...]) -> None:
    """Look for a phase-1 quorum and a phase-2 quorum without a common acceptor."""
    if first.sets and second.sets:
        if len(first.sets) * len(second.sets) > EXPLICIT_PAIRS_MAX:
            raise ParameterError(
                "phase1", len(first.sets), f"sets of which at most {EXPLICIT_PAIRS_MAX} pairs exist"
            )
        for one, other in product(first.sets, second.sets):
            if not one & other:
                _refuse(other, one)
        return
    # One side is a size: the worst quorum of that size avoids the explicit set if it can.
    sets, size = (first.sets, second.size) if first.sets else (second.sets, first.size)
    for quorum in sets:
        if len(quorum) + size <= len(acceptors):
            _refuse(quorum, [a for a in acceptors if a not in quorum][:size])


def _refuse(one: Collection[NodeId], other: Collection[NodeId]) -> None:
    rule = f"in common with every quorum of the other phase, also with {sorted(other)}"
    raise ParameterError("phase2", sorted(one), f"quorums that have an acceptor {rule}")


def _failures_tolerated(family: Family, acceptors: tuple[NodeId, ...]) -> int:
    """The largest f such that any f acceptors may fail and a quorum is left."""
    if not family.sets:
        return len(acceptors) - family.size
    for failures in range(1, len(acceptors) + 1):
        for down in combinations(acceptors, failures):
            if not family.is_quorum([a for a in acceptors if a not in down]):
                return failures - 1
    raise AssertionError("with every acceptor down there is no quorum")
