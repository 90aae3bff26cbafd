"""Linearizable reads: by a confirmed round or a lease; and the stale reads that they prevent."""

from __future__ import annotations

from typing import Any

import pytest

from consensus_lab.paxos import multi_proposing, multi_rounds
from consensus_lab.paxos.multi_lease import Lease
from consensus_lab.paxos.multi_parameters import MultiPaxosParameters
from consensus_lab.paxos.quorum import Quorums
from consensus_lab.sim.links import Link
from consensus_lab.sim.models import Get
from tests.paxos.multi_cluster import MS, Cluster, parameters


def isolate_leader(cluster: Cluster) -> tuple[int, int]:
    """Write 1, cut the leader off, wait for another and write 2 there; the two leaders."""
    old = cluster.elect()
    cluster.put(old, "k", 1)
    cluster.run_ms(50)
    others = tuple(n for n in cluster.node_ids if n != old)
    cluster.engine.links.block((old,), others)
    cluster.engine.links.block(others, (old,))
    cluster.engine.run(until=lambda: any(
        node.role == "leader" for i, node in cluster.engine.nodes.items() if i != old
    ))  # fmt: skip
    new = next(i for i in others if cluster.engine.nodes[i].role == "leader")
    cluster.put(new, "k", 2, name="second write")
    cluster.engine.run(until=lambda: "second write" in cluster.replies)
    return old, new


def test_a_read_costs_one_round_and_no_slot() -> None:
    """A heartbeat to each other replica and back: two message delays, nothing written."""
    settings = {"election_timeout_ns": 9_000 * MS, "heartbeat_interval_ns": 4_000 * MS}
    cluster = Cluster(parameters((1, 2, 3), **settings), links=Link(7 * MS))
    leader = cluster.elect(within_ns=60_000 * MS)
    cluster.run_ms(100)
    sent, begun = cluster.messages_sent(), cluster.engine.now
    cluster.request(leader, Get("k"), name="r")
    cluster.run_ms(100)
    assert cluster.reply_times["r"] - begun == 2 * 7 * MS
    assert cluster.messages_sent() - sent == 4
    assert cluster.applied == {}


def test_reads_that_come_during_a_round_share_the_next() -> None:
    """The first read begins a round, the following nine share one more."""
    settings = {"election_timeout_ns": 9_000 * MS, "heartbeat_interval_ns": 4_000 * MS}
    cluster = Cluster(parameters((1, 2, 3), **settings), links=Link(7 * MS))
    leader = cluster.elect(within_ns=60_000 * MS)
    cluster.run_ms(100)
    sent = cluster.messages_sent()
    for number in range(10):
        cluster.request(leader, Get("k"), name=number)
    cluster.run_ms(100)
    assert len(cluster.replies) == 10
    assert cluster.messages_sent() - sent == 8


def test_under_a_lease_a_read_costs_nothing() -> None:
    """The leader answers at once: no message, no time."""
    cluster = Cluster(parameters(leader_lease=True))
    leader = cluster.elect()
    cluster.put(leader, "k", 5)
    cluster.run_ms(55)
    sent, begun = cluster.messages_sent(), cluster.engine.now
    cluster.request(leader, Get("k"), name="r")
    cluster.engine.run(until=lambda: "r" in cluster.replies)
    assert cluster.replies["r"] == 5
    assert (cluster.messages_sent(), cluster.engine.now) == (sent, begun)


def test_without_a_round_an_old_leader_answers_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    """The anomaly first: a cut-off leader that just answers gives the old value."""
    monkeypatch.setattr(multi_proposing, "add_read", multi_rounds._answer_read)
    cluster = Cluster(parameters(check_quorum=False))
    old, _ = isolate_leader(cluster)
    cluster.request(old, Get("k"), name="stale")
    cluster.run_ms(1)
    assert cluster.replies["stale"] == 1


def test_the_round_prevents_the_stale_read() -> None:
    """The cut-off leader gets no confirmation; the read is answered by the new one, later."""
    cluster = Cluster(parameters(check_quorum=False))
    old, new = isolate_leader(cluster)
    cluster.request(old, Get("k"), name="read")
    cluster.run_ms(300)
    assert "read" not in cluster.replies
    cluster.engine.links.unblock((old,), (new,))
    cluster.engine.links.unblock((new,), (old,))
    cluster.run_ms(300)
    assert cluster.replies["read"] == 2


def lease_under_drift(*, drift_ppm: int, bound_ppm: int) -> Any:
    """What a cut-off leader with a slow clock answers right after another was elected.

    The leader's clock loses `drift_ppm`, the others' gain as much.
    """
    settings = parameters(
        leader_lease=True, clock_drift_ppm_max=bound_ppm, check_quorum=False, pre_vote=False
    )
    cluster = Cluster(settings, first=1)
    cluster.elect()
    cluster.run_ms(30)
    cluster.engine.set_clock(1, drift_ppm=-drift_ppm)
    for other in (2, 3):
        cluster.engine.set_clock(other, drift_ppm=drift_ppm)
    cluster.run_ms(400)
    old, _ = isolate_leader(cluster)
    assert old == 1
    cluster.request(old, Get("k"), name="read")
    cluster.run_ms(2)
    return cluster.replies.get("read")


def test_a_lease_is_unsafe_when_clocks_drift_beyond_the_bound() -> None:
    """Clocks off by 40 % with a bound of 0.1 %: the old leader trusts a lease that is over."""
    assert lease_under_drift(drift_ppm=400_000, bound_ppm=1000) == 1


def test_a_lease_is_safe_within_the_bound() -> None:
    """The same clocks with a bound that covers them: the old leader no longer answers."""
    assert lease_under_drift(drift_ppm=400_000, bound_ppm=400_000) is None


@pytest.mark.parametrize("drift", [0, 1, 1000, 100_000, 400_000, 900_000])
def test_the_lease_ends_before_the_earliest_grant(drift: int) -> None:
    """L / (1 - d) <= T / (1 + d): in true time, whatever both clocks do within the bound."""
    settings = MultiPaxosParameters(Quorums((1, 2, 3)), clock_drift_ppm_max=drift)
    million = 1_000_000
    lease_ends = settings.lease_duration_ns * million * (million + drift)
    grant_ends = settings.election_timeout_ns * million * (million - drift)
    assert lease_ends <= grant_ends
    assert (settings.lease_duration_ns + 1) * million * (million + drift) > grant_ends


def test_a_restarted_acceptor_keeps_the_lease_that_it_forgot() -> None:
    """It grants to nobody for an election timeout, so nobody overtakes a leader with a lease."""
    settings = parameters(leader_lease=True, check_quorum=False, pre_vote=False)
    cluster = Cluster(settings, first=1)
    cluster.elect()
    cluster.run_ms(50)
    begun = cluster.engine.now
    cluster.engine.links.block((1,), (2, 3))
    cluster.engine.links.block((2, 3), (1,))
    for other in (2, 3):
        cluster.engine.crash(other)
        cluster.engine.restart(other)
    for other in (2, 3):  # Let them want to lead at once: their clocks leap through the timeout.
        assert cluster.engine.nodes[other].is_granting
    cluster.engine.run(until=lambda: cluster.count("leader") == 2)
    assert cluster.engine.now - begun >= settings.election_timeout_ns
    assert not cluster.engine.nodes[1].lease.is_held


def test_a_clock_that_jumps_does_no_harm() -> None:
    """Leases are measured with timers; what the wall clock shows does not matter."""
    settings = parameters(leader_lease=True, check_quorum=False, pre_vote=False)
    cluster = Cluster(settings, first=1)
    cluster.elect()
    cluster.run_ms(50)
    cluster.engine.set_clock(1, offset_ns=-80 * MS)
    for other in (2, 3):
        cluster.engine.set_clock(other, offset_ns=900 * MS)
    cluster.run_ms(50)
    old, _ = isolate_leader(cluster)
    cluster.request(old, Get("k"), name="read")
    cluster.run_ms(2)
    assert "read" not in cluster.replies


def test_a_new_leader_reads_only_after_its_predecessors_slots_took_effect() -> None:
    """A value chosen by the old leader but not known to the new one must not be missed."""
    cluster = Cluster(parameters(), first=1)
    cluster.elect()
    cluster.run_ms(50)
    # The answers reach the leader, its next heartbeats do not reach the others.
    cluster.put(1, "k", "chosen", name="x")
    cluster.run_ms(2)
    assert "x" in cluster.replies
    cluster.engine.crash(1)
    new = cluster.elect()
    node: Any = cluster.engine.nodes[new]
    assert node.leadership.read_floor == 1
    assert node.log.chosen_index == 0
    cluster.request(new, Get("k"), name="read")
    cluster.run_ms(0.5)
    assert "read" not in cluster.replies
    cluster.run_ms(20)
    assert cluster.replies["read"] == "chosen"


def test_two_periods_keep_a_lease_without_a_gap() -> None:
    """One period runs while the next is asked for; what is not confirmed is not held."""
    lease = Lease(100)
    assert [effect.name for effect in lease.ask(1)] == ["lease-0"]
    assert not lease.is_held
    lease.confirm(lambda number: number <= 1)
    assert lease.is_held
    assert [effect.name for effect in lease.ask(2)] == ["lease-1"]
    assert lease.ask(3) == [], "Both periods are taken: one held, one asked for."
    lease.end("lease-0")
    assert not lease.is_held, "Round 2 was not confirmed."
    lease.confirm(lambda number: number <= 2)
    assert lease.is_held
    assert [effect.name for effect in lease.ask(4)] == ["lease-0"]
    lease.confirm(lambda number: number <= 4)
    assert [effect.name for effect in lease.ask(5)] == ["lease-1"], "The older one is renewed."
    lease.revoke()
    assert not lease.is_held


def test_a_lease_lapses_with_the_heartbeats() -> None:
    """Cut off, the leader holds its lease no longer than its duration."""
    settings = parameters(leader_lease=True, check_quorum=False)
    cluster = Cluster(settings, first=1)
    cluster.elect()
    cluster.run_ms(100)
    node: Any = cluster.engine.nodes[1]
    assert node.lease.is_held
    cluster.engine.links.block((2, 3), (1,))
    begun = cluster.engine.now
    cluster.engine.run(until=lambda: not node.lease.is_held)
    assert cluster.engine.now - begun <= settings.lease_duration_ns
