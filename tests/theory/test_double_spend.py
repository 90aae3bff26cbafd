"""Double spending against exact rational arithmetic and against what the papers state."""

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from consensus_lab import theory
from consensus_lab.node import ParameterError

SHARES = st.integers(1, 49).map(lambda percent: Fraction(percent, 100))
CONFIRMATIONS = st.integers(1, 40)


def negative_binomial(q: Fraction, z: int, k: int) -> Fraction:
    """Attacker's blocks while z honest ones are found, exactly."""
    return math.comb(z + k - 1, k) * (1 - q) ** z * q**k


def summed(q: Fraction, z: int, level) -> Fraction:
    """Success probability as the definition says: over k, with level(deficit) from z - k."""
    behind = sum(negative_binomial(q, z, k) * level(z - k) for k in range(z + 1))
    known = sum(negative_binomial(q, z, k) for k in range(z + 1))
    return behind + 1 - known


@settings(max_examples=50, deadline=None)
@given(SHARES, CONFIRMATIONS)
def test_exact_probability_is_the_negative_binomial_sum(q, z):
    """Rosenfeld 2014 equation 1 in rational arithmetic; drawing level counts."""
    expected = summed(q, z, lambda d: (q / (1 - q)) ** d)
    assert theory.double_spend_probability(float(q), confirmations=z) == pytest.approx(
        float(expected), rel=1e-11
    )


@settings(max_examples=50, deadline=None)
@given(SHARES, CONFIRMATIONS)
def test_strict_probability_is_the_sum_with_one_block_more(q, z):
    """The attacker must get ahead, so that he makes up one block more."""
    expected = summed(q, z, lambda d: (q / (1 - q)) ** (d + 1))
    assert theory.double_spend_probability_strict(float(q), confirmations=z) == pytest.approx(
        float(expected), rel=1e-11
    )


@settings(max_examples=50, deadline=None)
@given(SHARES, CONFIRMATIONS, st.integers(1, 30))
def test_giving_up_is_a_ruin_between_two_barriers(q, z, limit):
    """Solved from the two boundary conditions, not from the formula's quotient."""
    p = 1 - q

    def level(deficit: int) -> Fraction:
        if deficit <= 0:
            return Fraction(1)
        if deficit >= limit:
            return Fraction(0)
        steps = [(p / q) ** i for i in range(limit)]
        return sum(steps[: limit - deficit]) / sum(steps)

    found = theory.double_spend_probability_giving_up(
        float(q), confirmations=z, give_up_deficit=limit
    )
    assert found == pytest.approx(float(summed(q, z, level)), rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("q", [0.05, 0.3, 0.45])
@pytest.mark.parametrize("z", [1, 3, 8])
def test_the_mean_over_all_times_is_the_exact_probability(q, z):
    """The z blocks take kappa of their expected time with a gamma density (Grunspan, P.-M.)."""

    def weighted(kappa: float) -> float:
        density = math.exp(z * math.log(z) + (z - 1) * math.log(kappa) - z * kappa) / math.gamma(z)
        given_time = theory.double_spend_probability_given_time(
            q, confirmations=z, time_ratio=kappa
        )
        return density * given_time

    mean, _ = integrate.quad(weighted, 0.0, 20.0, limit=200, epsabs=1e-12)
    assert mean == pytest.approx(theory.double_spend_probability(q, confirmations=z), abs=1e-8)


@settings(max_examples=50, deadline=None)
@given(SHARES, st.integers(1, 25))
def test_whitepaper_estimate_is_its_own_sum(q, z):
    """Section 11: 1 - sum of Poisson(k; z q/p) (1 - (q/p)^(z-k)), in its own terms."""
    share = float(q)
    ratio = share / (1 - share)
    rate = z * ratio
    poisson = [math.exp(-rate + k * math.log(rate) - math.lgamma(k + 1)) for k in range(z + 1)]
    expected = 1 - math.fsum(poisson[k] * (1 - ratio ** (z - k)) for k in range(z + 1))
    found = theory.whitepaper_double_spend_probability(share, confirmations=z)
    assert found == pytest.approx(expected, abs=1e-13)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.01, 0.49), st.integers(0, 300))
def test_one_more_confirmation_never_helps_the_attacker(q, z):
    """What the search for enough confirmations relies on."""
    for success in (theory.double_spend_probability, theory.whitepaper_double_spend_probability):
        assert success(q, confirmations=z + 1) <= success(q, confirmations=z) * (1 + 1e-9)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.0, 0.45), st.sampled_from([0.1, 0.01, 0.001, 1e-6]))
def test_confirmations_needed_are_enough_and_not_too_many(q, risk):
    """One fewer would not do."""
    z = theory.confirmations_needed(q, risk=risk)
    assert theory.double_spend_probability(q, confirmations=z) < risk
    assert theory.double_spend_probability(q, confirmations=z - 1) >= risk * (1 - 1e-11)


def test_a_probability_that_equals_the_risk_is_not_below_it():
    """P(0.05, 1) = 2 q = 0.1 exactly, and the whitepaper solves for P < risk."""
    assert theory.confirmations_needed(0.05, risk=0.1) == 2


@settings(max_examples=50, deadline=None)
@given(st.floats(0.01, 0.49), st.integers(0, 30))
def test_attackers_with_more_rules_win_less_often(q, z):
    """Giving up <= exact; having to get ahead <= drawing level."""
    exact = theory.double_spend_probability(q, confirmations=z)
    assert theory.double_spend_probability_strict(q, confirmations=z) < exact
    limited = theory.double_spend_probability_giving_up(q, confirmations=z, give_up_deficit=10)
    assert limited <= exact * (1 + 1e-12)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.01, 0.45), st.integers(0, 25))
def test_without_delay_the_private_attack_is_a_double_spend(q, z):
    """Two derivations, one number."""
    found = theory.private_attack_probability(q, confirmations=z, delay_intervals=0.0)
    assert found == pytest.approx(theory.double_spend_probability(q, confirmations=z), rel=1e-9)


@pytest.mark.parametrize("delay", [0.0, 0.1, 1.0])
def test_from_the_tolerated_share_on_the_private_attack_always_wins(delay):
    """Just below the tight limit it does not (Dembo et al. 2020)."""
    limit = theory.tolerated_share_tight(delay)
    above = min(limit + 1e-9, 0.5 - 1e-12)
    if above > limit:
        assert theory.private_attack_probability(above, confirmations=9, delay_intervals=delay) == 1
    below = theory.private_attack_probability(limit - 0.05, confirmations=9, delay_intervals=delay)
    assert below < 0.9


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((0.5,), "attacker_share"),
        ((-0.1,), "attacker_share"),
        ((math.nan,), "attacker_share"),
        (("0.1",), "attacker_share"),
        ((True,), "attacker_share"),
    ],
)
def test_wrong_shares_are_refused_by_name(arguments, name):
    """A user's mistake names the parameter."""
    with pytest.raises(ParameterError) as caught:
        theory.whitepaper_double_spend_probability(*arguments, confirmations=3)
    assert caught.value.parameter == name


@pytest.mark.parametrize("z", [-1, 1.5, "2", math.inf])
def test_wrong_confirmations_are_refused(z):
    """Only whole numbers from zero on."""
    with pytest.raises(ParameterError, match="confirmations must be an integer of at least 0"):
        theory.double_spend_probability(0.1, confirmations=z)


def test_an_unreachable_risk_is_refused():
    """An attacker just below one half needs more blocks than the search allows."""
    with pytest.raises(ParameterError, match="risk"):
        theory.confirmations_needed(0.49999, risk=1e-12)
