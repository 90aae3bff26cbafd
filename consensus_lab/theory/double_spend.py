"""Double spending against z confirmations: Nakamoto's estimate and the exact probabilities.

Theory of operation.  A merchant waits until z blocks stand on a payment (the block that holds it
counts as the first).  An attacker with a share q of the hash power mines a private branch from
the block before the payment; honest miners have p = 1 - q.  Messages take no time here
(`private_attack` has the delay).  While the honest miners find their z blocks the attacker finds
k; afterwards the race is a gambler's ruin: from d blocks behind he ever draws level with
probability (q/p)^d.

Nakamoto 2008 section 11 takes k as Poisson distributed with mean z q/p, as if the z blocks had
taken exactly their expected time.  Their time is itself random, so k is negative binomial, and
the exact sum closes to a regularised incomplete beta function (Rosenfeld 2014; Grunspan and
Perez-Marco 2017).  All closed forms below are sums of positive terms: they keep their relative
precision down to the smallest probabilities.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from consensus_lab.node import ParameterError
from consensus_lab.theory._checks import choice, count, minority, number, probability

CONFIRMATIONS_MAX = 1 << 24
"""Where the search for enough confirmations stops: more than three centuries of Bitcoin."""


def catch_up_probability(attacker_share: float, *, deficit: int) -> float:
    """Probability that an attacker who is `deficit` blocks behind ever draws level.

    (q/p)^d for q < p, otherwise 1 (Nakamoto 2008 section 11, gambler's ruin).

    Parameters
    ----------
    attacker_share : float
        q, the attacker's share of the hash power, in [0, 1].
    deficit : int
        d, how many blocks he is behind, at least 0.

    Returns
    -------
    float
        A probability.

    Examples
    --------
    >>> round(catch_up_probability(0.1, deficit=1), 10)
    0.1111111111
    """
    q = probability("attacker_share", attacker_share)
    d = count("deficit", deficit)
    return 1.0 if d == 0 or q >= 0.5 else (q / (1.0 - q)) ** d


def whitepaper_double_spend_probability(attacker_share: float, *, confirmations: int) -> float:
    """Nakamoto's estimate of the attacker's success, with a Poisson number of his blocks.

    1 - sum_{k<=z} Poisson(k; z q/p) (1 - (q/p)^(z-k)) for q < 1/2 (Nakamoto 2008 section 11),
    computed as P(z, z q/p) + (q/p)^z e^(z(p-q)/p) Q(z, z) with the regularised incomplete gamma
    functions (Grunspan and Perez-Marco 2017).  It is the risk given that the z blocks took
    exactly their expected time, and lies below the exact value where that is small.

    Parameters
    ----------
    attacker_share : float
        q, in [0, 1/2).
    confirmations : int
        z, at least 0.

    Returns
    -------
    float
        A probability.

    Examples
    --------
    The table of section 11 prints 0.0009137 for q = 0.1 and z = 5:

    >>> round(whitepaper_double_spend_probability(0.1, confirmations=5), 7)
    0.0009137
    """
    return double_spend_probability_given_time(
        attacker_share, confirmations=confirmations, time_ratio=1.0
    )


def double_spend_probability_given_time(
    attacker_share: float, *, confirmations: int, time_ratio: float
) -> float:
    """Attacker's success once it is known how long the z confirmations took.

    P(z, kappa z q/p) + (q/p)^z e^(kappa z (p-q)/p) Q(z, kappa z), where kappa is the observed
    time over the expected time of the z honest blocks (Grunspan and Perez-Marco 2017).  kappa = 1
    is Nakamoto's own formula; averaging over kappa gives the exact probability.

    Parameters
    ----------
    attacker_share : float
        q, in [0, 1/2).
    confirmations : int
        z, at least 0.
    time_ratio : float
        kappa, observed over expected time, at least 0.

    Returns
    -------
    float
        A probability.

    Examples
    --------
    Three slow confirmations (twice their time) against q = 0.1:

    >>> round(double_spend_probability_given_time(0.1, confirmations=3, time_ratio=2.0), 8)
    0.04781901
    """
    q = minority("attacker_share", attacker_share)
    z = count("confirmations", confirmations)
    kappa = number("time_ratio", time_ratio, at_least=0.0)
    if z == 0:
        return 1.0
    if q == 0.0:
        return 0.0
    p = 1.0 - q
    ahead = float(special.gammainc(z, kappa * z * q / p))
    log_catching_up = z * math.log(q / p) + kappa * z * (p - q) / p
    remaining = float(special.gammaincc(z, kappa * z))
    if remaining == 0.0:
        return min(1.0, ahead)
    return min(1.0, ahead + math.exp(log_catching_up + math.log(remaining)))


def double_spend_probability(attacker_share: float, *, confirmations: int) -> float:
    """Exact success probability of a double spend against z confirmations.

    I_{4pq}(z, 1/2), the regularised incomplete beta function, for q < 1/2; drawing level counts
    as success and nothing is mined in advance (Rosenfeld 2014 equation 1; Grunspan and
    Perez-Marco 2017 theorem 1).

    Parameters
    ----------
    attacker_share : float
        q, in [0, 1]; from 1/2 on the answer is 1.
    confirmations : int
        z, at least 0.

    Returns
    -------
    float
        A probability.

    Examples
    --------
    Rosenfeld's table gives 0.059 % for q = 10 % and six confirmations:

    >>> round(100 * double_spend_probability(0.1, confirmations=6), 6)
    0.059141
    """
    q = probability("attacker_share", attacker_share)
    z = count("confirmations", confirmations)
    if z == 0 or q >= 0.5:
        return 1.0
    return float(special.betainc(z, 0.5, 4.0 * q * (1.0 - q)))


def double_spend_probability_strict(attacker_share: float, *, confirmations: int) -> float:
    """Exact success probability where the attacker must get strictly ahead.

    I_q(z+1, z) + (q/p) I_q(z, z+1): the attacker is ahead already when the z-th confirmation
    comes, or is d >= 0 blocks behind and makes up d + 1 (negative binomial sum, our closing).

    Parameters
    ----------
    attacker_share : float
        q, in [0, 1]; from 1/2 on the answer is 1.
    confirmations : int
        z, at least 0.

    Returns
    -------
    float
        A probability.

    Examples
    --------
    >>> round(double_spend_probability_strict(0.2, confirmations=1), 12)
    0.13
    """
    q = probability("attacker_share", attacker_share)
    z = count("confirmations", confirmations)
    if q >= 0.5:
        return 1.0
    odds = q / (1.0 - q)
    if z == 0:
        return odds
    return float(special.betainc(z + 1, z, q) + odds * special.betainc(z, z + 1, q))


def double_spend_probability_giving_up(
    attacker_share: float, *, confirmations: int, give_up_deficit: int
) -> float:
    """Exact success probability of an attacker who gives up when too far behind.

    He starts the race after z confirmations at deficit z - k, with k negative binomial, draws
    level with probability ((q/p)^d - (q/p)^D) / (1 - (q/p)^D) (gambler's ruin between 0 and D),
    and does not start it at all from a deficit of D or more.

    Parameters
    ----------
    attacker_share : float
        q, in [0, 1/2).
    confirmations : int
        z, at least 0.
    give_up_deficit : int
        D, the deficit at which he gives up, at least 1.

    Returns
    -------
    float
        A probability, at most `double_spend_probability`.

    Examples
    --------
    Giving up at 20 blocks costs an attacker of 30 % almost nothing:

    >>> round(double_spend_probability(0.3, confirmations=3), 7)
    0.32616
    >>> round(double_spend_probability_giving_up(0.3, confirmations=3, give_up_deficit=20), 7)
    0.32616
    """
    q = minority("attacker_share", attacker_share)
    z = count("confirmations", confirmations)
    limit = count("give_up_deficit", give_up_deficit, at_least=1)
    if z == 0:
        return 1.0
    if q == 0.0:
        return 0.0
    odds = q / (1.0 - q)
    deficit = np.arange(1, min(z, limit - 1) + 1)
    found = z - deficit
    log_choose = special.gammaln(z + found) - special.gammaln(found + 1) - special.gammaln(z)
    weight = np.exp(log_choose + z * math.log1p(-q) + found * math.log(q))
    level = (odds**deficit - odds**limit) / (1.0 - odds**limit)
    return float(np.sum(weight * level) + special.betainc(z, z, q))


def confirmations_needed(attacker_share: float, *, risk: float, formula: str = "exact") -> int:
    """Smallest number of confirmations with a success probability below `risk`.

    Parameters
    ----------
    attacker_share : float
        q, in [0, 1/2).
    risk : float
        The probability of reversal to stay below, in (0, 1].
    formula : str
        "exact" (`double_spend_probability`) or "whitepaper" (Nakamoto's Poisson estimate).

    Returns
    -------
    int
        z; both formulas fall with z, so it is found by bisection.  A probability that equals the
        risk (to twelve digits) is not below it, as in the whitepaper's "P < 0.1%".

    Raises
    ------
    ParameterError
        When more than `CONFIRMATIONS_MAX` confirmations would be needed.

    Examples
    --------
    Section 11 of the whitepaper prints z = 24 for q = 0.3 and a risk of 0.1 %; exactly it is 32:

    >>> confirmations_needed(0.3, risk=0.001, formula="whitepaper")
    24
    >>> confirmations_needed(0.3, risk=0.001)
    32
    """
    q = minority("attacker_share", attacker_share)
    accepted = number("risk", risk, above=0.0, at_most=1.0) * (1.0 - 1e-12)
    chosen = choice("formula", formula, ("exact", "whitepaper"))
    success = double_spend_probability if chosen == "exact" else whitepaper_double_spend_probability
    too_few, enough = 0, 1
    while success(q, confirmations=enough) > accepted:
        too_few, enough = enough, 2 * enough
        if enough > CONFIRMATIONS_MAX:
            raise ParameterError(
                "risk", risk, f"reachable with {CONFIRMATIONS_MAX} confirmations against {q:g}"
            )
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        if success(q, confirmations=middle) <= accepted:
            enough = middle
        else:
            too_few = middle
    return enough
