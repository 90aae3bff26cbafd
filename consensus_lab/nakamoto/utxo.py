"""Unspent transaction outputs: every coin that exists, and nothing else.

Rules of this file: a block is applied whole or not at all, and can be taken back exactly.

Theory of operation.  The state of the ledger is a dictionary from a coin's name to the coin.  To
apply a transaction is to take its inputs out and put its outputs in; a coin that is not there
cannot be spent, which is all there is to preventing a double spend.  While a block is checked,
changes collect in a `CoinView` on top; when every rule holds they are written down at once, and
what was taken out is kept as the block's undo data, for the day a reorganisation leaves it.

The set keeps count of the money in it.  What came into being equals what is there plus what was
burned (outputs that say they can never be spent), after every block and every undo.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from consensus_lab.nakamoto.transaction import OutPoint, Transaction, TransactionOutput
from consensus_lab.node import ProtocolViolation


class Coin(NamedTuple):
    """An unspent output, and what its age depends on."""

    output: TransactionOutput
    height: int
    is_coinbase: bool

    @property
    def value_satoshi(self) -> int:
        """Amount."""
        return self.output.value_satoshi


class SpentCoin(NamedTuple):
    """A coin that a block took out, under its name."""

    name: OutPoint
    coin: Coin


class BlockUndo(NamedTuple):
    """What taking a block back needs."""

    spent: tuple[SpentCoin, ...]
    created: tuple[OutPoint, ...]
    minted_satoshi: int
    burned_satoshi: int


class UtxoSet:
    """All unspent outputs at one block of the chain.

    Parameters
    ----------
    coins : mapping of OutPoint to Coin, optional
        To start with, taken for granted.

    Attributes
    ----------
    total_satoshi : int
        Sum of all coins.
    minted_satoshi : int
        Sum of all coins that blocks created beyond the fees that they collected.
    burned_satoshi : int
        Sum of outputs that can never be spent.
    """

    def __init__(self, coins: Mapping[OutPoint, Coin] | None = None) -> None:
        self._coins = dict(coins or {})
        self.total_satoshi = sum(coin.value_satoshi for coin in self._coins.values())
        self.minted_satoshi = self.total_satoshi
        self.burned_satoshi = 0

    def __len__(self) -> int:
        return len(self._coins)

    def __contains__(self, name: object) -> bool:
        return name in self._coins

    def __iter__(self) -> Iterator[OutPoint]:
        return iter(self._coins)

    def get(self, name: OutPoint) -> Coin | None:
        """The coin of that name, or None when it is spent or never was."""
        return self._coins.get(name)

    def coins(self) -> Mapping[OutPoint, Coin]:
        """All coins, to read."""
        return self._coins

    def commit(self, view: CoinView, *, minted_satoshi: int) -> BlockUndo:
        """Write a checked block's changes down.

        Parameters
        ----------
        view : CoinView
            What its transactions took out and put in.
        minted_satoshi : int
            What its coinbase paid beyond the fees; negative when it left fees unclaimed.

        Returns
        -------
        BlockUndo
            For `undo`.
        """
        assert view.base is self
        for name, coin in view.spent.items():
            del self._coins[name]
            self.total_satoshi -= coin.value_satoshi
        for name, coin in view.created.items():
            self._coins[name] = coin
            self.total_satoshi += coin.value_satoshi
        self.minted_satoshi += minted_satoshi
        self.burned_satoshi += view.burned_satoshi
        self._check_supply()
        spent = tuple(SpentCoin(name, coin) for name, coin in view.spent.items())
        return BlockUndo(spent, tuple(view.created), minted_satoshi, view.burned_satoshi)

    def undo(self, undo: BlockUndo) -> None:
        """Take the last block back: remove what it made, return what it spent."""
        for name in undo.created:
            self.total_satoshi -= self._coins.pop(name).value_satoshi
        for name, coin in undo.spent:
            assert name not in self._coins
            self._coins[name] = coin
            self.total_satoshi += coin.value_satoshi
        self.minted_satoshi -= undo.minted_satoshi
        self.burned_satoshi -= undo.burned_satoshi
        self._check_supply()

    def _check_supply(self) -> None:
        """Nothing comes from nothing."""
        assert self.total_satoshi + self.burned_satoshi == self.minted_satoshi


class CoinView:
    """Changes of a block, or of a memory pool's transactions, on top of a set.

    Parameters
    ----------
    base : UtxoSet
        Not changed.
    """

    def __init__(self, base: UtxoSet) -> None:
        self.base = base
        # Coins of the base that are gone, and new ones that are still there.
        self.spent: dict[OutPoint, Coin] = {}
        self.created: dict[OutPoint, Coin] = {}
        self.burned_satoshi = 0

    def get(self, name: OutPoint) -> Coin | None:
        """The coin of that name as it stands here."""
        coin = self.created.get(name)
        if coin is None and name not in self.spent:
            coin = self.base.get(name)
        return coin

    def spend(self, name: OutPoint) -> Coin:
        """Take a coin out.

        Raises
        ------
        ProtocolViolation
            `bad-txns-inputs-missingorspent`: a double spend, or a coin that never was.
        """
        coin = self.get(name)
        if coin is None:
            raise ProtocolViolation("bad-txns-inputs-missingorspent", str(name))
        if name in self.created:
            del self.created[name]
        else:
            self.spent[name] = coin
        return coin

    def burn(self, name: OutPoint) -> None:
        """Lose a coin for ever: a later transaction of the same identity overwrote it."""
        self.burned_satoshi += self.spend(name).value_satoshi

    def add_outputs(self, transaction: Transaction, height: int) -> None:
        """Put a transaction's outputs in, except those that can never be spent."""
        txid, is_coinbase = transaction.txid, transaction.is_coinbase
        for position, output in enumerate(transaction.outputs):
            if output.is_unspendable:
                self.burned_satoshi += output.value_satoshi
            else:
                self.created[OutPoint(txid, position)] = Coin(output, height, is_coinbase)
