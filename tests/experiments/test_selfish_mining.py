"""Withholding: revenue and thresholds against Eyal and Sirer's, and the printed optimum."""

from __future__ import annotations

import math
from typing import Any

import pytest

from consensus_lab import theory
from consensus_lab.experiments import selfish_mining
from consensus_lab.experiments.selfish_mining import Parameters, crossing
from consensus_lab.node import ParameterError


@pytest.fixture(scope="module")
def raced() -> Any:
    """A few settings."""
    small = {"alphas": [0.1, 0.25, 0.3, 0.35, 0.4], "n_blocks": 16_000, "replicates": 6}
    return selfish_mining.run(Parameters.of(small))


@pytest.mark.slow
def test_revenue_is_eyal_and_sirers(raced: Any) -> None:
    """Within four of the standard errors that renewal theory gives for so many blocks."""
    assert len(raced.frame) == 15
    for row in raced.frame.itertuples():
        expected = theory.selfish_mining_revenue(row.alpha, gamma=row.gamma)
        scale = theory.selfish_mining_sampling_constants(row.alpha, gamma=row.gamma)
        assert abs(row.revenue - expected) < 4 * scale.revenue / math.sqrt(row.blocks)
        stale = theory.selfish_mining_rates(row.alpha, gamma=row.gamma).stale_fraction
        assert abs(row.stale_fraction - stale) < 4 * scale.stale_fraction / math.sqrt(row.blocks)
        assert row.revenue_exact == pytest.approx(expected, abs=1e-12)
        assert row.revenue_optimal > row.revenue_exact - 1e-5, "but for truncation"


@pytest.mark.slow
def test_thresholds_are_the_published_ones(raced: Any) -> None:
    beside = raced.beside.set_index("quantity")
    assert beside.loc["threshold_gamma_0", "published"] == pytest.approx(1 / 3)
    for gamma in (0.0, 0.5, 1.0):
        row = beside.loc[f"threshold_gamma_{gamma:g}"]
        assert row["measured"] == pytest.approx(theory.selfish_mining_threshold(gamma), abs=0.012)
    ours = beside["measured"]
    assert round(ours["optimal_threshold_uniform_gamma_0.5"], 4) == 0.2321
    assert round(ours["optimal_revenue_alpha_0.35_first_seen_gamma_0"], 5) == 0.37077


@pytest.mark.slow
def test_a_lead_stubborn_pool_earns_what_its_own_chain_of_states_says() -> None:
    chosen = {"alphas": [0.4], "gammas": [0.9], "n_blocks": 16_000, "replicates": 6}
    revenue = {}
    for strategy in ("sm1", "L"):
        row = selfish_mining.run(Parameters.of({**chosen, "strategy": strategy})).frame.iloc[0]
        scale = theory.selfish_mining_sampling_constants(0.4, gamma=0.9).revenue
        error = scale / math.sqrt(row["blocks"])
        assert abs(row["revenue"] - row["revenue_exact"]) < 4 * error
        revenue[strategy] = row["revenue"]
    assert revenue["L"] > revenue["sm1"] + 0.01, "stubbornness pays at this gamma"


@pytest.mark.slow
def test_the_figure_marks_the_published_thresholds(raced: Any) -> None:
    left, right = raced.figure().axes
    labels = right.get_legend_handles_labels()[1]
    assert "33.33 % Eyal and Sirer 2014 (gamma 0)" in labels
    assert "23.21 % Sapirshtein et al. 2016 (best strategy, random ties)" in labels
    assert "always (gamma 1)" in " ".join(left.get_title("left").split())


def test_where_revenue_crosses_the_share() -> None:
    assert crossing([0.1, 0.2], [0.2, 0.4]) == 0.0
    assert crossing([0.1, 0.2], [0.05, 0.1]) == math.inf
    assert crossing([0.1, 0.2, 0.3], [0.0, 0.19, 0.39]) == pytest.approx(0.21)


def test_shares_out_of_order_are_refused_by_name() -> None:
    with pytest.raises(ParameterError, match="alphas must be rising"):
        Parameters.of({"alphas": [0.3, 0.2]})
