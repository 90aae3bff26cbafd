"""One moment of a block's way: who has it on the network, and how many, beside other protocols.

Rules of this file: a result of the experiment on the front in, a figure out.  A view draws what
stays once, and for another moment changes colours, a line and the title only: that is quick.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D

from consensus_lab.report import style
from consensus_lab.report.fronts import front_colors, front_stage
from consensus_lab.report.table import quantity

COLORS = 64

FRESH_SHARE = 0.04
"""A node counts as new for this share of the whole time."""


class FrontView:
    """A map and a curve per protocol, for any moment.

    Parameters
    ----------
    result : Result
        Of the experiment on the front; its map is drawn.
    arrivals : mapping of str to array
        Per protocol, the seconds at which each node had the block.
    chosen : str
        Which of them the map shows.
    end_s : float
        Where the axis of time ends.
    """

    def __init__(
        self, result: Any, arrivals: Mapping[str, Sequence[float]], *, chosen: str, end_s: float
    ) -> None:
        self.result = result
        self.arrivals = {name: numpy.sort(numpy.asarray(at)) for name, at in arrivals.items()}
        self.chosen, self.end_s = chosen, end_s
        self._canvas: FigureCanvasAgg | None = None
        self._stage: Any = None
        self._arrived = result.frame["accepted_s"].to_numpy(float)
        with style.style():
            self.figure = style.new_figure(11.6, 5.6, fixed=True)
            self._map = self.figure.add_axes((0.0, 0.01, 0.58, 0.88))
            self._dots = front_stage(self._map, result)
            self._curves = self.figure.add_axes((0.635, 0.11, 0.35, 0.76))
            self._now, self._here = self._draw_curves()
            self._words = (
                self.figure.text(0.012, 0.955, "", fontsize=13, weight="bold"),
                self.figure.text(0.012, 0.915, "", fontsize=9, color=style.FAINT),
            )
            self._map.legend(handles=_handles(), loc="upper right", fontsize=9.5)

    def _draw_curves(self) -> tuple[Line2D, Line2D]:
        axes = self._curves
        for number, (name, at) in enumerate(self.arrivals.items()):
            look, is_chosen = style.look(number), name == self.chosen
            steps = numpy.concatenate([[0.0], at, [max(self.end_s, float(at[-1]))]])
            shares = numpy.concatenate([[0.0], numpy.arange(1, len(at) + 1) / len(at), [1.0]])
            axes.step(steps, shares, where="post", color=look.color,
                      linestyle="-" if is_chosen else look.dash,
                      linewidth=3.2 if is_chosen else 1.4, label=name)  # fmt: skip
        axes.set(xlim=(0, self.end_s), ylim=(0, 1.02), xlabel="time since the block was found (s)",
                 ylabel="nodes that have it")  # fmt: skip
        style.percent(axes.yaxis)
        axes.legend(loc="lower right", title="relay protocol", alignment="left", fontsize=9.5)
        now = axes.axvline(0.0, color=style.INK, linewidth=1.2)
        (here,) = axes.plot([0.0], [0.0], marker="o", markersize=8, color=style.VERMILLION,
                            clip_on=False, zorder=5)  # fmt: skip
        return now, here

    def at(self, moment_s: float) -> style.LabFigure:
        """The figure at a moment; always the same object."""
        arrived, parameters = self._arrived, self.result.parameters
        share = float((arrived <= moment_s).mean())
        self._dots.set_facecolors(
            front_colors(arrived, moment_s, fresh_s=FRESH_SHARE * self.end_s)
        )
        self._now.set_xdata([moment_s, moment_s])
        self._here.set_data([moment_s], [share])
        title = f"After {moment_s:.2f} s {share * 100:.0f} % of the nodes have the block"
        detail = (
            f"{len(arrived):,} nodes, {parameters.chosen('degree')} links opened by each, block of "
            f"{quantity(parameters.block_size_bytes, 'bytes')}, seed {parameters.seed}"
        )
        half = quantity(float(numpy.median(arrived)), "s")
        self._words[0].set_text(title)
        self._words[1].set_text(detail)
        self.figure.alt_text = (
            f"{title}, by {self.chosen}; half of them after {half}. A map of the network and a "
            f"curve per relay protocol: {', '.join(self.arrivals)}. {detail}."
        )
        return self.figure

    def png(self, moment_s: float, *, dpi: int) -> bytes:
        """The figure at a moment as a picture; what stays is drawn only the first time."""
        self.at(moment_s)
        moving = [self._dots, self._now, self._here, *self._words]
        if self._canvas is None or self.figure.dpi != dpi:
            self.figure.set_dpi(dpi)
            self._canvas = FigureCanvasAgg(self.figure)
            for artist in moving:
                artist.set_visible(False)
            self._canvas.draw()
            self._stage = self._canvas.copy_from_bbox(self.figure.bbox)
            for artist in moving:
                artist.set_visible(True)
        self._canvas.restore_region(self._stage)
        for artist in moving:
            self.figure.draw_artist(artist)
        return _png(numpy.asarray(self._canvas.buffer_rgba()))


def _png(pixels: numpy.ndarray) -> bytes:
    """A picture's bytes, in few colours: small, for notebooks keep what their widgets hold."""
    from PIL import Image

    buffer = io.BytesIO()
    picture = Image.fromarray(pixels[..., :3])
    few = picture.quantize(COLORS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    colors, corner = few.getpalette() or [], 3 * few.getpixel((0, 0))
    colors[corner : corner + 3] = [round(255 * part) for part in to_rgb(style.PAPER)]
    few.putpalette(colors)
    few.save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


def _handles() -> list[Line2D]:
    keep: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 7}
    return [
        Line2D([], [], color=color, label=label, **keep)
        for color, label in ((style.VERMILLION, "new"), (style.BLUE, "has it"),
                             (style.MUTED, "waits"))
    ]  # fmt: skip
