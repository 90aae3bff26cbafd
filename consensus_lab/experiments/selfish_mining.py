"""Does a pool earn more than its share by keeping its blocks to itself?

Selfish mining: the pool works on a branch that nobody knows and publishes it when the others come
near, so that their work is wasted.  Where a published block meets another one of the same height,
a share gamma of the other miners works on the pool's.  The pool's share of the chain is what it
earns once the difficulty has followed; it pays above a threshold that depends on gamma alone.

Blocks need no time here and gamma is given (`selfish-network` asks how large it is on a network).
Beside the measured shares stand the exact ones of the same strategy, and of the best one of all.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from consensus_lab import data, theory
from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.intervals import mean_interval
from consensus_lab.experiments.parameters import ParameterSet, parameter
from consensus_lab.experiments.replicates import by_setting
from consensus_lab.experiments.result import Measure, Published, Result
from consensus_lab.node import ParameterError
from consensus_lab.sim.streams import derive_seed
from consensus_lab.theory.stubborn import STUBBORN_STRATEGIES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from consensus_lab.gossip.pool_race import PoolRace

HONEST_POOLS = 5
"""Of equal size: each decides for itself on whose block of a race it works."""

TRUNCATION = 60
"""Longest branch of the best strategy."""

TRUNCATION_STUBBORN = 140
"""Stubborn pools give up late: at 40 % and gamma 0 a shorter branch is worth a percent too much."""


TRUNCATION_PRINTED = 90
"""The same where a printed value has five digits."""

BEST = ("optimal_threshold", "optimal_revenue")
"""Published quantities of the best strategy; the others are SM1's."""


class Parameters(ParameterSet):
    """Pools, strategies, and how many blocks."""

    alphas: list[float] = parameter(
        [0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45],
        full=[0.05, 0.1, 0.15, 0.2, 0.225, 0.25, 0.275, 0.3, 0.325, 0.35, 0.375, 0.4, 0.425, 0.45],
        unit="fraction", minimum=0.0, maximum=0.49,
        meaning="shares of the hash power that the pool may have",
    )  # fmt: skip
    gammas: list[float] = parameter(
        [0.0, 0.5, 1.0], unit="fraction", minimum=0.0, maximum=1.0,
        meaning="shares of the others that work for the pool in a race",
    )  # fmt: skip
    strategy: str = parameter(
        "sm1", choices=tuple(STUBBORN_STRATEGIES),
        meaning="sm1, or stubborn: L lead, F equal fork, T1 and T2 trail by one or two",
    )  # fmt: skip
    n_blocks: int = parameter(
        30_000, full=600_000, unit="count", meaning="blocks found per replicate and setting",
        minimum=100,
    )  # fmt: skip
    replicates: int = parameter(
        5, full=10, unit="count", meaning="independent races per setting", minimum=2, maximum=1000
    )

    def check(self) -> None:
        for name in ("alphas", "gammas"):
            values = getattr(self, name)
            if values != sorted(set(values)):
                raise ParameterError(name, values, "rising, each once")


def run(parameters: Parameters, progress: Progress = quiet) -> Result:
    """Race a withholding pool against honest ones.

    Returns
    -------
    Result
        `frame`: one row per gamma and alpha: the pool's share of the chain with its 95 % interval,
        the exact one of its strategy, that of the best strategy; stale share of all blocks.
    """
    import pandas

    settings = [(gamma, alpha) for gamma in parameters.gammas for alpha in parameters.alphas]
    raced, interrupted = by_setting(
        [partial(_race, parameters, *setting) for setting in settings], parameters.replicates,
        progress=progress, what="races",
    )  # fmt: skip
    rows = [_row(parameters, *one, races) for one, races in zip(settings, raced, strict=True)]
    revenues = {
        one: [revenue for revenue, _ in races]
        for one, races in zip(settings, raced, strict=True)
    }
    measures = [
        Measure(f"revenue_alpha_{row['alpha']:g}_gamma_{row['gamma']:g}", row["revenue"],
                row["revenue_low"], row["revenue_high"], "fraction", len(races))
        for row, races in zip(rows, raced, strict=True)
    ] + [_threshold(parameters, gamma, revenues) for gamma in parameters.gammas]  # fmt: skip
    measures += [_best(row) for row in published_rows() if row["quantity"] in BEST]
    notes = [
        *interrupted,
        "Intervals over races.  The threshold is where the measured revenue crosses the share, on "
        "the straight line between two neighbouring shares; 0 where it never lies below.",
        "Before the difficulty follows, a selfish pool earns less per hour than an honest one: "
        "it wastes its own blocks too.",
    ]
    frame = pandas.DataFrame(rows)
    return Result("selfish-mining", parameters, frame, measures, published(parameters), figure,
                  notes=notes)  # fmt: skip


def _race(
    parameters: Parameters, gamma: float, alpha: float, replicate: int
) -> tuple[float, float]:
    """The pool's revenue, and the stale share of all blocks."""
    from consensus_lab.gossip.pool_race import pool_race
    from consensus_lab.nakamoto.relay_withholding import Strategy

    shares = [alpha] + [(1.0 - alpha) / HONEST_POOLS] * HONEST_POOLS
    seed = derive_seed(parameters.seed, "race", gamma, alpha, replicate)
    strategy = Strategy(*STUBBORN_STRATEGIES[parameters.strategy])
    race = pool_race(shares, 0.0, n_blocks=parameters.n_blocks, seed=seed, gamma=gamma,
                     withholding={0: strategy})  # fmt: skip
    return pool_revenue(race), race.stale_rate()


def pool_revenue(race: PoolRace) -> float:
    """The first pool's share of the chain."""
    blocks = race.chain_blocks()
    return float(blocks[0] / blocks.sum())


def _row(
    parameters: Parameters, gamma: float, alpha: float, races: list[tuple[float, float]]
) -> dict[str, Any]:
    revenue, low, high = mean_interval(revenue for revenue, _ in races)
    stale, stale_low, stale_high = mean_interval(stale for _, stale in races)
    return {
        "gamma": gamma, "alpha": alpha, "revenue": revenue, "revenue_low": low,
        "revenue_high": high,
        "revenue_exact": _exact(parameters.strategy, gamma, alpha),
        "revenue_optimal": theory.optimal_selfish_mining_revenue(
            alpha, gamma=gamma, truncation=TRUNCATION
        ),
        "stale_fraction": stale, "stale_low": stale_low, "stale_high": stale_high,
        "blocks": parameters.n_blocks * len(races),
    }  # fmt: skip


def _exact(strategy: str, gamma: float, alpha: float) -> float:
    """SM1 has a closed form; the others are solved on their chain of states."""
    if strategy == "sm1":
        return theory.selfish_mining_revenue(alpha, gamma=gamma)
    lead, equal_fork, trail = STUBBORN_STRATEGIES[strategy]
    return theory.stubborn_mining_revenue(
        alpha, gamma=gamma, lead=lead, equal_fork=equal_fork, trail=trail,
        truncation=TRUNCATION_STUBBORN,
    )  # fmt: skip


def _threshold(
    parameters: Parameters, gamma: float, revenues: dict[tuple[float, float], list[float]]
) -> Measure:
    """From which share on the strategy pays, per replicate, and the interval over them."""
    of_pool = [revenues[gamma, alpha] for alpha in parameters.alphas]
    # An interrupt leaves some shares with a race more than others.
    found = [crossing(parameters.alphas, list(one)) for one in zip(*of_pool, strict=False)]
    # A replicate in which it never pays has no threshold, and then neither has their mean.
    is_finite = max(found) < float("inf")
    mean, low, high = mean_interval(found) if is_finite else (float("inf"), min(found), max(found))
    return Measure(f"threshold_gamma_{gamma:g}", mean, max(0.0, low), high, "fraction",
                   len(found))  # fmt: skip


def crossing(alphas: list[float], revenues: list[float]) -> float:
    """Where the revenue begins to exceed the share, by the line between neighbours.

    0 where it exceeds it from the first share on, infinite where it never does.

    Examples
    --------
    >>> round(crossing([0.2, 0.3, 0.4], [0.1, 0.3, 0.5]), 12)
    0.3
    """
    gains = [revenue - alpha for revenue, alpha in zip(revenues, alphas, strict=True)]
    if gains[0] > 0.0:
        return 0.0
    for place in range(1, len(gains)):
        if gains[place] > 0.0:
            before, after = gains[place - 1], gains[place]
            step = alphas[place] - alphas[place - 1]
            return alphas[place - 1] + step * -before / (after - before)
    return float("inf")


def published_rows() -> list[dict[str, str]]:
    """What others printed about withholding."""
    return data.rows("bitcoin/published/selfish_mining.csv")


def _best(row: dict[str, str]) -> Measure:
    """Our exact solution of what somebody printed about the best strategy of all."""
    gamma, ties = float(row["gamma"]), row["tie_breaking"]
    if row["quantity"] == BEST[0]:
        value = theory.optimal_selfish_mining_threshold(gamma, tie_breaking=ties)
    else:
        value = theory.optimal_selfish_mining_revenue(
            float(row["alpha"]), gamma=gamma, tie_breaking=ties, truncation=TRUNCATION_PRINTED
        )
    return Measure(_name(row), value, value, value, "fraction", 1, "closed form")


def _name(row: dict[str, str]) -> str:
    """A measure's name for a published row; SM1's thresholds are those that are measured."""
    gamma = f"gamma_{float(row['gamma']):g}"
    if row["quantity"] not in BEST:
        return f"threshold_{gamma}"
    alpha = f"_alpha_{float(row['alpha']):g}" if row["alpha"] else ""
    return f"{row['quantity']}{alpha}_{row['tie_breaking']}_{gamma}"


def published(parameters: Parameters) -> list[Published]:
    """Thresholds of SM1; the best strategy's threshold and revenue, where somebody printed them."""
    return [
        Published(_name(row), float(row["value"]), "fraction", row["source"])
        for row in published_rows()
        if row["quantity"] in BEST or parameters.strategy == "sm1"
    ]


def figure(result: Result) -> Figure:
    """The pool's share of the chain over its share of the hash power."""
    from consensus_lab.report.selfish_figures import selfish_figure

    return selfish_figure(result)
