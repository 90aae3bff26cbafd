"""Who may take part, and what an identity is worth: shown by runs with strangers and impostors."""

from __future__ import annotations

from typing import Any

from consensus_lab.client import Request
from consensus_lab.experiments.clusters import ClusterParameters, factory, start
from consensus_lab.experiments.intervals import proportion_interval
from consensus_lab.kv import Put, PutResult
from consensus_lab.nakamoto.discovery import OUTBOUND_MAX, DiscoveryNode, DnsSeed
from consensus_lab.network import arrays, topology
from consensus_lab.node import NodeId, ParameterError
from consensus_lab.paxos.multi_messages import Accepted
from consensus_lab.raft.messages import MsgAppResp
from consensus_lab.raft.node import RaftNode
from consensus_lab.report.table import DIFFERS, ENFORCED, SIMULATED, WITHIN, Cell
from consensus_lab.sim.engine import Engine
from consensus_lab.sim.links import NANOSECONDS_PER_SECOND, Link
from consensus_lab.sim.streams import stream

HERE = "consensus_lab.experiments.cells.membership"
LOGS = "notebooks/03_multi_paxos_and_raft.ipynb"
SYBIL = "notebooks/42_sybil.ipynb"
PATIENCE_NS = 20 * NANOSECONDS_PER_SECOND
"""How long a client waits before a put counts as not committed: many election timeouts."""

SETTLED_NS = 600 * NANOSECONDS_PER_SECOND
"""Ten minutes: long enough for a network of nodes to be connected."""

RETRY_NS = 2 * NANOSECONDS_PER_SECOND
RELAY_NODES = 200
RELAY_BLOCKS = 3000
ATTACKER_SHARE = 0.1


def is_committed(engine: Any, server: NodeId) -> bool:
    """Whether a put handed to that server is answered in time."""
    answers = []
    engine.on_reply = lambda node, effect, now: answers.append(effect.result)
    for wait_ns in range(0, PATIENCE_NS, RETRY_NS):  # What went to a dead leader is lost.
        engine.submit(server, Request("probe", Put("key", "value")), engine.now + wait_ns)
    engine.run(until=lambda: bool(answers), until_ns=engine.now + PATIENCE_NS)
    return bool(answers) and isinstance(answers[0], PutResult)


def commits_with_strangers(
    strangers: int, *, protocol: str = "raft", disguised: bool = False, seed: int = 1
) -> bool:
    """Whether a leader whose two peers are down commits on the word of strangers.

    Each stranger acknowledges everything that the leader's log holds, under a name of its own or
    `disguised` under that of a member: nothing is signed, whoever has the name has the vote.
    """
    engine, leader = start(ClusterParameters.of({"protocol": protocol, "seed": seed}))
    for server in (1, 2, 3):
        if server != leader:
            engine.crash(server)
    names = [2 if leader != 2 else 3] if disguised else range(100, 100 + strangers)

    def acknowledge() -> None:
        for stranger in names:
            engine.inject(stranger, leader, _word(engine.nodes[leader], stranger))

    for tick in range(1, 10):
        engine.at(engine.now + tick * NANOSECONDS_PER_SECOND // 20, acknowledge)
    return is_committed(engine, leader)


def _word(leader: Any, stranger: NodeId) -> Any:
    """The stranger's acknowledgement of the last thing that the leader has sent."""
    if isinstance(leader, RaftNode):
        return MsgAppResp(stranger, leader.core.term, leader.core.log.last_index)
    batches = leader.leadership.batches if leader.leadership is not None else {}
    first_slot = next(iter(batches), leader.log.chosen_index + 1)
    return Accepted(leader.log.promised, first_slot)


def permissioned(published: str, *, protocol: str) -> Cell:
    """A stranger's acknowledgement does not count, however many there are."""
    counted = sum(
        commits_with_strangers(strangers, protocol=protocol) for strangers in (1, 10)
    )
    return Cell(
        published, ENFORCED, WITHIN if counted == 0 else DIFFERS,
        text=f"{counted} of 2 commits on strangers' word (1 and 10 strangers)",
        code=f"{HERE}:commits_with_strangers", notebook=LOGS,
    )  # fmt: skip


def _race(graph: Any, seed: int) -> Any:
    from consensus_lab.gossip.mining import draw_schedule
    from consensus_lab.gossip.simulate import simulate

    network = arrays.from_graph(graph, seed=seed)
    return simulate(network, draw_schedule(network, n_blocks=RELAY_BLOCKS, seed=seed))


def newcomer_blocks(*, seed: int = 1) -> tuple[int, int]:
    """Blocks of a node that nobody admitted: how many are on the chain, how many it found."""
    graph = topology.bitcoin(RELAY_NODES, seed=seed)
    newcomer = RELAY_NODES
    for peer in stream(seed, "newcomer").sample(range(RELAY_NODES), topology.BITCOIN_OUTBOUND):
        graph.add_edge(newcomer, peer)
    race = _race(graph, seed)
    found, stale = race.stale_by_miner()
    return int(found[newcomer] - stale[newcomer]), int(found[newcomer])


def permissionless(published: str, *, seed: int) -> Cell:
    """A newcomer opens connections, mines, and its blocks are on everyone's chain."""
    chained, found = newcomer_blocks(seed=seed)
    return Cell(
        published, SIMULATED, WITHIN if chained else DIFFERS,
        text=f"newcomer: {chained} of its {found} blocks on the chain",
        code=f"{HERE}:newcomer_blocks", notebook="notebooks/17_finding_peers.ipynb",
    )  # fmt: skip


def commits_without_honest(
    identities: int, *, honest: int = 3, protocol: str = "raft", seed: int = 1
) -> bool:
    """Whether one person's identities commit a put of their own, all honest servers silent.

    The membership is open: every identity that asks is a member.
    """
    total = honest + identities
    cluster = {"protocol": protocol, "n_servers": total, "seed": seed}
    engine, _leader = start(ClusterParameters.of(cluster))
    for server in range(1, honest + 1):
        engine.crash(server)
    return identities > 0 and is_committed(engine, total)


def identities_to_take_over(*, honest: int = 3, protocol: str = "raft", seed: int = 1) -> int:
    """The fewest identities with which one person decides alone in an open cluster."""
    for identities in range(1, 3 * honest):
        if commits_without_honest(identities, honest=honest, protocol=protocol, seed=seed):
            return identities
    raise AssertionError("a majority of identities decides")


def sybil_in_cluster(published: str, *, protocol: str, seed: int) -> Cell:
    """With open membership, identities are votes, and they are free."""
    needed = identities_to_take_over(protocol=protocol, seed=seed)
    return Cell(
        published, SIMULATED, WITHIN,
        text=f"none: {needed} free identities outvote 3 servers",
        code=f"{HERE}:identities_to_take_over", notebook=SYBIL,
        note="Run with open membership; a real cluster admits members by agreement only.",
    )  # fmt: skip


def share_of_chain(identities: int, *, work: float, seed: int = 1) -> tuple[int, int]:
    """Chain blocks found by one person's nodes, and all, for a share of work split over them."""
    if not 0 < identities < RELAY_NODES:
        raise ParameterError("identities", identities, f"from 1 to {RELAY_NODES - 1}")
    graph = topology.bitcoin(RELAY_NODES, seed=seed)
    for node in graph:
        is_attacker = node < identities
        graph.nodes[node]["hash_share"] = (
            work / identities if is_attacker else (1 - work) / (RELAY_NODES - identities)
        )
    race = _race(graph, seed)
    found, stale = race.stale_by_miner()
    chained = found - stale
    return int(chained[:identities].sum()), int(chained.sum())


def sybil_in_nakamoto(published: str, *, seed: int) -> Cell:
    """Work counts, not identities: a tenth of the work is a tenth of the chain, split or not."""
    one = proportion_interval(*share_of_chain(1, work=ATTACKER_SHARE, seed=seed))
    many = proportion_interval(*share_of_chain(100, work=ATTACKER_SHARE, seed=seed + 1))
    gains = many[1] > one[2]
    return Cell(
        published, SIMULATED, DIFFERS if gains else WITHIN,
        text=f"10 % of the work: {one[0]:.1%} of the chain as 1 identity, {many[0]:.1%} as 100",
        code=f"{HERE}:share_of_chain", notebook=SYBIL,
        note=f"95 %: {one[1]:.1%} to {one[2]:.1%}, and {many[1]:.1%} to {many[2]:.1%}.",
    )  # fmt: skip


def addresses_known_at_start(n_servers: int, *, protocol: str = "raft") -> int:
    """How many peers a server knows before any message, from the list it was started with."""
    cluster = {"protocol": protocol, "n_servers": n_servers}
    server: Any = factory(ClusterParameters.of(cluster))(1, {})
    members = server.core.voters if isinstance(server, RaftNode) else server.replica.eras.members
    return sum(member != server.node_id for member in members)


def discovery_in_cluster(published: str, *, protocol: str, n_servers: int) -> Cell:
    """A server knows all its peers from its configuration; without a list it does not start."""
    known = addresses_known_at_start(n_servers, protocol=protocol)
    return Cell(
        published, ENFORCED, WITHIN if known == n_servers - 1 else DIFFERS,
        text=f"{known} of {n_servers - 1} peers known at start, by configuration",
        code=f"{HERE}:addresses_known_at_start", notebook=LOGS,
    )  # fmt: skip


def newcomer_finds_peers(n_nodes: int = 40, *, seed: int = 1) -> tuple[int, int, float]:
    """Peers that a newcomer knows at the start and connects to, and how long that takes (s).

    All nodes know nothing but the name of one DNS seed, which crawls them.
    """
    seed_id = n_nodes + 1

    def make(node_id: NodeId, disk: Any) -> Any:
        source = stream(seed, "discovery", node_id)
        if node_id == seed_id:
            return DnsSeed(node_id, (0,), source=source)
        return DiscoveryNode(node_id, disk, seeds=(seed_id,), source=source)

    newcomer = n_nodes
    engine = Engine(make, [*range(n_nodes + 1), seed_id], seed=seed, links=Link(50_000_000))
    engine.crash(newcomer)
    engine.run(until_ns=SETTLED_NS)
    engine.restart(newcomer)
    node = engine.nodes[newcomer]
    known = len(node.book)
    begin = engine.now
    engine.run(until=lambda: len(node.outbound) == OUTBOUND_MAX, until_ns=begin + SETTLED_NS)
    return known, len(node.outbound), (engine.now - begin) / NANOSECONDS_PER_SECOND


def discovery_in_bitcoin(published: str, found: tuple[int, int, float]) -> Cell:
    """A newcomer that knows one DNS seed ends up with eight outbound peers."""
    known, connected, took_s = found
    return Cell(
        published, SIMULATED, WITHIN if known == 0 and connected == OUTBOUND_MAX else DIFFERS,
        text=f"{known} peers known at start; {connected} connected {took_s:.0f} s later, by DNS",
        code=f"{HERE}:newcomer_finds_peers", notebook="notebooks/17_finding_peers.ipynb",
    )  # fmt: skip
