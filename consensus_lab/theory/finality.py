"""How long confirmations take, and how many transactions a block chain can carry.

Blocks come as a Poisson process with a mean interval T (no network delay, difficulty settled), so
the time until z confirmations is Erlang distributed with shape z and mean z T.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from scipy import special

from consensus_lab.constants import BLOCK_INTERVAL_S
from consensus_lab.theory._checks import count, number


class ConfirmationTime(NamedTuple):
    """Mean and standard deviation of the time until z confirmations, seconds."""

    mean_s: float
    sd_s: float


def confirmation_time(
    confirmations: int, *, block_interval_s: float = BLOCK_INTERVAL_S
) -> ConfirmationTime:
    """Mean z T and standard deviation T sqrt(z) of the time until z confirmations.

    Parameters
    ----------
    confirmations : int
        z, at least 1.
    block_interval_s : float
        T, the mean block interval, seconds.

    Returns
    -------
    ConfirmationTime
        Both in seconds (Erlang distribution).

    Examples
    --------
    The essay's six confirmations are sixty minutes only on average:

    >>> time = confirmation_time(6)
    >>> time.mean_s / 60, round(time.sd_s / 60, 2)
    (60.0, 24.49)
    """
    z = count("confirmations", confirmations, at_least=1)
    interval = number("block_interval_s", block_interval_s, above=0.0)
    return ConfirmationTime(z * interval, interval * math.sqrt(z))


def confirmation_time_quantile_s(
    confirmations: int, *, share: float, block_interval_s: float = BLOCK_INTERVAL_S
) -> float:
    """Time by which a share of all payments has z confirmations.

    T P^-1(z, share) with the inverse of the regularised lower incomplete gamma function.

    Parameters
    ----------
    confirmations : int
        z, at least 1.
    share : float
        The share of payments, in (0, 1).
    block_interval_s : float
        T, the mean block interval, seconds.

    Returns
    -------
    float
        Seconds.

    Examples
    --------
    One payment in ten waits longer than 92 minutes for its six confirmations:

    >>> round(confirmation_time_quantile_s(6, share=0.9) / 60, 2)
    92.75
    """
    z = count("confirmations", confirmations, at_least=1)
    part = number("share", share, above=0.0, below=1.0)
    interval = number("block_interval_s", block_interval_s, above=0.0)
    return interval * float(special.gammaincinv(z, part))


def confirmed_within_probability(
    confirmations: int, *, time_s: float, block_interval_s: float = BLOCK_INTERVAL_S
) -> float:
    """Probability that z confirmations come within a time: P(z, t/T).

    Parameters
    ----------
    confirmations : int
        z, at least 1.
    time_s : float
        t, seconds.
    block_interval_s : float
        T, the mean block interval, seconds.

    Returns
    -------
    float
        A probability (Erlang distribution function).

    Examples
    --------
    Six confirmations within the hour are only a little likelier than not:

    >>> round(confirmed_within_probability(6, time_s=3600.0), 4)
    0.5543
    """
    z = count("confirmations", confirmations, at_least=1)
    time = number("time_s", time_s, at_least=0.0)
    interval = number("block_interval_s", block_interval_s, above=0.0)
    return float(special.gammainc(z, time / interval))


def transactions_per_block(*, block_size_bytes: float, transaction_size_bytes: float) -> float:
    """How many transactions of a mean size fit into a block.

    Parameters
    ----------
    block_size_bytes, transaction_size_bytes : float
        Sizes, bytes.

    Returns
    -------
    float
        Transactions per block (a mean, not rounded).

    Examples
    --------
    >>> transactions_per_block(block_size_bytes=1_000_000, transaction_size_bytes=250)
    4000.0
    """
    block = number("block_size_bytes", block_size_bytes, above=0.0)
    return block / number("transaction_size_bytes", transaction_size_bytes, above=0.0)


def transactions_per_second(
    transactions_in_block: float,
    *,
    block_interval_s: float = BLOCK_INTERVAL_S,
    stale_fraction: float = 0.0,
) -> float:
    """Throughput of a chain: n (1 - s) / T.

    Parameters
    ----------
    transactions_in_block : float
        n, transactions per block.
    block_interval_s : float
        T, the mean time between mined blocks, seconds.
    stale_fraction : float
        s, the share of mined blocks that do not end up in the chain, in [0, 1).

    Returns
    -------
    float
        Transactions per second.

    Examples
    --------
    The essay's 7 TPS need 4,200 transactions per block:

    >>> transactions_per_second(4200)
    7.0
    """
    transactions = number("transactions_in_block", transactions_in_block, at_least=0.0)
    interval = number("block_interval_s", block_interval_s, above=0.0)
    stale = number("stale_fraction", stale_fraction, at_least=0.0, below=1.0)
    return transactions * (1.0 - stale) / interval
