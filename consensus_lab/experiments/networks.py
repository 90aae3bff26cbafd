"""The network that an experiment on block relay runs on: its parameters, and how it is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consensus_lab.experiments.parameters import ParameterSet, parameter
from consensus_lab.nakamoto.relay import Validation
from consensus_lab.network import arrays, geography, topology
from consensus_lab.node import ParameterError
from consensus_lab.sim.streams import derive_seed

if TYPE_CHECKING:
    import networkx

TOPOLOGIES = (
    "bitcoin", "random_regular", "erdos_renyi", "watts_strogatz", "barabasi_albert", "complete",
    "ring", "star", "grid",
)  # fmt: skip


class NetworkParameters(ParameterSet):
    """What every experiment on block relay has in common."""

    n_nodes: int = parameter(
        1000, full=13_870, unit="count", meaning="nodes in the network", minimum=2, maximum=10**6
    )
    topology: str = parameter("bitcoin", meaning="who is linked to whom", choices=TOPOLOGIES)
    degree: int = parameter(
        8, unit="count", minimum=1, maximum=1000,
        meaning="links per node (outbound ones for bitcoin, where others add theirs)",
    )  # fmt: skip
    geography: str = parameter(
        "simblock_2019", meaning="regions, latencies and line rates", choices=geography.NAMES
    )
    graph_file: str = parameter(
        "", meaning="own edge list (lines of 'a b' or 'a b latency_s') instead of a topology"
    )
    validation_bytes_per_s: int = parameter(
        10_000_000, unit="bytes/s", minimum=1, maximum=10**12,
        meaning="how fast a node checks a block; assumed, not measured",
    )  # fmt: skip
    replicates: int = parameter(
        5, full=10, unit="count", minimum=1, maximum=1000,
        meaning="independent networks, each with blocks of its own",
    )  # fmt: skip

    def check(self) -> None:
        if self.degree >= self.n_nodes and not self.graph_file:
            raise ParameterError("degree", self.degree, f"below n_nodes ({self.n_nodes})")

    @property
    def validation(self) -> Validation:
        """The time to check a block."""
        return Validation(bytes_per_s=self.validation_bytes_per_s)


def build_graph(parameters: NetworkParameters, seed: int) -> networkx.Graph:
    """The bare graph of that topology, or the one of the user's file."""
    n, degree = parameters.n_nodes, parameters.degree
    if parameters.graph_file:
        return topology.read_edge_list(parameters.graph_file)
    if parameters.topology == "bitcoin":
        return topology.bitcoin(n, outbound=degree, seed=seed)
    if parameters.topology == "random_regular":
        return topology.random_regular(n, degree=degree, seed=seed)
    if parameters.topology == "erdos_renyi":
        return topology.erdos_renyi(n, mean_degree=float(degree), seed=seed)
    if parameters.topology == "watts_strogatz":
        return topology.watts_strogatz(n, degree=degree, seed=seed)
    if parameters.topology == "barabasi_albert":
        links = max(1, degree // 2)  # Each link counts for both its ends.
        return topology.barabasi_albert(n, links_per_node=links, seed=seed)
    if parameters.topology == "grid":
        rows = max(row for row in range(1, int(n**0.5) + 1) if n % row == 0)
        return topology.grid(rows, n_columns=n // rows)
    simple = {"complete": topology.complete, "ring": topology.ring, "star": topology.star}
    return simple[parameters.topology](n)


def build(
    parameters: NetworkParameters, replicate: int, graph: networkx.Graph | None = None
) -> tuple[arrays.Network, int]:
    """One replicate's network, and the seed for all else that the replicate draws.

    Parameters
    ----------
    parameters : NetworkParameters
    replicate : int
        0, 1, ...
    graph : networkx.Graph, optional
        The user's own graph instead of a generated one; what it does not say is filled in.
    """
    seed = derive_seed(parameters.seed, "replicate", replicate)
    bare = build_graph(parameters, seed) if graph is None else graph
    return arrays.from_graph(bare, where=parameters.geography, seed=seed), seed


def finding_interval_s(
    network: arrays.Network, *, interval_s: float, block_size_bytes: int, n_blocks: int,
    validation: Validation, seed: int,
) -> float:  # fmt: skip
    """The mean time between blocks found at which the chain grows by one per `interval_s`.

    Bitcoin adjusts its target to the growth of the chain, so stale blocks come on top: the
    stale fraction of a run at `interval_s` says by how much blocks have to be found sooner.
    """
    from consensus_lab.gossip.mining import draw_schedule
    from consensus_lab.gossip.simulate import simulate

    schedule = draw_schedule(
        network, n_blocks=n_blocks, block_interval_s=interval_s,
        block_size_bytes=block_size_bytes, seed=derive_seed(seed, "retarget"),
    )  # fmt: skip
    return interval_s * (1.0 - simulate(network, schedule, validation=validation).stale_rate())
