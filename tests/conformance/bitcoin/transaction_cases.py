"""Transactions: signature hashes, real spends, and Bitcoin Core's valid and invalid vectors."""

from __future__ import annotations

from typing import Any

from consensus_lab.nakamoto import keys
from consensus_lab.nakamoto.encoding import display_id, parse_id
from consensus_lab.nakamoto.interpreter import verify_input
from consensus_lab.nakamoto.script_rules import ScriptFailure, ScriptFault, ScriptFlags
from consensus_lab.nakamoto.sighash import SignatureHasher, legacy_signature_hash
from consensus_lab.nakamoto.transaction import (
    OutPoint,
    Transaction,
    TransactionOutput,
    check_transaction,
    parse_transaction,
)
from consensus_lab.node import ProtocolViolation
from tests.conformance.bitcoin.assembler import assemble
from tests.conformance.bitcoin.corpus import Corpus, CorpusFile, Judge
from tests.conformance.bitcoin.tally import NotCovered, Tally, expect

# Flags of Taproot's own policies; no transaction without Taproot meets them.
TAPROOT_POLICIES = frozenset(
    {"DISCOURAGE_UPGRADABLE_TAPROOT_VERSION", "DISCOURAGE_OP_SUCCESS"}
    | {"DISCOURAGE_UPGRADABLE_PUBKEYTYPE"}
)


def _judge_signature_hashes(file: CorpusFile, corpus: Corpus, tally: Tally) -> None:
    """Classic signature hashes; the digest is printed like an identity, reversed."""
    vectors = file.content["vectors"] if isinstance(file.content, dict) else file.content
    for number, vector in enumerate(vectors):
        if len(vector) != 5 or not isinstance(vector[2], int):
            continue  # A line that names the columns.
        raw, script, index, hash_type, digest = vector
        with tally.case("signature hashes", f"{file.name}, vector {number}"):
            transaction = parse_transaction(bytes.fromhex(raw))
            expect(transaction.serialize().hex(), raw, "bytes")
            ours = legacy_signature_hash(transaction, index, bytes.fromhex(script), hash_type)
            expect(display_id(ours), digest, "digest")


def _judge_spends(file: CorpusFile, corpus: Corpus, tally: Tally) -> None:
    """Real inputs with the coins that they spent, and mutated copies."""
    for number, vector in enumerate(file.content["vectors"]):
        name = f"{file.name}, vector {number} {vector.get('mutation') or ''}".rstrip()
        with tally.case("P2PKH spends", name):
            _judge_spend(vector)


def _judge_spend(vector: dict[str, Any]) -> None:
    """One input: digest, encodings, verdict."""
    raw = bytes.fromhex(vector["tx_hex"])
    transaction, index = parse_transaction(raw), int(vector["input_index"])
    expect(transaction.serialize(), raw, "bytes")
    script = bytes.fromhex(vector["prevout_script_hex"])
    coin = TransactionOutput(int(vector["prevout_value_sat"]), script)
    signature = bytes.fromhex(vector["der_sig_hex"])
    if vector.get("mutation") is None:
        expect(display_id(transaction.txid), vector["txid"], "txid")
        digest = legacy_signature_hash(transaction, index, script, vector["hash_type"])
        expect(digest.hex(), vector["sighash_hex"], "digest")
        numbers = keys.parse_der_lax(signature)
        assert numbers is not None, "the signature cannot be read"
        key = bytes.fromhex(vector["pubkey_hex"])
        expect(keys.verify(key, numbers, digest), vector["script_valid"], "signature verdict")
        if vector.get("low_s") is not None:
            expect(numbers.s <= keys.HALF_CURVE_ORDER, vector["low_s"], "low s")
    valid = _is_allowed(transaction, index, coin, ScriptFlags.P2SH)
    expect(valid, vector["expected_valid"], "verdict")


def _is_allowed(
    transaction: Transaction, index: int, coin: TransactionOutput, flags: ScriptFlags
) -> bool:
    """May the input spend the coin?"""
    try:
        verify_input(transaction, index, coin, flags)
    except ScriptFailure as failure:
        if failure.fault is ScriptFault.TAPROOT_NOT_COVERED:
            raise NotCovered(failure.detail) from None
        return False
    return True


def _judge_single_spend(file: CorpusFile, corpus: Corpus, tally: Tally) -> None:
    """One transaction with its one coin, such as the first payment ever."""
    facts = file.content
    with tally.case("single spends", file.name):
        transaction = parse_transaction(bytes.fromhex(facts["tx_hex"]))
        expect(display_id(transaction.txid), facts["txid"], "txid")
        previous = OutPoint(parse_id(facts["prev_txid"]), int(facts["prev_vout"]))
        expect(transaction.inputs[0].previous, previous, "coin")
        script = bytes.fromhex(facts["prev_script_pubkey_hex"])
        coin = TransactionOutput(int(facts["prev_value_sat"]), script)
        if facts.get("sighash_all_hex"):
            digest = SignatureHasher(transaction).legacy(0, script, 1)
            expect(digest.hex(), facts["sighash_all_hex"], "digest")
        if facts.get("outputs_sat"):
            values = [output.value_satoshi for output in transaction.outputs]
            expect(values, facts["outputs_sat"], "amounts")
        valid = _is_allowed(transaction, 0, coin, ScriptFlags.P2SH)
        expect(valid, facts["expected_valid"], "verdict")


def _judge_vectors(file: CorpusFile, corpus: Corpus, tally: Tally) -> None:
    """Vectors that are valid but for the flags named, or invalid under them."""
    vectors = file.content["vectors"] if isinstance(file.content, dict) else file.content
    is_valid_file = _are_meant_valid(vectors)
    kind = "valid transactions" if is_valid_file else "invalid transactions"
    for number, vector in enumerate(vectors):
        comment = vector.get("comment", "")[-60:]
        with tally.case(kind, f"{file.name}, vector {number} ({comment})"):
            expect(_is_valid_vector(vector, excludes=is_valid_file), is_valid_file, "valid")


def _are_meant_valid(vectors: list[dict[str, Any]]) -> bool:
    """Is it the file of valid or of invalid vectors?  Both have the same keys.

    BADTX exists among the invalid only.  Otherwise the reading that fits more vectors is meant;
    the vectors that do not fit it are failures then.
    """
    if any("BADTX" in vector["flags"] for vector in vectors):
        return False
    as_valid = sum(_fits(vector, excludes=True) for vector in vectors)
    as_invalid = sum(_fits(vector, excludes=False) for vector in vectors)
    return as_valid >= as_invalid


def _fits(vector: dict[str, Any], *, excludes: bool) -> bool:
    """Does one reading of a vector come true?"""
    try:
        return _is_valid_vector(vector, excludes=excludes) == excludes
    except (NotCovered, ProtocolViolation):
        return False


def _is_valid_vector(vector: dict[str, Any], *, excludes: bool) -> bool:
    """Our verdict under the vector's flags: all but those, or exactly those."""
    names = [name for name in vector["flags"].split(",") if name not in ("NONE", "")]
    coins = _coins(vector["prevouts"])
    try:
        transaction = parse_transaction(bytes.fromhex(vector["tx_hex"]))
        check_transaction(transaction)
    except ProtocolViolation:
        return False
    if "BADTX" in names:
        return True  # It ought to have failed above.
    flags = _flags(names)
    flags = _without_orphans(~ScriptFlags.NONE & ~flags) if excludes else _with_parents(flags)
    for index, item in enumerate(transaction.inputs):
        coin = coins.get(item.previous)
        if coin is None:
            raise NotCovered("a spent coin is not given")
        if not _is_allowed(transaction, index, coin, flags):
            return False
    return True


def _coins(prevouts: list[list[Any]]) -> dict[OutPoint, TransactionOutput]:
    """The coins of a vector; an output index of -1 is that of a coinbase."""
    coins = {}
    for txid, index, script, *amount in prevouts:
        name = OutPoint(parse_id(txid), int(index) & 0xFFFFFFFF)
        coins[name] = TransactionOutput(int(amount[0]) if amount else 0, assemble(script))
    return coins


def _flags(names: list[str]) -> ScriptFlags:
    """Flags by name."""
    flags = ScriptFlags.NONE
    for name in names:
        if name in TAPROOT_POLICIES:
            continue
        if name not in ScriptFlags.__members__:
            raise NotCovered(f"flag {name}")
        flags |= ScriptFlags[name]
    return flags


def _without_orphans(flags: ScriptFlags) -> ScriptFlags:
    """Drop flags that make no sense without others that are missing (Core's TrimFlags)."""
    if not flags & ScriptFlags.P2SH:
        flags &= ~ScriptFlags.WITNESS
    if not flags & ScriptFlags.WITNESS:
        flags &= ~(ScriptFlags.CLEANSTACK | ScriptFlags.TAPROOT)
    return flags


def _with_parents(flags: ScriptFlags) -> ScriptFlags:
    """Add flags that others need (Core's FillFlags)."""
    if flags & ScriptFlags.CLEANSTACK:
        flags |= ScriptFlags.WITNESS
    if flags & ScriptFlags.WITNESS:
        flags |= ScriptFlags.P2SH
    return flags


JUDGES: dict[str, tuple[Judge, ...]] = {
    "signature hashes": (_judge_signature_hashes,),
    "key hash spends": (_judge_spends,),
    "single spend": (_judge_single_spend,),
    "transactions": (_judge_vectors,),
}
