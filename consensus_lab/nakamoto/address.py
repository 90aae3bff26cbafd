"""Addresses: what people type to say who is paid.

Rules of this file: an address that is not exactly right is refused, because money sent to a
mistyped one would be lost.

Theory of operation.  An address is a script in another coat.  Base58Check writes a version byte,
a 20-byte hash and a four-byte checksum as one large number in a base without 0, O, I and l, which
look alike.  Bech32 (BIP 173) writes a witness program in a base of 32 letters of one case behind
a readable prefix, with a checksum that finds any four wrong letters; versions from 1 on use a
corrected constant, Bech32m (BIP 350), since plain Bech32 lets "q" slip in before a final "p".
"""

from __future__ import annotations

from dataclasses import dataclass

from consensus_lab.nakamoto.encoding import hash160, sha256d
from consensus_lab.nakamoto.script import (
    WitnessProgram,
    pay_to_public_key_hash,
    pay_to_script_hash,
    pay_to_witness,
    public_key_hash,
    script_hash,
    witness_program,
)
from consensus_lab.node import ProtocolViolation

BASE58_DIGITS = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
BASE58_SIZE_CHARACTERS_MAX = 512
"""Longest Base58 text that is read; an address has at most 35 characters."""

CHECKSUM_SIZE_BYTES = 4
BECH32_DIGITS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
BECH32_SIZE_CHARACTERS_MAX = 90
BECH32_CHECKSUM_CHARACTERS = 6
BECH32_CONSTANT, BECH32M_CONSTANT = 1, 0x2BC830A3
_BECH32_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


@dataclass(frozen=True)
class AddressFormat:
    """Version bytes and prefix of one network's addresses."""

    public_key_hash_version: int
    script_hash_version: int
    witness_prefix: str


MAINNET_FORMAT = AddressFormat(0x00, 0x05, "bc")
TESTNET_FORMAT = AddressFormat(0x6F, 0xC4, "tb")
REGTEST_FORMAT = AddressFormat(0x6F, 0xC4, "bcrt")


def base58_encode(data: bytes) -> str:
    """Write bytes in base 58; each leading zero byte is a leading "1".

    >>> base58_encode(bytes.fromhex("00636363"))
    '1aPEr'
    """
    number, digits = int.from_bytes(data, "big"), []
    while number:
        number, digit = divmod(number, 58)
        digits.append(BASE58_DIGITS[digit])
    zeros = len(data) - len(data.lstrip(b"\x00"))
    return "1" * zeros + "".join(reversed(digits))


def base58_decode(text: str) -> bytes:
    """Read base 58.

    Raises
    ------
    ProtocolViolation
        `bad-address` for a character that is no digit, or a text too long.
    """
    if len(text) > BASE58_SIZE_CHARACTERS_MAX:
        raise ProtocolViolation("bad-address", f"{len(text)} characters")
    number = 0
    for character in text:
        digit = BASE58_DIGITS.find(character)
        if digit < 0:
            raise ProtocolViolation("bad-address", f"{character!r} is not a base 58 digit")
        number = number * 58 + digit
    zeros = len(text) - len(text.lstrip("1"))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")


def base58check_encode(payload: bytes) -> str:
    """Base 58 with a checksum behind the payload."""
    return base58_encode(payload + sha256d(payload)[:CHECKSUM_SIZE_BYTES])


def base58check_decode(text: str) -> bytes:
    """Read base 58 and take the checksum off.

    Raises
    ------
    ProtocolViolation
        `bad-address` when it does not fit.
    """
    data = base58_decode(text)
    payload, checksum = data[:-CHECKSUM_SIZE_BYTES], data[-CHECKSUM_SIZE_BYTES:]
    if len(data) < CHECKSUM_SIZE_BYTES or sha256d(payload)[:CHECKSUM_SIZE_BYTES] != checksum:
        raise ProtocolViolation("bad-address", "the checksum does not fit")
    return payload


def _bech32_checksum(prefix: str, values: list[int]) -> int:
    """The code of BIP 173 over prefix and values; a constant for right ones."""
    expanded = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]
    check = 1
    for value in expanded + values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_BECH32_GENERATOR):
            if top >> bit & 1:
                check ^= generator
    return check


def _regroup(values: list[int], from_bits: int, to_bits: int) -> tuple[list[int], int, int]:
    """Regroup bits; also what is left over and how many bits that has."""
    rest, rest_bits, result = 0, 0, []
    for value in values:
        rest = rest << from_bits | value
        rest_bits += from_bits
        while rest_bits >= to_bits:
            rest_bits -= to_bits
            result.append(rest >> rest_bits)
            rest &= (1 << rest_bits) - 1
    return result, rest, rest_bits


def segwit_encode(prefix: str, program: WitnessProgram) -> str:
    """The address of a witness program (BIP 173, BIP 350)."""
    values, rest, rest_bits = _regroup(list(program.program), 8, 5)
    if rest_bits:
        values.append(rest << (5 - rest_bits))
    values.insert(0, program.version)
    constant = BECH32_CONSTANT if program.version == 0 else BECH32M_CONSTANT
    check = _bech32_checksum(prefix, values + [0] * BECH32_CHECKSUM_CHARACTERS) ^ constant
    values += [check >> 5 * (5 - place) & 31 for place in range(BECH32_CHECKSUM_CHARACTERS)]
    return prefix + "1" + "".join(BECH32_DIGITS[value] for value in values)


def _bech32_decode(text: str) -> tuple[str, list[int], int]:
    """Prefix, values without checksum, and the constant that the checksum belongs to."""
    if text.lower() != text and text.upper() != text:
        raise ProtocolViolation("bad-address", "mixed case")
    text = text.lower()
    separator = text.rfind("1")
    if any(not 33 <= ord(character) <= 126 for character in text):
        raise ProtocolViolation("bad-address", "a character that is not printable")
    is_sized = 1 <= separator <= len(text) - 1 - BECH32_CHECKSUM_CHARACTERS
    if not is_sized or len(text) > BECH32_SIZE_CHARACTERS_MAX:
        raise ProtocolViolation("bad-address", "no prefix, too short or too long")
    prefix = text[:separator]
    values = [BECH32_DIGITS.find(character) for character in text[separator + 1 :]]
    if -1 in values:
        raise ProtocolViolation("bad-address", "a character outside the Bech32 alphabet")
    constant = _bech32_checksum(prefix, values)
    return prefix, values[:-BECH32_CHECKSUM_CHARACTERS], constant


def segwit_decode(prefix: str, text: str) -> WitnessProgram:
    """Read the address of a witness program.

    Parameters
    ----------
    prefix : str
        The network's, "bc" on mainnet.
    text : str
        What somebody typed.

    Raises
    ------
    ProtocolViolation
        `bad-address`, with what is wrong.
    """
    found_prefix, values, constant = _bech32_decode(text)
    if found_prefix != prefix:
        raise ProtocolViolation("bad-address", f"prefix {found_prefix!r} instead of {prefix!r}")
    if not values:
        raise ProtocolViolation("bad-address", "no witness version")
    version = values[0]
    expected = BECH32_CONSTANT if version == 0 else BECH32M_CONSTANT
    if constant != expected:
        raise ProtocolViolation("bad-address", "the checksum does not fit")
    program, rest, rest_bits = _regroup(values[1:], 5, 8)
    if rest or rest_bits >= 5:
        raise ProtocolViolation("bad-address", "padding that is not zero or too long")
    if version > 16 or not 2 <= len(program) <= 40:
        raise ProtocolViolation("bad-address", f"version {version}, {len(program)} bytes")
    if version == 0 and len(program) not in (20, 32):
        raise ProtocolViolation("bad-address", f"version 0 with {len(program)} bytes")
    return WitnessProgram(version, bytes(program))


def address_to_script(text: str, form: AddressFormat = MAINNET_FORMAT) -> bytes:
    """The script that pays an address.

    Raises
    ------
    ProtocolViolation
        `bad-address` when it is none of this network.

    Examples
    --------
    >>> address_to_script("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa").hex()
    '76a91462e907b15cbf27d5425399ebf6f0fb50ebb88f1888ac'
    """
    if text.lower().startswith(form.witness_prefix + "1"):
        return pay_to_witness(*segwit_decode(form.witness_prefix, text))
    payload = base58check_decode(text)
    if len(payload) != 21:
        raise ProtocolViolation("bad-address", f"{len(payload)} bytes instead of 21")
    if payload[0] == form.public_key_hash_version:
        return pay_to_public_key_hash(payload[1:])
    if payload[0] == form.script_hash_version:
        return pay_to_script_hash(payload[1:])
    raise ProtocolViolation("bad-address", f"version byte {payload[0]} of another network")


def script_to_address(script: bytes, form: AddressFormat = MAINNET_FORMAT) -> str | None:
    """The address of a script, or None for a script without one."""
    key_hash = public_key_hash(script)
    if key_hash is not None:
        return base58check_encode(bytes((form.public_key_hash_version,)) + key_hash)
    hash_of_script = script_hash(script)
    if hash_of_script is not None:
        return base58check_encode(bytes((form.script_hash_version,)) + hash_of_script)
    program = witness_program(script)
    is_known = program is not None and (program.version > 0 or len(program.program) in (20, 32))
    return segwit_encode(form.witness_prefix, program) if program and is_known else None


def public_key_address(public_key: bytes, form: AddressFormat = MAINNET_FORMAT) -> str:
    """The P2PKH address of a public key."""
    return base58check_encode(bytes((form.public_key_hash_version,)) + hash160(public_key))
