"""Reconfiguration: the acceptors are replaced by a command of the log."""

from __future__ import annotations

from typing import Any

import pytest

from consensus_lab.client import Refused
from consensus_lab.paxos.multi_eras import Eras
from consensus_lab.paxos.multi_messages import Reconfigure
from consensus_lab.paxos.quorum import Quorums
from consensus_lab.sim.models import Get
from tests.paxos.multi_cluster import Cluster, parameters


def started(nodes: tuple[int, ...] = (1, 2, 3, 4, 5), **others: Any) -> Cluster:
    """Acceptors 1 to 3, others stand by; replica 1 leads and has chosen ten commands."""
    settings = {"window_slots": 8, **others}
    cluster = Cluster(parameters((1, 2, 3), **settings), nodes=nodes, first=1, is_watched=False)
    cluster.engine.run(until=lambda: cluster.count("leader") == 1)
    for number in range(10):
        cluster.put(1, number, number, name=number)
        cluster.run_ms(5)
    return cluster


def change(cluster: Cluster, node: int, members: Any, *, name: Any = "change") -> None:
    """Ask a replica for a reconfiguration."""
    quorums = members if isinstance(members, Quorums) else Quorums(members)
    cluster.engine.submit(node, Reconfigure(name, quorums))


def writes(cluster: Cluster, node: int, name: Any) -> bool:
    """Try to write at a replica, within 300 ms."""
    cluster.put(node, "k", name, name=name)
    cluster.run_ms(300)
    return name in cluster.replies


def test_acceptors_are_added() -> None:
    """From three to five: new ones catch up, and two failures are tolerated afterwards."""
    cluster = started()
    change(cluster, 1, (1, 2, 3, 4, 5))
    cluster.run_ms(200)
    assert cluster.replies["change"] == Quorums((1, 2, 3, 4, 5))
    cluster.check_replicas_agree()
    cluster.engine.crash(2)
    cluster.engine.crash(3)
    assert writes(cluster, 1, "two down")
    cluster.engine.crash(4)
    assert not writes(cluster, 1, "three down")


def test_the_new_acceptors_decide_the_slots_after_the_window_only() -> None:
    """The command in slot s takes effect in slot s + window; no-ops fill the slots between."""
    cluster = started()
    change(cluster, 1, (1, 2, 3, 4, 5))
    cluster.run_ms(200)
    slot = next(i for i, value in cluster.applied.items() if isinstance(value, Reconfigure))
    assert slot == 11
    node: Any = cluster.engine.nodes[1]
    assert node.replica.eras.all() == ((slot + 8, Quorums((1, 2, 3, 4, 5))),)
    assert node.log.chosen_index == slot + 7


def test_an_acceptor_is_removed_and_learns_of_it() -> None:
    """It stays away from elections; what it still is told are chosen values."""
    cluster = started()
    change(cluster, 1, (1, 2))
    cluster.run_ms(500)
    leaders = cluster.count("leader")
    cluster.engine.crash(1)
    cluster.run_ms(1000)
    assert cluster.leader() is None, "2 alone is no majority of 1 and 2"
    assert cluster.engine.nodes[3].role == "follower"
    cluster.engine.restart(1)
    cluster.run_ms(1000)
    assert cluster.leader() in (1, 2)
    assert cluster.count("leader") > leaders


def test_who_is_no_acceptor_still_serves_clients() -> None:
    """Before it is added and after it is removed it asks who leads, and forwards."""
    cluster = started()
    cluster.run_ms(300)
    assert writes(cluster, 4, "never added")
    change(cluster, 1, (1, 2))
    cluster.run_ms(500)
    assert writes(cluster, 3, "removed")
    cluster.request(3, Get("k"), name="read")
    cluster.run_ms(300)
    assert cluster.replies["read"] == "removed"


def test_a_leader_removes_itself_and_hands_over() -> None:
    """It leads until its successors know the new membership, then one of them leads."""
    cluster = started()
    change(cluster, 1, (2, 3))
    cluster.run_ms(1000)
    assert cluster.count("removed") == 1
    assert cluster.leader() in (2, 3)
    assert writes(cluster, cluster.leader() or 0, "after")
    cluster.check_replicas_agree()


def test_all_acceptors_are_replaced_at_once() -> None:
    """From 1 2 3 to 4 5 6: nothing is lost, and the old ones are not needed any more."""
    cluster = started(nodes=(1, 2, 3, 4, 5, 6))
    change(cluster, 1, (4, 5, 6))
    cluster.run_ms(1000)
    for node in (1, 2, 3):
        cluster.engine.crash(node)
    leader = cluster.leader()
    assert leader in (4, 5, 6)
    cluster.request(leader, Get(9), name="read")
    cluster.run_ms(100)
    assert cluster.replies["read"] == 9
    assert writes(cluster, leader, "new")


def test_new_acceptors_that_missed_their_appointment_find_out() -> None:
    """They were down when it was chosen, and the removed leader is gone: they ask the old ones."""
    cluster = started(nodes=(1, 2, 3, 4, 5, 6))
    for node in (4, 5, 6):
        cluster.engine.crash(node)
    change(cluster, 1, (4, 5, 6))
    cluster.run_ms(300)
    cluster.engine.crash(1)
    for node in (4, 5, 6):
        cluster.engine.restart(node)
    cluster.run_ms(2000)
    assert cluster.leader() in (4, 5, 6)


def test_a_single_acceptor_grows_to_three_and_back() -> None:
    """One, three, one."""
    cluster = Cluster(parameters((1,), window_slots=8), nodes=(1, 2, 3), is_watched=False)
    cluster.engine.run(until=lambda: cluster.count("leader") == 1)
    assert writes(cluster, 1, "alone")
    change(cluster, 1, (1, 2, 3), name="grow")
    cluster.run_ms(300)
    assert writes(cluster, 1, "three")
    change(cluster, 1, (2,), name="shrink")
    cluster.run_ms(500)
    cluster.engine.crash(1)
    cluster.engine.crash(3)
    assert cluster.leader() == 2
    assert writes(cluster, 2, "alone again")


def test_quorum_sizes_can_change_with_the_acceptors() -> None:
    """A reconfiguration may bring flexible quorums, with the same acceptors."""
    cluster = started()
    change(cluster, 1, Quorums((1, 2, 3, 4), phase1=3, phase2=2))
    cluster.run_ms(200)
    cluster.engine.crash(3)
    cluster.engine.crash(4)
    assert writes(cluster, 1, "two of four")


def test_one_reconfiguration_at_a_time() -> None:
    """A second one while the first is under way is refused, and possible afterwards."""
    cluster = started()
    change(cluster, 1, (1, 2, 3, 4), name="first")
    change(cluster, 1, (1, 2, 3, 5), name="second")
    cluster.run_ms(300)
    assert cluster.replies["first"] == Quorums((1, 2, 3, 4))
    assert isinstance(cluster.replies["second"], Refused)
    assert cluster.replies["second"].reason == "reconfiguration-under-way"
    change(cluster, 1, (1, 2, 3, 5), name="third")
    cluster.run_ms(300)
    assert cluster.replies["third"] == Quorums((1, 2, 3, 5))


def test_a_reconfiguration_that_comes_twice_takes_effect_once() -> None:
    """A late copy does not bring back an old membership."""
    cluster = started()
    change(cluster, 1, (1, 2, 3, 4), name="first")
    cluster.run_ms(300)
    change(cluster, 1, (1, 2, 3), name="back")
    cluster.run_ms(300)
    change(cluster, 2, (1, 2, 3, 4), name="first")
    cluster.run_ms(300)
    assert cluster.engine.nodes[1].replica.eras.members == (1, 2, 3)


def test_a_new_leader_finishes_a_reconfiguration() -> None:
    """The leader crashes when it is accepted but not yet chosen; the next one completes it."""
    cluster = started()
    cluster.engine.links.block((2, 3), (1,))
    change(cluster, 1, (1, 2, 3, 4))
    cluster.run_ms(3)
    cluster.engine.crash(1)
    cluster.run_ms(1000)
    leader: Any = cluster.engine.nodes[cluster.leader() or 0]
    assert leader.replica.eras.members == (1, 2, 3, 4)
    assert leader.log.chosen_index == 18


def test_a_lease_does_not_outlive_its_era() -> None:
    """Earned from the old acceptors it proves nothing about the new ones."""
    cluster = started(leader_lease=True)
    cluster.run_ms(100)
    node: Any = cluster.engine.nodes[1]
    assert node.lease.is_held
    held: list[bool] = []

    def watch() -> bool:
        if len(node.replica.eras) > 1:
            held.append(node.lease.is_held)
        return bool(held)

    change(cluster, 1, (3, 4, 5))
    cluster.engine.run(until=watch)
    assert held == [False]


@pytest.mark.parametrize("window", [1, 2, 5])
def test_eras_begin_and_are_forgotten(window: int) -> None:
    """Slots before an era keep their acceptors, those of chosen slots are forgotten."""
    old, new = Quorums((1, 2, 3)), Quorums((3, 4, 5))
    eras = Eras(((1, old),))
    eras.add(10 + window, new)
    assert eras.members == (1, 2, 3, 4, 5)
    assert eras.at(9 + window) == old
    assert eras.at(10 + window) == new
    assert eras.last_slot(5) == 9 + window
    assert eras.last_slot(10 + window) is None
    assert not eras.forget_before(9 + window)
    assert eras.forget_before(10 + window)
    assert eras.members == (3, 4, 5)
