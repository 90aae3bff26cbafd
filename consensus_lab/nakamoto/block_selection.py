"""Block selection: which payments of the pool a miner puts into its block.

Rules of this file: reads the pool, changes nothing; parents stand before children.

Theory of operation (Bitcoin Core, `BlockAssembler::addPackageTxs`).  A miner wants the most fees
per byte.  A payment cannot stand without its unconfirmed ancestors, so what is ranked is the
*package*: the payment with all ancestors that are not in the block yet, by the fee rate of the
whole.  A child with a high fee thus pulls a cheap parent in ("child pays for parent").  When a
package is taken, the packages of its descendants become smaller; they are ranked again.

It is a greedy choice, not the best one: filling a block optimally is a knapsack problem.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import NamedTuple

from consensus_lab.nakamoto.block import SIGNATURE_OPERATION_COST_MAX, WEIGHT_MAX
from consensus_lab.nakamoto.mempool import Mempool
from consensus_lab.nakamoto.mempool_entry import MempoolEntry, fee_rate
from consensus_lab.nakamoto.transaction import Transaction
from consensus_lab.node import ParameterError

RESERVED_WEIGHT = 4000
RESERVED_SIGNATURE_OPERATION_COST = 400
"""Left for the header and the coinbase (Core, DEFAULT_BLOCK_RESERVED_WEIGHT and node/miner)."""

FAILURES_MAX = 1000
"""Packages that do not fit, in a row, after which a nearly full block counts as full."""


class Selection(NamedTuple):
    """What to put into a block, parents before children."""

    transactions: tuple[Transaction, ...]
    fees_satoshi: int


class _Room:
    """What is left of a block."""

    def __init__(self, weight: int, cost: int) -> None:
        self.weight = weight
        self.cost = cost

    def take(self, package: list[MempoolEntry]) -> bool:
        """Make room for a package, or leave everything as it is."""
        weight = sum(entry.transaction.weight for entry in package)
        cost = sum(entry.signature_operation_cost for entry in package)
        if weight > self.weight or cost > self.cost:
            return False
        self.weight -= weight
        self.cost -= cost
        return True


def select(pool: Mempool, *, weight_max: int = WEIGHT_MAX) -> Selection:
    """Choose payments for the next block, packages with the highest fee rate first.

    Parameters
    ----------
    pool : Mempool
        To choose from.
    weight_max : int
        Weight of the whole block, header and coinbase included.

    Returns
    -------
    Selection
        The payments and the sum of their fees.
    """
    if not RESERVED_WEIGHT <= weight_max <= WEIGHT_MAX:
        raise ParameterError("weight_max", weight_max, f"{RESERVED_WEIGHT} to {WEIGHT_MAX}")
    cost_max = SIGNATURE_OPERATION_COST_MAX - RESERVED_SIGNATURE_OPERATION_COST
    room = _Room(weight_max - RESERVED_WEIGHT, cost_max)
    # Fee and size of each package, as far as it is not chosen yet.
    left = {e.txid: (e.ancestor_fee_satoshi, e.ancestor_size_bytes) for e in pool}
    ranking = [(-fee_rate(*left[e.txid]), e.sequence, e.txid) for e in pool]
    heapify(ranking)
    chosen: dict[bytes, MempoolEntry] = {}
    failures = 0
    while ranking and failures < FAILURES_MAX:
        rank, _, txid = heappop(ranking)
        if txid in chosen or -rank != fee_rate(*left[txid]):
            continue  # Ranked again since.
        entry = pool.entries[txid]
        package = [item for item in (*pool.ancestors(entry), entry) if item.txid not in chosen]
        if not room.take(package):
            failures += 1
            continue
        failures = 0
        for item in package:
            chosen[item.txid] = item
        for item in package:
            for descendant in pool.descendants(item):
                if descendant.txid in chosen:
                    continue
                fee, size = left[descendant.txid]
                left[descendant.txid] = (fee - item.fee_satoshi, size - item.size_bytes)
                rate = fee_rate(*left[descendant.txid])
                heappush(ranking, (-rate, descendant.sequence, descendant.txid))
    entries = chosen.values()
    return Selection(
        tuple(entry.transaction for entry in entries), sum(entry.fee_satoshi for entry in entries)
    )
