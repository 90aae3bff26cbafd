"""Learning: laggards catch up, logs are trimmed, snapshots travel, commands take effect once."""

from __future__ import annotations

from typing import Any

import pytest

from consensus_lab.client import Request
from consensus_lab.paxos.multi_log import SLOT
from consensus_lab.paxos.multi_messages import Forward
from consensus_lab.sim.links import Bandwidth, Link, Links
from consensus_lab.sim.models import Append, Get
from consensus_lab.sim.process import Host
from consensus_lab.sim.trace import Trace
from tests.paxos.multi_cluster import MS, Cells, Cluster, parameters


def filled(count: int, **others: Any) -> Cluster:
    """Replica 3 is down while a leader gets that many commands chosen."""
    trace = others.pop("trace", None)
    cluster = Cluster(parameters(**others), first=1, trace=trace)
    cluster.elect()
    cluster.engine.crash(3)
    for number in range(count):
        cluster.put(1, number % 7, number, name=number)
        if number % 10 == 9:
            cluster.run_ms(5)
    cluster.run_ms(100)
    assert len(cluster.replies) == count
    return cluster


def kinds(trace: Trace, sender: int, receiver: int) -> list[str]:
    """Which messages went over a link."""
    return [r.kind for r in trace if r.event == "send" and (r.node, r.peer) == (sender, receiver)]


def test_a_lagging_replica_catches_up_slot_by_slot() -> None:
    """It asks for what it misses, and gets it in portions of the stated size."""
    trace = Trace()
    cluster = filled(100, learn_count_max=30, trace=trace)
    cluster.engine.restart(3)
    cluster.run_ms(200)
    assert cluster.engine.nodes[3].log.chosen_index == 100
    assert kinds(trace, 1, 3).count("Learn") == 4
    cluster.check_replicas_agree()


def test_a_replica_that_lags_behind_the_trimmed_log_gets_the_snapshot() -> None:
    """Its slots are gone everywhere: the snapshot, and the slots after it."""
    trace = Trace()
    cluster = filled(105, snapshot_entries=20, catch_up_entries=0, trace=trace)
    assert cluster.engine.nodes[1].log.trimmed == 100
    cluster.engine.restart(3)
    cluster.run_ms(200)
    assert kinds(trace, 1, 3).count("InstallSnapshot") == 1
    assert cluster.engine.nodes[3].log.chosen_index == 105
    cluster.check_replicas_agree()


def test_a_large_snapshot_on_a_slow_line_is_not_sent_again_and_again() -> None:
    """It takes 40 heartbeats; who waits for it asks six times, not 40."""

    class Large(Cells):
        def snapshot(self) -> Any:
            return SizedState(super().snapshot())

    class SizedState(tuple):
        size_bytes = 800_000

    trace = Trace()
    line = Bandwidth(upload_bytes_per_s=1_000_000)
    settings = parameters(snapshot_entries=5, catch_up_entries=0)
    links = Links(Link(MS), bandwidth={1: line})
    cluster = Cluster(settings, first=1, links=links, machine=Large, trace=trace)
    cluster.elect()
    cluster.engine.crash(3)
    for number in range(12):
        cluster.put(1, "k", number, name=number)
    cluster.run_ms(2000)
    asked = kinds(trace, 3, 1).count("CatchUp")
    cluster.engine.restart(3)
    cluster.engine.run(
        until_ns=cluster.engine.now + 20_000 * MS, until=lambda: cluster.count("install") > 0
    )
    assert cluster.count("install") == 1
    assert kinds(trace, 3, 1).count("CatchUp") - asked <= 6


def test_the_log_on_disk_is_trimmed() -> None:
    """After a snapshot only the slots behind it and the agreed tail are on disk."""
    cluster = filled(95, snapshot_entries=20, catch_up_entries=5)
    slots = sorted(key[1] for key in cluster.engine.disks[1] if key[0] == SLOT)
    assert slots == list(range(76, 96))
    assert cluster.engine.disks[1]["snapshot"].last_slot == 80


def test_a_restarted_replica_comes_back_with_what_it_knew() -> None:
    """Snapshot and slots on disk give the same state, before anybody is asked."""
    cluster = filled(95, snapshot_entries=20, catch_up_entries=5)
    cluster.put(1, "last", 1, name="last")  # Takes the chosen index of the others to disk.
    cluster.run_ms(50)
    before = cluster.engine.nodes[2].replica.machine.cells
    cluster.engine.crash(2)
    cluster.engine.crash(1)
    cluster.engine.restart(2)
    node: Any = cluster.engine.nodes[2]
    assert node.log.chosen_index >= 95
    assert {k: v for k, v in before.items() if k != "last"} == {
        k: v for k, v in node.replica.machine.cells.items() if k != "last"
    }


def test_all_may_crash_and_nothing_answered_is_lost() -> None:
    """Every answered command is there after all replicas lost their memory at once."""
    cluster = Cluster(parameters(), host=Host(fsync_ns=2 * MS), first=1)
    cluster.elect()
    for number in range(30):
        cluster.request(1, Append("k", f"{number},"), name=number)
        cluster.run_ms(1)
    answered = sorted(cluster.replies)
    assert 5 < len(answered) < 30
    for node in cluster.node_ids:
        cluster.engine.crash(node)
    for node in cluster.node_ids:
        cluster.engine.restart(node)
    leader = cluster.elect()
    cluster.request(leader, Get("k"), name="read")
    cluster.run_ms(100)
    found = cluster.replies["read"].split(",")
    assert found[: len(answered)] == [str(number) for number in answered]


def test_a_lost_accept_is_sent_again() -> None:
    """Two heartbeats later at most, the value reaches who missed it."""
    cluster = Cluster(parameters(), first=1)
    cluster.elect()
    cluster.engine.links.block((1,), (2, 3))
    cluster.put(1, "k", 1, name="x")
    cluster.run_ms(0.5)
    cluster.engine.links.unblock((1,), (2, 3))
    cluster.run_ms(2 * 20 + 5)
    assert "x" in cluster.replies


def test_a_command_that_comes_twice_takes_effect_once() -> None:
    """A doubled Forward, and a client that tries again elsewhere (Raft dissertation §6.3)."""
    cluster = Cluster(parameters(), first=1)
    cluster.elect()
    append = Append("k", "x")
    cluster.request(2, append, name="a")
    cluster.request(3, append, name="a")
    cluster.run_ms(100)
    cluster.request(1, append, name="a")
    cluster.run_ms(100)
    assert cluster.engine.nodes[1].replica.machine.cells == {"k": "x"}
    assert cluster.replies == {"a": None}


def test_two_copies_in_the_log_take_effect_once() -> None:
    """Chosen twice, by two leaders: the second slot is as good as a no-op."""
    cluster = Cluster(parameters(), first=1)
    cluster.elect()
    request = Request("a", Append("k", "x"))
    node: Any = cluster.engine.nodes[1]
    node.leadership.queue.extend([request, request])
    cluster.put(1, "other", 1)
    cluster.run_ms(100)
    assert [cluster.applied[slot] for slot in (1, 2)] == [request, request]
    cluster.check_replicas_agree()
    assert node.replica.machine.cells["k"] == "x"


def test_what_took_effect_is_remembered_across_snapshots() -> None:
    """A replica that got the snapshot still knows that a request took effect."""
    cluster = filled(60, snapshot_entries=20, catch_up_entries=0)
    cluster.engine.restart(3)
    cluster.run_ms(100)
    assert 5 in cluster.engine.nodes[3].replica.sessions
    cluster.replies.clear()
    cluster.put(3, 5, 5, name=5)
    cluster.run_ms(1)
    assert cluster.replies == {5: None}


def test_a_candidate_that_lags_is_brought_up_to_date_first() -> None:
    """Its Prepare is answered with a snapshot; it promises nothing that needs trimmed slots."""
    cluster = filled(105, snapshot_entries=20, catch_up_entries=0, pre_vote=False)
    cluster.engine.crash(1)
    cluster.engine.restart(3)
    cluster.run_ms(1500)
    assert cluster.count("install") == 1
    leader = cluster.leader()
    assert leader in (2, 3)
    cluster.request(leader, Get(104 % 7), name="read")
    cluster.run_ms(50)
    assert cluster.replies["read"] == 104
    cluster.check_replicas_agree()


@pytest.mark.parametrize("loss", [0.0, 0.4])
def test_forwarded_commands_survive_a_change_of_leader(loss: float) -> None:
    """They are handed to each new leader until they are answered."""
    links = Link(MS, loss=loss)
    cluster = Cluster(parameters(), links=links, seed=4)
    leader = cluster.elect()
    follower = next(n for n in cluster.node_ids if n != leader)
    cluster.engine.crash(leader)
    for number in range(5):
        cluster.put(follower, "k", number, name=number)
    cluster.run_ms(1500)
    if loss == 0.0:
        assert sorted(cluster.replies) == list(range(5))
    cluster.engine.restart(leader)
    cluster.engine.links.default = Link(MS)
    cluster.engine.crash(cluster.elect())
    cluster.run_ms(1500)
    assert sorted(cluster.replies) == list(range(5)) or loss > 0.0
    cluster.check_replicas_agree()


def test_who_does_not_lead_lets_a_forwarded_command_go_by() -> None:
    """No chains of forwarding: the first replica sends it to the new leader itself."""
    cluster = Cluster(parameters(), first=1)
    cluster.elect()
    node: Any = cluster.engine.nodes[2]
    assert node.receive(3, Forward(Request("a", Append("k", "x"))), 0) == []
