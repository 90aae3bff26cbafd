"""The conformance command: the reference folder, and that it fails where it must."""

import csv
import math
import os
from pathlib import Path

import pytest

from consensus_lab.theory.monte_carlo.estimate import of_count
from tests.conformance.theory import __main__ as command
from tests.conformance.theory.report import Report, Row
from tests.conformance.theory.simulations import SIMULATIONS, Run
from tests.conformance.theory.tables import TABLES, recognise

HINT = (
    "set CONSENSUS_LAB_REFERENCE to a folder with theory/*.csv: reference tables in the formats "
    "that `python -m tests.conformance.theory` lists"
)

SLOW_TITLES = ("optimal selfish mining", "stubborn mining", "uniform tie breaking")
"""Tables that take most of the time: the default run looks at every sixth row of them."""


def corpus() -> Path:
    """The folder of reference tables, or a skip that says where to get it."""
    reference = os.environ.get("CONSENSUS_LAB_REFERENCE")
    folder = Path(reference or "nowhere") / "theory"
    if not folder.is_dir():
        pytest.skip(HINT)
    return folder


@pytest.mark.slow
def test_every_reference_table_is_recognised_and_agrees():
    """All rows of all tables, every sixth of the three expensive ones."""
    failures, passed, kinds = [], 0, set()
    for path in sorted(corpus().glob("*.csv")):
        columns, rows = command.read(path)
        kind = recognise(columns)
        assert kind is not None, f"{path.name} has unknown columns"
        step = 6 if kind.title in SLOW_TITLES else 1
        report = command.check_file(path.name, kind, rows[::step])
        failures += report.failures
        passed += report.passed
        kinds.add(kind.title)
    assert not failures, "\n".join(map(str, failures))
    assert passed > 8000
    assert kinds == {kind.title for kind in TABLES}, "a kind without a reference table"


@pytest.mark.full
def test_the_whole_folder_with_the_command(capsys):
    """What a user types."""
    assert command.main([str(corpus())]) == 0
    assert capsys.readouterr().out.endswith("passed, 0 failed\n")


@pytest.mark.full
def test_the_whole_folder_with_simulations(capsys):
    """A tenth of the usual sample sizes; the seed is fixed, so this cannot fail by chance later."""
    assert command.main([str(corpus()), "--simulate", "--effort", "0.1"]) == 0
    assert "samples simulated" in capsys.readouterr().out


ROWS = {
    "double.csv": (
        "q,z,p_nakamoto,p_exact,p_exact_strictly_longer,p_exact_giveup20,provenance",
        "0.2,1,0.4158994127,0.4,0.13,0.4,computed",
    ),
    "delay.csv": (
        "q,lambda_delta,z,p_success,p_no_delay,provenance",
        "0.3,0.5,6,0.32972965,0.1564495819,computed",
    ),
    "split.csv": (
        "cluster,live,latency_over_timeout_range,p_split,published,provenance",
        "5,4,0.1,0.0523,about 5.2%,formula",
    ),
    "prose.csv": ("row,paxos_etcd,nakamoto_bitcoin,provenance", "Publication,1988,2008,published"),
}


def write(folder: Path, names=tuple(ROWS), **changed: str) -> None:
    """Tables with one row each; `changed` maps a printed value to another."""
    for name in names:
        header, row = ROWS[name]
        for old, new in changed.items():
            row = row.replace(old.replace("_", "."), new)
        (folder / name).write_text(f"{header}\n{row}\n", encoding="utf-8")


def test_tables_are_found_by_their_columns_under_any_name(tmp_path, capsys):
    """Prose is listed, and counts neither way."""
    write(tmp_path)
    assert command.main([str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "prose.csv: 0 passed, 0 failed" in out
    assert "not covered: nakamoto_bitcoin, 1 cells: prose" in out
    assert "not covered: published, 1 cells: prose" in out
    assert out.endswith("7 passed, 0 failed\n")


def test_order_of_columns_folders_and_ways_of_writing_a_file_do_not_matter(tmp_path, capsys):
    """A subfolder, a suffix in capitals, a byte order mark, columns in another order."""
    header, row = ROWS["delay.csv"]
    turned = [",".join(reversed(line.split(","))) for line in (header, row)]
    (tmp_path / "deep" / "er").mkdir(parents=True)
    text = "\ufeff" + "\r\n".join(turned) + "\r\n"
    (tmp_path / "deep" / "er" / "A.CSV").write_text(text, encoding="utf-8")
    assert command.main([str(tmp_path)]) == 0
    assert capsys.readouterr().out.endswith("2 passed, 0 failed\n")


@pytest.mark.parametrize(
    ("name", "old", "new", "column"),
    [
        ("double.csv", "0.4158994127", "0.4158994137", "p_nakamoto"),
        ("double.csv", ",0.4,0.13", ",0.400000001,0.13", "p_exact"),
        ("double.csv", "0.13", "0.1300000003", "p_exact_strictly_longer"),
        ("delay.csv", "0.32972965", "0.3297296", "p_success"),
        ("split.csv", "0.0523", "0.05230000006", "p_split"),
    ],
)
def test_a_wrong_tenth_digit_is_named_by_row_and_column(tmp_path, capsys, name, old, new, column):
    """Exit code 1, and the failing cell on a line of its own."""
    write(tmp_path)
    path = tmp_path / name
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    assert command.main([str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert f"FAILED {name} line 2, column {column}: the table has " in out
    assert out.endswith("6 passed, 1 failed\n")


def test_other_parameters_are_computed_from_the_row(tmp_path, capsys):
    """Nothing is looked up: a row of another attacker is compared with that attacker's value."""
    header, _ = ROWS["split.csv"]
    (tmp_path / "x.csv").write_text(f"{header}\n11,8,0.37,0.7,,\n", encoding="utf-8")
    assert command.main([str(tmp_path)]) == 1
    at_least_three = sum(math.comb(8, k) * 0.37**k * 0.63 ** (8 - k) for k in range(3, 9))
    assert f"expected {at_least_three:.9g}" in capsys.readouterr().out


def test_a_row_that_cannot_be_read_fails_as_a_whole(tmp_path, capsys):
    """An impossible parameter is not a pass."""
    header, _ = ROWS["split.csv"]
    (tmp_path / "x.csv").write_text(f"{header}\n5,1,0.1,0.5,,\n5,abc,0.1,0.5,,\n", "utf-8")
    assert command.main([str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "line 2, column whole row" in out
    assert "line 3, column whole row" in out


def test_unknown_columns_and_empty_folders_are_no_success(tmp_path, capsys):
    """Nothing compared: exit code 2."""
    assert command.main([str(tmp_path / "missing")]) == 2
    (tmp_path / "other.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    assert command.main([str(tmp_path)]) == 2
    assert "other.csv: not covered: columns of no known table" in capsys.readouterr().out


def test_a_column_without_a_formula_is_not_covered(tmp_path, capsys):
    """Extra columns are named, not passed."""
    header, row = ROWS["split.csv"]
    text = f"{header},p_other\n{row},0.5\n"
    (tmp_path / "x.csv").write_text(text, encoding="utf-8")
    assert command.main([str(tmp_path)]) == 0
    assert "not covered: p_other, 1 cells: no formula for this column" in capsys.readouterr().out


def test_a_small_bias_in_every_row_shows_in_the_sum_of_squares():
    """Forty rows two standard errors off, each of them within the limit."""
    report = Report("biased")
    row = Row(report, 2, {"x": "1.02"})
    for _ in range(40):
        row.statistical("x", 1.0, 0.01)
    assert report.failed == 0
    report.judge_spread()
    assert [failure.column for failure in report.failures] == ["sum of all squared z-scores"]


def test_a_monte_carlo_cell_far_off_fails():
    """Five standard errors."""
    report = Report("far")
    Row(report, 2, {"x": "1.05"}).statistical("x", 1.0, 0.01)
    assert report.failed == 1


@pytest.mark.parametrize(
    ("hits", "trials", "printed", "failed"),
    [
        (198, 200, "0.9554", 0),  # Its own spread would make this 4.8 standard errors.
        (1, 200, "0.0001", 0),
        (0, 200, "0.0", 0),
        (170, 200, "0.9554", 1),
        (9, 200, "0.0001", 1),
    ],
)
def test_shares_near_their_end_are_compared_exactly(hits, trials, printed, failed):
    """Few trials of a rare event are no proof against a table."""
    report = Report("shares")
    Row(report, 2, {"p": printed}).simulated_share("p", of_count(hits, trials), replicates=20_000)
    assert report.failed == failed
    assert len(report.z_scores) == 1


@pytest.mark.slow
def test_simulations_notice_a_wrong_table():
    """A stale fraction of the wrong model: full delay where the table says two equal miners."""
    header = "n_miners,lambda_delta,mc_stale,mc_stale_se,mc_blocks,approx_first_order,"
    header += "approx_scaled,limit_infinite,exact"
    good = "3,1.0,0.33106,0.0002,2000000,0.6666666667,0.3333333333,0.5,"
    bad = good.replace("0.33106", "0.3333333333")
    for line, failed in ((good, 0), (bad, 1)):
        cells = next(csv.DictReader([header, line]))
        kind = recognise(list(cells))
        assert kind is not None
        assert kind.check in SIMULATIONS
        # The closed-form approximation is 0.7 % off: enough blocks to see it.
        report = command.check_file("x", kind, [cells], Run(1, 6.0))
        assert report.failed == failed, report.lines()


def test_every_simulation_belongs_to_a_table():
    """No simulation is registered for a checker that no table uses."""
    assert set(SIMULATIONS) <= {kind.check for kind in TABLES}
