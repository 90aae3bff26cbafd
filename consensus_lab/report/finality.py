"""Figures of finality: risk against time, risk against depth, commit and apply by setting.

Rules of this file: results of experiments in (anything with `frame`, `references`, `parameters`),
figures out; titles are computed from the frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from consensus_lab.report import style
from consensus_lab.report.curves import finality_axis
from consensus_lab.report.figures import times

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

SIX = 6
RISK_MIN = 1e-6


def risk_figure(result: Any) -> Figure:
    """Risk against time for all systems; six confirmations as marks on the chain's side."""
    frame = result.frame
    curves = frame[frame["part"] == "curve"]
    depths = frame[(frame["part"] == "confirmations") & (frame["confirmations"] == SIX)]
    parameters = result.parameters
    logs = curves[~curves["system"].str.startswith("nakamoto")]
    ratio = _time_below(curves, "nakamoto", 0.001) / _time_below(logs, "", 0.001)
    figure = finality_axis(
        curves, low="low", high="high", risk_min=RISK_MIN,
        published=[(0.01, "<10 ms", "essay"), (3600.0, "60 min", "essay")],
        y_label="risk: still open, or taken back later",
        title=f"For a risk below 0.1 % a log takes milliseconds, a chain {times(ratio)} as long or "
        "more",
        detail=f"{parameters.n_servers} servers in {parameters.server_geography}, the leader "
        f"crashes {_often(parameters.leader_crashes_per_day)} (bands: 95 %); chain: trusted "
        f"after that time, a block each {parameters.block_interval_s:g} s; marks: after {SIX} "
        f"confirmations, with network delay; seed {parameters.seed}",
    )  # fmt: skip
    axes = figure.axes[0]
    first = logs["system"].nunique()
    with style.style():
        for number, row in enumerate(depths.itertuples()):
            look = style.look(first + number)
            is_below = row.risk_with_delay < RISK_MIN
            edge = look.color if is_below else style.INK
            axes.plot(row.minutes_mean * 60, max(row.risk_with_delay, RISK_MIN), clip_on=False,
                      marker=r"$\downarrow$" if is_below else look.marker, color=look.color,
                      markersize=8, markeredgecolor=edge, markeredgewidth=0.8, zorder=6,
                      linestyle="none")  # fmt: skip
    return figure


def _often(per_day: float) -> str:
    """How often something happens."""
    return {0.0: "never", 1.0: "once a day"}.get(per_day, f"{per_day:g} times a day")


def _time_below(curves: pandas.DataFrame, prefix: str, risk: float) -> float:
    """The earliest time at which a system of that name is below the risk."""
    mine = curves[curves["system"].str.startswith(prefix)]
    return float(mine[mine["risk"] < risk]["seconds"].min())


def confirmations_figure(result: Any, axes: Axes | None = None) -> Figure:
    """Risk over the number of confirmations: exact, the whitepaper's, and simulated attacks."""
    rows = result.frame[result.frame["part"] == "confirmations"]
    with style.style():
        figure, axes = style.axes_of(axes, width_in=8.2)
        for number, (share, part) in enumerate(rows.groupby("attacker_share", sort=False)):
            look, name = style.look(number), f"attacker {share * 100:g} %"
            axes.plot(part["confirmations"], part["risk_with_delay"], color=look.color, label=name)
            axes.plot(part["confirmations"], part["risk_whitepaper"], color=look.color,
                      linestyle=":", linewidth=1.2)  # fmt: skip
            seen = part[part["risk_simulated"] > 0]
            spread = [seen["risk_simulated"] - seen["simulated_low"],
                      seen["simulated_high"] - seen["risk_simulated"]]  # fmt: skip
            axes.errorbar(seen["confirmations"], seen["risk_simulated"], yerr=spread,
                          linestyle="none", marker=look.marker, color=look.color,
                          capsize=2)  # fmt: skip
        axes.plot([], [], color=style.INK, linestyle=":", linewidth=1.2, label="whitepaper")
        axes.set_yscale("log")
        axes.set_xticks(sorted(set(rows["confirmations"].astype(int))))
        axes.set(ylim=(RISK_MIN, 1.5), xlabel="confirmations (blocks)",
                 ylabel="risk that the payment is taken back")  # fmt: skip
        style.reference_line(axes, SIX, "six", source="convention", place=0.99)
        style.legend(axes)
        delay = result.measure("delay_s_p99").value
        style.headline(
            axes, _depth_title(rows),
            f"lines: closed form with a delay of {delay:.1f} s (99 % of deliveries, simulated); "
            f"marks: {result.parameters.n_attacks:,} simulated attacks each, 95 % intervals; "
            f"seed {result.parameters.seed}",
        )  # fmt: skip
    return figure


def _depth_title(rows: pandas.DataFrame) -> str:
    """Where the whitepaper is furthest below the exact value, at six confirmations if asked."""
    at = rows[rows["confirmations"] == SIX]
    at = rows if at.empty else at
    ratio = at["risk_exact"] / at["risk_whitepaper"]
    worst = at.loc[ratio.idxmax()]
    return (
        f"The whitepaper's estimate is up to {ratio.max():.1f} times too low at "
        f"{worst['confirmations']:g} confirmations (attacker {worst['attacker_share'] * 100:g} %)"
    )


def commit_and_apply_figure(result: Any) -> Figure:
    """Each setting on a line: answer, applied everywhere, and the 99 % quantiles."""
    keys = ["situation", "geography", "disk", "servers"]
    frame = result.frame.sort_values(
        keys, ascending=[False, True, False, True], kind="stable"
    ).reset_index(drop=True)  # fmt: skip
    settings = frame.drop_duplicates(keys)
    places = {tuple(row): -place for place, row in enumerate(settings[keys].to_numpy())}
    protocols = list(dict.fromkeys(result.frame["protocol"]))
    with style.style():
        height_in = 1.9 + 0.33 * len(settings)
        figure, axes = style.axes_of(None, width_in=8.6, height_in=height_in)
        for number, protocol in enumerate(protocols):
            look, part = style.look(number), frame[frame["protocol"] == protocol]
            shift = 0.26 * (0.5 - (number + 0.5) / len(protocols))
            y = [places[tuple(row)] + shift for row in part[keys].to_numpy()]
            axes.hlines(y, part["commit_ms_p50"], part["commit_ms_p99"], color=look.color,
                        linewidth=1.2)  # fmt: skip
            for column, face, words in (
                ("commit_ms_p50", look.color, "answered"),
                ("all_applied_ms_p50", style.PAPER, "applied everywhere"),
            ):
                axes.plot(part[column], y, linestyle="none", marker=look.marker, color=look.color,
                          markersize=5.5, markerfacecolor=face,
                          label=f"{protocol}: {words}")  # fmt: skip
        calm = settings[settings["two_delays_ms"] > 0]
        axes.plot(calm["two_delays_ms"], [places[tuple(row)] for row in calm[keys].to_numpy()],
                  linestyle="none", marker="|", markersize=13, color=style.INK,
                  label="two message delays to a majority")  # fmt: skip
        axes.set_xscale("log")
        names = [_setting(row) for row in settings.itertuples()]
        axes.set_yticks([-place for place in range(len(names))], names)
        axes.set(xlabel="time since the put was handed in (ms)", ylim=(-len(names) + 0.4, 0.6))
        style.log_ticks(axes.xaxis)
        style.legend(axes)
        style.headline(axes, _apply_title(frame),
                       "medians, lines to the 99 % quantile of the answer; "
                       f"{result.parameters.n_requests} puts per setting, "
                       f"{result.parameters.n_crashes} crashes, seed {result.parameters.seed}",
                       width_in=5.6)  # fmt: skip
    return figure


def _setting(row: Any) -> str:
    where = row.geography.replace("_", " ")
    if row.situation != "undisturbed":
        return f"{row.servers} servers, {where}, leader crashes"
    return f"{row.servers} servers, {where}, {row.disk} disk"


def _apply_title(frame: pandas.DataFrame) -> str:
    """How much later than the answer, in the first geography, where messages take least."""
    calm = frame[frame["situation"] == "undisturbed"]
    near = calm[calm["geography"] == calm["geography"].iloc[0]]
    gap = (near["all_applied_ms_p50"] - near["commit_ms_p50"]).groupby(near["protocol"]).median()
    words = [f"{value:.2g} ms with {name}" for name, value in gap.sort_values().items()]
    where = near["geography"].iloc[0].replace("_", " ")
    return f"In a {where} the last replica applies after the answer: {', '.join(words)}"
