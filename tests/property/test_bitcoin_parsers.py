"""Bytes and texts from anybody: every parser answers or raises a `ProtocolViolation`.

What is parsed is written again as the very same bytes, so no two encodings mean one thing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from consensus_lab.nakamoto import address, keys
from consensus_lab.nakamoto.block import Block, parse_block
from consensus_lab.nakamoto.chain import Chain
from consensus_lab.nakamoto.compact_block import (
    BlockTransactions,
    BlockTransactionsRequest,
    PartialBlock,
    compact,
    parse_block_transactions,
    parse_compact_block,
    parse_request,
)
from consensus_lab.nakamoto.encoding import ByteReader, compact_size, parse_hex, parse_id
from consensus_lab.nakamoto.header import (
    block_work,
    nbits_to_target,
    parse_header,
    target_to_nbits,
)
from consensus_lab.nakamoto.interpreter import verify_input
from consensus_lab.nakamoto.merkle import MerkleProof, merkle_root, verify_merkle_proof
from consensus_lab.nakamoto.network_rules import REGTEST
from consensus_lab.nakamoto.pow import search_nonce
from consensus_lab.nakamoto.script import (
    WitnessProgram,
    count_signature_operations,
    find_and_delete,
    is_push_only,
    operations,
    witness_program,
)
from consensus_lab.nakamoto.script_rules import STANDARD_FLAGS, ScriptFailure, ScriptFlags
from consensus_lab.nakamoto.transaction import (
    OutPoint,
    Transaction,
    TransactionInput,
    TransactionOutput,
    parse_transaction,
)
from consensus_lab.node import ProtocolViolation
from tests.nakamoto.block_world import START_S, BlockWorld

CASES_QUICK, CASES_FULL = 60, 10_000
# Fuzzing starts from right bytes and damages them, else nothing gets past the first field.
SMALL_EDITS_MAX = 4


@lru_cache(maxsize=1)
def sample_blocks() -> tuple[Block, ...]:
    """A few real blocks: with payments of every kind, with and without witnesses."""
    world = BlockWorld(5)
    tip = REGTEST.genesis.block_id
    for height in range(106):
        tip = world.honest_block(tip, payments=3 if height >= 101 else 0).block_id
    return tuple(world.blocks.values())[-8:]


@lru_cache(maxsize=1)
def sample_transactions() -> tuple[bytes, ...]:
    """All their transactions."""
    return tuple(tx.serialize() for block in sample_blocks() for tx in block.transactions)


@st.composite
def damaged(draw: st.DrawFn, samples: Callable[[], tuple[bytes, ...]]) -> bytes:
    """Right bytes with a few edits: changed, cut out, put in, blown up, cut off."""
    data = bytearray(draw(st.sampled_from(samples())))
    for _ in range(draw(st.integers(0, SMALL_EDITS_MAX))):
        place = draw(st.integers(0, len(data)))
        edit = draw(st.sampled_from(("change", "delete", "insert", "size", "cut")))
        if edit == "change" and place < len(data):
            data[place] = draw(st.integers(0, 255))
        elif edit == "delete":
            del data[place : place + draw(st.integers(1, 40))]
        elif edit == "insert":
            data[place:place] = draw(st.binary(max_size=40))
        elif edit == "size":  # An absurd count or length.
            data[place : place + 1] = compact_size(draw(st.integers(0, (1 << 64) - 1)))
        elif edit == "cut":
            del data[place:]
    return bytes(data)


def compact_samples() -> tuple[bytes, ...]:
    """The sample blocks in compact form."""
    return tuple(compact(block, nonce=block.header.nonce).serialize() for block in sample_blocks())


def request_samples() -> tuple[bytes, ...]:
    """Requests for some of their transactions."""
    return tuple(
        BlockTransactionsRequest(block.block_id, tuple(range(0, 3 * number, number))).serialize()
        for number, block in enumerate(sample_blocks(), 1)
    )


def block_transactions_samples() -> tuple[bytes, ...]:
    """Their transactions as answers."""
    return tuple(
        BlockTransactions(block.block_id, block.transactions).serialize()
        for block in sample_blocks()
    )


def any_bytes(samples: Callable[[], tuple[bytes, ...]]) -> st.SearchStrategy[bytes]:
    """Damaged samples, and now and then noise."""
    return st.one_of(damaged(samples), damaged(samples), st.binary(max_size=200))


def parse_and_write_transaction(data: bytes) -> None:
    """What is read is written as it was."""
    transaction = parse_transaction(data)
    assert transaction.serialize() == data
    assert transaction.size_bytes == len(data)


def parse_and_write_block(data: bytes) -> None:
    """What is read is written as it was."""
    block = parse_block(data)
    assert block.serialize() == data
    assert block.size_bytes == len(data)


def parse_and_write_compact_block(data: bytes) -> None:
    """What is read is written as it was, and can be put together from nothing or fails openly."""
    block = parse_compact_block(data)
    assert block.serialize() == data
    partial = PartialBlock(block, ())
    assert len(partial.missing) == len(block.short_ids)


def parse_and_write_request(data: bytes) -> None:
    """What is read is written as it was, positions ascend."""
    request = parse_request(data)
    assert request.serialize() == data
    assert list(request.positions) == sorted(set(request.positions))


def parse_and_write_block_transactions(data: bytes) -> None:
    """What is read is written as it was."""
    assert parse_block_transactions(data).serialize() == data


def parse_and_write_header(data: bytes) -> None:
    """What is read is written as it was, and has an identity and a work."""
    header = parse_header(data)
    assert header.serialize() == data
    assert replace(header).block_id == header.block_id
    assert block_work(header.nbits) >= 0


def read_numbers(data: bytes) -> None:
    """A list of byte strings, until something is wrong."""
    reader = ByteReader(data)
    for _ in range(reader.count(1)):
        reader.var_bytes()
    reader.finish()


def read_script(data: bytes) -> None:
    """Everything that looks into a script."""
    count_signature_operations(data, is_accurate=True)
    is_push_only(data)
    find_and_delete(data, b"\xab")
    program = witness_program(data)
    if program is not None:
        assert address.script_to_address(data) is None or program.program in data
    rebuilt = b"".join(data[a:b] for a, b in _spans(data))
    assert rebuilt == data


def _spans(script: bytes) -> list[tuple[int, int]]:
    """Where operations start and end."""
    ends = [operation.end for operation in operations(script)]
    return list(zip([0, *ends], ends, strict=False))


def run_scripts(case: tuple[bytes, bytes, list[bytes]]) -> None:
    """Run anything as a spend, under all rules but Taproot's and under none."""
    script_sig, script_pubkey, witness = case
    item = TransactionInput(OutPoint(bytes(32), 0), script_sig, 0, tuple(witness))
    transaction = Transaction((item,), (TransactionOutput(1, b""),))
    for flags in (ScriptFlags.NONE, STANDARD_FLAGS):
        with suppress(ScriptFailure):
            verify_input(transaction, 0, TransactionOutput(1, script_pubkey), flags)


def check_signature(case: tuple[bytes, bytes, bytes]) -> None:
    """Any key, any signature, any digest: a verdict."""
    key, signature, message = case
    keys.is_public_key(key)
    keys.verify_der(key, signature, message)
    keys.verify_schnorr(key[:32], signature, message)
    strict, lax = keys.parse_der_strict(signature), keys.parse_der_lax(signature)
    if strict is not None:
        assert keys.encode_der(strict) == signature
        is_in_range = max(strict) < keys.CURVE_ORDER
        assert lax == (strict if is_in_range else (0, 0))


def read_address(text: str) -> None:
    """An address that is accepted is the address of its script (but for upper case)."""
    script = address.address_to_script(text)
    assert address.script_to_address(script) in (text, text.lower())


def read_segwit_address(text: str) -> None:
    """The same without the other form."""
    program = address.segwit_decode("bc", text)
    assert address.segwit_encode("bc", program) == text.lower()


def read_nbits(nbits: int) -> None:
    """A possible target is written back in the shortest form."""
    target = nbits_to_target(nbits)
    if target is not None:
        again = nbits_to_target(target_to_nbits(target))
        assert again is not None and again == target


def check_proof(case: tuple[int, int, list[bytes]]) -> None:
    """A proof of nothing proves nothing."""
    position, count, siblings = case
    assert not verify_merkle_proof(
        bytes(32), b"\x01" * 32, MerkleProof(position, count, tuple(siblings))
    )


def deliver_damaged(data: bytes) -> None:
    """A damaged transaction in a block that is right otherwise: root and work are made to fit."""
    transaction = parse_transaction(data)
    block = sample_blocks()[-1]
    transactions = (*block.transactions, transaction)
    root = merkle_root([item.txid for item in transactions]).root
    header = search_nonce(replace(block.header, merkle_root=root))
    assert header is not None
    chain = sample_chain()
    tip = chain.tip
    chain.deliver(Block(header, transactions), now_s=START_S + 10**6)
    assert chain.height >= tip.height


@lru_cache(maxsize=1)
def sample_chain() -> Chain:
    """A chain that ends where the last sample starts."""
    world, chain = BlockWorld(5), Chain(REGTEST)
    tip = REGTEST.genesis.block_id
    for height in range(105):
        tip = world.honest_block(tip, payments=3 if height >= 101 else 0).block_id
        chain.deliver(world.blocks[tip], now_s=START_S + 10**6)
    return chain


SCRIPTS = st.one_of(
    st.binary(max_size=80),
    st.lists(st.sampled_from(range(256)), max_size=60).map(bytes),
    st.lists(st.sampled_from([0, 0x51, 0x63, 0x67, 0x68, 0x76, 0x87, 0xAC, 0xAE, 1, 2, 0x4C]))
    .map(bytes),
)  # fmt: skip
WORDS = st.text(alphabet=address.BASE58_DIGITS, min_size=20, max_size=40)
BECH32 = st.text(alphabet=address.BECH32_DIGITS, max_size=70).map(lambda text: "bc1" + text)
GOOD_SEGWIT = st.builds(
    lambda version, program: address.segwit_encode("bc", WitnessProgram(version, program)),
    st.integers(0, 16),
    st.one_of(st.binary(min_size=20, max_size=20), st.binary(min_size=32, max_size=32)),
)

PARSERS: dict[str, tuple[st.SearchStrategy[Any], Callable[[Any], None]]] = {
    "transaction": (any_bytes(sample_transactions), parse_and_write_transaction),
    "block": (
        any_bytes(lambda: tuple(block.serialize() for block in sample_blocks())),
        parse_and_write_block,
    ),
    "compact block": (any_bytes(compact_samples), parse_and_write_compact_block),
    "request for transactions": (any_bytes(request_samples), parse_and_write_request),
    "transactions of a block": (
        any_bytes(block_transactions_samples), parse_and_write_block_transactions,
    ),
    "header": (
        any_bytes(lambda: tuple(block.header.serialize() for block in sample_blocks())),
        parse_and_write_header,
    ),
    "counts and lengths": (st.binary(max_size=60), read_numbers),
    "script": (SCRIPTS, read_script),
    "spend": (st.tuples(SCRIPTS, SCRIPTS, st.lists(SCRIPTS, max_size=3)), run_scripts),
    "signature": (
        st.tuples(
            st.one_of(st.binary(max_size=70), st.binary(min_size=33, max_size=33)),
            st.one_of(
                st.binary(max_size=80),
                st.builds(
                    lambda r, s: keys.encode_der(keys.Signature(r, s)),
                    st.integers(0, 1 << 256),
                    st.integers(0, 1 << 256),
                ),
            ),
            st.binary(max_size=40),
        ),
        check_signature,
    ),
    "address": (st.one_of(st.text(max_size=60), WORDS, BECH32, GOOD_SEGWIT), read_address),
    "witness address": (st.one_of(BECH32, GOOD_SEGWIT), read_segwit_address),
    "identity": (
        st.one_of(st.text(max_size=70), st.text("0123456789abcdef", max_size=70)),
        parse_id,
    ),
    "hexadecimal": (st.text(max_size=40), parse_hex),
    "target": (st.integers(0, (1 << 32) - 1), read_nbits),
    "proof": (
        st.tuples(
            st.integers(-1, 40),
            st.integers(-1, 40),
            st.lists(st.binary(min_size=32, max_size=32), max_size=7),
        ),
        check_proof,
    ),
    "block that is judged": (damaged(sample_transactions), deliver_damaged),
}  # fmt: skip


def fuzz(name: str, cases: int, *, start: int | None = None) -> int:
    """So many inputs: an answer or a `ProtocolViolation`, anything else is a bug.

    With a `start` the inputs are those of that number; how many there were comes back.
    """
    inputs, parse = PARSERS[name]
    tried = 0

    @settings(max_examples=cases, deadline=None, suppress_health_check=list(HealthCheck))
    @given(inputs)
    def run(value: Any) -> None:
        nonlocal tried
        tried += 1
        try:
            parse(value)
        except ProtocolViolation as violation:
            assert violation.rule

    (run if start is None else seed(start)(run))()
    return tried


@pytest.mark.slow
@pytest.mark.parametrize("name", PARSERS)
def test_no_input_gets_past_a_parser_unnoticed(name):
    """A modest number of inputs for each parser."""
    fuzz(name, CASES_QUICK)


@pytest.mark.full
@pytest.mark.parametrize("name", PARSERS)
def test_no_input_of_very_many_gets_past_a_parser_unnoticed(name):
    """The long run: 10,000 for each parser, 170,000 in all."""
    assert CASES_FULL * len(PARSERS) >= 100_000
    fuzz(name, CASES_FULL)
