"""A full node's own books: chain, memory pool and wallet, kept in step and on disk.

Rules of this file: no peers; blocks and payments come in, effects for the node's owner come out.

Theory of operation.  Each block that the chain accepts is written to disk, whether or not it is on
the best branch, and a node that starts again delivers them to a fresh chain in the same order.
Pool and wallet follow the best branch.  The node's own payments are on disk too until six blocks
bury them, so a crash does not lose one that no miner had yet; a payment that a reorganisation
makes impossible stays there, in case the branch comes back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from consensus_lab.constants import CONFIRMATIONS_FOR_FINALITY
from consensus_lab.nakamoto.block import WEIGHT_MAX, Block, parse_block
from consensus_lab.nakamoto.block_selection import select
from consensus_lab.nakamoto.block_tree import BlockNode
from consensus_lab.nakamoto.chain import Chain, InvalidBlock
from consensus_lab.nakamoto.mempool import Mempool
from consensus_lab.nakamoto.mempool_entry import MempoolOptions
from consensus_lab.nakamoto.miner import block_template, mine
from consensus_lab.nakamoto.network_rules import NetworkRules
from consensus_lab.nakamoto.transaction import Transaction, parse_transaction
from consensus_lab.nakamoto.validation import ScriptCache
from consensus_lab.nakamoto.wallet import Wallet
from consensus_lab.node import Apply, Effects, Persist, ProtocolViolation, Unapply

PAYMENT_TRIES_MAX = 100
"""After a crash the wallet has forgotten which coins its pending payments take; each refusal by
the pool sets one payment's coins aside again."""


_COINS_TAKEN = frozenset({"txn-mempool-conflict", "txn-already-in-mempool"})


class Acceptance(NamedTuple):
    """What taking a block did: whether it was new, effects, and blocks found invalid meanwhile."""

    is_new: bool
    effects: Effects
    invalid: tuple[InvalidBlock, ...] = ()
    joined: tuple[Block, ...] = ()


class NodeLedger:
    """Chain, memory pool and wallet of one node.

    Parameters
    ----------
    rules : NetworkRules
        The network's numbers.
    wallet : Wallet
        The owner's; fresh, it is filled from the chain.
    disk : mapping
        What survived: blocks under `("block", n)`, payments under `("payment", txid)`.
    scripts : ScriptCache, optional
        May be shared between simulated nodes.
    options : MempoolOptions, optional
        Of the memory pool.
    """

    def __init__(
        self,
        rules: NetworkRules,
        wallet: Wallet,
        *,
        disk: Mapping[Any, Any],
        scripts: ScriptCache | None = None,
        options: MempoolOptions | None = None,
    ) -> None:
        self.chain = Chain(rules, scripts=scripts)
        self.pool = Mempool(self.chain, options)
        self.wallet = wallet
        # Own payments that are not buried yet, and the height of the block that holds each.
        self.payments: dict[bytes, Transaction] = {}
        self.payment_heights: dict[bytes, int] = {}
        # The owner's choice, up to what everybody accepts (Core, -blockmaxweight).
        self.block_weight_max = WEIGHT_MAX
        for key, data in disk.items():
            if key[0] == "payment":
                payment = parse_transaction(data)
                self.payments[payment.txid] = payment
        stored = sorted(key for key in disk if key[0] == "block")
        self.blocks_stored = stored[-1][1] + 1 if stored else 0
        self._replay([parse_block(disk[key]) for key in stored])
        self.restore_payments()

    def _replay(self, blocks: list[Block]) -> None:
        """Deliver stored blocks again; one may have come, after its header, before its parent."""
        held: dict[bytes, list[Block]] = {}
        for stored in blocks:
            ready = [stored]
            for block in ready:
                if block.header.previous not in self.chain.tree.nodes:
                    held.setdefault(block.header.previous, []).append(block)
                    continue
                self._deliver(block, now_s=block.header.time_s)
                ready += held.pop(block.block_id, [])

    def take(self, block: Block, *, now_s: int) -> Acceptance:
        """Take a block, write it to disk, and follow the chain.

        Raises
        ------
        ProtocolViolation
            When the chain refuses it.
        """
        accepted = self._deliver(block, now_s=now_s)
        if not accepted.is_new:
            return accepted
        data = block.serialize()
        write = Persist(((("block", self.blocks_stored), data),), len(data))
        self.blocks_stored += 1
        return accepted._replace(effects=[write, *accepted.effects, *self._forget_buried()])

    def _deliver(self, block: Block, *, now_s: int) -> Acceptance:
        """The chain decides; wallet and pool follow from the old tip to the new one."""
        old = self.chain.tip
        delivery = self.chain.deliver(block, now_s=now_s)
        new = self.chain.tip
        fork = self.chain.tree.fork_point(old, new)
        effects: Effects = []
        for node in _branch(old, fork):
            lost = self.chain.blocks[node.block_id]
            self.wallet.disconnect(lost, height=node.height)
            self._note_payments(lost, None)
            effects.append(Unapply(node.height, node.block_id))
        joined = []
        for node in reversed(_branch(new, fork)):
            won = self.chain.blocks[node.block_id]
            self.wallet.connect(won, height=node.height)
            self._note_payments(won, node.height)
            effects.append(Apply(node.height, node.block_id))
            joined.append(won)
        self.pool.update(delivery)
        return Acceptance(delivery.is_new, effects, delivery.invalid, tuple(joined))

    def _note_payments(self, block: Block, height: int | None) -> None:
        """Own payments in a block that joined at a height, or left."""
        for transaction in block.transactions:
            if height is None:
                self.payment_heights.pop(transaction.txid, None)
            elif transaction.txid in self.payments:
                self.payment_heights[transaction.txid] = height

    def _forget_buried(self) -> Effects:
        """Payments under six blocks need no care any more."""
        deep = self.chain.height - CONFIRMATIONS_FOR_FINALITY + 1
        buried = [txid for txid, height in self.payment_heights.items() if height <= deep]
        for txid in buried:
            self.payments.pop(txid, None)
            del self.payment_heights[txid]
        return [Persist(tuple((("payment", txid), None) for txid in buried))] if buried else []

    def restore_payments(self) -> list[bytes]:
        """Put pending payments back into the pool where they are missing; those in the pool."""
        for txid, transaction in self.payments.items():
            if txid not in self.pool and txid not in self.payment_heights:
                try:
                    self.pool.accept(transaction)
                except ProtocolViolation:
                    continue  # Not possible on this branch; perhaps on the next.
        return [txid for txid in self.payments if txid in self.pool]

    def pay(
        self, payee: str | bytes, value_satoshi: int, *, fee_rate_satoshi_per_byte: int
    ) -> Transaction:
        """Make a payment and put it into the pool.

        Raises
        ------
        ParameterError
            For an amount that the wallet cannot pay.
        ProtocolViolation
            When the pool refuses it.
        """
        for attempt in range(PAYMENT_TRIES_MAX):
            transaction = self.wallet.pay(
                payee, value_satoshi, fee_rate_satoshi_per_byte=fee_rate_satoshi_per_byte
            ).transaction
            try:
                self.pool.accept(transaction)
            except ProtocolViolation as violation:
                if violation.rule in _COINS_TAKEN and attempt + 1 < PAYMENT_TRIES_MAX:
                    continue  # The coins stay set aside for the payment that has them.
                self.wallet.release(transaction)
                raise
            self.payments[transaction.txid] = transaction
            return transaction
        raise AssertionError("the last try returns or raises")

    def mine(self, *, now_s: int, tag: bytes) -> Block:
        """Search a block on the tip with the best of the pool."""
        chosen = select(self.pool, weight_max=self.block_weight_max)
        template = block_template(
            self.chain,
            script_pubkey=self.wallet.scripts[0],
            now_s=now_s,
            transactions=chosen.transactions,
            fees_satoshi=chosen.fees_satoshi,
            tag=tag,
        )
        return mine(template)


def _branch(node: BlockNode, fork: BlockNode) -> list[BlockNode]:
    """From a block down to, and without, an ancestor."""
    path = []
    while node is not fork:
        path.append(node)
        assert node.parent is not None
        node = node.parent
    return path
