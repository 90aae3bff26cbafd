"""Bars with intervals: shares or amounts of a few named cases."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from consensus_lab.report.style import INK, axes_of, headline, look, style

LABEL_CHARACTERS = 34


def bars(
    labels: Sequence[str],
    values: Sequence[float],
    axes: Axes | None = None,
    *,
    x_label: str,
    low: Sequence[float] | None = None,
    high: Sequence[float] | None = None,
    is_share: bool = False,
    title: str = "",
    detail: str = "",
) -> Figure:
    """Horizontal bars, the first on top, each with its interval.

    Parameters
    ----------
    labels : sequence of str
        One per bar; long ones are broken.
    values, low, high : sequence of float
        Amounts and the ends of their 95 % intervals.
    axes : Axes, optional
        Where to draw.
    x_label : str
        With unit.
    is_share : bool
        Values are shares of 1, written in percent on an axis from 0 to 100 %.
    title, detail : str
        What the figure shows, and what it rests on.
    """
    with style():
        figure, axes = axes_of(axes, height_in=1.4 + 0.55 * len(labels))
        places = range(len(labels))
        mark = look(0)
        axes.barh(places, values, color=mark.color, height=0.55)
        if low is not None and high is not None:
            ends = [[v - a for v, a in zip(values, low, strict=True)],
                    [b - v for v, b in zip(values, high, strict=True)]]  # fmt: skip
            axes.errorbar(values, places, xerr=[[max(0.0, e) for e in side] for side in ends],
                          fmt="none", ecolor=INK, capsize=3, linewidth=1.0)  # fmt: skip
        axes.set_yticks(list(places), [textwrap.fill(t, LABEL_CHARACTERS) for t in labels])
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(x_label)
        if is_share:
            axes.set_xlim(0.0, 1.0)
            axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        headline(axes, title, detail)
    return figure
