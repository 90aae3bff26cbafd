"""What comes out of a run of block relay: who had which block when, and which chain won."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy

from consensus_lab.gossip.mining import Schedule
from consensus_lab.network.arrays import Network
from consensus_lab.sim.links import NANOSECONDS_PER_SECOND


@dataclass(frozen=True)
class Race:
    """The outcome of a schedule of blocks on a network; row 0 of every block array is genesis.

    Attributes
    ----------
    network, schedule
        What was run.
    parent, height : int64 arrays, blocks + 1
        A block that was not found, since its miner was off, has parent -1.
    accepted_by : int64 array
        How many nodes validated each block, its miner included.
    delay_sum_ns : int64 array
        Sum over those nodes of the time from discovery to acceptance; the miner counts with 0.
    reach_count, reached_ns
        Delay until that many nodes had accepted each block; -1 where they never did.
    tip : int64 array
        Every node's best block at the end.
    histogram, histogram_bin_ns
        All deliveries by delay; the last bin takes all that is longer.
    node_delay_sum_ns, node_deliveries : int64 arrays
        Per node.
    uploads : int64 array
        Blocks sent by each node.
    received_ns, accepted_ns : int64 arrays (blocks + 1, nodes) or None
        Everything, when it was asked for; -1 for never.
    reorganisations, reorganisation_depth_max : int
        Over all nodes: how often a node left a block for a better branch; most blocks left.
    orphans : int
        How often a node got a block before its parent.
    events : int
        Handled by the run that made this.
    end_ns : int
        Time of the last event.
    match : int64 array, blocks + 1, or empty
        The block that a withholding pool released against this one, -1 for none.
    work : dict
        Figures about the run itself, for benchmarks.
    """

    network: Network
    schedule: Schedule
    parent: numpy.ndarray
    height: numpy.ndarray
    accepted_by: numpy.ndarray
    delay_sum_ns: numpy.ndarray
    reach_count: numpy.ndarray
    reached_ns: numpy.ndarray
    tip: numpy.ndarray
    histogram: numpy.ndarray
    histogram_bin_ns: int
    node_delay_sum_ns: numpy.ndarray
    node_deliveries: numpy.ndarray
    uploads: numpy.ndarray
    received_ns: numpy.ndarray | None
    accepted_ns: numpy.ndarray | None
    reorganisations: int
    reorganisation_depth_max: int
    orphans: int
    events: int
    end_ns: int
    match: numpy.ndarray = field(default_factory=lambda: numpy.zeros(0, numpy.int64))
    work: dict[str, int] = field(default_factory=dict)

    @property
    def deliveries(self) -> int:
        """Pairs of node and block, the miner's own included."""
        return int(self.node_deliveries.sum())

    def best_tip(self) -> int:
        """The block that most nodes work on at the end; the lower number among equals."""
        return int(numpy.bincount(self.tip).argmax())

    def on_chain(self) -> numpy.ndarray:
        """For each block, whether it is an ancestor of the best tip or that tip itself."""
        chain = numpy.zeros(len(self.parent), bool)
        block = self.best_tip()
        while block >= 0:
            chain[block] = True
            block = int(self.parent[block])
        return chain

    def stale_blocks(self) -> int:
        """Blocks that were found and are not on the best chain."""
        return int(self.is_found().sum() + 1 - numpy.count_nonzero(self.on_chain()))

    def is_found(self) -> numpy.ndarray:
        """For each block of the schedule, whether it was found: its miner was on."""
        found: numpy.ndarray = self.parent[1:] >= 0
        return found

    def stale_rate(self) -> float:
        """Stale blocks as a share of all blocks found."""
        return self.stale_blocks() / max(1, int(self.is_found().sum()))

    def stale_by_miner(self) -> tuple[numpy.ndarray, numpy.ndarray]:
        """Blocks found, and blocks of them that are stale, per node."""
        n = self.network.n_nodes
        found = self.is_found()
        miner, chain = self.schedule.miner[found], self.on_chain()[1:][found]
        return numpy.bincount(miner, minlength=n), numpy.bincount(miner[~chain], minlength=n)

    def chain_share(self, nodes: Iterable[int]) -> float:
        """Share of the chain's blocks that these nodes found: a pool's relative revenue."""
        found, stale = self.stale_by_miner()
        kept = found - stale
        return float(kept[list(nodes)].sum() / kept.sum())

    def races_joined(self, nodes: Iterable[int]) -> tuple[int, int]:
        """Races of a withholding pool with these gateways that another miner ended, and how.

        Returns
        -------
        tuple of int
            Races against a public block that the next block of somebody else ended, and those of
            them that it ended on the pool's side.  Their ratio estimates gamma.
        """
        inside = numpy.zeros(self.network.n_nodes, numpy.int64)
        inside[list(nodes)] = 1
        miner = inside[self.schedule.miner]
        match = self.match.copy()
        match[(match >= 0) & (miner[match - 1] == 0)] = -1
        matched, joined = races_joined(self.parent, miner, match, 2)
        return int(matched[1]), int(joined[1])

    def mean_delay_s(self) -> float:
        """Mean over all deliveries of the time from discovery to acceptance, seconds."""
        return float(self.node_delay_sum_ns.sum()) / self.deliveries / NANOSECONDS_PER_SECOND

    def node_mean_delay_s(self) -> numpy.ndarray:
        """Each node's mean delay, seconds (the unit of Gervais et al.'s percentiles)."""
        counts = numpy.maximum(self.node_deliveries, 1)
        mean_s: numpy.ndarray = self.node_delay_sum_ns / counts / NANOSECONDS_PER_SECOND
        return mean_s

    def delay_quantile_s(self, quantile: float) -> float:
        """Delay below which that share of all deliveries lies, to the histogram's bin, seconds."""
        total = numpy.cumsum(self.histogram)
        place = int(numpy.searchsorted(total, quantile * total[-1]))
        below = total[place - 1] if place else 0
        within = (quantile * total[-1] - below) / max(int(self.histogram[place]), 1)
        return (place + float(within)) * self.histogram_bin_ns / NANOSECONDS_PER_SECOND

    def time_to_reach_s(self, fraction: float) -> numpy.ndarray:
        """Per block, seconds until that share of the nodes had it; NaN where they never did.

        The share must be one of those that were asked for.
        """
        count = max(1, int(numpy.ceil(fraction * self.network.n_nodes)))
        column = self.reach_count.tolist().index(count)
        reached = self.reached_ns[1:, column].astype(float)
        return numpy.where(reached < 0, numpy.nan, reached / NANOSECONDS_PER_SECOND)


def races_joined(
    parent: numpy.ndarray, miner: numpy.ndarray, match: numpy.ndarray, n_miners: int
) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Per withholding miner, races that another miner ended, and those that it ended on its side.

    Parameters
    ----------
    parent, miner : int64 arrays
        Of blocks 0.. and of blocks 1..
    match : int64 array, blocks + 1
        The block published against this one, -1 for none; used up by this call.
    n_miners : int
        How many miners are numbered.
    """
    matched, joined = numpy.zeros((2, n_miners), numpy.int64)
    racing: dict[int, tuple[int, bool]] = {}
    for rival in numpy.flatnonzero(match >= 0).tolist():
        racing[rival], racing[int(match[rival])] = (rival, False), (rival, True)
    for block in numpy.flatnonzero(numpy.isin(parent, list(racing))).tolist():
        rival, is_joined = racing[int(parent[block])]
        pool = miner[match[rival] - 1]
        if match[rival] >= 0 and miner[block - 1] != pool:
            matched[pool] += 1
            joined[pool] += is_joined
            match[rival] = -1
    return matched, joined
