"""Executes a notebook for one run of a sweep, over papermill, and keeps what it found.

The notebook runs in the run's own folder, so that what it writes belongs to the run.  After its
last cell one more is run, and removed again, that saves the variable `result` if there is one.
The kernel is talked to over sockets in a private folder, not over TCP: nobody else can connect,
and parallel runs cannot take each other's ports (nteract/papermill#511).
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from consensus_lab.batch import parameter_cells, work

EXECUTED = "notebook.ipynb"
RESULT = "result"
KERNEL_START_S = 120
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_KEEP_TAG = "consensus-lab-keep"
_KEEP = "import consensus_lab.batch.notebooks\nconsensus_lab.batch.notebooks.keep(globals())"


def keep(namespace: Mapping[str, Any]) -> None:
    """Save the notebook's `result`; called inside the kernel, in the run's folder."""
    from consensus_lab.experiments.result import Result

    result = namespace.get("result")
    if isinstance(result, Result):
        Path(RESULT).mkdir(exist_ok=True)
        result.draw = None  # The figures are in the notebook.
        work.save(result, Path(RESULT))


def execute(
    source: Path, target: Path, parameters: Mapping[str, Any], *, cell_timeout_s: int
) -> None:
    """Run a notebook with these parameters; its folder receives all that it writes.

    Parameters
    ----------
    source, target : Path
        The notebook, and the executed notebook without time stamps, paths and random ids.
    parameters : mapping
        What papermill injects.
    cell_timeout_s : int
        Limit of each cell.

    Raises
    ------
    papermill.PapermillExecutionError
        When a cell raises; `target` then shows where.
    """
    work.without_slow_imports()
    import nbformat as untyped
    import papermill

    nbformat: Any = untyped
    notebook = nbformat.read(source, as_version=4)
    cell = nbformat.v4.new_code_cell(_KEEP, metadata={"tags": [_KEEP_TAG]})
    notebook.cells.append(cell)
    prepared = target.with_name(".prepared.ipynb")
    nbformat.write(notebook, prepared)
    values = dict(parameters)
    if "preset" in parameter_cells.parameters(notebook, source):
        # The parameters are complete: the preset has nothing left to say.
        values.setdefault("preset", "fast")
    try:
        with _private_kernels() as manager:
            papermill.execute_notebook(
                prepared, target, parameters=values, cwd=target.parent, progress_bar=False,
                start_timeout=KERNEL_START_S, execution_timeout=cell_timeout_s,
                kernel_manager_class=manager,
            )  # fmt: skip
    finally:
        prepared.unlink(missing_ok=True)
        if target.is_file():
            nbformat.write(cleaned(nbformat.read(target, as_version=4)), target)


def write_source(executed: Path, target: Path) -> None:
    """The notebook that an executed one came from: without outputs and injected parameters.

    Raises
    ------
    ParameterError
        When the executed notebook is not there or cannot be read.
    """
    notebook = parameter_cells.read(executed)
    notebook["cells"] = [
        cell for cell in notebook["cells"]
        if parameter_cells.INJECTED not in cell.get("metadata", {}).get("tags", [])
    ]  # fmt: skip
    for cell in notebook["cells"]:
        if cell.get("cell_type") == "code":
            cell.update(outputs=[], execution_count=None)
    target.write_text(json.dumps(notebook), encoding="utf-8")


def cleaned(notebook: Any) -> Any:
    """A copy that holds nothing of when, where and under which random names it ran."""
    notebook = copy.deepcopy(notebook)
    notebook.metadata.pop("papermill", None)
    notebook.cells = [c for c in notebook.cells if _KEEP_TAG not in c.metadata.get("tags", [])]
    for place, cell in enumerate(notebook.cells):
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        cell.id = f"cell-{place}"
    return notebook


@contextmanager
def _private_kernels() -> Iterator[type]:
    """A kernel manager whose sockets are files of a folder that goes away."""
    from jupyter_client.manager import AsyncKernelManager

    # Short, because a socket's path has room for about 100 bytes; absolute, because the kernel
    # has another working directory.
    with tempfile.TemporaryDirectory(prefix="cl-", ignore_cleanup_errors=True) as folder:
        where = {"ip": os.path.join(folder, "k"), "transport": "ipc"}

        class PrivateKernelManager(AsyncKernelManager):
            def __init__(self, *arguments: Any, **keywords: Any) -> None:
                file = os.path.join(folder, "kernel.json")
                super().__init__(*arguments, **where, connection_file=file, **keywords)

            async def _async_launch_kernel(self, kernel_cmd: list[str], **keywords: Any) -> None:
                # A kernel that is ended in mid-cell complains to whoever reads the progress.
                keywords["stderr"] = subprocess.DEVNULL
                await super()._async_launch_kernel(kernel_cmd, **keywords)

            _launch_kernel = _async_launch_kernel

        yield PrivateKernelManager
