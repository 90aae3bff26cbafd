"""Double spenders: what they tell whom, when they publish, and how often they get away with it."""

from __future__ import annotations

import networkx
import pytest

from consensus_lab.adversaries.double_spend import (
    Defraud,
    Delivered,
    DoubleSpender,
    RaceSpender,
    conflicting_pair,
)
from consensus_lab.experiments.double_spends import (
    ATTACKER,
    MERCHANT,
    MINERS,
    expected_share,
    play_finney,
    play_private_chain,
    play_race,
    tree_frame,
)
from consensus_lab.experiments.full_network import FullNetwork, blocks_by_miner, confirmations
from consensus_lab.node import ParameterError
from consensus_lab.sim.streams import derive_seed, stream

PRICE = 10**9


def town(**attacker: int) -> tuple[FullNetwork, DoubleSpender]:
    """A merchant (0), a miner (1) and the attacker (2), who owns one ripe coin."""
    network = FullNetwork(
        networkx.complete_graph(3), {1: 0.5, 2: 0.5}, seed=1,
        disguises={2: lambda node: DoubleSpender(node, **attacker)},
    )  # fmt: skip
    network.find(2)
    network.find(1)
    return network, network.engine.nodes[2]


def test_both_payments_are_valid_and_spend_the_same_coin() -> None:
    network, attacker = town()
    pair = conflicting_pair(attacker.node.ledger.wallet, Defraud(network.address(0), PRICE))
    assert [item.previous for item in pair.payment.inputs] == [
        item.previous for item in pair.second.inputs
    ]
    network.node(0).pool.accept(pair.payment)
    network.node(1).pool.accept(pair.second)
    assert pair.payment.outputs[0].value_satoshi == PRICE
    assert [one.script_pubkey for one in pair.second.outputs] == attacker.node.ledger.wallet.scripts


def test_a_longer_private_chain_takes_the_payment_back() -> None:
    network, attacker = town()
    network.engine.submit(2, Defraud(network.address(0), PRICE))
    network.settle()
    network.find(1)
    payment, second = attacker.conflict.payment.txid, attacker.conflict.second.txid
    assert confirmations(network.chain(0), payment) == 1
    network.find(2, count=2)
    assert confirmations(network.chain(0), payment) == 1, "told to nobody yet"
    assert not network.chain(0).tree.nodes.keys() & {b.block_id for b in attacker.branch.blocks}
    network.engine.submit(2, Delivered())
    network.settle()
    assert attacker.outcome == "released"
    for node_id in (0, 1, 2):
        chain = network.chain(node_id)
        assert confirmations(chain, payment) == 0
        assert confirmations(chain, second) == 2
        assert chain.statistics.reorganisations == 1
    assert network.node(0).ledger.wallet.balance_satoshi == 0
    assert network.node(0).peers[2].score == 0, "no rule was broken"


def test_a_chain_of_equal_length_is_not_published() -> None:
    network, attacker = town()
    network.engine.submit(2, Defraud(network.address(0), PRICE))
    network.find(1)
    network.find(2)
    network.engine.submit(2, Delivered())
    network.settle()
    assert attacker.outcome == "" and attacker.branch.lead == 0


def test_the_branch_is_given_up_at_the_deficit_and_the_attacker_mines_in_public_again() -> None:
    network, attacker = town(give_up_deficit=2)
    network.engine.submit(2, Defraud(network.address(0), PRICE))
    network.find(1)
    assert attacker.outcome == ""
    network.find(1)
    assert attacker.outcome == "given up"
    before = blocks_by_miner(network.chain(0), [2])
    network.find(2)
    assert blocks_by_miner(network.chain(0), [2]) == before + 1


def test_what_was_mined_in_advance_is_worthless_when_the_public_chain_goes_on() -> None:
    network, attacker = town(premined_blocks=2)
    network.engine.submit(2, Defraud(network.address(0), PRICE))
    network.find(2)
    assert len(attacker.branch.blocks) == 1 and not attacker.is_paid
    network.find(1)
    assert attacker.branch.blocks == [] and not attacker.is_paid
    network.find(2, count=2)
    assert attacker.is_paid
    assert attacker.conflict.payment.txid in network.node(0).pool


def test_an_impossible_plan_is_refused_by_name() -> None:
    network, attacker = town()
    for values in ({"premined_blocks": -1}, {"give_up_deficit": 0},
                   {"premined_blocks": 1, "give_up_deficit": -1}):  # fmt: skip
        with pytest.raises(ParameterError, match=list(values)[-1]):
            DoubleSpender(attacker.node, **values)
    with pytest.raises(ParameterError, match="merchants"):
        RaceSpender(attacker.node, merchants=[7])
    network.engine.submit(2, Defraud(network.address(0), PRICE))
    network.settle()
    with pytest.raises(ParameterError, match="under way"):
        attacker.submit(Defraud(network.address(0), PRICE), 0)


def lottery_race(seed: int, share: float, *, z: int, give_up: int, premined: int) -> bool:
    """Whether the attacker wins, from the same draws and nothing but counting."""
    source = stream(seed, "experiment", "lottery")
    honest, private = 0, premined
    while True:
        if honest >= z and private > honest:
            return True
        if honest - private >= give_up:
            return False
        source.expovariate(1.0)
        finder = source.choices([*MINERS, ATTACKER], [(1.0 - share) / 3] * 3 + [share])[0]
        private, honest = private + (finder == ATTACKER), honest + (finder != ATTACKER)


@pytest.mark.slow
@pytest.mark.parametrize("premined", [0, 1])
def test_played_attacks_end_as_counted_races(premined: int) -> None:
    """Messages, real blocks and signatures change nothing: draw by draw the same outcome."""
    outcomes = set()
    for number in range(6):
        attack = play_private_chain(
            0.4, confirmations_awaited=2, give_up_deficit=4, premined_blocks=premined,
            seed=1, number=number,
        )  # fmt: skip
        seed = derive_seed(1, "experiment", "double-spend", "private", number)
        expected = lottery_race(seed, 0.4, z=2, give_up=4, premined=premined)
        assert attack.is_lost == expected
        outcomes.add(expected)
        if attack.is_lost:
            frame, old_tip, new_tip = tree_frame(attack)
            chain = frame[frame["is_on_chain"]]
            assert "back" in "".join(chain["label"]) and "pay" not in "".join(chain["label"])
            assert old_tip in set(frame["block"]) - set(chain["block"])
            assert new_tip == chain["block"].iloc[-1]
    assert outcomes == {True, False}


@pytest.mark.slow
def test_finneys_block_is_worth_little_after_an_hour() -> None:
    soon = [play_finney(0.1, hold_s=1.0, number=number).is_lost for number in range(4)]
    late = [play_finney(0.1, hold_s=12_000.0, number=number).is_lost for number in range(3)]
    # Chances: 0.998 and 10^-4 each.
    assert all(soon)
    assert not any(late)


@pytest.mark.slow
def test_the_race_is_won_by_who_is_heard_first() -> None:
    """Whoever is strictly nearer to a source of one payment holds that one."""
    race = play_race(16, told_peers=3, seed=2)
    graph = networkx.Graph()
    nodes = range(16)
    for i in nodes:
        graph.add_edges_from((i, j) for j in race.network.node(i).peers if j in nodes)
    to_merchant = networkx.single_source_shortest_path_length(graph, MERCHANT)
    to_told = networkx.multi_source_dijkstra_path_length(graph, set(race.told))
    nearer = {i for i in nodes if to_told[i] < to_merchant[i]}
    farther = {i for i in nodes if to_told[i] > to_merchant[i]}
    assert nearer and farther
    assert nearer <= set(race.holders)
    assert not farther & set(race.holders)
    assert expected_share(race) == len(race.holders) / 16
    assert race.is_warned
