"""The real network by year: how long blocks took and how many went stale, against archives.

Simulated delays are per delivery, from discovery to the end of the receiving node's check, the
finder left out.  The KIT monitor times announcements by its peers from the first one on, and
leaves out those later than 30 s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consensus_lab import constants, data
from consensus_lab.experiments.intervals import mean_interval, proportion_interval
from consensus_lab.experiments.networks import (
    NetworkParameters,
    build,
    delay_mean_s,
    delay_quantile_s,
    relay_blocks,
)
from consensus_lab.experiments.validations.comparison import (
    MEASURED,
    Comparison,
    Interval,
    compare,
    exact,
)
from consensus_lab.network.years import network_year

if TYPE_CHECKING:
    import networkx

    from consensus_lab.gossip.race import Race

PER_DELIVERY = "per delivery, discovery to checked"
MONITOR = f"{PER_DELIVERY}; published: first announcement to announcements at a monitor"
STALE = "stale blocks of all blocks; published: archived ones, a lower bound"
FORKS = "stale blocks per block of the chain; published: forks per block of the chain"
BRACKETED_YEAR = 2016
"""Blocks crossed the network slowly, and pools had a relay network: both ends are shown."""

KIT_YEARS = {2016: "2015", 2019: "2018", 2022: "2022", 2025: "2025"}
ARCHIVE_YEARS = {2013: ("2013",), 2016: ("2016",), 2019: ("2018", "2020"), 2022: ("2022",),
                 2025: ("2024",)}  # fmt: skip
QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}

WHY_2013 = (
    "lines and checking speed of 2015 stand in for unknown ones of 2012 and 2013, and the nodes "
    "that were slow or had just come back make the measured tail"
)
WHY_2016 = (
    "the monitor's year 2015 had nodes of several versions, and checking times from 0.1 to 1.5 s"
)
WHY_TAIL = (
    "a monitor's last peers are slow, behind Tor or busy; every simulated node is up, and its "
    "line is that of its region"
)
WHY_MEDIAN = "lines of 2019, and one checking speed for all nodes, stand in for unknown ones"
WHY_ARCHIVE = (
    "archives miss stale blocks, and pools pass blocks on over relay networks of their own, which "
    "the year's inputs leave out because who used them is unknown"
)
WHY_2013_FORKS = "the simulated delay of 2013 is too short, so fewer blocks cross on the way"


def parameters_of(year: int, *, n_nodes: int, seed: int, **others: Any) -> NetworkParameters:
    """The year's network at that size."""
    chosen = {"network_year": year, "n_nodes": n_nodes, "seed": seed, **others}
    return NetworkParameters.of(chosen)


def races_of(
    chosen: NetworkParameters, *, n_blocks: int, replicates: int,
    block_size_bytes: int | None = None, graph: networkx.Graph | None = None,
) -> list[Race]:  # fmt: skip
    """Blocks of the year's mean size, every ten minutes, on independent networks."""
    from consensus_lab.gossip.mining import draw_schedule

    size_bytes = block_size_bytes or network_year(chosen.network_year).block_size_bytes
    races = []
    for replicate in range(replicates):
        network, seed = build(chosen, replicate, graph)
        schedule = draw_schedule(
            network, n_blocks=n_blocks, block_size_bytes=size_bytes,
            block_interval_s=constants.BLOCK_INTERVAL_S, seed=seed,
        )  # fmt: skip
        races.append(relay_blocks(chosen, network, schedule, seed=seed))
    return races


def compare_year(
    year: int, races: list[Race], *, relay_network: bool = False
) -> list[Comparison]:
    """All that was published about that year, beside these races."""
    delays = {
        name: mean_interval(delay_quantile_s(race, share) for race in races)
        for name, share in QUANTILES.items()
    }
    delays["mean"] = mean_interval(delay_mean_s(race) for race in races)
    stale = sum(race.stale_blocks() for race in races)
    blocks = sum(race.schedule.n_blocks for race in races)
    of_all = proportion_interval(stale, blocks)
    per_chain: Interval = tuple(share / (1.0 - share) for share in of_all)  # type: ignore[assignment]
    setting = f"{year}, pools with a relay network" if relay_network else str(year)
    common = {"setting": setting, "kind": MEASURED}
    rows = []
    for statistic, value, definition, why, source in _published_delays(year):
        if relay_network:
            break  # Of a network that most nodes have no part in, only the forks are told.
        rows.append(compare(
            delays[statistic], value, replicates=len(races), group="propagation by year",
            quantity=f"delay {statistic}", definition=definition, unit="s", why=why,
            source=source, **common,
        ))  # fmt: skip
    for quantity, value, definition, source in _published_stale(year):
        rows.append(compare(
            per_chain if definition == FORKS else of_all, value, replicates=blocks,
            group="stale by year", quantity=quantity, definition=definition, unit="fraction",
            why=WHY_2013_FORKS if year == 2013 else WHY_ARCHIVE, source=source, **common,
        ))  # fmt: skip
    return rows


def _published_delays(year: int) -> list[tuple[str, Interval, str, str, str]]:
    known = []
    near = {2013: ("2012", "2013"), 2016: ("2016",)}.get(year, ())
    for row in data.rows("bitcoin/published/published_block_propagation.csv"):
        if row["year"] in near:
            known.append((row["statistic"], exact(float(row["value_s"])), PER_DELIVERY,
                          WHY_2013 if year == 2013 else WHY_2016,
                          f"{row['source']}, {row['date']} ({row['verified']})"))  # fmt: skip
    months = [r for r in data.rows("bitcoin/published/kit_block_propagation_percentiles.csv")
              if r["year"] == KIT_YEARS.get(year)]  # fmt: skip
    if not months:
        return known
    source = f"KIT DSN monitor {months[0]['monitor']}, {months[0]['period']}"
    source += f" and {len(months) - 1} months more" if len(months) > 1 else ""
    middle = WHY_2016 if year == 2016 else WHY_MEDIAN
    for name, column, why in (
        ("p50", "p50_ms_median_over_windows", middle), ("p90", "p90_ms_median", WHY_TAIL),
        ("p99", "p99_ms_median", WHY_TAIL),
    ):  # fmt: skip
        known.append((name, _over_months(months, column), MONITOR, why, source))
    return known


def _over_months(months: list[dict[str, str]], column: str) -> Interval:
    """The median month in seconds, between its quartiles over windows where they are known."""
    ordered = sorted(months, key=lambda row: float(row[column]))
    row = ordered[len(ordered) // 2]
    value = float(row[column]) / 1e3
    if not column.startswith("p50"):
        return value, float(ordered[0][column]) / 1e3, float(ordered[-1][column]) / 1e3
    return value, float(row["p50_ms_q25"]) / 1e3, float(row["p50_ms_q75"]) / 1e3


def _published_stale(year: int) -> list[tuple[str, Interval, str, str]]:
    known: list[tuple[str, Interval, str, str]] = []
    for row in data.rows("bitcoin/published/stale_rate_by_year.csv"):
        if row["year"] in ARCHIVE_YEARS[year]:
            share = float(row["stale_fraction_of_all_blocks"])
            wide = 1.96 * float(row["poisson_sigma_of_stale_per_main_block"])
            known.append(("stale fraction", (share, share - wide, share + wide), STALE,
                          f"stale-block archive, {row['year']}"))  # fmt: skip
    if year != 2013:
        return known
    for row in _counted_forks():
        known.append(("fork rate", exact(float(row["value"])), FORKS,
                      f"{row['source']} ({row['period']}; {row['verified']})"))  # fmt: skip
    return known


def _counted_forks() -> list[dict[str, Any]]:
    """Forks that somebody counted in 2012 and 2013, not those that a model predicts."""
    return [
        row for row in data.rows("bitcoin/published/published_stale_rates.csv")
        if row["what"].startswith(("fork rate, blocks", "orphans reported"))
    ]  # fmt: skip
