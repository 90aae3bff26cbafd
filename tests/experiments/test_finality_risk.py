"""Finality: waits at a log, also through a leader's death, and the risk of reversal over time."""

from __future__ import annotations

import pytest

from consensus_lab import data, theory
from consensus_lab.experiments import commit_and_apply, risk_over_time
from consensus_lab.experiments.clusters import PROTOCOLS, ClusterParameters, links_of
from consensus_lab.experiments.log_waits import WINDOW_NS, crash_waits, put_waits
from consensus_lab.node import ParameterError
from consensus_lab.report import finality

BYTES_MS = 0.002
BARE = {"disk": "instant", "cpu_us": 0.0}
SMALL = {
    "n_nodes": 60, "replicates": 2, "n_blocks": 4, "n_requests": 60, "n_crashes": 6,
    "n_attacks": 4000, "confirmations": [1, 2, 6], "chosen_risks": [0.001],
    "attacker_shares": [0.1, 0.3],
}  # fmt: skip
every_log = pytest.mark.parametrize("protocol", PROTOCOLS)


@pytest.fixture(scope="module")
def small() -> risk_over_time.Result:
    return risk_over_time.run(risk_over_time.Parameters.of(SMALL))


@every_log
@pytest.mark.parametrize("n", [3, 4, 5])
def test_an_answer_takes_two_message_delays_and_raft_applies_after_a_third(protocol, n):
    """Nothing but messages takes time; their bytes take half a microsecond on these lines."""
    parameters = ClusterParameters.of({**BARE, "protocol": protocol, "n_servers": n})
    delay_ms = links_of(parameters).link(1, 2).latency_ns / 1e6
    waits = put_waits(parameters, 10)
    assert waits.answer_ms == pytest.approx([2 * delay_ms] * 10, abs=BYTES_MS)
    last = sorted(waits.all_applied_ms)
    if protocol == "raft":
        assert last == pytest.approx([3 * delay_ms] * 10, abs=BYTES_MS)
    else:  # With a later heartbeat: each one within the interval, and never before Raft.
        assert 2 * delay_ms < last[0] and last[-1] < 100 + 3 * delay_ms + BYTES_MS
        assert last[-1] - last[0] > 20


@every_log
def test_over_three_regions_the_nearest_majority_answers_and_the_farthest_applies_last(protocol):
    parameters = ClusterParameters.of(
        {**BARE, "protocol": protocol, "server_geography": "three_regions"}
    )
    waits = put_waits(parameters, 4)
    needed = commit_and_apply.two_delays_ms(parameters, waits.leader)
    links = links_of(parameters)
    far = max(links.link(waits.leader, i).latency_ns for i in (1, 2, 3) if i != waits.leader) / 1e6
    assert waits.answer_ms == pytest.approx([needed] * 4, abs=BYTES_MS)
    assert min(waits.all_applied_ms) >= needed + far


@pytest.mark.slow
@every_log
def test_every_request_is_answered_though_its_leader_dies(protocol):
    """Those under way wait for an election; late ones at a living leader do not."""
    parameters = ClusterParameters.of({"protocol": protocol, "seed": 5})
    trials = crash_waits(parameters, 12, client_timeout_ms=100.0)
    for trial in trials:
        assert 800 < trial.stands_still_ms < 4000
        assert trial.under_way_ms < 1 or trial.under_way_ms >= trial.stands_still_ms
    late = [wait for trial in trials for wait in trial.late_ms]
    assert sum(wait < 5 for wait in late) > len(late) / 3
    # Handed in at a random moment of the window: it falls into the outage with that chance.
    outage = sum(trial.stands_still_ms for trial in trials) / len(trials)
    share = sum(wait > 120 for wait in late) / len(late)
    assert share == pytest.approx(outage / (WINDOW_NS / 1e6), abs=0.12)


@pytest.mark.slow
def test_the_first_put_after_a_crash_comes_as_on_real_etcd():
    """Mean of 102 failovers of etcd 3.4; a tenth of them needed a second round without pre-vote."""
    trials = crash_waits(ClusterParameters.of({}), 40, client_timeout_ms=20.0)
    ours = sum(trial.stands_still_ms for trial in trials) / len(trials)
    real = commit_and_apply.first_put_ms(3)
    once = [wait for wait in real if wait < 2000]
    assert len(real) > 100
    assert ours == pytest.approx(sum(once) / len(once), rel=0.12)


@pytest.mark.slow
def test_the_simulated_attacks_cover_the_closed_form_with_delay(small):
    beside = small.beside[small.beside["source"] == "closed form, with delay"]
    covered = (beside["low"] <= beside["published"]) & (beside["published"] <= beside["high"])
    assert len(beside) == 6
    assert covered.sum() >= 5
    rows = risk_over_time.part(small, "confirmations")
    assert (rows["risk_with_delay"] >= rows["risk_exact"]).all()
    assert (rows["bound_lower"] >= rows["risk_exact"]).all(), "the bounds allow mining in advance"
    assert (rows["bound_upper"] > rows["bound_lower"]).all()


@pytest.mark.slow
def test_the_printed_confirmations_come_out(small):
    """Section 11 of the whitepaper: 5 and 24; exactly it takes 6 and 32."""
    rows = risk_over_time.part(small, "enough").set_index("attacker_share")
    for row in data.rows("bitcoin/published/reversal_risk.csv"):
        if row["quantity"] == "confirmations" and float(row["attacker_share"]) in rows.index:
            share = float(row["attacker_share"])
            assert rows.loc[share, "confirmations_whitepaper"] == float(row["printed"])
    assert list(rows["confirmations_exact"]) == [6, 32]
    assert list(rows["minutes_mean"]) == pytest.approx([60 / 0.9, 320 / 0.7])
    assert (rows["minutes_by_the_clock"] > rows["minutes_mean"]).all()


@pytest.mark.slow
def test_every_curve_falls_and_a_log_ends_at_nothing(small):
    for name, curve in risk_over_time.part(small, "curve").groupby("system"):
        assert curve["risk"].is_monotonic_decreasing, name
        assert curve["risk"].iloc[0] == pytest.approx(1.0, abs=0.002)
        if not str(name).startswith("nakamoto"):
            assert curve["risk"].iloc[-1] == 0.0


@pytest.mark.slow
def test_the_figures_say_what_was_found(small):
    """One axis of time for both logs and each attacker; six confirmations are marked."""
    (axes,) = small.figure().axes
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == ["raft", "multi-paxos", "nakamoto, attacker 10 %", "nakamoto, attacker 30 %"]
    six = risk_over_time.part(small, "confirmations").query("confirmations == 6")
    marks = {line.get_ydata()[0] for line in axes.lines if len(line.get_xdata()) == 1}
    assert set(six["risk_with_delay"]) <= marks
    (depths,) = finality.confirmations_figure(small).axes
    ratio = (six["risk_exact"] / six["risk_whitepaper"]).max()
    assert f"{ratio:.1f} times too low at 6 confirmations" in depths.get_title(loc="left")


@pytest.mark.slow
def test_each_setting_has_a_line_and_crashes_too():
    few = {"n_requests": 20, "n_crashes": 2, "cluster_sizes": [3], "disks": ["instant"]}
    result = commit_and_apply.run(commit_and_apply.Parameters.of(few))
    (axes,) = result.figure().axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "3 servers, single region, instant disk",
        "3 servers, three regions, instant disk",
        "3 servers, single region, leader crashes",
    ]
    assert "(ms)" in axes.get_xlabel()


@pytest.mark.slow
def test_the_logs_step_is_as_high_as_leaders_die_often():
    """Between a millisecond and an election only requests of a dead leader are open."""
    heights = {}
    for often in (0.0, 1.0, 10.0):
        parameters = risk_over_time.Parameters.of({**SMALL, "leader_crashes_per_day": often})
        curve = risk_over_time.log_curve(parameters, "raft")
        heights[often] = curve[curve["seconds"] > 0.01]["risk"].max() if often else 0.0
        if often == 0.0:
            assert curve["seconds"].max() < 0.01
    assert heights[10.0] == pytest.approx(10 * heights[1.0])
    assert 0.1 * 4 / 86_400 < heights[1.0] < 4 / 86_400


@pytest.mark.slow
def test_beyond_the_limit_no_confirmations_help_and_near_it_too_many():
    """At a block per delay 38 % are tolerated; the depth for a share close below has no end."""
    often = {"block_interval_s": 10.0, "attacker_shares": [0.3, 0.38, 0.45]}
    rows = risk_over_time.enough_rows(risk_over_time.Parameters.of(often), 10.0)
    needed = {(row["attacker_share"], row["chosen_risk"]): row for row in rows}
    found = {key: row["confirmations_with_delay"] for key, row in needed.items()}
    assert found[0.45, 0.001] == float("inf")
    assert found[0.38, 0.000001] != found[0.38, 0.000001], "nan: more than can be looked at"
    assert found[0.3, 0.001] > needed[0.3, 0.001]["confirmations_exact"]


def test_the_chains_curve_is_the_risk_of_the_clock():
    parameters = risk_over_time.Parameters.of({"block_interval_s": 60.0})
    curve = risk_over_time.chain_curve(parameters, 0.2)
    row = curve.iloc[100]
    expected = theory.reversal_probability_at_time(0.2, time_intervals=row["seconds"] / 60.0)
    assert row["risk"] == expected
    assert curve["risk"].iloc[-1] <= risk_over_time.RISK_MIN


@pytest.mark.parametrize(
    ("module", "values", "name"),
    [
        (risk_over_time, {"attacker_shares": [0.1, 0.5]}, "attacker_shares"),
        (risk_over_time, {"chosen_risks": [0.0]}, "chosen_risks"),
        (risk_over_time, {"leader_crashes_per_day": -1}, "leader_crashes_per_day"),
        (commit_and_apply, {"geographies": ["moon"]}, "geographies"),
        (commit_and_apply, {"n_crashes": 1}, "n_crashes"),
    ],
)
def test_impossible_settings_are_refused_by_name(module, values, name):
    with pytest.raises(ParameterError, match=name):
        module.Parameters.of(values)
