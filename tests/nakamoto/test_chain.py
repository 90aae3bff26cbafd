"""Which branch a chain follows, what a reorganisation does, and what it remembers."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from consensus_lab.nakamoto.chain import Chain
from consensus_lab.nakamoto.header import block_work
from consensus_lab.nakamoto.miner import block_template, mine
from consensus_lab.nakamoto.network_rules import REGTEST
from consensus_lab.nakamoto.orphans import OrphanBlocks
from consensus_lab.nakamoto.retarget import RetargetRule
from consensus_lab.node import ParameterError, ProtocolViolation
from tests.nakamoto.block_world import START_S, BlockWorld
from tests.nakamoto.forgeries import overpaid_coinbase, wrong_root

NOW_S = START_S + 10**7


def deliver(chain, *blocks):
    """Deliver all; returns the last outcome."""
    return [chain.deliver(block, now_s=NOW_S) for block in blocks][-1]


def branch(world, parent_id, length):
    """So many honest blocks on top of one."""
    blocks = []
    for _ in range(length):
        blocks.append(world.honest_block(parent_id))
        parent_id = blocks[-1].block_id
    return blocks


@pytest.fixture
def world():
    """An empty world."""
    return BlockWorld(1)


@pytest.fixture
def chain():
    """A chain that knows the genesis block."""
    return Chain(REGTEST)


GENESIS = REGTEST.genesis.block_id


def test_of_two_equal_branches_the_first_seen_stays(world, chain):
    """A tie is no reason to move; who extends either ends it (essay, longest chain)."""
    (first,), (second,) = branch(world, GENESIS, 1), branch(world, GENESIS, 1)
    deliver(chain, first)
    assert deliver(chain, second).connected == ()
    assert chain.tip.block_id == first.block_id
    third = world.honest_block(second.block_id)
    done = deliver(chain, third)
    assert (done.disconnected, done.connected) == ((first,), (second, third))
    assert chain.tip.block_id == third.block_id


def test_most_work_wins_over_most_blocks():
    """A short branch with a harder target beats a longer easy one."""
    rule = RetargetRule(target_max=(1 << 255) - 1, interval_blocks=4, spacing_s=600)
    rules = replace(REGTEST, retarget=rule)
    easy, hard = Chain(rules), Chain(rules)
    time_s = rules.genesis.header.time_s

    def extend(chain, count, *, spacing_s, tag):
        blocks = []
        for _ in range(count):
            now_s = chain.tip.header.time_s + spacing_s
            template = block_template(chain, script_pubkey=b"\x51", now_s=now_s, tag=tag)
            blocks.append(mine(template))
            chain.deliver(blocks[-1], now_s=NOW_S)
        return blocks

    long_branch = extend(easy, 7, spacing_s=600, tag=b"easy")
    short_branch = extend(hard, 6, spacing_s=60, tag=b"hard")
    assert time_s and hard.tip.height < easy.tip.height
    assert hard.tip.chain_work > easy.tip.chain_work
    node = Chain(rules)
    for block in (*long_branch, *short_branch):
        node.deliver(block, now_s=NOW_S)
    assert node.tip.block_id == short_branch[-1].block_id
    assert node.statistics.reorganisation_depth_max == 7


def test_a_reorganisation_leaves_the_same_coins_as_going_there_directly(world):
    """Undo is exact: after any wandering the coins are those of a fresh chain on the same tip."""
    source, wanderer = random.Random(4), Chain(REGTEST)
    tip = GENESIS
    for _ in range(103):
        tip = world.honest_block(tip).block_id
        deliver(wanderer, world.blocks[tip])
    for _ in range(25):
        depth = source.randrange(4)
        parent = wanderer.active[wanderer.height - depth].block_id
        for _ in range(depth + 1):
            parent = world.honest_block(parent, payments=source.randrange(4)).block_id
            deliver(wanderer, world.blocks[parent])
    assert wanderer.statistics.reorganisations >= 5
    straight = Chain(REGTEST)
    for node in wanderer.active[1:]:
        deliver(straight, world.blocks[node.block_id])
    assert straight.tip.block_id == wanderer.tip.block_id
    assert dict(straight.utxo.coins()) == dict(wanderer.utxo.coins())
    assert dict(wanderer.utxo.coins()) == world.coins[wanderer.tip.block_id]
    assert straight.utxo.total_satoshi == wanderer.utxo.total_satoshi
    assert straight.utxo.burned_satoshi == wanderer.utxo.burned_satoshi


def test_supply_is_the_subsidies_less_what_was_burned_or_left(world, chain):
    """Nothing comes from nothing: counted anew from every coin there is."""
    tip = GENESIS
    for height in range(130):
        tip = world.honest_block(tip, payments=3 if height > 100 else 0).block_id
        deliver(chain, world.blocks[tip])
    subsidies = sum(REGTEST.subsidy_satoshi(height) for height in range(1, 131))
    coins = sum(coin.value_satoshi for coin in chain.utxo.coins().values())
    assert coins == chain.utxo.total_satoshi
    assert coins + chain.utxo.burned_satoshi == subsidies


def test_an_invalid_block_is_found_out_when_its_branch_wins(world, chain):
    """It enters the tree unnoticed; its descendants fall with it, and the old tip returns."""
    good = branch(world, GENESIS, 2)
    bad = world.add(overpaid_coinbase(world, GENESIS))
    tail = branch(world, bad.block_id, 2)
    deliver(chain, *good, bad, tail[0])
    done = deliver(chain, tail[1])
    assert [item.violation.rule for item in done.invalid] == ["bad-cb-amount"]
    assert chain.tip.block_id == good[1].block_id
    assert done.disconnected == (good[1], good[0])
    assert done.connected == (good[0], good[1])
    assert chain.statistics.reorganisations == 0
    for block in (bad, *tail):
        with pytest.raises(ProtocolViolation) as caught:
            deliver(chain, block)
        assert caught.value.rule == "duplicate-invalid"
    with pytest.raises(ProtocolViolation) as caught:
        deliver(chain, world.honest_block(tail[1].block_id))
    assert caught.value.rule == "bad-prevblk"


def test_a_damaged_copy_does_not_condemn_the_block(world, chain):
    """The same header with other contents is refused; the right contents still get in."""
    block = world.honest_block(GENESIS)
    copy = replace(block, transactions=block.transactions * 2)
    with pytest.raises(ProtocolViolation) as caught:
        deliver(chain, copy)
    assert caught.value.rule in ("bad-txnmrklroot", "bad-txns-duplicate")
    assert deliver(chain, block).connected == (block,)
    with pytest.raises(ProtocolViolation):
        deliver(chain, wrong_root(world, block.block_id))


def test_a_copy_with_another_witness_does_not_condemn_the_block(world, chain):
    """Witnesses are outside the identity: anyone on the way could have changed them."""
    tip = GENESIS
    for _ in range(103):
        tip = world.honest_block(tip).block_id
        deliver(chain, world.blocks[tip])
    block = world.honest_block(tip, payments=4)
    while not block.coinbase.has_witness:
        block = world.honest_block(tip, payments=4)
    for witness in ((), (b"\x01" * 32,)):
        item = block.coinbase.inputs[0]._replace(witness=witness)
        coinbase = replace(block.coinbase, inputs=(item,))
        copy = replace(block, transactions=(coinbase, *block.transactions[1:]))
        assert copy.block_id == block.block_id
        with pytest.raises(ProtocolViolation, match="bad-witness"):
            deliver(chain, copy)
    assert deliver(chain, block).connected == (block,)


def test_headers_first_blocks_may_come_in_any_order(world, chain):
    """Data of a child before its parent's waits; the tip moves when the gap closes."""
    blocks = branch(world, GENESIS, 4)
    for block in blocks:
        chain.add_header(block.header, now_s=NOW_S)
    assert [node.block_id for node in chain.missing_data(count_max=9)] == [
        block.block_id for block in blocks
    ]
    deliver(chain, blocks[2], blocks[3], blocks[1])
    assert chain.height == 0
    assert deliver(chain, blocks[0]).connected == tuple(blocks)
    assert chain.missing_data(count_max=9) == []


def test_a_repeated_block_changes_nothing(world, chain):
    """Delivered twice, known once."""
    (block,) = branch(world, GENESIS, 1)
    assert deliver(chain, block).is_new
    again = deliver(chain, block)
    assert not again.is_new and again.connected == ()


def test_stale_blocks_are_counted_and_confirmations_too(world, chain):
    """Lost branches stay in the tree, with no confirmations."""
    main, lost = branch(world, GENESIS, 3), branch(world, GENESIS, 2)
    deliver(chain, *lost, *main)
    assert [node.block_id for node in chain.stale_nodes()] == [b.block_id for b in lost]
    nodes = chain.tree.nodes
    assert chain.confirmations(nodes[main[0].block_id]) == 3
    assert chain.confirmations(nodes[lost[0].block_id]) == 0
    assert chain.statistics.reorganisation_depth_max == 2


def test_a_locator_finds_where_two_chains_part(world, chain):
    """Dense near the tip, then twice as sparse each time, and always the genesis block."""
    blocks = branch(world, GENESIS, 60)
    deliver(chain, *blocks)
    heights = [chain.tree.nodes[item].height for item in chain.locator()]
    assert heights[:10] == list(range(60, 50, -1))
    assert heights[-1] == 0 and len(heights) < 20


def test_chain_work_is_the_sum_of_all_blocks(world, chain):
    """Two hashes on average for each regtest block."""
    deliver(chain, *branch(world, GENESIS, 5))
    assert chain.tip.chain_work == 6 * block_work(REGTEST.retarget.nbits_max) == 12


def test_orphans_wait_for_their_parents_within_a_bound(world):
    """Children are handed out when their parent comes; the oldest goes when there are too many."""
    pool = OrphanBlocks(REGTEST, blocks_max=3)
    blocks = branch(world, GENESIS, 5)
    for block in blocks[1:]:
        pool.add(block)
    assert len(pool) == 3 and blocks[1].block_id not in pool
    assert pool.missing_ancestor(blocks[4].block_id) == blocks[1].block_id
    assert pool.take_children(blocks[1].block_id) == [blocks[2]]
    assert pool.take_children(blocks[1].block_id) == []
    assert len(pool) == 2
    with pytest.raises(ParameterError, match="blocks_max"):
        OrphanBlocks(REGTEST, blocks_max=-1)


def test_an_orphan_without_work_is_not_kept(world):
    """Anyone could fill the pool otherwise."""
    block = world.honest_block(GENESIS)
    nonce = block.header.nonce
    while int.from_bytes(block.block_id, "little") < 1 << 255:
        nonce += 1
        block = replace(block, header=replace(block.header, nonce=nonce))
    with pytest.raises(ProtocolViolation, match="high-hash"):
        OrphanBlocks(REGTEST).add(block)
