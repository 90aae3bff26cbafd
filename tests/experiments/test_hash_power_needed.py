"""What an attacker needs: against the tight limit of the literature and exact growth rates."""

from __future__ import annotations

import csv
import math
import os
from pathlib import Path
from typing import Any

import networkx
import pytest

from consensus_lab import theory
from consensus_lab.experiments import hash_power_needed
from consensus_lab.experiments.hash_power_needed import (
    NETWORK,
    WORST,
    Parameters,
    needed_share,
    worst_order_growth,
)
from consensus_lab.gossip.pool_race import pool_race


def pair(latency_s: float) -> networkx.Graph:
    """Two equal miners whose bytes take no time."""
    graph = networkx.Graph()
    graph.add_edge(0, 1, latency_s=latency_s)
    for name in ("upload_bytes_per_s", "download_bytes_per_s"):
        networkx.set_node_attributes(graph, math.inf, name)
    return graph


def run(graph: networkx.Graph | None = None, **changes: Any) -> Any:
    small = {"n_nodes": 40, "replicates": 3, "n_blocks": 200, "n_blocks_worst": 20_000}
    return hash_power_needed.run(Parameters.of({**small, **changes}), graph=graph)


@pytest.mark.slow
def test_the_worst_order_needs_what_the_tight_limit_of_the_literature_says() -> None:
    """The table's own shares: honest miners at 1 - beta of its rate leave the attacker beta."""
    folder = os.environ.get("CONSENSUS_LAB_REFERENCE")
    if not folder:
        pytest.skip("set CONSENSUS_LAB_REFERENCE to the folder with theory/*.csv")
    path = Path(folder) / "theory" / "security_tolerance_curve.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if 0.04 < float(row["lambda_delta"]) < 3.0]
    assert len(rows) > 5
    for number, row in enumerate(rows):
        beta, x = float(row["beta_max_tight"]), float(row["lambda_delta"])
        grown = worst_order_growth((1.0 - beta) * x, n_blocks=200_000, seed=number)
        assert needed_share(grown) == pytest.approx(beta, abs=0.002)


@pytest.mark.slow
@pytest.mark.parametrize("x", [0.2, 1.5])
def test_the_worst_order_is_the_race_of_many_equidistant_pools(x: float) -> None:
    """Another simulation of the same: 500 pools on a block tree, each told after the delay."""
    race = pool_race([1.0] * 500, x, n_blocks=60_000, block_interval_s=1.0, seed=4)
    grown = worst_order_growth(x, n_blocks=200_000, seed=5)
    assert grown == pytest.approx(1.0 - race.stale_rate(), abs=0.008)


def test_a_delay_of_many_intervals_wastes_nearly_everything() -> None:
    """The race of pools gives up here: too many blocks are open at once."""
    assert worst_order_growth(40.0, n_blocks=100_000, seed=1) == pytest.approx(1 / 41, rel=0.02)


@pytest.mark.slow
def test_two_honest_miners_grow_as_sompolinsky_and_zohar_say() -> None:
    frame = run(pair(1.0), honest_intervals_s=[6.0, 3.0], n_blocks=40_000, block_size_bytes=100,
                validation_bytes_per_s=10**12).frame  # fmt: skip
    network = frame[frame["honest"] == NETWORK]
    for row in network.itertuples():
        expected = theory.two_miner_growth(0.5, delay_intervals=3.0 / row.honest_interval_s)
        assert row.growth == pytest.approx(expected, abs=0.006)
        assert row.needed_low < needed_share(expected) + 0.003
        assert row.needed_high > needed_share(expected) - 0.003


@pytest.mark.slow
def test_no_network_is_worse_than_its_worst_order() -> None:
    result = run(honest_intervals_s=[60.0, 10.0])
    frame = result.frame.set_index(["honest", "honest_interval_s"])
    for interval_s in (60.0, 10.0):
        network, worst = (frame.loc[(honest, interval_s)] for honest in (NETWORK, WORST))
        assert worst["needed_low"] - 0.003 < worst["needed_tight"] < worst["needed_high"] + 0.003
        assert network["needed_share"] > worst["needed_share"]
        assert network["delay_s_mean"] < network["delay_s_all"]
    assert frame.loc[(WORST, 10.0), "needed_share"] < frame.loc[(WORST, 60.0), "needed_share"]
    known = {one.quantity: one.value for one in result.references}
    assert known["needed_share_worst_order_10s"] == frame.loc[(WORST, 10.0), "needed_tight"]
    left, right = result.figure().axes
    assert "% of the hash power suffice at 60 s" in " ".join(left.get_title("left").split())
    assert "proven safe by Ren 2019" in right.get_legend_handles_labels()[1]
