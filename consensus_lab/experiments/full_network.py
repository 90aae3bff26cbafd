"""A small network of full nodes, honest or not, whose miners win a lottery by hash power."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import networkx

from consensus_lab import constants
from consensus_lab.nakamoto.chain import Chain
from consensus_lab.nakamoto.encoding import sha256
from consensus_lab.nakamoto.full_node import FullNode
from consensus_lab.nakamoto.full_node_messages import Found
from consensus_lab.nakamoto.mempool_entry import MempoolOptions
from consensus_lab.nakamoto.network_rules import REGTEST
from consensus_lab.nakamoto.validation import ScriptCache
from consensus_lab.nakamoto.wallet import Wallet
from consensus_lab.node import Node, NodeId
from consensus_lab.sim.engine import Engine
from consensus_lab.sim.links import NANOSECONDS_PER_SECOND, Link, Links
from consensus_lab.sim.streams import stream

START_S = 1_700_000_000
RULES = replace(REGTEST, maturity_blocks=1)
"""Bitcoin Core's regression test network; a subsidy may be spent in the next block, so that
nobody has to mine a hundred blocks before the first payment."""

LATENCY_MS = 50.0
SETTLE_NS = 5 * NANOSECONDS_PER_SECOND
"""Long enough for handshakes and for what was just found to reach everybody."""

Disguise = Callable[[FullNode], Node]


def new_wallet(seed: int, node_id: NodeId) -> Wallet:
    """The wallet of a node: the same keys whenever it is made."""
    return Wallet(
        sha256(f"wallet {node_id} of {seed}".encode()), maturity_blocks=RULES.maturity_blocks,
        address_format=RULES.address_format,
    )  # fmt: skip


class FullNetwork:
    """Full nodes on a graph.

    Parameters
    ----------
    graph : networkx.Graph
        Who is connected to whom; nodes are numbers, a link's `latency_ms` may differ.
    hash_shares : mapping of node to float
        Who mines, with which share; in any unit.
    seed : int
        Gives keys and the lottery.
    disguises : mapping of node to callable, optional
        Turns the honest node of that number into an attacker around it.
    pool_options : MempoolOptions, optional
        Of every memory pool.
    block_interval_s : float
        Mean time between blocks of all miners together.

    Attributes
    ----------
    engine : Engine
        What runs them.
    scripts : ScriptCache
        Shared: each signature is checked once per run, not once per node.
    """

    def __init__(
        self, graph: networkx.Graph, hash_shares: Mapping[NodeId, float], *, seed: int,
        disguises: Mapping[NodeId, Disguise] | None = None,
        pool_options: MempoolOptions | None = None,
        block_interval_s: float = constants.BLOCK_INTERVAL_S,
    ) -> None:  # fmt: skip
        self.seed, self.scripts = seed, ScriptCache()
        self.block_interval_s = block_interval_s
        self._lottery = stream(seed, "experiment", "lottery")
        self._miners = sorted(hash_shares)
        self._shares = [hash_shares[miner] for miner in self._miners]
        disguise = dict(disguises or {})

        def make(node_id: NodeId, disk: Any) -> Node:
            node = FullNode(
                node_id, graph[node_id], rules=RULES, wallet=new_wallet(seed, node_id),
                start_s=START_S, disk=disk, scripts=self.scripts, pool_options=pool_options,
            )  # fmt: skip
            return disguise[node_id](node) if node_id in disguise else node

        links = Links(_link(LATENCY_MS), pairs={
            pair: _link(latency_ms)
            for i, j, latency_ms in graph.edges.data("latency_ms", LATENCY_MS)
            for pair in ((i, j), (j, i))
        })  # fmt: skip
        self.engine = Engine(make, sorted(graph), seed=seed, links=links)
        self.settle()

    def node(self, node_id: NodeId) -> FullNode:
        """The full node of that number, or the one inside an attacker."""
        node: Any = self.engine.nodes[node_id]
        return node if isinstance(node, FullNode) else node.node

    def chain(self, node_id: NodeId) -> Chain:
        """The chain as that node sees it."""
        return self.node(node_id).chain

    def address(self, node_id: NodeId) -> str:
        """Where that node is paid."""
        return new_wallet(self.seed, node_id).address()

    def settle(self, time_ns: int = SETTLE_NS) -> None:
        """Let so much time pass."""
        self.engine.run(until_ns=self.engine.now + time_ns)

    def find(self, miner: NodeId, *, count: int = 1) -> None:
        """That miner finds blocks now, one after the other, and they travel."""
        for _ in range(count):
            self.engine.submit(miner, Found())
            self.settle()

    def mine_next(self, *, until_ns: int | None = None) -> NodeId | None:
        """Time passes until somebody finds a block, and it travels.

        Parameters
        ----------
        until_ns : int, optional
            Nothing is found after this time: it then only passes.

        Returns
        -------
        int or None
            Who found it.
        """
        wait_ns = round(
            self._lottery.expovariate(1.0 / self.block_interval_s) * NANOSECONDS_PER_SECOND
        )
        finder = self._lottery.choices(self._miners, self._shares)[0]
        if until_ns is not None and self.engine.now + wait_ns > until_ns:
            self.settle(until_ns - self.engine.now)
            return None
        self.settle(wait_ns)
        self.engine.submit(finder, Found())
        self.settle(min(SETTLE_NS, until_ns - self.engine.now) if until_ns else SETTLE_NS)
        return finder


def _link(latency_ms: float) -> Link:
    return Link(round(latency_ms * 1_000_000))


def confirmations(chain: Chain, txid: bytes) -> int:
    """Blocks that bury a payment on the best branch, its own included; 0 when it is not there."""
    for node in reversed(chain.active):
        if any(payment.txid == txid for payment in chain.blocks[node.block_id].transactions):
            return chain.confirmations(node)
    return 0


def tree_rows(
    chain: Chain, names: Mapping[NodeId, str], *, marks: Mapping[bytes, str] | None = None,
    from_height: int = 0,
) -> list[dict[str, Any]]:
    """One row per block that a node knows, in order of arrival: name, parent, height, miner.

    Parameters
    ----------
    chain : Chain
        The node's.
    names : mapping of node to str
        Prefix of each miner's blocks.
    marks : mapping of txid to str, optional
        What to write into the block that holds a payment.
    from_height : int
        Lowest height shown.
    """
    marks = marks or {}
    known = sorted(
        (node for node in chain.tree.nodes.values() if node.sequence is not None),
        key=lambda node: (node.height, node.sequence),
    )
    titles: dict[bytes, str] = {}
    rows = []
    for node in known:
        block = chain.blocks[node.block_id]
        miner = miner_of(block.transactions[0].inputs[0].script_sig) if node.height else None
        prefix = "start" if miner is None else names.get(miner, f"{miner}-")
        found = [marks[one.txid] for one in block.transactions if one.txid in marks]
        title = f"{prefix}{node.height}" if node.height else prefix
        while title in titles.values():
            title += "'"
        titles[node.block_id] = title
        if node.height < from_height:
            continue
        rows.append({
            "block": title, "parent": titles.get(block.header.previous, ""),
            "height": node.height, "miner": -1 if miner is None else miner,
            "is_on_chain": chain.is_active(node), "label": "\n".join([title, *found]),
            "block_id": node.block_id,
        })  # fmt: skip
    return rows


def miner_of(script_sig: bytes) -> NodeId:
    """Who found a block, from the tag at the end of its coinbase's script."""
    return int.from_bytes(script_sig[-4:], "big")


def blocks_by_miner(chain: Chain, miners: Iterable[NodeId], *, above: int = 0) -> int:
    """Blocks of the best branch above a height that these miners found."""
    wanted = set(miners)
    return sum(
        miner_of(chain.blocks[node.block_id].transactions[0].inputs[0].script_sig) in wanted
        for node in chain.active[above + 1 :]
    )
