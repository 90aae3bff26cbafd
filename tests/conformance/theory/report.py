"""Rows, cells and verdicts of the theory conformance command.

Rules of this file: nothing here knows a formula.  A cell is *passed* or *failed* when it was
compared with a number computed from the other cells of its row, and *not covered*, with the
reason, when it was not: prose, a published figure without a formula, a Monte Carlo cell without
`--simulate`.  A not covered cell is never counted as passed.
"""

from __future__ import annotations

import math
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from scipy import special, stats

from consensus_lab.theory.monte_carlo.estimate import Estimate

RELATIVE = 1e-9
"""Nine significant digits: the tables print ten."""

Z_LIMIT = 4.5
"""Largest z-score of a Monte Carlo cell: about 7 in a million by chance."""

DENOMINATOR_MAX = 1000
"""Largest denominator of a fraction that a rounded parameter is read back as."""

PRINTED_DIGITS = 10

INPUT, PROSE = "input", "prose"


def read_number(text: str) -> float:
    """A parameter.  Ten printed digits of a simple fraction (0.01666666667) mean the fraction.

    >>> read_number("0.01666666667") == 1 / 60, read_number("0.25")
    (True, 0.25)
    """
    value = float(text)
    digits = len(Decimal(text).as_tuple().digits)
    if digits >= PRINTED_DIGITS - 1 and value != 0.0:
        simple = Fraction(text).limit_denominator(DENOMINATOR_MAX)
        if simple and abs(float(simple) - value) <= 0.6 * 10.0 ** (1 - digits) * abs(value):
            return float(simple)
    return value


def half_unit(text: str) -> float:
    """Half a unit of the last printed digit.

    >>> half_unit("0.0009137")
    5e-08
    """
    exponent = Decimal(text).as_tuple().exponent
    assert isinstance(exponent, int), text
    return 0.5 * 10.0**exponent


class Failure(NamedTuple):
    """A cell that differs."""

    table: str
    line: int
    column: str
    printed: str
    expected: str

    def __str__(self) -> str:
        where = f"{self.table} line {self.line}, column {self.column}"
        return f"FAILED {where}: the table has {self.printed}, expected {self.expected}"


class Row:
    """One row of a table with the verdicts of its cells."""

    def __init__(self, report: Report, line: int, cells: dict[str, str]) -> None:
        self.report = report
        self.line = line
        self.cells = cells
        self._handled: set[str] = set()

    # Inputs.

    def text(self, column: str) -> str:
        """The cell as printed; it counts as an input."""
        self._handled.add(column)
        return self.cells[column].strip()

    def number(self, column: str) -> float:
        """The cell as a parameter."""
        return read_number(self.text(column))

    def whole(self, column: str) -> int:
        """The cell as a count."""
        value = float(self.text(column))
        if not value.is_integer():
            raise ValueError(f"{column} is {value}, not a whole number")
        return int(value)

    def has(self, column: str) -> bool:
        """Whether the table has the column and the row a value in it."""
        return self.cells.get(column, "").strip() != ""

    # Verdicts.

    def exact(self, column: str, expected: float, *, floor: float = 0.0) -> None:
        """Nine digits, or within `floor`: the size of the table's own rounding errors."""
        printed = self._value(column)
        if printed is None:
            return
        limit = max(RELATIVE * abs(expected), floor)
        same = printed == expected or abs(printed - expected) <= limit
        self._judge(column, same, f"{expected:.12g}")
        if same and abs(printed - expected) > RELATIVE * abs(expected):
            self.report.within_floor += 1

    def rounded(self, column: str, expected: float, *, text: str | None = None) -> None:
        """Equal to the digits that are printed (a published figure)."""
        printed = self._value(column) if text is None else float(text)
        if printed is None:
            return
        self._handled.add(column)
        unit = half_unit(text if text is not None else self.cells[column].strip())
        # A hair more than half a unit: the published value was rounded from few more digits.
        self._judge(column, abs(printed - expected) <= 1.001 * unit, f"{expected:.12g} rounded")

    def same(self, column: str, stated: float, expected: float) -> None:
        """A number read out of a published text, equal to ours to nine digits."""
        close = abs(stated - expected) <= RELATIVE * max(abs(expected), RELATIVE)
        self._judge(column, close, f"{expected:.12g}")

    def near(self, column: str, expected: float, *, within: float, why: str) -> None:
        """Within a stated absolute distance."""
        printed = self._value(column)
        if printed is not None:
            self._judge(
                column, abs(printed - expected) <= within, f"{expected:.9g} +- {within:.2g} ({why})"
            )

    def statistical(self, column: str, expected: float, standard_error: float) -> None:
        """A Monte Carlo cell: at most `Z_LIMIT` standard errors away."""
        printed = self._value(column)
        if printed is None:
            return
        difference = printed - expected
        z = (
            difference / standard_error
            if standard_error > 0.0
            else math.copysign(math.inf, difference) * (difference != 0.0)
        )
        z = 0.0 if math.isnan(z) else z
        if math.isfinite(z):
            self.report.z_scores.append(z)
        expectation = f"{expected:.9g} +- {standard_error:.3g} (z = {z:+.2f})"
        self._judge(column, abs(z) <= Z_LIMIT, expectation)

    def needs_simulation(self, *columns: str) -> None:
        """Monte Carlo cells without a formula: left to the simulation, if it is run."""
        for column in columns:
            if not self.report.simulating:
                self.not_covered(column, "needs --simulate")

    def simulated(
        self,
        column: str,
        estimate: Estimate,
        *,
        expected: float | None = None,
        printed_error: float = 0.0,
    ) -> None:
        """Our simulation against the cell, or against `expected`, by Student's t.

        The t value is turned into the z of the same probability, so that few runs do not raise
        false alarms.
        """
        if expected is None:
            expected = self._value(column)
            if expected is None:
                return
        error = math.hypot(estimate.standard_error, printed_error)
        difference = estimate.mean - expected
        if error == 0.0:
            z = 0.0 if abs(difference) <= RELATIVE * abs(expected) else math.inf
        else:
            ours = estimate.standard_error**2 / error**2
            freedom = max(estimate.batches - 1, 1) / max(ours**2, 1e-12)
            tail = float(stats.t.sf(abs(difference) / error, freedom))
            z = math.copysign(float(-special.ndtri(max(tail, 1e-300))), difference)
        if math.isfinite(z):
            self.report.z_scores.append(z)
        self.report.simulations[self.report.table] += estimate.samples
        note = f"{estimate.mean:.9g} +- {error:.3g} simulated (z = {z:+.2f})"
        self._judge(column, abs(z) <= Z_LIMIT, note)

    def simulated_share(
        self, column: str, estimate: Estimate, *, replicates: int = 0, expected: float | None = None
    ) -> None:
        """Our share of hits against a printed one of so many replicates, or against `expected`.

        Exact tests (Fisher's, the binomial): few hits show too small a spread of their own.
        """
        printed = self._value(column)
        if printed is None:
            return
        trials, ours = estimate.samples, round(estimate.mean * estimate.samples)
        if expected is None:
            theirs = round(printed * replicates)
            law = stats.hypergeom(trials + replicates, ours + theirs, trials)
            is_above = ours * replicates >= theirs * trials
        else:
            law = stats.binom(trials, expected)
            is_above = ours >= expected * trials
        tail = float(law.sf(ours - 1) if is_above else law.cdf(ours))
        z = max(0.0, float(-special.ndtri(max(tail, 1e-300)))) * (1 if is_above else -1)
        self.report.z_scores.append(z)
        self.report.simulations[self.report.table] += trials
        note = f"{estimate.mean:.6g} of {trials:,} simulated (z = {z:+.2f})"
        self._judge(column, abs(z) <= Z_LIMIT, note)

    def reached(self, column: str, estimate: Estimate, expected: float, tolerance: float) -> None:
        """Our simulation with the sample size asked for, within the tolerance asked for."""
        self.report.simulations[self.report.table] += estimate.samples
        difference = abs(estimate.mean - expected)
        self._judge(
            column, difference <= tolerance, f"{estimate.mean:.6g} simulated, {expected:.6g} exact"
        )

    def blank(self, column: str, why: str) -> None:
        """A cell that must be empty."""
        if column in self.cells:
            self._judge(column, not self.has(column), f"nothing ({why})")

    def not_covered(self, column: str, reason: str) -> None:
        """A cell that is not compared."""
        self._handled.add(column)
        if self.has(column):
            self.report.not_covered[column, reason] += 1

    def rest_not_covered(self) -> None:
        """Whatever was neither used nor compared."""
        for column in self.cells:
            if column not in self._handled and column not in ("provenance", "note", "label"):
                self.not_covered(column, "no formula for this column")

    def _value(self, column: str) -> float | None:
        if column not in self.cells:
            return None
        if not self.has(column):
            self._handled.add(column)
            return None
        return float(self.cells[column])

    def _judge(self, column: str, same: bool, expected: str) -> None:
        self._handled.add(column)
        if same:
            self.report.passed += 1
        else:
            printed = self.cells[column].strip() or "nothing"
            self.report.failures.append(
                Failure(self.report.table, self.line, column, printed, expected)
            )


class Report:
    """The verdicts of one table."""

    def __init__(self, table: str, *, simulating: bool = False) -> None:
        self.table = table
        self.simulating = simulating
        self.simulations: Counter[str] = Counter()
        self.passed = 0
        self.within_floor = 0
        self.failures: list[Failure] = []
        self.not_covered: Counter[tuple[str, str]] = Counter()
        self.z_scores: list[float] = []

    @property
    def failed(self) -> int:
        """Number of failed cells."""
        return len(self.failures)

    def judge_spread(self) -> None:
        """All z-scores together: a bias that is small in every row shows in their sum of squares.

        The limit is the chi-square's mean plus `Z_LIMIT` of its standard deviations plus a
        correction for its skew (Wilson and Hilferty).
        """
        n = len(self.z_scores)
        if n < 10:
            return
        total = math.fsum(z * z for z in self.z_scores)
        limit = n * (1.0 - 2.0 / (9.0 * n) + Z_LIMIT * math.sqrt(2.0 / (9.0 * n))) ** 3
        if total <= limit:
            self.passed += 1
        else:
            expected = f"at most {limit:.0f} for {n} cells"
            self.failures.append(
                Failure(self.table, 0, "sum of all squared z-scores", f"{total:.0f}", expected)
            )

    def lines(self) -> list[str]:
        """What to print about this table."""
        summary = f"{self.table}: {self.passed} passed, {self.failed} failed"
        if self.within_floor:
            summary += f" ({self.within_floor} within the table's rounding floor)"
        if self.z_scores:
            mean_square = math.fsum(z * z for z in self.z_scores) / len(self.z_scores)
            summary += f" ({len(self.z_scores)} z-scores, root mean square {mean_square**0.5:.2f})"
        if self.simulations.total():
            summary += f" ({self.simulations.total():,} samples simulated)"
        result = [summary]
        for (column, reason), cells in sorted(self.not_covered.items()):
            result.append(f"  not covered: {column}, {cells} cells: {reason}")
        result.extend(f"  {failure}" for failure in self.failures)
        return result
