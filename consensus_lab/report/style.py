"""One look for every figure, and files that are the same to the byte for the same figure.

Theory of operation.  Colours are those of Okabe and Ito (2008), told apart by readers with any
common colour blindness; every series also has a marker, a dash pattern or a hatch of its own, so
that a figure survives a grey printer.  Figures are built without `pyplot`, which keeps global
state and would show a figure twice in a notebook; a `LabFigure` knows how to show itself.

Bytes.  Matplotlib writes the date and its version into files and salts the identities inside an
SVG at random; all three are switched off.  The font is the one that ships with matplotlib.
"""

from __future__ import annotations

import io
import math
import os
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator
from matplotlib.transforms import ScaledTranslation

from consensus_lab.report.colors import (
    BLUE,
    FAINT,
    GREEN,
    GRID,
    INK,
    MUTED,
    ORANGE,
    PALETTE,
    PAPER,
    PURPLE,
    SHADE,
    SKY,
    VERMILLION,
)

__all__ = [
    "BLUE", "FAINT", "GREEN", "GRID", "INK", "MUTED", "ORANGE", "PALETTE", "PAPER", "PURPLE",
    "SHADE", "SKY", "VERMILLION", "LabFigure", "Look", "axes_of", "describe", "figure_of",
    "headline", "legend", "log_ticks", "look", "new_figure", "percent", "reference_line", "render",
    "save_figure", "style", "wrapped",
]  # fmt: skip

MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (8, 2)), (0, (3, 3)))
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "+++")

PNG_DPI = 150
SCREEN_DPI = 96

_RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10.0,
    "axes.labelsize": 9.0,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "figure.facecolor": PAPER,
    "axes.facecolor": "none",
    "savefig.facecolor": PAPER,
    "svg.fonttype": "path",
    "svg.hashsalt": "consensus_lab",
    "path.simplify": True,
}


@contextmanager
def style() -> Iterator[None]:
    """Draw inside this context to get the house look; the user's settings come back after it."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_RC)
        yield


class Look(NamedTuple):
    """How one series is drawn: a colour and, for readers without colours, the rest."""

    color: str
    marker: str
    dash: Any
    hatch: str


def look(index: int) -> Look:
    """The look of the series with that number; it repeats after six colours times six marks.

    Examples
    --------
    >>> look(0).color == BLUE, look(1).marker
    (True, 's')
    """
    place = index % len(PALETTE)
    turn = (index + index // len(PALETTE)) % len(MARKERS)
    return Look(PALETTE[place], MARKERS[turn], DASHES[turn], HATCHES[turn])


class LabFigure(Figure):
    """A figure that shows itself in a notebook, with the same bytes each time.

    Attributes
    ----------
    alt_text : str
        What a reader who cannot see the figure should know; see `describe`.
    """

    alt_text: str = ""

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        alt = describe(self)
        images = {
            "image/svg+xml": render(self, "svg").decode(),
            "image/png": render(self, "png", dpi=SCREEN_DPI),
            "text/plain": alt,
        }
        return images, {kind: {"alt": alt} for kind in ("image/svg+xml", "image/png")}


def new_figure(width_in: float = 7.2, height_in: float = 4.2, *, fixed: bool = False) -> LabFigure:
    """An empty figure outside pyplot; `fixed` leaves the placing of axes to the caller."""
    return LabFigure(figsize=(width_in, height_in), layout=None if fixed else "constrained")


def axes_of(
    axes: Axes | None, *, width_in: float = 7.2, height_in: float = 4.2
) -> tuple[Figure, Axes]:
    """The caller's axes with their figure, or one new pair of axes in a new figure."""
    if axes is None:
        figure = new_figure(width_in, height_in)
        return figure, figure.add_subplot()
    return figure_of(axes), axes


def figure_of(axes: Axes) -> Figure:
    """The figure, not the subfigure, that holds the axes."""
    figure = axes.get_figure(root=True)
    assert figure is not None, "the axes belong to no figure"
    return figure


def describe(figure: Figure) -> str:
    """The figure in a sentence or two: its own alternative text, or its titles and axes."""
    own = getattr(figure, "alt_text", "")
    if own:
        return str(own)
    parts = [text for text in (figure.get_suptitle(),) if text]
    for axes in figure.axes:
        if axes.get_label() == "<colorbar>":
            continue
        words = [axes.get_title(loc) for loc in ("left", "center", "right")]
        title = " ".join(word for word in words if word)
        names = [name for name in (axes.get_ylabel(), axes.get_xlabel()) if name]
        what = " against ".join(names)
        labels = [label for label in axes.get_legend_handles_labels()[1] if label]
        series = f"series: {', '.join(labels)}" if labels else ""
        parts += [part for part in (title, what, series) if part]
    return ". ".join(" ".join(part.split()).rstrip(".") for part in parts) + "."


def render(figure: Figure, kind: str, *, dpi: int = PNG_DPI) -> bytes:
    """The bytes of a figure as "svg" or "png", the same ones for the same figure."""
    assert kind in ("svg", "png"), kind
    _settle(figure)
    buffer = io.BytesIO()
    with matplotlib.rc_context({key: _RC[key] for key in _RC if key.split(".")[0] == "svg"}):
        if kind == "svg":
            keep = {"Date": None, "Creator": None, "Title": describe(figure)}
            figure.savefig(buffer, format="svg", metadata=keep)
        else:
            figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def _settle(figure: Figure) -> None:
    """Lay a figure out once and for all.

    The automatic layout depends a little on the resolution and on what it did before; laid out
    anew, a figure that was shown would differ from one that was not.
    """
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
        figure.set_layout_engine("none")


def save_figure(figure: Figure, path: str | Path) -> tuple[Path, Path]:
    """Write a figure as SVG and PNG, whole or not at all.

    Parameters
    ----------
    figure : Figure
        Any matplotlib figure.
    path : path
        Without suffix; ".svg" and ".png" are added.

    Returns
    -------
    tuple of Path
        The two files.
    """
    files = []
    for kind in ("svg", "png"):
        target = Path(f"{path}.{kind}")
        part = target.with_name(target.name + ".part")
        part.write_bytes(render(figure, kind))
        os.replace(part, target)
        files.append(target)
    return files[0], files[1]


def reference_line(
    axes: Axes,
    value: float,
    label: str,
    *,
    source: str = "",
    along: str = "x",
    place: float = 0.98,
) -> None:
    """Mark a published value: a dashed line in ink with its label and source written along it.

    Parameters
    ----------
    axes : Axes
        Where to draw.
    value : float
        In the units of the axis.
    label, source : str
        What it is, and who published it.
    along : str
        "x" for a value of the horizontal axis (a vertical line), "y" for one of the vertical.
    place : float
        Where along the line the text ends, 0 to 1.
    """
    text = f"{label} ({source})" if source else label
    box = {"boxstyle": "square,pad=0.1", "facecolor": PAPER, "edgecolor": "none", "alpha": 0.8}
    keep: dict[str, Any] = {
        "color": INK, "fontsize": 7.5, "bbox": box, "zorder": 4, "textcoords": "offset points",
        "annotation_clip": False,
    }  # fmt: skip
    if along == "x":
        axes.axvline(value, color=INK, linestyle=(0, (4, 3)), linewidth=1.0, zorder=3)
        axes.annotate(text, (value, place), (-4, 0), xycoords=axes.get_xaxis_transform(),
                      rotation=90, ha="right", va="top", **keep)  # fmt: skip
    else:
        axes.axhline(value, color=INK, linestyle=(0, (4, 3)), linewidth=1.0, zorder=3)
        axes.annotate(text, (place, value), (0, 4), xycoords=axes.get_yaxis_transform(),
                      ha="right", va="bottom", **keep)  # fmt: skip


def headline(
    axes: Axes, finding: str, detail: str = "", *, width_in: float | None = None
) -> None:
    """Write what the figure shows above it, in bold, and in grey what it rests on.

    Parameters
    ----------
    axes : Axes
        Where to write.
    finding : str
        The result in a sentence.
    detail : str
        Replicates, seed, source: one line or two.
    width_in : float, optional
        Where to break lines, inches; the width of the axes without it.
    """
    width_in = width_in or axes.get_position().width * figure_of(axes).get_size_inches()[0]
    below = textwrap.fill(detail, max(20, int(width_in * 15.5)))
    lines = below.count("\n") + 1 if below else 0
    axes.set_title(wrapped(finding, width_in), loc="left", pad=8.0 + 11.0 * lines)
    if below:
        axes.annotate(below, (0, 1), (0, 6), xycoords="axes fraction", fontsize=8, color=FAINT,
                      textcoords="offset points", ha="left", va="bottom",
                      annotation_clip=False)  # fmt: skip


def wrapped(finding: str, width_in: float) -> str:
    """A headline broken to a width in inches."""
    return textwrap.fill(finding, max(16, int(width_in * 11.5)))


def legend(axes: Axes, *, title: str | None = None) -> None:
    """Add a legend under the axes, where it covers nothing, if there are things to tell apart."""
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) < 2:
        return
    figure = figure_of(axes)
    width_in = axes.get_position().width * figure.get_size_inches()[0]
    longest = max(len(label) for label in labels)
    columns = max(1, min(len(labels), int(width_in / (0.068 * longest + 0.5))))
    rows = -(-len(labels) // columns)
    below = axes.transAxes + ScaledTranslation(0, -0.47, figure.dpi_scale_trans)
    axes.legend(handles, labels, title=title, ncols=-(-len(labels) // rows), loc="upper left",
                bbox_to_anchor=(0, 0), bbox_transform=below, borderaxespad=0.0, alignment="left",
                columnspacing=1.4)  # fmt: skip
    if isinstance(figure, LabFigure) and figure.axes == [axes]:
        # The figure is ours alone: give the legend room of its own instead of the axes'.
        figure.set_figheight(figure.get_figheight() + 0.18 * (rows + bool(title)))


def log_ticks(axis: Axis, *, at: Sequence[float] = ()) -> None:
    """Plain numbers on a logarithmic axis: at given values, or as many as its range needs."""
    low, high = sorted(axis.get_view_interval())
    decades = math.log10(high / low) if low > 0 else 9.0
    if at:
        axis.set_major_locator(FixedLocator(list(at)))
    else:
        subs = (1.0, 2.0, 5.0) if decades < 2.2 else (1.0, 3.0) if decades < 3.2 else (1.0,)
        axis.set_major_locator(LogLocator(subs=subs))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def percent(axis: Axis) -> None:
    """Write the shares of an axis in percent."""
    axis.set_major_formatter(FuncFormatter(lambda part, _: f"{part * 100:g} %"))
