"""The same race on the message-level engine: real nodes, real messages, the truth to compare with.

Slow (some ten thousand deliveries per second) and plain: a `RelayNode` per vertex of the graph,
linked as the network says, each block handed to its miner when the schedule says.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy

from consensus_lab.gossip.chance import lacks
from consensus_lab.gossip.conditions import Conditions
from consensus_lab.gossip.mining import Schedule
from consensus_lab.gossip.pool_operator import Operators
from consensus_lab.gossip.race import Race
from consensus_lab.gossip.simulate import HISTOGRAM_BIN_NS, HISTOGRAM_BINS, REACH_FRACTIONS
from consensus_lab.nakamoto.relay import RelayNode
from consensus_lab.nakamoto.relay_gateway import GatewayNode
from consensus_lab.nakamoto.relay_options import Found, Relay, Validation
from consensus_lab.network.arrays import Network, engine_links
from consensus_lab.sim.engine import Engine


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
    pool_of = conditions.pool_of()

    def make_node(node_id: int, disk: Any) -> RelayNode:
        peers = network.neighbours(node_id)
        options = {
            "relay": relay,
            "validation": validation,
            "lacks_transactions": lacks(seed, relay.missing_chance, node_id),
            "overlay": inside.intersection(peers) if node_id in inside else (),
            "disk": disk,
        }
        if node_id not in pool_of:
            return RelayNode(node_id, peers, **options)
        withholds = conditions.pools[pool_of[node_id]].strategy is not None
        return GatewayNode(node_id, peers, withholds=withholds, **options)

    engine = Engine(make_node, range(n), seed=seed, links=engine_links(network))

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
        _race(network, schedule, engine, received, accepted, reach_fractions), match=match
    )


def _race(
    network: Network,
    schedule: Schedule,
    engine: Engine,
    received: numpy.ndarray,
    accepted: numpy.ndarray,
    reach_fractions: tuple[float, ...],
) -> Race:
    """Read the outcome from the nodes' own trees and the times noted."""
    n, n_blocks = network.n_nodes, schedule.n_blocks
    nodes: list[Any] = [engine.nodes[node_id] for node_id in range(n)]
    parent = numpy.full(n_blocks + 1, -1, numpy.int64)
    height = numpy.zeros(n_blocks + 1, numpy.int64)
    for block in range(1, n_blocks + 1):
        mined = nodes[int(schedule.miner[block - 1])].tree.blocks[block]
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
        tip=numpy.array([node.tree.tip.number for node in nodes], numpy.int64),
        histogram=numpy.bincount(bins, minlength=HISTOGRAM_BINS + 1),
        histogram_bin_ns=HISTOGRAM_BIN_NS,
        node_delay_sum_ns=delay.sum(axis=0),
        node_deliveries=has.sum(axis=0),
        uploads=numpy.array([node.blocks_sent for node in nodes], numpy.int64),
        received_ns=received,
        accepted_ns=accepted,
        reorganisations=sum(node.reorganisations for node in nodes),
        reorganisation_depth_max=max(node.reorganisation_depth_max for node in nodes),
        orphans=sum(node.orphans_kept for node in nodes),
        events=engine.events,
        end_ns=engine.now,
    )
