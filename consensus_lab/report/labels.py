"""Finds places for labels in a diagram so that none covers another.

Theory of operation.  A `Board` holds rotated rectangles, in points.  *Taken* ones (labels, marks)
may not be covered; *crossed* ones (arrows, lines) may, at a price.  Labels are placed one after
the other, each at the cheapest of its candidate places; if all are taken it is left out, and
whoever draws falls back on the legend.  Two rectangles are apart exactly when one of the four
directions of their edges separates them (the separating axis theorem).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple


class Box(NamedTuple):
    """A rectangle by its centre, in points, turned by `angle` degrees."""

    x: float
    y: float
    width: float
    height: float
    angle: float = 0.0


class Board:
    """What is already drawn."""

    def __init__(self) -> None:
        self.taken: list[Box] = []
        self.crossed: list[Box] = []

    def take(self, box: Box) -> None:
        """Nothing else may be placed over this."""
        self.taken.append(box)

    def cross(self, box: Box) -> None:
        """Placing something over this should be avoided."""
        self.crossed.append(box)

    def place(self, candidates: Iterable[Box], *, price: float = 0.25) -> Box | None:
        """Take the best free candidate; later ones cost `price` more each, a crossing costs 1."""
        best: tuple[float, Box] | None = None
        for number, box in enumerate(candidates):
            floor = number * price
            if best is not None and floor >= best[0]:
                break
            if any(overlap(box, other) for other in self.taken):
                continue
            cost = floor + sum(overlap(box, other) for other in self.crossed)
            if best is None or cost < best[0]:
                best = (cost, box)
        if best is None:
            return None
        self.take(best[1])
        return best[1]


def segment(x0: float, y0: float, x1: float, y1: float, thickness: float = 1.0) -> Box:
    """A line as a thin rectangle."""
    angle = math.degrees(math.atan2(y1 - y0, x1 - x0))
    return Box((x0 + x1) / 2, (y0 + y1) / 2, math.hypot(x1 - x0, y1 - y0), thickness, angle)


def overlap(one: Box, other: Box) -> bool:
    """True when two rectangles share an area.

    Examples
    --------
    >>> overlap(Box(0, 0, 10, 2), Box(6, 0, 4, 2)), overlap(Box(0, 0, 10, 2), Box(6, 4, 4, 2, 45))
    (True, False)
    """
    dx, dy = other.x - one.x, other.y - one.y
    reach = math.hypot(one.width, one.height) + math.hypot(other.width, other.height)
    if 4 * (dx * dx + dy * dy) > reach * reach:
        return False
    edges = (*_edges(one.angle), *_edges(other.angle))
    for ux, uy in edges:
        gap = abs(dx * ux + dy * uy) - _extent(one, ux, uy) - _extent(other, ux, uy)
        if gap >= 0:
            return False
    return True


@cache
def _edges(angle: float) -> tuple[tuple[float, float], tuple[float, float]]:
    turn = math.radians(angle)
    return (math.cos(turn), math.sin(turn)), (-math.sin(turn), math.cos(turn))


def _extent(box: Box, ux: float, uy: float) -> float:
    """Half of a rectangle's shadow on a direction."""
    (ax, ay), (bx, by) = _edges(box.angle)
    return (box.width * abs(ax * ux + ay * uy) + box.height * abs(bx * ux + by * uy)) / 2


@cache
def text_size(text: str, size_pt: float, *, bold: bool = False) -> tuple[float, float]:
    """Width and height of a text in points, from the font's own measures (no renderer needed)."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    font = FontProperties(family="DejaVu Sans", size=size_pt, weight="bold" if bold else "normal")
    lines = text.split("\n")
    widths = [TextToPath().get_text_width_height_descent(line, font, False)[0] for line in lines]
    return max(widths), 1.2 * size_pt * len(lines)
