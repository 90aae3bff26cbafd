"""Checks the package's theory against any folder of tables in the reference formats.

    python -m tests.conformance.theory FOLDER [--simulate] [--seed N] [--effort E]

Every CSV file under the folder is recognised by its columns; each row's numbers are computed from
that row's parameters.  Columns that the tables computed must agree in nine significant digits,
published figures in the digits printed, Monte Carlo columns within 4.5 standard errors.  Cells that
are prose or have no formula are listed as not covered, with the reason; they never count as
passed.  `--simulate` also runs our own simulations against the Monte Carlo columns and the
sample-size table.  The last line is `N passed, M failed` (cells); the exit code is 0 when nothing
failed, 1 when something did and 2 when there was nothing to compare.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from pathlib import Path

from consensus_lab.node import ParameterError
from tests.conformance.theory import chain_tables, network_tables
from tests.conformance.theory.report import Failure, Report, Row
from tests.conformance.theory.simulations import SIMULATIONS, Run
from tests.conformance.theory.tables import TABLES, Table, recognise

assert chain_tables and network_tables, "importing them registers their tables"


def read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and rows of a CSV file."""
    # Some programs begin a UTF-8 file with a byte order mark.
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        rows = [{key: value or "" for key, value in row.items() if key} for row in reader]
        return list(reader.fieldnames or ()), rows


def check_file(
    name: str, kind: Table, rows: list[dict[str, str]], run: Run | None = None
) -> Report:
    """Compare every row of a file; with a `run` simulate as well."""
    report = Report(name, simulating=run is not None)
    for number, cells in enumerate(rows, start=2):
        row = Row(report, number, cells)
        try:
            kind.check(row)
            if run is not None and kind.check in SIMULATIONS:
                SIMULATIONS[kind.check](row, run)
        except (ParameterError, ValueError, KeyError) as error:
            problem = f"{type(error).__name__}: {error}"
            report.failures.append(Failure(name, number, "whole row", "a row", problem))
        row.rest_not_covered()
    report.judge_spread()
    return report


def check_folder(
    folder: Path, *, only: str | None = None, run: Run | None = None
) -> tuple[list[Report], list[str]]:
    """Reports of every recognised file, and the names of the others."""
    files = sorted(folder.rglob("*")) if folder.is_dir() else [folder]
    paths = [path for path in files if path.is_file() and path.suffix.lower() == ".csv"]
    reports, unknown = [], []
    for path in paths:
        if only is not None and only not in path.name:
            continue
        columns, rows = read(path)
        kind = recognise(columns)
        if kind is None:
            unknown.append(path.name)
        else:
            reports.append(check_file(path.name, kind, rows, run))
    return reports, unknown


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.theory")
    parser.add_argument("folder", type=Path, help="folder of CSV tables (or one file)")
    parser.add_argument("--only", help="only files whose name contains this")
    parser.add_argument("--simulate", action="store_true", help="run our simulations too")
    parser.add_argument("--seed", type=int, default=1, help="seed of the simulations (default 1)")
    parser.add_argument(
        "--effort", type=float, default=1.0, help="scales the sample sizes (default 1)"
    )
    options = parser.parse_args(arguments)
    if not options.folder.exists():
        print(f"{options.folder} does not exist", file=sys.stderr)
        return 2
    started = time.monotonic()
    run = Run(options.seed, options.effort) if options.simulate else None
    reports, unknown = check_folder(options.folder, only=options.only, run=run)
    for report in reports:
        print("\n".join(report.lines()))
    for name in unknown:
        print(f"{name}: not covered: columns of no known table ({len(TABLES)} kinds are known)")
    passed = sum(report.passed for report in reports)
    failed = sum(report.failed for report in reports)
    skipped = sum(sum(report.not_covered.values()) for report in reports)
    floor = sum(report.within_floor for report in reports)
    print(
        f"{len(reports)} tables in {time.monotonic() - started:.0f} s; {skipped} cells not covered;"
        f" {floor} of the passed cells agree only within the rounding floor of their table"
    )
    print(f"{passed} passed, {failed} failed")
    if failed:
        return 1
    return 0 if passed else 2


if __name__ == "__main__":
    raise SystemExit(main())
