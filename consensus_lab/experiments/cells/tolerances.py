"""How closely a cell has to agree, and with what: `data/essay/tolerances.csv`, with a reason each.

Theory of operation.  Each cell has one line there.

    rule       the cell's own run says whether the statement holds (a rule refuses the opposite)
    about      the interval covers the published value, or the ratio is within a factor of it
    at most    the upper end of the interval is at most that factor times the published bound
    at least   the lower end is at least the published bound divided by that factor

A cell whose interval lies on both sides of a bound is open.  The verdict is on what was published.
A line `against` "real" holds the cell against real data instead: it may differ from what was
published, when that is known to be out of date, but not from the real system.
"""

from __future__ import annotations

from typing import NamedTuple

from consensus_lab import data
from consensus_lab.report.table import DIFFERS, OPEN, WITHIN, Cell

FILE = "essay/tolerances.csv"
SYSTEMS = ("paxos", "raft", "nakamoto")
RULE, ABOUT, AT_MOST, AT_LEAST = "rule", "about", "at most", "at least"
ESSAY, REAL = "essay", "real"


class Tolerance(NamedTuple):
    """One line: what the cell is held against, how closely (a factor from 1 on), and why."""

    kind: str
    factor: float
    against: str
    reason: str

    @property
    def text(self) -> str:
        """The tolerance in words."""
        if self.kind == RULE:
            return f"rule: {self.reason}"
        what = "the published value" if self.against == ESSAY else "the real one"
        how = {
            ABOUT: f"within a factor of {self.factor:g} of {what}",
            AT_MOST: f"at most {self.factor:g} times {what}",
            AT_LEAST: f"at least {what} divided by {self.factor:g}",
        }[self.kind]
        return f"{how}: {self.reason}"


def tolerances() -> dict[tuple[str, str], Tolerance]:
    """Every cell's tolerance by row and system."""
    found = {}
    for row in data.rows(FILE):
        kind, against = row["kind"], row["against"]
        assert kind in (RULE, ABOUT, AT_MOST, AT_LEAST) and against in (ESSAY, REAL), row
        factor = float(row["factor"] or 1)
        assert factor >= 1, row
        found[row["row"], row["system"]] = Tolerance(kind, factor, against, row["reason"])
    return found


def judged(cell: Cell, tolerance: Tolerance) -> Cell:
    """The cell with its verdict on what was published, and whether its tolerance is kept.

    A cell that its own run says to differ differs, whatever its numbers are.

    Examples
    --------
    >>> bound = Tolerance(AT_MOST, 1.0, ESSAY, "a bound")
    >>> cell = Cell("<10 ms", "simulated", WITHIN, 9.0, 8.0, 11.0, "ms", published_value=10.0)
    >>> judged(cell, bound).verdict
    'open'
    """
    verdict = cell.verdict
    if tolerance.kind != RULE and verdict != DIFFERS:
        verdict = _compared(cell, cell.published_value, tolerance)
    kept = verdict
    if tolerance.against == REAL:
        kept = _compared(cell, cell.live_value, tolerance)
    return cell._replace(
        verdict=verdict, tolerance=tolerance.text, is_kept=kept != DIFFERS
    )  # fmt: skip


def _compared(cell: Cell, reference: float | None, tolerance: Tolerance) -> str:
    """Whether our value and its interval are as close to a reference as the tolerance says."""
    if cell.value is None or reference is None:
        return OPEN
    low = cell.value if cell.low is None else cell.low
    high = cell.value if cell.high is None else cell.high
    factor = tolerance.factor
    if tolerance.kind == ABOUT:
        is_close = reference / factor <= cell.value <= reference * factor
        return WITHIN if is_close or low <= reference <= high else DIFFERS
    if tolerance.kind == AT_MOST:
        ends = (high <= reference * factor, low <= reference * factor)
    else:
        ends = (low >= reference / factor, high >= reference / factor)
    return WITHIN if ends[0] else OPEN if ends[1] else DIFFERS
