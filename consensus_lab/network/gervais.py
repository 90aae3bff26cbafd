"""The network of Bitcoin-Simulator, so that its published runs can be made again.

Theory of operation (after Gervais et al. 2016 and the program's sources, in our own words).  Nodes
have a region and a number of connections, drawn from tables; connections go to random others.
Line rates are drawn from a histogram per region, uniform within a bin.  Mining pools have a line
of 100 Mbit/s both ways, are all linked to each other, under every protocol, and draw peers until
they have 700.  A node sends one block at a time, a block takes as long as the slower of the
sender's upload and the receiver's download, and is checked at 458,263 bytes per 0.174 s before it
is announced.  (Links of the program have a rate, too, but only its short messages feel it.)

What differs here.  A few other nodes draw pools as peers there, so that 705.6 links per pool were
reported.  With fewer nodes a pool keeps the same *share* of them, at least as many as a node has.
Nobody gives up on a peer here; there a node asks another after two block intervals.
"""

from __future__ import annotations

import numpy
from scipy.sparse import coo_array, csgraph

from consensus_lab import data
from consensus_lab.network import years
from consensus_lab.network.arrays import Network, from_edges
from consensus_lab.network.geography import geography, pareto_latency_s
from consensus_lab.node import ParameterError
from consensus_lab.sim.streams import array_stream

NODES = 6000
POOL_CONNECTIONS = 700
INTERVAL_FACTOR = 2 / 0.19 / 10
"""bitcoin-miner.cc: what is to be 10 minutes is drawn with a mean of 2 / 0.19 minutes."""

VALIDATION_BYTES_PER_S = round(458_263 / 0.174)
"""bitcoin-node.cc, ValidateBlock: an average block of 458,263 bytes takes 0.174 s."""

COINS = ("bitcoin", "litecoin", "dogecoin")
_REGIONS = {"bitcoin": "bitcoin_2015", "litecoin": "litecoin", "dogecoin": "dogecoin"}


def gervais_network(n: int = NODES, *, coin: str = "bitcoin", seed: int = 0) -> Network:
    """A network as Bitcoin-Simulator builds it; its pools are nodes 0, 1, ...

    Parameters
    ----------
    n : int
        Nodes, pools included.
    coin : str
        One of `COINS`: whose regions and pools.
    seed : int
        Of the run.

    Raises
    ------
    ParameterError
        For an unknown coin or fewer nodes than twice its pools.
    """
    if coin not in COINS:
        raise ParameterError("coin", coin, f"one of {', '.join(COINS)}")
    pools = years.mining_pools(f"{coin}_2016")
    if n < 2 * len(pools):
        raise ParameterError("n_nodes", n, f"at least {2 * len(pools)} for {len(pools)} pools")
    generator = array_stream(seed, "network", "gervais")
    links = _links(n, len(pools), generator)
    place = geography("gervais_2016")
    home = _regions(coin, n, place.regions, generator)
    home[: len(pools)] = [place.index(pool.region) for pool in pools]
    upload, download = (
        _line_rates(home, place.regions, direction, generator)
        for direction in ("upload", "download")
    )
    upload[: len(pools)] = download[: len(pools)] = years.POOL_LINE_BYTES_PER_S
    mean_s = numpy.array(place.latency_s)[home[links[:, 0]], home[links[:, 1]]]
    return from_edges(
        links,
        latency_s=pareto_latency_s(mean_s, array_stream(seed, "network", "latency")),
        upload_bytes_per_s=upload,
        download_bytes_per_s=download,
        hash_share=numpy.array([pool.share for pool in pools] + [0.0] * (n - len(pools))),
        region=tuple(place.regions[region] for region in home),
    )


def block_sizes(
    coin: str, n_blocks: int, *, scale: float = 1.0, seed: int = 0
) -> numpy.ndarray:  # fmt: skip
    """Block sizes drawn from the coin's histogram of early 2016, times a scale, bytes."""
    rows = [r for r in data.rows("network/block_size_histogram.csv") if r["network"] == coin]
    if not rows:
        raise ParameterError("coin", coin, f"one of {', '.join(COINS)}")
    low, high, weight = (
        numpy.array([float(row[name]) for row in rows])
        for name in ("bin_low_bytes", "bin_high_bytes", "weight_percent")
    )
    generator = array_stream(seed, "mining", "size")
    place = generator.choice(len(rows), size=n_blocks, p=weight / weight.sum())
    size = low[place] + generator.random(n_blocks) * (high - low)[place]
    whole: numpy.ndarray = numpy.maximum(numpy.rint(size * scale), 81).astype(numpy.int64)
    return whole


def _regions(
    coin: str, n: int, names: tuple[str, ...], generator: numpy.random.Generator
) -> numpy.ndarray:
    shares = {
        row["region"]: float(row["node_share"])
        for row in data.rows("network/simblock_region_distribution.csv")
        if row["network"] == _REGIONS[coin]
    }
    weight = numpy.array([shares[name] for name in names])
    return generator.choice(len(names), size=n, p=weight / weight.sum())


def _links(n: int, n_pools: int, generator: numpy.random.Generator) -> numpy.ndarray:
    """Rows (lower, higher); a part that is cut off is linked to a node of the largest part."""
    rows = data.rows("network/gervais_2016_node_connections.csv")
    weight = numpy.array([float(row["percent_of_nodes"]) for row in rows])
    place = generator.choice(len(rows), size=n - n_pools, p=weight / weight.sum())
    low = numpy.array([int(row["connections_low"]) for row in rows])[place]
    high = numpy.array([int(row["connections_high"]) for row in rows])[place]
    wanted = numpy.minimum(generator.integers(low, high), n - n_pools - 1)
    stubs = numpy.repeat(numpy.arange(n_pools, n), wanted)
    generator.shuffle(stubs)
    parts = [stubs[: len(stubs) // 2 * 2].reshape(-1, 2)]
    parts.append(numpy.stack(numpy.triu_indices(n_pools, 1), axis=1))
    own = max(round(POOL_CONNECTIONS * n / NODES) - (n_pools - 1), 9)
    for pool in range(n_pools):
        peers = n_pools + generator.choice(n - n_pools, size=own, replace=False)
        parts.append(numpy.stack([numpy.full(own, pool), peers], axis=1))
    links = numpy.concatenate(parts)
    links = numpy.unique(numpy.sort(links[links[:, 0] != links[:, 1]], axis=1), axis=0)
    matrix = coo_array((numpy.ones(len(links)), (links[:, 0], links[:, 1])), shape=(n, n))
    count, part = csgraph.connected_components(matrix, directed=False)
    main = int(numpy.bincount(part).argmax())
    inside = numpy.flatnonzero(part == main)
    bridges = [
        (int(numpy.argmax(part == other)), int(inside[generator.integers(len(inside))]))
        for other in range(count)
        if other != main
    ]
    if bridges:
        links = numpy.concatenate([links, numpy.sort(numpy.array(bridges), axis=1)])
    return links


def _line_rates(
    home: numpy.ndarray, names: tuple[str, ...], direction: str,
    generator: numpy.random.Generator,
) -> numpy.ndarray:  # fmt: skip
    """Bytes per second of every node, drawn from its region's histogram."""
    rows = data.rows("network/gervais_2016_bandwidth_histogram.csv")
    rates = numpy.zeros(len(home))
    for region, name in enumerate(names):
        nodes = numpy.flatnonzero(home == region)
        low, high, weight = (
            numpy.array([float(row[column]) for row in rows
                         if (row["region"], row["direction"]) == (name, direction)])
            for column in ("bin_low_bytes_per_s", "bin_high_bytes_per_s", "weight")
        )  # fmt: skip
        place = generator.choice(len(weight), size=len(nodes), p=weight / weight.sum())
        rates[nodes] = low[place] + generator.random(len(nodes)) * (high - low)[place]
    return rates
