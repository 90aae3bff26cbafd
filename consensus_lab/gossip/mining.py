"""Who finds a block, and when: drawn beforehand for the whole network, for both speeds alike.

Theory of operation.  Mining is a race of independent exponential clocks, one per miner, with
rates in proportion to hash power.  The first ring of all clocks together is itself exponential
with the sum of the rates, and who rings is independent of when, with chances in proportion to the
rates; clocks have no memory, so a change of tip needs no new draw.  One draw of the interval and
one of the miner per block therefore replace an event per node.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy

from consensus_lab.network.arrays import Network
from consensus_lab.node import ParameterError
from consensus_lab.sim.links import NANOSECONDS_PER_SECOND
from consensus_lab.sim.streams import array_stream

TIME_NS_MAX = 1 << 60
"""About 36 years of simulated time."""


@dataclass(frozen=True)
class Schedule:
    """The blocks of a run in order of discovery; block number i + 1 is row i.

    Attributes
    ----------
    found_ns : int64 array
        When, ascending.
    miner : int64 array
        The node that finds it, on top of the tip that it has then.
    size_bytes : int64 array
    """

    found_ns: numpy.ndarray
    miner: numpy.ndarray
    size_bytes: numpy.ndarray

    def __post_init__(self) -> None:
        if not len(self.found_ns) == len(self.miner) == len(self.size_bytes):
            raise ParameterError("schedule", len(self.found_ns), "three arrays of one length")
        if len(self.found_ns) and (
            self.found_ns[0] < 0
            or numpy.diff(self.found_ns).min(initial=0) < 0
            or self.found_ns[-1] > TIME_NS_MAX
        ):
            raise ParameterError("found_ns", self.found_ns[-1], "ascending, from 0 to 36 years")
        if len(self.size_bytes) and self.size_bytes.min() < 0:
            raise ParameterError("size_bytes", int(self.size_bytes.min()), "at least 0")

    @property
    def n_blocks(self) -> int:
        """How many blocks will be found."""
        return len(self.found_ns)


def draw_schedule(
    network: Network,
    *,
    n_blocks: int,
    block_interval_s: float = 600.0,
    block_size_bytes: int | numpy.ndarray = 1_000_000,
    seed: int = 0,
) -> Schedule:
    """Draw the whole network's blocks from the stream "mining".

    Parameters
    ----------
    network : Network
        Gives each node's hash share.
    n_blocks : int
        How many to find.
    block_interval_s : float
        Mean time between blocks, seconds.
    block_size_bytes : int or array
        One size for all, or one per block.
    seed : int
        Of the run.
    """
    if n_blocks < 1:
        raise ParameterError("n_blocks", n_blocks, "at least 1")
    if not 0.0 < block_interval_s < float("inf"):
        raise ParameterError("block_interval_s", block_interval_s, "a number above 0")
    generator = array_stream(seed, "mining")
    interval_s = generator.standard_exponential(n_blocks) * block_interval_s
    found_s = numpy.cumsum(interval_s)
    if found_s[-1] * NANOSECONDS_PER_SECOND > TIME_NS_MAX:
        raise ParameterError("n_blocks", n_blocks, "few enough to fit into 36 simulated years")
    cumulative = numpy.cumsum(network.hash_share)
    drawn = array_stream(seed, "mining", "miner").random(n_blocks) * cumulative[-1]
    miner = numpy.searchsorted(cumulative, drawn, side="right")
    # A draw that rounds up to the total belongs to the last node that has any hash power.
    last = int(numpy.flatnonzero(network.hash_share)[-1])
    sizes = numpy.broadcast_to(numpy.asarray(block_size_bytes, dtype=numpy.int64), n_blocks)
    return Schedule(
        found_ns=numpy.rint(found_s * NANOSECONDS_PER_SECOND).astype(numpy.int64),
        miner=numpy.minimum(miner, last).astype(numpy.int64),
        size_bytes=sizes.copy(),
    )
