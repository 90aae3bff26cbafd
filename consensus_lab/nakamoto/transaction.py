"""Transactions: coins in, coins out (the essay's unspent transaction output model).

Rules of this file: parsing accepts exactly what Bitcoin Core's parser accepts; everything else is
a `ProtocolViolation`.  The checks here need nothing but the transaction itself.

Theory of operation.  A transaction consumes whole coins and creates new ones.  Each input names a
coin by the transaction that made it and its position there, and brings a script that satisfies
the condition which the coin carries; each output is an amount and such a condition.  What goes in
and does not come out is the miner's fee.  The first transaction of a block, the coinbase, has one
input that names no coin: it makes the new ones.

Its identity (`txid`) is the double SHA-256 of the form without witnesses, so a signature kept in
the witness cannot change it (BIP 141); `witness_id` covers everything.  Written with witnesses, a
marker byte 0 and a flag byte 1 stand where the input count would be.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from consensus_lab.constants import BLOCK_SIZE_BYTES_MAX
from consensus_lab.nakamoto.encoding import (
    NULL_ID,
    ByteReader,
    compact_size,
    display_id,
    sha256d,
    var_bytes,
)
from consensus_lab.nakamoto.script import count_signature_operations
from consensus_lab.nakamoto.subsidy import is_money
from consensus_lab.node import ProtocolViolation

NULL_INDEX = 0xFFFFFFFF
"""Output index of the coin that a coinbase pretends to spend."""

SEQUENCE_FINAL = 0xFFFFFFFF
"""Sequence number of an input that does not use lock times."""

LOCK_TIME_THRESHOLD = 500_000_000
"""Lock times below are block heights, from here on Unix seconds."""

COINBASE_SCRIPT_SIZE_BYTES = (2, 100)
WITNESS_SCALE = 4
"""A byte outside the witness weighs as much as four inside (BIP 141)."""

INPUT_SIZE_BYTES_MIN = 41
OUTPUT_SIZE_BYTES_MIN = 9

_OUT_POINT = struct.Struct("<32sI")
_U32 = struct.Struct("<I")
_I32 = struct.Struct("<i")
_I64 = struct.Struct("<q")


class OutPoint(NamedTuple):
    """Names a coin: which transaction made it, and as which of its outputs."""

    txid: bytes
    output_index: int

    @property
    def is_null(self) -> bool:
        """Does it name no coin at all, as in a coinbase?"""
        return self.output_index == NULL_INDEX and self.txid == NULL_ID

    def __str__(self) -> str:
        return f"{display_id(self.txid)}:{self.output_index}"


class TransactionInput(NamedTuple):
    """A coin that is spent, and the proof of the right to do so."""

    previous: OutPoint
    script_sig: bytes = b""
    sequence: int = SEQUENCE_FINAL
    witness: tuple[bytes, ...] = ()


class TransactionOutput(NamedTuple):
    """A new coin: an amount in satoshi and the script that guards it."""

    value_satoshi: int
    script_pubkey: bytes

    @property
    def is_unspendable(self) -> bool:
        """Can no input ever spend it?  Such outputs are burned, not kept (data carriers)."""
        return self.script_pubkey[:1] == b"\x6a" or len(self.script_pubkey) > 10_000

    def serialize(self) -> bytes:
        """Amount, then script."""
        return _I64.pack(self.value_satoshi) + var_bytes(self.script_pubkey)


@dataclass(frozen=True)
class Transaction:
    """A transfer of coins; immutable, so that its identities are computed once.

    Parameters
    ----------
    inputs : tuple of TransactionInput
        Coins that are consumed.
    outputs : tuple of TransactionOutput
        Coins that are created.
    version : int
        Signed 32-bit; from 2 on relative lock times apply (BIP 68).
    lock_time : int
        Height or Unix second before which it must not be in a block; 0 for none.
    """

    inputs: tuple[TransactionInput, ...]
    outputs: tuple[TransactionOutput, ...]
    version: int = 2
    lock_time: int = 0

    @cached_property
    def base_bytes(self) -> bytes:
        """The form without witnesses, which the identity is taken from."""
        return b"".join(
            (_I32.pack(self.version), self._inputs_and_outputs, _U32.pack(self.lock_time))
        )

    @cached_property
    def _inputs_and_outputs(self) -> bytes:
        """Both lists, counts included."""
        pieces = [compact_size(len(self.inputs))]
        for previous, script_sig, sequence, _ in self.inputs:
            pieces += (_OUT_POINT.pack(*previous), var_bytes(script_sig), _U32.pack(sequence))
        pieces.append(compact_size(len(self.outputs)))
        pieces += (output.serialize() for output in self.outputs)
        return b"".join(pieces)

    @cached_property
    def has_witness(self) -> bool:
        """Does any input carry witness data?"""
        return any(item.witness for item in self.inputs)

    def serialize(self) -> bytes:
        """The form that is sent and stored: with witnesses where there are any (BIP 144)."""
        if not self.has_witness:
            return self.base_bytes
        pieces = [_I32.pack(self.version), b"\x00\x01", self._inputs_and_outputs]
        for item in self.inputs:
            pieces.append(compact_size(len(item.witness)))
            pieces += (var_bytes(element) for element in item.witness)
        return b"".join((*pieces, _U32.pack(self.lock_time)))

    @cached_property
    def txid(self) -> bytes:
        """Identity, 32 bytes in wire order."""
        return sha256d(self.base_bytes)

    @cached_property
    def witness_id(self) -> bytes:
        """Identity of the form with witnesses; equal to `txid` where there are none."""
        return sha256d(self.serialize()) if self.has_witness else self.txid

    @cached_property
    def size_bytes(self) -> int:
        """Size on the wire, witnesses included."""
        return len(self.serialize())

    @cached_property
    def weight(self) -> int:
        """Weight units: three times the size without witnesses plus the whole size (BIP 141)."""
        return len(self.base_bytes) * (WITNESS_SCALE - 1) + self.size_bytes

    @property
    def virtual_size_bytes(self) -> int:
        """A quarter of the weight, rounded up: the size that fees are counted by."""
        return -(-self.weight // WITNESS_SCALE)

    @property
    def is_coinbase(self) -> bool:
        """Is it the transaction that makes new coins?"""
        return len(self.inputs) == 1 and self.inputs[0].previous.is_null

    @property
    def value_out_satoshi(self) -> int:
        """Sum of the new coins, in satoshi."""
        return sum(output.value_satoshi for output in self.outputs)

    @cached_property
    def signature_operations(self) -> int:
        """Signature operations in its own scripts, counted the inexact way (`script`)."""
        scripts = [item.script_sig for item in self.inputs]
        scripts += (output.script_pubkey for output in self.outputs)
        return sum(count_signature_operations(item, is_accurate=False) for item in scripts)

    def out_point(self, index: int) -> OutPoint:
        """Name of its coin at position `index`."""
        assert 0 <= index < len(self.outputs)
        return OutPoint(self.txid, index)


def read_transaction(reader: ByteReader) -> Transaction:
    """Read one transaction, with or without witnesses.

    Raises
    ------
    ProtocolViolation
        For bytes that are not one; `superfluous-witness` and `unknown-flag` as in Bitcoin Core.
    """
    version = reader.i32()
    inputs = _read_inputs(reader)
    flag = 0
    if not inputs:
        # No inputs means either nothing at all or the marker of the witness form (BIP 144).
        flag = reader.u8()
        if flag:
            inputs = _read_inputs(reader)
            outputs = _read_outputs(reader)
        else:
            outputs = ()
    else:
        outputs = _read_outputs(reader)
    if flag & 1:
        flag ^= 1
        inputs = tuple(item._replace(witness=_read_witness(reader)) for item in inputs)
        if not any(item.witness for item in inputs):
            raise ProtocolViolation("superfluous-witness", "witness form without a witness")
    if flag:
        raise ProtocolViolation("unknown-flag", f"flag {flag} in a transaction")
    return Transaction(inputs, outputs, version, reader.u32())


def parse_transaction(data: bytes) -> Transaction:
    """Read a transaction that fills the bytes exactly.

    Raises
    ------
    ProtocolViolation
        For anything else.
    """
    reader = ByteReader(data)
    transaction = read_transaction(reader)
    reader.finish()
    return transaction


def _read_inputs(reader: ByteReader) -> tuple[TransactionInput, ...]:
    """The list of inputs without their witnesses."""
    return tuple(
        TransactionInput(OutPoint(reader.read(32), reader.u32()), reader.var_bytes(), reader.u32())
        for _ in range(reader.count(INPUT_SIZE_BYTES_MIN))
    )


def _read_outputs(reader: ByteReader) -> tuple[TransactionOutput, ...]:
    """The list of outputs."""
    return tuple(
        TransactionOutput(reader.i64(), reader.var_bytes())
        for _ in range(reader.count(OUTPUT_SIZE_BYTES_MIN))
    )


def _read_witness(reader: ByteReader) -> tuple[bytes, ...]:
    """The witness stack of one input."""
    return tuple(reader.var_bytes() for _ in range(reader.count(1)))


def check_transaction(transaction: Transaction) -> None:
    """The rules that need no chain (Bitcoin Core, CheckTransaction), in its order and words.

    Raises
    ------
    ProtocolViolation
        With Bitcoin Core's reject name.
    """
    if not transaction.inputs:
        raise ProtocolViolation("bad-txns-vin-empty")
    if not transaction.outputs:
        raise ProtocolViolation("bad-txns-vout-empty")
    if len(transaction.base_bytes) > BLOCK_SIZE_BYTES_MAX:
        raise ProtocolViolation("bad-txns-oversize", f"{len(transaction.base_bytes)} bytes")
    _check_amounts(transaction.outputs)
    previous = [item.previous for item in transaction.inputs]
    if len(set(previous)) != len(previous):
        # CVE-2018-17144: the same coin twice in one transaction would double it.
        raise ProtocolViolation("bad-txns-inputs-duplicate")
    if transaction.is_coinbase:
        size = len(transaction.inputs[0].script_sig)
        if not COINBASE_SCRIPT_SIZE_BYTES[0] <= size <= COINBASE_SCRIPT_SIZE_BYTES[1]:
            raise ProtocolViolation("bad-cb-length", f"coinbase script of {size} bytes")
    elif any(out_point.is_null for out_point in previous):
        raise ProtocolViolation("bad-txns-prevout-null")


def _check_amounts(outputs: tuple[TransactionOutput, ...]) -> None:
    """Every amount and every partial sum is money (CVE-2010-5139, the value overflow)."""
    total = 0
    for value, _ in outputs:
        if value < 0:
            raise ProtocolViolation("bad-txns-vout-negative", f"{value} satoshi")
        if not is_money(value):
            raise ProtocolViolation("bad-txns-vout-toolarge", f"{value} satoshi")
        total += value
        if not is_money(total):
            raise ProtocolViolation("bad-txns-txouttotal-toolarge", f"{total} satoshi")


def is_final(transaction: Transaction, *, height: int, time_s: int) -> bool:
    """May it stand in a block of this height, with this time to compare lock times against?

    A lock time counts only while some input has a sequence number that is not final.
    """
    lock_time = transaction.lock_time
    limit = height if lock_time < LOCK_TIME_THRESHOLD else time_s
    if lock_time == 0 or lock_time < limit:
        return True
    return all(item.sequence == SEQUENCE_FINAL for item in transaction.inputs)
