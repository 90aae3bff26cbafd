"""How often does a merchant lose goods and money, for z confirmations and an attacker's share?

The attacker pays, and mines in private a history without the payment; when the goods are here he
publishes it.  A hundred thousand races per point are run block by block; some are played in full,
with real payments and blocks told from node to node.  Without confirmations no hash power is
needed: whoever tells the merchant one thing and the miners another wins most of the time.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from consensus_lab import constants, data
from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.double_spends import (
    Attack,
    expected_share,
    play_finney,
    play_private_chain,
    play_race,
    tree_frame,
)
from consensus_lab.experiments.intervals import mean_interval, proportion_interval
from consensus_lab.experiments.parameters import ParameterSet, parameter
from consensus_lab.experiments.replicates import by_setting
from consensus_lab.experiments.result import Measure, Published, Result
from consensus_lab.node import ParameterError
from consensus_lab.sim.streams import array_stream
from consensus_lab.theory.double_spend import (
    double_spend_probability,
    double_spend_probability_giving_up,
    whitepaper_double_spend_probability,
)
from consensus_lab.theory.finney import finney_attack_probability

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CHAIN, MESSAGES, FINNEY, RACE = "private chain", "private chain, played", "Finney", "race"
ATTEMPTS_MAX = 1000


class Parameters(ParameterSet):
    """The grid of races, and what is played in full."""

    attacker_shares: list[float] = parameter(
        [0.1, 0.3], full=[0.05, 0.1, 0.2, 0.3, 0.4], unit="share",
        meaning="attacker's shares of the hash power", minimum=0.001, maximum=0.499,
    )  # fmt: skip
    confirmations: list[int] = parameter(
        [1, 2, 3, 4, 5, 6, 8, 10], unit="count", meaning="confirmations that the merchant awaits",
        minimum=1, maximum=1000,
    )  # fmt: skip
    n_races: int = parameter(
        100_000, full=1_000_000, unit="count", meaning="races per point, block by block",
        minimum=1, maximum=10**8,
    )  # fmt: skip
    played_share: float = parameter(
        0.3, unit="share", meaning="attacker's share in the attacks that are played in full",
        minimum=0.01, maximum=0.499,
    )  # fmt: skip
    played_confirmations: int = parameter(
        2, unit="count", meaning="confirmations in the attacks that are played in full",
        minimum=1, maximum=20,
    )  # fmt: skip
    n_played: int = parameter(
        20, full=200, unit="count", meaning="attacks of each kind that are played in full",
        minimum=1, maximum=100_000,
    )  # fmt: skip
    give_up_deficit: int = parameter(
        8, full=20, unit="count", meaning="blocks behind at which a played attack is given up",
        minimum=1, maximum=100,
    )  # fmt: skip
    hold_s: float = parameter(
        120.0, unit="s", meaning="time from payment to goods in the Finney attack",
        minimum=1.0, maximum=86_400.0,
    )  # fmt: skip
    n_nodes: int = parameter(
        24, full=60, unit="count", meaning="honest nodes in the race attack", minimum=10,
        maximum=500,
    )  # fmt: skip
    told_peers: list[int] = parameter(
        [1, 4, 8], unit="count", meaning="peers that hear of the second spend in the race attack",
        minimum=1, maximum=100,
    )  # fmt: skip

    def check(self) -> None:
        """A played attack has to last until the confirmations are there."""
        if self.give_up_deficit < self.played_confirmations:
            allowed = f"at least played_confirmations ({self.played_confirmations})"
            raise ParameterError("give_up_deficit", self.give_up_deficit, allowed)
        if max(self.told_peers) > self.n_nodes - 1:
            allowed = f"at most n_nodes - 1 ({self.n_nodes - 1})"
            raise ParameterError("told_peers", self.told_peers, allowed)


def run(parameters: Parameters, progress: Progress = quiet) -> Result:
    """Race, play, and compare with the closed forms.

    Returns
    -------
    Result
        `frame`: one row per kind of attack and setting: share, confirmations, peers told of the
        second spend, attempts, successes, success with its 95 % interval (Wilson), the exact
        probability where there is a closed form, the whitepaper's estimate, and the share of
        merchants whose peers told them of the second spend within seconds.
    """
    import pandas

    grid = [(q, z) for q in parameters.attacker_shares for z in parameters.confirmations]
    told, n = parameters.told_peers, parameters.n_played
    came, interrupted = by_setting(
        [*(partial(_raced, parameters, *one) for one in grid), partial(_played, parameters),
         partial(_finney, parameters), *(partial(_race, parameters, count) for count in told)],
        [1] * len(grid) + [n] * (2 + len(told)), progress=progress, what="attacks",
    )  # fmt: skip
    raced, (played, finney, *races) = came[: len(grid)], came[len(grid) :]
    rows = [
        *(row for (row,) in raced),
        _played_row(parameters, played),
        _finney_row(parameters, finney),
        *(_race_row(*one) for one in zip(told, races, strict=True)),
    ]
    frame = pandas.DataFrame(rows)
    measures = [
        Measure(_quantity(row), row["success"], row["low"], row["high"], "share", row["attempts"])
        for row in rows
    ]
    measures += [
        Measure(f"warned_race_{row['told_peers']}_peers", *row["warned"], "share", row["attempts"])
        for row in rows
        if row["attack"] == RACE
    ]
    frame["warned"] = [warned[0] for warned in frame["warned"]]
    return Result("double-spend", parameters, frame, measures, published(parameters), figure,
                  notes=[
        *interrupted,
        "Drawing level counts as success, or one block is mined in advance: both come to the same.",
        "The whitepaper takes the attacker's blocks as Poisson distributed; the exact law is "
        "negative binomial, and its risk is higher where it is small.",
        "In the race no hash power is needed: success is the chance that the next block's miner "
        "heard of the second spend first.",
    ])  # fmt: skip


def _row(kind: str, successes: int, attempts: int, **columns: Any) -> dict[str, Any]:
    success, low, high = proportion_interval(successes, attempts)
    row = {
        "attack": kind, "attacker_share": 0.0, "confirmations": 0, "told_peers": 0,
        "attempts": attempts, "successes": successes, "success": success, "low": low,
        "high": high, "exact": float("nan"), "whitepaper": float("nan"),
        "warned": (float("nan"),) * 3,
    }  # fmt: skip
    return {**row, **columns}


def _quantity(row: dict[str, Any]) -> str:
    share, z = f"q{100 * row['attacker_share']:g}", f"z{row['confirmations']}"
    return {
        CHAIN: f"success_{share}_{z}", MESSAGES: f"success_played_{share}_{z}",
        FINNEY: "success_finney", RACE: f"success_race_{row['told_peers']}_peers",
    }[row["attack"]]  # fmt: skip


def _raced(parameters: Parameters, share: float, z: int, _: int) -> dict[str, Any]:
    """Many races of one setting, block by block."""
    from consensus_lab.theory.monte_carlo import races

    n = parameters.n_races
    rng = array_stream(parameters.seed, "experiment", "double-spend", str(share), z)
    estimate = races.double_spend(share, confirmations=z, trials=n, rng=rng)
    return _row(
        CHAIN, round(estimate.mean * n), n, attacker_share=share, confirmations=z,
        exact=double_spend_probability(share, confirmations=z),
        whitepaper=whitepaper_double_spend_probability(share, confirmations=z),
    )  # fmt: skip


def _played(parameters: Parameters, number: int) -> bool:
    return play(parameters, number).is_lost


def _played_row(parameters: Parameters, lost: list[bool]) -> dict[str, Any]:
    share, z = parameters.played_share, parameters.played_confirmations
    # Gives up one block behind the deficit of the closed form: one block was mined in advance.
    exact = double_spend_probability_giving_up(
        share, confirmations=z, give_up_deficit=parameters.give_up_deficit + 1
    )
    return _row(
        MESSAGES, sum(lost), len(lost), attacker_share=share, confirmations=z, exact=exact,
        whitepaper=whitepaper_double_spend_probability(share, confirmations=z),
    )  # fmt: skip


def play(parameters: Parameters, number: int = 0) -> Attack:
    """One private-chain attack with real payments and blocks; each number is another one."""
    return play_private_chain(
        parameters.played_share, confirmations_awaited=parameters.played_confirmations,
        give_up_deficit=parameters.give_up_deficit, seed=parameters.seed, number=number,
    )  # fmt: skip


def loss(parameters: Parameters) -> Attack:
    """The first played attack in which the merchant loses."""
    for number in range(ATTEMPTS_MAX):
        attack = play(parameters, number)
        if attack.is_lost:
            return attack
    raise ParameterError("played_share", parameters.played_share, "large enough to succeed")


def _finney(parameters: Parameters, number: int) -> bool:
    """A block in the pocket: lost when another one comes before the goods."""
    return play_finney(
        parameters.played_share, hold_s=parameters.hold_s, seed=parameters.seed, number=number
    ).is_lost


def _finney_row(parameters: Parameters, lost: list[bool]) -> dict[str, Any]:
    share = parameters.played_share
    hold = parameters.hold_s / constants.BLOCK_INTERVAL_S
    exact = finney_attack_probability(share, hold_intervals=hold)
    return _row(FINNEY, sum(lost), len(lost), attacker_share=share, exact=exact)


def _race(parameters: Parameters, told: int, number: int) -> tuple[bool, bool, float]:
    """No hash power at all: who told whom first.  Lost, warned, and the chance to lose."""
    race = play_race(parameters.n_nodes, told_peers=told, seed=parameters.seed, number=number)
    return race.is_lost, race.is_warned, expected_share(race)


def _race_row(told: int, races: list[tuple[bool, bool, float]]) -> dict[str, Any]:
    lost, warned, chances = zip(*races, strict=True)
    return _row(
        RACE, sum(lost), len(races), told_peers=told, exact=mean_interval(chances)[0],
        warned=proportion_interval(sum(warned), len(races)),
    )  # fmt: skip


def published(parameters: Parameters) -> list[Published]:
    """What the whitepaper's section 11 prints for the same shares and confirmations."""
    wanted = {
        (round(q, 9), z) for q in parameters.attacker_shares for z in parameters.confirmations
    }
    return [
        Published(
            f"success_q{100 * share:g}_z{z}", float(row["probability"]), "share", row["source"]
        )
        for row in data.rows("bitcoin/published/double_spend_whitepaper.csv")
        if (share := float(row["attacker_share"]), z := int(row["confirmations"])) in wanted
    ]  # fmt: skip


def figure(result: Result) -> Figure:
    """Success over confirmations, one curve per share, beside both closed forms."""
    from consensus_lab.report.curves import curve_with_band

    frame = result.frame[result.frame["attack"] == CHAIN]
    frame = frame.assign(share=[f"{share:.0%} of the hash power" if share >= 0.01
                                else f"{share:.1%}" for share in frame["attacker_share"]])
    known = [(z, exact, "exact (Rosenfeld; Grunspan, Perez-Marco)")
             for z, exact in zip(frame["confirmations"], frame["exact"], strict=True)]
    known += [(z, estimate, "whitepaper's estimate")
              for z, estimate in zip(frame["confirmations"], frame["whitepaper"], strict=True)]
    worst = frame.loc[frame["attacker_share"].idxmax()]
    last = frame[frame["attacker_share"] == worst["attacker_share"]].iloc[-1]
    return curve_with_band(
        frame, x="confirmations", y="success", low="low", high="high", group="share",
        x_label="confirmations awaited (count)", y_label="merchants who lose (share)",
        is_log_y=True, is_share=False, published=known,
        title=f"After {last['confirmations']} confirmations {last['attacker_share']:.0%} of the "
        f"hash power still wins {last['success']:.2%}",
        detail=f"{result.parameters.n_races:,} races per point; bands: 95 % intervals",
    )  # fmt: skip


def tree_figure(attack: Attack) -> Figure:
    """The merchant's block tree at the end, with both payments in it."""
    from consensus_lab.report.chains import Reorganisation, block_tree

    frame, old_tip, new_tip = tree_frame(attack)
    change = [Reorganisation(old_tip, new_tip, "published")] if old_tip else []
    outcome = "lost goods and money" if attack.is_lost else "keeps the money"
    return block_tree(
        frame, label="label", reorganisations=change,
        title=f"The merchant {outcome}",
        detail="H: honest blocks, A: the attacker's; the goods went out after "
        f"{attack.confirmations_awaited} confirmations of 'pay'",
    )  # fmt: skip
