"""The network by year: every input has its source, and no output is among them."""

import math

import networkx
import pytest

from consensus_lab import data
from consensus_lab.nakamoto.relay_options import PROTOCOLS
from consensus_lab.network import years
from consensus_lab.network.attributes import fill, with_pools
from consensus_lab.network.geography import NAMES, geography
from consensus_lab.node import ParameterError

QUANTITIES = {
    "geography", "degree", "relay", "missing_chance", "block_size_bytes",
    "validation_bytes_per_s", "pools", "pool_line_bytes_per_s", "n_nodes",
}  # fmt: skip


@pytest.mark.parametrize("year", years.YEARS)
def test_every_input_of_a_year_is_there_once_with_a_source_and_a_status(year):
    known = years.network_year(year)
    assert sorted(one.quantity for one in known.inputs) == sorted(QUANTITIES)
    for one in known.inputs:
        assert one.status in ("measured", "rule", "carried"), one
        assert len(one.source) > 5, one
        if one.status == "carried":
            assert one.note, f"{one} says what is unknown"
    assert known.geography in NAMES
    assert known.relay in PROTOCOLS
    assert known.pools in years.POOLS


def test_the_mean_block_size_is_that_of_the_samples():
    """Both files say the same; 2025 carries the sample of 2026."""
    samples = data.rows("network/block_size_samples.csv")
    for year in years.YEARS:
        sampled = {2025: "2026"}.get(year, str(year))
        sizes = [int(r["block_size_bytes_mean"]) for r in samples if r["date"][:4] == sampled]
        assert abs(years.network_year(year).block_size_bytes - sum(sizes) / len(sizes)) <= 1


@pytest.mark.parametrize("name", years.POOLS)
def test_pools_share_all_the_hash_power_in_known_regions(name):
    pools = years.mining_pools(name)
    assert math.isclose(sum(pool.share for pool in pools), 1.0, abs_tol=2e-2)
    assert {pool.region for pool in pools} <= set(geography("simblock_2019").regions)


def test_an_unknown_year_and_unknown_pools_are_refused():
    with pytest.raises(ParameterError, match="2013, 2016"):
        years.network_year(2014)
    with pytest.raises(ParameterError, match="bitcoin_2016"):
        years.mining_pools("none")


def test_pools_stand_in_their_regions_while_there_is_room():
    filled = fill(networkx.cycle_graph(200), seed=3)
    placed = with_pools(filled, [3, 2, 1], seed=3, regions=["JAPAN", "EUROPE", "EUROPE"])
    where = {
        share: placed.nodes[node]["region"]
        for node, share in placed.nodes(data="hash_share") if share > 0
    }  # fmt: skip
    assert where == {0.5: "JAPAN", 2 / 6: "EUROPE", 1 / 6: "EUROPE"}
    crowded = with_pools(filled, [1] * 150, seed=3, regions=["JAPAN"] * 150)
    assert sum(share > 0 for _, share in crowded.nodes(data="hash_share")) == 150
    with pytest.raises(ParameterError, match="regions"):
        with_pools(filled, [1, 1], regions=["EUROPE"])


def test_bandwidth_scales_and_nothing_else_does():
    place = geography("simblock_2019")
    twice = place.with_bandwidth(2.0)
    assert twice.upload_bytes_per_s == tuple(2 * rate for rate in place.upload_bytes_per_s)
    assert twice.latency_s == place.latency_s
    with pytest.raises(ParameterError, match="bandwidth_scale"):
        place.with_bandwidth(0.0)
