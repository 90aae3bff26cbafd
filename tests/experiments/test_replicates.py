"""Replicates on many cores: the same bytes, nothing finished is lost, errors come back."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas
import pytest

from consensus_lab import data, experiments
from consensus_lab.experiments import propagation, questions, replicates
from consensus_lab.experiments.replicates import WorkerDied, by_setting, finished, jobs
from consensus_lab.node import ParameterError
from consensus_lab.provenance import reproduce

SMALL = {"n_nodes": 20, "n_blocks": 2, "replicates": 4, "degree": 4}
INPUT = "network/geography_regions.csv"


def no_progress(done, total, what):
    """Nobody looks."""


def interrupt_at(replicate):
    """A progress function that is Ctrl-C at that replicate."""

    def progress(done, total, what):
        if done == replicate and total == SMALL["replicates"]:
            raise KeyboardInterrupt

    return progress


@pytest.mark.slow
def test_an_interrupted_experiment_is_a_result_over_what_ended():
    """Two of four: the same rows as those of the whole run, and a note that says so."""
    parameters = propagation.Parameters.of(SMALL)
    cut = propagation.run(parameters, interrupt_at(2))
    whole = propagation.run(parameters)
    assert cut.frame["replicate"].unique().tolist() == [0, 1]
    first_two = whole.frame[whole.frame["replicate"] < 2].reset_index(drop=True)
    assert cut.frame.equals(first_two)
    assert cut.notes[0].startswith("Interrupted: 2 of 4")
    assert not any(note.startswith("Interrupted") for note in whole.notes)
    assert {measure.replicates for measure in cut.measures} == {2}


def test_an_interrupt_before_the_first_replicate_ended_passes_through():
    """There is nothing to keep; nor where somebody wants all or nothing."""
    with pytest.raises(KeyboardInterrupt):
        finished(abs, 4, progress=interrupt_at(0), what="networks")
    with pytest.raises(KeyboardInterrupt), replicates.whole():
        finished(abs, 4, progress=interrupt_at(2), what="networks")


def test_an_interrupt_keeps_settings_only_if_each_has_a_replicate():
    """Three settings of two: after the first round all have one; before, a picture would lack."""

    def cut_at(wanted, **more):
        def progress(done, total, what):
            if (done, total) == (wanted, 6):
                raise KeyboardInterrupt

        return by_setting([abs, float, str], 2, progress=progress, what="runs", **more)

    came, notes = cut_at(4)
    assert came == [[0, 1], [0.0], ["0"]]
    assert notes == ["Interrupted: 4 of 6 runs ended; all figures are of those."]
    with pytest.raises(KeyboardInterrupt):
        cut_at(2)
    assert cut_at(2, may_lack=True).outcomes == [[0], [0.0], []]


def test_progress_is_told_before_the_first_replicate_and_after_each():
    """As (done, total, what)."""
    seen = []
    came = finished(abs, 2, progress=lambda *told: seen.append(told), what="networks")
    assert came == ([0, 1], [])
    assert seen == [(0, 2, "networks"), (1, 2, "networks"), (2, 2, "networks")]


def test_what_is_prepared_for_a_replicate_serves_all_its_settings():
    """Functions get it instead of the number; it is made once."""
    made = []

    def prepare(replicate):
        made.append(replicate)
        return f"network {replicate}"

    came, _ = by_setting(
        [str.upper, len, str], [2, 2, 1], prepare=prepare, progress=no_progress, what="runs"
    )
    assert came == [["NETWORK 0", "NETWORK 1"], [9, 9], ["network 0"]]
    assert made == [0, 1]


# In processes.  Their functions have to be importable, as those of experiments are.


def told(setting, replicate):
    """Where it ran, what it read, and what it was given."""
    assert data.path(INPUT).is_file()
    return setting, replicate, os.getpid()


def refused(replicate):
    """The third one fails."""
    if replicate == 2:
        raise ParameterError("n_nodes", replicate, "something else")
    return replicate


def broken(replicate):
    """The third one is a bug."""
    return 1 / (2 - replicate)


def killed(place, replicate):
    """The third one kills its process: always, or with a place for a marker file once."""
    marker = Path(place) / "marker"
    if replicate == 2 and not (place and marker.exists()):
        if place:
            marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return replicate


@pytest.mark.slow
def test_outcomes_come_in_order_and_inputs_are_recorded_for_the_caller():
    """From two other processes, whatever ended first."""
    with jobs(2), data.recorded() as inputs:
        came, notes = by_setting(
            [partial(told, name) for name in "ab"], 20, progress=no_progress, what="runs"
        )
    assert [[one[:2] for one in setting] for setting in came] == [
        [(name, replicate) for replicate in range(20)] for name in "ab"
    ]
    workers = {pid for setting in came for _, _, pid in setting}
    assert os.getpid() not in workers and len(workers) <= 2
    assert inputs == {INPUT: data.checksum(INPUT)}
    assert not notes


@pytest.mark.slow
def test_an_error_comes_back_as_itself_and_names_its_replicate():
    """From a process as from this one."""
    for count in (1, 2):
        with jobs(count):
            with pytest.raises(ParameterError, match="n_nodes must be something else; got 2"):
                finished(refused, 4, progress=no_progress, what="networks")
            with pytest.raises(ZeroDivisionError) as caught:
                finished(broken, 4, progress=no_progress, what="networks")
        assert caught.value.__notes__ == ["(in replicate 2)"]


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_a_replicate_that_always_kills_is_named(tmp_path):
    """As in a sweep: three tries."""
    with jobs(2):
        once = finished(partial(killed, str(tmp_path)), 4, progress=no_progress, what="networks")
        assert once.outcomes == [0, 1, 2, 3]
        assert (tmp_path / "marker").exists()
        with pytest.raises(WorkerDied, match="replicate 2: its worker died 3 times"):
            finished(partial(killed, ""), 4, progress=no_progress, what="networks")


def deaf(replicate):
    """Ctrl-C reaches everybody in the terminal's group; that one is the parent's business."""
    os.kill(os.getpid(), signal.SIGINT)
    return replicate


def slow(replicate):
    """The first two end."""
    time.sleep(60 if replicate >= 2 else 0)
    return replicate


@pytest.mark.slow
def test_only_the_parent_is_interrupted_and_what_was_under_way_is_dropped_at_once():
    """Nobody waits for it, and no process is left."""
    with jobs(2):
        assert finished(deaf, 4, progress=no_progress, what="networks").outcomes == [0, 1, 2, 3]
        begin = time.monotonic()
        cut = finished(slow, 4, progress=interrupt_at(2), what="networks")
    assert cut.outcomes == [0, 1]
    for worker in multiprocessing.active_children():
        worker.join(30)
    assert time.monotonic() - begin < 30


@pytest.mark.slow
@pytest.mark.parametrize("place", ["script.py", "-"])
def test_a_script_needs_no_guard_and_may_come_from_standard_input(tmp_path, place):
    """Workers do not run it again."""
    script = """
import consensus_lab as lab
print("run")
with lab.jobs(2):
    print(len(lab.run("split-votes", {"n_trials": 40}).measures))
"""
    (tmp_path / "script.py").write_text(script)
    done = subprocess.run(
        [sys.executable, place],
        input=script, cwd=tmp_path, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    printed = done.stdout.split()
    assert printed[0] == "run" and int(printed[1]) > 1 and len(printed) == 2


@pytest.mark.slow
def test_a_function_of_the_script_is_found_where_it_says_that_it_is_one(tmp_path):
    (tmp_path / "script.py").write_text("""
from consensus_lab.experiments import quiet
from consensus_lab.experiments.replicates import finished, jobs

def double(number):
    return 2 * number

if __name__ == "__main__":
    with jobs(2):
        print(*finished(double, 3, progress=quiet, what="numbers").outcomes)
""")
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "0 2 4\n", "")


@pytest.mark.parametrize("count", [-1, 1.5, True, "2"])
def test_a_wrong_number_of_jobs_is_refused(count):
    """As a parameter is."""
    with pytest.raises(ParameterError, match="jobs must be a whole number"), jobs(count):
        pass


def test_a_variable_bounds_the_jobs(monkeypatch):
    """Which is how a sweep's workers, and their kernels, keep to one."""
    monkeypatch.setenv(replicates.JOBS_MAX_VARIABLE, "1")
    with jobs(2):
        came, _ = finished(partial(told, "a"), 2, progress=no_progress, what="runs")
    assert {pid for _, _, pid in came} == {os.getpid()}
    monkeypatch.setenv(replicates.JOBS_MAX_VARIABLE, "few")
    with pytest.raises(ParameterError, match="CONSENSUS_LAB_JOBS_MAX"):
        finished(abs, 2, progress=no_progress, what="runs")


# A run of its own, from the command line.

RUN = ["run", "split-votes", "-p", "n_trials=4000", "-p", "cluster_sizes=[3]", "--jobs", "2"]


@pytest.fixture
def running(tmp_path):
    """A run on two cores that has ended some replicates of every setting, and its folder."""
    mark = f"CONSENSUS_LAB_TEST={tmp_path}"
    code = "import sys; from consensus_lab.cli import main; sys.exit(main(sys.argv[1:]))"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *RUN, "--out", str(tmp_path / "out")],
        env={**os.environ, **dict([mark.split("=")])}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    line = process.stderr.readline()
    assert "/16000 elections (" in line and not line.startswith("0/"), line
    assert len(alive(mark)) >= 4  # Itself, the server that forks, and two workers.
    yield process, tmp_path / "out", mark
    process.kill()


def alive(mark):
    """Processes that began with that environment, zombies left out."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (place / "environ").read_bytes().split(b"\0"):
                found.append(int(place.name))
        except OSError:
            continue  # It has ended, or is not ours.
    return found


def wait_until_gone(mark):
    """Poll, for processes that end by themselves."""
    end = time.monotonic() + 60
    while alive(mark):
        assert time.monotonic() < end, alive(mark)
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")
def test_ctrl_c_saves_what_has_ended_and_leaves_no_worker_behind(running):
    """Exit code 130; the manifest says how much it is, and it is not reproduced as a whole."""
    process, out, mark = running
    for pid in alive(mark):
        with suppress(ProcessLookupError):  # One may have ended with its parent.
            os.kill(pid, signal.SIGINT)  # As a terminal does, to all of them.
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "interrupted; what had ended is saved" in errors and "Traceback" not in errors
    manifest = json.loads((out / "manifest.json").read_text())
    ended = int(manifest["interrupted"].split()[1])
    assert 4 <= ended < 16000
    counts = pandas.read_csv(out / "summary.csv")["replicates"]
    assert counts.sum() == 2 * ended  # Two measures of each setting.
    wait_until_gone(mark)
    with pytest.raises(ParameterError, match="a whole result"):
        reproduce(out)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")
def test_workers_end_when_their_parent_is_killed(running):
    """By a signal that it cannot handle."""
    process, _, mark = running
    process.kill()
    process.wait()
    wait_until_gone(mark)


# Experiments.

RUNS = {
    "propagation": SMALL,
    "stale-rate": {**SMALL, "block_intervals_s": [3.0], "block_sizes_bytes": [1000, 10**6]},
    "split-votes": {"n_trials": 20},
    "sybil": {"n_runs": 2, "identities_in_cluster": [0, 2], "n_slots": 1000, "lottery_runs": 2,
              "identities_in_lottery": [1], "lottery_nodes": 6, "lottery_blocks": 20},
    "double-spend": {"attacker_shares": [0.3], "confirmations": [1, 2], "n_races": 100,
                     "n_played": 3, "n_nodes": 10, "told_peers": [1]},
    "selfish-network": {**SMALL, "n_blocks": 200, "gateways": [1, 2]},
    "selfish-mining": {"alphas": [0.3, 0.4], "gammas": [0.5], "n_blocks": 1000, "replicates": 3},
    "propagation-sweep": {"n_nodes": 40, "n_blocks": 2, "replicates": 2,
                          "block_sizes_bytes": [1000, 10**6]},
    "who-loses": {**SMALL, "n_blocks": 50, "n_blocks_alone": 1000, "replicates": 2},
    "hash-power-needed": {**SMALL, "n_blocks": 50, "honest_intervals_s": [30.0, 6.0],
                          "n_blocks_worst": 1000},
    "leader-election": {"timeout_ranges_ms": ["150-300"], "n_trials": 8},
    "failover": {"n_trials": 6, "cluster_sizes": [3]},
    "gossip-front": SMALL,
    "validation-sensitivity": {"network_years": [2016, 2022], "n_nodes": 40, "n_blocks": 3,
                               "replicates": 2},
    "majority-attack": {"attacker_shares": [0.4], "limits_blocks": [30], "n_races": 100,
                        "censor_shares": [0.4], "n_played": 3},
    "finality": {**SMALL, "n_blocks": 200, "n_requests": 10, "replicates": 2},
    "risk-over-time": {"n_nodes": 20, "degree": 4, "replicates": 2, "n_blocks": 2,
                       "n_requests": 20, "n_crashes": 2, "n_attacks": 100},
    "flood": {"flood_min": 10, "flood_per_min": 4, "honest_payments": 2, "replicates": 2},
    "eclipse": {"outbound_connections": [4], "attacker_addresses": [1000], "n_victims": 3,
                "n_played": 2},
    "duelling": {"windows_ms": [0.0, 50.0], "n_duels": 20},
    "participants": {"cluster_sizes": [3], "network_sizes": [20], "n_blocks": 20},
    "replicated-logs": {"cluster_sizes": [3], "n_commands": 20, "n_trials": 10, "n_draws": 10,
                        "clients": 20, "flexible_size": 5},
    "validation": {"n_nodes": 40, "n_blocks": 10, "replicates": 2,
                   "groups": ["years", "coins", "forks"]},
}  # fmt: skip


QUICK = ("propagation", "stale-rate", "split-votes", "selfish-network")
"""One of every kind; the others take longer."""


def test_every_experiment_that_runs_replicates_is_tested():
    """Below, with one process and with two."""
    folder = Path(experiments.__file__).parent
    sources = {name: (folder / f"{name.replace('-', '_')}.py").read_text() for name in questions()}
    using = {name for name, text in sources.items() if re.search(r"(by_setting|finished)\(", text)}
    assert using == set(RUNS)


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=pytest.mark.slow if name in QUICK else pytest.mark.full)
    for name in RUNS
])  # fmt: skip
def test_one_process_and_two_leave_the_same_files(name, tmp_path):
    """To the byte, the manifest too, but for the time that it took."""
    kept = []
    for count in (1, 2):
        result = experiments.run(name, RUNS[name], jobs=count)
        folder = replace(result, draw=None).save(tmp_path / str(count))
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        manifest = json.loads(files.pop("manifest.json"))
        kept.append((files, {**manifest, "wall_s": None}))
    assert kept[0] == kept[1]
