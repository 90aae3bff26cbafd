"""Small multiples: the delay of a block over one property after the other.

Rules of this file: a result in, a figure out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from consensus_lab.report import style
from consensus_lab.report.curves import interval_bars
from consensus_lab.report.distributions import source_name
from consensus_lab.report.table import quantity

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

TITLES = {
    "block_size_bytes": "Block size", "relay": "Relay protocol",
    "degree": "Links per node (outbound)", "topology": "Topology",
    "bandwidth_scale": "Line rates (times the geography's)",
}  # fmt: skip
CATEGORIES = ("relay", "topology")
COLUMNS = 3
NAMES = {"mean": "mean", "p50": "half of the deliveries", "p90": "90 %", "p99": "99 %"}


def sweep_figure(result: Any, statistics: Sequence[str]) -> Figure:
    """Delays over each property in a picture of its own, all on one axis of time."""
    frame = result.frame[result.frame["statistic"].isin(statistics)]
    known = _known(result)
    with style.style():
        figure, flat = _panels(frame)
        for axes, name in zip(flat, known, strict=False):
            _draw_sweep(axes, frame[frame["property"] == name], name, known[name])
        flat[0].set_yscale("log")
        style.log_ticks(flat[0].yaxis)
        for axes in flat[::COLUMNS]:
            axes.set_ylabel("delay from discovery to accepted block (s)", fontsize=8)
        handles, labels = flat[0].get_legend_handles_labels()
        spare = flat[len(known)] if len(known) < len(flat) else None
        where: dict[str, Any] = {"loc": "upper left"} if spare else {"loc": "outside lower left"}
        (spare or figure).legend(handles, labels, title=_basis(result), alignment="left",
                                 title_fontsize=8, **where)  # fmt: skip
        figure.suptitle(style.wrapped(_title(frame), 10.0), x=0.01, ha="left", fontsize=10.5,
                        weight="bold")  # fmt: skip
    return figure


def distributions_figure(
    result: Any, shares: Mapping[str, float], measured: Sequence[tuple[float, float, str]] = ()
) -> Figure:
    """Shares of the deliveries over the delay, a curve per value, a picture per property.

    Parameters
    ----------
    result : Result
        Of the experiment on propagation sweeps.
    shares : mapping of str to float
        The share of deliveries that each statistic of the frame stands for.
    measured : sequence of (share, delay in seconds, source)
        Others' quantiles, drawn beside the relay protocols.
    """
    frame = result.frame[result.frame["statistic"].isin(list(shares))]
    names = list(dict.fromkeys(frame["property"]))
    with style.style():
        figure, flat = _panels(frame, sharex=True)
        for axes, name in zip(flat, names, strict=False):
            for number, (value, part) in enumerate(
                frame[frame["property"] == name].groupby("value", sort=False)
            ):
                look = style.look(number)
                at = [shares[statistic] for statistic in part["statistic"]]
                low = part["delay_low_s"].clip(lower=0.05 * part["delay_s"])
                axes.fill_betweenx(at, low, part["delay_high_s"], color=look.color, alpha=0.2,
                                   linewidth=0)  # fmt: skip
                axes.plot(part["delay_s"], at, color=look.color, linestyle=look.dash,
                          linewidth=1.4, label=_value(name, str(value)))  # fmt: skip
            axes.set_title(TITLES[name], fontsize=9.5)
            axes.legend(fontsize=7, loc="upper left", handlelength=1.8, labelspacing=0.25)
            style.percent(axes.yaxis)
        flat[0].set_xscale("log")
        style.log_ticks(flat[0].xaxis)
        for axes in flat[: len(names)][-COLUMNS:]:
            axes.tick_params(labelbottom=True)
            axes.set_xlabel("delay to accepted block (s)", fontsize=8)
        for axes in flat[::COLUMNS]:
            axes.set_ylabel("share of the deliveries", fontsize=8)
        figure.suptitle("The share of the deliveries that are done, over the delay", x=0.01,
                        ha="left", fontsize=10.5, weight="bold")  # fmt: skip
        marks = _draw_measured(flat[names.index("relay")], measured) if "relay" in names else []
        title = f"{_basis(result)}" + ("\n\nmeasured on the real network:" if marks else "")
        spare = flat[len(names)] if len(names) < len(flat) else None
        where: dict[str, Any] = {"loc": "upper left"} if spare else {"loc": "outside lower left"}
        (spare or figure).legend(handles=marks, title=title, alignment="left", title_fontsize=8,
                                 **where)  # fmt: skip
    return figure


def _draw_measured(axes: Axes, measured: Sequence[tuple[float, float, str]]) -> list[Line2D]:
    """Quantiles of the real network, one mark per source."""
    marks = []
    for number, source in enumerate(dict.fromkeys(source_name(one[2]) for one in measured)):
        points = [(delay, share) for share, delay, who in measured if source_name(who) == source]
        marks += axes.plot(
            *zip(*points, strict=True), linestyle="none", color=style.INK, markersize=5,
            marker=style.MARKERS[number % len(style.MARKERS)], markerfacecolor=style.PAPER,
            zorder=5, label=source,
        )  # fmt: skip
    return marks


def _panels(frame: pandas.DataFrame, **shared: bool) -> tuple[Figure, list[Axes]]:
    """As many pictures as properties, the rest left empty."""
    count = frame["property"].nunique()
    rows = -(-count // COLUMNS)
    figure = style.new_figure(10.6, 3.1 * rows + 0.9)
    flat = list(figure.subplots(rows, COLUMNS, squeeze=False, sharey=True, **shared).flat)
    for axes in flat[count:]:
        axes.set_axis_off()
    return figure, flat


def _basis(result: Any) -> str:
    parameters = result.parameters
    return (
        f"{parameters.n_nodes:,} nodes, {quantity(parameters.block_size_bytes, 'bytes')},\n"
        f"{parameters.replicates} networks, 95 % intervals, seed {parameters.seed}"
    )


def _known(result: Any) -> dict[str, dict[str, float]]:
    """Others' mean delays by property and value."""
    known: dict[str, dict[str, float]] = {name: {} for name in result.frame["property"]}
    for reference in result.references:
        for name in known:
            prefix = f"delay_s_mean_{name}_"
            if reference.quantity.startswith(prefix):
                known[name][reference.quantity.removeprefix(prefix)] = reference.value
    return known


def _value(name: str, value: str) -> str:
    """A value as a legend writes it."""
    if name == "block_size_bytes":
        return quantity(float(value), "bytes")
    return value.replace("_", " ")


def _draw_sweep(axes: Axes, frame: pandas.DataFrame, name: str, known: dict[str, float]) -> None:
    values = list(dict.fromkeys(frame["value"]))
    is_category = name in CATEGORIES
    at = {value: float(place) if is_category else float(value) for place, value in
          enumerate(values)}  # fmt: skip
    for number, (statistic, part) in enumerate(frame.groupby("statistic", sort=False)):
        look = style.look(number)
        below, above = interval_bars(part, "delay_s", "delay_low_s", "delay_high_s")
        # Categories have no line that tells the statistics apart: they stand side by side.
        shift = 0.12 * (number - 1.5) if is_category else 0.0
        axes.errorbar(
            [at[value] + shift for value in part["value"]], part["delay_s"],
            # A bar must not reach below zero on a logarithmic axis.
            yerr=[below.clip(max=0.95 * part["delay_s"].to_numpy()), above],
            color=look.color, marker=look.marker, markersize=3.5, capsize=2,
            linestyle="none" if is_category else look.dash, label=NAMES[str(statistic)],
        )  # fmt: skip
    points = [(at.get(value, float(value) if not is_category else -1.0), delay)
              for value, delay in known.items() if value in at or not is_category]  # fmt: skip
    low, high = min(at.values()), max(at.values())
    points = [(x, y) for x, y in points if low <= x <= high]
    if points:
        axes.plot(*zip(*sorted(points), strict=True), linestyle="none", marker="D", markersize=5,
                  color=style.INK, markerfacecolor=style.PAPER, zorder=5,
                  label="mean, Gervais et al. 2016\n(simulated network of 2016)")  # fmt: skip
    axes.set_title(TITLES[name], fontsize=9.5)
    if is_category:
        axes.set_xticks(list(at.values()), [value.replace("_", "\n") for value in values],
                        fontsize=7.5)  # fmt: skip
        axes.set_xlim(-0.5, len(values) - 0.5)
    else:
        axes.set_xscale("log")
        style.log_ticks(axes.xaxis, at=sorted(at.values()))
        if name == "block_size_bytes":
            sizes = sorted(at.values())
            axes.set_xticks(sizes, [quantity(size, "bytes") for size in sizes], rotation=30,
                            fontsize=7.5)  # fmt: skip


def _title(frame: pandas.DataFrame) -> str:
    """The property that changes the mean most, and the one that changes it least."""
    means = frame[frame["statistic"] == "mean"].groupby("property", sort=False)["delay_s"]
    ratio = (means.max() / means.min()).sort_values()
    words = [f"{TITLES[name].split(' (')[0].lower()} {ratio[name]:.2g}" for name in ratio.index]
    return f"By how much the mean delay changes: {', '.join(reversed(words))} times"
