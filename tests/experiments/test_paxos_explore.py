"""The exploration as an experiment: counts beside the published ones, every variant caught."""

from __future__ import annotations

import pytest

from consensus_lab import experiments
from consensus_lab.experiments import paxos_explore
from consensus_lab.experiments.paxos_explore import Parameters
from consensus_lab.node import ParameterError
from consensus_lab.paxos.broken import VARIANTS


@pytest.fixture(scope="module")
def result():
    """The default run."""
    return experiments.run("paxos-explore")


@pytest.mark.slow
def test_the_default_run_meets_the_published_counts_in_time(result):
    published = {known.quantity: known.value for known in result.references}
    assert published == {"distinct_states": 3921, "depth": 17}
    for quantity, value in published.items():
        assert result.measure(quantity).value == value
    assert result.measure("violations").value == 0
    assert result.measure("broken_variants_caught").value == len(VARIANTS) == 5
    assert result.notes[0] == "Correct Paxos: No violation in any reachable state."


@pytest.mark.slow
def test_every_variant_has_a_row_and_the_shown_one_a_diagram(result):
    frame = result.frame
    assert list(frame["system"]) == ["correct", *(variant.name for variant in VARIANTS)]
    assert list(frame["counterexample_steps"]) == [0, 8, 13, 12, 12, 12]
    assert list(frame["is_complete"]) == [True] + [False] * 5
    assert "own value after a report" in result.figure().axes[0].get_title(loc="left")


def test_the_smallest_model_is_compared_too_and_drawn_by_depth():
    sizes = {"n_acceptors": 1, "n_values": 1, "break_rules": False, "shown": "correct"}
    result = experiments.run("paxos-explore", sizes)
    assert {known.value for known in result.references} == {25, 9}
    assert result.measure("distinct_states").value == 25 and result.measure("depth").value == 9
    bars = result.figure().axes[0].patches
    assert len(bars) == 9 and sum(bar.get_height() for bar in bars) == 25


def test_reaching_a_limit_is_said():
    limited = experiments.run("paxos-explore", {"states_max": 100, "break_rules": False})
    assert "states_max reached" in limited.notes[0]
    assert not limited.frame["is_complete"][0]
    shallow = experiments.run("paxos-explore", {"depth_max": 3, "break_rules": False})
    assert "depth_max reached" in shallow.notes[0]


def test_other_quorums_and_sizes_claim_no_published_counts():
    flexible = {"phase1_quorum": 3, "phase2_quorum": 1, "break_rules": False}
    result = experiments.run("paxos-explore", flexible)
    assert result.references == [] and result.measure("violations").value == 0
    four = experiments.run(
        "paxos-explore", {"n_acceptors": 4, "n_ballots": 1, "break_rules": False}
    )
    assert "4 acceptors tolerate 1 failure, no more than 3 would." in four.notes


@pytest.mark.parametrize(
    ("values", "parameter"),
    [
        ({"phase1_quorum": 1}, "phase2"),
        ({"phase1_quorum": 9}, "phase1"),
        ({"n_acceptors": 0}, "n_acceptors"),
        ({"shown": "nothing"}, "shown"),
        ({"states_max": 0}, "states_max"),
    ],
    ids=str,
)
def test_mistakes_are_refused_by_name(values, parameter):
    with pytest.raises(ParameterError) as refused:
        Parameters.of(values)
    assert refused.value.parameter == parameter


def test_variants_are_found_by_name():
    assert paxos_explore.variant_named(VARIANTS[0].name) is VARIANTS[0]
    with pytest.raises(ParameterError, match="shown"):
        paxos_explore.variant_named("no such")
