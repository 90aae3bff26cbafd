"""What does a node believe whose peers are all one person's, and how likely is that?

A node draws its outbound connections from a book that anybody may write into.  The chance that
all of them are the attacker's is measured against his share of the book, by the discovery protocol
itself.  Then a merchant who is cut off in this way is paid on a chain that nobody else has.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from consensus_lab import constants
from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.eclipses import (
    FIRST_GATEKEEPER,
    HONEST,
    START_HEIGHT,
    VICTIM,
    Deception,
    deceive,
    eclipse_probability,
    fill_book,
)
from consensus_lab.experiments.full_network import tree_rows
from consensus_lab.experiments.intervals import mean_interval, proportion_interval
from consensus_lab.experiments.parameters import ParameterSet, parameter
from consensus_lab.experiments.replicates import by_setting
from consensus_lab.experiments.result import Measure, Result
from consensus_lab.nakamoto.discovery import OUTBOUND_MAX
from consensus_lab.node import ParameterError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BOOK, DECEIVED = "all peers are the attacker's", "merchant loses"
ADDRESSES_MAX = 70_000


class Parameters(ParameterSet):
    """The victim's book, and what is done to an eclipsed merchant."""

    honest_addresses: int = parameter(
        40, full=200, unit="count", meaning="honest addresses that the victim knows", minimum=1,
        maximum=1000,
    )  # fmt: skip
    attacker_addresses: list[int] = parameter(
        [10, 40, 160, 640], full=[50, 100, 200, 400, 800, 1600], unit="count",
        meaning="addresses that the attacker writes into its book", minimum=0,
        maximum=ADDRESSES_MAX,
    )  # fmt: skip
    outbound_connections: list[int] = parameter(
        [1, 2, OUTBOUND_MAX], unit="count", meaning="connections that a victim opens", minimum=1,
        maximum=100,
    )  # fmt: skip
    n_victims: int = parameter(
        40, full=200, unit="count", meaning="victims per setting", minimum=1, maximum=10**6
    )
    attacker_share: float = parameter(
        0.2, unit="share", meaning="attacker's share of the hash power", minimum=0.01,
        maximum=0.499,
    )  # fmt: skip
    confirmations: int = parameter(
        3, unit="count", meaning="confirmations that the merchant awaits", minimum=1, maximum=50
    )
    honest_peers: list[int] = parameter(
        [0, 1], unit="count", meaning="honest peers that the merchant has all the same",
        minimum=0, maximum=len(HONEST),
    )  # fmt: skip
    n_played: int = parameter(
        10, full=100, unit="count", meaning="merchants per number of honest peers", minimum=2,
        maximum=100_000,
    )  # fmt: skip

    def check(self) -> None:
        """A victim has to find enough addresses for all its connections."""
        if max(self.outbound_connections) > self.honest_addresses:
            allowed = f"at most honest_addresses ({self.honest_addresses})"
            raise ParameterError("outbound_connections", self.outbound_connections, allowed)


def run(parameters: Parameters, progress: Progress = quiet) -> Result:
    """Fill books, and deceive merchants.

    Returns
    -------
    Result
        `frame`: one row per question and setting: outbound connections, addresses of the
        attacker and his share of the book, honest peers, attempts, success with its 95 % interval
        (Wilson), the exact chance and the share to the power of the connections; for merchants
        the minutes until they accept, with Student's interval, and the expected ones.
    """
    import pandas

    settings = [(out, a) for out in parameters.outbound_connections
                for a in parameters.attacker_addresses]  # fmt: skip
    peers = parameters.honest_peers
    came, interrupted = by_setting(
        [*(partial(_victim, parameters, *one) for one in settings),
         *(partial(_merchant, parameters, count) for count in peers)],
        [parameters.n_victims] * len(settings) + [parameters.n_played] * len(peers),
        progress=progress, what="victims",
    )  # fmt: skip
    rows = [_book(parameters, *one, took) for one, took in zip(settings, came, strict=False)]
    rows += [
        _merchants(parameters, *one) for one in zip(peers, came[len(settings) :], strict=True)
    ]
    measures = []
    for row in rows:
        name = f"eclipsed_{row['outbound']}_outbound_{row['attacker_addresses']}_addresses"
        if row["what"] == DECEIVED:
            name = f"merchant_loses_{row['honest_peers']}_honest_peers"
        measures.append(Measure(name, row["success"], row["low"], row["high"], "share",
                                row["attempts"]))  # fmt: skip
        if row["what"] == DECEIVED and row["honest_peers"] == 0:
            measures.append(Measure("minutes_to_accept", row["minutes"], row["minutes_low"],
                                    row["minutes_high"], "min", row["attempts"]))  # fmt: skip
    return Result("eclipse", parameters, pandas.DataFrame(rows), measures, draw=figure, notes=[
        *interrupted,
        "The victim has no honest inbound peers: its slots are taken, or nobody can reach it.",
        "Bitcoin Core does more than is modelled here: it keeps addresses that worked apart, sorts "
        "them by network, tries old peers first and checks for a silent chain.",
    ])  # fmt: skip


def _row(what: str, hits: int, attempts: int, **columns: Any) -> dict[str, Any]:
    success, low, high = proportion_interval(hits, attempts)
    empty = dict.fromkeys(
        ("book_share", "exact", "power", "minutes", "minutes_low", "minutes_high",
         "minutes_expected"),
        float("nan"),
    )  # fmt: skip
    counts = dict.fromkeys(("outbound", "attacker_addresses", "honest_peers"), 0)
    return {"what": what, **counts, "attempts": attempts, "success": success, "low": low,
            "high": high, **empty, **columns}  # fmt: skip


def _victim(
    parameters: Parameters, outbound: int, attacker: int, number: int
) -> tuple[int, int, bool]:
    """Addresses of the attacker and of others in the book, and is the eclipse complete?"""
    victim = fill_book(
        parameters.honest_addresses, attacker, outbound=outbound, seed=parameters.seed,
        number=number,
    )  # fmt: skip
    return victim.book_attacker, victim.book_honest, victim.is_complete


def _book(
    parameters: Parameters, outbound: int, attacker: int, victims: list[tuple[int, int, bool]]
) -> dict[str, Any]:
    honest = parameters.honest_addresses
    his, others, complete = (sum(column) for column in zip(*victims, strict=True))
    share = his / (his + others)
    return _row(
        BOOK, complete, len(victims), outbound=outbound, attacker_addresses=attacker,
        book_share=share,
        exact=eclipse_probability(honest, attacker, outbound=outbound), power=share**outbound,
    )  # fmt: skip


def _merchant(parameters: Parameters, honest_peers: int, number: int) -> tuple[bool, bool, float]:
    """Did the merchant lose, was it deceived, and how long did it wait (min)?"""
    played = deceived(parameters, honest_peers, number)
    return played.is_lost, played.is_deceived, played.waited_s / 60.0


def _merchants(
    parameters: Parameters, honest_peers: int, played: list[tuple[bool, bool, float]]
) -> dict[str, Any]:
    waits_min = [wait_min for _, is_deceived, wait_min in played if is_deceived]
    minutes = (float("nan"),) * 3
    if len(waits_min) > 1:
        mean, low, high = mean_interval(waits_min)
        minutes = mean, max(0.0, low), high
    expected = parameters.confirmations * constants.BLOCK_INTERVAL_S / parameters.attacker_share
    return _row(
        DECEIVED, sum(is_lost for is_lost, *_ in played), len(played), outbound=OUTBOUND_MAX,
        honest_peers=honest_peers, minutes=minutes[0], minutes_low=minutes[1],
        minutes_high=minutes[2],
        minutes_expected=float("nan") if honest_peers else expected / 60.0,
    )  # fmt: skip


def deceived(parameters: Parameters, honest_peers: int, number: int = 0) -> Deception:
    """One merchant; each number is another attack."""
    return deceive(
        parameters.attacker_share, confirmations_awaited=parameters.confirmations,
        honest_peers=honest_peers, seed=parameters.seed, number=number,
    )  # fmt: skip


def figure(result: Result) -> Figure:
    """Chance of an eclipse over the attacker's share of the book."""
    from consensus_lab.report.curves import curve_with_band

    frame = result.frame[result.frame["what"] == BOOK]
    frame = frame.assign(who=[f"{count} outbound" for count in frame["outbound"]])
    known = [(share, exact, "exact: draws without replacement") for share, exact in
             zip(frame["book_share"], frame["exact"], strict=True)]  # fmt: skip
    most = frame[frame["outbound"] == frame["outbound"].max()].iloc[-1]
    return curve_with_band(
        frame, x="book_share", y="success", low="low", high="high", group="who",
        x_label="attacker's share of the victim's address book",
        y_label="victims without an honest peer (share)", is_share=True, published=known,
        title=f"{most['outbound']} outbound connections: with {most['book_share']:.0%} of the book "
        f"{most['success']:.0%} are eclipsed",
        detail=f"{result.parameters.honest_addresses} honest addresses; "
        f"{result.parameters.n_victims} victims per point; bands: 95 % intervals",
    )  # fmt: skip


def tree_figure(attack: Deception) -> Figure:
    """The merchant's block tree after the door was opened."""
    import pandas

    from consensus_lab.report.chains import block_tree

    names = {**dict.fromkeys(HONEST, "H"), FIRST_GATEKEEPER: "A"}
    marks = {attack.conflict.payment.txid: "pay", attack.conflict.second.txid: "back"}
    rows = tree_rows(attack.network.chain(VICTIM), names, marks=marks, from_height=START_HEIGHT)
    return block_tree(
        pandas.DataFrame(rows), label="label",
        title="The merchant lost goods and money" if attack.is_lost else "Nobody was deceived",
        detail="A: blocks shown to the merchant alone; H: what the network had meanwhile, "
        "seen once the door was open",
    )  # fmt: skip
