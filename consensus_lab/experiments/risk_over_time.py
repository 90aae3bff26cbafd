"""How sure is a transaction after a millisecond, a minute, an hour?

One axis of time for all systems.  A replicated log is open until a majority has the entry, then
final; once in a while its leader dies and some requests wait for the next one.  On a chain nothing
is ever final: the risk that a hidden branch takes the payment back falls with the blocks on top of
it.  How many confirmations are enough depends on the attacker's share, a little on network delay.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from consensus_lab import constants, data, theory
from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.clusters import DISKS, PROTOCOLS, ClusterParameters
from consensus_lab.experiments.intervals import mean_interval, proportion_interval
from consensus_lab.experiments.log_waits import WINDOW_NS, CrashWaits, crash_waits, put_waits
from consensus_lab.experiments.networks import (
    NetworkParameters,
    build,
    delay_quantile_s,
    relay_blocks,
)
from consensus_lab.experiments.parameters import parameter
from consensus_lab.experiments.replicates import by_setting
from consensus_lab.experiments.result import Measure, Published, Result
from consensus_lab.network import geography
from consensus_lab.node import ParameterError
from consensus_lab.sim.links import NANOSECONDS_PER_SECOND
from consensus_lab.sim.streams import array_stream

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

SECONDS_PER_MINUTE, SECONDS_PER_DAY = 60.0, 86_400.0
RISK_MIN = 1e-6
"""Foot of the curves."""
LOG_POINTS_PER_DECADE, CHAIN_POINTS_PER_DECADE = 24, 80
PUBLISHED = "bitcoin/published/reversal_risk.csv"


class Parameters(NetworkParameters):
    """A cluster whose leader dies at times, a network, and attackers."""

    n_servers: int = parameter(
        3, unit="count", meaning="servers of a log; a majority has to agree", minimum=2, maximum=101
    )
    server_geography: str = parameter(
        "single_region", meaning="where the servers stand", choices=geography.NAMES
    )
    disk: str = parameter("measured", choices=DISKS, meaning="the servers' disks")
    n_requests: int = parameter(
        1000, full=20_000, unit="count", meaning="puts per log, without faults", minimum=20
    )
    n_crashes: int = parameter(
        40, full=1000, unit="count", meaning="crashes of the leader per log", minimum=2
    )
    client_timeout_ms: float = parameter(
        200.0, unit="ms", meaning="a client without an answer then tries the next server",
        minimum=1.0, maximum=60_000.0,
    )  # fmt: skip
    leader_crashes_per_day: float = parameter(
        1.0, unit="1/day", meaning="how often the leader dies; 0 is never", minimum=0.0,
        maximum=1000.0,
    )  # fmt: skip
    attacker_shares: list[float] = parameter(
        [0.01, 0.1, 0.3, 0.4], unit="1", minimum=0.0, maximum=0.49,
        meaning="attackers, by their share of the hash power",
    )  # fmt: skip
    confirmations: list[int] = parameter(
        [1, 2, 3, 4, 5, 6, 8, 10, 15, 20], unit="blocks", minimum=1, maximum=1000,
        meaning="depths whose risk is computed and simulated",
    )  # fmt: skip
    chosen_risks: list[float] = parameter(
        [0.01, 0.001, 0.000001], unit="1", minimum=1e-12, maximum=0.9,
        meaning="risks to stay below: how many confirmations, how many minutes",
    )  # fmt: skip
    block_interval_s: float = parameter(
        600.0, unit="s", meaning="mean time between blocks found by all miners", minimum=0.001
    )
    block_size_bytes: int = parameter(
        1_000_000, unit="bytes", meaning="size of each block", minimum=81, maximum=10**9
    )
    n_blocks: int = parameter(
        20, full=200, unit="count", meaning="blocks per replicate, for the network delay",
        minimum=2,
    )  # fmt: skip
    n_attacks: int = parameter(
        20_000, full=1_000_000, unit="count", meaning="simulated attacks per share and depth",
        minimum=100,
    )  # fmt: skip


def run(parameters: Parameters, progress: Progress = quiet) -> Result:
    """Measure the logs and the network delay, then compute and simulate the attacks.

    Returns
    -------
    Result
        `frame`: column `part` is "curve" (system, seconds, risk with its 95 % interval),
        "confirmations" (risk by share and depth: exact, whitepaper, with delay, bounds,
        simulated) or "enough" (confirmations and minutes by share and chosen risk).
    """
    import pandas

    (*logs, delays_s), interrupted = by_setting(
        [*(partial(_log_curve, parameters, protocol) for protocol in PROTOCOLS),
         partial(network_delay_s, parameters)],
        [1] * len(PROTOCOLS) + [parameters.replicates], progress=progress,
        what="logs and networks",
    )  # fmt: skip
    curves = [curve for (curve,) in logs]
    delay_s = mean_interval(delays_s)
    curves += [chain_curve(parameters, share) for share in parameters.attacker_shares]
    attacks = confirmation_rows(parameters, delay_s[0])
    enough = enough_rows(parameters, delay_s[0])
    parts = {"curve": pandas.concat(curves), "confirmations": pandas.DataFrame(attacks),
             "enough": pandas.DataFrame(enough)}  # fmt: skip
    frame = pandas.concat([rows.assign(part=name) for name, rows in parts.items()])
    measures = [Measure("delay_s_p99", *delay_s, "s", len(delays_s)),
                *_measures(parameters, attacks, enough)]  # fmt: skip
    return Result(
        "risk-over-time", parameters, frame.reset_index(drop=True), measures,
        published(parameters, delay_s[0]), figure, notes=interrupted + _notes(parameters, attacks),
    )  # fmt: skip


def part(result: Result, name: str) -> pandas.DataFrame:
    """The rows of one part ("curve", "confirmations", "enough") with the columns that it has."""
    rows = result.frame[result.frame["part"] == name].drop(columns="part")
    whole: pandas.DataFrame = rows.dropna(axis=1, how="all").reset_index(drop=True)
    return whole


# The logs.


def _log_curve(parameters: Parameters, protocol: str, _: int) -> pandas.DataFrame:
    return log_curve(parameters, protocol)


def log_curve(parameters: Parameters, protocol: str) -> pandas.DataFrame:
    """Share of the requests of a log that are still open, over time.

    Requests come at any time of the day.  A share of them, the crashes of a day times the window
    that is watched after each, meets a dead leader.
    """
    import numpy
    import pandas

    cluster = ClusterParameters.of({
        "protocol": protocol, "n_servers": parameters.n_servers, "disk": parameters.disk,
        "server_geography": parameters.server_geography, "seed": parameters.seed,
    })  # fmt: skip
    calm_s = numpy.array(put_waits(cluster, parameters.n_requests).answer_ms) / 1e3
    share, trials = 0.0, list[CrashWaits]()
    if parameters.leader_crashes_per_day > 0:
        trials = crash_waits(
            cluster, parameters.n_crashes, client_timeout_ms=parameters.client_timeout_ms
        )
        window_s = WINDOW_NS / NANOSECONDS_PER_SECOND
        share = min(1.0, parameters.leader_crashes_per_day * window_s / SECONDS_PER_DAY)
    late_s = [numpy.array(trial.late_ms) / 1e3 for trial in trials]
    longest_s = max(float(part.max()) for part in (calm_s, *late_s))
    rows = []
    for seconds in [*_times(calm_s.min() / 2, longest_s, LOG_POINTS_PER_DECADE), longest_s]:
        open_calm = proportion_interval(int((calm_s > seconds).sum()), len(calm_s))
        open_late = (0.0, 0.0, 0.0)
        if len(trials):
            open_late = mean_interval((trial > seconds).mean() for trial in late_s)
        # Nothing left open in so many puts says nothing below one in as many: no interval there.
        sure = open_calm[0] == 0.0
        risk, low, high = (
            (1 - share) * (0.0 if sure else calm) + share * max(0.0, late)
            for calm, late in zip(open_calm, open_late, strict=True)
        )
        rows.append({"system": protocol, "seconds": seconds, "risk": risk,
                     "low": low, "high": high})  # fmt: skip
    return pandas.DataFrame(rows)


def _times(first_s: float, last_s: float, per_decade: int) -> list[float]:
    import numpy

    decades = numpy.log10(last_s / first_s)
    count = max(2, round(per_decade * decades))
    return [float(time) for time in numpy.geomspace(first_s, last_s, count)]


# The chain.


def network_delay_s(parameters: Parameters, replicate: int) -> float:
    """Delay that 99 % of the deliveries of blocks do not exceed, on one network, seconds."""
    from consensus_lab.gossip.mining import draw_schedule

    network, seed = build(parameters, replicate)
    schedule = draw_schedule(
        network, n_blocks=parameters.n_blocks, block_interval_s=parameters.block_interval_s,
        block_size_bytes=parameters.block_size_bytes, seed=seed,
    )  # fmt: skip
    race = relay_blocks(parameters, network, schedule, seed=seed)
    return delay_quantile_s(race, 0.99)


def chain_curve(parameters: Parameters, share: float) -> pandas.DataFrame:
    """Risk of trusting a payment after a fixed time, without looking at its confirmations."""
    import pandas

    interval_s = parameters.block_interval_s
    # Close to one half it takes weeks: end at a thousand intervals, whatever the risk is there.
    if theory.reversal_probability_at_time(share, time_intervals=1e3) > RISK_MIN / 2:
        last_s = 1e3 * interval_s
    else:
        last_s = interval_s * theory.time_for_risk_intervals(share, risk=RISK_MIN / 2)
    rows = []
    for seconds in _times(interval_s / 1000, last_s, CHAIN_POINTS_PER_DECADE):
        risk = theory.reversal_probability_at_time(share, time_intervals=seconds / interval_s)
        rows.append({"system": f"nakamoto, attacker {share * 100:g} %", "seconds": seconds,
                     "risk": risk, "low": risk, "high": risk})  # fmt: skip
    return pandas.DataFrame(rows)


def minutes_until(parameters: Parameters, confirmations: int, share: float) -> float:
    """Mean minutes until so many confirmations, while the attacker hides what he finds."""
    return confirmations * parameters.block_interval_s / (1.0 - share) / SECONDS_PER_MINUTE


def confirmation_rows(parameters: Parameters, delay_s: float) -> list[dict[str, Any]]:
    """Risk by attacker and depth: closed forms, bounds, and attacks simulated with delay."""
    from consensus_lab.theory.monte_carlo import races

    delay = delay_s / parameters.block_interval_s
    rng = array_stream(parameters.seed, "attacks")
    rows = []
    for share in parameters.attacker_shares:
        for depth in parameters.confirmations:
            lower, upper = theory.guo_ren_exact_bounds(share, delay_intervals=delay, depth=depth)
            hits = 0
            if share > 0:
                estimate = races.private_attack(
                    share, confirmations=depth, delay_intervals=delay,
                    trials=parameters.n_attacks, rng=rng,
                )  # fmt: skip
                hits = round(estimate.mean * parameters.n_attacks)
            simulated, low, high = proportion_interval(hits, parameters.n_attacks)
            rows.append({
                "attacker_share": share, "confirmations": depth,
                "minutes_mean": minutes_until(parameters, depth, share),
                "risk_exact": theory.double_spend_probability(share, confirmations=depth),
                "risk_whitepaper":
                    theory.whitepaper_double_spend_probability(share, confirmations=depth),
                "risk_with_delay": theory.private_attack_probability(
                    share, confirmations=depth, delay_intervals=delay),
                "bound_lower": lower, "bound_upper": upper, "risk_simulated": simulated,
                "simulated_low": low, "simulated_high": high,
            })  # fmt: skip
    return rows


def enough_rows(parameters: Parameters, delay_s: float) -> list[dict[str, Any]]:
    """Confirmations and minutes for each chosen risk; by counting blocks, and by the clock."""
    delay, rows = delay_s / parameters.block_interval_s, []
    for share in parameters.attacker_shares:
        for risk in parameters.chosen_risks:
            exact = theory.confirmations_needed(share, risk=risk)
            clock = theory.time_for_risk_intervals(share, risk=risk) * parameters.block_interval_s
            rows.append({
                "attacker_share": share, "chosen_risk": risk, "confirmations_exact": exact,
                "confirmations_whitepaper":
                    theory.confirmations_needed(share, risk=risk, formula="whitepaper"),
                "confirmations_with_delay": _needed_with_delay(share, risk, delay),
                "minutes_mean": minutes_until(parameters, exact, share),
                "minutes_by_the_clock": clock / SECONDS_PER_MINUTE,
            })  # fmt: skip
    return rows


def _needed_with_delay(share: float, risk: float, delay: float) -> float:
    """As the closed form finds it; infinity where no number of confirmations is enough.

    nan where it takes more than two weeks of blocks (`private_attack.CONFIRMATIONS_MAX`).
    """
    if share >= theory.tolerated_share_tight(delay):
        return float("inf")
    try:
        return float(
            theory.private_attack_confirmations_needed(share, risk=risk, delay_intervals=delay)
        )
    except ParameterError:
        return float("nan")


def _measures(
    parameters: Parameters, attacks: list[dict[str, Any]], enough: list[dict[str, Any]]
) -> list[Measure]:
    risks = [
        Measure(_name("risk", row["attacker_share"], row["confirmations"]), row["risk_simulated"],
                row["simulated_low"], row["simulated_high"], "", parameters.n_attacks)
        for row in attacks
    ]  # fmt: skip
    depths = [
        Measure(_enough(row["chosen_risk"], row["attacker_share"]),
                depth, depth, depth, "blocks", 1, "closed form")
        for row in enough for depth in (row["confirmations_exact"],)
    ]  # fmt: skip
    return risks + depths


def _name(quantity: str, share: float, confirmations: int) -> str:
    return f"{quantity}_{confirmations}_blocks_attacker_{share * 100:g}_percent"


def _enough(risk: float, share: float) -> str:
    return f"blocks_for_risk_{risk * 100:g}_percent_attacker_{share * 100:g}_percent"


def published(parameters: Parameters, delay_s: float) -> list[Published]:
    """What the papers print for the shares and depths that are asked for, and the closed form."""
    delay = delay_s / parameters.block_interval_s
    known = [
        Published(_name("risk", share, depth), theory.private_attack_probability(
            share, confirmations=depth, delay_intervals=delay), "", "closed form, with delay")
        for share in parameters.attacker_shares for depth in parameters.confirmations
    ]  # fmt: skip
    printed = [
        (row["attacker_share"], row["confirmations"], float(row["probability"]), row["source"])
        for row in data.rows("bitcoin/published/double_spend_whitepaper.csv")
    ]
    printed += [
        (row["attacker_share"], row["confirmations"], float(row["printed"]) / 100,
         row["source"] + ("" if row["quantity"] == "risk" else f", {row['quantity']}"))
        for row in data.rows(PUBLISHED) if row["unit"] == "percent"
    ]  # fmt: skip
    for share, depth, risk, source in printed:
        asked = float(share) in parameters.attacker_shares
        if asked and int(depth) in parameters.confirmations:
            known.append(Published(_name("risk", float(share), int(depth)), risk, "", source))
    for row in data.rows(PUBLISHED):
        if row["quantity"] == "confirmations":
            chosen, attacker = float(row["risk"]), float(row["attacker_share"])
            if chosen in parameters.chosen_risks and attacker in parameters.attacker_shares:
                name, blocks = _enough(chosen, attacker), float(row["printed"])
                known.append(Published(name, blocks, "blocks", row["source"]))
    return known


def in_words(risk: float) -> str:
    """A risk as people say it.

    Examples
    --------
    >>> in_words(0.00059141), in_words(0.1564), in_words(0.75), in_words(9.3e-10)
    ('one in 1,700', 'one in 6.4', '75 %', 'one in 1,100,000,000')
    """
    if risk >= 0.5:
        return f"{risk * 100:.2g} %"
    if risk < 1e-12:
        return "less than one in a million million"
    odds = float(f"{1 / risk:.2g}")
    return f"one in {odds:,.0f}" if odds >= 10 else f"one in {odds:g}"


def _notes(parameters: Parameters, attacks: list[dict[str, Any]]) -> list[str]:
    six = constants.CONFIRMATIONS_FOR_FINALITY
    words = ", ".join(
        f"{row['attacker_share'] * 100:g} %: {in_words(row['risk_with_delay'])}"
        for row in attacks if row["confirmations"] == six
    )  # fmt: skip
    hour = [
        (share, theory.reversal_probability_at_time(share, time_intervals=six))
        for share in parameters.attacker_shares
    ]
    clock = ", ".join(f"{share * 100:g} %: {in_words(risk)}" for share, risk in hour)
    notes = [
        f"As long as {six} intervals by the clock, blocks not counted, the risk is {clock}.",
        "Before a log's entry is committed it may be lost; after that only the loss of a majority "
        f"of disks takes it back. Leader crashes per day: {parameters.leader_crashes_per_day:g}.",
        "Curves of the chain: hidden attack begun at the payment, no delay. Nakamoto's printed "
        "values assume blocks in exactly their mean time, so they are too low.",
    ]
    return [f"{six} confirmations, by the attacker's share: {words}.", *notes] if words else notes


def figure(result: Result) -> Figure:
    """Risk against time, milliseconds to days, all systems on one axis."""
    from consensus_lab.report.finality import risk_figure

    return risk_figure(result)
