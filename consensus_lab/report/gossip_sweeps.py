"""Small multiples: the delay of a block over one property after the other.

Rules of this file: a result in, a figure out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from consensus_lab.report import style
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


def sweep_figure(result: Any) -> Figure:
    """Delays over each property in a picture of its own, all on one axis of time."""
    frame, parameters = result.frame, result.parameters
    names = list(dict.fromkeys(frame["property"]))
    known: dict[str, dict[str, float]] = {name: {} for name in names}
    for reference in result.references:
        for name in names:
            prefix = f"delay_s_mean_{name}_"
            if reference.quantity.startswith(prefix):
                known[name][reference.quantity.removeprefix(prefix)] = reference.value
    rows = -(-len(names) // COLUMNS)
    with style.style():
        figure = style.new_figure(10.6, 3.1 * rows + 0.9)
        panels = figure.subplots(rows, COLUMNS, squeeze=False, sharey=True)
        flat = list(panels.flat)
        for axes, name in zip(flat, names, strict=False):
            _draw_sweep(axes, frame[frame["property"] == name], name, known[name])
        for axes in flat[len(names) :]:
            axes.set_axis_off()
        flat[0].set_yscale("log")
        style.log_ticks(flat[0].yaxis)
        for row in panels:
            row[0].set_ylabel("delay from discovery to accepted block (s)", fontsize=8)
        handles, labels = flat[0].get_legend_handles_labels()
        spare = flat[len(names)] if len(names) < len(flat) else None
        where: dict[str, Any] = {"loc": "upper left"} if spare else {"loc": "outside lower left"}
        (spare or figure).legend(
            handles, labels, title=f"{parameters.n_nodes:,} nodes, "
            f"{quantity(parameters.block_size_bytes, 'bytes')},\n{parameters.replicates} networks, "
            f"95 % intervals, seed {parameters.seed}", alignment="left", title_fontsize=8, **where,
        )  # fmt: skip
        figure.suptitle(style.wrapped(_title(frame), 10.0), x=0.01, ha="left", fontsize=10.5,
                        weight="bold")  # fmt: skip
    return figure


def _draw_sweep(axes: Axes, frame: pandas.DataFrame, name: str, known: dict[str, float]) -> None:
    values = list(dict.fromkeys(frame["value"]))
    is_category = name in CATEGORIES
    at = {value: float(place) if is_category else float(value) for place, value in
          enumerate(values)}  # fmt: skip
    for number, (statistic, part) in enumerate(frame.groupby("statistic", sort=False)):
        look = style.look(number)
        errors = [part["delay_s"] - part["delay_low_s"], part["delay_high_s"] - part["delay_s"]]
        # Categories have no line that tells the statistics apart: they stand side by side.
        shift = 0.12 * (number - 1.5) if is_category else 0.0
        axes.errorbar(
            [at[value] + shift for value in part["value"]], part["delay_s"],
            yerr=[error.clip(upper=0.95 * part["delay_s"]) for error in errors],
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
