"""Bitcoin-Simulator's network and sweeps made again, beside its published outputs.

Its delays are statistics *over nodes* of each node's mean, until a block is received and before it
is checked, and so are ours here: a few slow nodes weigh as much as the fast ones.  `relay_network`
sends compressed blocks between pools: there with an index of two bytes per transaction
(bitcoin-node.cc, m_transactionIndexSize), here compact blocks with their short ids of six.

Why what differs differs was tested by changing one rule at a time.  Short messages cross a link
there at the least rate of its ends' four, so pools, with their fast lines, are the first in a
miner's queue.  With requests that take as long as 500 bytes (a getheaders, a getdata, TCP and all)
over the slower of a node's lines, the median of 0.1 MB blocks by `standard_inv` every 600 s fell
from 3.33 s to 2.99 (published 3.18), the tenth percentile from 2.09 s to 1.87 (published 1.97).
Nodes there ask another peer after two intervals.  With that rule, in one network with 40 blocks of
1 MB every 150 s, the mean fell from 243 s to 71 (published 47), the median from 49 s to 47.
Compact blocks that wait in a pool's line behind whole ones made 0.022 of these blocks stale, on
connections of their own 0.004, as published.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from consensus_lab import data
from consensus_lab.experiments.intervals import mean_interval, proportion_interval
from consensus_lab.experiments.validations.comparison import (
    SIMULATED,
    Comparison,
    compare,
    counted,
    one_run_of_the_same_kind,
)
from consensus_lab.sim.streams import derive_seed

if TYPE_CHECKING:
    import numpy

    from consensus_lab.gossip.race import Race
    from consensus_lab.network.arrays import Network

FILE = "network/published/gervais2016_simulated_propagation_and_stale.csv"
SOURCE = "Bitcoin-Simulator (Gervais et al. 2016), results.xlsx"
HISTOGRAM = "bitcoin_2016_histogram"
RELAYS = {
    "standard_inv": ("inv", False), "relay_network": ("inv", True),
    "sendheaders_relay_network": ("headers", True),
}  # fmt: skip
"""Their protocols that ours can run: ours, and whether pools pass blocks on among themselves.

In the fourth, `unsolicited`, only the finder pushes its block; all others announce.
"""

READABLE = (
    (HISTOGRAM, "standard_inv", "600"), (HISTOGRAM, "standard_inv", "60"),
    (HISTOGRAM, "standard_inv", "1"), (HISTOGRAM, "relay_network", "600"),
    (HISTOGRAM, "relay_network", "10"), ("0.1", "standard_inv", "600"),
)  # fmt: skip
"""What the fast preset runs: both protocols, long and short intervals, drawn and equal sizes."""

OVERLOADED_S, OVERLOADED_INTERVALS = 300.0, 5.0
"""A published median above either is a queue that grew all through the run: left out."""

PER_NODE = "over nodes, of each node's mean, discovery to received"
PUBLISHED_REAL_INTERVAL_S = 600.0
STATISTICS = {"mean": None, "median": 0.5, "p10": 0.1, "p90": 0.9}
WHY_DELAY = (
    "requests there cross a link at the least rate of its ends' lines, so that pools are served "
    "first (medians); a node there asks another peer after two intervals (means, 90 %)"
)
WHY_STALE = "not certain; probably the delays between pools, who are served first there"


def published_rows(*, everything: bool) -> list[dict[str, str]]:
    """The settings to compare: all that ours can run and that are not overloaded, or a few."""
    rows = [
        row for row in data.rows(FILE)
        if row["relay_protocol"] in RELAYS and float(row["median_s"])
        <= min(OVERLOADED_S, OVERLOADED_INTERVALS * float(row["block_interval_s"]))
    ]  # fmt: skip
    if everything:
        return rows
    by_key = {
        (row["block_size_mb"], row["relay_protocol"], row["block_interval_s"]): row for row in rows
    }
    return [by_key[key] for key in READABLE]


def networks(seed: int, replicates: int) -> list[tuple[Network, int]]:
    """Independent networks and their seeds."""
    from consensus_lab.network.gervais import gervais_network

    seeds = [derive_seed(seed, "gervais", replicate) for replicate in range(replicates)]
    return [(gervais_network(seed=own), own) for own in seeds]


def race_of(row: dict[str, str], network: Network, *, n_blocks: int, seed: int) -> Race:
    """One published setting on one network."""
    import numpy

    from consensus_lab.gossip.mining import draw_schedule
    from consensus_lab.gossip.simulate import simulate
    from consensus_lab.nakamoto.relay_options import Relay, Validation
    from consensus_lab.network.gervais import (
        INTERVAL_FACTOR,
        VALIDATION_BYTES_PER_S,
        block_sizes,
    )

    interval_s = float(row["block_interval_s"])
    if row["block_size_mb"] == HISTOGRAM:
        scale = interval_s / PUBLISHED_REAL_INTERVAL_S
        size_bytes = block_sizes("bitcoin", n_blocks, scale=scale, seed=seed)
    else:
        size_bytes = round(float(row["block_size_mb"]) * 1e6)
    schedule = draw_schedule(
        network, n_blocks=n_blocks, block_interval_s=interval_s * INTERVAL_FACTOR,
        block_size_bytes=size_bytes, seed=seed,
    )  # fmt: skip
    protocol, is_linked = RELAYS[row["relay_protocol"]]
    pools = numpy.flatnonzero(network.hash_share).tolist()
    return simulate(
        network, schedule, relay=Relay(protocol), overlay=pools if is_linked else (), seed=seed,
        validation=Validation(bytes_per_s=VALIDATION_BYTES_PER_S), keep_all=True,
    )  # fmt: skip


def delays_s(race: Race) -> numpy.ndarray:
    """Seconds from discovery until received, 0 for the finder: blocks x nodes, NaN for never.

    What the program averages (bitcoin-node.cc, AfterBlockValidation): of blocks that a node has
    come to accept, the time at which their last byte was there.
    """
    import numpy

    assert race.received_ns is not None and race.accepted_ns is not None
    since_ns = race.received_ns[1:] - race.schedule.found_ns[:, None]
    delay_s = numpy.where(race.accepted_ns[1:] < 0, numpy.nan, since_ns / 1e9)
    delay_s[race.received_ns[1:] < 0] = numpy.nan
    delay_s[numpy.arange(len(delay_s)), race.schedule.miner] = 0.0
    return delay_s


def variance_share(races: list[Race], published_blocks: int) -> float:
    """How much of our runs' variance a published run of that many blocks has.

    A run's mean delay varies with its network and with its blocks.  The second part shrinks with
    their number and is known from the delays of single blocks; what is left is the network's.
    """
    import numpy

    means_s, of_blocks = [], []
    for race in races:
        block_s = numpy.nanmean(delays_s(race), axis=1)
        means_s.append(block_s.mean())
        of_blocks.append(block_s.var(ddof=1) / len(block_s))
    whole, noise = float(numpy.var(means_s, ddof=1)), float(numpy.mean(of_blocks))
    left = races[0].schedule.n_blocks / published_blocks
    if not whole > 0.0:
        return 1.0
    return min(1.0, (max(0.0, whole - noise) + noise * left) / whole)


def compare_row(row: dict[str, str], races: list[Race]) -> list[Comparison]:
    """Delays and stale fraction of one setting."""
    import numpy

    size = "sizes of 2016" if row["block_size_mb"] == HISTOGRAM else f"{row['block_size_mb']} MB"
    common = {
        "setting": f"{row['relay_protocol']}, {size}, every {row['block_interval_s']} s",
        "kind": SIMULATED, "source": SOURCE,
    }  # fmt: skip
    rows = []
    of_ours = variance_share(races, int(row["blocks_simulated"]))
    of_nodes = [numpy.nanmean(delays_s(race), axis=0) for race in races]
    for name, share in STATISTICS.items():
        ours = [float(s.mean() if share is None else numpy.quantile(s, share)) for s in of_nodes]
        rows.append(compare(
            mean_interval(ours),
            one_run_of_the_same_kind(float(row[f"{name}_s"]), ours, variance_share=of_ours),
            replicates=len(races), group="Bitcoin-Simulator: propagation", unit="s",
            quantity=f"delay {name}", definition=PER_NODE, why=WHY_DELAY, **common,
        ))  # fmt: skip
    blocks = sum(race.schedule.n_blocks for race in races)
    stale = proportion_interval(sum(race.stale_blocks() for race in races), blocks)
    rows.append(compare(
        stale, counted(float(row["stale_rate"]), int(row["blocks_simulated"])),
        replicates=blocks, group="Bitcoin-Simulator: stale", unit="fraction",
        quantity="stale fraction", definition="stale blocks of all blocks", **common,
        why=WHY_STALE,
    ))  # fmt: skip
    return rows
