"""The comparison table: published values, ours beside them, and how ours came about.

Rules of this file: no matplotlib, no experiment.  An experiment fills `Table`; every rendering is
a pure function of it, so the same table is the same bytes.  `terminal`, `markdown`, `latex` and
`csv_text` are in `table_text`, `html` is in `table_html`.

How to read one.  Each row is one statement of the essay's closing table, each cell one system's
part of it: what was published, what we got with its 95 % interval, how many times the published
value that is (the ratio), and the verdict.  *How* says where our value comes from, and `code`
names the function that anyone can call to get it again.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pandas

SIMULATED = "simulated"
FROM_DATA = "computed from data"
ENFORCED = "enforced by code"
CLOSED_FORM = "closed form"
HOWS = (SIMULATED, FROM_DATA, ENFORCED, CLOSED_FORM)
"""How a value of ours came about: by a run, from measured data, by a rule that refuses the
opposite, by a formula."""

WITHIN, DIFFERS, OPEN = "within", "differs", "open"
VERDICTS = {
    WITHIN: "✓",  # The stated tolerance around the published value, or its bound, is kept.
    DIFFERS: "✗",  # It is not: the note says why.
    OPEN: "–",  # Not decided: nothing was published, or the interval is too wide.
}
"""Verdicts on the published value with the sign that stands for them."""


class Cell(NamedTuple):
    """One system's part of a row.

    Attributes
    ----------
    published : str
        As published: "<10 ms".
    how : str
        One of `HOWS`.
    verdict : str
        One of `VERDICTS`.
    value, low, high : float or None
        Our value and the ends of its 95 % interval, in `unit`; equal ends mean an exact value.
    unit : str
        Written after the number; see `quantity` for those that are scaled.
    text : str
        Our value in words, where it is no number (or to be written differently).
    published_value : float or None
        The published number in the same unit, for the ratio.
    replicates : int
        Independent observations behind the interval.
    code : str
        What to call to get the value or see the rule enforced: "consensus_lab.raft.kv:check".
    source : str
        Who published.
    live, live_value, live_source : str, float or None, str
        The same quantity from the real system or from real data: in words, in `unit` where it is
        a number, and where it is from.
    tolerance : str
        What the cell is held against, how closely, and the reason.
    is_kept : bool
        Whether it is inside that tolerance; a cell may be known to differ from what was published
        and be held against real data instead.
    notebook : str
        Path of the notebook that shows it, relative to the project.
    note : str
        Why it differs, and what else a reader has to know.
    """

    published: str
    how: str
    verdict: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    text: str = ""
    published_value: float | None = None
    replicates: int = 0
    code: str = ""
    source: str = ""
    live: str = ""
    live_value: float | None = None
    live_source: str = ""
    tolerance: str = ""
    is_kept: bool = True
    notebook: str = ""
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Our value divided by the published one, where both are numbers."""
        if self.value is None or not self.published_value:
            return None
        return self.value / self.published_value

    @property
    def ours(self) -> str:
        """Our value as text, without its interval."""
        if self.text or self.value is None:
            return self.text
        return quantity(self.value, self.unit)

    @property
    def interval(self) -> str:
        """The interval as text: "2.28–2.35 ms"; empty where the value is exact or unknown."""
        if self.value is None or self.low is None or self.high is None:
            return ""
        if self.low == self.high or not all(map(math.isfinite, (self.low, self.high))):
            return ""
        return span(self.value, self.low, self.high, self.unit)


class Row(NamedTuple):
    """One statement, and each system's part of it in the order of the table's systems."""

    key: str
    title: str
    cells: tuple[Cell, ...]


class Table(NamedTuple):
    """A comparison.

    Attributes
    ----------
    title : str
        What is compared.
    systems : tuple of str
        Names of the columns: "Paxos", "Raft (etcd)", "Nakamoto (Bitcoin)".
    rows : tuple of Row
        In the order in which they are shown.
    notes : tuple of str
        Sentences under the table: preset, seed, versions, honest limits.
    """

    title: str
    systems: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def checked(self) -> Table:
        """This table, after asserting that every cell is there and its words are known."""
        for row in self.rows:
            assert len(row.cells) == len(self.systems), f"{row.key}: a cell for each system"
            for cell in row.cells:
                assert cell.how in HOWS, f"{row.key}: {cell.how!r} is none of {HOWS}"
                assert cell.verdict in VERDICTS, f"{row.key}: {cell.verdict!r}"
                assert cell.ours, f"{row.key}: a value or a text"
        assert len({row.key for row in self.rows}) == len(self.rows), "row keys are unique"
        return self


_BYTES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def _scaled(value: float, unit: str) -> tuple[float, str]:
    """The factor and unit in which a value reads best: bytes go up to TB, the rest stays."""
    if unit in ("B", "bytes"):
        for size, name in _BYTES:
            if abs(value) >= size:
                return 1 / size, name
        return 1.0, "B"
    return 1.0, unit


def _decimals(value: float, digits: int = 3) -> int:
    """Decimals that show so many significant digits, none for large numbers."""
    if value == 0 or not math.isfinite(value):
        return 0
    return max(0, digits - 1 - math.floor(math.log10(abs(value))))


def _number(value: float, decimals: int) -> str:
    """A number; whole ones without decimals, tiny ones as powers of ten."""
    if value != 0 and abs(value) < 1e-4:
        return f"{value:.2e}"
    text = f"{value:,.{decimals}f}"
    return text if float(value) != int(value) else f"{int(value):,}"


def quantity(value: float, unit: str = "") -> str:
    """A value with its unit, three significant digits; bytes in the largest fitting unit.

    Examples
    --------
    >>> quantity(2.3145, "ms"), quantity(13870, "nodes"), quantity(1572864, "bytes")
    ('2.31 ms', '13,870 nodes', '1.57 MB')
    """
    if not math.isfinite(value):
        return f"{value} {unit}".strip()
    factor, name = _scaled(value, unit)
    scaled = value * factor
    return f"{_number(scaled, _decimals(scaled))} {name}".strip()


def span(value: float, low: float, high: float, unit: str = "") -> str:
    """An interval with its unit, as many digits as tell its ends apart.

    Examples
    --------
    >>> span(2.3145, 2.28, 2.351, "ms"), span(600.2, 600.19, 600.21, "s")
    ('2.28–2.35 ms', '600.19–600.21 s')
    """
    factor, name = _scaled(value, unit)
    spread = _decimals((high - low) * factor, digits=1)
    decimals = max(_decimals(value * factor), min(spread, 6))
    low_text, high_text = _number(low * factor, decimals), _number(high * factor, decimals)
    return f"{low_text}–{high_text} {name}".strip()


def ratio_text(cell: Cell) -> str:
    """The ratio in two or three digits, empty where there is none.

    Examples
    --------
    >>> ratio_text(Cell("<10 ms", SIMULATED, WITHIN, value=2.31, published_value=10.0))
    '0.23'
    """
    if cell.ratio is None:
        return ""
    if not 0.01 <= abs(cell.ratio) < 1000:
        return f"{cell.ratio:.1e}"
    return f"{cell.ratio:.2f}" if cell.ratio < 10 else f"{cell.ratio:,.0f}"


def published_text(cell: Cell) -> str:
    """What was published, or that nothing was."""
    return cell.published or "not stated"


def verdict_text(cell: Cell) -> str:
    """The verdict with its sign, and a warning where the cell left its tolerance.

    Examples
    --------
    >>> verdict_text(Cell("12.6 s", SIMULATED, DIFFERS, is_kept=False))
    '✗ differs, outside its tolerance'
    """
    left = "" if cell.is_kept else ", outside its tolerance"
    return f"{VERDICTS[cell.verdict]} {cell.verdict}{left}"


def summary_text(table: Table) -> str:
    """How many cells came out how.

    Examples
    --------
    >>> cells = (Cell("1", SIMULATED, WITHIN, text="1"), Cell("2", SIMULATED, DIFFERS, text="3"))
    >>> summary_text(Table("t", ("a", "b"), (Row("r", "R", cells),)))
    '2 cells: 1 within, 1 differs; all inside their tolerance'
    """
    cells = [cell for row in table.rows for cell in row.cells]
    counts = [(sum(cell.verdict == verdict for cell in cells), verdict) for verdict in VERDICTS]
    left = sum(not cell.is_kept for cell in cells)
    words = {DIFFERS: "differ"}
    parts = ", ".join(
        f"{count} {verdict if count == 1 else words.get(verdict, verdict)}"
        for count, verdict in counts if count
    )  # fmt: skip
    kept = f"{left} outside their tolerance" if left else "all inside their tolerance"
    return f"{len(cells)} cells: {parts}; {kept}"


def how_text(cell: Cell) -> str:
    """How our value came about, with the replicates and what to call."""
    count = f", n = {cell.replicates:,}" if cell.replicates > 1 else ""
    return f"{cell.how}{count}" + (f": {cell.code}" if cell.code else "")


def table_frame(table: Table) -> pandas.DataFrame:
    """The table as a tidy frame: one row per statement and system, in order.

    Returns
    -------
    DataFrame
        Columns `row`, `title`, `system`, then the fields of `Cell` and `ratio`; numbers are in
        the unit of the column `unit`.
    """
    import pandas

    names = ["row", "title", "system", *Cell._fields, "ratio"]
    return pandas.DataFrame(records(table), columns=names)


def records(table: Table) -> list[tuple[object, ...]]:
    """The rows of `table_frame` as tuples."""
    return [
        (row.key, row.title, system, *cell, cell.ratio)
        for row in table.checked().rows
        for system, cell in zip(table.systems, row.cells, strict=True)
    ]
