"""Trusting the clock instead of counting blocks: the risk of reversal after so much time.

Theory of operation.  Time is counted in mean block intervals of the whole network.  The honest
miners (share p = 1 - q) have found N blocks since the payment was handed in, the attacker M in
private: independent Poisson numbers with means p s and q s after a time s.  Messages take no
time.  The payment is safe for ever with probability 1 - (q/p)^(N-M) when N > M, and open when
N <= M (before the first block it is not even in the chain).  Nobody looks at N.

The mean of (q/p)^(N-M) is 1 at every time, so it can be used as a change of measure: under it the
two means change places.  The whole sum

    P(N <= M) + E[(q/p)^(N-M); N > M]  =  P(N = M) + 2 P(N < M)

therefore has no powers left in it; N - M is Skellam distributed and the first term a modified
Bessel function.  The derivation is ours; it is tested against the double sum and by simulation.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from consensus_lab.node import ParameterError
from consensus_lab.theory._checks import minority, number, probability

TIME_INTERVALS_MAX = 1e6
"""Longest time that is looked at, mean block intervals: nineteen years of Bitcoin."""


def reversal_probability_at_time(attacker_share: float, *, time_intervals: float) -> float:
    """Risk of a payment that is trusted a fixed time after it was handed in.

    P(N = M) + 2 P(N < M) with N and M Poisson of means p s and q s.

    Parameters
    ----------
    attacker_share : float
        q, in [0, 1]; from 1/2 on the answer is 1.
    time_intervals : float
        s, time since the payment in mean block intervals of the whole network, at most 1e6.

    Returns
    -------
    float
        A probability.  It lies far above the risk at as many confirmations as come in that time
        on average: when blocks come slowly, the clock does not notice.

    Examples
    --------
    An hour by the clock against 10 %, and six confirmations, in percent:

    >>> from consensus_lab.theory import double_spend_probability
    >>> round(100 * reversal_probability_at_time(0.1, time_intervals=6.0), 2)
    3.39
    >>> round(100 * double_spend_probability(0.1, confirmations=6), 3)
    0.059
    """
    q = probability("attacker_share", attacker_share)
    s = number("time_intervals", time_intervals, at_least=0.0, at_most=TIME_INTERVALS_MAX)
    if q >= 0.5 or s == 0.0:
        return 1.0
    honest, attacker = (1.0 - q) * s, q * s
    # P(N = M) = e^-s I_0(2 s sqrt(pq)); `ive` is the Bessel function without its exponential.
    middle = math.sqrt(honest * attacker)
    level = float(special.ive(0, 2.0 * middle)) * math.exp(2.0 * middle - s)
    if q == 0.0:
        return level
    # P(N < M) = sum over N of its probability times P(M > N): positive terms alone.
    n = np.arange(math.ceil(honest + 12.0 * math.sqrt(honest) + 40.0))
    log_found = n * math.log(honest) - honest - special.gammaln(n + 1.0)
    behind = float(np.sum(np.exp(log_found) * special.gammainc(n + 1.0, attacker)))
    return min(1.0, level + 2.0 * behind)


def time_for_risk_intervals(attacker_share: float, *, risk: float) -> float:
    """Time after which the risk of trusting the clock is no greater than `risk`.

    Parameters
    ----------
    attacker_share : float
        q, in [0, 1/2).
    risk : float
        The probability of reversal that is accepted, in (0, 1].

    Returns
    -------
    float
        Mean block intervals (bisection to twelve digits).  For small risks about
        ln(1 / risk) / (sqrt(p) - sqrt(q))^2.

    Raises
    ------
    ParameterError
        When it takes more than `TIME_INTERVALS_MAX`.

    Examples
    --------
    Without an attacker the payment only has to get into a block:

    >>> round(time_for_risk_intervals(0.0, risk=0.001), 3)
    6.908
    >>> round(time_for_risk_intervals(0.1, risk=0.001), 2)
    13.9
    """
    q = minority("attacker_share", attacker_share)
    accepted = number("risk", risk, above=0.0, at_most=1.0)
    if accepted == 1.0:
        return 0.0
    low, high = 0.0, 1.0
    while reversal_probability_at_time(q, time_intervals=high) > accepted:
        low, high = high, 2.0 * high
        if high > TIME_INTERVALS_MAX:
            within = f"reachable within {TIME_INTERVALS_MAX:g} block intervals against {q:g}"
            raise ParameterError("risk", risk, within)
    while high - low > 1e-12 * high:
        middle = (low + high) / 2.0
        if reversal_probability_at_time(q, time_intervals=middle) > accepted:
            low = middle
        else:
            high = middle
    return high
