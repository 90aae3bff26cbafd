"""Pools that withhold: against the theory's policies, its revenues, and the honest race."""

import math

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus_lab import theory
from consensus_lab.gossip.pool_race import (
    pool_race,
    race_of_schedule,
    withheld_race_of_schedule,
)
from consensus_lab.nakamoto.relay_withholding import IRRELEVANT, RELEVANT, Strategy, decide
from consensus_lab.node import ParameterError
from consensus_lab.theory.stubborn import STUBBORN_STRATEGIES, stubborn_policy

ACTIONS_MAX = 14


@pytest.mark.parametrize("strategy", STUBBORN_STRATEGIES.values(), ids=STUBBORN_STRATEGIES.keys())
def test_the_decision_is_the_one_of_the_theory_in_every_state(strategy):
    """Every state that can be met, below the theory's truncation."""
    lead, equal_fork, trail = strategy
    policy = stubborn_policy(ACTIONS_MAX + 1, lead, equal_fork, trail)
    for own in range(ACTIONS_MAX):
        for public in range(ACTIONS_MAX):
            for fork in range(3):
                if (fork, public) == (RELEVANT, 0) or (fork, own) == (IRRELEVANT, 0):
                    continue  # The last block was the one or the other side's.
                if fork == 2 and own < public:
                    continue  # A race is between equals.
                action = decide(own, public, fork, lead=lead, equal_fork=equal_fork, trail=trail)
                assert action == policy[own, public, fork], (own, public, fork)


@pytest.mark.slow
@pytest.mark.parametrize("name", STUBBORN_STRATEGIES)
@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 0.5), (0.4, 0.9), (1 / 3, 0.0)])
def test_revenue_agrees_with_the_chain_of_states(name, alpha, gamma):
    """Three pools, no delay, gamma given: within three standard errors of twelve races."""
    lead, equal_fork, trail = STUBBORN_STRATEGIES[name]
    honest = (1.0 - alpha) / 2.0
    shares = []
    for seed in range(12):
        race = pool_race(
            [honest, alpha, honest], 0.0, n_blocks=15_000, gamma=gamma, seed=seed,
            withholding={1: Strategy(lead, equal_fork, trail)},
        )  # fmt: skip
        blocks = race.chain_blocks()
        shares.append(blocks[1] / blocks.sum())
    expected = theory.stubborn_mining_revenue(
        alpha, gamma=gamma, lead=lead, equal_fork=equal_fork, trail=trail, truncation=70
    )
    error = numpy.std(shares, ddof=1) / math.sqrt(len(shares))
    assert abs(numpy.mean(shares) - expected) < 3.0 * error


def test_selfish_mining_agrees_with_the_closed_form():
    """Eyal and Sirer's revenue and stale fraction, three sigma of eight races."""
    rates = theory.selfish_mining_rates(0.35, gamma=0.5)
    races = [
        pool_race([0.35, 0.65], 0.0, n_blocks=50_000, gamma=0.5, seed=seed,
                  withholding={0: Strategy()})
        for seed in range(8)
    ]  # fmt: skip
    revenue = numpy.array([r.chain_blocks()[0] / r.chain_blocks().sum() for r in races])
    stale = numpy.array([r.stale_rate() for r in races])
    for sample, expected in ((revenue, rates.relative_revenue), (stale, rates.stale_fraction)):
        error = sample.std(ddof=1) / math.sqrt(len(sample))
        assert abs(sample.mean() - expected) < 3.0 * error


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 5), seed=st.integers(0, 10**6), spacing=st.sampled_from([3, 100, 3000]))
def test_without_withholding_pools_it_is_the_same_race(n, seed, spacing):
    """The loop of events gives the parents of the loop of open blocks."""
    random = numpy.random.default_rng(seed)
    # Discoveries at even, acceptances at odd times: nothing coincides.
    found_ns = 2 * numpy.cumsum(random.integers(1, 2 * spacing, 80))
    miner = random.integers(0, n, 80)
    delay_ns = 2 * random.choice(400, (n, n), replace=False) + 1
    plain = race_of_schedule(found_ns, miner, delay_ns)
    full = withheld_race_of_schedule(found_ns, miner, delay_ns, withholding={})
    assert full.parent.tolist() == plain.parent.tolist()


def two_sides(near_s, far_s):
    """Pool 0 withholds; pool 1 finds the public blocks; pool 2 hears of both."""
    return numpy.array([[0.0, 1.0, near_s], [0.1, 0.0, far_s], [1.0, 1.0, 0.0]])


@pytest.mark.parametrize(("delays", "gamma"), [((0.1, 5.0), 1.0), ((5.0, 0.1), 0.0)])
def test_gamma_follows_from_who_is_heard_first(delays, gamma):
    """The third pool joins whom it hears first; the second never leaves its own block."""
    race = pool_race(
        [0.4, 0.1, 0.5], two_sides(*delays), n_blocks=20_000, block_interval_s=2e4, seed=3,
        withholding={0: Strategy()},
    )  # fmt: skip
    # Only against pool 1, a sixth of the others, is there anybody to win: pool 2, the rest.
    races, expected = race.matched[0], gamma * 5 / 36
    assert races > 1000
    assert abs(race.joined[0] - expected * races) <= 4.0 * math.sqrt(expected * races)
    assert race.matched[1] == race.joined[1] == 0


def test_two_selfish_pools_hurt_each_other():
    """More blocks go stale, and the first pool earns less than it would without the second."""
    shares = [0.27, 0.27, 0.46]
    both, alone = (
        pool_race(shares, 0.0, n_blocks=50_000, gamma=0.5, seed=1, withholding=pools)
        for pools in ({0: Strategy(), 1: Strategy()}, {0: Strategy()})
    )
    assert both.stale_rate() > alone.stale_rate() + 0.05
    assert both.chain_blocks()[0] / both.found[0] < alone.chain_blocks()[0] / alone.found[0]


@pytest.mark.parametrize(
    ("arguments", "parameter"),
    [
        ({"gamma": 1.5}, "gamma"),
        ({"withholding": {3: Strategy()}}, "withholding"),
        ({"withholding": {0: Strategy(trail=-1)}}, "trail"),
        ({"block_interval_s": 1e-6, "n_blocks": 200_000}, "block_interval_s"),
        ({"block_interval_s": 1e9}, "n_blocks"),
    ],
)
def test_wrong_parameters_are_refused_by_name(arguments, parameter):
    """A user's mistake names the parameter."""
    given_arguments = {"withholding": {0: Strategy()}, "n_blocks": 10, **arguments}
    with pytest.raises(ParameterError) as caught:
        pool_race([1, 1], 10.0, **given_arguments)
    assert caught.value.parameter == parameter
