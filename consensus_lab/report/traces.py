"""Traces as tidy frames and as text: what `space_time` draws, and what a reader prints.

Rules of this file: no matplotlib.  A selection of a trace numbers its records from 1; the diagram
and the transcript of the same selection use the same numbers.
"""

from __future__ import annotations

import json
import statistics
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from consensus_lab.node import NodeId, ParameterError, message_size
from consensus_lab.sim.trace import Record, plain

if TYPE_CHECKING:
    import pandas

NANOSECONDS_PER_MILLISECOND = 1_000_000

_UNITS = ((1_000, "µs"), (1_000_000, "ms"), (1_000_000_000, "s"), (60_000_000_000, "min"),
          (3_600_000_000_000, "h"))  # fmt: skip

RECEIVED, LOST, PENDING = "received", "lost", "pending"
"""What became of a message: it arrived, it never will, or it was under way at the end."""


class Step(NamedTuple):
    """A record with its number in the selection, from 1."""

    number: int
    record: Record


class Flight(NamedTuple):
    """One copy of a message on its way.

    Attributes
    ----------
    number : int
        The message's number in the run; copies of one message share it.
    kind : str
        Message kind.
    sender, receiver : int
        The two ends.
    sent_ns : int
        When the sender's network took it.
    arrived_ns : int or None
        When it was received or dropped at the receiver, or usually would have met one that is
        down; None when nobody can say.
    outcome : str
        `RECEIVED`, `LOST` or `PENDING`.
    message : object
        The message itself.
    """

    number: int
    kind: str
    sender: NodeId
    receiver: NodeId
    sent_ns: int
    arrived_ns: int | None
    outcome: str
    message: Any


_UNSAID = ("kind", "size_bytes")
"""Fields of messages that a transcript leaves out: the first is said already."""

_ESSENCE: dict[str, Callable[[Any], Any]] = {
    "persist": lambda effect: dict(effect.writes),
    "apply": lambda effect: (effect.index, effect.command),
    "unapply": lambda effect: (effect.index, effect.command),
    "reply": lambda effect: (effect.request_id, effect.result),
}
"""What is worth saying of an effect."""


def time_unit(span_ns: int) -> tuple[int, str]:
    """Nanoseconds per unit, and the unit in which a span reads best.

    Examples
    --------
    >>> time_unit(2_500_000), time_unit(90_000_000_000)
    ((1000000, 'ms'), (1000000000, 's'))
    """
    best = _UNITS[0]
    for size, name in _UNITS:
        if span_ns >= 2 * size:
            best = (size, name)
    return best


def select(
    trace: Iterable[Record],
    *,
    begin_ns: int | None = None,
    end_ns: int | None = None,
    kinds: Collection[str] | None = None,
    nodes: Collection[NodeId] | None = None,
    without: Collection[str] = (),
) -> list[Step]:
    """The records of a time window, numbered; of the messages only those of some kinds.

    Parameters
    ----------
    trace : iterable of Record
        A `Trace`, or any records in the order of time.
    begin_ns, end_ns : int, optional
        The window, both ends included.
    kinds : collection of str, optional
        Message kinds to keep; other events are kept whatever their kind.
    nodes : collection of int, optional
        Keep only what happened at these nodes, and messages between them.
    without : collection of str
        Events ("timer", "durable") and kinds ("tick", "MsgHeartbeat") to leave out.

    Raises
    ------
    ParameterError
        When the window ends before it begins.
    """
    if begin_ns is not None and end_ns is not None and end_ns < begin_ns:
        raise ParameterError("end_ns", end_ns, f"at least begin_ns ({begin_ns})")
    kept: list[Step] = []
    for record in trace:
        if begin_ns is not None and record.time_ns < begin_ns:
            continue
        if end_ns is not None and record.time_ns > end_ns:
            continue
        if kinds is not None and record.number is not None and record.kind not in kinds:
            continue
        if record.event in without or record.kind in without:
            continue
        ends = {record.node, record.peer} - {None}
        if nodes is not None and not ends <= set(nodes):
            continue
        kept.append(Step(len(kept) + 1, record))
    return kept


def flights(records: Iterable[Record]) -> list[Flight]:
    """Every copy of every message of the records, in the order of sending.

    A message that was sent and then neither received nor dropped met a node that was down, or
    was under way when the records end.  Which of the two is told by the median time that other
    messages took: if the receiver was down by then, or the records go on for longer, it is lost.
    """
    records = list(records)
    sends = {r.number: r for r in records if r.event == "send"}
    ends: dict[int | None, list[Record]] = {}
    for record in records:
        if record.event in ("receive", "drop") and record.number in sends:
            ends.setdefault(record.number, []).append(record)
    usual_ns = _usual_ns(sends, ends)
    lives = _lives(records)
    last_ns = records[-1].time_ns if records else 0
    found = []
    for number, sent in sends.items():
        assert number is not None and sent.node is not None and sent.peer is not None
        copies: list[tuple[int | None, str]] = [
            (end.time_ns if end.event == "receive" or end.time_ns > sent.time_ns else None,
             RECEIVED if end.event == "receive" else LOST)
            for end in ends.get(number, [])
        ]  # fmt: skip
        if not copies:
            due_ns = sent.time_ns + usual_ns
            if not _is_up(lives.get(sent.peer, []), due_ns):
                copies = [(due_ns, LOST)]
            else:
                copies = [(None, LOST if sent.time_ns + 4 * usual_ns < last_ns else PENDING)]
        found += [
            Flight(number, sent.kind, sent.node, sent.peer, sent.time_ns, *copy, sent.detail)
            for copy in copies
        ]
    return found


def _usual_ns(sends: Mapping[int | None, Record], ends: Mapping[int | None, list[Record]]) -> int:
    """The median time that messages took, of those that took any."""
    took = [end.time_ns - sends[n].time_ns for n, copies in ends.items() for end in copies]
    return int(statistics.median([time for time in took if time > 0] or [0]))


def _lives(records: Iterable[Record]) -> dict[NodeId, list[tuple[int, bool]]]:
    """Per node, when it went up or down, in the order of time."""
    lives: dict[NodeId, list[tuple[int, bool]]] = {}
    for record in records:
        if record.event in ("start", "crash", "restart") and record.node is not None:
            lives.setdefault(record.node, []).append((record.time_ns, record.event != "crash"))
    return lives


def _is_up(life: list[tuple[int, bool]], time_ns: int) -> bool:
    """True when the last change up to that time was not a crash."""
    place = bisect_right(life, (time_ns, True))
    return place == 0 or life[place - 1][1]


def trace_frame(trace: Iterable[Record]) -> pandas.DataFrame:
    """A trace as a tidy frame, one row per record, in order; it can be saved as Parquet or CSV.

    Returns
    -------
    DataFrame
        Columns `step` (from 1), `time_ns`, `node`, `event`, `kind`, `peer`, `number` (missing
        where there is none) and `detail` (JSON text).
    """
    import pandas

    rows = [
        (step, r.time_ns, r.node, r.event, r.kind, r.peer, r.number, _json(r.detail))
        for step, r in enumerate(trace, 1)
    ]
    names = ["step", "time_ns", "node", "event", "kind", "peer", "number", "detail"]
    frame = pandas.DataFrame(rows, columns=names)
    whole = dict.fromkeys(("step", "time_ns"), "int64")
    whole |= dict.fromkeys(("node", "peer", "number"), "Int64")
    return frame.astype(whole | dict.fromkeys(("event", "kind", "detail"), "str"))


def message_frame(trace: Iterable[Record]) -> pandas.DataFrame:
    """The messages of a trace, one row per copy, in the order of sending.

    Returns
    -------
    DataFrame
        Columns `number`, `kind`, `sender`, `receiver`, `sent_ns`, `arrived_ns` (missing where it
        is not known), `outcome` (received, lost, pending) and `size_bytes`.
    """
    import pandas

    rows = [(*flight[:7], message_size(flight.message)) for flight in flights(trace)]
    names = ["number", "kind", "sender", "receiver", "sent_ns", "arrived_ns", "outcome"]
    frame = pandas.DataFrame(rows, columns=[*names, "size_bytes"])
    whole = dict.fromkeys(("number", "sender", "receiver", "sent_ns", "size_bytes"), "int64")
    return frame.astype(whole | {"arrived_ns": "Int64", "kind": "str", "outcome": "str"})


def _json(value: Any) -> str:
    return "" if value is None else json.dumps(plain(value), separators=(",", ":"))


def node_name(node: NodeId | None, names: Mapping[NodeId, str] | None) -> str:
    """How a node is called in pictures and transcripts."""
    if node is None:
        return "network"
    return (names or {}).get(node, f"node {node}")


def short(value: Any, width: int = 60) -> str:
    """A value in one line of at most that many characters; bytes as hexadecimal.

    Examples
    --------
    >>> short(("put", b"\\x01\\x02")), short("a" * 9, 6)
    ("('put', 0102)", 'aaaaa…')
    """
    text = value if isinstance(value, str) else _text(value)
    return text if len(text) <= width else text[: width - 1] + "…"


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        is_words = value.isascii() and value.decode("latin1").isprintable()
        return repr(value.decode()) if is_words and value else value.hex()
    if isinstance(value, Enum):
        return str(value.value) if isinstance(value.value, str) else value.name
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        pairs = zip(value._fields, value, strict=True)
        inner = [f"{name}={_text(part)}" for name, part in pairs if name not in _UNSAID]
        return f"{type(value).__name__}({', '.join(inner)})"
    if isinstance(value, (list, tuple)):
        inner = [_text(part) for part in value]
        return f"[{', '.join(inner)}]" if isinstance(value, list) else f"({', '.join(inner)})"
    return repr(value)


def gist(value: Any, width: int = 16) -> str:
    """What a label says of a value: its type and what it holds, without the names of fields.

    Examples
    --------
    >>> from consensus_lab.sim.models import Put
    >>> gist(Put(b"foo", 7)), gist(b"bar")
    ('Put foo, 7', 'bar')
    """
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        pairs = zip(value._fields, value, strict=True)
        inner = ", ".join(gist(part, width) for name, part in pairs if name not in _UNSAID)
        return short(f"{type(value).__name__} {inner}".strip(), width)
    text = value if isinstance(value, str) else _text(value).strip("'")
    return short(text, width)


_VERBS = {
    "start": "starts", "submit": "client asks", "timer": "timer", "persist": "writes",
    "durable": "is on disk", "apply": "applies", "unapply": "takes back", "reply": "answers",
    "note": "notes", "crash": "CRASHES", "restart": "restarts", "fault": "fault",
}  # fmt: skip


def transcript(
    trace: Iterable[Record],
    *,
    names: Mapping[NodeId, str] | None = None,
    width: int = 100,
    **selection: Any,
) -> str:
    """A trace as aligned lines of text: number, time, node, what happened.

    Parameters
    ----------
    trace : iterable of Record
        A `Trace`, or any records in the order of time.
    names : mapping of int to str, optional
        What the nodes are called.
    width : int
        Characters per line; longer details are cut.
    **selection
        As for `select`: begin_ns, end_ns, kinds, nodes, without.

    Examples
    --------
    >>> run = [Record(0, 1, "send", "Vote", 2, 1), Record(250_000, 2, "receive", "Vote", 1, 1)]
    >>> print(transcript(run))
    1  0.000 ms  node 1  -> node 2  Vote
    2  0.250 ms  node 2  <- node 1  Vote
    """
    steps = select(trace, **selection)
    return "\n".join(line[:width].rstrip() for line in _lines(steps, names, width))


def _lines(steps: list[Step], names: Mapping[NodeId, str] | None, width: int) -> Iterator[str]:
    stamps = [f"{step.record.time_ns / NANOSECONDS_PER_MILLISECOND:,.3f}" for step in steps]
    who = [node_name(step.record.node, names) for step in steps]
    width_of = [max((len(text) for text in texts), default=0) for texts in (stamps, who)]
    digits = len(str(len(steps)))
    for step, stamp, name in zip(steps, stamps, who, strict=True):
        head = f"{step.number:>{digits}}  {stamp:>{width_of[0]}} ms  {name:<{width_of[1]}}  "
        yield head + short(_what(step.record, names), max(8, width - len(head)))


def _what(record: Record, names: Mapping[NodeId, str] | None) -> str:
    """What a record says, after the node's name."""
    detail = record.detail
    if record.number is not None or record.event in ("send", "receive"):
        arrow = {"send": "->", "receive": "<-"}.get(record.event, "x-")
        lost = "lost" if record.event == "drop" else ""
        kind = "" if type(detail).__name__ == record.kind else record.kind
        words = [f"{arrow} {node_name(record.peer, names)}", lost, kind]
    elif record.event == "drop":
        words = [f"is down: loses {record.kind}"]
    elif record.event in ("submit", "persist", "apply", "unapply", "reply"):
        words = [_VERBS[record.event]]
        detail = _ESSENCE.get(record.event, lambda effect: effect)(detail)
    else:
        words = [f"{_VERBS[record.event]} {record.kind}".strip()]
    if detail is not None:
        words.append(_text(detail))
    return "  ".join(word for word in words if word)
