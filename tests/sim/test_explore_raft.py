"""Three Raft servers, explored within small bounds: safe in every interleaving, bugs found."""

from __future__ import annotations

from typing import Any

import pytest

from consensus_lab.client import Request
from consensus_lab.kv import KeyValueStore, Put
from consensus_lab.node import Effects, NodeId, Persist
from consensus_lab.raft.config import RaftConfig
from consensus_lab.raft.node import RaftNode
from consensus_lab.raft.requests import Campaign
from consensus_lab.sim.explore import explore
from consensus_lab.sim.local_steps import NoChance
from consensus_lab.sim.world import View, World, agreement

SERVERS = (1, 2, 3)
# An election timer may go off at any moment; `Campaign` is that moment.  No pre-vote and no
# check-quorum: both rest on time, which stands still here.
CONFIG = RaftConfig(pre_vote=False, check_quorum=False)
WRITE = Request("request", Put("key", "value"))


def election_safety(view: View) -> str | None:
    """At most one leader per term (Raft §5.2)."""
    leaders: dict[int, NodeId] = {}
    for node_id, node in view.nodes.items():
        core = node.core
        if core.is_leader and leaders.setdefault(core.term, node_id) != node_id:
            return f"term {core.term} has two leaders"
    return None


def log_matching(view: View) -> str | None:
    """Logs that agree in an entry's index and term agree in all entries up to it (Raft §5.3)."""
    logs = [entries_of(node) for node in view.nodes.values()]
    for one in logs:
        for other in logs:
            common = [i for i in one if i in other and one[i].term == other[i].term]
            if common and any(one[i] != other[i] for i in range(1, max(common) + 1)):
                return f"logs differ before entry {max(common)}"
    return None


def entries_of(node: RaftNode) -> dict[int, Any]:
    """A server's log, by index."""
    log = node.core.log
    return {entry.index: entry for entry in log.slice(log.first_index, log.last_index + 1)}


def world(submissions: list, *, node_class: type[RaftNode] = RaftNode, **settings: Any) -> World:
    """Three servers; what they tell themselves comes at once, for the disk takes no time."""

    def make(node_id: NodeId, disk: Any) -> RaftNode:
        return node_class(
            node_id, disk, members=SERVERS, machine=KeyValueStore(), random_source=NoChance(),
            config=CONFIG,
        )  # fmt: skip

    settings.setdefault("invariants", (agreement, election_safety, log_matching))
    settings.setdefault("own_messages_at_once", True)
    return World(make, SERVERS, submissions=submissions, **settings)


@pytest.mark.slow
def test_one_election_and_one_command():
    model = world([(1, Campaign()), (1, WRITE)])
    result = explore(model)
    assert result.is_complete, result.verdict
    assert result.states > 10_000 and result.depth > 20


@pytest.mark.slow
def test_an_election_with_a_crash_and_a_duplicate():
    result = explore(world([(1, Campaign())], crashes_max=1, duplicates_max=1))
    assert result.is_complete, result.verdict


@pytest.mark.full
@pytest.mark.parametrize("at_once", [True, False])
def test_two_candidates(at_once):
    model = world([(1, Campaign()), (2, Campaign())], own_messages_at_once=at_once)
    result = explore(model, states_max=3_000_000)
    assert result.is_complete, result.verdict


class Forgetful(RaftNode):
    """A server that keeps its vote in memory only."""

    __slots__ = ()

    def receive(self, sender: NodeId, message: Any, now: int) -> Effects:
        effects = super().receive(sender, message, now)
        return [effect for effect in effects if not isinstance(effect, Persist)]


@pytest.mark.slow
def test_a_vote_that_is_not_on_disk_gives_two_leaders_in_one_term():
    """The voter restarts between two requests and votes again (Raft §5.2)."""
    settings = {"crashes_max": 1, "invariants": (election_safety,)}
    campaigns = [(1, Campaign()), (2, Campaign())]
    result = explore(world(campaigns, node_class=Forgetful, **settings))
    assert result.violation is not None
    assert result.violation.text == "term 1 has two leaders"
    events = [action.event for action in result.violation.path]
    # Two campaigns, a vote for each, one crash between, two votes counted.
    assert sorted(events) == [
        "crash",
        "receive",
        "receive",
        "receive",
        "receive",
        "submit",
        "submit",
    ]
