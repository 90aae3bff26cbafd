"""One simulated quantity beside one published value, and what follows from the two."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from consensus_lab.experiments.intervals import CONFIDENCE, proportion_interval

if TYPE_CHECKING:
    import pandas

WITHIN, DIFFERS, HOLDS, BROKEN = "within", "differs", "holds", "broken"
MEASURED, SIMULATED, CLOSED_FORM, BOUND = "measured", "simulated", "closed form", "lower bound"
Interval = tuple[float, float, float]


@dataclass(frozen=True)
class Comparison:
    """A row of the validation.

    Attributes
    ----------
    group, setting, quantity : str
        Where it belongs, what was set, what was measured.
    definition : str
        What the simulated value is a statistic of; the published one's where it is another.
    simulated, low, high : float
        Estimate and 95 % interval.
    replicates : int
        Independent observations that the interval rests on.
    published, published_low, published_high : float
        The two ends are equal to the value where its error is unknown or nil.
    unit, kind, source : str
        `kind` says how the published value came about.
    why : str
        The reason for a difference, where it is known.
    """

    group: str
    setting: str
    quantity: str
    definition: str
    simulated: float
    low: float
    high: float
    replicates: int
    published: float
    published_low: float
    published_high: float
    unit: str
    kind: str
    source: str
    why: str = ""

    @property
    def verdict(self) -> str:
        """Whether the two agree, each within its own 95 % interval.

        The half widths that face each other add as independent errors do.  A bound holds where
        the interval reaches it.
        """
        if self.kind == BOUND:
            return HOLDS if self.high >= self.published else BROKEN
        if self.simulated < self.published:
            room = ((self.high - self.simulated) ** 2
                    + (self.published - self.published_low) ** 2)  # fmt: skip
        else:
            room = ((self.simulated - self.low) ** 2
                    + (self.published_high - self.published) ** 2)  # fmt: skip
        return WITHIN if (self.simulated - self.published) ** 2 <= room else DIFFERS

    def row(self) -> dict[str, Any]:
        """As a row of a frame; the reason only where there is a difference."""
        differs = self.verdict in (DIFFERS, BROKEN)
        ratio = self.simulated / self.published if self.published else float("nan")
        return {
            **vars(self), "ratio": ratio, "verdict": self.verdict,
            "why": (self.why or "unknown") if differs else "",
        }  # fmt: skip


def exact(value: float) -> Interval:
    """A published value without a known error."""
    return value, value, value


def compare(
    simulated: Interval, published: Interval, *, replicates: int, **names: str
) -> Comparison:
    """A comparison from two triples (value, low, high) and the texts of `Comparison`."""
    return Comparison(
        simulated=simulated[0], low=simulated[1], high=simulated[2], replicates=replicates,
        published=published[0], published_low=published[1], published_high=published[2], **names,
    )  # fmt: skip


def one_run_of_the_same_kind(
    value: float, ours: Sequence[float], *, variance_share: float = 1.0
) -> Interval:
    """A published single run with the 95 % spread that our own runs show.

    Two programs with the same model spread alike, so ours says how far one run may fall; a run
    that is longer than ours has only a share of that variance.
    """
    import numpy
    from scipy.special import stdtrit

    if len(ours) < 2:
        return exact(value)
    half = float(stdtrit(len(ours) - 1, 0.5 + CONFIDENCE / 2) * numpy.std(ours, ddof=1))
    half *= variance_share**0.5
    return value, value - half, value + half


def counted(share: float, of: int) -> Interval:
    """A published share of that many, with the Wilson interval of the count behind it."""
    return share, *proportion_interval(round(share * of), of)[1:]


def means_of(
    runs: Iterable[Any], statistics: dict[str, Callable[[Any], float]]
) -> dict[str, list[float]]:
    """Each statistic of each run, in order."""
    kept = list(runs)
    return {name: [float(of(run)) for run in kept] for name, of in statistics.items()}


def frame_of(comparisons: Iterable[Comparison]) -> pandas.DataFrame:
    """One row per comparison, in the order in which they were made."""
    import pandas

    return pandas.DataFrame([one.row() for one in comparisons])


def by_group(frame: pandas.DataFrame) -> pandas.DataFrame:
    """One row per group: comparisons, how many agree, and the middle and extreme ratios."""
    import pandas

    rows = []
    for group, part in frame.groupby("group", sort=False):
        ratios = part.loc[part["kind"] != BOUND, "ratio"].dropna()
        rows.append({
            "group": group, "comparisons": len(part),
            "agree": int(part["verdict"].isin([WITHIN, HOLDS]).sum()),
            "ratio_min": ratios.min(), "ratio_median": ratios.median(), "ratio_max": ratios.max(),
        })  # fmt: skip
    return pandas.DataFrame(rows)


