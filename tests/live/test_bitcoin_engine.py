"""The adapter to Bitcoin Core's engine says what the engine said."""

from __future__ import annotations

import builtins

import pytest

from consensus_lab.live.bitcoin import CoreEngine, load_kernel
from consensus_lab.nakamoto.network_rules import REGTEST
from consensus_lab.node import ParameterError
from tests.nakamoto.block_world import BlockWorld
from tests.nakamoto.forgeries import overpaid_coinbase, wrong_height

GENESIS = REGTEST.genesis.block_id


@pytest.fixture
def engine():
    """A running engine."""
    pytest.importorskip("pbk", reason="pip install 'consensus-lab[live]' for Core's engine")
    with CoreEngine() as running:
        yield running


def test_a_new_engine_is_at_our_genesis_block(engine):
    """Both networks start alike."""
    assert (engine.height, engine.tip_id) == (0, GENESIS)


def test_connected_refused_and_failed_are_told_apart(engine):
    """Accepted into the chain, refused at the door, accepted but failed."""
    world = BlockWorld(1)
    block = world.honest_block(GENESIS)
    verdict = engine.deliver(block.serialize())
    assert verdict.is_accepted and verdict.connected == (block.block_id,)
    assert (verdict.height, verdict.tip_id) == (1, block.block_id)
    refused = engine.deliver(wrong_height(world, block.block_id).serialize())
    assert (refused.is_accepted, refused.rule) == (False, "bad-cb-height")
    bad = overpaid_coinbase(world, block.block_id)
    failed = engine.deliver(bad.serialize())
    assert failed.is_accepted and failed.rule is None and failed.height == 1
    assert [(item.block_id, item.rule) for item in failed.failures] == [
        (bad.block_id, "bad-cb-amount")
    ]


def test_bytes_that_are_no_block_are_malformed(engine):
    """Nothing crashes."""
    for data in (b"", b"\x00", REGTEST.genesis.serialize()[:-1]):
        verdict = engine.deliver(data)
        assert (verdict.is_accepted, verdict.rule) == (False, "malformed")


def test_two_engines_run_side_by_side(engine):
    """Each has its own chain."""
    with CoreEngine() as other:
        other.deliver(BlockWorld(1).honest_block(GENESIS).serialize())
        assert (other.height, engine.height) == (1, 0)


def test_a_missing_library_is_named(monkeypatch):
    """One line that says what to install."""
    genuine = builtins.__import__

    def without_pbk(name, *arguments, **keywords):
        if name == "pbk":
            raise ImportError(name)
        return genuine(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without_pbk)
    with pytest.raises(ParameterError, match="py-bitcoinkernel must be installed"):
        load_kernel()
