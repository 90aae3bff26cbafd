"""What is measured on this machine for the prediction of a real cluster, in turn with that cluster.

Rules of this file: the real cluster's puts are handed out beside the `Machine`, never put into it.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from statistics import median, quantiles
from typing import NamedTuple

from consensus_lab.experiments.live_prediction import Machine
from consensus_lab.live import machine
from consensus_lab.live.etcd import EtcdCluster
from consensus_lab.live.etcd_load import watched_puts
from consensus_lab.live.machine import Writers

FLAGS = ("--pre-vote=true",)
LOG_RECORD_BYTES = 100
"""About what etcd writes to its log besides key and value."""


class Clusters(NamedTuple):
    """The real cluster that is predicted, and those that say what a put is made of."""

    live: EtcdCluster
    alone: EtcdCluster
    pair: EtcdCluster
    one_processor_alone: EtcdCluster
    one_processor_pair: EtcdCluster


def start(
    stack: ExitStack, n_servers: int, *, value_size_bytes: int, folder: str | None = None
) -> tuple[Clusters, Writers]:
    """All clusters with their leaders, and writers beside them."""
    clusters = Clusters(*(
        stack.enter_context(EtcdCluster(
            size, folder=folder, flags=FLAGS, processors=processors
        ))
        for size, processors in ((n_servers, None), (1, None), (2, None), (1, 1), (2, 1))
    ))  # fmt: skip
    size_bytes = value_size_bytes + LOG_RECORD_BYTES
    writers = Writers(clusters.live.folder, n_servers, size_bytes=size_bytes)
    return clusters, stack.enter_context(writers)


class Spent(NamedTuple):
    """Processor time that other programs have used until a moment, milliseconds."""

    others_ms: float
    at_ms: float


def others_ms(clusters: Clusters, writers: Writers) -> Spent | None:
    """Processor time of all programs but ours until now; None where this system does not tell."""
    servers = [process for each in clusters for process in each.processes.values()]
    try:
        ours_ms = sum(machine.process_cpu_ms(one.pid) for one in (*servers, *writers.processes))
        all_ms = machine.machine_cpu_ms()
    except OSError:
        return None
    return Spent(all_ms - ours_ms - time.process_time() * 1e3, time.monotonic() * 1e3)


def measured(
    clusters: Clusters, writers: Writers, *, n_requests: int, value_size_bytes: int
) -> tuple[list[float], Machine]:
    """Latencies of puts to the real cluster, and what was measured beside it, milliseconds."""
    leaders = [each.wait_for_leader() for each in clusters]
    live, alone, pair, narrow_alone, narrow_pair = (
        watched_puts(each, server=leader, n_requests=n_requests, value_size_bytes=value_size_bytes)
        for each, leader in zip(clusters, leaders, strict=True)
    )  # fmt: skip
    majority = writers.count // 2 + 1
    writes_ms = [
        median(times_ms[last - 1] for times_ms in writers.times_ms(count, n_writes=n_requests))
        for count, last in ((1, 1), (2, 2), (writers.count, majority))
    ]
    cpu_ms = [pair.client_cpu_ms]
    for single, double, leader in (
        (alone, pair, leaders[2]), (narrow_alone, narrow_pair, leaders[4])
    ):  # fmt: skip
        # Where this system tells no processor time, nobody is in the way of anybody.
        of_two = double.cpu_ms or [0.0, 0.0]
        cpu_ms += [sum(single.cpu_ms), of_two[leader], of_two[1 - leader]]
    found = Machine(
        median(alone.latencies_ms), _spread(alone.latencies_ms), median(pair.latencies_ms),
        *writes_ms, *cpu_ms,
    )  # fmt: skip
    return live.latencies_ms, found


def _spread(values: list[float]) -> float:
    """Width of the uniform law with the same first and last tenth."""
    tenths = quantiles(values, n=10)
    return (tenths[-1] - tenths[0]) / 0.8
