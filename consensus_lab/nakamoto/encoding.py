"""Encoding: how Bitcoin writes integers, lists and hashes as bytes, and reads them safely.

Rules of this file: no other module of this folder is imported here; every byte that is read comes
from an untrusted peer, so reading never fails with anything but a `ProtocolViolation`.

Theory of operation.  All integers are little-endian.  A count or length is a *compact size*: one
byte below 253, else a marker byte and 2, 4 or 8 bytes; only the shortest form is allowed.  A hash
is 32 bytes as SHA-256 gives them ("wire order"); people and block explorers read the same bytes
reversed, as hexadecimal, because a proof of work then starts with zeros.  Inside this package an
identity is always the 32 bytes in wire order; `display_id` and `parse_id` convert at the edges.
"""

from __future__ import annotations

import hashlib
import struct

from consensus_lab.nakamoto.ripemd160 import ripemd160
from consensus_lab.node import ProtocolViolation

COMPACT_SIZE_MAX = 0x02000000
"""Largest count or length that a reader believes, in elements or bytes (Bitcoin Core, MAX_SIZE)."""

HASH_SIZE_BYTES = 32
NULL_ID = bytes(HASH_SIZE_BYTES)
"""The identity of nothing: the parent of a genesis block, the coin that a coinbase spends."""


def sha256(data: bytes) -> bytes:
    """SHA-256 (FIPS 180-4).

    One more character gives an entirely different digest, so mining is search, not steering:

    >>> sha256(b"hello").hex().upper()
    '2CF24DBA5FB0A30E26E83B2AC5B9E29E1B161E5C1FA7425E73043362938B9824'
    >>> sha256(b"hello.").hex().upper()
    '1589999B0CA6EF8814283026A9F166D51C70A910671C3D44049755F07F2EB910'
    """
    return hashlib.sha256(data).digest()


def sha256d(data: bytes) -> bytes:
    """SHA-256 of the SHA-256: names blocks and transactions, and measures proof of work."""
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def hash160(data: bytes) -> bytes:
    """RIPEMD-160 of the SHA-256: the 20 bytes that stand for a key or a script in an address."""
    return ripemd160(hashlib.sha256(data).digest())


def display_id(identity: bytes) -> str:
    """Hexadecimal form of a block or transaction identity as people read it, bytes reversed."""
    return identity[::-1].hex()


def parse_id(text: str) -> bytes:
    """Wire bytes of an identity in displayed hexadecimal; the inverse of `display_id`."""
    try:
        identity = bytes.fromhex(text)[::-1]
    except ValueError as error:
        raise ProtocolViolation("bad-identity", "an identity is 64 hexadecimal digits") from error
    if len(identity) != HASH_SIZE_BYTES:
        raise ProtocolViolation("bad-identity", f"{len(identity)} bytes instead of 32")
    return identity


def parse_hex(text: str) -> bytes:
    """Bytes of a hexadecimal text.

    Raises
    ------
    ProtocolViolation
        `bad-hexadecimal` when the text is anything else.
    """
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise ProtocolViolation("bad-hexadecimal", str(error)) from error


def compact_size(count: int) -> bytes:
    """Write a count or length in its shortest form.

    >>> compact_size(252).hex(), compact_size(253).hex(), compact_size(65536).hex()
    ('fc', 'fdfd00', 'fe00000100')
    """
    assert 0 <= count < 1 << 64
    if count < 0xFD:
        return bytes((count,))
    if count <= 0xFFFF:
        return b"\xfd" + struct.pack("<H", count)
    if count <= 0xFFFFFFFF:
        return b"\xfe" + struct.pack("<I", count)
    return b"\xff" + struct.pack("<Q", count)


def var_bytes(data: bytes) -> bytes:
    """Write a byte string with its length in front."""
    return compact_size(len(data)) + data


class ByteReader:
    """Reads fields one after the other and refuses to read past the end.

    Parameters
    ----------
    data : bytes
        Untrusted input.
    """

    __slots__ = ("data", "position")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def read(self, size_bytes: int) -> bytes:
        """The next bytes.

        Raises
        ------
        ProtocolViolation
            `truncated` when fewer are left.
        """
        end = self.position + size_bytes
        if end > len(self.data):
            raise ProtocolViolation("truncated", f"{size_bytes} bytes wanted, {self.left} left")
        piece = self.data[self.position : end]
        self.position = end
        return piece

    @property
    def left(self) -> int:
        """How many bytes have not been read yet."""
        return len(self.data) - self.position

    def _integer(self, layout: struct.Struct) -> int:
        """One integer in the given layout."""
        end = self.position + layout.size
        if end > len(self.data):
            raise ProtocolViolation("truncated", f"{layout.size} bytes wanted, {self.left} left")
        value: int = layout.unpack_from(self.data, self.position)[0]
        self.position = end
        return value

    def u8(self) -> int:
        """One unsigned byte."""
        return self._integer(_U8)

    def u32(self) -> int:
        """Unsigned, four bytes."""
        return self._integer(_U32)

    def i32(self) -> int:
        """Signed, four bytes."""
        return self._integer(_I32)

    def i64(self) -> int:
        """Signed, eight bytes."""
        return self._integer(_I64)

    def compact_size(self) -> int:
        """A count or length.

        Raises
        ------
        ProtocolViolation
            `non-canonical-size` for a form that is longer than needed, `oversized` above 32 MiB.
        """
        first = self._integer(_U8)
        if first < 0xFD:
            return first
        layout, smallest = _COMPACT_FORMS[first]
        value = self._integer(layout)
        if value < smallest:
            raise ProtocolViolation("non-canonical-size", f"{value} written in a longer form")
        if value > COMPACT_SIZE_MAX:
            raise ProtocolViolation("oversized", f"a size of {value}")
        return value

    def count(self, element_size_bytes_min: int) -> int:
        """A count of elements that can still fit into what is left; bounds memory before reading.

        Raises
        ------
        ProtocolViolation
            `truncated` when so many elements of that least size cannot follow.
        """
        value = self.compact_size()
        if value * element_size_bytes_min > self.left:
            raise ProtocolViolation("truncated", f"{value} elements announced, {self.left} bytes")
        return value

    def var_bytes(self) -> bytes:
        """A byte string with its length in front."""
        return self.read(self.compact_size())

    def finish(self) -> None:
        """Insist that everything was read.

        Raises
        ------
        ProtocolViolation
            `trailing-bytes` when something is left.
        """
        if self.left:
            raise ProtocolViolation("trailing-bytes", f"{self.left} bytes after the end")


_U8 = struct.Struct("<B")
_U32 = struct.Struct("<I")
_I32 = struct.Struct("<i")
_I64 = struct.Struct("<q")
_COMPACT_FORMS = {
    0xFD: (struct.Struct("<H"), 0xFD),
    0xFE: (_U32, 0x10000),
    0xFF: (struct.Struct("<Q"), 0x100000000),
}
