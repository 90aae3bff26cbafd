"""Sweeps over notebooks and on a real Dask cluster."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from consensus_lab import batch, provenance
from consensus_lab.node import ParameterError

CHEAP = {
    "experiment": "paxos-explore",
    "fixed": {"n_values": 1, "n_ballots": 1, "break_rules": False, "crashes": False},
    "seeds": 12,
}
PARAMETERS = "n: int = 1  # count\nseed: int = 1\nnap_s: float = 0.0  # s"
BODY = """import os, pathlib, time
with open(os.environ["CONSENSUS_LAB_TEST_KERNELS"], "a") as log:
    log.write(f"{os.getpid()}\\n")
time.sleep(nap_s)
assert n < 9, "n is too large"
pathlib.Path("made.txt").write_text(str(n * seed))"""


@pytest.fixture()
def notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A notebook that writes a file and notes its kernel."""
    monkeypatch.setenv("CONSENSUS_LAB_TEST_KERNELS", str(tmp_path / "kernels"))
    cells = [
        {"cell_type": "code", "id": name, "metadata": {"tags": tags}, "execution_count": None,
         "outputs": [], "source": text}
        for name, tags, text in (("a", ["parameters"], PARAMETERS), ("b", [], BODY))
    ]  # fmt: skip
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    path = tmp_path / "book.ipynb"
    whole = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(whole))
    return path


def living_kernels(notebook: Path) -> list[int]:
    """Kernels that the notebook noted and that still run."""
    pids = [int(line) for line in (notebook.parent / "kernels").read_text().split()]
    assert pids
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


@pytest.mark.slow
def test_notebooks_run_in_their_own_folders_and_a_broken_one_is_kept_apart(notebook: Path) -> None:
    out = notebook.parent / "out"
    sweep = {"notebook": str(notebook), "grid": {"n": [3, 9]}, "seeds": [2]}
    came = batch.sweep(sweep, out=out, jobs=2)
    assert came.made == 1
    (failure,) = came.failures
    assert failure.parameters["n"] == 9
    assert failure.why.startswith("AssertionError: n is too large"), failure.why
    assert (out / "failed" / f"{failure.key}.ipynb").is_file()
    (run,) = (out / "runs").iterdir()
    assert (run / "made.txt").read_text() == "6"
    text = (run / "notebook.ipynb").read_text()
    assert "seed = 2" in text and str(out) not in text
    assert not re.search(r"20\d\d-\d\d-\d\dT", text)
    assert living_kernels(notebook) == []
    notebook.unlink()  # The run's folder is enough to make it again.
    again = provenance.reproduce(run)
    assert again.is_identical and set(again.files) == {"made.txt", "notebook.ipynb"}, again.text()
    (run / "made.txt").write_text("7")
    assert [d.file for d in provenance.reproduce(run).altered] == ["made.txt"]


@pytest.mark.slow
def test_a_notebook_that_takes_too_long_leaves_no_kernel(notebook: Path) -> None:
    sweep = {"notebook": str(notebook), "fixed": {"nap_s": 60}, "cell_timeout_s": 1}
    came = batch.sweep(sweep, out=notebook.parent / "out", jobs=1)
    assert [failure.why.split(":")[0] for failure in came.failures] == ["CellTimeoutError"]
    assert living_kernels(notebook) == []


@pytest.mark.parametrize(
    ("name", "value", "words"), [("m", 1, "one of n, seed"), ("n", "two", "of type int")]
)
def test_a_notebook_s_parameters_are_checked_before_it_runs(
    notebook: Path, name: str, value: object, words: str
) -> None:
    with pytest.raises(ParameterError, match=words):
        batch.read({"notebook": str(notebook), "grid": {name: [value]}})


def test_a_notebook_of_an_experiment_has_the_experiment_s_ranges() -> None:
    book = Path(__file__).parents[1] / "notebooks" / "30_finality.ipynb"
    with pytest.raises(ParameterError, match="n_nodes must be"):
        batch.read({"notebook": str(book), "grid": {"n_nodes": [50, -1]}})


@contextmanager
def cluster() -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A Dask scheduler and two workers, started as the README says."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    dask = [sys.executable, "-m", "dask"]
    port = address.rpartition(":")[2]
    commands = [[*dask, "scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard"]]
    commands += [[*dask, "worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard"]] * 2
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    started = [
        subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)
        for command in commands
    ]
    try:
        yield address, started[1:]
    finally:
        for process in reversed(started):
            process.kill()
            process.wait()


@pytest.mark.slow
def test_a_cluster_loses_nothing_when_a_worker_is_killed_and_leaves_the_same_bytes(
    tmp_path: Path,
) -> None:
    pytest.importorskip("distributed", reason="pip install consensus-lab[cluster]")
    with cluster() as (address, workers):

        def kill_one(done: int, total: int, what: str) -> None:
            if done == 3:
                workers[0].kill()

        came = batch.sweep(CHEAP, out=tmp_path / "a", scheduler=address, progress=kill_one)
    assert (came.made, came.failures) == (12, ())
    batch.sweep(CHEAP, out=tmp_path / "b", executor=lambda: ThreadPoolExecutor(1))
    a, b = (
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        for root in (tmp_path / "a", tmp_path / "b")
    )
    assert a == b


@pytest.mark.slow
def test_a_scheduler_that_is_not_there_is_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed", reason="pip install consensus-lab[cluster]")
    monkeypatch.setattr(batch, "SCHEDULER_WAIT_S", 1)
    begin = time.monotonic()
    with pytest.raises(ParameterError, match="tcp://HOST:8786"):
        batch.sweep(CHEAP, out=tmp_path / "a", scheduler="the-cluster")
    with pytest.raises(ParameterError, match="running Dask scheduler"):
        batch.sweep(CHEAP, out=tmp_path / "a", scheduler="tcp://127.0.0.1:9")
    assert time.monotonic() - begin < 30
