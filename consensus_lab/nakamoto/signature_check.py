"""Signature check: does this signature, in this script, for this transaction, count?

Rules of this file: everything that a script can ask about its transaction goes through
`TransactionContext`; which encodings are allowed depends on the flags.

Theory of operation.  A script never sees the transaction itself.  It hands a signature, a key and
its own code to the context, which takes the hash type off the signature, forms the digest
(`sighash`) and verifies.  Two opcodes compare a number with the transaction's lock time (BIP 65)
and the input's sequence (BIP 112).
"""

from __future__ import annotations

from consensus_lab.nakamoto import keys
from consensus_lab.nakamoto.script_rules import ScriptFailure, ScriptFault, ScriptFlags
from consensus_lab.nakamoto.sighash import ANYONE_CAN_PAY, SINGLE, SignatureHasher
from consensus_lab.nakamoto.transaction import LOCK_TIME_THRESHOLD, SEQUENCE_FINAL

SEQUENCE_LOCK_DISABLED = 1 << 31
SEQUENCE_LOCK_IS_TIME = 1 << 22
SEQUENCE_LOCK_MASK = 0xFFFF
"""Bits of a sequence number under BIP 68: no relative lock; units of 512 s; the amount."""

_ANY_ENCODING_RULE = ScriptFlags.DERSIG | ScriptFlags.LOW_S | ScriptFlags.STRICTENC
_PUBLIC_KEY_SIZES = {2: 33, 3: 33, 4: 65, 6: 65, 7: 65}


class TransactionContext:
    """One input of a transaction, as seen by the scripts that guard its coin.

    Parameters
    ----------
    hasher : SignatureHasher
        Of the spending transaction; shared by its inputs.
    input_index : int
        Which input.
    value_satoshi : int
        Amount of the coin that it spends; signed by witness inputs (BIP 143).
    """

    def __init__(self, hasher: SignatureHasher, *, input_index: int, value_satoshi: int) -> None:
        self.hasher = hasher
        self.input_index = input_index
        self.value_satoshi = value_satoshi

    def check_signature(
        self, signature: bytes, public_key: bytes, script_code: bytes, *, is_witness: bool
    ) -> bool:
        """Is it a signature of this input by that key?

        Parameters
        ----------
        signature : bytes
            DER with the hash type behind it.
        public_key : bytes
            As the script gave it.
        script_code : bytes
            What the digest covers of the script.
        is_witness : bool
            Digest of BIP 143 instead of the classic one.
        """
        is_sized = bool(public_key) and _PUBLIC_KEY_SIZES.get(public_key[0]) == len(public_key)
        if not is_sized or not signature:
            return False
        hash_type = signature[-1]
        numbers = keys.parse_der_lax(signature[:-1])
        if numbers is None:
            return False
        if is_witness:
            digest = self.hasher.witness_v0(
                self.input_index, script_code, hash_type, value_satoshi=self.value_satoshi
            )
        else:
            digest = self.hasher.legacy(self.input_index, script_code, hash_type)
        return keys.verify(public_key, numbers, digest)

    def is_lock_time_reached(self, lock_time: int) -> bool:
        """Is the transaction's lock time at least this one and in force (BIP 65)?"""
        transaction = self.hasher.transaction
        is_same_kind = (transaction.lock_time < LOCK_TIME_THRESHOLD) == (
            lock_time < LOCK_TIME_THRESHOLD
        )
        if not is_same_kind or lock_time > transaction.lock_time:
            return False
        return transaction.inputs[self.input_index].sequence != SEQUENCE_FINAL

    def is_sequence_reached(self, sequence: int) -> bool:
        """Is the input's relative lock at least this one and in force (BIP 112)?"""
        transaction = self.hasher.transaction
        own = transaction.inputs[self.input_index].sequence
        # The version counts as unsigned here: negative ones are large.
        if 0 <= transaction.version < 2 or own & SEQUENCE_LOCK_DISABLED:
            return False
        if own & SEQUENCE_LOCK_IS_TIME != sequence & SEQUENCE_LOCK_IS_TIME:
            return False
        return sequence & SEQUENCE_LOCK_MASK <= own & SEQUENCE_LOCK_MASK


def check_signature_encoding(signature: bytes, flags: ScriptFlags) -> None:
    """Insist on the form that the flags ask for; an empty signature is a plain "no".

    Raises
    ------
    ScriptFailure
        Not strict DER, high s, or an undefined hash type.
    """
    if not signature:
        return
    der = signature[:-1]
    if flags & _ANY_ENCODING_RULE and not keys.is_strict_der(der):
        raise ScriptFailure(ScriptFault.DER)
    if flags & ScriptFlags.LOW_S and not keys.is_low_s(der):
        raise ScriptFailure(ScriptFault.HIGH_S)
    if flags & ScriptFlags.STRICTENC and not 1 <= signature[-1] & ~ANYONE_CAN_PAY <= SINGLE:
        raise ScriptFailure(ScriptFault.HASH_TYPE)


def check_public_key_encoding(public_key: bytes, flags: ScriptFlags, *, is_witness: bool) -> None:
    """Insist on the form that the flags ask for (policy only).

    Raises
    ------
    ScriptFailure
        Hybrid or senseless under STRICTENC, uncompressed in a witness under WITNESS_PUBKEYTYPE.
    """
    form = (len(public_key), public_key[0]) if public_key else (0, 0)
    is_compressed = form in ((33, 2), (33, 3))
    if flags & ScriptFlags.STRICTENC and not is_compressed and form != (65, 4):
        raise ScriptFailure(ScriptFault.PUBLIC_KEY_TYPE)
    if flags & ScriptFlags.WITNESS_PUBKEYTYPE and is_witness and not is_compressed:
        raise ScriptFailure(ScriptFault.WITNESS_PUBLIC_KEY_TYPE)
