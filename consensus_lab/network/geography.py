"""Where nodes live: regions with their share of nodes, latencies between them, line rates.

Theory of operation.  A geography is a table of regions and a matrix of mean one-way latencies.
It fills what a graph does not say (`topology.fill`): a node without a region draws one by the
regions' shares; a node without line rates takes its region's; a link without a latency takes the
mean between its two regions, or draws once around that mean where the geography's source does.
The tables and their sources are in `data/network`.

SimBlock and Bitcoin-Simulator (Gervais et al. 2016) both draw latencies from a Pareto law of
shape mean/5 (in milliseconds) whose mean is the table's value; its scale is then mean - 5 ms.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from consensus_lab import data
from consensus_lab.node import ParameterError

if TYPE_CHECKING:
    import numpy

PARETO_SPREAD_MS = 5.0
"""The Pareto law's shape is mean/5 ms and its scale mean - 5 ms (both simulators' sources)."""

NAMES = (
    "single_region", "three_regions", "aws", "simblock_2015", "simblock_2019", "gervais_2016",
    "bitcoin_2025",
)  # fmt: skip
REGIONS_FILE = "network/geography_regions.csv"
LATENCY_FILE = "network/geography_latency.csv"
_DRAWN_PER_LINK = ("simblock_2015", "simblock_2019", "gervais_2016", "bitcoin_2025")


@dataclass(frozen=True)
class Geography:
    """Regions and what lies between them.

    Attributes
    ----------
    name : str
    regions : tuple of str
    node_shares : tuple of float
        Share of nodes per region; sums to 1.
    upload_bytes_per_s, download_bytes_per_s : tuple of int
        A node's line, per region.
    latency_s : tuple of tuple of float
        Mean one-way latency from region to region, seconds; symmetric.
    latency_law : str
        "mean": every link between two regions has their mean; "pareto": every link draws once.
    """

    name: str
    regions: tuple[str, ...]
    node_shares: tuple[float, ...]
    upload_bytes_per_s: tuple[int, ...]
    download_bytes_per_s: tuple[int, ...]
    latency_s: tuple[tuple[float, ...], ...]
    latency_law: str = "mean"

    def index(self, region: str) -> int:
        """A region's position, or a `ParameterError` naming the regions."""
        if region not in self.regions:
            raise ParameterError("region", region, f"one of {', '.join(self.regions)}")
        return self.regions.index(region)

    def with_law(self, latency_law: str) -> Geography:
        """The same places with another law for a link's latency ("mean" or "pareto")."""
        if latency_law not in ("mean", "pareto"):
            raise ParameterError("latency_law", latency_law, "'mean' or 'pareto'")
        return replace(self, latency_law=latency_law)

    def with_bandwidth(self, scale: float) -> Geography:
        """The same places with every line that many times as fast, to whole bytes per second."""
        if not 0.0 < scale < float("inf"):
            raise ParameterError("bandwidth_scale", scale, "a number above 0")
        if scale == 1.0:
            return self
        return replace(
            self,
            upload_bytes_per_s=tuple(max(1, round(r * scale)) for r in self.upload_bytes_per_s),
            download_bytes_per_s=tuple(max(1, round(r * scale)) for r in self.download_bytes_per_s),
        )


def pareto_latency_s(mean_s: numpy.ndarray, generator: numpy.random.Generator) -> numpy.ndarray:
    """Draw latencies around their means by the two simulators' Pareto law, seconds.

    Means of 5 ms and less have no such law and are returned as they are.
    """
    import numpy

    mean_ms = numpy.asarray(mean_s, dtype=float) * 1e3
    uniform = 1.0 - generator.random(mean_ms.shape)
    has_law = mean_ms > PARETO_SPREAD_MS
    safe_ms = numpy.where(has_law, mean_ms, 2 * PARETO_SPREAD_MS)
    drawn_ms = (safe_ms - PARETO_SPREAD_MS) / uniform ** (PARETO_SPREAD_MS / safe_ms)
    result: numpy.ndarray = numpy.where(has_law, drawn_ms, mean_ms) / 1e3
    return result


def geography(name: str) -> Geography:
    """A named geography from `data/network`.

    Parameters
    ----------
    name : str
        One of `NAMES`.

    Examples
    --------
    >>> geography("simblock_2019").regions[:2]
    ('NORTH_AMERICA', 'EUROPE')
    """
    if name not in NAMES:
        raise ParameterError("geography", name, f"one of {', '.join(NAMES)}")
    # Asked for each time, so that every run notes what it rests on; read once.
    return _read(name, data.path(REGIONS_FILE), data.path(LATENCY_FILE))


@cache
def _read(name: str, regions_path: Path, latency_path: Path) -> Geography:
    del regions_path, latency_path  # Part of what is remembered: other files, other places.
    rows = [r for r in data.rows(REGIONS_FILE) if r["geography"] == name]
    regions = tuple(row["region"] for row in rows)
    latency_ms = {
        (row["from_region"], row["to_region"]): float(row["latency_ms_mean"])
        for row in data.rows(LATENCY_FILE)
        if row["geography"] == name
    }
    shares = [float(row["node_share"]) for row in rows]
    return Geography(
        name=name,
        regions=regions,
        node_shares=tuple(share / sum(shares) for share in shares),
        upload_bytes_per_s=tuple(int(row["upload_bytes_per_s"]) for row in rows),
        download_bytes_per_s=tuple(int(row["download_bytes_per_s"]) for row in rows),
        latency_s=tuple(tuple(latency_ms[a, b] / 1e3 for b in regions) for a in regions),
        latency_law="pareto" if name in _DRAWN_PER_LINK else "mean",
    )
