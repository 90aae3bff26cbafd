"""Graphs come out with the shape that their name promises, and the same for the same seed."""

import networkx
import pytest

from consensus_lab.network import topology
from consensus_lab.node import ParameterError

GENERATORS = {
    "complete": lambda seed: topology.complete(12),
    "ring": lambda seed: topology.ring(12),
    "star": lambda seed: topology.star(12),
    "line": lambda seed: topology.line(12),
    "grid": lambda seed: topology.grid(3, n_columns=4),
    "random_regular": lambda seed: topology.random_regular(12, degree=3, seed=seed),
    "erdos_renyi": lambda seed: topology.erdos_renyi(12, mean_degree=4, seed=seed),
    "watts_strogatz": lambda seed: topology.watts_strogatz(12, degree=4, seed=seed),
    "barabasi_albert": lambda seed: topology.barabasi_albert(12, links_per_node=2, seed=seed),
    "bitcoin": lambda seed: topology.bitcoin(12, outbound=3, seed=seed),
}
DRAWN = ("random_regular", "erdos_renyi", "watts_strogatz", "barabasi_albert", "bitcoin")


@pytest.mark.parametrize("name", GENERATORS)
def test_a_generated_graph_is_plain_connected_and_numbered(name):
    """Nodes are 0..n-1, one part, no links to oneself, no attributes yet."""
    graph = GENERATORS[name](seed=3)
    assert sorted(graph) == list(range(12))
    assert networkx.is_connected(graph)
    assert not list(networkx.nodes_with_selfloops(graph))
    assert all(not attributes for _, attributes in graph.nodes(data=True))


@pytest.mark.parametrize("name", DRAWN)
def test_the_seed_alone_decides_a_random_graph(name):
    """Equal seeds give equal edges, another seed gives others."""
    edges = [sorted(GENERATORS[name](seed=s).edges) for s in (5, 5, 6)]
    assert edges[0] == edges[1] != edges[2]


def test_bitcoin_nodes_open_eight_and_accept_117_at_most():
    """Every node has its 8 outbound links; nobody has more than 8 + 117 (Bitcoin Core net.h)."""
    graph = topology.bitcoin(2000, seed=1)
    degrees = [degree for _, degree in graph.degree]
    assert min(degrees) >= 8
    assert max(degrees) <= 125
    assert graph.number_of_edges() == 8 * 2000


def test_bitcoin_inbound_limit_binds():
    """With as many accepted as opened, every node ends near 2 * outbound links, never above."""
    graph = topology.bitcoin(200, outbound=4, inbound_max=4, seed=2)
    assert max(degree for _, degree in graph.degree) == 8


def test_bitcoin_with_few_nodes_is_complete():
    """Five nodes have only four peers to choose from."""
    assert topology.bitcoin(5, seed=1).number_of_edges() == 10


def test_random_regular_is_regular():
    """Each of 50 nodes has exactly 6 neighbours."""
    graph = topology.random_regular(50, degree=6, seed=1)
    assert {degree for _, degree in graph.degree} == {6}


@pytest.mark.parametrize(
    ("call", "parameter"),
    [
        (lambda: topology.complete(1), "n"),
        (lambda: topology.ring(2), "n"),
        (lambda: topology.complete(2.5), "n"),
        (lambda: topology.random_regular(5, degree=3), "degree"),
        (lambda: topology.erdos_renyi(10, mean_degree=0), "mean_degree"),
        (lambda: topology.erdos_renyi(500, mean_degree=0.5), "mean_degree"),
        (lambda: topology.watts_strogatz(10, rewiring=1.5), "rewiring"),
        (lambda: topology.barabasi_albert(4, links_per_node=4), "links_per_node"),
        (lambda: topology.bitcoin(10, outbound=0), "outbound"),
        (lambda: topology.bitcoin(10, outbound=8, inbound_max=2), "inbound_max"),
        (lambda: topology.grid(1, n_columns=1), "grid"),
    ],
)
def test_impossible_graphs_are_refused_by_parameter_name(call, parameter):
    """The error names what the user wrote."""
    with pytest.raises(ParameterError) as caught:
        call()
    assert caught.value.parameter == parameter


def test_edge_list_file(tmp_path):
    """Comments, commas, words and latencies are read; nodes keep their label."""
    place = tmp_path / "net.txt"
    place.write_text("# a b latency_s\n10 2 0.5\n2,alice\n\n10 alice 0.25 # slow\n")
    graph = topology.read_edge_list(place)
    assert graph.number_of_edges() == 3
    assert graph.edges["10", "2"]["latency_s"] == 0.5


@pytest.mark.parametrize("text", ["1\n", "1 2 3 4\n"])
def test_edge_list_with_a_malformed_line_names_the_line(tmp_path, text):
    """The line number is in the message."""
    place = tmp_path / "net.txt"
    place.write_text("0 1\n" + text)
    with pytest.raises(ParameterError, match="line 2"):
        topology.read_edge_list(place)


def test_missing_edge_list_is_a_parameter_error(tmp_path):
    """No traceback from the operating system."""
    with pytest.raises(ParameterError, match="readable"):
        topology.read_edge_list(tmp_path / "none.txt")
