"""Where a moment stands on the horizontal axis of a diagram, in points (1/72 inch).

Theory of operation.  A cluster exchanges messages for a millisecond and then waits a second: on
a linear axis the exchange is one vertical stroke.  Between two neighbouring moments at which
something happens the axis is linear.  The scale says how long that piece is drawn:

* "linear": as long as it lasted;
* "cut": the same, but a pause during which no message is under way and no disk writes is
  shortened to a fixed length and marked;
* "step": all pieces alike, so that only the order is shown.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from consensus_lab.node import ParameterError
from consensus_lab.report.traces import time_unit

SCALES = ("cut", "linear", "step")

PAUSE_FLIGHTS_MAX = 1.5
"""A pause longer than this many typical messages is cut to that length."""


class Cut(NamedTuple):
    """A pause that is drawn shorter than it was: its ends in points, its length in time."""

    begin_pt: float
    end_pt: float
    length_ns: int


class Tick(NamedTuple):
    """A mark on the axis and what is written under it."""

    at_pt: float
    label: str


class TimeAxis:
    """The map from simulated time to points.

    Parameters
    ----------
    times : iterable of int
        Moments at which something is drawn; the axis reaches from the first to the last.
    busy : sequence of (int, int)
        Spans that must not be cut: messages under way, disks that write.
    width_pt : float
        Length of the axis.
    scale : str
        One of `SCALES`.

    Attributes
    ----------
    cuts : list of Cut
        The pauses that were shortened, from left to right.
    """

    def __init__(
        self,
        times: Iterable[int],
        busy: Sequence[tuple[int, int]],
        *,
        width_pt: float,
        scale: str = "cut",
    ) -> None:
        if scale not in SCALES:
            raise ParameterError("scale", scale, "one of " + ", ".join(SCALES))
        self.times = sorted(set(times)) or [0]
        self.scale = scale
        self.width_pt = width_pt
        lengths, is_cut = self._lengths(busy)
        # A margin at both ends keeps marks and labels inside.
        margin_pt = min(24.0, width_pt / 20)
        points_per_length = (width_pt - 2 * margin_pt) / (math.fsum(lengths) or 1.0)
        self.points = [margin_pt]
        for length in lengths:
            self.points.append(self.points[-1] + length * points_per_length)
        pairs = zip(self.times, self.times[1:], strict=False)
        self.cuts = [
            Cut(self.points[i], self.points[i + 1], after - before)
            for i, (before, after) in enumerate(pairs)
            if is_cut[i]
        ]

    def _lengths(self, busy: Sequence[tuple[int, int]]) -> tuple[list[float], list[bool]]:
        """How long each piece is drawn, in any unit, and whether it is cut."""
        pieces = list(zip(self.times, self.times[1:], strict=False))
        if self.scale == "step":
            return [1.0] * len(pieces), [False] * len(pieces)
        whole = [float(after - before) for before, after in pieces]
        if self.scale == "linear":
            return whole, [False] * len(pieces)
        spans = sorted(end - begin for begin, end in busy if end > begin)
        usual = spans[len(spans) // 2] if spans else (self.times[-1] - self.times[0]) / 30
        longest = PAUSE_FLIGHTS_MAX * usual
        is_cut = [
            after - before > 2 * longest and not any(b <= before and e >= after for b, e in busy)
            for before, after in pieces
        ]
        return [longest if cut else w for w, cut in zip(whole, is_cut, strict=True)], is_cut

    def x(self, time_ns: int) -> float:
        """Points from the left end at that time."""
        place = min(max(bisect_right(self.times, time_ns) - 1, 0), len(self.times) - 1)
        if place == len(self.times) - 1:
            return self.points[place]
        before, after = self.times[place], self.times[place + 1]
        share = (time_ns - before) / (after - before)
        return self.points[place] + share * (self.points[place + 1] - self.points[place])

    def unit(self) -> str:
        """The unit in which `ticks` are written."""
        return self._unit()[1]

    def _unit(self) -> tuple[int, str]:
        """The unit in which times differ, or a larger one in which they are not too long."""
        size, name = time_unit(self._span())
        latest = max(abs(self.times[0]), abs(self.times[-1]))
        return time_unit(2000 * size) if latest >= 10**6 * size else (size, name)

    def _span(self) -> int:
        """The length that is drawn in full: it tells in which unit times differ."""
        return self.times[-1] - self.times[0] - sum(cut.length_ns for cut in self.cuts)

    def ticks(self, *, distance_pt: float = 52.0) -> list[Tick]:
        """Marks at least that far apart: after each cut and between, at round times where linear.

        The numbers are true times, in `unit`.
        """
        size, _ = self._unit()
        ticks: list[Tick] = []
        for time_ns in self._wanted(distance_pt):
            at = self.x(time_ns)
            if all(abs(at - tick.at_pt) >= distance_pt for tick in ticks):
                ticks.append(Tick(at, _number(time_ns / size)))
        return sorted(ticks)

    def _wanted(self, distance_pt: float) -> list[int]:
        """Times worth a tick, the most useful first: after each cut, ends, then round ones."""
        if self.scale == "step":
            return [self.times[0], self.times[-1], *self.times]
        step = max(1.0, self._span() * distance_pt / self.width_pt)
        power = 10 ** math.floor(math.log10(step))
        nice = max(1, next(int(m * power) for m in (1, 2, 5, 10) if m * power >= step or m == 10))
        ends = {cut.end_pt for cut in self.cuts}
        pairs = list(zip(self.times, self.points, strict=True))
        begins = [self.times[0]] + [time for time, point in pairs if point in ends]
        if not self.cuts:
            begins = []
        stops = [time for time, point in pairs if point in {cut.begin_pt for cut in self.cuts}]
        rounds = [
            time
            for begin, stop in zip(begins or [self.times[0]], [*stops, self.times[-1]], strict=True)
            for time in range(-(-begin // nice) * nice, stop + 1, nice)
        ]
        return [*begins, *rounds, *(self.times[-1:] if self.cuts else [])]


def _number(value: float) -> str:
    """At most three decimals, none that say nothing."""
    return f"{value:,.3f}".rstrip("0").rstrip(".")


def length_text(length_ns: int) -> str:
    """A span with its unit, three significant digits: "98.7 ms".

    Examples
    --------
    >>> length_text(98_700_000), length_text(1_500_000_000), length_text(999_700_000)
    ('98.7 ms', '1.5 s', '1,000 ms')
    """
    size, name = time_unit(2 * length_ns)
    return f"{float(f'{length_ns / size:.3g}'):,g} {name}"
