"""Script rules: which rules a script is run under, and the words of every way to fail.

Rules of this file: names only.  Flags and sentences are Bitcoin Core's, so that a verdict of ours
can be compared with one of its own word for word.

Theory of operation.  Soft forks added rules over the years: a block is judged by the consensus
flags of its height.  Policy flags are stricter; a node uses them for what it relays, never for
blocks.
"""

from __future__ import annotations

from enum import Enum, IntFlag, auto

from consensus_lab.node import ProtocolViolation


class ScriptFlags(IntFlag):
    """Rules beyond the first client's, each with the proposal that added it."""

    NONE = 0
    P2SH = auto()  # BIP 16, consensus since 2012-04.
    DERSIG = auto()  # BIP 66, consensus since height 363725.
    CHECKLOCKTIMEVERIFY = auto()  # BIP 65, consensus since height 388381.
    CHECKSEQUENCEVERIFY = auto()  # BIP 112, consensus since height 419328.
    WITNESS = auto()  # BIP 141 and 143, consensus since height 481824.
    NULLDUMMY = auto()  # BIP 147, with the former.
    TAPROOT = auto()  # BIP 341 and 342, consensus since height 709632; spends are not covered.
    STRICTENC = auto()  # Policy from here on.
    LOW_S = auto()
    SIGPUSHONLY = auto()
    MINIMALDATA = auto()
    DISCOURAGE_UPGRADABLE_NOPS = auto()
    CLEANSTACK = auto()
    MINIMALIF = auto()
    NULLFAIL = auto()
    WITNESS_PUBKEYTYPE = auto()
    DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM = auto()
    CONST_SCRIPTCODE = auto()


CONSENSUS_FLAGS = (
    ScriptFlags.P2SH
    | ScriptFlags.DERSIG
    | ScriptFlags.CHECKLOCKTIMEVERIFY
    | ScriptFlags.CHECKSEQUENCEVERIFY
    | ScriptFlags.WITNESS
    | ScriptFlags.NULLDUMMY
    | ScriptFlags.TAPROOT
)
"""All soft forks: what a block of today is judged by."""

STANDARD_FLAGS = ~ScriptFlags.NONE
"""Every flag: what a node asks of a transaction before relaying it."""


class ScriptFault(Enum):
    """Every way in which a script fails, in Bitcoin Core's sentences (ScriptErrorString)."""

    EVAL_FALSE = "Script evaluated without error but finished with a false/empty top stack element"
    VERIFY = "Script failed an OP_VERIFY operation"
    EQUALVERIFY = "Script failed an OP_EQUALVERIFY operation"
    CHECKMULTISIGVERIFY = "Script failed an OP_CHECKMULTISIGVERIFY operation"
    CHECKSIGVERIFY = "Script failed an OP_CHECKSIGVERIFY operation"
    NUMEQUALVERIFY = "Script failed an OP_NUMEQUALVERIFY operation"
    SCRIPT_SIZE = "Script is too big"
    PUSH_SIZE = "Push value size limit exceeded"
    OPERATION_COUNT = "Operation limit exceeded"
    STACK_SIZE = "Stack size limit exceeded"
    SIGNATURE_COUNT = "Signature count negative or greater than pubkey count"
    PUBLIC_KEY_COUNT = "Pubkey count negative or limit exceeded"
    NUMBER = "Script number overflowed or is non-minimally encoded"
    BAD_OPCODE = "Opcode missing or not understood"
    DISABLED_OPCODE = "Attempted to use a disabled opcode"
    STACK_OPERATION = "Operation not valid with the current stack size"
    ALT_STACK_OPERATION = "Operation not valid with the current altstack size"
    RETURN = "OP_RETURN was encountered"
    UNBALANCED_CONDITIONAL = "Invalid OP_IF construction"
    NEGATIVE_LOCK_TIME = "Negative locktime"
    UNSATISFIED_LOCK_TIME = "Locktime requirement not satisfied"
    HASH_TYPE = "Signature hash type missing or not understood"
    DER = "Non-canonical DER signature"
    MINIMAL_DATA = "Data push larger than necessary"
    PUSH_ONLY = "Only push operators allowed in signatures"
    HIGH_S = "Non-canonical signature: S value is unnecessarily high"
    NULL_DUMMY = "Dummy CHECKMULTISIG argument must be zero"
    MINIMAL_IF = "OP_IF/NOTIF argument must be minimal"
    NULL_FAIL = "Signature must be zero for failed CHECK(MULTI)SIG operation"
    UPGRADABLE_NOPS = "NOPx reserved for soft-fork upgrades"
    UPGRADABLE_WITNESS_PROGRAM = "Witness version reserved for soft-fork upgrades"
    CLEAN_STACK = "Stack size must be exactly one after execution"
    PUBLIC_KEY_TYPE = "Public key is neither compressed or uncompressed"
    WITNESS_WRONG_LENGTH = "Witness program has incorrect length"
    WITNESS_EMPTY = "Witness program was passed an empty witness"
    WITNESS_MISMATCH = "Witness program hash mismatch"
    WITNESS_MALLEATED = "Witness requires empty scriptSig"
    WITNESS_MALLEATED_P2SH = "Witness requires only-redeemscript scriptSig"
    WITNESS_UNEXPECTED = "Witness provided for non-witness script"
    WITNESS_PUBLIC_KEY_TYPE = "Using non-compressed keys in segwit"
    CODE_SEPARATOR = "Using OP_CODESEPARATOR in non-witness script"
    FIND_AND_DELETE = "Signature is found in scriptCode"
    TAPROOT_NOT_COVERED = "Taproot spends are outside the rules of this package"


class ScriptFailure(ProtocolViolation):
    """A script did not allow its coin to be spent.

    Parameters
    ----------
    fault : ScriptFault
        Why.
    """

    RULE = "block-script-verify-flag-failed"

    def __init__(self, fault: ScriptFault) -> None:
        self.fault = fault
        super().__init__(self.RULE, fault.value)

    def __reduce__(self) -> tuple[type, tuple[ScriptFault]]:  # type: ignore[override]
        return ScriptFailure, (self.fault,)
