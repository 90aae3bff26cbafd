"""How far a run or a sweep is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable

from consensus_lab.experiments import Progress

BAR_CELLS = 24
BAR_EVERY_S, LINE_EVERY_S = 0.1, 2.0
LINES_MAX = 50
"""About so many plain lines, however long it takes: later ones come in a fiftieth of the time."""


def shown(*, clock: Callable[[], float] = time.monotonic) -> Progress:
    """A progress function that writes to standard error from now on.

    Parameters
    ----------
    clock : callable () -> float
        Seconds.
    """
    begin = last = clock()

    def show(done: int, total: int, what: str) -> None:
        nonlocal last
        now = clock()
        is_bar, ends = sys.stderr.isatty(), done >= total
        every_s = BAR_EVERY_S if is_bar else max(LINE_EVERY_S, (now - begin) / LINES_MAX)
        if now - last < every_s and not ends:
            return
        last = now
        text = line(done, total, what, now - begin)
        if is_bar:
            columns = shutil.get_terminal_size().columns - 1
            text = f"\r\x1b[K{f'{bar(done, total)} {text}'[:columns]}"
        end = "" if is_bar and not ends else "\n"
        print(text, end=end, file=sys.stderr, flush=True)

    return show


def bar(done: int, total: int) -> str:
    """Filled as far as it is done.

    Examples
    --------
    >>> bar(1, 4)
    '[######..................]'
    """
    filled = BAR_CELLS * done // total if total else BAR_CELLS
    return f"[{'#' * filled}{'.' * (BAR_CELLS - filled)}]"


def line(done: int, total: int, what: str, took_s: float) -> str:
    """What is done, how fast, and how long the rest takes at that rate.

    Examples
    --------
    >>> line(3, 12, "networks", 60.0)
    '3/12 networks (1 min, 3.0 per min, about 3 min left)'
    >>> line(12, 12, "networks", 2.0)
    '12/12 networks (2 s, 6.0 per s)'
    """
    parts = [_duration(took_s)]
    if done and took_s > 0:
        rate = done / took_s
        parts.append(f"{rate:.1f} per s" if rate >= 1 else f"{rate * 60:.1f} per min")
        if done < total:
            parts.append(f"about {_duration((total - done) / rate)} left")
    return f"{done}/{total} {what} ({', '.join(parts)})"


def _duration(seconds: float) -> str:
    """In two figures or so: seconds, minutes or hours."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"
