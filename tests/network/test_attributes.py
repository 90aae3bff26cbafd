"""Anyone's graph works: what is missing is filled, what is wrong is refused by name."""

import math

import networkx
import pytest

from consensus_lab.network import topology
from consensus_lab.network.arrays import engine_links, from_graph
from consensus_lab.network.attributes import fill, with_pools
from consensus_lab.network.geography import NAMES, geography
from consensus_lab.node import ParameterError


def triangle(**attributes):
    graph = networkx.complete_graph(3)
    for node, values in attributes.get("nodes", {}).items():
        graph.nodes[node].update(values)
    for link, values in attributes.get("links", {}).items():
        graph.edges[link].update(values)
    return graph


def test_what_is_given_stays_and_what_is_missing_is_filled():
    """One node's rate and one link's latency are the user's, the rest is the geography's."""
    graph = triangle(
        nodes={0: {"upload_bytes_per_s": 7, "region": "EUROPE", "hash_share": 3}},
        links={(0, 1): {"latency_s": 0.125}},
    )
    filled = fill(graph, where="simblock_2019", seed=1)
    assert filled.nodes[0]["upload_bytes_per_s"] == 7
    assert filled.nodes[0]["download_bytes_per_s"] == 5_000_000
    assert filled.nodes[0]["hash_share"] == 1.0
    assert filled.nodes[1]["hash_share"] == 0.0
    assert filled.edges[0, 1]["latency_s"] == 0.125
    assert filled.edges[1, 2]["latency_s"] > 0
    assert not graph.nodes[1], "the user's graph is not changed"


def test_filling_one_link_does_not_move_the_others():
    """Draws belong to places, so giving one latency leaves the rest as they were."""
    one = fill(networkx.complete_graph(8), seed=4)
    graph = networkx.complete_graph(8)
    graph.edges[0, 1]["latency_s"] = 1.0
    other = fill(graph, seed=4)
    differing = [e for e in one.edges if one.edges[e] != other.edges[e]]
    assert differing == [(0, 1)]


def test_names_become_numbers_in_order_and_stay_as_labels():
    """Numbers sort as numbers, words after them."""
    graph = networkx.Graph([("10", "2"), ("2", "alice")])
    filled = fill(graph)
    assert [filled.nodes[i]["label"] for i in range(3)] == ["2", "10", "alice"]
    assert sorted(filled.edges) == [(0, 1), (0, 2)]


@pytest.mark.parametrize("name", NAMES)
def test_every_geography_is_symmetric_and_complete(name):
    """Latencies are equal both ways, shares sum to one, rates are positive."""
    place = geography(name)
    size = range(len(place.regions))
    assert math.isclose(sum(place.node_shares), 1.0)
    assert all(place.latency_s[i][j] == place.latency_s[j][i] > 0 for i in size for j in size)
    assert min(place.upload_bytes_per_s + place.download_bytes_per_s) > 0


def test_regions_follow_the_published_shares():
    """Within four standard deviations of a binomial, 8,000 nodes (SimBlock 2019)."""
    n = 8_000
    filled = fill(networkx.path_graph(n), where="simblock_2019", seed=9)
    place = geography("simblock_2019")
    regions = [region for _, region in filled.nodes(data="region")]
    for name, share in zip(place.regions, place.node_shares, strict=True):
        sigma = math.sqrt(n * share * (1 - share))
        assert abs(regions.count(name) - n * share) < 4 * sigma


def test_pareto_latencies_have_the_table_mean_and_minimum():
    """Scale mean - 5 ms is the least value, the mean is the table's (SimBlock's source)."""
    graph = networkx.star_graph(20_000)
    for node in graph:
        graph.nodes[node]["region"] = "EUROPE" if node else "NORTH_AMERICA"
    filled = fill(graph, where="simblock_2019", seed=2)
    latency_s = [d for _, _, d in filled.edges(data="latency_s")]
    assert min(latency_s) >= 0.119
    shape, scale_ms = 124 / 5, 119
    sigma = scale_ms * math.sqrt(shape / (shape - 2)) / (shape - 1) / math.sqrt(len(latency_s))
    assert abs(sum(latency_s) / len(latency_s) * 1e3 - 124) < 4 * sigma


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        (networkx.Graph(), "at least one node"),
        (networkx.Graph([(0, 1), (2, 3)]), "connected"),
        (networkx.Graph([(0, 0), (0, 1)]), "link"),
        (networkx.DiGraph([(0, 1)]), "one-way"),
        (networkx.MultiGraph([(0, 1), (0, 1)]), "parallel"),
        ("0 1", "networkx.Graph"),
        (triangle(links={(0, 1): {"latency_s": -1}}), "latency_s"),
        (triangle(links={(0, 1): {"latency_s": math.nan}}), "latency_s"),
        (triangle(links={(0, 1): {"latency_s": math.inf}}), "latency_s"),
        (triangle(links={(0, 1): {"latency_s": "far"}}), "latency_s"),
        (triangle(nodes={0: {"hash_share": 0}}), "hash_share"),
        (triangle(nodes={0: {"hash_share": -0.1}}), "hash_share"),
        (triangle(nodes={0: {"hash_share": math.nan}}), "hash_share"),
        (triangle(nodes={0: {"upload_bytes_per_s": 0}}), "upload_bytes_per_s"),
        (triangle(nodes={0: {"download_bytes_per_s": -5}}), "download_bytes_per_s"),
        (triangle(nodes={0: {"region": "ATLANTIS"}}), "region"),
    ],
)
def test_wrong_graphs_are_refused_with_the_reason(graph, words):
    """Each mistake is a ParameterError that names it."""
    with pytest.raises(ParameterError, match=words):
        fill(graph)


def test_two_latencies_for_one_link_are_refused():
    """A directed graph must agree with itself."""
    graph = networkx.DiGraph()
    graph.add_edge(0, 1, latency_s=0.1)
    graph.add_edge(1, 0, latency_s=0.2)
    with pytest.raises(ParameterError, match="both directions"):
        fill(graph)
    graph.edges[1, 0]["latency_s"] = 0.1
    assert fill(graph).edges[0, 1]["latency_s"] == 0.1


def test_an_unknown_geography_is_refused():
    """The error lists the known ones."""
    with pytest.raises(ParameterError, match="simblock_2019"):
        fill(networkx.path_graph(3), where="mars")


def test_pools_take_all_the_hash_power():
    """Two pools of two gateways each; the rest of the network mines nothing."""
    filled = fill(topology.ring(10))
    shares = dict(with_pools(filled, [3, 1], gateways=2, seed=1).nodes(data="hash_share"))
    assert sorted(shares.values(), reverse=True)[:5] == [0.375, 0.375, 0.125, 0.125, 0.0]
    with pytest.raises(ParameterError, match="gateways"):
        with_pools(filled, [1] * 6, gateways=2)


def test_arrays_and_engine_links_hold_the_same_nanoseconds():
    """Both speeds read their latencies and rates from one place."""
    network = from_graph(topology.bitcoin(40, outbound=3, seed=1), seed=1)
    links = engine_links(network)
    for node in range(40):
        assert links.line(node).upload_bytes_per_s == network.upload[node]
        for place in range(network.offset[node], network.offset[node + 1]):
            other = int(network.neighbour[place])
            assert links.link(node, other).latency_ns == network.latency_ns[place]
            assert links.link(other, node).latency_ns == network.latency_ns[place]
    assert network.n_links == len(links.pairs) // 2


def test_infinite_rates_take_no_time():
    """An infinite line is a zero in the arrays and None in the engine."""
    network = from_graph(triangle(nodes={1: {"upload_bytes_per_s": math.inf}}))
    assert network.upload[1] == 0
    assert engine_links(network).line(1).upload_bytes_per_s is None
