"""Stale rates of the experiment against closed forms, and its figure."""

from __future__ import annotations

import math
from typing import Any

import networkx
import pytest

from consensus_lab import data, theory
from consensus_lab.experiments import stale_rate
from consensus_lab.experiments.stale_rate import Parameters

HOPS_S = 3.0
"""inv, getdata and block over a link of one second."""


def complete(n: int) -> networkx.Graph:
    """Everybody one second from everybody, bytes take no time."""
    graph = networkx.complete_graph(n)
    networkx.set_edge_attributes(graph, 1.0, "latency_s")
    for name in ("upload_bytes_per_s", "download_bytes_per_s"):
        networkx.set_node_attributes(graph, math.inf, name)
    return graph


def run(graph: networkx.Graph, x: float) -> Any:
    """The one row of a run at x = delay over interval."""
    parameters = Parameters.of({
        "block_intervals_s": [HOPS_S / x], "block_sizes_bytes": [1000], "n_blocks": 20_000,
        "replicates": 2, "validation_bytes_per_s": 10**12,
    })  # fmt: skip
    return stale_rate.run(parameters, graph=graph).frame.iloc[0]


@pytest.mark.slow
@pytest.mark.parametrize(("share", "x"), [(0.5, 0.5), (0.8, 1.0), (0.9, 0.2)])
def test_two_miners_waste_what_sompolinsky_and_zohar_say(share: float, x: float) -> None:
    graph = complete(2)
    networkx.set_node_attributes(graph, {0: share, 1: 1.0 - share}, "hash_share")
    row = run(graph, x)
    expected = theory.two_miner_stale_fraction(share, delay_intervals=x)
    sigma = math.sqrt(expected * (1 - expected) / row["blocks"])
    assert abs(row["stale_fraction"] - expected) < 4 * sigma
    weighted = 2 * share * (1 - share) * x
    assert row["delay_intervals"] == pytest.approx(weighted, rel=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("x", [0.1, 1.0])
def test_thirty_equal_miners_come_near_the_full_delay(x: float) -> None:
    row = run(complete(30), x)
    expected = theory.equal_miners_stale_scaled(30, delay_intervals=x)
    sigma = math.sqrt(expected * (1 - expected) / row["blocks"])
    assert abs(row["stale_fraction"] - expected) < 4 * sigma + 0.02 * expected
    assert row["stale_full_delay"] == pytest.approx(x / (1 + x), rel=0.05)


def test_what_was_measured_in_2012_stands_beside() -> None:
    known = {source: (x, share) for x, share, source in stale_rate.measured_forks()}
    assert known["Decker and Wattenhofer 2013"] == (12.6 / 600, 0.0169)
    assert known["archive, 2012 (lower bound)"][1] == 0.00925
    rows = data.rows("bitcoin/published/published_stale_rates.csv")
    assert stale_rate.MEASURED_FORKS in [row["what"] for row in rows]


@pytest.mark.slow
def test_the_map_has_a_line_of_equal_throughput_and_a_cell_per_setting() -> None:
    parameters = Parameters.of({
        "n_nodes": 40, "replicates": 2, "n_blocks": 100, "block_intervals_s": [30.0, 300.0],
        "block_sizes_bytes": [100_000, 1_000_000],
    })  # fmt: skip
    result = stale_rate.run(parameters)
    left, right = result.figure().axes[:2]
    texts = [text.get_text() for text in left.texts]
    for share in result.frame["stale_fraction"]:
        assert f"{share * 100:.2g} %" in texts
    assert {"7", "20"} & set(texts)
    labels = right.get_legend_handles_labels()[1]
    assert labels[0] == "x / (1 + x): all equally late"
    assert {"100 kB", "1 MB", "Decker and Wattenhofer 2013"} <= set(labels)
    assert stale_rate.curves(result).axes[0].get_xlabel() == "mean time between blocks (s)"
