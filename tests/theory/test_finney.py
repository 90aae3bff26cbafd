"""The Finney attack's closed form against its limits and an independent recursion."""

import math

import pytest

from consensus_lab.node import ParameterError
from consensus_lab.theory.finney import finney_attack_probability


def by_recursion(q: float, hold: float, *, lead_max: int = 60) -> float:
    """Uniformised: so many events in the time, and the lead never used up in any of them."""
    weights = [0.0] * (lead_max + 1)
    weights[1] = 1.0
    total, poisson = 0.0, math.exp(-hold)
    for events in range(1, 200):
        total += poisson * sum(weights)
        after = [0.0] * (lead_max + 1)
        for lead in range(1, lead_max):
            after[lead + 1] += q * weights[lead]
            if lead > 1:
                after[lead - 1] += (1.0 - q) * weights[lead]
        weights, poisson = after, poisson * hold / events
    return total


@pytest.mark.parametrize("q", [0.05, 0.3, 0.49, 0.7])
@pytest.mark.parametrize("hold", [0.01, 0.5, 3.0, 20.0])
def test_it_is_the_chance_that_the_lead_lasts(q: float, hold: float) -> None:
    closed = finney_attack_probability(q, hold_intervals=hold)
    assert closed == pytest.approx(by_recursion(q, hold), abs=1e-9)


def test_without_hash_power_the_block_is_lost_at_the_first_other_one() -> None:
    assert finney_attack_probability(0.0, hold_intervals=0.7) == math.exp(-0.7)
    assert finney_attack_probability(1.0, hold_intervals=0.7) == 1.0
    assert finney_attack_probability(0.3, hold_intervals=0.0) == 1.0


@pytest.mark.parametrize("values", [(1.1, 1.0), (-0.1, 1.0), (0.3, -1.0), (0.3, math.inf)])
def test_what_is_no_share_or_time_is_refused(values: tuple[float, float]) -> None:
    with pytest.raises(ParameterError):
        finney_attack_probability(values[0], hold_intervals=values[1])
