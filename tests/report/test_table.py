"""The comparison table's model and its renderings."""

import csv
import io
import re
import subprocess
import sys
from html.parser import HTMLParser

import pandas
import pytest

from consensus_lab.report import table_text
from consensus_lab.report.table import (
    DIFFERS,
    ENFORCED,
    FROM_DATA,
    OPEN,
    SIMULATED,
    WITHIN,
    Cell,
    Row,
    Table,
    quantity,
    ratio_text,
    span,
    table_frame,
)
from consensus_lab.report.table_changes import MOVED, SHIFTED, changes, text
from consensus_lab.report.table_changes import csv_text as changes_csv
from consensus_lab.report.table_html import fragment, html

TABLE = Table(
    "Paxos and Nakamoto, measured",
    ("Paxos (etcd)", "Nakamoto (Bitcoin)"),
    (
        Row("payload", "Payload limit", (
            Cell("1.5 MB", ENFORCED, WITHIN, value=1_572_864, low=1_572_864, high=1_572_864,
                 unit="bytes", published_value=1.5e6, code="consensus_lab.raft.kv:check",
                 note="One byte more is refused & <named>."),
            Cell("1 MB", ENFORCED, WITHIN, value=1e6, unit="bytes", published_value=1e6),
        )),
        Row("finality", "Transaction finality", (
            Cell("<10 ms", SIMULATED, WITHIN, value=2.3145, low=2.28, high=2.351, unit="ms",
                 published_value=10.0, replicates=1000, live="1.53 ms", live_source="etcd",
                 tolerance="at most the bound",
                 code="consensus_lab.experiments.finality:run", notebook="notebooks/22.ipynb"),
            Cell("60 minutes", SIMULATED, DIFFERS, value=66.2, low=64.9, high=67.4, unit="min",
                 published_value=60.0, source="a | b", is_kept=False, tolerance="a tenth",
                 note="A mean."),
        )),
        Row("unit", "Unit of consensus", (
            Cell("Any single value", ENFORCED, OPEN, text="any single value"),
            Cell("Block (list of transactions)", FROM_DATA, WITHIN, text="block"),
        )),
    ),
    ("Fast preset, 100 % simulated.",),
)  # fmt: skip


def test_ratios_and_values_come_from_the_numbers():
    cell = TABLE.rows[1].cells[0]
    assert cell.ratio == pytest.approx(0.23145)
    assert (cell.ours, cell.interval, ratio_text(cell)) == ("2.31 ms", "2.28–2.35 ms", "0.23")
    assert TABLE.rows[2].cells[0].ratio is None
    assert TABLE.rows[0].cells[0].interval == ""


@pytest.mark.parametrize(("value", "unit", "text"), [
    (0, "s", "0 s"), (0.0123456, "s", "0.0123 s"), (12.6, "s", "12.6 s"), (600, "s", "600 s"),
    (13870, "nodes", "13,870 nodes"), (430e9, "bytes", "430 GB"), (999, "bytes", "999 B"),
    (0.00001234, "", "1.23e-05"), (float("inf"), "s", "inf s"), (-2.5, "ms", "-2.50 ms"),
])  # fmt: skip
def test_quantities_have_three_digits_and_a_unit(value, unit, text):
    assert quantity(value, unit) == text


def test_an_interval_shows_digits_that_tell_its_ends_apart():
    assert span(600.2, 600.1998, 600.2002, "s") == "600.1998–600.2002 s"
    assert span(1.57e6, 1.5e6, 1.6e6, "bytes") == "1.50–1.60 MB"


def test_an_interval_from_one_run_is_not_shown():
    cell = Cell("7", SIMULATED, OPEN, value=3.3, low=float("-inf"), high=float("inf"), unit="TPS")
    assert cell.interval == ""


@pytest.mark.parametrize("width", [60, 80, 112, 120, 160])
def test_the_terminal_table_keeps_its_width_and_says_everything(width):
    text = table_text.terminal(TABLE, width=width)
    assert max(len(line) for line in text.splitlines()) <= width
    joined = " ".join(text.split())
    for words in ("Transaction finality", "<10 ms", "2.31 ms (2.28–2.35)", "0.23", "1.53 ms",
                  "60 minutes", "✗ 66.2 min (64.9–67.4)", "enforced by code", "A mean.",
                  "outside its tolerance: a tenth", "raft.kv:check",
                  "6 cells: 4 within, 1 differs, 1 open; 1 outside their tolerance"):  # fmt: skip
        assert words in joined or (width == 60 and "(" in words), words
    assert "\x1b" not in text


def test_colour_adds_escapes_and_nothing_else():
    plain = table_text.terminal(TABLE, width=100)
    coloured = table_text.terminal(TABLE, width=100, is_coloured=True)
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == plain


class Stream(io.StringIO):
    def __init__(self, encoding, is_terminal):
        super().__init__()
        self.name_of_encoding, self.is_terminal = encoding, is_terminal

    encoding = property(lambda self: self.name_of_encoding)

    def isatty(self):
        return self.is_terminal


def test_show_colours_only_terminals_and_survives_ascii(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    for encoding, is_terminal in (("utf-8", True), ("utf-8", False), ("ascii", False)):
        stream = Stream(encoding, is_terminal)
        table_text.show(TABLE, stream)
        text = stream.getvalue()
        assert ("\x1b" in text) == is_terminal
        text.encode(encoding)
    assert "+ 2.31 ms (2.28-2.35)" in text
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Stream("utf-8", True)
    table_text.show(TABLE, stream)
    assert "\x1b" not in stream.getvalue()


def test_markdown_has_one_line_per_cell_and_equal_columns():
    lines = [line for line in table_text.markdown(TABLE).splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 6
    counts = {len(re.findall(r"(?<!\\)\|", line)) for line in lines}
    assert counts == {11}
    assert "[notebook](notebooks/22.ipynb)" in "\n".join(lines)


def test_csv_reads_back_as_the_frame():
    frame = table_frame(TABLE)
    back = pandas.read_csv(io.StringIO(table_text.csv_text(TABLE)), keep_default_na=False)
    assert list(back.columns) == list(frame.columns)
    assert len(back) == 6
    row = next(csv.DictReader(io.StringIO(table_text.csv_text(TABLE))))
    assert float(row["value"]) == 1_572_864
    assert row["note"] == "One byte more is refused & <named>."
    assert float(back["ratio"].iloc[2]) == pytest.approx(0.23145)


def test_latex_escapes_and_balances():
    text = table_text.latex(TABLE)
    assert r"$<$10 ms" in text
    rows = [line for line in text.splitlines() if line.startswith(r"\quad")]
    assert len(rows) == 6
    assert all(row.count("&") == 6 for row in rows)
    assert text.count("{") == text.count("}")


class Checker(HTMLParser):
    """Every element that opens closes, in order; collects addresses and texts."""

    VOID = ("br", "meta", "img", "link")

    def __init__(self):
        super().__init__()
        self.open, self.addresses, self.texts, self.tags = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        self.addresses += [value for name, value in attrs if name in ("href", "src")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def test_the_page_is_well_formed_and_asks_for_nothing():
    checker = Checker()
    checker.feed(html(TABLE))
    assert checker.open == []
    assert checker.addresses == ["notebooks/22.ipynb"]
    assert not {"script", "link", "img", "iframe"} & set(checker.tags)
    style = html(TABLE).split("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    assert "prefers-color-scheme: dark" in style
    said = " ".join(checker.texts)
    for words in ("2.31 ms", "2.28–2.35 ms", "✓ within", "0.23 × published", "One byte more is",
                  "✗ differs, outside its tolerance", "at most the bound", "1.53 ms"):  # fmt: skip
        assert words in said, words


def test_a_fragment_points_to_notebooks_from_where_it_stands():
    assert 'href="../notebooks/22.ipynb"' in fragment(TABLE, root="../")


def test_tables_are_rendered_without_matplotlib():
    code = (
        "import sys, consensus_lab.report.table_text, consensus_lab.report.table_html\n"
        "assert not {'matplotlib', 'pandas', 'numpy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_renderings_are_the_same_bytes_each_time():
    for render in (table_text.markdown, table_text.latex, table_text.csv_text, html):
        assert render(TABLE) == render(TABLE)


@pytest.mark.parametrize("row", [
    Row("payload", "A second row of that key", TABLE.rows[0].cells),
    Row("short", "One cell only", TABLE.rows[0].cells[:1]),
    Row("word", "An unknown verdict", (Cell("1", SIMULATED, "fine", text="1"),) * 2),
    Row("how", "An unknown origin", (Cell("1", "typed in", WITHIN, text="1"),) * 2),
    Row("empty", "Nothing of ours", (Cell("1", SIMULATED, WITHIN),) * 2),
])  # fmt: skip
def test_a_badly_filled_table_is_a_bug(row):
    with pytest.raises(AssertionError):
        table_text.markdown(TABLE._replace(rows=(*TABLE.rows, row)))


def with_finality(**fields):
    """The table with other figures for one cell."""
    first, second = TABLE.rows[1].cells
    row = TABLE.rows[1]._replace(cells=(first._replace(**fields), second))
    return TABLE._replace(rows=(TABLE.rows[0], row, TABLE.rows[2]))


def test_changes_tell_what_moved_from_what_shifted_within_its_interval():
    assert changes(TABLE, TABLE) == []
    (shifted,) = changes(TABLE, with_finality(value=2.33, low=2.3, high=2.36))
    assert (shifted.kind, shifted.row, shifted.before) == (
        SHIFTED, "Transaction finality", "2.31 ms (2.28–2.35 ms)")  # fmt: skip
    (moved,) = changes(TABLE, with_finality(value=9.0, low=8.9, high=9.1))
    assert (moved.kind, moved.verdict_before) == (MOVED, moved.verdict_after)
    (worse,) = changes(TABLE, with_finality(verdict=DIFFERS, is_kept=False))
    assert worse.kind == MOVED and "outside" in worse.verdict_after


@pytest.mark.parametrize("width", [60, 80, 120])
def test_changes_are_written_within_the_width(width):
    found = changes(TABLE, with_finality(value=9.0, low=8.9, high=9.1))
    shown = text(found, against="the defaults", total=6, width=width)
    assert max(map(len, shown.splitlines())) <= width
    assert "1 of 6 cells moved" in shown and "2.31 ms (2.28–2.35 ms) -> 9 ms" in shown
    rows = list(csv.DictReader(io.StringIO(changes_csv(found))))
    assert [row["after"] for row in rows] == ["9 ms (8.90–9.10 ms)"]
