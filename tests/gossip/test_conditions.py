"""Nodes and links that come and go: by hand, and against what theory and common sense say."""

import math

import numpy
import pytest

from consensus_lab.gossip import message_level
from consensus_lab.gossip.conditions import (
    Conditions,
    Outage,
    Partition,
    Pool,
    draw_outages,
    eclipse,
)
from consensus_lab.gossip.mining import Schedule, draw_schedule
from consensus_lab.gossip.simulate import simulate
from consensus_lab.nakamoto.relay_messages import locator_bytes
from consensus_lab.nakamoto.relay_options import PROTOCOLS, Relay, Validation
from consensus_lab.network import topology
from consensus_lab.network.arrays import from_edges, from_graph
from consensus_lab.node import ParameterError

MS = 1_000_000


def line(n=3):
    """0 - 1 - 2 with 0.1 s between and a megabyte per second at every line."""
    return from_edges(
        numpy.array([(i, i + 1) for i in range(n - 1)]),
        latency_s=numpy.full(n - 1, 0.1),
        upload_bytes_per_s=numpy.full(n, 1e6),
        download_bytes_per_s=numpy.full(n, numpy.inf),
        hash_share=numpy.eye(1, n)[0],
    )


def blocks(*times_s, miners=None, size=976):
    """Blocks of 1000 bytes on the wire, at given seconds, found by node 0."""
    n = len(times_s)
    found_ns = numpy.array([round(s * 1e9) for s in times_s])
    return Schedule(found_ns, numpy.array(miners or [0] * n), numpy.full(n, size))


def test_a_node_that_was_off_asks_what_it_missed_and_gets_it_in_order():
    """getblocks 0.1 s, inv 0.1 s, getdata 0.1 s, then the blocks, one behind the other."""
    conditions = Conditions(outages=(Outage(1, 0.5, 10.0),))
    race = simulate(line(2), blocks(1, 2, 3), keep_all=True, conditions=conditions)
    locator_us, branch_us, request_us = locator_bytes(0), 24 + 3 + 3 * 36, 61
    first_ns = 10 * 1000 * MS + 400 * MS + (locator_us + branch_us + request_us + 1000) * 1000
    # All three requests leave at once; short messages do not queue, so all three arrive at once.
    assert race.received_ns[1:, 1].tolist() == [first_ns] * 3
    assert race.tip.tolist() == [3, 3]


def test_the_locator_grows_with_the_logarithm_of_the_height():
    """Ten hashes, then every second, fourth, eighth one: 29 for a chain of 500,000 blocks."""
    fixed = 24 + 4 + 1 + 32
    assert [(locator_bytes(h) - fixed) // 32 for h in (0, 5, 9, 10, 11, 500_000)] == [
        1, 6, 10, 11, 12, 29,
    ]  # fmt: skip


def test_what_a_node_asked_of_a_neighbour_that_goes_off_it_asks_of_another():
    """Node 2 of a square asked 1, which goes off while it sends; 3 has the block too."""
    network = from_edges(
        numpy.array([(0, 1), (1, 2), (0, 3), (2, 3)]),
        latency_s=numpy.array([0.1, 0.1, 0.2, 0.2]),
        upload_bytes_per_s=numpy.full(4, 1e6),
        download_bytes_per_s=numpy.full(4, numpy.inf),
        hash_share=numpy.eye(1, 4)[0],
    )
    schedule = blocks(1, size=2_000_000)
    whole = simulate(network, schedule, keep_all=True)
    cut = simulate(
        network, schedule, keep_all=True, conditions=Conditions(outages=(Outage(1, 4.0, 5.0),))
    )
    assert whole.received_ns[1, 2] > 4000 * MS
    assert cut.received_ns[1, 2] > whole.received_ns[1, 2]
    assert cut.tip.tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_after_a_partition_the_shorter_side_leaves_its_branch(protocol):
    """Two blocks here, three there: once whole, three is everybody's, two are taken back."""
    schedule = blocks(1, 20, 30, 40, 50, 60, miners=[0, 0, 3, 3, 0, 3])
    conditions = Conditions(partitions=(Partition(10.0, 100.0, group=(0, 1)),))
    race = simulate(line(4), schedule, conditions=conditions, relay=Relay(protocol))
    assert race.tip.tolist() == [6, 6, 6, 6]
    assert race.stale_blocks() == 2
    assert race.reorganisation_depth_max == 2
    assert race.reorganisations == 2
    assert race.accepted_by[[3, 4, 6]].tolist() == [4, 4, 4]


def test_sides_of_equal_length_stay_apart_until_one_is_ahead():
    """First seen: healing alone decides nothing, the next block does."""
    conditions = Conditions(partitions=(Partition(10.0, 100.0, links=((1, 2),)),))
    tied = simulate(line(4), blocks(20, 30, miners=[0, 3]), conditions=conditions)
    assert tied.tip.tolist() == [1, 1, 2, 2]
    decided = simulate(line(4), blocks(20, 30, 200, miners=[0, 3, 3]), conditions=conditions)
    assert decided.tip.tolist() == [3, 3, 3, 3]


def test_a_miner_that_is_off_finds_nothing():
    """Its blocks do not exist, and are no stale blocks either."""
    conditions = Conditions(outages=(Outage(0, 1.5, 2.5),))
    race = simulate(line(), blocks(1, 2, 3), conditions=conditions)
    assert race.is_found().tolist() == [True, False, True]
    assert race.parent.tolist() == [-1, 0, -1, 1]
    assert (race.stale_blocks(), race.stale_rate()) == (0, 0.0)
    assert race.stale_by_miner()[0].tolist() == [2, 0, 0]


@pytest.mark.parametrize("law", ["exponential", "measured"])
def test_churn_starts_in_equilibrium(law):
    """At any moment, the first included, a node is on with mean on / mean of both: four sigma."""
    sessions, downtimes = numpy.array([100.0, 1000.0, 10_000.0]), numpy.array([50.0, 950.0])
    given = (sessions, downtimes) if law == "measured" else (sessions.mean(), downtimes.mean())
    n = 3000
    outages = draw_outages(range(n), session_s=given[0], downtime_s=given[1], until_s=5000, seed=4)
    share = sessions.mean() / (sessions.mean() + downtimes.mean())
    for moment_s in (0.0, 700.0, 4999.0):
        off = sum(outage.start_s <= moment_s < outage.end_s for outage in outages)
        assert abs(1 - off / n - share) < 4 * math.sqrt(share * (1 - share) / n)


def test_churn_of_one_node_does_not_depend_on_the_others():
    """Each has a stream of its own."""
    laws = {"session_s": 60.0, "downtime_s": 60.0, "until_s": 600.0, "seed": 1}
    both = draw_outages([3, 5], **laws)
    assert [o for o in both if o.node == 5] == list(draw_outages([5], **laws))


@pytest.mark.slow
def test_under_churn_everybody_that_is_on_long_enough_has_the_chain():
    """A thousand nodes, half of them always coming and going, three hundred blocks."""
    network = from_graph(topology.bitcoin(1000, seed=6), seed=6)
    schedule = draw_schedule(network, n_blocks=300, block_interval_s=600.0, seed=6)
    end_s = float(schedule.found_ns[-1]) / 1e9
    churn = draw_outages(
        range(0, 1000, 2), session_s=7200.0, downtime_s=3600.0, until_s=end_s, seed=6
    )
    race = simulate(
        network, schedule, validation=Validation(0, 10**7), conditions=Conditions(outages=churn)
    )
    off = {o.node for o in churn if o.start_s <= end_s + 60 and o.end_s > end_s - 600}
    on = [node for node in range(1000) if node not in off]
    best = race.best_tip()
    assert len(on) > 700
    assert (race.tip[on] == best).all()
    # Those that are back have the whole chain.
    assert race.work["slots"] < 400


def test_blocks_that_only_nodes_gone_for_good_lack_keep_no_memory():
    """Three of fifty nodes leave, one at once; a fourth comes back and gets all it missed."""
    network = from_graph(topology.bitcoin(50, seed=2), seed=2)
    schedule = draw_schedule(network, n_blocks=400, block_interval_s=600.0, seed=2)
    found_s = schedule.found_ns / 1e9
    gone = [Outage(7, 0.0), Outage(8, found_s[100]), Outage(9, found_s[200])]
    away = Outage(10, found_s[150], found_s[170] + 1.0)
    race = simulate(network, schedule, conditions=Conditions(outages=(*gone, away)))
    stay = [node for node in range(50) if node not in (7, 8, 9)]
    assert (race.tip[stay] == race.best_tip()).all()
    assert 20 < race.work["slots"] < 100


def test_jitter_lengthens_each_message_by_its_own_draw():
    """Three messages on a link of 0.1 s with a jitter of half: 0.3 to 0.45 s, on average 0.375."""
    schedule = blocks(*range(1, 401), size=976)
    conditions = Conditions(jitter=0.5)
    race = simulate(line(2), schedule, keep_all=True, conditions=conditions, seed=3)
    fixed_ns = (61 + 61 + 1000) * 1000
    travel_s = (race.received_ns[1:, 1] - schedule.found_ns - fixed_ns) / 1e9
    assert 0.3 <= travel_s.min() < 0.32
    assert 0.43 < travel_s.max() <= 0.45
    assert abs(travel_s.mean() - 0.375) < 4 * 0.05 * math.sqrt(3 / 12 / 400)
    other = simulate(line(2), schedule, keep_all=True, conditions=conditions, seed=4)
    assert (other.received_ns != race.received_ns).any()


@pytest.mark.parametrize("feeds", [False, True])
def test_an_eclipsed_node_sees_what_the_attacker_lets_it_see(feeds):
    """Victim 0, attacker 4 behind a ring; both find blocks in the dark, and it ends."""
    ring = from_edges(
        numpy.array([(i, (i + 1) % 6) for i in range(6)]),
        latency_s=numpy.full(6, 0.1),
        upload_bytes_per_s=numpy.full(6, numpy.inf),
        download_bytes_per_s=numpy.full(6, numpy.inf),
        hash_share=numpy.eye(1, 6)[0],
    )
    network, cut = eclipse(
        ring, victims=[0], attackers=[4], start_s=10.0, end_s=100.0, feeds=feeds
    )  # fmt: skip
    assert network.neighbours(0) == (4,)
    schedule = blocks(1, 20, 30, 40, 50, 60, miners=[2, 4, 0, 2, 2, 2])
    during = Conditions(partitions=(Partition(cut.start_s, math.inf, cut.group),))
    race = simulate(network, schedule, conditions=during, keep_all=True)
    has_block_2, has_block_3 = race.accepted_ns[2] >= 0, race.accepted_ns[3] >= 0
    if feeds:
        assert has_block_2.tolist() == [True, False, False, False, True, False]
        assert race.parent[3] == 2  # The victim works for the attacker.
    else:
        assert has_block_2.tolist() == [False, True, True, True, True, True]
        assert has_block_3.tolist() == [True, False, False, False, False, False]
    after = simulate(network, schedule, conditions=Conditions(partitions=(cut,)))
    slow = message_level.simulate(network, schedule, conditions=Conditions(partitions=(cut,)))
    assert after.tip.tolist() == slow.tip.tolist() == [6] * 6
    assert after.reorganisation_depth_max == (2 if feeds else 1)


@pytest.mark.parametrize("attackers", [[], [0], [7]])
def test_an_eclipse_needs_attackers(attackers):
    """At least one, in the network, and no victim."""
    with pytest.raises(ParameterError) as caught:
        eclipse(line(), victims=[0], attackers=attackers, start_s=0.0, end_s=1.0)
    assert caught.value.parameter == "attackers"


@pytest.mark.parametrize(
    ("conditions", "parameter"),
    [
        (Conditions(outages=(Outage(3, 0.0),)), "outages"),
        (Conditions(outages=(Outage(0, 2.0, 1.0),)), "outages"),
        (Conditions(outages=(Outage(0, 2.0),), pools=(Pool((0,)),)), "outages"),
        (Conditions(jitter=-0.1), "jitter"),
        (Conditions(jitter=9.0), "jitter"),
        (Conditions(partitions=(Partition(-1.0, 1.0),)), "partitions"),
        (Conditions(partitions=(Partition(0.0, 1.0, group=(7,)),)), "partitions"),
        (Conditions(partitions=(Partition(0.0, 1.0, links=((0, 2),)),)), "partitions"),
    ],
)
def test_wrong_conditions_are_refused_by_name(conditions, parameter):
    """A user's mistake names the parameter."""
    with pytest.raises(ParameterError) as caught:
        simulate(line(), blocks(1), conditions=conditions)
    assert caught.value.parameter == parameter


def test_wrong_churn_is_refused_by_name():
    """Lengths are above 0."""
    with pytest.raises(ParameterError) as caught:
        draw_outages([0], session_s=0.0, downtime_s=1.0, until_s=1.0)
    assert caught.value.parameter == "session_s"
