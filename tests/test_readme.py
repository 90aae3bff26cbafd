"""The README's commands work as they are written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(sh|python|yaml)\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line.split("  #")[0].strip()
    for language, text in BLOCKS
    if language == "sh"
    for line in text.splitlines()
]
(SWEEP,) = [text for language, text in BLOCKS if language == "yaml"]
RUNNABLE = [line for line in COMMANDS if line.startswith(("consensus-lab", "papermill"))]


def environment() -> dict[str, str]:
    """The user's environment after activating .venv."""
    folder = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": folder + os.pathsep + os.environ["PATH"]}


@pytest.mark.slow
@pytest.mark.parametrize("command", RUNNABLE)
def test_a_command_works_as_written(command: str, tmp_path: Path) -> None:
    (tmp_path / "notebooks").symlink_to(ROOT / "notebooks")
    (tmp_path / "results").mkdir()
    (tmp_path / "sweep.yaml").write_text(SWEEP, encoding="utf-8")
    if command.startswith("consensus-lab collect"):
        assert subprocess.run(
            ["consensus-lab", "sweep", "sweep.yaml", "--out", command.split()[-1]],
            cwd=tmp_path, env=environment(), check=False,
        ).returncode == 0  # fmt: skip
    done = subprocess.run(
        command.split(), cwd=tmp_path, env=environment(), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_python_example_works_as_written(tmp_path: Path) -> None:
    (program,) = [text for language, text in BLOCKS if language == "python"]
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    assert (tmp_path / "results" / "mine" / "manifest.json").exists()


def test_every_make_target_and_file_that_it_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"\bmake ([a-z-]+)", README):
        if target not in ("sure",):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for name in re.findall(r"\]\((\S+)\)|`([\w./-]+\.(?:md|yml|cff|toml))`", README):
        assert (ROOT / (name[0] or name[1])).exists(), name
    for module in re.findall(r"python -m ([\w.]+)", README):
        place = ROOT / module.replace(".", "/")
        assert place.with_suffix(".py").exists() or (place / "__main__.py").exists(), module
