"""How long from handing in a transaction until it will not be taken back?

In a replicated log: until a majority has the entry on disk and the client has its answer.  That
time is made of message delays, disk writes and CPU; nothing of it is typed in.  On a chain: until
the block that holds the transaction lies under enough others that undoing it is hopeless, by
convention six including its own.  Blocks come at random, so this time has a wide distribution.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from consensus_lab import constants
from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.clusters import NANOSECONDS_PER_MS, ClosedLoop, ClusterParameters
from consensus_lab.experiments.clusters import start as start_cluster
from consensus_lab.experiments.intervals import (
    mean_interval,
    proportion_interval,
    quantile_interval,
)
from consensus_lab.experiments.networks import (
    NetworkParameters,
    build,
    finding_interval_s,
    relay_blocks,
)
from consensus_lab.experiments.parameters import parameter
from consensus_lab.experiments.replicates import by_setting
from consensus_lab.experiments.result import Measure, Published, Result
from consensus_lab.node import ParameterError
from consensus_lab.sim.links import NANOSECONDS_PER_SECOND

if TYPE_CHECKING:
    import networkx
    import numpy
    from matplotlib.figure import Figure

SECONDS_PER_MINUTE = 60.0


class Parameters(ClusterParameters, NetworkParameters):
    """A cluster, a network, and how much of each is watched."""

    n_requests: int = parameter(
        2000, full=20_000, unit="count", meaning="requests that one client puts", minimum=2
    )
    confirmations: int = parameter(
        6, unit="blocks", meaning="depth at which a transaction counts as final", minimum=1,
        maximum=1000,
    )  # fmt: skip
    block_interval_s: float = parameter(
        600.0, unit="s", meaning="mean time between blocks of the chain", minimum=0.001
    )
    block_size_bytes: int = parameter(
        1_000_000, unit="bytes", meaning="size of each block", minimum=81, maximum=10**9
    )
    n_blocks: int = parameter(
        2000, full=3_000, unit="count", meaning="blocks found per replicate", minimum=1
    )

    def check(self) -> None:
        super().check()
        if self.n_blocks < 10 * self.confirmations:
            least = 10 * self.confirmations
            raise ParameterError("n_blocks", self.n_blocks, f"at least {least} (10 samples)")


def run(
    parameters: Parameters, progress: Progress = quiet, *, graph: networkx.Graph | None = None
) -> Result:
    """Measure both times.

    Returns
    -------
    Result
        `frame`: one row per sample: system, depth (1 for the log), seconds to finality.
    """
    import pandas

    ((log_ms,), waits), interrupted = by_setting(
        [partial(_log_ms, parameters), partial(chain_waits_s, parameters, graph=graph)],
        [1, parameters.replicates], progress=progress, what="cluster and networks",
    )  # fmt: skip
    frames = [
        pandas.DataFrame({"system": parameters.protocol, "depth": 1, "seconds": log_ms / 1000})
    ]
    for depth in range(1, parameters.confirmations + 1):
        seconds = [wait[depth - 1] for one in waits for wait in one]
        frames.append(
            pandas.DataFrame({"system": "nakamoto", "depth": depth, "seconds": seconds})
        )
    last_min = [wait[-1] / SECONDS_PER_MINUTE for one in waits for wait in one]
    frame = pandas.concat(frames, ignore_index=True)
    return Result(
        "finality", parameters, frame, _measures(log_ms, last_min), published(), figure,
        notes=interrupted + _notes(parameters, len(last_min)),
    )  # fmt: skip


def _log_ms(parameters: Parameters, _: int) -> numpy.ndarray:
    return cluster_latencies_ms(parameters, parameters.n_requests)


def cluster_latencies_ms(parameters: ClusterParameters, n_requests: int) -> numpy.ndarray:
    """Milliseconds from submission to answer of each put of one client beside the leader."""
    import numpy

    engine, leader = start_cluster(parameters)
    load = ClosedLoop(engine, leader, clients=1, value_size_bytes=parameters.value_size_bytes)
    load.run(n_requests)
    return numpy.array(load.latencies_ns) / NANOSECONDS_PER_MS


def chain_waits_s(
    parameters: Parameters, replicate: int, graph: networkx.Graph | None = None
) -> list[numpy.ndarray]:
    """Seconds until 1, 2, ..., `confirmations` blocks confirm a transaction; one row per sample.

    A transaction is handed in the moment the one before is final, so samples share no block.
    It stands in the next block of the chain that wins; a confirmation counts when the average
    node has accepted the block.
    """
    import numpy

    from consensus_lab.gossip.mining import draw_schedule

    network, seed = build(parameters, replicate, graph)
    blocks = {"block_size_bytes": parameters.block_size_bytes, "seed": seed}
    found_every_s = finding_interval_s(
        parameters, network, interval_s=parameters.block_interval_s,
        n_blocks=parameters.n_blocks, **blocks,
    )  # fmt: skip
    schedule = draw_schedule(
        network, n_blocks=parameters.n_blocks, block_interval_s=found_every_s, **blocks
    )
    race = relay_blocks(parameters, network, schedule, seed=seed)
    chain = numpy.flatnonzero(race.on_chain()[1:])
    delay_ns = race.delay_sum_ns[1:][chain] / numpy.maximum(race.accepted_by[1:][chain], 1)
    found_s = schedule.found_ns[chain] / NANOSECONDS_PER_SECOND
    seen_s = found_s + delay_ns / NANOSECONDS_PER_SECOND
    waits, submitted_s, first = [], 0.0, 0
    while first + parameters.confirmations <= len(chain):
        confirmed_s = seen_s[first : first + parameters.confirmations]
        waits.append(confirmed_s - submitted_s)
        submitted_s = float(confirmed_s[-1])
        first = int(numpy.searchsorted(found_s, submitted_s, side="right"))
    return waits


def _measures(log_ms: numpy.ndarray, last_min: list[float]) -> list[Measure]:
    convention = constants.BITCOIN_FINALITY_MINUTES
    within = sum(wait <= convention for wait in last_min)
    count, samples = len(log_ms), len(last_min)
    return [
        Measure("finality_ms_mean", *mean_interval(log_ms), "ms", count),
        Measure("finality_ms_p50", *quantile_interval(log_ms, 0.5), "ms", count),
        Measure("finality_ms_p99", *quantile_interval(log_ms, 0.99), "ms", count),
        Measure("finality_minutes_mean", *mean_interval(last_min), "min", samples),
        Measure("finality_minutes_p50", *quantile_interval(last_min, 0.5), "min", samples),
        Measure("finality_minutes_p90", *quantile_interval(last_min, 0.9), "min", samples),
        Measure(
            "share_final_within_60_minutes", *proportion_interval(within, samples), "", samples
        ),
    ]


def _notes(parameters: Parameters, samples: int) -> list[str]:
    return [
        f"{parameters.protocol}: one client beside the leader, {parameters.n_servers} servers in "
        f"{parameters.server_geography}; the time is made of message delays, disk writes and CPU.",
        f"Chain: {samples} transactions that share no block. The published 60 minutes are the "
        "mean of a wide distribution; no deadline holds with certainty.",
    ]


def published() -> list[Published]:
    """The essay's values, and how often six blocks do come within their mean time."""
    from consensus_lab.theory import confirmed_within_probability

    minutes, blocks = constants.BITCOIN_FINALITY_MINUTES, constants.CONFIRMATIONS_FOR_FINALITY
    share = confirmed_within_probability(blocks, time_s=minutes * SECONDS_PER_MINUTE)
    return [
        Published("finality_ms_mean", constants.ETCD_FINALITY_MS_MAX, "ms", "essay (upper bound)"),
        Published("finality_minutes_mean", minutes, "min", "essay"),
        Published("share_final_within_60_minutes", share, "", "Erlang law of six intervals"),
    ]


def figure(result: Result) -> Figure:
    """Both distributions on one logarithmic axis of time."""
    from consensus_lab.report.figures import finality_figure

    return finality_figure(result)
