"""The logs of servers as rows of boxes, alone or beside the diagram of what led to them.

Rules of this file: plain values in, a figure out; no protocol is imported.

How to read one.  A box is an entry, its colour and the number at its foot are the term in which a
leader took it.  A full box is known to this server to be committed, an open one is not; a dotted
edge means that the entry is not yet on this server's disk.  A grey row is a server that is down:
what its disk holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from consensus_lab.node import NodeId
from consensus_lab.report import style
from consensus_lab.report.labels import text_size
from consensus_lab.report.space_time import HEADROOM_PT, space_time
from consensus_lab.report.traces import node_name
from consensus_lab.sim.trace import Record

BOX_PT, GAP_PT, RISE_PT = 31.0, 4.0, 25.0
"""Width of an entry's box, space between two, height, points."""

ROW_PT = 78.0
"""Distance of two servers, points."""

MARGIN_IN, TOP_IN, FOOT_IN = 0.95, 0.62, 0.86

DOWN = "down"


class ServerLog(NamedTuple):
    """What one server holds now.

    Attributes
    ----------
    server : int
        Who.
    role : str
        In a word or two; `DOWN` for a server that does not run.
    term : int
        The newest one that it knows.
    entries : tuple of (int, str)
        Term and content of each entry, in order.
    first_index : int
        Index of the first one.
    committed, on_disk : int
        The last index that it knows to be committed; the last one that is on its disk.
    """

    server: NodeId
    role: str
    term: int
    entries: tuple[tuple[int, str], ...]
    first_index: int = 1
    committed: int = 0
    on_disk: int = 0


def term_color(term: int) -> str:
    """The colour of a term; neighbouring terms differ."""
    return style.look(term - 1).color if term > 0 else style.FAINT


def log_rows(
    servers: Sequence[ServerLog],
    axes: Axes | None = None,
    *,
    rows: Mapping[NodeId, float] | None = None,
    names: Mapping[NodeId, str] | None = None,
    with_names: bool = True,
    title: str = "",
    detail: str = "",
) -> Figure:
    """The logs of servers, one row each.

    Parameters
    ----------
    servers : sequence of ServerLog
        From top to bottom.
    axes : Axes, optional
        Where to draw; its limits are set to points.
    rows : mapping of server to float, optional
        Height of each row, points; spread evenly without it.
    names : mapping of server to str, optional
        What the servers are called.
    with_names : bool
        Write the names over the rows.
    title, detail : str
        What the figure shows, and what it rests on.
    """
    with style.style():
        if axes is None:
            figure = style.new_figure(6.0, 0.55 + ROW_PT / 72 * len(servers), fixed=True)
            axes = figure.add_axes((0.02, 0.02, 0.96, 0.86 if title else 0.96))
        extent, points = axes.get_window_extent(), 72 / style.figure_of(axes).dpi
        width_pt, height_pt = extent.width * points, extent.height * points
        if rows is None:
            gap = (height_pt - 2 * HEADROOM_PT) / max(1, len(servers) - 1)
            rows = {one.server: height_pt - HEADROOM_PT - gap * i for i, one in enumerate(servers)}
        axes.set(xlim=(0, width_pt), ylim=(0, height_pt))
        axes.set_axis_off()
        room = max(1, int((width_pt - 14.0) / (BOX_PT + GAP_PT)))
        last = max((one.first_index + len(one.entries) for one in servers), default=1)
        first = max(1, last - room)
        for one in servers:
            name = f"{node_name(one.server, names)}: " if with_names else ""
            _draw_row(axes, one, rows[one.server], first, name)
        if title:
            style.headline(axes, title, detail)
    return style.figure_of(axes)


def _draw_row(axes: Axes, one: ServerLog, y: float, first: int, name: str) -> None:
    """One server: its role and term, and the entries from index `first` on."""
    is_down = one.role == DOWN
    color = style.FAINT if is_down else style.INK
    text = f"{name}{one.role}, term {one.term}"
    weight = "bold" if one.role == "leader" else "normal"
    axes.text(0, y + RISE_PT / 2 + 5, text, fontsize=9.5, color=color, weight=weight, va="bottom")
    if one.role == "leader":
        width, _ = text_size(text, 9.5, bold=True)
        axes.plot([0, width], [y + RISE_PT / 2 + 3.2] * 2, color=term_color(one.term),
                  linewidth=2.4, solid_capstyle="butt")  # fmt: skip
    if first > one.first_index and one.entries:
        axes.text(-2, y, "…", fontsize=11, color=color, va="center", ha="right")
    if not one.entries:
        axes.text(0, y, "empty log", fontsize=8, color=style.FAINT, va="center")
    for place, (term, content) in enumerate(one.entries):
        index = one.first_index + place
        if index >= first:
            x = 1.0 + (index - first) * (BOX_PT + GAP_PT)
            _draw_entry(axes, x, y, term, content, is_down=is_down,
                        is_committed=index <= one.committed,
                        is_on_disk=index <= one.on_disk)  # fmt: skip
            axes.text(x + BOX_PT / 2, y - RISE_PT / 2 - 2, str(index), fontsize=6.5, ha="center",
                      va="top", color=style.FAINT)  # fmt: skip


def _draw_entry(
    axes: Axes, x: float, y: float, term: int, content: str, *, is_down: bool,
    is_committed: bool, is_on_disk: bool,
) -> None:  # fmt: skip
    color = style.FAINT if is_down else term_color(term)
    axes.add_patch(Rectangle(
        (x, y - RISE_PT / 2), BOX_PT, RISE_PT, facecolor=color if is_committed else style.PAPER,
        edgecolor=color, linewidth=1.6, linestyle="-" if is_on_disk else (0, (1, 1)),
    ))  # fmt: skip
    # White stays white on a dark page, so it must not be the colour of paper.
    ink = "#fefefe" if is_committed else style.INK
    size = 8.5 if text_size(content, 8.5)[0] < BOX_PT - 3 else 6.0
    axes.text(x + BOX_PT / 2, y + 3.5, content, fontsize=size, color=ink, ha="center", va="center")
    axes.text(x + BOX_PT / 2, y - 7.5, f"t{term}", fontsize=6.5, color=ink, ha="center",
              va="center")  # fmt: skip


def cluster_picture(
    trace: Iterable[Record],
    servers: Sequence[ServerLog],
    *,
    names: Mapping[NodeId, str] | None = None,
    title: str = "",
    detail: str = "",
    logs_in: float = 3.3,
    diagram_in: float = 7.4,
    **diagram: Any,
) -> Figure:
    """What happened, and beside each server's line the log that it has now.

    Parameters
    ----------
    trace : iterable of Record
        What is drawn at the left, see `space_time.space_time`.
    servers : sequence of ServerLog
        The state at the end of it, from top to bottom.
    names : mapping of server to str, optional
        What the servers are called.
    title, detail : str
        What the figure shows, and what it rests on.
    logs_in, diagram_in : float
        Width of the logs and of the diagram, inches.
    **diagram
        As for `space_time.space_time`.
    """
    count = len(servers)
    inner_in = (ROW_PT * (count - 1) + 2 * HEADROOM_PT) / 72 + 0.2
    width_in, height_in = MARGIN_IN + diagram_in + 0.3 + logs_in, inner_in + TOP_IN + FOOT_IN
    with style.style():
        figure = style.new_figure(width_in, height_in, fixed=True)
        spans = ((MARGIN_IN, diagram_in), (MARGIN_IN + diagram_in + 0.3, logs_in))
        left, right = (
            figure.add_axes((x / width_in, FOOT_IN / height_in, width / width_in,
                             inner_in / height_in))
            for x, width in spans
        )  # fmt: skip
    order = tuple(one.server for one in servers)
    space_time(trace, left, names=names, nodes=order, **diagram)
    log_rows(servers, right, with_names=False)
    with style.style():
        if title:
            style.headline(left, title, detail, width_in=diagram_in + logs_in)
        note = "full: known to be committed, open: not yet\ndotted: not on disk, t2: in term 2"
        right.text(0, -24, note, fontsize=7.5, color=style.FAINT, va="top", linespacing=1.5)
    figure.alt_text = _words(figure.alt_text, servers, names, title)
    return figure


def _words(
    diagram: str, servers: Sequence[ServerLog], names: Mapping[NodeId, str] | None, title: str
) -> str:
    """The alternative text: the diagram's, then each log in a clause."""
    logs = "; ".join(
        f"{node_name(one.server, names)} is {one.role} in term {one.term} with "
        f"{len(one.entries)} entries, committed up to {one.committed}"
        for one in servers
    )
    return f"{title}. {diagram} {logs}." if title else f"{diagram} {logs}."
