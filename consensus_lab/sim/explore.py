"""The explorer: every state of a model, breadth first, and the shortest way to a bad one.

Theory of operation.  A model says where it starts, which states follow a state, and what is wrong
with a state, if anything.  The search keeps a queue of states in the order of their distance from
the start and looks at each distinct state once.  So the first bad state that it meets is as near
to the start as any, and the way to it is a shortest counterexample.  When the queue runs empty,
nothing that the model can do violates the invariant; when a limit stops the search first, the
result says which.

With symmetry, states that differ only by an exchange of interchangeable processes count as one:
the model's `key` is then the same for all of them.

`world.World` makes a model of any set of Nodes; `paxos.message_set` is Lamport's.  The depth is
counted as TLC does: the number of states on the longest shortest way, the start included.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from consensus_lab.node import ParameterError

STATES_MAX = 1_000_000
"""Default limit on distinct states: about a gigabyte of memory for a three-server cluster."""


class Model(Protocol):
    """What can be explored.

    Attributes
    ----------
    bounds_reached : set of str
        Names of the model's own bounds that cut something off; none where every budget is a
        part of the question ("at most one crash").
    """

    bounds_reached: set[str]

    def initial(self) -> Hashable:
        """The state in which everything starts."""
        ...

    def successors(self, state: Any) -> Iterable[tuple[Any, Hashable]]:
        """Every action that is possible in a state, with the state that it leads to."""
        ...

    def violation(self, state: Any) -> str | None:
        """What is wrong with this state, in a sentence, or None."""
        ...

    def key(self, state: Any) -> Hashable:
        """Equal for states that count as one."""
        ...

    def records(self, path: list[Any]) -> Sequence[Any]:
        """The actions from the start on, as the records of a run's trace (see `trace`)."""
        ...


@dataclass(frozen=True)
class Violation:
    """A bad state and a shortest way to it.

    Attributes
    ----------
    text : str
        What is wrong.
    path : list
        The actions, in the model's own terms.
    records : sequence of Record
        The same as a trace, one millisecond per action, to be drawn as a space-time diagram.
    """

    text: str
    path: list[Any]
    records: Sequence[Any]


@dataclass(frozen=True)
class Exploration:
    """What a search found.

    Attributes
    ----------
    states : int
        Distinct states that were found.
    transitions : int
        Actions that were carried out, those into known states included.
    depth : int
        Number of states on the longest of the shortest ways, the start included.
    levels : tuple of int
        New states at each depth, from the start on.
    limits : tuple of str
        Limits that cut the search short; empty when every state was seen.
    violation : Violation or None
        The nearest bad state.
    """

    states: int
    transitions: int
    depth: int
    levels: tuple[int, ...]
    limits: tuple[str, ...]
    violation: Violation | None

    @property
    def is_complete(self) -> bool:
        """True when every reachable state was seen."""
        return not self.limits and self.violation is None

    @property
    def verdict(self) -> str:
        """The outcome in one sentence; a limit that was reached is always in it."""
        if self.violation is not None:
            steps = len(self.violation.path)
            return f"Violated after {steps} steps: {self.violation.text}."
        if self.limits:
            reached = " and ".join(self.limits)
            return f"No violation so far, but the search is not complete: {reached} reached."
        return "No violation in any reachable state."


def explore(
    model: Model,
    *,
    states_max: int = STATES_MAX,
    depth_max: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Exploration:
    """Search all states of a model, breadth first, until one is bad or none is left.

    Parameters
    ----------
    model : Model
        What to search.
    states_max : int
        Stop when so many distinct states are known.
    depth_max : int, optional
        Do not look further than so many states from the start, the start included.
    progress : callable (states, depth), optional
        Called at the beginning of every level.

    Returns
    -------
    Exploration
        Counts, limits reached, and the shortest counterexample if there is one.
    """
    if states_max < 1:
        raise ParameterError("states_max", states_max, "at least 1")
    if depth_max is not None and depth_max < 1:
        raise ParameterError("depth_max", depth_max, "at least 1")
    return _Search(model, states_max, depth_max).run(progress)


class _Search:
    """One search under way: the known keys, the queue, and how each state was reached."""

    def __init__(self, model: Model, states_max: int, depth_max: int | None) -> None:
        self.model = model
        self.states_max = states_max
        self.depth_max = depth_max
        self.known: set[Hashable] = set()
        self.parents: list[int] = []
        self.actions: list[Any] = []
        self.queue: deque[tuple[int, Hashable]] = deque()
        self.transitions = 0
        self.limits: set[str] = set()

    def run(self, progress: Callable[[int, int], None] | None) -> Exploration:
        """Level by level until the queue is empty, a limit is reached or a state is bad."""
        text = self._add(self.model.initial(), -1, None)
        levels = [1]
        while self.queue and text is None and "states_max" not in self.limits:
            if len(levels) == self.depth_max:
                self._stop_at_depth()
                break
            if progress is not None:
                progress(len(self.known), len(levels))
            known = len(self.known)
            text = self._level()
            if len(self.known) > known:
                levels.append(len(self.known) - known)
        limits = tuple(sorted(self.limits | self.model.bounds_reached))
        violation = None if text is None else self._violation(text)
        states, depth = len(self.known), len(levels)
        return Exploration(states, self.transitions, depth, tuple(levels), limits, violation)

    def _level(self) -> str | None:
        """Every successor of the states now in the queue; the first violation, if any."""
        successors, key, known = self.model.successors, self.model.key, self.known
        for _ in range(len(self.queue)):
            index, state = self.queue.popleft()
            for action, following in successors(state):
                self.transitions += 1
                if key(following) in known:
                    continue
                if len(known) >= self.states_max:
                    self.limits.add("states_max")
                    return None
                text = self._add(following, index, action)
                if text is not None:
                    return text
        return None

    def _add(self, state: Hashable, parent: int, action: Any) -> str | None:
        """Make a state known and queue it; says what is wrong with it, if anything."""
        self.known.add(self.model.key(state))
        self.queue.append((len(self.parents), state))
        self.parents.append(parent)
        self.actions.append(action)
        return self.model.violation(state)

    def _stop_at_depth(self) -> None:
        """The depth limit matters only if something new lies beyond it."""
        for _, state in self.queue:
            for _, following in self.model.successors(state):
                if self.model.key(following) not in self.known:
                    self.limits.add("depth_max")
                    return

    def _violation(self, text: str) -> Violation:
        """The way to the state that was added last."""
        path: list[Any] = []
        index = len(self.parents) - 1
        while self.parents[index] >= 0:
            path.append(self.actions[index])
            index = self.parents[index]
        path.reverse()
        return Violation(text, path, self.model.records(path))
