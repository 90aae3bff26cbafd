"""Random inputs and the coins that they try to spend: most scripts fail, each in its own way."""

from __future__ import annotations

import random
from typing import NamedTuple

from consensus_lab.nakamoto import keys
from consensus_lab.nakamoto.encoding import hash160, sha256
from consensus_lab.nakamoto.script import (
    Op,
    pay_to_multisig,
    pay_to_public_key,
    pay_to_public_key_hash,
    pay_to_script_hash,
    pay_to_witness,
    push,
    push_number,
)
from consensus_lab.nakamoto.script_rules import CONSENSUS_FLAGS, ScriptFlags
from consensus_lab.nakamoto.sighash import SignatureHasher
from consensus_lab.nakamoto.transaction import (
    OutPoint,
    Transaction,
    TransactionInput,
    TransactionOutput,
)

VALUE_SATOSHI = 7
PRIVATE_KEYS = tuple(n.to_bytes(32, "big") for n in (1, 2, 3))
PUBLIC_KEYS = tuple(keys.public_key(key) for key in PRIVATE_KEYS)
NUMBERS = (-1, 0, 1, 2, 3, 4, 5, 16, 17, 127, 128, 255, 256, -255, 2**31 - 1, 1 - 2**31, 2**31)
HASH_TYPES = (1, 2, 3, 0x81, 0x82, 0x83, 0, 0x41)
SEQUENCES = (0, 1, 0xFFFFFFFF, 0xFFFFFFFE, 1 << 22, (1 << 22) | 5, 0xFFFF)
LOCK_TIMES = (0, 1, 5, 499_999_999, 500_000_000)
CORE_FLAGS = CONSENSUS_FLAGS & ~ScriptFlags.TAPROOT
FLAG_SETS = (
    ScriptFlags.NONE,
    ScriptFlags.P2SH,
    ScriptFlags.P2SH | ScriptFlags.DERSIG,
    CORE_FLAGS & ~ScriptFlags.WITNESS & ~ScriptFlags.NULLDUMMY,
    CORE_FLAGS,
    CORE_FLAGS,
)
# What an operation needs on the stack, so that more of a script runs before it fails.
BINARY = tuple(range(Op.ADD, Op.SUB + 1)) + tuple(range(Op.BOOLAND, Op.MAX + 1))


class Spend(NamedTuple):
    """One attempt to spend a coin."""

    transaction: Transaction
    input_index: int
    script_pubkey: bytes
    flags: ScriptFlags


def random_script(source: random.Random, length_max: int, pool: tuple[bytes, ...]) -> bytes:
    """Pushes and operations, a little in favour of sense."""
    script = b""
    for _ in range(source.randrange(length_max)):
        draw = source.random()
        if draw < 0.3:
            script += push_number(source.choice(NUMBERS))
        elif draw < 0.45:
            script += push(source.choice(pool))
        elif draw < 0.5:
            script += push(source.randbytes(source.choice((1, 2, 20, 32, 75, 76, 80))))
        elif draw < 0.51:
            script += bytes((source.choice((0x4C, 0x4D, 0x4E)),)) + source.randbytes(4)
        elif draw < 0.7:
            pair = push_number(source.choice(NUMBERS)) + push_number(source.choice(NUMBERS))
            script += pair + bytes((source.choice(BINARY),))
        elif draw < 0.97:
            script += bytes((source.choice(tuple(Op)),))
        else:
            script += source.randbytes(1)
    return script


def random_spend(source: random.Random) -> Spend:
    """A transaction of one or two inputs, one of which is filled."""
    inputs = tuple(
        TransactionInput(OutPoint(bytes((n,)) * 32, n), b"", source.choice(SEQUENCES))
        for n in range(source.randrange(1, 3))
    )
    outputs = tuple(TransactionOutput(n, b"\x51") for n in range(source.randrange(3)))
    version, lock_time = source.choice((1, 2, -1)), source.choice(LOCK_TIMES)
    blank = Transaction(inputs, outputs, version, lock_time)
    index = source.randrange(len(inputs))
    script_pubkey, script_sig, witness = _fill(source, blank, index)
    filled = inputs[index]._replace(script_sig=script_sig, witness=witness)
    inputs = (*inputs[:index], filled, *inputs[index + 1 :])
    transaction = Transaction(inputs, outputs, version, lock_time)
    return Spend(transaction, index, script_pubkey, source.choice(FLAG_SETS))


def _fill(
    source: random.Random, blank: Transaction, index: int
) -> tuple[bytes, bytes, tuple[bytes, ...]]:
    """Condition, script and witness, of one of seven families."""
    pool = (b"", b"\x01", b"\x81", *PUBLIC_KEYS[:2])
    family = source.randrange(7)
    code = source.choice(
        (
            pay_to_public_key(PUBLIC_KEYS[0]),
            pay_to_multisig(source.randrange(4), PUBLIC_KEYS),
            random_script(source, 14, pool),
        )
    )
    if family == 5 or (family == 6 and source.random() < 0.5):
        code = pay_to_public_key_hash(hash160(PUBLIC_KEYS[0]))
    signatures = _signatures(source, blank, index, code, is_witness=family >= 4)
    some = tuple(source.sample(signatures, source.randrange(len(signatures) + 1)))
    if family <= 2:  # Bare.
        dummy = source.choice((b"\x00", b"\x00", b"\x51", b""))
        noise = random_script(source, 6, (*pool, *signatures))
        script_sig = source.choice((dummy, noise)) + b"".join(push(item) for item in some)
        return code, script_sig, ()
    if family == 3:  # Behind a script hash.
        noise = source.choice((b"\x00", b"", random_script(source, 4, pool)))
        script_sig = noise + b"".join(push(item) for item in some) + push(code)
        return pay_to_script_hash(hash160(code)), script_sig, ()
    script_sig = b"" if source.random() < 0.95 else b"\x51"
    if family == 4:
        witness = (*source.choice(((), (b"",), (b"\x01", b""))), *some, code)
        return pay_to_witness(0, sha256(code)), script_sig, witness
    if family == 6:  # A witness program behind a script hash, with nothing else, or with.
        key_hash = hash160(PUBLIC_KEYS[0])
        is_key_hash = code == pay_to_public_key_hash(key_hash)
        program = pay_to_witness(0, key_hash if is_key_hash else sha256(code))
        witness = (signatures[0], PUBLIC_KEYS[0]) if is_key_hash else (*some, code)
        noise = source.choice((b"", b"", b"\x51"))
        return pay_to_script_hash(hash160(program)), noise + push(program), witness
    witness = (signatures[0], PUBLIC_KEYS[0]) if source.random() < 0.8 else some
    return pay_to_witness(0, hash160(PUBLIC_KEYS[0])), script_sig, witness


def _signatures(
    source: random.Random, blank: Transaction, index: int, code: bytes, *, is_witness: bool
) -> list[bytes]:
    """One signature of each key; some with high s, some damaged."""
    hasher, made = SignatureHasher(blank), []
    for key in PRIVATE_KEYS:
        hash_type = source.choice(HASH_TYPES)
        if is_witness:
            digest = hasher.witness_v0(index, code, hash_type, value_satoshi=VALUE_SATOSHI)
        else:
            digest = hasher.legacy(index, code, hash_type)
        signature, draw = keys.sign(key, digest), source.random()
        if draw < 0.1:
            numbers = keys.parse_der_strict(signature)
            assert numbers is not None
            signature = keys.encode_der(keys.Signature(numbers.r, keys.CURVE_ORDER - numbers.s))
        elif draw < 0.2:
            damaged = bytearray(signature)
            damaged[source.randrange(len(damaged))] ^= 1 << source.randrange(8)
            signature = bytes(damaged)
        made.append(signature + bytes((hash_type,)))
    return made
