"""Compiled loops are kept in files and loaded without Numba; a wrong file costs time only."""

import ctypes
import math
import os
import subprocess
import sys
import threading

import numpy
import pytest

from consensus_lab.gossip import compiled, machine_code
from consensus_lab.gossip.compiled import Loop
from consensus_lab.gossip.machine_code import Code, read, write
from consensus_lab.gossip.wheel import new_wheel

KEY = "k" * 64
CODE = Code("loop", bytes(range(256)) * 40)
_absolute = ctypes.CDLL(None).abs
_absolute.argtypes, _absolute.restype = [ctypes.c_int], ctypes.c_int


@compiled.inlined
def twice(number):
    """A step."""
    return 2 * number


def count_up(numbers, until):
    """A loop: fill an array, return how many."""
    for i in range(until):
        numbers[i] = twice(i)
    return until


def calls_a_library(until):
    """Compiles to a call of a function that is not among those that LLVM takes itself."""
    return int(math.lgamma(until) * 1000)


def calls_an_address(until):
    """Compiles to a call of an address that is right in this process only."""
    return 10 + _absolute(-until)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Files go to a folder of the test's own."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def compilations(monkeypatch):
    """The functions that Numba was asked to compile."""
    names, original = [], machine_code.compile_loop

    def noted(function, *rest):
        names.append(function.__name__)
        return original(function, *rest)

    monkeypatch.setattr(machine_code, "compile_loop", noted)
    return names


def counted():
    """A fresh loop, as in a fresh process, has filled an array with even numbers."""
    numbers = numpy.zeros(5, numpy.int64)
    assert Loop(count_up, [])(numbers, 5) == 5
    return numbers.tolist() == [0, 2, 4, 6, 8]


@pytest.mark.slow
def test_what_is_wrong_with_a_file_compiles_anew_and_right(folder, compilations, monkeypatch):
    """A damaged, cut, empty or misplaced file, another processor, changed sources: never wrong."""
    assert counted() and counted()
    assert compilations == ["count_up"], "the second time it is loaded"
    (place,) = folder.iterdir()
    whole = place.read_bytes()
    for damaged in (b"", whole[:-1], whole[:-9] + b"?" + whole[-8:]):
        place.write_bytes(damaged)
        before = len(compilations)
        assert counted() and counted()
        assert len(compilations) == before + 1, "once: the file is whole again"
    before = len(compilations)
    monkeypatch.setattr(machine_code, "_here", lambda: "another processor")
    assert counted() and len(compilations) == before + 1
    for other in folder.iterdir():
        other.write_bytes(whole)  # Whole, but of another key.
    assert counted() and len(compilations) == before + 2
    monkeypatch.setattr(Loop, "_digest", "other sources")
    assert counted() and len(compilations) == before + 3


@pytest.mark.slow
def test_without_a_place_to_write_loops_run_all_the_same(folder, compilations):
    """The folder is a file: nothing can be kept there."""
    folder.write_text("in the way")
    assert counted() and counted()
    assert compilations == ["count_up", "count_up"]


@pytest.mark.slow
@pytest.mark.parametrize(("function", "result"), [(calls_a_library, 3178), (calls_an_address, 15)])
def test_code_that_needs_this_process_is_not_kept(folder, function, result):
    """It runs here; another process might jump anywhere."""
    assert Loop(function, [])(5) == result
    assert not folder.exists()


def test_settings_of_numba_tell_codes_apart_if_they_change_the_code(monkeypatch):
    for name in [name for name in os.environ if name.startswith("NUMBA_")]:
        monkeypatch.delenv(name)
    plain = machine_code._here()
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")
    assert machine_code._here() == plain
    monkeypatch.setenv("NUMBA_OPT", "0")
    assert machine_code._here() != plain


def test_readers_see_a_whole_file_or_none(tmp_path):
    """Four writers at once, one reader."""
    place, done = tmp_path / "some.code", threading.Event()
    seen = []

    def look():
        while not done.is_set():
            seen.append(read(place, KEY))

    reader = threading.Thread(target=look)
    reader.start()
    writers = [threading.Thread(target=lambda: [write([place], KEY, CODE) for _ in range(20)])
               for _ in range(4)]  # fmt: skip
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()
    assert read(place, KEY) == CODE and read(place, "another key") is None
    first = seen.index(CODE) if CODE in seen else len(seen)
    assert set(seen[:first]) <= {None} and set(seen[first:]) <= {CODE}
    assert [path.name for path in tmp_path.iterdir()] == ["some.code"]


def test_the_form_of_arguments_tells_codes_apart():
    """Type, dimensions, writable or not; an integer from an unsigned one; fields of a tuple."""
    fixed = numpy.zeros(3)
    fixed.flags.writeable = False
    arguments = [numpy.zeros(3), numpy.zeros((3, 3)), numpy.zeros(3, numpy.int32), fixed, 1,
                 numpy.uint64(1), new_wheel(8, 1)]  # fmt: skip
    assert len(set(map(compiled._form, arguments))) == len(arguments)
    assert compiled._form(1) == compiled._form(numpy.int64(2))
    for wrong in (True, 0.5, numpy.zeros((3, 3)).T[:2], numpy.int32(1)):
        with pytest.raises(AssertionError):
            compiled._form(wrong)


@pytest.mark.slow
def test_a_later_process_runs_without_numba(folder, tmp_path):
    """Two processes, the second of which only loads: equal results, no Numba."""
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\n"
        "from consensus_lab.gossip.pool_race import pool_race\n"
        "race = pool_race([0.5, 0.3, 0.2], 10.0, n_blocks=2000, block_interval_s=60.0)\n"
        "print(race.stale.tolist(), 'numba' in sys.modules)\n"
    )
    answers = [
        subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    first, second = (answer.stdout.split() for answer in answers)
    assert first[:-1] == second[:-1] and len(first) == 4
    assert (first[-1], second[-1]) == ("True", "False")
