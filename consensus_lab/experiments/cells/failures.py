"""What may fail before agreement stops: servers of a cluster, nodes of a network."""

from __future__ import annotations

from typing import Any

from consensus_lab.experiments.cells.membership import is_committed
from consensus_lab.experiments.clusters import ClusterParameters, start
from consensus_lab.experiments.networks import NetworkParameters, build
from consensus_lab.nakamoto.relay import RelayNode
from consensus_lab.nakamoto.relay_options import Found
from consensus_lab.network.arrays import engine_links
from consensus_lab.report.table import DIFFERS, SIMULATED, WITHIN, Cell
from consensus_lab.sim.engine import Engine
from consensus_lab.sim.streams import stream

HERE = "consensus_lab.experiments.cells.failures"
SIZES = (3, 5, 7)
N_NODES, CRASHED, BLOCKS = 60, 48, 60
INTERVAL_NS = 600 * 10**9


def failures_survived(n_servers: int, *, protocol: str = "raft", seed: int = 1) -> int:
    """How many servers of a cluster may crash, the leader first, before puts stop."""
    survived = 0
    cluster = {"protocol": protocol, "n_servers": n_servers, "seed": seed}
    for crashes in range(1, n_servers + 1):
        engine, leader = start(ClusterParameters.of(cluster))
        others = [server for server in engine.processes if server != leader]
        for server in [leader, *others][:crashes]:
            engine.crash(server)
        if crashes == n_servers or not is_committed(engine, others[-1]):
            break
        survived = crashes
    return survived


def participants_of_cluster(published: str, *, protocol: str, seed: int) -> Cell:
    """Three survive one failure and five two; the even sizes between gain nothing."""
    survive = {n: failures_survived(n, protocol=protocol, seed=seed) for n in range(1, 6)}
    expected = all(count == (n - 1) // 2 for n, count in survive.items())
    sizes = ", ".join(f"{n}: {count}" for n, count in survive.items())
    return Cell(
        published, SIMULATED, WITHIN if expected else DIFFERS,
        text=f"crashes survived by servers: {sizes}", code=f"{HERE}:failures_survived",
        notebook="notebooks/03_multi_paxos_and_raft.ipynb",
        note="3 and 5 are the smallest sizes that survive one and two; more only slow the leader.",
    )  # fmt: skip


def failures_of_cluster(published: str, *, protocol: str, seed: int) -> Cell:
    """Any f of 2f + 1 servers crash, the leader among them; one more and puts wait."""
    survive = {n: failures_survived(n, protocol=protocol, seed=seed) for n in SIZES}
    expected = all(count == (n - 1) // 2 for n, count in survive.items())
    sizes = ", ".join(f"{count} of {n}" for n, count in survive.items())
    return Cell(
        published, SIMULATED, WITHIN if expected else DIFFERS,
        text=f"crash of f of 2f + 1: {sizes}", code=f"{HERE}:failures_survived",
        notebook="notebooks/12_failover.ipynb",
        note="The unit of failure is a server that stops; with one more down nothing is answered.",
    )  # fmt: skip


def chain_after_crashes(*, seed: int = 1) -> tuple[int, int, bool]:
    """Crash four fifths of a network's nodes half-way, with the hash power that they have.

    Returns
    -------
    (int, int, bool)
        Height of the chain at the crash and at the end; whether all survivors are on one chain.
    """
    network, _ = build(NetworkParameters.of({"n_nodes": N_NODES, "seed": seed}), 0)

    def make(node_id: int, disk: Any) -> RelayNode:
        return RelayNode(node_id, network.neighbours(node_id), disk=disk)

    engine = Engine(make, range(N_NODES), seed=seed, links=engine_links(network))
    draws = stream(seed, "crashes")
    for number in range(1, BLOCKS + 1):
        # Who is down finds nothing: the command is lost with the node.
        engine.submit(draws.randrange(N_NODES), Found(number, 1000), at_ns=number * INTERVAL_NS)
    engine.run(until_ns=BLOCKS // 2 * INTERVAL_NS + INTERVAL_NS // 2)
    before = max(node.tree.tip.height for node in engine.nodes.values())
    for node_id in draws.sample(range(N_NODES), CRASHED):
        engine.crash(node_id)
    engine.run()
    tips = {(node.tree.tip.number, node.tree.tip.height) for node in _connected(engine)}
    return before, max(height for _, height in tips), len(tips) == 1


def _connected(engine: Engine) -> list[Any]:
    """The largest group of survivors that still have links to each other."""
    import networkx

    nodes = engine.nodes
    graph = networkx.Graph()
    graph.add_nodes_from(nodes)
    graph.add_edges_from((i, peer) for i, node in nodes.items() for peer in node.peers
                         if peer in nodes)  # fmt: skip
    largest = max(networkx.connected_components(graph), key=lambda part: (len(part), -min(part)))
    return [nodes[node_id] for node_id in sorted(largest)]


def failures_of_chain(published: str, *, seed: int) -> Cell:
    """However many nodes stop, the chain goes on, only more slowly until the next retarget."""
    before, after, is_one = chain_after_crashes(seed=seed)
    return Cell(
        published, SIMULATED, WITHIN if after > before and is_one else DIFFERS,
        text=f"{CRASHED} of {N_NODES} nodes crash: the chain grows from {before} to {after}",
        code=f"{HERE}:chain_after_crashes", notebook="notebooks/16_fork_and_reorganisation.ipynb",
        note="The unit of failure is a share of the work, not a node; what a lying node may do "
        "stands in the row of the adversary.",
    )  # fmt: skip
