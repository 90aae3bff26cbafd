"""The front of a block: against arithmetic by hand, the formula for distances, and its pictures."""

from __future__ import annotations

import io
import math
from typing import Any

import networkx
import pytest
from PIL import Image

from consensus_lab.experiments import gossip_front
from consensus_lab.experiments.gossip_front import Parameters
from consensus_lab.node import ParameterError
from consensus_lab.report import fronts, style

LATENCY_S = 0.05


def path(n: int) -> networkx.Graph:
    """A line of nodes whose bytes take no time."""
    graph = networkx.path_graph(n)
    networkx.set_edge_attributes(graph, LATENCY_S, "latency_s")
    for name in ("upload_bytes_per_s", "download_bytes_per_s"):
        networkx.set_node_attributes(graph, math.inf, name)
    return graph


def run(**changes: Any) -> gossip_front.Result:
    """A small network."""
    small = {"n_nodes": 60, "n_blocks": 3, "replicates": 2}
    return gossip_front.run(Parameters.of({**small, **changes}))


@pytest.mark.slow
def test_each_hop_costs_three_latencies_and_a_check() -> None:
    """inv, getdata, block, then validation: on a line without queues."""
    parameters = Parameters.of({"n_blocks": 2, "replicates": 1, "block_size_bytes": 500_000})
    frame = gossip_front.run(parameters, graph=path(7)).frame
    check_s = 500_000 / parameters.chosen("validation_bytes_per_s")
    expected = frame["hops"] * (3 * LATENCY_S + check_s)
    assert frame["accepted_s"].tolist() == pytest.approx(expected.tolist())
    assert frame["received_s"].max() == pytest.approx(expected.max() - check_s)
    finder = int(frame.loc[frame["hops"] == 0, "node"].iloc[0])
    assert frame["hops"].tolist() == [abs(node - finder) for node in range(7)]


@pytest.mark.slow
def test_hops_of_random_regular_graphs_follow_the_published_formula() -> None:
    result = run(n_nodes=400, topology="random_regular", degree=6, n_blocks=30, replicates=3)
    known = next(one for one in result.references if one.quantity == "hops_mean")
    assert result.measure("hops_mean").value == pytest.approx(known.value, abs=0.03)


def test_in_a_complete_graph_everybody_is_one_hop_away() -> None:
    result = run(n_nodes=12, topology="complete")
    assert result.measure("hops_mean").value == 1.0


def test_a_block_is_one_among_many_that_do_not_meet() -> None:
    few, many = run(n_blocks=1).frame, run(n_blocks=4).frame
    assert few["accepted_s"].tolist() == many["accepted_s"].tolist()


@pytest.mark.slow
def test_the_animation_ends_with_everyone_and_is_small() -> None:
    result = run()
    moving = gossip_front.animation(result)
    picture = Image.open(io.BytesIO(moving.gif))
    assert picture.n_frames == fronts.FRAMES + 1
    assert len(moving.gif) < 300_000
    assert moving.gif == gossip_front.animation(result).gif
    waits, has = [tuple(round(255 * part) for part in fronts.to_rgb(color))
                  for color in (style.MUTED, style.BLUE)]  # fmt: skip
    shares = []
    for place in (0, fronts.FRAMES):
        picture.seek(place)
        colors = {color: count for count, color in picture.convert("RGB").getcolors(1 << 16)}
        shares.append(colors.get(has, 0) / (colors.get(has, 0) + colors.get(waits, 0)))
    assert shares[0] < 0.05
    assert shares[1] > 0.9, "what is left are links and what came last"
    assert moving._repr_html_().startswith('<img alt="Animation: a block spreads over 60 nodes')


@pytest.mark.parametrize("layout", ["region", "hops"])
def test_the_strip_shows_the_shares_that_were_asked_for(layout: str) -> None:
    result = run(layout=layout, shares_drawn=[0.1, 0.5, 1.0])
    titles = [axes.get_title("left") for axes in result.figure().axes]
    assert [title.split(": ")[1] for title in titles] == ["10 %", "50 %", "100 %"]


def test_rings_hold_the_nodes_of_one_distance() -> None:
    places = fronts.ring_positions({0: 0, 1: 1, 2: 1, 3: 2}, {0: "a", 1: "b", 2: "a", 3: "a"})
    assert {node: round(math.hypot(*place), 9) for node, place in places.items()} == {
        0: 0.0, 1: 1.0, 2: 1.0, 3: 2.0,
    }  # fmt: skip
    assert len(set(places.values())) == 4


def test_shares_that_fall_are_refused_by_name() -> None:
    with pytest.raises(ParameterError, match="shares_drawn must be rising"):
        Parameters.of({"shares_drawn": [0.5, 0.1]})
