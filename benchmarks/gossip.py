"""How fast the gossip path is, measured: `python benchmarks/gossip.py [--quick]`.

Prints deliveries (nodes x blocks, the miner's own included) per CPU second of this process, after
one small run that loads or compiles the kernels: by number of nodes, relay protocol and condition,
for a stretch of a year of Bitcoin, for SimBlock's three workloads (also in fresh processes), and
for the race of pools alone.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from consensus_lab import data
from consensus_lab.gossip import simblock
from consensus_lab.gossip.conditions import (
    Conditions,
    Partition,
    Pool,
    draw_outages,
)
from consensus_lab.gossip.mining import draw_schedule
from consensus_lab.gossip.pool_race import pool_race
from consensus_lab.gossip.simulate import simulate
from consensus_lab.nakamoto.relay_options import PROTOCOLS, Relay, Validation
from consensus_lab.nakamoto.relay_withholding import Strategy
from consensus_lab.network import topology
from consensus_lab.network.arrays import Network, from_graph

BITCOIN_NODES = 13_870
COLD_RUNS = 7
YEAR_BLOCKS = 52_560
VALIDATION = Validation(0, 10_000_000)
WORKLOADS = {"A": (600, 1000), "B": (6000, 100), "C": (BITCOIN_NODES, 100)}


def cpu_s(action: Callable[[], object]) -> tuple[float, object]:
    """CPU seconds of this process, and what came out."""
    begin = time.process_time()
    outcome = action()
    return time.process_time() - begin, outcome


def network_of(n: int) -> Network:
    """Bitcoin's shape at that size, SimBlock's 2019 tables."""
    return from_graph(topology.bitcoin(n, seed=1), seed=1)


def by_size(sizes: list[int], deliveries: int) -> None:
    """The curve over numbers of nodes: work and time per link, to be held against linear."""
    print("events and ns per link are those of one block; the ratio is to the first row")
    print(
        "   nodes     links  events/link  ns/event  ns/link  ratio"
        "  M deliveries/s  ms/block  memory MB"
    )
    first = None
    for n in sizes:
        network = network_of(n)
        schedule = draw_schedule(network, n_blocks=max(10, deliveries // n), seed=1)
        spent, race = cpu_s(lambda: simulate(network, schedule, validation=VALIDATION))  # noqa: B023
        per_block = spent / schedule.n_blocks
        per_link = per_block / network.n_links * 1e9
        first = first or per_link
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(
            f"{n:8d}  {network.n_links:8d}"
            f"  {race.events / schedule.n_blocks / network.n_links:11.3f}"
            f"  {spent / race.events * 1e9:8.0f}  {per_link:7.1f}  {per_link / first:5.2f}"
            f"  {race.deliveries / spent / 1e6:14.2f}  {per_block * 1e3:8.2f}  {memory:9d}"
        )


def by_protocol(network: Network, n_blocks: int) -> None:
    """Every relay protocol on the same blocks."""
    schedule = draw_schedule(network, n_blocks=n_blocks, seed=1)
    print("relay          M deliveries/s  events/delivery  p50 s")
    for protocol in PROTOCOLS:
        relay = Relay(protocol, missing_chance=0.1)
        spent, race = cpu_s(lambda: simulate(network, schedule, relay=relay, validation=VALIDATION))  # noqa: B023
        print(
            f"{protocol:14s} {race.deliveries / spent / 1e6:14.2f}"
            f"  {race.events / race.deliveries:15.2f}  {race.delay_quantile_s(0.5):5.2f}"
        )


def year(network: Network, n_blocks: int) -> None:
    """What a year costs, from a stretch of it."""
    schedule = draw_schedule(network, n_blocks=n_blocks, seed=2)
    spent, race = cpu_s(lambda: simulate(network, schedule, validation=VALIDATION))
    print(
        f"{n_blocks} blocks at {network.n_nodes} nodes: {spent:.1f} CPU s, a year of"
        f" {YEAR_BLOCKS} blocks {spent * YEAR_BLOCKS / n_blocks:.0f} CPU s;"
        f" stale rate {race.stale_rate():.4f}"
    )


def simblock_workloads() -> None:
    """SimBlock's model and settings, network and outputs included."""
    for name, (n, height) in WORKLOADS.items():
        settings = simblock.Settings(n_nodes=n, end_height=height)
        spent, outcome = cpu_s(lambda: simblock.simulate(settings, seed=1))  # noqa: B023
        print(
            f"SimBlock {name} ({n} x {height}): {outcome.deliveries / spent / 1e6:.2f} M/s,"
            f" {spent:.2f} CPU s, mean delay {outcome.delay_mean_s():.3f} s"
        )


def cold_processes() -> None:
    """The same, each in a process of its own: everything counted from its start to its end."""
    program = (
        "from consensus_lab.gossip.simblock import Settings, simulate;"
        "print(simulate(Settings(n_nodes={}, end_height={}), seed=1).deliveries)"
    )
    for name, (n, height) in WORKLOADS.items():
        command = [sys.executable, "-c", program.format(n, height)]
        rates = []
        for _ in range(COLD_RUNS):
            child = subprocess.Popen(command, stdout=subprocess.PIPE)
            assert child.stdout is not None
            deliveries = int(child.stdout.read())
            used = os.wait4(child.pid, 0)[2]
            rates.append(deliveries / (used.ru_utime + used.ru_stime) / 1e6)
        print(
            f"SimBlock {name}, {COLD_RUNS} cold processes: {statistics.median(rates):.2f} M/s"
            f" ({min(rates):.2f} to {max(rates):.2f}), {used.ru_maxrss // 1024} MB"
        )


def by_condition(network: Network, n_blocks: int) -> None:
    """What conditions cost, on the same blocks."""
    schedule = draw_schedule(network, n_blocks=n_blocks, seed=1)
    n, end_s = network.n_nodes, float(schedule.found_ns[-1]) / 1e9
    churn = draw_outages(
        range(0, n, 2), session_s=36_000.0, downtime_s=18_000.0, until_s=end_s, seed=1
    )
    third = Partition(0.2 * end_s, 0.4 * end_s, group=tuple(range(n // 3)))
    print("condition       M deliveries/s  events/delivery")
    for name, conditions in {
        "none": None,
        "jitter": Conditions(jitter=0.2),
        "selfish pool": Conditions(pools=(Pool((0, 1, 2, 3), Strategy()),)),
        "half churn": Conditions(outages=churn),
        "partition": Conditions(partitions=(third,)),
    }.items():
        spent, race = cpu_s(
            lambda: simulate(network, schedule, validation=VALIDATION, conditions=conditions)  # noqa: B023
        )
        print(
            f"{name:14s} {race.deliveries / spent / 1e6:15.2f}"
            f"  {race.events / race.deliveries:15.2f}"
        )


def pools(n_blocks: int) -> None:
    """Sixteen pools of 2016, ten seconds apart."""
    rows = data.rows("network/pool_hash_shares.csv")
    shares = [float(row["hash_share"]) for row in rows if row["network"] == "bitcoin_2016"]
    pool_race(shares, 10.0, n_blocks=10)
    spent, race = cpu_s(lambda: pool_race(shares, 10.0, n_blocks=n_blocks))
    print(f"pools alone: {n_blocks / spent / 1e6:.1f} M blocks/s; stale {race.stale_rate():.4f}")
    options = {"gamma": 0.5, "withholding": {0: Strategy()}}
    pool_race(shares, 10.0, n_blocks=10, **options)
    spent, race = cpu_s(lambda: pool_race(shares, 10.0, n_blocks=n_blocks // 10, **options))
    print(f"the first one selfish: {n_blocks / 10 / spent / 1e6:.1f} M blocks/s")


def main() -> None:
    """Run everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    share = 10 if parser.parse_args().quick else 1
    # While this process is small: a child's greatest memory counts what it was forked from.
    cold_processes()
    simulate(network_of(50), draw_schedule(network_of(50), n_blocks=2), validation=VALIDATION)
    simblock.simulate(simblock.Settings(n_nodes=50, end_height=2))
    simblock_workloads()
    pools(1_500_000 // share)
    network = network_of(BITCOIN_NODES)
    year(network, 2000 // share)
    by_protocol(network, 100 // share)
    by_condition(network, 100 // share)
    sizes = [1000, 3000, 10_000, BITCOIN_NODES, 30_000, 100_000]
    by_size(sizes[: 6 if share == 1 else 3], 4_000_000 // share)


if __name__ == "__main__":
    main()
