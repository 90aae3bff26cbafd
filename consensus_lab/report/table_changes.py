"""What moved between two comparison tables, and its rendering.

Rules of this file: no experiment, no matplotlib; the same tables give the same bytes.
"""

from __future__ import annotations

import csv
import io
import textwrap
from typing import NamedTuple

from consensus_lab.report.table import Cell, Table, published_text, verdict_text

MOVED, SHIFTED = "moved", "within the interval"


class Change(NamedTuple):
    """A cell of two tables.

    Attributes
    ----------
    row, system : str
        Which one.
    published : str
    before, after : str
        Ours with its interval.
    verdict_before, verdict_after : str
    kind : str
        "moved" when the intervals have nothing in common, when a cell in words says something
        else, or when the verdict is another; "within the interval" for smaller changes.
    """

    row: str
    system: str
    published: str
    before: str
    after: str
    verdict_before: str
    verdict_after: str
    kind: str


def changes(before: Table, after: Table) -> list[Change]:
    """Every cell that is not the same, in the order of the second table."""
    old = {
        (row.key, system): cell
        for row in before.rows
        for system, cell in zip(before.systems, row.cells, strict=True)
    }
    found = []
    for row in after.rows:
        for system, cell in zip(after.systems, row.cells, strict=True):
            was = old[row.key, system]
            verdicts = verdict_text(was), verdict_text(cell)
            if (_ours(was), verdicts[0]) == (_ours(cell), verdicts[1]):
                continue
            found.append(Change(
                row.title, system, published_text(cell), _ours(was), _ours(cell), *verdicts,
                _kind(was, cell),
            ))  # fmt: skip
    return found


def _ours(cell: Cell) -> str:
    return f"{cell.ours} ({cell.interval})" if cell.interval else cell.ours


def _kind(before: Cell, after: Cell) -> str:
    if (before.verdict, before.is_kept) != (after.verdict, after.is_kept):
        return MOVED
    ends = (before.low, before.high, after.low, after.high)
    if None in ends:
        return MOVED
    low, high, new_low, new_high = (end or 0.0 for end in ends)
    return SHIFTED if new_low <= high and low <= new_high else MOVED


def text(found: list[Change], *, against: str, total: int, width: int = 100) -> str:
    """The changes for a terminal; what only shifted within its interval is counted."""
    moved = [change for change in found if change.kind == MOVED]
    shifted = len(found) - len(moved)
    lines = textwrap.wrap(
        f"{len(moved)} of {total} cells moved, {shifted} shifted within their interval, "
        f"against {against}.", width,
    )  # fmt: skip
    for change in moved:
        lines.append(f"{change.row}, {change.system}")
        verdict = change.verdict_after
        if change.verdict_before != change.verdict_after:
            verdict = f"{change.verdict_before} -> {change.verdict_after}"
        for part in (f"{change.before} -> {change.after}", verdict):
            lines += textwrap.wrap(
                part, width, initial_indent="    ", subsequent_indent="      "
            )  # fmt: skip
    return "\n".join(lines) + "\n"


def csv_text(found: list[Change]) -> str:
    """The changes as CSV."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(Change._fields)
    writer.writerows(found)
    return buffer.getvalue()
