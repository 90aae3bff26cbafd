"""The comparison table as HTML: a table on a desk, a stack of cards on a phone."""

from __future__ import annotations

from consensus_lab.report.page import escape, page
from consensus_lab.report.table import (
    AGREES,
    DIFFERS,
    HOLDS,
    OPEN,
    VERDICTS,
    Cell,
    Row,
    Table,
    ratio_text,
)

CSS = """
.comparison { width: 100%; } .comparison th[scope=row] { min-width: 9rem; }
.comparison .value { font-weight: 600; } .comparison td { min-width: 8rem; }
.comparison .verdict { font-size: .85rem; white-space: nowrap; }
.comparison thead th { vertical-align: bottom; }
.comparison tr > td:nth-child(even) { border-left: 1px solid var(--line); }
@media (max-width: 46rem) { .comparison, .comparison tbody, .comparison tr, .comparison th,
  .comparison td { display: block; width: 100%; } .comparison thead { display: none; }
  .comparison tr { border-bottom: 2px solid var(--line); padding: .4rem 0; }
  .comparison td { border: 0; padding: .15rem 0 .15rem .8rem; }
  .comparison tr > td:nth-child(even) { border-left: 0; }
  .comparison th[scope=row] { border: 0; padding: .3rem 0; font-size: 1.05rem; }
  .comparison td::before { content: attr(data-label) " "; color: var(--faint);
  font-size: .8rem; } }
"""

_CLASSES = {AGREES: "good", HOLDS: "good", DIFFERS: "bad", OPEN: "doubt"}


def html(table: Table) -> str:
    """The table as a whole page of its own."""
    return page(table.title, f"<h1>{escape(table.title)}</h1>\n{fragment(table)}", extra_css=CSS)


def fragment(table: Table, *, root: str = "") -> str:
    """The table as a piece of a page; `root` is put before the notebooks' paths."""
    heads = "".join(
        f'<th scope="col">{escape(system)}<br><span class="faint">published</span></th>'
        f'<th scope="col">{escape(system)}<br><span class="faint">here, 95 % interval</span></th>'
        for system in table.systems
    )
    rows = "\n".join(_row(table, row, root) for row in table.checked().rows)
    notes = "".join(f'<p class="faint">{escape(note)}</p>\n' for note in table.notes)
    return (
        f'<div class="scroll"><table class="comparison">\n<thead><tr><td></td>{heads}</tr></thead>'
        f"\n<tbody>\n{rows}\n</tbody>\n</table></div>\n{notes}"
    )


def _row(table: Table, row: Row, root: str) -> str:
    cells = "".join(
        f'<td data-label="{escape(system)}, published:">{escape(cell.published)}'
        f"{_source(cell)}</td>"
        f'<td data-label="{escape(system)}, here:">{_ours(cell, root)}</td>'
        for system, cell in zip(table.systems, row.cells, strict=True)
    )
    return f'<tr id="row-{escape(row.key)}"><th scope="row">{escape(row.title)}</th>{cells}</tr>'


def _source(cell: Cell) -> str:
    return f'<br><span class="faint">{escape(cell.source)}</span>' if cell.source else ""


def _ours(cell: Cell, root: str) -> str:
    """Value, interval and verdict first; how it came about behind a fold."""
    ratio = ratio_text(cell)
    verdict = f"{VERDICTS[cell.verdict]} {cell.verdict}" + (f", {ratio} × published" * bool(ratio))
    parts = [f'<span class="value">{escape(cell.ours)}</span>']
    if cell.interval:
        parts.append(f'<span class="faint">{escape(cell.interval)}</span>')
    parts.append(f'<span class="verdict {_CLASSES[cell.verdict]}">{escape(verdict)}</span>')
    if cell.live:
        parts.append(f'<span class="faint">live: {escape(cell.live)}</span>')
    count = f", n = {cell.replicates:,}" if cell.replicates > 1 else ""
    detail = f"<code>{escape(cell.code)}</code><br>" if cell.code else ""
    detail += escape(cell.note)
    if cell.notebook:
        detail += f' <a href="{escape(root + cell.notebook)}">notebook</a>'
    how = escape(cell.how + count)
    if detail:
        parts.append(f'<details class="faint"><summary>{how}</summary>{detail}</details>')
    else:
        parts.append(f'<span class="faint">{how}</span>')
    return "<br>".join(parts[:-1]) + ("" if detail else "<br>") + parts[-1]
