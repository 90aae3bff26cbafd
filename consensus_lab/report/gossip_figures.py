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
from consensus_lab.report.curves import curve_with_band
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
    near = frame[frame["stale_blocks"] >= frame["stale_blocks"].max() / 10]
    ratio = (near["stale_fraction"] / near["stale_full_delay"]).mean()
    style.headline(axes, f"Delay over interval decides: {ratio:.2f} of x / (1 + x)",
                   "95 % intervals; measured on the real network in 2012: in ink",
                   width_in=4.4)  # fmt: skip
