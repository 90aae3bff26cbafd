"""What full nodes say to each other, and what their owners ask of them.

Rules of this file: plain values; transactions, headers and blocks travel as the bytes of the real
protocol, so that whatever a peer makes up has to be parsed.

Sizes are those of the real protocol: 24 bytes of message header, 36 per inventory item, 81 per
header (protocol documentation).  `check_shape` refuses what a real parser could not have produced.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from consensus_lab.constants import HEADER_SIZE_BYTES
from consensus_lab.node import ProtocolViolation

ENVELOPE_SIZE_BYTES = 24
ITEM_SIZE_BYTES = 36
INVENTORY_MAX = 50_000
"""Items in one inventory message (Core, MAX_INV_SZ)."""

HEADERS_MAX = 2000
"""Headers in one message (Core, MAX_HEADERS_RESULTS)."""

LOCATOR_MAX = 101
"""Identities in a locator (Core, MAX_LOCATOR_SZ)."""

PAYLOAD_SIZE_BYTES_MAX = 4_000_000
"""Core, MAX_PROTOCOL_MESSAGE_LENGTH."""


class Version(NamedTuple):
    """I am here, since `session`, and my chain is so high."""

    session: int
    height: int

    @property
    def size_bytes(self) -> int:
        """A version message with an empty user agent."""
        return ENVELOPE_SIZE_BYTES + 86


class Verack(NamedTuple):
    """I heard your `Version` of that session."""

    session: int

    @property
    def size_bytes(self) -> int:
        """The envelope alone."""
        return ENVELOPE_SIZE_BYTES


class SendCompact(NamedTuple):
    """I know compact blocks; send me new ones unasked, or only when asked (BIP 152)."""

    is_high_bandwidth: bool

    @property
    def size_bytes(self) -> int:
        """One byte for the mode, eight for the version."""
        return ENVELOPE_SIZE_BYTES + 9


class _Inventory(NamedTuple):
    transactions: tuple[bytes, ...] = ()
    blocks: tuple[bytes, ...] = ()
    compact_blocks: tuple[bytes, ...] = ()


class Inv(_Inventory):
    """I have these, by identity."""

    __slots__ = ()

    @property
    def size_bytes(self) -> int:
        """Three bytes of count at most, then the items."""
        return ENVELOPE_SIZE_BYTES + 3 + ITEM_SIZE_BYTES * sum(len(items) for items in self)


class GetData(Inv):
    """Send me these; blocks whole or in compact form."""

    __slots__ = ()


class NotFound(Inv):
    """I do not have these."""

    __slots__ = ()


class GetHeaders(NamedTuple):
    """What follows the first of these identities that is on your best chain?"""

    locator: tuple[bytes, ...]

    @property
    def size_bytes(self) -> int:
        """Version, count, identities and the (unused) place to stop."""
        return ENVELOPE_SIZE_BYTES + 37 + 32 * len(self.locator)


class Headers(NamedTuple):
    """Headers of my best chain, each the parent of the next."""

    headers: tuple[bytes, ...]

    @property
    def size_bytes(self) -> int:
        """Each with an empty count of transactions."""
        return ENVELOPE_SIZE_BYTES + 3 + (HEADER_SIZE_BYTES + 1) * len(self.headers)


class TransactionMessage(NamedTuple):
    """A serialised transaction."""

    data: bytes

    @property
    def size_bytes(self) -> int:
        """Envelope and bytes."""
        return ENVELOPE_SIZE_BYTES + len(self.data)


class BlockMessage(NamedTuple):
    """A serialised block."""

    data: bytes

    @property
    def size_bytes(self) -> int:
        """Envelope and bytes."""
        return ENVELOPE_SIZE_BYTES + len(self.data)


class CompactBlockMessage(BlockMessage):
    """A serialised compact block (`cmpctblock`)."""

    __slots__ = ()


class GetBlockTransactions(BlockMessage):
    """Which transactions of a block are lacking, serialised (`getblocktxn`)."""

    __slots__ = ()


class BlockTransactionsMessage(BlockMessage):
    """Those, serialised (`blocktxn`)."""

    __slots__ = ()


ANSWERS = (
    BlockMessage, BlockTransactionsMessage, CompactBlockMessage, NotFound, TransactionMessage,
)  # fmt: skip
"""What comes because it was asked for, if it was."""


# Commands of the owner.


class Found(NamedTuple):
    """The miner's time has come: search the proof of work of a block on the tip."""


class Pay(NamedTuple):
    """Pay from the node's wallet; answered with the txid, or the error that kept it from it."""

    request_id: Any
    payee: str | bytes
    value_satoshi: int
    fee_rate_satoshi_per_byte: int = 1


# Shapes.


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 64


def _are_identities(values: Any, *, count_max: int, size_bytes: int = 32) -> bool:
    if type(values) is not tuple or len(values) > count_max:
        return False
    return all(type(item) is bytes and len(item) == size_bytes for item in values)


def _is_inventory(message: Any) -> bool:
    """Not more than allowed in all; only a request names compact blocks."""
    left = INVENTORY_MAX if type(message) is GetData else 0
    if not _are_identities(message.compact_blocks, count_max=left):
        return False
    left = INVENTORY_MAX - len(message.compact_blocks)
    if not _are_identities(message.transactions, count_max=left):
        return False
    return _are_identities(message.blocks, count_max=left - len(message.transactions))


def _is_payload(message: Any) -> bool:
    return type(message.data) is bytes and len(message.data) <= PAYLOAD_SIZE_BYTES_MAX


_SHAPES: dict[type, Callable[[Any], bool]] = {
    Version: lambda message: _is_count(message.session) and _is_count(message.height),
    Verack: lambda message: _is_count(message.session),
    SendCompact: lambda message: type(message.is_high_bandwidth) is bool,
    Inv: _is_inventory,
    GetData: _is_inventory,
    NotFound: _is_inventory,
    GetHeaders: lambda message: _are_identities(message.locator, count_max=LOCATOR_MAX),
    Headers: lambda message: _are_identities(
        message.headers, count_max=HEADERS_MAX, size_bytes=HEADER_SIZE_BYTES
    ),
    TransactionMessage: _is_payload,
    BlockMessage: _is_payload,
    CompactBlockMessage: _is_payload,
    GetBlockTransactions: _is_payload,
    BlockTransactionsMessage: _is_payload,
}


def check_shape(message: Any) -> None:
    """A message is of a known kind, and its fields are what a parser could have read.

    Raises
    ------
    ProtocolViolation
        `malformed-message`.
    """
    is_right = _SHAPES.get(type(message))
    if is_right is None or not is_right(message):
        raise ProtocolViolation("malformed-message", type(message).__name__)


def item_count(message: Any) -> int:
    """How many things a message is about: what a rate limit charges for."""
    if isinstance(message, Inv):
        return 1 + sum(len(items) for items in message)
    return 1 + len(message.headers) // 10 if isinstance(message, Headers) else 1
