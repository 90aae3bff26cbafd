"""The race of pools alone: against the compiled network, and against closed forms."""

import math

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus_lab import data
from consensus_lab.gossip.mining import draw_schedule
from consensus_lab.gossip.pool_race import pool_race, race_of_schedule
from consensus_lab.gossip.simulate import simulate
from consensus_lab.network.arrays import from_edges
from consensus_lab.node import ParameterError


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(2, 6),
    seed=st.integers(0, 10**6),
    interval_s=st.sampled_from([0.2, 1.0, 10.0, 600.0]),
)
def test_it_builds_the_same_chain_as_the_network_of_pools(n, seed, interval_s):
    """Pools linked to each other, one latency each way and no bandwidth: parents are equal."""
    pairs = numpy.array([(a, b) for a in range(n) for b in range(a)])
    latency_s = 0.1
    network = from_edges(
        pairs,
        latency_s=numpy.full(len(pairs), latency_s),
        upload_bytes_per_s=numpy.full(n, numpy.inf),
        download_bytes_per_s=numpy.full(n, numpy.inf),
        hash_share=numpy.random.default_rng(seed).random(n) + 0.1,
    )
    schedule = draw_schedule(
        network, n_blocks=60, block_interval_s=interval_s, block_size_bytes=1, seed=seed
    )
    race = simulate(network, schedule)
    delay_ns = numpy.full((n, n), 3 * 100_000_000)
    pools = race_of_schedule(schedule.found_ns, schedule.miner, delay_ns)
    numpy.testing.assert_array_equal(pools.parent, race.parent)


def brute_force(found_ns, miner, delay_ns):
    """Every pool's view of every block, no shortcut: parents."""
    parent, height = [-1], [0]
    accepted = [[-1] * len(delay_ns)]
    for i, (now, pool) in enumerate(zip(found_ns, miner, strict=True)):
        known = [b for b in range(i + 1) if accepted[b][pool] <= now]
        best = max(known, key=lambda b: (height[b], -accepted[b][pool], -b))
        parent.append(best)
        height.append(height[best] + 1)
        own = [now + (delay_ns[pool][j] if j != pool else 0) for j in range(len(delay_ns))]
        accepted.append([max(a, b) for a, b in zip(own, accepted[best], strict=True)])
    return parent


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(n=st.integers(1, 5), seed=st.integers(0, 10**6), spacing=st.sampled_from([3, 100, 3000]))
def test_looking_at_open_blocks_only_loses_nothing(n, seed, spacing):
    """Against every pool's full view, with any delays, also those that break triangles."""
    random = numpy.random.default_rng(seed)
    found_ns = numpy.cumsum(random.integers(1, 2 * spacing, 80))
    miner = random.integers(0, n, 80)
    delay_ns = random.integers(0, 300, (n, n))
    race = race_of_schedule(found_ns, miner, delay_ns)
    assert race.parent.tolist() == brute_force(found_ns.tolist(), miner.tolist(), delay_ns.tolist())


def test_two_equal_miners_fork_as_the_closed_form_says():
    """Small delay d: a share d / (2 T) of blocks meets a rival; four sigma, 400,000 blocks."""
    n_blocks, delay_s, interval_s = 400_000, 1.0, 100.0
    rate = pool_race(
        [1, 1], delay_s, n_blocks=n_blocks, block_interval_s=interval_s, seed=5
    ).stale_rate()
    expected = delay_s / (2 * interval_s)
    assert abs(rate - expected) < 4 * math.sqrt(expected / n_blocks) + expected**2


@pytest.mark.parametrize("row", data.rows("network/published/cpr_honest_clique10_nakamoto.csv"))
def test_ten_pools_agree_with_another_simulator(row):
    """pkel/cpr: hash power 1 to 10, delays uniform from 0.5 to 1.5 s; four sigma of both samples.

    They draw a delay per message, here one per pair of pools: the mean, which the rate follows to
    first order, is the same.
    """
    n_blocks, interval_s = 400_000, float(row["block_interval_s"])
    delay_s = numpy.random.default_rng(1).uniform(0.5, 1.5, (10, 10))
    delay_s += 1.0 - delay_s[~numpy.eye(10, dtype=bool)].mean()
    rate = pool_race(
        numpy.arange(1, 11), delay_s, n_blocks=n_blocks, block_interval_s=interval_s, seed=7
    ).stale_rate()
    theirs, their_blocks = float(row["stale_rate"]), int(row["blocks_mined"])
    sigma = math.sqrt(rate / n_blocks + rate / their_blocks)
    assert abs(rate - theirs) < 4 * sigma


def test_a_single_pool_never_loses_a_block():
    """Nobody to race against."""
    assert pool_race([1.0], 100.0, n_blocks=1000, block_interval_s=1.0).stale_rate() == 0.0


def test_small_pools_lose_a_larger_share():
    """A miner does not race against itself, so the larger one loses less of its blocks."""
    race = pool_race([0.8, 0.2], 10.0, n_blocks=100_000, block_interval_s=100.0, seed=1)
    large, small = race.stale / race.found
    assert small > 1.5 * large


@pytest.mark.parametrize(
    ("arguments", "parameter"),
    [
        ({"shares": []}, "shares"),
        ({"shares": [-1, 2]}, "shares"),
        ({"delay_s": -1.0}, "delay_s"),
        ({"delay_s": math.nan}, "delay_s"),
        ({"n_blocks": 0}, "n_blocks"),
        ({"block_interval_s": 0.0}, "block_interval_s"),
        ({"block_interval_s": 1e-6, "delay_s": 100.0, "n_blocks": 10_000}, "block_interval_s"),
    ],
)
def test_wrong_parameters_are_refused_by_name(arguments, parameter):
    """A user's mistake names the parameter."""
    given_arguments = {"shares": [1, 1], "delay_s": 1.0, "n_blocks": 10, **arguments}
    with pytest.raises(ParameterError) as caught:
        pool_race(given_arguments.pop("shares"), given_arguments.pop("delay_s"), **given_arguments)
    assert caught.value.parameter == parameter
