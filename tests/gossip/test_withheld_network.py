"""Withholding pools on a network: gamma follows from who is linked how, revenue from gamma."""

import math

import numpy
import pytest

from consensus_lab import theory
from consensus_lab.gossip import message_level
from consensus_lab.gossip.conditions import Conditions, Pool
from consensus_lab.gossip.mining import Schedule, draw_schedule
from consensus_lab.gossip.simulate import simulate
from consensus_lab.nakamoto.relay_options import Relay
from consensus_lab.nakamoto.relay_withholding import Strategy
from consensus_lab.network.arrays import from_edges
from consensus_lab.node import ParameterError

HONEST = 10


def network_around(pool_latency_s, alpha=0.35, gateways=1):
    """Ten equal miners, all linked, 0.1 s apart; the pool's gateways are linked to all of them."""
    n = HONEST + gateways
    links = numpy.array([(a, b) for a in range(n) for b in range(a) if b < HONEST])
    latency_s = numpy.where(links[:, 0] >= HONEST, pool_latency_s, 0.1)
    return from_edges(
        links,
        latency_s=latency_s,
        upload_bytes_per_s=numpy.full(n, numpy.inf),
        download_bytes_per_s=numpy.full(n, numpy.inf),
        hash_share=numpy.r_[[(1 - alpha) / HONEST] * HONEST, [alpha], [0] * (gateways - 1)],
    )


def races_of(network, strategy, *, replicates=8, n_blocks=6000, gateways=(HONEST,)):
    """Independent runs with hardly a fork but the pool's."""
    conditions = Conditions(pools=(Pool(gateways, strategy),))
    for seed in range(replicates):
        schedule = draw_schedule(network, n_blocks=n_blocks, block_interval_s=1e4, seed=seed)
        yield simulate(network, schedule, conditions=conditions, seed=seed)


@pytest.mark.slow
@pytest.mark.parametrize(("pool_latency_s", "gamma"), [(0.001, 0.9), (5.0, 0.0)])
@pytest.mark.parametrize("strategy", [(False, False, 0), (True, False, 0), (False, True, 1)])
def test_revenue_is_the_closed_forms_at_the_gamma_that_emerges(pool_latency_s, gamma, strategy):
    """A fast pool wins all but the finder, nine of ten; a slow one nobody: three sigma."""
    races = list(races_of(network_around(pool_latency_s), Strategy(*strategy)))
    matched, joined = numpy.sum([race.races_joined([HONEST]) for race in races], axis=0)
    assert abs(joined - gamma * matched) <= 3.0 * math.sqrt(matched * gamma * (1 - gamma))
    shares = [race.chain_share([HONEST]) for race in races]
    lead, equal_fork, trail = strategy
    expected = theory.stubborn_mining_revenue(
        0.35, gamma=gamma, lead=lead, equal_fork=equal_fork, trail=trail
    )
    error = numpy.std(shares, ddof=1) / math.sqrt(len(shares))
    assert abs(numpy.mean(shares) - expected) < 3.0 * error


def line(n=4):
    """0 - 1 - 2 - ... with a latency of 0.1 s between, no line rates."""
    return from_edges(
        numpy.array([(i, i + 1) for i in range(n - 1)]),
        latency_s=numpy.full(n - 1, 0.1),
        upload_bytes_per_s=numpy.full(n, numpy.inf),
        download_bytes_per_s=numpy.full(n, numpy.inf),
        hash_share=numpy.eye(1, n)[0],
    )


def test_an_honest_pools_block_enters_at_all_gateways_at_once():
    """Node 2 hears from node 3 next door and not over two hops; nobody else changes."""
    schedule = Schedule(numpy.array([0]), numpy.array([0]), numpy.array([100]))
    race = simulate(line(), schedule, keep_all=True, conditions=Conditions(pools=(Pool((0, 3)),)))
    assert race.accepted_ns[1].tolist() == [0, 300_000_000, 300_000_000, 0]


def test_what_a_gateway_lacks_enters_with_the_block_and_is_not_announced():
    """Node 3 has not heard of block 1 when its pool builds on it; node 4 has to ask for it."""
    schedule = Schedule(
        numpy.array([0, 350_000_000]), numpy.array([1, 0]), numpy.array([100, 100])
    )  # fmt: skip
    conditions = Conditions(pools=(Pool((0, 3)),))
    race = simulate(line(5), schedule, keep_all=True, conditions=conditions)
    assert race.accepted_ns[1, 3] == race.accepted_ns[2, 3] == 350_000_000
    assert race.received_ns[2, 4] == 650_000_000
    assert race.received_ns[1, 4] == 850_000_000
    slow = message_level.simulate(line(5), schedule, conditions=conditions)
    numpy.testing.assert_array_equal(race.accepted_ns, slow.accepted_ns)


def test_a_withheld_block_reaches_nobody_until_a_rival_comes():
    """The pool at node 0 holds block 1; block 2 of node 3 brings it out, and loses at node 1."""
    schedule = Schedule(
        numpy.array([0, 10**10]), numpy.array([0, 3]), numpy.array([100, 100])
    )  # fmt: skip
    race = simulate(
        line(), schedule, keep_all=True,
        conditions=Conditions(pools=(Pool((0,), Strategy()),)),
    )  # fmt: skip
    rival, hop = 10**10, 300_000_000
    assert race.accepted_ns[2].tolist() == [rival + 3 * hop, rival + 2 * hop, rival + hop, rival]
    # Released when the rival is here; node 1 asks for it, and stays with what it saw first.
    assert race.accepted_ns[1].tolist() == [0, rival + 4 * hop, -1, -1]
    assert race.tip.tolist() == [1, 2, 2, 2]
    assert race.match.tolist() == [-1, -1, 1]


@pytest.mark.parametrize("protocol", ["push", "inv", "headers", "compact_low", "compact_high"])
def test_every_relay_protocol_carries_a_released_branch(protocol):
    """Three blocks ahead, a rival, another: both are overridden, everybody follows the pool."""
    found_ns = numpy.arange(1, 6) * 10**10
    schedule = Schedule(found_ns, numpy.array([0, 0, 0, 3, 3]), numpy.full(5, 100))
    race = simulate(
        line(), schedule, relay=Relay(protocol),
        conditions=Conditions(pools=(Pool((0,), Strategy()),)),
    )  # fmt: skip
    assert race.tip.tolist() == [3, 3, 3, 3]
    assert race.chain_share([0]) == 1.0


@pytest.mark.parametrize(
    ("pools", "parameter"),
    [
        ((Pool(()),), "gateways"),
        ((Pool((0, 0)),), "gateways"),
        ((Pool((0,)), Pool((1, 0))), "gateways"),
        ((Pool((4,)),), "gateways"),
        ((Pool((0,), Strategy(trail=-1)),), "trail"),
    ],
)
def test_wrong_pools_are_refused_by_name(pools, parameter):
    """A user's mistake names the parameter."""
    schedule = Schedule(numpy.array([0]), numpy.array([0]), numpy.array([100]))
    with pytest.raises(ParameterError) as caught:
        simulate(line(), schedule, conditions=Conditions(pools=pools))
    assert caught.value.parameter == parameter
