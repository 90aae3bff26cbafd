"""Forks, confirmation times and throughput: identities that tie the formulas together."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus_lab import theory
from consensus_lab.node import ParameterError

DELAYS = st.floats(0.0, 5.0)


@settings(max_examples=50, deadline=None)
@given(DELAYS)
def test_blocks_per_height_add_up_to_the_full_delay_model(x):
    """Sum, mean and the probability of a fork follow from the distribution."""
    chances = [theory.blocks_at_height_probability(k, delay_intervals=x) for k in range(1, 80)]
    forks = theory.full_delay_forks(x)
    assert math.fsum(chances) == pytest.approx(1.0, abs=1e-12)
    mean = math.fsum(k * chance for k, chance in enumerate(chances, start=1))
    assert mean == pytest.approx(forks.blocks_per_height_mean, rel=1e-10)
    assert 1 - chances[0] == pytest.approx(forks.height_has_fork_probability, abs=1e-12)
    assert forks.stale_fraction == pytest.approx(1 - 1 / mean, abs=1e-10)
    assert forks.growth + forks.stale_fraction == pytest.approx(1.0)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.0, 1.0), DELAYS)
def test_two_miners_are_symmetric_and_grow_what_is_not_stale(share, x):
    """Whichever is called the first."""
    growth = theory.two_miner_growth(share, delay_intervals=x)
    stale = theory.two_miner_stale_fraction(share, delay_intervals=x)
    assert growth + stale == pytest.approx(1.0, abs=1e-12)
    assert stale == pytest.approx(
        theory.two_miner_stale_fraction(1 - share, delay_intervals=x), abs=1e-12
    )


@settings(max_examples=50, deadline=None)
@given(st.floats(0.0, 1.0), DELAYS)
def test_two_miners_agree_with_the_printed_quotient(share, x):
    """(a^2 e^2ax - b^2 e^2bx) / (a e^2ax - b e^2bx), where that is well conditioned."""
    a, b = share, 1 - share
    if abs(a - b) > 0.01:
        numerator = a * a * math.exp(2 * a * x) - b * b * math.exp(2 * b * x)
        denominator = a * math.exp(2 * a * x) - b * math.exp(2 * b * x)
        growth = theory.two_miner_growth(share, delay_intervals=x)
        assert growth == pytest.approx(numerator / denominator, rel=1e-9)


@settings(max_examples=50, deadline=None)
@given(DELAYS)
def test_equal_miners_scale_between_one_and_infinitely_many(x):
    """One miner never forks; two are exact; very many are the full delay."""
    assert theory.equal_miners_stale_scaled(1, delay_intervals=x) == 0.0
    two = theory.two_miner_stale_fraction(0.5, delay_intervals=x)
    assert theory.equal_miners_stale_scaled(2, delay_intervals=x) == pytest.approx(two)
    many = theory.equal_miners_stale_scaled(10**9, delay_intervals=x)
    assert many == pytest.approx(theory.full_delay_forks(x).stale_fraction)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.01, 30.0), st.floats(60.0, 1200.0))
def test_fork_formulas_have_one_first_order(delay, interval):
    """All variants are below I / T and within its square of it."""
    times = {"mean_delay_s": delay, "block_interval_s": interval}
    first = theory.fork_probability_first_order(**times)
    for other in (
        theory.fork_probability_exponential(**times),
        theory.full_delay_forks(first).stale_fraction,
    ):
        assert first - first**2 <= other <= first
    discrete = theory.fork_probability_discrete(**times)
    assert theory.fork_probability_exponential(**times) < discrete < first * (1 + 1 / interval)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 60), st.floats(0.01, 0.99))
def test_confirmation_quantiles_invert_the_distribution(z, share):
    """The share that is confirmed by the quantile is the share."""
    time_s = theory.confirmation_time_quantile_s(z, share=share)
    assert theory.confirmed_within_probability(z, time_s=time_s) == pytest.approx(share, abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 30), st.floats(0.0, 40_000.0))
def test_confirmed_within_is_a_poisson_tail(z, time_s):
    """At least z blocks in that time."""
    mean = time_s / 600.0
    fewer = math.fsum(math.exp(-mean) * mean**k / math.factorial(k) for k in range(z))
    assert theory.confirmed_within_probability(z, time_s=time_s) == pytest.approx(
        1 - fewer, abs=1e-12
    )


def test_the_essays_seven_transactions_per_second_follow_from_its_own_sizes():
    """1 MB blocks of 238-byte transactions every ten minutes."""
    size = theory.transactions_per_block(block_size_bytes=1e6, transaction_size_bytes=1e6 / 4200)
    assert theory.transactions_per_second(size) == pytest.approx(7.0)
    with_forks = theory.transactions_per_second(size, stale_fraction=0.02)
    assert with_forks == pytest.approx(7.0 * 0.98)


def test_a_block_interval_of_a_second_is_refused_by_the_formula_in_seconds():
    """1 - (1 - 1/T)^I has no meaning for T <= 1 s."""
    with pytest.raises(ParameterError, match="block_interval_s"):
        theory.fork_probability_discrete(mean_delay_s=1.0, block_interval_s=1.0)


@pytest.mark.parametrize("x", [0.001, 0.1])
def test_stale_by_share_adds_up_to_the_formulas_for_equal_and_for_two_miners(x: float) -> None:
    for n in (2, 7, 100):
        each = theory.stale_by_share([3.0] * n, delay_intervals=x)
        expected = theory.equal_miners_stale_scaled(n, delay_intervals=x)
        assert each == pytest.approx([expected] * n, rel=1e-12)
    for share in (0.6, 0.95):
        parts = theory.stale_by_share([share, 1 - share], delay_intervals=x)
        total = share * parts[0] + (1 - share) * parts[1]
        exact = theory.two_miner_stale_fraction(share, delay_intervals=x)
        assert total == pytest.approx(exact, rel=x)
