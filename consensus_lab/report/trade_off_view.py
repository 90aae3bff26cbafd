"""One setting of interval and size on the grid of all: what it carries and what it wastes.

Rules of this file: a result of the experiment on stale rates in, a figure out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from consensus_lab.report import style
from consensus_lab.report.curves import curve_with_band
from consensus_lab.report.gossip_figures import TPS_LEVELS
from consensus_lab.report.maps import frame_cell, heat_map
from consensus_lab.report.table import quantity

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes


def trade_off_view(
    result: Any, *, interval_s: float, size_bytes: int, tolerated_share: float
) -> Figure:
    """The grid with one cell framed, and that cell on the curve of its block size.

    Parameters
    ----------
    result : Result
        Of the experiment on stale rates.
    interval_s, size_bytes : float, int
        The setting, one of the grid's.
    tolerated_share : float
        The share of hash power from which on an attacker wins there.
    """
    frame = result.frame
    row = frame[
        (frame["block_interval_s"] == interval_s) & (frame["block_size_bytes"] == size_bytes)
    ].iloc[0]
    size, tps = quantity(size_bytes, "bytes"), frame["confirmed_tps"]
    title = (
        f"{size} every {interval_s:g} s: {row['confirmed_tps']:,.3g} transactions per second, "
        f"{row['stale_fraction'] * 100:.2g} % of the blocks stale"
    )
    detail = (
        f"95 % interval {row['stale_low'] * 100:.2g} to {row['stale_high'] * 100:.2g} % of "
        f"{int(row['blocks']):,} blocks; mean delay {quantity(float(row['delay_s_mean']), 's')}; "
        f"an attacker wins from {tolerated_share * 100:.1f} % of the hash power on, not from 50 %"
    )
    with style.style():
        figure = style.new_figure(11.8, 5.4, fixed=True)  # Placed by hand: laid out at once.
        left = figure.add_axes((0.07, 0.16, 0.59, 0.70))
        right = figure.add_axes((0.71, 0.16, 0.28, 0.70))
        heat_map(
            frame, left, x="block_interval_s", y="block_size_bytes", value="stale_fraction",
            x_label="mean time between blocks (s)", y_label="block size",
            value_label="stale blocks, share of all", is_share=True, is_log=True,
            y_names={one: quantity(one, "bytes") for one in frame["block_size_bytes"]},
            contour="confirmed_tps",
            contour_levels=[at for at in TPS_LEVELS if 1.5 * tps.min() < at < tps.max() / 1.1],
        )  # fmt: skip
        left.set_yticks(left.get_yticks(), [text.get_text() for text in left.get_yticklabels()])
        frame_cell(left, (interval_s, size_bytes), xs=frame["block_interval_s"],
                   ys=frame["block_size_bytes"])  # fmt: skip
        style.headline(left, "Stale blocks; lines: confirmed transactions per second",
                       width_in=7.0)  # fmt: skip
        _draw_curve(right, frame, row, size)
        figure.text(0.01, 0.955, title, fontsize=13, weight="bold")
        figure.text(0.01, 0.02, detail, fontsize=9.5, color=style.FAINT)
    figure.alt_text = f"{title}. {detail}."
    return figure


def _draw_curve(axes: Axes, frame: pandas.DataFrame, row: pandas.Series, size: str) -> None:
    """All block sizes in grey, the chosen one with its intervals, the chosen point ringed."""
    chosen = frame[frame["block_size_bytes"] == row["block_size_bytes"]]
    for _, part in frame.groupby("block_size_bytes"):
        seen = part[part["stale_fraction"] > 0].sort_values("block_interval_s")
        axes.plot(seen["block_interval_s"], seen["stale_fraction"], color=style.MUTED,
                  linewidth=1.0, zorder=1)  # fmt: skip
    curve_with_band(
        chosen, axes, x="block_interval_s", y="stale_fraction", low="stale_low", high="stale_high",
        x_label="mean time between blocks (s)", y_label="stale blocks, share of all",
        is_log_x=True, is_log_y=True, is_share=True,
    )  # fmt: skip
    at = row["stale_fraction"] or row["stale_high"]
    axes.plot(row["block_interval_s"], at, marker="o", markersize=13, markerfacecolor="none",
              markeredgecolor=style.VERMILLION, markeredgewidth=3.0, zorder=6)  # fmt: skip
    style.headline(axes, f"{size}; grey: the other sizes")
