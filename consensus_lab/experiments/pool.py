"""Runs tasks on any executor, a few at a time, and again when their worker died.

Theory of operation.  When a worker of a process pool dies, the pool is broken and everything that
was handed to it is lost.  So only a small window of tasks is handed over at a time, the pool is
made anew, and the lost tasks are handed over again.  Nobody can say which of them killed the
worker; one that has lost its worker twice is therefore run alone, after all others, and given up
when that fails too.  A task that merely raises is not tried again: it would raise again.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from contextlib import suppress
from types import ModuleType
from typing import Any, Generic, NamedTuple, TypeVar

TRIES_MAX = 3
STOP_S = 15.0
"""Workers have this long to leave, with their kernels, before they are killed."""
_STOP_AGAIN_S = 0.2

_METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
_USUAL: Any = multiprocessing.get_context(_METHOD)

Task = TypeVar("Task")


def cores() -> int:
    """How many this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def processes(
    count: int, *, begin: Callable[..., None], given: tuple[Any, ...], preload: Sequence[str]
) -> Executor:
    """Workers forked from a clean process that has imported what they need.

    Not from this one, whose threads (a kernel's, a library's) would not be there after a fork.
    The user's script is not run again in them, unless they need a function of it: it may come
    from standard input, and need not say `if __name__ == "__main__":`.

    Parameters
    ----------
    count : int
    begin : callable (*given)
        What a worker does first.
    given : tuple
    preload : sequence of str
        Modules; heeded where no worker has been started from this process before.
    """
    if _METHOD == "forkserver":
        _USUAL.set_forkserver_preload(list(preload))
    context = _USUAL if "__main__" in preload else _WithoutMain()
    return ProcessPoolExecutor(count, mp_context=context, initializer=begin, initargs=given)


class _Worker(_USUAL.Process):  # type: ignore[misc]
    """A process that does not run the main script again when it starts."""

    def start(self) -> None:
        """Start while there seems to be no script (`multiprocessing.spawn` looks for its file)."""
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            super().start()
        finally:
            sys.modules["__main__"] = main


class _WithoutMain(type(_USUAL)):  # type: ignore[misc]
    Process = _Worker


class Lost(NamedTuple):
    """What came of a task whose worker died every time."""

    tries: int

    def __str__(self) -> str:
        return f"its worker died {self.tries} times"


class Pool:
    """An executor that can be made anew after it broke.

    Parameters
    ----------
    open_executor : callable () -> Executor
        Called at once, and again whenever the executor broke.
    """

    def __init__(self, open_executor: Callable[[], Executor]) -> None:
        self._open = open_executor
        self._executor = open_executor()
        self.generation = 0

    def submit(self, function: Callable[[Any], Any], task: Any) -> Future[Any]:
        """Hand over a task, to a new executor if this one broke while it was idle."""
        try:
            return self._executor.submit(function, task)
        except BrokenExecutor:
            self.renew(self.generation)
            return self._executor.submit(function, task)

    def renew(self, generation: int) -> None:
        """Replace the executor of that generation, unless that has been done."""
        if generation == self.generation:
            self._executor.shutdown(wait=True, cancel_futures=True)
            self._executor = self._open()
            self.generation += 1

    def close(self) -> None:
        """Let the workers leave; all tasks are done."""
        self._executor.shutdown(wait=True)

    def stop(self, *, within_s: float = STOP_S) -> None:
        """End the workers now: what they are doing is dropped."""
        workers = list((getattr(self._executor, "_processes", None) or {}).values())
        manager = getattr(self._executor, "_executor_manager_thread", None)
        self._executor.shutdown(wait=False, cancel_futures=True)
        end = time.monotonic() + within_s
        with suppress(KeyboardInterrupt):  # Another Ctrl-C: no waiting, then.
            while any(process.is_alive() for process in workers) and time.monotonic() < end:
                # More than once: a notebook's client takes the first one to stop its kernel.
                for process in workers:
                    process.terminate()
                time.sleep(_STOP_AGAIN_S)
        for process in workers:
            process.kill()
        with suppress(KeyboardInterrupt):
            # The pool's thread ends when its workers have; the interpreter, when it exits, wakes
            # one that has not, which in Python 3.11 may have closed its pipe by then.
            if manager is not None:
                manager.join(STOP_S)


class _Flight(NamedTuple, Generic[Task]):
    task: Task
    tries: int
    generation: int


def outcomes(
    function: Callable[[Task], Any], tasks: Iterable[Task], *, pool: Pool, window: int
) -> Iterator[tuple[Task, Any]]:
    """Run every task; yield each with what it returned, its exception, or `Lost`.

    Parameters
    ----------
    function : callable (task) -> object
        Importable by the workers.
    tasks : iterable
        Handed over in this order; they come back in the order in which they end.
    pool : Pool
    window : int
        How many tasks are handed over at a time.
    """
    assert window >= 1
    waiting = deque((task, 0) for task in tasks)
    suspects: deque[tuple[Task, int]] = deque()
    flying: dict[Future[Any], _Flight[Task]] = {}

    def fly(task: Task, tries: int) -> None:
        future = pool.submit(function, task)
        flying[future] = _Flight(task, tries, pool.generation)

    while waiting or suspects or flying:
        while waiting and len(flying) < window:
            fly(*waiting.popleft())
        if not flying:
            fly(*suspects.popleft())
        for future in wait(flying, return_when=FIRST_COMPLETED).done:
            task, tries, generation = flying.pop(future)
            error = future.exception()
            if not isinstance(error, BrokenExecutor):
                yield task, future.result() if error is None else error
                continue
            pool.renew(generation)
            if tries + 1 >= TRIES_MAX:
                yield task, Lost(tries + 1)
            elif tries + 1 == TRIES_MAX - 1:
                suspects.append((task, tries + 1))
            else:
                waiting.appendleft((task, tries + 1))
