"""A world of Nodes for the explorer: whatever the network, crashes and clocks may do to them.

Theory of operation.  The state of the world is the local state of every process (the node itself,
its disk, the timers that it has set), the messages under way, and what is left of the budgets.
In a state, any message under way may arrive next, whatever was sent first; it may be lost, or
arrive and yet stay under way (a duplicate); any timer that is set may go off, for clocks promise
nothing; any command that is left may be submitted; any process may crash and start again from its
disk.  A crash may also fall between two writes of one input: what stood before the first write
has happened then, what follows has not.

A process that stays down needs no state of its own: it is one that hears nothing more.  A message
that is lost needs none either, as far as safety goes: it is one that arrives in no continuation.
The explicit loss, with a budget, is there for invariants that look at the messages under way.

Network "bag" takes an arrived message off the wire, and duplicates cost budget.  Network "set"
is Lamport's: a message once sent may arrive any number of times.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from consensus_lab.node import Disk, Node, NodeId, ParameterError
from consensus_lab.sim.freeze import Peer
from consensus_lab.sim.local_steps import Action, Envelope, LocalSteps, Outcome
from consensus_lab.sim.retelling import Retelling
from consensus_lab.sim.symmetry import Symmetry
from consensus_lab.sim.trace import Record

BAG, SET = "bag", "set"
NETWORKS = (BAG, SET)


class Budgets(NamedTuple):
    """What may still happen; each is a bound of the model.

    Attributes
    ----------
    submissions : tuple of int
        Indices of the commands not yet submitted.
    timers, losses, duplicates, crashes : int
        How many more of each.
    """

    submissions: tuple[int, ...]
    timers: int
    losses: int
    duplicates: int
    crashes: int


class State(NamedTuple):
    """A state of the world, in numbers that the world's `LocalSteps` knows the meaning of.

    Attributes
    ----------
    locals : tuple of int
        Each process's local state.
    wire : tuple of int
        The messages under way, sorted.
    decided : tuple of (int, int)
        Every pair of index and command that was applied anywhere, sorted.
    budgets : Budgets
        What may still happen.
    failure : str or None
        The assertion that a node failed on the way here.
    """

    locals: tuple[int, ...]
    wire: tuple[int, ...]
    decided: tuple[tuple[int, int], ...]
    budgets: Budgets
    failure: str | None = None


class View(NamedTuple):
    """What an invariant sees; it must not change anything.

    Attributes
    ----------
    nodes, disks : dict
        Per process: the node, and what is durable.
    wire : tuple of Envelope
        Messages under way.
    decided : tuple of (index, command)
        Everything that was applied anywhere so far.
    """

    nodes: dict[NodeId, Any]
    disks: dict[NodeId, Disk]
    wire: tuple[Envelope, ...]
    decided: tuple[tuple[int, Any], ...]


Invariant = Callable[[View], "str | None"]


def agreement(view: View) -> str | None:
    """No two commands are applied at one index, at whatever process (state machine safety)."""
    seen: dict[int, Any] = {}
    for index, command in view.decided:
        if seen.setdefault(index, command) != command:
            return f"index {index} has both {seen[index]!r} and {command!r}"
    return None


class World:
    """Every behaviour of a set of Nodes within stated bounds, as a model for `explore`.

    Parameters
    ----------
    make_node : callable (node_id, disk) -> Node
        As for the engine.  Randomness has to come from a source without state (`NoChance`).
    node_ids : iterable of int
        The processes.
    submissions : sequence of (node_id, command)
        Each command may be submitted once, at any moment, at that process.
    network : str
        "bag" or "set".
    timers_max, losses_max, duplicates_max, crashes_max : int
        How many of each may happen in one run.
    may_expire : callable (node_id, name) -> bool, optional
        Which timers may go off at all; any if left out.
    in_flight_max : int, optional
        Actions that would leave more messages under way are left out; the result says so.
    own_messages_at_once : bool
        A process handles what it sends itself before anything else, as it does when its disk
        takes no time; otherwise that message too may arrive at any later moment.
    invariants : iterable of callable (View) -> str or None
        Each says what is wrong with a state, or None.
    symmetric : sequence of sequences of int
        Groups of interchangeable processes, see `symmetry`.

    Raises
    ------
    ParameterError
        Naming what is wrong.
    """

    def __init__(
        self,
        make_node: Callable[[NodeId, Disk], Node],
        node_ids: Iterable[NodeId],
        *,
        submissions: Sequence[tuple[NodeId, Any]] = (),
        network: str = BAG,
        timers_max: int = 0,
        losses_max: int = 0,
        duplicates_max: int = 0,
        crashes_max: int = 0,
        may_expire: Callable[[NodeId, str], bool] | None = None,
        in_flight_max: int | None = None,
        own_messages_at_once: bool = False,
        invariants: Iterable[Invariant] = (agreement,),
        symmetric: Sequence[Sequence[NodeId]] = (),
    ) -> None:
        self.ids = tuple(Peer(i) for i in node_ids)
        budgets = (timers_max, losses_max, duplicates_max, crashes_max)
        _check(self.ids, submissions, network, budgets, symmetric)
        self.is_set = network == SET
        self.may_expire = may_expire
        self.in_flight_max = in_flight_max
        self.invariants = tuple(invariants)
        self.bounds_reached: set[str] = set()
        self.budgets = Budgets(tuple(range(len(submissions))), *budgets)
        self.steps = LocalSteps(
            make_node,
            self.ids,
            [command for _, command in submissions],
            own_messages_at_once=own_messages_at_once,
        )
        self._submitted_at = [self.steps.places[node_id] for node_id, _ in submissions]
        self.symmetry = Symmetry(symmetric, self.steps) if symmetric else None

    # The model: what `explore` calls.

    def initial(self) -> State:
        """Every process has started with an empty disk."""
        started = [self.steps.boot(place, {}) for place in range(len(self.ids))]
        locals_ = tuple(outcome.local for outcome in started)
        state = State(locals_, (), (), self.budgets)
        for outcome in started:
            state = self._joined(locals_, state.wire, state.decided, self.budgets, outcome)
        return state

    def successors(self, state: State) -> Iterator[tuple[Action, State]]:
        """Everything that may happen next."""
        if state.failure is not None:
            return
        for action, left in self._possible(state):
            for cut, outcome in enumerate(self._outcomes(state, action)):
                budgets = left
                if outcome.crashed_after is not None:
                    if not left.crashes:
                        break
                    budgets = left._replace(crashes=left.crashes - 1)
                following = self._after(state, action, outcome, budgets)
                if self.in_flight_max is not None and len(following.wire) > self.in_flight_max:
                    self.bounds_reached.add("in_flight_max")
                    continue
                yield (action._replace(cut=cut) if cut else action), following

    def violation(self, state: State) -> str | None:
        """A failed assertion, or what the first broken invariant says."""
        if state.failure is not None:
            return state.failure
        view = self.view(state)
        for invariant in self.invariants:
            text = invariant(view)
            if text is not None:
                return text
        return None

    def key(self, state: State) -> Hashable:
        """The state itself; with symmetry, the least of all states that it may be renamed to."""
        if self.symmetry is None:
            return state
        return (*self.symmetry.key(state.locals, state.wire), *state[2:])

    def records(self, path: list[Action]) -> list[Record]:
        """The trace of a sequence of actions from the start; one millisecond each."""
        return Retelling(self).tell(path)

    # For whoever looks at single states.

    def view(self, state: State) -> View:
        """A state in terms of nodes, disks, messages and commands."""
        steps = self.steps
        entries = [steps.locals[number] for number in state.locals]
        return View(
            {node_id: entry.node for node_id, entry in zip(self.ids, entries, strict=True)},
            {node_id: entry.disk for node_id, entry in zip(self.ids, entries, strict=True)},
            tuple([steps.envelopes[number] for number in state.wire]),
            tuple([(index, steps.applied[number]) for index, number in state.decided]),
        )

    def take(self, state: State, action: Action) -> tuple[State, Outcome]:
        """The state after one action, and what the action did."""
        whole = action._replace(cut=0)
        outcome = self._outcomes(state, whole)[action.cut]
        budgets = next(left for other, left in self._possible(state) if other == whole)
        if outcome.crashed_after is not None:
            budgets = budgets._replace(crashes=budgets.crashes - 1)
        return self._after(state, whole, outcome, budgets), outcome

    # Which actions are possible, and what they lead to.

    def _possible(self, state: State) -> Iterator[tuple[Action, Budgets]]:
        budgets = state.budgets
        yield from self._arrivals(state.wire, budgets)
        for index in budgets.submissions:
            rest = tuple(other for other in budgets.submissions if other != index)
            place = self._submitted_at[index]
            yield Action("submit", place, index), budgets._replace(submissions=rest)
        if budgets.timers:
            left = budgets._replace(timers=budgets.timers - 1)
            for place, local in enumerate(state.locals):
                for name in self.steps.locals[local].timers:
                    if self.may_expire is None or self.may_expire(self.ids[place], name):
                        yield Action("timer", place, name), left
        if budgets.crashes:
            for place in range(len(self.ids)):
                yield Action("crash", place), budgets

    def _arrivals(
        self, wire: tuple[int, ...], budgets: Budgets
    ) -> Iterator[tuple[Action, Budgets]]:
        """What may become of each message under way; copies of one message are alike."""
        envelopes, places = self.steps.envelopes, self.steps.places
        previous = -1
        for number in wire:
            if number == previous:
                continue
            previous = number
            sender, to, _ = envelopes[number]
            place = places[to]
            yield Action("receive", place, number), budgets
            if self.is_set or sender == to:
                continue
            if budgets.duplicates:
                left = budgets._replace(duplicates=budgets.duplicates - 1)
                yield Action("duplicate", place, number), left
            if budgets.losses:
                yield Action("lose", place, number), budgets._replace(losses=budgets.losses - 1)

    def _outcomes(self, state: State, action: Action) -> tuple[Outcome, ...]:
        local = state.locals[action.place]
        if action.event == "lose":
            return (Outcome(local),)
        if action.event == "duplicate":
            action = action._replace(event="receive")
        return self.steps.outcomes(local, action)

    def _after(self, state: State, action: Action, outcome: Outcome, budgets: Budgets) -> State:
        place, wire, locals_ = action.place, state.wire, state.locals
        if action.event == "lose" or (action.event == "receive" and not self.is_set):
            at = wire.index(action.what)
            wire = wire[:at] + wire[at + 1 :]
        if outcome.crashed_after is not None:
            own_id = self.ids[place]
            wire = tuple([n for n in wire if not self.steps.is_own(n, own_id)])
        if outcome.local != locals_[place]:
            locals_ = (*locals_[:place], outcome.local, *locals_[place + 1 :])
        return self._joined(locals_, wire, state.decided, budgets, outcome)

    def _joined(
        self,
        locals_: tuple[int, ...],
        wire: tuple[int, ...],
        decided: tuple[tuple[int, int], ...],
        budgets: Budgets,
        outcome: Outcome,
    ) -> State:
        """A state with what a step sent and applied."""
        if outcome.sent:
            wire = tuple(sorted({*wire, *outcome.sent} if self.is_set else wire + outcome.sent))
        if outcome.decided:
            decided = tuple(sorted({*decided, *outcome.decided}))
        return State(locals_, wire, decided, budgets, outcome.failure)


def _check(
    ids: tuple[NodeId, ...],
    submissions: Sequence[tuple[NodeId, Any]],
    network: str,
    budgets: tuple[int, ...],
    symmetric: Sequence[Sequence[NodeId]],
) -> None:
    known = [int(node_id) for node_id in ids]
    if not ids or len(set(ids)) != len(ids):
        raise ParameterError("node_ids", known, "at least one, without duplicates")
    if network not in NETWORKS:
        raise ParameterError("network", network, "one of " + ", ".join(NETWORKS))
    for node_id, _ in submissions:
        if node_id not in known:
            raise ParameterError("submissions", node_id, f"at one of the processes {known}")
    names = ("timers_max", "losses_max", "duplicates_max", "crashes_max")
    for name, value in zip(names, budgets, strict=True):
        if value < 0:
            raise ParameterError(name, value, "at least 0")
    grouped = [node_id for group in symmetric for node_id in group]
    if len(set(grouped)) != len(grouped) or not set(grouped) <= set(known):
        raise ParameterError("symmetric", symmetric, f"disjoint groups of processes of {known}")
