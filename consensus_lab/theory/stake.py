"""Settlement under proof of stake: how deep a slot must be before it cannot be reversed.

Theory of operation (Blum, Kiayias, Moore, Quader and Russell 2020).  Every slot has one leader,
adversarial with probability alpha, otherwise honest; messages arrive before the next slot.  An
adversarial leader may extend any chains it likes.  Two numbers summarise all chains that the
adversary can hold back: the *reach* rho (how far its best chain is ahead) and the *margin* mu (the
same for the best chain that parts from it before the slot in question).  Per slot

    adversarial: rho + 1, mu + 1;
    honest: rho -> max(rho - 1, 0); mu -> mu - 1, except that mu stays 0 when rho > mu = 0.

The slot can still be reversed k slots later exactly when mu >= 0.  Before the slot the reach of a
long history is geometric with ratio b = alpha / (1 - alpha); at the slot mu = rho.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from consensus_lab.theory._checks import count, minority

SLOTS_MAX = 2000
"""The recursion takes about k^3 steps and k^2 memory."""

Array = NDArray[np.float64]


def _one_slot(weight: Array, alpha: float, zero: int) -> Array:
    """Advance the joint distribution weight[rho, mu + zero] by one slot."""
    after = np.zeros_like(weight)
    after[1:, 1:] += alpha * weight[:-1, :-1]
    honest = (1.0 - alpha) * weight
    # rho > mu = 0: the margin keeps its place.
    kept = honest[1:, zero].copy()
    honest[1:, zero] = 0.0
    after[:-1, zero] += kept
    after[:-1, :-1] += honest[1:, 1:]
    after[0, :-1] += honest[0, 1:]
    return after


def settlement_failure_probability(
    adversarial_share: float, *, slots: int, empty_prefix: bool = False
) -> float:
    """Probability that a slot can be reversed k slots later, against the best adversary.

    Parameters
    ----------
    adversarial_share : float
        alpha, the probability that a slot's leader is adversarial, in [0, 1/2).
    slots : int
        k, slots after (and with) the slot in question, at least 1.
    empty_prefix : bool
        Start at the genesis (reach 0) instead of after a long history.

    Returns
    -------
    float
        A probability; a sum of positive terms, so its relative precision does not fade.

    Examples
    --------
    >>> round(settlement_failure_probability(0.3, slots=20), 10)
    0.1332020118
    >>> round(settlement_failure_probability(0.05, slots=2, empty_prefix=True), 10)
    0.0975
    """
    alpha = minority("adversarial_share", adversarial_share)
    k = count("slots", slots, at_least=1, at_most=SLOTS_MAX)
    ratio = alpha / (1.0 - alpha)
    # A reach above k cannot be worked off: it is added whole instead of followed.
    starts = 1 if empty_prefix else k + 1
    weight = np.zeros((starts + k, starts + 2 * k))
    for reach in range(starts):
        share = 1.0 if empty_prefix else (1.0 - ratio) * ratio**reach
        weight[reach, reach + k] = share
    for _ in range(k):
        weight = _one_slot(weight, alpha, k)
    beyond = 0.0 if empty_prefix else ratio**starts
    return float(np.sum(np.sort(weight[:, k:], axis=None))) + beyond
