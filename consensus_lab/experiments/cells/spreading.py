"""How long what was proposed takes to reach everybody."""

from __future__ import annotations

from consensus_lab import constants
from consensus_lab.client import Request
from consensus_lab.experiments import propagation
from consensus_lab.experiments.cells.decisions import PROPOSALS
from consensus_lab.experiments.clusters import NANOSECONDS_PER_MS, ClusterParameters, start
from consensus_lab.experiments.intervals import mean_interval
from consensus_lab.kv import Put
from consensus_lab.network import years
from consensus_lab.report.table import SIMULATED, WITHIN, Cell
from consensus_lab.sim.trace import Trace

HERE = "consensus_lab.experiments.cells.spreading"
THEN, NOW = 2013, 2022
"""The first year whose network is known, next to that of the essay's 12.6 s, and the essay's."""

REPLICATES_MAX, BLOCKS, NODES_MAX = 3, 30, 4000
"""Networks of each year, blocks relayed in each (every node receives every block), and nodes: the
delay grows with their logarithm only, three times as many add a twentieth."""

SPACING_NS = 20 * NANOSECONDS_PER_MS
"""Between two puts: so rare that they do not wait for each other."""


def cluster_spreading_ms(parameters: ClusterParameters, requests: int = 200) -> list[float]:
    """Milliseconds from each put at the leader until the last follower has received its entry."""
    trace = Trace()
    engine, leader = start(parameters, trace=trace)
    begin, first_ns = len(trace), engine.now + SPACING_NS
    spacing_ns = max(SPACING_NS, 4 * _farthest_ns(parameters))
    for number in range(requests):
        put = Put(f"{number:08d}", "v" * parameters.value_size_bytes)
        engine.submit(leader, Request(number, put), first_ns + number * spacing_ns)
    engine.run(until_ns=first_ns + requests * spacing_ns)
    last_ns = [0] * requests
    for record in trace.records[begin:]:
        is_proposal = record.event == "receive" and record.kind == PROPOSALS[parameters.protocol]
        carried = getattr(record.detail, "entries", ()) or getattr(record.detail, "values", ())
        if is_proposal and carried and record.node != leader:
            number = (record.time_ns - first_ns) // spacing_ns
            last_ns[number] = max(last_ns[number], record.time_ns)
    return [
        (time_ns - first_ns - number * spacing_ns) / NANOSECONDS_PER_MS
        for number, time_ns in enumerate(last_ns)
        if time_ns
    ]


def _farthest_ns(parameters: ClusterParameters) -> int:
    """A bound on the one-way latency between two of the servers."""
    from consensus_lab.network import geography

    place = geography.geography(parameters.server_geography)
    return round(max(max(row) for row in place.latency_s) * 1e9)


def propagation_in_cluster(published: str, parameters: ClusterParameters) -> Cell:
    """One message from the leader to each follower."""
    times_ms = cluster_spreading_ms(parameters)
    if not times_ms:  # A cluster of one has nobody to tell.
        return Cell(published, SIMULATED, WITHIN, text="0 ms: no followers", code=HERE)
    return Cell(
        published, SIMULATED, WITHIN, *mean_interval(times_ms), "ms",
        replicates=len(times_ms), published_value=constants.ETCD_RELAY_MS_MAX,
        code=f"{HERE}:cluster_spreading_ms", notebook="notebooks/10_raft_write.ipynb",
        note="Until the last follower has received an entry. A few is taken as below ten.",
    )  # fmt: skip


def propagation_in_network(
    published: str, *, n_nodes: int, block_size_bytes: int, replicates: int, seed: int
) -> Cell:
    """The network of the essay's year, and the nearest known one to that of its figure."""
    old = years.network_year(THEN)
    common = {"replicates": min(replicates, REPLICATES_MAX), "seed": seed, "n_blocks": BLOCKS}
    then, now = (
        propagation.run(propagation.Parameters.of({**common, **one}))
        for one in (
            {"network_year": THEN, "n_nodes": min(NODES_MAX // 2, n_nodes),
             "block_size_bytes": old.block_size_bytes},
            {"network_year": NOW, "n_nodes": min(NODES_MAX, n_nodes),
             "block_size_bytes": block_size_bytes},
        )
    )  # fmt: skip
    before, median = then.measure("delay_s_mean"), now.measure("delay_s_p50")
    return Cell(
        published, SIMULATED, WITHIN, median.value, median.low, median.high, "s",
        published_value=constants.BITCOIN_PROPAGATION_MEAN_S, replicates=median.replicates,
        code="consensus_lab.experiments.propagation:run",
        notebook="notebooks/20_propagation_delay.ipynb",
        note=f"12.6 s is a mean of 2012. Here: the median with the lines and the relay of {NOW}; "
        f"with those of {THEN} the mean is {before.value:.1f} s ({before.low:.1f} to "
        f"{before.high:.1f}).",
    )  # fmt: skip
