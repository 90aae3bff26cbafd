"""The command line: what it prints, and that mistakes are one line and exit code 2."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import pytest
import yaml

from consensus_lab import cli, data, publish
from consensus_lab.batch import notebooks, read
from consensus_lab.cli_examples import EXAMPLES, SWEEP_FILE
from consensus_lab.experiments import comparison, load, questions
from consensus_lab.experiments.result import Result
from consensus_lab.report.table import SIMULATED, WITHIN, Cell, Row, Table

SMALL = ["-p", "n_nodes=40", "-p", "n_blocks=5", "-p", "replicates=2"]


def run(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    code = cli.main(arguments)
    out, err = capsys.readouterr()
    return code, out, err


def test_list_names_every_experiment_and_its_question(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run("list", capsys=capsys)
    assert code == 0
    for name, question in questions().items():
        assert name in out and question in out
    assert {"comparison", "finality", "propagation", "stale-rate", "throughput"} <= set(questions())


def test_describe_shows_units_and_ranges(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run("describe", "propagation", capsys=capsys)
    assert code == 0
    assert "block_interval_s: float = 600.0 s" in out
    assert "at least 0.001" in out


@pytest.mark.slow
def test_run_saves_what_it_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out_folder = tmp_path / "out"
    code, out, err = run("run", "propagation", *SMALL, "--out", str(out_folder), capsys=capsys)
    assert code == 0, err
    assert "delay_s_mean" in out and "12.6" in out
    manifest = json.loads((out_folder / "manifest.json").read_text())
    assert manifest["parameters"]["n_nodes"] == 40
    assert "bitcoin/published/published_block_propagation.csv" in manifest["inputs"]
    again = tmp_path / "again"
    run("run", "propagation", *SMALL, "--out", str(again), capsys=capsys)
    for name in manifest["files"]:
        assert (out_folder / name).read_bytes() == (again / name).read_bytes(), name


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "propagatoin"], "did you mean propagation"),
        (["describe", "nothing"], "experiment must be one of"),
        (["run", "propagation", "-p", "n_node=5"], "did you mean n_nodes"),
        (["run", "propagation", "-p", "n_nodes=few"], "n_nodes must be of type int"),
        (["run", "propagation", "-p", "n_nodes=1"], "n_nodes must be from 2"),
        (["run", "propagation", "-p", "n_nodes"], "KEY=VALUE"),
        (["run", "propagation", "--preset", "huge"], "preset must be one of fast, full"),
        (["run", "propagation", "-p", "graph_file=missing.txt"], "missing.txt"),
        (["table", "-p", "block_intervall_s=60"], "did you mean block_interval_s"),
        (["run", "propagation", "-p", "preset=full"], "here it is --preset full"),
        (["run", "propagation", "--jobs", "0"], "--jobs must be a whole number, at least 1"),
        (["sweep", "sweep.yaml", "--jobs", "some"], "--jobs must be a whole number, at least 1"),
        (["run", "propagation", "--out", "."], "a folder that may be replaced"),
        (["where", "zeppelin"], "word must be one that MECHANISMS.md contains"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*arguments, capsys=capsys)
    assert code == 2
    errors = [line for line in err.splitlines() if line.startswith("consensus-lab:")]
    assert len(errors) == 1 and words in errors[0], err
    assert "Traceback" not in err and out == ""
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_place_that_cannot_be_written_is_refused_before_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x")
    arguments = ("run", "propagation", *SMALL, "--out", str(tmp_path / "file" / "deep"))
    code, _, err = run(*arguments, capsys=capsys)
    assert code == 2 and "out must be" in err
    assert "networks" not in err, "the run was begun all the same"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    code, _, err = run("run", "propagation", "--out", str(tmp_path / "mine"), capsys=capsys)
    assert code == 2 and "an earlier result" in err
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep"


@pytest.mark.slow
def test_a_result_goes_where_a_link_leads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """To a larger disk, say; the link stays one, however often the result is replaced."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    for _ in range(2):
        assert run("run", "agreement", "--out", str(tmp_path / "link"), capsys=capsys)[0] == 0
        assert sorted(path.name for path in tmp_path.iterdir()) == ["disk", "link"]
        assert (tmp_path / "link").is_symlink() and (tmp_path / "disk" / "manifest.json").is_file()


def test_the_help_shows_calls_that_work(capsys: pytest.CaptureFixture[str]) -> None:
    """Every call that an example shows is one that the parser knows, of names that exist."""
    calls = [line.split("consensus-lab ")[1] for text in EXAMPLES.values()
             for line in text.splitlines() if line.startswith("  consensus-lab ")]  # fmt: skip
    assert len(calls) > 8
    for call in calls:
        words = shlex.split(call)
        chosen = cli._parser().parse_args(words)
        if words[0] == "run":
            load(chosen.name).Parameters.from_texts(cli._texts(chosen.parameters))
    assert len(read(yaml.safe_load(SWEEP_FILE))) == 2 * 2 * 3 * 2
    for command in EXAMPLES:
        with pytest.raises(SystemExit):
            cli.main([command, "--help"])
        assert EXAMPLES[command].strip() in capsys.readouterr().out


def test_a_corrupt_data_file_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "data"
    subprocess.run(["cp", "-r", str(data.folder()), str(copy)], check=True)
    with (copy / "network" / "geography_regions.csv").open("a") as file:
        file.write("nowhere,NOWHERE,1,1,1\n")
    program = "from consensus_lab.cli import main; raise SystemExit(main())"
    done = subprocess.run(
        [sys.executable, "-c", program, "run", "propagation", *SMALL],
        env={**os.environ, "CONSENSUS_LAB_DATA": str(copy)}, cwd=tmp_path,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "geography_regions.csv is corrupt" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "results" / "propagation").exists()


@pytest.mark.slow
def test_ctrl_c_leaves_nothing_half_written(tmp_path: Path) -> None:
    program = "from consensus_lab.cli import main; raise SystemExit(main())"
    arguments = ["run", "propagation", "--preset", "full"]
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (tmp_path / "results").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == cli.EXIT_INTERRUPTED, err
    assert "interrupted" in err and "Traceback" not in err
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


NOTEBOOK = "00_comparison_table.ipynb"
EXECUTE = publish.execute


def quick_table(parameters: comparison.Parameters, progress: object = None) -> Result:
    """One row instead of all, of which one cell depends on a parameter."""
    minutes = parameters.block_interval_s * 6 / 60
    cells = [Cell("1", SIMULATED, WITHIN, text="one", notebook=f"notebooks/{NOTEBOOK}")] * 2
    ours = (minutes, minutes - 1, minutes + 1, "min")
    cells.append(Cell("60 minutes", SIMULATED, WITHIN, *ours, published_value=60.0,
                      is_kept=minutes == 60, tolerance="a tenth"))  # fmt: skip
    table = Table("t", comparison.SYSTEMS, (Row("finality", "Finality", tuple(cells)),))
    return comparison._result(parameters, table)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, object]]:
    """A quick table in a new folder; the parameters of the notebooks that were executed."""
    executed: list[dict[str, object]] = []

    def execute(source: Path, target: Path, parameters: dict, *, table: Path) -> None:
        assert (table / "table.csv").exists() and target.exists()
        executed.append(parameters)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(comparison, "run", quick_table)
    monkeypatch.setattr(publish, "execute", execute)
    return executed


def test_the_table_comes_with_its_notebooks(table, capsys) -> None:
    """A test of the README executes the real one."""
    code, out, _ = run("table", "--quiet", capsys=capsys)
    assert code == 0 and "60 min (59–61)" in out and "cells moved" not in out
    assert table == [comparison.Parameters.of().as_dict()]
    assert Path("results/table/notebooks", NOTEBOOK).exists()
    assert not Path("results/table/changes.csv").exists()
    code, _, _ = run("table", "--quiet", "--no-notebook", capsys=capsys)
    assert code == 0 and len(table) == 1


def test_a_table_outlives_its_notebook(table, monkeypatch, capsys) -> None:
    def fails(*arguments: object, **named: object) -> None:
        raise RuntimeError("kernel died\nfor a reason")

    monkeypatch.setattr(publish, "execute", EXECUTE)
    monkeypatch.setattr(notebooks, "execute", fails)
    code, _, err = run("table", "--quiet", capsys=capsys)
    assert code == cli.EXIT_DIFFERS
    assert f"the table is saved, but {NOTEBOOK} did not run to its end: for a reason" in err
    monkeypatch.setattr(publish, "execute", interrupted := mock.Mock(side_effect=KeyboardInterrupt))
    code, _, err = run("table", "--quiet", capsys=capsys)
    assert code == cli.EXIT_INTERRUPTED and interrupted.called
    assert "interrupted; the table is saved in results/table" in err
    assert Path("results/table/table.csv").exists()


def test_check_names_the_cells_that_left_their_tolerance(table, capsys) -> None:
    code, out, err = run("table", "--quiet", "--check", capsys=capsys)
    assert code == 0 and "check: 3 of 3 cells" in out and err == ""
    hasty = ("table", "--quiet", "--check", "-p", "block_interval_s=60", "--out", "results/hasty")
    code, out, err = run(*hasty, capsys=capsys)
    assert code == 1 and "check: 2 of 3 cells" in out
    assert "outside its tolerance: Finality, Nakamoto (Bitcoin): 6 min" in err
    assert "1 of 3 cells moved" in out and "60 min (59–61 min) -> 6 min (5–7 min)" in out
    assert "Finality,Nakamoto (Bitcoin)" in Path("results/hasty/changes.csv").read_text()


def test_where_finds_code_test_and_notebook(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run("where", "merkle", capsys=capsys)
    assert code == 0
    assert "consensus_lab.nakamoto.merkle" in out and "test" in out


def test_notebooks_are_copied_and_never_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mine"
    assert run("notebooks", str(folder), capsys=capsys)[0] == 0
    copied = sorted(folder.iterdir())
    assert copied and all(path.suffix == ".ipynb" for path in copied)
    copied[0].write_text("mine")
    code, _, err = run("notebooks", str(folder), capsys=capsys)
    assert code == 2 and "may hold work of yours" in err and len(err.splitlines()) == 1
    assert copied[0].read_text() == "mine"
