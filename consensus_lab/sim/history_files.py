"""Reads client histories from files: Jepsen's etcd logs and the EDN lines of porcupine's tests.

Theory of operation.  A file is a list of events, one a line, in the order of time.  Every event
belongs to a process, which has one operation under way at a time:

* `:invoke` begins it, `:ok` ends it with its answer.
* `:info` says that nobody knows whether it took effect; the process never comes back.
* `:fail` says that it had no effect: the operation leaves the history, with one exception.  A
  compare-and-swap that fails and repeats its arguments has answered: it found another value.

An operation that the file leaves open is pending.  Times are line numbers.  Lines of other
loggers and of Jepsen's fault injector are passed over; any other line is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from consensus_lab.sim.history import UNKNOWN, Operation
from consensus_lab.sim.models import Append, CompareAndSwap, Delete, Get, Put


class HistoryError(ValueError):
    """A history file that breaks its format: names the file, the line and what is wrong."""

    def __init__(self, where: str, line_number: int, detail: str) -> None:
        self.where = where
        self.line_number = line_number
        super().__init__(f"{where}, line {line_number}: {detail}")


class Event(NamedTuple):
    """One line of a history file; `value` is what stands behind the function's name."""

    process: int
    kind: str
    function: str
    key: Any
    value: Any


class _Word(str):
    """A bare keyword such as `:timed-out`, told apart from a string."""


_JEPSEN_LINE = re.compile(r"INFO\s+jepsen\.util\s+-\s+(\S+)\s+:(\w+)\s+:([\w-]+)(?:\s+(.*\S))?\s*")
_OTHER_LOGGER = re.compile(r"(?:INFO|WARN|ERROR|DEBUG)\s+(?!jepsen\.util\s)[\w.$-]+\s+-\s")
_TOKEN = re.compile(
    r"""\s*(?: (?P<text>"(?:[^"\\]|\\.)*") | (?P<number>-?\d+)(?![\w.]) | (?P<nil>nil)(?![\w-])
        | :(?P<word>[\w-]+) | (?P<open>\[) | (?P<close>\]) )[\s,]*""",
    re.VERBOSE,
)
_ESCAPE = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}
_KINDS = ("invoke", "ok", "fail", "info")


def _values(text: str) -> list[Any]:
    """The EDN values of a line: integers, strings, nil, keywords and vectors of them."""
    stack: list[list[Any]] = [[]]
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"cannot read {text[position : position + 40]!r}")
        position = match.end()
        kind = match.lastgroup
        if kind == "open":
            stack.append([])
        elif kind == "close":
            if len(stack) == 1:
                raise ValueError("a bracket closes that was never opened")
            vector = tuple(stack.pop())
            stack[-1].append(vector)
        else:
            stack[-1].append(_atom(str(kind), match.group(str(kind))))
    if len(stack) != 1:
        raise ValueError("a bracket is never closed")
    return stack[0]


def _atom(kind: str, text: str) -> Any:
    """One EDN value that is no vector."""
    if kind == "number":
        return int(text)
    if kind == "word":
        return _Word(text)
    if kind == "text":
        return re.sub(r"\\(.)", lambda match: _ESCAPE.get(match[1], match[1]), text[1:-1])
    return None


def _jepsen_event(line: str) -> Event | None:
    """A line `INFO jepsen.util - PROCESS :KIND :FUNCTION VALUE`, or None to pass it over."""
    if _OTHER_LOGGER.match(line):
        return None
    match = _JEPSEN_LINE.fullmatch(line)
    if match is None:
        raise ValueError("neither an event nor another logger's line")
    process, kind, function, rest = match.groups()
    if process == ":nemesis":
        return None
    if not process.isdigit():
        raise ValueError(f"the process must be a number; got {process!r}")
    values = _values(rest or "nil")
    if len(values) != 1:
        raise ValueError(f"an event has one value; got {rest!r}")
    return Event(int(process), kind, function, None, values[0])


def _edn_event(line: str) -> Event:
    """A line `{:process 0, :type :invoke, :f :get, :key "k", :value nil}`."""
    if not (line.startswith("{") and line.endswith("}")):
        raise ValueError("an event stands between braces")
    values = _values(line[1:-1])
    names, parts = values[::2], values[1::2]
    if len(names) != len(parts) or not all(isinstance(name, _Word) for name in names):
        raise ValueError("an event is a map of keywords to values")
    fields = {str(name): part for name, part in zip(names, parts, strict=True)}
    missing = [name for name in ("process", "type", "f", "value") if name not in fields]
    if missing:
        raise ValueError(f"the event lacks :{missing[0]}")
    if not isinstance(fields["process"], int):
        raise ValueError(f"the process must be a number; got {fields['process']!r}")
    return Event(
        fields["process"], str(fields["type"]), str(fields["f"]), fields.get("key"),
        fields["value"],
    )  # fmt: skip


def _request(event: Event) -> Any:
    """What an event asks for."""
    key, value = event.key, event.value
    if event.function in ("read", "get"):
        return Get(key)
    if event.function == "delete":
        return Delete(key)
    if value is None or isinstance(value, _Word):
        raise ValueError(f":{event.function} needs a value")
    if event.function in ("write", "put"):
        return Put(key, value)
    if event.function == "append" and isinstance(value, str):
        return Append(key, value)
    if event.function == "cas" and isinstance(value, tuple) and len(value) == 2:
        return CompareAndSwap(key, *value)
    raise ValueError(f"no such operation: :{event.function} {value!r}")


def _answered(operation: Operation, event: Event, line_number: int) -> Operation | None:
    """The operation after the event that ends it, or None when it had no effect."""
    request = operation.request
    is_cas = isinstance(request, CompareAndSwap)
    if event.kind == "info":
        return operation
    if event.kind == "fail" and (not is_cas or isinstance(event.value, _Word)):
        return None
    if isinstance(request, Get):
        if isinstance(event.value, _Word):
            raise ValueError(f"a read that is :ok needs a value; got :{event.value}")
        return operation._replace(response=event.value, returned=line_number)
    if _request(event) != request:
        raise ValueError(f"the answer does not repeat the request {request!r}")
    response = event.kind == "ok" if is_cas else None
    return operation._replace(response=response, returned=line_number)


def read_history(lines: Iterable[str], *, where: str = "history") -> list[Operation]:
    """The operations of a history, in the order in which they were called.

    Parameters
    ----------
    lines : iterable of str
        The file's lines; either of the two formats, told apart by the first event.
    where : str
        The file's name, for errors.

    Raises
    ------
    HistoryError
        A line that is no event, a return without a call, a call while another of the same
        process is under way, or an answer that does not fit its request.

    Examples
    --------
    >>> read_history(["INFO  jepsen.util - 0 :invoke :write 1"])
    [Operation(client=0, request=Put(key=None, value=1), response=?, called=1, returned=None)]
    """
    operations: dict[int, Operation] = {}
    under_way: dict[int, int] = {}
    for line_number, line in enumerate(lines, 1):
        line = line.strip()
        if not line:
            continue
        try:
            event = _edn_event(line) if line.startswith("{") else _jepsen_event(line)
            if event is not None:
                _take(event, line_number, operations, under_way)
        except ValueError as error:
            raise HistoryError(where, line_number, str(error)) from None
    return list(operations.values())


def _take(
    event: Event, line_number: int, operations: dict[int, Operation], under_way: dict[int, int]
) -> None:
    """Enter one event: `operations` by the line of their call, `under_way` by process."""
    if event.kind not in _KINDS:
        raise ValueError(f"no such type of event: :{event.kind}")
    if event.kind == "invoke":
        if event.process in under_way:
            raise ValueError(f"process {event.process} calls while it waits for an answer")
        operations[line_number] = Operation(event.process, _request(event), UNKNOWN, line_number)
        under_way[event.process] = line_number
        return
    if event.process not in under_way:
        raise ValueError(f"process {event.process} gets an answer without having called")
    called = under_way.pop(event.process)
    operation = operations[called]
    if event.function not in _FUNCTIONS[type(operation.request)]:
        raise ValueError(f"the answer to {operation.request!r} is of :{event.function}")
    if isinstance(event.key, str) and event.key != operation.request.key:
        raise ValueError(f"the answer to {operation.request!r} names key {event.key!r}")
    after = _answered(operation, event, line_number)
    if after is None:
        del operations[called]
    else:
        operations[called] = after


_FUNCTIONS = {
    Get: ("read", "get"),
    Put: ("write", "put"),
    Append: ("append",),
    Delete: ("delete",),
    CompareAndSwap: ("cas",),
}


def read_history_file(path: Path) -> list[Operation]:
    """The operations of a history file; see `read_history`."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise HistoryError(str(path), 1, f"not UTF-8 text: {error.reason}") from None
    return read_history(text.splitlines(), where=str(path))
