"""Optimal selfish mining: the largest revenue that any withholding strategy can reach.

Theory of operation.  Maximising the *share* of settled blocks is a ratio problem: a share r is
attainable exactly when some policy earns E[(1 - r) pool - r honest] >= 0 per fork.  Starting from
honest mining we evaluate the policy exactly (`_withholding`), set r to its share, make the policy
greedy for that r, and repeat until nothing changes: policy iteration with Dinkelbach's update, a
handful of rounds.  The model is that of Sapirshtein, Sompolinsky and Zohar 2016, the solver ours.

Two rules for ties.  "first_seen": the honest miners keep what they saw first, so the pool can
split them only by answering an honest block at once, and a share gamma follows it.  "uniform": they
choose at random among equal branches (the defence of Eyal and Sirer 2014), gamma = 1/2, and the
pool may offer a tie at any time.
"""

from __future__ import annotations

from typing import NamedTuple

from consensus_lab.node import ParameterError
from consensus_lab.theory import _withholding as chain
from consensus_lab.theory._checks import choice, count, minority, number, probability

ROUNDS_MAX = 200
"""Policy iteration needs about ten rounds; many more would mean a cycle, a bug."""

COARSEST = 30
"""Truncation up to which the iteration begins with honest mining."""

ROUNDING = 4e-16
"""Relative gain of a round that is no gain."""

PROFIT = 1e-11
"""Relative gain over alpha that counts as a profit: above rounding, below any real one."""


class OptimalSelfishMining(NamedTuple):
    """The best strategy within a truncation.

    Attributes
    ----------
    revenue : float
        Its relative revenue: a lower bound of the true optimum, within the effect of truncation.
    policy : numpy.ndarray
        Action of every state (a, h, fork), see `_withholding`; shape (T + 1, T + 1, 3).
    rounds : int
        Rounds of policy iteration, over all truncations on the way.
    """

    revenue: float
    policy: chain.Policy
    rounds: int


def optimal_selfish_mining(
    alpha: float, *, gamma: float, truncation: int = 60, tie_breaking: str = "first_seen"
) -> OptimalSelfishMining:
    """Best withholding strategy of a pool and its revenue.

    Parameters
    ----------
    alpha : float
        The pool's share, in [0, 1/2).
    gamma : float
        Share of the honest miners on the pool's branch in a race, in [0, 1]; must be 1/2 for
        uniform tie breaking.
    truncation : int
        T, the longest branch considered, at least 2.  60 is enough to ten digits for alpha up to
        0.35 (gamma = 0: 0.3); the work grows with T cubed.
    tie_breaking : str
        "first_seen" or "uniform".

    Returns
    -------
    OptimalSelfishMining
        Revenue, policy and rounds.

    Examples
    --------
    Sapirshtein, Sompolinsky and Zohar print 0.37077 for alpha = 0.35 and gamma = 0:

    >>> best = optimal_selfish_mining(0.35, gamma=0.0, truncation=90)
    >>> round(best.revenue, 5)
    0.37077
    """
    a = minority("alpha", alpha)
    g = probability("gamma", gamma)
    limit = count("truncation", truncation, at_least=2, at_most=1000)
    any_time = choice("tie_breaking", tie_breaking, ("first_seen", "uniform")) == "uniform"
    if any_time and g != 0.5:
        raise ParameterError("gamma", gamma, "0.5 with uniform tie breaking")
    policy, rounds = _best_policy(a, g, limit, any_time)
    return OptimalSelfishMining(chain.revenue(policy, a, g), policy, rounds)


def _best_policy(
    alpha: float, gamma: float, truncation: int, any_time: bool
) -> tuple[chain.Policy, int]:
    """Policy iteration, begun with the best policy of half the truncation where that is long."""
    if truncation <= COARSEST:
        policy, rounds = chain.honest_policy(truncation), 0
    else:
        shorter, rounds = _best_policy(alpha, gamma, truncation // 2, any_time)
        policy = chain.extended_policy(shorter, truncation)
    best = -1.0
    for _ in range(ROUNDS_MAX):
        totals = chain.settled_blocks(policy, alpha, gamma)
        pool, honest = chain.from_the_start(totals, alpha)
        share = float(pool / (pool + honest))
        # Rounding makes equal policies alternate: a round without a gain is the last.
        if share <= best * (1.0 + ROUNDING):
            return policy, rounds
        best, rounds = share, rounds + 1
        values = totals[:, 0] - share * totals.sum(axis=1)
        if chain.improve(policy, values, alpha, gamma, share, any_time) == 0:
            return policy, rounds
    raise AssertionError(f"policy iteration did not settle: {alpha=}, {gamma=}, {truncation=}")


def optimal_selfish_mining_revenue(
    alpha: float, *, gamma: float, truncation: int = 60, tie_breaking: str = "first_seen"
) -> float:
    """Revenue of `optimal_selfish_mining` alone.

    Parameters
    ----------
    alpha, gamma, truncation, tie_breaking
        As for `optimal_selfish_mining`.

    Returns
    -------
    float
        Relative revenue, at least alpha.

    Examples
    --------
    >>> round(optimal_selfish_mining_revenue(0.25, gamma=0.75), 10)
    0.2864605153
    """
    return optimal_selfish_mining(
        alpha, gamma=gamma, truncation=truncation, tie_breaking=tie_breaking
    ).revenue


def optimal_selfish_mining_threshold(
    gamma: float,
    *,
    truncation: int = 45,
    tie_breaking: str = "first_seen",
    tolerance: float = 1e-7,
) -> float:
    """Smallest share from which some withholding strategy earns more than honest mining.

    Found by bisection on the optimal revenue.

    Parameters
    ----------
    gamma : float
        Share of the honest miners on the pool's branch in a race, in [0, 1].
    truncation : int
        T of `optimal_selfish_mining`.
    tie_breaking : str
        "first_seen" or "uniform" (then gamma must be 1/2).
    tolerance : float
        Width of the last interval, above 0.

    Returns
    -------
    float
        alpha, within the tolerance; an upper bound, as the revenues are lower bounds.

    Examples
    --------
    The 23.21 % of Sapirshtein, Sompolinsky and Zohar 2016:

    >>> share = optimal_selfish_mining_threshold(0.5, truncation=30, tie_breaking="uniform")
    >>> round(share, 4)
    0.2321
    """
    width = number("tolerance", tolerance, above=0.0)
    honest, selfish = 0.0, 0.5
    while selfish - honest > width:
        middle = (honest + selfish) / 2.0
        best = optimal_selfish_mining_revenue(
            middle, gamma=gamma, truncation=truncation, tie_breaking=tie_breaking
        )
        if best > middle * (1.0 + PROFIT):
            selfish = middle
        else:
            honest = middle
    return selfish
