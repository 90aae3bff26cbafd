"""Figures of Paxos: ways to two chosen values, duels, states per depth.

Rules of this file: it knows what the processes of Paxos are called, and nothing of how they work.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

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


def duel_curves(result: Any, axes: Axes | None = None) -> Figure:
    """Attempts until a proposal succeeds over the back-off window, closed forms as lines.

    Parameters
    ----------
    result : Result
        Of the experiment "duelling".
    axes : Axes, optional
        Where to draw.
    """
    frame = result.frame[result.frame["model"] == "duel"]
    policies = [name for name in dict.fromkeys(frame["policy"]) if name.startswith("uniform")]
    with style.style():
        figure, axes = style.axes_of(axes)
        for number, policy in enumerate(policies):
            look = style.look(number)
            rows = frame[(frame["policy"] == policy) & (frame["window_ms"] > 0)]
            rows = rows.sort_values("window_over_latency")
            ended = rows[rows["decided_fraction"] == 1.0]
            known = rows[rows["attempts_expected"] < float("inf")]
            axes.plot(known["window_over_latency"], known["attempts_expected"], color=look.color,
                      linestyle=look.dash, label=f"{policy}: closed form")  # fmt: skip
            below = ended["attempts_mean"] - ended["attempts_low"]
            above = ended["attempts_high"] - ended["attempts_mean"]
            axes.errorbar(ended["window_over_latency"], ended["attempts_mean"], [below, above],
                          color=look.color, marker=look.marker, linestyle="none",
                          label=f"{policy}: measured")  # fmt: skip
        axes.axvspan(0.0, 1.0, color=style.FAINT, alpha=0.15, linewidth=0)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log", base=2)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xlabel("back-off window over latency")
        axes.set_ylabel("attempts until one succeeds (mean)")
        style.legend(axes)
        style.headline(
            axes, "Two proposers that wait no longer than a message takes duel for ever",
            f"grey: no uniform wait ends it; {result.parameters.n_duels:,} duels per point, "
            f"95 % intervals, seed {result.parameters.seed}",
        )  # fmt: skip
    return figure


def livelock_diagram(
    records: Iterable[Any], axes: Axes | None = None, *, names: Mapping[int, str]
) -> Figure:
    """Two proposers that alternate for ever, turn by turn.

    Parameters
    ----------
    records : iterable of Record
        The trace of a scheduled run.
    axes : Axes, optional
        Where to draw.
    names : mapping of int to str
        What the processes are called.
    """
    return space_time(
        records, axes, names=names, scale="step", kinds=("Prepare", "Promise", "Accept", "Reject"),
        notes=("prepare", "give-up"), say=_say_in_duel,
        title="Each proposer's Prepare arrives before the other's Accept, for ever",
        detail="a chosen schedule; both try again at once with a higher number",
    )  # fmt: skip


def _say_in_duel(record: Any) -> str:
    """Which number a proposer begins with, or gives up."""
    if record.kind == "prepare":
        return f"begins {record.detail}"
    return f"gives up {record.detail}" if record.kind == "give-up" else ""
