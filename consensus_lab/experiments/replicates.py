"""Replicates one after the other; Ctrl-C keeps those that have ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from consensus_lab.experiments import Progress

Outcome = TypeVar("Outcome")


def finished(
    function: Callable[[int], Outcome], n_replicates: int, *, progress: Progress, what: str
) -> list[Outcome]:
    """Run replicates 0, 1, ... until all have ended or the user interrupts.

    Parameters
    ----------
    function : callable (replicate) -> outcome
    n_replicates : int
    progress, what
        Told before each replicate, and at the end.

    Returns
    -------
    list
        Fewer than asked for after an interrupt; see `interrupted_note`.

    Raises
    ------
    KeyboardInterrupt
        When it comes before the first replicate has ended.
    """
    outcomes: list[Outcome] = []
    try:
        for replicate in range(n_replicates):
            progress(replicate, n_replicates, what)
            outcomes.append(function(replicate))
    except KeyboardInterrupt:
        if not outcomes:
            raise
    progress(len(outcomes), len(outcomes), what)
    return outcomes


def interrupted_note(ended: int, n_replicates: int) -> list[str]:
    """What a result says when it holds fewer replicates than were asked for."""
    if ended == n_replicates:
        return []
    return [f"Interrupted: {ended} of {n_replicates} replicates ended; all figures are of those."]
