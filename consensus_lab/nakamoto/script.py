"""Scripts: the small language that says under which condition a coin may be spent.

Rules of this file: building and recognising scripts only; they are run in `interpreter`.

Theory of operation.  A script is a list of operations, one byte each; the bytes 1 to 75 push so
many following bytes, three more opcodes push longer data.  Payment to a key hash (P2PKH) says
"show a public key with this hash and a signature of it"; payment to a key (P2PK, the first form)
holds the key itself; payment to a script hash (P2SH, BIP 16) moves the condition to the spender;
a witness program (BIP 141) is a version and 2 to 40 bytes.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from consensus_lab.node import ProtocolViolation

MULTISIG_KEYS_MAX = 20
PUSH_DATA_1, PUSH_DATA_2, PUSH_DATA_4 = 0x4C, 0x4D, 0x4E
_PUSH_LENGTHS = {PUSH_DATA_1: "<B", PUSH_DATA_2: "<H", PUSH_DATA_4: "<I"}


class Op(IntEnum):
    """Opcodes by their usual names, without the prefix OP_ (Bitcoin Core, script.h)."""

    PUSH_0 = 0x00
    NEGATIVE_1 = 0x4F
    RESERVED = 0x50
    PUSH_1 = 0x51
    PUSH_16 = 0x60
    NOP = 0x61
    VER = 0x62
    IF = 0x63
    NOTIF = 0x64
    VERIF = 0x65
    VERNOTIF = 0x66
    ELSE = 0x67
    ENDIF = 0x68
    VERIFY = 0x69
    RETURN = 0x6A
    TOALTSTACK = 0x6B
    FROMALTSTACK = 0x6C
    DROP2 = 0x6D
    DUP2 = 0x6E
    DUP3 = 0x6F
    OVER2 = 0x70
    ROT2 = 0x71
    SWAP2 = 0x72
    IFDUP = 0x73
    DEPTH = 0x74
    DROP = 0x75
    DUP = 0x76
    NIP = 0x77
    OVER = 0x78
    PICK = 0x79
    ROLL = 0x7A
    ROT = 0x7B
    SWAP = 0x7C
    TUCK = 0x7D
    CAT = 0x7E
    SUBSTR = 0x7F
    LEFT = 0x80
    RIGHT = 0x81
    SIZE = 0x82
    INVERT = 0x83
    AND = 0x84
    OR = 0x85
    XOR = 0x86
    EQUAL = 0x87
    EQUALVERIFY = 0x88
    ADD1 = 0x8B
    SUB1 = 0x8C
    MUL2 = 0x8D
    DIV2 = 0x8E
    NEGATE = 0x8F
    ABS = 0x90
    NOT = 0x91
    NOTEQUAL0 = 0x92
    ADD = 0x93
    SUB = 0x94
    MUL = 0x95
    DIV = 0x96
    MOD = 0x97
    LSHIFT = 0x98
    RSHIFT = 0x99
    BOOLAND = 0x9A
    BOOLOR = 0x9B
    NUMEQUAL = 0x9C
    NUMEQUALVERIFY = 0x9D
    NUMNOTEQUAL = 0x9E
    LESSTHAN = 0x9F
    GREATERTHAN = 0xA0
    LESSTHANOREQUAL = 0xA1
    GREATERTHANOREQUAL = 0xA2
    MIN = 0xA3
    MAX = 0xA4
    WITHIN = 0xA5
    RIPEMD160 = 0xA6
    SHA1 = 0xA7
    SHA256 = 0xA8
    HASH160 = 0xA9
    HASH256 = 0xAA
    CODESEPARATOR = 0xAB
    CHECKSIG = 0xAC
    CHECKSIGVERIFY = 0xAD
    CHECKMULTISIG = 0xAE
    CHECKMULTISIGVERIFY = 0xAF
    NOP1 = 0xB0
    CHECKLOCKTIMEVERIFY = 0xB1
    CHECKSEQUENCEVERIFY = 0xB2
    NOP4 = 0xB3
    NOP10 = 0xB9


class Operation(NamedTuple):
    """One decoded operation: its byte, the data that it pushes, and where the next one starts."""

    opcode: int
    data: bytes | None
    end: int


class UnreadableScript(ProtocolViolation):
    """A push reaches past the end of the script.

    Parameters
    ----------
    detail : str
        What is cut off.
    """

    def __init__(self, detail: str) -> None:
        super().__init__("unreadable-script", detail)

    def __reduce__(self) -> tuple[type, tuple[str]]:  # type: ignore[override]
        return UnreadableScript, (self.detail,)


def read_operation(script: bytes, position: int) -> Operation:
    """Decode the operation at a position.

    Raises
    ------
    UnreadableScript
        When its data is cut off.
    """
    opcode = script[position]
    position += 1
    if opcode > PUSH_DATA_4:
        return Operation(opcode, None, position)
    size = opcode
    if opcode >= PUSH_DATA_1:
        layout = struct.Struct(_PUSH_LENGTHS[opcode])
        if position + layout.size > len(script):
            raise UnreadableScript("the length of a push is cut off")
        size = layout.unpack_from(script, position)[0]
        position += layout.size
    end = position + size
    if end > len(script):
        raise UnreadableScript("a push reaches past the end")
    return Operation(opcode, script[position:end], end)


def operations(script: bytes) -> Iterator[Operation]:
    """All operations in order; raises `UnreadableScript` where the script breaks off."""
    position = 0
    while position < len(script):
        operation = read_operation(script, position)
        yield operation
        position = operation.end


def push(data: bytes) -> bytes:
    """The usual way to push these bytes, by length alone (small numbers are not special).

    >>> push(b"").hex(), push(b"ab").hex(), push(bytes(76))[:2].hex()
    ('00', '026162', '4c4c')
    """
    size = len(data)
    if size < PUSH_DATA_1:
        return bytes((size,)) + data
    if size <= 0xFF:
        return bytes((PUSH_DATA_1, size)) + data
    if size <= 0xFFFF:
        return bytes((PUSH_DATA_2,)) + struct.pack("<H", size) + data
    return bytes((PUSH_DATA_4,)) + struct.pack("<I", size) + data


def is_minimal_push(operation: Operation) -> bool:
    """Is there no shorter way to push the same bytes (BIP 62, rule 3)?"""
    opcode, data, _ = operation
    assert data is not None
    if len(data) == 0:
        return opcode == Op.PUSH_0
    if len(data) == 1 and (1 <= data[0] <= 16 or data[0] == 0x81):
        return False
    return push(data)[0] == opcode


def encode_number(number: int) -> bytes:
    """A script number: little-endian magnitude, sign in the top bit, zero is empty.

    >>> [encode_number(n).hex() for n in (0, 1, -1, 127, 128, -255)]
    ['', '01', '81', '7f', '8000', 'ff80']
    """
    if number == 0:
        return b""
    magnitude = abs(number)
    data = bytearray(magnitude.to_bytes(magnitude.bit_length() // 8 + 1, "little"))
    if number < 0:
        data[-1] |= 0x80
    return bytes(data)


def decode_number(data: bytes) -> int:
    """The number that a stack element stands for; the inverse of `encode_number`."""
    if not data:
        return 0
    magnitude = int.from_bytes(data[:-1] + bytes((data[-1] & 0x7F,)), "little")
    return -magnitude if data[-1] & 0x80 else magnitude


def push_number(number: int) -> bytes:
    """Push a number in the shortest form, as Bitcoin Core's `CScript << n` does.

    >>> [push_number(n).hex() for n in (-1, 0, 16, 17)]
    ['4f', '00', '60', '0111']
    """
    if number == 0:
        return bytes((Op.PUSH_0,))
    if number == -1 or 1 <= number <= 16:
        return bytes((Op.RESERVED + number,))
    return push(encode_number(number))


def pay_to_public_key(public_key: bytes) -> bytes:
    """P2PK: the key itself, as in the first payment ever (block 170)."""
    return push(public_key) + bytes((Op.CHECKSIG,))


def pay_to_public_key_hash(key_hash: bytes) -> bytes:
    """P2PKH: whoever shows a key with this 20-byte hash and its signature."""
    assert len(key_hash) == 20
    return b"\x76\xa9\x14" + key_hash + b"\x88\xac"


def pay_to_script_hash(script_hash: bytes) -> bytes:
    """P2SH: whoever shows a script with this 20-byte hash and satisfies it (BIP 16)."""
    assert len(script_hash) == 20
    return b"\xa9\x14" + script_hash + b"\x87"


def pay_to_multisig(required: int, public_keys: tuple[bytes, ...]) -> bytes:
    """Bare multisignature: `required` signatures out of these keys."""
    assert 0 <= required <= len(public_keys) <= 16
    keys = b"".join(push(key) for key in public_keys)
    count = push_number(len(public_keys))
    return push_number(required) + keys + count + bytes((Op.CHECKMULTISIG,))


def pay_to_witness(version: int, program: bytes) -> bytes:
    """A witness program of version 0 to 16 (BIP 141)."""
    assert 0 <= version <= 16 and 2 <= len(program) <= 40
    return push_number(version) + push(program)


def data_carrier(data: bytes) -> bytes:
    """An output that stores data and can never be spent (OP_RETURN)."""
    return bytes((Op.RETURN,)) + push(data)


class WitnessProgram(NamedTuple):
    """Version and content of a witness program."""

    version: int
    program: bytes


def public_key_hash(script: bytes) -> bytes | None:
    """The 20 bytes of a P2PKH script, else None."""
    is_match = len(script) == 25 and script[:3] == b"\x76\xa9\x14" and script[23:] == b"\x88\xac"
    return script[3:23] if is_match else None


def script_hash(script: bytes) -> bytes | None:
    """The 20 bytes of a P2SH script, else None.  The byte pattern alone decides (BIP 16)."""
    is_match = len(script) == 23 and script[:2] == b"\xa9\x14" and script[22:] == b"\x87"
    return script[2:22] if is_match else None


def witness_program(script: bytes) -> WitnessProgram | None:
    """The witness program that a script is, else None: a number and one direct push (BIP 141)."""
    if not 4 <= len(script) <= 42 or script[1] + 2 != len(script):
        return None
    if script[0] == Op.PUSH_0:
        return WitnessProgram(0, script[2:])
    if Op.PUSH_1 <= script[0] <= Op.PUSH_16:
        return WitnessProgram(script[0] - Op.RESERVED, script[2:])
    return None


def is_push_only(script: bytes) -> bool:
    """Does it nothing but push?  OP_RESERVED counts as a push here, as in Bitcoin Core."""
    try:
        return all(operation.opcode <= Op.PUSH_16 for operation in operations(script))
    except UnreadableScript:
        return False


def find_and_delete(script: bytes, pattern: bytes) -> tuple[bytes, int]:
    """Remove a byte pattern wherever it starts at an operation's start; also how often it did.

    A quirk of the first client that is a rule of consensus: a signature cannot sign itself, so
    its push is removed from the script before hashing.
    """
    if not pattern:
        return script, 0
    kept, count, start, position = bytearray(), 0, 0, 0
    while True:
        kept += script[start:position]
        while script.startswith(pattern, position):
            position += len(pattern)
            count += 1
        start = position
        if position >= len(script):
            break
        try:
            position = read_operation(script, position).end
        except UnreadableScript:
            break
    return bytes(kept) + script[start:], count


def count_signature_operations(script: bytes, *, is_accurate: bool) -> int:
    """Signature checks that a script could cause; a block may hold 20,000 of the inexact kind.

    With `is_accurate` a multisignature counts its stated number of keys, else always 20.  A cut
    off push ends the count; what was read before it counts.
    """
    if not _SIGNATURE_OPERATION.search(script):
        return 0
    count, previous, position, end = 0, -1, 0, len(script)
    while position < end:
        opcode = script[position]
        if opcode <= PUSH_DATA_4:
            try:
                position = read_operation(script, position).end
            except UnreadableScript:
                break
        else:
            position += 1
            if opcode in (Op.CHECKSIG, Op.CHECKSIGVERIFY):
                count += 1
            elif opcode in (Op.CHECKMULTISIG, Op.CHECKMULTISIGVERIFY):
                is_number = Op.PUSH_1 <= previous <= Op.PUSH_16
                count += previous - Op.RESERVED if is_accurate and is_number else MULTISIG_KEYS_MAX
        previous = opcode
    return count


_SIGNATURE_OPERATION = re.compile(rb"[\xac-\xaf]")
