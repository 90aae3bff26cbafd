"""Simulated against published: one point per comparison, and the line on which they are equal."""

from __future__ import annotations

from typing import Any

import numpy
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from consensus_lab.report import style

PANELS = (
    ("times (s; gossip times in mean link times)", ("s", "link times")),
    ("stale and forked blocks (share)", ("fraction",)),
)
AGREE = ("within", "holds")
ROOM = 1.6
MANY = 150
"""Points from which on their intervals are drawn faintly."""


def validation_figure(result: Any) -> Figure:
    """Every comparison of a validation, times and shares apart, groups by marker.

    A full mark agrees with what was published, within the two intervals; an open one differs.
    """
    frame = result.frame
    groups = list(dict.fromkeys(frame["group"]))
    frame = frame[frame["kind"] != "lower bound"]
    shown = [(label, frame[frame["unit"].isin(units)]) for label, units in PANELS]
    shown = [(label, part) for label, part in shown if len(part)]
    with style.style():
        figure = style.new_figure(1.2 + 4.2 * len(shown), 5.4)
        for place, (label, part) in enumerate(shown):
            axes = figure.add_subplot(1, len(shown), place + 1)
            _panel(axes, part, groups, label)
        looks = {name: style.look(place) for place, name in enumerate(groups)}
        marks = [
            Line2D([], [], color=look.color, marker=look.marker, linestyle="none", label=name)
            for name, look in looks.items() if name in set(frame["group"])
        ]  # fmt: skip
        figure.legend(handles=marks, loc="outside lower center", ncols=3)
        agree = int(result.frame["verdict"].isin(AGREE).sum())
        figure.suptitle(
            f"{agree} of {len(result.frame)} simulated values agree with what was published\n",
            x=0.01, ha="left", fontsize=10.5, fontweight="bold",
        )  # fmt: skip
        figure.text(
            0.01, 0.945, "full mark: within the two 95 % intervals; open: not; dashed: equal; "
            "dotted: a factor of two; at the lower edge: none found; "
            f"seed {result.parameters.seed}",
            fontsize=8.5, color=style.MUTED, va="top",
        )  # fmt: skip
    return figure


def _panel(axes: Axes, part: Any, groups: list[str], label: str) -> None:
    positive = part[["simulated", "published"]].to_numpy()
    positive = positive[positive > 0]
    low, high = positive.min() / ROOM, positive.max() * ROOM
    line = numpy.array([low, high])
    axes.plot(line, line, color=style.INK, linestyle=(0, (4, 3)), linewidth=1.0)
    for factor in (0.5, 2.0):
        axes.plot(line, factor * line, color=style.FAINT, linestyle=(0, (1, 2)), linewidth=1.0)
    alpha = 0.8 if len(part) < MANY else 0.2
    for place, group in enumerate(groups):
        rows = part[part["group"] == group]
        if not len(rows):
            continue
        look = style.look(place)
        for agrees, some in rows.groupby(rows["verdict"].isin(AGREE)):
            # A share of nothing found has no place on this axis: it stands at its lower edge.
            y = some["simulated"].clip(lower=low).to_numpy()
            x = some["published"].clip(lower=low).to_numpy()
            axes.errorbar(
                x, y,
                xerr=_ends(x, some["published_low"], some["published_high"], low),
                yerr=_ends(y, some["low"], some["high"], low),
                color=look.color, fmt="none", elinewidth=0.8, alpha=alpha,
            )  # fmt: skip
            axes.plot(x, y, color=look.color, marker=look.marker, markersize=5.5, linestyle="none",
                      markerfacecolor=look.color if agrees else style.PAPER)  # fmt: skip
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high), aspect="equal",
             xlabel=f"published: {label}", ylabel="simulated")  # fmt: skip
    style.log_ticks(axes.xaxis)
    style.log_ticks(axes.yaxis)


def _ends(value: numpy.ndarray, low: Any, high: Any, least: float) -> list[numpy.ndarray]:
    """Lengths of the error bars, cut where the axis ends."""
    below = value - numpy.clip(low.to_numpy(), least, value)
    above = numpy.clip(high.to_numpy(), value, None) - value
    return [below, numpy.nan_to_num(above, posinf=0.0)]


def sensitivity_figure(result: Any) -> Figure:
    """The ratio of the median delay to the unchanged network's, one row per changed input."""
    frame = result.frame[result.frame["input"] != "nothing"]
    inputs = list(dict.fromkeys(frame["input"]))
    years = list(dict.fromkeys(frame["year"]))
    step = 0.8 / max(1, len(years))
    with style.style():
        figure, axes = style.axes_of(None, height_in=1.5 + 0.62 * len(inputs))
        for number, year in enumerate(years):
            look = style.look(number)
            part = frame[frame["year"] == year]
            base = result.frame[
                (result.frame["year"] == year) & (result.frame["input"] == "nothing")
            ]["delay_s_p50"].iloc[0]
            for name, rows in part.groupby("input", sort=False):
                at = -inputs.index(name) + 0.4 - step * (number + 0.5)
                ratios = rows["ratio"].to_numpy()
                axes.plot([min(1.0, *ratios), max(1.0, *ratios)], [at, at], color=look.color,
                          linewidth=1.2, alpha=0.6)  # fmt: skip
                axes.errorbar(
                    ratios, [at] * len(rows),
                    xerr=[ratios - rows["ratio_low"], rows["ratio_high"] - ratios],
                    color=look.color, marker=look.marker, markersize=4.5, linestyle="none",
                    elinewidth=0.8,
                    label=f"{year}: {base:.2g} s" if name == inputs[0] else None,
                )  # fmt: skip
        axes.axvline(1.0, color=style.INK, linestyle=(0, (4, 3)), linewidth=1.0)
        axes.set_xscale("log")
        style.log_ticks(axes.xaxis)
        changes = frame.groupby("input")["change"].unique()
        labels = [
            f"{name}\n" + (",\n" if len("".join(changes[name])) > 20 else ", ").join(changes[name])
            for name in inputs
        ]  # fmt: skip
        axes.set_yticks([-place for place in range(len(inputs))], labels)
        axes.set(xlabel="median delay, changed divided by unchanged",
                 ylim=(-len(inputs) + 0.5, 0.5))  # fmt: skip
        axes.legend(title="unchanged", loc="center left", bbox_to_anchor=(1.0, 0.5))
        widest = frame.loc[(numpy.log(frame["ratio"]).abs()).idxmax()]
        style.headline(
            axes, f"Most rests on the {widest['input']} in {widest['year']}: "
            f"{widest['change']} makes the median {widest['ratio']:.2g} times as long",
            f"one input changed at a time; 95 % intervals over {widest['replicates']} networks; "
            f"seed {result.parameters.seed}",
            width_in=4.4,
        )  # fmt: skip
    return figure
