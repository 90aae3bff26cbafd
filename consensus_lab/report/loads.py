"""Figures of load: saturation with the benchmark that it was fitted to, and size of the network.

Rules of this file: results of experiments in, figures out; titles are computed from the frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from consensus_lab.constants import BITCOIN_NODES_MIN
from consensus_lab.report import style
from consensus_lab.report.distributions import source_name

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

LATENCY_MS, RATE_PER_S = 10.0, 10_000.0
"""The essay's two figures for etcd."""


def saturation_figure(result: Any) -> Figure:
    """Completed and latency over offered load, and each row of etcd's table beside ours."""
    rows = result.frame[result.frame["part"] == "offered"]
    known = result.frame[result.frame["part"] == "benchmark"].reset_index(drop=True)
    with style.style():
        figure = style.new_figure(12.6, 5.4)
        left, middle, right = figure.subplots(1, 3, gridspec_kw={"width_ratios": [1, 1, 1.1]})
        for number, (name, part) in enumerate(rows.groupby("protocol", sort=False)):
            look, part = style.look(number), part.sort_values("offered_per_s")
            _band(left, part, "completed_per_s", "completed_per_s", look, str(name))
            _band(middle, part, "latency_ms_mean", "latency_ms", look, f"{name}, mean")
            middle.plot(part["offered_per_s"], part["latency_ms_p99"], color=look.color,
                        linestyle=":", label=f"{name}, 99 %")  # fmt: skip
        ends = [rows["offered_per_s"].min(), rows["offered_per_s"].max()]
        left.plot(ends, ends, color=style.MUTED, linewidth=1.0, label="all that is offered")
        for axes in (left, middle):
            axes.set(xscale="log", yscale="log", xlabel="offered (writes/s)")
            style.log_ticks(axes.xaxis)
            style.log_ticks(axes.yaxis)
            style.reference_line(axes, RATE_PER_S, ">10,000/s", source="essay", place=0.5)
        left.set_ylabel("completed (writes/s)")
        middle.set_ylabel("latency (ms)")
        style.reference_line(middle, LATENCY_MS, "<10 ms", source="essay", along="y", place=0.4)
        _benchmark(right, known)
        for axes in (left, middle, right):
            style.legend(axes)
        _over_all(figure, _saturation_title(result, rows, known),
                  f"{result.parameters.n_servers} servers, {result.parameters.replicates} runs of "
                  f"{result.parameters.watched_s:g} s per load, 95 % intervals, seed "
                  f"{result.parameters.seed}; beyond the capacity latency depends on how long one "
                  "watches", width_in=12.4)  # fmt: skip
    return figure


def _over_all(figure: Figure, finding: str, detail: str, *, width_in: float) -> None:
    """The finding over all panels, what it rests on below them."""
    figure.suptitle(style.wrapped(finding, width_in), x=0.01, ha="left", fontsize=10.5,
                    weight="bold")  # fmt: skip
    figure.supxlabel(detail, x=0.01, ha="left", fontsize=8, color=style.FAINT)


def _band(axes: Axes, part: pandas.DataFrame, y: str, stem: str, look: Any, label: str) -> None:
    x = part["offered_per_s"]
    axes.plot(x, part[y], color=look.color, marker=look.marker, linestyle=look.dash, label=label)
    axes.fill_between(x, part[f"{stem}_low"].clip(lower=part[y] / 10), part[f"{stem}_high"],
                      color=look.color, alpha=0.18, linewidth=0)  # fmt: skip


def _benchmark(axes: Axes, known: pandas.DataFrame) -> None:
    """Errors of the simulated rate, row by row; fitted rows are hollow."""
    errors = known["error"] * 100
    for is_fitted, words in ((True, "fitted to this row"), (False, "predicted")):
        look, mine = style.look(2), known["is_fitted"].astype(bool) == is_fitted
        axes.plot(errors[mine], -known.index[mine].to_numpy(), linestyle="none", marker="o",
                  markersize=8, color=look.color, label=words,
                  markerfacecolor=style.PAPER if is_fitted else look.color)  # fmt: skip
    there = known.dropna(subset=["error_at_leader"])
    axes.plot(there["error_at_leader"] * 100, -there.index.to_numpy(), linestyle="none",
              marker="x", markersize=8, color=style.INK,
              label="predicted, had its server been the leader")  # fmt: skip
    axes.axvline(0.0, color=style.INK, linestyle=(0, (4, 3)), linewidth=1.0)
    reach = max(50.0, float(errors.abs().max()) * 1.3)
    names = [
        f"{row.consistency.replace('-', '')} {row.operation}s, {int(row.clients):,} at "
        f"{'leader' if row.target == 'leader only' else 'all'}\n{row.etcd_per_s:,.0f}/s".strip()
        for row in known.itertuples()
    ]
    axes.set_yticks([-place for place in range(len(names))], names)
    axes.set(xlim=(-reach, reach), ylim=(-len(names) + 0.4, 0.6),
             xlabel="simulated against etcd's published rate (%)")  # fmt: skip


def _saturation_title(result: Any, rows: pandas.DataFrame, known: pandas.DataFrame) -> str:
    best = rows.groupby("protocol", sort=False)["completed_per_s"].max()
    words = ", ".join(f"{name} at {rate:,.0f}/s" for name, rate in best.items())
    missed = known[~known["is_fitted"].astype(bool)]["error"].abs()
    return (
        f"The leader's CPU bends the curve: {words}. {len(missed)} rows of etcd's table predicted "
        f"within {missed.max() * 100:.0f} % (median {missed.median() * 100:.0f} %)"
    )


def participants_figure(result: Any) -> Figure:
    """Rates over the number of participants, and how much one of them has to send."""
    frame = result.frame
    first = frame[frame["system"].str.startswith("nakamoto")]["system"].iloc[0]
    with style.style():
        figure = style.new_figure(10.6, 5.4)
        left, right = figure.subplots(1, 2)
        for number, (name, part) in enumerate(frame.groupby("system", sort=False)):
            look, x = style.look(number), part["participants"]
            mark = {"color": look.color, "marker": look.marker, "linestyle": look.dash}
            left.plot(x, part["tps"], label=str(name), **mark)
            left.fill_between(x, part["tps_low"].clip(lower=part["tps"] / 10), part["tps_high"],
                              color=look.color, alpha=0.18, linewidth=0)  # fmt: skip
            if not str(name).startswith("nakamoto"):
                right.plot(x, part["busiest_sends"], label=f"{name}: leader", **mark)
            elif name == first:
                right.plot(x, part["busiest_sends"], label="nakamoto: most links of a node", **mark)
                right.plot(x, part["mean_sends"], color=look.color, marker=look.marker,
                           markerfacecolor=style.PAPER, linestyle=":",
                           label="nakamoto: blocks sent by a node, mean")  # fmt: skip
        alone = frame[frame["system"].str.endswith("message")]
        last = alone.loc[alone["participants"].idxmax()]
        most = max(int(frame["participants"].max()), BITCOIN_NODES_MIN)
        left.plot([last["participants"], most],
                  [last["closed_form_tps"],
                   last["closed_form_tps"] * last["participants"] / most],
                  color=style.MUTED, linestyle=":", label="one copy each: falls as 1 / n")
        for axes in (left, right):
            axes.set(xscale="log", yscale="log", xlabel="participants (count)")
            style.log_ticks(axes.xaxis)
            style.log_ticks(axes.yaxis)
            style.legend(axes)
        for reference in result.references:
            sign = ">" if "lower bound" in reference.source else ""
            style.reference_line(left, reference.value, f"{sign}{reference.value:,g}/s",
                                 source=source_name(reference.source), along="y",
                                 place=0.98)  # fmt: skip
        left.set_ylabel("transactions per second")
        right.set_ylabel("messages sent per command or block")
        _over_all(figure, _participants_title(frame),
                  f"{result.parameters.clients} clients; blocks of "
                  f"{result.parameters.block_size_bytes:,} bytes, "
                  f"{result.parameters.n_blocks} on each of {result.parameters.replicates} "
                  "networks; 95 % intervals; seed "
                  f"{result.parameters.seed}",
                  width_in=10.2)  # fmt: skip
    return figure


def _participants_title(frame: pandas.DataFrame) -> str:
    alone = frame[frame["system"].str.endswith("message")]
    usual = frame[frame["system"].str.startswith("nakamoto")]
    chain = usual[usual["system"] == usual["system"].iloc[0]]
    name = alone["system"].iloc[0]
    part = alone[alone["system"] == name].sort_values("participants")
    first, last = part.iloc[0], part.iloc[-1]
    ends = chain.sort_values("participants").iloc[[0, -1]]
    change = abs(ends["tps"].iloc[1] / ends["tps"].iloc[0] - 1) * 100
    kept = "stays the same" if change < 0.05 else f"changes by {change:.2g} %"
    return (
        f"From {first['participants']} to {last['participants']} servers a leader's rate falls "
        f"{first['tps'] / last['tps']:.1f} times; from {ends['participants'].iloc[0]:,} to "
        f"{ends['participants'].iloc[1]:,} nodes the chain's {kept}"
    )
