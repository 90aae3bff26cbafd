"""Signature hash: the digest that a transaction's signature signs.

Rules of this file: byte for byte what Bitcoin signs, bugs included; integers only.

Theory of operation.  A signature covers the transaction with its own place prepared: in the
classic form every input's script is blank except the one that signs, where the script of the
spent coin stands.  The last byte of a signature, the hash type, widens what others may change:
NONE leaves all outputs open, SINGLE all but the one at the same position, ANYONECANPAY all other
inputs.  Since the classic form hashes the whole transaction once per input, BIP 143 gives witness
inputs a form whose parts are hashed once, and which commits to the spent amount too.

Famous bug, kept: SINGLE with no output at that position signs the number 1.
"""

from __future__ import annotations

import struct
from functools import cached_property

from consensus_lab.nakamoto.encoding import compact_size, sha256d, var_bytes
from consensus_lab.nakamoto.script import Op, find_and_delete
from consensus_lab.nakamoto.transaction import Transaction

ALL, NONE, SINGLE = 1, 2, 3
ANYONE_CAN_PAY = 0x80
BASE_TYPE_MASK = 0x1F
_ONE = (1).to_bytes(32, "little")
_BLANK_OUTPUT = struct.pack("<q", -1) + b"\x00"
_BLANK_INPUT_SIZE_BYTES = 41
_U32 = struct.Struct("<I")


class SignatureHasher:
    """Digests of one transaction's inputs; what the inputs share is prepared once.

    Parameters
    ----------
    transaction : Transaction
        The spending transaction.
    """

    def __init__(self, transaction: Transaction) -> None:
        self.transaction = transaction

    def legacy(self, input_index: int, script_code: bytes, hash_type: int) -> bytes:
        """The classic digest of one input.

        Parameters
        ----------
        input_index : int
            Which input signs.
        script_code : bytes
            Script of the spent coin, from the last executed OP_CODESEPARATOR on.
        hash_type : int
            Four bytes, of which a signature carries the lowest.
        """
        transaction = self.transaction
        base_type = hash_type & BASE_TYPE_MASK
        if base_type == SINGLE and input_index >= len(transaction.outputs):
            return _ONE
        # OP_CODESEPARATOR itself is never signed.
        script_code = find_and_delete(script_code, bytes((Op.CODESEPARATOR,)))[0]
        pieces = (
            struct.pack("<i", transaction.version),
            self._legacy_inputs(input_index, script_code, hash_type),
            self._legacy_outputs(input_index, base_type),
            struct.pack("<II", transaction.lock_time, hash_type & 0xFFFFFFFF),
        )
        return sha256d(b"".join(pieces))

    def _legacy_inputs(self, input_index: int, script_code: bytes, hash_type: int) -> bytes:
        """The list of inputs as the classic digest sees it."""
        inputs = self.transaction.inputs
        previous, _, sequence, _ = inputs[input_index]
        own = b"".join(
            (
                previous.txid,
                _U32.pack(previous.output_index),
                var_bytes(script_code),
                _U32.pack(sequence),
            )
        )
        if hash_type & ANYONE_CAN_PAY:
            return b"\x01" + own
        is_open = hash_type & BASE_TYPE_MASK in (NONE, SINGLE)
        others = self._blank_inputs_open if is_open else self._blank_inputs
        start = _BLANK_INPUT_SIZE_BYTES * input_index
        end = start + _BLANK_INPUT_SIZE_BYTES
        return b"".join((compact_size(len(inputs)), others[:start], own, others[end:]))

    def _legacy_outputs(self, input_index: int, base_type: int) -> bytes:
        """The list of outputs as the classic digest sees it."""
        if base_type == NONE:
            return b"\x00"
        if base_type == SINGLE:
            own = self.transaction.outputs[input_index].serialize()
            return compact_size(input_index + 1) + _BLANK_OUTPUT * input_index + own
        return compact_size(len(self.transaction.outputs)) + self._outputs

    @cached_property
    def _blank_inputs(self) -> bytes:
        """All inputs without scripts, 41 bytes each."""
        return b"".join(
            previous.txid + struct.pack("<IBI", previous.output_index, 0, sequence)
            for previous, _, sequence, _ in self.transaction.inputs
        )

    @cached_property
    def _blank_inputs_open(self) -> bytes:
        """The same with sequence 0: NONE and SINGLE leave others free to change theirs."""
        return b"".join(
            item.previous.txid + struct.pack("<IBI", item.previous.output_index, 0, 0)
            for item in self.transaction.inputs
        )

    @cached_property
    def _outputs(self) -> bytes:
        """All outputs, one after the other."""
        return b"".join(output.serialize() for output in self.transaction.outputs)

    def witness_v0(
        self, input_index: int, script_code: bytes, hash_type: int, *, value_satoshi: int
    ) -> bytes:
        """The digest of a version 0 witness input, which commits to the spent amount (BIP 143)."""
        transaction = self.transaction
        item = transaction.inputs[input_index]
        base_type = hash_type & BASE_TYPE_MASK
        is_alone = bool(hash_type & ANYONE_CAN_PAY)
        is_all = base_type not in (NONE, SINGLE)
        zeros = bytes(32)
        outputs_digest = zeros
        if is_all:
            outputs_digest = self._outputs_digest
        elif base_type == SINGLE and input_index < len(transaction.outputs):
            outputs_digest = sha256d(transaction.outputs[input_index].serialize())
        pieces = (
            struct.pack("<i", transaction.version),
            zeros if is_alone else self._previous_digest,
            zeros if is_alone or not is_all else self._sequences_digest,
            item.previous.txid,
            _U32.pack(item.previous.output_index),
            var_bytes(script_code),
            struct.pack("<qI", value_satoshi, item.sequence),
            outputs_digest,
            struct.pack("<II", transaction.lock_time, hash_type & 0xFFFFFFFF),
        )
        return sha256d(b"".join(pieces))

    @cached_property
    def _previous_digest(self) -> bytes:
        """Digest of all spent coins' names."""
        names = (item.previous for item in self.transaction.inputs)
        return sha256d(b"".join(name.txid + _U32.pack(name.output_index) for name in names))

    @cached_property
    def _sequences_digest(self) -> bytes:
        """Digest of all sequence numbers."""
        return sha256d(b"".join(_U32.pack(item.sequence) for item in self.transaction.inputs))

    @cached_property
    def _outputs_digest(self) -> bytes:
        """Digest of all outputs."""
        return sha256d(self._outputs)


def legacy_signature_hash(
    transaction: Transaction, input_index: int, script_code: bytes, hash_type: int = ALL
) -> bytes:
    """The classic digest of one input, for callers that need just one."""
    return SignatureHasher(transaction).legacy(input_index, script_code, hash_type)
