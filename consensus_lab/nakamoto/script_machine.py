"""Script machine: the state of one running script, and the limits that it keeps.

Rules of this file: state and access to it; what operations do with it is in `script_operations`.
"""

from __future__ import annotations

from consensus_lab.nakamoto.script import decode_number, encode_number
from consensus_lab.nakamoto.script_rules import ScriptFailure, ScriptFault, ScriptFlags
from consensus_lab.nakamoto.signature_check import TransactionContext

SCRIPT_SIZE_BYTES_MAX = 10_000
ELEMENT_SIZE_BYTES_MAX = 520
OPERATIONS_MAX = 201
STACK_ELEMENTS_MAX = 1_000
NUMBER_SIZE_BYTES_MAX = 4
"""Arithmetic works on four bytes; results may be longer but not be used as operands again."""


def as_bool(element: bytes) -> bool:
    """Truth of a stack element: any byte but zero, where a lone sign bit (minus zero) is false.

    >>> as_bool(b""), as_bool(b"\\x00\\x80"), as_bool(b"\\x80\\x00")
    (False, False, True)
    """
    return bool(element) and (any(element[:-1]) or element[-1] not in (0, 0x80))


class Machine:
    """One running script.

    Parameters
    ----------
    script : bytes
        What runs.
    stack : list of bytes
        Shared with the script before it and the caller.
    flags : ScriptFlags
        Rules to judge by.
    context : TransactionContext
        For signatures and lock times.
    is_witness : bool
        A version 0 witness script: other digest, no search for signatures in the code.
    """

    __slots__ = (
        "alt_stack",
        "code_start",
        "conditions",
        "context",
        "flags",
        "is_witness",
        "operation_count",
        "position",
        "script",
        "stack",
    )

    def __init__(
        self,
        script: bytes,
        stack: list[bytes],
        flags: ScriptFlags,
        context: TransactionContext,
        *,
        is_witness: bool = False,
    ) -> None:
        self.script = script
        self.stack = stack
        self.flags = flags
        self.context = context
        self.is_witness = is_witness
        self.alt_stack: list[bytes] = []
        # One entry per open OP_IF: is the branch that we are in taken?
        self.conditions: list[bool] = []
        self.operation_count = 0
        # Where the next operation starts, and where signed code starts (OP_CODESEPARATOR).
        self.position = 0
        self.code_start = 0

    def count_operations(self, count: int) -> None:
        """Count what the operation limit counts."""
        self.operation_count += count
        if self.operation_count > OPERATIONS_MAX:
            raise ScriptFailure(ScriptFault.OPERATION_COUNT)

    def need(self, count: int) -> None:
        """Insist on so many elements."""
        if len(self.stack) < count:
            raise ScriptFailure(ScriptFault.STACK_OPERATION)

    def pop(self) -> bytes:
        """Take the top element."""
        self.need(1)
        return self.stack.pop()

    def number(self, element: bytes, *, size_bytes_max: int = NUMBER_SIZE_BYTES_MAX) -> int:
        """The number that an element stands for.

        Raises
        ------
        ScriptFailure
            Too long, or padded under MINIMALDATA.
        """
        if len(element) > size_bytes_max:
            raise ScriptFailure(ScriptFault.NUMBER)
        value = decode_number(element)
        if self.flags & ScriptFlags.MINIMALDATA and encode_number(value) != element:
            raise ScriptFailure(ScriptFault.NUMBER)
        return value

    def pop_number(self) -> int:
        """Take the top element as a number."""
        self.need(1)
        value = self.number(self.stack[-1])
        self.stack.pop()
        return value

    def push_number(self, value: int) -> None:
        """Put a number on top."""
        self.stack.append(encode_number(value))

    def push_bool(self, value: bool) -> None:
        """Put a truth value on top."""
        self.stack.append(b"\x01" if value else b"")
