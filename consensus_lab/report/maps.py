"""Maps: a quantity over two parameters, and a block's front moving over a network.

Rules of this file: plain frames and arrays in, a figure out.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from consensus_lab.report import style

if TYPE_CHECKING:
    import pandas

CELLS_WRITTEN_MAX = 80
"""A heat map with more cells than this is read from its colour bar."""

VECTOR_MAX = 2000
"""More marks or lines than this are drawn as pixels, also in an SVG."""

LINKS_MAX = 4000
"""Of more links than this a map draws a part."""

HEAT_COLORS = "cividis_r"
"""Dark is much; made for readers with and without colour vision (Nuñez et al. 2018)."""


def heat_map(
    frame: pandas.DataFrame,
    axes: Axes | None = None,
    *,
    x: str,
    y: str,
    value: str,
    x_label: str,
    y_label: str,
    value_label: str,
    contour: str | None = None,
    contour_label: str = "",
    contour_levels: Sequence[float] | None = None,
    is_share: bool = False,
    is_log: bool = False,
    x_names: Mapping[Any, str] | None = None,
    y_names: Mapping[Any, str] | None = None,
    title: str = "",
    detail: str = "",
) -> Figure:
    """A quantity over two parameters as colours and numbers; another one as contour lines.

    Parameters
    ----------
    frame : DataFrame
        One row per cell: columns `x`, `y`, `value` and, if named, `contour`.
    axes : Axes, optional
        Where to draw.
    x_label, y_label, value_label, contour_label : str
        With units.
    contour_levels : sequence of float, optional
        Where lines of `contour` run; chosen from its range without it.
    is_share : bool
        `value` is a share of 1, written in percent.
    is_log : bool
        Colours by the logarithm; cells at or below zero stay empty.
    x_names, y_names : mapping, optional
        What is written for a value of an axis.
    title, detail : str
        What the figure shows, and what it rests on.
    """
    grid = frame.pivot(index=y, columns=x, values=value).sort_index().sort_index(axis=1)
    heights = grid.to_numpy(float)
    with style.style():
        figure, axes = style.axes_of(axes, width_in=7.6, height_in=4.8)
        seen = heights[heights > 0] if is_log else heights[numpy.isfinite(heights)]
        bounds = (float(seen.min()), float(seen.max())) if seen.size else (0.1, 1.0)
        norm = LogNorm(*bounds) if is_log else Normalize(*bounds)
        mesh = axes.pcolormesh(numpy.ma.masked_invalid(heights), cmap=HEAT_COLORS, norm=norm,
                               edgecolor=style.PAPER, linewidth=0.5)  # fmt: skip
        bar = figure.colorbar(mesh, ax=axes, label=value_label, pad=0.02)
        if is_log:
            style.log_ticks(bar.ax.yaxis)
        if is_share:
            style.percent(bar.ax.yaxis)
        _name_cells(axes, grid, x_names or {}, y_names or {})
        if heights.size <= CELLS_WRITTEN_MAX:
            _write_cells(axes, heights, norm, is_share, 0.2 if contour else 0.5)
        if contour is not None:
            lines = frame.pivot(index=y, columns=x, values=contour).sort_index()
            _draw_contours(axes, lines.sort_index(axis=1).to_numpy(float), contour_levels)
            detail = f"{detail}; lines: {contour_label}" if detail else f"Lines: {contour_label}"
        axes.set(xlabel=x_label, ylabel=y_label)
        axes.grid(False)
        if title:
            style.headline(axes, title, detail)
    return figure


def frame_cell(
    axes: Axes, values: tuple[Any, Any], *, xs: Iterable[Any], ys: Iterable[Any]
) -> None:
    """Frame the cell of these values of x and y on a heat map of all `xs` and `ys`."""
    corner = sorted(set(xs)).index(values[0]), sorted(set(ys)).index(values[1])
    axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=style.VERMILLION, linewidth=3.5,
                             zorder=6, clip_on=False))  # fmt: skip


def _name_cells(
    axes: Axes, grid: pandas.DataFrame, x_names: Mapping[Any, str], y_names: Mapping[Any, str]
) -> None:
    for axis, values, names in (
        (axes.xaxis, list(grid.columns), x_names),
        (axes.yaxis, list(grid.index), y_names),
    ):
        step = max(1, len(values) // 12)
        axis.set_ticks(
            [place + 0.5 for place in range(0, len(values), step)],
            [names.get(one, f"{one:,g}") for one in values[::step]],
        )
        axis.set_tick_params(length=0)


def _write_cells(
    axes: Axes, heights: numpy.ndarray, norm: Normalize, is_share: bool, rise: float
) -> None:
    """Numbers in the cells, dark on light and light on dark; low, where lines cross the middle."""
    colors = matplotlib.colormaps[HEAT_COLORS]
    for (row, column), height in numpy.ndenumerate(heights):
        if not math.isfinite(height):
            continue
        text = f"{height * 100:.2g} %" if is_share else f"{height:.3g}"
        red, green, blue, _ = colors(float(norm(height))) if height > 0 else (1, 1, 1, 1)
        is_dark = 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.5
        # A white number stays white on a dark page, so it must not be the colour of paper.
        axes.text(column + 0.5, row + rise, text, ha="center", va="center", fontsize=7.5,
                  color="#fefefe" if is_dark else "#111111")  # fmt: skip


def _draw_contours(axes: Axes, heights: numpy.ndarray, levels: Sequence[float] | None) -> None:
    """Lines through the middles of the cells; a grid of less than two by two has none."""
    if min(heights.shape) < 2:
        return
    rows, columns = heights.shape
    places = numpy.arange(columns) + 0.5, numpy.arange(rows) + 0.5
    lines = axes.contour(*places, heights, levels=levels, colors=style.VERMILLION, linewidths=1.4)
    around = [withStroke(linewidth=2.5, foreground="#fefefe")]
    for text in axes.clabel(lines, fmt=lambda level: f"{level:,g}", fontsize=9):
        text.set(path_effects=around, weight="bold")


def clustered_positions(regions: Mapping[Hashable, str]) -> dict[Hashable, tuple[float, float]]:
    """Places for nodes, one round cluster per region, the same for the same regions.

    Clusters stand on a circle in the order of their names; nodes of a cluster fill a disk by the
    sunflower rule (Vogel 1979), whose area is in proportion to their number.

    Parameters
    ----------
    regions : mapping of node to str
        Which region each node is in; the order of nodes within a region is kept.
    """
    members: dict[str, list[Hashable]] = {}
    for node, region in regions.items():
        members.setdefault(region, []).append(node)
    count = len(regions)
    golden = math.pi * (3 - math.sqrt(5))
    places: dict[Hashable, tuple[float, float]] = {}
    for number, region in enumerate(sorted(members)):
        turn = 2 * math.pi * number / len(members)
        middle = (math.cos(turn), 0.75 * math.sin(turn)) if len(members) > 1 else (0.0, 0.0)
        spread = 0.62 * math.sqrt(len(members[region]) / count)
        for seed, node in enumerate(members[region]):
            radius = spread * math.sqrt((seed + 0.5) / len(members[region]))
            places[node] = (
                middle[0] + radius * math.cos(seed * golden),
                middle[1] + radius * math.sin(seed * golden),
            )
    return places


def map_strip(
    positions: Mapping[Hashable, tuple[float, float]],
    edges: Iterable[tuple[Hashable, Hashable]],
    seconds: Mapping[Hashable, float],
    *,
    at_s: Sequence[float],
    regions: Mapping[Hashable, str] | None = None,
    marked: Collection[Hashable] = (),
    columns_max: int = 4,
    title: str = "",
    detail: str = "",
) -> Figure:
    """A block's front on the network at several moments, one map each.

    Parameters
    ----------
    positions : mapping of node to (x, y)
        Any layout; see `clustered_positions`.
    edges : iterable of (node, node)
        Links between them; of more than `LINKS_MAX` an even part is drawn.
    seconds : mapping of node to float
        When each node had the block; infinite or missing where it never came.
    at_s : sequence of float
        The moments, rising.
    regions : mapping of node to str, optional
        Names written over the nodes that share them, in the first map.
    marked : collection of nodes
        Drawn with a ring: the miner, an attacker.
    columns_max : int
        Maps beside each other.
    title, detail : str
        What the figure shows, and what it rests on.
    """
    nodes = list(positions)
    places = numpy.array([positions[node] for node in nodes], float)
    arrived = numpy.array([seconds.get(node, math.inf) for node in nodes], float)
    lines = drawn_links([(positions[a], positions[b]) for a, b in edges])
    columns = min(columns_max, len(at_s))
    rows = -(-len(at_s) // columns)
    width_in = 2.9 * columns
    with style.style():
        figure = style.new_figure(width_in, 2.75 * rows + 0.9)
        figure.get_layout_engine().set(h_pad=0.09)
        panels = figure.subplots(rows, columns, squeeze=False)
        flat = list(panels.flat)
        before = -math.inf
        for axes, moment in zip(flat, at_s, strict=False):
            _draw_front(axes, places, lines, arrived, before, moment)
            rings = [positions[node] for node in marked]
            if rings:
                axes.plot(*zip(*rings, strict=True), linestyle="none", marker="o", markersize=11,
                          markerfacecolor="none", color=style.INK, markeredgewidth=1.2)
            share = float(numpy.mean(arrived <= moment))
            axes.set_title(f"{moment:.3g} s: {share * 100:.0f} %", fontsize=9, weight="normal")
            before = moment
        name_regions(flat[0], positions, regions or {})
        for axes in flat:
            axes.set_axis_off()
            axes.set_aspect("equal")
        figure.legend(handles=_front_handles(), loc="outside lower left", ncols=3,
                      title=detail or None, alignment="left", title_fontsize=8)  # fmt: skip
        if title:
            figure.suptitle(style.wrapped(title, width_in), x=0.01, ha="left", fontsize=10.5,
                            weight="bold")  # fmt: skip
    return figure


def drawn_links(lines: list[Any]) -> list[Any]:
    """All links, or every second, third, ... where more than `LINKS_MAX` would be an area."""
    return lines[:: -(-len(lines) // LINKS_MAX) or 1]


def link_alpha(n_links: int) -> float:
    """How solid a link is drawn: where there are many, they must not become an area."""
    return min(0.7, max(0.04, 250.0 / max(1, n_links)))


def _draw_front(
    axes: Axes, places: numpy.ndarray, lines: list[Any], arrived: numpy.ndarray, before: float,
    moment: float,
) -> None:  # fmt: skip
    """One map: who has the block, who got it since the last map, who still waits."""
    axes.add_collection(LineCollection(
        lines, colors=style.MUTED, linewidths=0.3 if len(lines) > 500 else 0.7, zorder=1,
        alpha=link_alpha(len(lines)), rasterized=len(lines) > VECTOR_MAX,
    ))  # fmt: skip
    size = max(1.0, min(22.0, 9000.0 / max(1, len(places))))
    waits, fresh = arrived > moment, (arrived <= moment) & (arrived > before)
    for mask, color, marker in (
        (waits, style.MUTED, "o"),
        (~waits & ~fresh, style.BLUE, "o"),
        (fresh, style.VERMILLION, "s"),
    ):
        axes.scatter(places[mask, 0], places[mask, 1], s=size, c=color, marker=marker, zorder=2,
                     linewidths=0, rasterized=len(places) > VECTOR_MAX)  # fmt: skip


def name_regions(
    axes: Axes, positions: Mapping[Hashable, tuple[float, float]], regions: Mapping[Hashable, str]
) -> None:
    """Write each region's name over its nodes."""
    for region in sorted(set(regions.values())):
        spots = [positions[node] for node in positions if regions.get(node) == region]
        if spots:
            middle = sum(x for x, _ in spots) / len(spots)
            axes.annotate(region, (middle, max(y for _, y in spots)), (0, 5), ha="center",
                          textcoords="offset points", fontsize=7, color=style.INK)  # fmt: skip


def _front_handles() -> list[Line2D]:
    keep: dict[str, Any] = {"linestyle": "none", "markersize": 6}
    return [
        Line2D([], [], marker="s", color=style.VERMILLION, label="new since the last map", **keep),
        Line2D([], [], marker="o", color=style.BLUE, label="has it", **keep),
        Line2D([], [], marker="o", color=style.MUTED, label="waits", **keep),
    ]
