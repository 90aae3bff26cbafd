"""The real network by year: what was measured about it, and what is only carried over.

Theory of operation.  `data/network/network_years.csv` holds one row per year and input, with its
source and a status: "measured" in or next to that year, a "rule" of the software that the network
ran, or "carried" over from another year because the year's own value is unknown.  These rows
are inputs; nothing in them was chosen to bring an output near a published one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from consensus_lab import data
from consensus_lab.node import ParameterError

YEARS = (2013, 2016, 2019, 2022, 2025)
YEARS_FILE = "network/network_years.csv"
POOLS_FILE = "network/pool_hash_shares.csv"
POOLS = ("bitcoin_2016", "bitcoin_2022", "bitcoin_2025", "litecoin_2016", "dogecoin_2016")
POOL_LINE_BYTES_PER_S = 100_000_000 // 8
"""A pool's line both ways, as Bitcoin-Simulator has it; real ones are unknown."""


class YearInput(NamedTuple):
    """One input of a year's network.

    Attributes
    ----------
    quantity, value, unit : str
    status : str
        "measured", "rule" or "carried".
    source, note : str
    """

    quantity: str
    value: str
    unit: str
    status: str
    source: str
    note: str


class Pool(NamedTuple):
    """A mining pool: its share of the hash power and the region of its gateway."""

    share: float
    region: str


@dataclass(frozen=True)
class NetworkYear:
    """Bitcoin's network in one year.

    Attributes
    ----------
    year : int
    geography : str
    degree : int
        Connections that a node opens.
    relay : str
        The relay protocol, one of `relay_options.PROTOCOLS`.
    missing_chance : float
        Chance that a node lacks transactions of a compact block.
    block_size_bytes : int
        Mean.
    validation_bytes_per_s : int
        How fast a node checks a block.
    pools : str
        One of `POOLS`.
    pool_line_bytes_per_s : int
        Up and down, of the node that a pool mines at.
    n_nodes : int
        Reachable nodes.
    inputs : tuple of YearInput
        All of these with their sources.
    """

    year: int
    geography: str
    degree: int
    relay: str
    missing_chance: float
    block_size_bytes: int
    validation_bytes_per_s: int
    pools: str
    pool_line_bytes_per_s: int
    n_nodes: int
    inputs: tuple[YearInput, ...]


def network_year(year: int) -> NetworkYear:
    """The network of a year, from `data/network`.

    Parameters
    ----------
    year : int
        One of `YEARS`.

    Raises
    ------
    ParameterError
        For another year.

    Examples
    --------
    >>> network_year(2013).relay, network_year(2022).degree
    ('inv', 10)
    """
    if year not in YEARS:
        raise ParameterError("network_year", year, f"one of {', '.join(map(str, YEARS))}")
    inputs = tuple(
        YearInput(*(row[name] for name in YearInput._fields))
        for row in data.rows(YEARS_FILE)
        if int(row["year"]) == year
    )
    text = {one.quantity: one.value for one in inputs}
    return NetworkYear(
        year=year, geography=text["geography"], degree=int(text["degree"]), relay=text["relay"],
        missing_chance=float(text["missing_chance"]),
        block_size_bytes=int(text["block_size_bytes"]),
        validation_bytes_per_s=int(text["validation_bytes_per_s"]),
        pools=text["pools"], pool_line_bytes_per_s=int(text["pool_line_bytes_per_s"]),
        n_nodes=int(text["n_nodes"]), inputs=inputs,
    )  # fmt: skip


def mining_pools(name: str) -> tuple[Pool, ...]:
    """The mining pools of that name, largest first as in their source.

    Examples
    --------
    >>> mining_pools("bitcoin_2016")[0]
    Pool(share=0.289, region='ASIA_PACIFIC')
    """
    if name not in POOLS:
        raise ParameterError("pools", name, f"one of {', '.join(POOLS)}")
    return tuple(
        Pool(float(row["hash_share"]), row["region"])
        for row in data.rows(POOLS_FILE)
        if row["network"] == name
    )
