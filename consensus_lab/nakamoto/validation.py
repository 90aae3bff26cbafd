"""Validation: the rules that need the chain, for headers, blocks and transactions.

Rules of this file: every refusal carries Bitcoin Core's reject name, and rules are checked in its
order, so that a block with two faults is refused for the same one.

Theory of operation.  A block is judged in four steps, cheapest first.  Alone: proof of work,
Merkle root, shape (`block.check_block`).  Its header against its ancestors: target, time, version.
Its transactions against its place: lock times, height in the coinbase, witness commitment.
Finally, only when the block is about to become part of the best chain, its coins: every input
exists, is old enough and is signed for, nothing is created but subsidy and fees.  So a block with
a bad signature can lie in the tree for long before anyone notices; it just never becomes the tip.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from consensus_lab.nakamoto.block import (
    SIGNATURE_OPERATION_COST_MAX,
    WEIGHT_MAX,
    Block,
    check_coinbase_height,
    check_witness_commitment,
)
from consensus_lab.nakamoto.header import BlockHeader, check_time
from consensus_lab.nakamoto.interpreter import verify_input
from consensus_lab.nakamoto.network_rules import NetworkRules
from consensus_lab.nakamoto.script_rules import ScriptFlags
from consensus_lab.nakamoto.sighash import SignatureHasher
from consensus_lab.nakamoto.signature_check import (
    SEQUENCE_LOCK_DISABLED,
    SEQUENCE_LOCK_IS_TIME,
    SEQUENCE_LOCK_MASK,
)
from consensus_lab.nakamoto.signature_cost import signature_operation_cost
from consensus_lab.nakamoto.subsidy import is_money
from consensus_lab.nakamoto.transaction import OutPoint, Transaction, is_final
from consensus_lab.nakamoto.utxo import BlockUndo, Coin, CoinView, UtxoSet
from consensus_lab.node import ProtocolViolation

SEQUENCE_LOCK_UNIT_S = 512
SCRIPT_CACHE_TRANSACTIONS_MAX = 1 << 16


class ScriptCache:
    """Transactions whose scripts were found right, so that a block need not run them again.

    A transaction names its coins by hash, so the verdict depends on nothing but itself and the
    flags.  Simulated nodes may share one cache: it changes how long a verdict takes, never which.
    """

    def __init__(self, *, transactions_max: int = SCRIPT_CACHE_TRANSACTIONS_MAX) -> None:
        self.transactions_max = transactions_max
        # Not a plain dict: there the way to the oldest grows with all that were taken out before.
        self._verified: OrderedDict[tuple[bytes, ScriptFlags], None] = OrderedDict()

    def __contains__(self, key: tuple[bytes, ScriptFlags]) -> bool:
        return key in self._verified

    def add(self, key: tuple[bytes, ScriptFlags]) -> None:
        """Remember a verdict; the oldest goes when there are too many."""
        self._verified[key] = None
        if len(self._verified) > self.transactions_max:
            self._verified.popitem(last=False)


class BlockPlace(NamedTuple):
    """Where a block stands, as far as its validity depends on it.

    `median_time_at(height)` is the median time past of the ancestor at that height, in Unix
    seconds; `median_time_s` that of the parent.
    """

    height: int
    median_time_s: int
    median_time_at: Callable[[int], int]


def check_header_context(
    header: BlockHeader,
    *,
    height: int,
    required_nbits: int,
    median_time_s: int,
    now_s: int,
    rules: NetworkRules,
) -> None:
    """The header against its ancestors (ContextualCheckBlockHeader).

    Parameters
    ----------
    header : BlockHeader
        Whose proof of work has been checked.
    height : int
        Where it stands.
    required_nbits : int
        The target that the retarget rule asks for there.
    median_time_s : int
        Median time past of its parent, Unix seconds.
    now_s : int
        The checking node's clock, Unix seconds.
    rules : NetworkRules
        The network's numbers.

    Raises
    ------
    ProtocolViolation
        `bad-diffbits`, `time-too-old`, `time-too-new` or `bad-version`.
    """
    if header.nbits != required_nbits:
        raise ProtocolViolation("bad-diffbits", f"{header.nbits:08x}, not {required_nbits:08x}")
    check_time(header, median_time_s=median_time_s, now_s=now_s)
    if header.version < rules.version_min(height):
        raise ProtocolViolation("bad-version", f"version {header.version} at height {height}")


def check_block_context(block: Block, place: BlockPlace, rules: NetworkRules) -> None:
    """The block's transactions against its place, without the coins (ContextualCheckBlock).

    Raises
    ------
    ProtocolViolation
        `bad-txns-nonfinal`, `bad-cb-height`, a witness rule, or `bad-blk-weight`.
    """
    is_median_used = place.height >= rules.csv_height  # BIP 113.
    time_s = place.median_time_s if is_median_used else block.header.time_s
    for transaction in block.transactions:
        if not is_final(transaction, height=place.height, time_s=time_s):
            raise ProtocolViolation("bad-txns-nonfinal", f"lock time {transaction.lock_time}")
    if place.height >= rules.bip34_height:
        check_coinbase_height(block, place.height)
    if place.height >= rules.segwit_height:
        check_witness_commitment(block)
    elif any(transaction.has_witness for transaction in block.transactions):
        raise ProtocolViolation("unexpected-witness")
    if block.weight > WEIGHT_MAX:
        raise ProtocolViolation("bad-blk-weight", f"weight {block.weight}")


def spent_coins(transaction: Transaction, view: CoinView) -> list[Coin]:
    """The coins that a transaction's inputs name, in order; the view is not changed.

    Raises
    ------
    ProtocolViolation
        `bad-txns-inputs-missingorspent` for one that is not there.
    """
    coins = []
    for item in transaction.inputs:
        coin = view.get(item.previous)
        if coin is None:
            raise ProtocolViolation("bad-txns-inputs-missingorspent", str(item.previous))
        coins.append(coin)
    return coins


def check_amounts(
    transaction: Transaction, coins: list[Coin], *, height: int, maturity_blocks: int
) -> int:
    """The coins are old enough and suffice; returns the fee (Bitcoin Core, CheckTxInputs).

    Parameters
    ----------
    transaction : Transaction
        Not a coinbase.
    coins : list of Coin
        What it spends, from `spent_coins`.
    height : int
        Of the block that it would stand in.
    maturity_blocks : int
        Blocks before a coinbase may be spent.

    Returns
    -------
    int
        Its fee, in satoshi.

    Raises
    ------
    ProtocolViolation
        `bad-txns-premature-spend-of-coinbase`, `bad-txns-inputvalues-outofrange` or
        `bad-txns-in-belowout`.
    """
    value_in = 0
    for coin in coins:
        age = height - coin.height
        if coin.is_coinbase and age < maturity_blocks:
            raise ProtocolViolation("bad-txns-premature-spend-of-coinbase", f"after {age} blocks")
        value_in += coin.value_satoshi
        if not is_money(coin.value_satoshi) or not is_money(value_in):
            raise ProtocolViolation("bad-txns-inputvalues-outofrange")
    value_out = transaction.value_out_satoshi
    if value_in < value_out:
        raise ProtocolViolation("bad-txns-in-belowout", f"{value_in} in, {value_out} out, satoshi")
    return value_in - value_out


def check_sequence_locks(transaction: Transaction, coins: list[Coin], place: BlockPlace) -> None:
    """Inputs may demand that their coins have an age, in blocks or in time (BIP 68).

    Raises
    ------
    ProtocolViolation
        `bad-txns-nonfinal`.
    """
    if 0 <= transaction.version < 2:
        return
    for item, coin in zip(transaction.inputs, coins, strict=True):
        sequence = item.sequence
        if sequence & SEQUENCE_LOCK_DISABLED:
            continue
        amount = sequence & SEQUENCE_LOCK_MASK
        if sequence & SEQUENCE_LOCK_IS_TIME:
            start_s = place.median_time_at(max(coin.height - 1, 0))
            is_old_enough = place.median_time_s >= start_s + amount * SEQUENCE_LOCK_UNIT_S
        else:
            is_old_enough = place.height >= coin.height + amount
        if not is_old_enough:
            raise ProtocolViolation("bad-txns-nonfinal", f"sequence {sequence:08x}")


def check_input_scripts(
    transaction: Transaction, coins: list[Coin], flags: ScriptFlags, cache: ScriptCache | None
) -> None:
    """Every input is allowed to spend its coin.

    Parameters
    ----------
    transaction : Transaction
        Not a coinbase.
    coins : list of Coin
        What its inputs spend, in order.
    flags : ScriptFlags
        Rules to judge by.
    cache : ScriptCache or None
        Verdicts that are known already.

    Raises
    ------
    ScriptFailure
        `block-script-verify-flag-failed`, with the reason.
    """
    key = (transaction.witness_id, flags)
    if cache is not None and key in cache:
        return
    hasher = SignatureHasher(transaction)
    for position, coin in enumerate(coins):
        verify_input(transaction, position, coin.output, flags, hasher=hasher)
    if cache is not None:
        cache.add(key)


class ConnectedBlock(NamedTuple):
    """What connecting a block did."""

    undo: BlockUndo
    fees_satoshi: int


def connect_block(
    block: Block,
    utxo: UtxoSet,
    place: BlockPlace,
    rules: NetworkRules,
    *,
    cache: ScriptCache | None = None,
) -> ConnectedBlock:
    """Check a block's transactions against the coins and apply them (ConnectBlock).

    Parameters
    ----------
    block : Block
        That passed all earlier checks.
    utxo : UtxoSet
        The coins at its parent; changed only when every rule holds.
    place : BlockPlace
        Where it stands.
    rules : NetworkRules
        The network's numbers.
    cache : ScriptCache, optional
        Verdicts that are known already.

    Raises
    ------
    ProtocolViolation
        With Bitcoin Core's reject name.
    """
    view = CoinView(utxo)
    _check_no_overwrite(block, view, rules)
    fees, cost = 0, 0
    flags = rules.script_flags(place.height, block.block_id)
    for transaction in block.transactions:
        coins: list[Coin] = []
        if not transaction.is_coinbase:
            coins = spent_coins(transaction, view)
            fees += check_amounts(
                transaction, coins, height=place.height, maturity_blocks=rules.maturity_blocks
            )
            if not is_money(fees):
                raise ProtocolViolation("bad-txns-accumulated-fee-outofrange")
            if place.height >= rules.csv_height:
                check_sequence_locks(transaction, coins, place)
        cost += signature_operation_cost(transaction, coins, flags)
        if cost > SIGNATURE_OPERATION_COST_MAX:
            raise ProtocolViolation("bad-blk-sigops", f"cost {cost}")
        check_input_scripts(transaction, coins, flags, cache)
        apply_transaction(transaction, view, place.height)
    paid, subsidy = block.coinbase.value_out_satoshi, rules.subsidy_satoshi(place.height)
    if paid > subsidy + fees:
        raise ProtocolViolation("bad-cb-amount", f"{paid} satoshi, {subsidy + fees} allowed")
    return ConnectedBlock(utxo.commit(view, minted_satoshi=paid - fees), fees)


def apply_transaction(transaction: Transaction, view: CoinView, height: int) -> None:
    """Take its coins out and put the new ones in."""
    if not transaction.is_coinbase:
        for item in transaction.inputs:
            view.spend(item.previous)
    view.add_outputs(transaction, height)


def _check_no_overwrite(block: Block, view: CoinView, rules: NetworkRules) -> None:
    """No transaction repeats one whose coins are unspent (BIP 30)."""
    for transaction in block.transactions:
        for position in range(len(transaction.outputs)):
            name = OutPoint(transaction.txid, position)
            if view.get(name) is None:
                continue
            if block.block_id not in rules.duplicate_coinbases:
                raise ProtocolViolation("bad-txns-BIP30", str(name))
            view.burn(name)
