"""The compiled path against arithmetic by hand, theory, and its own promises."""

import heapq
import math

import networkx
import numpy
import pytest
from numba import njit

from consensus_lab.gossip import message_level
from consensus_lab.gossip import simulate as module
from consensus_lab.gossip.chance import chance_key, chance_threshold, lacks
from consensus_lab.gossip.conditions import Conditions, Outage
from consensus_lab.gossip.draws import lacks_transactions
from consensus_lab.gossip.mining import Schedule, draw_schedule
from consensus_lab.gossip.simulate import simulate
from consensus_lab.nakamoto.relay_messages import compact_bytes
from consensus_lab.nakamoto.relay_options import Relay, Validation
from consensus_lab.network import topology
from consensus_lab.network.arrays import from_edges, from_graph
from consensus_lab.node import ParameterError

INV_BYTES = 61
KEPT = {simulate: {"keep_all": True}}
"""The compiled path keeps arrivals when asked to, the message-level engine always."""


def star_network(n, latency_s=0.1, upload=1_000_000.0):
    """Node 0 in the middle; the others hang on it."""
    return from_edges(
        numpy.array([(0, i) for i in range(1, n)]),
        latency_s=numpy.full(n - 1, latency_s),
        upload_bytes_per_s=numpy.full(n, upload),
        download_bytes_per_s=numpy.full(n, numpy.inf),
        hash_share=numpy.eye(1, n)[0],
    )


def one_block(miner=0, size=999_976):
    """A block of a million bytes on the wire, found at time 0."""
    return Schedule(numpy.array([0]), numpy.array([miner]), numpy.array([size]))


def test_uploads_queue_at_the_miner():
    """inv 61 us + 0.1 s, getdata the same, then one second of upload per leaf, one by one."""
    race = simulate(star_network(5), one_block(), keep_all=True)
    first = 2 * (61_000 + 100_000_000) + 100_000_000
    expected = [0] + [first + k * 1_000_000_000 for k in (1, 2, 3, 4)]
    assert race.accepted_ns[1].tolist() == expected
    assert race.uploads.tolist() == [4, 0, 0, 0, 0]


def test_the_overlay_does_not_wait_behind_whole_blocks_but_behind_itself():
    """Twenty leaves keep the miner's line busy for 20 s; its second block is with pools at once."""
    schedule = Schedule(*numpy.array([[0, 3_000_000_000], [0, 0], [999_976, 999_976]]))
    race = simulate(star_network(23), schedule, overlay=[0, 21, 22], keep_all=True)
    compact_ns = compact_bytes(999_976, Relay().transaction_bytes) * 1_000
    expected = [3_000_000_000 + k * compact_ns + 100_000_000 for k in (1, 2)]
    assert race.received_ns[2, 21:].tolist() == expected
    assert race.received_ns[2, 1:21].min() > 20_000_000_000


@pytest.mark.parametrize("speed", [simulate, message_level.simulate])
def test_a_node_that_was_off_comes_back_with_an_empty_queue_of_the_overlay(speed):
    """At 10 kB/s a compact block takes 1.2 s per pool: 24 s of queue are gone with the outage."""
    schedule = Schedule(*numpy.array([[0, 7_000_000_000], [0, 0], [999_976, 999_976]]))
    network = star_network(21, upload=10_000.0)
    off = Conditions(outages=(Outage(0, 5.0, 6.0),))
    race = speed(network, schedule, overlay=range(21), conditions=off, **KEPT.get(speed, {}))
    compact_ns = compact_bytes(999_976, Relay().transaction_bytes) * 100_000
    assert race.received_ns[2, 1] == 7_000_000_000 + compact_ns + 100_000_000


def test_download_lines_are_as_slow_as_the_slower_end():
    """A receiver with half the sender's rate needs twice the time, from the first byte on."""
    network = from_edges(
        numpy.array([(0, 1)]),
        latency_s=numpy.array([0.1]),
        upload_bytes_per_s=numpy.array([1e6, 1e6]),
        download_bytes_per_s=numpy.array([1e6, 5e5]),
        hash_share=numpy.array([1.0, 0.0]),
    )
    race = simulate(network, one_block(), keep_all=True)
    assert race.received_ns[1, 1] == 3 * 100_000_000 + 2 * 61_000 + 2_000_000_000


def test_validation_comes_on_top():
    """Fixed part and bytes, at every node but the miner."""
    race = simulate(star_network(2), one_block(), validation=Validation(7, 10**6), keep_all=True)
    spent = race.accepted_ns[1] - race.received_ns[1]
    assert spent[1] == 7 + 999_976_000
    assert race.accepted_ns[1, 0] == 0


def test_unlimited_lines_give_three_latencies_per_hop():
    """inv, getdata, block: on a line of nodes the k-th one has it after 3 k latencies."""
    graph = networkx.path_graph(6)
    networkx.set_node_attributes(graph, math.inf, "upload_bytes_per_s")
    networkx.set_node_attributes(graph, math.inf, "download_bytes_per_s")
    networkx.set_edge_attributes(graph, 0.05, "latency_s")
    race = simulate(from_graph(graph), one_block(), keep_all=True)
    assert race.accepted_ns[1].tolist() == [150_000_000 * k for k in range(6)]


@pytest.mark.slow
def test_without_queues_each_node_gets_the_block_from_its_first_announcer():
    """Three latencies per hop over the link whose announcement is first: a heap of 10 lines."""
    graph = topology.bitcoin(2000, seed=5)
    networkx.set_node_attributes(graph, math.inf, "upload_bytes_per_s")
    networkx.set_node_attributes(graph, math.inf, "download_bytes_per_s")
    network = from_graph(graph, seed=5)
    race = simulate(network, one_block(miner=17), keep_all=True)
    expected: dict[int, int] = {}
    asked = {17}
    heap = [(0, True, 17, 0)]
    while heap:
        now, is_block, node, latency_ns = heapq.heappop(heap)
        if not is_block and node not in asked:
            asked.add(node)
            heapq.heappush(heap, (now + 2 * latency_ns, True, node, 0))
        elif is_block:
            expected[node] = now
            for link in range(network.offset[node], network.offset[node + 1]):
                latency_ns = int(network.latency_ns[link])
                neighbour = int(network.neighbour[link])
                heapq.heappush(heap, (now + latency_ns, False, neighbour, latency_ns))
    assert race.accepted_ns[1].tolist() == [expected[node] for node in range(2000)]


@pytest.mark.slow
def test_stale_rate_of_two_distant_miners_agrees_with_theory():
    """Two equal miners, delay d: forks begin when the other finds within d (closed form).

    Each block starts a window d in which the other half of the hash power works on the old tip;
    a share 1 - exp(-d / (2 T)) of synchronised blocks is contested.  With d << T the stale rate
    is d / (2 T) to first order; the second-order term is below the sampling error here.
    """
    n_blocks, interval_s, latency_s = 200_000, 100.0, 1 / 3
    network = from_edges(
        numpy.array([(0, 1)]),
        latency_s=numpy.array([latency_s]),
        upload_bytes_per_s=numpy.full(2, numpy.inf),
        download_bytes_per_s=numpy.full(2, numpy.inf),
        hash_share=numpy.array([0.5, 0.5]),
    )
    schedule = draw_schedule(
        network, n_blocks=n_blocks, block_interval_s=interval_s, block_size_bytes=1, seed=11
    )
    rate = simulate(network, schedule).stale_rate()
    expected = 3 * latency_s / (2 * interval_s)
    sigma = math.sqrt(expected / n_blocks)
    assert abs(rate - expected) < 4 * sigma + expected**2


def test_intervals_are_exponential_and_miners_follow_hash_shares():
    """Mean within four standard errors; counts within four sigma of the binomial."""
    network = from_edges(
        numpy.array([(0, 1), (1, 2)]),
        latency_s=numpy.zeros(2),
        upload_bytes_per_s=numpy.ones(3),
        download_bytes_per_s=numpy.ones(3),
        hash_share=numpy.array([0.7, 0.0, 0.3]),
    )
    n = 40_000
    schedule = draw_schedule(network, n_blocks=n, block_interval_s=600, seed=3)
    interval_s = numpy.diff(schedule.found_ns, prepend=0) / 1e9
    assert abs(interval_s.mean() - 600) < 4 * 600 / math.sqrt(n)
    assert abs((interval_s > 600).mean() - math.exp(-1)) < 4 * math.sqrt(0.24 / n)
    counts = numpy.bincount(schedule.miner, minlength=3)
    assert counts[1] == 0
    assert abs(counts[0] - 0.7 * n) < 4 * math.sqrt(0.21 * n)


def test_memory_that_runs_short_grows_and_changes_nothing(monkeypatch):
    """A run that starts with hardly any room gives the same as one that starts with plenty."""
    network = from_graph(topology.bitcoin(120, seed=2), seed=2)
    schedule = draw_schedule(network, n_blocks=80, block_interval_s=0.05, seed=2)
    plenty = simulate(network, schedule, keep_all=True)
    monkeypatch.setattr(module, "new_wheel", lambda capacity, shift: wheel(400, shift))
    wheel = module.__dict__["grown"].__globals__["new_wheel"]
    monkeypatch.setattr(module, "SLICE_EVENTS", 1000)
    tight = simulate(network, schedule, keep_all=True)
    assert tight.work["capacity"] > 400
    assert tight.work["slots"] > 4
    numpy.testing.assert_array_equal(tight.accepted_ns, plenty.accepted_ns)


def test_the_bucket_width_changes_nothing(monkeypatch):
    """From a microsecond to half a minute per bucket."""
    network = from_graph(topology.bitcoin(60, seed=3), seed=3)
    schedule = draw_schedule(network, n_blocks=20, block_interval_s=2.0, seed=3)
    outcomes = []
    for shift in (10, 20, 35):
        monkeypatch.setattr(module, "_bucket_shift", lambda *_, shift=shift: shift)
        outcomes.append(simulate(network, schedule, keep_all=True).accepted_ns)
    numpy.testing.assert_array_equal(outcomes[0], outcomes[1])
    numpy.testing.assert_array_equal(outcomes[0], outcomes[2])


def test_fetching_ahead_changes_nothing(monkeypatch):
    """What large networks do on a small one: memory is read earlier, and the same comes out."""
    network = from_graph(topology.bitcoin(200, seed=1), seed=1)
    schedule = draw_schedule(network, n_blocks=20, block_interval_s=3.0, seed=3)
    for protocol in ("inv", "compact_high"):
        races = []
        for links in (1, 1 << 40):
            monkeypatch.setattr(module, "LOOK_AHEAD_LINKS", links)
            races.append(simulate(network, schedule, relay=Relay(protocol), keep_all=True))
        assert races[0].work["looks_ahead"] == 1 and races[1].work["looks_ahead"] == 0
        numpy.testing.assert_array_equal(races[0].accepted_ns, races[1].accepted_ns)
        assert races[0].events == races[1].events


@pytest.mark.parametrize("rows", [1, 7, 1000, 100_000])
def test_a_node_is_in_one_cache_line(rows):
    """numpy starts arrays anywhere; a row that lies in two lines waits for memory twice."""
    lines = module._cache_lines(rows)
    assert lines.ctypes.data % 64 == 0 and lines.strides == (64, 8)
    assert lines.shape == (rows, 8) and not lines.any()


def test_progress_is_reported_and_an_interrupt_passes_through(monkeypatch):
    """Ctrl-C between two slices ends the run; what was collected before is the caller's."""
    network = from_graph(topology.bitcoin(200, seed=1), seed=1)
    schedule = draw_schedule(network, n_blocks=50, seed=1)
    monkeypatch.setattr(module, "SLICE_EVENTS", 5000)
    seen = []
    simulate(network, schedule, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (50, 50)
    assert len(seen) > 3

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(network, schedule, progress=interrupt)


def test_summaries_agree_with_the_full_arrays():
    """Means, quantiles, reach and stale counts from the running sums are those of all arrivals."""
    network = from_graph(topology.bitcoin(100, seed=4), seed=4)
    schedule = draw_schedule(network, n_blocks=40, block_interval_s=20.0, seed=4)
    race = simulate(network, schedule, keep_all=True)
    has = race.accepted_ns[1:] >= 0
    delay = (race.accepted_ns[1:] - schedule.found_ns[:, None])[has] / 1e9
    assert math.isclose(race.mean_delay_s(), delay.mean())
    assert abs(race.delay_quantile_s(0.5) - numpy.quantile(delay, 0.5)) < 0.02
    assert race.deliveries == has.sum()
    median = numpy.sort(race.accepted_ns[1] - schedule.found_ns[0])[49] / 1e9
    assert math.isclose(race.time_to_reach_s(0.5)[0], median)
    assert race.stale_blocks() == 40 - race.height[race.best_tip()]
    found, stale = race.stale_by_miner()
    assert (found.sum(), stale.sum()) == (40, race.stale_blocks())


def test_missing_transactions_are_drawn_alike_at_both_speeds():
    """The compiled keyed draw is `streams.keyed_draw`."""
    entry = njit(lambda *draw: lacks_transactions(*draw))
    key, threshold = chance_key(5), chance_threshold(0.4)
    for node in range(40):
        draw = lacks(5, 0.4, node)
        for number in range(1, 20):
            fast = entry(numpy.uint64(key), numpy.uint64(threshold), node, number)
            assert fast == draw(number)


def test_missing_transactions_have_the_chance_that_was_asked_for():
    """Four sigma of a binomial over 20,000 draws; never at 0, always at 1."""
    draws = [lacks(1, 0.3, node)(number) for node in range(200) for number in range(100)]
    assert abs(sum(draws) - 6000) < 4 * math.sqrt(20_000 * 0.21)
    assert not any(lacks(1, 0.0, node)(1) for node in range(100))
    assert all(lacks(1, 1.0, node)(1) for node in range(100))


@pytest.mark.slow
def test_compact_blocks_are_faster_and_high_bandwidth_fastest():
    """The order that BIP 152 promises, on one network with the same blocks."""
    network = from_graph(topology.bitcoin(300, seed=6), seed=6)
    schedule = draw_schedule(network, n_blocks=30, seed=6)
    mean_s = [
        simulate(network, schedule, relay=Relay(protocol)).mean_delay_s()
        for protocol in ("push", "inv", "compact_low", "compact_high")
    ]
    assert mean_s == sorted(mean_s, reverse=True)


@pytest.mark.parametrize(
    ("call", "parameter"),
    [
        (lambda net, plan: simulate(net, plan, overlay=[99]), "overlay"),
        (lambda net, plan: simulate(net, plan, reach_fractions=[0.0]), "reach_fractions"),
        (lambda net, plan: simulate(net, plan, relay=Relay("pigeon")), "relay"),
        (lambda net, plan: draw_schedule(net, n_blocks=0), "n_blocks"),
        (lambda net, plan: draw_schedule(net, n_blocks=1, block_interval_s=0), "block_interval_s"),
        (lambda net, plan: draw_schedule(net, n_blocks=1, block_interval_s=math.nan),
         "block_interval_s"),
        (lambda net, plan: draw_schedule(net, n_blocks=1, block_size_bytes=-1), "size_bytes"),
    ],
)  # fmt: skip
def test_wrong_parameters_are_refused_by_name(call, parameter):
    """A user's mistake names the parameter."""
    network = star_network(4)
    with pytest.raises(ParameterError) as caught:
        call(network, one_block())
    assert caught.value.parameter == parameter


def test_a_network_of_two_and_one_of_one_work():
    """The smallest networks."""
    alone = from_graph(networkx.empty_graph(1))
    race = simulate(alone, draw_schedule(alone, n_blocks=3, seed=1), keep_all=True)
    assert race.tip.tolist() == [3]
    assert simulate(star_network(2), one_block()).deliveries == 2
