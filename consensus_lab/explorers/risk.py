"""Explorer: the risk that a payment is taken back, over confirmations and minutes.

Rules of this file: risks are closed forms (`theory`), so every picture is computed at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from consensus_lab import constants, theory
from consensus_lab.node import ParameterError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from consensus_lab.explorers.panel import Panel
    from consensus_lab.report.risk_view import RiskPoint

CONFIRMATIONS_SHOWN = 30
OTHER_SHARES = (0.05, 0.1, 0.2, 0.3, 0.4)
ACCEPTED = (0.01, 0.001, 0.0001, 0.00001)
ACCEPTED_USUAL = ACCEPTED[1]
"""0.1 %: the risk for which section 11 of the whitepaper lists confirmations."""

CONFIRMATIONS_SEARCHED_MAX = 2000

CLOSE = 0.01
"""So near the limit the exact distribution has no end, and the attacker as good as wins."""


def risk(attacker_share: float, confirmations: int, delay_intervals: float) -> float:
    """Chance that a private chain overtakes; 1 where it is sure to, or as good as sure.

    Parameters
    ----------
    attacker_share : float
        q, in [0, 1/2).
    confirmations : int
        z.
    delay_intervals : float
        Network delay over block interval, see `theory.private_attack_probability`.

    Examples
    --------
    Rosenfeld's table gives 0.059 % for 10 % and six confirmations:

    >>> round(100 * risk(0.1, 6, 0.0), 6)
    0.059141
    """
    limit = theory.tolerated_share_tight(delay_intervals)
    if attacker_share >= limit:
        return 1.0
    try:
        return theory.private_attack_probability(
            attacker_share, confirmations=confirmations, delay_intervals=delay_intervals
        )
    except ParameterError:
        if limit - attacker_share > CLOSE:
            raise
        return 1.0


def needed(attacker_share: float, accepted: float, delay_intervals: float) -> int | None:
    """Fewest confirmations with at most that risk, or None.

    Examples
    --------
    >>> needed(0.3, 0.001, 0.0), needed(0.45, 1e-9, 0.5)
    (32, None)
    """
    too_few, enough = 0, 1
    while risk(attacker_share, enough, delay_intervals) > accepted:
        too_few, enough = enough, 2 * enough
        if enough > CONFIRMATIONS_SEARCHED_MAX:
            return None
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        if risk(attacker_share, middle, delay_intervals) <= accepted:
            enough = middle
        else:
            too_few = middle
    return enough


def choice(
    attacker_share: float,
    *,
    confirmations: int,
    block_interval_s: float,
    delay_s: float,
    accepted: float,
) -> RiskPoint:
    """What follows from a merchant's choice; see `picture`."""
    from consensus_lab.report.risk_view import RiskPoint

    delay_intervals = delay_s / block_interval_s
    return RiskPoint(
        attacker_share, confirmations, risk(attacker_share, confirmations, delay_intervals),
        theory.confirmation_time(confirmations, block_interval_s=block_interval_s).mean_s,
        theory.confirmation_time_quantile_s(
            confirmations, share=0.9, block_interval_s=block_interval_s
        ),
        accepted, needed(attacker_share, accepted, delay_intervals),
    )  # fmt: skip


def picture(
    attacker_share: float = 0.1,
    *,
    confirmations: int = constants.CONFIRMATIONS_FOR_FINALITY,
    block_interval_s: float = constants.BLOCK_INTERVAL_S,
    delay_s: float = 0.0,
    accepted: float = ACCEPTED_USUAL,
    samples_s: Sequence[float] = (),
) -> Figure:
    """Risk over confirmations, and how long they take.

    Parameters
    ----------
    attacker_share : float
        Of the hash power, in [0, 1/2).
    confirmations : int
        Blocks that the merchant waits for, at least 1.
    block_interval_s : float
        Mean time between blocks, seconds.
    delay_s : float
        Time that a block takes to all honest miners, seconds; the attacker has none.
    accepted : float
        The risk that the merchant accepts.
    samples_s : sequence of float
        Measured waits for so many confirmations, drawn beside their law.
    """
    from consensus_lab.report.risk_view import risk_view

    point = choice(
        attacker_share, confirmations=confirmations, block_interval_s=block_interval_s,
        delay_s=delay_s, accepted=accepted,
    )  # fmt: skip
    counts = range(max(CONFIRMATIONS_SHOWN, confirmations) + 1)
    delay_intervals = delay_s / block_interval_s
    curves = {
        share: [risk(share, z, delay_intervals) for z in counts]
        for share in (*OTHER_SHARES, attacker_share)
    }
    end_s = theory.confirmation_time_quantile_s(
        confirmations, share=0.995, block_interval_s=block_interval_s
    )
    waits_s = [end_s * place / 200 for place in range(201)]
    within = [
        theory.confirmed_within_probability(
            confirmations, time_s=at, block_interval_s=block_interval_s
        )
        for at in waits_s
    ]
    how = f", blocks reach honest miners {delay_s:g} s late" if delay_s else ", no delay"
    return risk_view(
        point, curve=curves[attacker_share], waits_s=waits_s, within=within, samples_s=samples_s,
        others={share: curves[share] for share in OTHER_SHARES if share != attacker_share},
        detail=f"private chain against honest blocks every {block_interval_s:g} s{how}; "
        "exact (Rosenfeld 2014; with delay as in Dembo et al. 2020)",
    )  # fmt: skip


def explore_risk(*, samples_s: Sequence[float] = ()) -> Panel:
    """Sliders for the attacker, the confirmations, the interval, the delay and the accepted risk.

    Parameters
    ----------
    samples_s : sequence of float
        Measured waits for six blocks of ten minutes; drawn where they apply.

    Returns
    -------
    Panel
        For the last line of a cell.
    """
    import ipywidgets

    from consensus_lab.explorers.panel import Panel, Screen
    from consensus_lab.report.risk_view import risk_text

    screen = Screen()
    look: dict[str, Any] = {
        "continuous_update": False, "layout": {"width": "27em"},
        "style": {"description_width": "9em"},
    }  # fmt: skip
    controls: dict[str, Any] = {
        "attacker_share": ipywidgets.FloatSlider(
            value=0.1, min=0.01, max=0.49, step=0.01, readout_format=".0%",
            description="attacker's share", **look,
        ),
        "confirmations": ipywidgets.IntSlider(
            value=constants.CONFIRMATIONS_FOR_FINALITY, min=1, max=CONFIRMATIONS_SHOWN,
            description="confirmations", **look,
        ),
        "block_interval_s": ipywidgets.SelectionSlider(
            options=[(f"{one:g} s", one) for one in (12.0, 30.0, 60.0, 150.0, 300.0, 600.0)],
            value=constants.BLOCK_INTERVAL_S, description="block interval", **look,
        ),
        "delay_s": ipywidgets.FloatSlider(
            value=0.0, min=0.0, max=15.0, step=0.5, description="network delay (s)", **look,
        ),
        "accepted": ipywidgets.SelectionSlider(
            options=[(risk_text(one), one) for one in ACCEPTED], value=ACCEPTED_USUAL,
            description="accepted risk", **look,
        ),
    }  # fmt: skip

    def still() -> Figure:
        chosen = {name: control.value for name, control in controls.items()}
        usual = constants.CONFIRMATIONS_FOR_FINALITY, constants.BLOCK_INTERVAL_S
        measured = usual == (chosen["confirmations"], chosen["block_interval_s"])
        return picture(**chosen, samples_s=samples_s if measured else ())

    def show(_: Any = None) -> None:
        screen.show(still())

    for control in controls.values():
        control.observe(show, names="value")
    show()
    box = ipywidgets.HBox(list(controls.values()))
    box.layout.flex_flow = "row wrap"
    return Panel(ipywidgets.VBox([box, screen.picture]), still, screen=screen, **controls)
