"""Floods played: payments without need, announcements of nothing, blocks of rubbish."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import networkx

from consensus_lab.adversaries.flood import Announce, Flooder, Prepare, Rubbish, Spam
from consensus_lab.experiments.full_network import FullNetwork, confirmations
from consensus_lab.nakamoto.full_node import FullNode
from consensus_lab.nakamoto.full_node_messages import Pay
from consensus_lab.nakamoto.mempool_entry import MempoolOptions
from consensus_lab.nakamoto.peer_state import TokenBucket
from consensus_lab.node import Effects, Message, NodeId, message_size
from consensus_lab.sim.links import NANOSECONDS_PER_SECOND
from consensus_lab.sim.streams import derive_seed

MINUTE_NS = 60 * NANOSECONDS_PER_SECOND
PAYEE, MINERS, PAYER, FLOODER = 0, (1, 2), 3, 4
HONEST = (PAYEE, *MINERS, PAYER)
PAYMENT_SATOSHI = 1_000_000
HONEST_FEE_RATE = 10
NO_LIMIT_BYTES = 300_000_000
NO_RATE_LIMIT = 10**9
"""Tokens per second: one each nanosecond."""


class Watched:
    """A full node with a meter, and with some of its protections taken away.

    Parameters
    ----------
    node : FullNode
    has_bans, has_rate_limit : bool
        Protections that it keeps.

    Attributes
    ----------
    pool_bytes_max : int
        Most that waited in its pool.
    heard_bytes : int
        From the flooder, while it was listened to.
    """

    def __init__(
        self, node: FullNode, *, has_bans: bool = True, has_rate_limit: bool = True
    ) -> None:
        self.node, self.node_id = node, node.node_id
        self.pool_bytes_max = self.heard_bytes = 0
        for peer in node.peers.values():
            if not has_bans:
                peer.punish = lambda rule, now: False  # type: ignore[method-assign]
            if not has_rate_limit:
                peer.bucket = TokenBucket(tokens_per_s=NO_RATE_LIMIT, tokens_max=NO_RATE_LIMIT)

    def start(self, now: int) -> Effects:
        """As the honest node."""
        return self.node.start(now)

    def receive(self, sender: NodeId, message: Message, now: int) -> Effects:
        """Read the meters."""
        peer = self.node.peers.get(sender)
        if sender == FLOODER and peer is not None and not peer.is_banned(now):
            self.heard_bytes += message_size(message)
        effects = self.node.receive(sender, message, now)
        self.pool_bytes_max = max(self.pool_bytes_max, self.node.pool.size_bytes)
        return effects

    def timer(self, name: str, now: int) -> Effects:
        """As the honest node."""
        return self.node.timer(name, now)

    def submit(self, command: Any, now: int) -> Effects:
        """As the honest node."""
        return self.node.submit(command, now)


def _network(
    seed: int, options: MempoolOptions, *, flooder_peers: tuple[NodeId, ...] = HONEST,
    **protections: Any,
) -> FullNetwork:  # fmt: skip
    """Four honest nodes, all connected, and the flooder; two of them mine."""
    graph = networkx.complete_graph(HONEST)
    graph.add_edges_from((FLOODER, peer) for peer in flooder_peers)
    disguises: dict[NodeId, Any] = dict.fromkeys(
        HONEST, lambda node: Watched(node, **protections)
    )  # fmt: skip
    disguises[FLOODER] = Flooder
    return FullNetwork(
        graph, dict.fromkeys(MINERS, 1.0), seed=seed, disguises=disguises, pool_options=options,
    )  # fmt: skip


class Flooded(NamedTuple):
    """What a flood did.

    Attributes
    ----------
    pool_bytes_max : int
        Most that waited in one honest node's pool.
    sent_bytes : int
        By all honest nodes together, from the flood's begin to its end.
    delays_min : list of float
        Of each honest payment, from the wallet into a block.
    unconfirmed : int
        Honest payments that were in no block when the watch ended.
    payments_told, fees_satoshi : int
        By the flooder, and what that costs if all are mined.
    """

    pool_bytes_max: int
    sent_bytes: int
    delays_min: list[float]
    unconfirmed: int
    payments_told: int
    fees_satoshi: int


def flood_payments(
    *, fee_rate: int | None, relay_fee_rate_min: int, pool_bytes_max: int, per_minute: int,
    minutes: int, honest_payments: int, block_weight_max: int, seed: int, number: int,
) -> Flooded:  # fmt: skip
    """Flood a network with valid payments, and watch what becomes of honest ones.

    Parameters
    ----------
    fee_rate : int or None
        The flood's, satoshi per byte; None for no flood.
    relay_fee_rate_min, pool_bytes_max : int
        Every pool's limits, see `MempoolOptions`.
    per_minute, minutes : int
        Payments of the flood, and how long it lasts.
    honest_payments : int
        Spread evenly over the flood, at 10 satoshi per byte.
    block_weight_max : int
        Of every block: what all compete for.
    seed, number : int
        Each number is another run, with the same draws for every setting.
    """
    options = MempoolOptions(relay_fee_rate_min=relay_fee_rate_min)
    run_seed = derive_seed(seed, "experiment", "flood", number)
    network = _network(run_seed, options)
    network.find(FLOODER)
    network.find(PAYER, count=honest_payments)
    network.engine.submit(FLOODER, Prepare(per_minute * minutes))
    network.settle()
    network.find(MINERS[0])
    # The flooder's coins are made before the limits hold: one payment of them may exceed both.
    for one in network.engine.nodes.values():
        one.node.pool.options = replace(options, size_bytes_max=pool_bytes_max)
    watched: list[Any] = [network.engine.nodes[i] for i in HONEST]
    for one in watched:
        one.node.ledger.block_weight_max, one.pool_bytes_max = block_weight_max, 0
    begin_ns, sent = network.engine.now, _sent_bytes(network)
    for minute in range(minutes):
        if fee_rate is not None:
            command = Spam(per_minute, fee_rate)
            network.engine.submit(FLOODER, command, at_ns=begin_ns + minute * MINUTE_NS)
    pays_ns = [begin_ns + place * minutes * MINUTE_NS // honest_payments
               for place in range(honest_payments)]  # fmt: skip
    for place, at_ns in enumerate(pays_ns):
        pay = Pay(place, network.address(PAYEE), PAYMENT_SATOSHI, HONEST_FEE_RATE)
        network.engine.submit(PAYER, pay, at_ns=at_ns)
    asked: dict[bytes, int] = {}
    network.engine.on_reply = lambda _node, effect, _now: asked.setdefault(
        effect.result, pays_ns[effect.request_id]
    )
    end_ns = begin_ns + minutes * MINUTE_NS
    found_ns: dict[bytes, int] = {}
    while network.engine.now < end_ns:
        network.mine_next(until_ns=end_ns)
        _note_confirmed(network, asked, found_ns)
    sent = _sent_bytes(network) - sent
    for _ in range(2 * honest_payments):
        if len(found_ns) == honest_payments:
            break
        network.mine_next()
        _note_confirmed(network, asked, found_ns)
    flooder: Any = network.engine.nodes[FLOODER]
    return Flooded(
        max(one.pool_bytes_max for one in watched), sent,
        [(found_ns[txid] - asked[txid]) / MINUTE_NS for txid in sorted(found_ns)],
        honest_payments - len(found_ns), flooder.payments_told, flooder.fees_satoshi,
    )  # fmt: skip


def _sent_bytes(network: FullNetwork) -> int:
    return sum(network.engine.processes[i].bytes_sent for i in HONEST)


def _note_confirmed(
    network: FullNetwork, asked: dict[bytes, int], found_ns: dict[bytes, int]
) -> None:
    for txid in asked:
        if txid not in found_ns and confirmations(network.chain(PAYEE), txid):
            found_ns[txid] = network.engine.now


class Nuisance(NamedTuple):
    """What one victim had to hear from the flooder, sent itself, and whether it banned him."""

    heard_bytes: int
    sent_bytes: int
    is_banned: bool


def send_nothing(*, messages: int, items: int, has_rate_limit: bool, seed: int) -> Nuisance:
    """Announce payments that do not exist to one victim, a message every 100 ms."""
    network = _network(
        seed, MempoolOptions(), flooder_peers=(PAYEE,), has_rate_limit=has_rate_limit
    )
    begin_ns, sent = network.engine.now, network.engine.processes[PAYEE].bytes_sent
    for place in range(messages):
        network.engine.submit(FLOODER, Announce(1, items), at_ns=begin_ns + place * 10**8)
    network.settle(messages * 10**8 + MINUTE_NS)
    return _nuisance(network, sent)


def send_rubbish(*, blocks: int, size_bytes: int, has_bans: bool, seed: int) -> Nuisance:
    """Send invalid blocks under the tip's real header to one victim, one a second."""
    network = _network(seed, MempoolOptions(), flooder_peers=(PAYEE,), has_bans=has_bans)
    network.find(MINERS[0])
    begin_ns, sent = network.engine.now, network.engine.processes[PAYEE].bytes_sent
    for place in range(blocks):
        at_ns = begin_ns + place * NANOSECONDS_PER_SECOND
        network.engine.submit(FLOODER, Rubbish(1, size_bytes), at_ns=at_ns)
    network.settle(blocks * NANOSECONDS_PER_SECOND + MINUTE_NS)
    return _nuisance(network, sent)


def _nuisance(network: FullNetwork, sent_before: int) -> Nuisance:
    victim: Any = network.engine.nodes[PAYEE]
    is_banned = victim.node.peers[FLOODER].is_banned(network.engine.now)
    sent = network.engine.processes[PAYEE].bytes_sent - sent_before
    return Nuisance(victim.heard_bytes, sent, is_banned)
