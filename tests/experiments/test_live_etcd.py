"""The prediction follows from what was measured; the experiment sets it beside a real cluster."""

from __future__ import annotations

import math

import pytest

from consensus_lab import experiments
from consensus_lab.experiments.live_prediction import (
    Machine,
    simulated_puts_ms,
    simulated_value_size_bytes_max,
    typical,
)
from consensus_lab.live import etcd
from consensus_lab.node import ParameterError

MACHINE = Machine(
    fdatasync_ms=0.15, fdatasync_ms_p90=0.15, round_trip_ms=0.02, call_ms=0.3, put_alone_ms=0.5,
    read_ms=0.45, fdatasync_alone_ms=0.15,
)  # fmt: skip


def predicted_ms(n_servers: int, machine: Machine, share: float = 1.0) -> float:
    """The median of some simulated puts."""
    times = simulated_puts_ms(
        n_servers, machine, share, n_requests=20, value_size_bytes=256, seed=1
    )
    return sorted(times)[10]


def test_a_cluster_of_one_takes_as_long_as_was_measured() -> None:
    """The processor's part is what is left of that put, so the prediction has to give it back."""
    assert math.isclose(predicted_ms(1, MACHINE), MACHINE.put_alone_ms, rel_tol=0.01)


def test_each_measured_time_counts() -> None:
    """Three servers: one more round trip, and never less than with one server."""
    usual = predicted_ms(3, MACHINE)
    assert usual > predicted_ms(1, MACHINE)
    for slow in (MACHINE._replace(round_trip_ms=10.05), MACHINE._replace(read_ms=10.45)):
        assert math.isclose(predicted_ms(3, slow) - usual, 10.0, rel_tol=0.02)
    later = MACHINE._replace(call_ms=1.3, put_alone_ms=1.5, read_ms=1.45)
    assert math.isclose(predicted_ms(3, later) - usual, 1.0, rel_tol=0.01)
    assert predicted_ms(3, MACHINE, share=0.5) > usual


def test_a_busy_round_does_not_move_the_typical_machine() -> None:
    busy = Machine(*(100 * time for time in MACHINE))
    assert typical([MACHINE, busy, MACHINE]) == MACHINE
    assert MACHINE._replace(put_alone_ms=0.1).cpu_ms == 0.0
    assert MACHINE._replace(read_ms=0.1).servers_round_trip_ms == MACHINE.round_trip_ms


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
    sizes = {"n_requests": 40, "rounds": 3, "n_failovers": 2, "clients": [2], "load_s": 0.4}
    result = experiments.run("live-etcd", sizes)
    live, predicted = result.measure("put_ms_p50"), result.measure("predicted_put_ms_p50")
    assert 0 < live.low <= live.value <= live.high and 0 < predicted.low <= predicted.high
    assert 0.1 < result.measure("put_ms_p50_live_over_predicted").value < 10
    assert 0.4 < result.measure("new_leader_ms_live_over_predicted").value < 4
    ours = result.measure("predicted_value_size_bytes_max")
    assert result.measure("value_size_bytes_max").value == ours.value
    count = (result.frame["quantity"] == "put_ms") & (result.frame["system"] == "live etcd")
    assert count.sum() == 3 * 40
    assert result.figure().axes


def test_without_a_program_the_extra_is_named(monkeypatch) -> None:
    monkeypatch.setattr(etcd.shutil, "which", lambda name: None)
    monkeypatch.setattr(etcd.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ParameterError, match=r"consensus-lab\[live\]"):
        experiments.run("live-etcd")
