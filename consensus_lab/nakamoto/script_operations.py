"""Script operations: what every opcode does to the machine.

Rules of this file: one small function per operation or family, all in the table `OPERATIONS`;
an opcode without an entry fails the script when it is executed.

Theory of operation.  Each function gets the machine, the opcode and whether the current branch is
taken (only OP_IF and its kin look at that).  Stack shufflers are written as pictures: the top
elements before, and which of them stand there afterwards.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from consensus_lab.nakamoto.encoding import hash160, sha256, sha256d
from consensus_lab.nakamoto.ripemd160 import ripemd160
from consensus_lab.nakamoto.script import MULTISIG_KEYS_MAX, Op, find_and_delete, push
from consensus_lab.nakamoto.script_machine import Machine, as_bool
from consensus_lab.nakamoto.script_rules import ScriptFailure, ScriptFault, ScriptFlags
from consensus_lab.nakamoto.signature_check import (
    SEQUENCE_LOCK_DISABLED,
    check_public_key_encoding,
    check_signature_encoding,
)

LOCK_NUMBER_SIZE_BYTES_MAX = 5
"""Lock times reach beyond 2^31, so their numbers may have five bytes (BIP 65)."""

Perform = Callable[[Machine, int, bool], None]

DISABLED = frozenset(
    {Op.CAT, Op.SUBSTR, Op.LEFT, Op.RIGHT, Op.INVERT, Op.AND, Op.OR, Op.XOR}
    | {Op.MUL2, Op.DIV2, Op.MUL, Op.DIV, Op.MOD, Op.LSHIFT, Op.RSHIFT}
)
"""Switched off in 2010 (CVE-2010-5137 and others); fail a script even where it is not executed."""


def _fail(fault: ScriptFault) -> Perform:
    """An operation that always fails in this way."""

    def perform(machine: Machine, opcode: int, is_executed: bool) -> None:
        raise ScriptFailure(fault)

    return perform


def _require(condition: bool, fault: ScriptFault) -> None:
    """The condition of an operation that ends in VERIFY."""
    if not condition:
        raise ScriptFailure(fault)


def _push_small_number(machine: Machine, opcode: int, is_executed: bool) -> None:
    machine.push_number(opcode - Op.RESERVED)


def _no_operation(machine: Machine, opcode: int, is_executed: bool) -> None:
    """OP_NOP."""


def _upgradable_no_operation(machine: Machine, opcode: int, is_executed: bool) -> None:
    """OP_NOP1 to OP_NOP10, of which soft forks make new operations."""
    if machine.flags & ScriptFlags.DISCOURAGE_UPGRADABLE_NOPS:
        raise ScriptFailure(ScriptFault.UPGRADABLE_NOPS)


def _if(machine: Machine, opcode: int, is_executed: bool) -> None:
    """OP_IF and OP_NOTIF open a branch."""
    is_taken = False
    if is_executed:
        if not machine.stack:
            raise ScriptFailure(ScriptFault.UNBALANCED_CONDITIONAL)
        element = machine.stack[-1]
        is_minimal_needed = machine.is_witness and machine.flags & ScriptFlags.MINIMALIF
        if is_minimal_needed and element not in (b"", b"\x01"):
            raise ScriptFailure(ScriptFault.MINIMAL_IF)
        is_taken = as_bool(element) == (opcode == Op.IF)
        machine.stack.pop()
    machine.conditions.append(is_taken)


def _else(machine: Machine, opcode: int, is_executed: bool) -> None:
    """OP_ELSE turns the innermost branch round, as often as it stands there."""
    if not machine.conditions:
        raise ScriptFailure(ScriptFault.UNBALANCED_CONDITIONAL)
    machine.conditions[-1] = not machine.conditions[-1]


def _end_if(machine: Machine, opcode: int, is_executed: bool) -> None:
    """OP_ENDIF closes the innermost branch."""
    if not machine.conditions:
        raise ScriptFailure(ScriptFault.UNBALANCED_CONDITIONAL)
    machine.conditions.pop()


def _verify(machine: Machine, opcode: int, is_executed: bool) -> None:
    machine.need(1)
    _require(as_bool(machine.stack[-1]), ScriptFault.VERIFY)
    machine.stack.pop()


def _shuffle(need: int, order: tuple[int, ...]) -> Perform:
    """Replace the top `need` elements by those at these places, counted from below."""

    def perform(machine: Machine, opcode: int, is_executed: bool) -> None:
        machine.need(need)
        top = machine.stack[-need:]
        machine.stack[-need:] = [top[place] for place in order]

    return perform


def _to_alt_stack(machine: Machine, opcode: int, is_executed: bool) -> None:
    machine.alt_stack.append(machine.pop())


def _from_alt_stack(machine: Machine, opcode: int, is_executed: bool) -> None:
    if not machine.alt_stack:
        raise ScriptFailure(ScriptFault.ALT_STACK_OPERATION)
    machine.stack.append(machine.alt_stack.pop())


def _duplicate_if(machine: Machine, opcode: int, is_executed: bool) -> None:
    machine.need(1)
    if as_bool(machine.stack[-1]):
        machine.stack.append(machine.stack[-1])


def _depth(machine: Machine, opcode: int, is_executed: bool) -> None:
    machine.push_number(len(machine.stack))


def _pick_or_roll(machine: Machine, opcode: int, is_executed: bool) -> None:
    """Copy, or move, the element that lies so deep."""
    machine.need(2)
    depth = machine.pop_number()
    if not 0 <= depth < len(machine.stack):
        raise ScriptFailure(ScriptFault.STACK_OPERATION)
    element = machine.stack[-1 - depth]
    if opcode == Op.ROLL:
        del machine.stack[-1 - depth]
    machine.stack.append(element)


def _size(machine: Machine, opcode: int, is_executed: bool) -> None:
    machine.need(1)
    machine.push_number(len(machine.stack[-1]))


def _equal(machine: Machine, opcode: int, is_executed: bool) -> None:
    machine.need(2)
    machine.push_bool(machine.stack.pop() == machine.stack.pop())
    if opcode == Op.EQUALVERIFY:
        _require(machine.stack[-1] != b"", ScriptFault.EQUALVERIFY)
        machine.stack.pop()


def _unary(function: Callable[[int], int]) -> Perform:
    """Arithmetic on one number."""

    def perform(machine: Machine, opcode: int, is_executed: bool) -> None:
        machine.push_number(function(machine.pop_number()))

    return perform


def _binary(function: Callable[[int, int], int]) -> Perform:
    """Arithmetic on two numbers; the second is on top."""

    def perform(machine: Machine, opcode: int, is_executed: bool) -> None:
        machine.need(2)
        first = machine.number(machine.stack[-2])
        second = machine.number(machine.stack[-1])
        machine.stack[-2:] = []
        machine.push_number(function(first, second))
        if opcode == Op.NUMEQUALVERIFY:
            _require(machine.stack[-1] != b"", ScriptFault.NUMEQUALVERIFY)
            machine.stack.pop()

    return perform


def _within(machine: Machine, opcode: int, is_executed: bool) -> None:
    machine.need(3)
    value, low, high = (machine.number(element) for element in machine.stack[-3:])
    machine.stack[-3:] = []
    machine.push_bool(low <= value < high)


def _hash(function: Callable[[bytes], bytes]) -> Perform:
    """Replace the top element by its hash."""

    def perform(machine: Machine, opcode: int, is_executed: bool) -> None:
        machine.stack.append(function(machine.pop()))

    return perform


def _sha1(data: bytes) -> bytes:
    return hashlib.sha1(data).digest()


def _code_separator(machine: Machine, opcode: int, is_executed: bool) -> None:
    """Signatures from here on cover the script behind this place."""
    machine.code_start = machine.position


def _signed_code(machine: Machine, signatures: list[bytes]) -> bytes:
    """The script that signatures cover: without themselves in the classic form."""
    code = machine.script[machine.code_start :]
    if machine.is_witness:
        return code
    for signature in signatures:
        code, count = find_and_delete(code, push(signature))
        if count and machine.flags & ScriptFlags.CONST_SCRIPTCODE:
            raise ScriptFailure(ScriptFault.FIND_AND_DELETE)
    return code


def _check_signature(machine: Machine, opcode: int, is_executed: bool) -> None:
    """OP_CHECKSIG and OP_CHECKSIGVERIFY: signature below, key on top."""
    machine.need(2)
    signature, public_key = machine.stack[-2:]
    code = _signed_code(machine, [signature])
    is_valid = _is_signed(machine, signature, public_key, code)
    if not is_valid and machine.flags & ScriptFlags.NULLFAIL and signature:
        raise ScriptFailure(ScriptFault.NULL_FAIL)
    machine.stack[-2:] = []
    if opcode == Op.CHECKSIGVERIFY:
        _require(is_valid, ScriptFault.CHECKSIGVERIFY)
    else:
        machine.push_bool(is_valid)


def _is_signed(machine: Machine, signature: bytes, public_key: bytes, code: bytes) -> bool:
    """Check the encodings, then the signature."""
    check_signature_encoding(signature, machine.flags)
    check_public_key_encoding(public_key, machine.flags, is_witness=machine.is_witness)
    return machine.context.check_signature(
        signature, public_key, code, is_witness=machine.is_witness
    )


def _pop_group(machine: Machine, depth: int, limit: int, fault: ScriptFault) -> list[bytes]:
    """The count that lies so deep and the elements below it, left where they are."""
    machine.need(depth)
    count = machine.number(machine.stack[-depth])
    if not 0 <= count <= limit:
        raise ScriptFailure(fault)
    if fault is ScriptFault.PUBLIC_KEY_COUNT:
        machine.count_operations(count)
    machine.need(depth + count)
    end = len(machine.stack) - depth
    return machine.stack[end - count : end]


def _check_multisig(machine: Machine, opcode: int, is_executed: bool) -> None:
    """OP_CHECKMULTISIG: dummy, signatures, their count, keys, their count.

    Signatures must stand in the order of their keys.  The first client popped one element too
    many; that dummy has stayed (BIP 147 made it empty).
    """
    keys = _pop_group(machine, 1, MULTISIG_KEYS_MAX, ScriptFault.PUBLIC_KEY_COUNT)
    depth = 2 + len(keys)
    signatures = _pop_group(machine, depth, len(keys), ScriptFault.SIGNATURE_COUNT)
    machine.need(depth + len(signatures) + 1)
    # From the top down, as the first client walked both lists.
    code = _signed_code(machine, signatures[::-1])
    is_valid = _are_signed(machine, signatures[::-1], keys[::-1], code)
    if not is_valid and machine.flags & ScriptFlags.NULLFAIL and any(signatures):
        raise ScriptFailure(ScriptFault.NULL_FAIL)
    del machine.stack[-(depth + len(signatures)) :]
    if machine.flags & ScriptFlags.NULLDUMMY and machine.stack[-1]:
        raise ScriptFailure(ScriptFault.NULL_DUMMY)
    machine.stack.pop()
    if opcode == Op.CHECKMULTISIGVERIFY:
        _require(is_valid, ScriptFault.CHECKMULTISIGVERIFY)
    else:
        machine.push_bool(is_valid)


def _are_signed(machine: Machine, signatures: list[bytes], keys: list[bytes], code: bytes) -> bool:
    """Walk signatures and keys together; each key is tried once."""
    done = 0
    for tried, public_key in enumerate(keys):
        if done == len(signatures):
            break
        if len(signatures) - done > len(keys) - tried:
            return False
        if _is_signed(machine, signatures[done], public_key, code):
            done += 1
    return done == len(signatures)


def _check_lock_time(machine: Machine, opcode: int, is_executed: bool) -> None:
    """OP_CHECKLOCKTIMEVERIFY leaves its argument on the stack, as the NOP it was (BIP 65)."""
    if not machine.flags & ScriptFlags.CHECKLOCKTIMEVERIFY:
        return
    lock_time = _lock_argument(machine)
    is_reached = machine.context.is_lock_time_reached(lock_time)
    _require(is_reached, ScriptFault.UNSATISFIED_LOCK_TIME)


def _check_sequence(machine: Machine, opcode: int, is_executed: bool) -> None:
    """OP_CHECKSEQUENCEVERIFY: the same for the input's relative lock (BIP 112)."""
    if not machine.flags & ScriptFlags.CHECKSEQUENCEVERIFY:
        return
    sequence = _lock_argument(machine)
    if sequence & SEQUENCE_LOCK_DISABLED:
        return
    is_reached = machine.context.is_sequence_reached(sequence)
    _require(is_reached, ScriptFault.UNSATISFIED_LOCK_TIME)


def _lock_argument(machine: Machine) -> int:
    """The number on top, up to five bytes and not negative."""
    machine.need(1)
    value = machine.number(machine.stack[-1], size_bytes_max=LOCK_NUMBER_SIZE_BYTES_MAX)
    _require(value >= 0, ScriptFault.NEGATIVE_LOCK_TIME)
    return value


OPERATIONS: dict[int, Perform] = {
    **dict.fromkeys(range(Op.PUSH_1, Op.PUSH_16 + 1), _push_small_number),
    Op.NEGATIVE_1: _push_small_number,
    Op.NOP: _no_operation,
    **dict.fromkeys(range(Op.NOP1, Op.NOP10 + 1), _upgradable_no_operation),
    Op.CHECKLOCKTIMEVERIFY: _check_lock_time,
    Op.CHECKSEQUENCEVERIFY: _check_sequence,
    Op.IF: _if,
    Op.NOTIF: _if,
    Op.ELSE: _else,
    Op.ENDIF: _end_if,
    Op.VERIFY: _verify,
    Op.RETURN: _fail(ScriptFault.RETURN),
    Op.TOALTSTACK: _to_alt_stack,
    Op.FROMALTSTACK: _from_alt_stack,
    # Elements are numbered from the lowest of those that are looked at.
    Op.DROP2: _shuffle(2, ()),
    Op.DUP2: _shuffle(2, (0, 1, 0, 1)),
    Op.DUP3: _shuffle(3, (0, 1, 2, 0, 1, 2)),
    Op.OVER2: _shuffle(4, (0, 1, 2, 3, 0, 1)),
    Op.ROT2: _shuffle(6, (2, 3, 4, 5, 0, 1)),
    Op.SWAP2: _shuffle(4, (2, 3, 0, 1)),
    Op.DROP: _shuffle(1, ()),
    Op.DUP: _shuffle(1, (0, 0)),
    Op.NIP: _shuffle(2, (1,)),
    Op.OVER: _shuffle(2, (0, 1, 0)),
    Op.ROT: _shuffle(3, (1, 2, 0)),
    Op.SWAP: _shuffle(2, (1, 0)),
    Op.TUCK: _shuffle(2, (1, 0, 1)),
    Op.IFDUP: _duplicate_if,
    Op.DEPTH: _depth,
    Op.PICK: _pick_or_roll,
    Op.ROLL: _pick_or_roll,
    Op.SIZE: _size,
    Op.EQUAL: _equal,
    Op.EQUALVERIFY: _equal,
    Op.ADD1: _unary(lambda a: a + 1),
    Op.SUB1: _unary(lambda a: a - 1),
    Op.NEGATE: _unary(lambda a: -a),
    Op.ABS: _unary(abs),
    Op.NOT: _unary(lambda a: a == 0),
    Op.NOTEQUAL0: _unary(lambda a: a != 0),
    Op.ADD: _binary(lambda a, b: a + b),
    Op.SUB: _binary(lambda a, b: a - b),
    Op.BOOLAND: _binary(lambda a, b: a != 0 and b != 0),
    Op.BOOLOR: _binary(lambda a, b: a != 0 or b != 0),
    Op.NUMEQUAL: _binary(lambda a, b: a == b),
    Op.NUMEQUALVERIFY: _binary(lambda a, b: a == b),
    Op.NUMNOTEQUAL: _binary(lambda a, b: a != b),
    Op.LESSTHAN: _binary(lambda a, b: a < b),
    Op.GREATERTHAN: _binary(lambda a, b: a > b),
    Op.LESSTHANOREQUAL: _binary(lambda a, b: a <= b),
    Op.GREATERTHANOREQUAL: _binary(lambda a, b: a >= b),
    Op.MIN: _binary(min),
    Op.MAX: _binary(max),
    Op.WITHIN: _within,
    Op.RIPEMD160: _hash(ripemd160),
    Op.SHA1: _hash(_sha1),
    Op.SHA256: _hash(sha256),
    Op.HASH160: _hash(hash160),
    Op.HASH256: _hash(sha256d),
    Op.CODESEPARATOR: _code_separator,
    Op.CHECKSIG: _check_signature,
    Op.CHECKSIGVERIFY: _check_signature,
    Op.CHECKMULTISIG: _check_multisig,
    Op.CHECKMULTISIGVERIFY: _check_multisig,
}
