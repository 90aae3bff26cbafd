"""Distributions: shares of deliveries over time, samples against a law or against trials.

Rules of this file: plain frames and arrays in, a figure out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from consensus_lab.report import style

if TYPE_CHECKING:
    import pandas

TIME_LANDMARKS = (
    (1e-6, "1 µs"), (1e-5, "10 µs"), (1e-4, "0.1 ms"), (1e-3, "1 ms"), (1e-2, "10 ms"),
    (0.1, "0.1 s"), (1.0, "1 s"), (10.0, "10 s"), (60.0, "1 min"), (600.0, "10 min"),
    (3600.0, "1 h"), (36_000.0, "10 h"), (86_400.0, "1 day"), (604_800.0, "1 week"),
)  # fmt: skip
"""Seconds that a reader knows, for logarithmic axes of time."""


class Known(NamedTuple):
    """A published quantile: a share of the whole, its value, and who published it."""

    share: float
    value: float
    source: str


def time_axis(axes: Axes, *, along: str = "x") -> None:
    """Make an axis in seconds logarithmic, with marks at times that a reader knows."""
    axis = axes.xaxis if along == "x" else axes.yaxis
    (axes.set_xscale if along == "x" else axes.set_yscale)("log")
    low, high = axes.get_xlim() if along == "x" else axes.get_ylim()
    shown: list[tuple[float, str]] = []
    for at, name in TIME_LANDMARKS:
        # One that would be written into the one before is left out.
        is_apart = not shown or math.log(at / shown[-1][0]) > math.log(high / low) / 22
        if low <= at <= high and is_apart:
            shown.append((at, name))
    if len(shown) < 5:
        style.log_ticks(axis)
        axis.set_major_formatter(lambda value, _: _time_text(value))
        return
    axis.set_ticks([at for at, _ in shown], [name for _, name in shown])
    axis.set_ticks([], minor=True)


def _time_text(seconds: float) -> str:
    """Seconds in the unit in which they are a small number."""
    for size, name in ((3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms")):
        if seconds >= size * 0.999:
            return f"{seconds / size:.3g} {name}"
    return f"{seconds * 1e6:.3g} µs"


def source_name(source: str) -> str:
    """A source as short as a legend needs: without addresses and explanations.

    Examples
    --------
    >>> source_name("Decker and Wattenhofer 2013: after 40 s 95% (a site/page)")
    'Decker and Wattenhofer 2013'
    """
    return re.split(r"\s*\(|:\s|;|, \d{4}-\d\d-\d\d\.\.", source)[0].strip()


def cdf_curves(
    frame: pandas.DataFrame,
    axes: Axes | None = None,
    *,
    value: str,
    x_label: str,
    y_label: str = "share of all",
    share: str = "share",
    group: str | None = None,
    known: Iterable[Known] = (),
    means: Sequence[tuple[float, str, str]] = (),
    is_log: bool = True,
    title: str = "",
    detail: str = "",
) -> Figure:
    """Cumulative distributions, with published quantiles as points.

    Parameters
    ----------
    frame : DataFrame
        Column `share` (0 to 1), column `value` (what that share does not exceed), and, if there
        are several curves, the column `group`.  Several rows with the same group and share are
        replicates: the line is their mean, the band reaches from the least to the greatest.
    axes : Axes, optional
        Where to draw.
    value, share, group : str
        Column names.
    x_label, y_label : str
        With units.
    known : iterable of Known
        Published quantiles; those of one source are joined.
    means : sequence of (value, label, source)
        Published means, drawn as reference lines.
    is_log : bool
        Logarithmic values.
    title, detail : str
        What the figure shows, and what it rests on.
    """
    with style.style():
        figure, axes = style.axes_of(axes)
        groups = [("here", frame)] if group is None else list(frame.groupby(group, sort=False))
        for number, (name, part) in enumerate(groups):
            look = style.look(number)
            table = part.groupby(share)[value].agg(["min", "mean", "max"]).sort_index()
            shares = table.index.to_numpy()
            axes.fill_betweenx(shares, table["min"], table["max"], color=look.color, alpha=0.2,
                               linewidth=0)  # fmt: skip
            axes.plot(table["mean"], shares, color=look.color, linestyle=look.dash,
                      label=str(name))  # fmt: skip
        _draw_known(axes, known)
        if is_log:
            axes.set_xscale("log")
        axes.set(xlabel=x_label, ylabel=y_label, ylim=(0, 1.02))
        style.percent(axes.yaxis)
        for mean, label, source in means:
            style.reference_line(axes, mean, label, source=source, place=0.97)
        if is_log:
            time_axis(axes)
        style.legend(axes)
        if title:
            style.headline(axes, title, detail)
    return figure


def _draw_known(axes: Axes, known: Iterable[Known]) -> None:
    """Published quantiles in ink: a marker and a dash pattern for each source."""
    by_source: dict[str, list[Known]] = {}
    for quantile in known:
        by_source.setdefault(source_name(quantile.source), []).append(quantile)
    for number, (source, quantiles) in enumerate(by_source.items()):
        quantiles.sort(key=lambda one: one.share)
        axes.plot([one.value for one in quantiles], [one.share for one in quantiles],
                  marker=style.MARKERS[number + 1], linestyle=(0, (1, 2)), linewidth=1.0,
                  markersize=6, markerfacecolor=style.PAPER, markeredgewidth=1.4,
                  color=style.INK, label=source, zorder=5)  # fmt: skip


def histogram_with_curve(
    samples: Sequence[float],
    axes: Axes | None = None,
    *,
    x_label: str,
    label: str = "simulated",
    trials: Mapping[str, Sequence[float]] | None = None,
    curve: tuple[Sequence[float], Sequence[float], str] | None = None,
    bins: int | Sequence[float] = 30,
    title: str = "",
    detail: str = "",
) -> Figure:
    """Samples as bars, real trials as steps over the same bins, a law as a curve.

    Parameters
    ----------
    samples : sequence of float
        Simulated values, in the unit of `x_label`.
    axes : Axes, optional
        Where to draw.
    trials : mapping of str to sequence of float, optional
        Measured values by the name of their source.
    curve : (x, density, label), optional
        A probability density per unit of x.
    bins : int or sequence of float
        Number of bins over all values, or their edges.
    title, detail : str
        What the figure shows, and what it rests on.
    """
    trials = trials or {}
    everything = numpy.concatenate([numpy.asarray(part, float) for part in
                                    (samples, *trials.values())])  # fmt: skip
    edges = [float(edge) for edge in numpy.histogram_bin_edges(everything, bins=bins)]
    with style.style():
        figure, axes = style.axes_of(axes)
        look = style.look(0)
        axes.hist(samples, bins=edges, density=True, color=look.color, alpha=0.45,
                  label=f"{label} (n = {len(samples):,})", edgecolor=style.PAPER,
                  linewidth=0.4)  # fmt: skip
        for number, (name, values) in enumerate(trials.items(), 1):
            mark = style.look(number)
            axes.hist(values, bins=edges, density=True, histtype="step", color=mark.color,
                      linestyle=mark.dash, linewidth=1.6,
                      label=f"{name} (n = {len(values):,})")  # fmt: skip
        if curve is not None:
            axes.plot(curve[0], curve[1], color=style.INK, linewidth=1.4, label=curve[2])
        axes.set(xlabel=x_label, ylabel="probability density")
        axes.set_xlim(edges[0], edges[-1])
        style.legend(axes)
        if title:
            style.headline(axes, title, detail)
    return figure


def samples_cdf(
    samples: Mapping[str, Sequence[float]],
    axes: Axes | None = None,
    *,
    x_label: str,
    published: Sequence[tuple[float, str, str]] = (),
    tail: bool = False,
    is_log: bool = True,
    title: str = "",
    detail: str = "",
) -> Figure:
    """Empirical distributions of samples as steps, each exact: no bins, no smoothing.

    Parameters
    ----------
    samples : mapping of str to sequence of float
        Values by the name of their series, in the unit of `x_label`.
    axes : Axes, optional
        Where to draw.
    published : sequence of (value, label, source)
        Drawn as reference lines.
    tail : bool
        Draw the share that is greater, on a logarithmic axis, instead of the share that is not.
    is_log : bool
        Logarithmic values.
    title, detail : str
        What the figure shows, and what it rests on.
    """
    with style.style():
        figure, axes = style.axes_of(axes)
        for number, (name, values) in enumerate(samples.items()):
            look = style.look(number)
            ordered = numpy.sort(numpy.asarray(values, float))
            count = len(ordered)
            shares = numpy.arange(1, count + 1) / count
            shares = 1 - shares + 1 / count if tail else shares
            thin = _thinned(count)
            keep: dict[str, Any] = {"where": "post", "color": look.color, "linestyle": look.dash}
            axes.step(ordered[thin], shares[thin], label=f"{name} (n = {count:,})", **keep)
        if is_log:
            axes.set_xscale("log")
        if tail:
            axes.set_yscale("log")
        axes.set(xlabel=x_label, ylabel="share that takes longer" if tail else "share of all")
        for value, label, source in published:
            style.reference_line(axes, value, label, source=source, place=0.4 if tail else 0.97)
        style.percent(axes.yaxis)
        if is_log:
            time_axis(axes)
        style.legend(axes)
        if title:
            style.headline(axes, title, detail)
    return figure


def _thinned(count: int, steps_max: int = 2000) -> numpy.ndarray:
    """Which of the sorted samples are drawn: all, or evenly many including both ends."""
    if count <= steps_max:
        return numpy.arange(count)
    return numpy.unique(numpy.linspace(0, count - 1, steps_max).astype(int))
