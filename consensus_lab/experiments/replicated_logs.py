"""What do Multi-Paxos and Raft cost on the same network, and does it follow from counting?

Both replicate a log from a leader to a majority.  Measured are the time to commit, messages per
command, the time to a new leader, the rate that a busy leader reaches, and how often enough
servers are up; beside each stands its closed form.  One more Multi-Paxos has flexible quorums.
The closed forms and their reasons stand in `log_closed_forms`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.log_closed_forms import (
    MULTI_PAXOS,
    RAFT,
    System,
    availability_expected,
    commits_expected,
    takeovers_expected,
    throughput_expected,
)
from consensus_lab.experiments.log_measurements import (
    LOAD_ROUNDS,
    WARM_UP_ROUNDS,
    available_share,
    commits,
    is_available,
    takeover,
    takeover_means,
    throughput,
)
from consensus_lab.experiments.parameters import ParameterSet, parameter
from consensus_lab.experiments.replicates import by_setting
from consensus_lab.experiments.result import Measure, Published, Result
from consensus_lab.node import ParameterError
from consensus_lab.paxos.quorum import majority

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Parameters(ParameterSet):
    """Cluster sizes, the network, and how much is measured."""

    cluster_sizes: list[int] = parameter(
        [3, 5, 7], full=[3, 4, 5, 6, 7, 9], unit="count", meaning="servers", minimum=3, maximum=15
    )
    latency_ms: float = parameter(
        5.0, unit="ms", meaning="least one-way latency", minimum=0.01, maximum=10_000
    )
    jitter_ms: float = parameter(
        10.0, unit="ms", meaning="each message takes up to this much longer, uniformly", minimum=0,
        maximum=20_000,
    )  # fmt: skip
    heartbeat_ms: float = parameter(
        100.0, unit="ms", meaning="between two heartbeats of a leader", minimum=0.1
    )
    election_ms: float = parameter(
        1000.0, unit="ms", minimum=1.0, maximum=1e6,
        meaning="election timeout T; a follower waits from T to 2 T",
    )  # fmt: skip
    cpu_us: float = parameter(
        50.0, unit="us", meaning="CPU time to handle or to send one message", minimum=0.1,
        maximum=1e5,
    )  # fmt: skip
    clients: int = parameter(
        200, unit="count", meaning="clients that load the leader, one request each", minimum=1,
        maximum=10_000,
    )  # fmt: skip
    in_flight: int = parameter(
        100_000, unit="count", minimum=1,
        meaning="messages to one follower under way at once; what is over waits and is batched",
    )  # fmt: skip
    down: float = parameter(
        0.3, unit="1", meaning="share of time that a server is down", minimum=0.0, maximum=1.0
    )
    flexible_size: int = parameter(
        5, unit="count", meaning="servers of the cluster with flexible quorums", minimum=3,
        maximum=15,
    )  # fmt: skip
    phase1_quorum: int = parameter(
        4, unit="count", meaning="its servers that elect a leader; 0 is a majority", minimum=0
    )
    phase2_quorum: int = parameter(
        2, unit="count", meaning="its servers that commit a command; 0 is a majority", minimum=0
    )
    n_commands: int = parameter(
        500, full=2000, unit="count", meaning="commands whose latency is measured",
        minimum=20,
    )  # fmt: skip
    n_trials: int = parameter(
        60, full=300, unit="count", meaning="leader crashes per system and size", minimum=10
    )
    n_draws: int = parameter(
        200, full=5000, unit="count", meaning="draws of who is down per system and size", minimum=10
    )

    def check(self) -> None:
        """Refuse quorums that do not meet, and settings under which the closed forms are off."""
        flexible = System("flexible", MULTI_PAXOS, self.phase1_quorum, self.phase2_quorum)
        flexible.quorums(self.flexible_size)
        if self.jitter_ms > 2 * self.latency_ms:
            allowed = f"at most 2 latency_ms ({2 * self.latency_ms:g}), so that no command is"
            raise ParameterError("jitter_ms", self.jitter_ms, f"{allowed} overtaken by the next")
        least = self.heartbeat_ms + 10 * (self.latency_ms + self.jitter_ms)
        if self.election_ms <= least:
            allowed = f"above {least:g}: heartbeats have to come in time"
            raise ParameterError("election_ms", self.election_ms, allowed)


def cases(parameters: Parameters) -> list[tuple[System, int]]:
    """Every system with every number of servers that is measured."""
    plain = [
        (System(name, name), n) for name in (RAFT, MULTI_PAXOS) for n in parameters.cluster_sizes
    ]
    first, second = parameters.phase1_quorum, parameters.phase2_quorum
    flexible = System("flexible", MULTI_PAXOS, first, second)
    one, two = flexible.sizes(parameters.flexible_size)
    flexible = flexible._replace(name=f"{MULTI_PAXOS}, quorums of {one} and {two}")
    return [*plain, (flexible, parameters.flexible_size)]


def run(parameters: Parameters, progress: Progress = quiet) -> Result:
    """Measure every system at every size.

    Returns
    -------
    Result
        `frame`: one row per system and number of servers: each quantity with its 95 % interval
        and, ending in `_expected`, its closed form.
    """
    import pandas

    wanted, trials, draws = cases(parameters), parameters.n_trials, parameters.n_draws
    came, interrupted = by_setting(
        [partial(measure, parameters, *case) for case in wanted
         for measure in (_commits, takeover, _throughput, is_available)],
        [1, trials, 1, draws] * len(wanted), progress=progress, what="clusters",
    )  # fmt: skip
    rows, counts = [], []
    for place, case in enumerate(wanted):
        (commit,), takeovers, (load,), answered = came[4 * place : 4 * place + 4]
        rows.append({
            "system": case[0].name, "servers": case[1],
            **commit, **commits_expected(parameters, *case),
            **takeover_means(takeovers), **takeovers_expected(parameters, *case),
            **load, **throughput_expected(parameters, *case),
            **available_share(answered), **availability_expected(parameters, *case),
        })  # fmt: skip
        counts.append((len(takeovers), len(answered)))
    return Result(
        "replicated-logs", parameters, pandas.DataFrame(rows),
        _measures(parameters, rows, counts), _closed_forms(rows), figure,
        notes=interrupted + _notes(parameters),
    )  # fmt: skip


def _commits(parameters: Parameters, system: System, n: int, _: int) -> dict[str, Any]:
    return commits(parameters, system, n)


def _throughput(parameters: Parameters, system: System, n: int, _: int) -> dict[str, Any]:
    return throughput(parameters, system, n)


INTERVALS = {
    "commit_ms_mean": ("commit_ms", "ms"), "messages_per_command": ("", "count"),
    "messages_to_commit": ("", "count"), "takeover_ms_mean": ("takeover_ms", "ms"),
    "first_commit_ms_mean": ("first_commit_ms", "ms"), "tps": ("tps", "1/s"),
    "available": ("available", ""),
}  # fmt: skip
"""Each quantity of a row: the stem of its interval's columns where it has one, and its unit."""


def _name(quantity: str, row: dict[str, Any]) -> str:
    system = row["system"].replace(", ", "_").replace(" ", "_").replace("-", "_")
    return f"{quantity}_{system}_{row['servers']}"


def _measures(
    parameters: Parameters, rows: list[dict[str, Any]], counts: list[tuple[int, int]]
) -> list[Measure]:
    measures = []
    for row, (n_takeovers, n_answered) in zip(rows, counts, strict=True):
        for quantity, (stem, unit) in INTERVALS.items():
            value = row[quantity]
            low, high = (row[f"{stem}_{end}"] if stem else value for end in ("low", "high"))
            count = parameters.n_commands
            if quantity.startswith(("takeover", "first")):
                count = n_takeovers
            elif quantity == "available":
                count = n_answered
            elif quantity == "tps":
                count = LOAD_ROUNDS - WARM_UP_ROUNDS
            measures.append(Measure(_name(quantity, row), value, low, high, unit, count))
    return measures


def _closed_forms(rows: list[dict[str, Any]]) -> list[Published]:
    return [
        Published(_name(quantity, row), row[f"{stem_of(quantity)}_expected"], unit, "closed form")
        for row in rows
        for quantity, (_, unit) in INTERVALS.items()
    ]


def stem_of(quantity: str) -> str:
    """The quantity's name without "mean": "commit_ms" of "commit_ms_mean"."""
    return quantity.removesuffix("_mean")


def _notes(parameters: Parameters) -> list[str]:
    flexible, n = cases(parameters)[-1]
    first, second = flexible.sizes(n)
    even = [size for size in parameters.cluster_sizes if size % 2 == 0]
    return [
        *(
            f"{size} servers tolerate {size - majority(size)} failures, no more than {size - 1} do."
            for size in even
        ),
        "Raft as etcd has it tells followers at once that an entry is committed: 2(n-1) messages "
        "more than it takes to commit.  Multi-Paxos tells them with the next Accept or Heartbeat.",
        "The closed form of the takeover leaves out rivals that time out at nearly the same time.",
        f"Flexible quorums of {first} and {second} among {n} servers: a command waits for "
        f"{second - 1} instead of {majority(n) - 1} others; a new leader needs {first} servers.",
    ]


def figure(result: Result) -> Figure:
    """What is measured over the number of servers, the closed forms beside it."""
    from consensus_lab.report import style
    from consensus_lab.report.curves import curve_with_band

    with style.style():
        whole = style.new_figure(10.0, 10.5)
        *panels, last = whole.subplots(3, 2).flat
        for axes, (y, label, title) in zip(panels, _panels(result), strict=True):
            curve_with_band(
                result.frame, axes, x="servers", y=y, group="system", x_label="servers (count)",
                y_label=label, published=_points(result, y), is_share=y == "available",
                **_ends(y),
            )  # fmt: skip
            axes.get_legend().remove()
            axes.set_xticks(sorted(set(result.frame["servers"])))
            style.headline(axes, title, "", width_in=4.4)
        last.set_axis_off()
        last.legend(*panels[0].get_legend_handles_labels(), loc="center left", frameon=False)
    return whole


def _ends(quantity: str) -> dict[str, Any]:
    """The columns of a quantity's interval, if it has one."""
    stem, _ = INTERVALS[quantity]
    return {"low": f"{stem}_low", "high": f"{stem}_high"} if stem else {}


def _points(result: Result, quantity: str) -> list[tuple[float, float, str]]:
    expected = result.frame[f"{stem_of(quantity)}_expected"]
    return [
        (float(n), float(value), "closed form")
        for n, value in zip(result.frame["servers"], expected, strict=True)
    ]


def _panels(result: Result) -> list[tuple[str, str, str]]:
    """Quantity, label and finding of each panel."""
    frame = result.frame
    means = frame.groupby("system", sort=False).mean()
    flexible = frame.iloc[-1]
    same_size = frame[(frame["system"] == MULTI_PAXOS) & (frame["servers"] == flexible["servers"])]
    commit = f"Quorums of {flexible['system'].split(' of ')[-1]} commit in "
    commit += f"{flexible['commit_ms_mean']:.1f} ms"
    if len(same_size):
        commit += f", majorities in {same_size['commit_ms_mean'].iloc[0]:.1f} ms"
    raft, paxos = means.loc[RAFT], means.loc[MULTI_PAXOS]
    messages = raft["messages_per_command"] / paxos["messages_per_command"]
    rate = paxos["tps"] / raft["tps"]
    timeout = result.parameters.as_dict()["election_ms"] / paxos["takeover_ms_mean"]
    down = result.parameters.as_dict()["down"]
    return [
        ("commit_ms_mean", "commit (ms, mean)", commit),
        ("messages_per_command", "messages per command (count)",
         f"Raft sends {messages:g} times the messages: it announces commits at once"),
        ("takeover_ms_mean", "new leader after a crash (ms, mean)",
         f"The least timeout is {timeout * 100:.0f} % of a takeover"),
        ("tps", "commands of a busy leader (1/s)",
         f"A busy leader commits {rate:.1f} times as much with Multi-Paxos"),
        ("available", "draws in which a put is answered",
         f"Each server is down {down * 100:g} % of the time"),
    ]  # fmt: skip
