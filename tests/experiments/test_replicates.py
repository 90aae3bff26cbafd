"""Ctrl-C keeps the replicates that have ended, and says how many."""

import pytest

from consensus_lab.experiments import propagation
from consensus_lab.experiments.replicates import finished

SMALL = {"n_nodes": 20, "n_blocks": 2, "replicates": 4, "degree": 4}


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
    """There is nothing to keep."""
    with pytest.raises(KeyboardInterrupt):
        finished(lambda replicate: replicate, 4, progress=interrupt_at(0), what="networks")


def test_progress_is_told_before_each_replicate_and_at_the_end():
    """As (done, total, what)."""
    seen = []
    outcomes = finished(
        lambda replicate: replicate, 2, progress=lambda *told: seen.append(told), what="networks"
    )
    assert outcomes == [0, 1]
    assert seen == [(0, 2, "networks"), (1, 2, "networks"), (2, 2, "networks")]
