"""When which node is on and which link is whole: a run's conditions as integers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

import numpy

from consensus_lab.gossip.conditions import Conditions
from consensus_lab.gossip.mining import TIME_NS_MAX
from consensus_lab.network.arrays import Network
from consensus_lab.node import ParameterError
from consensus_lab.sim.links import NANOSECONDS_PER_SECOND

# Kinds of change, in their order at equal times.
HEAL, ON, CUT, OFF = range(4)


class Change(NamedTuple):
    """Something that happens to a node, or to the links of a partition."""

    time_ns: int
    kind: int
    subject: int


class Timeline:
    """What is on when.

    Parameters
    ----------
    conditions : Conditions
        Valid for the network.
    network : Network

    Attributes
    ----------
    off_ns : dict of node to list of (start, end)
        Ascending and apart; closed at the start, open at the end.
    cut_ns : list of (start, end)
        Per partition.
    is_cut : bool array, (partitions, links)
        Which directed links a partition cuts.
    changes : list of Change
        In order.
    """

    def __init__(self, conditions: Conditions, network: Network) -> None:
        n = network.n_nodes
        self.network = network
        self.sender = numpy.repeat(numpy.arange(n), numpy.diff(network.offset))
        spans: dict[int, list[tuple[int, int]]] = {}
        for outage in conditions.outages:
            spans.setdefault(outage.node, []).append(_span(outage.start_s, outage.end_s))
        self.off_ns = {node: _joined(spans[node]) for node in sorted(spans)}
        self.cut_ns = [_span(cut.start_s, cut.end_s) for cut in conditions.partitions]
        self.is_cut = numpy.zeros((len(self.cut_ns), len(network.neighbour)), bool)
        for row, cut in zip(self.is_cut, conditions.partitions, strict=True):
            inside = numpy.zeros(n, bool)
            inside[list(cut.group)] = True
            row |= inside[self.sender] != inside[network.neighbour]
            for a, b in cut.links:
                row[self.link(a, b)] = row[self.link(b, a)] = True
        self.changes = sorted(self._changes())

    @property
    def is_empty(self) -> bool:
        """True when nothing ever changes."""
        return not self.changes

    def link(self, sender: int, receiver: int) -> int:
        """The directed link between two neighbours."""
        low, high = self.network.offset[sender], self.network.offset[sender + 1]
        place = int(low + numpy.searchsorted(self.network.neighbour[low:high], receiver))
        if place >= high or self.network.neighbour[place] != receiver:
            raise ParameterError("partitions", (sender, receiver), "links of the network")
        return place

    def is_on(self, node: int, now: int, until: int) -> bool:
        """Whether the node is on from one time until another."""
        spans = self.off_ns.get(node, [])
        place = bisect_right(spans, (until, TIME_NS_MAX + 1)) - 1
        return place < 0 or now >= spans[place][1]

    def is_up(self, sender: int, receiver: int, now: int, until: int | None = None) -> bool:
        """Whether two neighbours are connected at that time, or from it until another."""
        until = now if until is None else until
        if not (self.is_on(sender, now, until) and self.is_on(receiver, now, until)):
            return False
        if not self.cut_ns:
            return True
        link = self.link(sender, receiver)
        return not any(
            self.is_cut[place, link] and start <= until and now < end
            for place, (start, end) in enumerate(self.cut_ns)
        )

    def ends(self, change: Change) -> list[tuple[int, int]]:
        """Whose connections a change is about: pairs of node and neighbour, in order."""
        if change.kind in (ON, OFF):
            node = change.subject
            return [(peer, node) for peer in self.network.neighbours(node)]
        links = numpy.flatnonzero(self.is_cut[change.subject])
        ends = self.sender[links].tolist(), self.network.neighbour[links].tolist()
        return list(zip(*ends, strict=True))

    def _changes(self) -> Iterator[Change]:
        for node, spans in self.off_ns.items():
            for start, end in spans:
                yield Change(start, OFF, node)
                if end < TIME_NS_MAX:
                    yield Change(end, ON, node)
        for place, (start, end) in enumerate(self.cut_ns):
            yield Change(start, CUT, place)
            if end < TIME_NS_MAX:
                yield Change(end, HEAL, place)


def _span(start_s: float, end_s: float) -> tuple[int, int]:
    """In nanoseconds; an end that is too late for a run is the latest time there is."""
    latest_s = TIME_NS_MAX / NANOSECONDS_PER_SECOND
    start, end = (round(min(s, latest_s) * NANOSECONDS_PER_SECOND) for s in (start_s, end_s))
    return min(start, TIME_NS_MAX), min(max(end, start + 1), TIME_NS_MAX)


def _joined(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sorted, and those that touch made one."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined
