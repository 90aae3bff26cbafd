"""The house keeps its shape: imports, purity, sizes, one environment in three files."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from consensus_lab.mechanisms import mechanisms

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "consensus_lab"
SOURCES = sorted(PACKAGE.rglob("*.py"))

PURE = (
    "paxos", "raft", "nakamoto", "adversaries", "kv.py", "kv_requests.py", "client.py", "node.py",
    "constants.py", "primary_backup.py",
)  # fmt: skip
PURE_OWN = (
    "node", "constants", "client", "kv", "kv_requests", "paxos", "raft", "nakamoto", "adversaries",
)  # fmt: skip
FORBIDDEN = {"time", "random", "os", "socket", "asyncio", "threading", "logging", "sqlite3"}
# Who else may know a library.  A library that is not listed is everyone's.
OWNERS = {
    "matplotlib": ("report",),
    "pandas": ("experiments", "report", "batch", "provenance.py"),
    "coincurve": ("nakamoto/keys.py",),
    "pbk": ("live",),
    "grpc": ("live",),
    "papermill": ("batch",),
    "distributed": ("batch",),
    "ipywidgets": ("explorers",),
}
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70


def imports(path: Path) -> set[str]:
    """Dotted names that a file imports, wherever in it; type-checking imports included."""
    found: set[str] = set()
    for item in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(item, ast.Import):
            found |= {name.name for name in item.names}
        elif isinstance(item, ast.ImportFrom):
            assert item.level == 0, f"{path}: relative import"
            found |= {item.module or ""} | {f"{item.module}.{name.name}" for name in item.names}
    return found


def is_under(path: Path, places: tuple[str, ...]) -> bool:
    """True for a file of one of these places inside the package."""
    inside = path.relative_to(PACKAGE).as_posix()
    return any(inside == place or inside.startswith(place + "/") for place in places)


def test_imports_point_one_way() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", [p for p in SOURCES if is_under(p, PURE)], ids=str)
def test_pure_rooms_import_only_the_standard_library_and_each_other(path: Path) -> None:
    for name in sorted(imports(path)):
        top, _, rest = name.partition(".")
        if top == "consensus_lab":
            assert not rest or rest.split(".")[0] in PURE_OWN, f"{path.name} imports {name}"
        elif path.relative_to(PACKAGE).as_posix() == "nakamoto/keys.py" and top == "coincurve":
            continue
        else:
            assert top in sys.stdlib_module_names, f"{path.name} imports {name}"
            assert top not in FORBIDDEN, f"{path.name} imports {name}"


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_a_library_stays_with_its_owner(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = set()
    for item in ast.walk(tree):
        if isinstance(item, ast.If) and ast.unparse(item.test) == "TYPE_CHECKING":
            for line in item.body:
                typing_only.add(getattr(line, "module", None) or line.names[0].name)
    for name in imports(path) - typing_only:
        owners = OWNERS.get(name.split(".")[0])
        if owners and not any(name.startswith(known) for known in typing_only):
            assert is_under(path, owners), f"{path} imports {name}"


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= FILE_LINES_MAX
    for item in ast.walk(ast.parse(text)):
        if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = (item.end_lineno or item.lineno) - item.lineno + 1
            assert lines <= FUNCTION_LINES_MAX, f"{item.name} has {lines} lines"


def test_the_engine_names_no_protocol() -> None:
    for name in ("engine", "loop", "links", "process", "faults", "trace", "streams"):
        text = (PACKAGE / "sim" / f"{name}.py").read_text(encoding="utf-8").lower()
        assert not re.search(r"raft|paxos|nakamoto|bitcoin|etcd", text), name


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("consensus_lab", "pandas matplotlib numba numpy scipy networkx"),
        ("consensus_lab.cli", "pandas matplotlib numba numpy scipy networkx papermill"),
        ("consensus_lab.sim.engine", "pandas matplotlib numba scipy networkx"),
        ("consensus_lab.explorers", "pandas matplotlib numba numpy scipy networkx ipywidgets"),
        ("consensus_lab.explorers.raft_story", "pandas matplotlib numba scipy ipywidgets"),
    ],
)
def test_imports_stay_light(module: str, heavy: str) -> None:
    program = f"import sys, {module}; print(*(n for n in {heavy.split()!r} if n in sys.modules))"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(("given", "seen"), [({}, "20"), ({"OPENBLAS_THREAD_TIMEOUT": "9"}, "9")])
def test_what_blas_is_told_is_said_before_numpy_is_loaded(given, seen) -> None:
    program = """
import os, sys
class Watch:
    def find_spec(name, path=None, target=None):
        if name == "numpy":
            print(os.environ["OPENBLAS_THREAD_TIMEOUT"])
sys.meta_path.insert(0, Watch)
import consensus_lab.gossip.simblock
"""
    usual = {k: v for k, v in os.environ.items() if k != "OPENBLAS_THREAD_TIMEOUT"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**usual, **given}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == seen


# One environment in three files.


def _requirement(text: str) -> tuple[str, str]:
    match = re.match(r"([A-Za-z0-9_.-]+)(?:\[.*\])?\s*(>=\s*[0-9.a-z]+)?$", text.strip())
    assert match, text
    return match[1].lower().replace("_", "-"), (match[2] or "").replace(" ", "")


def _project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_environment_yml_asks_for_what_pyproject_asks_for() -> None:
    wanted = dict(_requirement(text) for text in _project()["dependencies"])
    wanted["python"] = _project()["requires-python"]
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    listed = [item for item in environment["dependencies"] if isinstance(item, str)]
    given = dict(_requirement(item.replace("matplotlib-base", "matplotlib")) for item in listed)
    del given["pip"]
    assert given == wanted


def _locked() -> dict[str, list[str]]:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pinned: dict[str, list[str]] = {}
    for match in re.finditer(r"^([a-z0-9._-]+)==([^ ;\\]+)", lock, re.MULTILINE):
        pinned.setdefault(match[1], []).append(match[2])
    return pinned


def test_the_lock_pins_every_requirement_within_its_bound() -> None:
    project = _project()
    extras = project["optional-dependencies"].values()
    texts = [*project["dependencies"], *(text for extra in extras for text in extra)]
    locked = _locked()
    for text in texts:
        name, bound = _requirement(text)
        if name == "consensus-lab":
            continue
        least = [int(part) for part in re.findall(r"\d+", bound)]
        assert name in locked, name
        for version in locked[name]:
            numbers = [int(part) for part in re.findall(r"\d+", version)]
            assert numbers >= least, f"{name} {version} {bound}"


def test_every_pin_has_hashes_and_no_file_names_a_registry() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    entries = re.split(r"\n(?=[a-z0-9])", lock.strip())
    assert all("--hash=sha256:" in entry for entry in entries if "==" in entry)
    for name in ("requirements.lock", "pyproject.toml", "environment.yml", "Makefile", ".ci/run"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert not re.search(r"https?://|index-url|find-links", text), name
    assert not (ROOT / "uv.lock").exists()


# The index of mechanisms.


def test_every_symbol_of_the_mechanism_index_exists() -> None:
    found = mechanisms()
    assert len(found) >= 40
    for mechanism in found:
        for symbol in mechanism.symbols.split(","):
            module, _, name = symbol.strip().partition(":")
            target = import_module(module)
            for part in filter(None, name.split(".")):
                target = getattr(target, part)
        for test in re.findall(r"[\w/.]+\.(?:py|ipynb)", f"{mechanism.tests} {mechanism.notebook}"):
            places = [ROOT / test, ROOT / "tests" / test, ROOT / "notebooks" / test]
            assert any(place.exists() for place in places), f"{mechanism.statement}: {test}"
