"""Closed forms of forks: the fully delayed chain, two miners, Decker and Wattenhofer, GHOST.

`theory.forks` has the formulas; here the simulators run what they describe.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from consensus_lab.experiments.intervals import mean_interval, proportion_interval
from consensus_lab.experiments.validations.comparison import (
    BOUND,
    CLOSED_FORM,
    Comparison,
    compare,
    exact,
)
from consensus_lab.sim.streams import derive_seed
from consensus_lab.theory import forks

if TYPE_CHECKING:
    from consensus_lab.gossip.race import Race

DELAYS_INTERVALS = (0.021, 0.1, 0.5, 1.0)
"""Delay in mean block intervals; the first is 12.6 s of 600 s."""

POOLS = 500
TWO_MINER_SHARES = (0.5, 0.8)
WHY_DECKER_WATTENHOFER = (
    "the formula counts a fork while the first block spreads, with everybody's delay independent; "
    "here a miner does not fork himself and a third block may join"
)


def fully_delayed(*, n_blocks: int, seed: int) -> list[Comparison]:
    """Many equal miners who all hear of a block after the same time."""
    import numpy

    from consensus_lab.gossip.pool_race import pool_race

    rows = []
    for delay in DELAYS_INTERVALS:
        race = pool_race(
            numpy.ones(POOLS), delay, n_blocks=n_blocks, block_interval_s=1.0,
            seed=derive_seed(seed, "fully delayed", str(delay)),
        )  # fmt: skip
        stale = int(race.stale.sum())
        share, low, high = proportion_interval(stale, n_blocks)
        known = forks.equal_miners_stale_scaled(POOLS, delay_intervals=delay)
        rows.append(compare(
            (share, low, high), exact(known), replicates=n_blocks, group="closed forms: forks",
            setting=f"{POOLS} equal pools, delay {delay:g} block intervals",
            quantity="stale fraction", definition="stale blocks of all blocks",
            unit="fraction", kind=CLOSED_FORM,
            source="x / (1 + x) (1 - 1/n), fully delayed chain (Sompolinsky and Zohar 2015)",
        ))  # fmt: skip
    return rows


def two_miners(*, n_blocks: int, seed: int) -> list[Comparison]:
    """Two miners at a distance, over the compiled gossip path."""
    import numpy

    from consensus_lab.gossip.mining import draw_schedule
    from consensus_lab.gossip.simulate import simulate
    from consensus_lab.nakamoto.relay_options import Relay
    from consensus_lab.network.arrays import from_edges

    rows = []
    for share in TWO_MINER_SHARES:
        network = from_edges(
            numpy.array([[0, 1]]), latency_s=numpy.array([1.0]),
            upload_bytes_per_s=numpy.full(2, numpy.inf),
            download_bytes_per_s=numpy.full(2, numpy.inf),
            hash_share=numpy.array([share, 1.0 - share]),
        )  # fmt: skip
        schedule = draw_schedule(
            network, n_blocks=n_blocks, block_interval_s=2.0, block_size_bytes=81,
            seed=derive_seed(seed, "two miners", str(share)),
        )  # fmt: skip
        race = simulate(network, schedule, relay=Relay("push"))
        known = forks.two_miner_stale_fraction(share, delay_intervals=0.5)
        rows.append(compare(
            proportion_interval(race.stale_blocks(), n_blocks), exact(known), replicates=n_blocks,
            group="closed forms: forks", setting=f"two miners, {share:g} of the hash power",
            quantity="stale fraction", definition="stale blocks of all blocks", unit="fraction",
            kind=CLOSED_FORM, source="two miners with a delay (Sompolinsky and Zohar 2015)",
        ))  # fmt: skip
    return rows


def mean_delay_by_hash_power_s(race: Race) -> float:
    """Decker and Wattenhofer's integral of 1 - F: the delay weighted by hash power, finder 0."""
    shares = race.network.hash_share
    return float((race.node_mean_delay_s() * shares).sum() / shares.sum())


def heights_with_fork(race: Race) -> tuple[int, int]:
    """How many heights have more than one block, and how many heights there are."""
    import numpy

    count = numpy.bincount(race.height[1:])[1:]
    return int((count > 1).sum()), int((count > 0).sum())


def on_a_network(races: list[Race], *, interval_s: float, setting: str) -> list[Comparison]:
    """Decker and Wattenhofer's formula from the simulated curve, and the growth bound."""
    delay_s = mean_interval(mean_delay_by_hash_power_s(race) for race in races)
    counts = [heights_with_fork(race) for race in races]
    heights = sum(of for _, of in counts)
    predicted = tuple(
        forks.fork_probability_exponential(mean_delay_s=max(0.0, s), block_interval_s=interval_s)
        for s in delay_s
    )
    rows = [compare(
        proportion_interval(sum(hit for hit, _ in counts), heights), predicted,
        replicates=heights, group="closed forms: forks", setting=setting,
        quantity="heights with a fork", unit="fraction", kind=CLOSED_FORM,
        definition="heights with more than one block; published: the formula with the simulated "
        "delay of the hash power",
        source="1 - exp(-I / T) (Decker and Wattenhofer 2013)", why=WHY_DECKER_WATTENHOFER,
    )]  # fmt: skip
    growth = mean_interval(
        int(race.height[race.best_tip()]) / race.schedule.n_blocks for race in races
    )
    longest_s = max(longest_delay_s(race) for race in races)
    bound = forks.full_delay_forks(longest_s / interval_s).growth
    rows.append(compare(
        growth, exact(bound), replicates=len(races), group="closed forms: forks",
        setting=setting, quantity="growth per block", unit="heights per block", kind=BOUND,
        definition="height of the chain per block found; published: at least this",
        source="1 / (1 + D / T), D the longest delay between miners (Sompolinsky and Zohar 2015)",
    ))  # fmt: skip
    return rows


def longest_delay_s(race: Race) -> float:
    """From the first block of a height until every miner has one of that height, at most; seconds.

    Needs a race with every arrival kept.  Of two blocks at one height nodes pass on the first,
    so the other may come much later; the chain grows as soon as everybody knows either.
    """
    import numpy

    assert race.accepted_ns is not None, "a race with every arrival kept"
    miners = numpy.flatnonzero(race.network.hash_share)
    accepted_ns = race.accepted_ns[1:, miners].astype(float)
    accepted_ns[accepted_ns < 0] = numpy.inf
    height = race.height[1:]
    first_ns = numpy.full(int(height.max()), numpy.inf)
    reached_ns = numpy.full((len(first_ns), len(miners)), numpy.inf)
    numpy.minimum.at(first_ns, height - 1, race.schedule.found_ns.astype(float))
    numpy.minimum.at(reached_ns, height - 1, accepted_ns)
    # A block of a greater height counts for all below it.
    reached_ns = numpy.minimum.accumulate(reached_ns[::-1], axis=0)[::-1]
    delay_ns = reached_ns - first_ns[:, None]
    return float(delay_ns[numpy.isfinite(delay_ns)].max()) / 1e9
