"""The message-level node: announce, ask, send, validate, reorganise, step by step."""

import pytest

from consensus_lab.nakamoto.abstract_block import GENESIS, AbstractBlock, BlockTree
from consensus_lab.nakamoto.relay import RelayNode
from consensus_lab.nakamoto.relay_connections import ConnectedNode
from consensus_lab.nakamoto.relay_messages import (
    BlockMessage,
    CompactBlock,
    GetBlocks,
    GetData,
    GetTransactions,
    Headers,
    Inv,
    SendCompact,
    Transactions,
    compact_bytes,
)
from consensus_lab.nakamoto.relay_options import Found, Relay, Validation
from consensus_lab.node import Apply, Node, Note, ParameterError, Send, SetTimer, Unapply
from consensus_lab.sim.engine import Engine
from consensus_lab.sim.links import Link


def block(number, parent=GENESIS, size=1000):
    """A block on a parent."""
    return AbstractBlock(number, parent.number, parent.height + 1, parent.height + 1, size, 9)


def sends(effects):
    """What goes out, as pairs of receiver and message."""
    return [(effect.to, effect.message) for effect in effects if isinstance(effect, Send)]


def deliver(node, sender, blocks, now=0):
    """Hand over blocks and let their validation pass; all effects."""
    effects = []
    for given in blocks:
        waiting = node.receive(sender, BlockMessage(given), now)
        while waiting:
            effects += waiting
            timers = [e.name for e in waiting if isinstance(e, SetTimer)]
            waiting = [effect for name in timers for effect in node.timer(name, now)]
    return effects


def test_it_is_a_node():
    """The contract of `consensus_lab.node`."""
    assert isinstance(RelayNode(0, [1]), Node)


def test_the_first_announcer_is_asked_once():
    """A second announcement of a block on its way is ignored."""
    node = RelayNode(0, [1, 2])
    assert sends(node.receive(1, Inv(7), 0)) == [(1, GetData(7))]
    assert node.receive(2, Inv(7), 0) == []


def test_a_new_tip_is_announced_after_validation_to_who_may_lack_it():
    """Validation takes its time; then inv to all but the sender, in order."""
    node = RelayNode(0, [3, 2, 1], validation=Validation(5, 1_000_000))
    first = node.receive(1, BlockMessage(block(1)), 100)
    assert [e for e in first if isinstance(e, SetTimer)] == [SetTimer("validate 1", 1_000_005)]
    assert sends(node.timer("validate 1", 1_000_105)) == [(2, Inv(1)), (3, Inv(1))]


def test_two_blocks_are_validated_one_after_the_other():
    """One processor: the second waits for the first."""
    node = RelayNode(0, [1], validation=Validation(10))
    node.receive(1, BlockMessage(block(1)), 0)
    effects = node.receive(1, BlockMessage(block(2)), 4)
    assert SetTimer("validate 2", 16) in effects


def test_of_two_blocks_at_one_height_the_first_seen_stays_and_only_it_is_announced():
    """Nakamoto 2008, section 5: work on the first one received, save the other branch."""
    node = RelayNode(0, [1])
    deliver(node, 1, [block(1)])
    assert sends(deliver(node, 1, [block(2)])) == []
    assert node.tree.tip.number == 1
    assert [stale.number for stale in node.tree.stale()] == [2]


def test_a_longer_branch_takes_over_and_the_left_blocks_are_taken_back():
    """Unapply from the tip down, apply from the fork up, announce the new tip only."""
    node = RelayNode(0, [1, 2])
    deliver(node, 1, [block(1)])
    second = block(2)
    effects = deliver(node, 1, [second, block(3, second)])
    moves = [(type(e).__name__, e.index, e.command.number)
             for e in effects if isinstance(e, (Apply, Unapply))]  # fmt: skip
    assert moves == [("Unapply", 1, 1), ("Apply", 1, 2), ("Apply", 2, 3)]
    assert sends(effects) == [(2, Inv(3))]
    assert (node.reorganisations, node.reorganisation_depth_max) == (1, 1)


def test_an_orphan_waits_and_its_sender_is_asked_for_the_parent():
    """Child before parent: kept, parent requested, both accepted in order."""
    parent = block(1)
    node = RelayNode(0, [1])
    assert sends(deliver(node, 1, [block(2, parent)])) == [(1, GetData(1))]
    assert node.tree.tip == GENESIS
    effects = deliver(node, 1, [parent])
    assert [e.detail for e in effects if isinstance(e, Note) and e.kind == "accepted"] == [1, 2]
    assert node.tree.tip.number == 2


def test_a_parent_that_is_under_way_is_not_asked_for_again():
    """It was requested from another neighbour already."""
    node = RelayNode(0, [1, 2])
    node.receive(2, Inv(1), 0)
    assert sends(node.receive(1, BlockMessage(block(2, block(1))), 0)) == []


def test_only_validated_blocks_are_served():
    """A request for a block in validation, or unknown, is ignored."""
    node = RelayNode(0, [1])
    node.receive(1, BlockMessage(block(1)), 0)
    assert node.receive(1, GetData(1), 0) == []
    node.timer("validate 1", 0)
    assert sends(node.receive(1, GetData(1), 0)) == [(1, BlockMessage(block(1)))]


def test_strangers_and_strange_messages_are_ignored():
    """A note in the trace, nothing else; no crash."""
    node = RelayNode(0, [1])
    assert [type(e) for e in node.receive(5, Inv(1), 0)] == [Note]
    assert [type(e) for e in node.receive(1, "nonsense", 0)] == [Note]


def test_headers_with_less_work_than_the_tip_are_not_asked_for():
    """BIP 130: the header shows the work; equal work is asked for, less is not."""
    node = RelayNode(0, [1], relay=Relay("headers"))
    first = block(1)
    deliver(node, 1, [first, block(2, first)])
    assert node.receive(1, Headers(block(3)), 0) == []
    assert sends(node.receive(1, Headers(block(4, first)), 0)) == [(1, GetData(4))]


def test_compact_low_asks_for_the_compact_form_only_with_the_parent():
    """BIP 152: reconstruction needs the mempool of the parent's state."""
    node = RelayNode(0, [1], relay=Relay("compact_low"))
    child = block(2, block(1))
    assert sends(node.receive(1, Headers(child), 0)) == [(1, GetData(2, False))]
    assert sends(node.receive(1, Headers(block(3)), 0)) == [(1, GetData(3, True))]


def test_missing_transactions_cost_another_round_trip():
    """getblocktxn goes to the sender; the block is complete when they are here."""
    node = RelayNode(0, [1], relay=Relay("compact_low"), lacks_transactions=lambda number: True)
    assert sends(node.receive(1, CompactBlock(block(1), 300), 0)) == [(1, GetTransactions(1))]
    assert node.receive(1, CompactBlock(block(1), 300), 0) == []
    effects = node.receive(1, Transactions(block(1), 50), 0)
    assert Note("received", 1) in effects


def test_transactions_are_served_for_a_compact_block_that_was_sent():
    """Their size is the missing share of the block and the message's own bytes."""
    node = RelayNode(0, [1], relay=Relay("compact_high", missing_per_million=10_000))
    deliver(node, 1, [block(1, size=100_000)])
    [(peer, message)] = sends(node.receive(1, GetTransactions(1), 0))
    assert (peer, message.size_bytes) == (1, 24 + 32 + 3 + 1000)


def test_the_last_three_who_brought_a_block_are_asked_to_send_unasked():
    """BIP 152 high bandwidth: the oldest of three is dismissed for a new one."""
    node = RelayNode(0, [1, 2, 3, 4], relay=Relay("compact_high"))
    tip, asked = GENESIS, []
    for number, sender in enumerate([1, 2, 3, 1, 4], start=1):
        tip = block(number, tip)
        effects = sends(deliver(node, sender, [tip]))
        asked.append([(to, m.is_wanted) for to, m in effects if isinstance(m, SendCompact)])
    assert asked == [[(1, True)], [(2, True)], [(3, True)], [], [(2, False), (4, True)]]


def test_high_bandwidth_peers_get_the_compact_block_before_validation_once_per_height():
    """Sent on at arrival to who asked and does not have it; a rival at that height is not."""
    node = RelayNode(0, [1, 2, 3], relay=Relay("compact_high"), validation=Validation(100))
    for peer in (1, 2):
        node.receive(peer, SendCompact(True, 0), 0)
    early = sends(node.receive(1, BlockMessage(block(1)), 0))
    assert [(to, type(m)) for to, m in early] == [(2, CompactBlock)]
    assert sends(node.receive(3, BlockMessage(block(2)), 0)) == []
    late = sends(node.timer("validate 1", 100))
    assert [(to, type(m)) for to, m in late] == [(1, SendCompact), (3, Headers)]


def test_the_overlay_gets_short_ids_before_validation_and_asks_for_what_it_lacks():
    """As FIBRE: at once, only who is in it, a hundredth of the bytes, on connections of its own."""
    relay = Relay(transaction_bytes=500)
    node = RelayNode(0, [1, 2, 3], overlay=[2], relay=relay, validation=Validation(100))
    ((to, compact),) = sends(node.receive(1, BlockMessage(block(1)), 0))
    assert to == 2 and compact.block == block(1) and compact.by_overlay
    assert compact.size_bytes == compact_bytes(block(1).size_bytes, 500)
    lacking = RelayNode(2, [0], overlay=[0], relay=relay, lacks_transactions=lambda _: True)
    assert sends(lacking.receive(0, compact, 5)) == [(0, GetTransactions(1))]
    node.timer("validate 1", 100)
    ((_, mine),) = sends(node.receive(2, GetTransactions(1), 200))
    ((_, theirs),) = sends(node.receive(3, GetTransactions(1), 200))
    assert (mine.by_overlay, theirs.by_overlay) == (True, False)


def test_push_sends_whole_blocks_to_who_is_not_known_to_have_them():
    """The sender of a block and everyone who sent a copy of it are left out."""
    node = RelayNode(0, [1, 2, 3], relay=Relay("push"), validation=Validation(10))
    node.receive(1, BlockMessage(block(1)), 0)
    node.receive(2, BlockMessage(block(1)), 5)
    assert sends(node.timer("validate 1", 10)) == [(3, BlockMessage(block(1)))]


@pytest.mark.parametrize(
    ("relay", "parameter"),
    [
        (Relay("telepathy"), "relay"),
        (Relay(transaction_bytes=0), "transaction_bytes"),
        (Relay(missing_chance=1.5), "missing_chance"),
        (Relay(missing_per_million=-1), "missing_per_million"),
    ],
)
def test_wrong_relay_options_are_refused_by_name(relay, parameter):
    """A user's mistake names the parameter."""
    with pytest.raises(ParameterError) as caught:
        RelayNode(0, [1], relay=relay)
    assert caught.value.parameter == parameter


def test_a_restarted_node_keeps_its_chain_and_catches_up():
    """A crash loses nothing durable; three blocks found meanwhile come by getblocks."""
    engine = Engine(
        lambda i, disk: ConnectedNode(
            i, [j for j in range(3) if j != i], disk=disk, is_back=bool(disk)
        ),
        range(3),
        seed=1,
        links=Link(1000),
    )
    engine.submit(0, Found(1, 5000), at_ns=0)
    engine.run(until_ns=1_000_000)
    engine.crash(2)
    for number in (2, 3, 4):
        engine.submit(0, Found(number, 5000), at_ns=number * 1_000_000)
    engine.run(until_ns=10_000_000)
    engine.restart(2)
    assert engine.nodes[2].tree.tip.number == 1
    engine.run()
    assert engine.nodes[2].tree.tip.number == 4


def test_a_node_at_the_same_tip_answers_a_returning_neighbour_with_nothing():
    """There is nothing beyond it."""
    assert ConnectedNode(0, [1]).receive(1, GetBlocks((GENESIS.number,)), 0) == []


def test_block_tree_finds_the_way_between_two_branches():
    """Three blocks left, four joined, over the common ancestor."""
    tree = BlockTree()
    left = joined = GENESIS
    for number in (1, 2, 3):
        left = block(number, left)
        tree.accept(left)
    for number in (11, 12, 13):
        joined = block(number, joined)
        assert tree.accept(joined) is None
    moved = tree.accept(block(14, joined))
    assert [b.number for b in moved.left] == [3, 2, 1]
    assert [b.number for b in moved.joined] == [11, 12, 13, 14]
    assert len(tree.stale()) == 3
