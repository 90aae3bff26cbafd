"""Message delays and message counts of the Paxos family, as published, measured in the engine."""

from __future__ import annotations

import csv
import os
from itertools import combinations
from pathlib import Path

import pytest

from consensus_lab.node import ParameterError
from consensus_lab.paxos.group import Group
from consensus_lab.paxos.messages import Propose
from consensus_lab.paxos.quorum import Quorums, majority
from tests.paxos.processes import MILLISECOND_NS, SECOND_NS, apart, cluster

DELAY_NS = MILLISECOND_NS


def fact(name: str) -> dict[str, str]:
    """One row of the published facts."""
    reference = os.environ.get("CONSENSUS_LAB_REFERENCE")
    path = Path(reference or "nowhere") / "raft" / "paxos_reference.csv"
    if not path.is_file():
        pytest.skip("set CONSENSUS_LAB_REFERENCE to the folder with raft/paxos_reference.csv")
    with path.open(encoding="utf-8") as lines:
        return next(row for row in csv.DictReader(lines) if row["id"] == name)


def agreed(count: int):
    """An engine in which the first of so many peers has got its value chosen everywhere."""
    engine = cluster(Group.of_peers(range(1, count + 1)))
    engine.submit(1, Propose("x"))
    engine.run(until_ns=SECOND_NS)
    return engine


@pytest.mark.parametrize("count", [2, 3, 4, 5, 7])
def test_a_cold_proposer_knows_after_four_delays_and_the_others_after_five(count):
    published = fact("singledecree_cold")
    assert published["unit"] == "message delays at the proposer"
    applied = {r.node: r.time_ns // DELAY_NS for r in agreed(count).trace if r.event == "apply"}
    assert applied[1] == int(published["value"])
    assert {applied[node] for node in range(2, count + 1)} == {int(published["value"]) + 1}


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7])
def test_agreement_takes_four_messages_per_other_acceptor(count):
    assert fact("messages_singledecree")["value"] == "4(n-1)"
    engine = agreed(count)
    between = [r for r in engine.trace if r.event == "send" and r.peer != r.node]
    kinds = [record.kind for record in between if record.kind != "Learn"]
    assert len(kinds) == 4 * (count - 1)
    for kind in ("Prepare", "Promise", "Accept", "Accepted"):
        assert kinds.count(kind) == count - 1


def test_a_proposer_far_from_all_acceptors_needs_four_delays_too():
    """Roles in processes of their own: prepare, promise, accept, accepted."""
    engine = cluster(apart())
    engine.submit(1, Propose("x"))
    engine.run(until_ns=SECOND_NS)
    known = {r.node: r.time_ns // DELAY_NS for r in engine.trace if r.kind == "chosen"}
    assert known[1] == int(fact("singledecree_cold")["value"])


@pytest.mark.parametrize("count", range(1, 10))
def test_a_majority_tolerates_the_published_number_of_failures(count):
    published = fact("quorum")
    assert published["value"] == "floor(n/2)+1" and "floor((n-1)/2)" in published["statement"]
    assert majority(count) == count // 2 + 1
    assert Quorums(range(count)).failures_tolerated == (count - 1) // 2


def test_flexible_quorums_are_those_whose_sizes_exceed_the_number_of_acceptors():
    assert fact("flexible_quorums")["value"] == "|Q1|+|Q2|>n"
    for count in range(1, 8):
        for phase1, phase2 in [*combinations(range(1, count + 1), 2)]:
            for one, two in ((phase1, phase2), (phase2, phase1)):
                if one + two > count:
                    assert Quorums(range(count), phase1=one, phase2=two)
                else:
                    with pytest.raises(ParameterError, match="phase2"):
                        Quorums(range(count), phase1=one, phase2=two)
