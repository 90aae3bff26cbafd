"""How long do two proposers spoil each other's proposals, and what ends it?

Under a chosen schedule two proposers of Paxos alternate for ever.  With random back-off a duel
ends; how soon depends on the ratio of latency to back-off window alone, and the closed form says
how.  A distinguished proposer has nobody to duel with.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.duels import (
    ACCEPTORS,
    LIVELOCK,
    PROPOSERS,
    Duel,
    duel,
    expected_attempts,
    is_decided,
    livelock,
    round_succeeds,
    round_success_probability,
    shape,
)
from consensus_lab.experiments.intervals import mean_interval, proportion_interval
from consensus_lab.experiments.parameters import ParameterSet, parameter
from consensus_lab.experiments.replicates import by_setting
from consensus_lab.experiments.result import Measure, Published, Result
from consensus_lab.paxos.election import Timing
from consensus_lab.paxos.proposer import BackOff
from consensus_lab.sim.schedule import Schedule
from consensus_lab.sim.streams import derive_seed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MILLISECOND_NS = 1_000_000
HOPELESS_DUELS = 5
"""So many duels are fought where the closed form says that none ever ends."""

GROWTH = 2
FIXED, DOUBLING, DISTINGUISHED = "uniform", "uniform, doubling", "distinguished proposer"


class Parameters(ParameterSet):
    """Latency, back-off windows, and how many duels."""

    latency_ms: float = parameter(
        1.0, unit="ms", meaning="one-way latency of every message", minimum=0.001, maximum=10_000
    )
    n_processes: int = parameter(
        3, unit="count", meaning="processes, each proposer, acceptor and learner", minimum=2,
        maximum=15,
    )  # fmt: skip
    windows_ms: list[float] = parameter(
        [0.0, 1.0, 1.25, 1.5, 2.0, 4.0, 8.0, 16.0], unit="ms",
        full=[0.0, 0.5, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 4.0, 8.0, 16.0, 32.0],
        meaning="back-off windows; waits are uniform from 0 to the window", minimum=0,
        maximum=1_000_000,
    )  # fmt: skip
    round_ratios: list[float] = parameter(
        [0.05, 0.1, 0.2, 0.3, 0.5, 0.7], unit="1",
        meaning="rounds: exclusive time d (two latencies) over the window", minimum=0.001,
        maximum=1,
    )  # fmt: skip
    n_duels: int = parameter(
        400, full=20_000, unit="count", meaning="duels per window, and rounds per ratio",
        minimum=2, maximum=10**7,
    )  # fmt: skip
    attempts_max: int = parameter(
        300, unit="count", meaning="a duel counts as undecided after that many proposals",
        minimum=3,
    )  # fmt: skip
    turns_max: int = parameter(
        5000, full=100_000, unit="count", meaning="turns to take under the chosen schedule",
        minimum=30,
    )  # fmt: skip

    prologue: str = parameter(
        " ".join(LIVELOCK.prologue), meaning="the chosen schedule: turns to begin with"
    )
    cycle: str = parameter(
        " ".join(LIVELOCK.cycle), meaning="the chosen schedule: turns that repeat for ever"
    )

    def check(self) -> None:
        """Refuse a schedule that names a process that does not exist."""
        self.schedule.check([*PROPOSERS, *ACCEPTORS])

    @property
    def schedule(self) -> Schedule:
        """The chosen schedule."""
        return Schedule.of(self.prologue, self.cycle)

    @property
    def latency_ns(self) -> int:
        """The latency in nanoseconds."""
        return round(self.latency_ms * MILLISECOND_NS)


def run(parameters: Parameters, progress: Progress = quiet) -> Result:
    """Fight duels under the chosen schedule, in rounds, and with every policy and window.

    Returns
    -------
    Result
        `frame`: one row per model, policy and window: duels, share decided, mean attempts (of
        rounds: mean number of rounds) with its 95 % interval, the closed form, mean time to the
        decision (ms).
    """
    import pandas

    policies = [(FIXED, 1), (DOUBLING, GROWTH)]
    windows = parameters.windows_ms
    duels = [(policy, growth, window_ms) for policy, growth in policies for window_ms in windows]
    ratios, n = parameters.round_ratios, parameters.n_duels
    came, interrupted = by_setting(
        [*(partial(_duel, parameters, *one) for one in duels),
         partial(_distinguished, parameters),
         *(partial(_round, parameters, ratio) for ratio in ratios)],
        [*(_count(parameters, *one) for one in duels), HOPELESS_DUELS, *[n] * len(ratios)],
        progress=progress, what="duels",
    )  # fmt: skip
    rows = [_duels(parameters, *one, fought) for one, fought in zip(duels, came, strict=False)]
    rows.append(_row("duel", DISTINGUISHED, 0.0, 0.0, came[len(duels)], 1.0))
    rows += [
        _rounds(parameters, *one) for one in zip(ratios, came[len(duels) + 1 :], strict=True)
    ]
    frame = pandas.DataFrame(rows)
    measures = [*_schedule_measures(parameters), *_row_measures(rows)]
    notes = [
        *interrupted,
        "An attempt is a proposal until the one that succeeds; the closed form is 1 / (1 - L/B) "
        "for a window B above the latency L, and infinite up to it.",
        "Rounds: starts are uniform in the window, and a round is lost when the second Prepare "
        "arrives before the first Accept, two latencies after the first Prepare.",
        "The schedule repeats when after each cycle everything is as it was, but for higher "
        "numbers: then it goes on for ever.",
    ]
    return Result("duelling", parameters, frame, measures, _closed_forms(rows), figure, notes=notes)


def _is_endless(parameters: Parameters, growth: int, window_ms: float) -> bool:
    """Windows that stay no wider than the latency: nobody ever gets through."""
    return window_ms == 0 or (growth == 1 and parameters.latency_ms / window_ms >= 1)


def _count(parameters: Parameters, _policy: str, growth: int, window_ms: float) -> int:
    n = parameters.n_duels
    return min(n, HOPELESS_DUELS) if _is_endless(parameters, growth, window_ms) else n


def _duel(
    parameters: Parameters, policy: str, growth: int, window_ms: float, replicate: int
) -> Duel:
    return duel(
        derive_seed(parameters.seed, policy, str(window_ms), replicate),
        n_processes=parameters.n_processes, latency_ns=parameters.latency_ns,
        back_off=BackOff(round(window_ms * MILLISECOND_NS), growth),
        attempts_max=parameters.attempts_max,
    )  # fmt: skip


def _duels(
    parameters: Parameters, policy: str, growth: int, window_ms: float, fought: list[Duel]
) -> dict[str, Any]:
    ratio = parameters.latency_ms / window_ms if window_ms else float("inf")
    endless = _is_endless(parameters, growth, window_ms)
    expected = float("inf") if endless else expected_attempts(ratio, growth=growth)
    return _row("duel", policy, window_ms, 1 / ratio, fought, expected)


def _distinguished(parameters: Parameters, replicate: int) -> Duel:
    """The cure: one duel per process that might lead; without chance all are alike."""
    interval_ns = 10 * parameters.latency_ns
    return duel(
        derive_seed(parameters.seed, DISTINGUISHED, replicate),
        n_processes=parameters.n_processes, latency_ns=parameters.latency_ns,
        back_off=BackOff(), attempts_max=parameters.attempts_max,
        election=Timing(interval_ns, 5 * interval_ns),
    )  # fmt: skip


def _row(
    model: str, policy: str, window_ms: float, ratio: float, fought: list[Duel], expected: float
) -> dict[str, Any]:
    decided = [one for one in fought if one.is_decided]
    is_fair = len(decided) == len(fought)
    mean, low, high = mean_interval(one.attempts for one in decided) if is_fair else _NOTHING
    took_ms, _, _ = mean_interval(one.decision_ns / MILLISECOND_NS for one in decided)
    return {
        "model": model, "policy": policy, "window_ms": window_ms, "window_over_latency": ratio,
        "duels": len(fought), "decided_fraction": len(decided) / len(fought),
        "attempts_mean": mean, "attempts_low": low, "attempts_high": high,
        "attempts_expected": expected, "decision_ms_mean": took_ms,
    }  # fmt: skip


_NOTHING = (float("inf"), float("inf"), float("inf"))
"""The mean number of attempts where some duel was not decided."""


def _window_ns(parameters: Parameters, ratio: float) -> int:
    return round(2 * parameters.latency_ns / ratio)


def _round(parameters: Parameters, ratio: float, replicate: int) -> bool:
    """One round at one ratio of exclusive time to window."""
    return round_succeeds(
        derive_seed(parameters.seed, "round", str(ratio), replicate),
        latency_ns=parameters.latency_ns, window_ns=_window_ns(parameters, ratio),
        n_acceptors=parameters.n_processes,
    )  # fmt: skip


def _rounds(parameters: Parameters, ratio: float, won: list[bool]) -> dict[str, Any]:
    """The mean number of rounds until success."""
    share, low, high = proportion_interval(sum(won), len(won))
    chance = round_success_probability(ratio / 2)
    return {
        "model": "rounds", "policy": FIXED,
        "window_ms": _window_ns(parameters, ratio) / MILLISECOND_NS,
        "window_over_latency": 2 / ratio, "duels": len(won), "decided_fraction": share,
        "attempts_mean": _inverse(share), "attempts_low": _inverse(high),
        "attempts_high": _inverse(low), "attempts_expected": _inverse(chance),
        "decision_ms_mean": float("nan"),
    }  # fmt: skip


def _inverse(chance: float) -> float:
    """Mean number of independent trials until the first success."""
    return 1 / chance if chance > 0 else float("inf")


def _schedule_measures(parameters: Parameters) -> list[Measure]:
    """The duel under the chosen schedule: without and with a distinguished proposer."""
    schedule, limit = parameters.schedule, parameters.turns_max
    alone = livelock(leader=1)
    duelling = livelock()
    counts = {
        "schedule_turns": duelling.run(
            schedule, turns_max=limit, until=lambda: is_decided(duelling)
        ),
        "schedule_decided": int(is_decided(duelling)),
        "schedule_repeats": int(repeats(schedule)),
        "schedule_turns_distinguished": alone.run(
            schedule, turns_max=limit, until=lambda: is_decided(alone)
        ),
        "schedule_decided_distinguished": int(is_decided(alone)),
    }
    return [
        Measure(name, count, count, count, "count", 1, "chosen schedule")
        for name, count in counts.items()
    ]


def repeats(schedule: Schedule) -> bool:
    """True when the duel comes back to the same shape after each cycle, numbers aside."""
    if not schedule.cycle:
        return False
    run = livelock()
    run.run(Schedule(schedule.prologue), turns_max=len(schedule.prologue))
    shapes = []
    for _ in range(3):
        run.run(Schedule((), schedule.cycle), turns_max=len(schedule.cycle))
        shapes.append(shape(run))
    return not is_decided(run) and shapes[0] == shapes[1] == shapes[2]


def _row_measures(rows: Iterable[dict[str, Any]]) -> list[Measure]:
    return [
        Measure(_name(row), row["attempts_mean"], row["attempts_low"], row["attempts_high"],
                "count", row["duels"])
        for row in rows
        if row["attempts_mean"] != float("inf")
    ]  # fmt: skip


def _closed_forms(rows: Iterable[dict[str, Any]]) -> list[Published]:
    """The closed form beside every mean that was measured."""
    return [
        Published(_name(row), row["attempts_expected"], "count", "closed form")
        for row in rows
        if row["attempts_mean"] != float("inf")
    ]


def _name(row: dict[str, Any]) -> str:
    if row["policy"] == DISTINGUISHED:
        return "attempts_mean_distinguished"
    if row["model"] == "rounds":
        return f"rounds_mean_{2 / row['window_over_latency']:g}"
    kind = "doubling" if row["policy"] == DOUBLING else "uniform"
    return f"attempts_mean_{kind}_{row['window_ms']:g}ms"


def figure(result: Result) -> Figure:
    """Attempts over the window, measured and in closed form."""
    from consensus_lab.report.paxos import duel_curves

    return duel_curves(result)


def livelock_figure(*, cycles: int = 1) -> Figure:
    """Space-time diagram of the duel that never ends, for notebooks."""
    from consensus_lab.report.paxos import livelock_diagram

    run = livelock()
    run.run(LIVELOCK, turns_max=len(LIVELOCK.prologue) + cycles * len(LIVELOCK.cycle))
    return livelock_diagram(run.trace, names={node: name for name, node in run.processes.items()})
