"""Curves over a parameter: with their intervals, under load, and of risk over time.

Rules of this file: plain frames in, a figure out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from consensus_lab.report import style
from consensus_lab.report.distributions import time_axis

if TYPE_CHECKING:
    import pandas


TICKS_MAX = 8


def curve_with_band(
    frame: pandas.DataFrame,
    axes: Axes | None = None,
    *,
    x: str,
    y: str,
    x_label: str,
    y_label: str,
    low: str | None = None,
    high: str | None = None,
    group: str | None = None,
    group_label: str | None = None,
    is_log_x: bool = False,
    is_log_y: bool = False,
    is_share: bool = False,
    published: Sequence[tuple[float, float, str]] = (),
    title: str = "",
    detail: str = "",
) -> Figure:
    """One curve per group, each with the interval of its points.

    Parameters
    ----------
    frame : DataFrame
        Columns `x`, `y`, and if named `low`, `high` (ends of the 95 % interval) and `group`.
    axes : Axes, optional
        Where to draw.
    x_label, y_label : str
        With units.
    group_label : str, optional
        Heads the legend.
    is_log_x, is_log_y : bool
        Logarithmic axes; a point at zero is then drawn as an arrow at the foot of the axis, up to
        the end of its interval.
    is_share : bool
        `y` is a share of 1, written in percent.
    published : sequence of (x, y, source)
        Drawn as points in ink; those of one source share a mark.
    title, detail : str
        What the figure shows, and what it rests on.
    """
    with style.style():
        figure, axes = style.axes_of(axes)
        groups = [("here", frame)] if group is None else list(frame.groupby(group, sort=False))
        for number, (name, part) in enumerate(groups):
            part = part.sort_values(x)
            look = style.look(number)
            seen = part[part[y] > 0] if is_log_y else part
            axes.plot(seen[x], seen[y], color=look.color, marker=look.marker,
                      linestyle=look.dash, label=str(name))  # fmt: skip
            if low is not None and high is not None:
                _draw_intervals(axes, part, x, y, low, high, look, is_log_y)
        _draw_published(axes, published)
        _scale(axes, is_log_x, is_log_y, is_share, sorted(set(frame[x])))
        axes.set(xlabel=x_label, ylabel=y_label)
        style.legend(axes, title=group_label)
        if title:
            style.headline(axes, title, detail)
    return figure


def interval_bars(frame: pandas.DataFrame, value: str, low: str, high: str) -> list[numpy.ndarray]:
    """Lengths of error bars below and above, as matplotlib takes them.

    Rounding may put an end on the wrong side of its value; an interval without an end, as that of
    a single replicate, has no bar.
    """
    lengths = [frame[value] - frame[low], frame[high] - frame[value]]
    return [
        numpy.where(numpy.isfinite(one), numpy.maximum(one, 0.0), numpy.nan)
        for one in (numpy.asarray(length, float) for length in lengths)
    ]


def _draw_intervals(
    axes: Axes, part: pandas.DataFrame, x: str, y: str, low: str, high: str, look: style.Look,
    is_log_y: bool,
) -> None:  # fmt: skip
    seen = part[part[y] > 0] if is_log_y else part
    finite = seen[numpy.isfinite(seen[low]) & numpy.isfinite(seen[high])]
    foot = finite[low]
    if is_log_y:
        # An interval that reaches to zero has no foot on a logarithmic axis: end it below.
        foot = foot.where(foot > 0, finite[y] / 10)
    axes.fill_between(finite[x], foot, finite[high], color=look.color, alpha=0.18, linewidth=0)
    if is_log_y:
        none = part[(part[y] <= 0) & (part[high] > 0)]
        axes.plot(none[x], none[high], linestyle="none", marker=r"$\downarrow$", markersize=9,
                  color=look.color)  # fmt: skip


def _draw_published(axes: Axes, published: Sequence[tuple[float, float, str]]) -> None:
    by_source: dict[str, list[tuple[float, float]]] = {}
    for at, value, source in published:
        by_source.setdefault(source, []).append((at, value))
    for number, (source, points) in enumerate(by_source.items()):
        axes.plot(*zip(*points, strict=True), linestyle="none", color=style.INK,
                  marker=style.MARKERS[(number + 1) % len(style.MARKERS)], markersize=6,
                  markerfacecolor=style.PAPER, markeredgewidth=1.4, label=source,
                  zorder=5)  # fmt: skip


def _scale(
    axes: Axes, is_log_x: bool, is_log_y: bool, is_share: bool, xs: Sequence[float] = ()
) -> None:
    """Logarithmic axes with plain numbers; few values of x get a tick each."""
    if is_log_x:
        axes.set_xscale("log")
        style.log_ticks(axes.xaxis, at=xs if len(xs) <= TICKS_MAX else ())
    elif xs and all(float(x).is_integer() for x in xs):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))  # Half a server does not exist.
    if is_log_y:
        axes.set_yscale("log")
        style.log_ticks(axes.yaxis)
    if is_share:
        style.percent(axes.yaxis)


def saturation(
    frame: pandas.DataFrame,
    *,
    load: str,
    rate: str,
    latency_p50: str,
    latency_p99: str,
    load_label: str,
    rate_low: str | None = None,
    rate_high: str | None = None,
    group: str | None = None,
    published: Sequence[tuple[float, float, float, str]] = (),
    rate_bounds: Sequence[tuple[float, str, str]] = (),
    latency_bounds: Sequence[tuple[float, str, str]] = (),
    title: str = "",
    detail: str = "",
) -> Figure:
    """What a system completes under growing load, and what the load does to its latency.

    Parameters
    ----------
    frame : DataFrame
        One row per load (and group): columns `load`, `rate` (1/s), `latency_p50` and
        `latency_p99` (ms), and if named the ends of the rate's interval.
    load_label : str
        With its unit: "clients (count)" or "offered load (1/s)".
    published : sequence of (load, rate, latency_ms, source)
        Others' measurements.
    rate_bounds, latency_bounds : sequence of (value, label, source)
        Published bounds, drawn as reference lines.
    title, detail : str
        What the figure shows, and what it rests on.
    """
    with style.style():
        figure = style.new_figure(9.6, 4.2)
        left, right = figure.subplots(1, 2)
        curve_with_band(frame, left, x=load, y=rate, low=rate_low, high=rate_high, group=group,
                        x_label=load_label, y_label="completed (1/s)", is_log_x=True,
                        is_log_y=True, published=[(a, b, d) for a, b, _, d in published])
        style.log_ticks(left.xaxis)  # Loads near the capacity stand too close for a tick each.
        groups = [("", frame)] if group is None else list(frame.groupby(group, sort=False))
        for number, (name, part) in enumerate(groups):
            look, part = style.look(number), part.sort_values(load)
            for column, dash, words in ((latency_p50, "-", "median"), (latency_p99, ":", "99 %")):
                right.plot(part[rate], part[column], color=look.color, marker=look.marker,
                           linestyle=dash, label=f"{name} {words}".strip())  # fmt: skip
        _draw_published(right, [(b, c, d) for _, b, c, d in published])
        _scale(right, True, True, False)
        right.set(xlabel="completed (1/s)", ylabel="latency (ms)")
        for bound, label, source in rate_bounds:
            style.reference_line(left, bound, label, source=source, along="y", place=0.99)
            style.reference_line(right, bound, label, source=source)
        for bound, label, source in latency_bounds:
            style.reference_line(right, bound, label, source=source, along="y", place=0.42)
        for axes in (left, right):
            style.legend(axes)
        if title:
            style.headline(left, title, detail, width_in=9.0)
    return figure


def finality_axis(
    frame: pandas.DataFrame,
    axes: Axes | None = None,
    *,
    system: str = "system",
    seconds: str = "seconds",
    risk: str = "risk",
    low: str | None = None,
    high: str | None = None,
    risk_min: float = 1e-6,
    published: Sequence[tuple[float, str, str]] = (),
    y_label: str = "risk that it is still taken back",
    title: str = "",
    detail: str = "",
) -> Figure:
    """How the risk of reversal falls with time, for all systems on one axis of time.

    Parameters
    ----------
    frame : DataFrame
        Columns `system`, `seconds` (time since the transaction was handed in), `risk` (chance
        that it is not final then), and if named the ends of its interval.  A system whose risk
        drops to exactly zero ends there with a filled mark.
    risk_min : float
        Foot of the axis.
    published : sequence of (seconds, label, source)
        Others' times to finality, drawn as reference lines.
    title, detail : str
        What the figure shows, and what it rests on.
    """
    with style.style():
        figure, axes = style.axes_of(axes, width_in=8.2)
        for number, (name, part) in enumerate(frame.groupby(system, sort=False)):
            look, part = style.look(number), part.sort_values(seconds)
            above = part[part[risk] >= risk_min]
            axes.step(above[seconds], above[risk], where="post", color=look.color,
                      linestyle=look.dash, label=str(name))  # fmt: skip
            if low is not None and high is not None:
                axes.fill_between(above[seconds], above[low].clip(lower=risk_min), above[high],
                                  step="post", color=look.color, alpha=0.18, linewidth=0)
            final = part[part[risk] < risk_min]
            if len(final) and len(above):
                end = float(final[seconds].iloc[0])
                axes.plot([float(above[seconds].iloc[-1]), end, end],
                          [float(above[risk].iloc[-1])] * 2 + [risk_min], color=look.color,
                          linestyle=look.dash)  # fmt: skip
                axes.plot(end, risk_min, marker=look.marker, color=look.color, markersize=7,
                          clip_on=False, zorder=5)  # fmt: skip
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set(xlabel="time since the transaction was handed in", ylabel=y_label,
                 ylim=(risk_min, 1.5))  # fmt: skip
        for at, label, source in published:
            style.reference_line(axes, at, label, source=source)
        time_axis(axes)
        style.legend(axes)
        if title:
            style.headline(axes, title, detail)
    return figure
