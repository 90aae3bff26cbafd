"""What changes when one miner has more than half of the hash power?

A double spend then always succeeds, whatever the merchant waits for, but it may take a while; and
a payment that the miner refuses never stays on the chain.  The first is raced block by block with
a limit of time, the second played among full nodes with real payments.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import networkx

from consensus_lab import constants
from consensus_lab.adversaries.censor import Censor
from consensus_lab.experiments import Progress, quiet
from consensus_lab.experiments.full_network import (
    FullNetwork,
    blocks_by_miner,
    confirmations,
    new_wallet,
    tree_rows,
)
from consensus_lab.experiments.intervals import mean_interval, proportion_interval
from consensus_lab.experiments.parameters import ParameterSet, parameter
from consensus_lab.experiments.replicates import by_setting
from consensus_lab.experiments.result import Measure, Result
from consensus_lab.nakamoto.full_node_messages import Pay
from consensus_lab.nakamoto.subsidy import SATOSHI_PER_COIN
from consensus_lab.sim.streams import array_stream, derive_seed
from consensus_lab.theory import censorship_probability, double_spend_within_probability
from consensus_lab.theory.double_spend import double_spend_probability

if TYPE_CHECKING:
    import numpy
    import pandas
    from matplotlib.figure import Figure

DOUBLE_SPEND, CENSORSHIP = "double spend", "censorship"
PAYEE, PAYER, MINERS, CENSOR = 0, 1, (2, 3), 4
PRICE_SATOSHI = 10 * SATOSHI_PER_COIN
START_HEIGHT = 2
RACES_AT_ONCE = 2000


class Parameters(ParameterSet):
    """Shares around one half, limits of time, and what is played."""

    attacker_shares: list[float] = parameter(
        [0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7],
        full=[0.3, 0.35, 0.4, 0.42, 0.44, 0.46, 0.48, 0.5, 0.52, 0.54, 0.56, 0.58, 0.6, 0.65, 0.7],
        unit="share", meaning="attacker's shares of the hash power", minimum=0.01, maximum=0.99,
    )  # fmt: skip
    confirmations: int = parameter(
        6, unit="count", meaning="confirmations that the merchant awaits", minimum=1, maximum=100
    )
    limits_blocks: list[int] = parameter(
        [24, 144, 1008], unit="count",
        meaning="limits of time, in blocks of all: 4 hours, a day, a week", minimum=1,
        maximum=10_000,
    )  # fmt: skip
    n_races: int = parameter(
        1000, full=100_000, unit="count", meaning="races per share", minimum=1, maximum=10**7
    )
    censor_shares: list[float] = parameter(
        [0.3, 0.45, 0.6, 0.75], unit="share", meaning="a censor's shares of the hash power",
        minimum=0.01, maximum=0.99,
    )  # fmt: skip
    give_up_deficit: int = parameter(
        12, unit="count", meaning="blocks behind at which a censor puts up with a payment",
        minimum=1, maximum=100,
    )  # fmt: skip
    censored_blocks: int = parameter(
        40, full=100, unit="count", minimum=12, maximum=10_000,
        meaning="blocks of all after the payment; the censor's last branch is played to its end",
    )  # fmt: skip
    n_played: int = parameter(
        6, full=40, unit="count", meaning="runs per share of a censor", minimum=1, maximum=10_000
    )


class Censored(NamedTuple):
    """A run with a censor, when no branch of its is under way.

    Attributes
    ----------
    network : FullNetwork
        As it stands at the end.
    payment : bytes
        What is refused.
    confirmations : int
        Of the payment.
    outcomes : list of bool
        Of the censor's branches, in order: published, or given up.
    chain_share : float
        The censor's, of the blocks on the chain.
    depth_blocks : int
        Most blocks that were taken back at once.
    """

    network: FullNetwork
    payment: bytes
    confirmations: int
    outcomes: list[bool]
    chain_share: float
    depth_blocks: int


def run(parameters: Parameters, progress: Progress = quiet) -> Result:
    """Race with a limit, and censor a payment.

    Returns
    -------
    Result
        `frame`: one row per attack, share and limit: attempts, success with its 95 % interval
        (Wilson), the exact probability with and without the limit, and for a censor: runs in which
        the payment was kept out to the end, its share of the chain's blocks (mean and Student
        interval over runs), most blocks that it took back at once.
    """
    import pandas

    shares, censors = parameters.attacker_shares, parameters.censor_shares
    came, interrupted = by_setting(
        [*(partial(_races, parameters, share) for share in shares),
         *(partial(_censored, parameters, share) for share in censors)],
        [1] * len(shares) + [parameters.n_played] * len(censors), progress=progress, what="attacks",
    )  # fmt: skip
    rows = [row for (raced,) in came[: len(shares)] for row in raced]
    rows += [
        _censorship(parameters, *one) for one in zip(censors, came[len(shares) :], strict=True)
    ]
    measures = []
    for row in rows:
        name, share = row["attack"].replace(" ", "_"), f"q{100 * row['attacker_share']:g}"
        limit = f"_{row['limit_blocks']}_blocks" if row["attack"] == DOUBLE_SPEND else ""
        measures.append(Measure(f"{name}_{share}{limit}", row["success"], row["low"], row["high"],
                                "share", row["attempts"]))  # fmt: skip
        if row["attack"] == CENSORSHIP:
            ends = (row["chain_share"], row["chain_share_low"], row["chain_share_high"])
            measures.append(Measure(f"censors_chain_share_{share}", *ends, "share",
                                    row["attempts"]))  # fmt: skip
            kept = proportion_interval(round(row["kept_out"] * row["attempts"]), row["attempts"])
            measures.append(Measure(f"kept_out_{share}", *kept, "share", row["attempts"]))
    return Result("majority-attack", parameters, pandas.DataFrame(rows), measures, draw=figure,
                  notes=[
        *interrupted,
        "Without a limit of time every share from one half on succeeds; close to one half that may "
        "take very long.",
        "A censor's success is that of its first branch: it overtakes the first block with the "
        "payment before it has to give up.",
    ])  # fmt: skip


def _races(parameters: Parameters, share: float, _: int) -> list[dict[str, Any]]:
    """One walk per race, long enough for the longest limit; all limits look at the same walks."""
    import numpy

    z, n = parameters.confirmations, parameters.n_races
    rng = array_stream(parameters.seed, "experiment", "majority", str(share))
    ends = numpy.concatenate([
        success_blocks(share, z, max(parameters.limits_blocks), min(RACES_AT_ONCE, n - begin), rng)
        for begin in range(0, n, RACES_AT_ONCE)
    ])  # fmt: skip
    rows = []
    for limit in sorted(set(parameters.limits_blocks)):
        success, low, high = proportion_interval(int((ends <= limit).sum()), n)
        rows.append(_row(
            DOUBLE_SPEND, share, limit, n, success, low, high,
            exact=double_spend_within_probability(share, confirmations=z, blocks=limit),
            unlimited=double_spend_probability(share, confirmations=z),
        ))  # fmt: skip
    return rows


def success_blocks(
    share: float, z: int, limit: int, n: int, rng: numpy.random.Generator
) -> numpy.ndarray:
    """After how many blocks of all each of n races is won; `limit` + 1 for those that are not."""
    import numpy

    by_attacker = rng.random((n, limit)) < share
    attacker = numpy.cumsum(by_attacker, axis=1, dtype=numpy.int32)
    honest = numpy.arange(1, limit + 1, dtype=numpy.int32) - attacker
    is_won = (honest >= z) & (attacker >= honest)
    first = is_won.argmax(axis=1) + 1
    return numpy.where(is_won.any(axis=1), first, limit + 1)


def _row(
    attack: str, share: float, limit: int, attempts: int, success: float, low: float, high: float,
    **columns: float,
) -> dict[str, Any]:  # fmt: skip
    empty = dict.fromkeys(
        ("exact", "unlimited", "kept_out", "chain_share", "chain_share_low", "chain_share_high",
         "depth_blocks_max"),
        float("nan"),
    )  # fmt: skip
    return {
        "attack": attack, "attacker_share": share, "limit_blocks": limit, "attempts": attempts,
        "success": success, "low": low, "high": high, **empty, **columns,
    }  # fmt: skip


def _censored(parameters: Parameters, share: float, number: int) -> tuple[bool, bool, float, int]:
    """Is the first branch a success, are all; the censor's share of the chain, blocks undone."""
    run = play(parameters, share=share, number=number)
    return run.outcomes[0], all(run.outcomes), run.chain_share, run.depth_blocks


def _censorship(
    parameters: Parameters, share: float, runs: list[tuple[bool, bool, float, int]]
) -> dict[str, Any]:
    n = len(runs)
    first, kept_out, chain_shares, depths = zip(*runs, strict=True)
    success, low, high = proportion_interval(sum(first), n)
    mean, mean_low, mean_high = mean_interval(chain_shares)
    exact = censorship_probability(share, give_up_deficit=parameters.give_up_deficit)
    return _row(
        CENSORSHIP, share, parameters.censored_blocks, n, success, low, high, exact=exact,
        unlimited=exact, kept_out=sum(kept_out) / n, chain_share=mean,
        chain_share_low=max(0.0, mean_low), chain_share_high=min(1.0, mean_high),
        depth_blocks_max=max(depths),
    )  # fmt: skip


def play(parameters: Parameters, *, share: float, number: int = 0) -> Censored:
    """A payment that a miner with that share refuses, and all blocks after it.

    Parameters
    ----------
    parameters : Parameters
        Blocks, when to give up, seed.
    share : float
        The censor's share of the hash power.
    number : int
        Each number is another run.
    """
    seed = derive_seed(parameters.seed, "experiment", "censor", number)
    refused = new_wallet(seed, PAYEE).scripts
    honest = {miner: (1.0 - share) / len(MINERS) for miner in MINERS}
    network = FullNetwork(
        networkx.complete_graph(CENSOR + 1), {**honest, CENSOR: share}, seed=seed,
        disguises={CENSOR: lambda node: Censor(
            node, refused_scripts=refused, give_up_deficit=parameters.give_up_deficit
        )},
    )  # fmt: skip
    network.find(PAYER)
    network.find(MINERS[0])
    network.engine.submit(PAYER, Pay("payment", network.address(PAYEE), PRICE_SATOSHI, 10))
    network.settle()
    (payment,) = network.node(PAYER).ledger.payments
    censor: Any = network.engine.nodes[CENSOR]
    mined = 0
    while mined < parameters.censored_blocks or censor.branch or not censor.outcomes:
        network.mine_next()
        mined += 1
    chain = network.chain(PAYEE)
    found = blocks_by_miner(chain, [CENSOR], above=START_HEIGHT)
    return Censored(
        network, payment, confirmations(chain, payment), censor.outcomes,
        found / (chain.height - START_HEIGHT), chain.statistics.reorganisation_depth_max,
    )  # fmt: skip


def tree_frame(run: Censored) -> pandas.DataFrame:
    """The payee's block tree, for `report.chains.block_tree`."""
    import pandas

    names = {**dict.fromkeys(MINERS, "H"), CENSOR: "C"}
    return pandas.DataFrame(tree_rows(
        run.network.chain(PAYEE), names, marks={run.payment: "pay"}, from_height=START_HEIGHT
    ))  # fmt: skip


def figure(result: Result) -> Figure:
    """Success of a double spend over the share, one curve per limit of time."""
    from consensus_lab.report.curves import curve_with_band

    frame = result.frame[result.frame["attack"] == DOUBLE_SPEND]
    hours = constants.BLOCK_INTERVAL_S / 3600.0
    frame = frame.assign(limit=[f"{limit} blocks ({limit * hours:g} h)"
                                for limit in frame["limit_blocks"]])  # fmt: skip
    known = [(share, exact, "exact, with the limit") for share, exact in
             zip(frame["attacker_share"], frame["exact"], strict=True)]
    known += [(share, exact, "exact, without a limit") for share, exact in
              zip(frame["attacker_share"], frame["unlimited"], strict=True)]
    longest = frame[frame["limit_blocks"] == frame["limit_blocks"].max()]
    above = longest[longest["attacker_share"] > 0.5]
    title = "A double spend within a limited time"
    # The smallest majority tells most; without any, the largest share that there is.
    told = above.iloc[0] if len(above) else longest.iloc[-1]
    title = (f"{told['attacker_share']:.0%} of the hash power: {told['success']:.1%} of the "
             f"double spends succeed within {told['limit_blocks']} blocks")  # fmt: skip
    return curve_with_band(
        frame, x="attacker_share", y="success", low="low", high="high", group="limit",
        group_label="limit", x_label="attacker's share of the hash power",
        y_label="double spends that succeed (share)", is_share=True, published=known, title=title,
        detail=f"{result.parameters.confirmations} confirmations; {result.parameters.n_races:,} "
        "races per point; bands: 95 % intervals",
    )  # fmt: skip


def censor_figure(result: Result) -> Figure:
    """Whose blocks the chain holds, over the censor's share of the hash power."""
    from consensus_lab.report.curves import curve_with_band

    frame = result.frame[result.frame["attack"] == CENSORSHIP]
    fair = [(share, share, "share of the hash power") for share in frame["attacker_share"]]
    worst = frame.iloc[-1]
    return curve_with_band(
        frame, x="attacker_share", y="chain_share", low="chain_share_low",
        high="chain_share_high", x_label="censor's share of the hash power",
        y_label="blocks of the chain that are the censor's (share)", is_share=True, published=fair,
        title=f"With {worst['attacker_share']:.0%} of the hash power a censor owns "
        f"{worst['chain_share']:.0%} of the chain",
        detail=f"{result.parameters.censored_blocks} blocks, {result.parameters.n_played} runs "
        f"each; gives up {result.parameters.give_up_deficit} blocks behind; band: 95 % interval",
    )  # fmt: skip


def tree_figure(run: Censored) -> Figure:
    """The block tree of a run with a censor."""
    from consensus_lab.report.chains import block_tree

    buried = run.confirmations
    return block_tree(
        tree_frame(run), label="label",
        title="The payment is kept off the chain" if not buried
        else f"The payment is buried under {buried} blocks",
        detail="H: honest blocks, C: the censor's; 'pay' is what the censor refuses",
    )  # fmt: skip
