"""Keys and signatures: who may spend a coin is who can sign for its key (ECDSA over secp256k1).

Rules of this file: the curve itself is coincurve's (Bitcoin Core's libsecp256k1); what Bitcoin
says about encodings, low s and nonces is written here.

Theory of operation.  A private key is a number below the order n of the curve, a public key the
point that it names.  A signature is a pair (r, s).  Whoever flips s to n - s has another valid
signature of the same message, so signers always choose the lower one (BIP 146, rule LOW_S); the
chain accepts both.  The nonce of a signature must never repeat: it is derived from the key and
the message (RFC 6979), so that signing is deterministic and needs no random source.  Since BIP 66
a signature must be in strict DER: exactly one byte string for each (r, s).  Older blocks hold
signatures that OpenSSL's sloppy parser accepted; `parse_der_lax` reads those.
"""

from __future__ import annotations

import hmac
from functools import lru_cache
from typing import NamedTuple

import coincurve

from consensus_lab.nakamoto.encoding import sha256
from consensus_lab.node import ParameterError

CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""Order n of the secp256k1 group (SEC 2, version 2, section 2.4.1)."""

HALF_CURVE_ORDER = CURVE_ORDER // 2
"""Largest s that counts as low."""

PUBLIC_KEY_CACHE_KEYS_MAX = 4096
VERIFY_CACHE_SIGNATURES_MAX = 1 << 16
"""Verifying is a pure function, so its results are remembered, as Bitcoin Core does too."""


class Signature(NamedTuple):
    """An ECDSA signature as two numbers."""

    r: int
    s: int


def check_private_key(private_key: bytes) -> None:
    """Insist on a number from 1 to n - 1 in 32 bytes.

    Raises
    ------
    ParameterError
        When it is not.
    """
    is_in_range = 0 < int.from_bytes(private_key, "big") < CURVE_ORDER
    if len(private_key) != 32 or not is_in_range:
        # A key is a secret: the message names its length only.
        raise ParameterError("private_key", f"{len(private_key)} bytes", "32 bytes, 0 < key < n")


def public_key(private_key: bytes, *, compressed: bool = True) -> bytes:
    """The public key of a private key: 33 bytes compressed, else 65.

    >>> public_key((1).to_bytes(32, "big")).hex()
    '0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798'
    """
    check_private_key(private_key)
    return coincurve.PrivateKey(private_key).public_key.format(compressed=compressed)


def sign(private_key: bytes, digest: bytes) -> bytes:
    """Sign a 32-byte digest: RFC 6979 nonce, low s, strict DER, the same bytes every time.

    Parameters
    ----------
    private_key : bytes
        32 bytes, big-endian.
    digest : bytes
        32 bytes that are signed as they are.

    Returns
    -------
    bytes
        The signature in DER, without a hash type.
    """
    check_private_key(private_key)
    if len(digest) != 32:
        raise ParameterError("digest", f"{len(digest)} bytes", "32 bytes long")
    signature = coincurve.PrivateKey(private_key).sign(digest, hasher=None)
    assert is_low_s(signature), "libsecp256k1 signs with low s"
    return signature


def deterministic_nonce(private_key: bytes, digest: bytes) -> int:
    """The nonce k that RFC 6979 section 3.2 derives, as an integer; for tests and teaching.

    `sign` lets the curve library do the same; knowing k and one signature gives the key away.
    """
    check_private_key(private_key)
    digest = (int.from_bytes(digest, "big") % CURVE_ORDER).to_bytes(32, "big")
    value, key = b"\x01" * 32, b"\x00" * 32
    for separator in (b"\x00", b"\x01"):
        key = hmac.digest(key, value + separator + private_key + digest, "sha256")
        value = hmac.digest(key, value, "sha256")
    while True:
        value = hmac.digest(key, value, "sha256")
        nonce = int.from_bytes(value, "big")
        if 0 < nonce < CURVE_ORDER:
            return nonce
        key = hmac.digest(key, value + b"\x00", "sha256")
        value = hmac.digest(key, value, "sha256")


@lru_cache(maxsize=PUBLIC_KEY_CACHE_KEYS_MAX)
def _curve_point(public_key_bytes: bytes) -> coincurve.PublicKey | None:
    """The point of an encoded public key, or None when the bytes are not on the curve."""
    try:
        return coincurve.PublicKey(public_key_bytes)
    except ValueError:
        return None


def is_public_key(public_key_bytes: bytes) -> bool:
    """Do the bytes encode a point of the curve (compressed, uncompressed or hybrid)?"""
    return _curve_point(public_key_bytes) is not None


@lru_cache(maxsize=VERIFY_CACHE_SIGNATURES_MAX)
def verify(public_key_bytes: bytes, signature: Signature, digest: bytes) -> bool:
    """Does the signature belong to this key and digest?  High and low s alike (consensus).

    Parameters
    ----------
    public_key_bytes : bytes
        33 bytes compressed or 65 uncompressed.
    signature : Signature
        As parsed by `parse_der_strict` or `parse_der_lax`.
    digest : bytes
        32 bytes.
    """
    point = _curve_point(public_key_bytes)
    if point is None:
        return False
    r, s = signature
    if not (0 < r < CURVE_ORDER and 0 < s < CURVE_ORDER):
        return False
    # libsecp256k1 verifies low s only; (r, n - s) verifies exactly when (r, s) does.
    return point.verify(encode_der(Signature(r, min(s, CURVE_ORDER - s))), digest, hasher=None)


def encode_der(signature: Signature) -> bytes:
    """Strict DER of a signature (ITU-T X.690, BIP 66).

    >>> encode_der(Signature(1, 255)).hex()
    '3007020101020200ff'
    """
    body = b"".join(_encode_der_integer(value) for value in signature)
    return b"\x30" + bytes((len(body),)) + body


def _encode_der_integer(value: int) -> bytes:
    """One DER integer: as short as it can be, with a zero byte where the top bit would be set."""
    data = value.to_bytes(value.bit_length() // 8 + 1, "big")
    return b"\x02" + bytes((len(data),)) + data


def is_strict_der(signature: bytes) -> bool:
    """Is this byte for byte the DER of a signature?  Says nothing about its range (BIP 66).

    >>> is_strict_der(bytes.fromhex("3007020101020200ff"))
    True
    >>> is_strict_der(bytes.fromhex("300802020001020200ff"))  # A zero byte too many.
    False
    """
    # 0x30 [total] 0x02 [length of r] [r] 0x02 [length of s] [s], both positive and without padding.
    if not 8 <= len(signature) <= 72:
        return False
    if signature[0] != 0x30 or signature[1] != len(signature) - 2:
        return False
    r_size = signature[3]
    if 5 + r_size >= len(signature):
        return False
    s_size = signature[5 + r_size]
    if r_size + s_size + 6 != len(signature):
        return False
    return _is_strict_integer(signature, 2, r_size) and _is_strict_integer(
        signature, 4 + r_size, s_size
    )


def _is_strict_integer(signature: bytes, start: int, size: int) -> bool:
    """Is there a DER integer, not negative and not padded, at this place?"""
    if signature[start] != 0x02 or size == 0:
        return False
    first = signature[start + 2]
    if first & 0x80:
        return False
    is_padded = size > 1 and first == 0 and not signature[start + 3] & 0x80
    return not is_padded


def parse_der_strict(signature: bytes) -> Signature | None:
    """The numbers of a strict DER signature, or None (BIP 66)."""
    if not is_strict_der(signature):
        return None
    r_size = signature[3]
    r = int.from_bytes(signature[4 : 4 + r_size], "big")
    return Signature(r, int.from_bytes(signature[6 + r_size :], "big"))


def parse_der_lax(signature: bytes) -> Signature | None:
    """The numbers of a signature as OpenSSL before 1.0.1k read it, or None (history before BIP 66).

    Lengths may be written long, integers may be padded or look negative, and what follows s is
    ignored, as does the outer length.  A number too large to be one of the curve reads as zero.
    """
    # Layout as in `is_strict_der`; only the tags and the inner lengths are believed.
    if len(signature) < 2 or signature[0] != 0x30:
        return None
    position = _skip_outer_length(signature)
    if position is None:
        return None
    numbers: list[int] = []
    for _ in range(2):
        if position >= len(signature) or signature[position] != 0x02:
            return None
        span = _lax_length(signature, position + 1)
        if span is None:
            return None
        start, size = span
        if size > len(signature) - start:
            return None
        numbers.append(int.from_bytes(signature[start : start + size], "big"))
        position = start + size
    is_too_large = any(number >= CURVE_ORDER for number in numbers)
    return Signature(0, 0) if is_too_large else Signature(numbers[0], numbers[1])


def _skip_outer_length(signature: bytes) -> int | None:
    """Where the content of the sequence starts; its length itself is not looked at."""
    extra = signature[1] - 0x80 if signature[1] & 0x80 else 0
    return 2 + extra if extra <= len(signature) - 2 else None


def _lax_length(signature: bytes, position: int) -> tuple[int, int] | None:
    """Start and size of a value whose length stands here, in short or long form."""
    if position >= len(signature):
        return None
    first = signature[position]
    position += 1
    if not first & 0x80:
        return position, first
    extra = first - 0x80
    if extra > len(signature) - position:
        return None
    size = int.from_bytes(signature[position : position + extra], "big")
    return position + extra, size


def is_low_s(signature: bytes) -> bool:
    """Is this strict DER with the lower of the two possible s (policy LOW_S, BIP 146)?"""
    numbers = parse_der_strict(signature)
    return numbers is not None and numbers.s <= HALF_CURVE_ORDER


def verify_der(public_key_bytes: bytes, signature: bytes, message: bytes) -> bool:
    """Verify a message in today's strict form: hash once with SHA-256, strict DER, low s."""
    numbers = parse_der_strict(signature)
    if numbers is None or numbers.s > HALF_CURVE_ORDER:
        return False
    return verify(public_key_bytes, numbers, sha256(message))


def verify_schnorr(x_only_key: bytes, signature: bytes, message: bytes) -> bool:
    """Verify a BIP 340 signature; False for any input that is not one."""
    try:
        return coincurve.PublicKeyXOnly(x_only_key).verify(signature, message)
    except ValueError:
        return False


def sign_schnorr(private_key: bytes, message: bytes, *, auxiliary: bytes) -> bytes:
    """BIP 340 signature of a 32-byte message with 32 bytes of auxiliary randomness."""
    check_private_key(private_key)
    if len(auxiliary) != 32 or len(message) != 32:
        sizes = f"{len(message)} and {len(auxiliary)} bytes"
        raise ParameterError("message and auxiliary", sizes, "32 bytes each")
    return coincurve.PrivateKey(private_key).sign_schnorr(message, auxiliary)
