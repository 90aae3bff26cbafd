"""Quorums intersect, or are refused by name; what they tolerate is said."""

from __future__ import annotations

import csv
import os
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus_lab.node import ParameterError
from consensus_lab.paxos.quorum import Family, Quorums, majority


@pytest.mark.parametrize(
    ("settings", "parameter"),
    [
        ({"acceptors": ()}, "acceptors"),
        ({"acceptors": (1, 2, 2)}, "acceptors"),
        ({"acceptors": (1, 2, 3), "phase1": 0}, "phase1"),
        ({"acceptors": (1, 2, 3), "phase2": 4}, "phase2"),
        ({"acceptors": (1, 2, 3, 4), "phase1": 2, "phase2": 2}, "phase2"),
        ({"acceptors": (1, 2, 3, 4), "phase1": [{1, 2}], "phase2": [{3, 4}]}, "phase2"),
        ({"acceptors": (1, 2, 3), "phase1": [{1, 2}], "phase2": 1}, "phase2"),
        ({"acceptors": (1, 2, 3), "phase1": 1, "phase2": [{1, 2}]}, "phase2"),
        ({"acceptors": (1, 2, 3), "phase1": [{1, 7}]}, "phase1"),
        ({"acceptors": (1, 2, 3), "phase1": [set()]}, "phase1"),
        ({"acceptors": (1, 2, 3), "phase1": []}, "phase1"),
    ],
    ids=str,
)
def test_a_wrong_choice_is_refused_by_name(settings, parameter):
    with pytest.raises(ParameterError) as refused:
        Quorums(**settings)
    assert refused.value.parameter == parameter
    assert refused.value.allowed


@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 7))
def test_exactly_the_sizes_that_intersect_are_allowed(count, phase1, phase2):
    acceptors = tuple(range(count))
    if max(phase1, phase2) > count:
        return
    intersect = all(
        set(one) & set(other)
        for one in combinations(acceptors, phase1)
        for other in combinations(acceptors, phase2)
    )
    try:
        Quorums(acceptors, phase1=phase1, phase2=phase2)
        is_allowed = True
    except ParameterError:
        is_allowed = False
    assert is_allowed == intersect


@given(
    st.lists(st.sets(st.integers(0, 4), min_size=1), min_size=1, max_size=4),
    st.lists(st.sets(st.integers(0, 4), min_size=1), min_size=1, max_size=4),
)
def test_exactly_the_sets_that_intersect_are_allowed(phase1, phase2):
    intersect = all(one & other for one in phase1 for other in phase2)
    try:
        Quorums(range(5), phase1=phase1, phase2=phase2)
        is_allowed = True
    except ParameterError:
        is_allowed = False
    assert is_allowed == intersect


@given(st.integers(1, 6), st.data())
def test_failures_tolerated_is_what_trying_every_failure_gives(count, data):
    acceptors = tuple(range(count))
    phase1 = data.draw(st.integers(1, count))
    phase2 = data.draw(st.integers(count - phase1 + 1, count))
    quorums = Quorums(acceptors, phase1=phase1, phase2=phase2)

    def survives(down):
        up = [a for a in acceptors if a not in down]
        return quorums.phase1.is_quorum(up) and quorums.phase2.is_quorum(up)

    worst = max(
        failures
        for failures in range(count + 1)
        if all(survives(down) for down in combinations(acceptors, failures))
    )
    assert quorums.failures_tolerated == worst


def test_an_even_number_of_acceptors_is_legal_and_said_to_be_of_no_use():
    quorums = Quorums((1, 2, 3, 4))
    assert quorums.failures_tolerated == Quorums((1, 2, 3)).failures_tolerated == 1
    assert quorums.remark == "4 acceptors tolerate 1 failure, no more than 3 would."
    assert Quorums((1, 2, 3)).remark == "3 acceptors tolerate 1 failure."
    assert Quorums((1, 2)).remark == "2 acceptors tolerate 0 failures, no more than 1 would."


def test_a_grid_takes_rows_for_one_phase_and_columns_for_the_other():
    rows, columns = [{1, 2}, {3, 4}], [{1, 3}, {2, 4}]
    grid = Quorums((1, 2, 3, 4), phase1=rows, phase2=columns)
    assert grid.phase1.is_quorum([1, 2]) and not grid.phase1.is_quorum([1, 3])
    assert grid.phase2.is_quorum([1, 3, 4]) and not grid.phase2.is_quorum([1, 2])
    assert grid.failures_tolerated == 1
    assert grid.phase1.smallest() == 2


def test_minimal_quorums_leave_out_supersets():
    family = Family(sets=(frozenset({1, 2}), frozenset({1, 2, 3}), frozenset({3})))
    assert family.minimal((1, 2, 3)) == (frozenset({1, 2}), frozenset({3}))
    assert len(Family(size=2).minimal((1, 2, 3))) == 3


def test_majorities_are_the_published_ones():
    """Cluster sizes and tolerated failures as etcd publishes them."""
    reference = os.environ.get("CONSENSUS_LAB_REFERENCE")
    path = Path(reference or "nowhere") / "raft" / "quorum_sizes.csv"
    if not path.is_file():
        pytest.skip("set CONSENSUS_LAB_REFERENCE to the folder with raft/quorum_sizes.csv")
    with path.open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    assert rows
    for row in rows:
        size = int(row["cluster_size"])
        assert majority(size) == int(row["majority"])
        assert Quorums(range(size)).failures_tolerated == int(row["failure_tolerance"])
