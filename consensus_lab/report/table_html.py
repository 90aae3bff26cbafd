"""The comparison table as HTML: a table on a desk, a stack of cards on a phone."""

from __future__ import annotations

from consensus_lab.report.page import escape, page
from consensus_lab.report.table import (
    DIFFERS,
    OPEN,
    WITHIN,
    Cell,
    Row,
    Table,
    published_text,
    ratio_text,
    summary_text,
    verdict_text,
)

HEADS = ("", "published", "here, 95 % interval", "real", "verdict", "how")
PACKAGE = "consensus_lab."
"""Left out before the names of what to call."""

CSS = """
.comparison { width: 100%; } .comparison .value { font-weight: 600; }
.comparison td { min-width: 6.5rem; } .comparison td:last-child { min-width: 16rem; }
.comparison tbody th[scope=row] { font-weight: 400; white-space: nowrap; padding-left: 1rem; }
.comparison .statement th { padding-top: 1.1rem; font-size: 1.02rem; border-bottom: 0; }
.comparison .verdict { white-space: nowrap; }
.comparison summary { cursor: pointer; white-space: nowrap; }
.comparison details, .comparison .note { font-size: .85rem; color: var(--faint); }
.comparison code { font-size: .78rem; overflow-wrap: anywhere; }
.comparison thead th { vertical-align: bottom; text-align: left; }
@media (max-width: 52rem) { .comparison, .comparison tbody, .comparison tr, .comparison th,
  .comparison td { display: block; width: 100%; } .comparison thead { display: none; }
  .comparison tbody { border-bottom: 2px solid var(--line); padding: .4rem 0; }
  .comparison td { border: 0; padding: .15rem 0 .15rem 1.6rem; }
  .comparison td:empty { display: none; }
  .comparison tbody th[scope=row] { border: 0; padding-top: .6rem; font-weight: 600; }
  .comparison td::before { content: attr(data-label) " "; color: var(--faint);
  font-size: .8rem; } }
"""

_CLASSES = {WITHIN: "good", DIFFERS: "bad", OPEN: "doubt"}


def html(table: Table) -> str:
    """The table as a whole page of its own."""
    return page(table.title, f"<h1>{escape(table.title)}</h1>\n{fragment(table)}", extra_css=CSS)


def fragment(table: Table, *, root: str = "") -> str:
    """The table as a piece of a page; `root` is put before the notebooks' paths."""
    heads = "".join(f'<th scope="col">{head}</th>' for head in HEADS)
    bodies = "\n".join(_row(table, row, root) for row in table.checked().rows)
    notes = "".join(f'<p class="faint">{escape(note)}</p>\n' for note in table.notes)
    return (
        f'<p>{escape(summary_text(table))}.</p>\n'
        f'<div class="scroll"><table class="comparison">\n<thead><tr>{heads}</tr></thead>'
        f"\n{bodies}\n</table></div>\n{notes}"
    )


def _row(table: Table, row: Row, root: str) -> str:
    """One statement: its title over a line for each system."""
    lines = "".join(
        f'<tr><th scope="row">{escape(system)}</th>'
        f'<td data-label="published">{_two(published_text(cell), cell.source)}</td>'
        f'<td data-label="here">{_ours(cell)}</td>'
        f'<td data-label="real">{_two(cell.live, cell.live_source)}</td>'
        f'<td data-label="verdict">{_verdict(cell)}</td>'
        f'<td data-label="how">{_how(cell, root)}</td></tr>\n'
        for system, cell in zip(table.systems, row.cells, strict=True)
    )
    title = f'<th scope="rowgroup" colspan="{len(HEADS)}">{escape(row.title)}</th>'
    return f'<tbody id="row-{escape(row.key)}"><tr class="statement">{title}</tr>\n{lines}</tbody>'


def _two(text: str, source: str) -> str:
    """A value, and faintly under it where it is from."""
    return escape(text) + (f'<br><span class="faint">{escape(source)}</span>' if source else "")


def _ours(cell: Cell) -> str:
    value = f'<span class="value">{escape(cell.ours)}</span>'
    return value + (f'<br><span class="faint">{escape(cell.interval)}</span>' * bool(cell.interval))


def _verdict(cell: Cell) -> str:
    """The verdict, the ratio, and the tolerance behind a fold."""
    kind = "verdict " + (_CLASSES[cell.verdict] if cell.is_kept else _CLASSES[DIFFERS])
    text = f'<span class="{kind}">{escape(verdict_text(cell))}</span>'
    ratio = ratio_text(cell)
    text += f'<br><span class="faint">{escape(ratio)} × published</span>' * bool(ratio)
    if not cell.tolerance:
        return text
    return f"<details><summary>{text}</summary>{escape(cell.tolerance)}</details>"


def _how(cell: Cell, root: str) -> str:
    """How our value came about, with what to call and the notebook; the note in full."""
    count = f", n = {cell.replicates:,}" if cell.replicates > 1 else ""
    parts = [escape(cell.how + count)]
    if cell.notebook:
        parts[0] = f'<a href="{escape(root + cell.notebook)}">{parts[0]}</a>'
    if cell.code:
        parts.append(f"<code>{escape(cell.code.removeprefix(PACKAGE))}</code>")
    if cell.note:
        parts.append(f'<span class="note">{escape(cell.note)}</span>')
    return "<br>".join(parts)
