"""Finds and verifies the files in `data/`: a missing or changed file is an error, not a surprise.

Each folder with data has a `SHA256SUMS` file (the format of the program `sha256sum`).  A file is
checked against it once per process, when first asked for.  The folder is the repository's `data`,
the copy inside an installed package, or what the environment variable `CONSENSUS_LAB_DATA` names.
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from consensus_lab.node import ParameterError

ENVIRONMENT_VARIABLE = "CONSENSUS_LAB_DATA"
SUMS_NAME = "SHA256SUMS"
_PACKAGE = Path(__file__).resolve().parent
_records: list[dict[str, str]] = []


class DataError(ParameterError):
    """A file of `data/` is missing, unreadable or not the one that was published.

    Parameters
    ----------
    name : str
        The file, relative to the data folder.
    problem : str
        What is wrong, as the rest of a sentence after the name.
    """

    def __init__(self, name: str, problem: str) -> None:
        super().__init__("data file", name, "present and unchanged")
        self.problem = problem
        self.args = (f"data file {name} {problem}",)

    def __reduce__(self) -> tuple[Any, ...]:
        return DataError, (str(self.value), self.problem)


def folder() -> Path:
    """The folder that holds the data files.

    Raises
    ------
    DataError
        When there is none.
    """
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    places = [Path(named)] if named else [_PACKAGE.parent / "data", _PACKAGE / "_data"]
    for place in places:
        if place.is_dir():
            return place
    tried = " and ".join(str(place) for place in places)
    raise DataError("data", f"was not found: no folder at {tried}; set {ENVIRONMENT_VARIABLE}")


def path(name: str) -> Path:
    """The verified path of a data file.

    Parameters
    ----------
    name : str
        Relative to the data folder, with forward slashes: `"network/geography_regions.csv"`.

    Raises
    ------
    DataError
        When the file is missing, unreadable, not listed, or differs from its checksum.

    Examples
    --------
    >>> path("network/geography_regions.csv").name
    'geography_regions.csv'
    """
    place = folder() / name
    _verify(name, place)
    for record in _records:
        record[name] = _digest(name, place)
    return place


@contextmanager
def recorded() -> Iterator[dict[str, str]]:
    """Note the name and SHA-256 of every data file that is asked for inside the block."""
    record: dict[str, str] = {}
    _records.append(record)
    try:
        yield record
    finally:
        # By identity: two records of the same files are equal.
        _records[:] = [kept for kept in _records if kept is not record]


def note(inputs: Mapping[str, str]) -> None:
    """Add what another process noted for this one to the records that are open."""
    for record in _records:
        record.update(inputs)


def rows(name: str) -> list[dict[str, str]]:
    """The rows of a verified CSV file, as dictionaries of text."""
    with path(name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def checksum(name: str) -> str:
    """The SHA-256 of a verified data file, for a run's manifest."""
    return _digest(name, path(name))


def write_sums(place: Path) -> Path:
    """Write the checksum file of a data folder (not of its subfolders); for maintainers."""
    names = sorted(p.name for p in place.iterdir() if p.is_file() and p.name != SUMS_NAME)
    lines = [f"{_digest(name, place / name)}  {name}\n" for name in names]
    target = place / SUMS_NAME
    target.write_text("".join(lines), encoding="utf-8")
    return target


@cache
def _verify(name: str, place: Path) -> None:
    """Raise unless the file has the listed checksum; remembered for the process."""
    sums = _sums(name, place.parent / SUMS_NAME)
    if place.name not in sums:
        raise DataError(name, f"is not listed in {place.parent / SUMS_NAME}")
    if _digest(name, place) != sums[place.name]:
        raise DataError(name, f"is corrupt: its SHA-256 differs from {place.parent / SUMS_NAME}")


def _sums(name: str, place: Path) -> dict[str, str]:
    try:
        lines = place.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(name, f"can not be checked: {place} {error.strerror}") from error
    pairs = (line.split(maxsplit=1) for line in lines if line.strip())
    return {pair[1].lstrip("*"): pair[0] for pair in pairs if len(pair) == 2}


def _digest(name: str, place: Path) -> str:
    try:
        return hashlib.sha256(place.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(name, f"can not be read: {error.strerror}") from error
