"""A censor: what it leaves out, what it refuses to build on, and when it puts up with it."""

from __future__ import annotations

import networkx
import pytest

from consensus_lab.adversaries.censor import Censor
from consensus_lab.experiments import majority_attack
from consensus_lab.experiments.full_network import FullNetwork, confirmations, new_wallet
from consensus_lab.nakamoto.full_node_messages import Pay
from consensus_lab.node import ParameterError
from consensus_lab.sim.streams import derive_seed, stream

PAYEE, PAYER, MINER, CENSOR = range(4)
PRICE = 10**9


def town(*, give_up_deficit: int = 3) -> tuple[FullNetwork, Censor, bytes]:
    """A payment to somebody whom the censor refuses, told to everybody."""
    refused = new_wallet(1, PAYEE).scripts
    network = FullNetwork(
        networkx.complete_graph(4), {MINER: 0.5, CENSOR: 0.5}, seed=1,
        disguises={CENSOR: lambda node: Censor(
            node, refused_scripts=refused, give_up_deficit=give_up_deficit
        )},
    )  # fmt: skip
    network.find(PAYER)
    network.find(MINER)
    network.engine.submit(PAYER, Pay(1, network.address(PAYEE), PRICE, 10))
    network.settle()
    (payment,) = network.node(PAYER).ledger.payments
    return network, network.engine.nodes[CENSOR], payment


def test_its_own_blocks_hold_all_but_the_refused_payment() -> None:
    network, _, payment = town()
    network.engine.submit(MINER, Pay(2, network.address(PAYER), PRICE, 5))
    network.settle()
    (other,) = network.node(MINER).ledger.payments
    assert payment in network.node(CENSOR).pool and other in network.node(CENSOR).pool
    network.find(CENSOR)
    chain = network.chain(PAYEE)
    assert chain.height == 3
    assert confirmations(chain, payment) == 0
    assert confirmations(chain, other) == 1
    subsidy = chain.rules.subsidy_satoshi(3)
    coinbase = chain.blocks[chain.tip.block_id].transactions[0]
    assert chain.utxo.total_satoshi == 3 * subsidy, "no coin was made or lost"
    assert coinbase.value_out_satoshi > subsidy, "and the fee of the other payment is its"


def test_it_does_not_build_on_a_block_with_the_payment() -> None:
    network, censor, payment = town()
    network.find(MINER)
    assert confirmations(network.chain(PAYEE), payment) == 1
    assert censor.branch is not None and censor.branch.fork.height == 2
    network.find(CENSOR)
    assert confirmations(network.chain(PAYEE), payment) == 1, "level is not enough"
    network.find(CENSOR)
    assert censor.outcomes == [True]
    for node_id in range(4):
        assert confirmations(network.chain(node_id), payment) == 0
        assert network.chain(node_id).height == 4
    # The payment waits again, an honest miner takes it again, and is refused again.
    assert payment in network.node(MINER).pool
    network.find(MINER)
    assert confirmations(network.chain(PAYEE), payment) == 1
    assert censor.branch is not None and censor.branch.fork.height == 4


def test_it_gives_up_when_too_far_behind_and_then_builds_on_what_is_there() -> None:
    network, censor, payment = town(give_up_deficit=2)
    network.find(MINER, count=2)
    assert censor.outcomes == [False] and censor.branch is None
    network.find(CENSOR)
    assert confirmations(network.chain(PAYEE), payment) == 3


def test_an_impossible_plan_is_refused_by_name() -> None:
    _, censor, _ = town()
    with pytest.raises(ParameterError, match="give_up_deficit"):
        Censor(censor.node, refused_scripts=[b"1"], give_up_deficit=0)
    with pytest.raises(ParameterError, match="refused_scripts"):
        Censor(censor.node, refused_scripts=[], give_up_deficit=2)


def counted(seed: int, share: float, *, blocks: int, give_up: int) -> list[bool]:
    """The outcomes of a censor's branches from the same draws and nothing but counting."""
    source = stream(seed, "experiment", "lottery")
    lead: int | None = None
    accepted, mined, outcomes = False, 0, []
    while mined < blocks or lead is not None or not outcomes:
        mined += 1
        source.expovariate(1.0)
        by_censor = source.choices([2, 3, 4], [(1 - share) / 2] * 2 + [share])[0] == 4
        if lead is None:
            lead = None if by_censor or accepted else -1
            continue
        lead += 1 if by_censor else -1
        if lead > 0 or lead <= -give_up:
            outcomes.append(lead > 0)
            accepted, lead = lead <= 0, None
    return outcomes


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.4, 0.65])
def test_played_censorship_ends_as_counted(share: float) -> None:
    parameters = majority_attack.Parameters.of({"give_up_deficit": 3, "censored_blocks": 15})
    seen = set()
    for number in range(4):
        run = majority_attack.play(parameters, share=share, number=number)
        seed = derive_seed(parameters.seed, "experiment", "censor", number)
        expected = counted(seed, share, blocks=15, give_up=3)
        assert run.outcomes == expected
        assert (run.confirmations == 0) == all(expected)
        seen.update(expected)
    assert True in seen
