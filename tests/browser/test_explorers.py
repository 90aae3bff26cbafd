"""The explorers in a real browser against a real JupyterLab: run all, press, move, look."""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
import pytest

from tests.browser.lab import ROOT, Lab, wait
from tests.browser.page import SCREEN, Page

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
DONE = "all cells have run"
CELLS = (
    "import sys\nfrom consensus_lab import explorers",
    "explorers.explore_raft(actions='wait 2000 ms')",
    "print(*'all cells have run'.split(), sys.executable)",
)


def small_notebook(folder: Path) -> str:
    """All explorers in one notebook, so that one session sees them all."""
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source) for source in CELLS],
        metadata={"kernelspec": KERNEL},
    )
    nbformat.write(notebook, folder / "explorers.ipynb")
    return "explorers.ipynb"


def press_stepper(page: Page, number: int = 0) -> None:
    """Crash the leader, go on, and take it back."""
    first = page.source(number)
    page.click(".consensus-lab-crash")
    crashed = page.wait_for_change(first, number)
    assert "is down" in page.alt(number)
    page.click(".consensus-lab-step")
    page.wait_for_change(crashed, number)
    page.click(".consensus-lab-back")
    wait(lambda: page.source(number) == crashed, "the picture after the crash, to the byte")
    page.click(".consensus-lab-back")
    wait(lambda: page.source(number) == first, "the first picture, to the byte")


@pytest.mark.slow
def test_the_explorers_answer_in_a_real_jupyterlab(
    folder: Path, lab: Lab, page: Page, kept: Path
) -> None:
    page.open(lab, small_notebook(folder))
    page.run_all()
    page.wait_for_text(f"{DONE} {sys.executable}")  # The kernel is this environment's own.
    press_stepper(page)
    page.click(".consensus-lab-propose")
    page.show(SCREEN)
    page.keep(kept, "explorers-raft")
    assert page.errors() == []


@pytest.mark.full
@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("5*.ipynb")), ids=str)
def test_a_notebook_with_an_explorer_opens_and_runs(
    path: Path, lab: Lab, page: Page, kept: Path
) -> None:
    page.open(lab, path.name)
    page.run_all()
    wait(lambda: page.find(SCREEN), "the explorer")
    page.show(SCREEN)
    page.keep(kept, path.stem)
    assert page.errors() == []
