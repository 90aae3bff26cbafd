"""Rules that need the chain: heights of soft forks, coins, locks by age, and the same bytes."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from consensus_lab.nakamoto.block import height_script
from consensus_lab.nakamoto.chain import Chain
from consensus_lab.nakamoto.miner import block_template, mine
from consensus_lab.nakamoto.network_rules import MAINNET, REGTEST, SIMNET, genesis_block
from consensus_lab.nakamoto.script import data_carrier
from consensus_lab.nakamoto.script_rules import ScriptFlags
from consensus_lab.nakamoto.transaction import (
    OutPoint,
    Transaction,
    TransactionInput,
    TransactionOutput,
)
from consensus_lab.nakamoto.utxo import Coin, CoinView, UtxoSet
from consensus_lab.nakamoto.validation import (
    BlockPlace,
    ScriptCache,
    check_amounts,
    check_input_scripts,
    check_sequence_locks,
    connect_block,
    spent_coins,
)
from consensus_lab.node import ParameterError, ProtocolViolation

ROOT = Path(__file__).parents[2]
NAME = OutPoint(b"\x01" * 32, 0)
ANYONE = b"\x51"
NOW_S = 1 << 32


def spend(value_satoshi, *, sequence=0xFFFFFFFF, version=2, name=NAME):
    """A transaction of one coin that anyone may spend."""
    outputs = (TransactionOutput(value_satoshi, ANYONE),)
    return Transaction((TransactionInput(name, b"", sequence),), outputs, version)


def coin(value_satoshi=100, *, height=10, is_coinbase=False):
    """A coin that anyone may spend."""
    return Coin(TransactionOutput(value_satoshi, ANYONE), height, is_coinbase)


def rule_of(work):
    """Which rule a call breaks, or None."""
    try:
        work()
    except ProtocolViolation as violation:
        return violation.rule
    return None


def test_genesis_blocks_are_the_real_ones():
    """Built from a headline, a key and four numbers each; the identities are famous."""
    for rules, start in ((MAINNET, "000000000019d668"), (REGTEST, "0f9188f13cb7b2c7")):
        assert rules.genesis.block_id[::-1].hex().startswith(start)
    assert SIMNET.genesis.coinbase.txid == MAINNET.genesis.coinbase.txid
    assert b"Chancellor" in genesis_block(time_s=0, nbits=0, nonce=0).coinbase.serialize()


@pytest.mark.parametrize(
    ("height", "version", "flag"),
    [
        (227_930, 1, None),
        (227_931, 2, None),
        (363_725, 3, "DERSIG"),
        (388_381, 4, "CHECKLOCKTIMEVERIFY"),
        (419_328, 4, "CHECKSEQUENCEVERIFY"),
        (481_824, 4, "NULLDUMMY"),
        (709_632, 4, "TAPROOT"),
    ],
)
def test_soft_forks_hold_from_their_heights(height, version, flag):
    """On mainnet: lowest block version, and the flag that is new at that height."""
    assert MAINNET.version_min(height) == version
    if flag:
        before = MAINNET.script_flags(height - 1, b"")
        after = MAINNET.script_flags(height, b"")
        assert ScriptFlags[flag] & after and not ScriptFlags[flag] & before


def test_the_block_that_broke_bip16_keeps_its_flags():
    """One block of 2012 is judged without script hashes."""
    ((block_id, flags),) = MAINNET.script_exceptions
    assert MAINNET.script_flags(170_060, block_id) == flags == ScriptFlags.NONE
    assert MAINNET.script_flags(170_060, b"") & ScriptFlags.P2SH


@pytest.mark.parametrize("height", [0, 1, 16, 17, 127, 128, 32_767, 32_768, 8_388_608])
def test_the_height_in_the_coinbase_is_a_script_number(height):
    """Read back by the rules of script."""
    script = height_script(height)
    if height <= 16:
        assert len(script) == 1
    else:
        assert script[0] == len(script) - 1
        assert int.from_bytes(script[1:], "little") == height


def test_coins_must_exist_be_ripe_and_suffice():
    """Fee to the satoshi, or the rule's name."""
    utxo = UtxoSet({NAME: coin(100)})

    def fee(transaction, height=200, base=utxo):
        coins = spent_coins(transaction, CoinView(base))
        return check_amounts(transaction, coins, height=height, maturity_blocks=100)

    assert fee(spend(93)) == 7
    assert fee(spend(100)) == 0
    assert rule_of(lambda: fee(spend(101))) == "bad-txns-in-belowout"
    missing = OutPoint(b"\x02" * 32, 0)
    assert rule_of(lambda: fee(spend(1, name=missing))) == "bad-txns-inputs-missingorspent"
    young = UtxoSet({NAME: coin(100, height=101, is_coinbase=True)})
    premature = "bad-txns-premature-spend-of-coinbase"
    assert rule_of(lambda: fee(spend(1), height=200, base=young)) == premature
    assert fee(spend(1), height=201, base=young) == 99


@pytest.mark.parametrize(
    ("sequence", "version", "is_old_enough"),
    [
        (5, 2, True),
        (10, 2, True),
        (11, 2, False),
        (11, 1, True),
        (11, -1, False),
        ((1 << 31) | 11, 2, True),
        ((1 << 22) | 3, 2, True),
        ((1 << 22) | 4, 2, False),
    ],
)
def test_locks_by_age(sequence, version, is_old_enough):
    """A coin of height 10 in a block of height 20; its clock starts at the median before it."""
    place = BlockPlace(20, 10_000 + 3 * 512, {9: 10_000}.__getitem__)
    transaction = spend(1, sequence=sequence, version=version)
    rule = rule_of(lambda: check_sequence_locks(transaction, [coin()], place))
    assert rule == (None if is_old_enough else "bad-txns-nonfinal")


def block_on(chain, *transactions, fees=0):
    """A mined block on the tip."""
    return mine(
        block_template(
            chain,
            script_pubkey=ANYONE,
            now_s=1_700_000_000,
            transactions=transactions,
            fees_satoshi=fees,
        )
    )


def test_a_refused_block_leaves_the_coins_alone():
    """All or nothing: the first payment is fine, the second is not."""
    utxo = UtxoSet({NAME: coin(100)})
    good, bad = spend(90), spend(1, name=OutPoint(b"\x02" * 32, 0))
    block = block_on(Chain(REGTEST), good, bad)
    place = BlockPlace(1, 0, lambda _: 0)
    before = dict(utxo.coins())
    assert rule_of(lambda: connect_block(block, utxo, place, REGTEST)) is not None
    assert dict(utxo.coins()) == before
    assert utxo.total_satoshi == utxo.minted_satoshi == 100


def test_applied_and_undone_is_as_before():
    """Coins, totals, and what was burned."""
    utxo = UtxoSet({NAME: coin(100)})
    note = TransactionOutput(4, data_carrier(b"note"))
    payment = spend(90)
    payment = replace(payment, outputs=(*payment.outputs, note))
    block = block_on(Chain(REGTEST), payment, fees=6)
    before = dict(utxo.coins())
    done = connect_block(block, utxo, BlockPlace(1, 0, lambda _: 0), REGTEST)
    assert done.fees_satoshi == 6
    assert NAME not in utxo and payment.out_point(0) in utxo and payment.out_point(1) not in utxo
    assert utxo.burned_satoshi == 4
    assert utxo.total_satoshi == 100 + 50 * 10**8 - 4
    utxo.undo(done.undo)
    assert dict(utxo.coins()) == before
    assert (utxo.total_satoshi, utxo.minted_satoshi, utxo.burned_satoshi) == (100, 100, 0)


def test_a_transaction_cannot_overwrite_one_whose_coins_are_unspent():
    """BIP 30; the two blocks of 2010 that did lost the older coins for ever."""
    block = block_on(Chain(REGTEST))
    name = block.coinbase.out_point(0)
    place = BlockPlace(1, 0, lambda _: 0)
    utxo = UtxoSet({name: coin(70)})
    assert rule_of(lambda: connect_block(block, utxo, place, REGTEST)) == "bad-txns-BIP30"
    lenient = replace(REGTEST, duplicate_coinbases=(block.block_id,))
    done = connect_block(block, utxo, place, lenient)
    assert utxo.burned_satoshi == 70 and utxo.total_satoshi == 50 * 10**8
    utxo.undo(done.undo)
    assert utxo.get(name) == coin(70)


def test_scripts_that_were_found_right_are_not_run_again():
    """A bounded memory; other flags are another question."""
    cache = ScriptCache(transactions_max=2)
    never = [Coin(TransactionOutput(100, b"\x6a"), 10, False)]
    transactions = [spend(value) for value in (1, 2, 3)]
    for transaction in transactions:
        check_input_scripts(transaction, [coin()], ScriptFlags.NONE, cache)
    check_input_scripts(transactions[2], never, ScriptFlags.NONE, cache)
    for transaction, flags in (
        (transactions[0], ScriptFlags.NONE),
        (transactions[2], ScriptFlags.P2SH),
    ):
        with pytest.raises(ProtocolViolation, match="OP_RETURN"):
            check_input_scripts(transaction, never, flags, cache)


def test_parameters_that_make_no_sense_are_refused():
    """Named, with the allowed range."""
    with pytest.raises(ParameterError, match="halving_interval_blocks"):
        replace(REGTEST, halving_interval_blocks=0)
    with pytest.raises(ParameterError, match="maturity_blocks"):
        replace(REGTEST, maturity_blocks=-1)
    with pytest.raises(ParameterError, match="tag"):
        block_template(Chain(REGTEST), script_pubkey=ANYONE, now_s=0, tag=bytes(51))


PRINT_A_WORLD = """
from tests.nakamoto.block_world import BlockWorld
from consensus_lab.nakamoto.chain import Chain
from consensus_lab.nakamoto.network_rules import REGTEST
world, chain, tip = BlockWorld(6), Chain(REGTEST), REGTEST.genesis.block_id
for height in range(105):
    tip = world.honest_block(tip, payments=3 if height > 100 else 0).block_id
    chain.deliver(world.blocks[tip], now_s=1 << 32)
print(tip.hex(), [str(name) for name in chain.utxo])
"""


@pytest.mark.slow
def test_one_seed_gives_the_same_chain_under_any_hash_seed():
    """Signatures, blocks and the order of coins do not depend on Python's hash()."""
    outputs = {
        subprocess.run(
            [sys.executable, "-c", PRINT_A_WORLD],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "12345")
    }
    assert len(outputs) == 1 and len(outputs.pop()) > 1_000
