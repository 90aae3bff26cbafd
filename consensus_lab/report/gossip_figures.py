"""Figures of the experiments on block relay: what delay does to a chain.

Rules of this file: one function per experiment, as in `figures`; titles are computed from the
measures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy
from matplotlib.figure import Figure

from consensus_lab.report import style
from consensus_lab.report.curves import curve_with_band, interval_bars
from consensus_lab.report.maps import heat_map
from consensus_lab.report.table import quantity

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

TPS_LEVELS = (1, 3, 7, 20, 70, 200, 700, 2000, 7000)
"""Transactions per second at which a contour may run."""


def trade_off_figure(result: Any, measured: Sequence[tuple[float, float, str]]) -> Figure:
    """Stale share over interval and size with lines of equal throughput; and over the delay.

    Parameters
    ----------
    result : Result
        Of the experiment on stale rates.
    measured : sequence of (delay in intervals, share, source)
        What others measured.
    """
    frame, parameters = result.frame, result.parameters
    tps = frame["confirmed_tps"]
    with style.style():
        figure = style.new_figure(11.6, 5.0)
        left, right = figure.subplots(1, 2, width_ratios=(1.25, 1.0))
        heat_map(
            frame, left, x="block_interval_s", y="block_size_bytes", value="stale_fraction",
            x_label="mean time between blocks (s)", y_label="block size",
            value_label="stale blocks, share of all", is_share=True, is_log=True,
            y_names={size: quantity(size, "bytes") for size in frame["block_size_bytes"]},
            contour="confirmed_tps",
            contour_levels=[at for at in TPS_LEVELS if 1.5 * tps.min() < at < tps.max() / 1.1],
        )  # fmt: skip
        left.set_yticks(left.get_yticks(), [text.get_text() for text in left.get_yticklabels()])
        style.headline(
            left, _trade_off_title(frame),
            "lines: confirmed transactions per second; "
            f"{parameters.n_nodes:,} nodes, {int(frame['blocks'].min()):,} blocks per cell, seed "
            f"{parameters.seed}", width_in=6.0,
        )  # fmt: skip
        _draw_full_delay(right, frame, measured)
    return figure


def _trade_off_title(frame: pandas.DataFrame) -> str:
    """What the highest throughput costs, beside the lowest."""
    most, least = (frame.loc[place] for place in
                   (frame["confirmed_tps"].idxmax(), frame["confirmed_tps"].idxmin()))  # fmt: skip
    return (
        f"{most['confirmed_tps']:,.0f} transactions per second waste "
        f"{most['stale_fraction'] * 100:.2g} % of the blocks, {least['confirmed_tps']:.2g} waste "
        f"{least['stale_fraction'] * 100:.2g} %"
    )


def _draw_full_delay(
    axes: Axes, frame: pandas.DataFrame, measured: Sequence[tuple[float, float, str]]
) -> None:
    """All settings on one curve: the stale share follows from delay over interval."""
    seen = frame.assign(setting=[quantity(size, "bytes") for size in frame["block_size_bytes"]])
    ends = [*seen["delay_intervals"], *(x for x, _, _ in measured)]
    xs = numpy.geomspace(min(ends) / 1.5, max(ends) * 1.5, 100)
    axes.plot(xs, xs / (1 + xs), color=style.INK, linewidth=1.2, linestyle=(0, (4, 2)),
              label="x / (1 + x): all equally late")  # fmt: skip
    curve_with_band(
        seen, axes, x="delay_intervals", y="stale_fraction", low="stale_low", high="stale_high",
        group="setting", group_label="block size", is_log_x=True, is_log_y=True, is_share=True,
        x_label="x: delay between miners over block interval", y_label="stale blocks, share of all",
        published=measured,
    )  # fmt: skip
    axes.legend(*axes.get_legend_handles_labels(), loc="lower right", title="block size",
                alignment="left", fontsize=7.5, title_fontsize=8)  # fmt: skip
    near = frame[frame["stale_blocks"] > frame["stale_blocks"].max() / 10]
    ratio = (near["stale_fraction"] / near["stale_full_delay"]).mean()
    measure = f"{ratio:.2f} of x / (1 + x)" if len(near) else "none were stale"
    style.headline(axes, f"Delay over interval decides: {measure}",
                   "95 % intervals; measured on the real network in 2012: in ink",
                   width_in=4.4)  # fmt: skip


def who_loses_figure(result: Any) -> Figure:
    """Stale share by hash power, beside its closed form; and by links and regions."""
    frame, parameters = result.frame, result.parameters
    alone = frame[frame["measurement"] == "pools alone"].sort_values("hash_share_mean")
    placed = frame[frame["measurement"] == "pools on the network"]
    with style.style():
        figure = style.new_figure(11.0, 4.8)
        left, right = figure.subplots(1, 2, width_ratios=(1.15, 1.0))
        left.plot(alone["hash_share_mean"], alone["stale_closed_form"], color=style.INK,
                  linestyle=(0, (4, 2)), linewidth=1.2, label="closed form")
        for number, (part, name) in enumerate((
            (alone, "pools alone, equally far apart"), (placed, "pools on the network, by size"),
        )):  # fmt: skip
            _points(left, part, number, name)
        left.set_xscale("log")
        style.log_ticks(left.xaxis)
        style.percent(left.xaxis)
        style.percent(left.yaxis)
        left.set_ylim(bottom=0.0)
        left.set(xlabel="share of the hash power", ylabel="stale blocks, share of the miner's own")
        left.legend(loc="lower left")
        large, small = alone.iloc[-1], alone.iloc[0]
        style.headline(
            left,
            f"A pool with {large['hash_share_mean'] * 100:.2g} % loses "
            f"{large['stale_fraction'] * 100:.2g} % of its blocks, one with "
            f"{small['hash_share_mean'] * 100:.2g} % loses {small['stale_fraction'] * 100:.2g} %",
            f"{parameters.chosen('pools')}; a block every {parameters.block_interval_s:g} s; "
            f"95 % intervals; seed {parameters.seed}", width_in=5.4,
        )  # fmt: skip
        _draw_positions(right, frame, parameters)
    return figure


def _points(axes: Axes, part: pandas.DataFrame, number: int, name: str) -> None:
    look = style.look(number)
    errors = interval_bars(part, "stale_fraction", "stale_low", "stale_high")
    axes.errorbar(part["hash_share_mean"], part["stale_fraction"], yerr=errors, label=name,
                  color=look.color, marker=look.marker, linestyle="none", capsize=2.5)  # fmt: skip


def _draw_positions(axes: Axes, frame: pandas.DataFrame, parameters: Any) -> None:
    """Equal miners, one line per group."""
    part = frame[frame["measurement"].isin(["links", "region"])].iloc[::-1]
    places = numpy.arange(len(part))
    overall = part["stale_blocks"].sum() / part["blocks"].sum()
    axes.axvline(overall, color=style.INK, linestyle=(0, (4, 2)), linewidth=1.0)
    for number, (kind, group) in enumerate(part.groupby("measurement", sort=True)):
        look, at = style.look(number), places[part["measurement"] == kind]
        errors = interval_bars(group, "stale_fraction", "stale_low", "stale_high")
        axes.errorbar(group["stale_fraction"], at, xerr=errors, color=look.color,
                      marker=look.marker, markersize=6, linestyle="none", capsize=3)  # fmt: skip
    names = [f"{row.group.replace('_', ' ').title() if row.measurement == 'region' else row.group}"
             f"\n{row.blocks:,} blocks" for row in part.itertuples()]  # fmt: skip
    axes.set_yticks(places, names, fontsize=7.5)
    axes.set(xlabel="stale blocks, share of the group's own", ylabel="position")
    style.percent(axes.xaxis)
    style.headline(axes, _position_title(part),
                   f"{parameters.n_nodes:,} nodes mine alike; dashed: all of them",
                   width_in=4.4)  # fmt: skip


def _position_title(frame: pandas.DataFrame) -> str:
    """The worst region against the best, of those with blocks enough, or the same of links."""
    for kind in ("region", "links"):
        part = frame[(frame["measurement"] == kind) & (frame["stale_blocks"] > 0)]
        part = part[part["blocks"] >= part["blocks"].max() / 10].sort_values("stale_fraction")
        if len(part) > 1:
            best, worst = part.iloc[0], part.iloc[-1]
            ratio = worst["stale_fraction"] / best["stale_fraction"]
            return (f"Of equal miners, {_group_name(worst)} lose {ratio:.2g} times as much as "
                    f"{_group_name(best)}")  # fmt: skip
    return "Equal miners by position"


def _group_name(row: pandas.Series) -> str:
    if row["measurement"] == "region":
        return f"those in {row['group'].replace('_', ' ').title()}"
    return f"those with {row['group']}"


def hash_power_figure(result: Any) -> Figure:
    """How much of the honest work counts, and what an attacker needs, over delay per interval."""
    from consensus_lab import theory

    frame, parameters = result.frame, result.parameters
    with style.style():
        figure = style.new_figure(11.0, 4.8)
        left, right = figure.subplots(1, 2)
        _draw_growth(left, frame)
        least, most = frame["delay_intervals_mean"].min(), frame["delay_intervals_all"].max()
        xs = numpy.geomspace(least / 1.5, most * 1.5, 120)
        for name, bound, dash in (
            ("tight: below it no attack succeeds", theory.tolerated_share_tight, "-"),
            ("proven safe by Ren 2019", theory.tolerated_share_ren_zhao, (0, (5, 2))),
            ("proven safe by Pass et al. 2017", theory.tolerated_share_pass_seeman_shelat,
             (0, (1, 1.5))),
        ):  # fmt: skip
            right.plot(xs, [bound(float(x)) for x in xs], color=style.INK, linewidth=1.2,
                       linestyle=dash, label=name)  # fmt: skip
        for number, (honest, x, name) in enumerate((
            ("network", "delay_intervals_all", "network, over its longest delay"),
            ("worst order", "delay_intervals_all", "all as late as the last node"),
            ("network", "delay_intervals_mean", "network, over its mean delay"),
        )):  # fmt: skip
            _needed(right, frame[frame["honest"] == honest], x, number, name)
        right.set_xscale("log")
        style.log_ticks(right.xaxis)
        style.percent(right.yaxis)
        right.set(xlabel="delay over the mean time between all blocks, attacker's included",
                  ylabel="attacker's share of the hash power", ylim=(0.0, 0.53))  # fmt: skip
        right.legend(loc="lower left", fontsize=7.5)
        style.headline(right, "Delay lowers what an attacker needs",
                       f"{parameters.n_nodes:,} nodes, blocks of "
                       f"{quantity(parameters.block_size_bytes, 'bytes')}; 95 % intervals; seed "
                       f"{parameters.seed}", width_in=4.8)  # fmt: skip
    return figure


def _draw_growth(axes: Axes, frame: pandas.DataFrame) -> None:
    """The share of the honest blocks that count, over the honest interval."""
    for number, (honest, part) in enumerate(frame.groupby("honest", sort=False)):
        look, part = style.look(number), part.sort_values("honest_interval_s")
        errors = interval_bars(part, "growth", "growth_low", "growth_high")
        axes.errorbar(part["honest_interval_s"], part["growth"], yerr=errors, color=look.color,
                      marker=look.marker, linestyle=look.dash, capsize=2.5,
                      label={"network": "network", "worst order":
                             "all as late as the last node"}[str(honest)])  # fmt: skip
    worst = frame[frame["honest"] == "worst order"].sort_values("honest_interval_s")
    axes.plot(worst["honest_interval_s"],
              1.0 / (1.0 + worst["delay_s_all"] / worst["honest_interval_s"]), color=style.INK,
              linestyle=(0, (4, 2)), linewidth=1.2, label="closed form 1 / (1 + x)")  # fmt: skip
    axes.set_xscale("log")
    style.log_ticks(axes.xaxis, at=sorted(set(frame["honest_interval_s"])))
    style.percent(axes.yaxis)
    axes.set(xlabel="mean time between honest blocks (s)", ylim=(0.0, 1.03),
             ylabel="honest blocks that count, share of all")  # fmt: skip
    axes.legend(loc="lower right", fontsize=7.5)
    network = frame[frame["honest"] == "network"]
    slow, fast = (network.loc[place] for place in
                  (network["honest_interval_s"].idxmax(), network["honest_interval_s"].idxmin()))
    style.headline(
        axes, f"{slow['needed_share'] * 100:.1f} % of the hash power suffice at "
        f"{slow['honest_interval_s']:g} s, {fast['needed_share'] * 100:.2g} % at "
        f"{fast['honest_interval_s']:g} s", "an attacker needs as many blocks as count",
        width_in=4.8,
    )  # fmt: skip


def _needed(axes: Axes, part: pandas.DataFrame, x: str, number: int, name: str) -> None:
    look = style.look(number)
    errors = interval_bars(part, "needed_share", "needed_low", "needed_high")
    axes.errorbar(part[x], part["needed_share"], yerr=errors, label=name, color=look.color,
                  marker=look.marker, linestyle="none", capsize=2.5, zorder=4)  # fmt: skip
