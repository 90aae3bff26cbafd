"""The report, whole or with a notebook that fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from consensus_lab import cli, publish
from consensus_lab.experiments import comparison
from tests.test_cli import quick_table

CELLS = (
    ("markdown", "# Does it run?\n\nA question.", []),
    ("code", 'preset: str = "fast"  # fast or full', ["parameters"]),
    ("code", 'print("came so far")', []),
)


def write(path: Path, *more: str) -> None:
    """A notebook that prints, and then runs those cells."""
    cells = [*CELLS, *(("code", text, []) for text in more)]
    book = {
        "cells": [
            {"cell_type": kind, "id": f"c{n}", "metadata": {"tags": tags}, "source": text}
            | ({"outputs": [], "execution_count": None} if kind == "code" else {})
            for n, (kind, text, tags) in enumerate(cells)
        ],
        "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python",
                                    "name": "python3"}},
        "nbformat": 4, "nbformat_minor": 5,
    }  # fmt: skip
    path.write_text(json.dumps(book), encoding="utf-8")


@pytest.mark.slow
def test_a_notebook_that_fails_has_a_page_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half an hour of other notebooks is not lost with it."""
    books = tmp_path / "books"
    books.mkdir()
    write(books / "10_sound.ipynb")
    write(books / "20_broken.ipynb", 'raise LookupError("no <such> thing")', "assert False")
    monkeypatch.setattr(publish, "notebooks_folder", lambda: books)
    monkeypatch.setattr(comparison, "run", quick_table)
    out = tmp_path / "my site"
    code = cli.main(["report", "--out", str(out), "--quiet"])
    said = capsys.readouterr()
    assert code == 1 and "Traceback" not in said.err
    assert "20_broken.ipynb did not run to its end: LookupError: no <such> thing" in said.err
    broken = (out / "20_broken.html").read_text(encoding="utf-8")
    assert "came so far" in broken and "LookupError" in broken and "AssertionError" not in broken
    assert "came so far" in (out / "10_sound.html").read_text(encoding="utf-8")
    front = (out / "index.html").read_text(encoding="utf-8")
    assert "20_broken.ipynb did not run to its end" in front and "no &lt;such&gt; thing" in front
    assert "10_sound.ipynb did not" not in front
