"""Subsidy: the new coins of a block, halved every 210,000 blocks until none are left.

Rules of this file: integer satoshi only.

Theory of operation.  A block may pay its miner the fees of its transactions and a subsidy.  The
subsidy starts at 50 coins and is shifted right by one bit per halving, so that after 64 halvings
it is zero for certain (in fact after 33).  The sum of all subsidies stays just under 21 million
coins; no rule states that limit, it follows from the halvings and the rounding down.
"""

from __future__ import annotations

SATOSHI_PER_COIN = 100_000_000
MONEY_SATOSHI_MAX = 21_000_000 * SATOSHI_PER_COIN
"""Bound for every single amount and sum, in satoshi (Bitcoin Core, MAX_MONEY)."""

INITIAL_SUBSIDY_SATOSHI = 50 * SATOSHI_PER_COIN
HALVING_INTERVAL_BLOCKS = 210_000
HALVINGS_MAX = 64


def block_subsidy(height: int, *, halving_interval_blocks: int = HALVING_INTERVAL_BLOCKS) -> int:
    """New coins that the block at `height` may create, in satoshi.

    >>> [block_subsidy(height) for height in (0, 209_999, 210_000, 6_929_999, 6_930_000)]
    [5000000000, 5000000000, 2500000000, 1, 0]
    """
    halvings = height // halving_interval_blocks
    return INITIAL_SUBSIDY_SATOSHI >> halvings if halvings < HALVINGS_MAX else 0


def total_subsidy(
    block_count: int, *, halving_interval_blocks: int = HALVING_INTERVAL_BLOCKS
) -> int:
    """Sum of the subsidies of the first `block_count` blocks, the genesis block included, satoshi.

    >>> total_subsidy(6_930_000)  # The last satoshi; 21 million coins would be 2100000000000000.
    2099999997690000
    """
    total, first = 0, 0
    while first < block_count:
        reward = block_subsidy(first, halving_interval_blocks=halving_interval_blocks)
        if reward == 0:
            break
        last = min(block_count, first + halving_interval_blocks)
        total += (last - first) * reward
        first = last
    return total


def is_money(amount_satoshi: int) -> bool:
    """Is this an amount that can exist?"""
    return 0 <= amount_satoshi <= MONEY_SATOSHI_MAX
