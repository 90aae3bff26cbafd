"""How fast is the explorer?

Prints states, transitions and transitions per second of CPU time for Lamport's model of Paxos,
for Paxos on a network that delivers one message at a time, and for three Raft servers.  The
promise: 3921 states in under 10 s.  Run it by hand on a quiet machine.
"""

from __future__ import annotations

import time
from typing import Any

from consensus_lab.client import Request
from consensus_lab.kv import KeyValueStore, Put
from consensus_lab.paxos.group import Group
from consensus_lab.paxos.message_set import MessageSet
from consensus_lab.paxos.messages import Propose
from consensus_lab.paxos.proposer import BackOff
from consensus_lab.paxos.quorum import Quorums
from consensus_lab.paxos.single import SinglePaxos
from consensus_lab.raft.config import RaftConfig
from consensus_lab.raft.node import RaftNode
from consensus_lab.raft.requests import Campaign
from consensus_lab.sim.explore import explore
from consensus_lab.sim.local_steps import NoChance
from consensus_lab.sim.world import World

ACCEPTORS = (3, 4, 5)


def paxos_network() -> World:
    """Two proposers and three interchangeable acceptors, one ballot each."""
    group = Group((1, 2), Quorums(ACCEPTORS), (), back_off=BackOff(1, is_random=False))

    def make(node_id: int, disk: Any) -> SinglePaxos:
        return SinglePaxos(node_id, disk, group=group, source=NoChance())

    submissions = [(1, Propose("x")), (2, Propose("y"))]
    return World(make, group.processes, submissions=submissions, symmetric=[ACCEPTORS])


def raft() -> World:
    """Three servers, two candidates."""
    config = RaftConfig(pre_vote=False, check_quorum=False)

    def make(node_id: int, disk: Any) -> RaftNode:
        return RaftNode(
            node_id, disk, members=(1, 2, 3), machine=KeyValueStore(), random_source=NoChance(),
            config=config,
        )  # fmt: skip

    commands = [(1, Campaign()), (1, Request("request", Put("key", "value")))]
    return World(make, (1, 2, 3), submissions=commands, own_messages_at_once=True)


def main() -> None:
    """Explore each system once."""
    sizes = {"acceptor_count": 3, "value_count": 2}
    systems: dict[str, Any] = {
        "Paxos, message set, 2 ballots": MessageSet(**sizes, ballot_count=2),
        "Paxos, message set, 3 ballots": MessageSet(**sizes, ballot_count=3),
        "Paxos, network, symmetry": paxos_network(),
        "Raft, one election, one command": raft(),
    }
    for name, model in systems.items():
        begin = time.process_time()
        found = explore(model)
        took_s = time.process_time() - begin
        print(
            f"{name:32} {found.states:8,} states {found.transitions:10,} transitions "
            f"depth {found.depth:3} {took_s:7.2f} s {found.transitions / took_s:10,.0f} per s"
        )


if __name__ == "__main__":
    main()
