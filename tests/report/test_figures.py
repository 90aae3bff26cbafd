"""Figures show the numbers that they were given, at their places."""

import itertools
import math
from types import SimpleNamespace

import networkx
import numpy
import pandas
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex
from matplotlib.patches import FancyArrowPatch, Rectangle

from consensus_lab.experiments.result import Measure, Published
from consensus_lab.node import ParameterError
from consensus_lab.report import chains, curves, distributions, figures, histories, maps, style
from consensus_lab.sim.linearizability import Operation, check
from consensus_lab.sim.models import REGISTER, Get, Put

GRID = pandas.DataFrame(
    [
        {"interval": interval, "size": size, "stale": size / interval, "tps": 10 * size / interval}
        for size in (1, 2, 4)
        for interval in (100, 200, 400, 800)
    ]
)


def lines_of(axes, label):
    return [line for line in axes.lines if line.get_label() == label]


def texts_of(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_a_cdf_is_the_mean_of_its_replicates_and_shows_published_quantiles():
    frame = pandas.DataFrame(
        [{"share": share, "delay_s": share * 10 + replicate, "replicate": replicate}
         for share in (0.1, 0.5, 0.9) for replicate in (0, 2)]
    )  # fmt: skip
    known = [distributions.Known(0.5, 6.5, "Decker 2013: table (x)"),
             distributions.Known(0.95, 40.0, "Decker 2013")]  # fmt: skip
    figure = distributions.cdf_curves(
        frame, value="delay_s", x_label="delay", known=known, means=[(12.6, "mean 12.6 s", "D")]
    )
    (axes,) = figure.axes
    (here,) = lines_of(axes, "here")
    assert list(here.get_xdata()) == [2.0, 6.0, 10.0]
    assert list(here.get_ydata()) == [0.1, 0.5, 0.9]
    (other,) = lines_of(axes, "Decker 2013")
    assert list(other.get_xdata()) == [6.5, 40.0]
    assert "mean 12.6 s (D)" in texts_of(figure)
    assert axes.get_xscale() == "log"


@pytest.mark.parametrize("tail", [False, True])
def test_samples_are_drawn_as_they_are(tail):
    figure = distributions.samples_cdf({"a": [3.0, 1.0, 2.0, 4.0]}, x_label="time (s)", tail=tail)
    (line,) = lines_of(figure.axes[0], "a (n = 4)")
    assert list(line.get_xdata()) == [1, 2, 3, 4]
    shares = [1.0, 0.75, 0.5, 0.25] if tail else [0.25, 0.5, 0.75, 1.0]
    assert list(line.get_ydata()) == pytest.approx(shares)


def test_many_samples_are_thinned_but_keep_their_ends():
    figure = distributions.samples_cdf({"a": numpy.arange(1, 50_001)}, x_label="time (s)")
    (line,) = lines_of(figure.axes[0], "a (n = 50,000)")
    assert len(line.get_xdata()) <= 2000
    assert (line.get_xdata()[0], line.get_xdata()[-1]) == (1, 50_000)


def test_times_on_a_logarithmic_axis_are_times_that_a_reader_knows():
    figure = distributions.samples_cdf({"a": [1e-3, 1.0, 4000.0]}, x_label="time")
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert {"1 ms", "1 s", "1 min", "1 h"} <= set(labels)
    narrow = distributions.samples_cdf({"a": [0.9, 1.5, 4.2]}, x_label="time").axes[0]
    assert len(narrow.get_xticks()) >= 2


def test_a_histogram_and_its_law_have_the_same_area():
    samples = numpy.linspace(0, 1, 1000, endpoint=False)
    x = numpy.linspace(0, 1, 5)
    figure = distributions.histogram_with_curve(
        samples, x_label="time (s)", curve=(x, numpy.ones(5), "uniform"), trials={"real": [0.5]},
        bins=10,
    )  # fmt: skip
    bars = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]
    assert len(bars) == 10
    assert sum(bar.get_width() * bar.get_height() for bar in bars) == pytest.approx(1.0)
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert set(legend) == {"simulated (n = 1,000)", "uniform", "real (n = 1)"}


def test_curves_have_a_band_a_tick_per_value_and_published_points():
    frame = GRID.assign(low=GRID["stale"] * 0.8, high=GRID["stale"] * 1.25)
    figure = curves.curve_with_band(
        frame, x="interval", y="stale", low="low", high="high", group="size", is_log_x=True,
        is_log_y=True, x_label="interval (s)", y_label="stale", published=[(400, 0.01, "archive")],
    )  # fmt: skip
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["1", "2", "4", "archive"]
    assert list(axes.get_xticks()) == [100, 200, 400, 800]
    assert len(axes.collections) == 3
    (line,) = lines_of(axes, "2")
    assert list(line.get_ydata()) == pytest.approx([0.02, 0.01, 0.005, 0.0025])


def test_a_point_at_zero_stays_visible_on_a_logarithmic_axis():
    frame = pandas.DataFrame({"x": [1, 2], "y": [0.0, 0.1], "low": [0, 0.05], "high": [0.02, 0.2]})
    figure = curves.curve_with_band(
        frame, x="x", y="y", low="low", high="high", x_label="x", y_label="y", is_log_y=True
    )
    arrows = [line for line in figure.axes[0].lines if line.get_marker() == r"$\downarrow$"]
    assert [list(arrow.get_ydata()) for arrow in arrows] == [[0.02]]


def test_a_final_system_drops_to_the_foot_of_the_axis():
    frame = pandas.DataFrame(
        [("log", 0.001, 1.0), ("log", 0.002, 0.0), ("chain", 600.0, 0.5), ("chain", 6000.0, 0.01)],
        columns=["system", "seconds", "risk"],
    )
    figure = curves.finality_axis(frame, published=[(3600, "60 min", "essay")])
    (axes,) = figure.axes
    ends = [line for line in axes.lines if line.get_marker() not in ("None", None, "")]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in ends] == [(0.002, 1e-6)]
    assert "60 min (essay)" in texts_of(figure)


def test_saturation_shows_rate_over_load_and_latency_over_rate():
    frame = pandas.DataFrame(
        {"clients": [1, 10, 100], "tps": [100, 900, 2000], "p50": [1, 1, 5], "p99": [2, 3, 40]}
    )
    figure = curves.saturation(
        frame, load="clients", rate="tps", latency_p50="p50", latency_p99="p99",
        load_label="clients (count)", published=[(10, 800.0, 1.5, "etcd")], title="It bends",
    )  # fmt: skip
    left, right = figure.axes
    assert list(lines_of(left, "here")[0].get_ydata()) == [100, 900, 2000]
    assert list(lines_of(right, "99 %")[0].get_xdata()) == [100, 900, 2000]
    assert [lines_of(axes, "etcd")[0].get_ydata()[0] for axes in (left, right)] == [800.0, 1.5]


def test_error_bars_have_no_negative_length_and_none_without_an_end():
    """An interval of a proportion may end 1e-18 above its value 0, one of a single run nowhere."""
    frame = pandas.DataFrame({
        "v": [0.0, 1.0, 2.0], "l": [1e-18, 0.25, -math.inf], "h": [0.1, 1.5, math.inf],
    })  # fmt: skip
    below, above = curves.interval_bars(frame, "v", "l", "h")
    assert below[:2].tolist() == [0.0, 0.75]
    assert above[:2].tolist() == [0.1, 0.5]
    assert math.isnan(below[2]) and math.isnan(above[2])


def test_a_heat_map_writes_each_cell_and_its_contours():
    figure = maps.heat_map(
        GRID, x="interval", y="size", value="stale", contour="tps", contour_levels=[0.1],
        contour_label="transactions per second", x_label="s", y_label="MB", value_label="stale",
        is_share=True, title="A map",
    )  # fmt: skip
    axes = figure.axes[0]
    cells = {
        (math.floor(text.get_position()[0]), math.floor(text.get_position()[1])): text.get_text()
        for text in axes.texts
        if text.get_text().endswith(" %")
    }
    assert len(cells) == 12
    assert cells[0, 0] == "1 %"
    assert cells[3, 2] == "0.5 %"
    assert "0.1" in texts_of(figure)


def test_a_heat_map_by_logarithm_without_any_value_above_zero_is_an_empty_one():
    """As of a short run, or an interrupted one, in which no block went stale."""
    figure = maps.heat_map(
        GRID.assign(stale=0.0), x="interval", y="size", value="stale", is_log=True, x_label="s",
        y_label="MB", value_label="stale", title="An empty map",
    )  # fmt: skip
    figure.canvas.draw()
    assert figure.axes[0].collections[0].get_array().max() == 0.0


def test_a_map_counts_who_has_the_block():
    graph = networkx.path_graph(10)
    seconds = {node: 0.1 * node for node in graph} | {9: math.inf}
    places = maps.clustered_positions({node: "AB"[node % 2] for node in graph})
    figure = maps.map_strip(places, graph.edges, seconds, at_s=[0.0, 0.45, 60.0], marked=[0])
    assert [axes.get_title("left") for axes in figure.axes[:3]] == [
        "0 s: 10 %", "0.45 s: 50 %", "60 s: 90 %",
    ]  # fmt: skip
    first, second = figure.axes[:2]
    assert sum(isinstance(part, LineCollection) for part in first.collections) == 1
    counts = [len(part.get_offsets()) for part in second.collections
              if isinstance(part, PathCollection)]  # fmt: skip
    assert counts == [5, 1, 4]


def test_of_very_many_links_an_even_part_is_drawn():
    few = list(range(maps.LINKS_MAX))
    assert maps.drawn_links(few) == few
    assert maps.drawn_links([]) == []
    many = maps.drawn_links(list(range(10 * maps.LINKS_MAX + 1)))
    assert len(many) <= maps.LINKS_MAX
    assert many[1] - many[0] == 11


def test_clusters_keep_their_nodes_apart():
    places = maps.clustered_positions({node: "ABC"[node % 3] for node in range(60)})
    assert len(set(places.values())) == 60
    near = min(math.dist(a, b) for a, b in itertools.combinations(places.values(), 2))
    assert near > 0.01


TREE = pandas.DataFrame(
    [
        ("g", None, True), ("a1", "g", True), ("b1", "g", False), ("c1", "g", False),
        ("a2", "a1", True), ("b2", "b1", False), ("d2", "a1", False), ("a3", "a2", True),
    ],
    columns=["block", "parent", "is_on_chain"],
)  # fmt: skip


def test_a_block_tree_keeps_the_chain_straight_and_no_two_blocks_in_one_place():
    places = chains._places(TREE, "block", "parent", "is_on_chain")
    assert [places[name].lane for name in ("g", "a1", "a2", "a3")] == [0, 0, 0, 0]
    assert len(set(places.values())) == len(TREE)
    assert places["b2"].lane == places["b1"].lane != places["c1"].lane
    assert [places[name].height for name in ("g", "b1", "b2", "a3")] == [0, 1, 2, 3]


def test_a_block_tree_draws_blocks_links_and_reorganisations():
    change = chains.Reorganisation("b2", "a3", "node 7")
    figure = chains.block_tree(TREE, reorganisations=[change])
    (axes,) = figure.axes
    assert sum(isinstance(patch, Rectangle) for patch in axes.patches) == 8
    assert sum(isinstance(patch, FancyArrowPatch) for patch in axes.patches) == 7 + 1
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["on the chain (4)", "stale (4)", "reorganisation"]
    assert "node 7" in texts_of(figure)


def test_a_block_tree_names_what_is_wrong():
    with pytest.raises(ParameterError, match="parents first"):
        chains.block_tree(TREE.iloc[::-1])
    with pytest.raises(ParameterError, match="new_tip must be a block of the frame"):
        chains.block_tree(TREE, reorganisations=[chains.Reorganisation("b2", "zz")])


def test_the_answer_that_nothing_explains_is_highlighted():
    history = [
        Operation(1, Put("x", 1), None, 0, 10), Operation(2, Put("x", 2), None, 12, 25),
        Operation(3, Get("x"), 1, 27, 35),
    ]  # fmt: skip
    verdict = check(history, model=REGISTER)
    figure = histories.history_bars(verdict.failure.bars(), title="Stale read")
    bars = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]
    red = [bar for bar in bars if to_hex(bar.get_edgecolor()) == style.VERMILLION]
    assert (len(bars), len(red)) == (3, 1)
    assert red[0].get_x() == 4
    assert any(text == "1: put 1" for text in texts_of(figure))
    with pytest.raises(ParameterError, match="from 1 to 120 operations"):
        histories.history_bars([])


def test_quorums_mark_whom_they_share():
    figure = histories.quorum_picture([1, 2, 3], {"promised": [1, 2], "accepted": [2, 3]})
    spans = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]
    assert [round(span.get_x() + span.get_width() / 2) for span in spans] == [1]
    with pytest.raises(ParameterError, match=r"within \[1, 2, 3\]"):
        histories.quorum_picture([1, 2, 3], {"odd": [4]})


def stale_result(intervals=(600.0, 12.0)):
    rows = [
        {"block_interval_s": i, "block_size_bytes": s, "blocks": 100, "stale_fraction": s / i / 1e6,
         "stale_low": 0.0, "stale_high": 0.5} for i in intervals for s in (250_000, 1_000_000)
    ]  # fmt: skip
    return SimpleNamespace(
        frame=pandas.DataFrame(rows), parameters=SimpleNamespace(n_nodes=10, seed=1),
        references=[Published("stale_fraction_600s", 0.009, "fraction", "archive, 2012")],
    )  # fmt: skip


def test_the_stale_rates_title_compares_one_size_at_two_intervals():
    title = figures.stale_rate_figure(stale_result()).axes[0].get_title("left")
    assert " ".join(title.split()) == (
        "Of 1 MB blocks every 600 s 0.17 % are wasted, every 12 s 8.3 %"
    )
    one = figures.stale_rate_figure(stale_result([600.0])).axes[0].get_title("left")
    assert " ".join(one.split()) == "Of 1 MB blocks every 600 s 0.17 % are wasted"


def finality_result():
    frame = pandas.DataFrame(
        [("raft", 1, 0.001), ("raft", 1, 0.002), *(("nakamoto", depth, 600.0 * depth + wait)
         for depth in range(1, 7) for wait in (0.0, 60.0))],
        columns=["system", "depth", "seconds"],
    )  # fmt: skip
    measures = {
        "finality_ms_mean": Measure("finality_ms_mean", 1.5, 1, 2, "ms", 2),
        "finality_minutes_mean": Measure("finality_minutes_mean", 60.5, 60, 61, "min", 2),
    }
    return SimpleNamespace(
        frame=frame, measure=measures.get,
        parameters=SimpleNamespace(n_servers=3, n_nodes=9, seed=1),
        references=[Published("finality_ms_mean", 10.0, "ms", "essay (upper bound)")],
    )  # fmt: skip


def test_the_finality_figure_compares_the_means():
    figure = figures.finality_figure(finality_result())
    title = " ".join(figure.axes[0].get_title("left").split())
    assert title == (
        "Final after 1.50 ms in the log and 60.5 min on the chain: 2.4 million times as long"
    )
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert legend == ["raft (n = 2)", "nakamoto, 1 confirmation (n = 2)",
                      "nakamoto, 6 confirmations (n = 2)"]  # fmt: skip
    assert "10 ms (essay)" in texts_of(figure)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["propagation", "stale-rate", "finality", "throughput"])
def test_every_experiments_figure_is_drawn_from_a_real_run(name):
    from consensus_lab import experiments

    small = {
        "propagation": {"n_blocks": 5},
        "stale-rate": {"n_blocks": 20, "block_intervals_s": [60.0]},
        "finality": {"n_requests": 20, "n_blocks": 60},
        "throughput": {
            "offered_per_s": [1000.0, 2000.0], "watched_s": 0.05, "n_blocks": 5,
            "is_calibrated": False,
        },
    }[name]
    result = experiments.run(name, {"n_nodes": 30, "replicates": 2, **small})
    figure = result.figure()
    assert style.render(figure, "svg") == style.render(result.figure(), "svg")
    for axes in figure.axes:
        assert axes.get_ylabel() and (axes.get_xlabel() or axes.get_label() == "<colorbar>")
    assert len(style.describe(figure)) > 60


def test_the_comparison_shows_the_ratio_of_each_cell_that_is_a_number():
    from consensus_lab.report.table import table_frame
    from tests.report.test_table import TABLE

    result = SimpleNamespace(frame=table_frame(TABLE), parameters=SimpleNamespace(seed=1))
    (axes,) = figures.comparison_figure(result).axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == [
        "Payload limit (1.5 MB)", "Payload limit (1 MB)", "Transaction finality (<10 ms)",
        "Transaction finality (60 minutes)",
    ]  # fmt: skip
    points = [tuple(container[0].get_xdata()) for container in axes.containers]
    assert points == [pytest.approx((1.048576, 0.23145)), pytest.approx((1.0, 1.10333), rel=1e-4)]
    assert "4 of 6 cells agree" in " ".join(axes.get_title("left").split())
