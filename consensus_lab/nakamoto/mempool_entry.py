"""Memory pool entries: a payment that waits, its fee rate, and the limits of a pool.

Rules of this file: plain values; the pool keeps the sums right.
"""

from __future__ import annotations

from dataclasses import dataclass

from consensus_lab.nakamoto.transaction import Transaction
from consensus_lab.node import ParameterError

KILOBYTE = 1000


def fee_rate(fee_satoshi: int, size_bytes: int) -> int:
    """Satoshi per 1000 virtual bytes, rounded down.

    Examples
    --------
    >>> fee_rate(450, 225)
    2000
    """
    return fee_satoshi * KILOBYTE // size_bytes


@dataclass(frozen=True)
class MempoolOptions:
    """What a node's owner may choose; the defaults are Bitcoin Core's.

    Parameters
    ----------
    size_bytes_max : int
        Virtual size of all payments together.
    relay_fee_rate_min : int
        Satoshi per 1000 virtual bytes below which nothing is taken; also by how much the floor
        lies above the rate of what was evicted.
    ancestors_max, descendants_max : int
        Longest family, the transaction itself included.
    """

    size_bytes_max: int = 300_000_000
    relay_fee_rate_min: int = 1000
    ancestors_max: int = 25
    descendants_max: int = 25

    def __post_init__(self) -> None:
        for name in ("size_bytes_max", "ancestors_max", "descendants_max"):
            if getattr(self, name) < 1:
                raise ParameterError(name, getattr(self, name), "at least 1")
        if self.relay_fee_rate_min < 0:
            raise ParameterError("relay_fee_rate_min", self.relay_fee_rate_min, "0 or more")


class MempoolEntry:
    """A payment in the pool, with the sums over its family that decisions need.

    Attributes
    ----------
    sequence : int
        Order of arrival.
    parents, children : dict of bytes to None
        Those in the pool, by txid, in order of arrival.
    ancestor_fee_satoshi, ancestor_size_bytes : int
        Sums over itself and all ancestors in the pool.
    descendant_fee_satoshi, descendant_size_bytes : int
        Sums over itself and all descendants.
    """

    __slots__ = (
        "ancestor_fee_satoshi", "ancestor_size_bytes", "children", "descendant_fee_satoshi",
        "descendant_size_bytes", "fee_satoshi", "parents", "sequence",
        "signature_operation_cost", "size_bytes", "transaction",
    )  # fmt: skip

    def __init__(self, transaction: Transaction, *, fee_satoshi: int, cost: int) -> None:
        self.transaction = transaction
        self.fee_satoshi = fee_satoshi
        self.size_bytes = transaction.virtual_size_bytes
        self.signature_operation_cost = cost
        self.sequence = 0
        self.parents: dict[bytes, None] = {}
        self.children: dict[bytes, None] = {}
        self.ancestor_fee_satoshi = self.descendant_fee_satoshi = fee_satoshi
        self.ancestor_size_bytes = self.descendant_size_bytes = self.size_bytes

    @property
    def txid(self) -> bytes:
        """Its identity."""
        return self.transaction.txid

    @property
    def eviction_rate(self) -> int:
        """Its own fee rate or that with its descendants, whichever is higher."""
        own = fee_rate(self.fee_satoshi, self.size_bytes)
        return max(own, fee_rate(self.descendant_fee_satoshi, self.descendant_size_bytes))
