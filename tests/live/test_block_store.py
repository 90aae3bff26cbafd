"""Blocks on disk: the same tip after a restart, and after a crash in the middle."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from consensus_lab.live.block_store import RECENT_BLOCKS_MAX, BlockStore, restore_chain
from consensus_lab.nakamoto.chain import Chain
from consensus_lab.nakamoto.network_rules import MAINNET, REGTEST
from consensus_lab.node import ParameterError
from tests.nakamoto.block_world import START_S, BlockWorld
from tests.nakamoto.forgeries import overpaid_coinbase

NOW_S = START_S + 10**7
GENESIS = REGTEST.genesis.block_id


def some_blocks(count: int) -> list:
    """A branch, a stale block, and an invalid one with children."""
    world, blocks, tip = BlockWorld(3), [], GENESIS
    for _ in range(count):
        blocks.append(world.honest_block(tip))
        tip = blocks[-1].block_id
    blocks.append(world.honest_block(blocks[-2].block_id))
    bad = world.add(overpaid_coinbase(world, blocks[-4].block_id))
    child = world.honest_block(bad.block_id)
    blocks += [bad, child, world.honest_block(child.block_id)]
    return blocks


def test_a_chain_finds_its_tip_again(tmp_path):
    """Stale and invalid blocks included, ties decided as before."""
    with BlockStore(tmp_path / "blocks.sqlite", is_durable=False) as store:
        chain = Chain(REGTEST, blocks=store)
        for block in some_blocks(RECENT_BLOCKS_MAX + 20):
            chain.deliver(block, now_s=NOW_S)
        tip, coins, known = chain.tip.block_id, dict(chain.utxo.coins()), len(store)
    with BlockStore(tmp_path / "blocks.sqlite") as store:
        again = restore_chain(REGTEST, store, now_s=NOW_S)
        assert again.tip.block_id == tip
        assert dict(again.utxo.coins()) == coins
        assert len(store) == known
        assert store[GENESIS] == REGTEST.genesis


def test_children_that_came_first_are_restored_too(tmp_path):
    """Headers first: the data of a child may be stored before its parent's."""
    blocks = some_blocks(3)[:3]
    with BlockStore(tmp_path / "blocks.sqlite", is_durable=False) as store:
        chain = Chain(REGTEST, blocks=store)
        for block in blocks:
            chain.add_header(block.header, now_s=NOW_S)
        for block in (blocks[2], blocks[1], blocks[0]):
            chain.deliver(block, now_s=NOW_S)
    with BlockStore(tmp_path / "blocks.sqlite") as store:
        assert restore_chain(REGTEST, store, now_s=NOW_S).height == 3


def store_and_die(path: Path, stored) -> None:
    """A process that stores block after block and is gone without a goodbye."""
    chain = Chain(REGTEST, blocks=BlockStore(path))
    for number, block in enumerate(some_blocks(30)):
        chain.deliver(block, now_s=NOW_S)
        stored.value = number + 1
        if number == 20:
            os._exit(9)


@pytest.mark.slow
def test_a_crash_leaves_a_whole_prefix(tmp_path):
    """Everything that was delivered before the crash is there, and nothing half."""
    path = tmp_path / "blocks.sqlite"
    context = multiprocessing.get_context("fork")
    stored = context.Value("i", 0)
    process = context.Process(target=store_and_die, args=(path, stored))
    process.start()
    process.join()
    assert process.exitcode == 9 and stored.value == 21
    with BlockStore(path) as store:
        chain = restore_chain(REGTEST, store, now_s=NOW_S)
        assert chain.height == 21
        assert len(store) == 22


def store_for_ever(path: Path, stored) -> None:
    """A process that is always writing a block; what it says is stored has to be."""
    chain = Chain(REGTEST, blocks=BlockStore(path))
    for number, block in enumerate(some_blocks(400)):
        chain.deliver(block, now_s=NOW_S)
        stored.value = number + 1


@pytest.mark.slow
@pytest.mark.parametrize("blocks_before", [1, 17, 60])
def test_a_kill_in_the_middle_of_a_write_leaves_a_whole_prefix(tmp_path, blocks_before):
    """SIGKILL while it writes: the file opens, its blocks are a prefix, nothing told is missing."""
    path = tmp_path / "blocks.sqlite"
    context = multiprocessing.get_context("fork")
    stored = context.Value("i", 0, lock=False)
    process = context.Process(target=store_for_ever, args=(path, stored))
    process.start()
    while stored.value < blocks_before and process.is_alive():
        process.join(0.0005)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    with BlockStore(path) as store:
        chain = restore_chain(REGTEST, store, now_s=NOW_S)
        assert len(store) == chain.height + 1
        # The block that was under way when it was killed may be there or not.
        assert stored.value <= chain.height <= stored.value + 1
        assert chain.height < 400


def test_it_is_a_mapping(tmp_path):
    """Blocks by identity, in order of arrival."""
    blocks = some_blocks(3)
    with BlockStore(tmp_path / "blocks.sqlite", is_durable=False) as store:
        for block in reversed(blocks):
            store[block.block_id] = block
            store[block.block_id] = block
        assert list(store) == [block.block_id for block in reversed(blocks)]
        assert blocks[0].block_id in store and b"no" not in store
        del store[blocks[0].block_id]
        assert blocks[0].block_id not in store
        with pytest.raises(KeyError):
            store[blocks[0].block_id]
        with pytest.raises(KeyError):
            del store[blocks[0].block_id]
        with pytest.raises(ParameterError, match="block_id"):
            store[b"x" * 32] = blocks[0]


def test_a_wrong_file_is_the_users_mistake(tmp_path):
    """Not a store, a damaged one, one of another network."""
    (tmp_path / "text").write_text("no database at all, but long enough to be taken for one\n" * 99)
    with pytest.raises(ParameterError, match="path"):
        BlockStore(tmp_path / "text")
    with BlockStore(tmp_path / "damaged", is_durable=False) as store:
        store[GENESIS] = REGTEST.genesis
        store._connection.execute("UPDATE blocks SET data = x'00'")
        store._recent.clear()
        with pytest.raises(ParameterError, match="undamaged"):
            store[GENESIS]
    with BlockStore(tmp_path / "regtest", is_durable=False) as store:
        Chain(REGTEST, blocks=store)
        with pytest.raises(ParameterError, match="mainnet"):
            restore_chain(MAINNET, store, now_s=NOW_S)
