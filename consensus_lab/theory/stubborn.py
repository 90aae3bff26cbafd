"""Stubborn mining: SM1 with one or more of its retreats refused.

Theory of operation (the strategies of Nayak, Kumar, Miller and Shi 2016, on the chain of
`_withholding`, whose notation is used here).  SM1 after an honest block: adopt when behind, match
a tie (a = h), override with a lead of one (a = h + 1), wait with a larger lead.  After its own
block: override when that wins a race or a fork (a = h + 1, h > 0), otherwise wait.

    Lead stubborn (L)        never overrides after an honest block: it matches instead, and keeps
                             its lead.
    Equal-fork stubborn (F)  does not publish the block that would win a race: it races on.
    Trail stubborn (T_j)     does not adopt while at most j blocks behind, provided that it has a
                             block of its own; when it draws level by its own block it waits, when
                             it gets ahead it overrides.

The strategies can be combined.
"""

from __future__ import annotations

import numpy as np

from consensus_lab.theory import _withholding as chain
from consensus_lab.theory._checks import count, minority, probability

STUBBORN_STRATEGIES = {
    "sm1": (False, False, 0),
    "L": (True, False, 0),
    "F": (False, True, 0),
    "LF": (True, True, 0),
    "T1": (False, False, 1),
    "LT1": (True, False, 1),
    "FT1": (False, True, 1),
    "LFT1": (True, True, 1),
    "T2": (False, False, 2),
}
"""Name -> (lead stubborn, equal-fork stubborn, trail)."""


def stubborn_policy(truncation: int, lead: bool, equal_fork: bool, trail: int) -> chain.Policy:
    """Action of every state (a, h, fork); the truncation's border overrides or adopts.

    Parameters
    ----------
    truncation : int
        T, the longest branch considered.
    lead, equal_fork : bool
        Lead stubborn, equal-fork stubborn.
    trail : int
        How many blocks behind the pool goes on.

    Returns
    -------
    numpy.ndarray
        Actions of `_withholding`, shape (T + 1, T + 1, 3).

    Examples
    --------
    >>> stubborn_policy(10, False, False, 0)[1, 1]  # A tie: wait, match, match.
    array([2, 3, 3], dtype=int8)
    """
    size = truncation + 1
    a, h = np.indices((size, size))
    policy = np.full((size, size, 3), chain.WAIT, np.int8)
    behind = (a < h) & ~((h - a <= trail) & (a >= 1))
    one_ahead = a == h + 1
    after_honest = policy[:, :, chain.RELEVANT]
    after_honest[a == h] = chain.MATCH
    after_honest[one_ahead] = chain.MATCH if lead else chain.OVERRIDE
    if lead:
        after_honest[a > h + 1] = chain.MATCH
    policy[:, :, chain.IRRELEVANT][one_ahead & (h > 0)] = chain.OVERRIDE
    racing = policy[:, :, chain.ACTIVE]
    racing[a >= h] = chain.MATCH
    if not equal_fork:
        racing[one_ahead] = chain.OVERRIDE
    policy[behind] = chain.ADOPT
    border = (a == truncation) | (h == truncation)
    policy[border] = np.where(a > h, chain.OVERRIDE, chain.ADOPT)[border][:, None]
    return policy


def stubborn_mining_revenue(
    alpha: float,
    *,
    gamma: float,
    lead: bool = False,
    equal_fork: bool = False,
    trail: int = 0,
    truncation: int = 70,
) -> float:
    """Relative revenue of a stubborn strategy; without any stubbornness that of SM1.

    Parameters
    ----------
    alpha : float
        The pool's share, in [0, 1/2).
    gamma : float
        Share of the honest miners on the pool's branch in a race, in [0, 1].
    lead, equal_fork : bool
        Lead stubborn, equal-fork stubborn.
    trail : int
        How many blocks behind the pool goes on, at least 0.
    truncation : int
        T, the longest branch considered: the error falls geometrically with T (1e-12 at T = 70
        for alpha = 0.25, 2e-4 at T = 170 for alpha = 0.45).

    Returns
    -------
    float
        Share of the chain.

    Examples
    --------
    With much of the network on its side a pool of 40 % should be stubborn all the way:

    >>> round(stubborn_mining_revenue(0.4, gamma=0.9, truncation=110), 6)
    0.559064
    >>> round(stubborn_mining_revenue(0.4, gamma=0.9, lead=True, equal_fork=True, truncation=110),
    ...       6)
    0.652412
    """
    a = minority("alpha", alpha)
    g = probability("gamma", gamma)
    behind = count("trail", trail)
    limit = count("truncation", truncation, at_least=2, at_most=1000)
    return chain.revenue(stubborn_policy(limit, bool(lead), bool(equal_fork), behind), a, g)
