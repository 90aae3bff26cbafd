"""A world of blocks for tests: any branch, honest blocks and every kind of dishonest one.

Keeps the coins at every block, so that a valid block can be built on any of them, and builds
blocks with our own miner.  What a block *ought* to be judged as is not known here: that is for
the chain and for Bitcoin Core's engine to say.
"""

from __future__ import annotations

import random
from dataclasses import replace

from consensus_lab.nakamoto import keys
from consensus_lab.nakamoto.block import Block
from consensus_lab.nakamoto.encoding import NULL_ID, hash160, sha256
from consensus_lab.nakamoto.header import BlockHeader
from consensus_lab.nakamoto.miner import BLOCK_VERSION, BlockTemplate, mine
from consensus_lab.nakamoto.network_rules import REGTEST
from consensus_lab.nakamoto.pow import search_nonce
from consensus_lab.nakamoto.script import (
    pay_to_multisig,
    pay_to_public_key,
    pay_to_public_key_hash,
    pay_to_script_hash,
    pay_to_witness,
    push,
)
from consensus_lab.nakamoto.sighash import ALL, SignatureHasher
from consensus_lab.nakamoto.transaction import (
    OutPoint,
    Transaction,
    TransactionInput,
    TransactionOutput,
)
from consensus_lab.nakamoto.utxo import Coin
from consensus_lab.nakamoto.wallet import derive_private_key

START_S = 1_700_000_000
KEY_COUNT = 4
MATURITY = 100
FEE_SATOSHI = 1_000

Coins = dict[OutPoint, Coin]


class Owner:
    """Keys, and the scripts of every kind that they can satisfy."""

    def __init__(self) -> None:
        self.private = [derive_private_key(b"the owner of this world", i) for i in range(KEY_COUNT)]
        self.public = [keys.public_key(key) for key in self.private]
        self.guards: dict[bytes, tuple[str, int]] = {}
        for index, key in enumerate(self.public):
            self.guards[pay_to_public_key_hash(hash160(key))] = ("key hash", index)
            self.guards[pay_to_public_key(key)] = ("key", index)
            self.guards[pay_to_script_hash(hash160(self.redeem(index)))] = ("script hash", index)
            self.guards[pay_to_witness(0, hash160(key))] = ("witness key hash", index)
            self.guards[pay_to_witness(0, sha256(self.redeem(index)))] = ("witness script", index)
        self.guards[b"\x51"] = ("anyone", 0)

    def redeem(self, index: int) -> bytes:
        """Two signatures of this key and the next."""
        return pay_to_multisig(2, (self.public[index], self.public[(index + 1) % KEY_COUNT]))

    def sign(self, transaction: Transaction, coins: list[Coin]) -> Transaction:
        """Satisfy every input."""
        hasher = SignatureHasher(transaction)
        inputs = tuple(
            self._signed_input(hasher, position, item, coin)
            for position, (item, coin) in enumerate(zip(transaction.inputs, coins, strict=True))
        )
        return replace(transaction, inputs=inputs)

    def _signed_input(
        self, hasher: SignatureHasher, position: int, item: TransactionInput, coin: Coin
    ) -> TransactionInput:
        """One input, by the kind of its coin's script."""
        kind, index = self.guards[coin.output.script_pubkey]
        pair = (index, (index + 1) % KEY_COUNT)

        def classic(signer: int, code: bytes) -> bytes:
            return keys.sign(self.private[signer], hasher.legacy(position, code, ALL)) + b"\x01"

        def modern(signer: int, code: bytes) -> bytes:
            digest = hasher.witness_v0(position, code, ALL, value_satoshi=coin.value_satoshi)
            return keys.sign(self.private[signer], digest) + b"\x01"

        key, redeem = self.public[index], self.redeem(index)
        code = coin.output.script_pubkey
        if kind == "key hash":
            return item._replace(script_sig=push(classic(index, code)) + push(key))
        if kind == "key":
            return item._replace(script_sig=push(classic(index, code)))
        if kind == "script hash":
            signatures = b"".join(push(classic(signer, redeem)) for signer in pair)
            return item._replace(script_sig=b"\x00" + signatures + push(redeem))
        if kind == "witness key hash":
            code = pay_to_public_key_hash(hash160(key))
            return item._replace(witness=(modern(index, code), key))
        if kind == "witness script":
            signatures_w = tuple(modern(signer, redeem) for signer in pair)
            return item._replace(witness=(b"", *signatures_w, redeem))
        return item


class BlockWorld:
    """Blocks by name of their parents, and the coins after each.

    Parameters
    ----------
    seed : int
        Of every choice.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.owner = Owner()
        genesis = REGTEST.genesis
        self.heights = {genesis.block_id: 0}
        self.coins: dict[bytes, Coins] = {genesis.block_id: {}}
        self.blocks: dict[bytes, Block] = {genesis.block_id: genesis}
        self.count = 0

    def guard(self) -> bytes:
        """A random script that the owner can satisfy."""
        return self.random.choice(list(self.owner.guards))

    def time_s(self, parent_id: bytes) -> int:
        """A time that is right for a child: seldom in order, always above the median."""
        return max(START_S, self.median_time_s(parent_id) + self.random.randrange(1, 1200))

    def median_time_s(self, block_id: bytes) -> int:
        """Median of the times of a block and up to ten ancestors."""
        times: list[int] = []
        block = self.blocks.get(block_id)
        while block is not None and len(times) < 11:
            times.append(block.header.time_s)
            block = self.blocks.get(block.header.previous)
        return sorted(times)[len(times) // 2]

    def template(
        self,
        parent_id: bytes,
        transactions: tuple[Transaction, ...] = (),
        *,
        excess_satoshi: int = 0,
        script_pubkey: bytes | None = None,
    ) -> BlockTemplate:
        """A block to be mined on any parent."""
        self.count += 1
        height = self.heights[parent_id] + 1
        fees = self._fees(parent_id, transactions)
        nbits = REGTEST.retarget.nbits_max
        header = BlockHeader(BLOCK_VERSION, parent_id, NULL_ID, self.time_s(parent_id), nbits, 0)
        reward = REGTEST.subsidy_satoshi(height) + fees + excess_satoshi
        guard = self.guard() if script_pubkey is None else script_pubkey
        tag = self.count.to_bytes(4, "little")
        return BlockTemplate(header, height, reward, guard, transactions, tag)

    def _fees(self, parent_id: bytes, transactions: tuple[Transaction, ...]) -> int:
        """Sum of what the transactions leave; a coin that is not there counts as nothing."""
        coins = dict(self.coins[parent_id])
        total = 0
        for transaction in transactions:
            spent = [coins[i.previous] for i in transaction.inputs if i.previous in coins]
            value_in = sum(coin.value_satoshi for coin in spent)
            total += max(0, value_in - transaction.value_out_satoshi)
            _apply(coins, transaction, 0)
        return total

    def add(self, block: Block) -> Block:
        """Remember a block and the coins after it, as if it were valid."""
        parent_id = block.header.previous
        height = self.heights[parent_id] + 1
        coins = dict(self.coins[parent_id])
        for transaction in block.transactions:
            _apply(coins, transaction, height)
        self.heights[block.block_id] = height
        self.coins[block.block_id] = coins
        self.blocks[block.block_id] = block
        return block

    def honest_block(self, parent_id: bytes, *, payments: int = 0) -> Block:
        """Mine a block with so many payments, some of which spend each other."""
        return self.add(mine(self.template(parent_id, self.payments(parent_id, payments))))

    def payments(self, parent_id: bytes, count: int) -> tuple[Transaction, ...]:
        """Valid payments on top of a block, in an order that is allowed."""
        height = self.heights[parent_id] + 1
        coins = dict(self.coins[parent_id])
        made: list[Transaction] = []
        for _ in range(count):
            ripe = [name for name in sorted(coins) if is_ripe(coins[name], height)]
            ripe = [name for name in ripe if coins[name].output.script_pubkey in self.owner.guards]
            if not ripe:
                break
            names = self.random.sample(ripe, min(len(ripe), self.random.choice((1, 1, 2, 3))))
            transaction = self.payment([(name, coins[name]) for name in names])
            if transaction is None:
                continue
            made.append(transaction)
            _apply(coins, transaction, height)
        return tuple(made)

    def payment(
        self, spent: list[tuple[OutPoint, Coin]], *, lock_time: int = 0, sequence: int = 0xFFFFFFFF
    ) -> Transaction | None:
        """Spend these coins into one to three new ones; None when they are worth too little."""
        value = sum(coin.value_satoshi for _, coin in spent) - FEE_SATOSHI
        if value < 3:
            return None
        parts = self.random.randrange(1, 4)
        shares = [value // parts] * (parts - 1)
        shares.append(value - sum(shares))
        outputs = [TransactionOutput(share, self.guard()) for share in shares]
        if self.random.random() < 0.1:
            outputs.append(TransactionOutput(0, b"\x6a\x04note"))
        inputs = tuple(TransactionInput(name, sequence=sequence) for name, _ in spent)
        blank = Transaction(inputs, tuple(outputs), self.random.choice((1, 2)), lock_time)
        return self.owner.sign(blank, [coin for _, coin in spent])


def is_ripe(coin: Coin, height: int) -> bool:
    """May it be spent at this height?"""
    return not coin.is_coinbase or height - coin.height >= MATURITY


def _apply(coins: Coins, transaction: Transaction, height: int) -> None:
    """Take out and put in, without asking whether that is allowed."""
    for item in transaction.inputs:
        coins.pop(item.previous, None)
    for position, output in enumerate(transaction.outputs):
        if not output.is_unspendable:
            name = OutPoint(transaction.txid, position)
            coins[name] = Coin(output, height, transaction.is_coinbase)


def mine_changed(block: Block, **changes: int | bytes) -> Block:
    """The block with another header, with a proof of work for it."""
    header = search_nonce(replace(block.header, **changes))
    assert header is not None
    return replace(block, header=header)
