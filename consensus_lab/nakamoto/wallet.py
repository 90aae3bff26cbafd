"""Wallet: keys, the coins that they own, and payments made of them.

Rules of this file: a wallet trusts its own node's chain and nothing else; it only ever learns of
blocks that joined or left it.

Theory of operation (essay, "unspent transaction output").  Coins cannot be divided: to pay 10 out
of a coin of 100 a wallet consumes the whole coin, pays 10 to the payee and gives the rest, less
the miner's fee, to itself as change.  It selects the largest coins first, which keeps transactions
small; change too small to be worth spending is left to the miner.  Each input is signed with the
key that owns its coin, over the whole transaction, so nobody can redirect the payment afterwards.

Coins in the wallet's own unconfirmed payments are set aside, so that it does not double-spend by
accident; `release` frees them when a payment will never confirm.
"""

from __future__ import annotations

from typing import NamedTuple

from consensus_lab.nakamoto import keys
from consensus_lab.nakamoto.address import (
    MAINNET_FORMAT,
    AddressFormat,
    address_to_script,
    public_key_address,
)
from consensus_lab.nakamoto.block import Block
from consensus_lab.nakamoto.encoding import hash160, sha256
from consensus_lab.nakamoto.network_rules import COINBASE_MATURITY_BLOCKS
from consensus_lab.nakamoto.script import pay_to_public_key_hash, push
from consensus_lab.nakamoto.sighash import ALL, SignatureHasher
from consensus_lab.nakamoto.subsidy import is_money
from consensus_lab.nakamoto.transaction import (
    OutPoint,
    Transaction,
    TransactionInput,
    TransactionOutput,
)
from consensus_lab.nakamoto.utxo import Coin
from consensus_lab.node import ParameterError

INPUT_SIZE_BYTES = 148
OUTPUT_SIZE_BYTES = 34
OVERHEAD_SIZE_BYTES = 10
"""Sizes of a P2PKH payment's parts; a signature is at most 72 bytes, its key 33."""

DUST_SATOSHI = 546
"""Amounts below cost more to spend than they are worth (Bitcoin Core, at 3 satoshi per byte)."""

FEE_RATE_SATOSHI_PER_BYTE = 1


class OwnedCoin(NamedTuple):
    """A coin of the wallet: its name, itself, and which key owns it."""

    name: OutPoint
    coin: Coin
    key_index: int


class Payment(NamedTuple):
    """A signed transaction and the fee that it leaves."""

    transaction: Transaction
    fee_satoshi: int


class InsufficientFunds(ParameterError):
    """The wallet's mature, free coins do not suffice."""

    def __init__(self, wanted_satoshi: int, available_satoshi: int) -> None:
        allowed = f"at most the {available_satoshi} satoshi that can be spent, fee included"
        super().__init__("value_satoshi", wanted_satoshi, allowed)
        self.arguments = (wanted_satoshi, available_satoshi)

    def __reduce__(self) -> tuple[type, tuple[int, int]]:  # type: ignore[override]
        return InsufficientFunds, self.arguments


class Wallet:
    """Keys derived from one seed, and their coins.

    Parameters
    ----------
    seed : bytes
        Secret that all keys come from; at least 16 bytes.
    key_count : int
        How many keys to make.
    maturity_blocks : int
        Blocks before a coinbase may be spent; the network's.
    address_format : AddressFormat
        How addresses start; the network's.
    """

    def __init__(
        self,
        seed: bytes,
        *,
        key_count: int = 1,
        maturity_blocks: int = COINBASE_MATURITY_BLOCKS,
        address_format: AddressFormat = MAINNET_FORMAT,
    ) -> None:
        if len(seed) < 16:
            raise ParameterError("seed", f"{len(seed)} bytes", "at least 16 bytes long")
        if key_count < 1:
            raise ParameterError("key_count", key_count, "at least 1")
        self.maturity_blocks = maturity_blocks
        self.address_format = address_format
        self._private_keys = [derive_private_key(seed, index) for index in range(key_count)]
        self.public_keys = [keys.public_key(key) for key in self._private_keys]
        self.scripts = [pay_to_public_key_hash(hash160(key)) for key in self.public_keys]
        self._key_by_script = {script: index for index, script in enumerate(self.scripts)}
        self._coins: dict[OutPoint, OwnedCoin] = {}
        # Own coins that blocks spent, under the block that did, to give back if it leaves.
        self._spent_by_block: dict[bytes, list[OwnedCoin]] = {}
        self._reserved: set[OutPoint] = set()
        # Height of the chain as far as the wallet was told.
        self.height = 0

    def address(self, index: int = 0) -> str:
        """The address of a key."""
        return public_key_address(self.public_keys[index], self.address_format)

    def connect(self, block: Block, *, height: int) -> None:
        """A block joined the chain: coins come and go."""
        spent = []
        for transaction in block.transactions:
            for item in transaction.inputs:
                owned = self._coins.pop(item.previous, None)
                if owned is not None:
                    spent.append(owned)
                    self._reserved.discard(item.previous)
            self._add_outputs(transaction, height)
        if spent:
            self._spent_by_block[block.block_id] = spent
        self.height = height

    def _add_outputs(self, transaction: Transaction, height: int) -> None:
        """Keep the outputs that pay one of our keys."""
        for position, output in enumerate(transaction.outputs):
            index = self._key_by_script.get(output.script_pubkey)
            if index is not None:
                name = OutPoint(transaction.txid, position)
                coin = Coin(output, height, transaction.is_coinbase)
                self._coins[name] = OwnedCoin(name, coin, index)

    def disconnect(self, block: Block, *, height: int) -> None:
        """The last block left the chain: what it brought goes, what it took comes back.

        What comes back stays set aside: the payment that took it returns to the memory pool.
        """
        for owned in self._spent_by_block.pop(block.block_id, ()):
            self._coins[owned.name] = owned
            self._reserved.add(owned.name)
        for transaction in block.transactions:
            for position in range(len(transaction.outputs)):
                name = OutPoint(transaction.txid, position)
                self._coins.pop(name, None)
                self._reserved.discard(name)
        self.height = height - 1

    @property
    def balance_satoshi(self) -> int:
        """All confirmed coins, mature or not."""
        return sum(owned.coin.value_satoshi for owned in self._coins.values())

    def spendable(self) -> list[OwnedCoin]:
        """Mature coins that no payment of ours has taken, the largest first.

        Coinbases of the next block's maturity count: a payment stands in the next block at best.
        """
        next_height = self.height + 1
        coins = [
            owned
            for owned in self._coins.values()
            if owned.name not in self._reserved
            and not (
                owned.coin.is_coinbase and next_height - owned.coin.height < self.maturity_blocks
            )
        ]
        return sorted(coins, key=lambda owned: (-owned.coin.value_satoshi, owned.name))

    def pay(
        self,
        payee: str | bytes,
        value_satoshi: int,
        *,
        fee_rate_satoshi_per_byte: int = FEE_RATE_SATOSHI_PER_BYTE,
    ) -> Payment:
        """Make and sign a payment, and set its coins aside.

        Parameters
        ----------
        payee : str or bytes
            An address, or a script.
        value_satoshi : int
            What the payee gets.
        fee_rate_satoshi_per_byte : int
            What the miner gets per byte.

        Returns
        -------
        Payment
            Ready to be sent.

        Raises
        ------
        InsufficientFunds
            When the free, mature coins do not suffice.
        ParameterError
            For an amount that cannot be paid.
        ProtocolViolation
            `bad-address`.
        """
        if value_satoshi < DUST_SATOSHI or not is_money(value_satoshi):
            raise ParameterError("value_satoshi", value_satoshi, f"at least {DUST_SATOSHI} satoshi")
        if fee_rate_satoshi_per_byte < 0:
            raise ParameterError("fee_rate_satoshi_per_byte", fee_rate_satoshi_per_byte, ">= 0")
        script = address_to_script(payee, self.address_format) if isinstance(payee, str) else payee
        coins, fee = self._select(value_satoshi, fee_rate_satoshi_per_byte)
        outputs = [TransactionOutput(value_satoshi, script)]
        change = sum(owned.coin.value_satoshi for owned in coins) - value_satoshi - fee
        change_fee = OUTPUT_SIZE_BYTES * fee_rate_satoshi_per_byte
        if change - change_fee >= DUST_SATOSHI:
            change_script = self.scripts[coins[0].key_index]
            outputs.append(TransactionOutput(change - change_fee, change_script))
            fee += change_fee
        else:
            fee += change
        self._reserved.update(owned.name for owned in coins)
        return Payment(self.sign(coins, tuple(outputs)), fee)

    def _select(self, value_satoshi: int, fee_rate: int) -> tuple[list[OwnedCoin], int]:
        """Largest coins until amount and fee are there; the fee is for one output."""
        chosen: list[OwnedCoin] = []
        available, fee = 0, (OVERHEAD_SIZE_BYTES + OUTPUT_SIZE_BYTES) * fee_rate
        for owned in self.spendable():
            if available >= value_satoshi + fee:
                break
            chosen.append(owned)
            available += owned.coin.value_satoshi
            fee += INPUT_SIZE_BYTES * fee_rate
        if available < value_satoshi + fee:
            raise InsufficientFunds(value_satoshi, max(0, available - fee))
        return chosen, fee

    def sign(
        self, coins: list[OwnedCoin], outputs: tuple[TransactionOutput, ...], *, lock_time: int = 0
    ) -> Transaction:
        """Spend these coins into these outputs, every input signed by its owner."""
        blank = Transaction(
            tuple(TransactionInput(owned.name) for owned in coins), outputs, lock_time=lock_time
        )
        hasher = SignatureHasher(blank)
        inputs = tuple(
            item._replace(script_sig=self._script_sig(hasher, position, owned))
            for position, (item, owned) in enumerate(zip(blank.inputs, coins, strict=True))
        )
        return Transaction(inputs, outputs, blank.version, lock_time)

    def _script_sig(self, hasher: SignatureHasher, position: int, owned: OwnedCoin) -> bytes:
        """Signature and key, which is what a P2PKH coin asks for."""
        digest = hasher.legacy(position, owned.coin.output.script_pubkey, ALL)
        signature = keys.sign(self._private_keys[owned.key_index], digest) + bytes((ALL,))
        return push(signature) + push(self.public_keys[owned.key_index])

    def release(self, transaction: Transaction) -> None:
        """Free the coins of a payment that will not confirm."""
        self._reserved.difference_update(item.previous for item in transaction.inputs)


def derive_private_key(seed: bytes, index: int) -> bytes:
    """Key number `index` of a seed: SHA-256 of both, again in the rare case that it is no key."""
    material = sha256(seed + index.to_bytes(4, "big"))
    while not 0 < int.from_bytes(material, "big") < keys.CURVE_ORDER:
        material = sha256(material)
    return material
