"""Our verdicts beside Bitcoin Core's: the experiment agrees, and would tell if it did not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consensus_lab import experiments
from consensus_lab.experiments import core_verdicts
from consensus_lab.live.bitcoin import CoreEngine
from consensus_lab.nakamoto.network_rules import REGTEST
from consensus_lab.node import ParameterError

pytest.importorskip("pbk", reason="pip install 'consensus-lab[live]' for Bitcoin Core's engine")


@pytest.mark.slow
def test_core_agrees_on_every_block_of_both_stories() -> None:
    result = experiments.run("core-verdicts", {"depth_blocks": 2, "seed": 5})
    counts = {measure.quantity: measure.value for measure in result.measures}
    assert counts["agreements"] == counts["blocks"] > 200
    assert counts["refusals"] >= 10 and counts["blocks_undone"] == 2
    frame = result.frame.set_index("what")
    assert frame.loc["miner pays himself 1 satoshi too much", "core"] == "bad-cb-amount"
    assert list(frame.loc[["A2", "B1", "B3"], "core"]) == [
        core_verdicts.JOINED, core_verdicts.WAITS, core_verdicts.JOINED]  # fmt: skip


@pytest.mark.slow
def test_a_chain_with_another_rule_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Coins that ripen at once: one block is taken that Core refuses, and all after it differ."""
    stories = core_verdicts._stories(core_verdicts.Parameters.of({"depth_blocks": 1}))
    monkeypatch.setattr(core_verdicts, "REGTEST", replace(REGTEST, maturity_blocks=1))
    with CoreEngine() as engine:
        rows = core_verdicts.compared(stories["payment"], engine)
    wrong = next(row for row in rows if not row["agrees"])
    assert wrong["what"] == "spent before it is ripe"
    assert wrong["core"] == "bad-txns-premature-spend-of-coinbase"


def test_without_the_engine_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise ParameterError("py-bitcoinkernel", "no such module", "installed")

    monkeypatch.setattr("consensus_lab.live.bitcoin.load_kernel", missing)
    with pytest.raises(ParameterError, match="py-bitcoinkernel"):
        experiments.run("core-verdicts")
