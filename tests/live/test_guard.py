"""A guard cleans up for a dead caller, and touches nothing else."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from consensus_lab.live.guard import Guard, belongs

SLEEP = "import time; time.sleep(60)"


@pytest.fixture
def sleeper():
    """Starts processes whose command lines end with a word; ends them all."""
    started: list[subprocess.Popen[bytes]] = []

    def start(word: str) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen([sys.executable, "-c", SLEEP, word]))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_process_belongs_by_its_command_line(sleeper, tmp_path: Path) -> None:
    process = sleeper(str(tmp_path))
    deadline = time.monotonic() + 10  # Between fork and exec it has the caller's command line.
    while not belongs(process.pid, str(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert belongs(process.pid, str(tmp_path))
    assert not belongs(process.pid, str(tmp_path / "other"))
    process.kill()
    process.wait()
    assert not belongs(process.pid, str(tmp_path))


@pytest.mark.slow
def test_the_end_of_the_pipe_ends_only_what_belongs(sleeper, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    mine, stranger = sleeper(str(folder)), sleeper("somebody else's")
    guard = Guard(folder)
    for process in (mine, stranger):
        guard.watch(process.pid)
    guard._process.stdin.close()  # As if this process had died.
    assert guard._process.wait(timeout=20) == 0
    assert mine.wait(timeout=20) != 0
    assert not folder.exists() and stranger.poll() is None


@pytest.mark.slow
def test_after_goodbye_everything_stays(sleeper, tmp_path: Path) -> None:
    mine = sleeper(str(tmp_path))
    guard = Guard(tmp_path)
    guard.watch(mine.pid)
    guard.leave()
    assert guard._process.poll() == 0
    assert mine.poll() is None and tmp_path.exists()
