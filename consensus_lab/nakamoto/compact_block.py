"""Compact blocks: a block told to somebody who has most of its transactions already (BIP 152).

Rules of this file: bytes in, values out; whom to send what is decided in `compact_relay`.

Theory of operation.  A compact block is the header, a number drawn by the sender, a *short id* of
six bytes for each transaction, and in full those that the receiver cannot have: the coinbase.  The
short id is SipHash-2-4 of the transaction's witness identity (version 2 of the protocol) under a
key that is the hash of header and number, so nobody can prepare two transactions with one short id.
The receiver looks its pool through, asks the sender for what is missing by position
(`getblocktxn`, answered with `blocktxn`), and checks the Merkle root; where two transactions share
a short id by accident the root does not fit, and the whole block is asked for.

Positions are written as differences: each is one more than the last plus the number written.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

from consensus_lab.constants import HEADER_SIZE_BYTES
from consensus_lab.nakamoto.block import TRANSACTION_SIZE_BYTES_MIN, WEIGHT_MAX, Block
from consensus_lab.nakamoto.encoding import HASH_SIZE_BYTES, ByteReader, compact_size, sha256
from consensus_lab.nakamoto.header import BlockHeader, read_header
from consensus_lab.nakamoto.siphash import siphash
from consensus_lab.nakamoto.transaction import WITNESS_SCALE, Transaction, read_transaction
from consensus_lab.node import ProtocolViolation

SHORT_ID_BYTES = 6
SHORT_ID_MASK = (1 << 8 * SHORT_ID_BYTES) - 1
NONCE_BYTES = 8
TRANSACTIONS_MAX = WEIGHT_MAX // (WITNESS_SCALE * TRANSACTION_SIZE_BYTES_MIN)
"""More cannot be in a block."""

_KEY = struct.Struct("<QQ")


class CompactBlock(NamedTuple):
    """A block by short ids.

    Attributes
    ----------
    header : BlockHeader
    nonce : int
        Drawn by the sender; part of the key of the short ids.
    short_ids : tuple of int
        Of the transactions that are not in full here, in order.
    prefilled : tuple of (int, Transaction)
        Those in full, with their positions in the block, ascending.
    """

    header: BlockHeader
    nonce: int
    short_ids: tuple[int, ...]
    prefilled: tuple[tuple[int, Transaction], ...]

    @property
    def transaction_count(self) -> int:
        """How many transactions the block has."""
        return len(self.short_ids) + len(self.prefilled)

    def serialize(self) -> bytes:
        """The form on the wire (BIP 152, HeaderAndShortIDs)."""
        pieces = [self.header.serialize(), self.nonce.to_bytes(NONCE_BYTES, "little")]
        pieces.append(compact_size(len(self.short_ids)))
        pieces += (short.to_bytes(SHORT_ID_BYTES, "little") for short in self.short_ids)
        pieces.append(compact_size(len(self.prefilled)))
        positions = _differences(position for position, _ in self.prefilled)
        for difference, (_, transaction) in zip(positions, self.prefilled, strict=True):
            pieces += (compact_size(difference), transaction.serialize())
        return b"".join(pieces)


class BlockTransactionsRequest(NamedTuple):
    """Which transactions of a block somebody lacks (BIP 152, BlockTransactionsRequest)."""

    block_id: bytes
    positions: tuple[int, ...]

    def serialize(self) -> bytes:
        """The form on the wire."""
        differences = b"".join(compact_size(item) for item in _differences(self.positions))
        return self.block_id + compact_size(len(self.positions)) + differences


class BlockTransactions(NamedTuple):
    """What was lacking (BIP 152, BlockTransactions)."""

    block_id: bytes
    transactions: tuple[Transaction, ...]

    def serialize(self) -> bytes:
        """The form on the wire."""
        data = b"".join(item.serialize() for item in self.transactions)
        return self.block_id + compact_size(len(self.transactions)) + data


def short_id_key(header: BlockHeader, nonce: int) -> tuple[int, int]:
    """The key of a compact block's short ids."""
    digest = sha256(header.serialize() + nonce.to_bytes(NONCE_BYTES, "little"))
    k0, k1 = _KEY.unpack_from(digest)
    return k0, k1


def short_id(key: tuple[int, int], transaction: Transaction) -> int:
    """Six bytes that name a transaction within one compact block."""
    return siphash(*key, transaction.witness_id) & SHORT_ID_MASK


def compact(block: Block, *, nonce: int) -> CompactBlock:
    """A block in its compact form, the coinbase in full."""
    key = short_id_key(block.header, nonce)
    short_ids = tuple(short_id(key, item) for item in block.transactions[1:])
    return CompactBlock(block.header, nonce, short_ids, ((0, block.coinbase),))


def parse_compact_block(data: bytes) -> CompactBlock:
    """Read a compact block that fills the bytes exactly.

    Raises
    ------
    ProtocolViolation
        For anything else; `bad-compact-block` for positions that no block has.
    """
    reader = ByteReader(data)
    header = read_header(reader)
    nonce = int.from_bytes(reader.read(NONCE_BYTES), "little")
    short_ids = tuple(
        int.from_bytes(reader.read(SHORT_ID_BYTES), "little")
        for _ in range(reader.count(SHORT_ID_BYTES))
    )
    prefilled: list[tuple[int, Transaction]] = []
    position = -1
    for _ in range(reader.count(1 + TRANSACTION_SIZE_BYTES_MIN)):
        position += 1 + reader.compact_size()
        # With all short ids and those before it this is the last place that can be filled.
        if position > len(short_ids) + len(prefilled):
            raise ProtocolViolation("bad-compact-block", f"nothing before position {position}")
        prefilled.append((position, read_transaction(reader)))
    reader.finish()
    result = CompactBlock(header, nonce, short_ids, tuple(prefilled))
    if not 0 < result.transaction_count <= TRANSACTIONS_MAX:
        raise ProtocolViolation("bad-compact-block", f"{result.transaction_count} transactions")
    return result


def parse_request(data: bytes) -> BlockTransactionsRequest:
    """Read which transactions are asked for.

    Raises
    ------
    ProtocolViolation
        For anything else; `bad-getblocktxn` for positions that no block has.
    """
    reader = ByteReader(data)
    block_id = reader.read(HASH_SIZE_BYTES)
    positions = []
    position = -1
    for _ in range(reader.count(1)):
        position += 1 + reader.compact_size()
        if position >= TRANSACTIONS_MAX:
            raise ProtocolViolation("bad-getblocktxn", f"position {position}")
        positions.append(position)
    reader.finish()
    return BlockTransactionsRequest(block_id, tuple(positions))


def parse_block_transactions(data: bytes) -> BlockTransactions:
    """Read the transactions of an answer.

    Raises
    ------
    ProtocolViolation
        For anything else.
    """
    reader = ByteReader(data)
    block_id = reader.read(HASH_SIZE_BYTES)
    count = reader.count(TRANSACTION_SIZE_BYTES_MIN)
    transactions = tuple(read_transaction(reader) for _ in range(count))
    reader.finish()
    return BlockTransactions(block_id, transactions)


class PartialBlock:
    """A compact block whose transactions are being collected.

    Parameters
    ----------
    source : CompactBlock
        As it came.
    pool : iterable of Transaction
        What the receiver has.
    """

    def __init__(self, source: CompactBlock, pool: Iterable[Transaction]) -> None:
        self.header = source.header
        self.slots: list[Transaction | None] = [None] * source.transaction_count
        for position, transaction in source.prefilled:
            self.slots[position] = transaction
        free = [place for place, item in enumerate(self.slots) if item is None]
        places = dict(zip(source.short_ids, free, strict=True))
        self.is_ambiguous = len(places) < len(free)
        """Do two of its transactions share a short id?  Then only the whole block helps."""

        key = short_id_key(source.header, source.nonce)
        taken: set[int] = set()
        for transaction in pool:
            place = places.get(short_id(key, transaction))
            if place is not None:
                # Two of the pool with one short id: neither is trusted.
                self.slots[place] = None if place in taken else transaction
                taken.add(place)

    @property
    def missing(self) -> tuple[int, ...]:
        """Positions that are still empty."""
        return tuple(place for place, item in enumerate(self.slots) if item is None)

    def filled(self, transactions: tuple[Transaction, ...] = ()) -> Block | None:
        """The block with what was missing; None when its Merkle root shows a false match.

        Raises
        ------
        ProtocolViolation
            `bad-blocktxn` for another number of transactions than is missing.
        """
        missing = self.missing
        if len(transactions) != len(missing):
            found = f"{len(transactions)} transactions instead of {len(missing)}"
            raise ProtocolViolation("bad-blocktxn", found)
        slots = list(self.slots)
        for place, transaction in zip(missing, transactions, strict=True):
            slots[place] = transaction
        block = Block(self.header, tuple(item for item in slots if item is not None))
        assert len(block.transactions) == len(self.slots)
        return block if block.merkle.root == self.header.merkle_root else None


def _differences(positions: Iterable[int]) -> Iterable[int]:
    """Ascending positions as they are written."""
    last = -1
    for position in positions:
        assert position > last
        yield position - last - 1
        last = position


assert HEADER_SIZE_BYTES + NONCE_BYTES == 88, "BIP 152: the fixed part of a compact block"
