"""Sweeps: many runs of an experiment or notebook, on every core or on a cluster.

    sweep("loss.yaml", out="results/loss")      # run what is missing
    collect("results/loss")                     # one tidy frame

A sweep can be stopped and started again at any time: what is finished stays and is not run again.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consensus_lab.batch.frames import SWEEP, collect, write_plan
from consensus_lab.batch.notebooks import THREADS
from consensus_lab.batch.plan import Run, read
from consensus_lab.batch.work import RUNS, Task, is_done, perform, start_worker
from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.pool import Pool, cores, outcomes, processes
from consensus_lab.experiments.replicates import JOBS_MAX_VARIABLE, bounded
from consensus_lab.node import ParameterError

__all__ = ["Failure", "Outcome", "collect", "read", "sweep"]

SCHEDULER_WAIT_S = 20


@dataclass(frozen=True)
class Failure:
    """A run that did not finish, and why."""

    key: str
    parameters: Mapping[str, Any]
    why: str


@dataclass(frozen=True)
class Outcome:
    """What a call of `sweep` did.

    Attributes
    ----------
    folder : Path
    planned, present, made : int
        Runs of the sweep; those that were there before; those that were made now.
    failures : tuple of Failure
        In the order of the sweep.
    wall_s : float
    others : int
        Runs in the folder that this sweep does not have: of other code, or of another file.
    """

    folder: Path
    planned: int
    present: int
    made: int
    failures: tuple[Failure, ...]
    wall_s: float
    others: int = 0


def sweep(
    source: str | Path | Mapping[str, Any],
    *,
    out: str | Path,
    jobs: int | None = None,
    scheduler: str | None = None,
    executor: Executor | Callable[[], Executor] | None = None,
    progress: Progress = quiet,
) -> Outcome:
    """Make every run of a sweep that is not there yet.

    Parameters
    ----------
    source : path or mapping
        The sweep's YAML file or its content; see `consensus_lab.batch.plan`.
    out : path
        Folder of the sweep; made if it is missing.
    jobs : int, optional
        Worker processes; as many as there are cores if left out, and never more than the
        environment variable CONSENSUS_LAB_JOBS_MAX allows.
    scheduler : str, optional
        Address of a running Dask scheduler, whose workers share the folder `out`.
    executor : Executor or callable () -> Executor, optional
        Runs on this instead.  A callable is called again when the executor broke.
    progress : callable (done, total, what)
        Told when it begins and after each run.

    Raises
    ------
    ParameterError
        Before the first run, for whatever is wrong in whichever run.
    """
    if jobs is not None and (isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1):
        raise ParameterError("jobs", jobs, "a whole number, at least 1")
    count = bounded(jobs or cores())
    runs = read(source)
    out = Path(out).absolute()
    _open_folder(out, runs)
    missing = [run for run in runs if not is_done(out, run)]
    present = len(runs) - len(missing)
    others = sum(not one.name.startswith(".") for one in (out / RUNS).iterdir()) - present
    begin = time.perf_counter()
    if not missing:
        return Outcome(out, len(runs), present, 0, (), 0.0, others)
    progress(0, len(missing), f"runs; {present} there before")
    failures = {}
    try:
        with _workers(min(count, len(missing)), scheduler, executor) as (pool, window):
            tasks = [Task(run, str(out)) for run in missing]
            ends = outcomes(perform, tasks, pool=pool, window=window)
            for done, (task, came) in enumerate(ends, 1):
                if came:
                    failures[task.run.key] = _failure(task.run, came)
                failed = f", {len(failures)} failed" if failures else ""
                progress(done, len(missing), f"runs{failed}")
    finally:
        _remove_remains(out, {run.key for run in missing})
    ordered = tuple(failures[run.key] for run in missing if run.key in failures)
    made = len(missing) - len(ordered)
    return Outcome(out, len(runs), present, made, ordered, time.perf_counter() - begin, others)


def _open_folder(out: Path, runs: list[Run]) -> None:
    """Find out before the first run that the results could not be saved."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()) and not (out / SWEEP).is_file():
            raise ParameterError("out", str(out), "a new folder, or one of an earlier sweep")
        (out / RUNS).mkdir(exist_ok=True)
        write_plan(out, [run.key for run in runs])
    except OSError as error:
        allowed = f"a folder that can be written ({error.strerror})"
        raise ParameterError("out", str(out), allowed) from None


def _remove_remains(out: Path, keys: set[str]) -> None:
    """What killed workers left of these runs, all of which are over now."""
    for remains in sorted((out / RUNS).glob(".*-*")):
        if remains.name[1:].partition("-")[0] in keys:
            shutil.rmtree(remains, ignore_errors=True)


def _failure(run: Run, came: object) -> Failure:
    name = f"{type(came).__name__}: " if isinstance(came, BaseException) else ""
    return Failure(run.key, run.parameters, name + " ".join(str(came).split()))


@contextmanager
def _workers(
    jobs: int, scheduler: str | None, executor: Executor | Callable[[], Executor] | None
) -> Iterator[tuple[Pool, int]]:
    """A pool and its window; on the way out its workers leave, at once after Ctrl-C."""
    pool: Pool
    if scheduler is not None:
        with _dask(scheduler) as (cluster, threads):
            yield Pool(lambda: cluster), 2 * threads + 2
        return
    if executor is not None:
        given = executor if callable(executor) else lambda: executor
        yield Pool(given), 2 * jobs
        return
    with _single_threaded():
        pool = Pool(lambda: _process_pool(jobs))
        try:
            yield pool, 2 * jobs
        except BaseException:
            pool.stop()
            raise
        pool.close()


def _process_pool(jobs: int) -> Executor:
    preload = ("consensus_lab.batch", "pandas", "pyarrow.parquet")
    return processes(jobs, begin=start_worker, given=(dict(os.environ),), preload=preload)


@contextmanager
def _single_threaded() -> Iterator[None]:
    """Workers inherit one thread and one job each: there are as many workers as cores."""
    names = [*(name for name in THREADS if name not in os.environ), JOBS_MAX_VARIABLE]
    before = os.environ.get(JOBS_MAX_VARIABLE)
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name in names:
            del os.environ[name]
        if before is not None:
            os.environ[JOBS_MAX_VARIABLE] = before


@contextmanager
def _dask(address: str) -> Iterator[tuple[Executor, int]]:
    """The executor of a running Dask cluster and its number of threads."""
    if not re.fullmatch(r"(\w+://)?[^\s/]+:\d+", address):
        raise ParameterError("scheduler", address, "an address as tcp://HOST:8786")
    try:
        import distributed
    except ImportError:
        allowed = "left out, or `pip install consensus-lab[cluster]` done first"
        raise ParameterError("scheduler", address, allowed) from None
    try:
        connect: Any = distributed.Client
        client = connect(address, timeout=SCHEDULER_WAIT_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        allowed = f"the address of a running Dask scheduler ({' '.join(str(error).split())[:120]})"
        raise ParameterError("scheduler", address, allowed) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=SCHEDULER_WAIT_S)
        except TimeoutError:
            allowed = "one with at least one worker"
            raise ParameterError("scheduler", address, allowed) from None
        executor = client.get_executor(pure=False)
        try:
            yield executor, sum(client.nthreads().values())
        finally:
            executor.shutdown(wait=False)
