"""Judges every client history in a folder and compares with the verdicts that stand beside them.

    python -m tests.conformance.linearizability FOLDER [--describe] [--pictures FOLDER]

A verdict file is a CSV with the columns `file` (relative to the CSV), `model` and `linearizable`
(true or false); there may be several, in subfolders too.  History files are those named there and
every other `.log`, `.txt` or `.edn` file that looks like one; without a verdict they are judged
and shown, but not counted.  The last line is `N passed, M failed`; the exit code is 0 when
nothing failed, 1 when something did and 2 when there is nothing to judge.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from consensus_lab.sim.history_files import HistoryError, read_history_file
from consensus_lab.sim.linearizability import UndecidedError, Verdict, check
from consensus_lab.sim.models import KEY_VALUE, REGISTER, CellModel

BARS_SHOWN = 40
"""Operations in a picture; more cannot be read."""
HISTORY_SUFFIXES = (".log", ".txt", ".edn")
CORPUS_HINT = (
    "set CONSENSUS_LAB_REFERENCE to a folder with raft/linearizability: the histories of "
    "github.com/anishathalye/porcupine (test_data) and their verdicts in expected.csv"
)


class Case(NamedTuple):
    """A history file, the model's name and the published verdict (both None when unknown)."""

    path: Path
    model: str | None
    expected: bool | None
    error: str | None = None


class Outcome(NamedTuple):
    """What came of a case: `error` says why it failed, or is None."""

    case: Case
    verdict: Verdict | None
    error: str | None


def find_cases(folder: Path) -> list[Case]:
    """Every history under a folder (or that one file), with its verdict where there is one."""
    top = folder if folder.is_dir() else folder.parent
    # A subfolder of a corpus has its verdicts one level up.
    tables = sorted(top.rglob("*.csv")) or sorted(top.parent.glob("*.csv"))
    cases = {case.path: case for table in tables for case in _listed(table)}
    for path in sorted(top.rglob("*")):
        is_history = path.suffix in HISTORY_SUFFIXES and _looks_like_history(path)
        if is_history and path.resolve() not in cases:
            cases[path.resolve()] = Case(path.resolve(), None, None)
    inside = folder.resolve()
    return sorted(
        case for case in cases.values() if inside == case.path or inside in case.path.parents
    )


def _listed(table: Path) -> Iterator[Case]:
    """The cases of one verdict file; nothing when it is a CSV of another kind."""
    with table.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if not {"file", "linearizable"} <= set(reader.fieldnames or ()):
            return
        for row in reader:
            path = (table.parent / row["file"]).resolve()
            verdict = (row["linearizable"] or "").strip().lower()
            if verdict in ("true", "false"):
                yield Case(path, row.get("model"), verdict == "true")
            else:
                error = f"{table.name} says {verdict!r}; a verdict is true or false"
                yield Case(path, row.get("model"), None, error)


def _looks_like_history(path: Path) -> bool:
    """True when the file's first words are those of one of the two formats."""
    with path.open(encoding="utf-8", errors="replace") as file:
        first = file.read(4096).lstrip()
    return first.startswith("INFO") or (first.startswith("{") and ":process" in first)


def model_of(case: Case) -> CellModel:
    """The model that a verdict file names; by the file's own format when there is none."""
    name = (case.model or "").strip().lower()
    if name.startswith(("cas-register", "register")):
        return REGISTER
    if name.startswith(("key-value", "kv")):
        return KEY_VALUE
    if name:
        raise ValueError(f"no such model: {case.model!r}; there are cas-register and key-value")
    is_jepsen = case.path.read_text(encoding="utf-8").lstrip().startswith("INFO")
    return REGISTER if is_jepsen else KEY_VALUE


def judge(case: Case) -> Outcome:
    """Read one history, search it, compare."""
    if case.error is not None:
        return Outcome(case, None, case.error)
    try:
        verdict = check(read_history_file(case.path), model=model_of(case))
    except HistoryError as error:
        return Outcome(case, None, f"malformed: {error}")
    except (OSError, UndecidedError, ValueError) as error:
        return Outcome(case, None, str(error))
    if case.expected is None or verdict.is_linearizable == case.expected:
        return Outcome(case, verdict, None)
    found, published = (_words(value) for value in (verdict.is_linearizable, case.expected))
    return Outcome(case, verdict, f"found {found}, published {published}")


def _words(is_linearizable: bool) -> str:
    return "linearizable" if is_linearizable else "not linearizable"


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--describe", action="store_true", help="print the shortest failing prefix of bad histories"
    )
    parser.add_argument("--pictures", type=Path, help="draw them, as SVG and PNG in that folder")
    options = parser.parse_args(arguments)
    if not options.folder.exists():
        print(f"no such folder: {options.folder}", file=sys.stderr)
        return 2
    began = time.perf_counter()
    outcomes = [judge(case) for case in find_cases(options.folder)]
    if not outcomes:
        print(f"no histories in {options.folder}", file=sys.stderr)
        return 2
    for outcome in outcomes:
        _print(outcome, options.describe)
        if options.pictures is not None:
            _draw(outcome, options.pictures)
    failed = sum(outcome.error is not None for outcome in outcomes)
    passed = sum(o.error is None and o.case.expected is not None for o in outcomes)
    print(f"{time.perf_counter() - began:.1f} s")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def _draw(outcome: Outcome, folder: Path) -> None:
    """The end of a bad history's shortest failing prefix, named after its file."""
    if outcome.verdict is None or outcome.verdict.failure is None:
        return
    from consensus_lab.report.histories import history_bars
    from consensus_lab.report.style import save_figure

    folder.mkdir(parents=True, exist_ok=True)
    figure = history_bars(
        outcome.verdict.failure.bars(latest=BARS_SHOWN), x_label="line in the file (count)"
    )
    save_figure(figure, folder / outcome.case.path.stem)


def _print(outcome: Outcome, wants_prefix: bool) -> None:
    """The lines for one case: failures, histories without a verdict, prefixes on request."""
    if outcome.error is not None:
        print(f"FAILED {outcome.case.path}: {outcome.error}")
    elif outcome.case.expected is None and outcome.verdict is not None:
        found = _words(outcome.verdict.is_linearizable)
        print(f"{outcome.case.path}: {found} (no verdict to compare with)")
    if wants_prefix and outcome.verdict is not None and outcome.verdict.failure is not None:
        print(f"{outcome.case.path}: {outcome.verdict.failure.describe()}")


if __name__ == "__main__":
    sys.exit(main())
