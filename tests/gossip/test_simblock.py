"""SimBlock's model against SimBlock's own recorded runs: within their sampling intervals."""

import math

import numpy
import pytest

from consensus_lab import data
from consensus_lab.gossip.simblock import (
    Settings,
    _latency_tables,
    _links,
    simulate,
)
from consensus_lab.gossip.simblock_kernel import CELLS, MIXED_CELL
from consensus_lab.node import ParameterError

RUNS = {row["run"]: row for row in data.rows("network/published/simblock_run_outputs.csv")}


def settings_of(row):
    """The settings of a published run."""
    return Settings(
        n_nodes=int(row["nodes"]),
        end_height=int(row["end_block_height"]),
        block_interval_s=float(row["block_interval_s"]),
        block_size_bytes=int(row["block_size_bytes"]),
        compact_usage=float(row["compact_block_usage"]),
        year=row["latency_and_bandwidth_year"],
        regions=row["region_distribution"],
        degrees=row["degree_distribution"],
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "run", ["default_n600_seed10", "net2015_nocompact_n600", "litecoin_n800", "dogecoin_n600"]
)
def test_delays_and_stale_blocks_agree_with_simblock(run):
    """Quantiles within 6 % (SimBlock's own seeds differ by up to 5 %), stale within 4 sigma."""
    row = RUNS[run]
    outcome = simulate(settings_of(row), seed=3)
    for percent in (10, 25, 50, 75, 90, 95):
        theirs = float(row[f"delay_p{percent}_s"])
        assert abs(outcome.delay_quantile_s(percent / 100) / theirs - 1) < 0.06, percent
    assert abs(outcome.delay_mean_s() / float(row["delay_mean_s"]) - 1) < 0.05
    for column, percent in enumerate((50, 90, 99, 100)):
        theirs = float(row[f"mean_t{percent}_s"])
        assert abs(outcome.reached_s[:, column].mean() / theirs - 1) < 0.06, percent
    found = outcome.on_chain_blocks + outcome.stale_blocks
    expected = float(row["stale_fraction"]) * found
    # Both counts are random: the variance of the difference is the sum.
    sigma = math.sqrt(2 * max(expected, 1.0))
    assert abs(outcome.stale_blocks - expected) < 4 * sigma + 1


def test_one_seed_one_outcome():
    """Twice the same, another seed another."""
    settings = Settings(n_nodes=100, end_height=20)
    first, again, other = (simulate(settings, seed=seed) for seed in (1, 1, 2))
    numpy.testing.assert_array_equal(first.delay_ms, again.delay_ms)
    assert first.delay_mean_s() != other.delay_mean_s()


def test_the_latency_table_is_the_rounded_pareto_law():
    """Every cell that is looked up rounds to one value at both of its ends."""
    mean_ms = numpy.array([12.0, 124.0])
    cell, law, least = _latency_tables(mean_ms)
    for pair, mean in enumerate(mean_ms):
        scale, exponent = law[pair]
        assert (scale, exponent) == (mean - 5, 5 / mean)
        assert least[pair] == mean - 5
        edges = numpy.arange(1, CELLS + 1) / CELLS
        rounded = numpy.floor(scale / edges**exponent + 0.5)
        pure = cell[pair] != MIXED_CELL
        assert pure.mean() > 0.9
        numpy.testing.assert_array_equal(cell[pair][pure], rounded[pure])
        assert not pure[0], "the law has no greatest value"


def test_links_have_the_table_degrees():
    """Mean degree 17.3 at 6000 nodes (measured in SimBlock); no loops, no repeats, both ways."""
    offset, neighbour = _links(Settings(n_nodes=6000), seed=1)
    assert abs(len(neighbour) / 6000 - 17.3) < 0.05
    source = numpy.repeat(numpy.arange(6000), numpy.diff(offset))
    assert not (source == neighbour).any()
    there = source * 6000 + neighbour
    assert len(numpy.unique(there)) == len(there)
    numpy.testing.assert_array_equal(numpy.sort(neighbour * 6000 + source), there)


def test_few_nodes_are_all_linked():
    """More links wanted than there are pairs."""
    _, neighbour = _links(Settings(n_nodes=4), seed=1)
    assert len(neighbour) <= 12
    assert simulate(Settings(n_nodes=4, end_height=5), seed=1).on_chain_blocks >= 5


@pytest.mark.parametrize(
    ("settings", "parameter"),
    [
        (Settings(n_nodes=1), "n_nodes"),
        (Settings(n_nodes=1 << 20), "n_nodes"),
        (Settings(end_height=0), "end_height"),
        (Settings(degrees="moon"), "degrees"),
        (Settings(regions="moon"), "regions"),
        (Settings(year="1999"), "geography"),
    ],
)
def test_wrong_settings_are_refused_by_name(settings, parameter):
    """A user's mistake names the parameter."""
    with pytest.raises(ParameterError) as caught:
        simulate(settings)
    assert caught.value.parameter == parameter
