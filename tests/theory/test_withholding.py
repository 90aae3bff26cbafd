"""Selfish, optimal and stubborn mining: three solutions of one chain against each other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus_lab import theory
from consensus_lab.node import ParameterError
from consensus_lab.theory import _withholding as chain

POOLS = st.floats(0.02, 0.45)
GAMMAS = st.floats(0.0, 1.0)


@settings(max_examples=50, deadline=None)
@given(POOLS, GAMMAS)
def test_rates_and_revenue_are_two_derivations_of_one_number(alpha, gamma):
    """Renewal reward against Eyal and Sirer's equation 8."""
    rates = theory.selfish_mining_rates(alpha, gamma=gamma)
    assert rates.relative_revenue == pytest.approx(
        theory.selfish_mining_revenue(alpha, gamma=gamma), rel=1e-11
    )
    assert rates.pool + rates.honest + rates.stale_fraction == pytest.approx(1.0)


@settings(max_examples=50, deadline=None)
@given(POOLS)
def test_state_probabilities_add_up_to_one(alpha):
    """States 2, 3, ... are geometric with ratio alpha / (1 - alpha) from state 1."""
    zero, race, one = (
        theory.selfish_mining_state_probability(alpha, state=state) for state in ("0", "0'", "1")
    )
    ratio = alpha / (1 - alpha)
    assert zero + race + one / (1 - ratio) == pytest.approx(1.0)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.0, 0.99))
def test_the_threshold_is_where_selfish_mining_breaks_even(gamma):
    """Below it SM1 loses, above it wins."""
    threshold = theory.selfish_mining_threshold(gamma)
    assert theory.selfish_mining_revenue(threshold, gamma=gamma) == pytest.approx(threshold)
    more = threshold + 1e-3
    assert theory.selfish_mining_revenue(more, gamma=gamma) > more


def naive_revenue(policy, alpha, gamma):
    """Revenue from the stationary distribution of the chain of decided states, by a power sum."""
    states, moves = {}, []

    def index(state):
        if state not in states:
            states[state] = len(states)
            moves.append(None)
        return states[state]

    index((1, 0, 0)), index((0, 1, 1))
    todo = 0
    while todo < len(moves):
        a, h, fork = next(state for state, number in states.items() if number == todo)
        action = policy[a, h, fork]
        if action == chain.ADOPT:
            branches = [((1, 0, 0), alpha, 0, h), ((0, 1, 1), 1 - alpha, 0, h)]
        elif action == chain.OVERRIDE:
            rest = a - h - 1
            branches = [
                ((rest + 1, 0, 0), alpha, h + 1, 0),
                ((rest, 1, 1), 1 - alpha, h + 1, 0),
            ]
        elif action == chain.WAIT:
            branches = [((a + 1, h, 0), alpha, 0, 0), ((a, h + 1, 1), 1 - alpha, 0, 0)]
        else:
            branches = [
                ((a + 1, h, 2), alpha, 0, 0),
                ((a - h, 1, 1), (1 - alpha) * gamma, h, 0),
                ((a, h + 1, 1), (1 - alpha) * (1 - gamma), 0, 0),
            ]
        moves[todo] = [
            (index(state), chance, pool, honest)
            for state, chance, pool, honest in branches
            if chance > 0
        ]
        todo += 1
    n = len(moves)
    system = -np.eye(n)
    gains = np.zeros((n, 2))
    for number, branches in enumerate(moves):
        for target, chance, pool, honest in branches:
            system[target, number] += chance
            gains[number] += chance * pool, chance * honest
    system[-1] = 1.0
    right = np.zeros(n)
    right[-1] = 1.0
    pool, honest = np.linalg.solve(system, right) @ gains
    return pool / (pool + honest)


@pytest.mark.parametrize("gamma", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("name", ["sm1", "LF", "LFT1", "T2"])
def test_revenue_is_that_of_the_stationary_distribution(name, gamma):
    """The elimination to the entries against the whole chain, state by state."""
    policy = theory.stubborn_policy(9, *theory.STUBBORN_STRATEGIES[name])
    expected = naive_revenue(policy, 0.4, gamma)
    assert chain.revenue(policy, 0.4, gamma) == pytest.approx(expected, rel=1e-11)


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(st.floats(0.05, 0.35), GAMMAS)
def test_without_stubbornness_the_strategy_is_selfish_mining(alpha, gamma):
    """Up to the truncation."""
    revenue = theory.stubborn_mining_revenue(alpha, gamma=gamma, truncation=60)
    assert revenue == pytest.approx(theory.selfish_mining_revenue(alpha, gamma=gamma), abs=1e-5)


def test_a_trailing_pool_goes_on_only_with_a_block_of_its_own():
    """T_1: adopt at 0 : 1, wait at 1 : 2, adopt at 1 : 3."""
    policy = theory.stubborn_policy(8, *theory.STUBBORN_STRATEGIES["T1"])
    assert policy[0, 1, chain.RELEVANT] == chain.ADOPT
    assert policy[1, 2, chain.RELEVANT] == chain.WAIT
    assert policy[1, 3, chain.RELEVANT] == chain.ADOPT


@settings(max_examples=25, deadline=None)
@given(st.floats(0.05, 0.42), GAMMAS)
def test_the_optimum_beats_every_named_strategy_and_keeps_to_the_bound(alpha, gamma):
    """alpha <= named strategies <= optimum <= alpha / (1 - alpha), at one truncation."""
    best = theory.optimal_selfish_mining_revenue(alpha, gamma=gamma, truncation=30)
    assert best >= alpha * (1 - 1e-12)
    assert best <= theory.withholding_revenue_bound(alpha) + 1e-9
    for lead, equal_fork, trail in theory.STUBBORN_STRATEGIES.values():
        named = theory.stubborn_mining_revenue(
            alpha, gamma=gamma, lead=lead, equal_fork=equal_fork, trail=trail, truncation=30
        )
        assert named <= best + 1e-12


def test_no_single_change_improves_the_optimal_policy():
    """Every other action in every reachable state is no better: checked by evaluation."""
    best = theory.optimal_selfish_mining(0.4, gamma=0.5, truncation=6)
    assert best.revenue == pytest.approx(naive_revenue(best.policy, 0.4, 0.5), rel=1e-12)
    for a in range(7):
        for h in range(7):
            for fork in range(3):
                for action in legal_actions(a, h, fork, 6):
                    changed = best.policy.copy()
                    changed[a, h, fork] = action
                    assert chain.revenue(changed, 0.4, 0.5) <= best.revenue + 1e-12


def legal_actions(a, h, fork, limit):
    """Actions that the model allows."""
    actions = [chain.ADOPT] if a + h > 0 else []
    if a > h:
        actions.append(chain.OVERRIDE)
    if a < limit and h < limit:
        if fork != chain.ACTIVE:
            actions.append(chain.WAIT)
        if a >= h > 0 and fork != chain.IRRELEVANT:
            actions.append(chain.MATCH)
    return actions


def test_uniform_tie_breaking_lets_the_pool_match_at_any_time():
    """It helps against large pools and hurts honest miners below 25 % (paper, section 5)."""
    first_seen = theory.optimal_selfish_mining_revenue(0.24, gamma=0.5)
    uniform = theory.optimal_selfish_mining_revenue(0.24, gamma=0.5, tie_breaking="uniform")
    assert first_seen == pytest.approx(0.24)
    assert uniform > 0.243
    with pytest.raises(ParameterError, match=r"gamma must be 0\.5"):
        theory.optimal_selfish_mining(0.24, gamma=0.3, tie_breaking="uniform")


@pytest.mark.slow
def test_an_extended_policy_only_holds_legal_actions():
    """The warm start of a larger truncation is a policy of the model."""
    small = theory.optimal_selfish_mining(0.4, gamma=0.5, truncation=12).policy
    large = chain.extended_policy(small, 25)
    for a in range(26):
        for h in range(26):
            if a + h == 0:
                continue
            for fork in (chain.IRRELEVANT, chain.RELEVANT, chain.ACTIVE):
                if fork == chain.ACTIVE and not (a > h > 0):
                    continue
                assert large[a, h, fork] in legal_actions(a, h, fork, 25)
