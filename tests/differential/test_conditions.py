"""Two speeds, one truth, also when things happen: pools with gateways, withholding pools."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consensus_lab.gossip import message_level
from consensus_lab.gossip.conditions import Conditions, Pool
from consensus_lab.gossip.mining import draw_schedule
from consensus_lab.gossip.simulate import simulate
from consensus_lab.nakamoto.relay_options import PROTOCOLS, Relay, Validation
from consensus_lab.nakamoto.relay_withholding import Strategy
from consensus_lab.network import topology
from consensus_lab.network.arrays import from_graph
from tests.differential.test_gossip import assert_same, races

STRATEGIES = st.one_of(
    st.none(),
    st.builds(Strategy, lead=st.booleans(), equal_fork=st.booleans(), trail=st.integers(0, 2)),
)


@st.composite
def pools(draw, n):
    """Up to three pools with up to three gateways each."""
    nodes = draw(st.permutations(range(n)))
    chosen = []
    for _ in range(draw(st.integers(1, 3))):
        size = draw(st.integers(1, 3))
        gateways, nodes = nodes[:size], nodes[size:]
        if gateways:
            chosen.append(Pool(tuple(gateways), draw(STRATEGIES)))
    return tuple(chosen)


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(races(), st.data())
def test_pools_are_the_same_at_both_speeds(race, data):
    """Any network, relay protocol and pools: no difference at all."""
    network, schedule, options = race
    conditions = Conditions(pools=data.draw(pools(network.n_nodes)))
    fast = simulate(network, schedule, keep_all=True, conditions=conditions, **options)
    slow = message_level.simulate(network, schedule, conditions=conditions, **options)
    assert_same(fast, slow)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("strategy", [Strategy(), Strategy(True, True, 1)])
def test_a_withholding_pool_is_the_same_on_300_nodes(protocol, strategy):
    """The largest size that the promise names; a third of the power behind four gateways."""
    network = from_graph(topology.bitcoin(300, seed=8), seed=8)
    share = network.hash_share.copy()
    share[:4] = share.sum() / 8
    object.__setattr__(network, "hash_share", share / share.sum())
    schedule = draw_schedule(network, n_blocks=60, block_interval_s=10.0, seed=8)
    options = {
        "relay": Relay(protocol, missing_chance=0.2), "validation": Validation(1_000_000, 10**7),
        "conditions": Conditions(pools=(Pool((0, 1, 2, 3), strategy), Pool((9, 7)))),
    }  # fmt: skip
    fast = simulate(network, schedule, keep_all=True, **options)
    assert_same(fast, message_level.simulate(network, schedule, **options))
    assert (fast.match >= 0).sum() > 2
