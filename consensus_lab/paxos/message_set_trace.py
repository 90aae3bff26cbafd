"""A path through the message-set model as lines of a trace, to be read or drawn."""

from __future__ import annotations

from typing import Any, NamedTuple

from consensus_lab.node import NodeId, message_kind

STEP_NS = 1_000_000
"""Length of one step in the trace."""


class Said(NamedTuple):
    """A message of the set, with who sent it."""

    sender: NodeId
    message: Any


class Step(NamedTuple):
    """One action: who does what, on which messages, and what it says."""

    event: str
    process: NodeId
    heard: tuple[Said, ...]
    said: tuple[Said, ...]


class Line(NamedTuple):
    """One line of a counterexample, with the fields of the simulator's trace records."""

    time_ns: int
    node: NodeId
    event: str
    kind: str = ""
    peer: NodeId | None = None
    number: int | None = None
    detail: Any = None


def told(path: list[Step]) -> list[Line]:
    """The steps as lines of a trace, one millisecond each.

    A message of the set is drawn to everybody who receives it later in the path.
    """
    lines: list[Line] = []
    arrivals: dict[Said, list[tuple[NodeId, int]]] = {}
    number = sum(len(step.heard) for step in path)
    for step in reversed(path):
        answer = step.said[0].message if step.said else None
        lines += [_line(step.process, "note", step.event)._replace(detail=answer)]
        for said in step.said:
            heard_by = arrivals.pop(said, [])
            lines += [_line(said.sender, "send", said.message, to, n) for to, n in heard_by]
        for said in reversed(step.heard):
            arrivals.setdefault(said, []).append((step.process, number))
            lines += [_line(step.process, "receive", said.message, said.sender, number)]
            number -= 1
        if step.event == "Crash":
            lines += [_line(step.process, event) for event in ("restart", "crash")]
        lines.append(_END)
    return _timed(lines)


_END = Line(0, 0, "end")


def _line(
    process: NodeId, event: str, what: Any = "", peer: NodeId | None = None, number: int = 0
) -> Line:
    if isinstance(what, str):
        return Line(0, process, event, what)
    return Line(0, process, event, message_kind(what), peer, number, what)


def _timed(lines: list[Line]) -> list[Line]:
    """Lines that were written from the last step to the first, put in order and given a time."""
    timed: list[Line] = []
    time_ns = 0
    for line in reversed(lines):
        if line is _END:
            time_ns += STEP_NS
        else:
            timed.append(line._replace(time_ns=time_ns))
    return timed
