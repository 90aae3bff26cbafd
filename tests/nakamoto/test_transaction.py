"""Transactions: bytes, identities, shape rules, lock times, signature hashes, addresses."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from consensus_lab.nakamoto.address import (
    MAINNET_FORMAT,
    REGTEST_FORMAT,
    TESTNET_FORMAT,
    address_to_script,
    base58_decode,
    base58check_decode,
    base58check_encode,
    public_key_address,
    script_to_address,
)
from consensus_lab.nakamoto.encoding import NULL_ID
from consensus_lab.nakamoto.keys import public_key
from consensus_lab.nakamoto.script import (
    pay_to_multisig,
    pay_to_public_key_hash,
    pay_to_script_hash,
    pay_to_witness,
)
from consensus_lab.nakamoto.sighash import ALL, ANYONE_CAN_PAY, NONE, SINGLE, SignatureHasher
from consensus_lab.nakamoto.subsidy import MONEY_SATOSHI_MAX
from consensus_lab.nakamoto.transaction import (
    NULL_INDEX,
    OutPoint,
    Transaction,
    TransactionInput,
    TransactionOutput,
    check_transaction,
    is_final,
    parse_transaction,
)
from consensus_lab.node import ProtocolViolation
from tests.nakamoto.block_world import BlockWorld

A, B = OutPoint(b"\x0a" * 32, 0), OutPoint(b"\x0b" * 32, 1)
SIMPLE = Transaction(
    (TransactionInput(A, b"\x01\x01"), TransactionInput(B, b"", 5)),
    (TransactionOutput(7, b"\x51"), TransactionOutput(8, b"\x52")),
)
NULL = OutPoint(NULL_ID, NULL_INDEX)


def random_transactions(count):
    """Payments of a world, with and without witnesses."""
    world = BlockWorld(9)
    tip = world.honest_block(next(iter(world.blocks))).block_id
    for _ in range(101):
        tip = world.honest_block(tip).block_id
    return [tx for _ in range(count) for tx in world.payments(tip, 3)]


def test_another_library_reads_the_same_bytes():
    """python-bitcoinlib: identities and fields of payments with and without witnesses."""
    core = pytest.importorskip("bitcoin.core")
    transactions = [SIMPLE, *random_transactions(20)]
    assert any(tx.has_witness for tx in transactions)
    for ours in transactions:
        theirs = core.CTransaction.deserialize(ours.serialize())
        assert theirs.GetTxid() == ours.txid
        assert theirs.GetHash() == ours.witness_id
        assert [out.nValue for out in theirs.vout] == [o.value_satoshi for o in ours.outputs]
        assert parse_transaction(ours.serialize()) == ours


def test_a_witness_changes_the_witness_identity_alone():
    """Signatures outside the identity cannot change it (BIP 141)."""
    item = SIMPLE.inputs[0]._replace(witness=(b"signature", b""))
    with_witness = replace(SIMPLE, inputs=(item, SIMPLE.inputs[1]))
    assert with_witness.txid == SIMPLE.txid
    assert with_witness.witness_id != SIMPLE.witness_id == SIMPLE.txid
    assert with_witness.weight == 3 * len(SIMPLE.serialize()) + with_witness.size_bytes
    assert with_witness.virtual_size_bytes < with_witness.size_bytes


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (SIMPLE.serialize()[:-1], "truncated"),
        (SIMPLE.serialize() + b"\x00", "trailing-bytes"),
        (
            SIMPLE.serialize()[:4] + b"\x00\x01" + SIMPLE.serialize()[4:-4] + bytes(2) + bytes(4),
            "superfluous-witness",
        ),
        (SIMPLE.serialize()[:4] + b"\x00\x02" + SIMPLE.serialize()[4:], "unknown-flag"),
        (SIMPLE.serialize()[:4] + b"\xfe\xff\xff\xff\x01", "truncated"),
    ],
)
def test_what_is_no_transaction_is_refused_by_name(data, rule):
    """The same refusals as Bitcoin Core's parser."""
    with pytest.raises(ProtocolViolation) as caught:
        parse_transaction(data)
    assert caught.value.rule == rule


def coinbase(size):
    """A coinbase with a script of that size."""
    return Transaction((TransactionInput(NULL, bytes(size)),), (TransactionOutput(1, b""),))


@pytest.mark.parametrize(
    ("transaction", "rule"),
    [
        (SIMPLE, None),
        (replace(SIMPLE, inputs=()), "bad-txns-vin-empty"),
        (replace(SIMPLE, outputs=()), "bad-txns-vout-empty"),
        (replace(SIMPLE, outputs=(TransactionOutput(-1, b""),)), "bad-txns-vout-negative"),
        (replace(SIMPLE, outputs=(TransactionOutput(MONEY_SATOSHI_MAX, b""),)), None),
        (
            replace(SIMPLE, outputs=(TransactionOutput(MONEY_SATOSHI_MAX + 1, b""),)),
            "bad-txns-vout-toolarge",
        ),
        (
            replace(
                SIMPLE,
                outputs=(TransactionOutput(MONEY_SATOSHI_MAX, b""), TransactionOutput(1, b"")),
            ),
            "bad-txns-txouttotal-toolarge",
        ),
        (replace(SIMPLE, inputs=SIMPLE.inputs[:1] * 2), "bad-txns-inputs-duplicate"),
        (replace(SIMPLE, inputs=(*SIMPLE.inputs, TransactionInput(NULL))), "bad-txns-prevout-null"),
        (coinbase(1), "bad-cb-length"),
        (coinbase(2), None),
        (coinbase(100), None),
        (coinbase(101), "bad-cb-length"),
        (
            replace(SIMPLE, outputs=(TransactionOutput(1, bytes(1_000_000)),)),
            "bad-txns-oversize",
        ),
    ],
)
def test_shape_rules_in_cores_words(transaction, rule):
    """What can be said without any coin."""
    if rule is None:
        check_transaction(transaction)
        return
    with pytest.raises(ProtocolViolation) as caught:
        check_transaction(transaction)
    assert caught.value.rule == rule


@pytest.mark.parametrize(
    ("lock_time", "sequence", "final"),
    [
        (0, 0, True),
        (99, 0, True),
        (100, 0, False),
        (100, 0xFFFFFFFF, True),
        (499_999_999, 0, False),
        (500_000_000, 0, True),
        (1_000_000_000, 0, False),
        (999_999_999, 0, True),
    ],
)
def test_lock_times_are_heights_or_seconds(lock_time, sequence, final):
    """At height 100 and second 1,000,000,000; final sequences switch the lock off."""
    locked = Transaction((TransactionInput(A, b"", sequence),), SIMPLE.outputs, 2, lock_time)
    assert is_final(locked, height=100, time_s=1_000_000_000) is final


def changed(transaction, part):
    """The transaction with one part changed."""
    first, second = transaction.inputs
    outputs = transaction.outputs
    less = [output._replace(value_satoshi=6) for output in outputs]
    return {
        "other input": replace(
            transaction, inputs=(first, second._replace(previous=OutPoint(b"\x0c" * 32, 1)))
        ),
        "other sequence": replace(transaction, inputs=(first, second._replace(sequence=9))),
        "own output": replace(transaction, outputs=(less[0], outputs[1])),
        "other output": replace(transaction, outputs=(outputs[0], less[1])),
        "lock time": replace(transaction, lock_time=3),
        "version": replace(transaction, version=1),
        "other script": replace(transaction, inputs=(first, second._replace(script_sig=b"x"))),
    }[part]  # fmt: skip


@pytest.mark.parametrize("part", ["other input", "other sequence", "own output", "other output"])
@pytest.mark.parametrize("flag", [0, ANYONE_CAN_PAY])
@pytest.mark.parametrize("base", [ALL, NONE, SINGLE])
def test_hash_types_leave_exactly_their_parts_open(base, flag, part):
    """Both digests: what input 0 signs, and what others may still change."""
    signs = {
        "other input": not flag,
        "other sequence": not flag and base == ALL,
        "own output": base != NONE,
        "other output": base == ALL,
    }[part]
    for digest in (
        lambda tx: SignatureHasher(tx).legacy(0, b"\x51", base | flag),
        lambda tx: SignatureHasher(tx).witness_v0(0, b"\x51", base | flag, value_satoshi=5),
    ):
        assert (digest(SIMPLE) != digest(changed(SIMPLE, part))) is signs


def test_everybody_signs_version_and_lock_time_and_nobody_the_scripts():
    """Also the bug: SINGLE without an output signs the number one."""
    for base in (ALL, NONE, SINGLE | ANYONE_CAN_PAY):
        digests = {
            part: SignatureHasher(changed(SIMPLE, part)).legacy(0, b"\x51", base)
            for part in ("lock time", "version", "other script")
        }
        own = SignatureHasher(SIMPLE).legacy(0, b"\x51", base)
        assert digests["lock time"] != own != digests["version"]
        assert digests["other script"] == own
    alone = replace(SIMPLE, outputs=SIMPLE.outputs[:1])
    assert SignatureHasher(alone).legacy(1, b"", SINGLE) == (1).to_bytes(32, "little")
    two = SignatureHasher(SIMPLE)
    values = {two.witness_v0(0, b"", ALL, value_satoshi=value) for value in (1, 2)}
    assert len(values) == 2


SCRIPTS = [
    pay_to_public_key_hash(bytes(range(20))),
    pay_to_script_hash(bytes(range(20))),
    pay_to_witness(0, bytes(range(20))),
    pay_to_witness(0, bytes(range(32))),
    pay_to_witness(1, bytes(range(32))),
    pay_to_witness(16, b"\x01\x02"),
]


@pytest.mark.parametrize("form", [MAINNET_FORMAT, TESTNET_FORMAT, REGTEST_FORMAT])
@pytest.mark.parametrize("script", SCRIPTS, ids=bytes.hex)
def test_addresses_survive_the_way_there_and_no_typing_error(script, form):
    """Back to the same script; every single wrong letter is noticed."""
    text = script_to_address(script, form)
    assert text is not None and address_to_script(text, form) == script
    digits = "023456789acdefghjklmnpqrstuvwxyz" if form.witness_prefix in text else "23456789ABC"
    for place in range(len(form.witness_prefix) + 1 if "1q" in text else 1, len(text)):
        for digit in random.Random(place).sample(digits, 4):
            if digit != text[place]:
                with pytest.raises(ProtocolViolation, match="bad-address"):
                    address_to_script(text[:place] + digit + text[place + 1 :], form)


def test_addresses_of_other_networks_and_other_things_are_refused():
    """Version bytes and prefixes; scripts without an address have none."""
    key = public_key(bytes(31) + b"\x01")
    assert public_key_address(key) == "1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMH"
    with pytest.raises(ProtocolViolation, match="another network"):
        address_to_script(public_key_address(key, REGTEST_FORMAT))
    with pytest.raises(ProtocolViolation, match="bad-address"):
        address_to_script(script_to_address(SCRIPTS[2], REGTEST_FORMAT) or "")
    assert script_to_address(pay_to_multisig(1, (key,))) is None
    assert script_to_address(b"") is None
    with pytest.raises(ProtocolViolation, match="bad-address"):
        base58_decode("1" * 513)
    assert base58check_decode(base58check_encode(b"payload")) == b"payload"
    for text in ("", "1", "3", "l", base58check_encode(bytes(22))):
        with pytest.raises(ProtocolViolation, match="bad-address"):
            address_to_script(text)
