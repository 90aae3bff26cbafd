"""The comparison table as text: terminal, Markdown, LaTeX, CSV.  The model is in `table`."""

from __future__ import annotations

import csv
import io
import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import NamedTuple, TextIO

from consensus_lab.report.table import (
    DIFFERS,
    OPEN,
    VERDICTS,
    WITHIN,
    Cell,
    Row,
    Table,
    how_text,
    published_text,
    ratio_text,
    records,
    summary_text,
    verdict_text,
)

WIDTH_MIN, WIDTH_WIDE, WIDTH_MAX = 60, 112, 160
"""Characters: below the first nothing fits, from the second on the ratio has a column."""

NAME_NARROW = 11
HEADS = ("", "published", "here (95 % interval)", "real", "ratio")

_COLOURS = {WITHIN: "32", DIFFERS: "31", OPEN: "33"}
_PLAIN: dict[str, str | int | None] = {
    "✓": "+", "✗": "!", "–": "-", "─": "-", "×": "x", "µ": "u", "·": "-", "…": "...",
}  # fmt: skip
"""What a terminal without Unicode sees."""


class _Style(NamedTuple):
    """Whether escape sequences are written; all of them in one place."""

    is_on: bool

    def of(self, text: str, code: str) -> str:
        """The text in that graphic rendition (ECMA-48 §8.3.117), if switched on."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.is_on and text.strip() else text


def show(table: Table, stream: TextIO | None = None) -> None:
    """Print a table for the stream: its terminal's width, colour only on a terminal."""
    stream = stream or sys.stdout
    is_terminal = stream.isatty()
    width = shutil.get_terminal_size((100, 24)).columns if is_terminal else 100
    is_coloured = is_terminal and not os.environ.get("NO_COLOR")
    text = terminal(table, width=width, is_coloured=is_coloured)
    try:
        text.encode(stream.encoding or "utf-8")
    except UnicodeEncodeError:
        text = text.translate(str.maketrans(_PLAIN)).encode("ascii", "replace").decode()
    stream.write(text)


def terminal(table: Table, *, width: int = 100, is_coloured: bool = False) -> str:
    """The table as aligned text.

    Parameters
    ----------
    table : Table
        What to show.
    width : int
        Characters per line, taken as between 60 and 160.
    is_coloured : bool
        Write escape sequences for bold, dim, green and red.
    """
    table.checked()
    width = min(max(width, WIDTH_MIN), WIDTH_MAX)
    ink = _Style(is_coloured)
    columns = _columns(table, width)
    heads = _fit(HEADS, columns)
    lines = [ink.of(table.title, "1"), "", *(ink.of(head.rstrip(), "2") for head in heads)]
    lines.append("─" * width)
    for row in table.rows:
        lines.append(ink.of(row.title, "1"))
        for system, cell in zip(table.systems, row.cells, strict=True):
            lines += _cell_lines(system, cell, columns, width, ink)
    lines += ["─" * width, *textwrap.wrap(summary_text(table) + ".", width)]
    signs = f"{VERDICTS[WITHIN]} within the stated tolerance of what was published   "
    signs += f"{VERDICTS[DIFFERS]} differs   {VERDICTS[OPEN]} open"
    lines += [ink.of(line, "2") for line in textwrap.wrap(signs, width)]
    hint = "After a colon: what to call in consensus_lab. Notes and tolerances of all cells are in "
    lines += [ink.of(line, "2") for line in textwrap.wrap(hint + "the other forms.", width)]
    for note in table.notes:
        lines += textwrap.wrap(note, width)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _columns(table: Table, width: int) -> tuple[int, ...]:
    """Widths of name, published, ours, real and, on wide terminals, ratio."""
    name = 2 + (max(map(len, table.systems)) if width >= WIDTH_WIDE else NAME_NARROW)
    if width < WIDTH_WIDE:
        rest = width - name - 3
        published, real = int(rest * 0.27), int(rest * 0.28)
        return (name, published, rest - published - real, real)
    ratio = 7
    rest = width - name - ratio - 4
    published, real = int(rest * 0.24), int(rest * 0.28)
    return (name, published, rest - published - real, real, ratio)


def _fit(texts: Sequence[str], columns: Sequence[int]) -> list[str]:
    """Texts side by side, each wrapped in its column; lines of equal length."""
    wrapped = [
        textwrap.wrap(text, width) or [""] for text, width in zip(texts, columns, strict=False)
    ]
    height = max(len(lines) for lines in wrapped)
    return [
        " ".join(
            (lines[i] if i < len(lines) else "").ljust(width)
            for lines, width in zip(wrapped, columns, strict=True)
        )
        for i in range(height)
    ]


def _ours(cell: Cell) -> str:
    """The sign, our value and its interval, the unit once."""
    unit = "".join(cell.ours.partition(" ")[1:])
    interval = f" ({cell.interval.removesuffix(unit)})" if cell.interval else ""
    return f"{VERDICTS[cell.verdict]} {cell.ours}{interval}"


def _cell_lines(
    system: str, cell: Cell, columns: Sequence[int], width: int, ink: _Style
) -> list[str]:
    is_wide = len(columns) == len(HEADS)
    texts = [system, published_text(cell), _ours(cell), cell.live, ratio_text(cell)]
    # textwrap drops the leading blanks of the name; put them back as a fixed indent.
    lines = ["  " + line for line in _fit(texts, (columns[0] - 2, *columns[1:]))]
    sign = VERDICTS[cell.verdict]
    lines[0] = lines[0].replace(sign, ink.of(sign, "1;" + _COLOURS[cell.verdict]), 1)
    ratio = f"{ratio_text(cell)} × published, " * (cell.ratio is not None and not is_wide)
    extra = [ratio + _within_package(how_text(cell))]
    extra += [cell.note] if cell.note and cell.verdict != WITHIN else []
    extra += [] if cell.is_kept else [f"outside its tolerance: {cell.tolerance}"]
    indent = " " * 6
    for text in extra:
        wrapped = textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent)
        lines += [ink.of(line, "2") for line in wrapped]
    return lines


def _within_package(text: str) -> str:
    """The name of what to call without that of the package: names are long enough."""
    return text.replace(": consensus_lab.", ": ", 1)


def markdown(table: Table) -> str:
    """The table in GitHub's Markdown, one line per statement and system."""
    table.checked()
    heads = ("", "", "published", "here", "95 % interval", "real", "ratio", "verdict", "how",
             "tolerance")  # fmt: skip
    lines = [f"# {table.title}", "", _markdown_line(heads), _markdown_line(["---"] * len(heads))]
    for row in table.rows:
        for place, (system, cell) in enumerate(zip(table.systems, row.cells, strict=True)):
            lines.append(_markdown_line(_markdown_cells(row, place, system, cell)))
    for note in table.notes:
        lines += ["", note]
    return "\n".join(lines) + "\n"


def _markdown_cells(row: Row, place: int, system: str, cell: Cell) -> list[str]:
    title = f"**{row.title}**" if place == 0 else ""
    how = cell.how + (f", n = {cell.replicates:,}" if cell.replicates > 1 else "")
    how += f": `{cell.code}`" if cell.code else ""
    how += f" ([notebook]({cell.notebook}))" if cell.notebook else ""
    how += f". {cell.note}" if cell.note else ""
    live = cell.live + (f" ({cell.live_source})" if cell.live_source else "")
    published = published_text(cell) + (f" ({cell.source})" if cell.source else "")
    return [title, system, published, cell.ours, cell.interval, live, ratio_text(cell),
            verdict_text(cell), how, cell.tolerance]  # fmt: skip


def _markdown_line(cells: Sequence[str]) -> str:
    safe = [cell.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ") for cell in cells]
    return "| " + " | ".join(safe) + " |"


_TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"$<$", ">": r"$>$", "–": "--", "µ": r"$\mu$", "×": r"$\times$", "≥": r"$\geq$",
    "≤": r"$\leq$", "±": r"$\pm$", "✓": "", "✗": "", "…": r"\ldots{}",
}  # fmt: skip


def _tex(text: str) -> str:
    return "".join(_TEX.get(letter, letter) for letter in text)


def latex(table: Table) -> str:
    """The table as a LaTeX tabular that needs no package."""
    table.checked()
    lines = [
        r"\begin{tabular}{lllllll}", r"\hline",
        r" & published & here & 95\,\% interval & real & ratio & verdict \\", r"\hline",
    ]  # fmt: skip
    for row in table.rows:
        lines.append(rf"\multicolumn{{7}}{{l}}{{\textbf{{{_tex(row.title)}}}}} \\")
        for system, cell in zip(table.systems, row.cells, strict=True):
            parts = (system, published_text(cell), cell.ours, cell.interval, cell.live,
                     ratio_text(cell), cell.verdict)  # fmt: skip
            lines.append(r"\quad " + " & ".join(map(_tex, parts)) + r" \\")
    lines += [r"\hline", r"\end{tabular}"]
    lines += [f"% {note}" for note in table.notes]
    return "\n".join(lines) + "\n"


def csv_text(table: Table) -> str:
    """The table as CSV, one line per statement and system; the columns of `table_frame`."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["row", "title", "system", *Cell._fields, "ratio"])
    writer.writerows(records(table))
    return buffer.getvalue()
