"""How long is a Raft cluster without a leader, and how much randomness do timeouts need?

The Raft paper's figure 16 is repeated with the full Raft node, range by range of election
timeouts, and held against every trial of the original; so are the dissertation's curves for a
wide area network, by its own definition of election time.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from consensus_lab import data
from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.elections import lan_election_ms, trial_seeds, wan_election_ms
from consensus_lab.experiments.intervals import mean_interval, quantile_interval
from consensus_lab.experiments.parameters import ParameterSet, parameter
from consensus_lab.experiments.replicates import by_setting
from consensus_lab.experiments.result import Measure, Published, Result
from consensus_lab.node import ParameterError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LAN = "raft/published/election_lan_samples.csv"
WAN = "raft/published/election_wan_summary.csv"


class Parameters(ParameterSet):
    """Which timeouts, and how many trials."""

    timeout_ranges_ms: list[str] = parameter(
        ["150-155", "150-175", "150-200", "150-300", "50-100", "100-200"], unit="ms",
        meaning="ranges of election timeouts, each written as low-high",
    )  # fmt: skip
    n_trials: int = parameter(
        300, full=1000, unit="count", meaning="elections per range", minimum=2
    )
    wide_area: bool = parameter(True, meaning="repeat the wide area curves of the dissertation too")

    def check(self) -> None:
        for text in self.timeout_ranges_ms:
            low, high = ends_of(text)
            if not 2 <= low <= high:
                raise ParameterError("timeout_ranges_ms", text, "low-high with 2 <= low <= high")


def ends_of(text: str) -> tuple[int, int]:
    """Both ends of a range written as "150-300"."""
    parts = text.split("-")
    if len(parts) != 2 or not all(part.isdigit() for part in parts):
        raise ParameterError("timeout_ranges_ms", text, "of the form low-high, for example 150-300")
    return int(parts[0]), int(parts[1])


def run(parameters: Parameters, progress: Progress = quiet) -> Result:
    """Repeat the trials.

    Returns
    -------
    Result
        `frame`: one row per trial: setting, milliseconds without a leader.
    """
    import pandas

    frames, measures, references = [], [], []
    settings, known = parameters.timeout_ranges_ms, trials_of_the_paper()
    areas = data.rows(WAN) if parameters.wide_area else []
    seeds = trial_seeds(parameters.n_trials, parameters.seed)
    came, interrupted = by_setting(
        [*(partial(_local, seeds, *ends_of(text)) for text in settings),
         *(partial(_wide, seeds, int(row["failed_servers"]), row["logs"]) for row in areas)],
        parameters.n_trials, progress=progress, what="elections",
    )  # fmt: skip
    for text, times in zip(settings, came, strict=False):
        frames.append(pandas.DataFrame({"setting": text, "without_leader_ms": times}))
        name = f"without_leader_ms_p50_{text}"
        measures.append(Measure(name, *quantile_interval(times, 0.5), "ms", len(times)))
        if text in known:
            median, _, _ = quantile_interval(known[text], 0.5)
            references.append(Published(name, median, "ms", "Ongaro and Ousterhout 2014, fig. 16"))
            distance = ks_distance(times, known[text])
            measures.append(
                Measure(f"ks_distance_{text}", distance, distance, distance, "", len(times))
            )
    for row, times in zip(areas, came[len(settings) :], strict=True):
        _add_wide_area(row, times, frames, measures, references)
    frame = pandas.concat(frames, ignore_index=True)
    return Result(
        "leader-election", parameters, frame, measures, references, figure,
        notes=[*interrupted, *_notes()],
    )  # fmt: skip


def _local(seeds: list[int], low_ms: int, high_ms: int, trial: int) -> float:
    return lan_election_ms(low_ms, high_ms, seed=seeds[trial])


def _wide(seeds: list[int], failed: int, logs: str, trial: int) -> float:
    return wan_election_ms(failed, same_logs=logs == "same", seed=seeds[trial])


def _add_wide_area(
    row: dict[str, str], times: list[float], frames: list, measures: list, known: list
) -> None:
    import pandas

    setting = f"wide area, {row['logs']} logs, {row['failed_servers']} failed"
    frames.append(pandas.DataFrame({"setting": setting, "without_leader_ms": times}))
    name = f"wide_area_ms_mean_{row['logs']}_logs_{row['failed_servers']}_failed"
    measures.append(Measure(name, *mean_interval(times), "ms", len(times)))
    mean = float(row["mean_ms_plotted_marker"])
    known.append(Published(name, mean, "ms", "Ongaro 2014, dissertation ch. 9"))


def ks_distance(one: Any, other: Any) -> float:
    """The Kolmogorov-Smirnov distance of two samples."""
    from scipy.stats import ks_2samp

    return float(ks_2samp(one, other).statistic)


def trials_of_the_paper() -> dict[str, list[float]]:
    """Every trial of figure 16, by its range of timeouts."""
    trials: dict[str, list[float]] = {}
    for row in data.rows(LAN):
        trials.setdefault(row["timeout_range_ms"], []).append(float(row["time_without_leader_ms"]))
    return trials


def _notes() -> list[str]:
    return [
        "Link and disk times are those that give the paper's broadcast time of about 15 ms; the "
        "paper does not publish them, and narrow ranges depend on them.",
    ]


def figure(result: Result) -> Figure:
    """Share of elections that take longer, over time; the paper's trials beside ours."""
    from consensus_lab.report.distributions import samples_cdf

    frame, known = result.frame, trials_of_the_paper()
    series = {}
    for text in [t for t in result.parameters.timeout_ranges_ms if t.startswith("150")][:4]:
        mine = frame[frame["setting"] == text]["without_leader_ms"] / 1000
        series[f"{text} ms, here"] = mine.to_numpy()
        if text in known:
            series[f"{text} ms, paper"] = [value / 1000 for value in known[text]]
    return samples_cdf(
        series, tail=True, x_label="time without a leader",
        title="A little randomness in the timeouts avoids long elections",
        detail=f"{result.parameters.n_trials} elections per range, seed {result.parameters.seed}; "
        "paper: Ongaro and Ousterhout 2014, figure 16",
    )  # fmt: skip
