"""How many tries does a block take, and how does the network keep its pace?

Nonce after nonce is really hashed.  Each try wins with the same chance, so the number of tries
follows a geometric law with mean 2^256 / (target + 1), whatever was tried before.  When miners
come or go, the target is set anew every 2016 blocks, by a factor of at most four.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from consensus_lab.constants import RETARGET_INTERVAL_BLOCKS
from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.intervals import CONFIDENCE, mean_interval
from consensus_lab.experiments.parameters import ParameterSet, parameter
from consensus_lab.experiments.result import Measure, Published, Result
from consensus_lab.nakamoto.encoding import sha256d
from consensus_lab.nakamoto.header import (
    DIFFICULTY_1_NBITS,
    BlockHeader,
    difficulty,
    nbits_to_target,
    target_to_nbits,
)
from consensus_lab.nakamoto.miner import BLOCK_VERSION
from consensus_lab.nakamoto.network_rules import MAINNET
from consensus_lab.nakamoto.pow import draw_mining_time_ns, search_nonce, success_probability
from consensus_lab.nakamoto.retarget import next_nbits
from consensus_lab.node import ParameterError
from consensus_lab.sim.streams import stream

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

START_S = 1_700_000_000
NANOSECONDS_PER_S = 1_000_000_000
CLASSES = 10
"""Classes of equal chance for the test of fit."""


class Parameters(ParameterSet):
    """Difficulties, and how often each is searched."""

    zero_bits: list[int] = parameter(
        [4, 7, 10], full=[1, 4, 8, 12], unit="bits",
        meaning="zeros that a hash must begin with; each doubles the work",
        minimum=1, maximum=32,
    )  # fmt: skip
    n_searches: int = parameter(
        1000, full=5000, unit="count", meaning="headers searched per difficulty", minimum=20
    )

    def check(self) -> None:
        """At least one difficulty, none twice."""
        if not self.zero_bits or len(set(self.zero_bits)) < len(self.zero_bits):
            raise ParameterError("zero_bits", self.zero_bits, "different numbers, at least one")


def run(parameters: Parameters, progress: Progress = quiet) -> Result:
    """Search nonces at each difficulty and count the tries.

    Returns
    -------
    Result
        `frame`: one row per search: zero bits, nbits, number of the header, tries.
    """
    import pandas

    rows, measures, known = [], [], []
    for place, bits in enumerate(parameters.zero_bits):
        progress(place, len(parameters.zero_bits), "difficulties")
        counts = tries(parameters, bits)
        nbits = nbits_of(bits)
        rows += [{"zero_bits": bits, "nbits": f"{nbits:08x}", "header": number, "tries": count}
                 for number, count in enumerate(counts)]  # fmt: skip
        name = f"tries_mean_{bits}_bits"
        measures.append(Measure(name, *tries_interval(counts), "count", len(counts)))
        p_value = fit(counts, success_probability(nbits))
        measures.append(Measure(
            f"geometric_p_value_{bits}_bits", p_value, p_value, p_value, "", len(counts)
        ))  # fmt: skip
        mean = 1 / success_probability(nbits)
        known.append(Published(name, mean, "count", "closed form 2^256 / (target + 1)"))
    progress(len(parameters.zero_bits), len(parameters.zero_bits), "difficulties")
    return Result("mining", parameters, pandas.DataFrame(rows), measures, known, figure, notes=[
        "Headers differ in their Merkle root, as with an extra nonce; nonces are tried from 0 on.",
        f"The p value is of a chi-square test with up to {CLASSES} classes of equal chance.",
    ])  # fmt: skip


def nbits_of(zero_bits: int) -> int:
    """Compact target of hashes that begin with so many zero bits.

    >>> f"{nbits_of(1):08x} {nbits_of(32):08x}"
    '207fffff 1d00ffff'
    """
    return target_to_nbits((1 << 256 - zero_bits) - 1)


def tries(parameters: Parameters, zero_bits: int) -> list[int]:
    """Tries that each search took."""
    nbits, counts = nbits_of(zero_bits), []
    for number in range(parameters.n_searches):
        root = sha256d(f"{parameters.seed} {zero_bits} {number}".encode())
        header = BlockHeader(BLOCK_VERSION, bytes(32), root, START_S, nbits, 0)
        found = search_nonce(header)
        assert found is not None, "2^32 nonces hold none: the extra nonce would be next"
        counts.append(found.nonce + 1)
    return counts


def tries_interval(counts: Sequence[int]) -> tuple[float, float, float]:
    """Mean number of tries and its exact 95 % interval under the geometric law.

    At most N tries for k blocks is at least k wins in N tries: the binomial interval of Clopper
    and Pearson (1934) for the chance per try, turned over.

    >>> [round(part, 2) for part in tries_interval([1, 2, 3, 2])]
    [2.0, 1.23, 6.37]
    """
    from scipy import stats

    wins, total = len(counts), sum(counts)
    tail = (1 - CONFIDENCE) / 2
    low_chance = float(stats.beta.ppf(tail, wins, total - wins + 1))
    high_chance = float(stats.beta.ppf(1 - tail, wins, total - wins)) if total > wins else 1.0
    return total / wins, 1 / high_chance, 1 / low_chance


def fit(counts: Sequence[int], chance: float) -> float:
    """P value of a chi-square test of the geometric law with that chance per try.

    Parameters
    ----------
    counts : sequence of int
        Tries of independent searches.
    chance : float
        That one try wins.
    """
    import numpy
    from scipy import stats

    shares = numpy.arange(1, CLASSES) / CLASSES
    edges = numpy.unique(stats.geom.ppf(shares, chance))
    below = numpy.concatenate([[0.0], stats.geom.cdf(edges, chance), [1.0]])
    expected = numpy.diff(below) * len(counts)
    # A count on an edge belongs to the class that ends there.
    places = numpy.searchsorted(edges, counts, side="left")
    observed = numpy.bincount(places, minlength=len(expected))
    return float(stats.chisquare(observed, expected).pvalue)


def retargets(hash_powers: Sequence[float], *, seed: int = 1) -> pandas.DataFrame:
    """Pace and difficulty over periods of 2016 blocks with changing hash power.

    Parameters
    ----------
    hash_powers : sequence of float
        One per period, in multiples of what difficulty 1 needs for a block every 600 s.
    seed : int
        Of the draws.

    Returns
    -------
    DataFrame
        One row per period: hash power, nbits, difficulty, mean time between blocks (s) with its
        95 % interval.
    """
    import pandas

    rule = MAINNET.retarget
    needed_per_s = 1 / success_probability(DIFFICULTY_1_NBITS) / rule.spacing_s
    source = stream(seed, "experiment", "retargets")
    nbits, rows = DIFFICULTY_1_NBITS, []
    now_ns = 0
    for period, power in enumerate(hash_powers):
        times_s, waits_s = [], []
        for _ in range(RETARGET_INTERVAL_BLOCKS):
            wait_ns = draw_mining_time_ns(
                source, hash_rate_per_s=needed_per_s * power, nbits=nbits
            )
            now_ns += wait_ns
            waits_s.append(wait_ns / NANOSECONDS_PER_S)
            times_s.append(now_ns // NANOSECONDS_PER_S)
        mean_s, low_s, high_s = mean_interval(waits_s)
        rows.append({
            "period": period, "hash_power": power, "nbits": f"{nbits:08x}",
            "difficulty": difficulty(nbits), "block_interval_s": mean_s,
            "interval_low_s": low_s, "interval_high_s": high_s,
        })  # fmt: skip
        # From the first to the last block of the period: 2015 intervals, a famous slip.
        nbits = next_nbits(nbits, first_time_s=times_s[0], last_time_s=times_s[-1], rule=rule)
    return pandas.DataFrame(rows)


def retarget_figure(frame: pandas.DataFrame) -> Figure:
    """Mean time between blocks in each period, and the 600 s that are wanted."""
    from consensus_lab.report.curves import curve_with_band

    spacing_s = MAINNET.retarget.spacing_s
    last = int(frame["period"].iloc[-1])
    return curve_with_band(
        frame, x="period", y="block_interval_s", low="interval_low_s", high="interval_high_s",
        x_label=f"period (of {RETARGET_INTERVAL_BLOCKS} blocks)",
        y_label="mean time between blocks (s)", is_log_y=True,
        published=[(period, spacing_s, f"wanted: {spacing_s} s") for period in range(last + 1)],
        title="The target follows the hash power, one period late",
        detail="hash power " + ", ".join(f"{power:g}" for power in frame["hash_power"])
        + " times that of difficulty 1",
    )  # fmt: skip


def header_hash(header: BlockHeader) -> dict[str, Any]:
    """A header's hash as a number beside its target, as shares of 2^256, and whether it wins."""
    target = nbits_to_target(header.nbits)
    assert target is not None
    number = int.from_bytes(header.block_id, "little")
    return {"hash": number / 2**256, "target": target / 2**256, "wins": number <= target}


def figure(result: Result) -> Figure:
    """Tries at the hardest target beside the geometric law."""
    import numpy
    from scipy import stats

    from consensus_lab.report.distributions import histogram_with_curve

    bits = max(result.parameters.zero_bits)
    counts = result.frame.loc[result.frame["zero_bits"] == bits, "tries"].to_numpy()
    chance = success_probability(nbits_of(bits))
    width = max(1, round(counts.max() / 30))
    edges = numpy.arange(0.5, counts.max() + width + 1, width)
    along = numpy.unique(numpy.linspace(1, counts.max(), 400).astype(int))
    mean = result.measure(f"tries_mean_{bits}_bits")
    return histogram_with_curve(
        counts.tolist(), bins=edges.tolist(), label="searches", x_label="tries until a nonce wins",
        curve=(along.tolist(), stats.geom.pmf(along, chance).tolist(),
               f"geometric law, mean {1 / chance:,.0f}"),
        title=f"{mean.value:,.0f} tries on average, each as hopeful as the first",
        detail=f"{bits} zero bits, {len(counts):,} searches, 95 % interval {mean.low:,.0f} to "
        f"{mean.high:,.0f}, seed {result.parameters.seed}",
    )  # fmt: skip
