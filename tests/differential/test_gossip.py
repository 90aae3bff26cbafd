"""Two speeds, one truth: the compiled path equals the message-level engine to the nanosecond.

Every draw is a small network with its own shape, lines, latencies, hash power, block sizes and
intervals; coarse latencies make ties, short intervals make forks, orphans and reorganisations.
"""

import numpy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consensus_lab.gossip import message_level
from consensus_lab.gossip.mining import Schedule, draw_schedule
from consensus_lab.gossip.race import Race
from consensus_lab.gossip.simulate import simulate
from consensus_lab.nakamoto.relay_options import PROTOCOLS, Relay, Validation
from consensus_lab.network import topology
from consensus_lab.network.arrays import from_edges, from_graph

SAME_ARRAYS = (
    "received_ns", "accepted_ns", "parent", "height", "accepted_by", "delay_sum_ns",
    "reached_ns", "tip", "histogram", "node_delay_sum_ns", "node_deliveries", "uploads",
)  # fmt: skip


def assert_same(fast: Race, slow: Race) -> None:
    """Every array and count of the two outcomes is equal."""
    for name in SAME_ARRAYS:
        numpy.testing.assert_array_equal(getattr(fast, name), getattr(slow, name), err_msg=name)
    numpy.testing.assert_array_equal(fast.match, slow.match, err_msg="match")
    assert fast.reorganisations == slow.reorganisations
    assert fast.orphans == slow.orphans
    assert fast.reorganisation_depth_max == slow.reorganisation_depth_max


SHAPES = {
    "complete": lambda n, seed: topology.complete(n),
    "ring": lambda n, seed: topology.ring(n),
    "star": lambda n, seed: topology.star(n),
    "line": lambda n, seed: topology.line(n),
    "scale free": lambda n, seed: topology.barabasi_albert(n, links_per_node=2, seed=seed),
    "bitcoin": lambda n, seed: topology.bitcoin(n, outbound=3, seed=seed),
}


@st.composite
def races(draw):
    """A network, a schedule and validation costs, small and nasty."""
    n = draw(st.integers(3, 30))
    seed = draw(st.integers(0, 1000))
    graph = SHAPES[draw(st.sampled_from(sorted(SHAPES)))](n, seed)
    links = numpy.array(graph.edges)
    random = numpy.random.default_rng(seed)
    coarse_s = draw(st.sampled_from([0.0, 1e-9, 0.05, 1.0]))
    latency_s = random.integers(0, 4, len(links)) * coarse_s
    if draw(st.booleans()):
        latency_s = random.uniform(0, 0.3, len(links))
    rate = draw(st.sampled_from([1e3, 1e6, 1e9]))
    choices = numpy.array([rate, 3 * rate, numpy.inf])
    network = from_edges(
        links,
        latency_s=latency_s,
        upload_bytes_per_s=random.choice(choices, n),
        download_bytes_per_s=random.choice(choices, n),
        hash_share=random.choice([0.0, 0.0, 1.0, 5.0], n) + numpy.eye(1, n)[0],
    )
    n_blocks = draw(st.integers(1, 25))
    sizes = random.choice([0, 1000, 1476, 1477, 100_000], n_blocks)
    schedule = draw_schedule(
        network,
        n_blocks=n_blocks,
        block_interval_s=draw(st.sampled_from([1e-6, 0.1, 1.0, 30.0, 3000.0])),
        block_size_bytes=sizes,
        seed=seed,
    )
    if draw(st.booleans()):
        # Round discoveries to the latencies' grid, so that they coincide with arrivals.
        grid = max(1, round(coarse_s * 1e9))
        schedule = Schedule(schedule.found_ns // grid * grid, schedule.miner, schedule.size_bytes)
    validation = Validation(
        draw(st.sampled_from([0, 1, 50_000_000])), draw(st.sampled_from([0, 10**6]))
    )
    relay = Relay(
        draw(st.sampled_from(PROTOCOLS)),
        transaction_bytes=draw(st.sampled_from([1, 250])),
        missing_chance=draw(st.sampled_from([0.0, 0.3, 1.0])),
        missing_per_million=draw(st.sampled_from([1000, 500_000])),
    )
    overlay = draw(st.sampled_from([(), range(0, n, 2), range(n)]))
    return (
        network,
        schedule,
        {"relay": relay, "validation": validation, "overlay": overlay, "seed": seed},
    )


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(races())
def test_compiled_relay_equals_the_engine(race):
    """Any graph, lines, latencies, sizes, intervals and hash shares: no difference at all."""
    network, schedule, costs = race
    fast = simulate(network, schedule, keep_all=True, **costs)
    slow = message_level.simulate(network, schedule, **costs)
    assert_same(fast, slow)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("n", "n_blocks", "interval_s"),
    [(300, 12, 600.0), (300, 12, 5.0), (300, 40, 1.0), (60, 100, 1.0), (60, 100, 0.1)],
)
def test_compiled_relay_equals_the_engine_on_300_nodes(n, n_blocks, interval_s, protocol):
    """The largest size that the promise names, from no forks to nothing but forks."""
    network = from_graph(topology.bitcoin(n, seed=7), seed=7)
    schedule = draw_schedule(network, n_blocks=n_blocks, block_interval_s=interval_s, seed=7)
    validation = Validation(1_000_000, 20_000_000)
    costs = {"relay": Relay(protocol, missing_chance=0.2), "validation": validation, "seed": n}
    fast = simulate(network, schedule, keep_all=True, **costs)
    assert_same(fast, message_level.simulate(network, schedule, **costs))
    if interval_s <= 1.0:
        assert fast.stale_blocks() > 0
        assert fast.reorganisations > 0
        assert fast.orphans > (50 if protocol in ("inv", "push") else 0)
