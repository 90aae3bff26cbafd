"""Figures of block withholding: what it earns, and how many others work for the pool.

Rules of this file: a result in, a figure out; titles are computed from the measures.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from consensus_lab.report import style
from consensus_lab.report.curves import interval_bars
from consensus_lab.report.distributions import source_name

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes


def selfish_figure(result: Any) -> Figure:
    """What a withholding pool earns and gains, measured and exact, with published thresholds."""
    frame, parameters = result.frame, result.parameters
    with style.style():
        figure = style.new_figure(11.0, 4.9)
        left, right = figure.subplots(1, 2)
        ends = [frame["alpha"].min(), frame["alpha"].max()]
        left.plot(ends, ends, color=style.INK, linewidth=1.0, label="honest mining")
        right.axhline(0.0, color=style.INK, linewidth=1.0)
        for number, (gamma, part) in enumerate(frame.groupby("gamma", sort=True)):
            _draw_gamma(left, part, number, f"gamma = {gamma:g}", 0.0)
            _draw_gamma(right, part, number, f"gamma = {gamma:g}", part["alpha"])
        _draw_thresholds(right, result)
        for axes in (left, right):
            style.percent(axes.xaxis)
            style.percent(axes.yaxis)
            axes.set_xlabel("the pool's share of the hash power")
        left.set_ylabel("the pool's share of the chain")
        right.set_ylabel("share of the chain above that of the hash power")
        gain = frame["revenue"] - frame["alpha"]
        right.set_ylim(1.15 * min(0.0, float(gain.min())) - 0.02, 1.3 * float(gain.max()) + 0.02)
        left.legend(loc="upper left", fontsize=8)
        known = [pair for pair in zip(*right.get_legend_handles_labels(), strict=True)
                 if not pair[1].startswith("gamma =")]  # fmt: skip
        if known:
            right.legend(*zip(*known, strict=True), loc="upper left", fontsize=7.5,
                         title="published thresholds", title_fontsize=8, alignment="left")
        style.headline(left, _title(result),
                       f"strategy {parameters.strategy}; {int(frame['blocks'].min()):,} blocks "
                       f"per mark, 95 % intervals, seed {parameters.seed}; lines: exact; "
                       "dotted: the best strategy of all", width_in=4.9)  # fmt: skip
        style.headline(right, "Below its threshold a pool only hurts itself",
                       "the same, less what honest mining earns", width_in=4.9)  # fmt: skip
    return figure


def _draw_gamma(
    axes: Axes, part: pandas.DataFrame, number: int, name: str, minus: Any
) -> None:
    """One gamma: exact line, dotted optimum, measured marks; all less `minus`."""
    look = style.look(number)
    axes.plot(part["alpha"], part["revenue_exact"] - minus, color=look.color, linewidth=1.3)
    axes.plot(part["alpha"], part["revenue_optimal"] - minus, color=look.color, linewidth=1.3,
              linestyle=(0, (1, 1.5)))  # fmt: skip
    errors = interval_bars(part, "revenue", "revenue_low", "revenue_high")
    axes.errorbar(part["alpha"], part["revenue"] - minus, yerr=errors, color=look.color,
                  marker=look.marker, linestyle="none", capsize=2.5, label=name)  # fmt: skip


def _draw_thresholds(axes: Axes, result: Any) -> None:
    """Published thresholds on the line where nothing is gained."""
    low, high = result.frame["alpha"].min(), result.frame["alpha"].max()
    marks = sorted(
        (reference.value, reference.quantity, source_name(reference.source.split(",")[0]))
        for reference in result.references
        if "threshold" in reference.quantity and low <= reference.value <= high
    )
    for place, (value, name, source) in enumerate(marks):
        gamma = name.rpartition("_")[2]
        rule = "best strategy, random ties" if "optimal" in name else f"gamma {gamma}"
        axes.plot(value, 0.0, linestyle="none", marker=style.MARKERS[place % len(style.MARKERS)],
                  color=style.INK, markersize=7, markerfacecolor=style.PAPER, markeredgewidth=1.4,
                  zorder=6, label=f"{value * 100:.4g} % {source} ({rule})")  # fmt: skip


def _title(result: Any) -> str:
    """The thresholds that were measured."""
    parts = []
    for gamma in sorted(set(result.frame["gamma"])):
        value = result.measure(f"threshold_gamma_{gamma:g}").value
        share = "never" if math.isinf(value) else f"from {value * 100:.3g} %" if value else "always"
        parts.append(f"{share} (gamma {gamma:g})")
    return f"Withholding pays {', '.join(parts)}"


def gateways_figure(result: Any) -> Figure:
    """How many follow the pool, and what it earns, over its gateways."""
    frame, parameters = result.frame, result.parameters
    with style.style():
        figure = style.new_figure(10.6, 4.4)
        left, right = figure.subplots(1, 2)
        for axes, name, number in ((left, "gamma", 0), (right, "revenue", 1)):
            look = style.look(number)
            errors = interval_bars(frame, name, f"{name}_low", f"{name}_high")
            axes.errorbar(frame["gateways"], frame[name], yerr=errors, color=look.color,
                          marker=look.marker, capsize=2.5, label="measured")  # fmt: skip
            axes.set_xscale("log", base=2)
            axes.set_xticks(frame["gateways"].tolist(), [f"{n:,}" for n in frame["gateways"]])
            axes.set_xticks([], minor=True)
            axes.set_xlabel("the pool's gateways (count)")
            style.percent(axes.yaxis)
        left.set(ylabel="gamma: others who work for the pool in a race", ylim=(-0.02, 1.02))
        right.plot(frame["gateways"], frame["revenue_closed_form"], color=style.INK,
                   linestyle=(0, (4, 2)), linewidth=1.2,
                   label="closed form at the measured gamma")  # fmt: skip
        style.reference_line(right, parameters.alpha, "honest mining", along="y")
        right.set_ylabel("the pool's share of the chain")
        right.legend(loc="upper left", fontsize=8)
        first, last = frame.iloc[0], frame.iloc[-1]
        style.headline(
            left, f"With {_doors(first['gateways'])} {first['gamma'] * 100:.2g} % of the others "
            f"follow, with {_doors(last['gateways'])} {last['gamma'] * 100:.2g} %",
            f"{parameters.n_nodes:,} nodes, {parameters.replicates} networks, 95 % intervals, "
            f"seed {parameters.seed}", width_in=4.7,
        )  # fmt: skip
        style.headline(
            right, f"A pool with {parameters.alpha * 100:.3g} % earns "
            f"{first['revenue'] * 100:.3g} % to {last['revenue'] * 100:.3g} %",
            f"selfish mining, a block every {parameters.block_interval_s:g} s", width_in=4.7,
        )  # fmt: skip
    return figure


def _doors(count: float) -> str:
    return f"{int(count)} gateway{'s' if count > 1 else ''}"
