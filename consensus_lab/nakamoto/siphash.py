"""SipHash-2-4: a fast hash under a secret of 16 bytes, too short to forge identities with.

Rules of this file: the function alone.

Theory of operation (Aumasson & Bernstein 2012).  Four words of 64 bits are set from the key; each
eight bytes of input are mixed in by two rounds, the last ones carry the length in their top byte,
and four more rounds finish.  Compact blocks name transactions by it (BIP 152): who does not know
the key before the block is found cannot prepare two transactions with one short name.
"""

from __future__ import annotations

WORD_BITS = 64
WORD_BYTES = 8
MASK = (1 << WORD_BITS) - 1
INITIAL = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)
"""The constants of the paper, section 2.1: "somepseudorandomlygeneratedbytes"."""


def siphash(k0: int, k1: int, data: bytes) -> int:
    """SipHash-2-4 of some bytes.

    Parameters
    ----------
    k0, k1 : int
        The key as two little-endian words.
    data : bytes
        The input.

    Returns
    -------
    int
        64 bits.

    Examples
    --------
    The paper's own example (appendix A):

    >>> f"{siphash(0x0706050403020100, 0x0F0E0D0C0B0A0908, bytes(range(15))):016x}"
    'a129ca6149be45e5'
    """
    state = (INITIAL[0] ^ k0, INITIAL[1] ^ k1, INITIAL[2] ^ k0, INITIAL[3] ^ k1)
    whole = len(data) - len(data) % WORD_BYTES
    for place in range(0, whole, WORD_BYTES):
        state = _mixed(state, int.from_bytes(data[place : place + WORD_BYTES], "little"))
    last = int.from_bytes(data[whole:], "little") | (len(data) & 0xFF) << 56
    v0, v1, v2, v3 = _mixed(state, last)
    state = (v0, v1, v2 ^ 0xFF, v3)
    for _ in range(4):
        state = _round(*state)
    v0, v1, v2, v3 = state
    return v0 ^ v1 ^ v2 ^ v3


def _mixed(state: tuple[int, int, int, int], word: int) -> tuple[int, int, int, int]:
    """One word of input: two rounds."""
    v0, v1, v2, v3 = state
    v0, v1, v2, v3 = _round(*_round(v0, v1, v2, v3 ^ word))
    return v0 ^ word, v1, v2, v3


def _round(v0: int, v1: int, v2: int, v3: int) -> tuple[int, int, int, int]:
    """Additions, rotations and exclusive ors (section 2.1, figure 2.1)."""
    v0 = (v0 + v1) & MASK
    v1 = (v1 << 13 & MASK | v1 >> 51) ^ v0
    v0 = v0 << 32 & MASK | v0 >> 32
    v2 = (v2 + v3) & MASK
    v3 = (v3 << 16 & MASK | v3 >> 48) ^ v2
    v0 = (v0 + v3) & MASK
    v3 = (v3 << 21 & MASK | v3 >> 43) ^ v0
    v2 = (v2 + v1) & MASK
    v1 = (v1 << 17 & MASK | v1 >> 47) ^ v2
    v2 = v2 << 32 & MASK | v2 >> 32
    return v0, v1, v2, v3
