"""Local steps for the explorer: one process, one input, carried out by the real node, once.

Theory of operation.  The same input at the same local state comes up in thousands of global
states.  Local states, messages and commands are therefore numbered by their image (see
`freeze`), and what a step leads to is remembered: a global state is a few small integers.

A local state is the node, the names of the timers that it has set, and its disk.  A node in that
state is had by unpickling it; where a node cannot be pickled, because it holds a function made
inside another, a new one is started and given all inputs again.  (`copy.deepcopy` would be wrong
there: such a function would go on changing the node that it was made in.)
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

from consensus_lab.node import (
    Apply,
    CancelTimer,
    Disk,
    Effect,
    Message,
    Node,
    NodeId,
    Persist,
    Send,
    SetTimer,
)
from consensus_lab.sim.freeze import Peer, freeze

NOW_NS = 0
"""Time stands still in the explorer: what a clock could say is covered by timers at any moment."""


class NoChance:
    """A source of randomness that always gives the smallest value, for nodes that ask for one.

    In the explorer a timer may go off at any moment, so how long it was set for is of no account.
    """

    def randrange(self, stop: int, /) -> int:
        """Always 0."""
        return 0

    def random(self) -> float:
        """Always 0.0."""
        return 0.0


class Envelope(NamedTuple):
    """A message under way."""

    sender: NodeId
    to: NodeId
    message: Message


class Action(NamedTuple):
    """One thing that happens in the world.

    Attributes
    ----------
    event : str
        "receive", "duplicate" (arrives and stays under way), "lose", "timer", "submit", "crash".
    place : int
        Which process, by its place among all.
    what : int or str or None
        The message's or command's number, or the timer's name.
    cut : int
        0 if the input was handled to its end; else the process crashed at its `cut`-th write
        that something visible stood before.
    """

    event: str
    place: int
    what: Any = None
    cut: int = 0


class Input(NamedTuple):
    """One call of a node: the method's name and its arguments."""

    method: str
    arguments: tuple[Any, ...]

    def give(self, node: Node) -> list[Effect]:
        """Call the node."""
        effects: list[Effect] = getattr(node, self.method)(*self.arguments, NOW_NS)
        return effects


START = Input("start", ())


class Origin(NamedTuple):
    """How a node came to be in its state: the disk that it started from, and all inputs since."""

    disk: tuple[tuple[Hashable, Any], ...]
    inputs: tuple[Input, ...]


class Local(NamedTuple):
    """A process's local state."""

    node: Node
    pickled: bytes | None
    origin: Origin
    timers: tuple[str, ...]
    disk: dict[Hashable, Any]


class Outcome(NamedTuple):
    """What a local step leads to.

    Attributes
    ----------
    local : int
        The number of the local state after it.
    sent : tuple of int
        Numbers of the messages that it put on the wire.
    decided : tuple of (int, int)
        Index and command number of what it applied.
    effects : tuple of Effect
        All of its effects, for telling it.
    crashed_after : int or None
        So many effects happened before the process lost its memory and started again (the
        others are those of its start); None if it did not crash.
    failure : str or None
        The assertion that the node failed.
    """

    local: int
    sent: tuple[int, ...] = ()
    decided: tuple[tuple[int, int], ...] = ()
    effects: tuple[Effect, ...] = ()
    crashed_after: int | None = None
    failure: str | None = None


class LocalSteps:
    """Numbers for local states, messages and commands, and the steps between local states.

    Parameters
    ----------
    make_node : callable (node_id, disk) -> Node
        As for the engine.
    ids : sequence of Peer
        The processes; a process's place is its index here.
    commands : sequence of object
        What may be submitted; an action names a command by its index.
    own_messages_at_once : bool
        See `World`.
    """

    def __init__(
        self,
        make_node: Callable[[NodeId, Disk], Node],
        ids: Sequence[Peer],
        commands: Sequence[Any],
        *,
        own_messages_at_once: bool,
    ) -> None:
        self.make_node = make_node
        self.ids = ids
        self.places: dict[NodeId, int] = {node_id: place for place, node_id in enumerate(ids)}
        self.commands = commands
        self.own_messages_at_once = own_messages_at_once
        self.locals: list[Local] = []
        self.envelopes: list[Envelope] = []
        self.applied: list[Any] = []
        self.local_images: list[Hashable] = []
        self.envelope_images: list[Hashable] = []
        self._numbers: dict[Hashable, int] = {}
        self._outcomes: dict[tuple[int, Action], tuple[Outcome, ...]] = {}

    def outcomes(self, local: int, action: Action) -> tuple[Outcome, ...]:
        """The complete outcome first, then a crash at each write that something stood before."""
        found = self._outcomes.get((local, action))
        if found is None:
            found = self._outcomes[local, action] = self._carry_out(local, action)
        return found

    def boot(self, place: int, disk: Mapping[Hashable, Any]) -> Outcome:
        """Start a process from its disk; nothing else is left of it."""
        node = self.make_node(self.ids[place], dict(disk))
        origin = Origin(tuple(disk.items()), ())
        step = _Step(self, place, node, origin, set(), dict(disk))
        step.take(START)
        return step.outcome()._replace(crashed_after=0)

    def _carry_out(self, local: int, action: Action) -> tuple[Outcome, ...]:
        entry, place, what = self.locals[local], action.place, action.what
        if action.event == "crash":
            return (self.boot(place, entry.disk),)
        node, timers, disk = self._node_like(place, entry), set(entry.timers), dict(entry.disk)
        step = _Step(self, place, node, entry.origin, timers, disk)
        if action.event == "timer":
            step.timers.discard(what)
            step.take(Input("timer", (what,)))
        elif action.event == "submit":
            step.take(Input("submit", (self.commands[what],)))
        else:
            sender, _, message = self.envelopes[what]
            step.take(Input("receive", (sender, message)))
        return (step.outcome(), *step.crashes)

    def _node_like(self, place: int, entry: Local) -> Node:
        """A node in this state, free to be changed."""
        if entry.pickled is not None:
            node: Node = pickle.loads(entry.pickled)
            return node
        node = self.make_node(self.ids[place], dict(entry.origin.disk))
        for given in entry.origin.inputs:
            given.give(node)
        return node

    def local_number(
        self,
        place: int,
        node: Node,
        origin: Origin,
        timers: set[str],
        disk: dict[Hashable, Any],
    ) -> int:
        """The number of a local state."""
        ordered = tuple(sorted(timers))
        image = (place, freeze(node), ordered, freeze(disk))
        number = self._numbers.get(image)
        if number is None:
            number = self._numbers[image] = len(self.locals)
            self.locals.append(Local(node, _pickled(node), origin, ordered, disk))
            # Symmetry looks at the image without the place, which it knows.
            self.local_images.append(image[1:])
        return number

    def envelope_number(self, envelope: Envelope) -> int:
        """The number of a message under way."""
        image = freeze(envelope)
        number = self._numbers.get(image)
        if number is None:
            number = self._numbers[image] = len(self.envelopes)
            self.envelopes.append(envelope)
            self.envelope_images.append(image)
        return number

    def is_own(self, number: int, node_id: NodeId) -> bool:
        """True for a message of this process to itself."""
        envelope = self.envelopes[number]
        return envelope.sender == envelope.to == node_id

    def command_number(self, command: Any) -> int:
        """The number of an applied command."""
        image = ("applied", freeze(command))
        number = self._numbers.get(image)
        if number is None:
            number = self._numbers[image] = len(self.applied)
            self.applied.append(command)
        return number


class _Step:
    """The effects of one input on one process, as they are carried out."""

    def __init__(
        self,
        steps: LocalSteps,
        place: int,
        node: Node,
        origin: Origin,
        timers: set[str],
        disk: dict[Hashable, Any],
    ) -> None:
        self.steps = steps
        self.place = place
        self.own_id = steps.ids[place]
        self.node = node
        self.origin = origin
        self.given: list[Input] = []
        self.timers = timers
        self.disk = disk
        self.sent: list[int] = []
        self.decided: list[tuple[int, int]] = []
        self.effects: list[Effect] = []
        self.crashes: list[Outcome] = []
        self.failure: str | None = None
        self._own: list[Message] = []
        self._is_visible = False

    def take(self, given: Input) -> None:
        """Hand the input to the node, then what it sends itself if that comes at once."""
        try:
            self._give(given)
            while self._own:
                self._give(Input("receive", (self.own_id, self._own.pop(0))))
        except AssertionError as error:
            self.failure = f"process {int(self.own_id)} fails an assertion: {error}"

    def outcome(self) -> Outcome:
        """What the step led to."""
        origin = Origin(self.origin.disk, (*self.origin.inputs, *self.given))
        local = self.steps.local_number(self.place, self.node, origin, self.timers, self.disk)
        decided, effects = tuple(self.decided), tuple(self.effects)
        return Outcome(local, tuple(self.sent), decided, effects, failure=self.failure)

    def _give(self, given: Input) -> None:
        self.given.append(given)
        self._perform(given.give(self.node))

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Persist):
                self._write(effect)
            elif isinstance(effect, Send):
                self._send(effect)
            elif isinstance(effect, SetTimer):
                self.timers.add(effect.name)
            elif isinstance(effect, CancelTimer):
                self.timers.discard(effect.name)
            elif isinstance(effect, Apply):
                self.decided.append((effect.index, self.steps.command_number(effect.command)))
                self._is_visible = True
            self.effects.append(effect)

    def _write(self, effect: Persist) -> None:
        if self._is_visible:
            self._crash_here()
        for key, value in effect.writes:
            self.disk[key] = value
            if value is None:
                del self.disk[key]

    def _send(self, effect: Send) -> None:
        place = self.steps.places.get(effect.to)
        if place is None:
            return
        if place != self.place:
            self._is_visible = True
        elif self.steps.own_messages_at_once:
            self._own.append(effect.message)
            return
        envelope = Envelope(self.own_id, self.steps.ids[place], effect.message)
        self.sent.append(self.steps.envelope_number(envelope))

    def _crash_here(self) -> None:
        """The process crashes before this write: what it did so far has happened."""
        booted = self.steps.boot(self.place, self.disk)
        steps, own_id = self.steps, self.own_id
        sent = [number for number in self.sent if not steps.is_own(number, own_id)]
        self.crashes.append(
            booted._replace(
                sent=(*sent, *booted.sent),
                decided=(*self.decided, *booted.decided),
                effects=(*self.effects, *booted.effects),
                crashed_after=len(self.effects),
            )
        )


def _pickled(node: Node) -> bytes | None:
    """The node as bytes, from which copies are made fastest; None where it cannot be."""
    try:
        return pickle.dumps(node, protocol=pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, AttributeError, TypeError):
        return None
