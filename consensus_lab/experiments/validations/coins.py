"""Bitcoin, Litecoin, Dogecoin and Ethereum: stale blocks that Gervais et al. measured in 2015-16.

Each coin's network has its own regions, pools and block sizes where they are known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from consensus_lab import data
from consensus_lab.experiments.intervals import proportion_interval
from consensus_lab.experiments.validations.comparison import MEASURED, Comparison, compare, exact
from consensus_lab.sim.streams import derive_seed

if TYPE_CHECKING:
    from consensus_lab.gossip.race import Race

FILE = "network/coin_settings.csv"
DEFINITION = "stale blocks of all blocks; published: seen by one observer, a lower bound"
WHY = {
    "bitcoin": "pools pass blocks on over relay networks of their own, and an observer misses "
    "stale blocks",
    "litecoin": "the network's lines and pools are Bitcoin-Simulator's guesses",
    "dogecoin": "the network's lines and pools are Bitcoin-Simulator's guesses",
    "ethereum": "its pools, relay and the time to run contracts are unknown: Bitcoin's stand in",
}


def settings() -> list[dict[str, str]]:
    """The four coins."""
    return data.rows(FILE)


def race_of(row: dict[str, str], *, n_nodes: int, n_blocks: int, seed: int) -> Race:
    """One coin's blocks on one network."""
    from consensus_lab.gossip.mining import draw_schedule
    from consensus_lab.gossip.simulate import simulate
    from consensus_lab.nakamoto.relay_options import Relay, Validation
    from consensus_lab.network.gervais import (
        VALIDATION_BYTES_PER_S,
        block_sizes,
        gervais_network,
    )

    own_seed = derive_seed(seed, "coins", row["coin"])
    network = gervais_network(n_nodes, coin=row["pools"], seed=own_seed)
    drawn = row["block_size_bytes"] == "histogram"
    schedule = draw_schedule(
        network, n_blocks=n_blocks, block_interval_s=float(row["block_interval_s"]),
        block_size_bytes=block_sizes(row["coin"], n_blocks, seed=own_seed) if drawn
        else int(row["block_size_bytes"]),
        seed=own_seed,
    )  # fmt: skip
    return simulate(
        network, schedule, relay=Relay(row["relay"]), seed=own_seed,
        validation=Validation(bytes_per_s=VALIDATION_BYTES_PER_S),
    )  # fmt: skip


def compare_coin(row: dict[str, str], races: list[Race]) -> list[Comparison]:
    """The coin's measured stale fraction beside these races."""
    blocks = sum(race.schedule.n_blocks for race in races)
    stale = proportion_interval(sum(race.stale_blocks() for race in races), blocks)
    return [
        compare(
            stale, exact(float(known["value"])), replicates=blocks, group="coins: stale",
            setting=f"{row['coin']}, every {row['block_interval_s']} s",
            quantity="stale fraction", definition=DEFINITION, unit="fraction", kind=MEASURED,
            source=f"{known['source']} ({known['period']}; {known['verified']})",
            why=WHY[row["coin"]],
        )
        for known in data.rows("bitcoin/published/published_stale_rates.csv")
        if known["what"].lower() == f"measured stale block rate, {row['coin']}"
    ]  # fmt: skip
