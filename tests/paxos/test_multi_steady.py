"""Steady state: message delays, message counts, pipelining and batching, against closed forms."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import pytest

from consensus_lab.client import Refused
from consensus_lab.node import ParameterError, ProtocolViolation
from consensus_lab.paxos.multi_parameters import MultiPaxosParameters
from consensus_lab.paxos.quorum import Quorums, majority
from consensus_lab.sim.links import Link, Links
from consensus_lab.sim.models import Get, Put
from consensus_lab.sim.process import Host
from consensus_lab.sim.trace import Trace
from tests.paxos.multi_cluster import MS, SECOND, Cells, Cluster, parameters

QUIET = {"election_timeout_ns": 10 * SECOND, "heartbeat_interval_ns": 5 * SECOND}
"""Heartbeats stay out of the way of counting."""


def members(count: int) -> tuple[int, ...]:
    """The identities 1 to n."""
    return tuple(range(1, count + 1))


def quiet_cluster(count: int, **others: Any) -> tuple[Cluster, int]:
    """A cluster with a leader and no message under way, and its leader."""
    settings = {**QUIET, **others.pop("settings", {})}
    cluster = Cluster(parameters(members(count), **settings), **others)
    leader = cluster.elect(within_ns=60 * SECOND)
    cluster.run_ms(200)
    return cluster, leader


def reference(identity: str) -> str:
    """A published fact about the Paxos family."""
    folder = os.environ.get("CONSENSUS_LAB_REFERENCE")
    if not folder:
        pytest.skip("CONSENSUS_LAB_REFERENCE is not set: the folder of published reference data")
    with (Path(folder) / "raft" / "paxos_reference.csv").open() as file:
        return next(row["value"] for row in csv.DictReader(file) if row["id"] == identity)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7])
def test_a_command_costs_two_messages_per_other_replica(count: int) -> None:
    """Accept to n-1 others and n-1 answers, nothing else (reference: 2(n-1))."""
    cluster, leader = quiet_cluster(count)
    before = cluster.messages_sent()
    for number in range(10):
        cluster.put(leader, "k", number, name=number)
        cluster.run_ms(10)
    sent = cluster.messages_sent() - before
    assert sorted(cluster.replies) == list(range(10))
    assert sent == 10 * 2 * (count - 1)


def test_the_message_count_is_the_published_one() -> None:
    """The formula that the test above holds is the one in the reference."""
    assert reference("messages_per_commit_stable") == "2(n-1)"
    assert reference("multipaxos_commit_client") == "4"
    assert reference("lower_bound_delay") == "2"


@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_command_is_chosen_after_two_message_delays(count: int) -> None:
    """Accept and Accepted: one round trip at the leader, to the nanosecond."""
    cluster, leader = quiet_cluster(count, links=Link(7 * MS))
    begun = cluster.engine.now
    cluster.put(leader, "k", 1, name="x")
    cluster.run_ms(100)
    assert cluster.reply_times["x"] - begun == 2 * 7 * MS


def test_a_client_elsewhere_waits_for_four_message_delays() -> None:
    """Request, accept, accepted, reply (reference: multipaxos_commit_client)."""
    cluster, leader = quiet_cluster(3, links=Link(7 * MS))
    follower = next(n for n in cluster.node_ids if n != leader)
    begun = cluster.engine.now
    cluster.put(follower, "k", 1, name="x")
    cluster.run_ms(100)
    assert cluster.reply_times["x"] - begun == 4 * 7 * MS


def test_a_cold_start_takes_four_message_delays_after_the_timeout() -> None:
    """Prepare, promise, accept, accepted (reference: singledecree_cold), without probing."""
    settings = {**QUIET, "pre_vote": False}
    cluster = Cluster(parameters(members(3), **settings), links=Link(7 * MS))
    cluster.engine.run(until=lambda: cluster.count("candidate") > 0)
    begun = cluster.engine.now
    candidate = cluster.notes[-1][1]
    cluster.put(candidate, "k", 1, name="x")
    cluster.run_ms(100)
    assert cluster.reply_times["x"] - begun == 4 * 7 * MS


@pytest.mark.parametrize("count", [3, 4, 5, 7])
def test_commit_latency_is_the_order_statistic_of_the_round_trips(count: int) -> None:
    """The round trip to the (majority-1)-th nearest acceptor (reference: multipaxos_commit)."""
    pairs = {}
    for other in range(2, count + 1):
        pairs[1, other], pairs[other, 1] = Link((3 + 5 * other) * MS), Link((2 + 7 * other) * MS)
    round_trips = [pairs[1, n].latency_ns + pairs[n, 1].latency_ns for n in range(2, count + 1)]
    cluster, leader = quiet_cluster(count, links=Links(Link(MS), pairs=pairs), first=1)
    assert leader == 1
    begun = cluster.engine.now
    cluster.put(leader, "k", 1, name="x")
    cluster.run_ms(200)
    waited = sorted(round_trips)[majority(count) - 2]
    assert cluster.reply_times["x"] - begun == waited


def test_a_smaller_phase_2_quorum_waits_for_fewer() -> None:
    """Flexible quorums of 4 and 2 out of 5: the nearest acceptor is enough (Howard 2016)."""
    pairs = {}
    for other in range(2, 6):
        pairs[1, other] = pairs[other, 1] = Link((20 - 3 * other) * MS)
    settings = parameters(Quorums(members(5), phase1=4, phase2=2), **QUIET)
    cluster = Cluster(settings, links=Links(Link(MS), pairs=pairs), first=1)
    assert cluster.elect(within_ns=60 * SECOND) == 1
    cluster.run_ms(100)
    begun = cluster.engine.now
    cluster.put(1, "k", 1, name="x")
    cluster.run_ms(200)
    assert cluster.reply_times["x"] - begun == 2 * 5 * MS


def test_the_leader_sends_before_its_own_disk_is_done() -> None:
    """With one fsync at both ends the command takes one round trip and one fsync, not two."""
    cluster, leader = quiet_cluster(3, links=Link(7 * MS), host=Host(fsync_ns=5 * MS))
    begun = cluster.engine.now
    cluster.put(leader, "k", 1, name="x")
    cluster.run_ms(100)
    assert cluster.reply_times["x"] - begun == (2 * 7 + 5) * MS


@pytest.mark.parametrize(("depth", "round_trips"), [(1, 10), (2, 5), (10, 1), (100, 1)])
def test_a_pipeline_of_that_depth_needs_so_many_round_trips(depth: int, round_trips: int) -> None:
    """Ten commands at once, one per Accept: ceil(10 / depth) round trips."""
    limits = {"pipeline_batches_max": depth, "batch_count_max": 1}
    cluster, leader = quiet_cluster(3, settings=limits, links=Link(7 * MS))
    begun = cluster.engine.now
    for number in range(10):
        cluster.put(leader, "k", number, name=number)
    cluster.run_ms(300)
    assert max(cluster.reply_times.values()) - begun == round_trips * 2 * 7 * MS


def test_the_window_bounds_what_is_open() -> None:
    """At most `window_slots` slots beyond the chosen prefix are ever proposed in."""
    cluster, leader = quiet_cluster(3, settings={"window_slots": 4, "batch_count_max": 1})
    node: Any = cluster.engine.nodes[leader]
    for number in range(20):
        cluster.put(leader, "k", number, name=number)
    most = 0

    def look() -> bool:
        nonlocal most
        most = max(most, node.leadership.next_slot - 1 - node.log.chosen_index)
        return False

    cluster.engine.run(until_ns=cluster.engine.now + 100 * MS, until=look)
    assert most == 4
    assert len(cluster.replies) == 20


def test_commands_that_wait_share_an_accept() -> None:
    """One goes at once, nine wait for it and leave together: two Accepts to each follower."""
    trace = Trace()
    cluster, leader = quiet_cluster(3, settings={"pipeline_batches_max": 1}, trace=trace)
    for number in range(10):
        cluster.put(leader, "k", number, name=number)
    cluster.run_ms(100)
    sent = [r.detail for r in trace if r.event == "send" and r.kind == "Accept"]
    assert [len(m.values) for m in sent] == [1, 1, 9, 9]
    assert len(cluster.replies) == 10


def test_a_command_waits_for_company_at_most_the_batch_delay() -> None:
    """With a delay, commands within it share one Accept, sent when it is over."""
    trace = Trace()
    cluster, leader = quiet_cluster(3, settings={"batch_delay_ns": 4 * MS}, trace=trace)
    begun = cluster.engine.now
    for number in range(3):
        cluster.put(leader, "k", number, name=number)
        cluster.run_ms(1)
    cluster.run_ms(100)
    sent = [r.detail for r in trace if r.event == "send" and r.kind == "Accept"]
    assert [len(m.values) for m in sent] == [3, 3]
    assert cluster.reply_times[0] - begun == (4 + 2) * MS


def test_a_full_batch_does_not_wait() -> None:
    """The batch delay ends when the batch is full."""
    limits = {"batch_delay_ns": SECOND, "batch_count_max": 3}
    cluster, leader = quiet_cluster(3, settings=limits)
    begun = cluster.engine.now
    for number in range(3):
        cluster.put(leader, "k", number, name=number)
    cluster.run_ms(100)
    assert cluster.reply_times[2] - begun == 2 * MS


def test_a_batch_holds_no_more_bytes_than_allowed() -> None:
    """Large commands are spread over several Accepts; one larger than the limit goes alone."""

    class Sized(Put):
        size_bytes = 400

    trace = Trace()
    limits = {"batch_delay_ns": MS, "batch_size_bytes_max": 1000}
    cluster, leader = quiet_cluster(2, settings=limits, trace=trace)
    for number in range(5):
        cluster.request(leader, Sized("k", number), name=number)
    cluster.run_ms(50)
    sent = [r.detail for r in trace if r.event == "send" and r.kind == "Accept"]
    assert [len(m.values) for m in sent] == [2, 2, 1]
    assert len(cluster.replies) == 5


def test_a_refused_command_costs_no_slot() -> None:
    """What the state machine refuses is answered at once, with the rule that it breaks."""

    class Strict(Cells):
        def check(self, command: Any) -> None:
            if len(str(command.value)) > 3:
                raise ProtocolViolation("request-too-large", "more than 3 characters")

    cluster, leader = quiet_cluster(3, machine=Strict)
    follower = next(n for n in cluster.node_ids if n != leader)
    cluster.put(leader, "k", "long", name="here")
    cluster.put(follower, "k", "long", name="there")
    cluster.put(leader, "k", "ok", name="good")
    cluster.run_ms(100)
    refused = Refused("request-too-large", "more than 3 characters")
    assert cluster.replies["here"] == cluster.replies["there"] == refused
    assert cluster.replies["good"] is None
    assert list(cluster.applied) == [1]


def test_a_full_queue_refuses() -> None:
    """More commands than may wait are refused as busy, and the others are not lost."""
    limits = {"queue_count_max": 3, "window_slots": 1}
    cluster, leader = quiet_cluster(3, settings=limits)
    for number in range(6):
        cluster.put(leader, "k", number, name=number)
    cluster.run_ms(100)
    busy = [number for number, result in cluster.replies.items() if isinstance(result, Refused)]
    assert busy == [4, 5]
    assert cluster.replies[4].reason == "busy"
    assert len(cluster.applied) == 4


def test_the_same_seed_gives_the_same_trace() -> None:
    """Two runs agree to the byte."""

    def digest() -> str:
        trace = Trace()
        cluster = Cluster(parameters(), seed=5, links=Link(MS, jitter_ns=MS), trace=trace)
        leader = cluster.elect()
        cluster.put(leader, "k", 1)
        cluster.request(leader, Get("k"))
        cluster.run_ms(300)
        return trace.digest()

    assert digest() == digest()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("election_timeout_ns", 1),
        ("heartbeat_interval_ns", 2 * SECOND),
        ("window_slots", 0),
        ("pipeline_batches_max", 0),
        ("batch_count_max", 0),
        ("batch_delay_ns", -1),
        ("snapshot_entries", 0),
        ("clock_drift_ppm_max", 1_000_000),
        ("queue_count_max", 0),
        ("quorums", Quorums(range(200))),
    ],
)
def test_bad_parameters_are_named(name: str, value: Any) -> None:
    """The error names the parameter and what is allowed."""
    settings = {"quorums": Quorums((1, 2, 3)), name: value}
    with pytest.raises(ParameterError) as error:
        MultiPaxosParameters(**settings)
    assert error.value.parameter == name


def test_quorums_that_need_not_meet_are_refused() -> None:
    """A phase-1 quorum of 2 and a phase-2 quorum of 2 out of 4 can miss each other."""
    with pytest.raises(ParameterError, match="phase2 must be at least 3"):
        parameters(Quorums((1, 2, 3, 4), phase1=2, phase2=2))
