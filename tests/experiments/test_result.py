"""Results save themselves whole or not at all, and the same run saves the same bytes."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy
import pandas
import pytest

from consensus_lab.experiments import intervals
from consensus_lab.experiments.parameters import ParameterSet
from consensus_lab.experiments.result import Measure, Published, Result, checksum
from consensus_lab.node import ParameterError


def a_result(draw: Any = None) -> Result:
    frame = pandas.DataFrame({"x": [1, 2], "delay_s": [0.5, 0.25]})
    measures = [Measure("delay_s_mean", 0.375, 0.2, 0.5, "s", 2)]
    references = [Published("delay_s_mean", 12.6, "s", "Decker and Wattenhofer 2013")]
    return Result("example", ParameterSet(), frame, measures, references, draw)


def test_a_result_is_saved_with_a_manifest_that_lists_its_files(tmp_path: Path) -> None:
    folder = a_result().save(tmp_path / "deep" / "example")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["parameters"] == {"seed": 1}
    for name, digest in manifest["files"].items():
        assert checksum(folder / name) == digest
    assert pandas.read_parquet(folder / "frame.parquet").equals(a_result().frame)


def test_the_same_result_saves_the_same_bytes(tmp_path: Path) -> None:
    first, second = a_result().save(tmp_path / "a"), a_result().save(tmp_path / "b")
    for path in sorted(first.iterdir()):
        assert path.read_bytes() == (second / path.name).read_bytes(), path.name


def test_a_failure_leaves_the_old_result_and_no_rest(tmp_path: Path) -> None:
    folder = a_result().save(tmp_path / "example")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full_disk(result: Result) -> Any:
        raise OSError(28, "No space left on device")

    with pytest.raises(ParameterError, match="No space left on device"):
        a_result(full_disk).save(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["example"]


def test_a_folder_of_something_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("ten years of work")
    with pytest.raises(ParameterError, match="an earlier result"):
        a_result().save(tmp_path)
    assert (tmp_path / "thesis.tex").exists()


def test_a_file_in_the_way_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ParameterError, match="out must be"):
        a_result().save(tmp_path / "file" / "inside")


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """Of 1000 intervals at 95 %, 915 or fewer would be five standard deviations too few."""
    generator = numpy.random.default_rng(5)
    hits = {"mean": 0, "proportion": 0, "quantile": 0}
    for _ in range(1000):
        sample = generator.exponential(2.0, 60)
        _, low, high = intervals.mean_interval(generator.normal(2.0, 1.0, 12))
        hits["mean"] += low <= 2.0 <= high
        _, low, high = intervals.quantile_interval(sample, 0.5)
        hits["quantile"] += low <= 2.0 * numpy.log(2.0) <= high
        _, low, high = intervals.proportion_interval(int((sample > 2.0).sum()), 60)
        hits["proportion"] += low <= numpy.exp(-1.0) <= high
    assert min(hits.values()) > 915, hits


def test_the_bootstrap_covers_the_truth_nearly_as_often() -> None:
    """Of thirty values a percentile interval is known to be a little short: 92 to 93 of 100."""
    generator, source, hits = numpy.random.default_rng(5), random.Random(5), 0
    for _ in range(200):
        sample = generator.exponential(2.0, 30).tolist()
        value, low, high = intervals.bootstrap_interval(
            sample, lambda drawn: sum(drawn) / len(drawn), source=source
        )
        assert low <= value <= high
        hits += low <= 2.0 <= high
    assert 0.86 * 200 < hits < 200


def test_intervals_of_nothing_claim_nothing() -> None:
    assert intervals.proportion_interval(0, 0)[1:] == (0.0, 1.0)
    assert intervals.mean_interval([3.0])[1:] == (float("-inf"), float("inf"))
