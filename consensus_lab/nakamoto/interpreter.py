"""Interpreter: runs the scripts that guard a coin and says whether it may be spent.

Rules of this file: a verdict is `None` or a `ScriptFailure`; limits, order of checks and quirks
are those of consensus (Bitcoin Core, interpreter.cpp), since a node that differs leaves the chain.

Theory of operation.  A script runs on a stack of byte strings.  First the spender's script runs,
then on the same stack the coin's script; the coin may be spent when the top element is true.
Two patterns of the coin's script mean more than they say: a script hash (BIP 16) makes the last
pushed element a script that runs too, and a witness program (BIP 141) takes its arguments from
the witness.  What runs is bounded: 10,000 bytes of script, 201 operations, 520 bytes per element,
1,000 elements, so verifying never takes long.
"""

from __future__ import annotations

from consensus_lab.nakamoto.encoding import sha256
from consensus_lab.nakamoto.script import (
    Op,
    UnreadableScript,
    WitnessProgram,
    is_minimal_push,
    is_push_only,
    pay_to_public_key_hash,
    push,
    read_operation,
    script_hash,
    witness_program,
)
from consensus_lab.nakamoto.script_machine import (
    ELEMENT_SIZE_BYTES_MAX,
    SCRIPT_SIZE_BYTES_MAX,
    STACK_ELEMENTS_MAX,
    Machine,
    as_bool,
)
from consensus_lab.nakamoto.script_operations import DISABLED, OPERATIONS
from consensus_lab.nakamoto.script_rules import ScriptFailure, ScriptFault, ScriptFlags
from consensus_lab.nakamoto.sighash import SignatureHasher
from consensus_lab.nakamoto.signature_check import TransactionContext
from consensus_lab.nakamoto.transaction import Transaction, TransactionOutput

TAPROOT_VERSION, TAPROOT_PROGRAM_SIZE_BYTES = 1, 32
PAY_TO_ANCHOR = WitnessProgram(1, b"\x4e\x73")
"""A program that anyone may spend, so that others can raise a transaction's fee."""


def run(machine: Machine) -> None:
    """Run one script on the machine's stack (Bitcoin Core, EvalScript).

    Raises
    ------
    ScriptFailure
        At the first rule that breaks.
    """
    script, stack = machine.script, machine.stack
    if len(script) > SCRIPT_SIZE_BYTES_MAX:
        raise ScriptFailure(ScriptFault.SCRIPT_SIZE)
    position = 0
    while position < len(script):
        try:
            operation = read_operation(script, position)
        except UnreadableScript:
            raise ScriptFailure(ScriptFault.BAD_OPCODE) from None
        opcode, data, position = operation
        machine.position = position
        _check_before(machine, opcode, data)
        is_executed = all(machine.conditions)
        if data is not None:
            if is_executed:
                if machine.flags & ScriptFlags.MINIMALDATA and not is_minimal_push(operation):
                    raise ScriptFailure(ScriptFault.MINIMAL_DATA)
                stack.append(data)
        elif is_executed or Op.IF <= opcode <= Op.ENDIF:
            perform = OPERATIONS.get(opcode)
            if perform is None:
                raise ScriptFailure(ScriptFault.BAD_OPCODE)
            perform(machine, opcode, is_executed)
        if len(stack) + len(machine.alt_stack) > STACK_ELEMENTS_MAX:
            raise ScriptFailure(ScriptFault.STACK_SIZE)
    if machine.conditions:
        raise ScriptFailure(ScriptFault.UNBALANCED_CONDITIONAL)


def _check_before(machine: Machine, opcode: int, data: bytes | None) -> None:
    """Limits that hold for operations in branches that are not taken, too."""
    if data is not None:
        if len(data) > ELEMENT_SIZE_BYTES_MAX:
            raise ScriptFailure(ScriptFault.PUSH_SIZE)
        return
    if opcode > Op.PUSH_16:
        machine.count_operations(1)
    if opcode in DISABLED:
        raise ScriptFailure(ScriptFault.DISABLED_OPCODE)
    is_constant = machine.flags & ScriptFlags.CONST_SCRIPTCODE and not machine.is_witness
    if opcode == Op.CODESEPARATOR and is_constant:
        raise ScriptFailure(ScriptFault.CODE_SEPARATOR)


def verify_script(
    *,
    script_sig: bytes,
    script_pubkey: bytes,
    witness: tuple[bytes, ...],
    flags: ScriptFlags,
    context: TransactionContext,
) -> None:
    """Do the spender's script and witness satisfy the coin's script (VerifyScript)?

    Parameters
    ----------
    script_sig, witness : bytes, tuple of bytes
        What the input brings.
    script_pubkey : bytes
        The condition of the coin.
    flags : ScriptFlags
        Rules to judge by.
    context : TransactionContext
        The input, for signatures and lock times.

    Raises
    ------
    ScriptFailure
        When they do not.
    """
    if flags & ScriptFlags.SIGPUSHONLY and not is_push_only(script_sig):
        raise ScriptFailure(ScriptFault.PUSH_ONLY)
    stack: list[bytes] = []
    run(Machine(script_sig, stack, flags, context))
    after_script_sig = list(stack)
    run(Machine(script_pubkey, stack, flags, context))
    _require_true(stack)
    has_program = False
    program = witness_program(script_pubkey) if flags & ScriptFlags.WITNESS else None
    if program is not None:
        has_program = True
        if script_sig:
            raise ScriptFailure(ScriptFault.WITNESS_MALLEATED)
        _verify_witness(program, witness, flags, context, is_in_script_hash=False)
        del stack[1:]
    if flags & ScriptFlags.P2SH and script_hash(script_pubkey) is not None:
        stack, has_program = _verify_script_hash(
            script_sig, after_script_sig, witness, flags, context
        )
    if flags & ScriptFlags.CLEANSTACK and len(stack) != 1:
        raise ScriptFailure(ScriptFault.CLEAN_STACK)
    if flags & ScriptFlags.WITNESS and witness and not has_program:
        raise ScriptFailure(ScriptFault.WITNESS_UNEXPECTED)


def _require_true(stack: list[bytes]) -> None:
    """The run ended with a true element on top."""
    if not stack or not as_bool(stack[-1]):
        raise ScriptFailure(ScriptFault.EVAL_FALSE)


def _verify_script_hash(
    script_sig: bytes,
    stack: list[bytes],
    witness: tuple[bytes, ...],
    flags: ScriptFlags,
    context: TransactionContext,
) -> tuple[list[bytes], bool]:
    """Run the script that the spender pushed last (BIP 16); its stack, and had it a program?"""
    if not is_push_only(script_sig):
        raise ScriptFailure(ScriptFault.PUSH_ONLY)
    assert stack, "the hash comparison succeeded, so there was an element"
    redeem_script = stack.pop()
    run(Machine(redeem_script, stack, flags, context))
    _require_true(stack)
    program = witness_program(redeem_script) if flags & ScriptFlags.WITNESS else None
    if program is None:
        return stack, False
    # Nothing but the program may stand in the script, else others could change the identity.
    if script_sig != push(redeem_script):
        raise ScriptFailure(ScriptFault.WITNESS_MALLEATED_P2SH)
    _verify_witness(program, witness, flags, context, is_in_script_hash=True)
    return stack[:1], True


def _verify_witness(
    program: WitnessProgram,
    witness: tuple[bytes, ...],
    flags: ScriptFlags,
    context: TransactionContext,
    *,
    is_in_script_hash: bool,
) -> None:
    """Run a witness program on its witness (BIP 141)."""
    if program.version == 0:
        _verify_witness_v0(program.program, witness, flags, context)
        return
    is_taproot = (
        program.version == TAPROOT_VERSION
        and len(program.program) == TAPROOT_PROGRAM_SIZE_BYTES
        and not is_in_script_hash
    )
    if is_taproot and flags & ScriptFlags.TAPROOT:
        # Refused rather than waved through: accepting what nobody checked would be worse.
        raise ScriptFailure(ScriptFault.TAPROOT_NOT_COVERED)
    if program == PAY_TO_ANCHOR and not is_in_script_hash:
        return
    if flags & ScriptFlags.DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM:
        raise ScriptFailure(ScriptFault.UPGRADABLE_WITNESS_PROGRAM)


def _verify_witness_v0(
    program: bytes, witness: tuple[bytes, ...], flags: ScriptFlags, context: TransactionContext
) -> None:
    """Version 0: 20 bytes are a key's hash, 32 bytes a script's SHA-256."""
    if len(program) == 32:
        if not witness:
            raise ScriptFailure(ScriptFault.WITNESS_EMPTY)
        script, stack = witness[-1], list(witness[:-1])
        if sha256(script) != program:
            raise ScriptFailure(ScriptFault.WITNESS_MISMATCH)
    elif len(program) == 20:
        if len(witness) != 2:
            raise ScriptFailure(ScriptFault.WITNESS_MISMATCH)
        script, stack = pay_to_public_key_hash(program), list(witness)
    else:
        raise ScriptFailure(ScriptFault.WITNESS_WRONG_LENGTH)
    if any(len(element) > ELEMENT_SIZE_BYTES_MAX for element in stack):
        raise ScriptFailure(ScriptFault.PUSH_SIZE)
    run(Machine(script, stack, flags, context, is_witness=True))
    if len(stack) != 1:
        raise ScriptFailure(ScriptFault.CLEAN_STACK)
    _require_true(stack)


def verify_input(
    transaction: Transaction,
    input_index: int,
    spent: TransactionOutput,
    flags: ScriptFlags,
    *,
    hasher: SignatureHasher | None = None,
) -> None:
    """May this input spend that coin?

    Parameters
    ----------
    transaction : Transaction
        The spending transaction.
    input_index : int
        Which input.
    spent : TransactionOutput
        The coin that it names.
    flags : ScriptFlags
        Rules to judge by.
    hasher : SignatureHasher, optional
        Shared between the inputs of one transaction for speed.

    Raises
    ------
    ScriptFailure
        When it may not.
    """
    item = transaction.inputs[input_index]
    context = TransactionContext(
        hasher or SignatureHasher(transaction),
        input_index=input_index,
        value_satoshi=spent.value_satoshi,
    )
    verify_script(
        script_sig=item.script_sig,
        script_pubkey=spent.script_pubkey,
        witness=item.witness,
        flags=flags,
        context=context,
    )
