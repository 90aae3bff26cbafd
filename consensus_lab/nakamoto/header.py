"""Block header: 80 bytes that carry the proof of work and the link to the block before.

Rules of this file: integers only; what is checked here needs the header and its ancestors' times.

Theory of operation.  The double SHA-256 of the 80 bytes names the block; read as a little-endian
number it must not exceed the *target*.  The header states the target in four bytes, `nbits`: one
byte of size and three of mantissa, a floating-point number with base 256.  A header that meets its
target took 2^256 / (target + 1) hashes on average: its *work*.  A block's time must lie above the
median of the 11 blocks before it, and at most two hours ahead of the clock of who checks it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from consensus_lab.constants import (
    FUTURE_TIME_S_MAX,
    HEADER_SIZE_BYTES,
    MEDIAN_TIME_SPAN_BLOCKS,
)
from consensus_lab.nakamoto.encoding import NULL_ID, ByteReader, display_id, sha256d
from consensus_lab.node import ProtocolViolation

DIFFICULTY_1_NBITS = 0x1D00FFFF
"""Target of the genesis block, where difficulty is 1."""

_LAYOUT = struct.Struct("<i32s32sIII")
_NBITS_CACHE_ENTRIES_MAX = 4096


@dataclass(frozen=True)
class BlockHeader:
    """A block header.

    Parameters
    ----------
    version : int
        Rules that the miner claims to know (signed, 32 bits).
    previous : bytes
        Identity of the block before.
    merkle_root : bytes
        Commits to the transactions.
    time_s : int
        Unix seconds, by the miner's clock.
    nbits : int
        The target in compact form.
    nonce : int
        What the miner varies.
    """

    version: int
    previous: bytes
    merkle_root: bytes
    time_s: int
    nbits: int
    nonce: int

    def serialize(self) -> bytes:
        """The 80 bytes."""
        return _LAYOUT.pack(
            self.version, self.previous, self.merkle_root, self.time_s, self.nbits, self.nonce
        )

    @cached_property
    def block_id(self) -> bytes:
        """Identity of the block, 32 bytes in wire order."""
        return sha256d(self.serialize())

    def __str__(self) -> str:
        return f"block {display_id(self.block_id)}"


def parse_header(data: bytes) -> BlockHeader:
    """Read 80 bytes.

    Raises
    ------
    ProtocolViolation
        For any other length.

    Examples
    --------
    >>> genesis = parse_header(bytes.fromhex("01000000" + 64 * "0" +
    ...     "3ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a" +
    ...     "29ab5f49" + "ffff001d" + "1dac2b7c"))
    >>> display_id(genesis.block_id)
    '000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f'
    """
    reader = ByteReader(data)
    header = read_header(reader)
    reader.finish()
    return header


def read_header(reader: ByteReader) -> BlockHeader:
    """Read the next 80 bytes; raises `ProtocolViolation` when there are fewer."""
    data = reader.read(HEADER_SIZE_BYTES)
    header = BlockHeader(*_LAYOUT.unpack(data))
    header.__dict__["block_id"] = sha256d(data)  # What `block_id` would compute from the fields.
    return header


def nbits_to_target(nbits: int) -> int | None:
    """The target, or None for the forms that name none (negative, zero, above 256 bits).

    >>> hex(nbits_to_target(0x1B0404CB))
    '0x404cb000000000000000000000000000000000000000000000000'
    """
    size, mantissa = nbits >> 24, nbits & 0x7FFFFF
    target = mantissa >> 8 * (3 - size) if size <= 3 else mantissa << 8 * (size - 3)
    is_negative = bool(nbits & 0x800000) and mantissa != 0
    is_possible = 0 < target < 1 << 256 and not is_negative
    return target if is_possible else None


def target_to_nbits(target: int) -> int:
    """The compact form of a target: the three highest bytes, rounded down.

    >>> hex(target_to_nbits(0xFFFF << 208))
    '0x1d00ffff'
    """
    assert 0 <= target < 1 << 256
    size = (target.bit_length() + 7) // 8
    mantissa = target << 8 * (3 - size) if size <= 3 else target >> 8 * (size - 3)
    if mantissa & 0x800000:  # The top bit is the sign.
        mantissa, size = mantissa >> 8, size + 1
    return size << 24 | mantissa


@lru_cache(maxsize=_NBITS_CACHE_ENTRIES_MAX)
def block_work(nbits: int) -> int:
    """Hashes that such a block takes on average, rounded down; 0 for an impossible target.

    >>> block_work(0x1D00FFFF)
    4295032833
    """
    target = nbits_to_target(nbits)
    return 0 if target is None else (1 << 256) // (target + 1)


def difficulty(nbits: int) -> float:
    """How many times harder than the genesis block; for display, not for consensus."""
    easiest, target = nbits_to_target(DIFFICULTY_1_NBITS), nbits_to_target(nbits)
    assert easiest is not None
    if target is None:
        raise ProtocolViolation("bad-diffbits", f"nbits {nbits:08x} name no target")
    return easiest / target


def check_proof_of_work(header: BlockHeader, *, target_max: int) -> None:
    """The hash meets the target that the header states, and that target is allowed.

    Parameters
    ----------
    header : BlockHeader
        Any header.
    target_max : int
        Easiest target of the network.

    Raises
    ------
    ProtocolViolation
        `high-hash`.
    """
    target = nbits_to_target(header.nbits)
    if target is None or target > target_max:
        raise ProtocolViolation("high-hash", f"nbits {header.nbits:08x} are not allowed")
    if int.from_bytes(header.block_id, "little") > target:
        raise ProtocolViolation("high-hash", display_id(header.block_id))


def median_time_past(times_s: Sequence[int]) -> int:
    """Median of a block's time and those of up to ten ancestors, in Unix seconds.

    Miners' clocks differ, so times run backwards now and then; their median never does.

    >>> median_time_past([5, 1, 4]), median_time_past([5, 1])
    (4, 5)
    """
    assert 1 <= len(times_s) <= MEDIAN_TIME_SPAN_BLOCKS
    return sorted(times_s)[len(times_s) // 2]


def check_time(header: BlockHeader, *, median_time_s: int, now_s: int) -> None:
    """The block's time is above the median of its ancestors and not far in the future.

    Parameters
    ----------
    header : BlockHeader
        Header to check.
    median_time_s : int
        `median_time_past` of the block before.
    now_s : int
        The checking node's clock, Unix seconds.

    Raises
    ------
    ProtocolViolation
        `time-too-old` or `time-too-new`.
    """
    if header.time_s <= median_time_s:
        raise ProtocolViolation("time-too-old", f"{header.time_s} <= {median_time_s}")
    if header.time_s > now_s + FUTURE_TIME_S_MAX:
        raise ProtocolViolation("time-too-new", f"{header.time_s - now_s} s ahead")


NO_PARENT = NULL_ID
"""What a genesis block names as the block before it."""
