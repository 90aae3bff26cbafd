"""The front under a slider: what it shows are the arrivals of the compiled path."""

from __future__ import annotations

import re
from typing import Any

import numpy
import pytest

from consensus_lab import explorers
from consensus_lab.experiments import gossip_front
from consensus_lab.explorers.gossip import RELAYS, Fronts, strip
from consensus_lab.gossip import message_level
from consensus_lab.node import ParameterError
from consensus_lab.report.style import render
from tests.explorers.twins import twin_of

SMALL = gossip_front.Parameters.of({"n_nodes": 60})


def alt(panel: Any) -> str:
    found = re.search(r'alt="([^"]*)"', panel["screen"].picture.value)
    assert found
    return found[1]


@pytest.fixture(scope="module")
def fronts() -> Fronts:
    return Fronts(SMALL)


@pytest.mark.slow
def test_the_picture_counts_who_has_the_block(fronts: Fronts) -> None:
    arrived = fronts.result("inv", 8).frame["accepted_s"].to_numpy()
    view = fronts.view("inv", 8)
    for moment in (0.0, float(numpy.median(arrived)), float(arrived.max())):
        share = round(float((arrived <= moment).mean()) * 100)
        assert f"After {moment:.2f} s {share} % of the nodes" in view.at(moment).alt_text


def test_nodes_are_coloured_by_what_they_have(fronts: Fronts) -> None:
    view = fronts.view("inv", 8)
    arrived = fronts.result("inv", 8).frame["accepted_s"].to_numpy()
    for moment in (0.0, float(numpy.median(arrived)), float(arrived.max()) + 60.0):
        view.at(moment)
        colors = {tuple(color) for color in view._dots.get_facecolors()}
        waits = {tuple(view._dots.get_facecolors()[node]) for node in numpy.flatnonzero(
            arrived > moment)}  # fmt: skip
        assert len(waits) <= 1 and len(colors) <= 3
    assert len(colors) == 1, "in the end all have it, and none is new"


def test_the_quick_picture_is_the_figure_itself(fronts: Fronts) -> None:
    """Drawn over what stays, or drawn whole: the same pixels but for blended edges."""
    from io import BytesIO

    from PIL import Image

    view = fronts.view("push", 8)
    view.png(1.0, dpi=50)
    quick = numpy.asarray(Image.open(BytesIO(view.png(4.0, dpi=50))).convert("RGB"), int)
    whole = Image.open(BytesIO(render(view.at(4.0), "png", dpi=50))).convert("RGB")
    difference = abs(quick - numpy.asarray(whole, int)).max(axis=2)
    assert quick.shape == (*reversed(whole.size), 3)
    assert (difference > 90).mean() < 0.01, (difference > 90).mean()


def test_arrivals_are_those_of_the_message_level_engine() -> None:
    """What the slider shows is what full nodes' relay would do, to the nanosecond."""
    small = SMALL.replace(n_nodes=20, n_blocks=1, replicates=1)
    network, seed = gossip_front.build(small, 0)
    schedule = gossip_front._schedule(small, network, seed)
    race = message_level.simulate(
        network, schedule, relay=small.relay_options, validation=small.validation, seed=seed
    )
    shown = Fronts(small).result("inv", 8).frame["accepted_s"].to_numpy()
    assert race.accepted_ns is not None
    assert (shown == race.accepted_ns[1] / 1e9).all()


@pytest.mark.slow
def test_controls_change_the_picture_and_keep_the_moment() -> None:
    panel = explorers.explore_gossip(SMALL)
    seen = [alt(panel)]
    assert "50 % of the nodes" in seen[0], "it begins where half of them have it"
    panel["time"].value = panel["time"].max / 2
    seen.append(alt(panel))
    panel["relay"].value = "compact_low"
    seen.append(alt(panel))
    panel["degree"].value = 2
    seen.append(alt(panel))
    panel["play"].value = 60
    assert panel["time"].value == pytest.approx(panel["time"].max)
    assert "100 % of the nodes" in alt(panel)
    assert len(set(seen)) == len(seen)
    moments = [re.match(r"After ([\d.]+) s", one)[1] for one in seen[1:3]]  # type: ignore[index]
    assert moments[0] == moments[1]
    assert "2 links opened by each" in seen[-1]


@pytest.mark.slow
def test_its_twin_is_the_strip_of_maps() -> None:
    panel = explorers.explore_gossip(SMALL)
    assert panel.outputs()[1]["text/html"] == twin_of(panel, strip(SMALL))


def test_a_protocol_that_is_not_there_is_named(fronts: Fronts) -> None:
    with pytest.raises(ParameterError, match=f"relay must be one of {', '.join(RELAYS)}"):
        fronts.result("carrier pigeon", 8)
