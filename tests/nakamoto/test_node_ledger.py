"""What a full node reads from disk, and what it repeats because messages may be lost."""

from __future__ import annotations

from consensus_lab.nakamoto.full_node import TICK_NS, FullNode
from consensus_lab.nakamoto.full_node_messages import Found, GetHeaders, Verack, Version
from consensus_lab.nakamoto.network_rules import REGTEST
from consensus_lab.nakamoto.wallet import Wallet
from consensus_lab.node import Send

START_S = 1_700_000_000
MINUTE_NS = 60_000_000_000


def node_with(disk: dict) -> FullNode:
    wallet = Wallet(b"the wallet of this node", address_format=REGTEST.address_format)
    return FullNode(0, (1, 2), rules=REGTEST, wallet=wallet, start_s=START_S, disk=disk)


def test_blocks_that_were_stored_before_their_parents_are_read() -> None:
    miner = node_with({})
    for number in range(1, 4):
        miner.submit(Found(), now=number * MINUTE_NS)
    data = [miner.chain.blocks[item.block_id].serialize() for item in miner.chain.active[1:]]
    disk = {("block", 0): data[2], ("block", 1): data[0], ("block", 2): data[1]}
    node = node_with(disk)
    assert node.chain.height == 3
    assert node.ledger.wallet.balance_satoshi == miner.ledger.wallet.balance_satoshi
    # One that lost its parent with the crash is left out; the next one gets a fresh number.
    node = node_with({("block", 0): data[0], ("block", 4): data[2]})
    assert node.chain.height == 1
    assert node.ledger.blocks_stored == 5


def test_each_peer_in_turn_is_asked_for_headers_every_minute() -> None:
    node = node_with({})
    for peer in (1, 2):
        node.receive(peer, Version(7, 0), 0)
        node.receive(peer, Verack(node.session), 0)
    asked = []
    for tick in range(1, 25):
        effects = node.timer("tick", tick * TICK_NS)
        asked += [
            (tick, effect.to)
            for effect in effects
            if isinstance(effect, Send) and isinstance(effect.message, GetHeaders)
        ]
    assert asked == [(6, 2), (12, 1), (18, 2), (24, 1)]
