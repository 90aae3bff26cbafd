"""A user's own graph runs in every experiment on relay; a wrong one is refused with the reason."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import networkx
import pytest

from consensus_lab import cli, experiments
from consensus_lab.experiments import propagation, stale_rate, validation, validation_sensitivity
from consensus_lab.network import topology
from consensus_lab.node import ParameterError

NO_MINERS = """<graphml><key id="h" for="node" attr.name="hash_share" attr.type="double"/>
<graph edgedefault="undirected"><node id="a"><data key="h">0</data></node>
<node id="b"><data key="h">0</data></node><edge source="a" target="b"/></graph></graphml>"""
ONE_WAY = """<graphml><graph edgedefault="directed"><node id="a"/><node id="b"/>
<edge source="a" target="b"/></graph></graphml>"""
FILES = {
    "disconnected": ("0 1\n2 3\n", "graph must be connected; got"),
    "negative latency": ("0 1 0.1\n1 2 -0.5\n", "line 2 must be a latency in seconds"),
    "undefined latency": ("0 1 nan\n", "line 1 must be a latency in seconds"),
    "latency in words": ("0 1 far\n", "line 1 must be a latency in seconds"),
    "two latencies": ("0 1 0.1\n1 0 0.2\n", "line 2 must be the latency that an earlier line"),
    "self loop": ("0 1\n1 1\n", "line 2 must be a link between two different nodes"),
    "empty": ("# nothing\n\n", "with at least one link; it is empty"),
    "malformed line": ("0 1\n0 1 2 3\n", "line 2 must be 'a b' or 'a b latency_s'"),
    "one field": ("0 1\n2\n", "line 2 must be 'a b' or 'a b latency_s'"),
    "binary": ("\xff\x00", None),
    "no miners": (NO_MINERS, "hash_share must be above 0 at one node at least"),
    "one-way link": (ONE_WAY, "both ways; it is one-way"),
    "not GraphML": ("<graphml><graph", "a GraphML file"),
}
GRAPHS = {
    "disconnected": (networkx.Graph([(0, 1), (2, 3)]), "connected"),
    "no miners": (networkx.Graph(), "at least one node"),
    "self loop": (networkx.Graph([(0, 1), (1, 1)]), "two different nodes"),
    "one-way link": (networkx.DiGraph([(0, 1)]), "one-way"),
    "parallel links": (networkx.MultiGraph([(0, 1), (0, 1)]), "parallel"),
    "no graph": ([(0, 1)], "networkx.Graph"),
}
with_links = networkx.path_graph(3)
with_links.edges[0, 1]["latency_s"] = -0.1
GRAPHS["negative latency"] = (with_links, "latency_s must be a number of at least 0 at link 0-1")
idle = networkx.path_graph(3)
networkx.set_node_attributes(idle, 0.0, "hash_share")
GRAPHS["nobody mines"] = (idle, "hash_share must be above 0")

ALL = (propagation, stale_rate, validation, validation_sensitivity)


def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str, name: str) -> str:
    """What the command line says about that file; nothing is left behind."""
    text, _ = FILES[case]
    place = tmp_path / ("net.graphml" if text.startswith("<") else "net.txt")
    place.write_bytes(text.encode("latin-1"))
    out = tmp_path / "out"
    code = cli.main(["run", name, "-p", f"graph_file={place}", "--out", str(out), "--quiet"])
    told = capsys.readouterr()
    assert code == cli.EXIT_MISTAKE, told
    assert told.out == "" and told.err.count("\n") == 1 and "Traceback" not in told.err
    assert not out.exists()
    return told.err


@pytest.mark.parametrize("case", FILES)
def test_a_wrong_file_is_refused_in_one_line_that_says_why(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(tmp_path, capsys, case, "propagation")
    assert (FILES[case][1] or "readable text file") in said


def test_a_missing_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("none.txt", "none.graphml"):
        place = tmp_path / name
        assert cli.main(["run", "stale-rate", "-p", f"graph_file={place}"]) == cli.EXIT_MISTAKE
        assert str(place) in capsys.readouterr().err


@pytest.mark.slow
def test_every_experiment_that_takes_a_file_refuses_a_wrong_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [name for name in experiments.questions()
             if "graph_file" in experiments.load(name).Parameters.names()]  # fmt: skip
    assert {"propagation", "stale-rate", "validation", "validation-sensitivity"} <= set(names)
    for name in names:
        assert "connected" in refused(tmp_path, capsys, "disconnected", name), name


@pytest.mark.parametrize("case", GRAPHS)
@pytest.mark.parametrize("module", ALL, ids=lambda module: module.__name__.split(".")[-1])
def test_a_wrong_graph_is_refused_from_python(module: ModuleType, case: str) -> None:
    graph, why = GRAPHS[case]
    with pytest.raises(ParameterError, match=why):
        module.run(module.Parameters(), graph=graph)


@pytest.mark.slow
def test_an_edge_list_and_its_graph_and_its_graphml_give_the_same_result(tmp_path: Path) -> None:
    bare = topology.bitcoin(40, outbound=3, seed=2)
    for place, (a, b) in enumerate(bare.edges):
        bare.edges[a, b]["latency_s"] = 0.01 * (1 + place % 7)
    lines = [f"{a} {b} {s}" for a, b, s in bare.edges(data="latency_s")]
    (tmp_path / "net.txt").write_text("\n".join(lines))
    networkx.write_graphml(bare, tmp_path / "net.graphml")
    small = {"n_blocks": 5, "replicates": 2, "geography": "single_region"}
    frames = [propagation.run(propagation.Parameters.of(small), graph=bare).frame]
    for name in ("net.txt", "net.graphml"):
        own = propagation.Parameters.of({**small, "graph_file": str(tmp_path / name)})
        frames.append(propagation.run(own).frame)
    assert frames[0].equals(frames[1])
    assert frames[0].equals(frames[2])


@pytest.mark.slow
def test_attributes_of_a_graphml_file_hold(tmp_path: Path) -> None:
    """One node mines, behind a slow line: nobody else finds a block, and all wait for it."""
    graph = networkx.star_graph(5)
    for node in graph:
        graph.nodes[node].update(hash_share=float(node == 0), upload_bytes_per_s=100_000.0)
    networkx.write_graphml(graph, tmp_path / "net.graphml")
    own = {"n_blocks": 3, "replicates": 2, "block_size_bytes": 100_000,
           "graph_file": str(tmp_path / "net.graphml")}  # fmt: skip
    result = propagation.run(propagation.Parameters.of(own))
    assert 3.0 < result.measure("delay_s_p50").value < 4.0, "the third of five uploads of 1 s"


@pytest.mark.slow
def test_a_graph_with_names_runs_in_all(tmp_path: Path) -> None:
    graph = networkx.les_miserables_graph()
    sizes = {"block_intervals_s": [60.0], "block_sizes_bytes": [100_000]}
    rate = stale_rate.Parameters.of({**sizes, "n_blocks": 20, "replicates": 2})
    assert (stale_rate.run(rate, graph=graph).frame["blocks"] == 40).all()
    few = {"n_blocks": 20, "replicates": 2}
    table = validation.run(validation.Parameters.of(few), graph=graph).frame
    assert set(table["group"]) == {
        "propagation by year", "stale by year", "closed forms: forks", "gossip times",
    }  # fmt: skip
    one = {"network_years": [2022], "n_blocks": 2, "replicates": 2}
    changed = validation_sensitivity.run(
        validation_sensitivity.Parameters.of(one), graph=graph
    ).frame
    assert not set(changed["input"]) & {"nodes", "connections"}
