"""The explorer's world: what may happen to any Nodes, counted against closed forms."""

from __future__ import annotations

from math import comb
from typing import Any, NamedTuple

import pytest

from consensus_lab.node import Apply, Effects, ParameterError, Persist, Send, SetTimer
from consensus_lab.sim.explore import explore
from consensus_lab.sim.world import World, agreement


class Word(NamedTuple):
    text: str


class Scripted:
    """Answers inputs with scripted effects, and remembers what it got in what order."""

    def __init__(self, node_id: int, disk: Any, script: dict[Any, Effects], *, keeps: bool) -> None:
        self.node_id = node_id
        self.restored = dict(disk)
        self.script = script
        self.keeps = keeps
        self.got: list[str] = []

    def _take(self, key: str) -> Effects:
        if self.keeps:
            self.got.append(key)
        return self.script.get((int(self.node_id), key), [])

    def start(self, now: int) -> Effects:
        return self.script.get((int(self.node_id), "start"), [])

    def receive(self, sender: int, message: Word, now: int) -> Effects:
        return self._take(message.text)

    def timer(self, name: str, now: int) -> Effects:
        return self._take(name)

    def submit(self, command: Any, now: int) -> Effects:
        return self._take(command)


def world(script: dict[Any, Effects], count: int = 2, *, keeps: bool = False, **settings) -> World:
    """Scripted nodes 1 to count."""

    def make(node_id: int, disk: Any) -> Scripted:
        return Scripted(node_id, disk, script, keeps=keeps)

    return World(make, range(1, count + 1), **settings)


def words(to: int, *texts: str) -> Effects:
    """One message per text."""
    return [Send(to, Word(text)) for text in texts]


@pytest.mark.parametrize("count", [1, 3, 6])
def test_messages_arrive_in_every_order(count):
    """Without memory of the order the states are the subsets of what has arrived."""
    script = {(1, "start"): words(2, *"abcdef"[:count])}
    result = explore(world(script))
    assert (result.states, result.depth) == (2**count, count + 1)
    assert result.transitions == count * 2 ** (count - 1)
    kept = explore(world(script, keeps=True))
    ordered = sum(comb(count, k) * _factorial(k) for k in range(count + 1))
    assert kept.states == ordered


def _factorial(n: int) -> int:
    return 1 if n == 0 else n * _factorial(n - 1)


def test_copies_of_one_message_are_alike():
    """Five equal messages: a state knows only how many are left."""
    script = {(1, "start"): words(2, "a", "a", "a", "a", "a")}
    result = explore(world(script))
    assert (result.states, result.transitions) == (6, 5)


def test_each_budget_is_kept():
    """One message, lost or doubled as often as the budgets allow: on the wire or not."""
    script = {(1, "start"): words(2, "a")}
    assert explore(world(script)).states == 2
    # (on the wire, losses left): lost or arrived, the wire is empty.
    assert explore(world(script, losses_max=1)).states == 3
    # On the wire with 0, 1, 2 duplicates left, and off the wire with each.
    assert explore(world(script, duplicates_max=2)).states == 6
    # A crash of either process, before or after the arrival.
    assert explore(world(script, crashes_max=1)).states == 4 + 1


def test_a_set_network_forgets_nothing():
    """A message may arrive any number of times; the receiver counts up to three."""

    class Counter(Scripted):
        def receive(self, sender, message, now):
            self.got = [*self.got, "a"][:3]
            return []

    script = {(1, "start"): words(2, "a")}
    counting = World(
        lambda node_id, disk: Counter(node_id, disk, script, keeps=False), [1, 2], network="set"
    )
    result = explore(counting)
    assert (result.states, result.depth) == (4, 4)


def test_timers_go_off_at_any_moment_while_set():
    """Two timers, one of which sets itself again: the budget bounds it."""
    script = {(1, "start"): [SetTimer("once", 1), SetTimer("again", 99)],
              (1, "again"): [SetTimer("again", 99)]}  # fmt: skip
    result = explore(world(script, 1, timers_max=3))
    # (once gone off or not) times (again gone off 0, 1, ...) with at most 3 in all.
    assert result.states == 4 + 3
    only = explore(world(script, 1, timers_max=3, may_expire=lambda node, name: name == "once"))
    assert only.states == 2


def test_a_command_is_submitted_once_at_any_moment():
    script = {(1, "start"): words(2, "a")}
    result = explore(world(script, submissions=[(1, "x"), (2, "y")]))
    assert result.states == 8


def test_a_crash_keeps_the_disk_and_nothing_else():
    script = {(1, "start"): words(1, "w"), (1, "w"): [Persist((("k", 1),)), SetTimer("t", 1)]}

    def restored(view):
        return "the disk is back" if view.nodes[1].restored == {"k": 1} else None

    result = explore(world(script, 1, crashes_max=1, timers_max=1, invariants=(restored,)))
    assert result.violation is not None
    assert [action.event for action in result.violation.path] == ["receive", "crash"]
    events = [record.event for record in result.violation.records]
    assert events == ["start", "send", "receive", "persist", "durable", "crash", "restart", "send"]


def test_a_crash_between_two_writes_keeps_the_first():
    """What stood before the second write has happened: the message is out, its twin is not."""
    script = {(1, "go"): [Persist((("a", 1),)), *words(2, "a"), Persist((("b", 1),)),
                          *words(2, "b")]}  # fmt: skip

    def half(view):
        said = {envelope.message.text for envelope in view.wire}
        return "half" if view.nodes[1].restored == {"a": 1} and said == {"a"} else None

    settings = {"submissions": [(1, "go")], "invariants": (half,)}
    result = explore(world(script, crashes_max=1, **settings))
    assert result.violation is not None
    assert [(a.event, a.cut) for a in result.violation.path] == [("submit", 1)]
    events = [record.event for record in result.violation.records]
    assert events == ["start", "start", "submit", "persist", "durable", "send", "crash", "restart"]
    assert explore(world(script, **settings)).is_complete


def test_a_process_hears_itself_at_once_or_at_any_moment():
    """A crash loses what a process has told itself."""
    script = {(1, "start"): words(1, "mine"), (1, "mine"): words(2, "theirs")}
    assert explore(world(script)).states == 3
    at_once = explore(world(script, own_messages_at_once=True))
    assert at_once.states == 2
    lost = world({(1, "go"): words(1, "mine")}, 1, submissions=[(1, "go")], crashes_max=1)
    state, wires = lost.initial(), []
    for event in ("submit", "crash"):
        action = next(action for action, _ in lost.successors(state) if action.event == event)
        state, _ = lost.take(state, action)
        wires.append(len(state.wire))
    assert wires == [1, 0]


def _all(model: World) -> list:
    """Every reachable state, by the simplest possible search."""
    found, todo = set(), [model.initial()]
    while todo:
        state = todo.pop()
        if state not in found:
            found.add(state)
            todo += [following for _, following in model.successors(state)]
    return list(found)


def test_a_node_that_holds_a_function_of_its_own_is_not_mixed_up_with_its_copies():
    """It cannot be pickled, and what it holds changes the node that it was made in."""

    class Own(Scripted):
        def __init__(self, node_id, disk, script, *, keeps):
            super().__init__(node_id, disk, script, keeps=keeps)
            self.note = lambda text: self.got.append(text)

        def receive(self, sender, message, now):
            self.note(message.text)
            return []

    script = {(1, "start"): words(2, *"abc")}
    own = World(lambda i, d: Own(i, d, script, keeps=False), [1, 2])
    assert explore(own).states == explore(world(script, keeps=True)).states == 1 + 3 + 6 + 6


def test_agreement_and_assertions_are_watched():
    script = {(1, "a"): [Apply(0, "x")], (2, "b"): [Apply(0, "y")], (1, "start"): words(1, "a"),
              (2, "start"): words(2, "b")}  # fmt: skip
    result = explore(world(script))
    assert result.violation is not None
    assert result.violation.text == "index 0 has both 'x' and 'y'"

    class Failing(Scripted):
        def receive(self, sender, message, now):
            raise AssertionError("this cannot be")

    failing = World(lambda i, d: Failing(i, d, script, keeps=False), [1, 2])
    result = explore(failing)
    assert result.violation is not None
    assert result.violation.text == "process 1 fails an assertion: this cannot be"
    assert result.violation.records[-1].kind == "failed-assertion"


def test_too_many_under_way_is_left_out_and_said():
    script = {(1, "start"): words(2, "a"), (2, "a"): words(1, "b", "c", "d")}
    assert explore(world(script)).states == 9
    result = explore(world(script, in_flight_max=2))
    assert (result.states, result.limits) == (1, ("in_flight_max",))


def test_symmetry_counts_classes_and_the_classes_add_up():
    """Three alike receivers: what matters is how many have heard what."""
    script = {(1, "start"): [Send(to, Word(text)) for to in (2, 3, 4) for text in "ab"]}
    whole = world(script, 4)
    folded = world(script, 4, symmetric=[(2, 3, 4)])
    assert explore(whole).states == 4**3
    result = explore(folded)
    # Multisets of three of the four subsets of {a, b}.
    assert result.states == comb(4 + 3 - 1, 3)
    assert folded.symmetry is not None
    classes = {folded.key(state): state for state in _all(world(script, 4, symmetric=[(2, 3, 4)]))}
    assert len(classes) == result.states


@pytest.mark.parametrize(
    ("settings", "parameter"),
    [
        ({"network": "smoke signals"}, "network"),
        ({"submissions": [(9, "x")]}, "submissions"),
        ({"crashes_max": -1}, "crashes_max"),
        ({"timers_max": -1}, "timers_max"),
        ({"symmetric": [(1, 9)]}, "symmetric"),
        ({"symmetric": [(1, 2), (2,)]}, "symmetric"),
    ],
    ids=str,
)
def test_wrong_settings_are_refused_by_name(settings, parameter):
    with pytest.raises(ParameterError) as refused:
        world({}, **settings)
    assert refused.value.parameter == parameter


def test_duplicate_ids_and_no_processes_are_refused():
    for ids in ([], [1, 1]):
        with pytest.raises(ParameterError, match="node_ids"):
            World(lambda i, d: Scripted(i, d, {}, keeps=False), ids)


def test_the_default_invariant_is_agreement():
    assert world({}).invariants == (agreement,)
