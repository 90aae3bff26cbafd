"""Discovery: from one DNS seed to a connected network, and back after crashes."""

from __future__ import annotations

import networkx
import pytest

from consensus_lab.nakamoto.discovery import (
    ADDRESSES_PER_MESSAGE_MAX,
    Addr,
    DiscoveryNode,
    DnsAnswer,
    DnsQuery,
    DnsSeed,
    GetAddr,
    Refusal,
    Verack,
    Version,
)
from consensus_lab.node import Note, ParameterError, Send
from consensus_lab.sim.engine import Engine
from consensus_lab.sim.faults import Crash, install
from consensus_lab.sim.links import Link
from consensus_lab.sim.streams import stream

SEED_ID = 1000
MINUTE_NS = 60_000_000_000


def network_of(n: int, *, seed: int = 1, **slots: int) -> Engine:
    """n nodes that know only one DNS seed, which knows two of them."""

    def make(node_id, disk):
        source = stream(seed, "discovery", node_id)
        if node_id == SEED_ID:
            return DnsSeed(node_id, (0, 1), source=source)
        return DiscoveryNode(node_id, disk, seeds=(SEED_ID,), source=source, **slots)

    return Engine(make, [*range(n), SEED_ID], seed=seed, links=Link(50_000_000))


def graph_of(engine: Engine) -> networkx.Graph:
    """Connections that both ends know of."""
    graph = networkx.Graph()
    nodes = {i: node for i, node in engine.nodes.items() if i != SEED_ID}
    graph.add_nodes_from(nodes)
    for i, node in nodes.items():
        graph.add_edges_from((i, j) for j in node.outbound if j in nodes and i in nodes[j].inbound)
    return graph


@pytest.mark.slow
def test_from_one_seed_a_connected_network_grows() -> None:
    engine = network_of(60)
    engine.run(until_ns=10 * MINUTE_NS)
    graph = graph_of(engine)
    assert networkx.is_connected(graph)
    for i in range(60):
        node = engine.nodes[i]
        assert len(node.outbound) == 8, f"node {i}"
        assert not set(node.outbound) & set(node.inbound)
        assert i not in node.peers


@pytest.mark.slow
def test_inbound_slots_are_a_limit() -> None:
    engine = network_of(30, outbound_max=3, inbound_max=4)
    engine.run(until_ns=10 * MINUTE_NS)
    assert max(len(engine.nodes[i].inbound) for i in range(30)) <= 4
    assert networkx.is_connected(graph_of(engine))


@pytest.mark.slow
def test_peers_that_leave_are_replaced_and_who_returns_reconnects() -> None:
    engine = network_of(40)
    engine.run(until_ns=5 * MINUTE_NS)
    gone = range(0, 20)
    install(engine, [Crash(i, at_ns=5 * MINUTE_NS) for i in gone])
    engine.run(until_ns=20 * MINUTE_NS)
    for i in range(20, 40):
        peers = engine.nodes[i].peers
        assert peers and not set(peers) & set(gone), f"node {i} still counts on the dead"
        assert len(engine.nodes[i].outbound) >= 1
    assert networkx.is_connected(graph_of(engine))
    engine.restart(3)
    assert engine.nodes[3].book, "the address book survived"
    engine.run(until_ns=25 * MINUTE_NS)
    assert len(engine.nodes[3].outbound) == 8
    assert networkx.is_connected(graph_of(engine))


def a_node(**slots: int) -> DiscoveryNode:
    return DiscoveryNode(7, {}, seeds=(SEED_ID,), source=stream(1, "node"), **slots)


def test_an_empty_book_asks_the_seeds_and_a_full_one_does_not() -> None:
    assert Send(SEED_ID, DnsQuery()) in a_node().start(0)
    known = DiscoveryNode(7, {"addresses": (1, 2)}, seeds=(SEED_ID,), source=stream(1, "node"))
    assert Send(SEED_ID, DnsQuery()) not in known.start(0)


def test_only_seeds_answers_are_believed() -> None:
    node = a_node()
    node.receive(5, DnsAnswer((1, 2, 3)), 0)
    assert not node.book
    node.receive(SEED_ID, DnsAnswer((1, 2, 3)), 0)
    assert list(node.book) == [1, 2, 3]


def test_a_full_node_refuses_and_does_not_tell_whom_it_connected_to() -> None:
    node = a_node(inbound_max=1)
    assert Send(1, Verack()) in node.receive(1, Version(), 0)
    assert node.receive(2, Version(), 0) == [Send(2, Refusal())]
    node.opening = 4
    node.receive(4, Verack(), 0)
    assert node.receive(4, GetAddr(), 0) == []
    assert node.receive(1, GetAddr(), 0) != []
    assert node.receive(1, GetAddr(), 0) == [], "once per connection"


def test_an_unasked_verack_connects_nobody_and_too_many_addresses_are_ignored() -> None:
    node = a_node()
    node.receive(9, Verack(), 0)
    assert node.peers == []
    flood = Addr(tuple(range(10, 12 + ADDRESSES_PER_MESSAGE_MAX)))
    assert [type(effect) for effect in node.receive(1, flood, 0)] == [Note]
    assert not node.book


def test_without_a_seed_nobody_can_start() -> None:
    with pytest.raises(ParameterError, match="seeds must be at least one"):
        DiscoveryNode(7, {}, seeds=(), source=stream(1, "node"))
