"""The Finney attack: how long a block that was mined in advance stays worth something.

Theory of operation.  The attacker holds one block that the public chain does not have, and goes on
mining on it while he waits for the goods.  His lead begins at one, rises with rate q and falls with
rate p = 1 - q per block interval; the attack is over when it is used up, for a node stays with the
branch that it saw first.  The time until then is the busy period of a queue with one server,
arrivals of rate q and services of rate p, that begins with one customer (Takacs 1962); its density
is sqrt(p/q) exp(-t) I_1(2 t sqrt(pq)) / t with the modified Bessel function I_1.
"""

from __future__ import annotations

import math

from scipy import integrate, special

from consensus_lab.theory._checks import number, probability


def finney_attack_probability(attacker_share: float, *, hold_intervals: float) -> float:
    """Probability that the block in the pocket is still ahead when the goods come.

    Parameters
    ----------
    attacker_share : float
        q, in [0, 1].
    hold_intervals : float
        Time from payment to goods, in mean block intervals of the whole network, at least 0.

    Returns
    -------
    float
        A probability; exp(-hold) for an attacker who does not mine any more (q = 0).

    Examples
    --------
    Two minutes against an attacker of 30 %:

    >>> round(finney_attack_probability(0.3, hold_intervals=0.2), 6)
    0.872943
    """
    q = probability("attacker_share", attacker_share)
    hold = number("hold_intervals", hold_intervals, at_least=0.0)
    p = 1.0 - q
    if q == 0.0 or p == 0.0:
        return math.exp(-p * hold)
    odds = math.sqrt(p / q)
    rate = 2.0 * math.sqrt(p * q)

    def density(t: float) -> float:
        # The scaled Bessel function does not overflow; its scale is put back.
        return odds * float(special.ive(1, rate * t)) * math.exp((rate - 1.0) * t) / t

    lost, _ = integrate.quad(density, 0.0, hold, epsabs=1e-12, epsrel=1e-10, limit=200)
    return max(0.0, 1.0 - float(lost))
