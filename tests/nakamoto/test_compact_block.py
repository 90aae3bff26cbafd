"""Compact blocks (BIP 152): bytes, reconstruction, and full nodes that relay them."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import pytest

from consensus_lab.nakamoto.block import Block
from consensus_lab.nakamoto.block_download import TIMEOUT_NS
from consensus_lab.nakamoto.compact_block import (
    BlockTransactionsRequest,
    CompactBlock,
    PartialBlock,
    compact,
    parse_block_transactions,
    parse_compact_block,
    parse_request,
    short_id,
    short_id_key,
)
from consensus_lab.nakamoto.compact_relay import (
    COMPACT_DEPTH_MAX,
    HIGH_BANDWIDTH_PEERS_MAX,
    TRANSACTIONS_DEPTH_MAX,
    CompactRelay,
    compact_form,
)
from consensus_lab.nakamoto.encoding import compact_size
from consensus_lab.nakamoto.full_node import TICK_NS, FullNode
from consensus_lab.nakamoto.full_node_messages import (
    BlockMessage,
    BlockTransactionsMessage,
    CompactBlockMessage,
    Found,
    GetBlockTransactions,
    GetData,
    Inv,
    Pay,
    SendCompact,
)
from consensus_lab.nakamoto.miner import block_template, mine
from consensus_lab.nakamoto.peer_state import Peer
from consensus_lab.nakamoto.siphash import siphash
from consensus_lab.node import Note, ProtocolViolation, Send
from tests.nakamoto.test_full_node import (
    MINUTE_NS,
    RULES,
    START_S,
    chain_of,
    greet,
    kinds,
    new_wallet,
)

PAPER_KEY = (0x0706050403020100, 0x0F0E0D0C0B0A0908)


@pytest.mark.parametrize(
    ("size_bytes", "expected"),
    [
        (0, 0x726FDB47DD0E0E31), (1, 0x74F839C593DC67FD), (2, 0x0D6C8009D9A94F5A),
        (15, 0xA129CA6149BE45E5), (32, 0x7127512F72F27CCE),
    ],
)  # fmt: skip
def test_siphash_gives_the_published_values(size_bytes: int, expected: int) -> None:
    """Vectors of the authors' reference implementation; Bitcoin Core tests the same ones."""
    assert siphash(*PAPER_KEY, bytes(range(size_bytes))) == expected


class Room:
    """Nodes whose messages are delivered at once, with a log of them."""

    def __init__(self, *nodes: FullNode) -> None:
        self.nodes = {node.node_id: node for node in nodes}
        self.log: list[tuple[int, int, object]] = []
        self.lost: set[type] = set()
        self.now = 0

    def pump(self, sender: int, effects: list) -> None:
        """Deliver until it is quiet."""
        waiting = deque((sender, effect) for effect in effects)
        while waiting:
            source, effect = waiting.popleft()
            if not isinstance(effect, Send) or effect.to not in self.nodes:
                continue
            self.log.append((source, effect.to, effect.message))
            if type(effect.message) in self.lost:
                continue
            answers = self.nodes[effect.to].receive(source, effect.message, self.now)
            waiting.extend((effect.to, answer) for answer in answers)

    def begin(self) -> None:
        for node_id, node in self.nodes.items():
            self.pump(node_id, node.start(0))

    def submit(self, node_id: int, command: object) -> list[object]:
        """A command a minute later; what was said."""
        self.now += MINUTE_NS
        self.log.clear()
        self.pump(node_id, self.nodes[node_id].submit(command, self.now))
        return [message for _, _, message in self.log]

    def kinds_said(self) -> list[str]:
        return [type(message).__name__ for _, _, message in self.log]


def node_of(node_id: int, *peers: int) -> FullNode:
    wallet = new_wallet(node_id)
    return FullNode(node_id, peers, rules=RULES, wallet=wallet, start_s=START_S)


def pair(blocks: int = 16) -> Room:
    """A miner 0 with old coins and a node 1, connected; the miner was asked for high bandwidth."""
    room = Room(node_of(0, 1), node_of(1, 0))
    room.begin()
    for _ in range(blocks):
        room.submit(0, Found())
    assert room.nodes[1].chain.height == blocks
    return room


def test_a_new_block_comes_at_once_and_without_its_payments() -> None:
    """High bandwidth: one message, no request; what the pool has is not sent again."""
    room = pair()
    assert room.nodes[0].peers[1].wants_high_bandwidth
    for number in range(3):
        room.submit(0, Pay(number, new_wallet(1).address(), 50_000))
    assert len(room.nodes[1].pool) == 3
    said = room.submit(0, Found())
    assert room.kinds_said() == ["CompactBlockMessage"]
    block = room.nodes[1].chain.blocks[room.nodes[1].chain.tip.block_id]
    assert len(block.transactions) == 4 and len(room.nodes[1].pool) == 0
    payments = sum(item.size_bytes for item in block.transactions[1:])
    assert len(said[0].data) < len(block.serialize()) - payments + 4 * 9


def test_what_the_pool_lacks_is_asked_for_by_position() -> None:
    room = pair()
    room.lost = {Inv}
    for number in range(3):
        room.submit(0, Pay(number, new_wallet(1).address(), 50_000))
    assert len(room.nodes[1].pool) == 0
    payment = next(iter(room.nodes[0].pool)).transaction
    room.nodes[1].pool.accept(payment)
    said = room.submit(0, Found())
    assert room.kinds_said() == [
        "CompactBlockMessage", "GetBlockTransactions", "BlockTransactionsMessage",
    ]  # fmt: skip
    block = room.nodes[0].chain.blocks[room.nodes[0].chain.tip.block_id]
    lacking = [n for n, tx in enumerate(block.transactions) if n and tx.txid != payment.txid]
    assert parse_request(said[1].data).positions == tuple(lacking)
    assert len(parse_block_transactions(said[2].data).transactions) == 2
    assert room.nodes[1].chain.tip.block_id == block.block_id


def test_in_low_bandwidth_the_compact_form_is_asked_for() -> None:
    """The identity, headers, a request, the block: nobody sends it unasked."""
    room = Room(node_of(0, 1), node_of(1, 0))
    room.begin()
    room.submit(0, Found())
    assert room.kinds_said() == [
        "Inv", "GetHeaders", "Headers", "GetData", "CompactBlockMessage", "SendCompact",
    ]  # fmt: skip
    (request,) = [message for _, _, message in room.log if isinstance(message, GetData)]
    tip = room.nodes[0].chain.tip.block_id
    assert (request.blocks, request.compact_blocks) == ((), (tip,))
    assert room.nodes[1].chain.tip.block_id == tip


def test_only_new_blocks_are_sent_in_compact_form() -> None:
    """Of older ones the receiver's pool has nothing left: they come whole, asked either way."""
    node = chain_of(COMPACT_DEPTH_MAX + TRANSACTIONS_DEPTH_MAX)
    greet(node, 1)
    now = 60 * MINUTE_NS
    active = node.chain.active
    for depth, kind in ((0, CompactBlockMessage), (COMPACT_DEPTH_MAX, CompactBlockMessage),
                        (COMPACT_DEPTH_MAX + 1, BlockMessage)):  # fmt: skip
        block_id = active[-1 - depth].block_id
        (answer,) = node.receive(1, GetData((), (), (block_id,)), now)
        assert type(answer.message) is kind, depth
    for depth, kind in ((TRANSACTIONS_DEPTH_MAX, BlockTransactionsMessage),
                        (TRANSACTIONS_DEPTH_MAX + 1, BlockMessage)):  # fmt: skip
        request = BlockTransactionsRequest(active[-1 - depth].block_id, (0,))
        (answer,) = node.receive(1, GetBlockTransactions(request.serialize()), now)
        assert type(answer.message) is kind, depth


def test_who_does_not_answer_is_passed_over() -> None:
    """The transactions never come: after a minute the whole block is asked from another peer."""
    room = pair()
    other = node_of(2, 0, 1)
    room.nodes[2] = other
    for a, b in ((0, 2), (1, 2)):
        room.nodes[a].peers[b] = Peer(b)
    room.pump(2, other.start(room.now))
    for node_id in (0, 1):
        room.pump(node_id, room.nodes[node_id].timer("tick", room.now))
    assert other.chain.height == 16
    room.lost = {Inv}
    room.submit(0, Pay(1, new_wallet(1).address(), 50_000))
    room.lost = {BlockTransactionsMessage}
    room.submit(0, Found())
    assert "GetBlockTransactions" in room.kinds_said()
    assert room.nodes[1].chain.height == 16
    room.lost = {CompactBlockMessage, BlockTransactionsMessage}
    room.log.clear()
    room.now += TIMEOUT_NS + TICK_NS
    for node_id in (2, 1, 2, 1):
        room.pump(node_id, room.nodes[node_id].timer("tick", room.now))
    assert {node.chain.height for node in room.nodes.values()} == {17}


def test_three_peers_at_most_are_asked_for_high_bandwidth() -> None:
    relay, peers = CompactRelay(), [Peer(number) for number in range(5)]
    for peer in peers[:-1]:
        peer.knows_compact_blocks = True
    told = [relay.choose(peer) for peer in peers]
    assert told == [[(0, True)], [(1, True)], [(2, True)], [(3, True), (0, False)], []]
    assert len(relay.announcers) == HIGH_BANDWIDTH_PEERS_MAX
    assert relay.choose(peers[1]) == [] and relay.announcers == [2, 3, 1]


def ready_block(payments: int = 3) -> tuple[FullNode, Block]:
    """A node, and the next block with payments that it has in its pool."""
    room = pair()
    for number in range(payments):
        room.submit(0, Pay(number, new_wallet(1).address(), 50_000))
    node = room.nodes[1]
    room.nodes.pop(1)
    room.submit(0, Found())
    return node, room.nodes[0].chain.blocks[room.nodes[0].chain.tip.block_id]


def test_bytes_are_read_as_they_were_written() -> None:
    node, block = ready_block()
    form = compact_form(block, node_id=0, session=1)
    data = form.serialize()
    assert parse_compact_block(data) == form
    # 88 bytes of header and number, two counts, three ids of six bytes, position and coinbase.
    assert len(data) == 88 + 1 + 3 * 6 + 1 + 1 + block.coinbase.size_bytes
    assert form.short_ids != compact_form(block, node_id=1, session=1).short_ids
    key = short_id_key(block.header, form.nonce)
    assert form.short_ids == tuple(short_id(key, item) for item in block.transactions[1:])
    partial = PartialBlock(form, (entry.transaction for entry in node.pool))
    assert partial.missing == () and partial.filled() == block
    request = BlockTransactionsRequest(block.block_id, (1, 2, 300))
    assert request.serialize()[32:] == b"\x03\x01\x00" + compact_size(297)
    assert parse_request(request.serialize()) == request


def test_false_matches_are_found_by_the_merkle_root() -> None:
    """A transaction in the wrong place gives another root; another number of them is refused."""
    _, block = ready_block()
    partial = PartialBlock(compact(block, nonce=7), ())
    assert partial.missing == (1, 2, 3)
    one, two, three = block.transactions[1:]
    assert partial.filled((two, one, three)) is None
    assert partial.filled((one, two, three)) == block
    with pytest.raises(ProtocolViolation, match="bad-blocktxn"):
        partial.filled((one, two))


def test_equal_short_ids_in_one_block_need_the_whole_block() -> None:
    node, block = ready_block()
    form = compact(block, nonce=7)
    twins = form._replace(short_ids=(form.short_ids[0],) * 3)
    assert PartialBlock(twins, ()).is_ambiguous
    (effect,) = node.receive(0, CompactBlockMessage(twins.serialize()), 99 * MINUTE_NS)
    assert effect.message == GetData((), (block.block_id,))


def test_two_payments_with_one_short_id_are_both_left_out(monkeypatch) -> None:
    """Which of them is meant cannot be known, so it is asked for."""
    _, block = ready_block()
    first, second = block.transactions[1:3]
    monkeypatch.setattr(
        "consensus_lab.nakamoto.compact_block.siphash", lambda k0, k1, data: data[0] % 2
    )
    form = CompactBlock(block.header, 0, (first.witness_id[0] % 2,), ((0, block.coinbase),))
    twin = second if second.witness_id[0] % 2 == form.short_ids[0] else replace(first, version=7)
    while twin.witness_id[0] % 2 != form.short_ids[0]:
        twin = replace(twin, version=twin.version + 1)
    assert PartialBlock(form, (first,)).missing == ()
    assert PartialBlock(form, (first, twin)).missing == (1,)


def test_lies_in_compact_form() -> None:
    """What cannot be read costs a ban; an invalid block that a peer passed on does not."""
    node = chain_of(12)
    now = 99 * MINUTE_NS
    greedy = block_template(node.chain, script_pubkey=b"\x51", now_s=node.now_s(now))
    bad = mine(replace(greedy, reward_satoshi=greedy.reward_satoshi + 1))
    greet(node, 1)
    notes = kinds(node.receive(1, CompactBlockMessage(compact(bad, nonce=1).serialize()), now))
    assert notes == [] and node.chain.height == 12
    assert node.chain.tree.nodes[bad.block_id].violation is not None
    assert node.peers[1].score == 0
    gap = CompactBlock(bad.header, 1, (), ((1, bad.coinbase),)).serialize()
    empty = CompactBlock(bad.header, 1, (), ()).serialize()
    beyond = BlockTransactionsRequest(node.chain.tip.block_id, (1,)).serialize()
    unworked = replace(bad.header, nonce=bad.header.nonce + 1)
    while int.from_bytes(unworked.block_id, "little") < 1 << 255:
        unworked = replace(unworked, nonce=unworked.nonce + 1)
    lazy = CompactBlock(unworked, 1, (), ((0, bad.coinbase),)).serialize()
    cases = (
        (CompactBlockMessage(gap), "bad-compact-block"),
        (CompactBlockMessage(empty), "bad-compact-block"),
        (CompactBlockMessage(lazy), "high-hash"),
        (CompactBlockMessage(b"x"), "truncated"),
        (GetBlockTransactions(beyond), "bad-getblocktxn"),
        (BlockTransactionsMessage(bytes(32)), "truncated"),
        (SendCompact("yes"), "malformed-message"),
        (Inv((), (), (bytes(32),)), "malformed-message"),
    )
    for number, (message, rule) in enumerate(cases):
        moment = now + (number + 1) * 25 * 60 * MINUTE_NS
        greet(node, 1, moment)
        effects = node.receive(1, message, moment)
        assert ("refused", (1, rule)) in kinds(effects), message
        assert Note("banned", 1) in effects
