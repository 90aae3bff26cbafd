"""Duels: the closed forms hold, the chosen schedule never ends, mistakes are refused by name."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from consensus_lab import experiments
from consensus_lab.experiments import duelling
from consensus_lab.experiments.duelling import Parameters
from consensus_lab.experiments.duels import (
    LIVELOCK,
    duel,
    expected_attempts,
    is_decided,
    livelock,
    round_succeeds,
    round_success_probability,
)
from consensus_lab.experiments.intervals import proportion_interval
from consensus_lab.node import ParameterError
from consensus_lab.paxos.proposer import BackOff
from consensus_lab.sim.schedule import Schedule

MILLISECOND_NS = 1_000_000


def reference_rounds() -> list[dict[str, float]]:
    """Two proposers with uniform back-off: d/B, chance that a round succeeds, mean rounds."""
    reference = os.environ.get("CONSENSUS_LAB_REFERENCE")
    path = Path(reference or "nowhere") / "theory" / "paxos_dueling_proposers.csv"
    if not path.is_file():
        pytest.skip(
            "set CONSENSUS_LAB_REFERENCE to the folder with theory/paxos_dueling_proposers.csv"
        )
    columns = ("d_over_B", "p_round_succeeds", "expected_rounds")
    with path.open(encoding="utf-8") as lines:
        return [{name: float(row[name]) for name in columns} for row in csv.DictReader(lines)]


@pytest.mark.slow
def test_rounds_of_real_processes_succeed_as_often_as_the_reference_says():
    """The exclusive time d is not given to the processes: it comes out as two latencies."""
    for row in reference_rounds():
        ratio, chance = row["d_over_B"], row["p_round_succeeds"]
        assert round_success_probability(ratio / 2) == pytest.approx(chance)
        assert 1 / round_success_probability(ratio / 2) == pytest.approx(row["expected_rounds"])
        window_ns = round(2 * MILLISECOND_NS / ratio)
        won = sum(
            round_succeeds(seed, latency_ns=MILLISECOND_NS, window_ns=window_ns, n_acceptors=3)
            for seed in range(800)
        )
        # 99.99 %: the 95 % interval, doubled.
        share, low, high = proportion_interval(won, 800)
        assert share - 2 * (share - low) < chance < share + 2 * (high - share)


@pytest.mark.slow
@pytest.mark.parametrize("n_processes", [3, 4])
@pytest.mark.parametrize(("window", "growth"), [(1.25, 1), (2.0, 1), (1.0, 2), (2.0, 2)])
def test_a_duel_takes_as_many_attempts_as_the_closed_form_says(n_processes, window, growth):
    """Whatever the latency and the number of processes: only window over latency counts."""
    count, latency_ns = 600, 7 * MILLISECOND_NS
    back_off = BackOff(round(window * latency_ns), growth)
    attempts = [
        duel(
            seed, n_processes=n_processes, latency_ns=latency_ns, back_off=back_off,
            attempts_max=10_000,
        ).attempts
        for seed in range(count)
    ]  # fmt: skip
    mean = sum(attempts) / count
    spread = (sum((one - mean) ** 2 for one in attempts) / (count - 1)) ** 0.5
    expected = expected_attempts(1 / window, growth=growth)
    assert abs(mean - expected) < 4 * spread / count**0.5


@pytest.mark.parametrize("window", [0.0, 0.5, 0.99])
def test_no_uniform_wait_below_the_latency_ends_a_duel(window):
    back_off = BackOff(round(window * MILLISECOND_NS))
    for seed in range(3):
        fought = duel(
            seed, n_processes=3, latency_ns=MILLISECOND_NS, back_off=back_off, attempts_max=100
        )
        assert not fought.is_decided and fought.attempts == 100


def test_the_chosen_schedule_goes_on_for_ever_and_a_slight_change_ends_it():
    assert duelling.repeats(LIVELOCK)
    fair = Schedule.of("P1 A B C", "P1 P2 A B C P1 P2 A B C")
    assert not duelling.repeats(fair)
    run = livelock()
    assert run.run(fair, turns_max=1000, until=lambda: is_decided(run)) < 40


@pytest.fixture(scope="module")
def result():
    """A small run."""
    small = {"n_duels": 60, "turns_max": 200, "windows_ms": [0.0, 2.0], "round_ratios": [0.3]}
    return experiments.run("duelling", small)


@pytest.mark.slow
def test_the_experiment_reports_livelock_and_cure(result):
    values = {measure.quantity: measure.value for measure in result.measures}
    assert values["schedule_turns"] == 200 and values["schedule_decided"] == 0
    assert values["schedule_repeats"] == 1
    assert values["schedule_turns_distinguished"] < 10
    assert values["attempts_mean_distinguished"] == 1
    assert {known.quantity for known in result.references} <= set(values)
    frame = result.frame
    assert list(frame["model"]) == ["duel"] * 5 + ["rounds"]
    assert list(frame["decided_fraction"][:2]) == [0.0, 1.0]
    assert result.figure().axes
    assert duelling.livelock_figure().axes


@pytest.mark.slow
def test_the_same_seed_gives_the_same_frame(result):
    again = experiments.run("duelling", result.parameters)
    assert again.frame.equals(result.frame)
    other = experiments.run("duelling", result.parameters.replace(seed=2))
    assert not other.frame.equals(result.frame)


@pytest.mark.parametrize(
    ("values", "parameter"),
    [
        ({"cycle": "P1 P3 A"}, "schedule"),
        ({"prologue": "Z"}, "schedule"),
        ({"prologue": "", "cycle": ""}, "schedule"),
        ({"latency_ms": 0.0}, "latency_ms"),
        ({"n_processes": 1}, "n_processes"),
        ({"windows_ms": []}, "windows_ms"),
    ],
    ids=str,
)
def test_mistakes_are_refused_by_name(values, parameter):
    with pytest.raises(ParameterError) as refused:
        Parameters.of(values)
    assert refused.value.parameter == parameter
