"""gamma on a network: known where everybody is equally far, and growing with the gateways."""

from __future__ import annotations

import math
from typing import Any

import networkx
import pytest

from consensus_lab import theory
from consensus_lab.experiments import selfish_network
from consensus_lab.experiments.networks import build
from consensus_lab.experiments.selfish_network import Parameters, drawn_gateways, with_pool
from consensus_lab.node import ParameterError

HONEST = 10


def around(pool_latency_s: float) -> networkx.Graph:
    """Ten equal miners, 0.1 s from each other, and a node without hash power beside them all."""
    graph = networkx.complete_graph(HONEST + 1)
    for a, b in graph.edges:
        graph.edges[a, b]["latency_s"] = pool_latency_s if b == HONEST else 0.1
    networkx.set_node_attributes(graph, {n: float(n < HONEST) for n in graph}, "hash_share")
    for name in ("upload_bytes_per_s", "download_bytes_per_s"):
        networkx.set_node_attributes(graph, math.inf, name)
    return graph


def run(graph: networkx.Graph | None = None, **changes: Any) -> Any:
    small = {"n_nodes": 60, "replicates": 4, "n_blocks": 4000, "block_size_bytes": 1000}
    return selfish_network.run(Parameters.of({**small, **changes}), graph=graph)


@pytest.mark.slow
@pytest.mark.parametrize(("pool_latency_s", "gamma"), [(0.001, 0.9), (5.0, 0.0)])
def test_who_hears_the_pool_first_follows_it(pool_latency_s: float, gamma: float) -> None:
    """All but the finder of the other block, when the pool is near; nobody when it is far."""
    row = run(around(pool_latency_s), gateways=[1]).frame.iloc[0]
    assert row["races"] > 500
    error = math.sqrt(gamma * (1 - gamma) / row["races"])
    assert abs(row["gamma"] - gamma) <= 4 * error
    expected = theory.selfish_mining_revenue(0.35, gamma=gamma)
    scale = theory.selfish_mining_sampling_constants(0.35, gamma=gamma).revenue
    # A distant pool also wastes blocks that are under way: a share of the delay over the interval.
    assert abs(row["revenue"] - expected) < 4 * scale / math.sqrt(16_000) + pool_latency_s / 200


@pytest.mark.slow
def test_more_gateways_have_more_followers_and_earn_more() -> None:
    result = run(gateways=[1, 30])
    one, many = (result.frame.iloc[place] for place in (0, 1))
    assert one["gamma_high"] < many["gamma_low"]
    assert one["revenue"] < many["revenue"]
    assert one["threshold"] > many["threshold"]
    beside = result.beside.set_index("quantity")
    assert beside["ratio"].between(0.9, 1.1).all()
    left, right = result.figure().axes
    assert "with 30 gateways" in " ".join(left.get_title("left").split())
    assert right.get_legend_handles_labels()[1] == ["closed form at the measured gamma", "measured"]


def test_gateways_are_nested_and_hold_the_pools_power() -> None:
    network, seed = build(Parameters.of({"n_nodes": 20, "gateways": [1]}), 0)
    few, many = (drawn_gateways(network, count, seed) for count in (2, 6))
    assert many[:2] == few
    share = with_pool(network, many, 0.3).hash_share
    assert share[many].sum() == pytest.approx(0.3)
    assert share.sum() == pytest.approx(1.0)
    assert len(set(share.round(12))) == 3, "the pool's, the others' and none"


def test_a_gateway_is_drawn_where_least_is_mined() -> None:
    parameters = Parameters.of({"gateways": [1]})
    network, seed = build(parameters, 0, around(1.0))
    assert drawn_gateways(network, 1, seed) == [HONEST]


def test_too_many_gateways_are_refused_by_name() -> None:
    with pytest.raises(ParameterError, match="gateways must be at most 18 of 20 nodes"):
        Parameters.of({"n_nodes": 20, "gateways": [1, 19]})
    with pytest.raises(ParameterError, match="gateways must be at most 9 of 11 nodes"):
        run(around(0.1), gateways=[10])
