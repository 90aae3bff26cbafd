"""What the systems do under way: who sends the bytes, who may fail, how fast, how much."""

from __future__ import annotations

from typing import Any

from consensus_lab import constants, data
from consensus_lab.experiments import finality, throughput
from consensus_lab.experiments.clusters import ClosedLoop, ClusterParameters, start
from consensus_lab.experiments.costed_logs import costs_of
from consensus_lab.experiments.intervals import mean_interval
from consensus_lab.experiments.networks import NetworkParameters, build, relay_blocks
from consensus_lab.experiments.result import Measure, Result
from consensus_lab.report.table import DIFFERS, SIMULATED, WITHIN, Cell

HERE = "consensus_lab.experiments.cells.loads"
FINALITY, THROUGHPUT = "notebooks/30_finality.ipynb", "notebooks/31_throughput.ipynb"
PROPAGATION = "notebooks/20_propagation_delay.ipynb"
CHAIN_OF_CLUSTER = {"n_nodes": 50, "replicates": 2}
"""The smallest chain: the experiments measure one beside each cluster, here it is not looked at."""


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
    total = sum(sent.values())  # Nothing, in a cluster of one.
    return (sent[busiest] / total if total else 0.0), busiest == leader


def replication_in_cluster(published: str, parameters: ClusterParameters, seeds: int) -> Cell:
    """The leader sends nearly everything."""
    runs = [
        cluster_busiest_share(parameters.replace(seed=parameters.seed + seed))
        for seed in range(seeds)
    ]
    value, low, high = mean_interval(share for share, _ in runs)
    all_leaders = all(is_leader for _, is_leader in runs)
    return Cell(
        published, SIMULATED, WITHIN if all_leaders and low > 0.5 else DIFFERS,
        value=100 * value, low=100 * low, high=100 * high, unit="%",
        replicates=seeds, code=f"{HERE}:cluster_busiest_share",
        notebook="notebooks/03_multi_paxos_and_raft.ipynb",
        text=f"the leader sends {value:.0%} of all bytes",
    )  # fmt: skip


def replication_in_network(published: str, race: Any) -> Cell:
    """No node sends more than a sliver of all block transfers."""
    total = int(race.uploads.sum())
    share = int(race.uploads.max()) / total
    average = 1 / race.network.n_nodes
    return Cell(
        published, SIMULATED, WITHIN if share < max(0.05, 10 * average) else DIFFERS,
        value=100 * share, low=100 * share, high=100 * share, unit="%",
        code="consensus_lab.gossip.race:Race.uploads", notebook=PROPAGATION,
        text=f"the busiest of {race.network.n_nodes:,} nodes sends {share:.2%} of all blocks",
        note=f"{total:,} transfers; an equal share would be {average:.4%}.",
    )  # fmt: skip


def participants_of_network(published: str, race: Any) -> Cell:
    """The nodes that all accepted the same chain in one run."""
    tip = race.best_tip()
    agreed = int((race.tip == tip).sum())
    bound = constants.BITCOIN_NODES_MIN
    return Cell(
        published, SIMULATED, WITHIN if agreed == race.network.n_nodes else DIFFERS,
        value=float(agreed), low=float(agreed), high=float(agreed), unit="nodes",
        published_value=float(bound), code=f"{HERE}:relay_race", notebook=PROPAGATION,
        note=f"Nodes on one chain after {race.schedule.n_blocks} blocks. Counts of the real "
        "network lie on both sides of the essay's: they differ in what counts as a node.",
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
    return _of(
        mean, published, WITHIN if tail.high < bound else DIFFERS, published_value=bound,
        code="consensus_lab.experiments.finality:run", notebook=FINALITY,
        note=f"99 % within {tail.value:.2f} ms; made of message delays, disk writes and CPU. That "
        "is one client: at the rate of the row below it takes longer.",
    )  # fmt: skip


def finality_of_chain(published: str, result: Result) -> Cell:
    """Submission to the last of the confirmations."""
    mean = result.measure("finality_minutes_mean")
    within = result.measure("share_final_within_60_minutes")
    return _of(
        mean, published, WITHIN, published_value=constants.BITCOIN_FINALITY_MINUTES,
        code="consensus_lab.experiments.finality:run", notebook=FINALITY,
        note=f"A mean: {within.value:.0%} of transactions are final within 60 minutes.",
    )  # fmt: skip


def throughput_of_cluster(published: str, result: Result) -> Cell:
    """The highest rate of the loads tried."""
    best = result.measure("tps_max")
    return _of(
        best, published, WITHIN, published_value=constants.ETCD_THROUGHPUT_TPS_MIN, unit="TPS",
        code="consensus_lab.experiments.throughput:run", notebook=THROUGHPUT,
        note=result.notes[-1],
    )  # fmt: skip


def throughput_of_chain(published: str, result: Result) -> Cell:
    """What full blocks confirm."""
    rate = result.measure("tps_nakamoto")
    size = mean_transaction_bytes()
    slow = result.parameters.block_size_bytes / size / result.parameters.block_interval_s
    return _of(
        rate, published, WITHIN, published_value=constants.BITCOIN_THROUGHPUT_TPS, unit="TPS",
        code="consensus_lab.experiments.throughput:run", notebook=THROUGHPUT,
        note=f"Only the smallest payments give that: real blocks here hold {size:.0f} bytes per "
        f"transaction, {slow:.1f} TPS.",
    )  # fmt: skip


def mean_transaction_bytes() -> float:
    """Bytes per transaction of the real blocks that hold more than a hundred."""
    real = [
        int(row["size_bytes"]) / int(row["n_transactions"])
        for row in data.rows("bitcoin/real_blocks.csv") if int(row["n_transactions"]) > 100
    ]  # fmt: skip
    return sum(real) / len(real)


def results(
    cluster: dict[str, Any], network: dict[str, Any], chain: dict[str, Any]
) -> dict[str, tuple[Result, Result]]:
    """The finality and throughput experiments with the table's parameters, for each protocol."""
    loads = {name: value for name, value in chain.items() if name != "confirmations"}
    # Costs are etcd's, whose servers stood side by side: where ours stand is not in its table.
    loads["n_servers"] = cluster["n_servers"]
    waits = {name: value for name, value in chain.items() if name != "transaction_size_bytes"}
    small = {**CHAIN_OF_CLUSTER, "seed": network["seed"]}
    least = 10 * chain["confirmations"]
    raft = throughput.run(throughput.Parameters.of({**network, **loads}))
    # What was fitted to etcd holds for the other protocol's servers too.
    other = {**costs_of(raft), "protocol": "multi-paxos"}
    paxos = {**cluster, "protocol": "multi-paxos"}
    return {
        "raft": (finality.run(finality.Parameters.of({**cluster, **network, **waits})), raft),
        "multi-paxos": (
            finality.run(finality.Parameters.of({**waits, **paxos, **small, "n_blocks": least})),
            throughput.run(throughput.Parameters.of({
                **loads, **small, **other, "replicates": network["replicates"], "n_blocks": 1,
            })),
        ),
    }  # fmt: skip
