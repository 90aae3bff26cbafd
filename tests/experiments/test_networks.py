"""The network of an experiment: what is given holds, the year fills the rest."""

from __future__ import annotations

import os
import subprocess
import sys

import networkx
import numpy
import pytest

from consensus_lab.experiments import networks, propagation
from consensus_lab.experiments.networks import NetworkParameters
from consensus_lab.gossip.mining import draw_schedule
from consensus_lab.gossip.simulate import simulate
from consensus_lab.nakamoto.relay_options import Relay, Validation
from consensus_lab.network import years
from consensus_lab.node import ParameterError

SMALL = {"n_nodes": 60, "n_blocks": 4, "replicates": 2}


def test_without_a_year_the_usual_values_hold() -> None:
    chosen = NetworkParameters()
    assert chosen.relay_options == Relay("inv")
    assert chosen.validation == Validation(bytes_per_s=10_000_000)
    assert chosen.chosen("degree") == 8
    assert chosen.mining_pools() == ()


@pytest.mark.parametrize("year", years.YEARS)
def test_a_year_fills_what_is_not_given_and_only_that(year: int) -> None:
    known = years.network_year(year)
    filled = NetworkParameters.of({"network_year": year})
    for name in networks.UNSET:
        assert filled.chosen(name) == getattr(known, name)
    given = {"degree": 8, "relay": "inv", "missing_chance": 0.0, "pools": "equal",
             "geography": "simblock_2019", "validation_bytes_per_s": 10_000_000}  # fmt: skip
    kept = NetworkParameters.of({"network_year": year, **given})
    assert {name: kept.chosen(name) for name in given} == given, "also the usual values"
    assert kept.replace(network_year=2013).chosen("relay") == "inv"
    assert filled.replace(network_year=2013).chosen("relay") == "inv", "the new year's"


def test_relay_and_its_chance_reach_the_simulator() -> None:
    chosen = propagation.Parameters.of(
        {**SMALL, "relay": "compact_high", "missing_chance": 0.5, "validation_bytes_per_s": 10**6}
    )
    network, seed = networks.build(chosen, 0)
    schedule = draw_schedule(network, n_blocks=4, seed=seed)
    ours = networks.relay_blocks(chosen, network, schedule, seed=seed)
    direct = simulate(
        network, schedule, relay=Relay("compact_high", missing_chance=0.5), seed=seed,
        validation=Validation(bytes_per_s=10**6),
    )  # fmt: skip
    numpy.testing.assert_array_equal(ours.delay_sum_ns, direct.delay_sum_ns)
    by_inv = networks.relay_blocks(chosen.replace(relay="inv"), network, schedule, seed=seed)
    assert by_inv.mean_delay_s() > ours.mean_delay_s()


def test_pools_mine_alone_and_their_relay_network_is_faster_between_them() -> None:
    chosen = NetworkParameters.of({"n_nodes": 120, "pools": "bitcoin_2016", "geography": "aws"})
    bare, seed = networks.build(chosen, 0)
    assert numpy.count_nonzero(bare.hash_share) == 16
    assert set(bare.upload[bare.hash_share > 0]) == {years.POOL_LINE_BYTES_PER_S}
    assert set(bare.upload[bare.hash_share == 0]) != {years.POOL_LINE_BYTES_PER_S}
    chosen = chosen.replace(geography="simblock_2019")
    linked_chosen = chosen.replace(relay_network=True)
    alone, seed = networks.build(chosen, 0)
    linked, _ = networks.build(linked_chosen, 0)
    pools = numpy.flatnonzero(linked.hash_share)
    assert set(pools[1:]) <= set(linked.neighbours(int(pools[0])))
    delays_s = []
    for parameters, network in ((chosen, alone), (linked_chosen, linked)):
        schedule = draw_schedule(network, n_blocks=20, seed=seed)
        race = networks.relay_blocks(parameters, network, schedule, seed=seed)
        delays_s.append(race.node_mean_delay_s()[pools].mean())
    assert delays_s[1] < delays_s[0]


def test_a_graph_that_says_who_mines_keeps_its_miners() -> None:
    graph = networkx.cycle_graph(40)
    graph.nodes[7]["hash_share"] = 2.0
    network, _ = networks.build(NetworkParameters.of({"network_year": 2016}), 0, graph)
    assert numpy.flatnonzero(network.hash_share).tolist() == [7]
    with pytest.raises(ParameterError, match="pools"):
        networks.build(NetworkParameters.of({"network_year": 2016}), 0, networkx.path_graph(5))


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"network_year": 2014}, "network_year"),
        ({"relay": "flood"}, "relay"),
        ({"missing_chance": -0.5}, "missing_chance"),
        ({"relay_network": True}, "relay_network"),
        ({"pools": "bitcoin_2016", "n_nodes": 12}, "n_nodes"),
        ({"n_nodes": 5}, "degree"),
        ({"bandwidth_scale": 0.0}, "bandwidth_scale"),
    ],
)
def test_impossible_networks_are_refused_by_name(values: dict, name: str) -> None:
    with pytest.raises(ParameterError) as caught:
        NetworkParameters.of(values)
    assert caught.value.parameter == name


def test_an_empty_choice_is_shown_as_such() -> None:
    with pytest.raises(ParameterError, match=r"one of '' \(empty\), push, inv"):
        NetworkParameters.of({"relay": "gossip"})


def test_a_year_tells_what_is_unknown_about_it() -> None:
    told = networks.year_notes(NetworkParameters.of({"network_year": 2022}), 1_000_000)
    assert "validation_bytes_per_s" in told[0] and "pools" not in told[0].split("(")[0].split(", ")
    assert "1,231,633" in told[1]
    given = NetworkParameters.of({"network_year": 2022, "validation_bytes_per_s": 10**7})
    assert "validation_bytes_per_s" not in networks.year_notes(given)[0]
    assert networks.year_notes(NetworkParameters()) == []


@pytest.mark.slow
def test_a_mean_by_hash_power_has_the_same_digits_however_many_threads_numpy_has():
    """At a size from which numpy's BLAS splits a product of vectors among its threads."""
    code = (
        "import numpy; from consensus_lab.experiments.networks import mean_by_hash_power as mean\n"
        "draws = numpy.random.default_rng(1).random((20, 2, 20_000))\n"
        "print([mean(*pair) for pair in draws])"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "OPENBLAS_NUM_THREADS": threads},
            capture_output=True, text=True, check=True,
        ).stdout
        for threads in ("1", "2")
    }  # fmt: skip
    assert len(printed) == 1
