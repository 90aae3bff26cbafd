"""Makes a saved result again and says whether it is the same to the byte, or what differs.

Theory of operation.  A result's folder holds a manifest: the experiment, its parameters, the code
commit, the library versions, the checksums of the data that were read and of the files that were
written.  `reproduce` runs the experiment with those parameters into a new folder and compares:

1. the files as they are now with the manifest (was the folder changed by hand?);
2. the circumstances then and now (code, Python, libraries, data): why results may differ;
3. the files of both runs, byte by byte; a table that differs is compared cell by cell.

The wall time is the one thing that may differ without notice.
"""

from __future__ import annotations

import csv
import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from consensus_lab import data, experiments
from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.replicates import whole
from consensus_lab.experiments.result import Result, checksum
from consensus_lab.node import ParameterError

if TYPE_CHECKING:
    import pandas

MANIFEST = "manifest.json"
LIVE = "live"
"""What a summary's column `how` says of a value that was measured on a real system."""
_NEEDED = ("experiment", "parameters", "versions", "commit", "inputs", "files")
_COLUMNS_NAMED_MAX = 4


class Change(NamedTuple):
    """A circumstance that is not what it was: its name, what it was, what it is."""

    what: str
    then: str
    now: str

    def __str__(self) -> str:
        return f"{self.what}: {self.then} then, {self.now} now"


class Difference(NamedTuple):
    """A file that did not come out the same, and in what."""

    file: str
    detail: str

    def __str__(self) -> str:
        return f"{self.file}: {self.detail}"


@dataclass(frozen=True)
class Reproduction:
    """What came of making a result again.

    Attributes
    ----------
    folder : Path
        The saved result.
    experiment : str
        Its experiment.
    files : tuple of str
        The files that were compared.
    altered : tuple of Difference
        Files of the folder that are not as they were saved.
    changes : tuple of Change
        Circumstances that differ.
    differences : tuple of Difference
        Files that came out otherwise.
    wall_s : float
        How long the new run took.
    is_live : bool
        Were some of its values measured on a real system?
    """

    folder: Path
    experiment: str
    files: tuple[str, ...]
    altered: tuple[Difference, ...] = ()
    changes: tuple[Change, ...] = ()
    differences: tuple[Difference, ...] = field(default=())
    wall_s: float = 0.0
    is_live: bool = False

    @property
    def is_identical(self) -> bool:
        """True when every saved file came out the same to the byte."""
        return not self.differences and not self.altered

    def text(self) -> str:
        """The outcome in lines for a person."""
        count = len(self.files)
        head = f"{self.experiment}: {count} files made again in {self.wall_s:.1f} s"
        lines = [f"{head}, identical to the byte."] if self.is_identical else [f"{head}."]
        for title, items in (
            ("Changed since it was saved", self.altered),
            ("Differs", self.differences),
            ("Circumstances that changed", self.changes),
        ):
            lines += [f"{title}:"] * bool(items) + [f"  {item}" for item in items]
        if self.differences and self.is_live:
            lines.append("It was measured on a real system: no two runs give the same numbers.")
        elif self.differences and not self.changes:
            lines.append("Code, libraries and data are the same: this is a bug, please report it.")
        return "\n".join(lines)


def reproduce(
    folder: str | Path, *, into: str | Path | None = None, progress: Progress = quiet
) -> Reproduction:
    """Run a saved result again and compare.

    Parameters
    ----------
    folder : path
        As `Result.save` wrote it, or a run of a sweep (`SWEEP/runs/KEY`).
    into : path, optional
        Keep the new result there; it is thrown away without it.
    progress : callable (done, total, what)
        Told while the experiment runs.

    Raises
    ------
    ParameterError
        When the folder holds no readable manifest, or the experiment or one of its parameters is
        gone.
    """
    folder = Path(folder)
    saved = read_manifest(folder)
    if "interrupted" in saved:
        raise ParameterError("folder", str(folder), f"a whole result ({saved['interrupted']})")
    altered = _altered(folder, saved["files"])
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="consensus-lab-") as place:
        fresh = Path(into) if into is not None else Path(place) / "result"
        with whole():
            _again(folder, saved, fresh, progress)
        wall_s = time.perf_counter() - begin
        now = read_manifest(fresh)
        differences = _differences(folder, fresh, saved["files"], now["files"])
        is_live = _is_live(fresh)
    return Reproduction(
        folder, saved["experiment"] or saved.get("notebook", ""), tuple(sorted(saved["files"])),
        altered, (*_changes(saved, now), *data_differences(folder)), differences, wall_s, is_live,
    )  # fmt: skip


def _is_live(fresh: Path) -> bool:
    """Whether a summary names a real system as the source of a value, or the table's settings."""
    if read_manifest(fresh)["parameters"].get("is_live"):
        return True
    texts = [path.read_text(encoding="utf-8") for path in sorted(fresh.rglob("summary.csv"))]
    return any(row["how"] == LIVE for text in texts for row in csv.DictReader(text.splitlines()))


def _again(folder: Path, saved: Mapping[str, Any], fresh: Path, progress: Progress) -> None:
    """As it was made: by a sweep, which keeps no wall time, by `save`, or by a `save` of its own.

    The comparison table has one of its own.
    """
    if "wall_s" not in saved:
        from consensus_lab.batch import work

        try:
            work.again(folder, saved, fresh, progress=progress)
        except work.NotebookError as error:
            why = str(error).partition(" (see ")[0]  # The copy that it names is gone by now.
            allowed = f"one whose notebook still runs to its end ({why})"
            raise ParameterError("folder", str(folder), allowed) from None
        return
    module = experiments.load(saved["experiment"])
    parameters = module.Parameters.of(saved["parameters"])
    result = experiments.run(saved["experiment"], parameters, progress=progress)
    getattr(module, "save", Result.save)(result, fresh)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a result's folder; `ParameterError` says what is wrong with it."""
    path = folder / MANIFEST
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        allowed = f"the folder of a saved result ({MANIFEST}: {error.strerror})"
        from consensus_lab.batch import RUNS, SWEEP

        if (folder / SWEEP).is_file():
            allowed = f"that of one run of this sweep: {folder}/{RUNS}/KEY"
        raise ParameterError("folder", str(folder), allowed) from None
    except ValueError:
        raise _unreadable(folder, "it is no JSON") from None
    if not isinstance(found, dict):
        raise _unreadable(folder, "it is no JSON object")
    missing = [name for name in _NEEDED if name not in found]
    if missing:
        raise _unreadable(folder, f"it has no {missing[0]!r}")
    maps = ("parameters", "versions", "inputs", "files")
    wrong = [name for name in maps if not isinstance(found[name], dict)]
    if wrong:
        raise _unreadable(folder, f"its {wrong[0]!r} is no JSON object")
    return found


def _unreadable(folder: Path, why: str) -> ParameterError:
    return ParameterError("folder", str(folder), f"a result with a sound {MANIFEST} ({why})")


def _altered(folder: Path, files: Mapping[str, str]) -> tuple[Difference, ...]:
    """Files that are missing or not as the manifest describes them."""
    found = []
    for name, expected in sorted(files.items()):
        path = folder / name
        if not path.is_file():
            found.append(Difference(name, "is missing"))
        elif checksum(path) != expected:
            found.append(Difference(name, "is not the file that was saved"))
    return tuple(found)


def _changes(saved: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[Change, ...]:
    """Code, libraries and parameters that are not what they were."""
    pairs = [("code commit", saved["commit"], now["commit"])]
    if "code" in saved:  # A commit says nothing of what was changed since, a wheel has none.
        pairs.append(("code and data", saved["code"], now["code"]))
    for title, part in (("", "versions"), ("parameter ", "parameters")):
        before, after = saved[part], now[part]
        pairs += [
            (f"{title}{name}", before.get(name, "none"), after.get(name, "none"))
            for name in sorted({*before, *after})
        ]
    return tuple(
        Change(what, _brief(then), _brief(value)) for what, then, value in pairs if then != value
    )


def _brief(value: Any) -> str:
    """A value in one short word: checksums and commits by their beginning."""
    text = str(value)
    is_digest = len(text) >= 40 and set(text) <= set("0123456789abcdef")
    return text[:12] if is_digest else text


def _differences(
    folder: Path, fresh: Path, before: Mapping[str, str], after: Mapping[str, str]
) -> tuple[Difference, ...]:
    """Files whose saved checksum is not that of the new run."""
    found = []
    for name in sorted({*before, *after}):
        if name not in after:
            found.append(Difference(name, "is not made any more"))
        elif name not in before:
            found.append(Difference(name, "was not made then"))
        elif before[name] != after[name]:
            found.append(Difference(name, _detail(folder / name, fresh / name)))
    return tuple(found)


def _detail(then: Path, now: Path) -> str:
    """What differs between two files of one name."""
    if not then.is_file():
        return "differs from the checksum in the manifest; the saved file is missing"
    if then.suffix in (".csv", ".parquet"):
        return _table_detail(_table(then), _table(now))
    first, second = then.read_bytes(), now.read_bytes()
    if then.suffix in (".txt", ".md", ".tex", ".html", ".svg"):
        lines = zip(first.splitlines(), second.splitlines(), strict=False)
        places = [number for number, (a, b) in enumerate(lines, 1) if a != b]
        if places:
            return f"differs in {len(places)} lines, first in line {places[0]}"
    return f"differs ({len(first):,} bytes then, {len(second):,} now)"


def _table(path: Path) -> pandas.DataFrame:
    """Every cell as text, so that nothing is rounded away."""
    import pandas

    if path.suffix == ".parquet":
        return pandas.read_parquet(path).map(repr)
    return pandas.read_csv(path, dtype=str, keep_default_na=False)


def _table_detail(then: pandas.DataFrame, now: pandas.DataFrame) -> str:
    """Which columns differ, and where first."""
    gone = [str(name) for name in then.columns if name not in now.columns]
    new = [str(name) for name in now.columns if name not in then.columns]
    if gone or new:
        return "; ".join(
            f"{words} {', '.join(names)}"
            for words, names in (("columns gone:", gone), ("new columns:", new)) if names
        )  # fmt: skip
    if len(then) != len(now):
        return f"{len(then):,} rows then, {len(now):,} now"
    parts = []
    for name in then.columns:
        places = [
            row for row, (a, b) in enumerate(zip(then[name], now[name], strict=True)) if a != b
        ]
        if places:
            first = places[0]
            parts.append(
                f"column {name} differs in {len(places):,} of {len(then):,} rows, first in row "
                f"{first + 1}: {then[name].iloc[first]} then, {now[name].iloc[first]} now"
            )
    if not parts:
        return "the same values, written differently"
    more = len(parts) - _COLUMNS_NAMED_MAX
    rest = [f"and {more} more columns"] if more > 0 else []
    return "; ".join([*parts[:_COLUMNS_NAMED_MAX], *rest])


def data_differences(folder: str | Path) -> tuple[Change, ...]:
    """Data files that are not what they were when a result was saved, without running it.

    Each is read again: a run in the same process may have kept what it read before.

    Raises
    ------
    ParameterError
        When the folder holds no readable manifest.
    """
    found = []
    for name, then in sorted(read_manifest(Path(folder))["inputs"].items()):
        try:
            now = data.checksum(name)
        except data.DataError as error:
            now = error.problem
        if now != then:
            found.append(Change(f"data {name}", _brief(then), _brief(now)))
    return tuple(found)
