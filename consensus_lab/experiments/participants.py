"""Why does a replicated log stop at five servers, and a chain go on to thousands of nodes?

Every command of a log goes from its leader to every other server and back: the leader's work grows
with the cluster, and so its rate falls.  A node of a gossip network tells its neighbours only,
however large the network is: the chain's rate is set by block size and interval, less the blocks
that go stale because the network takes longer to hear of them.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from consensus_lab import constants, theory
from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.clusters import PROTOCOLS
from consensus_lab.experiments.costed_logs import (
    WARM_UP_ROUNDS,
    CostParameters,
    calibrated,
    cost_measures,
    load_of,
)
from consensus_lab.experiments.intervals import mean_interval, proportion_interval
from consensus_lab.experiments.networks import (
    EQUAL_POOLS,
    NetworkParameters,
    build,
    relay_blocks,
)
from consensus_lab.experiments.parameters import parameter
from consensus_lab.experiments.replicates import by_setting
from consensus_lab.experiments.result import Measure, Published, Result
from consensus_lab.sim.links import NANOSECONDS_PER_SECOND
from consensus_lab.sim.streams import derive_seed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UNBATCHED = 1 << 16
"""Messages under way that no cluster reaches: every command leaves alone."""
BATCHINGS = (("batched", None), ("one command per message", UNBATCHED))


class Parameters(CostParameters):
    """Sizes of clusters and networks, the load, and the chain's blocks."""

    protocols: list[str] = parameter(
        list(PROTOCOLS), meaning="replicated logs to compare", choices=PROTOCOLS
    )
    cluster_sizes: list[int] = parameter(
        [3, 5, 9, 25], full=[3, 5, 7, 9, 15, 25, 51], unit="count", meaning="servers",
        minimum=2, maximum=101,
    )  # fmt: skip
    clients: int = parameter(
        100, full=300, unit="count", meaning="clients that load the leader, one request each",
        minimum=1, maximum=10_000,
    )  # fmt: skip
    network_sizes: list[int] = parameter(
        [3, 10, 100, 1000], full=[3, 5, 10, 30, 100, 300, 1000, 3000, 13_870], unit="count",
        meaning="nodes of the gossip network", minimum=3, maximum=200_000,
    )  # fmt: skip
    network_year: int = parameter(
        2022, meaning="Bitcoin's network as measured in that year; 0: SimBlock's of 2019",
        choices=(0, 2013, 2016, 2019, 2022, 2025),
    )  # fmt: skip
    block_size_bytes: int = parameter(
        constants.BLOCK_SIZE_BYTES_MAX, unit="bytes", meaning="size of each block", minimum=400,
        maximum=10**9,
    )  # fmt: skip
    block_intervals_s: list[float] = parameter(
        [600.0, 5.0], unit="s", meaning="mean times between blocks found, the usual one first",
        minimum=0.001,
    )  # fmt: skip
    transaction_size_bytes: int = parameter(
        226, unit="bytes", minimum=60, maximum=100_000,
        meaning="size of a transaction; 226 is a payment with one input and change",
    )  # fmt: skip
    n_blocks: int = parameter(
        200, full=2000, unit="count", meaning="blocks found per network and interval", minimum=10
    )
    replicates: int = parameter(
        2, full=5, unit="count", meaning="independent networks per size", minimum=1, maximum=1000,
    )  # fmt: skip


def run(parameters: Parameters, progress: Progress = quiet) -> Result:
    """Load clusters of every size, then fill the chain on networks of every size.

    Returns
    -------
    Result
        `frame`: one row per system and size: transactions per second with 95 % interval, copies
        that the busiest participant sends of each command or block, and the mean participant.
    """
    import pandas

    costs = calibrated(parameters)
    cases = [
        (protocol, how, in_flight, n) for protocol in parameters.protocols
        for how, in_flight in BATCHINGS for n in parameters.cluster_sizes
    ]  # fmt: skip
    networks = [(s, n) for s in parameters.block_intervals_s for n in parameters.network_sizes]
    came, interrupted = by_setting(
        [*(partial(_log_row, costs, *case) for case in cases),
         *(partial(_race, costs, n, interval_s) for interval_s, n in networks)],
        [1] * len(cases) + [parameters.replicates] * len(networks), progress=progress,
        what="clusters and networks",
    )  # fmt: skip
    rows = [row for (row,) in came[: len(cases)]]
    for (interval_s, n), races in zip(networks, came[len(cases) :], strict=True):
        name = f"nakamoto, a block each {interval_s:g} s"
        rows.append({"system": name, **chain_row(costs, n, interval_s, races)})
    frame = pandas.DataFrame(rows)
    return Result(
        "participants", parameters, frame, [*cost_measures(costs), *_measures(rows)], published(),
        figure, notes=interrupted + _notes(costs, rows),
    )  # fmt: skip


def _log_row(
    costs: Parameters, protocol: str, how: str, in_flight: int | None, n: int, _: int
) -> dict[str, Any]:
    one = costs if in_flight is None else costs.replace(in_flight=in_flight)
    return {"system": f"{protocol}, {how}", **log_row(one, protocol, n)}


def log_row(costs: Parameters, protocol: str, n: int) -> dict[str, Any]:
    """The rate of a loaded leader, round by round, and the messages that it sends per command."""
    load = load_of(costs, protocol, n, seed=derive_seed(costs.seed, "size", n))
    leader, clients = load.engine.processes[load.servers[0]], costs.clients
    sent = leader.messages_sent
    load.closed(clients)
    copies = (leader.messages_sent - sent) / len(load.answers_ns)
    # Each client is answered once per round, more or less.
    ends = load.answers_ns[WARM_UP_ROUNDS * clients - 1 :: clients]
    mean_ns, low_ns, high_ns = mean_interval(later - one for one, later in pairwise(ends))
    per_s = clients * NANOSECONDS_PER_SECOND
    return {
        "participants": n, "tps": per_s / mean_ns, "tps_low": per_s / high_ns,
        "tps_high": per_s / low_ns, "busiest_sends": copies,
        "closed_form_tps": closed_form_tps(costs, protocol, n),
        "replicates": len(ends) - 1,
    }  # fmt: skip


def closed_form_tps(costs: CostParameters, protocol: str, n: int) -> float:
    """Commands per second of a leader that sends and hears of each one by itself.

    It takes the command in, sends n - 1 copies and hears n - 1 answers; Raft as etcd has it sends
    as many announcements of the commit, and hears as many answers to them.  CPU per message, and
    per byte of each copy; or the line, if that is slower.
    """
    copies, messages = n - 1, 4 if protocol == "raft" else 2
    per_copy_us = messages * costs.cpu_us + costs.kilobyte_us * costs.value_size_bytes / 1000
    line_s = copies * costs.value_size_bytes / costs.bandwidth_bytes_per_s
    return 1.0 / max((costs.cpu_us + copies * per_copy_us) / 1e6, line_s)


def network_of(parameters: Parameters, n: int) -> NetworkParameters:
    """Bitcoin's network with so many nodes; every node mines, for the sizes to be comparable.

    So few that a node would be linked to all others are a complete graph.
    """
    wanted = {"network_year": parameters.network_year, "pools": EQUAL_POOLS,
              "seed": parameters.seed}  # fmt: skip
    degree = NetworkParameters.of(wanted).chosen("degree")
    if n <= degree:
        return NetworkParameters.of({**wanted, "n_nodes": n, "topology": "complete", "degree": 1})
    return NetworkParameters.of({**wanted, "n_nodes": n})


class Raced(NamedTuple):
    """Of one network: blocks, stale ones, and those that the busiest and the mean node pass on."""

    blocks: int
    stale: int
    busiest: float
    mean: float


def _race(parameters: Parameters, n: int, interval_s: float, replicate: int) -> Raced:
    import numpy

    from consensus_lab.gossip.mining import draw_schedule

    chosen = network_of(parameters, n)
    network, seed = build(chosen, replicate)
    schedule = draw_schedule(
        network, n_blocks=parameters.n_blocks, seed=seed,
        block_interval_s=interval_s, block_size_bytes=parameters.block_size_bytes,
    )  # fmt: skip
    race = relay_blocks(chosen, network, schedule, seed=seed)
    links = numpy.diff(network.offset)
    return Raced(
        schedule.n_blocks, race.stale_blocks(), float(links.max()),
        float(race.uploads.sum()) / n / schedule.n_blocks,
    )  # fmt: skip


def chain_row(
    parameters: Parameters, n: int, interval_s: float, races: list[Raced]
) -> dict[str, Any]:
    """The rate of a chain with full blocks, and the blocks that its nodes pass on."""
    stale, blocks = sum(one.stale for one in races), sum(one.blocks for one in races)
    fraction, low, high = proportion_interval(stale, blocks)
    room = parameters.block_size_bytes - constants.HEADER_SIZE_BYTES
    count = room // parameters.transaction_size_bytes
    tps, most, least = (
        theory.transactions_per_second(
            count, block_interval_s=interval_s, stale_fraction=min(part, 1 - 1e-9)
        )
        for part in (fraction, low, high)
    )
    return {
        "participants": n, "tps": tps, "tps_low": least, "tps_high": most,
        "busiest_sends": sum(one.busiest for one in races) / len(races),
        "mean_sends": sum(one.mean for one in races) / len(races),
        "stale_fraction": fraction, "replicates": len(races), "blocks": blocks,
    }  # fmt: skip


def _measures(rows: list[dict[str, Any]]) -> list[Measure]:
    measures = []
    for row in rows:
        name = row["system"].replace(", ", "_").replace(" ", "_").replace("-", "_")
        name = f"tps_{name}_{row['participants']}"
        ends = (row["tps"], row["tps_low"], row["tps_high"])
        measures.append(Measure(name, *ends, "1/s", row.get("blocks", row["replicates"])))
    return measures


def published() -> list[Published]:
    """The essay's sizes and rates."""
    n = constants.BITCOIN_NODES_MIN
    return [
        Published("tps_raft_batched_5", constants.ETCD_THROUGHPUT_TPS_MIN, "1/s",
                  "essay (lower bound)"),
        Published(f"tps_nakamoto_a_block_each_600_s_{n}", constants.BITCOIN_THROUGHPUT_TPS, "1/s",
                  "essay"),
    ]  # fmt: skip


def _notes(costs: Parameters, rows: list[dict[str, Any]]) -> list[str]:
    n = constants.BITCOIN_NODES_MIN
    chain = [row for row in rows if row["system"].startswith("nakamoto")]
    usual = [row for row in chain if row["system"] == chain[0]["system"]]
    sends = ", ".join(f"{row['participants']:,}: {row['mean_sends']:.2f}" for row in usual)
    alone = closed_form_tps(costs, costs.protocols[-1], n)
    stale = max(chain, key=lambda row: row["stale_fraction"])
    return [
        f"Blocks that a node passes on, mean, by the size of the network: {sends}. Every node gets "
        "a block once, so somebody has sent it once.",
        f"Most blocks go stale on {stale['participants']:,} nodes with {stale['system'][10:]}: "
        f"{stale['stale_fraction'] * 100:.1f} %.",
        f"A leader of {n:,} servers that sends each command by itself would need {1 / alone:.2f} s "
        f"for it ({alone:.2f} per second), and hear of each one from {n // 2:,} before it counts.",
        "Five servers survive two failures; seven survive three, at a lower rate and no lower "
        "latency. More participants add nothing to a log but survival.",
    ]


def figure(result: Result) -> Figure:
    """Rates over the number of participants, and what the busiest of them sends."""
    from consensus_lab.report.loads import participants_figure

    return participants_figure(result)
