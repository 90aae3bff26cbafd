"""Runs for the Sybil experiment: quorums with liars, lotteries by weight, lotteries alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from consensus_lab.adversaries.sybil import TwoFacedAcceptor, TwoFacedVoter
from consensus_lab.client import Request
from consensus_lab.constants import CONFIRMATIONS_FOR_FINALITY
from consensus_lab.kv import KeyValueStore, Put
from consensus_lab.nakamoto.abstract_block import AbstractBlock, BlockTree, Reorganisation
from consensus_lab.nakamoto.relay import RelayNode
from consensus_lab.nakamoto.relay_options import Found
from consensus_lab.network import topology
from consensus_lab.node import Node, NodeId
from consensus_lab.paxos.group import Group
from consensus_lab.paxos.messages import Propose
from consensus_lab.paxos.quorum import Quorums
from consensus_lab.paxos.single import SinglePaxos
from consensus_lab.raft.node import RaftNode
from consensus_lab.sim.engine import Engine
from consensus_lab.sim.faults import install, partition
from consensus_lab.sim.links import NANOSECONDS_PER_SECOND, Link
from consensus_lab.sim.streams import array_stream, stream
from consensus_lab.sim.trace import Trace

PAXOS, RAFT = "Paxos", "Raft"
LINK = Link(20_000_000, jitter_ns=10_000_000)
RUN_NS = 10 * NANOSECONDS_PER_SECOND
"""Many election and proposal timeouts: who has not decided by then will not."""

ASK_EVERY_NS = 2 * NANOSECONDS_PER_SECOND
BLOCK_BYTES, RELAY_NS = 1000, 200_000_000


class Decisions(NamedTuple):
    """What honest servers decided: the values at each index, and by whom first.

    `is_broken`: two of them hold different values at one index.
    """

    by_index: dict[int, dict[Any, NodeId]]

    @property
    def is_broken(self) -> bool:
        """Is agreement lost?"""
        return any(len(values) > 1 for values in self.by_index.values())


def split_decisions(
    protocol: str, *, honest: int, identities: int, seed: int, trace: Trace | None = None
) -> Decisions:
    """Cut the honest servers in two halves that do not hear of each other, and ask both.

    Everybody hears the identities, which say yes to everything.  Without identities the same run
    is what these protocols are made for: at most one half decides.

    Parameters
    ----------
    protocol : str
        "Paxos" (one decree) or "Raft".
    honest, identities : int
        Members of either kind; all count.
    seed : int
        Of delays and timeouts.
    trace : Trace, optional
        To be drawn.
    """
    ids = tuple(range(1, honest + 1))
    members = tuple(range(1, honest + identities + 1))
    sources = {i: stream(seed, "server", i) for i in ids}
    group = Group(proposers=ids, quorums=Quorums(members), learners=ids)

    def make(node_id: NodeId, disk: Any) -> Node:
        if protocol == PAXOS:
            if node_id in sources:
                return SinglePaxos(node_id, disk, group=group, source=sources[node_id])
            return TwoFacedAcceptor(node_id, disk)
        if node_id in sources:
            return RaftNode(node_id, disk, members=members, machine=KeyValueStore(),
                            random_source=sources[node_id])  # fmt: skip
        return TwoFacedVoter(node_id, disk)

    engine = Engine(make, members, seed=seed, links=LINK, trace=trace)
    halves = ids[: honest // 2], ids[honest // 2 :]
    install(engine, partition(*halves, at_ns=0, until_ns=RUN_NS + 1))
    decided: dict[int, dict[Any, NodeId]] = {}

    def applied(node_id: NodeId, effect: Any, _now: int) -> None:
        if effect.command is not None:
            decided.setdefault(effect.index, {}).setdefault(_value(effect.command), node_id)

    engine.on_apply = applied
    for half, value in zip(halves, ("A", "B"), strict=True):
        _ask(engine, protocol, half, value)
    decisions = Decisions(decided)
    engine.run(until_ns=RUN_NS, until=lambda: decisions.is_broken)
    return decisions


def _ask(engine: Engine, protocol: str, half: Iterable[NodeId], value: str) -> None:
    """A client asks one server of a half, again and again in Raft, until it has a leader."""
    for server in list(half)[:1]:
        if protocol == PAXOS:
            engine.submit(server, Propose(value), at_ns=1)
            continue
        for at_ns in range(ASK_EVERY_NS, RUN_NS, ASK_EVERY_NS):
            engine.submit(server, Request(f"client {value}", Put("key", value)), at_ns=at_ns)


def _value(command: Any) -> Any:
    """What a client asked for, without the request around it."""
    return command.command.value if isinstance(command, Request) else command


# Lotteries by weight.


def slots_led(
    identities: int, *, stake: float, active_share: float, n_slots: int, seed: int
) -> int:
    """Slots in which one of a person's accounts is drawn, each by its own lottery.

    An account with a share s of all stake is drawn with chance 1 - (1 - f)^s (Ouroboros Praos,
    David, Gazi, Kiayias, Russell 2018): what the accounts miss, 1 - f to the power of the sum, is
    the same however the stake is split.

    Parameters
    ----------
    identities : int
        Accounts that share the stake equally.
    stake : float
        The person's share of all stake.
    active_share : float
        f, share of the slots in which somebody is drawn.
    n_slots, seed : int
    """
    rng = array_stream(seed, "experiment", "stake", identities)
    chance = 1.0 - (1.0 - active_share) ** (stake / identities)
    drawn = rng.binomial(identities, chance, size=n_slots)
    return int((drawn > 0).sum())


def tickets_won(identities: int, *, others: int, n_slots: int, seed: int) -> int:
    """Draws won by a person's accounts where every account holds one ticket."""
    rng = array_stream(seed, "experiment", "tickets", identities)
    return int((rng.integers(identities + others, size=n_slots) < identities).sum())


# A lottery alone.


class FirstSeenTree(BlockTree):
    """Rate limiting without a rule of choice: what extends my chain is taken, all else ignored."""

    def accept(self, block: AbstractBlock) -> Reorganisation | None:
        """Only a child of the tip moves the tip, however long another branch may be."""
        if block.parent == self.tip.number:
            return super().accept(block)
        self.blocks[block.number] = block
        return None


class Agreement(NamedTuple):
    """After a lottery: nodes that hold the most common block, nodes, and their tips' heights."""

    holders: int
    nodes: int
    height_min: int
    height_max: int


def lottery_agreement(
    *, has_longest_chain_rule: bool, n_nodes: int, n_blocks: int, block_interval_s: float, seed: int
) -> Agreement:
    """Let every node mine at the same rate, and count who holds the same block in the end.

    Parameters
    ----------
    has_longest_chain_rule : bool
        Do nodes move to a branch with more work?
    n_nodes, n_blocks : int
    block_interval_s : float
        Mean time between blocks of all together, however they choose.
    seed : int
        Of network and lottery.

    Returns
    -------
    Agreement
        Compared is the block that lies six below the highest tip; who has none so high, or another
        one, does not agree.
    """
    graph = topology.random_regular(n_nodes, degree=4, seed=seed)
    source = stream(seed, "experiment", "lottery")

    def make(node_id: NodeId, disk: Any) -> RelayNode:
        node = RelayNode(node_id, graph[node_id], disk=disk)
        if not has_longest_chain_rule:
            node.tree = FirstSeenTree()
        return node

    engine = Engine(make, sorted(graph), seed=seed, links=Link(RELAY_NS))
    found_ns = 0
    for number in range(1, n_blocks + 1):
        found_ns += round(source.expovariate(1.0 / block_interval_s) * NANOSECONDS_PER_SECOND)
        engine.submit(source.randrange(n_nodes), Found(number, BLOCK_BYTES), at_ns=found_ns)
    engine.run()
    nodes: list[Any] = [engine.nodes[i] for i in sorted(graph)]
    chains = [list(reversed(node.tree.chain())) for node in nodes]
    heights = [len(chain) - 1 for chain in chains]
    place = max(1, max(heights) - CONFIRMATIONS_FOR_FINALITY)
    holders = Counter(chain[place].number for chain in chains if len(chain) > place)
    return Agreement(max(holders.values()), n_nodes, min(heights), max(heights))
