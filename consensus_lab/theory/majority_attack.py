"""Double spends within a limited time, and censorship: what changes at one half, and what not.

Theory of operation.  Per block the attacker finds it with probability q, the honest miners with
p = 1 - q.  The joint law of the honest blocks (counted up to z) and of the attacker's lead is
followed block by block; from the moment at which z honest blocks are there, a lead of zero or more
ends the attack.  Without a limit the sum is `double_spend_probability`, which is 1 from one half
on; with one the probability passes through one half without a step.

A censor who refuses a block starts one behind, wins one ahead, and gives up D behind: a gambler's
ruin, with chance (1 - r^(D-1)) / (1 - r^(D+1)) for r = p/q.
"""

from __future__ import annotations

import numpy as np

from consensus_lab.theory._checks import count, probability

BLOCKS_MAX = 20_000
"""The recursion takes z times the square of this many steps."""


def double_spend_within_probability(
    attacker_share: float, *, confirmations: int, blocks: int
) -> float:
    """Probability that a double spend succeeds before so many blocks are found by all together.

    Parameters
    ----------
    attacker_share : float
        q, in [0, 1].
    confirmations : int
        z, at least 0.
    blocks : int
        Found by all since the payment, at least 0.

    Returns
    -------
    float
        A probability; drawing level counts as success.

    Examples
    --------
    Six confirmations against 60 %, within a day (144 blocks) and without a limit:

    >>> round(double_spend_within_probability(0.6, confirmations=6, blocks=144), 6)
    0.999427
    >>> round(double_spend_within_probability(0.3, confirmations=6, blocks=1000), 6)
    0.15645
    """
    q = probability("attacker_share", attacker_share)
    z = count("confirmations", confirmations)
    n = count("blocks", blocks, at_most=BLOCKS_MAX)
    # weight[h, lead + n]: h honest blocks so far (z stands for z or more), attack under way.
    weight = np.zeros((z + 1, 2 * n + 1))
    weight[0, n] = 1.0
    success = 0.0
    for _ in range(n + 1):
        success += float(weight[z, n:].sum())
        weight[z, n:] = 0.0
        after = np.zeros_like(weight)
        after[:, 1:] += q * weight[:, :-1]
        after[1:, :-1] += (1.0 - q) * weight[:-1, 1:]
        after[z, :-1] += (1.0 - q) * weight[z, 1:]
        weight = after
    return min(1.0, success)


def censorship_probability(attacker_share: float, *, give_up_deficit: int) -> float:
    """Probability that a miner overtakes a block that it refuses.

    Parameters
    ----------
    attacker_share : float
        q, in [0, 1].
    give_up_deficit : int
        D, blocks behind the public chain at which it gives up, at least 1.

    Returns
    -------
    float
        A probability.

    Examples
    --------
    >>> round(censorship_probability(0.6, give_up_deficit=12), 4)
    0.9935
    >>> censorship_probability(0.5, give_up_deficit=3)
    0.5
    """
    q = probability("attacker_share", attacker_share)
    limit = count("give_up_deficit", give_up_deficit, at_least=1)
    if q in (0.0, 0.5, 1.0):
        return {0.0: 0.0, 0.5: (limit - 1) / (limit + 1), 1.0: float(limit > 1)}[q]
    ratio = (1.0 - q) / q
    if ratio > 1.0:  # The same fraction, with powers that do not overflow.
        ratio = 1.0 / ratio
        return ratio**2 * (1.0 - ratio ** (limit - 1)) / (1.0 - ratio ** (limit + 1))
    return (1.0 - ratio ** (limit - 1)) / (1.0 - ratio ** (limit + 1))
