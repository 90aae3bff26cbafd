"""A network of full nodes that find each other through a DNS seed, and a newcomer that joins it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from consensus_lab.experiments.full_network import RULES, START_S, new_wallet
from consensus_lab.nakamoto.connected_node import ConnectedNode
from consensus_lab.nakamoto.discovery import DiscoveryNode, DnsSeed
from consensus_lab.nakamoto.full_node import FullNode
from consensus_lab.nakamoto.full_node_messages import Found
from consensus_lab.nakamoto.validation import ScriptCache
from consensus_lab.node import Disk, Node, NodeId
from consensus_lab.sim.engine import Engine
from consensus_lab.sim.links import NANOSECONDS_PER_SECOND, Bandwidth, Link, Links
from consensus_lab.sim.streams import stream

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

DNS_SEED = 1_000_000
KNOWN_TO_SEED = (0, 1)
LATENCY_NS = NANOSECONDS_PER_SECOND // 20
MINUTE_NS = 60 * NANOSECONDS_PER_SECOND
LINE_BYTES_PER_S = 5_000
"""A slow line, so that one sees headers come before blocks."""

SAMPLES_PER_S = 5


def connected_network(ids: Iterable[NodeId], *, seed: int) -> Engine:
    """Full nodes with wallets that know nobody but one DNS seed."""
    scripts = ScriptCache()

    def make(node_id: NodeId, disk: Disk) -> Node:
        source = stream(seed, "discovery", node_id)
        if node_id == DNS_SEED:
            return DnsSeed(node_id, KNOWN_TO_SEED, source=source)
        books = {key: value for key, value in disk.items() if isinstance(key, tuple)}
        full = FullNode(
            node_id, (), rules=RULES, wallet=new_wallet(seed, node_id), start_s=START_S,
            disk=books, scripts=scripts,
        )  # fmt: skip
        discovery = DiscoveryNode(node_id, disk, seeds=(DNS_SEED,), source=source)
        return ConnectedNode(full, discovery, disk=disk)

    members = sorted(ids)
    lines = dict.fromkeys(members, Bandwidth(LINE_BYTES_PER_S, LINE_BYTES_PER_S))
    links = Links(Link(LATENCY_NS), bandwidth=lines)
    return Engine(make, [*members, DNS_SEED], seed=seed, links=links)


def newcomer_course(
    *, n_nodes: int = 8, blocks: int = 100, seed: int = 1, watch_s: int = 6
) -> pandas.DataFrame:
    """How one more node catches up with a chain of so many blocks.

    Returns
    -------
    DataFrame
        One row per fifth of a second since the newcomer's start: `seconds`, `peers`, `headers` and
        `blocks`, the heights of its best header and of its best block.
    """
    import pandas

    newcomer = n_nodes
    engine = connected_network(range(n_nodes + 1), seed=seed)
    engine.crash(newcomer)  # It is not born yet.
    for number in range(blocks):
        engine.submit(number % n_nodes, Found(), at_ns=(number + 2) * MINUTE_NS)
    engine.run(until_ns=(blocks + 3) * MINUTE_NS)
    engine.restart(newcomer)
    begin_ns = engine.now
    rows: list[dict[str, Any]] = []
    for sample in range(1, SAMPLES_PER_S * watch_s + 1):
        engine.run(until_ns=begin_ns + sample * NANOSECONDS_PER_SECOND // SAMPLES_PER_S)
        node = engine.nodes[newcomer]
        nodes = node.full.chain.tree.nodes.values()
        rows.append({
            "seconds": sample / SAMPLES_PER_S, "peers": len(node.discovery.peers),
            "headers": max(item.height for item in nodes), "blocks": node.full.chain.height,
        })  # fmt: skip
    return pandas.DataFrame(rows)


def newcomer_figure(course: pandas.DataFrame) -> Figure:
    """Headers and blocks over time."""
    from consensus_lab.report.curves import curve_with_band

    long = course.melt("seconds", ["headers", "blocks"], "what", "height")
    end = course["headers"].max()
    done = course[course["blocks"] == end]["seconds"]
    title = f"{end} blocks are there after {done.min():g} s" if len(done) else "Still behind"
    return curve_with_band(
        long, x="seconds", y="height", group="what", group_label="best",
        x_label="time since its start (s)", y_label="height (blocks)", title=title,
        detail=f"{course['peers'].max()} peers found through a DNS seed; headers come first",
    )  # fmt: skip
