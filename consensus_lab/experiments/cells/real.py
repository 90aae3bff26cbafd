"""The same quantities from the real systems: etcd, measured before or now, and Bitcoin's chain.

What was measured before is in `data/`; `live_etcd` measures on this machine.  Keys are the row
and the system of the table's cell.
"""

from __future__ import annotations

from statistics import fmean, median
from typing import NamedTuple

from consensus_lab import constants, data
from consensus_lab.experiments import live_etcd as live
from consensus_lab.experiments import throughput
from consensus_lab.experiments.cells.loads import mean_transaction_bytes
from consensus_lab.experiments.intervals import mean_interval
from consensus_lab.experiments.result import Result
from consensus_lab.report.table import quantity

RAFT, NAKAMOTO = "raft", "nakamoto"
VERSION = "3.5.1"
"""Of the real etcd whose saved measurements are shown, where both versions were measured."""

ESSAY_YEAR, ESSAY_MONTH = "2022", "2022-09"
Key = tuple[str, str]


class Real(NamedTuple):
    """A real system's value: in words, where it is from, and in the cell's unit if a number."""

    text: str
    source: str
    value: float | None = None


def saved_etcd() -> dict[Key, Real]:
    """Real etcd, measured before."""
    put_ms = next(
        float(row["value"]) for row in data.rows("etcd/published/single_client.csv")
        if (row["etcd_version"], row["nodes"], row["storage"], row["target"], row["op"],
            row["quantity"]) == (VERSION, "3", "disk", "leader", "put", "p50")
    )  # fmt: skip
    rates = [
        float(row["requests_per_s"]) for row in data.rows("etcd/published/throughput.csv")
        if (row["nodes"], row["storage"]) == ("3", "disk")
    ]  # fmt: skip
    best = max(float(row["qps"]) for row in throughput.benchmark_rows("write"))
    limits = {row["quantity"]: row for row in data.rows("etcd/published/limits.csv")}
    largest = float(limits["largest_accepted_put_value_with_1_byte_key"]["value"])
    limit = float(limits["default_max_request_bytes"]["value"])
    full = float(limits["db_bytes_at_default_quota"]["value"])
    version = limits["default_max_request_bytes"]["etcd_version"]
    fails_ms = [
        float(row["leader_known_ms"]) for row in data.rows("etcd/published/failover.csv")
        if (row["etcd_version"], row["nodes"], row["signal"], row["election_ms"])
        == (VERSION, "3", "KILL", "1000")
    ]  # fmt: skip
    one_machine = f"etcd {VERSION}, three servers on one machine"
    return {
        ("finality", RAFT): Real(f"{put_ms:.2f} ms", f"{one_machine}, median", put_ms),
        ("throughput", RAFT): Real(
            f"{max(rates):,.0f} to {best:,.0f} TPS",
            "etcd on two cores; etcd's own benchmark on 24", best),
        ("payload_limit", RAFT): Real(
            f"{largest:,.0f} bytes of value", f"etcd {version}, one-byte key", limit),
        ("database_size", RAFT): Real(
            quantity(full, "bytes"), f"etcd {version}, filled to its default quota"),
        ("failures", RAFT): Real(
            f"{len(fails_ms)} of {len(fails_ms)} leaders replaced, {median(fails_ms) / 1000:.2f} s",
            f"{one_machine}, killed"),
    }  # fmt: skip


def live_etcd(result: Result) -> dict[Key, Real]:
    """Real etcd, measured now: a result of the experiment `live-etcd`."""
    names = {measure.quantity: measure for measure in result.measures}
    put, predicted = names["put_ms_p50"], live.prediction(result.measures)
    rates = [one for name, one in names.items() if name.startswith("puts_per_s_")]
    best = max(rates, key=lambda measure: measure.value)
    largest, failover = names["value_size_bytes_max"], names["new_leader_ms_mean"]
    here = "real etcd on this machine, now"
    return {
        ("finality", RAFT): Real(
            f"{put.value:.2f} ms ({put.low:.2f}–{put.high:.2f})",
            f"{here}, median; {predicted.words}", put.value),
        ("throughput", RAFT): Real(f"{best.value:,.0f} TPS", here, best.value),
        ("payload_limit", RAFT): Real(f"{largest.value:,.0f} bytes of value", here, largest.value),
        ("failures", RAFT): Real(
            f"{failover.replicates} of {failover.replicates} leaders replaced, "
            f"{failover.value / 1000:.2f} s", f"{here}, killed"),
    }  # fmt: skip


def bitcoin() -> dict[Key, Real]:
    """Bitcoin's chain and network, from data of others."""
    arrivals = data.rows("bitcoin/block_arrivals.csv")
    times_s = [int(row["arrival_unix_s"]) for row in arrivals]
    depth = constants.CONFIRMATIONS_FOR_FINALITY
    sixes = [
        (after - before) / 60 for before, after in zip(times_s, times_s[depth:], strict=False)
    ][::depth]
    six, low, high = mean_interval(sixes)
    nodes = {row["month"]: row for row in data.rows("bitcoin/published/node_counts_monthly.csv")}
    month = nodes[ESSAY_MONTH]
    kit = next(
        row for row in data.rows("bitcoin/published/kit_block_propagation_percentiles.csv")
        if row["year"] == ESSAY_YEAR
    )  # fmt: skip
    delay_s = float(kit["p50_ms_median_over_windows"]) / 1000
    stale = next(
        row for row in data.rows("bitcoin/published/stale_rate_by_year.csv")
        if row["year"] == ESSAY_YEAR
    )  # fmt: skip
    sizes = [
        float(row["block_size_bytes_mean"]) for row in data.rows("network/block_size_samples.csv")
        if row["date"].startswith(ESSAY_YEAR)
    ]  # fmt: skip
    tps = constants.BLOCK_SIZE_BYTES_MAX / mean_transaction_bytes() / constants.BLOCK_INTERVAL_S
    fullest = max(data.rows("bitcoin/real_blocks.csv"), key=lambda row: int(row["n_transactions"]))
    return {
        ("unit_of_consensus", NAKAMOTO): Real(
            f"{int(fullest['n_transactions']):,} transactions",
            f"block {int(fullest['height']):,}"),
        ("payload_limit", NAKAMOTO): Real(
            f"{quantity(fmean(sizes), 'bytes')} with witnesses",
            f"mean block of {ESSAY_YEAR}"),
        ("participants", NAKAMOTO): Real(
            f"{int(month['listening_nodes_median']):,} listening, "
            f"{int(month['all_nodes_estimate_median']):,} in all",
            f"{ESSAY_MONTH}, L. Dashjr"),
        ("finality", NAKAMOTO): Real(
            f"{six:.1f} min ({low:.1f}–{high:.1f})",
            f"six blocks, {len(arrivals):,} arrivals of 2021", six),
        ("throughput", NAKAMOTO): Real(
            f"{tps:.1f} TPS", "full blocks of real transactions, mean size", tps),
        ("conflicts", NAKAMOTO): Real(
            f"{int(stale['stale_blocks'])} of {int(stale['main_chain_blocks_covered']):,} blocks "
            "stale", f"{ESSAY_YEAR}, willcl-ark/stale-blocks, a lower bound"),
        ("propagation", NAKAMOTO): Real(
            f"{delay_s:.2f} s median", f"KIT monitor, {ESSAY_MONTH}", delay_s),
    }  # fmt: skip
