"""What is built for the package index is whole: it runs in a folder that holds nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the source distribution and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "No matching distribution found for hatchling" in done.stdout + done.stderr:
        pytest.skip("the build backend hatchling cannot be installed here")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's content alone."""
    folder = tmp_path_factory.mktemp("site")
    (wheel,) = built.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def run(installed: Path, where: Path, *arguments: str) -> str:
    """What the installed command line prints, far from the checkout."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "consensus_lab.cli", *arguments],
        cwd=where, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.full
def test_the_wheel_runs_an_experiment_with_the_data_that_it_brings(
    installed: Path, tmp_path: Path
) -> None:
    small = ["-p", "n_nodes=40", "-p", "n_blocks=5", "-p", "replicates=2"]
    out = run(installed, tmp_path, "run", "propagation", *small)
    assert "published delay_s_mean: 12.6" in out
    assert "merkle_root" in run(installed, tmp_path, "where", "merkle")


@pytest.mark.full
def test_the_wheel_brings_the_notebooks_and_gives_copies(installed: Path, tmp_path: Path) -> None:
    run(installed, tmp_path, "notebooks", "mine")
    expected = {path.name for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert {path.name for path in (tmp_path / "mine").iterdir()} == expected


@pytest.mark.full
def test_the_source_distribution_holds_what_git_holds(built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    command = ["git", "-C", str(ROOT), "ls-files"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")
    missing = [name for name in listed if name and name not in names]
    assert missing == []
