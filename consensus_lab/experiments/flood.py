"""What does a flood cost its victims, and what does each protection change?

An attacker tells hundreds of valid payments to himself, announces payments that do not exist, and
sends invalid blocks.  A fee for relaying, a limit of the pool, a limit of the rate and bans are
switched on and off, and memory, bytes and the delay of honest payments are measured.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.floods import (
    HONEST_FEE_RATE,
    NO_LIMIT_BYTES,
    Flooded,
    Nuisance,
    flood_payments,
    send_nothing,
    send_rubbish,
)
from consensus_lab.experiments.intervals import mean_interval
from consensus_lab.experiments.parameters import ParameterSet, parameter
from consensus_lab.experiments.replicates import by_setting
from consensus_lab.experiments.result import Measure, Result
from consensus_lab.nakamoto.block_selection import RESERVED_WEIGHT
from consensus_lab.nakamoto.mempool_entry import MempoolOptions
from consensus_lab.node import ParameterError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RELAY_FEE = MempoolOptions().relay_fee_rate_min
PAYMENTS, ANNOUNCEMENTS, BLOCKS = "payments", "made-up announcements", "invalid blocks"


class Setting(NamedTuple):
    """A flood and the protections against it.

    Attributes
    ----------
    name : str
    fee_rate : int or None
        Of the flood, satoshi per byte; None for no flood.
    has_relay_fee, has_pool_limit : bool
        Protections that are on.
    """

    name: str
    fee_rate: int | None
    has_relay_fee: bool
    has_pool_limit: bool


SETTINGS = (
    Setting("no flood", None, True, True),
    Setting("free, no protection", 0, False, False),
    Setting("free, relay fee", 0, True, False),
    Setting("relay fee paid, no pool limit", 1, True, False),
    Setting("relay fee paid, pool limit", 1, True, True),
    Setting("twice the honest fee, pool limit", 2 * HONEST_FEE_RATE, True, True),
)


class Parameters(ParameterSet):
    """The flood, and what it competes with."""

    flood_per_min: int = parameter(
        6, full=20, unit="count", meaning="payments of the flood per minute", minimum=1,
        maximum=500,
    )  # fmt: skip
    flood_min: int = parameter(
        40, full=120, unit="min", meaning="how long the flood lasts", minimum=10, maximum=1440
    )
    honest_payments: int = parameter(
        10, full=30, unit="count", meaning="honest payments meanwhile, at 10 satoshi per byte",
        minimum=2, maximum=500,
    )  # fmt: skip
    block_weight_max: int = parameter(
        24_000, full=60_000, unit="weight", minimum=2 * RESERVED_WEIGHT, maximum=4_000_000,
        meaning="room in a block, scaled down with the flood",
    )  # fmt: skip
    pool_size_bytes_max: int = parameter(
        12_000, full=60_000, unit="bytes", meaning="limit of a pool where there is one",
        minimum=1000, maximum=NO_LIMIT_BYTES,
    )  # fmt: skip
    n_announcements: int = parameter(
        110, full=300, unit="count", meaning="messages with made-up announcements, ten a second",
        minimum=1, maximum=10_000,
    )  # fmt: skip
    announced_items: int = parameter(
        1000, unit="count", meaning="made-up payments per message", minimum=1, maximum=50_000
    )
    n_rubbish: int = parameter(
        20, full=100, unit="count", meaning="invalid blocks, one a second", minimum=1,
        maximum=10_000,
    )  # fmt: skip
    rubbish_size_bytes: int = parameter(
        100_000, full=1_000_000, unit="bytes", meaning="size of an invalid block", minimum=300,
        maximum=1_000_000,
    )  # fmt: skip
    replicates: int = parameter(
        4, full=6, unit="count", meaning="runs of each flood of payments", minimum=2, maximum=1000
    )

    def check(self) -> None:
        """One block has to have room for the coins that the flood is made of."""
        total = self.flood_per_min * self.flood_min
        if total > COINS_MAX:
            raise ParameterError(
                "flood_per_min", self.flood_per_min, f"at most {COINS_MAX // self.flood_min} "
                f"(times flood_min: {COINS_MAX} payments)",
            )  # fmt: skip


COINS_MAX = 20_000
"""Outputs of the one payment that the flood's coins come from."""


def run(parameters: Parameters, progress: Progress = quiet) -> Result:
    """Flood with and without protection.

    Returns
    -------
    Result
        `frame`: one row per flood and setting: most bytes in one pool, bytes that honest nodes
        sent, minutes until an honest payment is in a block, bytes heard from the flooder (each a
        mean with Student's 95 % interval where runs differ), share of honest payments confirmed,
        payments told, what they cost (satoshi), whether the flooder was banned.
    """
    import pandas

    others = [
        *(partial(_announcements, parameters, flag) for flag in (False, True)),
        *(partial(_rubbish, parameters, flag) for flag in (False, True)),
    ]
    came, interrupted = by_setting(
        [*(partial(flooded, parameters, setting) for setting in SETTINGS), *others],
        [parameters.replicates] * len(SETTINGS) + [1] * len(others), progress=progress,
        what="floods",
    )  # fmt: skip
    rows: list[dict[str, Any]] = []
    measures: list[Measure] = []
    for setting, runs in zip(SETTINGS, came, strict=False):
        row = _payments(parameters, setting, runs)
        rows.append(row)
        for name, unit in (("pool_bytes_max", "bytes"), ("sent_bytes", "bytes"),
                           ("delay_min", "min")):  # fmt: skip
            ends = (row[name], row[f"{name}_low"], row[f"{name}_high"])
            measures.append(Measure(f"{name}, {setting.name}", *ends, unit, len(runs)))
    for (row,) in came[len(SETTINGS) :]:
        rows.append(row)
        quantity = f"heard_bytes, {row['flood']}, {row['setting']}"
        measures.append(Measure(quantity, *[row["heard_bytes"]] * 3, "bytes", 1))
    frame = pandas.DataFrame(rows)
    return Result("flood", parameters, frame, measures, draw=figure, notes=[
        *interrupted,
        "Blocks and pools are scaled down with the flood; what counts is its size beside theirs.",
        "Delays are those of honest payments that were mined; the share of those is beside them.",
        "Announcements and invalid blocks are told at fixed times: their counts are exact.",
    ])  # fmt: skip


def _payments(parameters: Parameters, setting: Setting, runs: list[Flooded]) -> dict[str, Any]:
    honest = parameters.honest_payments
    row: dict[str, Any] = {
        "flood": PAYMENTS, "setting": setting.name,
        "fee_rate_satoshi_per_byte": float("nan") if setting.fee_rate is None
        else float(setting.fee_rate),
    }  # fmt: skip
    means = {
        "pool_bytes_max": [one.pool_bytes_max for one in runs],
        "sent_bytes": [one.sent_bytes for one in runs],
        "delay_min": [sum(one.delays_min) / len(one.delays_min) for one in runs if one.delays_min],
    }
    for name, values in means.items():
        mean, low, high = mean_interval(values)
        row |= {name: mean, f"{name}_low": max(0.0, low), f"{name}_high": high}
    return {
        **row, "confirmed_share": 1.0 - sum(one.unconfirmed for one in runs) / honest / len(runs),
        "payments_told": runs[0].payments_told, "cost_satoshi": runs[0].fees_satoshi,
        "heard_bytes": float("nan"), "is_banned": False,
    }  # fmt: skip


def flooded(parameters: Parameters, setting: Setting, number: int = 0) -> Flooded:
    """One run of a flood of payments."""
    limit = parameters.pool_size_bytes_max if setting.has_pool_limit else NO_LIMIT_BYTES
    return flood_payments(
        fee_rate=setting.fee_rate, relay_fee_rate_min=RELAY_FEE if setting.has_relay_fee else 0,
        pool_bytes_max=limit, per_minute=parameters.flood_per_min, minutes=parameters.flood_min,
        honest_payments=parameters.honest_payments, block_weight_max=parameters.block_weight_max,
        seed=parameters.seed, number=number,
    )  # fmt: skip


def _announcements(parameters: Parameters, has_rate_limit: bool, _: int) -> dict[str, Any]:
    done = send_nothing(
        messages=parameters.n_announcements, items=parameters.announced_items,
        has_rate_limit=has_rate_limit, seed=parameters.seed,
    )  # fmt: skip
    return _nuisance(ANNOUNCEMENTS, "rate limit" if has_rate_limit else "no rate limit", done)


def _rubbish(parameters: Parameters, has_bans: bool, _: int) -> dict[str, Any]:
    done = send_rubbish(
        blocks=parameters.n_rubbish, size_bytes=parameters.rubbish_size_bytes,
        has_bans=has_bans, seed=parameters.seed,
    )  # fmt: skip
    return _nuisance(BLOCKS, "bans" if has_bans else "no bans", done)


def _nuisance(flood: str, setting: str, done: Nuisance) -> dict[str, Any]:
    return {"flood": flood, "setting": setting, **done._asdict()}


def figure(result: Result) -> Figure:
    """How long honest payments wait."""
    from consensus_lab.report.bars import bars

    frame = result.frame[result.frame["flood"] == PAYMENTS]
    calm, worst = frame.iloc[0]["delay_min"], frame.iloc[-1]
    return bars(
        frame["setting"].tolist(), frame["delay_min"].tolist(),
        low=frame["delay_min_low"].tolist(), high=frame["delay_min_high"].tolist(),
        x_label="honest payment: from the wallet into a block (min)",
        title=f"Delay has its price: {worst['cost_satoshi'] / 1e8:.3f} coin for "
        f"{worst['delay_min']:.0f} instead of {calm:.0f} minutes",
        detail=f"{int(worst['payments_told'])} payments in {result.parameters.flood_min} min; "
        f"{result.parameters.replicates} runs each; 95 % intervals",
    )  # fmt: skip


def memory_figure(result: Result) -> Figure:
    """What waits in the pools."""
    from consensus_lab.report.bars import bars

    frame = result.frame[result.frame["flood"] == PAYMENTS]
    by_name = frame.set_index("setting")["pool_bytes_max"] / 1000
    names = [setting.name for setting in SETTINGS]
    kilobytes = [frame[column] / 1000 for column in
                 ("pool_bytes_max", "pool_bytes_max_low", "pool_bytes_max_high")]  # fmt: skip
    return bars(
        frame["setting"].tolist(), kilobytes[0].tolist(), low=kilobytes[1].tolist(),
        high=kilobytes[2].tolist(), x_label="most in one memory pool (kB)",
        title=f"The pool's limit holds: {by_name[names[4]]:.0f} kB instead of "
        f"{by_name[names[3]]:.0f} kB",
        detail=f"limit {result.parameters.pool_size_bytes_max / 1000:g} kB; a free flood is "
        "stopped by the relay fee",
    )  # fmt: skip
