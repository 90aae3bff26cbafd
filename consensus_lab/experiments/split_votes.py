"""How often does an election split, and what does a split cost?

Two candidates whose timeouts end within a message delay of each other share the votes, and the
term ends without a leader.  Simulated elections of the full Raft node are held against the closed
forms of Ongaro's dissertation for the probability and for the expected time.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from consensus_lab import theory
from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.elections import synchronised_election, trial_seeds
from consensus_lab.experiments.intervals import mean_interval, proportion_interval
from consensus_lab.experiments.parameters import ParameterSet, parameter
from consensus_lab.experiments.replicates import by_setting
from consensus_lab.experiments.result import Measure, Published, Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Parameters(ParameterSet):
    """Clusters and delays to try."""

    cluster_sizes: list[int] = parameter(
        [5], full=[3, 5, 7, 9], unit="count", meaning="servers, one of which has failed",
        minimum=2, maximum=25,
    )  # fmt: skip
    latencies_over_range: list[float] = parameter(
        [0.02, 0.05, 0.1, 0.2], full=[0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3],
        meaning="one-way latency in widths of the timeout range", minimum=0.0, maximum=0.4,
    )  # fmt: skip
    n_trials: int = parameter(
        1000, full=10_000, unit="count", meaning="elections per setting", minimum=2
    )


def run(parameters: Parameters, progress: Progress = quiet) -> Result:
    """Hold elections.

    Returns
    -------
    Result
        `frame`: one row per cluster size and latency: share of first terms that split and mean
        time to a leader (in widths of the timeout range), both with 95 % intervals and formula.
    """
    import pandas

    cases = [(n, x) for n in parameters.cluster_sizes for x in parameters.latencies_over_range]
    seeds = trial_seeds(parameters.n_trials, parameters.seed)
    held, interrupted = by_setting(
        [partial(_election, seeds, n, latency) for n, latency in cases], parameters.n_trials,
        progress=progress, what="elections",
    )  # fmt: skip
    rows, measures, known = [], [], []
    for (n, latency), trials in zip(cases, held, strict=True):
        share = proportion_interval(sum(split for split, _ in trials), len(trials))
        took = mean_interval(time for _, time in trials)
        split = theory.raft_split_vote_probability(n, live=n - 1, latency=latency)
        expected = theory.raft_election_time(n, live=n - 1, latency=latency).election
        rows.append({
            "servers": n, "latency_over_range": latency, "split_share": share[0],
            "split_low": share[1], "split_high": share[2], "split_formula": split,
            "time_over_range": took[0], "time_low": took[1], "time_high": took[2],
            "time_formula": expected,
        })  # fmt: skip
        tag = f"{n}_servers_latency_{latency:g}"
        measures += [Measure(f"split_share_{tag}", *share, "", len(trials)),
                     Measure(f"time_over_range_{tag}", *took, "", len(trials))]  # fmt: skip
        known += [Published(f"split_share_{tag}", split, "", "closed form, Ongaro 2014 §9.3"),
                  Published(f"time_over_range_{tag}", expected, "", "closed form, §9.4")]
    frame = pandas.DataFrame(rows)
    return Result("split-votes", parameters, frame, measures, known, figure, notes=[
        *interrupted,
        "The closed form of the time adds up whole terms; in a split term those who timed out "
        "early start the next one early.  Where more than about a fifth of the terms split it is "
        "too long, by some percent; the share of split terms is exact.",
    ])  # fmt: skip


def _election(seeds: list[int], n: int, latency: float, trial: int) -> tuple[bool, float]:
    return synchronised_election(n, failed=1, latency_over_range=latency, seed=seeds[trial])


def figure(result: Result) -> Figure:
    """Share of split terms over latency, the closed form as points."""
    from consensus_lab.report.curves import curve_with_band

    frame = result.frame
    points = [
        (row.latency_over_range, row.split_formula, "closed form, Ongaro 2014")
        for row in frame.itertuples()
    ]
    worst = frame.loc[frame["split_share"].idxmax()]
    return curve_with_band(
        frame, x="latency_over_range", y="split_share", low="split_low", high="split_high",
        group="servers", group_label="servers", published=points, is_share=True,
        x_label="one-way latency, in widths of the timeout range", y_label="terms that split",
        title=f"Timeouts {1 / worst['latency_over_range']:.0f} latencies wide: "
        f"{worst['split_share']:.0%} of elections split",
        detail=f"{result.parameters.n_trials:,} elections per point, 95 % intervals, seed "
        f"{result.parameters.seed}",
    )  # fmt: skip
