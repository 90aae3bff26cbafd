"""What the systems do under way: who sends the bytes, who may fail, how fast, how much."""

from __future__ import annotations

from typing import Any

from consensus_lab import constants, data
from consensus_lab.experiments import finality, throughput
from consensus_lab.experiments.cells.membership import is_committed
from consensus_lab.experiments.clusters import ClosedLoop, ClusterParameters, start
from consensus_lab.experiments.intervals import mean_interval
from consensus_lab.experiments.networks import NetworkParameters, build, relay_blocks
from consensus_lab.experiments.result import Measure, Result
from consensus_lab.report.table import AGREES, DIFFERS, HOLDS, SIMULATED, Cell

HERE = "consensus_lab.experiments.cells.loads"
TOLERANCE = 0.1
"""A published figure of one or two digits agrees with a measure that differs by less."""

ESSAY_MONTH = "2022-09"


def relay_race(parameters: NetworkParameters, *, n_blocks: int, size_bytes: int) -> Any:
    """Blocks relayed through one network of that kind; see `gossip.race.Race`."""
    from consensus_lab.gossip.mining import draw_schedule

    network, seed = build(parameters, 0)
    schedule = draw_schedule(network, n_blocks=n_blocks, block_size_bytes=size_bytes, seed=seed)
    return relay_blocks(parameters, network, schedule, seed=seed)


def cluster_busiest_share(parameters: ClusterParameters, requests: int = 500) -> tuple[float, bool]:
    """Share of all bytes sent by the busiest server under load, and whether it is the leader."""
    engine, leader = start(parameters)
    before = {i: process.bytes_sent for i, process in engine.processes.items()}
    load = ClosedLoop(engine, leader, clients=8, value_size_bytes=parameters.value_size_bytes)
    load.run(requests)
    sent = {i: process.bytes_sent - before[i] for i, process in engine.processes.items()}
    busiest = max(sent, key=lambda i: (sent[i], -i))
    return sent[busiest] / sum(sent.values()), busiest == leader


def replication_in_cluster(published: str, parameters: ClusterParameters, seeds: int) -> Cell:
    """The leader sends nearly everything."""
    runs = [
        cluster_busiest_share(parameters.replace(seed=parameters.seed + seed))
        for seed in range(seeds)
    ]
    value, low, high = mean_interval(share for share, _ in runs)
    all_leaders = all(is_leader for _, is_leader in runs)
    return Cell(
        published, SIMULATED, AGREES if all_leaders and low > 0.5 else DIFFERS,
        value=100 * value, low=100 * low, high=100 * high, unit="% of bytes",
        replicates=seeds, code=f"{HERE}:cluster_busiest_share",
        text=f"the leader sends {value:.0%} of all bytes",
    )  # fmt: skip


def replication_in_network(published: str, race: Any) -> Cell:
    """No node sends more than a sliver of all block transfers."""
    total = int(race.uploads.sum())
    share = int(race.uploads.max()) / total
    average = 1 / race.network.n_nodes
    return Cell(
        published, SIMULATED, AGREES if share < 0.05 else DIFFERS,
        value=100 * share, low=100 * share, high=100 * share, unit="% of block transfers",
        code="consensus_lab.gossip.race:Race.uploads",
        text=f"the busiest of {race.network.n_nodes:,} nodes sends {share:.2%} of all blocks",
        note=f"{total:,} transfers; an equal share would be {average:.4%}.",
    )  # fmt: skip


def failures_survived(n_servers: int, *, seed: int = 1) -> int:
    """How many servers of a cluster may crash, the leader first, before puts stop."""
    survived = 0
    for crashes in range(1, n_servers + 1):
        engine, leader = start(ClusterParameters.of({"n_servers": n_servers, "seed": seed}))
        others = [server for server in engine.processes if server != leader]
        for server in [leader, *others][:crashes]:
            engine.crash(server)
        if crashes == n_servers or not is_committed(engine, others[-1]):
            break
        survived = crashes
    return survived


def participants_of_cluster(published: str, *, seed: int) -> Cell:
    """Three survive one failure and five two; the even sizes between gain nothing."""
    survive = {n: failures_survived(n, seed=seed) for n in range(1, 6)}
    expected = all(count == (n - 1) // 2 for n, count in survive.items())
    sizes = ", ".join(f"{n}: {count}" for n, count in survive.items())
    return Cell(
        published, SIMULATED, AGREES if expected else DIFFERS,
        text=f"servers: crashes survived {sizes}",
        code=f"{HERE}:failures_survived",
        note="3 and 5 are the smallest sizes that survive one and two; more only slow the leader.",
    )  # fmt: skip


def participants_of_network(published: str, race: Any) -> Cell:
    """The nodes that all accepted the same chain in one run."""
    tip = race.best_tip()
    agreed = int((race.tip == tip).sum())
    bound = constants.BITCOIN_NODES_MIN
    known = {row["month"]: row for row in data.rows("bitcoin/published/node_counts_monthly.csv")}
    month = known[ESSAY_MONTH]
    live = f"{int(month['listening_nodes_median']):,} listening, "
    live += f"{int(month['all_nodes_estimate_median']):,} in all ({ESSAY_MONTH}, L. Dashjr)"
    return Cell(
        published, SIMULATED, HOLDS if agreed >= bound else DIFFERS, value=float(agreed),
        low=float(agreed), high=float(agreed), unit="nodes", published_value=float(bound),
        code=f"{HERE}:relay_race", live=live,
        note=f"Nodes on one chain after {race.schedule.n_blocks} blocks.",
    )  # fmt: skip


def _of(measure: Measure, published: str, verdict: str, **fields: Any) -> Cell:
    fields.setdefault("unit", measure.unit)
    return Cell(
        published, SIMULATED, verdict, value=measure.value, low=measure.low, high=measure.high,
        replicates=measure.replicates, **fields,
    )  # fmt: skip


def finality_of_cluster(published: str, result: Result) -> Cell:
    """Submission to answer, one client beside the leader."""
    mean, tail = result.measure("finality_ms_mean"), result.measure("finality_ms_p99")
    bound = constants.ETCD_FINALITY_MS_MAX
    rows = data.rows("etcd/published/single_client.csv")
    live = next(
        float(row["value"]) for row in rows
        if (row["etcd_version"], row["nodes"], row["storage"], row["target"], row["op"],
            row["quantity"]) == ("3.5.1", "3", "disk", "leader", "put", "p50")
    )  # fmt: skip
    return _of(
        mean, published, HOLDS if tail.high < bound else DIFFERS, published_value=bound,
        code="consensus_lab.experiments.finality:run", notebook="notebooks/30_finality.ipynb",
        live=f"{live:.2f} ms (etcd 3.5.1, three on one machine)",
        note=f"99 % within {tail.value:.2f} ms; made of message delays, disk writes and CPU.",
    )  # fmt: skip


def finality_of_chain(published: str, result: Result) -> Cell:
    """Submission to the last of the confirmations."""
    mean = result.measure("finality_minutes_mean")
    within = result.measure("share_final_within_60_minutes")
    target = constants.BITCOIN_FINALITY_MINUTES
    holds = mean.low <= target <= mean.high or abs(mean.value / target - 1) < TOLERANCE
    return _of(
        mean, published, AGREES if holds else DIFFERS, published_value=target,
        code="consensus_lab.experiments.finality:run", notebook="notebooks/30_finality.ipynb",
        note=f"A mean: only {within.value:.0%} of transactions are final within 60 minutes.",
    )  # fmt: skip


def throughput_of_cluster(published: str, result: Result) -> Cell:
    """The highest rate of the loads tried."""
    best = result.measure("tps_max")
    bound = constants.ETCD_THROUGHPUT_TPS_MIN
    rows = [float(r["qps"]) for r in throughput.benchmark_rows("write")]
    return _of(
        best, published, HOLDS if best.low > bound else DIFFERS, published_value=bound, unit="TPS",
        code="consensus_lab.experiments.throughput:run", notebook="notebooks/31_throughput.ipynb",
        live=f"{max(rows):,.0f} TPS (etcd's own benchmark, 1000 clients)",
        note=result.notes[-1],
    )  # fmt: skip


def throughput_of_chain(published: str, result: Result) -> Cell:
    """What full blocks confirm."""
    rate = result.measure("tps_nakamoto")
    target = constants.BITCOIN_THROUGHPUT_TPS
    agrees = abs(rate.value / target - 1) < TOLERANCE
    real = [
        int(row["size_bytes"]) / int(row["n_transactions"])
        for row in data.rows("bitcoin/real_blocks.csv") if int(row["n_transactions"]) > 100
    ]  # fmt: skip
    mean = sum(real) / len(real)
    slow = result.parameters.block_size_bytes / mean / result.parameters.block_interval_s
    return _of(
        rate, published, AGREES if agrees else DIFFERS, published_value=target, unit="TPS",
        code="consensus_lab.experiments.throughput:run", notebook="notebooks/31_throughput.ipynb",
        note=f"Only the smallest payments give that: real blocks here hold {mean:.0f} bytes per "
        f"transaction, {slow:.1f} TPS.",
    )  # fmt: skip


def results(
    cluster: dict[str, Any], network: dict[str, Any], chain: dict[str, Any]
) -> tuple[Result, Result]:
    """The finality and throughput experiments with the table's parameters."""
    loads = {name: value for name, value in chain.items() if name != "confirmations"}
    waits = {name: value for name, value in chain.items() if name != "transaction_size_bytes"}
    return (
        finality.run(finality.Parameters.of({**cluster, **network, **waits})),
        throughput.run(throughput.Parameters.of({**cluster, **network, **loads})),
    )
