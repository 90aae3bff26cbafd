"""Explorer: stale rate and throughput over block interval and block size, on a grid made once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consensus_lab import theory
from consensus_lab.experiments import stale_rate
from consensus_lab.node import ParameterError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from consensus_lab.experiments.result import Result
    from consensus_lab.explorers.panel import Panel

SMALL = {"n_nodes": 200, "n_blocks": 400, "replicates": 3}
"""A network in which each cell of the grid takes a tenth of a second."""


def small_grid(parameters: stale_rate.Parameters | None = None) -> Result:
    """The stale rates of the full preset's intervals and sizes, on a small network.

    Parameters
    ----------
    parameters : stale_rate.Parameters, optional
        Of another grid.
    """
    full = stale_rate.Parameters.of(preset="full")
    return stale_rate.run(parameters or full.replace(**SMALL))


def picture(result: Result, *, interval_s: float, size_bytes: int) -> Figure:
    """One setting on its grid.

    Parameters
    ----------
    result : Result
        A grid, of the experiment on stale rates.
    interval_s : float
        Mean time between blocks, seconds; one of the grid's.
    size_bytes : int
        Size of each block; one of the grid's.

    Raises
    ------
    ParameterError
        For a setting that is not on the grid.
    """
    from consensus_lab.report.trade_off_view import trade_off_view

    frame = result.frame
    for name, value in (("block_interval_s", interval_s), ("block_size_bytes", size_bytes)):
        there = sorted(set(frame[name]))
        if value not in there:
            raise ParameterError(name, value, f"one of {', '.join(f'{one:g}' for one in there)}")
    row = frame[
        (frame["block_interval_s"] == interval_s) & (frame["block_size_bytes"] == size_bytes)
    ].iloc[0]
    tolerated = theory.tolerated_share_tight(float(row["delay_intervals"]))
    return trade_off_view(
        result, interval_s=interval_s, size_bytes=size_bytes, tolerated_share=tolerated
    )


def explore_trade_off(result: Result | None = None) -> Panel:
    """Sliders for interval and size; the point moves on a grid that was computed before.

    Parameters
    ----------
    result : Result, optional
        A grid, of the experiment on stale rates; `small_grid` without it.

    Returns
    -------
    Panel
        For the last line of a cell.
    """
    import ipywidgets

    from consensus_lab.explorers.panel import Panel, Screen

    grid = result or small_grid()
    screen, drawn = Screen(), dict[tuple[float, int], str]()
    intervals = sorted(set(grid.frame["block_interval_s"]), reverse=True)
    sizes = sorted(set(grid.frame["block_size_bytes"]))
    look: dict[str, Any] = {
        "continuous_update": False, "layout": {"width": "30em"},
        "style": {"description_width": "8em"},
    }  # fmt: skip
    interval = ipywidgets.SelectionSlider(
        options=[(f"{one:g} s", one) for one in intervals], value=intervals[0],
        description="block interval", **look,
    )  # fmt: skip
    size = ipywidgets.SelectionSlider(
        options=[(f"{one / 1000:,.0f} kB", one) for one in sizes], value=sizes[len(sizes) // 2],
        description="block size", **look,
    )  # fmt: skip

    def still() -> Figure:
        return picture(grid, interval_s=interval.value, size_bytes=size.value)

    def show(_: Any = None) -> None:
        place = interval.value, size.value
        if place not in drawn:
            screen.show(still())
            drawn[place] = screen.picture.value
        screen.picture.value = drawn[place]

    for control in (interval, size):
        control.observe(show, names="value")
    show()
    box = ipywidgets.VBox([ipywidgets.HBox([interval, size]), screen.picture])
    return Panel(box, still, interval=interval, size=size, screen=screen)
