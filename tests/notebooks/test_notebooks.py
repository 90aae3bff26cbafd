"""Notebooks: their form, and that they run from a clean kernel in a foreign folder."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest

from consensus_lab import experiments
from consensus_lab.live import bitcoin, etcd
from consensus_lab.node import ParameterError

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CELL_LINES_MAX = 15
FUNCTION_LINES_MAX = 5
OUTPUT_BYTES_MAX = 2_000_000

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(path: Path) -> list[Any]:
    """The code cells of a notebook."""
    cells = nbformat.read(path, as_version=4).cells
    return [cell for cell in cells if cell.cell_type == "code"]


def parameters_cell(path: Path) -> int:
    """Position of the parameters cell among the code cells."""
    tagged = [
        place
        for place, cell in enumerate(code_cells(path))
        if "parameters" in cell.metadata.get("tags", [])
    ]
    assert len(tagged) == 1, "exactly one cell is tagged parameters"
    return tagged[0]


def experiment_of(path: Path) -> Any:
    """The experiment whose parameters a notebook parses in the cell after them."""
    cell = code_cells(path)[parameters_cell(path) + 1].source
    match = re.search(r"(\w+)\.Parameters\.from_notebook\(globals\(\)\)", cell)
    assert match, "the cell after the parameters parses them strictly"
    return experiments.load(match[1])


@every_notebook
def test_its_parameters_are_those_of_the_experiment(path: Path) -> None:
    cell = code_cells(path)[parameters_cell(path)].source
    assert cell == experiment_of(path).Parameters.cell()


@every_notebook
def test_its_form(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.metadata.kernelspec.language == "python"
    headings = " ".join(c.source for c in notebook.cells if c.cell_type == "markdown").lower()
    for part in ("# ", "break it", "exercises"):
        assert part in headings, part
    for cell in code_cells(path):
        assert cell.outputs == [] and cell.execution_count is None, "committed without outputs"
        assert cell.source.count("\n") < CELL_LINES_MAX or "parameters" in cell.metadata.tags
        assert "sys.path" not in cell.source
        for item in ast.walk(ast.parse(cell.source)):
            if isinstance(item, ast.FunctionDef):
                assert (item.end_lineno or 0) - item.lineno < FUNCTION_LINES_MAX


def execute(path: Path, folder: Path, **parameters: Any) -> Any:
    """Run a notebook with papermill from a folder that is not the repository."""
    return papermill.execute_notebook(
        path, folder / path.name, parameters=parameters, cwd=folder, progress_bar=False
    )


def require_real_systems() -> None:
    """Skip, saying why, where no etcd or no Core engine is installed."""
    try:
        etcd.find_etcd()
        etcd.load_grpc()
        bitcoin.load_kernel()
    except ParameterError as error:
        pytest.skip(str(error))


@pytest.mark.slow
@every_notebook
def test_it_runs_with_its_fast_preset_in_a_foreign_folder(path: Path, tmp_path: Path) -> None:
    if "live" in path.stem:
        require_real_systems()
    done = execute(path, tmp_path)
    outputs = [output for cell in done.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "error"]
    assert [output for output in outputs if "image/png" in output.get("data", {})], "a picture"
    assert (tmp_path / path.name).stat().st_size < OUTPUT_BYTES_MAX


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "right"), [("finality", "block_interval_s"), ("stale_blocks", "block_intervals_s")]
)
def test_a_misspelt_parameter_fails_and_names_the_right_one(
    name: str, right: str, tmp_path: Path
) -> None:
    path = next(path for path in NOTEBOOKS if name in path.stem)
    command = [sys.executable, "-m", "papermill", str(path), "out.ipynb", "--no-progress-bar"]
    done = subprocess.run(
        [*command, "-p", "block_intervall_s", "60"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "block_intervall_s" in done.stderr
    assert f"did you mean {right}?" in done.stderr


@pytest.mark.slow
@every_notebook
def test_papermill_lists_every_parameter_with_its_meaning(path: Path) -> None:
    listed = papermill.inspect_notebook(str(path))
    rows = experiment_of(path).Parameters.describe()
    assert set(listed) == {row["name"] for row in rows} | {"preset"}
    for row in rows:
        assert row["meaning"] in listed[row["name"]]["help"]
