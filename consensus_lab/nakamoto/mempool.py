"""Memory pool: payments that are valid on top of the chain and wait for a block.

Rules of this file: no time, no peers; the pool always could be one (large) block after the tip.

Theory of operation (Bitcoin Core, `txmempool` and `AcceptToMemoryPool`).  A transaction is taken
when it could stand in the next block together with what is here: its inputs are coins of the
chain or outputs of *parents* in the pool, nobody here spends them too (first come, first kept:
`txn-mempool-conflict`), the scripts hold, and it pays the minimum relay fee.  Chains of
unconfirmed payments are bounded in both directions, because each change has to be told to all
ancestors and descendants.

The pool has a size.  When it is exceeded, the payments whose fee rate together with all that
descend from them is lowest leave, and their rate becomes the floor for newcomers, until the pool
is half empty again.

A block confirms some payments and makes their rivals, and all that spend rivals, impossible.  A
reorganisation gives the payments of the lost blocks back; since everything about them may have
changed (a coin gone, a lock time not reached, a coinbase not mature) the pool is then filled anew,
the returned ones first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from consensus_lab.nakamoto.block import Block
from consensus_lab.nakamoto.chain import Chain, Delivery
from consensus_lab.nakamoto.encoding import display_id
from consensus_lab.nakamoto.mempool_entry import MempoolEntry, MempoolOptions, fee_rate
from consensus_lab.nakamoto.signature_cost import signature_operation_cost
from consensus_lab.nakamoto.transaction import OutPoint, Transaction, check_transaction, is_final
from consensus_lab.nakamoto.utxo import Coin
from consensus_lab.nakamoto.validation import (
    BlockPlace,
    check_amounts,
    check_input_scripts,
    check_sequence_locks,
)
from consensus_lab.node import ProtocolViolation

SIGNATURE_OPERATION_COST_MAX = 16_000
"""Of one transaction in the pool: a fifth of a block's (Core, MAX_STANDARD_TX_SIGOPS_COST)."""


class PoolUpdate(NamedTuple):
    """What a change of the chain did to the pool, by txid, each sorted.

    `confirmed` are in the new blocks, `returned` came back from lost ones, and `removed` can no
    longer be valid (or, after a reorganisation, found no room).
    """

    confirmed: tuple[bytes, ...]
    returned: tuple[bytes, ...]
    removed: tuple[bytes, ...]


class Mempool:
    """Unconfirmed payments of one node.

    Parameters
    ----------
    chain : Chain
        The node's ledger; every `Delivery` of it has to be handed to `update`.
    options : MempoolOptions, optional
        Limits.

    Attributes
    ----------
    entries : dict of bytes to MempoolEntry
        By txid, parents before children.
    size_bytes : int
        Virtual size of all together.
    fee_rate_floor : int
        What a newcomer has to pay at least, satoshi per 1000 virtual bytes.
    """

    def __init__(self, chain: Chain, options: MempoolOptions | None = None) -> None:
        self.chain = chain
        self.options = options or MempoolOptions()
        self.entries: dict[bytes, MempoolEntry] = {}
        self.size_bytes = 0
        self.fee_rate_floor = self.options.relay_fee_rate_min
        # Which transaction of the pool spends a coin.
        self._spender: dict[OutPoint, bytes] = {}
        self._next_sequence = 0

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, txid: object) -> bool:
        return txid in self.entries

    def __iter__(self) -> Iterator[MempoolEntry]:
        return iter(self.entries.values())

    # Acceptance.

    def accept(self, transaction: Transaction) -> MempoolEntry:
        """Take a payment (AcceptToMemoryPool).

        Parameters
        ----------
        transaction : Transaction
            From a peer or from the node's own wallet.

        Returns
        -------
        MempoolEntry
            As it stands in the pool.

        Raises
        ------
        ProtocolViolation
            With Bitcoin Core's reject name.  `bad-txns-inputs-missingorspent` may mean that a
            parent is not known yet.
        """
        entry = self._checked(transaction)
        paid = fee_rate(entry.fee_satoshi, entry.size_bytes)
        if paid < self.options.relay_fee_rate_min:
            raise ProtocolViolation("min relay fee not met", f"{paid} satoshi per 1000 bytes")
        if paid < self.fee_rate_floor:
            raise ProtocolViolation("mempool min fee not met", f"floor {self.fee_rate_floor}")
        self._check_scripts(entry)
        self._insert(entry)
        self._trim()
        if entry.txid not in self.entries:
            raise ProtocolViolation("mempool full")
        return entry

    def _checked(self, transaction: Transaction) -> MempoolEntry:
        """All rules but fees and scripts, in Bitcoin Core's order."""
        check_transaction(transaction)
        if transaction.is_coinbase:
            raise ProtocolViolation("coinbase")
        place = self._place()
        if not is_final(transaction, height=place.height, time_s=place.median_time_s):
            raise ProtocolViolation("non-final", f"lock time {transaction.lock_time}")
        if transaction.txid in self.entries:
            raise ProtocolViolation("txn-already-in-mempool", display_id(transaction.txid))
        for item in transaction.inputs:
            if item.previous in self._spender:
                raise ProtocolViolation("txn-mempool-conflict", str(item.previous))
        coins = self._coins(transaction)
        try:
            check_sequence_locks(transaction, coins, place)
        except ProtocolViolation as violation:
            raise ProtocolViolation("non-BIP68-final", violation.detail) from None
        rules = self.chain.rules
        fee = check_amounts(
            transaction, coins, height=place.height, maturity_blocks=rules.maturity_blocks
        )
        cost = signature_operation_cost(transaction, coins, rules.script_flags(place.height, b""))
        if cost > SIGNATURE_OPERATION_COST_MAX:
            raise ProtocolViolation("bad-txns-too-many-sigops", f"cost {cost}")
        entry = MempoolEntry(transaction, fee_satoshi=fee, cost=cost)
        parents = (item.previous.txid for item in transaction.inputs)
        entry.parents = {txid: None for txid in parents if txid in self.entries}
        self._check_family(entry)
        return entry

    def _check_family(self, entry: MempoolEntry) -> None:
        """Neither it nor any ancestor gets too many relatives."""
        ancestors = self.ancestors(entry)
        if len(ancestors) + 1 > self.options.ancestors_max:
            raise ProtocolViolation("too-long-mempool-chain", f"{len(ancestors)} ancestors")
        for ancestor in ancestors:
            if len(self.descendants(ancestor)) + 2 > self.options.descendants_max:
                text = f"too many descendants of {display_id(ancestor.txid)}"
                raise ProtocolViolation("too-long-mempool-chain", text)

    def _check_scripts(self, entry: MempoolEntry) -> None:
        """By the rules of the next block, so that the block need not run them again."""
        flags = self.chain.rules.script_flags(self.chain.height + 1, b"")
        coins = self._coins(entry.transaction)
        check_input_scripts(entry.transaction, coins, flags, self.chain.scripts)

    def _coins(self, transaction: Transaction) -> list[Coin]:
        """What it spends, from the chain or from the pool."""
        coins = []
        for item in transaction.inputs:
            coin = self.coin(item.previous)
            if coin is None:
                raise ProtocolViolation("bad-txns-inputs-missingorspent", str(item.previous))
            coins.append(coin)
        return coins

    def coin(self, name: OutPoint) -> Coin | None:
        """A coin of the chain, or an output of the pool; those count as in the next block."""
        parent = self.entries.get(name.txid)
        if parent is None:
            return self.chain.utxo.get(name)
        outputs = parent.transaction.outputs
        if name.output_index >= len(outputs) or outputs[name.output_index].is_unspendable:
            return None
        return Coin(outputs[name.output_index], self.chain.height + 1, False)

    def _place(self) -> BlockPlace:
        """The next block's."""
        tip = self.chain.tip
        return BlockPlace(
            tip.height + 1, tip.median_time_s, lambda height: tip.ancestor(height).median_time_s
        )

    # Families.

    def ancestors(self, entry: MempoolEntry) -> list[MempoolEntry]:
        """All in the pool that it depends on, in order of arrival, without itself."""
        found: dict[bytes, MempoolEntry] = {}
        waiting = list(entry.parents)
        while waiting:
            txid = waiting.pop()
            if txid not in found:
                found[txid] = self.entries[txid]
                waiting += found[txid].parents
        return sorted(found.values(), key=_arrival)

    def descendants(self, entry: MempoolEntry) -> list[MempoolEntry]:
        """All in the pool that depend on it, in order of arrival, without itself."""
        found: dict[bytes, MempoolEntry] = {}
        waiting = list(entry.children)
        while waiting:
            txid = waiting.pop()
            if txid not in found:
                found[txid] = self.entries[txid]
                waiting += found[txid].children
        return sorted(found.values(), key=_arrival)

    def _insert(self, entry: MempoolEntry) -> None:
        """Put a checked payment in; its parents are here, its children cannot be."""
        entry.sequence = self._next_sequence
        self._next_sequence += 1
        self.entries[entry.txid] = entry
        self.size_bytes += entry.size_bytes
        for item in entry.transaction.inputs:
            self._spender[item.previous] = entry.txid
        for txid in entry.parents:
            self.entries[txid].children[entry.txid] = None
        for ancestor in self.ancestors(entry):
            ancestor.descendant_fee_satoshi += entry.fee_satoshi
            ancestor.descendant_size_bytes += entry.size_bytes
            entry.ancestor_fee_satoshi += ancestor.fee_satoshi
            entry.ancestor_size_bytes += ancestor.size_bytes

    def _remove(self, entry: MempoolEntry) -> None:
        """Take one out and tell its family; what descends from it stays."""
        for ancestor in self.ancestors(entry):
            ancestor.descendant_fee_satoshi -= entry.fee_satoshi
            ancestor.descendant_size_bytes -= entry.size_bytes
        for descendant in self.descendants(entry):
            descendant.ancestor_fee_satoshi -= entry.fee_satoshi
            descendant.ancestor_size_bytes -= entry.size_bytes
        for txid in entry.parents:
            del self.entries[txid].children[entry.txid]
        for txid in entry.children:
            del self.entries[txid].parents[entry.txid]
        for item in entry.transaction.inputs:
            del self._spender[item.previous]
        del self.entries[entry.txid]
        self.size_bytes -= entry.size_bytes
        assert self.size_bytes >= 0

    def _remove_with_descendants(self, entry: MempoolEntry) -> list[bytes]:
        """Take one out and all that became impossible with it; returns their txids."""
        gone = [entry, *self.descendants(entry)]
        for item in reversed(gone):
            self._remove(item)
        return [item.txid for item in gone]

    def _trim(self) -> list[bytes]:
        """Evict the cheapest families until the pool fits; raises the floor above them."""
        gone: list[bytes] = []
        while self.size_bytes > self.options.size_bytes_max:
            # Among equals the latest goes.
            worst = min(
                self.entries.values(), key=lambda item: (item.eviction_rate, -item.sequence)
            )
            floor = worst.eviction_rate + self.options.relay_fee_rate_min
            self.fee_rate_floor = max(self.fee_rate_floor, floor)
            gone += self._remove_with_descendants(worst)
        return gone

    # The chain moves.

    def update(self, delivery: Delivery) -> PoolUpdate:
        """Follow the chain after a block was delivered.

        Parameters
        ----------
        delivery : Delivery
            What the chain's `deliver` returned.

        Returns
        -------
        PoolUpdate
            What was confirmed, came back or is gone.
        """
        before = set(self.entries)
        if delivery.disconnected:
            self._refill(delivery.disconnected)
        else:
            for block in delivery.connected:
                self._confirm(block)
        if self.size_bytes < self.options.size_bytes_max // 2:
            self.fee_rate_floor = self.options.relay_fee_rate_min
        nodes, is_active = self.chain.tree.nodes, self.chain.is_active
        blocks = [block for block in delivery.connected if is_active(nodes[block.block_id])]
        in_blocks = {transaction.txid for block in blocks for transaction in block.transactions}
        return PoolUpdate(
            confirmed=tuple(sorted(before & in_blocks)),
            returned=tuple(sorted(self.entries.keys() - before)),
            removed=tuple(sorted(before - self.entries.keys() - in_blocks)),
        )

    def _confirm(self, block: Block) -> None:
        """A block joined on top: its payments leave, and their rivals with all descendants."""
        for transaction in block.transactions:
            entry = self.entries.get(transaction.txid)
            if entry is not None:
                self._remove(entry)
                continue
            for item in transaction.inputs:
                rival = self._spender.get(item.previous)
                if rival is not None:
                    self._remove_with_descendants(self.entries[rival])

    def _refill(self, disconnected: tuple[Block, ...]) -> None:
        """Empty the pool and take what is still valid: first what the lost blocks held.

        Fees are not asked for again: these payments were relayed or mined before.
        """
        waiting = [
            transaction
            for block in reversed(disconnected)
            for transaction in block.transactions
            if not transaction.is_coinbase
        ]
        waiting += (entry.transaction for entry in self.entries.values())
        self.entries.clear()
        self._spender.clear()
        self.size_bytes = 0
        for transaction in waiting:
            try:
                entry = self._checked(transaction)
                self._check_scripts(entry)
            except ProtocolViolation:
                continue  # Confirmed in the new branch, or no longer valid.
            self._insert(entry)
        self._trim()


def _arrival(entry: MempoolEntry) -> int:
    """Order of arrival."""
    return entry.sequence
