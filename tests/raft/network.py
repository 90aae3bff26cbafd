"""RaftNodes with disks on a network in which the test decides what arrives, and when."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

from consensus_lab.client import Request
from consensus_lab.kv import KeyValueStore, Put, StoreConfig
from consensus_lab.node import Apply, Note, Persist, Reply, Send, SetTimer
from consensus_lab.raft.config import RaftConfig
from consensus_lab.raft.entries import ConfChange, ConfChangeSingle, ConfChangeType
from consensus_lab.raft.node import RaftNode
from consensus_lab.raft.requests import Campaign

MILLISECOND = 1_000_000
SECOND = 1000 * MILLISECOND


class Network:
    """Nodes, their disks, and what is on its way.

    Writes are durable at once, so a node's messages to itself arrive before it does anything
    else; `replies`, `applied` and `notes` keep what the effects said.
    """

    def __init__(
        self,
        node_ids: tuple[int, ...] = (1, 2, 3),
        *,
        members: tuple[int, ...] | None = None,
        config: RaftConfig | None = None,
        learners: tuple[int, ...] = (),
        store: StoreConfig | None = None,
    ) -> None:
        self.store = store
        self.members = node_ids if members is None else members
        self.learners = learners
        self.config = config or RaftConfig()
        self.now = 0
        self.disks: dict[int, dict[Any, Any]] = {node_id: {} for node_id in node_ids}
        self.nodes: dict[int, RaftNode] = {}
        self.on_the_way: list[tuple[int, Send]] = []
        self.replies: dict[Any, Any] = {}
        self.applied: dict[int, list[Apply]] = {node_id: [] for node_id in node_ids}
        self.notes: list[tuple[int, Note]] = []
        self.timers: dict[tuple[int, str], int] = {}
        self.sent: list[tuple[int, int, Any]] = []
        for node_id in node_ids:
            self.start(node_id)

    def start(self, node_id: int) -> None:
        """Start a node from its disk."""
        node = RaftNode(
            node_id, dict(self.disks[node_id]), members=self.members, learners=self.learners,
            machine=KeyValueStore(self.store), random_source=random.Random(node_id),
            config=self.config,
        )  # fmt: skip
        self.nodes[node_id] = node
        self.applied[node_id] = []
        self.perform(node_id, node.start(self.now))

    def crash(self, node_id: int) -> None:
        """Everything but the disk is gone."""
        del self.nodes[node_id]
        self.on_the_way = [(s, send) for s, send in self.on_the_way if send.to != node_id]

    def perform(self, node_id: int, effects: list[Any]) -> None:
        """Carry out effects; what a node tells itself is handled first."""
        queue = deque(effects)
        while queue:
            effect = queue.popleft()
            if isinstance(effect, Persist):
                for key, value in effect.writes:
                    self.disks[node_id].pop(key, None)
                    if value is not None:
                        self.disks[node_id][key] = value
            elif isinstance(effect, Send) and effect.to == node_id:
                queue.extend(self.nodes[node_id].receive(node_id, effect.message, self.now))
            elif isinstance(effect, Send):
                self.sent.append((node_id, effect.to, effect.message))
                self.on_the_way.append((node_id, effect))
            elif isinstance(effect, Reply):
                self.replies[effect.request_id] = effect.result
            elif isinstance(effect, Apply):
                self.applied[node_id].append(effect)
            elif isinstance(effect, Note):
                self.notes.append((node_id, effect))
            elif isinstance(effect, SetTimer):
                self.timers[node_id, effect.name] = self.now + effect.delay_ns

    def submit(self, node_id: int, command: Any) -> None:
        """A client asks a node; nothing is delivered yet."""
        self.perform(node_id, self.nodes[node_id].submit(command, self.now))

    def fire(self, node_id: int, name: str) -> None:
        """A timer goes off, when it is due."""
        self.now = max(self.now, self.timers.pop((node_id, name)))
        self.perform(node_id, self.nodes[node_id].timer(name, self.now))

    def deliver(self, position: int = 0) -> None:
        """One message arrives."""
        sender, send = self.on_the_way.pop(position)
        node = self.nodes.get(send.to)
        if node is not None:
            self.perform(send.to, node.receive(sender, send.message, self.now))

    def run(self) -> None:
        """Deliver everything, in order, until nothing is on its way."""
        for _ in range(10_000):
            if not self.on_the_way:
                return
            self.deliver()
        raise AssertionError("never comes to rest")

    def pass_time(self, duration_ns: int) -> None:
        """Let timers go off in order, and deliver everything in between."""
        end = self.now + duration_ns
        while True:
            due = sorted((time, key) for key, time in self.timers.items() if key[0] in self.nodes)
            if not due or due[0][0] > end:
                self.now = end
                return
            self.fire(*due[0][1])
            self.run()

    @property
    def leader(self) -> int:
        """The one node that leads."""
        (node_id,) = (i for i, node in self.nodes.items() if node.core.is_leader)
        return node_id


def elected(**settings: Any) -> Network:
    """A network in which node 1 leads."""
    network = Network(**settings)
    network.submit(1, Campaign())
    network.run()
    assert network.leader == 1
    return network


def change(text: str) -> ConfChange:
    """A membership change in etcd's notation."""
    letters = {kind.value: kind for kind in ConfChangeType}
    return ConfChange(
        tuple(ConfChangeSingle(letters[word[0]], int(word[1:])) for word in text.split())
    )


def put(number: int, key: str = "k", value: str | None = None) -> Request:
    """A request to put."""
    return Request(("c", number), Put(key, value or str(number)))
