"""Data files are found and verified; a missing or corrupt one is one clear line."""

import pickle

import pytest

from consensus_lab import data
from consensus_lab.node import ParameterError


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A data folder with one good file."""
    monkeypatch.setenv(data.ENVIRONMENT_VARIABLE, str(tmp_path))
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "a.csv").write_text("x,y\n1,2\n")
    data.write_sums(tmp_path / "part")
    return tmp_path


def test_a_good_file_is_read(place):
    """Rows come back as text."""
    assert data.rows("part/a.csv") == [{"x": "1", "y": "2"}]
    assert len(data.checksum("part/a.csv")) == 64


def test_a_changed_file_is_refused(place):
    """One flipped digit is enough."""
    (place / "part" / "a.csv").write_text("x,y\n1,3\n")
    with pytest.raises(data.DataError, match=r"part/a.csv is corrupt"):
        data.path("part/a.csv")


def test_an_unlisted_file_is_refused(place):
    """A file that nobody vouches for."""
    (place / "part" / "b.csv").write_text("x\n")
    with pytest.raises(data.DataError, match="not listed"):
        data.path("part/b.csv")


def test_a_missing_file_is_refused(place):
    """Its name is in the message; the CLI catches it as a user's mistake."""
    (place / "part" / "a.csv").unlink()
    with pytest.raises(ParameterError, match=r"part/a.csv can not be read"):
        data.path("part/a.csv")


def test_a_folder_without_checksums_is_refused(place):
    """Nothing to check against."""
    (place / "part" / data.SUMS_NAME).unlink()
    with pytest.raises(data.DataError, match="can not be checked"):
        data.path("part/a.csv")


def test_a_missing_folder_is_named(monkeypatch, tmp_path):
    """The environment variable's folder does not exist."""
    monkeypatch.setenv(data.ENVIRONMENT_VARIABLE, str(tmp_path / "none"))
    with pytest.raises(data.DataError, match="none"):
        data.folder()


def test_the_error_survives_pickling():
    """Worker processes hand it back whole."""
    error = pickle.loads(pickle.dumps(data.DataError("a.csv", "is corrupt")))
    assert str(error) == "data file a.csv is corrupt"


def test_every_listed_file_of_the_project_is_intact():
    """The repository's own data agrees with its checksums."""
    root = data.folder()
    for sums in sorted(root.rglob(data.SUMS_NAME)):
        for line in sums.read_text().splitlines():
            name = (sums.parent / line.split(maxsplit=1)[1]).relative_to(root)
            assert data.path(name.as_posix()).is_file()
