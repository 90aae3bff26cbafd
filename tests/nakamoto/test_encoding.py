"""Bytes: sizes, hashes, identities, and the plain RIPEMD-160."""

from __future__ import annotations

import hashlib
import random

import pytest

from consensus_lab.nakamoto.encoding import (
    COMPACT_SIZE_MAX,
    ByteReader,
    compact_size,
    display_id,
    hash160,
    parse_hex,
    parse_id,
    sha256d,
    var_bytes,
)
from consensus_lab.nakamoto.ripemd160 import ripemd160, ripemd160_plain
from consensus_lab.node import ProtocolViolation


@pytest.mark.parametrize("count", [0, 1, 252, 253, 65_535, 65_536, COMPACT_SIZE_MAX])
def test_a_size_is_written_and_read(count):
    """At the edges of every form."""
    reader = ByteReader(compact_size(count))
    assert reader.compact_size() == count
    reader.finish()


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        ("fd", "truncated"),
        ("fdfc00", "non-canonical-size"),
        ("feffff0000", "non-canonical-size"),
        ("ffffffffff00000000", "non-canonical-size"),
        ("fe01000002", "oversized"),
        ("ff0000000001000000", "oversized"),
    ],
)
def test_a_wrong_size_is_refused_by_name(data, rule):
    """Cut off, longer than needed, or beyond belief."""
    with pytest.raises(ProtocolViolation) as caught:
        ByteReader(bytes.fromhex(data)).compact_size()
    assert caught.value.rule == rule


def test_a_count_that_cannot_fit_is_refused_before_anything_is_read():
    """A peer that announces millions of elements in ten bytes costs no memory."""
    with pytest.raises(ProtocolViolation, match="truncated"):
        ByteReader(compact_size(1_000_000) + bytes(10)).count(41)


def test_reading_past_the_end_and_leaving_something_are_refused():
    """Neither too little nor too much."""
    with pytest.raises(ProtocolViolation, match="truncated"):
        ByteReader(var_bytes(b"abc")[:-1]).var_bytes()
    reader = ByteReader(b"\x00\x01")
    reader.u8()
    with pytest.raises(ProtocolViolation, match="trailing-bytes"):
        reader.finish()


def test_identities_are_shown_reversed():
    """What explorers print is the wire form backwards."""
    identity = sha256d(b"block")
    assert parse_id(display_id(identity)) == identity
    assert bytes.fromhex(display_id(identity)) == identity[::-1]
    for text in ("00", "zz" * 32, "0" * 63, "0" * 66):
        with pytest.raises(ProtocolViolation, match="bad-identity"):
            parse_id(text)
    with pytest.raises(ProtocolViolation, match="bad-hexadecimal"):
        parse_hex("xy")


def test_plain_ripemd160_is_the_librarys():
    """Every padding length; the reference digests of its authors stand in the doctests."""
    source = random.Random(1)
    for size in [*range(130), 1_000]:
        data = source.randbytes(size)
        assert ripemd160_plain(data) == ripemd160(data)
    try:
        library = hashlib.new("ripemd160", b"a").digest()
    except ValueError:
        pytest.skip("this OpenSSL has no RIPEMD-160")
    assert ripemd160_plain(b"a") == library
    assert len(hash160(b"")) == 20
