"""A Multi-Paxos cluster in the engine for the tests, watched by checkers that know the disks.

The checkers count for themselves who has what on disk; they do not ask the replicas what is
chosen.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from consensus_lab.client import Query, Request
from consensus_lab.paxos.multi import MultiPaxosNode
from consensus_lab.paxos.multi_log import SLOT
from consensus_lab.paxos.multi_parameters import MultiPaxosParameters
from consensus_lab.paxos.quorum import Quorums
from consensus_lab.sim.engine import Engine
from consensus_lab.sim.links import Link, Links
from consensus_lab.sim.models import Append, CompareAndSwap, Delete, Get, Put
from consensus_lab.sim.process import Host
from consensus_lab.sim.streams import stream

MS = 1_000_000
SECOND = 1000 * MS


class Cells:
    """A state machine of cells, with the operations of `sim.models` as commands."""

    def __init__(self) -> None:
        self.cells: dict[Any, Any] = {}
        self.applied = 0

    def check(self, command: Any) -> None:
        """Everything may be proposed."""

    def apply(self, index: int, command: Any) -> Any:
        """Carry out one command; a compare-and-swap says whether it did anything."""
        assert index > self.applied, "The log goes forward only."
        self.applied = index
        old = self.cells.get(command.key, "")
        if isinstance(command, CompareAndSwap):
            if old == command.expected:
                self.cells[command.key] = command.value
            return old == command.expected
        if isinstance(command, Append):
            self.cells[command.key] = old + command.value
        elif isinstance(command, Put):
            self.cells[command.key] = command.value
        else:
            assert isinstance(command, Delete)
            self.cells.pop(command.key, None)
        return None

    def read(self, query: Get) -> Any:
        """A cell's value."""
        return self.cells.get(query.key, "")

    def snapshot(self) -> Any:
        """All cells."""
        return (self.applied, tuple(self.cells.items()))

    def restore(self, snapshot: Any) -> None:
        """Become the snapshot."""
        self.applied, cells = snapshot
        self.cells = dict(cells)


def parameters(members: Any = (1, 2, 3), **others: Any) -> MultiPaxosParameters:
    """Fast timeouts for tests: 100 ms election timeout, 20 ms heartbeat."""
    quorums = members if isinstance(members, Quorums) else Quorums(members)
    settings = {"election_timeout_ns": 100 * MS, "heartbeat_interval_ns": 20 * MS, **others}
    return MultiPaxosParameters(quorums, **settings)


class Fixed:
    """A source of randomness that is none: the shortest or the longest timeout, always."""

    def __init__(self, draw: int) -> None:
        self.draw = draw

    def randrange(self, stop: int) -> int:
        """The first or the last integer."""
        return self.draw % stop


class Cluster:
    """An engine with replicas, and what the outside saw of them; `first` names who leads first."""

    def __init__(
        self,
        settings: MultiPaxosParameters,
        *,
        seed: int = 1,
        nodes: Any = None,
        links: Links | Link | None = None,
        host: Host | None = None,
        node_class: type[MultiPaxosNode] = MultiPaxosNode,
        machine: Any = Cells,
        is_watched: bool = True,
        trace: Any = None,
        first: int | None = None,
    ) -> None:
        self.settings = settings
        self.node_ids = tuple(nodes or settings.quorums.acceptors)
        self.boots: dict[int, int] = defaultdict(int)
        self.applied: dict[int, Any] = {}
        self.replies: dict[Any, Any] = {}
        self.reply_times: dict[Any, int] = {}
        self.notes: list[tuple[int, int, Any]] = []
        self.accepted_by: dict[Any, set[int]] = defaultdict(set)
        self.chosen: dict[int, Any] = {}
        self.clients: list[Any] = []  # Told of every reply.

        def make(node_id: int, disk: Any) -> MultiPaxosNode:
            self.boots[node_id] += 1
            source: Any = stream(seed, "node", node_id, self.boots[node_id])
            if first is not None:
                source = Fixed(0 if node_id == first else -1)
            return node_class(
                node_id, disk, parameters=settings, machine=machine(), source=source
            )

        self.engine = Engine(
            make,
            self.node_ids,
            seed=seed,
            links=links if links is not None else Link(MS),
            hosts=host,
            invariants=(self.watch,) if is_watched else (),
            trace=trace,
        )
        self.engine.on_apply = self._on_apply
        self.engine.on_reply = self._on_reply
        self.engine.on_note = self._on_note

    # What the outside sees.

    def _on_apply(self, node_id: int, effect: Any, now: int) -> None:
        known = self.applied.setdefault(effect.index, effect.command)
        assert known == effect.command, (
            f"agreement: slot {effect.index} is {known} and, at {node_id}, {effect.command}"
        )

    def _on_reply(self, node_id: int, effect: Any, now: int) -> None:
        self.replies[effect.request_id] = effect.result
        self.reply_times[effect.request_id] = now
        for client in self.clients:
            client.on_reply(effect, now)

    def _on_note(self, node_id: int, effect: Any, now: int) -> None:
        self.notes.append((now, node_id, effect))
        assert effect.kind != "violation", f"{node_id}: {effect.detail}"

    def watch(self, engine: Engine, node_id: int) -> None:
        """After each event: what a quorum has on disk under one ballot is chosen, for ever."""
        quorums = self.settings.quorums
        for key, entry in engine.disks[node_id].items():
            if not isinstance(key, tuple) or key[0] != SLOT:
                continue
            voted = self.accepted_by[key[1], entry.ballot]
            if node_id in voted:
                continue
            voted.add(node_id)
            if quorums.phase2.is_quorum(voted.intersection(quorums.acceptors)):
                known = self.chosen.setdefault(key[1], entry.value)
                assert known == entry.value, f"slot {key[1]}: chosen {known} and {entry.value}"

    # What tests do.

    def leader(self) -> int | None:
        """The live leader with the highest ballot."""
        leading = [n for n in self.engine.nodes.values() if n.role == "leader"]
        if not leading:
            return None
        return max(leading, key=lambda n: n.leadership.ballot).node_id

    def elect(self, *, within_ns: int = 3 * SECOND) -> int:
        """Run until somebody leads and everybody up follows; the leader."""

        def is_done() -> bool:
            leader = self.leader()
            nodes = self.engine.nodes.values()
            return leader is not None and all(n.leader_id == leader for n in nodes)

        self.engine.run(until_ns=self.engine.now + within_ns, until=is_done)
        leader = self.leader()
        assert leader is not None, "nobody was elected"
        return leader

    def run_ms(self, milliseconds: float) -> None:
        """Let time pass."""
        self.engine.run(until_ns=self.engine.now + int(milliseconds * MS))

    def put(self, node_id: int, key: Any, value: Any, *, name: Any = None) -> Any:
        """Hand in a put; its request identity."""
        return self.request(node_id, Put(key, value), name=name)

    def request(self, node_id: int, command: Any, *, name: Any = None) -> Any:
        """Hand in a command or query at a node; its request identity."""
        request_id = name if name is not None else ("test", len(self.replies), self.engine.now)
        kind = Query if type(command) is Get else Request
        self.engine.submit(node_id, kind(request_id, command))
        return request_id

    def messages_sent(self) -> int:
        """By all nodes, to others, since the start."""
        return sum(process.messages_sent for process in self.engine.processes.values())

    def count(self, kind: str) -> int:
        """How many notes of that kind there were."""
        return sum(note.kind == kind for _, _, note in self.notes)

    def calm(self) -> None:
        """Everybody is up, and the network and the disks are as on a quiet day."""
        for node in self.node_ids:
            self.engine.restart(node)
        self.engine.links.default = Link(MS)
        for process in self.engine.processes.values():
            process.use(Host(fsync_ns=MS))

    def check_replicas_agree(self) -> None:
        """All replicas that are up have the same state, and it is that of the log."""
        states = {str(n.replica.machine.snapshot()) for n in self.engine.nodes.values()}
        assert len(states) == 1, states
