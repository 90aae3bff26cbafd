"""Sweeps, with real processes: nothing finished is lost, and no way of running changes a byte."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pandas
import pytest

from consensus_lab import batch, cli
from consensus_lab.batch import work
from consensus_lab.batch.plan import read
from consensus_lab.experiments.pool import Lost, Pool, outcomes, processes
from consensus_lab.gossip import machine_code
from consensus_lab.node import ParameterError

CHEAP = {
    "experiment": "paxos-explore",
    "fixed": {"n_values": 1, "n_ballots": 1, "break_rules": False, "crashes": False},
    "grid": {"n_acceptors": [1, 2, 3]},
    "seeds": 2,
}


def threads() -> Executor:
    """An executor without processes: for what does not depend on them."""
    return ThreadPoolExecutor(1)


def files(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


# The plan.


def test_a_plan_is_the_product_of_its_parts_with_seeds_fastest() -> None:
    runs = read({
        "experiment": "paxos-explore",
        "fixed": {"n_ballots": 1},
        "grid": {"n_acceptors": [2, 3]},
        "lists": {"n_values": [1, 2], "crashes": [True, False]},
        "seeds": [5, 9],
    })  # fmt: skip
    names = ("n_acceptors", "n_values", "crashes", "seed")
    points = [tuple(run.parameters[name] for name in names) for run in runs]
    assert points == [
        (2, 1, True, 5), (2, 1, True, 9), (2, 2, False, 5), (2, 2, False, 9),
        (3, 1, True, 5), (3, 1, True, 9), (3, 2, False, 5), (3, 2, False, 9),
    ]  # fmt: skip
    assert all(run.parameters["n_ballots"] == 1 for run in runs)
    assert len({run.key for run in runs}) == 8


def test_a_run_that_is_planned_twice_is_made_once() -> None:
    assert len(read({**CHEAP, "grid": {"n_acceptors": [2, 2.0]}, "seeds": 1})) == 1


def draws(**rules: Any) -> list[dict[str, Any]]:
    """Parameters of 200 random runs of a notebook-less experiment."""
    sweep = {"experiment": "commit-latency", "random": {"samples": 200, "seed": 4, "draw": rules}}
    return [run.parameters for run in read(sweep)]


def test_random_samples_keep_to_their_ranges_and_to_their_own_streams() -> None:
    few = draws(jitter_ms={"low": 0.5, "high": 50, "scale": "log"})
    values = [point["jitter_ms"] for point in few]
    assert min(values) >= 0.5 and max(values) <= 50
    # Even by logarithm: the middle of the scale, 5, halves them (binomial, 5 sigma).
    assert abs(sum(value < 5 for value in values) - 100) <= 36
    both = draws(round_trip_ms={"low": 1.0, "high": 2.0}, jitter_ms={"low": 0.5, "high": 50,
                                                                  "scale": "log"})  # fmt: skip
    assert [point["jitter_ms"] for point in both] == values


def test_the_key_depends_on_parameters_and_not_on_their_order() -> None:
    turned = {**CHEAP, "fixed": dict(reversed(CHEAP["fixed"].items()))}
    assert [run.key for run in read(CHEAP)] == [run.key for run in read(turned)]
    other = {**CHEAP, "fixed": {**CHEAP["fixed"], "depth_max": 7}}
    assert not {run.key for run in read(CHEAP)} & {run.key for run in read(other)}


def test_other_code_gives_other_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {run.key for run in read(CHEAP)}
    monkeypatch.setattr("consensus_lab.batch.plan.code_version", lambda: "0.1.0+other")
    assert not before & {run.key for run in read(CHEAP)}


@pytest.mark.parametrize(
    ("text", "parameter", "words"),
    [
        ("experiment: paxos-explore\ngird: {n_values: [1]}", "gird", "did you mean grid"),
        ("experiment: paxos-explor", "experiment", "did you mean paxos-explore"),
        ("experiment: paxos-explore\ngrid: {n_value: [1]}", "n_value", "did you mean n_values"),
        ("experiment: paxos-explore\ngrid: {n_values: 1}", "n_values", "list of values"),
        ("experiment: paxos-explore\ngrid: {n_acceptors: [2, 3, -1]}", "n_acceptors", "got -1"),
        ("experiment: paxos-explore\nlists: {n_values: [1, 2], n_ballots: [1]}", "n_ballots",
         "as long as n_values"),
        ("experiment: paxos-explore\nfixed: {n_values: 1}\ngrid: {n_values: [1]}", "n_values",
         "fixed sets it already"),
        ("experiment: paxos-explore\nfixed: {seed: 1}\nseeds: 3", "seed", "set once"),
        ("experiment: paxos-explore\nseeds: 0", "seeds", "how many"),
        ("experiment: paxos-explore\nseeds: [-1]", "seed", "at least 0"),
        ("experiment: paxos-explore\npreset: quick", "preset", "fast"),
        ("experiment: paxos-explore\nrandom: {sampels: 3}", "sampels", "did you mean samples"),
        ("experiment: paxos-explore\nrandom: {samples: 3, draw: {n_values: {low: 2, high: 1}}}",
         "n_values", "L <= H"),
        ("experiment: paxos-explore\nexperiment: finality", "experiment", "given once"),
        ("experiment: paxos-explore\nnotebook: x.ipynb", "experiment", "instead"),
        ("notebook: none.ipynb", "notebook", "No such file"),
        ("grid: [", "sweep", "line 1"),
        ("- 1", "sweep", "name: value"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_before_the_first_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, parameter: str, words: str
) -> None:
    file, out = tmp_path / "sweep.yaml", tmp_path / "out"
    file.write_text(text)
    assert cli.main(["sweep", str(file), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"consensus-lab: {parameter} must be"), error
    assert words in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_a_number_is_a_number_however_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text("experiment: commit-latency\ngrid: {jitter_ms: [1e1, 2E-1]}")
    assert [run.parameters["jitter_ms"] for run in read(file)] == [10.0, 0.2]


# Running.


@pytest.mark.slow
def test_any_number_of_jobs_leaves_the_same_bytes_and_a_second_call_makes_nothing(
    tmp_path: Path,
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    seen: list[tuple[int, int]] = []
    first = batch.sweep(CHEAP, out=one, jobs=1, progress=lambda d, t, w: seen.append((d, t)))
    assert (first.planned, first.made, first.present, first.failures) == (6, 6, 0, ())
    assert seen == [(done, 6) for done in range(7)]
    assert batch.sweep(CHEAP, out=two, jobs=2).failures == ()
    batch.collect(one)
    batch.collect(two)
    assert files(one) == files(two)
    stamps = {path: path.stat().st_mtime_ns for path in one.rglob("frame.parquet")}
    again = batch.sweep(CHEAP, out=one, jobs=2)
    assert (again.made, again.present) == (0, 6)
    assert stamps == {path: path.stat().st_mtime_ns for path in one.rglob("frame.parquet")}


def test_only_what_is_missing_is_made(tmp_path: Path) -> None:
    out = tmp_path / "out"
    batch.sweep({**CHEAP, "seeds": 1}, out=out, executor=threads)
    more = batch.sweep(CHEAP, out=out, executor=threads)
    assert (more.present, more.made) == (3, 3)
    frame = batch.collect(out)
    assert frame.attrs == {"runs_done": 6, "runs_planned": 6}
    states = frame[frame["quantity"] == "distinct_states"]
    assert list(states["n_acceptors"]) == [1, 1, 2, 2, 3, 3]
    assert list(states["seed"]) == [1, 2] * 3
    assert states.groupby("n_acceptors")["value"].nunique().eq(1).all()
    kept = pandas.read_parquet(out / "summary.parquet")
    pandas.testing.assert_frame_equal(kept, frame)
    observations = batch.collect(out, frames=True)
    assert set(observations["seed"]) == {1, 2}


@pytest.mark.slow
def test_the_variable_that_bounds_jobs_bounds_a_sweep_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[int] = []
    process_pool = batch._process_pool
    monkeypatch.setattr(batch, "_process_pool", lambda n: opened.append(n) or process_pool(n))
    monkeypatch.setenv("CONSENSUS_LAB_JOBS_MAX", "two")
    with pytest.raises(ParameterError, match="CONSENSUS_LAB_JOBS_MAX must be a whole number"):
        batch.sweep(CHEAP, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    monkeypatch.setenv("CONSENSUS_LAB_JOBS_MAX", "2")
    assert batch.sweep(CHEAP, out=tmp_path / "out", jobs=8).failures == ()
    assert opened == [2] and os.environ["CONSENSUS_LAB_JOBS_MAX"] == "2"


def test_runs_of_other_code_are_told_and_not_collected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or somebody wonders why a finished sweep begins anew."""
    with monkeypatch.context() as patch:
        for module in ("plan", "work"):
            patch.setattr(f"consensus_lab.batch.{module}.code_version", lambda: "0.1.0+other")
        assert batch.sweep(CHEAP, out=tmp_path, executor=threads).others == 0
    now = batch.sweep(CHEAP, out=tmp_path, executor=threads)
    assert (now.made, now.present, now.others) == (6, 0, 6)
    assert batch.sweep(CHEAP, out=tmp_path, executor=threads).others == 6
    assert batch.collect(tmp_path)["run"].nunique() == 6


def test_the_same_sweep_twice_at_once_fails_in_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever ends first clears what the other was writing."""
    make = work._experiment

    def overtaken(run: Any, target: Path) -> None:
        make(run, target)
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(work, "_experiment", overtaken)
    came = batch.sweep(CHEAP, out=tmp_path, executor=threads)
    assert (came.made, came.failures) == (6, ())


def test_what_cannot_be_collected_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    batch.sweep(CHEAP, out=tmp_path, executor=threads)
    (tmp_path / ".index.html").mkdir()  # Root may write anywhere: no folder is read-only to it.
    assert cli.main(["collect", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "folder must be a sweep's, to be written (Is a directory: " in said
    (tmp_path / ".index.html").rmdir()
    damaged = min((tmp_path / "runs").iterdir())
    (damaged / "manifest.json").write_text("{", encoding="utf-8")
    assert cli.main(["collect", str(tmp_path)]) == 2
    assert f"remove {damaged}, and the sweep makes it again" in capsys.readouterr().err


def test_a_sweep_s_workers_load_the_machine_code_that_other_commands_made() -> None:
    """A setting of Numba's in their environment would have each sweep compile the loops again."""
    before = machine_code._here()
    with batch._single_threaded():
        assert os.environ["OPENBLAS_NUM_THREADS"]
        assert machine_code._here() == before


def test_a_folder_of_something_else_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ParameterError, match="out must be a new folder"):
        batch.sweep(CHEAP, out=tmp_path, executor=threads)
    with pytest.raises(ParameterError, match=r"folder must be .*sweep\.json"):
        batch.collect(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


# Workers that die.


def kill_once(marker: str) -> str:
    """A task that kills its own process the first time, if it has a marker file to write."""
    if marker.startswith("/") and not Path(marker).exists():
        Path(marker).write_text("killed")
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.01)
    return f"done {marker}"


def kill_always(task: str) -> str:
    """A task that kills its process whenever it runs."""
    if task == "poison":
        os.kill(os.getpid(), signal.SIGKILL)
    return f"done {task}"


@contextmanager
def two_processes() -> Iterator[Pool]:
    """A pool of two workers."""
    pool = Pool(lambda: ProcessPoolExecutor(2))
    yield pool
    pool.close()


@pytest.mark.slow
def test_a_worker_killed_in_mid_run_loses_nothing(tmp_path: Path) -> None:
    tasks = [str(number) for number in range(30)]
    tasks[10], tasks[20] = str(tmp_path / "a"), str(tmp_path / "b")
    with two_processes() as pool:
        came = list(outcomes(kill_once, tasks, pool=pool, window=4))
        assert pool.generation == 2
    assert sorted(came) == sorted((task, f"done {task}") for task in tasks)


@pytest.mark.slow
def test_a_task_that_kills_every_worker_is_given_up_and_takes_no_other_with_it() -> None:
    tasks = ["a", "b", "poison", *"cdefgh"]
    with two_processes() as pool:
        came = dict(outcomes(kill_always, tasks, pool=pool, window=4))
    assert came.pop("poison") == Lost(3)
    assert came == {task: f"done {task}" for task in tasks if task != "poison"}


def deaf() -> None:
    """A worker that does not leave when it is asked to."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def doze(started: Path) -> None:
    """A long task, and a sign that it has begun."""
    started.touch()
    time.sleep(60)


@pytest.mark.slow
def test_another_ctrl_c_ends_workers_that_take_their_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = Pool(lambda: processes(1, begin=deaf, given=(), preload=()))
    started = tmp_path / "started"
    pool.submit(doze, started)
    while not started.exists():
        time.sleep(0.01)
    (worker,) = pool._executor._processes.values()  # type: ignore[attr-defined]
    nap = mock.Mock(side_effect=KeyboardInterrupt)
    monkeypatch.setattr("consensus_lab.experiments.pool.time.sleep", nap)
    begin = time.monotonic()
    pool.stop()
    assert nap.call_count == 1 and time.monotonic() - begin < 10
    worker.join(10)
    assert not worker.is_alive()


@pytest.mark.slow
def test_a_sweep_survives_the_death_of_a_worker(tmp_path: Path) -> None:
    opened: list[ProcessPoolExecutor] = []

    def open_executor() -> Executor:
        opened.append(ProcessPoolExecutor(2))
        return opened[-1]

    def kill_after_two(done: int, total: int, what: str) -> None:
        if done == 2:
            victim = next(iter(opened[-1]._processes))
            os.kill(victim, signal.SIGKILL)

    sweep = {**CHEAP, "seeds": 4}
    came = batch.sweep(sweep, out=tmp_path / "a", jobs=2, executor=open_executor,
                       progress=kill_after_two)  # fmt: skip
    for executor in opened:
        executor.shutdown()
    assert len(opened) == 2
    assert (came.made, came.failures) == (12, ())
    batch.sweep(sweep, out=tmp_path / "b", executor=threads)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert not list((tmp_path / "a" / "runs").glob(".*"))


@pytest.mark.slow
def test_interrupting_keeps_finished_runs_and_leaves_nobody_behind(tmp_path: Path) -> None:
    file, out = tmp_path / "sweep.yaml", tmp_path / "out"
    file.write_text(json.dumps({**CHEAP, "seeds": 400}))
    code = "import sys; from consensus_lab.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "sweep", str(file), "--out", str(out), "--jobs", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: len(list((out / "runs").glob("[!.]*/manifest.json"))) >= 3)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "finished runs stay" in error and "Traceback" not in error
    kept = len(list((out / "runs").glob("[!.]*/manifest.json")))
    assert 3 <= kept < 1200
    assert len(list((out / "runs").iterdir())) == kept
    time.sleep(0.5)
    assert len(list((out / "runs").iterdir())) == kept


def wait_until(is_so: Callable[[], bool], *, limit_s: float = 60) -> None:
    """Poll, for things that other processes do."""
    end = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
