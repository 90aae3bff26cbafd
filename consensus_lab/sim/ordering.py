"""The search for an order of one key's operations; `linearizability` explains the method.

Rules of this file: no engine, no protocol; exact, or `UndecidedError`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import NamedTuple

from consensus_lab.sim.history import FORGOTTEN, IMPOSSIBLE, UNKNOWN, Model, Operation


class UndecidedError(RuntimeError):
    """The search gave up at its limit: the history is neither explained nor refuted."""


class _Need(NamedTuple):
    """An answer that can only be given in one state; see `OrderSearch._needs`."""

    returned: int
    bit: int
    state: Hashable
    helpful: int
    rivals: tuple[tuple[int, Hashable], ...]


class OrderSearch:
    """The search over one key's operations, which are sorted by their call.

    Events are numbered from 1 in the order of time, calls before returns at one instant; 0 is
    the head of the linked list and the last number its end.
    """

    def __init__(self, operations: Sequence[Operation], model: Model) -> None:
        self.operations = operations
        self.model = model
        self.entered: set[tuple[int, Hashable]] = set()
        self.order: list[int] = []
        self.states: list[Hashable] = [model.initial]
        self.unreturned = sum(not operation.is_pending for operation in operations)
        self.met = [0]
        self.place = 0
        self._link_events()
        self.is_reading = [
            not operation.is_pending and model.only_reads(operation.request, operation.response)
            for operation in operations
        ]
        self.names = [model.names(part.request, part.response) for part in operations]
        self.named = [state for state in self.names if state is not UNKNOWN]
        self.seen_states: dict[Hashable, Hashable] = {}
        self.refused_by = self._refused_by()
        self.left = [
            UNKNOWN if self.is_reading[index] else model.sets(part.request, part.response)
            for index, part in enumerate(operations)
        ]
        self.effects = self._effects()
        self.needs = self._needs()
        self.wanted = self._wanted()

    def _link_events(self) -> None:
        """Number the events and link them: an operation's index for a call, ~index for a return.

        A read without an answer explains nothing and forbids nothing: it has no events.
        """
        events: list[tuple[int, int, int]] = []
        for index, operation in enumerate(self.operations):
            if operation.is_pending and self.model.only_reads(operation.request, UNKNOWN):
                continue
            events.append((operation.called, 0, index))
            if operation.returned is not None:
                events.append((operation.returned, 1, index))
        events.sort()
        self.end = len(events) + 1
        self.next = list(range(1, self.end + 2))
        self.previous = list(range(-1, self.end))
        self.call_of = [0] * len(self.operations)
        self.return_of = [0] * len(self.operations)
        self.event: list[int] = [0] * (self.end + 1)
        for number, (_, is_return, index) in enumerate(events, 1):
            self.event[number] = ~index if is_return else index
            (self.return_of if is_return else self.call_of)[index] = number

    def _as_seen(self, state: Hashable) -> Hashable:
        """The state, or `FORGOTTEN` when no operation depends on anything it can grow into."""
        known = self.seen_states.get(state)
        if known is None:
            can_grow = self.model.can_grow
            matters = any(can_grow(state, named) for named in self.named)
            known = self.seen_states[state] = state if matters else FORGOTTEN
        return known

    def _refused_by(self) -> dict[Hashable, int]:
        """For each state the bits of the reading operations that cannot be answered so in it."""
        refused: dict[Hashable, int] = {}
        for index, state in enumerate(self.names):
            if self.is_reading[index] and not self._is_certain(index, state):
                refused[state] = refused.get(state, 0) | 1 << index
        return refused

    def _effects(self) -> list[Hashable]:
        """What each operation does, so that two which do the same compare equal."""
        effects: list[Hashable] = []
        for index, operation in enumerate(self.operations):
            left = self.left[index]
            if left is UNKNOWN:
                effects.append((type(operation.request), operation.request))
            else:
                effects.append((self.names[index], self._as_seen(left)))
        return effects

    def _needs(self) -> list[_Need]:
        """The answers that name the state in which they are given, first to return first.

        When an answer is the next one, every answer before it has its place in the order, so an
        operation without one returns after the latest call among them: `active` holds no more.
        """
        operations, names = self.operations, self.names
        certain = [index for index, state in enumerate(names) if self._is_certain(index, state)]
        certain.sort(key=lambda index: self.return_of[index])
        needs: list[_Need] = []
        active: list[int] = []
        arrived = latest_call = 0
        for needing in certain:
            returned, state = self.return_of[needing], names[needing]
            while arrived < len(operations) and self.call_of[arrived] < returned:
                active.append(arrived)
                arrived += 1
            active = [index for index in active if not 0 < self.return_of[index] <= latest_call]
            others = [index for index in active if index != needing]
            rivals = tuple((1 << o, names[o]) for o in others if names[o] is not UNKNOWN)
            helpful = sum(1 << other for other in others if self._helps(other, state))
            needs.append(_Need(returned, 1 << needing, state, helpful, rivals))
            latest_call = max(latest_call, self.call_of[needing])
        return needs

    def _wanted(self) -> dict[Hashable, tuple[int, int]]:
        """For each state the bits of the answers that need it, and of what leads back to it."""
        wanted: dict[Hashable, tuple[int, int]] = {}
        for _, bit, state, _, _ in self.needs:
            if state in wanted:
                needing, back = wanted[state]
            else:
                helping = [i for i in range(len(self.operations)) if self._helps(i, state)]
                needing, back = 0, sum(1 << index for index in helping)
            wanted[state] = needing | bit, back
        return wanted

    def _is_missed(self, mask: int, before: Hashable, after: Hashable) -> bool:
        """True when a state is left for good that answers without a place still need."""
        needing, back = self.wanted.get(before, (0, 0))
        if not needing & ~mask or back & ~mask:
            return False
        return not self.model.can_grow(after, before)

    def _is_certain(self, index: int, state: Hashable) -> bool:
        """True when the operation's answer came, and comes in this state alone."""
        operation = self.operations[index]
        if operation.is_pending or state is UNKNOWN:
            return False
        return self.model.step(state, operation.request, operation.response) is not IMPOSSIBLE

    def _helps(self, index: int, state: Hashable) -> bool:
        """True when the operation sets a state that can grow into that one."""
        left = self.left[index]
        return left is not UNKNOWN and self.model.can_grow(left, state)

    def _look_ahead(self, mask: int, state: Hashable) -> Hashable:
        """The state, `FORGOTTEN` when nothing can see it, `IMPOSSIBLE` when it has no future."""
        needs = self.needs
        place = self.met[-1]
        while place < len(needs) and needs[place].bit & mask:
            place += 1
        self.place = place
        if place == len(needs):
            return state
        need = needs[place]
        can_grow = self.model.can_grow
        if can_grow(state, need.state):
            return state
        if not need.helpful & ~mask:
            return IMPOSSIBLE
        for bit, rival in need.rivals:
            if not bit & mask and can_grow(state, rival):
                return state
        return FORGOTTEN

    def run(self, configurations_max: int) -> bool:
        """Search until an order explains every answer (True) or every way is blocked (False)."""
        masks = [0]
        if self._look_ahead(0, self.states[0]) is IMPOSSIBLE:
            return False
        ways = [self._ways(0)]
        while self.unreturned:
            way = next(ways[-1], None)
            if way is None:
                ways.pop()
                masks.pop()
                self.met.pop()
                if not ways:
                    return False
                self._put_back(self.order.pop())
                self.states.pop()
                continue
            index, state = way
            mask = masks[-1] | 1 << index
            if self._is_missed(mask, self.states[-1], state):
                continue
            state = self._look_ahead(mask, state)
            if state is IMPOSSIBLE or (mask, state) in self.entered:
                continue
            assert self.place >= self.met[-1]
            if len(self.entered) >= configurations_max:
                raise UndecidedError(f"undecided after {configurations_max} configurations")
            self.entered.add((mask, state))
            self._lift(index)
            self.order.append(index)
            self.states.append(state)
            masks.append(mask)
            self.met.append(self.place)
            ways.append(self._ways(mask))
        return True

    def _ways(self, mask: int) -> Iterator[tuple[int, Hashable]]:
        """The operations that may come next, with the state after each; first to return first.

        Of several that do the same only the first to return comes: an order with another one
        here stays good when the two change places.
        """
        state = self.states[-1]
        step = self.model.step
        operations = self.operations
        is_refusing = self.refused_by.get(state, 0) & ~mask
        ways: dict[Hashable, tuple[int, int, Hashable]] = {}
        number = self.next[0]
        while number != self.end and (index := self.event[number]) >= 0:
            number = self.next[number]
            operation = operations[index]
            after = step(state, operation.request, operation.response)
            if after is IMPOSSIBLE:
                continue
            if self.is_reading[index]:
                return iter([(index, after)])
            after = self._as_seen(after)
            returned = self.return_of[index] or self.end
            if operation.is_pending and (
                after == state or (after is FORGOTTEN and not is_refusing)
            ):
                continue
            effect = self.effects[index]
            if effect not in ways or returned < ways[effect][0]:
                ways[effect] = (returned, index, after)
        ordered = sorted(ways.values(), key=lambda way: way[:2])
        return iter([(index, after) for _, index, after in ordered])

    def _lift(self, index: int) -> None:
        """Take an operation's events out of the list."""
        for number in (self.call_of[index], self.return_of[index]):
            if number:
                before, after = self.previous[number], self.next[number]
                self.next[before], self.previous[after] = after, before
        self.unreturned -= not self.operations[index].is_pending

    def _put_back(self, index: int) -> None:
        """Undo the last `_lift`."""
        for number in (self.return_of[index], self.call_of[index]):
            if number:
                self.next[self.previous[number]] = number
                self.previous[self.next[number]] = number
        self.unreturned += not self.operations[index].is_pending

    def states_along(self, order: Iterable[int]) -> tuple[Hashable, ...]:
        """The state after each operation of an order."""
        state = self.model.initial
        states = []
        for index in order:
            operation = self.operations[index]
            state = self.model.step(state, operation.request, operation.response)
            assert state is not IMPOSSIBLE
            states.append(state)
        return tuple(states)
