"""RaftNode: what survives a crash, snapshots, and both kinds of time."""

import random

from consensus_lab.kv import KeyValueStore, PutResult
from consensus_lab.node import (
    CancelTimer,
    Send,
    SetTimer,
)
from consensus_lab.raft.config import RaftConfig
from consensus_lab.raft.entries import (
    Entry,
)
from consensus_lab.raft.messages import (
    MsgApp,
    MsgAppResp,
    MsgHeartbeat,
    MsgSnap,
    MsgVote,
    MsgVoteResp,
)
from consensus_lab.raft.node import RaftNode
from consensus_lab.raft.requests import (
    Campaign,
    ChangeMembership,
)
from tests.raft.network import MILLISECOND, SECOND, Network, change, elected, put

# Disk.


def test_a_node_restarts_from_its_disk():
    """Term, vote, log and what was committed; what was in memory only is learned again."""
    network = elected()
    for number in range(5):
        network.submit(1, put(number))
        network.run()
    network.crash(2)
    network.start(2)
    node = network.nodes[2]
    assert (node.core.term, node.core.vote, node.core.log.last_index) == (1, 1, 6)
    assert node.core.log.applied >= 5
    network.pass_time(SECOND)
    assert node.machine.snapshot() == network.nodes[1].machine.snapshot()


def compacting(**settings):
    """A network that takes snapshots often."""
    return elected(config=RaftConfig(snapshot_entries=10, catch_up_entries=2), **settings)


def test_a_node_compacts_and_restarts_from_its_snapshot():
    """The disk holds the snapshot, the base and what came after."""
    network = compacting()
    for number in range(25):
        network.submit(1, put(number, f"k{number % 4}"))
        network.run()
    before = network.nodes[3].machine.snapshot()
    assert network.nodes[3].core.log.base_index == 18
    entries = sorted(key[1] for key in network.disks[3] if key[0] == "entry")
    assert entries == list(range(19, 27))
    network.crash(3)
    network.start(3)
    network.pass_time(SECOND)
    assert network.nodes[3].machine.snapshot() == before
    assert ("c", 3) in network.nodes[3].sessions


def test_a_node_restarts_right_after_a_compaction():
    """The commit index on disk must not be behind the snapshot."""
    network = compacting()
    number = 0
    while not any(note.kind == "snapshot" for _, note in network.notes):
        network.submit(1, put(number))
        network.run()
        number += 1
    for node_id in (1, 2, 3):
        network.crash(node_id)
        network.start(node_id)
        assert network.nodes[node_id].core.log.applied >= 10


def test_no_snapshot_is_taken_in_the_middle_of_applying():
    """The state machine is then ahead of the log's mark."""
    node = elected().nodes[1]
    assert node.core.latest_snapshot().index == node.core.log.applied
    node._is_applying = True
    assert node.core.latest_snapshot() is None


def test_a_node_that_was_away_for_long_gets_a_snapshot():
    """And a request that took effect in it is answered where it was taken."""
    network = compacting()
    network.submit(3, put(99))
    forwarded = list(network.on_the_way)
    network.on_the_way.clear()
    isolated = network.nodes.pop(3)
    network.on_the_way = forwarded
    network.run()
    for number in range(25):
        network.submit(1, put(number))
        network.run()
    network.nodes[3] = isolated
    network.timers[3, "tick"] = network.now + MILLISECOND
    network.pass_time(SECOND)
    assert any(type(message) is MsgSnap and to == 3 for _, to, message in network.sent)
    assert network.nodes[3].machine.snapshot() == network.nodes[1].machine.snapshot()
    assert network.replies["c", 99] == PutResult(2)


def test_a_lost_snapshot_is_sent_again():
    """Nobody reports the loss; the leader assumes it after a while."""
    network = compacting(node_ids=(1, 2, 3, 4), members=(1, 2, 3))
    network.crash(4)
    for number in range(25):
        network.submit(1, put(number))
        network.run()
    network.submit(1, ChangeMembership("join", change("v4")))
    network.run()
    network.start(4)
    lost = 0
    for _ in range(800):
        due = sorted((time, key) for key, time in network.timers.items())
        network.fire(*due[0][1])
        while network.on_the_way:
            if type(network.on_the_way[0][1].message) is MsgSnap and lost == 0:
                network.on_the_way.pop(0)
                lost += 1
            else:
                network.deliver()
    assert lost == 1
    assert network.nodes[4].machine.snapshot() == network.nodes[1].machine.snapshot()


def test_replaced_entries_leave_the_disk():
    """Or a restart would find a log that was never there."""
    network = elected()
    node = network.nodes[2]
    old = tuple(Entry(1, index, put(index)) for index in (2, 3, 4))
    network.perform(2, node.receive(1, MsgApp(1, 1, 1, 1, 1, old), 0))
    new = (Entry(2, 2, put(9)),)
    network.perform(2, node.receive(3, MsgApp(3, 2, 1, 1, 1, new), 0))
    assert ("entry", 3) not in network.disks[2]
    network.crash(2)
    network.start(2)
    assert [entry.term for entry in network.nodes[2].core.log.entries] == [1, 2]


# Time.


def test_ticks_begin_at_a_random_phase_and_go_on():
    """Nodes do not start in step."""
    first = [Network().timers[node_id, "tick"] for node_id in (1, 2, 3)]
    assert len(set(first)) == 3
    assert max(first) <= 100 * MILLISECOND
    network = Network()
    network.pass_time(3 * SECOND)
    assert network.leader


def node_with_range(low, high, **changes):
    """One node of three with timeouts from a continuous range."""
    config = RaftConfig(election_timeout_range_ns=(low, high), pre_vote=False, **changes)
    return RaftNode(
        1, {}, members=(1, 2, 3), machine=KeyValueStore(), random_source=random.Random(4),
        config=config,
    )  # fmt: skip


def timers(effects):
    """The timers among effects."""
    return [effect for effect in effects if isinstance(effect, (SetTimer, CancelTimer))]


def test_continuous_timeouts_are_drawn_anew_when_a_leader_is_heard():
    """From the range, to the nanosecond (Raft §5.2, §9.3)."""
    node = node_with_range(150, 300, check_quorum=False)
    (first,) = timers(node.start(0))
    draws = {first.delay_ns}
    for now in range(1, 40):
        (again,) = timers(node.receive(2, MsgHeartbeat(2, 1, 0), now))
        assert again.name == "election"
        draws.add(again.delay_ns)
    assert min(draws) >= 150
    assert max(draws) <= 300
    assert len(draws) > 20
    assert timers(node.receive(2, MsgAppResp(2, 1), 50)) == []


def test_a_leader_with_a_continuous_range_beats_and_checks_its_quorum():
    """Its election timer is off until it falls."""
    node = node_with_range(150, 300)
    node.start(0)
    node.timer("election", 200)
    (own,) = [e.message for e in node.submit(Campaign(), 201) if isinstance(e, Send) and e.to == 1]
    node.receive(1, own, 202)
    won = timers(node.receive(2, MsgVoteResp(2, node.core.term), 203))
    assert won == [
        CancelTimer("election"), SetTimer("heartbeat", 75), SetTimer("quorum", 150),
    ]  # fmt: skip
    assert timers(node.timer("heartbeat", 278)) == [SetTimer("heartbeat", 75)]
    node.receive(2, MsgAppResp(2, node.core.term, 1), 300)
    assert timers(node.timer("quorum", 353)) == [SetTimer("quorum", 150)]
    assert node.receive(3, MsgVote(3, 9, 9, 9), 400) == []  # It has just had its quorum.
    lost = timers(node.timer("quorum", 503))
    assert lost[:2] == [CancelTimer("heartbeat"), CancelTimer("quorum")]
    assert lost[2].name == "election"


def test_the_lease_holds_for_the_least_timeout():
    """Also without ticks: who has heard a leader ignores candidates for that long."""
    node = node_with_range(150, 300)
    node.start(0)
    node.receive(2, MsgHeartbeat(2, 1, 0), 1000)
    assert node.receive(3, MsgVote(3, 5, 9, 9), 1149) == []
    assert node.receive(3, MsgVote(3, 5, 9, 9), 1150) != []
