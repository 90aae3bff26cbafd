"""Assembler: reads scripts in the notation of Bitcoin Core's test vectors."""

from __future__ import annotations

from consensus_lab.nakamoto.script import Op, push, push_number
from tests.conformance.bitcoin.tally import NotCovered

# Opcodes whose usual names start with a digit or differ from ours.
_ALIASES = {
    "0": Op.PUSH_0,
    "FALSE": Op.PUSH_0,
    "TRUE": Op.PUSH_1,
    "1NEGATE": Op.NEGATIVE_1,
    "2DROP": Op.DROP2,
    "2DUP": Op.DUP2,
    "3DUP": Op.DUP3,
    "2OVER": Op.OVER2,
    "2ROT": Op.ROT2,
    "2SWAP": Op.SWAP2,
    "1ADD": Op.ADD1,
    "1SUB": Op.SUB1,
    "2MUL": Op.MUL2,
    "2DIV": Op.DIV2,
    "0NOTEQUAL": Op.NOTEQUAL0,
    "NOP2": Op.CHECKLOCKTIMEVERIFY,
    "NOP3": Op.CHECKSEQUENCEVERIFY,
    **{f"NOP{n}": Op.NOP4 + n - 4 for n in range(4, 11)},
}


def assemble(text: str) -> bytes:
    """The bytes of a script: numbers are pushed, 0x... stands for itself, 'text' is pushed.

    >>> assemble("DUP HASH160 0x02 0xabcd EQUALVERIFY -1 16 17 'a'").hex()
    '76a902abcd884f6001110161'
    """
    return b"".join(_assemble_word(word) for word in text.split())


def _assemble_word(word: str) -> bytes:
    """One word."""
    if word.lstrip("-").isdigit():
        return push_number(int(word))
    if word.startswith("0x"):
        return bytes.fromhex(word[2:])
    if len(word) >= 2 and word[0] == word[-1] == "'":
        return push(word[1:-1].encode())
    name = word.removeprefix("OP_")
    opcode = _ALIASES.get(name)
    if opcode is None and name in Op.__members__:
        opcode = Op[name]
    if opcode is None:
        raise NotCovered(f"the notation has a word that we do not know: {word}")
    return bytes((opcode,))
