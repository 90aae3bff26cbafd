"""A block's front over a network: rings by hops, a strip of maps, and a small animation.

Rules of this file: a result or plain arrays in, a figure or the bytes of a picture out.  Every
animation has the strip as its static twin.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Hashable, Mapping, Sequence
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.figure import Figure

from consensus_lab.report import style
from consensus_lab.report.maps import (
    clustered_positions,
    drawn_links,
    link_alpha,
    map_strip,
    name_regions,
)
from consensus_lab.report.table import quantity

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.text import Text

FRAMES = 40
FRAME_MS = 90
PAUSE_MS = 1500
"""How long the last picture stays before the animation begins again."""

FRESH_FRAMES = 2
"""A node counts as new during this many pictures."""

SHADES = 6
"""Steps between each colour and the paper: few, so that the animation stays small."""

CLEAR = 31
"""Number of the colour that stands for "as before"."""

Places = dict[Hashable, tuple[float, float]]


class FrontAnimation(NamedTuple):
    """An animated picture that shows itself in a notebook and survives on a page without scripts.

    Attributes
    ----------
    gif : bytes
    alt : str
        What a reader who cannot see it should know.
    """

    gif: bytes
    alt: str

    def save(self, path: str | Path) -> Path:
        """Write the GIF."""
        target = Path(path)
        target.write_bytes(self.gif)
        return target

    def __repr__(self) -> str:
        return self.alt

    def _repr_html_(self) -> str:
        source = f"data:image/gif;base64,{base64.b64encode(self.gif).decode()}"
        return f'<img alt="{escape(self.alt)}" src="{source}">'


def ring_positions(hops: Mapping[Hashable, int], groups: Mapping[Hashable, str]) -> Places:
    """Places for nodes on rings, one per number of hops from the node in the middle.

    Parameters
    ----------
    hops : mapping of node to int
        0 for the node in the middle.
    groups : mapping of node to str
        Nodes of a ring that share a group stand side by side.
    """
    rings: dict[int, list[Hashable]] = {}
    for node in sorted(hops, key=lambda one: groups.get(one, "")):
        rings.setdefault(hops[node], []).append(node)
    places: Places = {}
    for radius, members in rings.items():
        for number, node in enumerate(members):
            turn = 2 * math.pi * (number + 0.5 * (radius % 2)) / len(members)
            # A crowded ring is spread over three lines, so that its nodes stay apart.
            wide = radius + 0.22 * (number % 3 - 1) * (len(members) > 60)
            places[node] = (wide * math.cos(turn), wide * math.sin(turn))
    return places


def front_strip(result: Any) -> Figure:
    """Maps of the first block's front at the moments that the parameters ask for."""
    frame, parameters = result.frame, result.parameters
    seconds = dict(zip(frame["node"], frame["accepted_s"].astype(float), strict=True))
    arrived = numpy.sort(frame["accepted_s"].to_numpy(float))
    moments = [_moment(arrived, share) for share in parameters.shares_drawn]
    last = frame.loc[frame["accepted_s"].idxmax()]
    half = _moment(arrived, 0.5)
    regions = dict(zip(frame["node"], frame["region"], strict=True))
    return map_strip(
        _places(result), _links(frame), seconds, at_s=moments, columns_max=3,
        regions={node: _region_name(name) for node, name in regions.items()}
        if parameters.layout == "region" else None,
        marked=frame.loc[frame["hops"] == 0, "node"].tolist(),
        title=f"Half of the nodes have the block after {quantity(half, 's')}, the last one, "
        f"{int(last['hops'])} hops away, after {quantity(float(last['accepted_s']), 's')}",
        detail=f"{len(frame):,} nodes by {_LAYOUTS[parameters.layout]}, ringed: the finder; "
        f"block of {quantity(parameters.block_size_bytes, 'bytes')}; seed {parameters.seed}",
    )  # fmt: skip


_LAYOUTS = {"region": "region", "hops": "hops from the finder (rings)"}


def _moment(arrived: numpy.ndarray, share: float) -> float:
    """When that share of the nodes has the block, seconds."""
    return float(arrived[max(0, math.ceil(share * len(arrived)) - 1)])


def _region_name(name: str) -> str:
    return name.replace("_", " ").title()


def _places(result: Any) -> Places:
    frame = result.frame
    regions = dict(zip(frame["node"], frame["region"], strict=True))
    if result.parameters.layout == "region":
        return clustered_positions(regions)
    return ring_positions(dict(zip(frame["node"], frame["hops"], strict=True)), regions)


def _links(frame: pandas.DataFrame) -> list[tuple[int, int]]:
    """Each link once."""
    return [
        (node, int(other))
        for node, others in zip(frame["node"], frame["neighbours"], strict=True)
        for other in others.split()
        if node < int(other)
    ]


def front_animation(result: Any) -> FrontAnimation:
    """The first block's front as an animated picture of some hundred kilobytes.

    Time runs evenly until 99 % of the nodes have the block, then jumps to the end.
    """
    frame = result.frame
    arrived = frame["accepted_s"].to_numpy(float)
    ordered = numpy.sort(arrived)
    moments = [*numpy.linspace(0.0, _moment(ordered, 0.99), FRAMES), float(ordered[-1])]
    with style.style():
        pictures = _pictures(_places(result), _links(frame), frame, arrived, moments)
    alt = (
        f"Animation: a block spreads over {len(frame):,} nodes; half have it after "
        f"{quantity(_moment(ordered, 0.5), 's')}, all after {quantity(float(ordered[-1]), 's')}."
    )
    return FrontAnimation(_gif(pictures), alt)


def _pictures(
    places: Places, links: Sequence[tuple[int, int]], frame: pandas.DataFrame,
    arrived: numpy.ndarray, moments: Sequence[float],
) -> list[numpy.ndarray]:  # fmt: skip
    """One picture per moment as an array of pixels; only colours and words change between them."""
    figure = style.new_figure(5.2, 4.2, fixed=True)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0.01, 0.01, 0.98, 0.9))
    dots, words = _stage(axes, places, links, frame)
    pictures, step = [], moments[1] - moments[0]
    for moment in moments:
        dots.set_facecolors(front_colors(arrived, moment, fresh_s=FRESH_FRAMES * step))
        share = float((arrived <= moment).mean())
        words.set_text(f"{moment:5.2f} s: {share * 100:3.0f} % have the block")
        canvas.draw()
        pictures.append(numpy.asarray(canvas.buffer_rgba())[..., :3].copy())
    return pictures


def front_colors(arrived: numpy.ndarray, moment: float, *, fresh_s: float) -> numpy.ndarray:
    """Each node's colour at a moment: waits, has the block, or got it in the last `fresh_s`."""
    colors = numpy.array([to_rgba(name) for name in (style.MUTED, style.BLUE, style.VERMILLION)])
    has = arrived <= moment
    fresh = has & (arrived > moment - fresh_s)
    shades: numpy.ndarray = colors[numpy.where(fresh, 2, has.astype(int))]
    return shades


def front_stage(axes: Axes, result: Any) -> PathCollection:
    """Draw links (as pixels), nodes, the finder's ring, the regions' names; returns the nodes."""
    frame = result.frame
    places = _places(result)
    dots, _ = _stage(axes, places, _links(frame), frame)
    axes.collections[0].set_rasterized(True)
    if result.parameters.layout == "region":
        regions = {node: _region_name(r) for node, r in frame[["node", "region"]].to_numpy()}
        name_regions(axes, places, regions)
    return dots


def _stage(
    axes: Axes, places: Places, links: Sequence[tuple[int, int]], frame: pandas.DataFrame
) -> tuple[PathCollection, Text]:
    """Everything that stays: links, nodes, the finder's ring."""
    points = numpy.array([places[node] for node in frame["node"]])
    lines = drawn_links([(places[a], places[b]) for a, b in links])
    axes.add_collection(LineCollection(lines, colors=style.MUTED, linewidths=0.3, zorder=1,
                                       alpha=link_alpha(len(lines))))  # fmt: skip
    size = max(2.0, min(24.0, 9000.0 / len(points)))
    dots = axes.scatter(points[:, 0], points[:, 1], s=size, zorder=2, linewidths=0)
    finder = points[frame["hops"].to_numpy() == 0]
    axes.scatter(finder[:, 0], finder[:, 1], s=90, facecolors="none", edgecolors=style.INK)
    axes.set_axis_off()
    axes.set_aspect("equal")
    words = axes.set_title("", loc="left", fontsize=10, family="monospace", pad=4.0)
    return dots, words


def _gif(pictures: Sequence[numpy.ndarray]) -> bytes:
    """An endless GIF; the last picture stays longer."""
    from PIL import Image

    palette = Image.new("P", (1, 1))
    palette.putpalette(_palette())
    indices = [
        numpy.asarray(Image.fromarray(one).quantize(palette=palette, dither=Image.Dither.NONE))
        for one in pictures
    ]
    # What does not change is transparent: the picture before shows through.
    changes = [indices[0]] + [
        numpy.where(after == before, CLEAR, after).astype(numpy.uint8)
        for before, after in pairwise(indices)
    ]
    frames = [Image.fromarray(change, "P") for change in changes]
    for frame in frames:
        frame.putpalette(_palette() + [0, 0, 0] * (CLEAR + 1 - len(_palette()) // 3))
    buffer = io.BytesIO()
    frames[0].save(
        buffer, "GIF", save_all=True, append_images=frames[1:], loop=0, optimize=False,
        duration=[FRAME_MS] * (len(frames) - 1) + [PAUSE_MS], transparency=CLEAR, disposal=1,
    )  # fmt: skip
    return buffer.getvalue()


def _palette() -> list[int]:
    """The colours in use and their blends with the paper, as red, green, blue from 0 to 255."""
    paper = numpy.array(to_rgb(style.PAPER))
    shades = [paper]
    for name in (style.INK, style.MUTED, style.BLUE, style.VERMILLION):
        color = numpy.array(to_rgb(name))
        shades += [paper + (color - paper) * step / SHADES for step in range(1, SHADES + 1)]
    return [round(255 * part) for shade in shades for part in shade.tolist()]
