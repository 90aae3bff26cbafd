"""Experiments: one file per question, each `Parameters` -> `run()` -> `Result`.

A file in this folder is an experiment when it defines `Parameters` and `run`; its name with
hyphens is the experiment's name, its docstring's first line the question.  There is no other
registration.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from consensus_lab.node import ParameterError

if TYPE_CHECKING:
    from consensus_lab.experiments.result import Result

Progress = Callable[[int, int, str], None]
"""Called as (done, total, what) while an experiment runs."""


def quiet(done: int, total: int, what: str) -> None:
    """Show no progress."""


def questions() -> dict[str, str]:
    """Every experiment's name and question, sorted, found without importing any of them."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        defined = {getattr(item, "name", "") for item in tree.body}
        if {"Parameters", "run"} <= defined:
            question = (ast.get_docstring(tree) or "").splitlines()[0]
            found[path.stem.replace("_", "-")] = question
    return found


def load(name: str) -> ModuleType:
    """The experiment's module; `ParameterError` with the nearest name if there is none."""
    names = questions()
    key = name.replace("_", "-")
    if key not in names:
        near = difflib.get_close_matches(key, names, n=1, cutoff=0.4)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ParameterError("experiment", name, f"one of {', '.join(names)}{hint}")
    return importlib.import_module(f"{__name__}.{key.replace('-', '_')}")


def run(
    name: str,
    parameters: Any = None,
    *,
    preset: str = "fast",
    progress: Progress = quiet,
    jobs: int | None = None,
) -> Result:
    """Run an experiment by its name.

    Parameters
    ----------
    name : str
        As `consensus-lab list` prints it.
    parameters : Parameters or mapping of name to value, optional
        What is not named comes from the preset.
    preset : str
        "fast" or "full"; ignored when `parameters` is a complete `Parameters`.
    progress : callable (done, total, what)
        Told while it runs.
    jobs : int, optional
        Processes for its replicates, 0: one per core.  Changes no byte of the result.

    Raises
    ------
    ParameterError
        For an unknown experiment, parameter or value.
    """
    from consensus_lab.experiments import replicates

    module = load(name)
    if parameters is None or isinstance(parameters, Mapping):
        parameters = module.Parameters.of(parameters, preset=preset)
    with nullcontext() if jobs is None else replicates.jobs(jobs):
        return timed(module.run, parameters, progress)


def timed(function: Callable[..., Result], parameters: Any, progress: Progress = quiet) -> Result:
    """Call an experiment's `run` and note the wall time and the data files that it read."""
    from consensus_lab import data

    begin = time.perf_counter()
    with data.recorded() as inputs:
        result = function(parameters, progress)
    result.wall_s = time.perf_counter() - begin
    result.inputs = {**inputs, **result.inputs}
    return result
