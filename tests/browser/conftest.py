"""One JupyterLab and one browser for all tests of a file."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.lab import ROOT, Lab, missing, running_lab
from tests.browser.page import Page, opened_browser


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copies of the notebooks, so that running them leaves no trace in the sources."""
    place = tmp_path_factory.mktemp("lab") / "notebooks"
    shutil.copytree(ROOT / "notebooks", place)
    return place


@pytest.fixture(scope="module")
def lab(folder: Path) -> Iterator[Lab]:
    """A real JupyterLab over those copies."""
    if missing():
        pytest.skip(missing())
    with running_lab(folder.parent) as running:
        yield running


@pytest.fixture(scope="module")
def page(folder: Path, lab: Lab) -> Iterator[Page]:
    """A page of a headless browser."""
    with opened_browser(folder.parent / "profile") as opened:
        yield opened


@pytest.fixture(scope="module")
def kept() -> Path:
    """Where screenshots stay."""
    return ROOT / "results" / "screenshots"
