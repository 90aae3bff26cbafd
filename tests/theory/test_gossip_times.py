"""Gossip's closed forms against direct sums and against each other."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus_lab import theory

SIZES = st.integers(2, 400)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 3000))
def test_harmonic_numbers(n):
    """By summation."""
    assert theory.harmonic_number(n) == pytest.approx(
        math.fsum(1 / k for k in range(1, n + 1)), rel=1e-13
    )


@settings(max_examples=50, deadline=None)
@given(SIZES)
def test_first_passage_moments_are_sums_over_the_steps(n):
    """From k informed nodes the next is reached at rate k (n - k)."""
    steps = [1 / (k * (n - k)) for k in range(1, n)]
    arrivals = [math.fsum(steps[:k]) for k in range(1, n)]
    times = theory.complete_graph_first_passage(n)
    assert times.everyone_mean == pytest.approx(arrivals[-1], rel=1e-11)
    assert times.mean_arrival == pytest.approx(math.fsum(arrivals) / (n - 1), rel=1e-11)
    assert times.everyone_sd == pytest.approx(math.sqrt(math.fsum(x * x for x in steps)))
    assert theory.complete_graph_share_time(n, share=1.0) == pytest.approx(arrivals[-1])
    assert theory.complete_graph_share_time(n, share=0.0) == 0.0


@settings(max_examples=50, deadline=None)
@given(SIZES)
def test_an_asynchronous_rumor_is_a_first_passage_with_slower_links(n):
    """Each node calls at rate 1 one of n - 1 others: every link rings at 2 / (n - 1) both ways."""
    push_pull = theory.complete_graph_asynchronous_rumor_time(n, mode="push-pull")
    times = theory.complete_graph_first_passage(n)
    assert push_pull == pytest.approx(times.everyone_mean * (n - 1) / 2)
    assert theory.complete_graph_asynchronous_rumor_time(n, mode="pull") == 2 * push_pull


@settings(max_examples=50, deadline=None)
@given(st.floats(0.0, 30.0))
def test_the_reached_share_is_a_fixed_point(fanout):
    """s = 1 - e^(-f s); zero up to one told."""
    share = theory.fanout_reached_fraction(fanout)
    assert share == pytest.approx(1 - math.exp(-fanout * share), abs=1e-9)
    assert (share > 0) == (fanout > 1)


def test_everybody_is_reached_from_a_fanout_of_ln_n_on():
    """At f = ln n the chance is 1 / e, two more make it 0.87."""
    n = 10_000
    assert theory.fanout_everyone_probability(n, fanout=math.log(n)) == pytest.approx(1 / math.e)
    assert theory.fanout_everyone_probability(n, fanout=math.log(n) + 2) > 0.87


@settings(max_examples=50, deadline=None)
@given(st.integers(3, 30), st.integers(10, 10**6))
def test_hops_grow_with_the_logarithm_of_the_size(degree, n):
    """Multiplying the size by degree - 1 adds one hop."""
    one = theory.random_regular_mean_hops(n, degree=degree)
    more = theory.random_regular_mean_hops(n * (degree - 1), degree=degree)
    assert more == pytest.approx(one + 1)


@settings(max_examples=50, deadline=None)
@given(st.integers(3, 30), st.integers(10, 10**6))
def test_flooding_adds_the_last_nodes_wait(degree, n):
    """Typical time plus ln n / d."""
    typical = theory.random_graph_first_passage_leading_order(n, branching=degree - 1)
    flooding = theory.random_regular_flooding_leading_order(n, degree=degree)
    assert flooding == pytest.approx(typical + math.log(n) / degree)
