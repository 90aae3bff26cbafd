"""The pieces of a space-time diagram: lines, pauses, arrows, marks and their labels.

Rules of this file: called by `space_time` alone, which says how a diagram is read.  Coordinates
are points (1/72 inch), upwards and to the right.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch

from consensus_lab.node import NodeId
from consensus_lab.report import style
from consensus_lab.report.labels import Board, Box, segment, text_size
from consensus_lab.report.time_axis import TimeAxis, length_text
from consensus_lab.report.traces import LOST, RECEIVED, Flight, Step, gist, short
from consensus_lab.sim.trace import Record

LABEL_PT, NAME_PT, NUMBER_PT = 7.0, 9.0, 6.0


class Mark(NamedTuple):
    """How an event is drawn on its process's line, and what the legend says of it."""

    marker: str
    color: str
    size: float
    meaning: str


MARKS = {
    "crash": Mark("X", style.VERMILLION, 9, "crash"),
    "restart": Mark(">", style.GREEN, 7, "restart"),
    "timer": Mark("d", style.FAINT, 5, "timer goes off"),
    "apply": Mark("*", style.GREEN, 10, "applied"),
    "unapply": Mark("*", style.VERMILLION, 10, "taken back"),
    "submit": Mark("v", style.INK, 5, "client asks"),
    "reply": Mark("^", style.INK, 5, "client is answered"),
    "decision": Mark("*", style.BLUE, 11, "decision"),
    "note": Mark("|", style.INK, 8, ""),
}


class Canvas(NamedTuple):
    """What every drawing function needs."""

    axes: Axes
    time: TimeAxis
    rows: dict[NodeId, float]
    board: Board
    looks: dict[str, style.Look]


class Shown(NamedTuple):
    """An event that gets a mark, and the name of the mark in `MARKS`."""

    name: str
    record: Record


def default_label(record: Record) -> str:
    """The label of an event: short, from what it carries."""
    if record.event == "note":
        detail = "" if record.detail is None else f" {gist(record.detail)}"
        return record.kind + detail
    if record.event in ("apply", "unapply"):
        command = getattr(record.detail.command, "command", record.detail.command)
        place = str(record.detail.index)
        return place if command is None else f"{place}: {gist(command)}"
    if record.event == "submit":
        asked = record.detail
        return gist(getattr(asked, "command", getattr(asked, "value", asked)))
    return record.kind if record.event == "timer" else ""


def writes(steps: list[Step]) -> list[tuple[NodeId, int, int]]:
    """Spans in which a write is on its way to disk: node, begin, end."""
    waiting: dict[NodeId, list[int]] = {}
    spans = []
    for _, record in steps:
        node = record.node
        if node is None:
            continue
        if record.event == "persist":
            waiting.setdefault(node, []).append(record.time_ns)
        elif record.event == "durable" and waiting.get(node):
            spans.append((node, waiting[node].pop(0), record.time_ns))
        elif record.event == "crash":
            waiting.pop(node, None)
    return [span for span in spans if span[2] > span[1]]


def draw_lines(canvas: Canvas, steps: list[Step], labels: list[str]) -> None:
    """Process lines, broken where a process is down; bars where its disk writes."""
    for (node, y), label in zip(canvas.rows.items(), labels, strict=True):
        changes = [
            record for _, record in steps
            if record.node == node and record.event in ("crash", "restart")
        ]  # fmt: skip
        begin, is_up = 0.0, not changes or changes[0].event == "crash"
        for record in changes:
            x = canvas.time.x(record.time_ns)
            if is_up:
                _draw_life(canvas, begin, x, y)
            begin, is_up = x, record.event == "restart"
        if is_up:
            _draw_life(canvas, begin, canvas.time.width_pt, y)
        canvas.axes.text(-8, y, label, ha="right", va="center", fontsize=NAME_PT, weight="bold")
    for node, first, last in writes(steps):
        if node in canvas.rows:
            ends = [canvas.time.x(first), canvas.time.x(last)]
            canvas.axes.plot(ends, [canvas.rows[node]] * 2, color=style.MUTED, linewidth=5,
                             solid_capstyle="butt", zorder=2)  # fmt: skip
            y = canvas.rows[node]
            canvas.board.cross(segment(ends[0], y, ends[1], y, 5.0))


def _draw_life(canvas: Canvas, begin: float, end: float, y: float) -> None:
    canvas.axes.plot([begin, end], [y, y], color=style.INK, linewidth=1.2, zorder=2.1)
    canvas.board.cross(segment(begin, y, end, y))


def draw_cuts(canvas: Canvas) -> None:
    """A pale band for each pause that was shortened, with its true length where it fits."""
    top = canvas.axes.get_ylim()[1]
    for cut in canvas.time.cuts:
        canvas.axes.axvspan(cut.begin_pt + 1.5, cut.end_pt - 1.5, facecolor=style.SHADE,
                            edgecolor="none", zorder=0.5)  # fmt: skip
        text = length_text(cut.length_ns)
        width, height = text_size(text, NUMBER_PT)
        box = Box((cut.begin_pt + cut.end_pt) / 2, top - height / 2, width, height)
        if width < cut.end_pt - cut.begin_pt and canvas.board.place([box]) is not None:
            _write(canvas, text, box, NUMBER_PT, style.FAINT)


def draw_faults(canvas: Canvas, steps: list[Step]) -> None:
    """A dotted line through everything for what was done to the network as a whole."""
    top = canvas.axes.get_ylim()[1]
    for _, record in steps:
        if record.event != "fault":
            continue
        x = canvas.time.x(record.time_ns)
        canvas.axes.axvline(x, color=style.VERMILLION, linestyle=":", linewidth=1.2, zorder=1)
        detail = "" if record.detail is None else f" {short(record.detail, 20)}"
        text = record.kind + detail
        width, height = text_size(text, LABEL_PT)
        boxes = [
            Box(x + side * (3 + width / 2), top - height * row, width, height)
            for row in (0.5, 1.5)
            for side in (1, -1)
        ]
        box = canvas.board.place(_inside(canvas, boxes))
        if box is not None:
            _write(canvas, text, box, LABEL_PT, style.VERMILLION)


class _Path(NamedTuple):
    """An arrow's way on the paper; drawn from the share `leave` to the share `reach` of it."""

    x0: float
    y0: float
    x1: float
    y1: float
    leave: float
    reach: float

    def at(self, share: float) -> tuple[float, float]:
        """The point at a share of the whole way."""
        return self.x0 + share * (self.x1 - self.x0), self.y0 + share * (self.y1 - self.y0)

    def line(self) -> Box:
        """The part that is drawn."""
        return segment(*self.at(self.leave), *self.at(self.reach))


def _path(canvas: Canvas, arrow: Flight) -> _Path:
    rows, time = canvas.rows, canvas.time
    y0, y1 = rows[arrow.sender], rows[arrow.receiver]
    # What is lost ends two fifths of a row before its receiver, so never on another's line.
    gap = max(1.0, abs(y1 - y0) / max(1.0, _row_gap(canvas)))
    reach = 1.0 if arrow.outcome == RECEIVED else 1 - 0.4 / gap
    if arrow.arrived_ns is None:
        # Nobody knows when it would have arrived: lean it a little.
        x0 = time.x(arrow.sent_ns)
        return _Path(x0, y0, min(x0 + 0.35 * abs(y1 - y0), time.width_pt), y1, 0.0, reach)
    if arrow.outcome == LOST and reach < 1:
        reach = 1 - 0.12 / gap
    begin, end = arrow.sent_ns, arrow.arrived_ns
    first, last = time.times[0], time.times[-1]
    span = max(1, end - begin)
    leave, reach = max(0.0, (first - begin) / span), min(reach, (last - begin) / span)
    # A way that crosses the end of the window is straight on the axis of its visible part.
    x_first, x_last = time.x(max(begin, first)), time.x(min(end, last))
    if leave == 0.0 and end <= last:
        return _Path(x_first, y0, x_last, y1, 0.0, reach)
    rise = y1 - y0
    top, low = y0 + leave * rise, y0 + min(1.0, (last - begin) / span) * rise
    return _Path(x_first, top, x_last, low, 0.0, 1.0)


def _row_gap(canvas: Canvas) -> float:
    heights = sorted(canvas.rows.values())
    return heights[1] - heights[0] if len(heights) > 1 else 1.0


def draw_arrows(canvas: Canvas, arrows: list[Flight]) -> None:
    """An arrow per message; a cross where one was lost, no head where it was under way."""
    last = canvas.time.times[-1]
    for arrow in arrows:
        path, look = _path(canvas, arrow), canvas.looks[arrow.kind]
        begin, end = path.at(path.leave), path.at(path.reach)
        arrives = arrow.outcome == RECEIVED and (arrow.arrived_ns or 0) <= last
        canvas.axes.add_patch(FancyArrowPatch(
            begin, end, arrowstyle="-|>" if arrives else "-", mutation_scale=8,
            linewidth=1.2, color=look.color, shrinkA=0, shrinkB=1.0, zorder=3,
            linestyle=look.dash if arrow.outcome == RECEIVED else (0, (1, 1)),
        ))  # fmt: skip
        canvas.board.cross(path.line())
        if arrow.outcome == LOST and (arrow.arrived_ns or 0) <= last:
            canvas.axes.plot(*end, marker="x", color=look.color, markersize=6, zorder=4,
                             markeredgewidth=1.8)  # fmt: skip
            canvas.board.take(Box(*end, 8, 8))


def label_arrows(canvas: Canvas, arrows: list[Flight]) -> None:
    """Write kinds along the arrows, on the side and at the place that cover least."""
    for arrow in arrows:
        path = _path(canvas, arrow)
        line = path.line()
        width, height = text_size(arrow.kind, LABEL_PT)
        if line.width < width + 8:
            continue
        angle = (line.angle + 90) % 180 - 90
        room = (line.width - width - 6) / line.width
        # Unit vector across the arrow; the text stands just beside the line.
        nx, ny = (path.y0 - path.y1) / _length(path), (path.x1 - path.x0) / _length(path)
        far = height / 2 + 1.2
        candidates = []
        for slide in (0.0, -0.25, 0.25, -0.5, 0.5, -0.75, 0.75, -1.0, 1.0):
            share = 0.5 + slide * room / 2
            x, y = path.at(path.leave + share * (path.reach - path.leave))
            candidates += [
                Box(x + side * far * nx, y + side * far * ny, width, height, angle)
                for side in (1, -1)
            ]
        box = canvas.board.place(candidates)
        if box is not None:
            _write(canvas, arrow.kind, box, LABEL_PT, canvas.looks[arrow.kind].color)


def _length(path: _Path) -> float:
    return segment(path.x0, path.y0, path.x1, path.y1).width


def draw_marks(canvas: Canvas, shown: list[Shown], say: Callable[[Record], str]) -> None:
    """Marks on the lines, those of one moment above each other; then their labels."""
    spots: list[tuple[float, float]] = []
    for name, record in shown:
        assert record.node is not None
        mark, x, row = MARKS[name], canvas.time.x(record.time_ns), canvas.rows[record.node]
        y = row + (6.0 if name in ("submit", "reply") else 0.0)
        # A note is a stroke through the line, under whatever else stands there.
        while name != "note" and any(
            abs(x - other_x) < 8 and abs(y - other_y) < 8 and shown[i].name != "note"
            for i, (other_x, other_y) in enumerate(spots)
        ):
            y += 3.0
        spots.append((x, y))
        edge = mark.color if name == "note" else style.PAPER
        canvas.axes.plot(x, y, marker=mark.marker, color=mark.color, markersize=mark.size,
                         linestyle="none", markeredgewidth=1.4 if name == "note" else 0.5,
                         markeredgecolor=edge, clip_on=False, zorder=6)  # fmt: skip
        canvas.board.take(Box(x, y, mark.size, mark.size))
    for (name, record), (x, y) in zip(shown, spots, strict=True):
        if name not in ("crash", "restart", "reply"):
            _label_mark(canvas, x, y, say(record))


def _label_mark(canvas: Canvas, x: float, y: float, text: str) -> None:
    if not text:
        return
    width, height = text_size(text, LABEL_PT)
    beside, over = 6 + width / 2, height / 2 + 5
    spots = [
        (shift, rise + turn * height)
        for turn in (0, 1, -1, 2)
        for shift, rise in ((beside, over), (0, over), (-beside, over), (beside, 0),
                            (0, -over), (beside, -over), (-beside, -over), (-beside, 0))
    ]  # fmt: skip
    boxes = [Box(x + shift, y + rise, width, height) for shift, rise in spots]
    box = canvas.board.place(_inside(canvas, boxes), price=0.1)
    if box is not None:
        _write(canvas, text, box, LABEL_PT, style.INK)


def number_steps(canvas: Canvas, steps: list[Step]) -> None:
    """The transcript's numbers beside the events that are drawn."""
    drawn = {"send", "receive", "crash", "restart", "timer", "submit", "reply", "apply", "unapply"}
    for step in steps:
        record = step.record
        if record.event not in drawn or record.node not in canvas.rows:
            continue
        x, y = canvas.time.x(record.time_ns), canvas.rows[record.node]
        width, height = text_size(str(step.number), NUMBER_PT)
        boxes = [
            Box(x + side * (width / 2 + 2) + slide, y + rise * (height / 2 + 2), width, height)
            for slide in (0, 4, -4)
            for rise in (1, -1)
            for side in (1, -1)
        ]
        box = canvas.board.place(boxes)
        if box is not None:
            _write(canvas, str(step.number), box, NUMBER_PT, style.FAINT)


def _inside(canvas: Canvas, boxes: list[Box]) -> list[Box]:
    """Those that stay on the paper to the left and right."""
    middle = canvas.time.width_pt / 2
    return [box for box in boxes if abs(box.x - middle) + box.width / 2 <= middle + 8]


def _write(canvas: Canvas, text: str, box: Box, size: float, color: str) -> None:
    canvas.axes.text(box.x, box.y, text, fontsize=size, color=color, rotation=box.angle,
                     rotation_mode="anchor", ha="center", va="center_baseline" if box.angle else
                     "center", zorder=7)  # fmt: skip
