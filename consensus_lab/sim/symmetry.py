"""Symmetry for the explorer: states that differ by an exchange of processes count as one.

Theory of operation.  Processes are interchangeable when no node orders them, computes with their
ids or treats one of them differently: the acceptors of Paxos are, its proposers are not (their
numbers come from their ids).  Then the exchange of two of them, everywhere in a state, gives a
state from which the same things can happen.  It is enough to explore one state of each such
class; the *key* of a class is the least that any exchange makes of the state.

An exchange finds processes in images by their type, `Peer`.  So whatever a node remembers of a
peer has to be the id that it was given as a sender, not one computed anew.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import permutations, product

from consensus_lab.node import NodeId
from consensus_lab.sim.freeze import rename
from consensus_lab.sim.local_steps import LocalSteps


class Symmetry:
    """The exchanges of a world's interchangeable processes.

    Parameters
    ----------
    groups : sequence of sequences of int
        Disjoint groups of interchangeable processes.
    steps : LocalSteps
        Knows the images of numbered local states and messages.
    """

    def __init__(self, groups: Sequence[Sequence[NodeId]], steps: LocalSteps) -> None:
        self.steps = steps
        self._numbers: dict[Hashable, int] = {}
        self._exchanges = [
            _Exchange(names, steps, self._numbers)
            for names in _renamings(groups)
            if any(one != other for one, other in names.items())
        ]
        identity = _Exchange({}, steps, self._numbers)
        self._exchanges.insert(0, identity)

    def key(
        self, locals_: tuple[int, ...], wire: tuple[int, ...]
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The same for all states that an exchange turns into each other."""
        return min(exchange.apply(locals_, wire) for exchange in self._exchanges)

    def class_size(self, locals_: tuple[int, ...], wire: tuple[int, ...]) -> int:
        """How many different states the class of this one has."""
        return len({exchange.apply(locals_, wire) for exchange in self._exchanges})


class _Exchange:
    """One renaming of processes, with the numbers of everything that it was applied to."""

    def __init__(
        self, names: dict[NodeId, NodeId], steps: LocalSteps, numbers: dict[Hashable, int]
    ) -> None:
        self.names = names
        self.steps = steps
        self.numbers = numbers
        # Which old place each new place gets its local state from.
        sources = {steps.places[names.get(old, old)]: place for old, place in steps.places.items()}
        self.sources = tuple(sources[place] for place in range(len(sources)))
        self.locals: dict[int, int] = {}
        self.wire: dict[int, int] = {}

    def apply(
        self, locals_: tuple[int, ...], wire: tuple[int, ...]
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The state after the exchange, in numbers of renamed images."""
        known, wired = self.locals, self.wire
        moved = []
        for source in self.sources:
            local = locals_[source]
            number = known.get(local)
            if number is None:
                number = known[local] = self._number(self.steps.local_images[local])
            moved.append(number)
        sent = []
        for envelope in wire:
            number = wired.get(envelope)
            if number is None:
                number = wired[envelope] = self._number(self.steps.envelope_images[envelope])
            sent.append(number)
        sent.sort()
        return tuple(moved), tuple(sent)

    def _number(self, image: Hashable) -> int:
        renamed = rename(image, self.names)
        return self.numbers.setdefault(renamed, len(self.numbers))


def _renamings(groups: Sequence[Sequence[NodeId]]) -> list[dict[NodeId, NodeId]]:
    """Every exchange within the groups."""
    choices = [
        [dict(zip(group, order, strict=True)) for order in permutations(group)] for group in groups
    ]
    return [
        {one: other for part in parts for one, other in part.items()} for parts in product(*choices)
    ]
