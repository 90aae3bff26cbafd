"""The search: breadth first, every state once, limits said, shortest ways."""

from __future__ import annotations

import pytest

from consensus_lab.node import ParameterError
from consensus_lab.sim.explore import explore


class Grid:
    """Two counters that go up to `size` one step at a time; `bad` states are violations."""

    def __init__(self, size: int, *, bad: tuple = (), folded: bool = False) -> None:
        self.size = size
        self.bad = bad
        self.folded = folded
        self.bounds_reached: set[str] = set()
        self.expanded: list[tuple[int, int]] = []

    def initial(self):
        return (0, 0)

    def successors(self, state):
        self.expanded.append(state)
        x, y = state
        if x < self.size:
            yield "right", (x + 1, y)
        if y < self.size:
            yield "up", (x, y + 1)

    def violation(self, state):
        return f"at {state}" if state in self.bad else None

    def key(self, state):
        return tuple(sorted(state)) if self.folded else state

    def records(self, path):
        return [("told", action) for action in path]


def test_every_state_is_found_once():
    """A grid of 7 by 7 has 49 points, 2 * 6 * 7 edges, and 13 points on the way across."""
    grid = Grid(6)
    result = explore(grid)
    assert (result.states, result.transitions, result.depth) == (49, 84, 13)
    assert result.levels == (1, 2, 3, 4, 5, 6, 7, 6, 5, 4, 3, 2, 1)
    assert result.is_complete and result.verdict == "No violation in any reachable state."
    assert len(grid.expanded) == len(set(grid.expanded)) == 49
    sums = [x + y for x, y in grid.expanded]
    assert sums == sorted(sums)


def test_states_with_the_same_key_count_as_one():
    assert explore(Grid(6, folded=True)).states == 7 * 8 // 2


def test_the_counterexample_is_a_shortest_one():
    result = explore(Grid(50, bad=((3, 1), (9, 9))))
    assert result.violation is not None
    assert sorted(result.violation.path) == ["right", "right", "right", "up"]
    assert result.violation.records == [("told", action) for action in result.violation.path]
    assert result.violation.text == "at (3, 1)"
    assert result.verdict == "Violated after 4 steps: at (3, 1)."
    assert not result.is_complete and result.depth == 5


def test_a_bad_start_is_found():
    result = explore(Grid(5, bad=((0, 0),)))
    assert result.violation is not None and result.violation.path == []


@pytest.mark.parametrize("limit", [1, 2, 10, 48])
def test_reaching_the_limit_of_states_is_said(limit):
    result = explore(Grid(6), states_max=limit)
    assert result.states == limit
    assert result.limits == ("states_max",) and not result.is_complete
    assert "not complete: states_max reached" in result.verdict


def test_a_limit_that_is_just_enough_is_not_reached():
    assert explore(Grid(6), states_max=49, depth_max=13).is_complete


def test_reaching_the_limit_of_depth_is_said():
    result = explore(Grid(6), depth_max=4)
    assert (result.states, result.depth) == (1 + 2 + 3 + 4, 4)
    assert result.limits == ("depth_max",)


def test_a_bound_of_the_model_is_said():
    grid = Grid(2)
    grid.bounds_reached.add("in_flight_max")
    assert explore(grid).limits == ("in_flight_max",)


def test_progress_is_told_level_by_level():
    seen = []
    explore(Grid(2), progress=lambda states, depth: seen.append((states, depth)))
    assert seen == [(1, 1), (3, 2), (6, 3), (8, 4), (9, 5)]


@pytest.mark.parametrize("limits", [{"states_max": 0}, {"depth_max": 0}], ids=str)
def test_wrong_limits_are_refused_by_name(limits):
    with pytest.raises(ParameterError, match=next(iter(limits))):
        explore(Grid(1), **limits)
