"""The report: runs the notebooks and the table, and builds the site from them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from consensus_lab import reference
from consensus_lab.experiments import Progress, comparison, quiet
from consensus_lab.experiments.result import new_folder
from consensus_lab.mechanisms import index_path
from consensus_lab.node import ParameterError
from consensus_lab.report import site
from consensus_lab.report.notebook_html import read_notebook
from consensus_lab.report.page import escape

_PACKAGE = Path(__file__).resolve().parent
CELL_S = 1800

INTRODUCTION = """
Raft, Paxos and Nakamoto consensus in one seeded simulator: every value below was measured by
running code when this page was built. Each notebook asks one question; the index leads from each
statement of the essay to the code.
"""


class NotebookError(RuntimeError):
    """A notebook that should have been executed failed; the message is one line."""


def notebooks_folder() -> Path:
    """The notebooks of the checkout, or their copy inside an installed package."""
    for place in (_PACKAGE.parent / "notebooks", _PACKAGE / "_notebooks"):
        if place.is_dir():
            return place
    raise ParameterError("notebooks", str(_PACKAGE.parent), "beside the package or inside it")


def copy_notebooks(folder: str | Path) -> list[Path]:
    """Copy the notebooks to a folder of the user's, who wants to change them; none is replaced.

    Raises
    ------
    ParameterError
        When the folder cannot be written or has a file of such a name already.
    """
    sources = sorted(notebooks_folder().glob("*.ipynb"))
    targets = [Path(folder) / source.name for source in sources]
    for target in targets:
        if target.exists():
            allowed = f"one without a {target.name}, which may hold work of yours"
            raise ParameterError("folder", str(folder), allowed)
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        for source, target in zip(sources, targets, strict=True):
            shutil.copyfile(source, target)
    except OSError as error:
        allowed = f"a folder that can be written ({error.strerror})"
        raise ParameterError("folder", str(folder), allowed) from None
    return targets


def execute(
    source: Path,
    target: Path,
    parameters: Mapping[str, Any],
    *,
    table: Path | None = None,
    keeps_broken: bool = False,
) -> None:
    """Run a notebook with papermill in a folder of its own; `target` is there only when it ended.

    A saved table is laid beside it, where the table's notebook takes it instead of measuring.

    Raises
    ------
    NotebookError
        When it does not run to its end; `target` then shows where, if it `keeps_broken` ones.
    """
    from consensus_lab.batch import notebooks

    with tempfile.TemporaryDirectory() as folder:
        if table is not None:
            ignored = shutil.ignore_patterns("notebooks")
            shutil.copytree(table, Path(folder) / comparison.SAVED, ignore=ignored)
        made = Path(folder) / source.name
        try:
            notebooks.execute(source, made, parameters, cell_timeout_s=CELL_S)
        except Exception as error:  # Whatever a cell or its kernel may raise.
            if keeps_broken and made.is_file():
                shutil.move(made, target)
            last = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            raise NotebookError(f"{source.name} did not run to its end: {last}") from error
        shutil.move(made, target)


def execute_table(out: Path, parameters: Mapping[str, Any]) -> Path:
    """The table's notebook, run with those parameters on the table in `out`.

    It takes the place of its copy in `out/notebooks`, where the table's links lead.

    Raises
    ------
    NotebookError
        When it does not run to its end; the table and the copy stay as they are.
    """
    (source,) = notebooks_folder().glob("00_*.ipynb")
    target = Path(out) / "notebooks" / source.name
    execute(source, target, parameters, table=out)
    return target


def _has_page(broken: Path) -> bool:
    """Did a notebook that failed leave anything to show?"""
    try:
        read_notebook(broken)
    except ParameterError:
        return False
    return True


class Report(NamedTuple):
    """The pages of a report, the front page first, and what is wrong with it, in lines."""

    pages: list[Path]
    failures: list[str]


def build(out: Path, *, preset: str = "fast", progress: Progress = quiet) -> Report:
    """Execute all notebooks, measure the table, and write the site to a new folder.

    A notebook that fails has a page, too, as far as it came; the front page names it.

    Parameters
    ----------
    out : path
        Replaced as a whole if it holds an earlier report.
    preset : str
        "fast" or "full", for the notebooks and the table.
    progress : callable (done, total, what)

    Returns
    -------
    Report
    """
    sources = sorted(notebooks_folder().glob("*.ipynb"))
    with new_folder(out, mark="index.html") as folder, tempfile.TemporaryDirectory() as scratch:
        progress(0, len(sources) + 1, "notebooks; now: the table")
        result = comparison.run(comparison.Parameters.of(preset=preset))
        # The table's own notebook takes it from there instead of measuring it once more.
        measured = comparison.save(result, Path(scratch) / comparison.SAVED)
        executed, failures = [], []
        for place, source in enumerate(sources):
            progress(place + 1, len(sources) + 1, f"notebooks; now: {source.stem}")
            target = Path(scratch) / source.name
            try:
                execute(source, target, {"preset": preset}, table=measured, keeps_broken=True)
            except NotebookError as error:
                failures.append(str(error))
                if not _has_page(target):
                    continue
            executed.append(target)
        written = Path(scratch) / "reference.md"
        written.write_text(reference.page(), encoding="utf-8")
        pages = site.build_site(
            folder, title="consensus_lab", notebooks=executed,
            introduction=INTRODUCTION + "".join(f"\n**{escape(one)}**\n" for one in failures),
            table=comparison.the_table(result),
            documents=[
                site.Document("mechanisms", "Mechanisms", index_path()),
                site.Document("reference", "Reference", written),
            ],
        )  # fmt: skip
        progress(len(sources) + 1, len(sources) + 1, "notebooks and table")
    return Report([Path(out) / page.name for page in pages], failures)
