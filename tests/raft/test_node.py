"""RaftNode: the order of its effects, and what clients may ask."""

import pytest

from consensus_lab.client import Query, Refused, Request
from consensus_lab.kv import Delete, Get, Put, PutResult, StoreConfig
from consensus_lab.node import (
    Apply,
    Node,
    ParameterError,
    Persist,
    Reply,
    Send,
)
from consensus_lab.raft.config import RaftConfig, ReadMode
from consensus_lab.raft.entries import (
    NONE,
    ConfState,
    Entry,
)
from consensus_lab.raft.messages import (
    MsgApp,
    MsgAppResp,
    MsgHeartbeat,
    MsgHup,
    MsgVote,
    MsgVoteResp,
    ReadState,
    Role,
)
from consensus_lab.raft.requests import (
    Campaign,
    ChangeMembership,
    ForgetLeader,
    SerializableQuery,
    TransferLeadership,
)
from tests.raft.network import SECOND, Network, change, elected, put

# Effects and their order.


def test_a_raft_node_is_a_node():
    """The contract that engine and explorer rely on."""
    network = Network()
    assert isinstance(network.nodes[1], Node)


def test_the_leader_sends_before_its_own_disk_has_the_entry():
    """Both writes run at the same time; its own counts only when it is done (thesis §10.2.1)."""
    network = elected()
    effects = network.nodes[1].submit(put(1), 0)
    kinds = [(type(effect), getattr(effect, "to", None)) for effect in effects]
    assert kinds == [(Send, 2), (Send, 3), (Persist, None), (Send, 1)]
    assert type(effects[0].message) is MsgApp
    assert effects[3].message == MsgAppResp(1, 1, 2)


def test_a_follower_answers_after_its_write():
    """The term, vote and entries that the answer rests on are durable before it goes out."""
    network = elected()
    entry = Entry(1, 2, put(1))
    effects = network.nodes[2].receive(1, MsgApp(1, 1, 1, 1, 1, (entry,)), 0)
    assert [type(effect) for effect in effects] == [Persist, Send]
    assert (("entry", 2), entry) in effects[0].writes


def test_a_vote_is_durable_before_it_is_given():
    """Also one's own; the request itself goes out at once."""
    node = Network().nodes[1]
    effects = node.receive(2, MsgVote(2, 4, 0, 0), 0)
    assert [type(e) for e in effects if type(e) in (Persist, Send)] == [Persist, Send]
    assert effects[0].writes[0][1] == (4, 2, 0)
    assert effects[1] == Send(2, MsgVoteResp(1, 4))


def test_a_vote_in_the_present_term_is_a_change_of_its_own():
    """The term stays, the vote must be written all the same."""
    network = Network()
    network.perform(1, network.nodes[1].receive(2, MsgVoteResp(2, 4), 0))
    network.perform(1, network.nodes[1].receive(2, MsgVote(2, 4, 0, 0), 0))
    assert network.disks[1]["hard_state"][:2] == (4, 2)


def test_a_heartbeat_costs_no_write():
    """Nothing that must survive has changed; a commit index need not."""
    network = elected()
    network.submit(1, put(1))
    network.run()
    (answer,) = network.nodes[2].receive(1, MsgHeartbeat(1, 1, 2), 0)
    assert type(answer) is Send


def test_what_is_committed_is_applied_and_answered():
    """In that order, by the node that took the request."""
    network = elected()
    network.submit(2, put(1))
    network.run()
    assert network.replies == {("c", 1): PutResult(2)}
    for node_id in (1, 2, 3):
        assert [(a.index, a.command) for a in network.applied[node_id]] == [(1, None), (2, put(1))]


# Clients.


def test_requests_wait_until_a_leader_is_known():
    """As in etcd; whichever node took them answers them."""
    network = Network()
    for node_id in (1, 2, 3):
        network.submit(node_id, put(node_id))
    assert network.replies == {}
    network.submit(1, Campaign())
    network.run()
    assert sorted(network.replies) == [("c", 1), ("c", 2), ("c", 3)]


def test_a_request_that_is_sent_twice_takes_effect_once():
    """The second is answered with the first one's result, wherever it comes in."""
    network = elected()
    for node_id in (1, 2, 2, 3):
        network.submit(node_id, put(1))
    network.run()
    network.submit(3, put(1))
    network.run()
    assert network.replies == {("c", 1): PutResult(2)}
    assert {node.machine.revision for node in network.nodes.values()} == {2}


def test_a_command_over_the_limit_is_refused_before_it_is_proposed():
    """With etcd's text; nothing is written or sent."""
    network = elected()
    network.submit(2, Request("big", Put("k", "x" * 2_000_000)))
    assert network.replies["big"] == Refused("etcdserver: request is too large")
    assert network.on_the_way == []


def test_a_full_quota_refuses_puts_on_every_node_and_loses_nothing():
    """The alarm is part of the replicated state; reads and deletes still work."""
    network = elected(store=StoreConfig(quota_bytes=1_000))
    for number in range(5):
        network.submit(1 + number % 3, put(number))
        network.run()
    refusals = [network.replies["c", number] for number in range(5)]
    assert [type(result).__name__ for result in refusals] == [
        "PutResult", "PutResult", "PutResult", "RequestError", "Refused",
    ]  # fmt: skip
    assert refusals[3].rule == refusals[4].reason == "etcdserver: mvcc: database space exceeded"
    assert all(node.machine.has_alarm for node in network.nodes.values())
    network.submit(2, Query("r", Get("k")))
    network.submit(3, Request("d", Delete("k")))
    network.run()
    assert network.replies["r"].value == "2"
    assert network.replies["d"].deleted == 1


def test_a_linearizable_read_sees_every_answered_write():
    """At whatever node it comes in."""
    network = elected()
    network.submit(1, put(1))
    network.run()
    for node_id in (1, 2, 3):
        network.submit(node_id, Query(("r", node_id), Get("k")))
        assert ("r", node_id) not in network.replies
        network.run()
        assert network.replies["r", node_id].value == "1"


def test_reads_that_arrive_during_a_round_share_the_next():
    """Two rounds of heartbeats serve any number of reads."""
    network = elected()
    network.sent.clear()
    for number in range(10):
        network.submit(1, Query(number, Get("k")))
    network.run()
    assert len(network.replies) == 10
    rounds = {m.context for _, _, m in network.sent if type(m) is MsgHeartbeat}
    assert len(rounds) == 2


def test_a_read_without_an_answer_is_asked_again():
    """Messages are lost, leaders fall: the read stays."""
    network = elected()
    network.submit(2, Query("r", Get("k")))
    network.on_the_way.clear()
    network.fire(2, "read")
    network.run()
    assert network.replies["r"].value is None


def test_an_answer_from_an_earlier_life_confirms_nothing():
    """Contexts are told apart by when the node started."""
    network = elected()
    network.submit(2, Query("r", Get("k")))
    (request,) = [send.message for _, send in network.on_the_way]
    network.crash(2)
    network.now = SECOND
    network.start(2)
    network.submit(2, Query("r", Get("k")))
    assert request.context != network.nodes[2].reads.message().context


def test_an_answer_to_an_earlier_round_confirms_nothing():
    """Only the round under way counts."""
    network = elected()
    reads = network.nodes[1].reads
    reads.add(network.nodes[1].core, Query("r", Get("k")))
    reads.confirmed(ReadState(9, "another"))
    assert not reads.confirmed_rounds
    reads.confirmed(ReadState(9, reads.message().context))
    assert reads.serve(8) == []
    assert [reply.request_id for reply in reads.serve(9)] == ["r"]


def test_a_serializable_read_answers_at_once_from_what_is_applied():
    """Possibly stale, and without any message."""
    network = elected()
    network.submit(1, put(1))
    network.submit(3, SerializableQuery("r", Get("k")))
    assert network.replies["r"].value is None
    network.run()
    network.submit(3, SerializableQuery("r", Get("k")))
    assert network.replies["r"].value == "1"


def test_a_lease_reads_without_a_round():
    """While the leader has its quorum."""
    network = elected(config=RaftConfig(read_mode=ReadMode.LEASE))
    network.submit(1, Query("r", Get("k")))
    assert "r" in network.replies
    assert network.on_the_way == []


def test_only_known_requests_are_taken():
    """A user's mistake names what is allowed."""
    with pytest.raises(ParameterError, match="ChangeMembership"):
        Network().submit(1, Put("k", "v"))


# Membership and leadership.


def test_a_node_is_added_and_another_removed():
    """The new one is brought up to date; the answer is the new membership."""
    network = elected(node_ids=(1, 2, 3, 4), members=(1, 2, 3))
    network.submit(1, put(1))
    network.run()
    network.submit(2, ChangeMembership("join", change("v4")))
    network.run()
    assert network.replies["join"] == ConfState((1, 2, 3, 4))
    network.submit(1, ChangeMembership("swap", change("r2 l3")))
    network.run()
    assert network.replies["swap"].voters_outgoing == (1, 2, 3, 4)
    final = network.nodes[1].core.configuration.conf_state()
    assert final == ConfState((1, 4), learners=(3,))
    assert network.nodes[4].machine.snapshot() == network.nodes[1].machine.snapshot()


@pytest.mark.parametrize(
    ("text", "refusal"),
    [("r1 r2 r3", "removed all voters"), ("", "not in joint state; refusing empty conf change")],
)
@pytest.mark.parametrize("by", [1, 2])
def test_an_impossible_change_is_refused_and_nothing_is_lost(text, refusal, by):
    """At the leader before it is proposed, elsewhere by the leader or when it is applied."""
    network = elected()
    network.submit(by, ChangeMembership("bad", change(text)))
    assert ("bad" in network.replies) is (by == 1)
    network.run()
    assert network.replies["bad"].reason in {refusal, "can't leave a non-joint config"}
    assert network.nodes[1].core.configuration.conf_state() == ConfState((1, 2, 3))
    network.submit(by, put(1))
    network.run()
    assert network.replies["c", 1] == PutResult(2)


@pytest.mark.parametrize("by", [1, 2])
def test_a_second_change_waits_for_the_first(by):
    """It is refused with the reason, also when it came from a follower."""
    network = elected(node_ids=(1, 2, 3, 4, 5), members=(1, 2, 3))
    network.submit(1, ChangeMembership("first", change("v4")))
    network.submit(by, ChangeMembership("second", change("v5")))
    network.run()
    assert network.replies["first"] == ConfState((1, 2, 3, 4))
    assert "possible unapplied conf change" in network.replies["second"].reason


def test_leadership_is_handed_over_and_the_asker_is_told():
    """To a voter; a transfer that does not succeed is answered, too."""
    network = elected()
    network.submit(2, TransferLeadership("move", 3))
    network.run()
    assert network.leader == 3
    assert network.replies["move"] == 3
    network.submit(1, TransferLeadership("same", 3))
    assert network.replies["same"] == 3
    network.submit(1, TransferLeadership("stranger", 9))
    assert network.replies["stranger"] == Refused("etcdserver: bad leader transferee")
    network.submit(3, TransferLeadership("lost", 1))
    network.on_the_way.clear()
    network.fire(3, "transfer")
    assert "took too long" in network.replies["lost"].reason


def test_a_node_that_forgets_its_leader_may_vote():
    """Before the lease has run out."""
    network = elected()
    network.submit(2, ForgetLeader())
    assert network.nodes[2].core.lead == NONE
    effects = network.nodes[2].receive(3, MsgVote(3, 2, 1, 1), 0)
    assert Send(3, MsgVoteResp(2, 2)) in effects


def test_a_local_message_from_the_network_is_a_violation():
    """It is noted, and changes nothing."""
    network = elected()
    (note,) = network.nodes[2].receive(3, MsgHup(), 0)
    assert note.kind == "violation"
    assert network.nodes[2].core.role is Role.FOLLOWER


def test_the_same_inputs_give_the_same_effects():
    """No hidden state, no hidden chance."""

    def trace(node):
        effects = list(node.start(0))
        for now in range(1, 60):
            effects += node.timer("tick", now)
            effects += node.receive(2, MsgVoteResp(2, node.core.term), now)
            effects += node.submit(put(now), now)
        return effects

    first, second = (Network().nodes[1] for _ in range(2))
    assert trace(first) == trace(second)


def test_replies_follow_applies():
    """A client never hears of something that is not applied."""
    network = elected(node_ids=(1,), members=(1,))
    effects = network.nodes[1].submit(put(1), 0)
    (own,) = [effect for effect in effects if isinstance(effect, Send)]
    after = network.nodes[1].receive(1, own.message, 0)
    assert [type(effect) for effect in after] == [Apply, Reply]
