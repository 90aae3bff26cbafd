"""Three Multi-Paxos replicas, the very class, explored in every interleaving of small worlds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from consensus_lab.client import Request
from consensus_lab.node import NodeId
from consensus_lab.paxos.multi import MultiPaxosNode
from consensus_lab.sim.explore import explore
from consensus_lab.sim.local_steps import NoChance
from consensus_lab.sim.models import Put
from consensus_lab.sim.world import View, World, agreement
from tests.paxos import multi_bugs as bugs
from tests.paxos.multi_cluster import Cells, parameters

REPLICAS = (1, 2, 3)
A, B = (Request(name, Put("k", name)) for name in "ab")

# An election timer may go off at any moment, and is the only one that does: heartbeats add states
# and no behaviour that matters for what is chosen.  No probing: it rests on time.
SETTINGS = parameters(REPLICAS, pre_vote=False, check_quorum=False)


def one_leader_per_ballot(view: View) -> str | None:
    """No two replicas lead with the same ballot."""
    ballots = [n.leadership.ballot for n in view.nodes.values() if n.role == "leader"]
    return None if len(ballots) == len(set(ballots)) else f"two leaders with one of {ballots}"


def chosen_is_on_disks(view: View) -> str | None:
    """What somebody takes for chosen, a majority has on disk, or has had (Paxos: P2)."""
    for node in view.nodes.values():
        for slot in range(1, node.log.chosen_index + 1):
            value = node.log.entries[slot].value
            held = [d for d in view.disks.values() if ("slot", slot) in d]
            if sum(disk["slot", slot].value == value for disk in held) < 2:
                return f"slot {slot} is taken for chosen, one disk has it"
    return None


def world(
    submissions: list[tuple[NodeId, Any]],
    *,
    node_class: type[MultiPaxosNode] = MultiPaxosNode,
    **settings: Any,
) -> World:
    """Three replicas with so many elections."""

    def make(node_id: NodeId, disk: Any) -> MultiPaxosNode:
        return node_class(
            node_id, disk, parameters=SETTINGS, machine=Cells(), source=NoChance()
        )

    settings.setdefault("may_expire", lambda node_id, name: name == "election" and node_id < 3)
    settings.setdefault("invariants", (agreement, one_leader_per_ballot, chosen_is_on_disks))
    settings.setdefault("own_messages_at_once", True)
    return World(make, REPLICAS, submissions=submissions, **settings)


@pytest.mark.slow
def test_one_election_and_one_command() -> None:
    """Every order of messages, and whoever stands: no disagreement."""
    result = explore(world([(1, A)], timers_max=1))
    assert result.is_complete, result.verdict
    assert result.states > 500


@pytest.mark.full
def test_two_elections_and_two_commands() -> None:
    """Two candidates overtake each other at every moment."""
    result = explore(world([(1, A), (2, B)], timers_max=2), states_max=300_000)
    assert result.violation is None, result.verdict


@pytest.mark.slow
def test_an_election_with_a_crash() -> None:
    """Any replica stops and starts again at any moment, also between two writes."""
    result = explore(world([(1, A)], timers_max=1, crashes_max=1))
    assert result.is_complete, result.verdict
    assert result.states > 5000


@pytest.mark.slow
@pytest.mark.parametrize(
    "bug", [bugs.phase_1_value_not_adopted, bugs.quorum_minus_one], ids=lambda bug: bug.__name__
)
def test_the_explorer_finds_a_planted_bug(
    bug: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes back with a shortest way there."""
    bug(monkeypatch)
    result = explore(world([(1, A), (2, B)], timers_max=2), states_max=150_000)
    assert result.violation is not None, result.verdict
    assert result.violation.records
