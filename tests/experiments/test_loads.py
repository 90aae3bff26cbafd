"""Load: explicit costs, a fit to etcd's table and its predictions, rates by number of servers."""

from __future__ import annotations

import pytest

from consensus_lab.experiments import costed_logs as logs
from consensus_lab.experiments import participants, saturation
from consensus_lab.experiments.clusters import PROTOCOLS
from consensus_lab.node import ParameterError

FREE = {
    "is_calibrated": False, "cpu_us": 0.01, "kilobyte_us": 0.0, "fsync_ms": 0.0,
    "network_ms": 1.0, "disk_bytes_per_s": 10**12, "bandwidth_bytes_per_s": 10**12,
}  # fmt: skip
ROUGH_MS = 0.01
every_log = pytest.mark.parametrize("protocol", PROTOCOLS)


def costs(**changes) -> logs.CostParameters:
    return logs.CostParameters.of({**FREE, **changes})


@every_log
def test_one_clients_put_takes_four_delays_and_one_write(protocol):
    """To the leader, to a follower, back, back; leader and follower write at the same time."""
    for fsync_ms in (0.0, 3.0):
        load = logs.load_of(costs(fsync_ms=fsync_ms), protocol, 3, seed=1)
        assert load.closed(1).mean_ms == pytest.approx(4.0 + fsync_ms, abs=ROUGH_MS)


@every_log
@pytest.mark.parametrize(("change", "limit"), [
    ({"cpu_us": 100.0, "in_flight": 1 << 16, "network_ms": 0.1}, "cpu"),
    ({"bandwidth_bytes_per_s": 1_000_000, "value_size_bytes": 10_000}, "line"),
])  # fmt: skip
def test_each_cost_limits_the_rate_by_its_own_law(protocol, change, limit):
    """A leader's CPU handles every message by itself; its line carries a copy per follower."""
    chosen = costs(**change)
    rate = logs.load_of(chosen, protocol, 4, seed=1).closed(40).per_s
    if limit == "cpu":
        expected = participants.closed_form_tps(chosen, protocol, 4)
    else:
        expected = chosen.bandwidth_bytes_per_s / (3 * chosen.value_size_bytes)
    assert rate == pytest.approx(expected, rel=0.06)


@every_log
def test_batches_make_a_slow_disk_cost_latency_not_rate(protocol):
    """Group commit: one write for all that waits, so many clients share it."""
    slow = costs(fsync_ms=10.0, network_ms=0.1)
    one, many = (logs.load_of(slow, protocol, 3, seed=1).closed(n) for n in (1, 100))
    assert one.per_s < 1000 / 10
    assert many.per_s > 30 * one.per_s
    assert many.mean_ms > one.mean_ms


@every_log
def test_below_the_capacity_all_that_is_offered_is_completed(protocol):
    busy = costs(cpu_us=20.0, network_ms=0.1)
    below, beyond = (
        logs.load_of(busy, protocol, 3, seed=3).open(rate, 0.1, seed=3)
        for rate in (10_000.0, 90_000.0)
    )
    assert below.per_s == pytest.approx(10_000, rel=0.12)
    assert beyond.per_s < 1e6 / busy.cpu_us
    assert beyond.mean_ms > 10 * below.mean_ms


@pytest.mark.slow
def test_the_fit_reaches_its_three_rows_and_predicts_the_others_within_a_third():
    """Each prediction is wrong by what is written here, and no fitted row is."""
    fitted = logs.calibrated(logs.CostParameters.of({}))
    rows = saturation.benchmark_rows(fitted)
    assert sum(row["is_fitted"] for row in rows) == len(logs.FITTED) == 3
    for row in rows:
        assert abs(row["error"]) < (0.02 if row["is_fitted"] else 0.35), row
        if row["operation"] == "write":
            assert row["simulated_latency_ms"] == pytest.approx(row["etcd_latency_ms"], rel=0.15)
        if row["clients"] == 1 and row["consistency"] == "linearizable":
            assert abs(row["error_at_leader"]) < 0.02, "the one connection was at the leader"
    other = logs.as_benchmarked(
        fitted.replace(cpu_us=3 * fitted.cpu_us), logs.benchmark(*logs.CPU_ROW), seed=1
    )
    assert other.per_s < 20_000, "with other costs the table would not come out"


@pytest.mark.slow
def test_the_experiments_run_small_and_say_what_was_fitted():
    small = {"is_calibrated": False, "offered_per_s": [2000.0, 90_000.0], "watched_s": 0.05,
             "replicates": 2}  # fmt: skip
    result = saturation.run(saturation.Parameters.of(small))
    offered = saturation.part(result, "offered")
    assert not saturation.part(result, "benchmark")["is_fitted"].any()
    assert list(offered["protocol"]) == ["raft", "raft", "multi-paxos", "multi-paxos"]
    assert (offered["completed_per_s_low"] <= offered["completed_per_s"]).all()
    assert len(saturation.part(result, "benchmark")) == 7
    left, middle, right = result.figure().axes
    assert [axes.get_xlabel() for axes in (left, middle)] == ["offered (writes/s)"] * 2
    assert len(right.get_yticklabels()) == 7
    assert {measure.how for measure in result.measures} == {"given", "simulated", "predicted"}


@pytest.mark.slow
def test_a_leaders_rate_falls_with_its_servers_and_a_chains_does_not():
    chosen = participants.Parameters.of({
        "is_calibrated": False, "fsync_ms": 0.0, "cluster_sizes": [3, 9], "clients": 60,
        "network_sizes": [3, 60],
        "block_intervals_s": [600.0, 2.0], "n_blocks": 150,
    })  # fmt: skip
    result = participants.run(chosen)
    frame = result.frame
    left, _ = result.figure().axes
    assert left.get_xlim()[1] > 13_870, "the leader's law is drawn to Bitcoin's size"
    alone = frame[frame["system"].str.endswith("message")]
    assert (alone["tps"] / alone["closed_form_tps"]).between(0.93, 1.07).all()
    for name, part in alone.groupby("system"):
        first, last = part["tps"]
        assert first / last == pytest.approx(4.0, rel=0.2), name
    batched = frame[frame["system"].str.endswith("batched")]
    assert batched["busiest_sends"].max() < 1 < alone["busiest_sends"].min()
    chain = frame[frame["system"].str.endswith("600 s")]["tps"]
    assert chain.iloc[0] == pytest.approx(chain.iloc[1], rel=0.02)
    hasty = frame[frame["system"].str.endswith("each 2 s")]["stale_fraction"]
    assert hasty.iloc[0] < hasty.iloc[1]


@pytest.mark.parametrize(
    ("module", "values", "name"),
    [
        (saturation, {"offered_per_s": [100.0], "watched_s": 0.1}, "watched_s"),
        (saturation, {"in_flight": 0}, "in_flight"),
        (saturation, {"protocols": ["zab"]}, "protocols"),
        (participants, {"network_sizes": [2]}, "network_sizes"),
        (participants, {"network_year": 2014}, "network_year"),
    ],
)
def test_impossible_settings_are_refused_by_name(module, values, name):
    with pytest.raises(ParameterError, match=name):
        module.Parameters.of(values)
