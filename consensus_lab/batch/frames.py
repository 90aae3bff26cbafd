"""Collects the runs of a sweep into one tidy frame: the parameters as columns."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consensus_lab.batch.index import manifest_of, write_index
from consensus_lab.batch.work import RUNS
from consensus_lab.node import ParameterError

if TYPE_CHECKING:
    import pandas

SWEEP = "sweep.json"
SUMMARY, FRAMES = "summary.parquet", "frames.parquet"


def collect(folder: str | Path, *, frames: bool = False) -> pandas.DataFrame:
    """All summary measures of a sweep, one row each; also written to `summary.parquet`.

    The sweep's page, `index.html`, is made anew besides.

    Parameters
    ----------
    folder : path
        The sweep's folder.
    frames : bool
        The runs' observations instead of their summaries, into `frames.parquet`.

    Returns
    -------
    pandas.DataFrame
        Columns `run`, `experiment`, one per parameter (lists as JSON text; `parameter_NAME` where
        a table has a column NAME of its own), then the table's.  Runs in the order of the sweep;
        `frame.attrs` tells how many of the planned runs there are.

    Raises
    ------
    ParameterError
        When the folder holds no sweep, cannot be written, or none of its runs has a table.
    """
    folder = Path(folder)
    planned = _planned(folder)
    try:
        return _collected(folder, planned, frames=frames)
    except OSError as error:
        why = f"{error.strerror}: {error.filename}"
        raise ParameterError("folder", str(folder), f"a sweep's, to be written ({why})") from None


def _collected(folder: Path, planned: list[str], *, frames: bool) -> pandas.DataFrame:
    import pandas

    write_index(folder, planned)
    parts = []
    done = 0
    for key in planned:
        run = folder / RUNS / key
        manifest = manifest_of(run)
        if not manifest:
            continue
        done += 1
        table, read = ("frame.parquet", pandas.read_parquet) if frames else (
            "summary.csv", _read_exact)  # fmt: skip
        for path in sorted(run.rglob(table)):
            parts.append(_with_parameters(read(path), key, manifest))
    if not parts:
        what = "whose runs left a table" if done else "with finished runs"
        raise ParameterError("folder", str(folder), f"the folder of a sweep {what}")
    whole = pandas.concat(parts, ignore_index=True)
    target = folder / (FRAMES if frames else SUMMARY)
    temporary = target.with_name(f".{target.name}")
    whole.to_parquet(temporary, index=False)
    temporary.replace(target)
    whole.attrs.update(runs_done=done, runs_planned=len(planned))
    return whole


def write_plan(folder: Path, keys: list[str]) -> None:
    """Note which runs the sweep has, in order."""
    temporary = folder / f".{SWEEP}"
    temporary.write_text(json.dumps({"runs": keys}, indent=0) + "\n", encoding="utf-8")
    temporary.replace(folder / SWEEP)


def _planned(folder: Path) -> list[str]:
    try:
        found = json.loads((folder / SWEEP).read_text(encoding="utf-8"))
        return [str(key) for key in found["runs"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = getattr(error, "strerror", None) or "unreadable"
        raise ParameterError("folder", str(folder), f"a sweep's ({SWEEP}: {why})") from None


def _read_exact(path: Path) -> pandas.DataFrame:
    """A summary with every digit, whatever the version of pandas rounds."""
    import pandas

    table = pandas.read_csv(path, dtype=str, keep_default_na=False)
    for name in ("value", "low", "high"):
        table[name] = [float(text or "nan") for text in table[name]]
    table["replicates"] = [int(text) for text in table["replicates"]]
    return table


def _with_parameters(
    table: pandas.DataFrame, key: str, manifest: dict[str, Any]
) -> pandas.DataFrame:
    taken = {str(name) for name in table.columns}
    name_of: Callable[[str], str] = lambda name: f"parameter_{name}" if name in taken else name
    front = {"run": key, "experiment": manifest["experiment"] or manifest.get("notebook", "")}
    values = {
        name: json.dumps(value) if isinstance(value, (list, dict)) else value
        for name, value in manifest["parameters"].items()
    }
    columns = {name_of(name): value for name, value in {**front, **values}.items()}
    import pandas

    left = pandas.DataFrame({name: [value] * len(table) for name, value in columns.items()})
    return pandas.concat([left, table.reset_index(drop=True)], axis=1)
