"""Double spends played in full: real payments and blocks, told from node to node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import networkx

from consensus_lab.adversaries.double_spend import (
    Conflict,
    Defraud,
    Delivered,
    DoubleSpender,
    RaceSpender,
)
from consensus_lab.experiments.full_network import FullNetwork, confirmations, tree_rows
from consensus_lab.nakamoto.full_node_messages import Found
from consensus_lab.nakamoto.subsidy import SATOSHI_PER_COIN
from consensus_lab.node import NodeId
from consensus_lab.sim.links import NANOSECONDS_PER_SECOND
from consensus_lab.sim.streams import derive_seed, stream

if TYPE_CHECKING:
    import pandas

PRICE_SATOSHI = 10 * SATOSHI_PER_COIN
MERCHANT = 0
MINERS = (1, 2, 3)
ATTACKER = 4
PEERS_PER_NODE = 8
START_HEIGHT = 2
"""One block gives the attacker a coin, the next one makes it ripe."""


class Attack(NamedTuple):
    """An attack with a private chain.

    Attributes
    ----------
    network : FullNetwork
        As it stands at the end.
    conflict : Conflict
        The payment, and what replaces it.
    confirmations_awaited : int
        By the merchant.
    is_delivered, is_lost : bool
        Were the goods handed over?  And is their payment gone for good?
    old_tip : bytes or None
        The merchant's tip before the private chain was published.
    """

    network: FullNetwork
    conflict: Conflict
    confirmations_awaited: int
    is_delivered: bool
    is_lost: bool
    old_tip: bytes | None = None


class Race(NamedTuple):
    """An attack without any hash power; `is_warned`: the merchant heard of the second spend."""

    network: FullNetwork
    conflict: Conflict
    told: tuple[NodeId, ...]
    holders: tuple[NodeId, ...]
    is_warned: bool
    is_lost: bool


def _town(attacker_share: float, seed: int, **attacker: Any) -> FullNetwork:
    """A merchant, three honest miners and the attacker, all connected; he owns a ripe coin."""
    shares = {miner: (1.0 - attacker_share) / len(MINERS) for miner in MINERS}
    network = FullNetwork(
        networkx.complete_graph(1 + len(MINERS) + 1), {**shares, ATTACKER: attacker_share},
        seed=seed, disguises={ATTACKER: lambda node: DoubleSpender(node, **attacker)},
    )  # fmt: skip
    network.find(ATTACKER)
    network.find(MINERS[0])
    return network


def play_private_chain(
    attacker_share: float, *, confirmations_awaited: int, give_up_deficit: int,
    premined_blocks: int = 1, seed: int = 1, number: int = 0,
) -> Attack:  # fmt: skip
    """One private-chain attack, from the payment until it is published or given up.

    Parameters
    ----------
    attacker_share : float
        Of the hash power.
    confirmations_awaited : int
        By the merchant, at least 1.
    give_up_deficit : int
        Blocks behind at which the attacker gives up.
    premined_blocks : int
        0 or 1: found before the payment is told.
    seed, number : int
        Each number is another attack.
    """
    network = _town(
        attacker_share, derive_seed(seed, "experiment", "double-spend", "private", number),
        premined_blocks=premined_blocks, give_up_deficit=give_up_deficit,
    )  # fmt: skip
    attacker: Any = network.engine.nodes[ATTACKER]
    network.engine.submit(ATTACKER, Defraud(network.address(MERCHANT), PRICE_SATOSHI))
    # However long it took to mine in advance, the attack begins when that is done.
    network.find(ATTACKER, count=premined_blocks)
    network.settle()
    chain = network.chain(MERCHANT)
    payment, second, _ = attacker.conflict
    is_delivered, old_tip = False, None
    while not attacker.outcome:
        old_tip = chain.tip.block_id
        if not is_delivered and confirmations(chain, payment.txid) >= confirmations_awaited:
            is_delivered = True
            network.engine.submit(ATTACKER, Delivered())
            network.settle()
        else:
            network.mine_next()
    is_lost = is_delivered and confirmations(chain, second.txid) > 0
    assert not (is_lost and confirmations(chain, payment.txid)), "one coin, spent once"
    return Attack(network, attacker.conflict, confirmations_awaited, is_delivered, is_lost,
                  old_tip if is_lost else None)  # fmt: skip


def play_finney(
    attacker_share: float, *, hold_s: float, seed: int = 1, number: int = 0
) -> Attack:
    """One Finney attack: the goods come `hold_s` after the payment, without any confirmation."""
    network = _town(
        attacker_share, derive_seed(seed, "experiment", "double-spend", "finney", number),
        premined_blocks=1, give_up_deficit=0,
    )  # fmt: skip
    attacker: Any = network.engine.nodes[ATTACKER]
    network.engine.submit(ATTACKER, Defraud(network.address(MERCHANT), PRICE_SATOSHI))
    network.engine.submit(ATTACKER, Found())
    end_ns = network.engine.now + round(hold_s * NANOSECONDS_PER_SECOND)
    while network.engine.now < end_ns:
        network.mine_next(until_ns=end_ns)
    network.engine.submit(ATTACKER, Delivered())
    network.settle()
    payment, second, _ = attacker.conflict
    chain = network.chain(MERCHANT)
    is_lost = confirmations(chain, second.txid) > 0
    assert not (is_lost and confirmations(chain, payment.txid)), "one coin, spent once"
    return Attack(network, attacker.conflict, 0, True, is_lost)


def play_race(n_nodes: int, *, told_peers: int, seed: int = 1, number: int = 0) -> Race:
    """One race: the merchant hears of the payment, `told_peers` others of the second spend.

    Parameters
    ----------
    n_nodes : int
        Honest nodes, the merchant (number 0) among them; each mines with the same hash power.
    told_peers : int
        Drawn at random; the attacker is connected to them and to the merchant.
    seed, number : int
        Each number is another network and race.
    """
    run_seed = derive_seed(seed, "experiment", "double-spend", "race", told_peers, number)
    source = stream(run_seed, "graph")
    graph = networkx.random_regular_graph(PEERS_PER_NODE, n_nodes, seed=source)
    told = tuple(sorted(source.sample(range(1, n_nodes), told_peers)))
    attacker = n_nodes
    graph.add_edges_from((attacker, peer) for peer in (MERCHANT, *told))
    network = FullNetwork(
        graph, dict.fromkeys(range(n_nodes), 1.0), seed=run_seed,
        disguises={attacker: lambda node: RaceSpender(node, merchants=[MERCHANT])},
    )  # fmt: skip
    network.find(attacker)
    network.find(MERCHANT)
    network.engine.submit(attacker, Defraud(network.address(MERCHANT), PRICE_SATOSHI))
    network.settle()
    node: Any = network.engine.nodes[attacker]
    payment, second, _ = node.conflict
    merchant = network.node(MERCHANT)
    assert payment.txid in merchant.pool, "the merchant hears of the payment first"
    holders = [i for i in range(n_nodes) if second.txid in network.node(i).pool]
    is_warned = any(peer.knows(second.txid) for peer in merchant.peers.values())
    network.mine_next()
    is_lost = confirmations(merchant.chain, second.txid) > 0
    return Race(network, node.conflict, told, tuple(holders), is_warned, is_lost)


def expected_share(race: Race) -> float:
    """Share of the hash power that works for the second spend: the chance to lose the race."""
    return len(race.holders) / (len(race.network.engine.nodes) - 1)


def tree_frame(attack: Attack) -> tuple[pandas.DataFrame, str, str]:
    """The merchant's block tree, its tip before the private chain was published, and its tip now.

    Returns
    -------
    DataFrame, str, str
        As `report.chains.block_tree` wants it; the old tip is empty if the chain never changed.
    """
    import pandas

    chain = attack.network.chain(MERCHANT)
    marks = {attack.conflict.payment.txid: "pay", attack.conflict.second.txid: "back"}
    names = {**dict.fromkeys(MINERS, "H"), ATTACKER: "A"}
    rows = tree_rows(chain, names, marks=marks, from_height=START_HEIGHT)
    titles = {row["block_id"]: row["block"] for row in rows}
    old_tip = titles[attack.old_tip] if attack.old_tip else ""
    return pandas.DataFrame(rows), old_tip, titles[chain.tip.block_id]
