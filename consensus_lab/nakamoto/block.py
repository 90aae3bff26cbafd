"""Block: a header and the transactions that it commits to, checked on its own.

Rules of this file: what a block can be judged by without knowing any other block.

Theory of operation.  A block is at most 1 MB without witnesses.  Its first transaction, and no
other, is the coinbase.  The Merkle root in the header covers all transactions in their order.
Witnesses are covered too, since BIP 141: the coinbase holds an output with the root of a second
tree over the witness identities, in which the coinbase itself counts as zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from consensus_lab.constants import BLOCK_SIZE_BYTES_MAX, HEADER_SIZE_BYTES
from consensus_lab.nakamoto.encoding import NULL_ID, ByteReader, compact_size, sha256d
from consensus_lab.nakamoto.header import BlockHeader, check_proof_of_work, read_header
from consensus_lab.nakamoto.merkle import MerkleRoot, merkle_root
from consensus_lab.nakamoto.script import push_number
from consensus_lab.nakamoto.transaction import (
    WITNESS_SCALE,
    Transaction,
    TransactionOutput,
    check_transaction,
    read_transaction,
)
from consensus_lab.node import ProtocolViolation

WEIGHT_MAX = BLOCK_SIZE_BYTES_MAX * WITNESS_SCALE
SIGNATURE_OPERATION_COST_MAX = 80_000
"""Bound for a block; one outside a witness costs four (BIP 141)."""

TRANSACTION_SIZE_BYTES_MIN = 10
COMMITMENT_SIZE_BYTES_MIN = 38
COMMITMENT_HEADER = bytes.fromhex("6a24aa21a9ed")
"""How the output that commits to the witnesses starts (BIP 141)."""


@dataclass(frozen=True)
class Block:
    """A block; immutable, so that many simulated nodes can share it.

    Parameters
    ----------
    header : BlockHeader
        The 80 bytes that were mined.
    transactions : tuple of Transaction
        In order, the coinbase first.
    """

    header: BlockHeader
    transactions: tuple[Transaction, ...]

    @property
    def block_id(self) -> bytes:
        """Identity, 32 bytes in wire order."""
        return self.header.block_id

    @property
    def coinbase(self) -> Transaction:
        """The first transaction."""
        return self.transactions[0]

    def serialize(self) -> bytes:
        """The form on the wire, witnesses included."""
        pieces = [self.header.serialize(), compact_size(len(self.transactions))]
        pieces += (transaction.serialize() for transaction in self.transactions)
        return b"".join(pieces)

    @cached_property
    def base_size_bytes(self) -> int:
        """Size without witnesses, which the 1 MB limit is about."""
        count_size = len(compact_size(len(self.transactions)))
        return (
            HEADER_SIZE_BYTES + count_size + sum(len(item.base_bytes) for item in self.transactions)
        )

    @cached_property
    def size_bytes(self) -> int:
        """Size on the wire."""
        count_size = len(compact_size(len(self.transactions)))
        return HEADER_SIZE_BYTES + count_size + sum(item.size_bytes for item in self.transactions)

    @property
    def weight(self) -> int:
        """Weight units (BIP 141)."""
        return self.base_size_bytes * (WITNESS_SCALE - 1) + self.size_bytes

    @cached_property
    def merkle(self) -> MerkleRoot:
        """Root over the transactions' identities."""
        return merkle_root([transaction.txid for transaction in self.transactions])

    @cached_property
    def context_free_violation(self) -> ProtocolViolation | None:
        """What `check_block_contents` finds, found once for all nodes that share the block."""
        try:
            check_block_contents(self)
        except ProtocolViolation as violation:
            return violation
        return None

    def __str__(self) -> str:
        return f"{self.header}, {len(self.transactions)} transactions"


def parse_block(data: bytes) -> Block:
    """Read a block that fills the bytes exactly.

    Raises
    ------
    ProtocolViolation
        For anything else.
    """
    reader = ByteReader(data)
    header = read_header(reader)
    count = reader.count(TRANSACTION_SIZE_BYTES_MIN)
    transactions = tuple(read_transaction(reader) for _ in range(count))
    reader.finish()
    return Block(header, transactions)


def check_block(block: Block, *, target_max: int) -> None:
    """Proof of work and everything else that needs no chain (Bitcoin Core, CheckBlock).

    Parameters
    ----------
    block : Block
        From a peer.
    target_max : int
        Easiest target of the network.

    Raises
    ------
    ProtocolViolation
        With Bitcoin Core's reject name.
    """
    check_proof_of_work(block.header, target_max=target_max)
    if block.context_free_violation is not None:
        raise block.context_free_violation.with_traceback(None)


def check_block_contents(block: Block) -> None:
    """The part of `check_block` that is about the transactions.

    Raises
    ------
    ProtocolViolation
        With Bitcoin Core's reject name.
    """
    if block.merkle.root != block.header.merkle_root:
        raise ProtocolViolation("bad-txnmrklroot")
    if block.merkle.has_duplicate_pair:
        raise ProtocolViolation("bad-txns-duplicate")
    transactions = block.transactions
    is_too_long = len(transactions) * WITNESS_SCALE > WEIGHT_MAX
    if not transactions or is_too_long or block.base_size_bytes > BLOCK_SIZE_BYTES_MAX:
        raise ProtocolViolation("bad-blk-length", f"{block.base_size_bytes} bytes")
    if not transactions[0].is_coinbase:
        raise ProtocolViolation("bad-cb-missing")
    if any(transaction.is_coinbase for transaction in transactions[1:]):
        raise ProtocolViolation("bad-cb-multiple")
    for transaction in transactions:
        check_transaction(transaction)
    count = sum(transaction.signature_operations for transaction in transactions)
    if count * WITNESS_SCALE > SIGNATURE_OPERATION_COST_MAX:
        raise ProtocolViolation("bad-blk-sigops")


def height_script(height: int) -> bytes:
    """How a coinbase script starts: its height as a script number (BIP 34)."""
    return push_number(height)


def check_coinbase_height(block: Block, height: int) -> None:
    """The coinbase states the block's height, so that no two coinbases are equal (BIP 34).

    Raises
    ------
    ProtocolViolation
        `bad-cb-height`.
    """
    if not block.coinbase.inputs[0].script_sig.startswith(height_script(height)):
        raise ProtocolViolation("bad-cb-height", f"height {height} expected")


def witness_root(transactions: tuple[Transaction, ...]) -> bytes:
    """Root over the witness identities; the coinbase, which holds it, counts as zero."""
    return merkle_root([NULL_ID, *(item.witness_id for item in transactions[1:])]).root


def commitment_output(transactions: tuple[Transaction, ...], reserved: bytes) -> TransactionOutput:
    """The coinbase output that commits to the witnesses of these transactions."""
    digest = sha256d(witness_root(transactions) + reserved)
    return TransactionOutput(0, COMMITMENT_HEADER + digest)


def check_witness_commitment(block: Block) -> None:
    """Witnesses are committed to, and there are none without a commitment (BIP 141).

    Raises
    ------
    ProtocolViolation
        `bad-witness-nonce-size`, `bad-witness-merkle-match` or `unexpected-witness`.
    """
    commitment = None
    for output in block.coinbase.outputs:
        script = output.script_pubkey
        if len(script) >= COMMITMENT_SIZE_BYTES_MIN and script.startswith(COMMITMENT_HEADER):
            commitment = script[6:38]  # The last one counts.
    if commitment is None:
        if any(transaction.has_witness for transaction in block.transactions):
            raise ProtocolViolation("unexpected-witness")
        return
    witness = block.coinbase.inputs[0].witness
    if len(witness) != 1 or len(witness[0]) != 32:
        raise ProtocolViolation("bad-witness-nonce-size")
    if sha256d(witness_root(block.transactions) + witness[0]) != commitment:
        raise ProtocolViolation("bad-witness-merkle-match")
