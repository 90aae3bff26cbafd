"""Simulated against published: the comparisons compare what they say, and notice a difference."""

from __future__ import annotations

import networkx
import numpy
import pandas
import pytest

from consensus_lab import data
from consensus_lab.experiments import networks, validation, validation_sensitivity
from consensus_lab.experiments.validations import (
    coins,
    comparison,
    first_passage,
    forks,
    gervais,
    simblock,
    years,
)
from consensus_lab.experiments.validations.comparison import BOUND, compare, exact
from consensus_lab.network import topology
from consensus_lab.network.gervais import (
    INTERVAL_FACTOR,
    VALIDATION_BYTES_PER_S,
    block_sizes,
    gervais_network,
)
from consensus_lab.network.years import mining_pools
from consensus_lab.node import ParameterError

TEXTS = dict.fromkeys(("group", "setting", "quantity", "definition", "unit", "source"), "")


def one(simulated: tuple, published: tuple, kind: str = "measured") -> comparison.Comparison:
    return compare(simulated, published, replicates=3, kind=kind, **TEXTS)


def test_two_values_agree_when_their_intervals_reach_each_other_as_errors_add() -> None:
    assert one((1.0, 0.9, 1.1), exact(1.05)).verdict == "within"
    assert one((1.0, 0.9, 1.1), exact(1.11)).verdict == "differs"
    # 0.13 apart; 0.1 and 0.1 add to 0.14.
    assert one((1.0, 0.9, 1.1), (1.13, 1.03, 1.2)).verdict == "within"
    assert one((1.0, 0.9, 1.1), (1.15, 1.05, 1.2)).verdict == "differs"
    assert one((1.0, 0.9, 1.1), exact(1.05), BOUND).verdict == "holds"
    assert one((1.0, 0.9, 1.1), exact(1.2), BOUND).verdict == "broken"


def test_a_reason_stands_only_where_there_is_a_difference() -> None:
    differs = one((1.0, 0.9, 1.1), exact(2.0)).row()
    assert differs["why"] == "unknown" and differs["ratio"] == 0.5
    assert one((1.0, 0.9, 1.1), exact(1.0)).row()["why"] == ""


def test_a_longer_published_run_spreads_less_than_ours() -> None:
    wide = comparison.one_run_of_the_same_kind(1.0, [0.9, 1.0, 1.1])
    close = comparison.one_run_of_the_same_kind(1.0, [0.9, 1.0, 1.1], variance_share=0.25)
    assert numpy.isclose(wide[2] - wide[1], 2 * (close[2] - close[1]))


@pytest.mark.slow
def test_bitcoin_simulators_network_has_its_published_degrees_pools_and_sizes() -> None:
    """Run at 6000 nodes, the program reported 11.03 connections per node and 705.6 per pool."""
    network = gervais_network(seed=1)
    degree = numpy.diff(network.offset)
    pools = numpy.flatnonzero(network.hash_share)
    assert pools.tolist() == list(range(16))
    assert abs(degree[16:].mean() / 11.03 - 1) < 0.05
    assert abs(degree[:16].mean() / 705.6 - 1) < 0.03
    shares = [pool.share for pool in mining_pools("bitcoin_2016")]
    numpy.testing.assert_allclose(network.hash_share[:16], numpy.array(shares) / sum(shares))
    assert (network.upload[:16] == 12_500_000).all()
    assert network.upload[16:].mean() < 0.4 * network.download[16:].mean(), "homes, not halls"
    rows = data.rows("network/gervais_2016_bandwidth_histogram.csv")
    table = numpy.array([
        [float(row[name]) for name in ("bin_low_bytes_per_s", "bin_high_bytes_per_s", "weight")]
        for row in rows if (row["region"], row["direction"]) == ("EUROPE", "upload")
    ])  # fmt: skip
    expected = (table[:, :2].mean(axis=1) * table[:, 2]).sum() / table[:, 2].sum()
    europe = numpy.array([name == "EUROPE" for name in network.region])
    europe[:16] = False
    assert abs(network.upload[europe].mean() / expected - 1) < 0.1
    mean = block_sizes("bitcoin", 20_000, seed=1).mean()
    assert abs(mean / 531_455 - 1) < 0.02, "the histogram's own mean"
    assert abs(block_sizes("bitcoin", 20_000, scale=0.1, seed=1).mean() / mean - 0.1) < 1e-3


@pytest.mark.parametrize(("coin", "n"), [("bitcoin", 40), ("litecoin", 60), ("dogecoin", 200)])
def test_small_networks_of_every_coin_hold_together(coin: str, n: int) -> None:
    network = gervais_network(n, coin=coin, seed=2)
    graph = networkx.Graph(
        (v, other) for v in range(n) for other in network.neighbours(v)
    )  # fmt: skip
    assert len(graph) == n and networkx.is_connected(graph)
    count = len(mining_pools(f"{coin}_2016"))
    assert set(range(1, count)) <= set(network.neighbours(0))


def test_bitcoin_simulators_interval_is_the_mean_of_its_geometric_law() -> None:
    """bitcoin-miner.cc: in each step of a millisecond a chance of 0.19 / 2 per minute."""
    step_minutes = 1 / 60 / 1000
    chance = 0.19 * step_minutes / 2
    drawn = numpy.random.default_rng(1).geometric(chance, 100_000) * step_minutes
    assert abs(drawn.mean() / (10 * INTERVAL_FACTOR) - 1) < 0.01
    assert INTERVAL_FACTOR > 1.05


def test_delays_end_when_a_block_is_received_and_not_when_it_is_checked() -> None:
    network = gervais_network(40, seed=3)
    row = gervais.published_rows(everything=False)[-1]
    race = gervais.race_of(row, network, n_blocks=4, seed=3)
    delay_s = gervais.delays_s(race)
    others = delay_s > 0.0
    assert others.sum() == 4 * 39, "the finder has it at once"
    checked_s = (race.accepted_ns[1:] - race.schedule.found_ns[:, None]) / 1e9
    check_s = float(row["block_size_mb"]) * 1e6 / VALIDATION_BYTES_PER_S
    numpy.testing.assert_allclose((checked_s - delay_s)[others], check_s, atol=1e-8)


def test_wrong_networks_of_bitcoin_simulator_are_refused() -> None:
    with pytest.raises(ParameterError, match="coin"):
        gervais_network(coin="peercoin")
    with pytest.raises(ParameterError, match="n_nodes"):
        gervais_network(20)
    with pytest.raises(ParameterError, match="coin"):
        block_sizes("ethereum", 3)


@pytest.mark.slow
def test_closed_forms_of_forks_come_out() -> None:
    """At twice the interval's width: one in some thousand seeds would fail by chance."""
    rows = forks.fully_delayed(n_blocks=60_000, seed=5) + forks.two_miners(n_blocks=60_000, seed=5)
    for row in rows:
        assert abs(row.simulated - row.published) < 2 * (row.high - row.low) / 2 + 1e-12, row
    assert {row.kind for row in rows} == {"closed form"}


@pytest.mark.slow
def test_gossip_times_on_the_complete_graph_are_the_exact_sums() -> None:
    rows = first_passage.on_the_complete_graph(n_graphs=40, seed=3)
    assert [row.quantity for row in rows] == ["mean_arrival", "t50", "t90", "t100"]
    for row in rows:
        assert abs(row.simulated - row.published) < (row.high - row.low), row


@pytest.mark.slow
def test_gossip_times_on_random_graphs_are_the_published_ones() -> None:
    rows = [row for name in first_passage.GRAPHS
            for row in first_passage.on_random_graphs(name, n_graphs=8, seed=3)]  # fmt: skip
    assert len(rows) == 4 * len(first_passage.GRAPHS)
    for row in rows:
        assert abs(row.simulated - row.published) < (row.high - row.low), row


def test_another_law_of_latency_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Constant links have the same mean and another passage: the comparison says so."""
    monkeypatch.setattr(first_passage, "network_of", lambda links, n, latency_s: original(
        links, n, numpy.ones(len(links))))  # fmt: skip
    rows = first_passage.on_the_complete_graph(n_graphs=4, seed=3)
    assert {row.verdict for row in rows} == {"differs"}


original = first_passage.network_of


def test_arrivals_over_an_own_graph_are_its_shortest_paths() -> None:
    graph = networkx.path_graph(30)
    networkx.set_edge_attributes(graph, 0.25, "latency_s")
    network, _ = networks.build(networks.NetworkParameters(), 0, graph)
    rows = {row.quantity: row for row in first_passage.on_own_graph(network, seed=1)}
    assert {row.verdict for row in rows.values()} == {"within"}
    assert rows["t100"].simulated > 15 * 0.25, "from the middle at best"


def test_a_delay_weighs_as_much_as_the_hash_power_that_waits() -> None:
    race = type("", (), {
        "node_mean_delay_s": lambda self: numpy.array([0.0, 4.0, 100.0]),
        "network": type("", (), {"hash_share": numpy.array([0.75, 0.25, 0.0])})(),
    })()  # fmt: skip
    assert forks.mean_delay_by_hash_power_s(race) == 1.0


@pytest.mark.slow
def test_decker_and_wattenhofers_formula_foresees_the_forks() -> None:
    """Within 15 %: it counts a third block at a height twice, a miner's own race not at all."""
    chosen = validation.Parameters.of({"n_nodes": 60, "n_blocks": 4000, "replicates": 2})
    races = validation.quick_races(chosen, None)
    fork, growth = forks.on_a_network(races, interval_s=30.0, setting="")
    assert abs(fork.simulated / fork.published - 1) < 0.15
    assert growth.published < growth.high and growth.simulated < 1.0


def test_heights_with_a_fork_are_counted_once_each() -> None:
    race = type("", (), {"height": numpy.array([0, 1, 1, 2, 3, 3, 3])})()
    assert forks.heights_with_fork(race) == (2, 3)


@pytest.mark.slow
def test_each_kind_of_source_gives_its_rows() -> None:
    row = gervais.published_rows(everything=False)[2]
    races = [
        gervais.race_of(row, network, n_blocks=6, seed=seed)
        for network, seed in gervais.networks(1, 2)
    ]
    rows = gervais.compare_row(row, races)
    assert [one.quantity for one in rows] == [
        "delay mean", "delay median", "delay p10", "delay p90", "stale fraction",
    ]  # fmt: skip
    assert 0.5 < rows[1].simulated / rows[1].published < 2.0
    assert rows[1].published == float(row["median_s"])
    assert len(gervais.published_rows(everything=True)) > 80
    run = next(r for r in simblock.published_rows(everything=False) if "dogecoin" in r["run"])
    outcomes = simblock.outcomes_of(run, end_height=30, seeds=2, seed=1)
    delays = simblock.compare_run(run, outcomes)[:2]
    assert all(0.8 < one.simulated / one.published < 1.25 for one in delays)
    for coin in coins.settings():
        found = coins.compare_coin(coin, [coins.race_of(coin, n_nodes=40, n_blocks=20, seed=1)])
        assert len(found) == 1 and 0.001 < found[0].published < 0.1, coin["coin"]


@pytest.mark.slow
def test_a_year_is_beside_what_was_measured_then() -> None:
    chosen = years.parameters_of(2022, n_nodes=60, seed=1)
    races = years.races_of(chosen, n_blocks=20, replicates=2)
    rows = {(row.group, row.quantity): row for row in years.compare_year(2022, races)}
    assert rows["propagation by year", "delay p50"].published == 0.358
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
        ours = numpy.mean([networks.delay_quantile_s(race, share) for race in races])
        assert numpy.isclose(rows["propagation by year", f"delay {name}"].simulated, ours)
    found = sum(race.schedule.n_blocks for race in races)
    assert rows["stale by year", "stale fraction"].replicates == found == 40
    assert rows["stale by year", "stale fraction"].published == 0.00013
    alone = years.compare_year(2016, races, relay_network=True)
    assert {row.group for row in alone} == {"stale by year"}


@pytest.mark.slow
def test_the_experiment_gives_one_row_per_comparison_and_a_figure() -> None:
    small = {"groups": ["forks", "gossip_times"], "n_nodes": 40, "n_blocks": 60, "n_graphs": 2,
             "replicates": 2}  # fmt: skip
    result = validation.run(validation.Parameters.of(small))
    frame = result.frame
    assert list(frame["group"].unique()) == ["closed forms: forks", "gossip times"]
    assert frame["verdict"].isin(["within", "differs", "holds", "broken"]).all()
    assert (frame["low"] <= frame["simulated"]).all()
    assert (frame["simulated"] <= frame["high"]).all()
    table = comparison.by_group(frame)
    assert table["comparisons"].sum() == len(frame)
    assert "agree with what was published" in result.figure().get_suptitle()
    again = validation.run(validation.Parameters.of(small))
    pandas.testing.assert_frame_equal(frame, again.frame)


@pytest.mark.slow
def test_an_own_graph_stands_in_where_that_makes_sense() -> None:
    small = {"n_blocks": 20, "replicates": 2, "groups": ["forks", "gossip_times", "simblock"]}
    graph = topology.bitcoin(50, seed=4)
    frame = validation.run(validation.Parameters.of(small), graph=graph).frame
    assert frame["setting"].str.contains("50 nodes").all()
    with pytest.raises(ParameterError, match="groups"):
        validation.run(validation.Parameters.of({"groups": ["simblock"]}), graph=graph)
    with pytest.raises(ParameterError, match="each name once"):
        validation.Parameters.of({"groups": ["forks", "forks"]})


@pytest.mark.slow
def test_slower_checking_is_slower_relay() -> None:
    """A quarter of the speed costs each hop more; an input that the year lacks is not changed."""
    small = {"network_years": [2016, 2022], "n_nodes": 60, "n_blocks": 6, "replicates": 3}
    result = validation_sensitivity.run(validation_sensitivity.Parameters.of(small))
    frame = result.frame.set_index(["year", "input", "change"])
    for year in (2016, 2022):
        assert frame.loc[(year, "checking speed", "x 0.25"), "ratio_low"] > 1.05
        assert frame.loc[(year, "checking speed", "x 4"), "ratio_high"] < 1.0
        assert frame.loc[(year, "nothing", ""), "ratio"] == 1.0
        assert frame.loc[(year, "line rates", "x 0.5"), "ratio"] > 1.0
    assert (2022, "missing transactions", "chance 0.5") in frame.index
    assert 2016 not in frame.loc[:, "missing transactions", :].index
    assert frame.loc[(2022, "checking speed", "x 4"), "status"] == "carried"
    assert "Most rests on" in result.figure().axes[0].get_title("left")


def test_the_longest_delay_counts_the_height_not_the_block() -> None:
    """Two blocks of height 1: the miner who heard of one does not wait for the other."""
    race = type("", (), {
        "accepted_ns": numpy.array([[0, 0], [10, 40], [90, 20], [60, 70]]) * 10**9,
        "height": numpy.array([0, 1, 1, 2]),
        "schedule": type("", (), {"found_ns": numpy.array([10, 20, 60]) * 10**9})(),
        "network": type("", (), {"hash_share": numpy.array([0.5, 0.5])})(),
    })()  # fmt: skip
    assert forks.longest_delay_s(race) == 10.0
