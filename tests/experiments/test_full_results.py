"""Stored results of the full presets: kept as they were made, and made with today's presets."""

from __future__ import annotations

import re
from pathlib import Path

import numpy
import pytest

from consensus_lab import data
from consensus_lab.experiments import full_results, primary_backup, questions, run
from consensus_lab.experiments.result import Measure


def test_what_is_stored_is_found_again_beside_a_quick_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = run("primary-backup", {"n_servers": 2, "n_writes": 30})
    quick = run("primary-backup", {"n_servers": 2, "n_writes": 10})
    monkeypatch.setenv(data.ENVIRONMENT_VARIABLE, str(tmp_path))
    assert quick.beside_full.empty and quick.parameters_beside_full.empty
    full_results.store(full)
    full_results.store(full)
    beside = quick.beside_full
    assert list(beside["quantity"]) == [measure.quantity for measure in full.measures]
    assert list(beside["full preset"]) == [measure.text for measure in full.measures]
    assert list(beside["here"]) == [measure.text for measure in quick.measures]
    assert full_results.stored_measures("primary-backup") == full.measures
    differ = quick.parameters_beside_full
    assert differ.to_dict("records") == [
        {"parameter": "n_writes", "unit": "count", "here": 10, "full": 30}
    ]
    assert not full_results.is_current("primary-backup")


def test_a_result_of_another_preset_is_not_taken_for_the_present_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = primary_backup.Parameters.of({"n_servers": 2, "n_writes": 5})
    larger = small.replace(n_writes=6)
    result = run("primary-backup", small)
    monkeypatch.setenv(data.ENVIRONMENT_VARIABLE, str(tmp_path))
    full_results.store(result)
    for present, expected in ((small, True), (larger, False)):
        monkeypatch.setattr(primary_backup.Parameters, "of", lambda preset, p=present: p)
        assert full_results.is_current("primary-backup") is expected


@pytest.mark.parametrize("name", questions())
def test_each_full_result_is_stored_as_the_preset_is_now_or_it_says_why_not(name: str) -> None:
    store = f"python -m consensus_lab.experiments.full_results {name}"
    assert full_results.is_current(name) is (name not in full_results.NOT_STORED), store


def test_a_notebook_shows_what_is_stored_for_its_experiment() -> None:
    root = Path(__file__).parents[2]
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        text = path.read_text(encoding="utf-8")
        (name,) = re.findall(r"(\w+)\.Parameters\.from_notebook", text)
        is_stored = full_results.stored_run(name.replace("_", "-")) is not None
        assert ("result.beside_full" in text) is is_stored, f"{path.name}: store {name} first"


def test_measures_are_told_to_four_digits() -> None:
    nothing = float("nan")
    texts = {
        "12,346  (10,000 to 20,000)": (12345.6, 1e4, 2e4),
        "0.01234  (0.01 to 0.02)": (0.012344, 0.01, 0.02),
        "5": (5.0, 5.0, 5.0), "nan": (nothing, nothing, nothing),
    }  # fmt: skip
    for text, (value, low, high) in texts.items():
        assert Measure("x", value, low, high, "s", 3).text == text
        ends = map(numpy.float64, (value, low, high))  # As some experiments bring them.
        assert Measure("x", *ends, "s", 3).text == text
