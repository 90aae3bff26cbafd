"""Paxos processes for tests: one at a time, in an engine, or with a mailbox each."""

from __future__ import annotations

from typing import Any

from consensus_lab.node import Effects, NodeId, Persist, Send
from consensus_lab.paxos.group import Group
from consensus_lab.paxos.quorum import Quorums
from consensus_lab.paxos.single import SinglePaxos
from consensus_lab.sim.engine import Engine
from consensus_lab.sim.links import Link, Links
from consensus_lab.sim.process import Host
from consensus_lab.sim.streams import stream
from consensus_lab.sim.trace import Trace

MILLISECOND_NS = 1_000_000
SECOND_NS = 1_000_000_000

P1, P2, A, B, C, L = 1, 2, 3, 4, 5, 6


def apart(**settings: Any) -> Group:
    """Two proposers, three acceptors and one learner, each a process of its own."""
    quorums = settings.pop("quorums", Quorums((A, B, C)))
    return Group(proposers=(P1, P2), quorums=quorums, learners=(L,), **settings)


def process(node_id: NodeId, group: Group | None = None, disk: Any = None) -> SinglePaxos:
    """One process, with the seed 1."""
    source = stream(1, "node", node_id)
    return SinglePaxos(node_id, disk or {}, group=group or apart(), source=source)


def sends(effects: Effects) -> list[tuple[NodeId, Any]]:
    """Receiver and message of every Send."""
    return [(effect.to, effect.message) for effect in effects if isinstance(effect, Send)]


def written(effects: Effects) -> dict[Any, Any]:
    """The disk after the writes among the effects."""
    disk: dict[Any, Any] = {}
    for effect in effects:
        if isinstance(effect, Persist):
            disk.update(effect.writes)
    return disk


def cluster(
    group: Group,
    *,
    seed: int = 1,
    links: Links | Link | None = None,
    host: Host | None = None,
    process_class: type[SinglePaxos] = SinglePaxos,
) -> Engine:
    """All processes of a group in an engine, one millisecond apart, with a trace."""

    def make(node_id: NodeId, disk: Any) -> SinglePaxos:
        return process_class(node_id, disk, group=group, source=stream(seed, "node", node_id))

    return Engine(
        make,
        group.processes,
        seed=seed,
        links=links or Link(MILLISECOND_NS),
        hosts=host,
        trace=Trace(),
    )


def chosen(engine: Engine) -> dict[NodeId, Any]:
    """What each process that knows it takes for chosen."""
    return {i: node.chosen for i, node in engine.nodes.items() if node.chosen is not None}
