"""What an experiment returns: a tidy frame, a summary with intervals, what others measured.

A result can draw itself, show itself in a notebook and save itself with a manifest from which it
can be made again.  Saving is atomic: a folder is there whole or not at all.
"""

from __future__ import annotations

import functools
import hashlib
import json
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from consensus_lab import data
from consensus_lab.experiments.parameters import ParameterSet
from consensus_lab.node import ParameterError

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

INTERRUPTED = "Interrupted:"
"""How a note begins that says which part of a run had ended when it was stopped."""

_PACKAGE = Path(__file__).resolve().parents[1]
_DIGITS = 16

LIBRARIES = ("numpy", "pandas", "scipy", "networkx", "numba", "matplotlib")


class Measure(NamedTuple):
    """One measured quantity with its interval.

    Attributes
    ----------
    quantity : str
        Name with its unit last (`stale_fraction`, `finality_ms_p50`).
    value : float
        The estimate.
    low, high : float
        Ends of the 95 % confidence interval; equal to the value where it is exact.
    unit : str
        For people.
    replicates : int
        How many independent observations the interval rests on.
    how : str
        Simulated, computed from data, closed form.
    """

    quantity: str
    value: float
    low: float
    high: float
    unit: str
    replicates: int
    how: str = "simulated"

    @property
    def text(self) -> str:
        """The value, and the interval's ends where it is not exact, to four digits."""
        if not self.low < self.high:
            return _short(self.value)
        return f"{_short(self.value)}  ({_short(self.low)} to {_short(self.high)})"


def _short(value: float) -> str:
    return f"{value:,.0f}" if 1000.0 <= abs(value) < 1e9 else f"{value:.4g}"


class Published(NamedTuple):
    """What somebody else measured or stated for a quantity."""

    quantity: str
    value: float
    unit: str
    source: str


@dataclass
class Result:
    """Outcome of one run of an experiment.

    Attributes
    ----------
    experiment : str
        Its name.
    parameters : ParameterSet
        What it was run with.
    frame : pandas.DataFrame
        Tidy observations, units in the column names, rows in a fixed order.
    measures : list of Measure
        The summary.
    references : list of Published
        Others' values for the same quantities.
    draw : callable (result) -> Figure
        Makes the figure.
    wall_s : float
        Time that the run took; set by `experiments.run`.
    inputs : dict
        Checksums of the data files that were read.
    notes : list of str
        What a reader has to know, in sentences.
    """

    experiment: str
    parameters: ParameterSet
    frame: pandas.DataFrame
    measures: list[Measure]
    references: list[Published] = field(default_factory=list)
    draw: Callable[[Result], Figure] | None = None
    wall_s: float = 0.0
    inputs: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def summary(self) -> pandas.DataFrame:
        """The measures as a frame, one row each."""
        import pandas

        return pandas.DataFrame(self.measures, columns=list(Measure._fields))

    @property
    def published(self) -> pandas.DataFrame:
        """Others' values as a frame, one row each."""
        import pandas

        return pandas.DataFrame(self.references, columns=list(Published._fields))

    @property
    def beside(self) -> pandas.DataFrame:
        """Each published value beside our measure of the same quantity, and their ratio."""
        import pandas

        ours = {measure.quantity: measure for measure in self.measures}
        rows = [
            {
                "quantity": known.quantity, "unit": known.unit, "measured": mine.value,
                "low": mine.low, "high": mine.high, "published": known.value,
                "ratio": mine.value / known.value if known.value else float("nan"),
                "source": known.source,
            }
            for known in self.references
            if (mine := ours.get(known.quantity)) is not None
        ]  # fmt: skip
        return pandas.DataFrame(rows)

    @property
    def beside_full(self) -> pandas.DataFrame:
        """Our measures beside those of the stored full preset, to read; no rows without one."""
        import pandas

        from consensus_lab.experiments.full_results import stored_measures

        ours = {measure.quantity: measure for measure in self.measures}
        rows = [
            (full.quantity, full.unit, mine.text, full.text, full.replicates)
            for full in stored_measures(self.experiment)
            if (mine := ours.get(full.quantity)) is not None
        ]
        columns = ("quantity", "unit", "here", "full preset", "its replicates")
        return pandas.DataFrame(rows, columns=columns)

    @property
    def parameters_beside_full(self) -> pandas.DataFrame:
        """Parameters in which the stored full run differs from this one, and both values."""
        import pandas

        from consensus_lab.experiments.full_results import stored_parameters

        here, full = self.parameters.as_dict(), stored_parameters(self.experiment)
        rows = [
            (row["name"], row["unit"], here[row["name"]], full[row["name"]])
            for row in self.parameters.describe()
            if row["name"] in full and here[row["name"]] != full[row["name"]]
        ]
        return pandas.DataFrame(rows, columns=("parameter", "unit", "here", "full"))

    @property
    def interruption(self) -> str:
        """What had ended when the run was interrupted; empty for a whole run."""
        return next((note for note in self.notes if note.startswith(INTERRUPTED)), "")

    def measure(self, quantity: str) -> Measure:
        """The measure of that name; `KeyError` names those that exist."""
        for measure in self.measures:
            if measure.quantity == quantity:
                return measure
        raise KeyError(f"{quantity}; there are {[m.quantity for m in self.measures]}")

    def figure(self) -> Figure:
        """The experiment's figure, drawn anew."""
        assert self.draw is not None, f"{self.experiment} has no figure"
        return self.draw(self)

    def manifest(self) -> dict[str, Any]:
        """Everything needed to make this result again, and to tell what differs if it does."""
        return {
            "experiment": self.experiment,
            "parameters": self.parameters.as_dict(),
            "seed": self.parameters.seed,
            "versions": {
                "consensus-lab": metadata.version("consensus-lab"),
                "python": platform.python_version(),
                **{name: metadata.version(name) for name in LIBRARIES},
            },
            "commit": code_commit(),
            "code": code_version(),
            "inputs": dict(sorted(self.inputs.items())),
            "wall_s": round(self.wall_s, 3),
            **({"interrupted": self.interruption} if self.interruption else {}),
        }

    def save(self, folder: str | Path) -> Path:
        """Write frame (Parquet and CSV), summary, published values, figure and manifest.

        Parameters
        ----------
        folder : path
            Made by this call; a folder of an earlier result is replaced as a whole.

        Raises
        ------
        ParameterError
            When the folder cannot be written, or holds something that is not a result.
        """
        with new_folder(folder) as temporary:
            self.frame.to_parquet(temporary / "frame.parquet", index=False)
            self.frame.to_csv(temporary / "frame.csv", index=False, lineterminator="\n")
            self.summary.to_csv(temporary / "summary.csv", index=False, lineterminator="\n")
            self.published.to_csv(temporary / "published.csv", index=False, lineterminator="\n")
            if self.draw is not None:
                from consensus_lab.report.style import save_figure

                save_figure(self.figure(), temporary / "figure")
            files = {path.name: checksum(path) for path in sorted(temporary.iterdir())}
            text = json.dumps({**self.manifest(), "files": files}, indent=2, default=str)
            (temporary / "manifest.json").write_text(text + "\n", encoding="utf-8")
        return Path(folder)

    def _repr_html_(self) -> str:
        parts = [f"<h4>{self.experiment}</h4>", self.summary.to_html(index=False, border=0)]
        if self.references:
            parts += ["<p>Published:</p>", self.published.to_html(index=False, border=0)]
        parts += [f"<p>{note}</p>" for note in self.notes]
        return "\n".join(parts)


@contextmanager
def new_folder(folder: str | Path, *, mark: str = "manifest.json") -> Iterator[Path]:
    """Fill a temporary folder beside the wanted one; on success it takes the wanted name.

    Parameters
    ----------
    folder : path
        The wanted folder; an old one is replaced only if it holds the file `mark`.

    Raises
    ------
    ParameterError
        When the place cannot be written or holds something else.
    """
    folder = replaceable(folder, mark=mark)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        temporary.chmod(0o755)
        yield temporary
        old = temporary.with_name(temporary.name + ".old")
        if folder.exists():
            folder.rename(old)
        temporary.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise _unwritable(folder, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def replaceable(folder: str | Path, *, mark: str = "manifest.json") -> Path:
    """The folder that a link leads to, if another one can take its name; see `new_folder`."""
    given, folder = str(folder), Path(folder)
    try:
        folder = folder.resolve()
        is_free = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
        is_result = not is_free and (folder / mark).exists()
        is_fixed = folder.is_mount() or Path.cwd().is_relative_to(folder)
    except (OSError, RuntimeError) as error:  # A loop of links is the latter until Python 3.13.
        raise _unwritable(folder, error) from error
    if not is_free and not is_result:
        raise ParameterError("out", given, "a new folder, or one of an earlier result")
    if is_fixed:
        allowed = "a folder that may be replaced; one inside it, and not where you are, would do"
        raise ParameterError("out", given, allowed)
    return folder


def _unwritable(folder: Path, error: OSError | RuntimeError) -> ParameterError:
    why = getattr(error, "strerror", None) or error
    return ParameterError("out", str(folder), f"in a folder that can be written ({why})")


def checksum(path: str | Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def code_commit() -> str:
    """The commit that the code was checked out from, or "unknown" outside a checkout."""
    here = Path(__file__).parent
    try:
        command = ["git", "-C", str(here), "rev-parse", "HEAD"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()


@functools.cache
def code_version() -> str:
    """The package's version and a digest of its source and data files."""
    whole = hashlib.sha256()
    for root, pattern in ((_PACKAGE, "*.py"), (data.folder(), "*")):
        for path in sorted(path for path in root.rglob(pattern) if path.is_file()):
            whole.update(f"{path.relative_to(root).as_posix()} {checksum(path)}\n".encode())
    return f"{metadata.version('consensus-lab')}+{whole.hexdigest()[:_DIGITS]}"
