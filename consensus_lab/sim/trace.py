"""What happened in a run, as records in the order in which it happened.

A trace is plain data: `report.trace_frame` makes a tidy frame of it, `report.space_time` draws
it, `digest` says in one line whether two runs were the same to the byte.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from consensus_lab.node import NodeId


class Record(NamedTuple):
    """One line of a trace.

    Attributes
    ----------
    time_ns : int
        Simulated time.
    node : int or None
        Where it happened; None for the network as a whole.
    event : str
        One of `EVENTS`.
    kind : str
        Message kind, timer name, note kind.
    peer : int or None
        The other end of a message.
    number : int or None
        The message's number in the run: a send and its receptions share it.
    detail : object
        The message, command, note or result itself.
    """

    time_ns: int
    node: NodeId | None
    event: str
    kind: str = ""
    peer: NodeId | None = None
    number: int | None = None
    detail: Any = None


EVENTS = (
    "start", "submit", "send", "receive", "drop", "timer", "persist", "durable",
    "apply", "unapply", "reply", "note", "crash", "restart", "fault",
)  # fmt: skip


def plain(value: Any) -> Any:
    """A value as JSON can hold it, with the names of tuples kept and sets sorted."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        named = {name: plain(part) for name, part in zip(value._fields, value, strict=True)}
        return {"type": type(value).__name__, **named}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if isinstance(value, (set, frozenset)):
        return sorted((plain(part) for part in value), key=repr)
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, bytes):
        return value.hex()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


class Trace:
    """A growing list of records.

    Parameters
    ----------
    records_max : int
        A run that exceeds this keeps its first records and counts the rest in `left_out`.
    """

    RECORDS_MAX = 1_000_000

    def __init__(self, *, records_max: int = RECORDS_MAX) -> None:
        self.records: list[Record] = []
        self.records_max = records_max
        self.left_out = 0

    def add(self, record: Record) -> None:
        """Append a record, or count it when the trace is full."""
        if len(self.records) < self.records_max:
            self.records.append(record)
        else:
            self.left_out += 1

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def lines(self) -> Iterator[str]:
        """One JSON text per record, the same bytes for the same run."""
        for record in self.records:
            yield json.dumps([plain(part) for part in record], separators=(",", ":"))

    def digest(self) -> str:
        """SHA-256 over all lines, hexadecimal."""
        total = hashlib.sha256()
        for line in self.lines():
            total.update(line.encode())
            total.update(b"\n")
        total.update(str(self.left_out).encode())
        return total.hexdigest()
