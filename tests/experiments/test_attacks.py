"""Attack experiments: measured success beside the closed forms, mistakes refused by name."""

from __future__ import annotations

import pytest

from consensus_lab.experiments import double_spend, eclipse, flood, majority_attack, sybil
from consensus_lab.node import ParameterError

FEW = {"n_played": 2, "told_peers": [3], "n_nodes": 12}


@pytest.mark.slow
def test_double_spends_succeed_as_often_as_the_exact_law_says() -> None:
    """Eight points, each within four standard errors; the whitepaper's estimate is not."""
    chosen = {"confirmations": [1, 3, 6, 10], "n_races": 200_000, "seed": 2, **FEW}
    result = double_spend.run(double_spend.Parameters.of(chosen))
    races = result.frame[result.frame["attack"] == double_spend.CHAIN]
    assert len(races) == 8
    error = (races["exact"] * (1 - races["exact"]) / races["attempts"]) ** 0.5
    assert ((races["success"] - races["exact"]).abs() < 4 * error).all()
    z6 = races[(races["confirmations"] == 6) & (races["attacker_share"] == 0.1)].iloc[0]
    assert z6["whitepaper"] < z6["low"]
    beside = result.beside.set_index("quantity")
    assert beside.loc["success_q10_z6", "published"] == pytest.approx(z6["whitepaper"], abs=1e-7)
    assert result.figure().axes


@pytest.mark.slow
def test_a_merchant_loses_and_the_tree_shows_how() -> None:
    attack = double_spend.loss(double_spend.Parameters.of({"played_share": 0.45}))
    assert attack.is_delivered and attack.is_lost
    assert "lost goods and money" in double_spend.tree_figure(attack).axes[0].get_title(loc="left")


SMALL_SYBIL = {
    "n_runs": 2, "identities_in_cluster": [0, 2, 4], "identities_in_lottery": [1, 50],
    "n_slots": 20_000, "lottery_runs": 3, "lottery_blocks": 40,
}  # fmt: skip


@pytest.mark.slow
def test_identities_are_worth_something_only_where_members_count() -> None:
    result = sybil.run(sybil.Parameters.of(SMALL_SYBIL))
    frame = result.frame
    broken = frame[frame["what"] == sybil.BROKEN]
    assert (broken["share"] == broken["expected"]).all()
    lotteries = frame[frame["what"] == sybil.DECISIONS]
    # The intervals are two standard errors to each side.
    off = (lotteries["share"] - lotteries["expected"]).abs()
    assert (off < lotteries["high"] - lotteries["low"]).all()
    by_ticket = lotteries[lotteries["weight"] == sybil.TICKETS].set_index("identities")["share"]
    assert by_ticket[50] > 20 * by_ticket[1]
    assert result.measure("identities_that_decide_alone").value == 4
    assert result.measure("agreement_longest_chain").value == 1.0
    assert result.measure("largest_group_first_seen").value < 1.0
    assert result.figure().axes and sybil.broken_figure(result).axes
    assert sybil.diagram("Paxos", result.parameters).axes


@pytest.mark.slow
def test_more_than_half_always_wins_and_owns_the_chain() -> None:
    chosen = {"attacker_shares": [0.3, 0.6], "censor_shares": [0.3, 0.7], "n_races": 4000,
              "limits_blocks": [20, 400], "n_played": 2, "censored_blocks": 15}  # fmt: skip
    result = majority_attack.run(majority_attack.Parameters.of(chosen))
    frame = result.frame
    races = frame[frame["attack"] == majority_attack.DOUBLE_SPEND]
    error = (races["exact"] * (1 - races["exact"]) / races["attempts"]) ** 0.5
    assert ((races["success"] - races["exact"]).abs() <= 4 * error + 1e-12).all()
    assert races[races["attacker_share"] == 0.6]["success"].iloc[-1] == 1.0
    censors = frame[frame["attack"] == majority_attack.CENSORSHIP].set_index("attacker_share")
    assert censors.loc[0.7, "chain_share"] == 1.0 and censors.loc[0.7, "kept_out"] == 1.0
    assert censors.loc[0.3, "chain_share"] < 0.3
    assert result.figure().axes and majority_attack.censor_figure(result).axes


@pytest.mark.slow
def test_eclipses_follow_the_book_and_one_honest_peer_helps() -> None:
    chosen = {"honest_addresses": 10, "attacker_addresses": [0, 90], "outbound_connections": [2],
              "n_victims": 40, "n_played": 2, "confirmations": 2}  # fmt: skip
    result = eclipse.run(eclipse.Parameters.of(chosen))
    books = result.frame[result.frame["what"] == eclipse.BOOK]
    assert books["book_share"].tolist() == [0.0, 0.9]
    assert books["success"].iloc[0] == 0.0
    assert books["low"].iloc[1] < books["exact"].iloc[1] < books["high"].iloc[1]
    assert result.measure("merchant_loses_0_honest_peers").value == 1.0
    assert result.measure("merchant_loses_1_honest_peers").value == 0.0
    assert result.measure("minutes_to_accept").value > 0
    assert result.figure().axes
    assert eclipse.tree_figure(eclipse.deceived(result.parameters, 0)).axes


@pytest.mark.slow
def test_each_protection_is_seen_in_the_table_of_floods() -> None:
    chosen = {"flood_min": 10, "flood_per_min": 4, "honest_payments": 2, "replicates": 2,
              "n_announcements": 3, "n_rubbish": 2}  # fmt: skip
    result = flood.run(flood.Parameters.of(chosen))
    frame = result.frame.set_index(["flood", "setting"])
    assert len(frame) == len(flood.SETTINGS) + 4
    blocks = frame.loc[flood.BLOCKS]
    assert blocks.loc["bans", "is_banned"] and not blocks.loc["no bans", "is_banned"]
    assert blocks.loc["bans", "heard_bytes"] < blocks.loc["no bans", "heard_bytes"]
    assert result.measure("sent_bytes, free, relay fee").value < result.measure(
        "sent_bytes, free, no protection"
    ).value
    assert result.figure().axes and flood.memory_figure(result).axes
    with pytest.raises(ParameterError, match="flood_per_min"):
        flood.Parameters.of({"flood_per_min": 400, "flood_min": 100})


@pytest.mark.parametrize(
    ("experiment", "name", "value"),
    [
        (double_spend, "attacker_shares", [0.1, 1.2]),
        (double_spend, "confirmations", [0]),
        (double_spend, "played_confirmations", 9),
        (double_spend, "told_peers", [24]),
        (double_spend, "n_races", 0),
        (majority_attack, "attacker_shares", [1.01]),
        (majority_attack, "confirmations", 0),
        (majority_attack, "give_up_deficit", 0),
        (eclipse, "attacker_share", 1.2),
        (eclipse, "outbound_connections", [41]),
        (eclipse, "confirmations", 0),
        (flood, "flood_per_min", 501),
        (flood, "rubbish_size_bytes", 0),
        (flood, "replicates", 1),
        (sybil, "weight_share", 1.5),
        (sybil, "honest_servers", 1),
        (sybil, "identities_in_lottery", [200]),
    ],
)
def test_a_mistake_is_refused_by_name(experiment, name: str, value: object) -> None:
    with pytest.raises(ParameterError, match=name.replace("played_confirmations", "give_up")):
        experiment.Parameters.of({name: value})
