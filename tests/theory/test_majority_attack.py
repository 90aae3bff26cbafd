"""Double spends within a limit of time and censorship, against sums over all sequences."""

from itertools import product

import pytest

from consensus_lab.node import ParameterError
from consensus_lab.theory import censorship_probability, double_spend_within_probability
from consensus_lab.theory.double_spend import double_spend_probability


@pytest.mark.parametrize("q", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("z", [0, 1, 2, 4])
def test_it_is_the_sum_over_all_sequences_of_blocks(q: float, z: int) -> None:
    blocks, total = 10, 0.0
    for sequence in product((True, False), repeat=blocks):
        honest = attacker = 0
        is_won = z == 0
        for by_attacker in sequence:
            attacker, honest = attacker + by_attacker, honest + (not by_attacker)
            is_won = is_won or (honest >= z and attacker >= honest)
        total += q ** sum(sequence) * (1 - q) ** (blocks - sum(sequence)) * is_won
    found = double_spend_within_probability(q, confirmations=z, blocks=blocks)
    assert found == pytest.approx(total, abs=1e-12)


@pytest.mark.parametrize("q", [0.1, 0.3, 0.45])
def test_a_minority_gains_nothing_from_unlimited_time(q: float) -> None:
    found = double_spend_within_probability(q, confirmations=3, blocks=4000)
    assert found == pytest.approx(double_spend_probability(q, confirmations=3), abs=1e-9)


@pytest.mark.parametrize("q", [0.2, 0.5, 0.7])
@pytest.mark.parametrize("limit", [1, 2, 6])
def test_censorship_is_a_gamblers_ruin(q: float, limit: int) -> None:
    """Solved as a linear system: the chance at a lead is the mean of those beside it."""
    leads = range(-limit + 1, 1)
    chance = dict.fromkeys(range(-limit, 2), 0.0)
    chance[1] = 1.0
    for _ in range(5000):
        for lead in leads:
            chance[lead] = q * chance[lead + 1] + (1 - q) * chance[lead - 1]
    expected = chance[-1] if limit > 1 else 0.0
    assert censorship_probability(q, give_up_deficit=limit) == pytest.approx(expected, abs=1e-12)


def test_certain_cases_and_mistakes() -> None:
    assert censorship_probability(0.0, give_up_deficit=5) == 0.0
    assert censorship_probability(1.0, give_up_deficit=5) == 1.0
    assert censorship_probability(0.01, give_up_deficit=100_000) == pytest.approx((1 / 99) ** 2)
    for values in ({"blocks": -1}, {"confirmations": -1}, {"blocks": 10**6}):
        with pytest.raises(ParameterError, match=next(iter(values))):
            double_spend_within_probability(0.3, **{"confirmations": 1, "blocks": 5, **values})
    with pytest.raises(ParameterError, match="give_up_deficit"):
        censorship_probability(0.3, give_up_deficit=0)
