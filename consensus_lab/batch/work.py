"""What one worker does for one run: make the result and put it in its folder, whole or not at all.

The files of a run do not depend on when, where or beside what it ran: no wall time, no path, no
time stamp.  So a sweep with one job and one with fifty leave the same bytes.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import shutil
import signal
import sys
import tempfile
import types
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from consensus_lab import experiments
from consensus_lab.batch.plan import Run
from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.result import checksum, code_version, new_folder

if TYPE_CHECKING:
    from consensus_lab.experiments.result import Result

MANIFEST = "manifest.json"
RUNS, FAILED = "runs", "failed"
_HARD_EXIT_S = 10
_REASON_LENGTH_MAX = 300
_EXIT_STOPPED = 143
_state = {"is_worker": False}


class NotebookError(Exception):
    """A notebook did not run to its end; not an `OSError`, which would blame the folder."""


class Task(NamedTuple):
    """A run and the sweep's folder."""

    run: Run
    out: str


def run_folder(out: str | Path, run: Run) -> Path:
    """Where a run's result is, or will be."""
    return Path(out) / RUNS / run.key


def is_done(out: str | Path, run: Run) -> bool:
    """True when the run's result is there; it is there whole or not at all."""
    return (run_folder(out, run) / MANIFEST).is_file()


def start_worker(environment: dict[str, str]) -> None:
    """Begin as a worker with its parent's environment, not that of the first sweep's parent."""
    os.environ.clear()
    os.environ.update(environment)
    prepare_worker()


def prepare_worker() -> None:
    """Make this process a worker: Ctrl-C is its parent's business, a termination is orderly."""
    _state["is_worker"] = True
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)


def _leave(number: int, frame: types.FrameType | None) -> None:
    """Unwind, so that temporary folders and kernels go; and leave in any case soon."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(_HARD_EXIT_S)
    # A kernel's client that is unwound complains, to whoever has just pressed Ctrl-C.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    raise SystemExit(_EXIT_STOPPED)


def perform(task: Task) -> str:
    """Make one run and save it; returns "" or, in one line, why it failed."""
    run, out = task
    if _state["is_worker"]:
        prepare_worker()  # A notebook's client sets signal handlers of its own.
    if is_done(out, run):
        return ""
    if code_version() != run.code:
        return f"this worker has code {code_version()}, the sweep was planned with {run.code}"
    try:
        if run.notebook:
            with new_folder(run_folder(out, run)) as folder:
                _notebook(run, folder, Path(out))
        else:
            _experiment(run, run_folder(out, run))
    except SystemExit:
        if _state["is_worker"]:
            # A pool would hand the exit to the parent as a result, and go on working.
            os._exit(_EXIT_STOPPED)
        raise
    except Exception as error:
        if is_done(out, run):
            return ""  # By a second call of the same sweep, which has cleared this one's remains.
        return str(error) if isinstance(error, NotebookError) else _brief(error)
    return ""


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:_REASON_LENGTH_MAX]}"


def again(
    saved: Path, manifest: Mapping[str, Any], target: Path, *, progress: Progress = quiet
) -> None:
    """Make a finished run once more, in another folder, from nothing but what its folder holds.

    Raises
    ------
    NotebookError
        When the run's notebook does not run to its end this time.
    """
    files, parameters = manifest["files"], manifest["parameters"]
    experiment, notebook = str(manifest["experiment"]), str(manifest.get("notebook", ""))
    run = Run(experiment, notebook, parameters, saved.name, code_version(),
              figures="figure.svg" in files)  # fmt: skip
    if not notebook:
        _experiment(run, target, progress)
        return
    from consensus_lab.batch import notebooks

    with tempfile.TemporaryDirectory() as place, new_folder(target) as folder:
        source = Path(place) / Path(notebook).name
        notebooks.write_source(saved / notebooks.EXECUTED, source)
        _notebook(run._replace(notebook=str(source)), folder, Path(place))


def _experiment(run: Run, target: Path, progress: Progress = quiet) -> None:
    module = experiments.load(run.experiment)
    parameters = module.Parameters.of(run.parameters)
    result = experiments.timed(module.run, parameters, progress)
    if not run.figures:
        result = dataclasses.replace(result, draw=None)
    with new_folder(target) as folder:
        save(result, folder)
        _write_manifest(run, folder, {"inputs": dict(sorted(result.inputs.items()))})


def save(result: Result, folder: Path) -> None:
    """Write a result's tables, and its figure if it has one."""
    result.frame.to_parquet(folder / "frame.parquet", index=False)
    result.summary.to_csv(folder / "summary.csv", index=False, lineterminator="\n")
    result.published.to_csv(folder / "published.csv", index=False, lineterminator="\n")
    if result.draw is not None:
        from consensus_lab.report.style import save_figure

        save_figure(result.figure(), folder / "figure")


def _notebook(run: Run, folder: Path, out: Path) -> None:
    from consensus_lab.batch import notebooks

    broken = out / FAILED / f"{run.key}.ipynb"
    executed = folder / notebooks.EXECUTED
    try:
        notebooks.execute(
            Path(run.notebook), executed, run.parameters, cell_timeout_s=run.cell_timeout_s
        )
    except Exception as error:
        if not executed.is_file():
            raise NotebookError(_brief(error)) from error
        broken.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(executed, broken)
        name, value = getattr(error, "ename", ""), getattr(error, "evalue", "")
        why = f"{name}: {value}" if name else _brief(error).partition(" The message was")[0]
        raise NotebookError(f"{why[:_REASON_LENGTH_MAX]} (see {broken})") from error
    _write_manifest(run, folder, {"notebook": Path(run.notebook).name})
    broken.unlink(missing_ok=True)


def _write_manifest(run: Run, folder: Path, more: dict[str, Any]) -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    manifest = {
        "experiment": run.experiment, "parameters": run.parameters,
        "seed": run.parameters.get("seed"), "code": run.code, **_circumstances(), "inputs": {},
        **more, "files": {path.relative_to(folder).as_posix(): checksum(path) for path in files},
    }  # fmt: skip
    text = json.dumps(manifest, indent=2)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


@functools.cache
def _circumstances() -> dict[str, Any]:
    """Versions and commit, found once per worker: finding them takes longer than a short run."""
    import platform
    from importlib import metadata

    from consensus_lab.experiments.result import LIBRARIES, code_commit

    versions = {name: metadata.version(name) for name in ("consensus-lab", *LIBRARIES)}
    return {"versions": {**versions, "python": platform.python_version()}, "commit": code_commit()}


def without_slow_imports() -> None:
    """Spare papermill a second: a format check of JSON schemas that no notebook uses.

    `rfc3987_syntax` builds 35 parsers when imported (python-jsonschema/jsonschema#1428).
    """
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
