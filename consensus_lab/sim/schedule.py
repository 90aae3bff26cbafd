"""Runs nodes in a chosen order: a schedule names whose turn it is, and nothing is left to chance.

Theory of operation.  There is no time and no network, only mailboxes.  When a process has its
turn it handles everything that was waiting for it when the turn began, oldest first; what it
sends waits at the receivers.  What a process sends to itself it handles at once.  A turn may also
let one of the process's timers go off.  So every behaviour of an asynchronous system without
losses that hands over messages in the order of sending can be written as a list of names, and a
list that repeats shows a behaviour that goes on for ever.

The turns are written as text: "P1" is a turn of P1, "P1:back-off" lets its timer "back-off" go
off before the mail is handled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, cycle, islice
from typing import Any

from consensus_lab.node import (
    Apply,
    CancelTimer,
    Disk,
    Effect,
    Message,
    Node,
    NodeId,
    Note,
    ParameterError,
    Persist,
    Reply,
    Send,
    SetTimer,
    message_kind,
)
from consensus_lab.sim.trace import Record, Trace

TURN_NS = 1_000_000
"""Length of one turn in the trace."""


@dataclass(frozen=True)
class Schedule:
    """Whose turn it is: first the prologue, once, then the cycle, for ever.

    Attributes
    ----------
    prologue, cycle : tuple of str
        Turns; either may be empty, not both.

    Examples
    --------
    >>> list(Schedule(("a",), ("b", "c")).turns(4))
    ['a', 'b', 'c', 'b']
    """

    prologue: tuple[str, ...] = ()
    cycle: tuple[str, ...] = ()

    @classmethod
    def of(cls, prologue: str = "", cycle: str = "") -> Schedule:
        """From names separated by spaces."""
        return cls(tuple(prologue.split()), tuple(cycle.split()))

    def __post_init__(self) -> None:
        if not self.prologue and not self.cycle:
            raise ParameterError("schedule", "", "at least one turn")

    def turns(self, count: int) -> Iterator[str]:
        """The first so many turns, fewer if the schedule ends."""
        return islice(chain(self.prologue, cycle(self.cycle)), count)

    def check(self, names: Iterable[str]) -> None:
        """Raise `ParameterError` for a turn of a process that does not exist."""
        known = sorted(names)
        for turn in (*self.prologue, *self.cycle):
            if turn.partition(":")[0] not in known:
                raise ParameterError("schedule", turn, "turns of " + ", ".join(known))


class ScheduledRun:
    """Nodes with mailboxes instead of a network.

    Parameters
    ----------
    make_node : callable (node_id, disk) -> Node
        As for the engine.
    processes : mapping of name to node id
        Names may not hold a colon or a space.

    Attributes
    ----------
    nodes : dict of id to Node
    trace : Trace
        One millisecond per turn.
    turn_count : int
        Turns so far.
    """

    def __init__(
        self, make_node: Callable[[NodeId, Disk], Node], processes: Mapping[str, NodeId]
    ) -> None:
        for name in processes:
            if not name or ":" in name or " " in name:
                raise ParameterError("processes", name, "names without colon or space")
        ids = list(processes.values())
        if not ids or len(set(ids)) != len(ids):
            raise ParameterError("processes", ids, "at least one, with different ids")
        self.processes = dict(processes)
        self.nodes = {node_id: make_node(node_id, {}) for node_id in ids}
        self.waiting: dict[NodeId, deque[tuple[NodeId, Message, int]]] = {i: deque() for i in ids}
        self.timers: dict[NodeId, set[str]] = {node_id: set() for node_id in ids}
        self.trace = Trace()
        self.turn_count = 0
        self._sent = 0
        for node_id, node in self.nodes.items():
            self._record(node_id, "start")
            self._handle(node_id, node.start(0))

    @property
    def now(self) -> int:
        """Time in the trace, nanoseconds."""
        return self.turn_count * TURN_NS

    def submit(self, name: str, command: Any) -> None:
        """A client hands a command to a process, between two turns."""
        node_id = self._id(name)
        self._record(node_id, "submit", "submit", detail=command)
        self._handle(node_id, self.nodes[node_id].submit(command, self.now))

    def run(
        self, schedule: Schedule, *, turns_max: int, until: Callable[[], bool] | None = None
    ) -> int:
        """Take turns until the schedule ends, so many were taken, or the condition holds.

        Returns
        -------
        int
            Turns taken by this call.

        Raises
        ------
        ParameterError
            When the schedule names an unknown process, before the first turn.
        """
        schedule.check(self.processes)
        taken = 0
        for turn in schedule.turns(turns_max):
            if until is not None and until():
                break
            self.turn(turn)
            taken += 1
        return taken

    def turn(self, turn: str) -> None:
        """One process handles a timer, if the turn names one, and its mail."""
        name, _, timer = turn.partition(":")
        node_id = self._id(name)
        self.turn_count += 1
        node = self.nodes[node_id]
        if timer:
            if timer not in self.timers[node_id]:
                allowed = f"a timer that {name} has set: {sorted(self.timers[node_id])}"
                raise ParameterError("schedule", turn, allowed)
            self.timers[node_id].discard(timer)
            self._record(node_id, "timer", timer)
            self._handle(node_id, node.timer(timer, self.now))
        mailbox = self.waiting[node_id]
        while mailbox:  # Nobody else sends during this turn, and its own mail comes at once.
            sender, message, number = mailbox.popleft()
            self._record(node_id, "receive", message_kind(message), sender, number, message)
            self._handle(node_id, node.receive(sender, message, self.now))

    def _id(self, name: str) -> NodeId:
        if name not in self.processes:
            raise ParameterError("schedule", name, "one of " + ", ".join(sorted(self.processes)))
        return self.processes[name]

    def _handle(self, node_id: NodeId, effects: list[Effect]) -> None:
        """Carry out effects; a node's message to itself comes right after them."""
        own: deque[tuple[Message, int]] = deque()
        self._perform(node_id, effects, own)
        while own:
            message, number = own.popleft()
            self._record(node_id, "receive", message_kind(message), node_id, number, message)
            self._perform(node_id, self.nodes[node_id].receive(node_id, message, self.now), own)

    def _perform(
        self, node_id: NodeId, effects: list[Effect], own: deque[tuple[Message, int]]
    ) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                self._send(node_id, effect, own)
            elif isinstance(effect, SetTimer):
                self.timers[node_id].add(effect.name)
            elif isinstance(effect, CancelTimer):
                self.timers[node_id].discard(effect.name)
            elif isinstance(effect, Persist):
                self._record(node_id, "persist", detail=effect)
                self._record(node_id, "durable")
            elif isinstance(effect, Note):
                self._record(node_id, "note", effect.kind, detail=effect.detail)
            elif isinstance(effect, Apply):
                self._record(node_id, "apply", detail=effect)
            elif isinstance(effect, Reply):
                self._record(node_id, "reply", detail=effect)

    def _send(self, node_id: NodeId, effect: Send, own: deque[tuple[Message, int]]) -> None:
        self._sent += 1
        kind = message_kind(effect.message)
        self._record(node_id, "send", kind, effect.to, self._sent, effect.message)
        if effect.to == node_id:
            own.append((effect.message, self._sent))
        elif effect.to in self.waiting:
            self.waiting[effect.to].append((node_id, effect.message, self._sent))

    def _record(
        self,
        node_id: NodeId,
        event: str,
        kind: str = "",
        peer: NodeId | None = None,
        number: int | None = None,
        detail: Any = None,
    ) -> None:
        self.trace.add(Record(self.now, node_id, event, kind, peer, number, detail))
