"""Independent replicates, in this process or on many cores; Ctrl-C keeps those that have ended.

    with jobs(2):                            # or: consensus-lab run NAME --jobs 2
        result = stale_rate.run(parameters)

Theory of operation.  A replicate draws from streams of its own seed, so it does not matter where
and when it runs: outcomes are put in order before anybody sees them, and any number of jobs gives
the same bytes.  The number of jobs is therefore no parameter of an experiment.

All settings get their first replicate before any gets its second.  So whoever interrupts a run
keeps a whole picture with fewer replicates, not half a picture; and what is built for a replicate
(its network) is built once per process for all settings.

Workers get the functions once, when they start, and then bundles of numbers.  They come from a
clean process, not from this one (`pool.processes`), so functions must be importable: functions of
a module, or partials of them.  What they read of `data/` counts as read here.  A worker that dies
is replaced and its bundle is run again.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from contextvars import ContextVar
from multiprocessing import connection, parent_process
from typing import Any, NamedTuple

from consensus_lab import data
from consensus_lab.experiments import Progress
from consensus_lab.experiments.pool import Lost, Pool, cores, outcomes, processes
from consensus_lab.experiments.result import INTERRUPTED
from consensus_lab.node import ParameterError

ALL_CORES = 0
JOBS_MAX_VARIABLE = "CONSENSUS_LAB_JOBS_MAX"
"""Environment variable that bounds the number of jobs; a sweep sets it for its workers."""

BUNDLES_PER_JOB = 100
"""Few enough that handing them over costs nothing, enough that all workers end together."""

_jobs: ContextVar[int] = ContextVar("jobs", default=1)
_keeps: ContextVar[bool] = ContextVar("keeps", default=True)

Unit = tuple[int, int]
"""A replicate of a setting: (replicate, setting), in the order in which they are run."""


class WorkerDied(RuntimeError):
    """A replicate ended its process, again and again: out of memory, most likely."""


class Ended(NamedTuple):
    """What came of a call.

    Attributes
    ----------
    outcomes : list
        In the order of the replicates; of `by_setting` a list per setting.
    notes : list of str
        What a result says when it holds fewer replicates than were asked for; else empty.
    """

    outcomes: list[Any]
    notes: list[str]


@contextmanager
def jobs(count: int = ALL_CORES) -> Iterator[None]:
    """Run replicates in that many processes inside the block; 0: one per core.

    Raises
    ------
    ParameterError
        For less than 0.

    Examples
    --------
    >>> with jobs(1):
    ...     finished(abs, 3, progress=lambda done, total, what: None, what="numbers").outcomes
    [0, 1, 2]
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise ParameterError("jobs", count, f"a whole number, {ALL_CORES} (one per core) or more")
    token = _jobs.set(count or cores())
    try:
        yield
    finally:
        _jobs.reset(token)


@contextmanager
def whole() -> Iterator[None]:
    """Let an interrupt pass through inside the block, for whoever cannot use a part."""
    token = _keeps.set(False)
    try:
        yield
    finally:
        _keeps.reset(token)


def finished(
    function: Callable[[int], Any], n_replicates: int, *, progress: Progress, what: str
) -> Ended:
    """Run replicates 0, 1, ... until all have ended or the user interrupts; see `by_setting`."""
    (came,), notes = by_setting([function], n_replicates, progress=progress, what=what)
    return Ended(came, notes)


def by_setting(
    functions: Sequence[Callable[[Any], Any]],
    n_replicates: int | Sequence[int],
    *,
    progress: Progress,
    what: str,
    prepare: Callable[[int], Any] | None = None,
    may_lack: bool = False,
) -> Ended:
    """Run every replicate of every setting until all have ended or the user interrupts.

    Parameters
    ----------
    functions : sequence of callable (replicate) -> outcome
        One per setting.
    n_replicates : int or sequence of int
        Of every setting, or of each.
    progress, what
        Told before the first, and after each bundle.
    prepare : callable (replicate) -> object, optional
        Made once per process and replicate; functions get it instead of the replicate's number.
    may_lack : bool
        Is a result without some of the settings one, too?

    Raises
    ------
    KeyboardInterrupt
        When it comes before each setting (or, if some may lack, any) has one that has ended.
    WorkerDied
        When a replicate's process died each time that it was tried.
    """
    counts = [n_replicates] * len(functions) if isinstance(n_replicates, int) else n_replicates
    units = [(r, s) for r in range(max(counts)) for s, count in enumerate(counts) if r < count]
    work = _Work(tuple(functions), prepare)
    count = min(bounded(_jobs.get()), len(units))
    steps = _in_processes(work, units, count) if count > 1 else _here(work, units)
    came: list[dict[int, Any]] = [{} for _ in functions]
    notes = []
    try:
        with closing(steps):
            progress(0, len(units), what)
            for done, ((replicate, setting), outcome) in enumerate(steps, 1):
                came[setting][replicate] = outcome
                progress(done, len(units), what)
    except KeyboardInterrupt:
        if not _keeps.get() or not (any(came) if may_lack else all(came)):
            raise
        ended = sum(map(len, came))
        progress(ended, ended, f"{what}, interrupted")
        noun = "replicates" if len(functions) == 1 else what
        notes = [f"{INTERRUPTED} {ended} of {len(units)} {noun} ended; all figures are of those."]
    return Ended([[one[r] for r in sorted(one)] for one in came], notes)


def bounded(count: int) -> int:
    """So many jobs, or as many as CONSENSUS_LAB_JOBS_MAX allows.

    Raises
    ------
    ParameterError
        When that variable is no number of jobs.
    """
    text = os.environ.get(JOBS_MAX_VARIABLE, "")
    if text and not (text.isdecimal() and int(text)):
        raise ParameterError(JOBS_MAX_VARIABLE, text, "a whole number, at least 1")
    return min(count, int(text)) if text else count


class _Work:
    """The functions of a call, and what is prepared for the replicate at hand."""

    def __init__(
        self, functions: tuple[Callable[[Any], Any], ...], prepare: Callable[[int], Any] | None
    ) -> None:
        self.functions = functions
        self.prepare = prepare
        self._prepared: tuple[int, Any] | None = None

    def __call__(self, unit: Unit) -> Any:
        replicate, setting = unit
        try:
            return self.functions[setting](self._given(replicate))
        except Exception as error:
            error.add_note(f"(in {self.name(unit)})")
            raise

    def name(self, unit: Unit) -> str:
        """Replicate and setting, for people."""
        replicate, setting = unit
        return f"replicate {replicate}" + f", setting {setting}" * (len(self.functions) > 1)

    def _given(self, replicate: int) -> Any:
        if self.prepare is None:
            return replicate
        if self._prepared is None or self._prepared[0] != replicate:
            self._prepared = None  # The old one may go before the new one is made.
            self._prepared = (replicate, self.prepare(replicate))
        return self._prepared[1]

    def modules(self) -> list[str]:
        """Where the functions come from."""
        parts = [getattr(one, "func", one) for one in (*self.functions, self.prepare) if one]
        return sorted({part.__module__ for part in parts})


def _here(work: _Work, units: Sequence[Unit]) -> Iterator[tuple[Unit, Any]]:
    for unit in units:
        yield unit, work(unit)


def _in_processes(
    work: _Work, units: Sequence[Unit], count: int
) -> Iterator[tuple[Unit, Any]]:
    """As they end, a bundle at a time."""
    size = max(1, len(units) // (count * BUNDLES_PER_JOB))
    bundles = [tuple(units[at : at + size]) for at in range(0, len(units), size)]
    environment = dict(os.environ)
    pool = Pool(
        lambda: processes(count, begin=_begin, given=(work, environment), preload=work.modules())
    )
    try:
        for bundle, came in outcomes(_perform, bundles, pool=pool, window=2 * count):
            if isinstance(came, Lost):
                raise WorkerDied(f"{work.name(bundle[0])}: {came}")
            if isinstance(came, BaseException):
                raise came
            found, inputs = came
            data.note(inputs)
            yield from zip(bundle, found, strict=True)
    except BaseException:
        pool.stop(within_s=0.0)
        raise
    pool.close()


# In a worker.

_given: list[_Work] = []


def _begin(work: _Work, environment: dict[str, str]) -> None:
    """Begin with the parent's environment; Ctrl-C is its business, and its end is this one's."""
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    _given[:] = [work]


def _leave_with_parent() -> None:
    parent = parent_process()
    assert parent is not None, "only workers wait for their parent"
    connection.wait([parent.sentinel])
    os._exit(1)


def _perform(bundle: Sequence[Unit]) -> tuple[list[Any], dict[str, str]]:
    (work,) = _given
    with data.recorded() as inputs:
        return [work(unit) for unit in bundle], inputs
