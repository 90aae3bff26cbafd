"""Space-time diagrams: a line per process, an arrow per message, marks for what happened.

Rules of this file: it draws whatever a trace holds and knows no protocol; which notes are
decisions is for the caller to say.  Coordinates are points (1/72 inch) in both directions, so
that labels can be measured and kept apart (`labels`); `time_axis` says where a moment stands.

How to read one.  Time runs to the right.  An arrow leaves its sender's line when the message goes
out and meets its receiver's line when it arrives; a cross on it means that it never did.  A grey
bar on a line is a disk that writes; where the line is missing the process is down.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from consensus_lab.node import NodeId, ParameterError
from consensus_lab.report import style
from consensus_lab.report.labels import Board, text_size
from consensus_lab.report.space_time_parts import (
    MARKS,
    NAME_PT,
    Canvas,
    Shown,
    default_label,
    draw_arrows,
    draw_cuts,
    draw_faults,
    draw_lines,
    draw_marks,
    label_arrows,
    number_steps,
    writes,
)
from consensus_lab.report.time_axis import TimeAxis
from consensus_lab.report.traces import (
    LOST,
    Flight,
    Step,
    flights,
    message_frame,
    node_name,
    select,
    trace_frame,
    transcript,
)
from consensus_lab.sim.trace import Record

__all__ = ["message_frame", "space_time", "trace_frame", "transcript"]

MESSAGES_MAX = 400
"""More arrows than this are a carpet, not a diagram."""

LEGEND_PT = 7.5

HEADROOM_PT = 30.0
"""Space above the first line and below the last, for labels and clients' arrows."""


class _Scene(NamedTuple):
    """What is drawn: the selection, its messages and marks, who takes part, from when to when."""

    steps: list[Step]
    arrows: list[Flight]
    shown: list[Shown]
    order: Sequence[NodeId]
    labels: list[str]
    looks: dict[str, style.Look]
    window: tuple[int, int]


def space_time(
    trace: Iterable[Record],
    axes: Axes | None = None,
    *,
    names: Mapping[NodeId, str] | None = None,
    decisions: Collection[str] = (),
    notes: Collection[str] = (),
    say: Callable[[Record], str] = default_label,
    known_kinds: Sequence[str] = (),
    scale: str = "cut",
    label_messages: bool = True,
    with_numbers: bool = False,
    title: str = "",
    detail: str = "",
    width_in: float | None = None,
    **selection: Any,
) -> Figure:
    """Draw a trace as a space-time diagram.

    Parameters
    ----------
    trace : iterable of Record
        A `Trace`, or any records in the order of time.
    axes : Axes, optional
        Where to draw; a new figure of a fitting size without it.
    names : mapping of int to str, optional
        What the processes are called.
    decisions, notes : collection of str
        Kinds of `Note` drawn as a star and as a stroke, with a label; others are not drawn.
    say : callable (record) -> str
        The label of a note, decision, apply or command; "" for none.
    known_kinds : sequence of str
        Kinds of messages that keep their look whatever else is drawn, so that several diagrams
        can be compared; other kinds take the looks that follow, as they appear.
    scale : str
        "cut" shortens pauses, "linear" does not, "step" keeps only the order (see `time_axis`).
    label_messages : bool
        Write each message's kind along its arrow, wherever there is room.
    with_numbers : bool
        Write the numbers of `transcript` beside the events of the same selection.
    title, detail : str
        What the diagram shows, and what it rests on.
    width_in : float, optional
        Width of a new figure, inches.
    **selection
        As for `traces.select`: begin_ns, end_ns, kinds (of messages), without (events and kinds),
        and nodes, which are then drawn in that order from top to bottom.

    Returns
    -------
    Figure
        The figure that holds the axes.

    Raises
    ------
    ParameterError
        For an unknown scale, an empty selection, or more than `MESSAGES_MAX` messages.
    """
    scene = _scene(list(trace), names, decisions, notes, known_kinds, selection)
    handles = _handles(scene)
    with style.style():
        if axes is None:
            axes = _new_axes(scene, handles, width_in, bool(title), bool(detail))
        canvas = _canvas(axes, scene, scale)
        _draw(canvas, scene, say, label_messages, with_numbers)
        _finish(canvas, handles, title, detail)
    figure = style.figure_of(axes)
    if isinstance(figure, style.LabFigure) and not figure.alt_text:
        figure.alt_text = _alt_text(scene, title)
    return figure


def _scene(
    records: list[Record],
    names: Mapping[NodeId, str] | None,
    decisions: Collection[str],
    notes: Collection[str],
    known_kinds: Sequence[str],
    selection: dict[str, Any],
) -> _Scene:
    steps = select(records, **selection)
    if not steps:
        raise ParameterError("trace", "an empty selection", "a trace with at least one record")
    wanted = selection.get("begin_ns"), selection.get("end_ns")
    first = steps[0].record.time_ns if wanted[0] is None else wanted[0]
    last = steps[-1].record.time_ns if wanted[1] is None else wanted[1]
    nodes, kinds = selection.get("nodes"), selection.get("kinds")
    ends = {end for record in records for end in (record.node, record.peer)} - {None}
    order = nodes if nodes is not None else sorted(end for end in ends if end is not None)
    # Also messages that were sent before the window or arrive after it.
    arrows = [
        flight for flight in flights(records)
        if flight.sender != flight.receiver
        and flight.sent_ns <= last and (flight.arrived_ns or flight.sent_ns) >= first
        and (kinds is None or flight.kind in kinds) and {flight.sender, flight.receiver} <= {*order}
        and flight.kind not in selection.get("without", ())
    ]  # fmt: skip
    if len(arrows) > MESSAGES_MAX:
        allowed = f"a selection of at most {MESSAGES_MAX} messages (set begin_ns, end_ns or kinds)"
        raise ParameterError("trace", f"{len(arrows)} messages", allowed)
    met = dict.fromkeys(arrow.kind for arrow in arrows)
    order_of_looks = dict.fromkeys([*known_kinds, *met])
    looks = {k: style.look(place) for place, k in enumerate(order_of_looks) if k in met}
    labels = [node_name(node, names) for node in order]
    shown = _shown(steps, decisions, notes)
    return _Scene(steps, arrows, shown, order, labels, looks, (first, last))


def _draw(
    canvas: Canvas,
    scene: _Scene,
    say: Callable[[Record], str],
    label_messages: bool,
    with_numbers: bool,
) -> None:
    """Everything inside the axes; what is drawn later finds room for its labels last."""
    draw_lines(canvas, scene.steps, scene.labels)
    draw_cuts(canvas)
    draw_faults(canvas, scene.steps)
    draw_arrows(canvas, scene.arrows)
    draw_marks(canvas, scene.shown, say)
    if label_messages:
        label_arrows(canvas, scene.arrows)
    if with_numbers:
        number_steps(canvas, scene.steps)


def _shown(steps: list[Step], decisions: Collection[str], notes: Collection[str]) -> list[Shown]:
    """The events that get a mark, each with the name of its mark."""
    shown: list[Shown] = []
    for step in steps:
        record = step.record
        if record.event == "note":
            if record.kind in decisions:
                shown.append(Shown("decision", step.record))
            elif record.kind in notes:
                shown.append(Shown("note", step.record))
        elif record.event in MARKS:
            shown.append(Shown(record.event, record))
    return shown


def _new_axes(
    scene: _Scene,
    handles: list[Line2D],
    width_in: float | None,
    has_title: bool,
    has_detail: bool,
) -> Axes:
    """Axes in a new figure, placed by hand: labels are measured against their final size."""
    labels, n_rows = scene.labels, len(scene.labels)
    content = 0.13 * len(scene.arrows) + 0.05 * len(scene.shown)
    width_in = width_in or min(15.0, max(8.0, 5.0 + content))
    spacing_pt = 84.0 if n_rows <= 3 else 70.0 if n_rows <= 5 else 58.0
    left_pt = max(text_size(label, NAME_PT, bold=True)[0] for label in labels) + 18.0
    inner_pt = 72 * width_in - left_pt - 12.0
    top_pt = 6.0 + 20.0 * has_title + 12.0 * has_detail
    legend_rows = -(-len(handles) // _legend_columns(handles, inner_pt)) if handles else 0
    bottom_pt = 40.0 + 1.6 * LEGEND_PT * legend_rows
    rise_pt = (n_rows - 1) * spacing_pt + 2 * HEADROOM_PT
    height_pt = rise_pt + top_pt + bottom_pt
    figure = style.new_figure(width_in, height_pt / 72, fixed=True)
    width_pt = 72 * width_in
    return figure.add_axes(
        (left_pt / width_pt, bottom_pt / height_pt, inner_pt / width_pt, rise_pt / height_pt)
    )


def _legend_columns(handles: list[Line2D], width_pt: float) -> int:
    """As many columns as fit, then as few as the number of rows allows."""
    widest = max(text_size(str(handle.get_label()), LEGEND_PT)[0] for handle in handles)
    columns = max(1, int(width_pt / (widest + 38.0)))
    rows = -(-len(handles) // columns)
    return -(-len(handles) // rows)


def _canvas(axes: Axes, scene: _Scene, scale: str) -> Canvas:
    """Measure the axes, and say where each moment and each process stands."""
    extent = axes.get_window_extent()
    points = 72 / style.figure_of(axes).dpi
    width_pt, height_pt = extent.width * points, extent.height * points
    first, last = scene.window
    busy = [(a.sent_ns, a.arrived_ns) for a in scene.arrows if a.arrived_ns is not None]
    busy += [(begin, end) for _, begin, end in writes(scene.steps)]
    times = {time for span in busy for time in span} | {a.sent_ns for a in scene.arrows}
    times |= {mark.record.time_ns for mark in scene.shown}
    times |= {s.record.time_ns for s in scene.steps if s.record.event in ("start", "fault")}
    times = {min(max(time, first), last) for time in times} | {first, last}
    time = TimeAxis(times, busy, width_pt=width_pt, scale=scale)
    gap = (height_pt - 2 * HEADROOM_PT) / max(1, len(scene.order) - 1)
    rows = {node: height_pt - HEADROOM_PT - gap * place for place, node in enumerate(scene.order)}
    axes.set(xlim=(0, width_pt), ylim=(0, height_pt))
    return Canvas(axes, time, rows, Board(), scene.looks)


def _finish(canvas: Canvas, handles: list[Line2D], title: str, detail: str) -> None:
    """Axis, legend and title."""
    axes = canvas.axes
    for side in ("left", "top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(False)
    ticks = canvas.time.ticks()
    axes.set_yticks([])
    axes.set_xticks([tick.at_pt for tick in ticks], [tick.label for tick in ticks])
    how = {"cut": ", pauses cut", "step": ", order only", "linear": ""}[canvas.time.scale]
    how = how if canvas.time.scale != "cut" or canvas.time.cuts else ""
    axes.set_xlabel(f"simulated time ({canvas.time.unit()}{how})")
    if handles:
        axes.legend(handles=handles, loc="upper left", fontsize=LEGEND_PT, handlelength=2.2,
                    ncols=_legend_columns(handles, canvas.time.width_pt), columnspacing=1.4,
                    bbox_to_anchor=(0, -34.0 / axes.get_ylim()[1]), borderaxespad=0.0)  # fmt: skip
    if title:
        style.headline(axes, title, detail)


def _handles(scene: _Scene) -> list[Line2D]:
    """The legend: message kinds in the order of appearance, then marks."""
    keep: dict[str, Any] = {"linestyle": "none", "markersize": 6}
    handles = [
        Line2D([], [], color=look.color, linestyle=look.dash, linewidth=1.4, label=kind)
        for kind, look in scene.looks.items()
    ]
    if any(arrow.outcome == LOST for arrow in scene.arrows):
        handles.append(Line2D([], [], marker="x", color=style.FAINT, label="lost", **keep))
    names = {mark.name for mark in scene.shown}
    handles += [
        Line2D([], [], marker=mark.marker, color=mark.color, label=mark.meaning, **keep)
        for name, mark in MARKS.items()
        if name in names and mark.meaning
    ]
    return handles


def _alt_text(scene: _Scene, title: str) -> str:
    lost = sum(arrow.outcome == LOST for arrow in scene.arrows)
    crashes = sum(mark.name == "crash" for mark in scene.shown)
    words = f"Space-time diagram of {', '.join(scene.labels)}: {len(scene.arrows)} messages, "
    words += f"{lost} lost" + (f", {crashes} crash{'es' * (crashes > 1)}" if crashes else "")
    return f"{title}. {words}." if title else f"{words}."
