"""The results of the full presets, stored: what a quick run is compared with.

A full preset takes up to twenty minutes on two cores, so its summary is kept in `data/full`: one
CSV per experiment, and `runs.csv` with what it was run with.  `make full-results` makes them
again; `python -m consensus_lab.experiments.full_results NAME ...` only those named.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consensus_lab import data
from consensus_lab.experiments import load, questions, timed
from consensus_lab.experiments.progress import shown
from consensus_lab.experiments.replicates import jobs, whole

if TYPE_CHECKING:
    from consensus_lab.experiments.result import Measure, Result

FOLDER, RUNS = "full", "full/runs.csv"
COLUMNS = ("experiment", "parameters", "consensus_lab", "python", "numpy", "wall_s")

NOT_STORED = {"live-etcd": "its values are those of the machine that it runs on"}
"""Experiments without a stored result, and why."""


def stored_run(name: str) -> dict[str, str] | None:
    """The row of `runs.csv` of an experiment, or None when nothing is stored for it."""
    if not (data.folder() / RUNS).is_file():
        return None
    return next((row for row in data.rows(RUNS) if row["experiment"] == name), None)


def stored_measures(name: str) -> list[Measure]:
    """The stored measures of an experiment's full preset; none when nothing is stored."""
    from consensus_lab.experiments.result import Measure

    return [
        Measure(row["quantity"], float(row["value"]), float(row["low"]), float(row["high"]),
                row["unit"], int(row["replicates"]), row["how"])
        for row in (data.rows(f"{FOLDER}/{name}.csv") if stored_run(name) else [])
    ]  # fmt: skip


def stored_parameters(name: str) -> dict[str, Any]:
    """The parameters with which the stored full preset was run; none when nothing is stored."""
    row = stored_run(name)
    return json.loads(row["parameters"]) if row else {}


def is_current(name: str) -> bool:
    """True when what is stored was made with the full preset as it is now."""
    full = load(name).Parameters.of(preset="full").as_dict()
    return stored_parameters(name) == json.loads(json.dumps(full))


def store(result: Result, *, folder: Path | None = None) -> None:
    """Write the summary of a full run into the data folder, in place of an earlier one."""
    place = (folder or data.folder()) / FOLDER
    place.mkdir(exist_ok=True)
    name = result.experiment
    result.summary.to_csv(place / f"{name}.csv", index=False, lineterminator="\n")
    index = place / Path(RUNS).name
    rows: list[dict[str, Any]] = []
    if index.is_file():
        with index.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["experiment"] != name]
    manifest = result.manifest()
    versions = manifest["versions"]
    rows.append({
        "experiment": name, "parameters": json.dumps(manifest["parameters"]),
        "consensus_lab": versions["consensus-lab"], "python": versions["python"],
        "numpy": versions["numpy"], "wall_s": round(manifest["wall_s"]),
    })  # fmt: skip
    with index.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: row["experiment"]))
    data.write_sums(place)


def main(names: Sequence[str]) -> None:
    """Run the full presets of these experiments, or of all that are not stored as they are now.

    On all cores, or as many as CONSENSUS_LAB_JOBS_MAX allows.
    """
    missing = [name for name in questions() if name not in NOT_STORED and not is_current(name)]
    for name in names or missing:
        module = load(name)
        print(f"{name}: full preset", flush=True)
        with jobs(), whole():
            result = timed(module.run, module.Parameters.of(preset="full"), shown())
        store(result)
        print(f"{name}: {len(result.measures)} measures in {result.wall_s:.0f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
