"""What nodes say to each other about blocks, with the sizes of Bitcoin's wire protocol.

Sizes follow the protocol documentation: every message has a 24-byte header; an inventory entry
has 36 bytes after a one-byte count; a header in a `headers` message has 81 (its 80 and an empty
transaction count); a compact block has the header, a nonce, 6 bytes per transaction and the
coinbase (BIP 152).
"""

from __future__ import annotations

from typing import NamedTuple

from consensus_lab.nakamoto.abstract_block import AbstractBlock

MESSAGE_HEADER_BYTES = 24
"""Magic, command, length and checksum before every message."""

INVENTORY_BYTES = MESSAGE_HEADER_BYTES + 1 + 36
"""An `inv` or `getdata` with one entry: a count, a type of 4 bytes and a hash of 32 bytes."""

HEADERS_BYTES = MESSAGE_HEADER_BYTES + 1 + 81
"""A `headers` message with one header."""

LOCATOR_FIXED_BYTES = MESSAGE_HEADER_BYTES + 4 + 1 + 32
"""A `getblocks` or `getheaders` without its locator: version, count, the hash to stop at."""

HASH_BYTES = 32

BRANCH_FIXED_BYTES = MESSAGE_HEADER_BYTES + 3
"""An `inv` or `headers` message without its entries."""

INVENTORY_ENTRY_BYTES, HEADER_ENTRY_BYTES = 36, 81
"""An entry of these messages."""

SEND_COMPACT_BYTES = MESSAGE_HEADER_BYTES + 1 + 8
"""A `sendcmpct`: a flag and a version (BIP 152)."""

COMPACT_FIXED_BYTES = MESSAGE_HEADER_BYTES + 80 + 8 + 3 + 1 + 250
"""A `cmpctblock` without its short ids: header, nonce, two counts, a coinbase of some 250."""

SHORT_ID_BYTES = 6
"""Per transaction of a compact block (BIP 152)."""

GET_TRANSACTIONS_BYTES = MESSAGE_HEADER_BYTES + 32 + 1 + 64
"""A `getblocktxn`: the block's hash, a count, and room for some sixty one-byte indices."""

TRANSACTIONS_FIXED_BYTES = MESSAGE_HEADER_BYTES + 32 + 3
"""A `blocktxn` without its transactions."""


def compact_bytes(block_size_bytes: int, transaction_bytes: int) -> int:
    """Size of a block's compact form on the wire, given the mean size of a transaction."""
    return COMPACT_FIXED_BYTES + SHORT_ID_BYTES * (block_size_bytes // transaction_bytes)


def locator_bytes(height: int) -> int:
    """Size of a request for what follows a chain of that height.

    Its locator has the last ten hashes, then every second, fourth, ... one (Bitcoin Core,
    LocatorEntries).
    """
    hashes, below = min(height + 1, 10), height - 9
    while below > 0:
        hashes += 1
        below >>= 1
    return LOCATOR_FIXED_BYTES + HASH_BYTES * hashes


class Inv(NamedTuple):
    """I have this block."""

    number: int

    @property
    def kind(self) -> str:
        """Name in traces."""
        return "inv"

    @property
    def size_bytes(self) -> int:
        """One inventory entry."""
        return INVENTORY_BYTES

    @property
    def identity(self) -> int:
        """The block that this is about."""
        return self.number


class Headers(NamedTuple):
    """I have the block with this header."""

    block: AbstractBlock

    @property
    def kind(self) -> str:
        """Name in traces."""
        return "headers"

    @property
    def size_bytes(self) -> int:
        """One header."""
        return HEADERS_BYTES

    @property
    def identity(self) -> int:
        """The block that this is about."""
        return self.block.number


class GetData(NamedTuple):
    """Send me this block, whole or compact."""

    number: int
    compact: bool = False

    @property
    def kind(self) -> str:
        """Name in traces."""
        return "getdata"

    @property
    def size_bytes(self) -> int:
        """One inventory entry."""
        return INVENTORY_BYTES

    @property
    def identity(self) -> int:
        """The block that this is about."""
        return self.number


class GetBlocks(NamedTuple):
    """My best chain is this: what do you have beyond it?

    Attributes
    ----------
    chain : tuple of int
        The numbers of its blocks, tip first.  On the wire it is a locator: the last ten hashes,
        then ever fewer.
    """

    chain: tuple[int, ...]

    @property
    def kind(self) -> str:
        """Name in traces."""
        return "getblocks"

    @property
    def size_bytes(self) -> int:
        """A locator for that height."""
        return locator_bytes(len(self.chain) - 1)

    @property
    def identity(self) -> int:
        """The tip that this is about."""
        return self.chain[0]


class Branch(NamedTuple):
    """These blocks are on my best chain and not on yours, lowest first.

    Bitcoin sends them as an `inv` of hashes or as `headers`; one message, however many there are.
    """

    blocks: tuple[AbstractBlock, ...]
    entry_bytes: int

    @property
    def kind(self) -> str:
        """Name in traces."""
        return "branch"

    @property
    def size_bytes(self) -> int:
        """An entry per block."""
        return BRANCH_FIXED_BYTES + self.entry_bytes * len(self.blocks)

    @property
    def identity(self) -> int:
        """The tip that this is about."""
        return self.blocks[-1].number


class BlockMessage(NamedTuple):
    """Here is the whole block."""

    block: AbstractBlock

    @property
    def kind(self) -> str:
        """Name in traces."""
        return "block"

    @property
    def size_bytes(self) -> int:
        """The block and the message header."""
        return MESSAGE_HEADER_BYTES + self.block.size_bytes

    @property
    def identity(self) -> int:
        """The block that this is about."""
        return self.block.number


class CompactBlock(NamedTuple):
    """Here is the block as short ids; you have most of its transactions already."""

    block: AbstractBlock
    size_bytes: int
    by_overlay: bool = False

    @property
    def kind(self) -> str:
        """Name in traces."""
        return "cmpctblock"

    @property
    def identity(self) -> int:
        """The block that this is about."""
        return self.block.number


class GetTransactions(NamedTuple):
    """I lack some transactions of this compact block."""

    number: int

    @property
    def kind(self) -> str:
        """Name in traces."""
        return "getblocktxn"

    @property
    def size_bytes(self) -> int:
        """A hash and some indices."""
        return GET_TRANSACTIONS_BYTES

    @property
    def identity(self) -> int:
        """The block that this is about."""
        return self.number


class Transactions(NamedTuple):
    """Here are the transactions that you lacked."""

    block: AbstractBlock
    size_bytes: int
    by_overlay: bool = False

    @property
    def kind(self) -> str:
        """Name in traces."""
        return "blocktxn"

    @property
    def identity(self) -> int:
        """The block that this is about."""
        return self.block.number


class SendCompact(NamedTuple):
    """From now on send me compact blocks unasked (high bandwidth), or no longer."""

    is_wanted: bool
    number: int

    @property
    def kind(self) -> str:
        """Name in traces."""
        return "sendcmpct"

    @property
    def size_bytes(self) -> int:
        """A flag and a version."""
        return SEND_COMPACT_BYTES

    @property
    def identity(self) -> int:
        """The block whose arrival made the node ask."""
        return self.number
