"""How the risk of reversal falls with confirmations, and how long those take.

Rules of this file: plain numbers in, a figure out; the formulas are `theory`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from consensus_lab.report import style

RISK_MIN = 1e-6
"""Foot of the axis of risk."""

SECONDS_PER_MINUTE = 60.0


class RiskPoint(NamedTuple):
    """What a merchant has chosen, and what follows.

    Attributes
    ----------
    attacker_share : float
        Of the hash power.
    confirmations : int
        Blocks waited for.
    risk : float
        That the payment is taken back.
    mean_s, p90_s : float
        The wait: on average, and what nine payments in ten do not exceed, seconds.
    accepted : float
        The risk that is accepted.
    needed : int or None
        Confirmations with at most that risk; None when none are enough.
    """

    attacker_share: float
    confirmations: int
    risk: float
    mean_s: float
    p90_s: float
    accepted: float
    needed: int | None


def risk_view(
    point: RiskPoint,
    *,
    curve: Sequence[float],
    others: Mapping[float, Sequence[float]],
    waits_s: Sequence[float],
    within: Sequence[float],
    samples_s: Sequence[float] = (),
    detail: str = "",
) -> Figure:
    """Risk over confirmations beside the distribution of the wait.

    Parameters
    ----------
    point : RiskPoint
        The choice.
    curve : sequence of float
        Risk after 0, 1, 2, ... confirmations, for the attacker chosen.
    others : mapping of float to sequence of float
        The same for other attackers, by their share; drawn in grey.
    waits_s, within : sequence of float
        Times, and the share of payments that have their confirmations by then.
    samples_s : sequence of float
        Waits that were measured, drawn beside.
    detail : str
        What it rests on.
    """
    blocks = f"{point.confirmations} confirmation{'s' if point.confirmations != 1 else ''}"
    title = (
        f"{blocks} against {point.attacker_share * 100:g} % of the hash power: risk "
        f"{risk_text(point.risk)} after {point.mean_s / SECONDS_PER_MINUTE:,.3g} min on average"
    )
    with style.style():
        figure = style.new_figure(11.6, 5.2, fixed=True)
        left = figure.add_axes((0.085, 0.13, 0.44, 0.675))
        right = figure.add_axes((0.665, 0.13, 0.325, 0.675))
        _draw_risk(left, point, curve, others)
        _draw_wait(right, point, waits_s, within, samples_s)
        figure.text(0.01, 0.945, title, fontsize=13, weight="bold")
        figure.text(0.01, 0.9, detail, fontsize=9.5, color=style.FAINT)
    figure.alt_text = f"{title}. {_needed_text(point)}. {detail}."
    return figure


def risk_text(risk: float) -> str:
    """A probability in percent, or as one in so many.

    >>> risk_text(1.0), risk_text(0.00059), risk_text(1e-7), risk_text(0.0)
    ('100 %', '0.059 %', '1 in 10 million', 'none')
    """
    if risk <= 0.0:
        return "none"
    if risk >= 1e-5:
        return f"{float(f'{risk * 100:.2g}'):g} %"
    if risk >= 1e-15:
        return f"1 in {float(f'{1e-6 / risk:.2g}'):,g} million"
    return f"{risk:.1g}"


def _needed_text(point: RiskPoint) -> str:
    at_most = risk_text(point.accepted)
    if point.needed is None:
        return f"no number of confirmations brings the risk to {at_most}"
    return f"at most {at_most} needs {point.needed}"


def _draw_risk(
    axes: Axes, point: RiskPoint, curve: Sequence[float], others: Mapping[float, Sequence[float]]
) -> None:
    top = len(curve) - 1
    for share, risks in sorted(others.items()):
        xs = numpy.arange(len(risks))
        axes.plot(xs, risks, color=style.MUTED, linewidth=1.0, zorder=1)
        last = max(x for x in xs if risks[x] >= RISK_MIN)
        axes.annotate(f"{share * 100:g} %", (last, risks[last]), (-4, 5), fontsize=9, ha="right",
                      va="bottom", textcoords="offset points", color=style.FAINT)  # fmt: skip
    axes.plot(range(top + 1), curve, color=style.BLUE, marker="o", zorder=3)
    axes.axhline(point.accepted, color=style.INK, linestyle=(0, (4, 3)), linewidth=1.0)
    words = "out of\nreach" if point.needed is None else f"needs\n{point.needed}"
    axes.annotate(words, (top, point.accepted), (5, 0), ha="left", va="center", fontsize=10,
                  weight="bold", textcoords="offset points", annotation_clip=False)  # fmt: skip
    at = max(point.risk, RISK_MIN)
    axes.plot(point.confirmations, at, marker="o", markersize=14, markerfacecolor="none",
              markeredgecolor=style.VERMILLION, markeredgewidth=3.0, zorder=6,
              clip_on=False)  # fmt: skip
    axes.set(yscale="log", xlim=(0, top), ylim=(RISK_MIN, 1.5), xlabel="confirmations (blocks)",
             ylabel="risk that the payment is taken back")  # fmt: skip
    style.log_ticks(axes.yaxis)
    style.percent(axes.yaxis)
    minutes = point.mean_s / max(point.confirmations, 1) / SECONDS_PER_MINUTE
    above = axes.secondary_xaxis(
        "top", functions=(lambda blocks: blocks * minutes, lambda time: time / minutes)
    )
    above.set_xlabel("mean wait (min)")


def _draw_wait(
    axes: Axes, point: RiskPoint, waits_s: Sequence[float], within: Sequence[float],
    samples_s: Sequence[float],
) -> None:  # fmt: skip
    minutes = numpy.asarray(waits_s) / SECONDS_PER_MINUTE
    axes.plot(minutes, within, color=style.BLUE, label="Erlang law")
    if len(samples_s):
        seen = numpy.sort(numpy.asarray(samples_s)) / SECONDS_PER_MINUTE
        shares = numpy.arange(1, len(seen) + 1) / len(seen)
        axes.step(seen, shares, where="post", color=style.ORANGE, linestyle=(0, (4, 1.5)),
                  label=f"simulated, {len(seen):,} payments")  # fmt: skip
        axes.legend(loc="lower right", fontsize=9, framealpha=1.0, frameon=True,
                    facecolor=style.PAPER, edgecolor="none")  # fmt: skip
    axes.set(xlim=(0, minutes[-1]), ylim=(0, 1.02), xlabel="time since the payment (min)",
             ylabel=f"payments with {point.confirmations} of them")  # fmt: skip
    style.percent(axes.yaxis)
    for at_s, words in ((point.mean_s, "mean"), (point.p90_s, "90 %")):
        at = at_s / SECONDS_PER_MINUTE
        style.reference_line(axes, at, f"{words}: {at:,.3g} min", place=0.97)
