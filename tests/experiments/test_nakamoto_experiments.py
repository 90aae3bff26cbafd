"""Bitcoin's mechanisms as experiments: payment, mining, reorganisation, finding peers."""

from __future__ import annotations

from itertools import pairwise

import networkx
import pytest

from consensus_lab.experiments import mining, payment, peer_discovery, reorganisation
from consensus_lab.nakamoto.discovery import DiscoveryNode
from consensus_lab.nakamoto.header import nbits_to_target
from consensus_lab.nakamoto.pow import success_probability
from consensus_lab.node import ParameterError

SMALL = {"n_nodes": 60, "phase_min": 4.0}


@pytest.fixture(scope="module")
def paid() -> payment.Result:
    """The default payment."""
    return payment.run(payment.Parameters())


@pytest.fixture(scope="module")
def forked() -> reorganisation.Story:
    """The default fork."""
    return reorganisation.play(reorganisation.Parameters())


@pytest.fixture(scope="module")
def found() -> peer_discovery.Result:
    """A small network that grew, lost some and got them back."""
    return peer_discovery.run(peer_discovery.Parameters.of(SMALL))


@pytest.mark.slow
def test_a_coin_ripens_is_paid_and_leaves_change_less_the_fee(paid: payment.Result) -> None:
    frame = paid.frame[paid.frame["joined"]].set_index("height")
    assert frame.loc[99, "alice_coins"] == 0, "a coinbase may be spent 100 blocks later"
    assert frame.loc[100, "alice_coins"] == 50
    assert frame.loc[101, "what"] == "payment"
    fee = paid.measure("fee_satoshi").value
    assert fee > 0
    assert frame.loc[101, "bob_coins"] == 10
    assert round(frame.loc[101, "alice_coins"] * 10**8) == 40 * 10**8 - fee
    assert paid.measure("confirmations").value == 6
    assert paid.measure("supply_coin").value == 50 * frame.index.max()


@pytest.mark.slow
def test_every_forgery_is_refused_by_the_name_of_its_rule(paid: payment.Result) -> None:
    refused = paid.frame[~paid.frame["joined"]].set_index("what")["rule"].to_dict()
    script = "block-script-verify-flag-failed"
    assert refused == {
        "spent before it is ripe": "bad-txns-premature-spend-of-coinbase",
        "amount altered after signing": script,
        "payee altered after signing": script,
        "signed with Mallory's key": script,
        "Alice's key, signature of a guessed one": script,
        "more paid than there is": "bad-txns-in-belowout",
        "the coin spent twice in one block": "bad-txns-inputs-missingorspent",
        "miner pays himself 1 satoshi too much": "bad-cb-amount",
        "the same payment in another block": "bad-txns-BIP30",
        "the coin spent again, after it was buried": "bad-txns-inputs-missingorspent",
    }


@pytest.mark.slow
def test_bitcoin_core_judges_every_block_of_the_payment_alike() -> None:
    pytest.importorskip("pbk", reason="pip install 'consensus-lab[live]' for Core's engine")
    town, _, rows = payment.play(payment.Parameters(seed=2, n_confirmations=2))
    core = payment.core_verdicts(town.delivered)
    assert core is not None
    assert core["joined"].tolist() == [row["joined"] for row in rows]
    assert core["rule"].tolist() == [row["rule"] for row in rows]


def test_without_the_engine_there_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise ParameterError("py-bitcoinkernel", "no such module", "installed")

    monkeypatch.setattr("consensus_lab.live.bitcoin.load_kernel", missing)
    assert payment.core_verdicts([]) is None


@pytest.mark.slow
def test_the_largest_payment_makes_no_coin_from_nowhere() -> None:
    result = payment.run(payment.Parameters.of({"payment_satoshi": 49 * 10**8}))
    joined = result.frame[result.frame["joined"]]
    total = joined[["alice_coins", "bob_coins"]].iloc[-1].sum() * 10**8
    assert round(total) == 50 * 10**8 - result.measure("fee_satoshi").value


@pytest.mark.slow
def test_tries_are_the_closed_form_and_follow_the_geometric_law() -> None:
    """Each of the 95 % intervals of six independent settings may miss once."""
    covered, p_values = 0, []
    for seed in (1, 2, 3):
        chosen = mining.Parameters.of({"zero_bits": [1, 6], "n_searches": 800, "seed": seed})
        result = mining.run(chosen)
        for row in result.beside.itertuples():
            covered += row.low <= row.published <= row.high
            assert 0.85 < row.ratio < 1.15
        p_values += [m.value for m in result.measures if "p_value" in m.quantity]
    assert covered >= 5
    assert min(p_values) > 0.001


def test_the_fit_notices_a_wrong_law() -> None:
    chosen = mining.Parameters.of({"n_searches": 1000})
    counts = mining.tries(chosen, 4)
    right = success_probability(mining.nbits_of(4))
    assert mining.fit(counts, right) > 0.001
    assert mining.fit(counts, right * 1.5) < 1e-6
    assert mining.fit([16] * 1000, right) < 1e-6, "right on average, but no lottery"


def test_the_interval_of_the_mean_number_of_tries_is_that_of_its_chance() -> None:
    mean, low, high = mining.tries_interval([1] * 50)
    assert (mean, low) == (1.0, 1.0)
    # All 50 tries won: the chance is at least 0.025 ** (1 / 50).
    assert abs(high - 0.025 ** (-1 / 50)) < 1e-9


def test_zero_bits_double_the_work() -> None:
    targets = [nbits_to_target(mining.nbits_of(bits)) or 0 for bits in range(1, 33)]
    for larger, smaller in pairwise(targets):
        assert abs(larger / smaller - 2) < 1e-3


@pytest.mark.slow
def test_the_target_follows_the_hash_power_one_period_late_by_four_at_most() -> None:
    frame = mining.retargets([4.0, 4.0, 16.0, 16.0, 1.0, 1.0, 1.0], seed=3)
    pace = frame["block_interval_s"] / 600
    for measured, wanted in zip(pace, [1 / 4, 1, 1 / 4, 1, 16, 4, 1], strict=True):
        assert abs(measured / wanted - 1) < 0.1
    steps = frame["difficulty"] / frame["difficulty"].shift()
    assert steps.min() > 1 / 4 - 1e-4
    assert steps.max() < 4 + 1e-4


def test_the_target_is_never_easier_than_that_of_the_first_block() -> None:
    frame = mining.retargets([0.5, 0.5], seed=3)
    assert frame["difficulty"].tolist() == [1.0, 1.0]
    assert frame["block_interval_s"].min() > 1000


@pytest.mark.slow
def test_the_first_branch_seen_stays_until_the_other_has_more_work(
    forked: reorganisation.Story,
) -> None:
    assert forked.tips == {
        "A1": "A1", "A2": "A2", "A3": "A3", "B1": "A3", "B2": "A3", "B3": "A3", "B4": "B4",
        "B5": "B5",
    }  # fmt: skip
    other, tips = reorganisation.other_order(forked)
    assert tips == ["B1", "B2", "B3", "B4", "B5", "B5", "B5", "B5"]
    assert other.statistics.reorganisations == 0
    assert other.tip.block_id == forked.town.chain.tip.block_id


@pytest.mark.slow
def test_payments_return_but_those_whose_coin_was_spent_otherwise(
    forked: reorganisation.Story,
) -> None:
    frame = reorganisation.fates_frame(forked)
    fates = frame.groupby("payment")["fate"].unique().map(list).to_dict()
    assert fates == {
        "both": [reorganisation.CONFIRMED], "once": [reorganisation.RETURNED],
        "double": [reorganisation.CONFLICTING], "paid on": [reorganisation.CONFLICTING],
    }  # fmt: skip
    lost = frame[frame["fate"] == reorganisation.CONFLICTING]
    assert set(lost["rule"]) == {"bad-txns-inputs-missingorspent"}
    confirmed = {
        transaction.txid
        for node in forked.town.chain.active
        for transaction in forked.town.chain.blocks[node.block_id].transactions
    }
    for one in forked.fates:
        is_lost = one.fate == reorganisation.CONFLICTING
        assert (one.transaction.txid in confirmed) is not is_lost
    second = [txid for txid, name in forked.payments.items() if name == "second spend"]
    assert len(second) == 2
    assert confirmed.issuperset(second), "of a double spend just one survives"


def test_a_payment_returns_with_what_was_paid_from_its_change() -> None:
    """Blocks leave from the tip down, payments return from the oldest up."""
    town = payment.Town()
    town.mine_until_ripe()
    fork = town.chain.tip
    for _ in range(2):
        paid = town.wallets["alice"].pay(town.wallets["bob"].address(), 10**9)
        town.mine(paid)
    parent = fork
    for _ in range(3):
        change = town.deliver(town.block(parent=parent))
        parent = change.node
    assert len(change.disconnected) == 2
    fates = reorganisation.fates_of(town.chain, change)
    assert [one.fate for one in fates] == [reorganisation.RETURNED] * 2
    assert fates[1].transaction.inputs[0].previous.txid == fates[0].transaction.txid


@pytest.mark.slow
@pytest.mark.parametrize("depth", [1, 6])
def test_no_depth_makes_coins_from_nothing(depth: int) -> None:
    few = {"depth_blocks": depth, "payments_both": 0, "payments_once": 1}
    result = reorganisation.run(reorganisation.Parameters.of(few))
    assert result.measure("reorganisation_depth_blocks").value == depth
    assert result.measure("stale_blocks").value == depth
    assert result.measure("coins_spent_twice").value == 0
    assert result.measure("satoshi_too_many").value == 0
    assert result.measure("payments_lost").value == 3, "two, and what was paid from one"


@pytest.mark.slow
def test_bitcoin_core_follows_the_same_branch_after_every_block(
    forked: reorganisation.Story,
) -> None:
    pytest.importorskip("pbk", reason="pip install 'consensus-lab[live]' for Core's engine")
    core = payment.core_verdicts(forked.town.delivered)
    assert core is not None
    assert core["joined"].all()
    ours = [forked.blocks[name].block_id[::-1].hex() for name in forked.tips.values()]
    assert core["tip"].tolist()[-len(ours) :] == ours


@pytest.mark.slow
def test_from_one_seed_all_find_peers_and_hold_together(found: peer_discovery.Result) -> None:
    for phase in peer_discovery.PHASES:
        assert found.measure(f"components_after_{phase}").value == 1
    assert found.measure("components_max_while_away").value == 1
    # Eight connections, one try every half second.
    for who in ("fill", "fill_newcomer"):
        assert 4.0 <= found.measure(f"seconds_to_{who}_mean").value <= 8.0
    assert found.measure("seconds_to_refill_survivors_max").value > 100, "pings are seldom"
    assert found.measure("seconds_to_refill_survivors_mean").value < 200, "but they come"


@pytest.mark.slow
def test_degrees_are_those_of_the_random_graph_on_average_only(
    found: peer_discovery.Result,
) -> None:
    """Each of n nodes opens 8; but whom the seed knew first, everybody tries first."""
    beside = found.beside.set_index("quantity")
    assert abs(beside.loc["degree_mean", "ratio"] - 1) < 0.02
    assert beside.loc["degree_deviation", "ratio"] > 1.2
    grown = found.frame[found.frame["phase"] == "growth"]
    inbound = grown[grown["minute"] == grown["minute"].max()].set_index("node")["inbound"]
    assert set(inbound.nlargest(2).index) == {0, 1}


@pytest.mark.slow
def test_nobody_knows_the_newcomer_before_it_comes() -> None:
    engine = peer_discovery.network(peer_discovery.Parameters.of(SMALL), newcomer=True)
    engine.crash(60)
    engine.run(until_ns=2 * peer_discovery.MINUTE_NS)
    nodes = [node for node in engine.nodes.values() if isinstance(node, DiscoveryNode)]
    assert len(nodes) == 60
    assert not [node.node_id for node in nodes if 60 in node.book]
    assert networkx.is_connected(peer_discovery.graph_of(engine))


def test_impossible_parameters_are_refused() -> None:
    with pytest.raises(ParameterError, match="inbound_max"):
        peer_discovery.Parameters.of({"inbound_max": 2})
    with pytest.raises(ParameterError, match="zero_bits"):
        mining.Parameters.of({"zero_bits": [3, 3]})
    with pytest.raises(ParameterError, match="payment_satoshi"):
        payment.Parameters.of({"payment_satoshi": 1})
