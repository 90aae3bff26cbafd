"""The network that an experiment on block relay runs on: its parameters, and how it is built.

A parameter that is left empty (text), 0 (a count) or -1 (a chance) takes the value of
`network_year`, or, without a year, that of `WITHOUT_YEAR`.  What is given is always kept, so a
year's network can be changed in one respect at a time.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

from consensus_lab.experiments.parameters import ParameterSet, parameter
from consensus_lab.nakamoto.relay_options import PROTOCOLS, Relay, Validation
from consensus_lab.network import arrays, attributes, geography, topology, years
from consensus_lab.node import ParameterError
from consensus_lab.sim.streams import derive_seed

if TYPE_CHECKING:
    import networkx
    import numpy

    from consensus_lab.gossip.mining import Schedule
    from consensus_lab.gossip.race import Race

TOPOLOGIES = (
    "bitcoin", "random_regular", "erdos_renyi", "watts_strogatz", "barabasi_albert", "complete",
    "ring", "star", "grid",
)  # fmt: skip

EQUAL_POOLS = "equal"
NO_YEAR = 0
UNSET = {
    "degree": 0, "geography": "", "relay": "", "missing_chance": -1.0,
    "validation_bytes_per_s": 0, "pools": "",
}  # fmt: skip
WITHOUT_YEAR = {
    "degree": 8, "geography": "simblock_2019", "relay": "inv", "missing_chance": 0.0,
    "validation_bytes_per_s": 10_000_000, "pools": EQUAL_POOLS,
}  # fmt: skip
"""What holds when neither the parameter nor a year says otherwise; the speed is assumed."""


class NetworkParameters(ParameterSet):
    """What every experiment on block relay has in common."""

    n_nodes: int = parameter(
        1000, full=13_870, unit="count", meaning="nodes in the network", minimum=2, maximum=10**6
    )
    topology: str = parameter("bitcoin", meaning="who is linked to whom", choices=TOPOLOGIES)
    network_year: int = parameter(
        NO_YEAR, choices=(NO_YEAR, *years.YEARS),
        meaning="Bitcoin's network as measured in that year, where not said otherwise; 0: none",
    )  # fmt: skip
    degree: int = parameter(
        0, unit="count", minimum=0, maximum=1000,
        meaning="links per node (outbound ones for bitcoin, where others add theirs); 0: 8, or "
        "the year's",
    )  # fmt: skip
    geography: str = parameter(
        "", choices=("", *geography.NAMES),
        meaning="regions, latencies and line rates; empty: simblock_2019, or the year's",
    )  # fmt: skip
    bandwidth_scale: float = parameter(
        1.0, minimum=1e-3, maximum=1e6, meaning="line rates as a multiple of the geography's"
    )
    graph_file: str = parameter(
        "", meaning="own edge list (lines of 'a b' or 'a b latency_s') or .graphml file instead"
    )
    relay: str = parameter(
        "", choices=("", *PROTOCOLS),
        meaning="how blocks are told on; empty: inv, or the year's",
    )  # fmt: skip
    missing_chance: float = parameter(
        -1.0, unit="probability", minimum=-1.0, maximum=1.0,
        meaning="that a node lacks transactions of a compact block; -1: 0, or the year's",
    )  # fmt: skip
    pools: str = parameter(
        "", choices=("", EQUAL_POOLS, *years.POOLS),
        meaning="who mines; empty: every node alike (equal), or the year's mining pools",
    )  # fmt: skip
    relay_network: bool = parameter(
        False, meaning="pools pass compressed blocks on, unchecked, over connections of their own"
    )
    validation_bytes_per_s: int = parameter(
        0, unit="bytes/s", minimum=0, maximum=10**12,
        meaning="how fast a node checks a block; 0: the year's, or 10 MB/s (assumed)",
    )  # fmt: skip
    replicates: int = parameter(
        5, full=10, unit="count", minimum=1, maximum=1000,
        meaning="independent networks, each with blocks of its own",
    )  # fmt: skip

    def check(self) -> None:
        if -1.0 < self.missing_chance < 0.0:
            raise ParameterError("missing_chance", self.missing_chance, "from 0 to 1, or -1")
        if self.relay_network and self.chosen("pools") == EQUAL_POOLS:
            raise ParameterError("relay_network", True, "false without pools")
        if self.graph_file:
            return
        degree = self.chosen("degree")
        if degree >= self.n_nodes:
            raise ParameterError("degree", degree, f"below n_nodes ({self.n_nodes})")
        pools = self.mining_pools()
        if len(pools) > self.n_nodes:
            raise ParameterError("n_nodes", self.n_nodes, f"at least one per pool ({len(pools)})")

    def chosen(self, name: str) -> Any:
        """The value that holds for a parameter: the given one, the year's, or the usual one."""
        given = getattr(self, name)
        if given != UNSET[name]:
            return given
        if self.network_year != NO_YEAR:
            return getattr(years.network_year(self.network_year), name)
        return WITHOUT_YEAR[name]

    def mining_pools(self) -> tuple[years.Pool, ...]:
        """The pools that mine; none where every node does."""
        name = self.chosen("pools")
        return () if name == EQUAL_POOLS else years.mining_pools(name)

    @property
    def pool_line_bytes_per_s(self) -> int:
        """The line of the node that a pool mines at, both ways."""
        if self.network_year == NO_YEAR:
            return years.POOL_LINE_BYTES_PER_S
        return years.network_year(self.network_year).pool_line_bytes_per_s

    @property
    def validation(self) -> Validation:
        """The time to check a block."""
        return Validation(bytes_per_s=self.chosen("validation_bytes_per_s"))

    @property
    def relay_options(self) -> Relay:
        """The relay protocol, as the simulators take it."""
        return Relay(self.chosen("relay"), missing_chance=self.chosen("missing_chance"))


def read_graph(path: str) -> networkx.Graph:
    """The graph of a user's file, refused with the reason when something is wrong in it."""
    graph = topology.read_graph(path)
    attributes.check(graph)
    return graph


def build_graph(parameters: NetworkParameters, seed: int) -> networkx.Graph:
    """The bare graph of that topology, or the one of the user's file."""
    n, degree = parameters.n_nodes, parameters.chosen("degree")
    if parameters.graph_file:
        return read_graph(parameters.graph_file)
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
    seed = replicate_seed(parameters, replicate)
    bare = build_graph(parameters, seed) if graph is None else graph
    place = geography.geography(parameters.chosen("geography"))
    place = place.with_bandwidth(parameters.bandwidth_scale)
    pools = parameters.mining_pools()
    if pools:
        bare = _with_pools(parameters, bare, pools, place, seed)
    return arrays.from_graph(bare, where=place, seed=seed), seed


def replicate_seed(parameters: NetworkParameters, replicate: int) -> int:
    """From which everything of a replicate derives."""
    return derive_seed(parameters.seed, "replicate", replicate)


def _with_pools(
    parameters: NetworkParameters, bare: networkx.Graph, pools: tuple[years.Pool, ...],
    place: geography.Geography, seed: int,
) -> networkx.Graph:  # fmt: skip
    """The filled graph with its hash power at pools; a graph that says who mines keeps that."""
    filled = attributes.fill(bare, where=place, seed=seed)
    if all(share is None for _, share in bare.nodes(data="hash_share")):
        if len(pools) > filled.number_of_nodes():
            raise ParameterError("pools", len(pools), "at most one per node of the graph")
        known = set(place.regions)
        filled = attributes.with_pools(
            filled, [pool.share for pool in pools], seed=seed,
            line_bytes_per_s=parameters.pool_line_bytes_per_s,
            regions=[pool.region for pool in pools] if known >= {p.region for p in pools} else (),
        )  # fmt: skip
    if parameters.relay_network:
        filled.add_edges_from(combinations(_miners(filled), 2))
    return filled


def _miners(graph: networkx.Graph) -> list[int]:
    return sorted(node for node, share in graph.nodes(data="hash_share") if share > 0)


def relay_blocks(
    parameters: NetworkParameters, network: arrays.Network, schedule: Schedule, *, seed: int,
    **recorded: Any,
) -> Race:  # fmt: skip
    """Relay a schedule's blocks as the parameters say; see `gossip.simulate.simulate`.

    What is `recorded` besides (`keep_all`, `reach_fractions`) is passed on.
    """
    import numpy

    from consensus_lab.gossip.simulate import simulate

    overlay = numpy.flatnonzero(network.hash_share) if parameters.relay_network else ()
    return simulate(
        network, schedule, relay=parameters.relay_options, validation=parameters.validation,
        overlay=map(int, overlay), seed=seed, **recorded,
    )  # fmt: skip


def delay_quantile_s(race: Race, share: float) -> float:
    """The delay that this share of deliveries to others than the finder does not exceed."""
    finders = race.schedule.n_blocks
    return race.delay_quantile_s((finders + share * (race.deliveries - finders)) / race.deliveries)


def delay_mean_s(race: Race) -> float:
    """The mean delay of deliveries to others than the finder."""
    return race.mean_delay_s() * race.deliveries / (race.deliveries - race.schedule.n_blocks)


def mean_by_hash_power(hash_share: numpy.ndarray, values: numpy.ndarray) -> float:
    """Mean over nodes, each weighted by its share of the hash power (shares add up to 1).

    Not `hash_share @ values`: from 10,000 nodes on its last digits depend on how many threads
    numpy's BLAS has, so on the machine and on the number of jobs.
    """
    return float((hash_share * values).sum())


def year_notes(parameters: NetworkParameters, block_size_bytes: int | None = None) -> list[str]:
    """What a reader of a year's network has to know: what is unknown, and the blocks' real size."""
    if parameters.network_year == NO_YEAR:
        return []
    year = years.network_year(parameters.network_year)
    carried = [
        one.quantity for one in year.inputs
        if one.status == "carried"
        and not (one.quantity in UNSET and getattr(parameters, one.quantity) != UNSET[one.quantity])
    ]  # fmt: skip
    notes = [
        f"Unknown for {year.year} and carried over from another year: {', '.join(carried)} "
        f"(data/{years.YEARS_FILE}; what rests on them: validation-sensitivity)."
    ]
    if block_size_bytes is not None and block_size_bytes != year.block_size_bytes:
        notes.append(
            f"Blocks of {year.year} had {year.block_size_bytes:,} bytes on average, "
            f"here they have {block_size_bytes:,}."
        )
    return notes


def finding_interval_s(
    parameters: NetworkParameters, network: arrays.Network, *, interval_s: float,
    block_size_bytes: int, n_blocks: int, seed: int,
) -> float:  # fmt: skip
    """The mean time between blocks found at which the chain grows by one per `interval_s`.

    Bitcoin adjusts its target to the growth of the chain, so stale blocks come on top: the
    stale fraction of a run at `interval_s` says by how much blocks have to be found sooner.
    """
    from consensus_lab.gossip.mining import draw_schedule

    own_seed = derive_seed(seed, "retarget")
    schedule = draw_schedule(
        network, n_blocks=n_blocks, block_interval_s=interval_s,
        block_size_bytes=block_size_bytes, seed=own_seed,
    )  # fmt: skip
    race = relay_blocks(parameters, network, schedule, seed=own_seed)
    return interval_s * (1.0 - race.stale_rate())
