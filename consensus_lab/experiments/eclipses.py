"""Eclipses played: a victim's address book filled, and an eclipsed merchant deceived."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import networkx

from consensus_lab import constants
from consensus_lab.adversaries.double_spend import Conflict, Defraud
from consensus_lab.adversaries.eclipse import Close, Flood, Gatekeeper, Impostor, Open
from consensus_lab.experiments.full_network import FullNetwork, confirmations
from consensus_lab.nakamoto.discovery import BOOK_MAX, INBOUND_MAX, DiscoveryNode, DnsSeed
from consensus_lab.nakamoto.subsidy import SATOSHI_PER_COIN
from consensus_lab.node import Node, NodeId
from consensus_lab.sim.engine import Engine
from consensus_lab.sim.links import NANOSECONDS_PER_SECOND, Link
from consensus_lab.sim.streams import derive_seed, stream

LATENCY = Link(50_000_000)
SETTLED_NS = 60 * NANOSECONDS_PER_SECOND
"""Longer than it takes to open any number of connections that is tried here."""

PRICE_SATOSHI = 10 * SATOSHI_PER_COIN
GATEKEEPERS = 8
START_HEIGHT = 2


class Eclipse(NamedTuple):
    """A victim after its restart: its outbound peers, how many are the attacker's, and its book."""

    outbound: int
    impostors: int
    book_honest: int
    book_attacker: int

    @property
    def is_complete(self) -> bool:
        """Are all peers the attacker's?"""
        return self.impostors == self.outbound


def fill_book(
    honest: int, attacker: int, *, outbound: int, seed: int = 1, number: int = 0
) -> Eclipse:
    """Let a node find its peers, fill its book, and let it restart.

    The victim accepts nobody (all its inbound slots count as taken): what it hears depends on the
    connections that it opens.

    Parameters
    ----------
    honest, attacker : int
        Addresses of either kind, all of which answer.
    outbound : int
        Connections that the victim opens.
    seed, number : int
        Each number is another victim.
    """
    victim, dns = 0, 1
    honest_ids = range(2, 2 + honest)
    impostor_ids = range(2 + honest, 2 + honest + attacker)
    told = {True: tuple(honest_ids), False: tuple(impostor_ids)}
    run_seed = derive_seed(seed, "experiment", "eclipse", honest, attacker, outbound, number)
    source = stream(run_seed, "discovery")

    def make(node_id: NodeId, disk: Any) -> Node:
        if node_id == victim:
            return DiscoveryNode(
                node_id, disk, seeds=[dns], source=source, outbound_max=outbound,
                inbound_max=INBOUND_MAX,
            )  # fmt: skip
        if node_id == dns:
            return DnsSeed(node_id, honest_ids, source=source)
        # An honest node that is asked answers just the same; it only knows others.
        return Impostor(node_id, told=told[node_id in honest_ids])

    engine = Engine(make, range(2 + honest + attacker), seed=run_seed, links=LATENCY)
    engine.run(until_ns=SETTLED_NS)
    if attacker:
        engine.submit(impostor_ids[0], Flood(victim))
        engine.run(until_ns=engine.now + NANOSECONDS_PER_SECOND)
    book = engine.nodes[victim].book  # type: ignore[attr-defined]
    mine = sum(address in impostor_ids for address in book)
    engine.crash(victim)
    engine.restart(victim)
    engine.run(until_ns=engine.now + SETTLED_NS)
    peers = engine.nodes[victim].outbound  # type: ignore[attr-defined]
    return Eclipse(len(peers), sum(peer in impostor_ids for peer in peers), len(book) - mine, mine)


def eclipse_probability(honest: int, attacker: int, *, outbound: int) -> float:
    """Chance that all draws without replacement from a book are the attacker's.

    Examples
    --------
    >>> round(eclipse_probability(50, 50, outbound=8), 6), round(0.5**8, 6)
    (0.002885, 0.003906)
    """
    # What does not fit into the book pushes the oldest addresses out, and those are honest.
    honest = max(0, min(honest, BOOK_MAX - attacker))
    draws = min(outbound, honest + attacker)
    return math.comb(attacker, draws) / math.comb(honest + attacker, draws)


class Deception(NamedTuple):
    """An eclipsed merchant.

    Attributes
    ----------
    network : FullNetwork
        As it stands at the end.
    conflict : Conflict
        What the merchant was shown, and what the network has.
    is_deceived : bool
        Did the merchant see the payment under its confirmations?
    waited_s : float
        From the payment until then, or until the end.
    outside_confirmations : int
        Of the second spend, in the network, when the merchant accepted.
    is_lost : bool
        After the door was opened: is the payment gone?
    """

    network: FullNetwork
    conflict: Conflict
    is_deceived: bool
    waited_s: float
    outside_confirmations: int
    is_lost: bool


VICTIM, HONEST = 0, (1, 2, 3)
FIRST_GATEKEEPER = 4


def deceive(
    attacker_share: float, *, confirmations_awaited: int, honest_peers: int, seed: int = 1,
    number: int = 0, give_up_intervals: float = 20.0,
) -> Deception:  # fmt: skip
    """Pay an eclipsed merchant with a coin that the network sees spent otherwise.

    Parameters
    ----------
    attacker_share : float
        Of the hash power; it mines behind the door.
    confirmations_awaited : int
        By the merchant.
    honest_peers : int
        Honest nodes, 0 to 3, that the merchant is connected to all the same.
    seed, number : int
        Each number is another attack.
    give_up_intervals : float
        The merchant waits so many times as long as the attacker needs on average.
    """
    gates = range(FIRST_GATEKEEPER, FIRST_GATEKEEPER + GATEKEEPERS)
    graph = networkx.complete_graph(HONEST)
    graph.add_edges_from((VICTIM, gate) for gate in gates)
    graph.add_edges_from((gates[0], node) for node in (*HONEST, *gates[1:]))
    graph.add_edges_from((VICTIM, node) for node in HONEST[:honest_peers])
    shares = dict.fromkeys(HONEST, (1.0 - attacker_share) / len(HONEST))
    inside = {VICTIM, *gates}
    network = FullNetwork(
        graph, {**shares, gates[0]: attacker_share},
        seed=derive_seed(seed, "experiment", "deceive", honest_peers, number),
        disguises=dict.fromkeys(gates, lambda node: Gatekeeper(node, inside=inside)),
    )  # fmt: skip
    network.find(gates[0])
    network.find(HONEST[0])
    gate: Any = network.engine.nodes[gates[0]]
    begin_ns = network.engine.now
    network.engine.submit(gates[0], Close())
    network.engine.submit(gates[0], Defraud(network.address(VICTIM), PRICE_SATOSHI))
    network.settle()
    payment, second, _ = gate.conflict
    end_s = give_up_intervals * confirmations_awaited * constants.BLOCK_INTERVAL_S / attacker_share
    end_ns = begin_ns + round(end_s * NANOSECONDS_PER_SECOND)
    victim, outside = network.chain(VICTIM), network.chain(HONEST[-1])
    while (buried := confirmations(victim, payment.txid)) < confirmations_awaited:
        if network.engine.now > end_ns or confirmations(victim, second.txid):
            break
        network.mine_next()
    waited_s = (network.engine.now - begin_ns) / NANOSECONDS_PER_SECOND
    outside_confirmations = confirmations(outside, second.txid)
    # With the goods in hand the attacker opens the door when the network is ahead for certain.
    while confirmations(victim, payment.txid) and confirmations(outside, second.txid) and (
        outside.height <= victim.height
    ):
        network.find(HONEST[0])
    network.engine.submit(gates[0], Open())
    while victim.tip.block_id != outside.tip.block_id:
        # The next block outside tells the gatekeeper, and through him the victim, what it missed.
        network.find(HONEST[0])
    is_lost = buried >= confirmations_awaited and confirmations(victim, second.txid) > 0
    return Deception(network, gate.conflict, buried >= confirmations_awaited, waited_s,
                     outside_confirmations, is_lost)  # fmt: skip
