"""The explorers in a real browser against a real JupyterLab: run all, press, move, look."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
import pytest

from tests.browser.lab import ROOT, Lab, wait
from tests.browser.page import SCREEN, Page

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
DONE = "all cells have run"
SMALL_FRONT = "{'n_nodes': 150}"
SMALL_GRID = (
    "{'n_nodes': 40, 'n_blocks': 100, 'replicates': 1, 'block_intervals_s': [600.0, 60.0, 12.0],"
    " 'block_sizes_bytes': [250_000, 1_000_000]}"
)
CELLS = (
    "import sys\nfrom consensus_lab import explorers\n"
    "from consensus_lab.experiments import gossip_front, stale_rate\n"
    "from consensus_lab.explorers.trade_off import small_grid",
    "explorers.explore_raft(actions='wait 2000 ms')",
    f"explorers.explore_gossip(gossip_front.Parameters.of({SMALL_FRONT}))",
    f"explorers.explore_trade_off(small_grid(stale_rate.Parameters.of({SMALL_GRID})))",
    "explorers.explore_risk()",
    "print(*'all cells have run'.split(), sys.executable)",
)
RAFT, GOSSIP, TRADE_OFF, RISK = range(4)
"""Places of the explorers on the page."""


def small_notebook(folder: Path) -> str:
    """All explorers in one notebook, so that one session sees them all."""
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source) for source in CELLS],
        metadata={"kernelspec": KERNEL},
    )
    nbformat.write(notebook, folder / "explorers.ipynb")
    return "explorers.ipynb"


def check_lab(lab: Lab) -> None:
    """`make lab` serves its page and the notebooks, and nothing to whoever has no token."""
    with urllib.request.urlopen(f"{lab.url}/lab?token={lab.token}", timeout=10) as answer:
        page = answer.read().decode()
    assert answer.status == 200 and "JupyterLab" in page
    shown = {one["name"] for one in lab.ask("contents")["content"]}
    assert shown >= {path.name for path in (ROOT / "notebooks").glob("*.ipynb")}
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{lab.url}/api/contents", timeout=10)


def press_stepper(page: Page) -> None:
    """Crash the leader, go on, and take both back."""
    first = page.source(RAFT)
    page.click(".consensus-lab-crash")
    crashed = page.wait_for_change(first, RAFT)
    assert "is down" in page.alt(RAFT)
    page.click(".consensus-lab-step")
    page.wait_for_change(crashed, RAFT)
    for before in (crashed, first):
        page.click(".consensus-lab-back")
        wait(lambda old=before: page.source(RAFT) == old, "the picture before, to the byte")


def play_stepper(page: Page) -> None:
    """Play makes steps by itself until it is paused."""
    before = page.source(RAFT)
    page.click(".widget-play button")
    later = page.wait_for_change(before, RAFT)
    page.wait_for_change(later, RAFT)
    page.click(".widget-play button")


def move(page: Page, handle: int, explorer: int, key: str = "ARROW_RIGHT", times: int = 1) -> str:
    """Move a slider by key, and return what the new picture says."""
    before = page.source(explorer)
    page.press_key(".noUi-handle", key, number=handle, times=times)
    page.wait_for_change(before, explorer)
    return page.alt(explorer)


@pytest.mark.slow
def test_make_lab_opens_and_the_explorers_answer_in_a_real_browser(
    folder: Path, lab: Lab, page: Page, kept: Path
) -> None:
    check_lab(lab)
    page.open(lab, small_notebook(folder))
    page.run_all()
    page.wait_for_text(f"{DONE} {sys.executable}")  # The kernel is this environment's own.
    press_stepper(page)
    play_stepper(page)
    page.click(".consensus-lab-propose")
    # Sliders from top to bottom: time, links; interval, size; attacker, confirmations, ...
    assert "After 0.00 s 1 %" in move(page, 0, GOSSIP, key="HOME")
    assert "every 60 s" in move(page, 2, TRADE_OFF)
    assert "against 11 % of the hash power" in move(page, 4, RISK)
    assert page.errors() == []
    twins = page.find("[class^=consensus-lab-twin]")
    assert len(twins) == 4 and not any(twin.is_displayed() for twin in twins)
    for number, name in enumerate(("raft", "gossip", "trade-off", "risk")):
        page.show(SCREEN, number)
        page.keep(kept, f"explorers-{name}")


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
