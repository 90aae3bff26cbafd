"""A simulated day of a hundred full nodes whose wallets pay each other under faults."""

from __future__ import annotations

import pytest

from consensus_lab.sim.faults import Crash, Trouble, install, partition
from tests.nakamoto.test_full_node import MINUTE_NS, Network, confirmed_in

HOUR_NS = 60 * MINUTE_NS
NODES = 100


@pytest.mark.full
def test_a_hundred_nodes_agree_after_a_day_of_faults() -> None:
    """Loss, a partition and crashes: one tip, supply conserved, nothing final is lost."""
    steps = (1, 7, 23, 41)
    graph = {
        i: {(i + step) % NODES for step in (*steps, *(-step for step in steps))}
        for i in range(NODES)
    }
    network = Network(NODES, seed=4, graph=graph)
    network.mine_until(24 * HOUR_NS)
    network.pay_until(22 * HOUR_NS, begin_ns=4 * HOUR_NS, count=1000)
    crashes = [
        Crash(i, at_ns=(2 + i % 17) * HOUR_NS, restart_ns=(3 + i % 17) * HOUR_NS)
        for i in range(0, NODES, 7)
    ]
    install(network.engine, [
        Trouble(at_ns=HOUR_NS, until_ns=23 * HOUR_NS, loss=0.05, duplicate=0.02),
        *partition(range(40), range(40, NODES), at_ns=8 * HOUR_NS, until_ns=9 * HOUR_NS),
        *crashes,
    ])  # fmt: skip
    network.engine.run(until_ns=24 * HOUR_NS + 20 * MINUTE_NS)
    first = network.check_agreement()
    made = {result for result in network.replies.values() if isinstance(result, bytes)}
    assert len(made) > 100
    assert all(txid in first.pool for txid in made - confirmed_in(first))
