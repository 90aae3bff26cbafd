"""The protocols that the swarm drives: how to build them from a plan, and how to look at them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from consensus_lab.kv import KeyValueStore
from consensus_lab.node import Disk, NodeId
from consensus_lab.paxos.multi import MultiPaxosNode
from consensus_lab.paxos.multi_log import SLOT, SNAPSHOT
from consensus_lab.paxos.multi_messages import Reconfigure
from consensus_lab.paxos.multi_parameters import MultiPaxosParameters
from consensus_lab.paxos.quorum import Quorums
from consensus_lab.raft.config import RaftConfig
from consensus_lab.raft.core import RaftCore
from consensus_lab.raft.disk import BASE, HARD_STATE
from consensus_lab.raft.entries import (
    EMPTY_HARD_STATE,
    ConfChange,
    ConfChangeSingle,
    ConfChangeType,
    Transition,
)
from consensus_lab.raft.node import RaftNode
from consensus_lab.raft.requests import ChangeMembership, TransferLeadership
from consensus_lab.sim.clients import KeyValueDialect
from consensus_lab.sim.invariants import EqualStates, Promised
from consensus_lab.sim.log_invariants import LogInvariants, is_majority_of_each
from consensus_lab.sim.models import REGISTER
from consensus_lab.sim.slot_invariants import COVERED, SlotInvariants
from consensus_lab.sim.streams import stream
from consensus_lab.sim.swarm import SwarmProtocol
from consensus_lab.sim.swarm_plan import Plan

NOTHING: Mapping[str, Any] = MappingProxyType({})
"""No settings beyond those that are drawn."""

# Multi-Paxos.


def multi_paxos_parameters(plan: Plan) -> MultiPaxosParameters:
    """Settings drawn from the plan's seed, with limits so small that they are met."""
    source = stream(plan.seed, "swarm", "multipaxos")
    return MultiPaxosParameters(
        quorums=Quorums(plan.members),
        election_timeout_ns=plan.timeout_ns,
        heartbeat_interval_ns=plan.timeout_ns // 5,
        pre_vote=source.random() < 0.7,
        check_quorum=source.random() < 0.7,
        window_slots=source.choice((1, 4, 32)),
        pipeline_batches_max=source.choice((1, 4)),
        batch_count_max=source.choice((1, 8)),
        batch_delay_ns=source.choice((0, 0, 2_000_000)),
        snapshot_entries=source.choice((5, 20, 1000)),
        catch_up_entries=source.choice((0, 3, 50)),
        learn_count_max=source.choice((3, 50)),
    )


def make_multi_paxos(
    plan: Plan,
    node_class: type[MultiPaxosNode] = MultiPaxosNode,
    settings: Mapping[str, Any] = NOTHING,
) -> Any:
    """The factory of a run's replicas."""
    parameters = replace(multi_paxos_parameters(plan), **settings)
    lives: dict[NodeId, int] = {}

    def make_node(node_id: NodeId, disk: Disk) -> MultiPaxosNode:
        life = lives[node_id] = lives.get(node_id, -1) + 1
        source = stream(plan.seed, "node", node_id, life)
        return node_class(
            node_id, disk, parameters=parameters, machine=KeyValueStore(), source=source
        )

    return make_node


def _slot_on_disk(disk: Disk) -> Any:
    """What a replica's disk holds for a slot."""

    def held(slot: int) -> Any:
        snapshot = disk.get(SNAPSHOT)
        if snapshot is not None and snapshot.last_slot >= slot:
            return COVERED
        entry = disk.get((SLOT, slot))
        return None if entry is None else entry.value

    return held


def multi_paxos_invariants() -> list[Any]:
    """Fresh history variables for one run."""
    return [
        Promised("ballots never go back", lambda node: node.log.promised),
        SlotInvariants(view=lambda node: node.replica, durable=_slot_on_disk),
        EqualStates(lambda node: (node.replica.applied, node.replica.machine)),
    ]


def multi_paxos(
    node_class: type[MultiPaxosNode] = MultiPaxosNode, settings: Mapping[str, Any] = NOTHING
) -> SwarmProtocol:
    """Multi-Paxos, or a relative of it: another node class, other settings than are drawn."""
    return SwarmProtocol(
        name="multipaxos",
        make_node=lambda plan: make_multi_paxos(plan, node_class, settings),
        invariants=multi_paxos_invariants,
        reconfigure=lambda node, number, members: Reconfigure(("change", number), Quorums(members)),
        is_leader=lambda node: node.role == "leader",
        may_be_stuck=lambda nodes: False,
        dialect=KeyValueDialect(),
        model=REGISTER,
    )


# Raft.


def raft_config(plan: Plan) -> RaftConfig:
    """Settings drawn from the plan's seed, with limits so small that they are met."""
    source = stream(plan.seed, "swarm", "raft")
    ticks = 10
    drawn = None
    if source.random() < 0.3:
        drawn = (plan.timeout_ns, 2 * plan.timeout_ns)
    return RaftConfig(
        election_tick=ticks,
        tick_ns=plan.timeout_ns // ticks,
        election_timeout_range_ns=drawn,
        pre_vote=source.random() < 0.7,
        check_quorum=source.random() < 0.5,
        append_size_bytes_max=source.choice((0, 100, 1 << 20)),
        inflight_messages_max=source.choice((1, 4, 256)),
        forwards_proposals=source.random() < 0.9,
        snapshot_entries=source.choice((5, 20, 1000)),
        catch_up_entries=source.choice((0, 3, 50)),
    )


def make_raft(
    plan: Plan,
    node_class: type[RaftNode] = RaftNode,
    settings: Mapping[str, Any] = NOTHING,
    machine: Callable[[], KeyValueStore] = KeyValueStore,
) -> Any:
    """The factory of a run's servers."""
    config = replace(raft_config(plan), **settings)
    lives: dict[NodeId, int] = {}

    def make_node(node_id: NodeId, disk: Disk) -> RaftNode:
        life = lives[node_id] = lives.get(node_id, -1) + 1
        return node_class(
            node_id, disk, members=plan.members, machine=machine(),
            random_source=stream(plan.seed, "node", node_id, life), config=config,
        )  # fmt: skip

    return make_node


class LogOnDisk:
    """What a server's disk holds, as `LogInvariants` wants to see it."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.term, self.vote, _ = disk.get(HARD_STATE, EMPTY_HARD_STATE)

    def holds(self, index: int, term: int) -> bool:
        """The entry is there, or covered by a snapshot."""
        base_index, _ = self.disk.get(BASE, (0, 0))
        if index <= base_index:
            return True
        entry = self.disk.get(("entry", index))
        return entry is not None and entry.term == term


def raft_invariants() -> list[Any]:
    """Fresh history variables for one run."""
    return [
        LogInvariants(view=lambda node: node.core, durable=LogOnDisk),
        EqualStates(lambda node: (node.core.log.applied, node.machine)),
    ]


def change_raft(node: RaftNode, number: int, members: tuple[NodeId, ...]) -> Any:
    """From what this node thinks is the configuration to those voters; else a new leader.

    Some voters that go stay as learners, some changes take one step only, some pass through an
    explicit joint configuration, which a later change leaves.
    """
    configuration, request_id = node.core.configuration, ("change", number)
    if configuration.is_joint:
        return ChangeMembership(request_id, ConfChange())
    leaving = ConfChangeType.ADD_LEARNER_NODE if number % 3 else ConfChangeType.REMOVE_NODE
    steps = [ConfChangeSingle(ConfChangeType.ADD_NODE, member)
             for member in members if member not in configuration.voters]  # fmt: skip
    steps += [ConfChangeSingle(leaving, voter)
              for voter in sorted(configuration.voters) if voter not in members]  # fmt: skip
    if not steps:
        return TransferLeadership(request_id, members[number % len(members)])
    if number % 4 == 1:
        steps = steps[:1]
    transition = Transition.JOINT_EXPLICIT if number % 5 == 2 else Transition.AUTO
    return ChangeMembership(request_id, ConfChange(tuple(steps), transition))


def is_configuration_lost(nodes: dict[NodeId, RaftNode]) -> bool:
    """True when servers disagree about the configuration and so nobody can be elected any more.

    A leader that applies its own removal steps down at once.  When the message that told the
    others of the commit is lost, the new voters still ask the old ones, who refuse because
    their logs are longer and may not campaign themselves.  etcd-io/raft has this gap as well
    (`switchToConfig`); the paper has not, for there a configuration counts from the append on.
    """
    cores = {node_id: node.core for node_id, node in nodes.items()}
    if len({core.configuration for core in cores.values()}) == 1:
        return False
    return not any(_can_win(core, cores) for core in cores.values())


def _can_win(core: RaftCore, cores: dict[NodeId, RaftCore]) -> bool:
    """True when this server leads or may campaign and would get the votes that it needs."""
    if core.is_leader:
        return True
    last = (core.log.last_index, core.log.last_term)
    voters = {other for other, voter in cores.items() if voter.log.is_up_to_date(*last)}
    halves = [half for half in (core.configuration.voters, core.configuration.outgoing) if half]
    return core.is_promotable and is_majority_of_each(voters, halves)


def raft(
    node_class: type[RaftNode] = RaftNode,
    settings: Mapping[str, Any] = NOTHING,
    machine: Callable[[], KeyValueStore] = KeyValueStore,
) -> SwarmProtocol:
    """Raft, or a relative of it: another node class, settings or state machine."""
    return SwarmProtocol(
        name="raft",
        make_node=lambda plan: make_raft(plan, node_class, settings, machine),
        invariants=raft_invariants,
        reconfigure=change_raft,
        is_leader=lambda node: node.core.is_leader,
        may_be_stuck=is_configuration_lost,
        dialect=KeyValueDialect(),
        model=REGISTER,
    )


PROTOCOLS = {"raft": raft, "multipaxos": multi_paxos}
