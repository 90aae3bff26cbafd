"""How long does an etcd cluster stand still when its leader dies, and why twice as long sometimes?

At etcd's default settings a new leader is there after one to two seconds; one failover in ten
needs a second round.  Not split votes cause it but the lease of check-quorum: a server that has
heard the old leader within its own count of ten ticks ignores the first candidate.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from consensus_lab import data
from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.elections import failover_ms, trial_seeds
from consensus_lab.experiments.intervals import mean_interval, proportion_interval
from consensus_lab.experiments.parameters import ParameterSet, parameter
from consensus_lab.experiments.replicates import by_setting
from consensus_lab.experiments.result import Measure, Published, Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRIALS = "etcd/published/failover.csv"


class Parameters(ParameterSet):
    """Which clusters, and how many trials."""

    cluster_sizes: list[int] = parameter(
        [3, 5], unit="count", meaning="servers", minimum=2, maximum=15
    )
    n_trials: int = parameter(
        300, full=2000, unit="count", meaning="failovers per cluster size and setting", minimum=2
    )


def run(parameters: Parameters, progress: Progress = quiet) -> Result:
    """Crash leaders, with check-quorum as in etcd and without.

    Returns
    -------
    Result
        `frame`: one row per trial: servers, check_quorum, milliseconds to a new leader, terms.
    """
    import pandas
    from scipy.stats import ks_2samp

    cases = [(n, quorum) for n in parameters.cluster_sizes for quorum in (True, False)]
    seeds = trial_seeds(parameters.n_trials, parameters.seed)
    came, interrupted = by_setting(
        [partial(_failover, seeds, n, quorum) for n, quorum in cases], parameters.n_trials,
        progress=progress, what="failovers",
    )  # fmt: skip
    frames, measures, references = [], [], []
    for (n, quorum), trials in zip(cases, came, strict=True):
        times = [time for time, _ in trials]
        second = sum(terms > 1 for _, terms in trials)
        frames.append(pandas.DataFrame({
            "servers": n, "check_quorum": quorum, "new_leader_ms": times,
            "terms": [terms for _, terms in trials],
        }))  # fmt: skip
        tag = f"{n}_servers" + ("" if quorum else "_without_check_quorum")
        count = len(trials)
        measures.append(Measure(f"new_leader_ms_mean_{tag}", *mean_interval(times), "ms", count))
        share = proportion_interval(second, count)
        measures.append(Measure(f"second_round_share_{tag}", *share, "", count))
        real = measured(n)
        if real:
            p_value = float(ks_2samp(times, [time for time, _ in real]).pvalue)
            measures.append(Measure(f"ks_p_value_{tag}", p_value, p_value, p_value, "", count))
            if quorum:
                references += _references(tag, real)
    frame = pandas.concat(frames, ignore_index=True)
    return Result("failover", parameters, frame, measures, references, figure, notes=[
        *interrupted,
        "Measured: real etcd 3.4.23 at its defaults, leader ended by SIGKILL at a random phase.",
        "A p-value below 0.05 says that simulated and measured times differ.",
    ])  # fmt: skip


def _failover(
    seeds: list[int], n_servers: int, check_quorum: bool, trial: int
) -> tuple[float, int]:
    return failover_ms(n_servers, check_quorum=check_quorum, seed=seeds[trial])


def _references(tag: str, real: list[tuple[float, int]]) -> list[Published]:
    source = f"real etcd 3.4.23, {len(real)} trials"
    mean = sum(time for time, _ in real) / len(real)
    second = sum(terms > 1 for _, terms in real) / len(real)
    return [
        Published(f"new_leader_ms_mean_{tag}", mean, "ms", source),
        Published(f"second_round_share_{tag}", second, "", source),
    ]


def measured(n_servers: int) -> list[tuple[float, int]]:
    """Milliseconds to a new leader and terms used, of each trial on real etcd at its defaults."""
    return [
        (float(row["leader_known_ms"]), int(row["term_after"]) - int(row["term_before"]))
        for row in data.rows(TRIALS)
        if (row["etcd_version"], int(row["nodes"]), row["signal"], row["extra_flags"],
            row["election_ms"]) == ("3.4.23", n_servers, "KILL", "", "1000")
    ]  # fmt: skip


def figure(result: Result) -> Figure:
    """Distributions of the time to a new leader, simulated and on real etcd."""
    from consensus_lab.report.distributions import samples_cdf

    frame = result.frame
    n = result.parameters.cluster_sizes[0]
    of_size = frame[frame["servers"] == n]
    series = {
        f"{n} servers, simulated": of_size[of_size["check_quorum"]]["new_leader_ms"] / 1000,
        f"{n} servers, without check-quorum": of_size[~of_size["check_quorum"]]["new_leader_ms"]
        / 1000,
    }
    if measured(n):
        series[f"{n} servers, real etcd"] = [time / 1000 for time, _ in measured(n)]
    share = result.measure(f"second_round_share_{n}_servers").value
    return samples_cdf(
        {name: list(values) for name, values in series.items()}, tail=True, is_log=False,
        x_label="time from the leader's end to a new leader",
        title=f"{share:.0%} of failovers need a second round, because of check-quorum's lease",
        detail=f"{result.parameters.n_trials} simulated failovers, seed {result.parameters.seed}; "
        "heartbeat 100 ms, election 1000 ms",
    )  # fmt: skip
