"""Full nodes that find each other: growth, a newcomer that synchronises, leavers, liars."""

from __future__ import annotations

import networkx
import pytest

from consensus_lab.experiments.full_network import RULES, START_S, new_wallet
from consensus_lab.experiments.joining import (
    DNS_SEED,
    MINUTE_NS,
    connected_network,
    newcomer_course,
)
from consensus_lab.nakamoto import discovery
from consensus_lab.nakamoto.connected_node import ConnectedNode
from consensus_lab.nakamoto.full_node import FullNode
from consensus_lab.nakamoto.full_node_messages import BlockMessage, Found, Verack, Version
from consensus_lab.nakamoto.peer_state import BAN_NS
from consensus_lab.node import Note, Persist, Send
from consensus_lab.sim.streams import stream

N = 12


@pytest.mark.slow
def test_nodes_find_each_other_and_stay_one_network_while_some_leave() -> None:
    """From one seed; a third crashes and returns; nobody is isolated, all agree."""
    engine = connected_network(range(N), seed=3)
    for number in range(80):
        engine.submit(number % 4, Found(), at_ns=(number + 1) * MINUTE_NS)
    leavers = range(8, N)
    engine.run(until_ns=20 * MINUTE_NS)
    for node in leavers:
        engine.crash(node)
    engine.run(until_ns=40 * MINUTE_NS)
    assert not any(set(leavers) & set(engine.nodes[i].full.peers) for i in range(8))
    for node in leavers:
        engine.restart(node)
    engine.run(until_ns=85 * MINUTE_NS)
    nodes = {i: engine.nodes[i] for i in range(N)}
    graph = networkx.Graph((i, j) for i, node in nodes.items() for j in node.full.peers)
    assert len(graph) == N and networkx.is_connected(graph)
    for node in nodes.values():
        assert list(node.full.peers) and sorted(node.full.peers) == node.discovery.peers
        assert node.full.chain.height == 80
        total = sum(coin.value_satoshi for coin in node.full.chain.utxo.coins().values())
        assert total == sum(RULES.subsidy_satoshi(height) for height in range(1, 81))
    assert len({node.full.chain.tip.block_id for node in nodes.values()}) == 1


@pytest.mark.slow
def test_a_newcomer_finds_peers_and_synchronises_headers_first() -> None:
    course = newcomer_course(n_nodes=6, blocks=60, watch_s=30)
    assert course.iloc[-1].tolist()[1:] == [6, 60, 60]
    assert (course["headers"] >= course["blocks"]).all()
    assert course["headers"].is_monotonic_increasing
    ahead = course[course["headers"] == 60].iloc[0]
    assert ahead["blocks"] < 60, "all headers are there before the last block"


def lone(disk: dict | None = None) -> ConnectedNode:
    """A node in which peer 5 has an inbound connection."""
    disk = disk or {}
    full = FullNode(0, (), rules=RULES, wallet=new_wallet(1, 0), start_s=START_S)
    found = discovery.DiscoveryNode(0, {}, seeds=(DNS_SEED,), source=stream(1, "lone"))
    node = ConnectedNode(full, found, disk=disk)
    node.start(0)
    return node


def test_a_banned_peer_is_disconnected_and_kept_out_also_after_a_crash() -> None:
    node = lone()
    node.receive(5, discovery.Version(), 0)
    assert list(node.full.peers) == node.discovery.peers == [5]
    node.receive(5, Version(1, 0), 0)
    node.receive(5, Verack(node.full.session), 0)
    effects = node.receive(5, BlockMessage(b"garbage"), 1)
    assert Note("banned", 5) in effects and Send(5, discovery.Refusal()) in effects
    assert node.discovery.peers == [] and list(node.full.peers) == []
    disk = {key: value for e in effects if isinstance(e, Persist) for key, value in e.writes}
    for again in (node, lone(disk)):
        assert again.receive(5, discovery.Version(), 2) == [Send(5, discovery.Refusal())]
        assert again.receive(5, Version(1, 0), 2) == [Note("ignored", 5)]
        again.receive(5, discovery.Version(), BAN_NS + 2)
        assert list(again.full.peers) == [5]


def test_a_score_outlives_the_connection() -> None:
    """Coming back does not wipe out what a peer has done."""
    node = lone()
    node.receive(5, discovery.Version(), 0)
    node.full.peers[5].score = 40
    node.receive(5, discovery.Refusal(), 1)
    assert list(node.full.peers) == []
    node.receive(5, discovery.Version(), 2)
    assert node.full.peers[5].score == 40 and not node.full.peers[5].is_connected


def test_addresses_that_are_none_are_refused() -> None:
    node = lone()
    node.receive(5, discovery.Version(), 0)
    for noise in (None, ("a",), ([],), (-1,), (True,), [1]):
        effects = node.receive(5, discovery.Addr(noise), 1)
        assert effects == [Note("refused", (5, "malformed-message"))]
    assert list(node.discovery.book) == [5]
