"""Scripts: random ones are judged by Bitcoin Core too; limits and quirks one by one."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from consensus_lab.live.bitcoin import verify_input_by_core
from consensus_lab.nakamoto import keys
from consensus_lab.nakamoto.encoding import hash160
from consensus_lab.nakamoto.interpreter import verify_input
from consensus_lab.nakamoto.script import (
    Op,
    data_carrier,
    find_and_delete,
    pay_to_script_hash,
    push,
    push_number,
)
from consensus_lab.nakamoto.script_rules import ScriptFailure, ScriptFault, ScriptFlags
from consensus_lab.nakamoto.sighash import SignatureHasher
from consensus_lab.nakamoto.transaction import (
    OutPoint,
    Transaction,
    TransactionInput,
    TransactionOutput,
)
from tests.conformance.bitcoin.assembler import assemble
from tests.nakamoto.random_scripts import (
    PRIVATE_KEYS,
    PUBLIC_KEYS,
    VALUE_SATOSHI,
    random_spend,
)

QUICK, FULL = 1_500, 150_000


def compare_with_core(seed: int, count: int) -> Counter[str]:
    """Judge random spends twice; returns how often each verdict of ours came up."""
    pytest.importorskip("pbk", reason="pip install 'consensus-lab[live]' for Core's interpreter")
    source, verdicts = random.Random(seed), Counter[str]()
    for number in range(count):
        spend = random_spend(source)
        coin = TransactionOutput(VALUE_SATOSHI, spend.script_pubkey)
        fault = None
        try:
            verify_input(spend.transaction, spend.input_index, coin, spend.flags)
        except ScriptFailure as failure:
            fault = failure.fault
        core = verify_input_by_core(
            spend.transaction.serialize(),
            spend.input_index,
            script_pubkey=spend.script_pubkey,
            value_satoshi=VALUE_SATOSHI,
            flags=spend.flags,
        )
        assert (fault is None) == core, f"seed {seed}, spend {number}: {fault}, {spend}"
        verdicts[fault.name if fault else "valid"] += 1
    return verdicts


@pytest.mark.slow
def test_random_scripts_are_judged_as_core_does():
    """Bare, behind script hashes, in witnesses; valid ones and many ways to fail."""
    verdicts = compare_with_core(1, QUICK)
    assert verdicts["valid"] > QUICK // 10
    assert verdicts["WITNESS_MALLEATED_P2SH"] > 0
    assert len(verdicts) >= 15


@pytest.mark.full
def test_very_many_random_scripts_are_judged_as_core_does():
    """The long run of the same."""
    verdicts = compare_with_core(2, FULL)
    assert len(verdicts) >= 24


def fault_of(script: bytes, *, script_sig: bytes = b"", flags: ScriptFlags = ScriptFlags.NONE):
    """How a bare script fails, or None."""
    item = TransactionInput(OutPoint(bytes(32), 0), script_sig)
    transaction = Transaction((item,), (TransactionOutput(0, b""),))
    try:
        verify_input(transaction, 0, TransactionOutput(0, script), flags)
    except ScriptFailure as failure:
        return failure.fault
    return None


TRUE = bytes((Op.PUSH_1,))


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        (b"\x61" * 201 + TRUE, None),
        (b"\x61" * 202 + TRUE, ScriptFault.OPERATION_COUNT),
        (push(bytes(520)) + TRUE, None),
        (push(bytes(521)) + TRUE, ScriptFault.PUSH_SIZE),
        (TRUE * 1_000, None),
        (TRUE * 1_001, ScriptFault.STACK_SIZE),
        (TRUE * 999 + b"\x6b" + TRUE, None),
        (TRUE * 1_000 + b"\x76", ScriptFault.STACK_SIZE),
        (b"\x00\x63" + b"\x7e" + b"\x68" + TRUE, ScriptFault.DISABLED_OPCODE),
        (b"\x00\x63" + b"\x50" + b"\x68" + TRUE, None),
        (b"\x00\x63" + b"\x65" + b"\x68" + TRUE, ScriptFault.BAD_OPCODE),
        (TRUE + b"\x63\x51", ScriptFault.UNBALANCED_CONDITIONAL),
        (data_carrier(b"note"), ScriptFault.RETURN),
        (b"\x05abc", ScriptFault.BAD_OPCODE),
        (b"", ScriptFault.EVAL_FALSE),
        (push(b"\x00\x80"), ScriptFault.EVAL_FALSE),
    ],
)
def test_limits_hold_exactly(script, fault):
    """At the limit it runs, one above it fails; branches not taken still count."""
    assert fault_of(script) == fault


def test_a_script_of_more_than_ten_thousand_bytes_does_not_run():
    """The last byte decides."""
    push_520 = push(bytes(520)) + b"\x75"
    script = push_520 * 19 + TRUE
    script += b"\x51" * (10_000 - len(script))
    assert fault_of(script) is None
    assert fault_of(script + b"\x51") == ScriptFault.SCRIPT_SIZE


@pytest.mark.parametrize(
    ("text", "flag", "fault"),
    [
        ("0x4c01 0x07 DROP 1", ScriptFlags.MINIMALDATA, ScriptFault.MINIMAL_DATA),
        ("0x0107 DROP 1", ScriptFlags.MINIMALDATA, ScriptFault.MINIMAL_DATA),
        ("0x020100 1ADD", ScriptFlags.MINIMALDATA, ScriptFault.NUMBER),
        ("NOP1 1", ScriptFlags.DISCOURAGE_UPGRADABLE_NOPS, ScriptFault.UPGRADABLE_NOPS),
        ("1 1", ScriptFlags.CLEANSTACK, ScriptFault.CLEAN_STACK),
        ("CODESEPARATOR 1", ScriptFlags.CONST_SCRIPTCODE, ScriptFault.CODE_SEPARATOR),
        ("1 0 0 1 CHECKMULTISIG", ScriptFlags.STRICTENC, None),
        ("1 0 0 CHECKMULTISIG", ScriptFlags.NULLDUMMY, ScriptFault.NULL_DUMMY),
        ("0x0101 0 CHECKSIG NOT", ScriptFlags.STRICTENC, ScriptFault.DER),
        ("0 0 CHECKSIG NOT", ScriptFlags.STRICTENC, ScriptFault.PUBLIC_KEY_TYPE),
        ("0x0101 0 CHECKSIG NOT", ScriptFlags.NULLFAIL, ScriptFault.NULL_FAIL),
    ],
)
def test_a_flag_adds_its_rule(text, flag, fault):
    """Without the flag the script runs; with it, it fails in that one way."""
    script = assemble(text)
    assert fault_of(script) is None
    assert fault_of(script, flags=flag) == fault


def test_the_keys_of_a_multisignature_count_as_operations():
    """Nine groups of 22 fit below 201, ten do not."""
    group = assemble("0 0 " + "1 " * 20 + "20 CHECKMULTISIG DROP")
    assert fault_of(group * 9 + TRUE) is None
    assert fault_of(group * 10 + TRUE) == ScriptFault.OPERATION_COUNT


def test_a_multisignature_that_cannot_succeed_any_more_looks_no_further():
    """The third of three signatures fits no key in its turn: the garbage below is never read."""
    keys_text = " ".join(f"0x21 0x{key.hex()}" for key in PUBLIC_KEYS)
    script = assemble(f"3 {keys_text} 3 CHECKMULTISIG NOT")
    blank = Transaction((TransactionInput(OutPoint(bytes(32), 0)),), (TransactionOutput(0, b""),))
    digest = SignatureHasher(blank).legacy(0, script, 1)
    second = keys.sign(PRIVATE_KEYS[1], digest) + b"\x01"
    script_sig = b"\x00" + push(b"garbage") + push(b"garbage") + push(second)
    flags = ScriptFlags.DERSIG
    assert fault_of(script, script_sig=script_sig, flags=flags) is None
    # In its turn it is read, and is no DER.
    in_turn = b"\x00" + push(second) + push(b"garbage") + push(b"garbage")
    assert fault_of(script, script_sig=in_turn, flags=flags) == ScriptFault.DER


def test_a_hash_is_checked_over_the_pushed_script():
    """Before BIP 16 the hash alone was enough; since then the script must run, too."""
    refusing = assemble("RETURN")
    script = pay_to_script_hash(hash160(refusing))
    assert fault_of(script, script_sig=push(refusing)) is None
    flags = ScriptFlags.P2SH
    assert fault_of(script, script_sig=push(refusing), flags=flags) == ScriptFault.RETURN


def test_find_and_delete_works_on_operations_not_on_bytes():
    """A pattern inside pushed data stays; one at an operation's start goes, repeatedly."""
    assert find_and_delete(b"\x02\xab\xab\xab", b"\xab") == (b"\x02\xab\xab", 1)
    assert find_and_delete(b"\xab\xab\x51", b"\xab") == (b"\x51", 2)
    assert find_and_delete(b"\x51\x05\xab", b"\xab") == (b"\x51\x05\xab", 0)
    assert find_and_delete(b"\x51", b"") == (b"\x51", 0)


def test_numbers_are_pushed_in_the_shortest_form():
    """Small numbers have opcodes of their own."""
    assert [push_number(n).hex() for n in (-1, 0, 1, 16, 17, -2)] == [
        "4f", "00", "51", "60", "0111", "0182",
    ]  # fmt: skip
