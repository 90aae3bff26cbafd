"""One decision of Paxos: delays and messages are those that counting gives."""

from __future__ import annotations

import pytest

from consensus_lab import experiments, theory
from consensus_lab.experiments import agreement
from consensus_lab.experiments.agreement import Parameters
from consensus_lab.node import ParameterError


@pytest.mark.parametrize("informing", ["proposer", "acceptors"])
@pytest.mark.parametrize(("n_processes", "crashed"), [(2, 0), (3, 1), (4, 1), (5, 0), (5, 2)])
def test_delays_and_messages_are_those_of_the_closed_forms(n_processes, crashed, informing):
    values = {"n_processes": n_processes, "crashed": crashed, "informing": informing}
    result = experiments.run("agreement", values)
    assert len(result.references) == 3
    for known in result.references:
        assert result.measure(known.quantity).value == known.value, known.quantity


@pytest.mark.parametrize("faults", [1, 2, 3])
def test_without_the_learners_it_costs_what_the_theory_says(faults):
    """4 (n-1) messages and four delays until the proposer knows (Paxos Made Simple §2.2)."""
    expected = theory.basic_paxos_messages(faults)
    result = experiments.run("agreement", {"n_processes": expected.n_nodes, "latency_ms": 3.0})
    assert (result.frame["kind"] != "Learn").sum() == expected.messages
    assert result.measure("delays_until_proposer_knows").value == expected.delays


def test_each_message_comes_in_its_phase_one_delay_after_the_other():
    frame = experiments.run("agreement").frame
    sent = frame.groupby("kind", sort=False)["sent_ms"].unique()
    assert {kind: list(times) for kind, times in sent.items()} == {
        "Prepare": [0.0], "Promise": [10.0], "Accept": [20.0], "Accepted": [30.0], "Learn": [40.0],
    }  # fmt: skip
    assert frame["what"].notna().all()
    assert (frame["arrived_ms"] - frame["sent_ms"] == 10.0).all()


def test_the_transcript_and_the_picture_tell_it():
    result = experiments.run("agreement", {"value": "bar"})
    text = agreement.transcript(result.parameters)
    assert text.count("applies  (0, 'bar')") == 3
    title = result.figure().axes[0].get_title(loc="left")
    assert "4 message delays" in title and "after 5" in title


@pytest.mark.parametrize(
    ("values", "parameter"),
    [
        ({"crashed": 2}, "crashed"),
        ({"n_processes": 4, "crashed": 2}, "crashed"),
        ({"n_processes": 1}, "n_processes"),
        ({"informing": "nobody"}, "informing"),
    ],
    ids=str,
)
def test_mistakes_are_refused_by_name(values, parameter):
    with pytest.raises(ParameterError) as refused:
        Parameters.of(values)
    assert refused.value.parameter == parameter
