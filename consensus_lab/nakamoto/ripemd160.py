"""RIPEMD-160: the second hash of an address (Dobbertin, Bosselaers, Preneel 1996).

Rules of this file: standard library only.  `hashlib` is used where its OpenSSL still offers the
function; several OpenSSL 3 builds have moved it to a provider that is not loaded, so a plain
version stands beside it.

Theory of operation.  Two lines of 80 steps run over the same 64-byte block, the left and the
right, with different word orders, rotations and constants; their results are added crosswise
into the five-word state.  Padding is that of MD4: one bit, zeros, the length in bits as 64-bit
little-endian.
"""

from __future__ import annotations

import hashlib
import struct

_MASK = 0xFFFFFFFF
_INITIAL = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0)
_CONSTANTS_LEFT = (0x00000000, 0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xA953FD4E)
_CONSTANTS_RIGHT = (0x50A28BE6, 0x5C4DD124, 0x6D703EF3, 0x7A6D76E9, 0x00000000)

# In round k a word's index has gone k times through rho; the left line starts with the words in
# order, the right line with pi(i) = 9 i + 5 mod 16 (specification, selection of message word).
_RHO = (7, 4, 13, 1, 10, 6, 15, 3, 12, 0, 9, 5, 2, 14, 11, 8)
_WORDS_LEFT_FIRST = tuple(range(16))
_WORDS_RIGHT_FIRST = tuple((9 * i + 5) % 16 for i in range(16))
# Rotation by round and word index, the same for both lines.
_SHIFTS = (
    (11, 14, 15, 12, 5, 8, 7, 9, 11, 13, 14, 15, 6, 7, 9, 8),
    (12, 13, 11, 15, 6, 9, 9, 7, 12, 15, 11, 13, 7, 8, 7, 7),
    (13, 15, 14, 11, 7, 7, 6, 8, 13, 14, 13, 12, 5, 5, 6, 9),
    (14, 11, 12, 14, 8, 6, 5, 5, 15, 12, 15, 14, 9, 9, 8, 6),
    (15, 12, 13, 13, 9, 5, 8, 6, 14, 11, 12, 11, 8, 6, 5, 5),
)


def _mix(function: int, x: int, y: int, z: int) -> int:
    """The bitwise function of a round; the right line uses them in the opposite order."""
    if function == 0:
        return x ^ y ^ z
    if function == 1:
        return (x & y) | (~x & z)
    if function == 2:
        return (x | ~y) ^ z
    if function == 3:
        return (x & z) | (y & ~z)
    return x ^ (y | ~z)


def _rotate(value: int, count: int) -> int:
    """Rotate a 32-bit word to the left."""
    value &= _MASK
    return ((value << count) | (value >> (32 - count))) & _MASK


def _line(state: tuple[int, ...], block: tuple[int, ...], *, is_left: bool) -> tuple[int, ...]:
    """Run one of the two lines of 80 steps."""
    a, b, c, d, e = state
    words = _WORDS_LEFT_FIRST if is_left else _WORDS_RIGHT_FIRST
    for round_number in range(5):
        function = round_number if is_left else 4 - round_number
        constant = (_CONSTANTS_LEFT if is_left else _CONSTANTS_RIGHT)[round_number]
        for word in words:
            total = a + _mix(function, b, c, d) + block[word] + constant
            a, b, c, d, e = e, _rotate(total, _SHIFTS[round_number][word]) + e, b, _rotate(c, 10), d
            b &= _MASK
        words = tuple(_RHO[word] for word in words)
    return a, b, c, d, e


def ripemd160_plain(data: bytes) -> bytes:
    """RIPEMD-160 without a library.

    >>> ripemd160_plain(b"abc").hex()
    '8eb208f7e05d987a9b044a8e98c6b087f15a0bfc'
    """
    padded = data + b"\x80" + bytes((55 - len(data)) % 64) + struct.pack("<Q", 8 * len(data))
    state: tuple[int, ...] = _INITIAL
    for start in range(0, len(padded), 64):
        block = struct.unpack_from("<16I", padded, start)
        left = _line(state, block, is_left=True)
        right = _line(state, block, is_left=False)
        state = tuple(
            (state[(i + 1) % 5] + left[(i + 2) % 5] + right[(i + 3) % 5]) & _MASK for i in range(5)
        )
    return struct.pack("<5I", *state)


def _has_library() -> bool:
    """Does this interpreter's OpenSSL offer the function?"""
    try:
        hashlib.new("ripemd160")
    except ValueError:
        return False
    return True


_HAS_LIBRARY = _has_library()


def ripemd160(data: bytes) -> bytes:
    """RIPEMD-160, 20 bytes.

    >>> ripemd160(b"").hex()
    '9c1185a5c5e9fc54612808977ee8f548b2258d31'
    """
    return hashlib.new("ripemd160", data).digest() if _HAS_LIBRARY else ripemd160_plain(data)
