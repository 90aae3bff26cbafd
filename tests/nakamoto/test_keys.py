"""Keys: deterministic, low s when signing, high s accepted, strict and lax DER."""

from __future__ import annotations

import random

import pytest

from consensus_lab.nakamoto import keys
from consensus_lab.nakamoto.encoding import sha256
from consensus_lab.node import ParameterError

KEY = bytes(31) + b"\x05"
PUBLIC = keys.public_key(KEY)
DIGEST = sha256(b"pay")


def numbers_of(signature):
    """Both numbers of a strict signature."""
    numbers = keys.parse_der_strict(signature)
    assert numbers is not None
    return numbers


def test_signing_twice_gives_the_same_bytes_with_low_s():
    """No random source anywhere (RFC 6979), and never the malleable twin."""
    for number in range(50):
        digest = sha256(bytes((number,)))
        signature = keys.sign(KEY, digest)
        assert signature == keys.sign(KEY, digest)
        assert keys.is_low_s(signature)
        assert keys.verify(PUBLIC, numbers_of(signature), digest)


def test_the_nonce_is_the_one_that_was_used():
    """r is the x coordinate of nonce times the base point: computed, not believed."""
    for number in range(10):
        digest = sha256(bytes((number,)))
        nonce = keys.deterministic_nonce(KEY, digest)
        point = keys.public_key(nonce.to_bytes(32, "big"), compressed=False)
        x = int.from_bytes(point[1:33], "big")
        assert numbers_of(keys.sign(KEY, digest)).r == x % keys.CURVE_ORDER


def test_high_s_is_accepted_by_the_chain_and_not_by_policy():
    """(r, n - s) is as good a signature; only relaying frowns on it (BIP 146)."""
    numbers = numbers_of(keys.sign(KEY, DIGEST))
    twin = keys.Signature(numbers.r, keys.CURVE_ORDER - numbers.s)
    assert keys.verify(PUBLIC, twin, DIGEST)
    assert not keys.is_low_s(keys.encode_der(twin))
    assert not keys.verify_der(PUBLIC, keys.encode_der(twin), b"pay")


@pytest.mark.parametrize(
    "numbers",
    [(0, 1), (1, 0), (keys.CURVE_ORDER, 1), (1, keys.CURVE_ORDER), (1 << 256, 1)],
)
def test_numbers_out_of_range_never_verify(numbers):
    """Zero and the curve's order are no signature."""
    assert not keys.verify(PUBLIC, keys.Signature(*numbers), DIGEST)


def test_another_key_digest_or_number_does_not_verify():
    """Each of the three is needed."""
    numbers = numbers_of(keys.sign(KEY, DIGEST))
    assert not keys.verify(keys.public_key(bytes(31) + b"\x06"), numbers, DIGEST)
    assert not keys.verify(PUBLIC, numbers, sha256(b"pay more"))
    assert not keys.verify(PUBLIC, keys.Signature(numbers.r, numbers.s ^ 2), DIGEST)
    assert not keys.verify(b"\x02" + b"\xff" * 32, numbers, DIGEST)


@pytest.mark.parametrize(
    ("change", "is_readable"),
    [
        (lambda der: der + b"\x00", True),
        (lambda der: b"\x30\x81" + der[1:], True),
        (lambda der: b"\x30" + bytes((der[1] + 5,)) + der[2:], True),
        (lambda der: der[:2] + b"\x02\x81" + der[3:], True),
        (lambda der: der[:3] + bytes((der[3] + 1, 0)) + der[4:], True),
        (lambda der: b"\x31" + der[1:], False),
        (lambda der: der[:2] + b"\x03" + der[3:], False),
        (lambda der: der[:-1], False),
        (lambda der: der[:1], False),
        (lambda der: b"", False),
    ],
)
def test_sloppy_encodings_are_history(change, is_readable):
    """OpenSSL read what strict DER refuses (BIP 66); what is readable means the same numbers."""
    signature = keys.sign(KEY, DIGEST)
    sloppy = change(signature)
    assert keys.parse_der_strict(sloppy) is None
    lax = keys.parse_der_lax(sloppy)
    assert lax == (numbers_of(signature) if is_readable else None)


def test_every_strict_signature_reads_the_same_both_ways():
    """Random numbers of every length."""
    source = random.Random(2)
    for _ in range(300):
        r, s = (source.getrandbits(source.randrange(1, 257)) % keys.CURVE_ORDER for _ in range(2))
        der = keys.encode_der(keys.Signature(r, s))
        assert keys.parse_der_strict(der) == keys.parse_der_lax(der) == (r, s)


@pytest.mark.parametrize("key", [bytes(32), b"\xff" * 32, b"short", bytes(33)])
def test_what_is_no_key_is_the_users_mistake_and_not_printed(key):
    """Zero, above the order, wrong length; the message does not hold the secret."""
    with pytest.raises(ParameterError, match="private_key") as caught:
        keys.public_key(key)
    assert key.hex() not in str(caught.value)


def test_schnorr_signatures_sign_and_verify():
    """BIP 340 with given auxiliary bytes; wrong sizes are mistakes."""
    signature = keys.sign_schnorr(KEY, DIGEST, auxiliary=bytes(32))
    assert keys.verify_schnorr(PUBLIC[1:], signature, DIGEST)
    assert not keys.verify_schnorr(PUBLIC[1:], signature, sha256(b"other"))
    assert not keys.verify_schnorr(PUBLIC[1:], signature[:-1], DIGEST)
    with pytest.raises(ParameterError, match="32 bytes each"):
        keys.sign_schnorr(KEY, DIGEST, auxiliary=b"")
    with pytest.raises(ParameterError, match="digest"):
        keys.sign(KEY, b"short")
