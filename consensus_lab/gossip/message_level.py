"""The same race on the message-level engine: real nodes, real messages, the truth to compare with.

Slow (some ten thousand deliveries per second) and plain: a `ConnectedNode` per vertex of the graph,
linked as the network says, each block handed to its miner when the schedule says.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy

from consensus_lab.gossip import state as names
from consensus_lab.gossip.chance import jitter_key, jitter_ns, jitter_per_million, lacks
from consensus_lab.gossip.conditions import Conditions
from consensus_lab.gossip.mining import Schedule
from consensus_lab.gossip.pool_operator import Operators
from consensus_lab.gossip.race import Race
from consensus_lab.gossip.simulate import HISTOGRAM_BIN_NS, HISTOGRAM_BINS, REACH_FRACTIONS
from consensus_lab.gossip.timeline import CUT, OFF, ON, Change, Timeline
from consensus_lab.nakamoto.relay_connections import ConnectedNode, Lost, Met
from consensus_lab.nakamoto.relay_gateway import GatewayNode
from consensus_lab.nakamoto.relay_messages import (
    BlockMessage,
    Branch,
    CompactBlock,
    GetBlocks,
    GetData,
    GetTransactions,
    Headers,
    Inv,
    SendCompact,
    Transactions,
)
from consensus_lab.nakamoto.relay_options import Found, Relay, Validation
from consensus_lab.network.arrays import Network, engine_links
from consensus_lab.node import Message, NodeId, message_identity
from consensus_lab.sim.engine import Engine
from consensus_lab.sim.links import Links


def simulate(
    network: Network,
    schedule: Schedule,
    *,
    relay: Relay | None = None,
    validation: Validation | None = None,
    overlay: Iterable[int] = (),
    seed: int = 0,
    reach_fractions: tuple[float, ...] = REACH_FRACTIONS,
    conditions: Conditions | None = None,
) -> Race:
    """Relay every block of a schedule through a network, message by message.

    Parameters
    ----------
    network, schedule, relay, validation, overlay, seed, reach_fractions, conditions
        As for `simulate.simulate`.

    Returns
    -------
    Race
        With every arrival kept.
    """
    n, n_blocks = network.n_nodes, schedule.n_blocks
    received = numpy.full((n_blocks + 1, n), -1, numpy.int64)
    accepted = numpy.full((n_blocks + 1, n), -1, numpy.int64)
    relay, inside = relay or Relay(), frozenset(overlay)
    conditions = (conditions or Conditions()).validated(n)
    lives: list[list[ConnectedNode]] = [[] for _ in range(n)]

    def make_node(node_id: int, disk: Any) -> ConnectedNode:
        peers = network.neighbours(node_id)
        options: dict[str, Any] = {
            "relay": relay,
            "validation": validation,
            "lacks_transactions": lacks(seed, relay.missing_chance, node_id),
            "overlay": inside.intersection(peers) if node_id in inside else (),
            "disk": disk,
            "is_up": lambda peer, now: timeline.is_up(node_id, peer, now),
            "is_back": bool(lives[node_id]),
        }
        lives[node_id].append(_node(node_id, peers, conditions, options))
        return lives[node_id][-1]

    timeline = Timeline(conditions, network)
    links = GossipLinks(engine_links(network), timeline, jitter=conditions.jitter, seed=seed)
    engine = Engine(make_node, range(n), seed=seed, links=links)
    for change in timeline.changes:
        _schedule(engine, timeline, change)
    match = numpy.full(n_blocks + 1 if conditions.pools else 0, -1, numpy.int64)
    operators = Operators(conditions, engine, match)

    def note(node_id: int, effect: Any, now: int) -> None:
        table = {"received": received, "accepted": accepted}[effect.kind]
        table[effect.detail, node_id] = now
        if effect.kind == "accepted":
            operators.accepted(node_id, effect.detail)

    engine.on_note = note
    for i in range(n_blocks):
        command = Found(i + 1, int(schedule.size_bytes[i]))
        engine.submit(int(schedule.miner[i]), command, at_ns=int(schedule.found_ns[i]))
    engine.run()
    return replace(
        _race(network, schedule, lives, received, accepted, reach_fractions),
        match=match,
        events=engine.events,
        end_ns=engine.now,
    )


def _node(
    node_id: NodeId, peers: tuple[NodeId, ...], conditions: Conditions, options: dict[str, Any]
) -> ConnectedNode:
    """A plain node, or a pool's gateway."""
    place = conditions.pool_of().get(node_id)
    if place is None:
        return ConnectedNode(node_id, peers, **options)
    withholds = conditions.pools[place].strategy is not None
    return GatewayNode(node_id, peers, withholds=withholds, **options)


def _schedule(engine: Engine, timeline: Timeline, change: Change) -> None:
    """Hand a change to the engine: the node's own, then what its neighbours notice of it."""
    time, kind, subject = change
    if kind == OFF:
        engine.at(time, lambda: engine.crash(subject))
    elif kind == ON:
        engine.at(time, lambda: engine.restart(subject))
    news = Lost if kind in (OFF, CUT) else Met
    for node, peer in timeline.ends(change):
        if news is Lost or timeline.is_up(node, peer, time):
            engine.submit(node, news(peer), at_ns=time)


def _kind(message: Any) -> int:
    """The kind of event that the message is in the compiled path."""
    if isinstance(message, GetData):
        return names.GETCOMPACT if message.compact else names.GETDATA
    if isinstance(message, SendCompact):
        return names.WANT if message.is_wanted else names.UNWANT
    return _KINDS[type(message)]


_KINDS = {
    Inv: names.INV, Headers: names.INV, BlockMessage: names.ARRIVED,
    CompactBlock: names.ARRIVED_COMPACT, GetTransactions: names.GETTXN,
    Transactions: names.ARRIVED_FILL, GetBlocks: names.ASK, Branch: names.BRANCH,
}  # fmt: skip


class GossipLinks(Links):
    """A network's links, which carry nothing between nodes that are not connected.

    What goes by an overlay has lines of its own, as fast as the others.

    Parameters
    ----------
    links : Links
        Of the network, see `engine_links`.
    timeline : Timeline
        A message is lost when its connection is, before it arrives.
    jitter : float
        See `Conditions`.
    seed : int
        Of the run.
    """

    def __init__(self, links: Links, timeline: Timeline, *, jitter: float, seed: int) -> None:
        super().__init__(links.default, pairs=links.pairs, bandwidth=links.bandwidth)
        self.overlay = Links(links.default, bandwidth=links.bandwidth)
        self.timeline = timeline
        self.jitter, self.jitter_key = jitter_per_million(jitter), jitter_key(seed)
        self.now = 0

    def leave(self, sender: NodeId, message: Message, now: int) -> int:
        """When the last byte has left the sender's line."""
        self.now = now
        if getattr(message, "by_overlay", False):
            return self.overlay.leave(sender, message, now)
        return super().leave(sender, message, now)

    def received(self, sender: NodeId, receiver: NodeId, message: Message, arrival: int) -> int:
        """When the last byte is through the receiver's line."""
        if getattr(message, "by_overlay", False):
            return self.overlay.received(sender, receiver, message, arrival)
        return super().received(sender, receiver, message, arrival)

    def forget(self, node_id: NodeId) -> None:
        """A node went off: its queues are empty."""
        super().forget(node_id)
        self.overlay.forget(node_id)

    def travel(
        self, sender: NodeId, receiver: NodeId, message: Message, left: int
    ) -> tuple[int, ...]:
        """Arrival times, as far as the connection lasts."""
        arrivals = super().travel(sender, receiver, message, left)
        if self.jitter:
            latency_ns = self.link(sender, receiver).latency_ns
            later_ns = jitter_ns(
                self.jitter_key, per_million=self.jitter, latency_ns=latency_ns, sender=sender,
                receiver=receiver, kind=_kind(message), block=message_identity(message) or 0,
            )  # fmt: skip
            arrivals = tuple(at + later_ns for at in arrivals)
        if self.timeline.is_empty:
            return arrivals
        lasts = self.timeline.is_up
        return tuple(at for at in arrivals if lasts(sender, receiver, self.now, at))


def _race(
    network: Network,
    schedule: Schedule,
    lives: list[list[ConnectedNode]],
    received: numpy.ndarray,
    accepted: numpy.ndarray,
    reach_fractions: tuple[float, ...],
) -> Race:
    """Read the outcome from the nodes' own trees and the times noted."""
    n, n_blocks = network.n_nodes, schedule.n_blocks
    last = [nodes[-1] for nodes in lives]
    parent = numpy.full(n_blocks + 1, -1, numpy.int64)
    height = numpy.zeros(n_blocks + 1, numpy.int64)
    for block in range(1, n_blocks + 1):
        mined = last[int(schedule.miner[block - 1])].tree.blocks.get(block)
        if mined is not None:
            parent[block], height[block] = mined.parent, mined.height
    delay = numpy.where(accepted < 0, 0, accepted)
    delay[1:] -= schedule.found_ns[:, None] * (accepted[1:] >= 0)
    has = accepted >= 0
    reach = sorted({max(1, int(numpy.ceil(fraction * n))) for fraction in reach_fractions})
    reached = numpy.full((n_blocks + 1, len(reach)), -1, numpy.int64)
    for block in range(1, n_blocks + 1):
        delays = numpy.sort(delay[block][has[block]])
        for column, count in enumerate(reach):
            if count <= len(delays):
                reached[block, column] = delays[count - 1]
    bins = numpy.minimum(delay[has] // HISTOGRAM_BIN_NS, HISTOGRAM_BINS)
    return Race(
        network=network,
        schedule=schedule,
        parent=parent,
        height=height,
        accepted_by=numpy.concatenate([[n], has[1:].sum(axis=1)]),
        delay_sum_ns=delay.sum(axis=1),
        reach_count=numpy.array(reach, numpy.int64),
        reached_ns=reached,
        tip=numpy.array([node.tree.tip.number for node in last], numpy.int64),
        histogram=numpy.bincount(bins, minlength=HISTOGRAM_BINS + 1),
        histogram_bin_ns=HISTOGRAM_BIN_NS,
        node_delay_sum_ns=delay.sum(axis=0),
        node_deliveries=has.sum(axis=0),
        uploads=numpy.array([sum(n.blocks_sent for n in nodes) for nodes in lives], numpy.int64),
        received_ns=received,
        accepted_ns=accepted,
        reorganisations=sum(node.reorganisations for nodes in lives for node in nodes),
        reorganisation_depth_max=max(
            node.reorganisation_depth_max for nodes in lives for node in nodes
        ),
        orphans=sum(node.orphans_kept for nodes in lives for node in nodes),
        events=0,
        end_ns=0,
    )
