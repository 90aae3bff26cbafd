"""Block trees: forks, stale blocks and reorganisations.

Rules of this file: plain frames in, a figure out.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, Rectangle

from consensus_lab.node import ParameterError
from consensus_lab.report import style

if TYPE_CHECKING:
    import pandas

BLOCKS_MAX = 300
"""More blocks than this cannot be told apart in one picture."""


class Reorganisation(NamedTuple):
    """A node leaves one tip for another; `label` says who or when."""

    old_tip: Hashable
    new_tip: Hashable
    label: str = ""


class _Place(NamedTuple):
    """Where a block stands: its height, and its lane (0 is the chain that won)."""

    height: int
    lane: int


def block_tree(
    frame: pandas.DataFrame,
    axes: Axes | None = None,
    *,
    block: str = "block",
    parent: str = "parent",
    is_on_chain: str = "is_on_chain",
    label: str | None = None,
    seconds: str | None = None,
    reorganisations: Sequence[Reorganisation] = (),
    title: str = "",
    detail: str = "",
) -> Figure:
    """A block tree: the chain that won in a line, stale branches beside it.

    Parameters
    ----------
    frame : DataFrame
        One row per block, parents before children: columns `block`, `parent` (missing, or not
        itself in the frame, for a root), `is_on_chain`, and if named `label` (text in the block)
        and `seconds` (when it was found; x is then time instead of height).
    axes : Axes, optional
        Where to draw.
    reorganisations : sequence of Reorganisation
        Drawn as curved arrows from the tip that was left to the one that was taken.
    title, detail : str
        What the figure shows, and what it rests on.

    Raises
    ------
    ParameterError
        For more than `BLOCKS_MAX` blocks or a child before its parent.
    """
    if len(frame) > BLOCKS_MAX:
        raise ParameterError("frame", f"{len(frame)} blocks", f"at most {BLOCKS_MAX} blocks")
    places = _places(frame, block, parent, is_on_chain)
    along = dict(zip(frame[block], frame[seconds], strict=True)) if seconds else None
    spots = {
        name: (float(along[name]) if along else float(place.height), float(place.lane))
        for name, place in places.items()
    }
    lanes = [place.lane for place in places.values()]
    with style.style():
        width_in = min(15.0, max(6.0, 1.5 + 0.62 * (1 + max(p.height for p in places.values()))))
        rise_in = 1.5 + 0.62 * (max(lanes) - min(lanes) + 1)
        figure, axes = style.axes_of(axes, width_in=width_in, height_in=rise_in)
        size = _half_width(spots)
        _draw_links(axes, frame, spots, size, block, parent)
        names = dict(zip(frame[block], frame[label or block], strict=True))
        chain = dict(zip(frame[block], frame[is_on_chain], strict=True))
        for name, (x, y) in spots.items():
            _draw_block(axes, x, y, size, str(names[name]), bool(chain[name]))
        for change in reorganisations:
            _draw_change(axes, spots, change)
        axes.set(xlabel="time (s)" if seconds else "height above the first block (count)",
                 ylim=(min(lanes) - 0.8, max(lanes) + 0.8 + 0.5 * bool(reorganisations)))
        xs = [x for x, _ in spots.values()]
        axes.set_xlim(min(xs) - 3 * size, max(xs) + 3 * size)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.grid(False)
        _legend(axes, list(chain.values()), bool(reorganisations))
        if title:
            style.headline(axes, title, detail)
    return figure


def _places(
    frame: pandas.DataFrame, block: str, parent: str, is_on_chain: str
) -> dict[Hashable, _Place]:
    """Heights from the parents; a lane for each branch, the nearest that is free there."""
    known = set(frame[block])
    rows = list(zip(frame[block], frame[parent], frame[is_on_chain], strict=True))
    height: dict[Hashable, int] = {}
    last: dict[Hashable, int] = {}  # Per block, the height at which its longest branch ends.
    for name, before, _ in rows:
        if before in known and before not in height:
            raise ParameterError("frame", f"block {name!r} before its parent", "parents first")
        height[name] = height[before] + 1 if before in known else 0
    for name, before, _ in reversed(rows):
        last[name] = max(last.get(name, 0), height[name])
        if before in known:
            last[before] = max(last.get(before, 0), last[name])
    lanes: dict[Hashable, int] = {}
    ends: dict[int, int] = {}  # Per lane, the height up to which it is taken.
    for name, before, wins in rows:
        if wins:
            lanes[name] = 0
        elif before in known and lanes[before] != 0 and height[before] == ends[lanes[before]]:
            lanes[name] = lanes[before]
        else:
            near = sorted((sign * lane for lane in range(1, len(rows) + 1) for sign in (1, -1)),
                          key=lambda lane: (abs(lane), -lane))  # fmt: skip
            lanes[name] = next(lane for lane in near if ends.get(lane, -1) < height[name] - 1)
        if lanes[name] != 0:
            ends[lanes[name]] = max(ends.get(lanes[name], -1), height[name])
    return {name: _Place(height[name], lanes[name]) for name, _, _ in rows}


def _half_width(spots: dict[Hashable, tuple[float, float]]) -> float:
    """Half a block's width in units of x: a third of the usual distance."""
    xs = sorted({x for x, _ in spots.values()})
    if len(xs) < 2:
        return 0.3
    return 0.3 * (xs[-1] - xs[0]) / max(1, len(xs) - 1)


def _draw_links(
    axes: Axes, frame: pandas.DataFrame, spots: dict[Hashable, tuple[float, float]], size: float,
    block: str, parent: str,
) -> None:  # fmt: skip
    """From each block back to the one whose hash it holds."""
    for name, before in zip(frame[block], frame[parent], strict=True):
        if before in spots:
            (x1, y1), (x0, y0) = spots[name], spots[before]
            axes.add_patch(FancyArrowPatch(
                (x1 - size, y1), (x0 + size, y0), arrowstyle="-|>", mutation_scale=8,
                color=style.FAINT, linewidth=1.0, shrinkA=0, shrinkB=1, zorder=1,
            ))  # fmt: skip


def _draw_block(axes: Axes, x: float, y: float, size: float, text: str, wins: bool) -> None:
    color = style.BLUE if wins else style.VERMILLION
    axes.add_patch(Rectangle(
        (x - size, y - 0.28), 2 * size, 0.56, facecolor=color if wins else style.PAPER,
        edgecolor=color, linewidth=1.3, hatch="" if wins else "////", zorder=2,
    ))  # fmt: skip
    box: dict[str, Any] | None = None
    if not wins:
        box = {"boxstyle": "square,pad=0.15", "facecolor": style.PAPER, "edgecolor": "none"}
    axes.text(x, y, text, ha="center", va="center", fontsize=7.5, zorder=3, bbox=box,
              color="#fefefe" if wins else style.INK)  # fmt: skip


def _draw_change(
    axes: Axes, spots: dict[Hashable, tuple[float, float]], change: Reorganisation
) -> None:
    for name, tip in (("old_tip", change.old_tip), ("new_tip", change.new_tip)):
        if tip not in spots:
            raise ParameterError(name, tip, "a block of the frame")
    (x0, y0), (x1, y1) = spots[change.old_tip], spots[change.new_tip]
    axes.add_patch(FancyArrowPatch(
        (x0, y0 + 0.3), (x1, y1 + 0.3), connectionstyle="arc3,rad=-0.45", arrowstyle="-|>",
        mutation_scale=11, color=style.PURPLE, linewidth=1.6, linestyle=(0, (4, 2)), zorder=4,
    ))  # fmt: skip
    if change.label:
        axes.text((x0 + x1) / 2, max(y0, y1) + 0.62, change.label, ha="center", va="bottom",
                  fontsize=7.5, color=style.INK)  # fmt: skip


def _legend(axes: Axes, wins: list[Any], has_changes: bool) -> None:
    keep: dict[str, Any] = {"linestyle": "none", "markersize": 8, "marker": "s"}
    axes.plot([], [], color=style.BLUE, label=f"on the chain ({sum(map(bool, wins))})", **keep)
    stale = len(wins) - sum(map(bool, wins))
    if stale:
        axes.plot([], [], color=style.VERMILLION, markerfacecolor=style.PAPER,
                  label=f"stale ({stale})", **keep)  # fmt: skip
    if has_changes:
        line = Line2D([], [], color=style.PURPLE, linestyle=(0, (4, 2)), label="reorganisation")
        axes.add_line(line)
    style.legend(axes)
