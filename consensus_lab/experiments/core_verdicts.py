"""Does Bitcoin Core's own consensus engine judge our blocks and forks as we do?

Two stories are told to both, byte for byte: a payment with every forgery that was tried against
it, and a fork whose longer branch wins.  After each block are compared: whether it entered the
tree or the rule that it broke, which blocks left and joined the chain, and the tip.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from consensus_lab.experiments import Progress, payment, quiet, reorganisation
from consensus_lab.experiments.parameters import ParameterSet, parameter
from consensus_lab.experiments.result import Measure, Result
from consensus_lab.nakamoto.block import Block
from consensus_lab.nakamoto.chain import Chain
from consensus_lab.nakamoto.encoding import display_id
from consensus_lab.nakamoto.network_rules import REGTEST
from consensus_lab.node import ProtocolViolation

if TYPE_CHECKING:
    from consensus_lab.live.bitcoin import CoreEngine

JOINED, WAITS = "joins the chain", "waits on a branch"


class Parameters(ParameterSet):
    """The stories."""

    depth_blocks: int = parameter(
        3, unit="count", meaning="blocks of the branch that loses", minimum=1, maximum=50
    )
    n_confirmations: int = parameter(
        6, unit="count", meaning="blocks over the payment, its own included", minimum=1, maximum=50
    )


def run(parameters: Parameters, progress: Progress = quiet) -> Result:
    """Tell both stories to both.

    Returns
    -------
    Result
        `frame`: one row per block, in order of delivery: story, what it is, our verdict and
        Core's, how many blocks left the chain at each, whether they agree in everything.

    Raises
    ------
    ParameterError
        When the engine is not installed: the extra `consensus-lab[live]` brings it.
    """
    import pandas

    from consensus_lab.live.bitcoin import CoreEngine, load_kernel

    load_kernel()
    rows: list[dict[str, Any]] = []
    stories = _stories(parameters)
    for place, (story, blocks) in enumerate(stories.items()):
        progress(place, len(stories), "stories")
        with CoreEngine() as engine:
            rows += [{"story": story, **row} for row in compared(blocks, engine)]
    progress(len(stories), len(stories), "stories")
    frame = pandas.DataFrame(rows)
    counts = {
        "blocks": len(frame),
        "agreements": int(frame["agrees"].sum()),
        "refusals": int((~frame["ours"].isin([JOINED, WAITS])).sum()),
        "blocks_undone": int(frame["left_core"].sum()),
    }
    measures = [Measure(name, n, n, n, "count", 1, "live") for name, n in counts.items()]
    return Result("core-verdicts", parameters, frame, measures, notes=[
        "Core's engine is libbitcoinkernel, the code that decides in Bitcoin Core itself; it runs "
        "here on its regression test network.",
    ])  # fmt: skip


def _stories(parameters: Parameters) -> dict[str, list[tuple[str, Block]]]:
    """What is delivered, named: all blocks of a story, the refused ones included."""
    told = payment.Parameters.of(
        {"n_confirmations": parameters.n_confirmations, "seed": parameters.seed}
    )
    town, _, rows = payment.play(told)
    fork = reorganisation.play(reorganisation.Parameters.of(
        {"depth_blocks": parameters.depth_blocks, "seed": parameters.seed}
    ))  # fmt: skip
    names = {block.block_id: name for name, block in fork.blocks.items()}
    return {
        "payment": [(row["what"], b) for row, b in zip(rows, town.delivered, strict=True)],
        "fork": [(names.get(b.block_id, "subsidy"), b) for b in fork.town.delivered],
    }


def compared(
    blocks: Iterable[tuple[str, Block]], engine: CoreEngine
) -> list[dict[str, Any]]:  # fmt: skip
    """Hand each block to a new chain of ours and to the engine; a row for each, in order."""
    chain, rows = Chain(REGTEST), []
    for what, block in blocks:
        theirs = engine.deliver(block.serialize())
        try:
            done = chain.deliver(block, now_s=engine.clock_s())
        except ProtocolViolation as violation:
            ours, left, joined = violation.rule, (), ()
        else:
            left = tuple(item.block_id for item in done.disconnected)
            joined = tuple(item.block_id for item in done.connected)
            failed = [item.violation.rule for item in done.invalid]
            ours = _words(failed, block.block_id in joined)
        core = theirs.rule or _words(
            [failure.rule for failure in theirs.failures], block.block_id in theirs.connected
        )
        rows.append({
            "what": what, "height": chain.height, "ours": ours, "core": core,
            "left_ours": len(left), "left_core": len(theirs.disconnected),
            "tip": display_id(theirs.tip_id)[-8:],
            "agrees": (ours, left, joined, chain.tip.block_id)
            == (core, theirs.disconnected, theirs.connected, theirs.tip_id),
        })  # fmt: skip
    return rows


def _words(failed: list[str], is_joined: bool) -> str:
    return failed[0] if failed else JOINED if is_joined else WAITS
