"""Figures of Paxos: ways to two chosen values, duels, states per depth.

Rules of this file: it knows what the processes of Paxos are called, and nothing of how they work.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from consensus_lab.report import style
from consensus_lab.report.space_time import space_time

_MESSAGES = ("Prepare", "Promise", "Accept", "Accepted", "Reject", "Learn")


def counterexample(
    records: Iterable[Any],
    axes: Axes | None = None,
    *,
    n_acceptors: int,
    name: str,
    text: str,
    steps: int,
) -> Figure:
    """A shortest way to two chosen values, one step after the other.

    Parameters
    ----------
    records : iterable of Record
        The violation's trace: acceptors are 1 to `n_acceptors`, proposers follow.
    axes : Axes, optional
        Where to draw.
    n_acceptors : int
    name : str
        What was broken.
    text : str
        What came of it.
    steps : int
        Length of the way.
    """
    told = list(records)
    nodes = sorted({record.node for record in told})
    proposers = [node for node in nodes if node > n_acceptors]
    acceptors = [node for node in nodes if node <= n_acceptors]
    names = {node: f"proposer of {node - n_acceptors - 1}" for node in proposers}
    names |= {node: f"acceptor {node}" for node in acceptors}
    return space_time(
        told, axes, names=names, nodes=[*proposers, *acceptors], scale="step", kinds=_MESSAGES,
        decisions=("Phase2b",), notes=("Phase2a",), say=_say,
        title=f"Broken, {name}: {text}",
        detail=f"a shortest way, {steps} steps; what was said is received later or never",
    )  # fmt: skip


def _say(record: Any) -> str:
    """What an acceptor accepts, and what a proposer asks for."""
    if record.kind not in ("Phase2a", "Phase2b"):
        return ""
    verb = "asks for" if record.kind == "Phase2a" else "accepts"
    return f"{verb} {record.detail.value} under {record.detail.number}"


def states_per_depth(
    levels: Sequence[int], axes: Axes | None = None, *, title: str = "", detail: str = ""
) -> Figure:
    """How many new states an exhaustive search meets at each distance from the start.

    Parameters
    ----------
    levels : sequence of int
        New states at depth 1, 2, ...
    axes : Axes, optional
        Where to draw.
    title, detail : str
        What was found, and in which system.
    """
    with style.style():
        figure, axes = style.axes_of(axes)
        axes.bar(range(1, len(levels) + 1), levels, color=style.BLUE, width=0.7)
        axes.set_xlabel("depth (states from the start)")
        axes.set_ylabel("new states (count)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        style.headline(axes, title or f"{sum(levels):,} states", detail)
    return figure
