"""Signature cost: how much work verifying a block may cause at most.

Rules of this file: counting, not running; the count is a rule of consensus.

Theory of operation.  A block may cost 80,000: four per signature operation in plain scripts, four
per operation in the scripts behind script hashes (BIP 16), one per operation in witnesses
(BIP 141).  The count looks at scripts as they stand, whatever branch would run.
"""

from __future__ import annotations

from consensus_lab.nakamoto.script import (
    UnreadableScript,
    WitnessProgram,
    count_signature_operations,
    is_push_only,
    operations,
    script_hash,
    witness_program,
)
from consensus_lab.nakamoto.script_rules import ScriptFlags
from consensus_lab.nakamoto.transaction import WITNESS_SCALE, Transaction, TransactionInput
from consensus_lab.nakamoto.utxo import Coin


def signature_operation_cost(
    transaction: Transaction, coins: list[Coin], flags: ScriptFlags
) -> int:
    """What a transaction adds to its block's cost (GetTransactionSigOpCost).

    Parameters
    ----------
    transaction : Transaction
        Any transaction of a block.
    coins : list of Coin
        What it spends, in order; empty for a coinbase.
    flags : ScriptFlags
        Rules of its block.
    """
    cost = transaction.signature_operations * WITNESS_SCALE
    for item, coin in zip(transaction.inputs, coins, strict=False):
        script_pubkey = coin.output.script_pubkey
        redeem_script = None
        if flags & ScriptFlags.P2SH and script_hash(script_pubkey) is not None:
            redeem_script = _last_push(item.script_sig)
            cost += WITNESS_SCALE * count_signature_operations(redeem_script, is_accurate=True)
        if flags & ScriptFlags.WITNESS:
            guard = script_pubkey if redeem_script is None else redeem_script
            cost += _witness_cost(witness_program(guard), item)
    return cost


def _last_push(script_sig: bytes) -> bytes:
    """What a push-only script pushes last; empty for any other."""
    if not is_push_only(script_sig):
        return b""
    last = b""
    try:
        for operation in operations(script_sig):
            last = operation.data or b""
    except UnreadableScript:
        return b""
    return last


def _witness_cost(program: WitnessProgram | None, item: TransactionInput) -> int:
    """Cost of one witness program; unknown versions cost nothing."""
    if program is None or program.version != 0:
        return 0
    if len(program.program) == 20:
        return 1
    if len(program.program) == 32 and item.witness:
        return count_signature_operations(item.witness[-1], is_accurate=True)
    return 0
