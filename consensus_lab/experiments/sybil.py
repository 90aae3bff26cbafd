"""What is an identity worth, where a vote is a member's, a hash's or a coin's?

Paxos and Raft count members: one person's free identities break agreement between honest servers,
and soon decide alone.  Work and stake count the same however many identities they are split over.
But a lottery only says who may speak, and how often; nodes that draw by work and have no rule to
choose a chain disagree for ever, with the longest-chain rule they agree.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from consensus_lab.adversaries.sybil import can_break_agreement
from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.cells.membership import identities_to_take_over, share_of_chain
from consensus_lab.experiments.intervals import mean_interval, proportion_interval
from consensus_lab.experiments.parameters import ParameterSet, parameter
from consensus_lab.experiments.replicates import by_setting
from consensus_lab.experiments.result import Measure, Result
from consensus_lab.experiments.sybil_runs import (
    PAXOS,
    RAFT,
    Agreement,
    lottery_agreement,
    slots_led,
    split_decisions,
    tickets_won,
)
from consensus_lab.sim.streams import derive_seed
from consensus_lab.sim.trace import Trace

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORK, STAKE, TICKETS = "work", "stake", "one account, one ticket"
LONGEST, FIRST_SEEN = "longest-chain rule", "no rule of choice"
IDENTITIES_MAX = 199
DIAGRAM_NS = 400_000_000
"""How much of a run without decisions is drawn."""



class Parameters(ParameterSet):
    """Servers, identities, and the lotteries."""

    honest_servers: int = parameter(
        3, unit="count", meaning="honest servers of Paxos and Raft", minimum=2, maximum=20
    )
    identities_in_cluster: list[int] = parameter(
        [0, 1, 2, 3, 4], unit="count", meaning="one person's members in the cluster",
        minimum=0, maximum=40,
    )  # fmt: skip
    n_runs: int = parameter(
        20, full=200, unit="count", meaning="runs per cluster", minimum=1, maximum=100_000
    )
    identities_in_lottery: list[int] = parameter(
        [1, 10, 100], unit="count", meaning="identities over which work or stake is split",
        minimum=1, maximum=IDENTITIES_MAX,
    )  # fmt: skip
    weight_share: float = parameter(
        0.1, unit="share", meaning="the person's share of all work, or of all stake",
        minimum=0.001, maximum=0.499,
    )  # fmt: skip
    n_slots: int = parameter(
        100_000, full=1_000_000, unit="count", meaning="slots drawn by stake and by account",
        minimum=100, maximum=10**8,
    )  # fmt: skip
    active_share: float = parameter(
        0.05, unit="share", meaning="slots in which stake is drawn at all", minimum=0.001,
        maximum=0.999,
    )  # fmt: skip
    other_accounts: int = parameter(
        100, unit="count", meaning="everybody else's accounts where each holds one ticket",
        minimum=1, maximum=10**6,
    )  # fmt: skip
    lottery_nodes: int = parameter(
        20, full=50, unit="count", meaning="nodes that mine, with and without a rule of choice",
        minimum=6, maximum=500,
    )  # fmt: skip
    lottery_blocks: int = parameter(
        100, full=1000, unit="count", meaning="blocks that they find", minimum=20, maximum=100_000
    )
    lottery_interval_s: float = parameter(
        10.0, unit="s", meaning="mean time between their blocks", minimum=0.1, maximum=10_000.0
    )
    lottery_runs: int = parameter(
        10, full=50, unit="count", meaning="networks that mine", minimum=1, maximum=10_000
    )


def run(parameters: Parameters, progress: Progress = quiet) -> Result:
    """Break quorums, split weights, and mine with and without a rule of choice.

    Returns
    -------
    Result
        `frame`: one row per question and number of identities: `what` (agreement broken, share of
        decisions, nodes that agree), `weight` (who counts), identities, share with its 95 %
        interval (Wilson; of the largest group Student's), attempts, and the share expected.
    """
    import pandas

    clusters = [(p, k) for p in (PAXOS, RAFT) for k in parameters.identities_in_cluster]
    lotteries = [(draw, k) for k in parameters.identities_in_lottery
                 for draw in (_work_won, _stake_led, _tickets_won)]
    rules = (LONGEST, FIRST_SEEN)
    came, interrupted = by_setting(
        [*(partial(_is_broken, parameters, *one) for one in clusters),
         *(partial(draw, parameters, k) for draw, k in lotteries),
         *(partial(_agreement, parameters, rule) for rule in rules)],
        [*[parameters.n_runs] * len(clusters), *[1] * len(lotteries),
         *[parameters.lottery_runs] * len(rules)],
        progress=progress, what="runs",
    )  # fmt: skip
    broken, drawn = came[: len(clusters)], came[len(clusters) : -len(rules)]
    rows = [_broken_row(parameters, *one, runs) for one, runs in zip(clusters, broken, strict=True)]
    rows += [row for (row,) in drawn]
    for rule, runs in zip(rules, came[-len(rules) :], strict=True):
        rows += _rule_rows(rule, runs)
    needed = identities_to_take_over(honest=parameters.honest_servers, seed=parameters.seed)
    measures = [
        Measure(row["quantity"], row["share"], row["low"], row["high"], "share", row["attempts"])
        for row in rows
    ]
    measures.append(Measure("identities_that_decide_alone", *[needed] * 3, "count", 1))
    frame = pandas.DataFrame(rows).drop(columns="quantity")
    return Result("sybil", parameters, frame, measures, draw=figure, notes=[
        *interrupted,
        "The honest servers stand in two halves that do not hear of each other; without lying "
        "members that costs progress and never agreement.",
        "Expected: broken from the fewest identities on with which two quorums share no honest "
        "member; a lottery by work or stake wins its share however it is split.",
    ])  # fmt: skip


def _row(
    quantity: str, what: str, weight: str, identities: int, hits: int, attempts: int,
    expected: float,
) -> dict[str, Any]:  # fmt: skip
    share, low, high = proportion_interval(hits, attempts)
    return {
        "quantity": quantity, "what": what, "weight": weight, "identities": identities,
        "share": share, "low": low, "high": high, "attempts": attempts, "expected": expected,
    }  # fmt: skip


BROKEN, DECISIONS, AGREE = "agreement broken", "share of decisions", "nodes that agree"


def _is_broken(parameters: Parameters, protocol: str, identities: int, number: int) -> bool:
    """Two halves, and identities that say yes to both: is agreement lost?"""
    return split_decisions(
        protocol, honest=parameters.honest_servers, identities=identities,
        seed=_cluster_seed(parameters, protocol, identities, number),
    ).is_broken  # fmt: skip


def _cluster_seed(parameters: Parameters, protocol: str, identities: int, number: int) -> int:
    return derive_seed(parameters.seed, "experiment", "sybil", protocol, identities, number)


def _broken_row(
    parameters: Parameters, protocol: str, k: int, runs: list[bool]
) -> dict[str, Any]:
    return _row(
        f"broken_{protocol.lower()}_{k}_identities", BROKEN, f"member, {protocol}", k,
        sum(runs), len(runs), float(can_break_agreement(parameters.honest_servers, k)),
    )  # fmt: skip


# The same weight as one identity and as many.


def _work_won(parameters: Parameters, k: int, _: int) -> dict[str, Any]:
    weight = parameters.weight_share
    won, total = share_of_chain(k, work=weight, seed=parameters.seed)
    return _row(f"work_{k}_identities", DECISIONS, WORK, k, won, total, weight)


def _stake_led(parameters: Parameters, k: int, _: int) -> dict[str, Any]:
    weight, active, n = parameters.weight_share, parameters.active_share, parameters.n_slots
    led = slots_led(k, stake=weight, active_share=active, n_slots=n, seed=parameters.seed)
    # Of the slots that are drawn at all; two may be drawn at once.
    expected = 1.0 - (1.0 - active) ** weight
    row = _row(f"stake_{k}_identities", DECISIONS, STAKE, k, led, n, expected)
    of_drawn = {name: row[name] / active for name in ("share", "low", "high", "expected")}
    return {**row, **of_drawn, "attempts": round(n * active)}


def _tickets_won(parameters: Parameters, k: int, _: int) -> dict[str, Any]:
    others, n = parameters.other_accounts, parameters.n_slots
    won = tickets_won(k, others=others, n_slots=n, seed=parameters.seed)
    return _row(f"tickets_{k}_identities", DECISIONS, TICKETS, k, won, n, k / (k + others))


# The same lottery, with and without a rule that says which chain counts.


def _agreement(parameters: Parameters, rule: str, number: int) -> Agreement:
    return lottery_agreement(
        has_longest_chain_rule=rule == LONGEST, n_nodes=parameters.lottery_nodes,
        n_blocks=parameters.lottery_blocks, block_interval_s=parameters.lottery_interval_s,
        seed=derive_seed(parameters.seed, "experiment", "lottery", number),
    )  # fmt: skip


def _rule_rows(rule: str, runs: list[Agreement]) -> list[dict[str, Any]]:
    agree = sum(one.holders == one.nodes for one in runs)
    name = "longest_chain" if rule == LONGEST else "first_seen"
    expected = 1.0 if rule == LONGEST else float("nan")
    share, low, high = mean_interval(one.holders / one.nodes for one in runs)
    return [
        _row(f"agreement_{name}", AGREE, rule, 0, agree, len(runs), expected),
        {
            "quantity": f"largest_group_{name}", "what": "nodes in the largest group",
            "weight": rule, "identities": 0, "share": share, "low": low, "high": high,
            "attempts": len(runs), "expected": expected,
        },
    ]  # fmt: skip


def traced(protocol: str, parameters: Parameters, *, identities: int) -> Trace:
    """The trace of one run with that many identities."""
    trace = Trace()
    split_decisions(
        protocol, honest=parameters.honest_servers, identities=identities,
        seed=_cluster_seed(parameters, protocol, identities, 0), trace=trace,
    )  # fmt: skip
    return trace


def figure(result: Result) -> Figure:
    """Share of the decisions over the number of identities, by what counts."""
    from consensus_lab.report.curves import curve_with_band

    frame = result.frame[result.frame["what"] == DECISIONS]
    most = frame["identities"].max()
    at = frame[frame["identities"] == most].set_index("weight")["share"]
    known = [(k, share, "expected") for k, share in zip(frame["identities"], frame["expected"],
                                                        strict=True)]  # fmt: skip
    return curve_with_band(
        frame, x="identities", y="share", low="low", high="high", group="weight",
        group_label="what counts", x_label="identities of one person (count)",
        y_label="decisions that they make (share)", is_log_x=True, is_share=True,
        published=known,
        title=f"{most} identities: {at[TICKETS]:.0%} by ticket, {at[WORK]:.1%} by work, "
        f"{at[STAKE]:.1%} by stake",
        detail=f"{result.parameters.weight_share:.0%} of the work or stake, split; "
        f"{result.parameters.other_accounts} accounts of others; bands: 95 % intervals",
    )  # fmt: skip


def broken_figure(result: Result) -> Figure:
    """How often agreement is lost, over the number of identities in the cluster."""
    from consensus_lab.report.curves import curve_with_band

    frame = result.frame[result.frame["what"] == BROKEN]
    honest = result.parameters.honest_servers
    known = [(k, share, "two quorums without a common honest member")
             for k, share in zip(frame["identities"], frame["expected"], strict=True)]
    broken = frame[frame["share"] > 0]["identities"]
    least = f"{broken.min()} of {honest + broken.min()} members" if len(broken) else "nobody"
    return curve_with_band(
        frame, x="identities", y="share", low="low", high="high", group="weight",
        x_label="identities of one person in the cluster (count)",
        y_label="runs with two decisions (share)", is_share=True, published=known,
        title=f"Agreement is broken by {least}",
        detail=f"{honest} honest servers in two halves; {result.parameters.n_runs} runs each; "
        "bands: 95 % intervals",
    )  # fmt: skip


def diagram(protocol: str, parameters: Parameters, *, identities: int = 2) -> Figure:
    """Both halves of one run, and the identities between them, as a space-time diagram."""
    from consensus_lab.report.space_time import space_time

    honest, trace = parameters.honest_servers, traced(protocol, parameters, identities=identities)
    names = {i: f"server {i}" for i in range(1, honest + 1)}
    names |= {honest + 1 + i: f"identity {i + 1}" for i in range(identities)}
    kinds = {
        PAXOS: ("Prepare", "Promise", "Accept", "Accepted"),
        RAFT: ("MsgVote", "MsgVoteResp", "MsgApp", "MsgAppResp"),
    }[protocol]
    begin_ns = min(one.time_ns for one in trace if one.kind in kinds)
    applied = [one.time_ns for one in trace if one.event == "apply" and one.detail.command]
    end_ns = max(applied, default=begin_ns + DIAGRAM_NS) + 1
    left = range(1, honest // 2 + 1)
    liars = range(honest + 1, honest + identities + 1)
    order = [*left, *liars, *range(honest // 2 + 1, honest + 1)]
    return space_time(
        trace, names=names, nodes=order, kinds=kinds, begin_ns=begin_ns, end_ns=end_ns,
        without=("timer", "fault"), label_messages=False,
        title=f"{protocol}: two faces, two decisions",
        detail=f"servers above and below do not hear of each other; {identities} identities of "
        "one person say yes to both",
    )  # fmt: skip
