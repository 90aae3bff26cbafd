"""Who loses: each measurement against a closed form that it does not know."""

from __future__ import annotations

import math
from typing import Any

import networkx
import pandas
import pytest

from consensus_lab import theory
from consensus_lab.experiments import who_loses
from consensus_lab.experiments.who_loses import Parameters
from consensus_lab.node import ParameterError

FAST_CHECK = {"validation_bytes_per_s": 10**12, "block_size_bytes": 1000, "replicates": 2}


def equidistant(shares: list[float]) -> networkx.Graph:
    """Miners one second from each other, bytes take no time: every delay is three seconds."""
    graph = networkx.complete_graph(len(shares))
    networkx.set_edge_attributes(graph, 1.0, "latency_s")
    networkx.set_node_attributes(graph, dict(enumerate(shares)), "hash_share")
    for name in ("upload_bytes_per_s", "download_bytes_per_s"):
        networkx.set_node_attributes(graph, math.inf, name)
    return graph


def rows(frame: pandas.DataFrame, measurement: str) -> pandas.DataFrame:
    return frame[frame["measurement"] == measurement].set_index("group")


def run(graph: networkx.Graph, **changes: Any) -> who_loses.Result:
    values = {**FAST_CHECK, "n_blocks": 20_000, **changes}
    return who_loses.run(Parameters.of(values), graph=graph)


@pytest.mark.slow
def test_pools_alone_lose_what_the_closed_form_says_by_size() -> None:
    shares = [0.5, 0.3, 0.1, 0.05, 0.05]
    result = run(equidistant(shares), block_interval_s=100.0, n_blocks=10)
    assert result.measure("delay_s_between_pools").value == pytest.approx(3.0, rel=0.25)
    for row in rows(result.frame, who_loses.RACE).itertuples():
        sigma = math.sqrt(row.stale_closed_form / row.blocks)
        assert abs(row.stale_fraction - row.stale_closed_form) < 4 * sigma


@pytest.mark.slow
def test_pools_at_equal_distances_on_the_network_are_pools_alone() -> None:
    shares = [0.45, 0.3, 0.1, 0.07, 0.04, 0.03, 0.005, 0.005]
    result = run(equidistant(shares), block_interval_s=30.0)
    expected = dict(zip(shares, theory.stale_by_share(shares, delay_intervals=0.1), strict=True))
    large, middle, small, least = rows(result.frame, who_loses.POOLS)["stale_fraction"][::-1]
    groups = {large: [0.45, 0.3], middle: [0.1, 0.07], small: [0.04, 0.03], least: [0.005]}
    for measured, members in groups.items():
        right = sum(share * expected[share] for share in members) / sum(members)
        found = 40_000 * sum(members)
        assert abs(measured - right) < 4 * math.sqrt(right / found) + 0.03 * right
    assert large < 0.75 * middle


@pytest.mark.slow
def test_two_pools_waste_what_sompolinsky_and_zohar_say() -> None:
    frame = run(equidistant([0.8, 0.2]), block_interval_s=15.0, n_blocks=10_000).frame
    alone = rows(frame, who_loses.RACE)
    expected = theory.two_miner_stale_fraction(0.8, delay_intervals=0.2)
    rate = alone["stale_blocks"].sum() / alone["blocks"].sum()
    assert rate == pytest.approx(expected, rel=0.03)


@pytest.mark.slow
def test_the_end_of_a_long_tail_loses_more_than_the_crowd() -> None:
    """Eight nodes next to each other, four that are far away, all with equal power."""
    graph = networkx.complete_graph(8)
    graph.add_edges_from([(0, 8), (8, 9), (9, 10), (10, 11)])
    for a, b in graph.edges:
        graph.edges[a, b]["latency_s"] = 0.1 if b < 8 else 3.0
    networkx.set_node_attributes(graph, 1.0, "hash_share")
    networkx.set_node_attributes(graph, {n: "EUROPE" if n < 8 else "JAPAN" for n in graph},
                                 "region")  # fmt: skip
    frame = run(graph, block_interval_s=100.0, n_blocks=2000, n_blocks_alone=1000).frame
    near, far = (rows(frame, who_loses.REGION).loc[name] for name in ("EUROPE", "JAPAN"))
    assert near["blocks"] + far["blocks"] == 4000
    assert far["stale_low"] > near["stale_high"]
    links = rows(frame, who_loses.LINKS)["stale_fraction"]
    assert links["fewest links"] > 1.5 * links["most links"]


@pytest.mark.slow
def test_a_run_in_which_some_lose_nothing_is_drawn() -> None:
    short = {"n_nodes": 30, "replicates": 2, "n_blocks": 40, "n_blocks_alone": 2000,
             "block_size_bytes": 1000}  # fmt: skip
    result = who_loses.run(Parameters.of(short))
    assert (result.frame["stale_blocks"] == 0).any()
    left, right = result.figure().axes
    assert left.get_legend_handles_labels()[1][0] == "closed form"
    assert right.get_yticklabels()[-1].get_text().startswith("fewest links")


def test_one_miner_alone_is_refused_by_name() -> None:
    with pytest.raises(ParameterError, match="hash_share"):
        run(equidistant([1.0, 0.0]), n_blocks=10)
