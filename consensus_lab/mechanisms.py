"""The mechanism index: where each statement of the essay lives in code, test and notebook."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from consensus_lab.node import ParameterError

_PACKAGE = Path(__file__).resolve().parent
FILE_NAME = "MECHANISMS.md"


class Mechanism(NamedTuple):
    """One line of the index.

    Attributes
    ----------
    section : str
        The heading that it stands under.
    statement : str
        The mechanism, in our words.
    symbols : str
        `module:symbol`, several separated by commas.
    tests : str
        Where it is tested.
    notebook : str
        Where it can be watched, or "-".
    """

    section: str
    statement: str
    symbols: str
    tests: str
    notebook: str


def index_path() -> Path:
    """The index beside the package in a checkout, or its copy inside an installed package."""
    for place in (_PACKAGE.parent / FILE_NAME, _PACKAGE / f"_{FILE_NAME}"):
        if place.is_file():
            return place
    raise ParameterError(FILE_NAME, str(_PACKAGE.parent), "beside the package or inside it")


def mechanisms() -> list[Mechanism]:
    """All lines of the index, in order."""
    found: list[Mechanism] = []
    section = ""
    for line in index_path().read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            section = line[3:].strip()
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        is_row = line.startswith("|") and len(cells) == 4
        if is_row and cells[0] != "mechanism" and not cells[0].startswith("---"):
            found.append(Mechanism(section, *(cell.replace("`", "") for cell in cells)))
    return found


def where(word: str) -> list[Mechanism]:
    """The mechanisms in whose line the word occurs, whatever its case.

    Raises
    ------
    ParameterError
        When there is none.
    """
    hits = [m for m in mechanisms() if word.lower() in " ".join(m).lower()]
    if not hits:
        raise ParameterError("word", word, f"one that {FILE_NAME} contains")
    return hits
