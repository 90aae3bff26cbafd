"""The prediction follows from what was measured; the experiment sets it beside a real cluster."""

from __future__ import annotations

import math

import pytest

from consensus_lab import experiments
from consensus_lab.experiments.live_etcd import OTHERS_SHARE_MAX, prediction
from consensus_lab.experiments.live_prediction import (
    ALL,
    ENDS,
    LEAST,
    Machine,
    costs_of,
    predicted_put_ms,
    recorded_runs,
    simulated_value_size_bytes_max,
)
from consensus_lab.live import etcd
from consensus_lab.node import ParameterError

MACHINE = Machine(
    put_alone_ms=0.55, put_alone_spread_ms=0.3, put_pair_ms=1.1, write_alone_ms=0.18,
    write_pair_ms=0.23, write_majority_ms=0.25, client_cpu_ms=0.3, alone_cpu_ms=0.4,
    leader_cpu_ms=0.6, follower_cpu_ms=0.4, one_processor_alone_cpu_ms=0.3,
    one_processor_leader_cpu_ms=0.4, one_processor_follower_cpu_ms=0.28,
)  # fmt: skip
FREE = MACHINE._replace(**{name: 0.0 for name in Machine._fields if name.endswith("cpu_ms")})
CORES = 2
every_end = pytest.mark.parametrize("end", ENDS)


@every_end
def test_the_puts_that_it_is_made_from_are_given_back(end: str) -> None:
    """One server and two take what was measured, also where too much processor time was counted."""
    alone = MACHINE._replace(write_majority_ms=MACHINE.write_alone_ms)
    assert math.isclose(predicted_put_ms(1, alone, end, CORES), 0.55, rel_tol=0.01)
    pair = MACHINE._replace(write_majority_ms=MACHINE.write_pair_ms)
    greedy = {name: 3 * getattr(MACHINE, name) for name in Machine._fields if "follower" in name}
    too_much = pair._replace(**greedy)
    for machine in (pair, too_much):
        assert math.isclose(predicted_put_ms(2, machine, end, CORES), 1.1, rel_tol=0.02)
    assert costs_of(pair, end, CORES).link_ms > 0 == costs_of(too_much, end, CORES).link_ms


@every_end
@pytest.mark.parametrize("n_servers", [2, 3, 5])
def test_without_processor_time_a_put_is_a_sum(n_servers: int, end: str) -> None:
    """Closed form: request, way there and back, write; only the write depends on the number."""
    expected = FREE.put_pair_ms - FREE.write_pair_ms + FREE.write_majority_ms
    assert math.isclose(predicted_put_ms(n_servers, FREE, end, CORES), expected, rel_tol=1e-4)


@every_end
def test_more_servers_and_slower_disks_take_longer_and_more_cores_do_not(end: str) -> None:
    times = [predicted_put_ms(n, MACHINE, end, CORES) for n in (2, 3, 5)]
    assert times == sorted(set(times))
    slow = [
        predicted_put_ms(3, MACHINE._replace(write_majority_ms=write_ms), end, CORES)
        for write_ms in (0.25, 1.0, 4.0)
    ]
    assert math.isclose(slow[2] - slow[1], 3.0, rel_tol=0.02) and slow[0] < slow[1]
    on_many = predicted_put_ms(5, MACHINE, end, 12)
    assert on_many < 0.9 * times[2]
    assert predicted_put_ms(5, MACHINE, LEAST, CORES) < predicted_put_ms(5, MACHINE, ALL, CORES)


@pytest.mark.slow
def test_all_recorded_clusters_took_what_is_predicted() -> None:
    """Data: `live_machines.csv`, `live_puts.csv`: twelve runs, and two that others disturbed.

    Between the ends themselves, without any sampling error; and the ends are close to each other.
    """
    runs = recorded_runs()
    quiet = [run for run in runs if run.others_share <= OTHERS_SHARE_MAX]
    assert (len(runs), [run.n_servers for run in quiet]) == (14, [3] * 6 + [5] * 6)
    for run in quiet:
        low_ms, high_ms = (run.predicted_ms(end) for end in ENDS)
        assert low_ms <= run.put_ms <= high_ms, run.n_servers
        assert high_ms / low_ms < {3: 1.2, 5: 1.4}[run.n_servers]
    disturbed = [run for run in runs if run not in quiet]
    assert all(run.put_ms > run.predicted_ms(ALL) for run in disturbed), "others took their time"


@pytest.mark.slow
def test_the_prediction_tells_three_servers_from_five() -> None:
    """What is predicted for one size does not fit the other."""
    for run in recorded_runs():
        if run.others_share <= OTHERS_SHARE_MAX:
            other = run._replace(n_servers=8 - run.n_servers)
            low_ms, high_ms = (other.predicted_ms(end) for end in ENDS)
            assert not low_ms <= run.put_ms <= high_ms


def test_the_limit_of_our_store_is_the_one_measured_on_etcd() -> None:
    """Data: `limits.csv`, a request number of ten bytes."""
    assert simulated_value_size_bytes_max() == 1_572_839
    assert simulated_value_size_bytes_max(request_number_bytes=9) == 1_572_840


@pytest.mark.slow
def test_the_experiment_measures_a_real_cluster_and_predicts_it() -> None:
    """Wide tolerance: the machine that runs this test may be busy with anything."""
    try:
        etcd.find_etcd()
        etcd.load_grpc()
    except ParameterError as error:
        pytest.skip(str(error))
    sizes = {"n_requests": 15, "rounds": 6, "n_failovers": 2, "clients": [2], "load_s": 0.4}
    result = experiments.run("live-etcd", sizes)
    live, found = result.measure("put_ms_p50"), prediction(result.measures)
    assert 0 < live.low <= live.value <= live.high and 0 < found.low_ms <= found.high_ms
    assert found.low_ms / 2 < live.value < found.high_ms * 2
    assert result.measure("others_share_of_cores").value <= 1
    assert 0.4 < result.measure("new_leader_ms_live_over_predicted").value < 4
    ours = result.measure("predicted_value_size_bytes_max")
    assert result.measure("value_size_bytes_max").value == ours.value
    count = (result.frame["quantity"] == "put_ms") & (result.frame["system"] == "live etcd")
    assert count.sum() == 6 * 15
    assert result.figure().axes


def test_without_a_program_the_extra_is_named(monkeypatch) -> None:
    monkeypatch.setattr(etcd.shutil, "which", lambda name: None)
    monkeypatch.setattr(etcd.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ParameterError, match=r"consensus-lab\[live\]"):
        experiments.run("live-etcd")
