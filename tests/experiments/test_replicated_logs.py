"""Multi-Paxos and Raft on the same network: every number against its closed form."""

from __future__ import annotations

import pytest

from consensus_lab import experiments, theory
from consensus_lab.experiments import log_closed_forms as forms
from consensus_lab.experiments import log_measurements as logs
from consensus_lab.experiments.log_closed_forms import MULTI_PAXOS, RAFT, System
from consensus_lab.experiments.replicated_logs import Parameters, cases
from consensus_lab.node import ParameterError

BOTH = [System(RAFT, RAFT), System(MULTI_PAXOS, MULTI_PAXOS)]
FLEXIBLE = System("flexible", MULTI_PAXOS, 4, 2)
both = pytest.mark.parametrize("system", BOTH, ids=lambda system: system.name)


def within(row, stem, expected, *, widths=2.0):
    """True when a value lies within so many half-widths of the 95 % interval of its mean."""
    low, high = row[f"{stem}_low"], row[f"{stem}_high"]
    middle, half = (low + high) / 2, (high - low) / 2
    return abs(expected - middle) <= widths * half


@both
@pytest.mark.parametrize("n", [3, 4, 5])
def test_without_jitter_a_commit_takes_two_message_delays(system, n):
    parameters = Parameters.of({"jitter_ms": 0.0, "n_commands": 20})
    row = logs.commits(parameters, system, n)
    assert row["commit_ms_mean"] == row["commit_ms_low"] == 2 * parameters.latency_ms


@both
@pytest.mark.parametrize("faults", [1, 2, 3])
def test_messages_are_those_of_the_theory_and_raft_announces_besides(system, faults):
    """2 (n-1) messages commit a command (Ongaro 2014 chapter 3); etcd's Raft sends as many more."""
    expected = theory.raft_messages(faults)
    row = logs.commits(Parameters.of({"n_commands": 20}), system, expected.n_nodes)
    assert row["messages_to_commit"] == expected.messages
    announced = row["messages_per_command"] - row["messages_to_commit"]
    assert announced == (expected.messages if system.protocol == RAFT else 0)


@pytest.mark.slow
@pytest.mark.parametrize(("system", "n"), [(BOTH[0], 5), (BOTH[1], 5), (BOTH[1], 4), (FLEXIBLE, 5)])
def test_the_commit_latency_is_the_order_statistic(system, n):
    parameters = Parameters.of({"n_commands": 1500})
    row = logs.commits(parameters, system, n)
    expected = forms.commits_expected(parameters, system, n)["commit_ms_expected"]
    assert within(row, "commit_ms", expected)
    if system is not FLEXIBLE:
        law = forms.round_trip_law(parameters)
        assert expected == theory.commit_latency_mean(n, law=law)
        # One order further is told apart.
        other = forms.commits_expected(parameters, FLEXIBLE, n)["commit_ms_expected"]
        assert not within(row, "commit_ms", other, widths=4.0)


@pytest.mark.slow
@pytest.mark.parametrize(("system", "n"), [(BOTH[0], 5), (BOTH[1], 5), (FLEXIBLE, 5)])
def test_a_takeover_takes_the_first_timeout_and_two_rounds(system, n):
    parameters = Parameters.of({"n_trials": 60})
    row = logs.takeovers(parameters, system, n) | forms.takeovers_expected(parameters, system, n)
    for stem in ("takeover_ms", "first_commit_ms"):
        assert within(row, stem, row[f"{stem}_expected"])
    # A new Raft leader needs a round more before a client's command commits.
    rounds = 2 if system.protocol == RAFT else 1
    commit_ms = row["first_commit_ms_mean"] - row["takeover_ms_mean"]
    expected = row["first_commit_ms_expected"] - row["takeover_ms_expected"]
    assert commit_ms == pytest.approx(expected, rel=0.1)
    assert expected == pytest.approx(rounds * (20.0 if system is not FLEXIBLE else 16.5), rel=0.01)


@pytest.mark.slow
@both
def test_a_busy_leader_commits_as_fast_as_its_cpu_handles_the_messages(system):
    parameters = Parameters.of({"clients": 150})
    rates = {}
    for n in (3, 5):
        row = logs.throughput(parameters, system, n)
        expected = forms.throughput_expected(parameters, system, n)["tps_expected"]
        assert row["tps"] == pytest.approx(expected, rel=0.04)
        assert expected == pytest.approx(1e6 / forms.service_us(parameters, system, n), rel=0.05)
        rates[n] = row["tps"]
    assert rates[5] < 0.62 * rates[3]


@pytest.mark.slow
@both
def test_batching_lifts_the_rate_above_that_of_one_message_per_command(system):
    one = Parameters.of({"clients": 150})
    batched = logs.throughput(one.replace(in_flight=4), system, 3)["tps"]
    assert batched > 1.3 * forms.throughput_expected(one, system, 3)["tps_expected"]


@pytest.mark.parametrize("n", [3, 4, 5, 7])
@pytest.mark.parametrize("down", [0.0, 0.01, 0.3, 0.5, 1.0])
def test_with_majorities_availability_is_the_binomial_tail(n, down):
    parameters = Parameters.of({"down": down})
    expected = forms.availability_expected(parameters, BOTH[1], n)["available_expected"]
    known = theory.quorum_availability(n, down=down).available
    assert expected == pytest.approx(known, abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("system", [*BOTH, FLEXIBLE], ids=lambda system: system.name)
def test_puts_are_answered_as_often_as_quorums_are_up(system):
    parameters = Parameters.of({"n_draws": 150, "down": 0.4})
    row = logs.availability(parameters, system, 5)
    expected = forms.availability_expected(parameters, system, 5)["available_expected"]
    assert within(row, "available", expected)


@pytest.mark.slow
def test_the_experiment_has_a_closed_form_for_every_measure_and_draws_them():
    small = {
        "n_commands": 40,
        "n_trials": 10,
        "n_draws": 10,
        "clients": 20,
        "cluster_sizes": [3, 5],
    }
    result = experiments.run("replicated-logs", small)
    assert len(result.frame) == len(cases(result.parameters)) == 5
    assert [m.quantity for m in result.measures] == [r.quantity for r in result.references]
    assert len(result.beside) == len(result.measures)
    figure = result.figure()
    assert len(figure.axes) == 6
    again = experiments.run("replicated-logs", small)
    assert again.frame.equals(result.frame)


@pytest.mark.parametrize(
    ("values", "parameter"),
    [
        ({"phase1_quorum": 3, "phase2_quorum": 2}, "phase2"),
        ({"phase2_quorum": 1}, "phase2"),
        ({"phase1_quorum": 6}, "phase1"),
        ({"cluster_sizes": [2]}, "cluster_sizes"),
        ({"jitter_ms": 11.0}, "jitter_ms"),
        ({"election_ms": 200.0}, "election_ms"),
        ({"down": 1.5}, "down"),
    ],
    ids=str,
)
def test_mistakes_are_refused_by_name(values, parameter):
    with pytest.raises(ParameterError) as refused:
        Parameters.of(values)
    assert refused.value.parameter == parameter
