"""Who leads: elections, takeover, probing, no progress without a leader."""

from __future__ import annotations

from typing import Any

import pytest

from consensus_lab.client import Request
from consensus_lab.paxos.multi_messages import Ballot, NoOp
from consensus_lab.paxos.quorum import Quorums
from consensus_lab.sim.links import Link, Links
from consensus_lab.sim.models import Get, Put
from consensus_lab.sim.process import Host
from tests.paxos.multi_cluster import MS, SECOND, Cluster, parameters


def cut(cluster: Cluster, node: int) -> None:
    """Isolate one replica from all others."""
    others = tuple(n for n in cluster.node_ids if n != node)
    cluster.engine.links.block((node,), others)
    cluster.engine.links.block(others, (node,))


def mend(cluster: Cluster, node: int) -> None:
    """Undo `cut`."""
    others = tuple(n for n in cluster.node_ids if n != node)
    cluster.engine.links.unblock((node,), others)
    cluster.engine.links.unblock(others, (node,))


def test_one_leader_is_elected_and_stays() -> None:
    """Heartbeats keep a stable leader: phase 1 runs once, for all instances to come."""
    cluster = Cluster(parameters((1, 2, 3, 4, 5)))
    leader = cluster.elect()
    for number in range(50):
        cluster.put(leader, "k", number, name=number)
        cluster.run_ms(20)
    cluster.run_ms(2000)
    assert cluster.leader() == leader
    assert cluster.count("candidate") == cluster.count("leader") == 1
    assert len(cluster.replies) == 50


def test_without_a_leader_there_is_no_progress() -> None:
    """With a majority down nothing is chosen; commands wait, and are chosen once it is back."""
    cluster = Cluster(parameters())
    leader = cluster.elect()
    for node in cluster.node_ids:
        if node != leader:
            cluster.engine.crash(node)
    cluster.run_ms(500)
    assert cluster.leader() is None, "check-quorum: it has stepped down"
    cluster.put(leader, "k", 1, name="x")
    cluster.run_ms(3000)
    assert "x" not in cluster.replies
    assert cluster.applied == {}
    for node in cluster.node_ids:
        cluster.engine.restart(node)
    cluster.run_ms(1000)
    assert "x" in cluster.replies


def test_a_command_at_a_follower_is_forwarded_to_the_leader() -> None:
    """The leader alone proposes; whoever took the command answers it."""
    cluster = Cluster(parameters())
    leader = cluster.elect()
    follower = next(n for n in cluster.node_ids if n != leader)
    cluster.put(follower, "k", 7, name="x")
    cluster.run_ms(100)
    cluster.request(follower, Get("k"), name="y")
    cluster.run_ms(100)
    assert cluster.replies == {"x": None, "y": 7}


def test_a_command_without_a_leader_waits_for_one() -> None:
    """Handed in before the first election, answered after it."""
    cluster = Cluster(parameters())
    for node in cluster.node_ids:
        cluster.put(node, "k", node, name=node)
    cluster.elect()
    cluster.run_ms(100)
    assert sorted(cluster.replies) == [1, 2, 3]


def test_takeover_after_the_leader_crashed() -> None:
    """The rest elect a new leader, which keeps what was chosen and goes on."""
    cluster = Cluster(parameters())
    first = cluster.elect()
    cluster.put(first, "k", 1, name="before")
    cluster.run_ms(10)
    assert "before" in cluster.replies
    cluster.engine.crash(first)
    cluster.run_ms(500)
    second = cluster.leader()
    assert second not in (None, first)
    cluster.request(second, Get("k"), name="read")
    cluster.put(second, "k", 2, name="after")
    cluster.run_ms(50)
    assert cluster.replies["read"] == 1
    assert "after" in cluster.replies
    cluster.engine.restart(first)
    cluster.run_ms(500)
    cluster.check_replicas_agree()


@pytest.mark.parametrize("count", [3, 5])
def test_takeover_takes_a_timeout_and_two_rounds(count: int) -> None:
    """Silence, a probe, phase 1: the new leader stands one timeout and two round trips later."""
    cluster = Cluster(parameters(range(1, count + 1)), links=Link(3 * MS), first=1)
    cluster.elect()
    cluster.run_ms(205)
    begun = cluster.engine.now
    cluster.engine.crash(1)
    cluster.engine.run(until=lambda: cluster.count("leader") == 2)
    took = cluster.engine.now - begun
    # The followers draw the longest timeout, one nanosecond below 200 ms, from the last heartbeat.
    assert 180 * MS <= took - 4 * 3 * MS <= 200 * MS


def test_probing_protects_a_stable_leader() -> None:
    """A replica that the leader does not reach unseats it, unless it has to probe first."""

    def leaders(*, pre_vote: bool) -> int:
        cluster = Cluster(parameters(pre_vote=pre_vote), seed=3)
        leader = cluster.elect()
        other = next(n for n in cluster.node_ids if n != leader)
        cluster.engine.links.block((leader,), (other,))
        cluster.run_ms(2000)
        return cluster.count("leader")

    assert leaders(pre_vote=True) == 1
    assert leaders(pre_vote=False) > 1


def test_a_leader_that_no_quorum_answers_steps_down() -> None:
    """Check-quorum: within two election timeouts of being cut off."""
    cluster = Cluster(parameters())
    leader = cluster.elect()
    cut(cluster, leader)
    cluster.run_ms(220)
    assert cluster.engine.nodes[leader].role != "leader"


def test_without_check_quorum_it_stays_and_is_harmless() -> None:
    """A cut-off leader keeps its role, and nothing that it proposes is chosen."""
    cluster = Cluster(parameters(check_quorum=False))
    leader = cluster.elect()
    cut(cluster, leader)
    cluster.put(leader, "k", "lost", name="old")
    cluster.run_ms(1000)
    assert cluster.engine.nodes[leader].role == "leader"
    assert "old" not in cluster.replies
    new = cluster.leader()
    assert new is not None and new != leader
    cluster.put(new, "k", "kept", name="new")
    cluster.run_ms(100)
    mend(cluster, leader)
    cluster.run_ms(1000)
    # The old leader handed its client's command on to the new one.
    assert [v.command.value for v in cluster.applied.values()] == ["kept", "lost"]
    assert sorted(cluster.replies) == ["new", "old"]
    cluster.check_replicas_agree()


def test_two_duelling_leaders_choose_one_value_per_slot() -> None:
    """Timeouts shorter than a round trip make leaders overtake each other; nothing breaks."""
    settings = parameters(
        (1, 2, 3), election_timeout_ns=8 * MS, heartbeat_interval_ns=4 * MS,
        pre_vote=False, check_quorum=False,
    )  # fmt: skip
    cluster = Cluster(settings, links=Link(4 * MS, jitter_ns=4 * MS, loss=0.3))
    for number in range(20):
        cluster.engine.at(number * 20 * MS, lambda n=number: cluster.put(1 + n % 3, "k", n))
    cluster.run_ms(3000)
    assert cluster.count("candidate") > 20
    slots = [slot for slot, _ in cluster.accepted_by]
    assert len(slots) > len(set(slots)), "several ballots proposed in the same slot"


def test_a_ballot_is_never_used_twice() -> None:
    """A candidate that crashes comes back above its old ballot, for it was on disk."""
    cluster = Cluster(parameters(pre_vote=False), host=Host(fsync_ns=MS), first=1)
    cluster.engine.run(until=lambda: cluster.count("candidate") == 1)
    cluster.engine.crash(1)
    assert cluster.engine.disks[1] == {}, "its ballot was not on disk: nobody heard of it"
    cluster = Cluster(parameters(pre_vote=False), host=Host(fsync_ns=MS), first=1)
    cluster.elect()
    used = cluster.engine.nodes[1].leadership.ballot
    cluster.engine.crash(1)
    assert cluster.engine.disks[1]["promised"] == used
    cluster.engine.restart(1)
    cluster.engine.crash(2)
    cluster.run_ms(2000)
    later = [note.detail for _, node, note in cluster.notes if note.kind == "candidate"]
    assert len(later) == len(set(later))
    assert later[-1] > used


def test_gaps_are_filled_with_no_ops() -> None:
    """Slots 1 and 2 of a crashed leader are lost, slot 3 is not: 1 and 2 become no-ops.

    (Paxos Made Simple §3: commands 136 and 137 there.)
    """
    settings = parameters(batch_count_max=1)
    cluster = Cluster(settings, links=Links(Link(MS)), first=1)
    cluster.elect()
    cluster.run_ms(50)
    cluster.engine.links.block((1,), (2, 3))
    cluster.put(1, "k", "a", name="a")
    cluster.put(1, "k", "b", name="b")
    cluster.run_ms(0.1)
    cluster.engine.links.unblock((1,), (2, 3))
    cluster.put(1, "k", "c", name="c")
    cluster.run_ms(1.5)
    assert 3 in cluster.engine.nodes[2].log.entries
    assert cluster.replies == {}
    cluster.engine.crash(1)
    cluster.run_ms(1000)
    kinds = [type(cluster.applied[slot]) for slot in (1, 2, 3)]
    assert kinds == [NoOp, NoOp, Request]
    assert cluster.applied[3].command == Put("k", "c")


def test_flexible_quorums_shift_what_failures_cost() -> None:
    """Phase-2 quorums of 2 in 5: three may be down while a leader stands; no election then."""
    cluster = Cluster(parameters(Quorums((1, 2, 3, 4, 5), phase1=4, phase2=2)))
    leader = cluster.elect()
    others = [n for n in cluster.node_ids if n != leader]
    for node in others[:3]:
        cluster.engine.crash(node)
    cluster.put(leader, "k", 1, name="x")
    cluster.run_ms(1000)
    assert "x" in cluster.replies
    cluster.engine.crash(leader)
    cluster.engine.restart(others[0])
    cluster.run_ms(3000)
    assert cluster.leader() is None, "a phase-1 quorum of 4 is not there"
    cluster.engine.restart(others[1])
    cluster.engine.restart(others[2])
    cluster.run_ms(1000)
    assert cluster.leader() is not None
    assert cluster.applied[1].command == Put("k", 1)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 7])
def test_as_many_may_fail_as_quorums_tolerate(count: int) -> None:
    """With n - majority replicas down commands are chosen; an even number tolerates no more."""
    settings = parameters(range(1, count + 1))
    tolerated = settings.quorums.failures_tolerated
    assert tolerated == (count - 1) // 2
    cluster = Cluster(settings)
    cluster.elect()
    for node in cluster.node_ids[:tolerated]:
        cluster.engine.crash(node)
    cluster.run_ms(1000)
    cluster.put(count, "k", 1, name="x")
    cluster.run_ms(100)
    assert "x" in cluster.replies
    cluster.engine.crash(count)
    cluster.run_ms(SECOND // MS)
    if count > 1:
        cluster.put(count - 1, "k", 2, name="y")
        cluster.run_ms(1000)
        assert ("y" in cluster.replies) == (count - tolerated - 1 > count // 2)


def test_ballots_compare_by_round_and_then_by_leader() -> None:
    """Unique per proposer: two leaders never share a ballot."""
    assert Ballot(1, 9) < Ballot(2, 1) < Ballot(2, 2)


def test_a_peer_that_breaks_the_rules_is_noted() -> None:
    """An Accept under somebody else's ballot, and nonsense, are dropped with a note."""
    from consensus_lab.paxos.multi_messages import Accept, Heartbeat

    cluster = Cluster(parameters())
    node: Any = cluster.engine.nodes[1]
    for message in (
        Accept(Ballot(9, 2), 1, (NoOp(),), 0), Heartbeat(Ballot(9, 2), 1, 0), "nonsense",
    ):  # fmt: skip
        effects = node.receive(3, message, 0)
        assert [effect.kind for effect in effects] == ["violation"]
    assert node.log.entries == {}
