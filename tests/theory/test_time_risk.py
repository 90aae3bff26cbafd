"""Trusting the clock: the closed form against its definition, other laws, and a simulation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from consensus_lab import theory
from consensus_lab.node import ParameterError

SHARES = st.floats(0.001, 0.49)
TIMES = st.floats(0.01, 60.0)


def summed(q: float, s: float) -> float:
    """Over all numbers of honest and hidden blocks, as the definition says."""
    n = np.arange(400)
    honest, hidden = stats.poisson.pmf(n, (1 - q) * s), stats.poisson.pmf(n, q * s)
    ahead = np.maximum(n[:, None] - n[None, :], 0)
    return float(honest @ (q / (1 - q)) ** ahead @ hidden)


@settings(max_examples=60, deadline=None)
@given(SHARES, TIMES)
def test_the_closed_form_is_the_double_sum(q, s):
    """The change of measure leaves nothing out."""
    risk = theory.reversal_probability_at_time(q, time_intervals=s)
    assert risk == pytest.approx(summed(q, s), rel=1e-10)


@settings(max_examples=30, deadline=None)
@given(SHARES, TIMES)
def test_it_is_twice_a_tail_of_the_skellam_law(q, s):
    """scipy's own Skellam distribution: P(N < M) + P(N <= M)."""
    law = stats.skellam((1 - q) * s, q * s)
    expected = law.cdf(-1) + law.cdf(0)
    risk = theory.reversal_probability_at_time(q, time_intervals=s)
    assert risk == pytest.approx(expected, rel=1e-6, abs=1e-13)


@pytest.mark.parametrize("q", [0.05, 0.2, 0.35])
def test_stopping_at_the_zth_block_instead_gives_the_exact_double_spend(q):
    """The time of the z-th block is Erlang: average what is known there (Grunspan, Perez-Marco)."""
    z = 4

    def given_time(s: float) -> float:
        found = np.arange(60)
        hidden = stats.poisson.pmf(found, q * s)
        level = (q / (1 - q)) ** np.maximum(z - found, 0)
        return float(hidden @ level) * stats.gamma.pdf(s, z, scale=1 / (1 - q))

    averaged, _ = integrate.quad(given_time, 0, 80)
    exact = theory.double_spend_probability(q, confirmations=z)
    assert averaged == pytest.approx(exact, rel=1e-8)


def test_a_simulated_clock_agrees():
    """Exponential gaps, then the race block by block until level or hopeless."""
    rng, q, s, trials = np.random.default_rng(7), 0.2, 3.0, 20_000
    hits = 0
    for _ in range(trials):
        mined = int(rng.poisson(s))
        hidden = int(rng.binomial(mined, q))
        ahead = mined - 2 * hidden
        while 0 < ahead < 20:
            ahead += -1 if rng.random() < q else 1
        hits += ahead <= 0
    risk = theory.reversal_probability_at_time(q, time_intervals=s)
    assert abs(hits / trials - risk) < 4.5 * math.sqrt(risk * (1 - risk) / trials)


def test_without_an_attacker_only_the_first_block_is_waited_for():
    """e^-s, and a certain loss against half of the hash power."""
    for s in (0.1, 1.0, 7.0):
        assert theory.reversal_probability_at_time(0.0, time_intervals=s) == math.exp(-s)
        assert theory.reversal_probability_at_time(0.5, time_intervals=s) == 1.0
    assert theory.reversal_probability_at_time(0.3, time_intervals=0.0) == 1.0


@settings(max_examples=40, deadline=None)
@given(st.floats(0.0, 0.45), st.floats(1e-9, 0.99))
def test_the_time_for_a_risk_inverts_it(q, risk):
    """Just enough, and not a thousandth less."""
    s = theory.time_for_risk_intervals(q, risk=risk)
    assert theory.reversal_probability_at_time(q, time_intervals=s) <= risk
    assert theory.reversal_probability_at_time(q, time_intervals=0.999 * s) > risk


def test_the_exponent_is_that_of_the_square_roots():
    """The risk falls by e each 1 / (sqrt p - sqrt q)^2 intervals, for long times."""
    q = 0.25
    times = [theory.time_for_risk_intervals(q, risk=risk) for risk in (1e-200, 1e-201)]
    rate = math.log(10) / (times[1] - times[0])
    assert rate == pytest.approx((math.sqrt(1 - q) - math.sqrt(q)) ** 2, rel=0.01)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: theory.reversal_probability_at_time(1.1, time_intervals=1), "attacker_share"),
        (lambda: theory.reversal_probability_at_time(0.1, time_intervals=-1), "time_intervals"),
        (lambda: theory.time_for_risk_intervals(0.5, risk=0.1), "attacker_share"),
        (lambda: theory.time_for_risk_intervals(0.1, risk=0.0), "risk"),
        (lambda: theory.time_for_risk_intervals(0.4999, risk=1e-9), "risk"),
    ],
)
def test_what_cannot_be_answered_is_refused_by_name(call, name):
    with pytest.raises(ParameterError, match=name):
        call()


@pytest.mark.parametrize("q", [0.05, 0.1, 0.3, 0.42])
@pytest.mark.parametrize("delay", [0.0, 1 / 60, 0.2])
def test_confirmations_needed_with_delay_are_the_first_that_suffice(q, delay):
    """Found by bisection; one less does not do; without delay they are the known ones."""
    risk = 0.002
    z = theory.private_attack_confirmations_needed(q, risk=risk, delay_intervals=delay)
    before, after = (
        theory.private_attack_probability(q, confirmations=n, delay_intervals=delay)
        for n in (z - 1, z)
    )
    assert after < risk <= before
    if delay == 0.0:
        assert z == theory.confirmations_needed(q, risk=risk)


def test_no_number_of_confirmations_helps_beyond_the_limit():
    """At one block per delay the longest chain tolerates 38 %."""
    with pytest.raises(ParameterError, match="risk"):
        theory.private_attack_confirmations_needed(0.4, risk=0.5, delay_intervals=1.0)
