"""The private attack when honest blocks take time to travel.

Theory of operation.  Time is counted in mean block intervals of the whole network.  Honest miners
(share p = 1 - q) need a time x = lambda Delta to hear of a block, so in the worst order of
deliveries a new honest height becomes public only every Exp(p) + x: the next block has to be
mined on a tip that everybody knows.  The attacker (share q) mines in private without delay.  The
fork starts at a moment when all honest miners agree; the payment is accepted when z heights are
public; drawing level counts as success.

While one height becomes public the attacker finds G blocks: geometric during the exponential
part plus Poisson(q x) during the delay.  After z heights he has found G_1 + ... + G_z.  From a
deficit d > 0 he succeeds when G_1 + M >= d, where M is the all-time maximum (at least 0) of the
random walk with steps G - 1.  That walk never falls by more than one, so M is distributed like
the queue of a discrete-time single server with arrivals G (Lindley), whose probabilities follow
from balance equations without a single subtraction.  Together

    P = P(G_1 + ... + G_z + G + M >= z),

exact up to floating point.  With x = 0 it is `double_spend_probability`.  The model is that of
the bounded-delay literature (Dembo et al. 2020: Bitcoin's worst attack), the numbers are ours.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

from consensus_lab.node import ParameterError
from consensus_lab.theory._checks import count, minority, number

SUPPORT_MAX = 1 << 14
"""Longest distribution that is computed; reached only close to the security limit."""

TAIL = 1e-12
"""Relative size of what is left out of a sum."""

CONFIRMATIONS_MAX = 2048
"""Where the search for enough confirmations stops: two weeks of Bitcoin."""

Array = NDArray[np.float64]


def _attacker_blocks(q: float, delay: float, heights: int, size: int) -> Array:
    """Probabilities of 0 .. size-1 attacker blocks while `heights` heights become public."""
    k = np.arange(size)
    log_mined = (
        special.gammaln(heights + k)
        - special.gammaln(k + 1)
        - special.gammaln(heights)
        + heights * math.log1p(-q)
        + k * math.log(q)
    )
    mined: Array = np.exp(log_mined)
    mean = q * delay * heights
    if mean == 0.0:
        return mined
    travelling = np.exp(k * math.log(mean) - mean - special.gammaln(k + 1))
    return np.asarray(np.convolve(mined, travelling)[:size], dtype=np.float64)


def _best_later_lead(step: Array, load: float) -> Array:
    """Probabilities of M, the all-time maximum of the walk with steps `step` - 1.

    Balance between the states up to j and those above: pi_{j+1} P(G=0) =
    sum_{i<=j} pi_i P(G > j+1-i); pi_0 P(G=0) = 1 - E G.
    """
    size = len(step)
    exceeds = np.zeros(size + 1)
    # Summed from the far end: each tail keeps its relative precision.
    exceeds[: size - 1] = np.cumsum(step[::-1])[::-1][1:]
    best = np.zeros(size)
    best[0] = (1.0 - load) / step[0]
    reversed_tail = exceeds[1 : size + 1][::-1]
    for j in range(size - 1):
        best[j + 1] = best[: j + 1] @ reversed_tail[size - 1 - j :] / step[0]
    return best


def _success(q: float, z: int, delay: float, load: float, size: int) -> tuple[float, float]:
    """Return the probability and the size of the last term of its sum."""
    step = _attacker_blocks(q, delay, 1, size)
    while_waiting = _attacker_blocks(q, delay, z, size)
    later = np.convolve(step, _best_later_lead(step, load))[:size]
    total = np.convolve(while_waiting, later)[:size]
    below = float(np.sum(total[:z]))
    if below < 0.5:
        return 1.0 - below, 0.0
    above = float(np.sum(total[z:][::-1]))
    return above, float(total[-1]) / max(above, 1e-300)


def private_attack_probability(
    attacker_share: float, *, confirmations: int, delay_intervals: float
) -> float:
    """Success probability of a private attack against z confirmations with network delay.

    Parameters
    ----------
    attacker_share : float
        q, in [0, 1/2).
    confirmations : int
        z, the public heights that the merchant waits for, at least 0.
    delay_intervals : float
        x = lambda Delta, the network delay in mean block intervals, at least 0.

    Returns
    -------
    float
        A probability; 1 where the attacker is not slower than the delayed honest chain,
        q >= p / (1 + p x).

    Raises
    ------
    ParameterError
        For an attacker so close to that limit that the distribution has no end in sight.

    Examples
    --------
    Ten seconds of delay (x = 1/60) raise the risk of 10 % and two confirmations from 0.056:

    >>> round(private_attack_probability(0.1, confirmations=2, delay_intervals=1 / 60), 8)
    0.0571905
    >>> round(private_attack_probability(0.1, confirmations=2, delay_intervals=0.0), 8)
    0.056
    """
    q = minority("attacker_share", attacker_share)
    z = count("confirmations", confirmations)
    delay = number("delay_intervals", delay_intervals, at_least=0.0)
    if z == 0:
        return 1.0
    if q == 0.0:
        return 0.0
    load = q / (1.0 - q) + q * delay
    if load >= 1.0:
        return 1.0
    size = 1 << max(8, math.ceil(math.log2(4 * z)))
    while size <= SUPPORT_MAX:
        success, last = _success(q, z, delay, load, size)
        if last * size < TAIL:
            return success
        size *= 2
    raise ParameterError("attacker_share", attacker_share, f"below the limit for delay {delay:g}")


def private_attack_confirmations_needed(
    attacker_share: float, *, risk: float, delay_intervals: float
) -> int:
    """Smallest number of confirmations with a success probability below `risk`, with delay.

    Parameters
    ----------
    attacker_share : float
        q, in [0, 1/2).
    risk : float
        The probability of reversal to stay below, in (0, 1].
    delay_intervals : float
        x = lambda Delta, at least 0.

    Returns
    -------
    int
        z; without delay that of `confirmations_needed`.

    Raises
    ------
    ParameterError
        Where no number of confirmations helps, or more than `CONFIRMATIONS_MAX`.

    Examples
    --------
    A minute of delay costs a shop four confirmations more against 30 %:

    >>> private_attack_confirmations_needed(0.3, risk=0.001, delay_intervals=0.0)
    32
    >>> private_attack_confirmations_needed(0.3, risk=0.001, delay_intervals=0.1)
    36
    """
    q = minority("attacker_share", attacker_share)
    accepted = number("risk", risk, above=0.0, at_most=1.0) * (1.0 - 1e-12)

    def is_enough(z: int) -> bool:
        success = private_attack_probability(q, confirmations=z, delay_intervals=delay_intervals)
        return success <= accepted

    too_few, enough = 0, 1
    while not is_enough(enough):
        too_few, enough = enough, 2 * enough
        if enough > CONFIRMATIONS_MAX:
            within = f"reachable with {CONFIRMATIONS_MAX} confirmations against {q:g}"
            raise ParameterError("risk", risk, f"{within} at a delay of {delay_intervals:g}")
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        too_few, enough = (too_few, middle) if is_enough(middle) else (middle, enough)
    return enough
