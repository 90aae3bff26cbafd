"""Sweeps of the propagation delay: against arithmetic by hand, and what is varied of a graph."""

from __future__ import annotations

from typing import Any

import networkx
import pytest

from consensus_lab.experiments import propagation, propagation_sweep
from consensus_lab.experiments.propagation_sweep import Parameters, quantity
from consensus_lab.nakamoto.relay_messages import INVENTORY_BYTES, MESSAGE_HEADER_BYTES
from consensus_lab.node import ParameterError

SMALL = {
    "n_nodes": 40, "n_blocks": 4, "replicates": 2, "block_sizes_bytes": [10_000, 1_000_000],
    "relays": ["inv", "compact_high"], "degrees": [4, 8], "topologies": ["bitcoin", "ring"],
    "bandwidth_scales": [0.1, 1.0],
}  # fmt: skip


@pytest.fixture(scope="module")
def swept() -> Any:
    """A small sweep of everything."""
    return propagation_sweep.run(Parameters.of(SMALL))


@pytest.mark.slow
def test_between_two_nodes_the_delay_is_the_sum_of_its_parts() -> None:
    """Three latencies, two short messages, the block on the line, the check."""
    rate, latency_s, checked = 1_000_000, 0.2, 5_000_000
    graph = networkx.Graph()
    graph.add_edge(0, 1, latency_s=latency_s)
    for name in ("upload_bytes_per_s", "download_bytes_per_s"):
        networkx.set_node_attributes(graph, float(rate), name)
    parameters = Parameters.of({**SMALL, "validation_bytes_per_s": checked})
    result = propagation_sweep.run(parameters, graph=graph)
    for size in SMALL["block_sizes_bytes"]:
        expected = (3 * latency_s + (2 * INVENTORY_BYTES + size + MESSAGE_HEADER_BYTES) / rate
                    + size / checked)  # fmt: skip
        measured = result.measure(quantity("block_size_bytes", size)).value
        assert measured == pytest.approx(expected, rel=1e-6)
    assert set(result.frame["property"]) == {"block_size_bytes", "relay", "bandwidth_scale"}


@pytest.mark.slow
def test_the_setting_in_the_middle_is_that_of_the_propagation_experiment(swept: Any) -> None:
    alone = propagation.run(Parameters.of(SMALL).base()).measure("delay_s_mean")
    for name, value in (("block_size_bytes", 1_000_000), ("relay", "inv"), ("degree", 8),
                        ("topology", "bitcoin"), ("bandwidth_scale", 1.0)):  # fmt: skip
        measure = swept.measure(quantity(name, value))
        assert (measure.value, measure.low, measure.high) == (alone.value, alone.low, alone.high)


@pytest.mark.slow
def test_each_property_matters(swept: Any) -> None:
    slower = {
        "block_size_bytes": (10_000, 1_000_000), "relay": ("compact_high", "inv"),
        "topology": ("bitcoin", "ring"), "bandwidth_scale": (1.0, 0.1),
    }  # fmt: skip
    for name, (fast, slow) in slower.items():
        quick, late = (swept.measure(quantity(name, value)).value for value in (fast, slow))
        assert late > 2 * quick, name


@pytest.mark.slow
def test_the_figure_has_a_picture_per_property_and_others_values(swept: Any) -> None:
    figure = swept.figure()
    titles = [axes.get_title("left") for axes in figure.axes if axes.get_title("left")]
    assert titles[:3] == ["Block size", "Relay protocol", "Links per node (outbound)"]
    labels = figure.axes[0].get_legend_handles_labels()[1]
    assert any("Gervais" in label for label in labels)
    beside = swept.beside.set_index("quantity")
    assert beside.loc[quantity("block_size_bytes", 1_000_000), "published"] == 45.98


@pytest.mark.slow
def test_whole_distributions_rise_and_have_a_curve_per_value(swept: Any) -> None:
    frame = swept.frame[swept.frame["statistic"] != "mean"]
    for _, part in frame.groupby(["property", "value"]):
        assert part["delay_s"].is_monotonic_increasing
        assert len(part) == len(propagation.SHARES)
    sizes, relays = propagation_sweep.distributions(swept).axes[:2]
    assert sizes.get_legend_handles_labels()[1] == ["10 kB", "1 MB"]
    labels = relays.get_legend_handles_labels()[1]
    assert labels == ["inv", "compact high", "Decker and Wattenhofer 2013", "KIT DSN monitor"]
    alone = propagation.run(Parameters.of(SMALL).base()).measure("delay_s_p90")
    chosen = (frame["property"] == "relay") & (frame["value"] == "inv")
    ours = frame[chosen].set_index("statistic").loc["p90"]
    assert ours["delay_s"] == pytest.approx(alone.value)
    assert ours["delay_high_s"] == pytest.approx(alone.high)


def test_an_impossible_value_in_a_list_is_refused_before_the_first_run() -> None:
    with pytest.raises(ParameterError, match="degree must be below n_nodes"):
        Parameters.of({**SMALL, "degrees": [4, 60]})
    with pytest.raises(ParameterError, match="relays must be one of push"):
        Parameters.of({"relays": ["carrier pigeon"]})
