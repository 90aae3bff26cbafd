"""Elections, commit latency, quorums, queues and Paxos against independent derivations."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from consensus_lab import theory
from consensus_lab.node import ParameterError

CLUSTERS = st.integers(2, 11)


def by_integration(n: int, s: int, late: float) -> float:
    """Ongaro's own derivation: k of s timeouts within l of the first at t, integrated over t."""
    needed = s - n // 2 + 1

    def density(t: float) -> float:
        inside = late / (1 - t)
        chance = sum(
            math.comb(s - 1, k - 1) * inside ** (k - 1) * (1 - inside) ** (s - k)
            for k in range(needed, s + 1)
        )
        return chance * s * (1 - t) ** (s - 1)

    total, _ = integrate.quad(density, 0.0, 1.0 - late)
    return total + late**s


@settings(max_examples=50, deadline=None)
@given(CLUSTERS, st.data())
def test_split_votes_follow_the_dissertations_integral(n, data):
    """Section 9.3 before the simplification."""
    s = data.draw(st.integers(theory.majority(n), n))
    late = data.draw(st.floats(0.01, 0.9))
    assert theory.raft_split_vote_probability(n, live=s, latency=late) == pytest.approx(
        by_integration(n, s, late), abs=1e-9
    )


@settings(max_examples=50, deadline=None)
@given(CLUSTERS, st.floats(0.0, 0.5), st.floats(0.0, 0.5))
def test_a_bare_majority_with_uniform_latencies(n, low, width):
    """The fixed latency is its special case, and the integral is done numerically."""
    s, high = theory.majority(n), low + width
    found = theory.raft_split_vote_probability_bare_majority(n, latency_low=low, latency_high=high)

    cells = (np.arange(400) + 0.5) / 400
    left = np.maximum(1 - cells[:, None] - low - width * cells[None, :], 0.0).mean(axis=1)
    total = float(np.mean(left ** (s - 1)))
    assert found == pytest.approx(1 - s * total, abs=2e-3)
    fixed = theory.raft_split_vote_probability_bare_majority(n, latency_low=low, latency_high=low)
    assert fixed == pytest.approx(
        theory.raft_split_vote_probability(n, live=s, latency=low), abs=1e-12
    )


def test_an_election_that_never_ends_is_refused():
    """With a latency of the whole range every vote splits when all are needed."""
    with pytest.raises(ParameterError, match="latency"):
        theory.raft_election_time(3, live=2, latency=1.0)
    with pytest.raises(ParameterError, match="live must be an integer of at least 3"):
        theory.raft_election_time(5, live=2, latency=0.1)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 9), st.data())
def test_exponential_order_statistics_are_sums_of_spacings(draws, data):
    """E of the m-th of N is the sum of 1 / (N - i) for i < m."""
    m = data.draw(st.integers(1, draws))
    law = theory.exponential_law(2.0)
    expected = 2.0 * math.fsum(1.0 / (draws - i) for i in range(m))
    mean = theory.order_statistic_mean(law, order=m, of=draws)
    assert mean == pytest.approx(expected, rel=1e-10)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 9), st.data())
def test_uniform_order_statistics_are_beta_means(draws, data):
    """m / (N + 1) of the range."""
    m = data.draw(st.integers(1, draws))
    law = theory.uniform_law(1.0, 3.0)
    mean = theory.order_statistic_mean(law, order=m, of=draws)
    assert mean == pytest.approx(1.0 + 2.0 * m / (draws + 1), rel=1e-11)


LAWS = (
    "exponential(mean 1)",
    "uniform(0,1)",
    "erlang2(mean 1) = sum of two exp one-way delays",
    "lognormal(mu=0,sigma=0.5)",
    "normal(10,1)",
    "shifted exp: 0.5+Exp(mean 0.5)",
)


@pytest.mark.parametrize("text", LAWS)
def test_all_order_statistics_together_have_the_laws_own_mean(text):
    """The mean over m of the m-th of N is the mean of one draw."""
    law = theory.latency_law(text)
    single = theory.order_statistic_mean(law, order=1, of=1)
    means = [theory.order_statistic_mean(law, order=m, of=5) for m in range(1, 6)]
    assert math.fsum(means) / 5 == pytest.approx(single, rel=1e-10)
    assert means == sorted(means)


@pytest.mark.parametrize("text", ["exponential", "uniform(1)", "cauchy(0,1)", ""])
def test_unknown_laws_are_refused(text):
    """By name, with an example of what is known."""
    with pytest.raises(ParameterError, match="a law such as"):
        theory.latency_law(text)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 9), st.floats(0.0, 1.0))
def test_availability_is_counted_over_all_patterns_of_failures(n, down):
    """2^n patterns, a majority up."""
    available = math.fsum(
        math.prod(1 - down if up else down for up in pattern)
        for pattern in itertools.product((False, True), repeat=n)
        if sum(pattern) >= theory.majority(n)
    )
    found = theory.quorum_availability(n, down=down)
    assert found.available == pytest.approx(available, abs=1e-12)
    assert found.available + found.unavailable == pytest.approx(1.0)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.floats(0.0, 60.0))
def test_mean_value_analysis_is_the_machine_repair_model(clients, think):
    """Birth-death balance: k at the server with weight N! / (N-k)! / Z^k (service time 1)."""
    if think < 0.1:
        return
    weights = [math.perm(clients, k) / think**k for k in range(clients + 1)]
    total = math.fsum(weights)
    loop = theory.closed_loop(clients, think=think)
    assert loop.throughput == pytest.approx(1 - weights[0] / total, rel=1e-9)
    at_server = math.fsum(k * weight for k, weight in enumerate(weights)) / total
    assert loop.response == pytest.approx(at_server / loop.throughput, rel=1e-9)
    assert loop.throughput <= loop.throughput_bound + 1e-12


@settings(max_examples=50, deadline=None)
@given(st.floats(0.0, 0.99))
def test_constant_service_waits_half_as_long(load):
    """Pollaczek-Khinchine: the squared coefficient of variation is 0 instead of 1."""
    assert theory.md1_wait(load) == pytest.approx(theory.mm1_wait(load) / 2)
    median = theory.mm1_sojourn_quantile(load, share=0.5)
    assert median == pytest.approx(math.log(2) * theory.mm1_sojourn(load))


def test_a_full_server_is_refused():
    """At a load of 1 the queue has no mean."""
    with pytest.raises(ParameterError, match="load must be a finite number at least 0 and below 1"):
        theory.md1_wait(1.0)


def test_littles_law_reads_both_ways():
    """N = X R."""
    rate = theory.littles_law_throughput(1000, latency_s=0.022)
    assert theory.littles_law_latency_s(1000, throughput_per_s=rate) == pytest.approx(0.022)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40))
def test_byzantine_agreement_costs_more_messages_than_crash_agreement(faults):
    """Quadratic against linear, and f more nodes."""
    raft, paxos = theory.raft_messages(faults), theory.basic_paxos_messages(faults)
    pbft = theory.pbft_messages(faults)
    assert pbft.n_nodes - raft.n_nodes == faults
    assert raft.messages < paxos.messages < theory.hotstuff_messages(faults).messages
    assert theory.hotstuff_messages(faults).messages < pbft.messages
    assert pbft.messages - theory.tendermint_messages(faults).messages == 2


def test_duels_get_shorter_with_the_backoff_and_may_never_end():
    """1 / (1 - d/B)^2, refused at d = B."""
    rounds = [theory.duelling_proposers_rounds(window=1.0, backoff=b) for b in (1.5, 2.0, 10.0)]
    assert rounds == sorted(rounds, reverse=True)
    with pytest.raises(ParameterError, match="window must be shorter than the backoff"):
        theory.duelling_proposers_rounds(window=1.0, backoff=1.0)


def test_the_leader_is_the_bottleneck_of_paxos_and_not_of_epaxos():
    """Load grows with n for one leader and stays below 2 for n of them."""
    single = [theory.leader_load(quorum=theory.majority(n)) for n in (3, 5, 7)]
    assert single == [1.0, 2.0, 3.0]
    spread = [theory.leader_load(quorum=theory.majority(n), leaders=n) for n in (3, 5, 7, 99)]
    assert max(spread) < 1.5
