"""Client histories as bars, and quorums as rows of members.

Rules of this file: plain values in, a figure out; `sim.linearizability` makes the bars.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

from consensus_lab.node import ParameterError
from consensus_lab.report import style
from consensus_lab.report.labels import text_size

BARS_MAX = 120
"""More operations than this cannot be read in one picture: show the failing prefix of a key."""


class Bar(Protocol):
    """One operation, as `sim.linearizability.Failure.bars` gives it."""

    @property
    def client(self) -> int:
        """The line."""

    @property
    def label(self) -> str:
        """Request and answer."""

    @property
    def start(self) -> int:
        """When it was called."""

    @property
    def end(self) -> int | None:
        """When it returned; None for an answer that never came."""

    @property
    def order(self) -> int | None:
        """Its place in the longest order found; None when it is in none."""

    @property
    def is_culprit(self) -> bool:
        """True for the operation whose answer no order explains."""


def history_bars(
    bars: Sequence[Bar],
    axes: Axes | None = None,
    *,
    x_label: str = "event in the history (count)",
    title: str = "",
    detail: str = "",
) -> Figure:
    """Operations as bars on their clients' lines, the one that nothing explains highlighted.

    Parameters
    ----------
    bars : sequence of Bar
        For instance `check(history, model=...).failure.bars()`.
    axes : Axes, optional
        Where to draw.
    x_label : str
        What the bars' ends count, with its unit.
    title, detail : str
        What the figure shows, and what it rests on.

    Raises
    ------
    ParameterError
        For no bars, or more than `BARS_MAX`.
    """
    if not 0 < len(bars) <= BARS_MAX:
        raise ParameterError("bars", f"{len(bars)} operations", f"from 1 to {BARS_MAX} operations")
    clients = sorted({bar.client for bar in bars})
    moments = sorted({m for bar in bars for m in (bar.start, bar.end) if m is not None})
    # Only the order matters: equal steps leave each bar room for its label.
    step = {moment: place for place, moment in enumerate(moments)}
    right = len(moments) + 0.6
    with style.style():
        width_in = min(15.0, max(6.0, 1.6 + 0.42 * len(moments)))
        figure, axes = style.axes_of(axes, width_in=width_in, height_in=1.4 + 0.5 * len(clients))
        inches = axes.get_position().width * figure.get_size_inches()[0]
        points_per_step = 72 * inches / (right + 0.6)
        for bar in bars:
            y = -clients.index(bar.client)
            end = right if bar.end is None else float(step[bar.end])
            _draw_bar(axes, bar, float(step[bar.start]), end, y, points_per_step)
        axes.set_yticks([-place for place in range(len(clients))],
                        [f"client {client}" for client in clients])  # fmt: skip
        axes.set(xlim=(-0.6, right), ylim=(-len(clients) + 0.4, 0.6), xlabel=x_label)
        every = max(1, len(moments) // 16)
        axes.set_xticks(range(0, len(moments), every), [f"{m:,}" for m in moments[::every]])
        axes.tick_params(axis="y", length=0)
        axes.grid(True, axis="x")
        axes.grid(False, axis="y")
        axes.spines["left"].set_visible(False)
        _bars_legend(axes, bars)
        if title:
            style.headline(axes, title, detail)
    return figure


def _draw_bar(
    axes: Axes, bar: Bar, start: float, end: float, y: float, points_per_step: float
) -> None:
    color = style.VERMILLION if bar.is_culprit else style.BLUE
    in_order = bar.order is not None
    axes.add_patch(Rectangle(
        (start, y - 0.3), max(end - start, 0.3), 0.6, facecolor=color, linewidth=1.2,
        edgecolor=color, alpha=0.9 if bar.is_culprit else 0.28 if in_order else 0.08, zorder=2,
    ))  # fmt: skip
    if bar.end is None:
        axes.add_patch(FancyArrowPatch((end - 0.5, y), (end + 0.05, y), arrowstyle="-|>",
                                       mutation_scale=10, color=color, zorder=3))  # fmt: skip
    number = f"{bar.order}: " if in_order else ""
    text = number + bar.label
    room = (max(end - start, 0.3)) * points_per_step - 4
    size = 7.5
    while text_size(text, size)[0] > room and size > 5.0:
        size -= 0.5
    if text_size(text, size)[0] > room:
        size = 6.0
    is_inside = text_size(text, size)[0] <= room
    ink = "#fefefe" if bar.is_culprit and is_inside else style.INK
    if is_inside:
        axes.text(start + 2 / points_per_step, y, text, fontsize=size, va="center", color=ink,
                  zorder=4)  # fmt: skip
    else:
        axes.text(start, y + 0.31, text, fontsize=size, va="bottom", color=ink, zorder=4)


def _bars_legend(axes: Axes, bars: Sequence[Bar]) -> None:
    keep: dict[str, Any] = {"linestyle": "none", "marker": "s", "markersize": 8}
    if any(bar.order is not None for bar in bars):
        axes.plot([], [], color=style.BLUE, alpha=0.4, label="in the longest order, with its place",
                  **keep)  # fmt: skip
    if any(bar.order is None and not bar.is_culprit for bar in bars):
        axes.plot([], [], color=style.BLUE, alpha=0.15, label="not in it", **keep)
    if any(bar.is_culprit for bar in bars):
        axes.plot([], [], color=style.VERMILLION, label="no order explains this answer", **keep)
    if any(bar.end is None for bar in bars):
        axes.plot([], [], color=style.BLUE, linestyle="none", marker=">", label="never answered")
    style.legend(axes)


def quorum_picture(
    members: Sequence[int],
    quorums: Mapping[str, Collection[int]],
    axes: Axes | None = None,
    *,
    names: Mapping[int, str] | None = None,
    title: str = "",
    detail: str = "",
) -> Figure:
    """Quorums as rows of filled circles; columns that are in all of them are marked.

    Parameters
    ----------
    members : sequence of int
        All nodes, in the order of the columns.
    quorums : mapping of str to collection of int
        What each quorum did, and who is in it.
    axes : Axes, optional
        Where to draw.
    names : mapping of int to str, optional
        What the nodes are called.
    title, detail : str
        What the figure shows, and what it rests on.

    Raises
    ------
    ParameterError
        When a quorum holds somebody who is no member.
    """
    for label, quorum in quorums.items():
        if not set(quorum) <= set(members):
            raise ParameterError("quorums", f"{label}: {sorted(quorum)}", f"within {members}")
    common = set(members).intersection(*map(set, quorums.values())) if quorums else set()
    with style.style():
        size = (1.9 + 0.55 * len(members), 1.0 + 0.5 * len(quorums))
        figure, axes = style.axes_of(axes, width_in=max(5.0, size[0]), height_in=size[1])
        for column, member in enumerate(members):
            if member in common:
                axes.axvspan(column - 0.42, column + 0.42, color=style.ORANGE, alpha=0.3,
                             linewidth=0)  # fmt: skip
        for row, quorum in enumerate(quorums.values()):
            look = style.look(row)
            for column, member in enumerate(members):
                axes.plot(column, -row, marker="o", markersize=15, color=look.color,
                          markerfacecolor=look.color if member in quorum else style.PAPER,
                          markeredgewidth=1.4)  # fmt: skip
        axes.set_yticks([-row for row in range(len(quorums))], list(quorums))
        axes.set_xticks(range(len(members)), [(names or {}).get(m, f"node {m}") for m in members])
        axes.tick_params(length=0)
        axes.grid(False)
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)
        axes.set(xlim=(-0.6, len(members) - 0.4), ylim=(-len(quorums) + 0.4, 0.6))
        if title:
            style.headline(axes, title, detail)
    return figure
