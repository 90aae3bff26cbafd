"""Security bounds, proof of stake and Snow against definitions and exhaustive enumeration."""

import itertools
import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus_lab import theory

DELAYS = st.floats(0.0, 3.0)


@settings(max_examples=50, deadline=None)
@given(DELAYS)
def test_tolerated_shares_solve_their_equations_and_are_ordered(x):
    """Each condition with equality; proofs guarantee no more than the tight limit."""
    tight = theory.tolerated_share_tight(x)
    honest = 1 - tight
    assert tight == pytest.approx(honest / (1 + honest * x), rel=1e-12)
    neat = theory.tolerated_share_ren_zhao(x)
    assert neat == pytest.approx((1 - neat) * math.exp(-2 * x * (1 - neat)), rel=1e-10)
    proof = theory.tolerated_share_pass_seeman_shelat(x)
    if proof > 0:
        assert (1 - proof) * (1 - 2 * x * (1 - proof)) == pytest.approx(proof, rel=1e-9)
    assert proof <= neat + 1e-12 <= tight + 2e-12


@settings(max_examples=50, deadline=None)
@given(st.floats(0.01, 0.3), st.floats(0.0, 0.1), st.integers(1, 60))
def test_guo_ren_bounds_enclose_each_other(beta, x, k):
    """Theorem 2 is at least as sharp as theorem 1 above, and both enclose an attack."""
    lower, upper = theory.guo_ren_exact_bounds(beta, delay_intervals=x, depth=k)
    _, closed_upper = theory.guo_ren_closed_bounds(beta, delay_intervals=x, depth=k)
    assert lower <= upper <= closed_upper + 1e-12
    if k <= 20:
        attack = theory.private_attack_probability(beta, confirmations=k, delay_intervals=0.0)
        assert attack <= upper + 1e-12


def test_with_too_much_delay_the_theorems_promise_nothing():
    """(1 - beta) e^-x must exceed one half; the lower bounds do not depend on the delay."""
    for bounds in (theory.guo_ren_exact_bounds, theory.guo_ren_closed_bounds):
        lower, upper = bounds(0.4, delay_intervals=1.0, depth=6)
        assert upper == 1.0
        assert lower == bounds(0.4, delay_intervals=0.0, depth=6)[0] < 1.0


def settlement_by_enumeration(alpha: Fraction, k: int, reach: int) -> Fraction:
    """Sum over all 2^k leader sequences of those with a margin of at least 0."""
    total = Fraction(0)
    for slots in itertools.product((False, True), repeat=k):
        rho, mu, chance = reach, reach, Fraction(1)
        for adversarial in slots:
            if adversarial:
                rho, mu, chance = rho + 1, mu + 1, chance * alpha
            else:
                mu = 0 if (rho > mu == 0) else mu - 1
                rho, chance = max(rho - 1, 0), chance * (1 - alpha)
        total += chance if mu >= 0 else 0
    return total


@pytest.mark.parametrize("alpha", [Fraction(1, 20), Fraction(3, 10), Fraction(9, 20)])
@pytest.mark.parametrize("k", [1, 2, 5, 8])
def test_settlement_is_the_sum_over_all_leader_sequences(alpha, k):
    """Blum et al. 2020, margin recurrence, in rational arithmetic."""
    empty = theory.settlement_failure_probability(float(alpha), slots=k, empty_prefix=True)
    assert empty == pytest.approx(float(settlement_by_enumeration(alpha, k, 0)), rel=1e-12)
    ratio = alpha / (1 - alpha)
    long = sum(
        (1 - ratio) * ratio**reach * settlement_by_enumeration(alpha, k, reach)
        for reach in range(k + 1)
    )
    expected = float(long + ratio ** (k + 1))
    found = theory.settlement_failure_probability(float(alpha), slots=k)
    assert found == pytest.approx(expected, rel=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 12), st.data())
def test_a_sample_is_a_hypergeometric_draw(others, data):
    """Counted over all samples."""
    favourable = data.draw(st.integers(0, others))
    k = data.draw(st.integers(1, min(others, 5)))
    alpha = data.draw(st.integers(0, k))
    samples = list(itertools.combinations(range(others), k))
    hits = sum(sum(node < favourable for node in sample) >= alpha for sample in samples)
    found = theory.sample_majority_probability(others, favourable=favourable, k=k, alpha=alpha)
    assert found == pytest.approx(hits / len(samples))


@settings(max_examples=50, deadline=None)
@given(st.floats(0.05, 1.0), st.integers(1, 30))
def test_rounds_to_a_run_solve_their_recursion(p, beta):
    """E_b = (E_(b-1) + 1) / p."""
    expected = 0.0
    for _ in range(beta):
        expected = (expected + 1) / p
    assert theory.expected_rounds_to_run(p, beta=beta) == pytest.approx(expected, rel=1e-9)


def test_impossible_runs_take_for_ever():
    """No success, no run."""
    assert theory.expected_rounds_to_run(0.0, beta=2) == math.inf
    assert theory.beta_run_log10_probability(0.0, beta=2) == -math.inf


@settings(max_examples=20, deadline=None)
@given(st.integers(4, 12), st.data())
def test_slush_treats_the_colours_alike(n, data):
    """Exchanging the colours exchanges the outcomes."""
    red = data.draw(st.integers(0, n))
    k = data.draw(st.integers(2, n - 1))
    alpha = k // 2 + 1
    one = theory.slush(n, k=k, alpha=alpha, start_red=red)
    other = theory.slush(n, k=k, alpha=alpha, start_red=n - red)
    assert one.expected_rounds == pytest.approx(other.expected_rounds, rel=1e-8)
    together = one.all_red_probability + other.all_red_probability
    if math.isfinite(one.expected_rounds):
        assert together == pytest.approx(1.0, abs=1e-8)
    else:
        assert together < 1.0


def test_slush_can_swap_its_colours_for_ever():
    """Three red of six who ask all five others: each sees three of the other colour and flips."""
    outcome = theory.slush(6, k=5, alpha=3, start_red=3)
    assert outcome == (math.inf, 0.0)


def test_slush_of_three_by_hand():
    """n = 3, k = alpha = 2 from two red: red stays unless blue asks it and reds see no two blues.

    A red node sees the other red and the blue: no two blues, it stays.  The blue node sees two
    reds and flips: one round, all red.
    """
    outcome = theory.slush(3, k=2, alpha=2, start_red=2)
    assert outcome == (pytest.approx(1.0), pytest.approx(1.0))
