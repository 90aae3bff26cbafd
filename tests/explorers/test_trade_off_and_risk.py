"""Points on the grid of stale rates, and risks of reversal, are those that others computed."""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path
from typing import Any

import pytest

from consensus_lab import explorers, theory
from consensus_lab.experiments import stale_rate
from consensus_lab.explorers import risk, trade_off
from consensus_lab.node import ParameterError
from consensus_lab.report.style import describe
from tests.explorers.twins import twin_of

GRID = {
    "n_nodes": 30, "n_blocks": 60, "replicates": 2, "block_intervals_s": [600.0, 30.0, 6.0],
    "block_sizes_bytes": [250_000, 1_000_000],
}  # fmt: skip


def alt(panel: Any) -> str:
    found = re.search(r'alt="([^"]*)"', panel["screen"].picture.value)
    assert found
    return found[1]


@pytest.fixture(scope="module")
def grid() -> Any:
    return trade_off.small_grid(stale_rate.Parameters.of(GRID))


@pytest.mark.slow
def test_the_point_says_what_its_cell_holds(grid: Any) -> None:
    panel = explorers.explore_trade_off(grid)
    panel["interval"].value = 6.0
    panel["size"].value = 1_000_000
    row = grid.frame[
        (grid.frame["block_interval_s"] == 6.0) & (grid.frame["block_size_bytes"] == 1_000_000)
    ].iloc[0]
    words = alt(panel)
    assert f"{row['stale_fraction'] * 100:.2g} % of the blocks stale" in words
    assert f"{row['confirmed_tps']:,.3g} transactions per second" in words
    seen = panel["screen"].picture.value
    panel["interval"].value = 600.0
    assert panel["screen"].picture.value != seen
    panel["interval"].value = 6.0
    assert panel["screen"].picture.value == seen
    twin = trade_off.picture(grid, interval_s=6.0, size_bytes=1_000_000)
    assert panel.outputs()[1]["text/html"] == twin_of(panel, twin)


def test_a_setting_off_the_grid_is_refused(grid: Any) -> None:
    with pytest.raises(ParameterError, match="block_interval_s must be one of 6, 30, 600"):
        trade_off.picture(grid, interval_s=7.0, size_bytes=1_000_000)


def test_a_framed_cell_is_where_its_parameters_say(grid: Any) -> None:
    left = trade_off.picture(grid, interval_s=600.0, size_bytes=250_000).axes[0]
    frames = [patch for patch in left.patches if patch.get_linewidth() > 3]
    assert [(patch.get_x(), patch.get_y()) for patch in frames] == [(2, 0)]


def reference(name: str) -> list[dict[str, str]]:
    folder = os.environ.get("CONSENSUS_LAB_REFERENCE")
    path = Path(folder or "") / "theory" / name
    if not folder or not path.is_file():
        pytest.skip(f"set CONSENSUS_LAB_REFERENCE to the folder with theory/{name}")
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_risks_are_those_of_rosenfelds_table() -> None:
    """Rosenfeld 2014, in percent, to the digits printed there."""
    rows = reference("rosenfeld_check.csv")
    assert len(rows) >= 10
    for row in rows:
        printed = row["percent_recalled"] or row["percent_computed"]
        digits = len(printed.partition(".")[2])
        percent = risk.risk(float(row["q"]), int(row["n"]), 0.0) * 100
        assert percent == pytest.approx(float(printed), abs=0.51 * 10**-digits), row


def test_confirmations_needed_are_those_of_the_closed_form() -> None:
    for share in (0.1, 0.2, 0.3, 0.4):
        assert risk.needed(share, 0.001, 0.0) == theory.confirmations_needed(share, risk=0.001)


def test_delay_helps_the_attacker_and_beyond_the_limit_he_always_wins() -> None:
    without, late = (risk.risk(0.3, 6, x) for x in (0.0, 0.2))
    assert without < late < 1.0
    limit = theory.tolerated_share_tight(0.5)
    for share in (limit, limit + 0.01, 0.49):
        assert risk.risk(share, 30, 0.5) == 1.0
        assert risk.needed(share, 0.5, 0.5) is None


def test_every_place_of_the_sliders_has_a_picture_that_can_be_drawn() -> None:
    for percent in range(1, 50, 4):
        for delay_intervals in (0.0, 0.1, 0.5, 1.25):
            chance = risk.risk(percent / 100, 6, delay_intervals)
            assert 0.0 <= chance <= 1.0
    assert "no number of confirmations" in describe(
        risk.picture(0.49, block_interval_s=12.0, delay_s=15.0)
    )


@pytest.mark.slow
def test_sliders_change_the_words_and_the_twin_says_the_same() -> None:
    panel = explorers.explore_risk(samples_s=[1800.0, 3600.0, 5400.0])
    assert alt(panel).startswith("6 confirmations against 10 % of the hash power: risk 0.059 %")
    panel["confirmations"].value = 3
    panel["attacker_share"].value = 0.3
    words = f"risk {theory.double_spend_probability(0.3, confirmations=3) * 100:.2g} %"
    assert words in alt(panel) and "after 30 min on average" in alt(panel)
    assert panel.outputs()[1]["text/plain"] == alt(panel).replace("&#x27;", "'")
