"""Two speeds, one truth, also when things happen: pools, outages, partitions."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consensus_lab.gossip import message_level
from consensus_lab.gossip.conditions import Conditions, Outage, Partition, Pool, draw_outages
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


# One protocol in every run of the tests, the others in the full ones: small networks have them all.
ON_300_NODES = [
    pytest.param(name, marks=() if name == "inv" else pytest.mark.full) for name in PROTOCOLS
]


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
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(races(), st.data())
def test_pools_are_the_same_at_both_speeds(race, data):
    """Any network, relay protocol and pools: no difference at all."""
    network, schedule, options = race
    conditions = Conditions(pools=data.draw(pools(network.n_nodes)))
    fast = simulate(network, schedule, keep_all=True, conditions=conditions, **options)
    slow = message_level.simulate(network, schedule, conditions=conditions, **options)
    assert_same(fast, slow)


@st.composite
def changes(draw, network, schedule, gateways):
    """Outages and partitions within the run and a little beyond, often at the moments of others."""
    n, end_s = network.n_nodes, float(schedule.found_ns[-1]) / 1e9 * 1.2 + 1.0
    moments = [*(schedule.found_ns / 1e9).tolist(), 0.0, 0.05, 0.1, 1.0, 2.0, 3.0]
    moment = st.one_of(st.sampled_from(moments), st.floats(0.0, end_s))

    def span():
        start, end = draw(moment), draw(moment)
        return (min(start, end), max(start, end) + draw(st.sampled_from([1e-9, 0.05, 1.0])))

    free = [node for node in range(n) if node not in gateways]
    outages = [
        Outage(draw(st.sampled_from(free)), *span())
        for _ in range(draw(st.integers(0, 12)))
        if free
    ]
    if free and draw(st.booleans()):
        outages.append(Outage(free[0], draw(moment)))
    links = [(a, b) for a in range(n) for b in network.neighbours(a)]
    partitions = [
        Partition(
            *span(),
            group=tuple(draw(st.sets(st.integers(0, n - 1), max_size=n))),
            links=tuple(draw(st.lists(st.sampled_from(links), max_size=3))),
        )
        for _ in range(draw(st.integers(0, 3)))
    ]
    return tuple(outages), tuple(partitions)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(races(), st.data())
def test_outages_and_partitions_are_the_same_at_both_speeds(race, data):
    """Any network, protocol, pools, and nodes and links that come and go: no difference at all."""
    network, schedule, options = race
    chosen = data.draw(st.one_of(st.just(()), pools(network.n_nodes)))
    gateways = {gateway for pool in chosen for gateway in pool.gateways}
    jitter = data.draw(st.sampled_from([0.0, 0.3, 2.0]))
    conditions = Conditions(chosen, *data.draw(changes(network, schedule, gateways)), jitter)
    fast = simulate(network, schedule, keep_all=True, conditions=conditions, **options)
    slow = message_level.simulate(network, schedule, conditions=conditions, **options)
    assert_same(fast, slow)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ON_300_NODES)
def test_churn_and_a_partition_are_the_same_on_300_nodes(protocol):
    """A third of the nodes comes and goes, a third is cut off for a while, a tenth for good."""
    network = from_graph(topology.bitcoin(300, seed=9), seed=9)
    schedule = draw_schedule(network, n_blocks=40, block_interval_s=10.0, seed=9)
    churn = draw_outages(range(0, 300, 3), session_s=60.0, downtime_s=30.0, until_s=400.0, seed=9)
    gone = tuple(Outage(node, 100.0) for node in range(1, 300, 30))
    cut = Partition(50.0, 200.0, group=tuple(range(2, 300, 3)))
    options = {
        "relay": Relay(protocol, missing_chance=0.2), "validation": Validation(1_000_000, 10**7),
        "conditions": Conditions(outages=churn + gone, partitions=(cut,), jitter=0.2),
        "overlay": range(0, 300, 2),
    }  # fmt: skip
    fast = simulate(network, schedule, keep_all=True, **options)
    assert_same(fast, message_level.simulate(network, schedule, **options))
    assert fast.reorganisation_depth_max > 2
    assert 0 < fast.is_found().sum() < 40


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ON_300_NODES)
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
