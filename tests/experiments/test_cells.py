"""Cells of the table: each can come out otherwise, and does when the rule behind it is broken."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from consensus_lab import constants
from consensus_lab.experiments import comparison
from consensus_lab.experiments.cells import (
    adversary,
    decisions,
    failures,
    joining,
    limits,
    loads,
    membership,
    real,
    spreading,
    tolerances,
)
from consensus_lab.experiments.clusters import ClusterParameters, start
from consensus_lab.kv import KeyValueStore
from consensus_lab.report.table import DIFFERS, OPEN, SIMULATED, WITHIN, Cell
from consensus_lab.report.table_changes import MOVED

ROOT = Path(__file__).parents[2]
PROTOCOLS = ("multi-paxos", "raft")


def test_the_largest_put_is_etcds() -> None:
    """Found by bisection on real etcd: 1,572,839 bytes with a one-byte key."""
    assert limits.largest_put() == 1_572_839


def test_the_payload_cell_differs_when_the_store_takes_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for protocol in PROTOCOLS:
        assert limits.payload_of_log("1.5 MB", protocol=protocol).verdict == WITHIN
    monkeypatch.setattr(KeyValueStore, "check", lambda self, command: None)
    for protocol in PROTOCOLS:
        assert limits.payload_of_log("1.5 MB", protocol=protocol).verdict == DIFFERS


def test_a_block_of_the_limit_is_accepted_and_one_byte_more_is_not() -> None:
    limit = constants.BLOCK_SIZE_BYTES_MAX
    assert len(limits.padded_block(limit).serialize()) == limit
    assert limits.block_refusal(limit) == ""
    assert limits.block_refusal(limit + 1) == "bad-blk-length"


def test_a_store_holds_its_quota_and_no_more() -> None:
    held, error = limits.fill(50_000_000)
    assert 48_000_000 < held <= 50_000_000
    assert "database space exceeded" in error


def test_paxos_learners_agree_on_each_kind_of_value() -> None:
    pairs = limits.values_agreed()
    assert len(pairs) == 3 * len(limits.SAMPLE_VALUES)
    assert all(proposed == chosen for proposed, chosen in pairs)


def test_raft_replicates_each_kind_of_value() -> None:
    pairs = limits.values_replicated()
    assert len(pairs) == 3 * len(limits.SAMPLE_VALUES)
    assert all(proposed == applied for proposed, applied in pairs)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_leader_commits_on_its_peers_word_and_on_no_strangers(protocol: str) -> None:
    """The strangers' words are right: under a member's name they count."""
    assert not membership.commits_with_strangers(10, protocol=protocol)
    assert membership.commits_with_strangers(1, protocol=protocol, disguised=True)
    engine, leader = start(ClusterParameters.of({"protocol": protocol}))
    one_peer = next(server for server in (1, 2, 3) if server != leader)
    engine.crash(one_peer)
    assert membership.is_committed(engine, leader)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_four_identities_outvote_three_servers_and_three_do_not(protocol: str) -> None:
    assert not membership.commits_without_honest(3, protocol=protocol)
    assert membership.commits_without_honest(4, protocol=protocol)
    assert membership.identities_to_take_over(protocol=protocol) == 4


def test_the_share_of_the_chain_follows_work() -> None:
    """A third of the work gives about a third of 3000 blocks: 5 sigma is 4.3 %."""
    blocks, total = membership.share_of_chain(10, work=1 / 3, seed=3)
    assert abs(blocks / total - 1 / 3) < 0.043


@pytest.mark.parametrize(("n_servers", "survived"), [(1, 0), (2, 0), (3, 1), (4, 1), (5, 2)])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_majority_survives(n_servers: int, survived: int, protocol: str) -> None:
    assert failures.failures_survived(n_servers, protocol=protocol) == survived


def test_the_leader_sends_most_bytes() -> None:
    share, is_leader = loads.cluster_busiest_share(ClusterParameters.of({"n_servers": 5}))
    assert is_leader and share > 0.5
    alone = ClusterParameters.of({"n_servers": 1})
    assert loads.cluster_busiest_share(alone, requests=10) == (0.0, True)


@pytest.fixture(scope="module")
def small_table():
    """A quick table."""
    return comparison.run(comparison.Parameters.of({"n_nodes": 100, "replicates": 2}))


@pytest.mark.slow
def test_the_table_has_every_row_and_saves_the_same_bytes(small_table, tmp_path) -> None:
    result, small = small_table, small_table.parameters
    keys = [row.key for row in (*constants.ESSAY_TABLE, *constants.ESSAY_TEXT)]
    assert [row.key for row in comparison.the_table(result).rows] == keys
    first = comparison.save(result, tmp_path / "first")
    second = comparison.save(comparison.run(small), tmp_path / "second")
    for path in sorted(first.iterdir()):
        if path.name != "manifest.json":  # It holds the wall time.
            assert path.read_bytes() == (second / path.name).read_bytes(), path.name
    text = (first / "table.txt").read_text()
    back = comparison.saved(small, first)
    assert back is not None and back.measures == result.measures and back.notes == result.notes
    assert comparison.the_table(back) == comparison.the_table(result)
    assert comparison.saved(small.replace(seed=2), first) is None
    assert comparison.saved(small, tmp_path / "nowhere") is None
    spoilt = (first / "table.csv").read_text().replace("Permissionless", "Permissioned")
    (first / "table.csv").write_text(spoilt)
    assert comparison.saved(small, first) is None
    for row in (*constants.ESSAY_TABLE, *constants.ESSAY_TEXT):
        assert row.title in text
    few = ["Number of participants, Nakamoto (Bitcoin): 100 nodes"]
    assert [line.split(";")[0] for line in comparison.outside(result)] == few
    for row in comparison.the_table(result).rows:
        for cell in row.cells:
            assert cell.tolerance and (ROOT / cell.notebook).is_file(), (row.key, cell.notebook)
            module, _, name = cell.code.partition(":")
            found = importlib.import_module(module)
            for part in name.split(".")[:1]:
                assert callable(getattr(found, part)), cell.code


@pytest.mark.slow
def test_a_tenth_of_the_interval_moves_finality_and_throughput_and_nothing_else(
    small_table,
) -> None:
    before = small_table
    hasty = before.parameters.replace(block_interval_s=60.0)
    assert comparison.baseline(hasty) == before.parameters
    after = comparison.run(hasty)
    moved = [change for change in comparison.changes(before, after) if change.kind == MOVED]
    chain = "Nakamoto (Bitcoin)"
    assert [(change.row, change.system) for change in moved] == [
        ("Transaction finality", chain), ("Transaction throughput", chain)]  # fmt: skip
    name = f"finality, {chain}"
    assert 8.0 < before.measure(name).value / after.measure(name).value < 12.0
    assert len(comparison.outside(after)) == len(comparison.outside(before)) + 2


def test_a_table_is_compared_with_one_as_large() -> None:
    of = comparison.Parameters.of
    assert comparison.baseline(of()) is None
    assert comparison.baseline(of({"seed": 2, "replicates": 9})) is None
    assert comparison.baseline(of({"is_live": True, "seed": 2})) is None
    assert comparison.baseline(of({"n_nodes": 99, "seed": 2})) == of({"seed": 2})
    live = of({"n_nodes": 99, "n_servers": 5, "is_live": True})
    assert comparison.baseline(live) == of({"n_nodes": 99})
    assert comparison.baseline(of({"n_nodes": 99, "n_servers": 5})) == of({"n_nodes": 99})


def test_one_liar_breaks_agreement_and_an_honest_server_in_its_place_does_not() -> None:
    for found in (adversary.values_with_liar, adversary.entries_with_liar):
        assert found(seed=2) == ["pay B", "pay C"]
        assert len(found(is_lying=False, seed=2)) == 1


@pytest.mark.parametrize("share", adversary.SHARES_PERCENT)
def test_reversals_follow_the_closed_form(share: int) -> None:
    """Rosenfeld 2014, cut off after a week: within five standard errors."""
    from consensus_lab.theory.majority_attack import double_spend_within_probability

    chance = double_spend_within_probability(
        share / 100, confirmations=6, blocks=adversary.HORIZON_BLOCKS
    )
    trials = 1000
    found = adversary.reversals(share, seed=7, attacks=trials) / trials
    assert abs(found - chance) < 5 * (chance * (1 - chance) / trials) ** 0.5 + 1 / trials


@pytest.mark.slow
def test_a_chain_outlives_four_fifths_of_its_nodes() -> None:
    before, after, is_one = failures.chain_after_crashes(seed=3)
    assert is_one and before < after < failures.BLOCKS


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_decisions_come_from_the_leader_and_a_minority_gives_way(protocol: str) -> None:
    answered, sent, leader = decisions.proposers(protocol, seed=3)
    assert (answered, sent) == (decisions.REQUESTS, [leader])
    assert decisions.conflict_in_cluster(protocol, seed=3) == (False, decisions.MAJORITY, 5)
    cell = decisions.messages_of_cluster("", protocol=protocol, n_servers=5, seed=3)
    assert (cell.value, cell.verdict) == (8.0, WITHIN)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_members_are_added_with_a_quorum_and_never_without(protocol: str) -> None:
    assert 0 < joining.time_to_add_ms(protocol, down=1, seed=2) < 100
    assert joining.time_to_add_ms(protocol, down=2, seed=2) is None


def test_spreading_takes_the_longest_way() -> None:
    """Half a round trip and the CPU time: nothing else stands between leader and follower."""
    near = spreading.cluster_spreading_ms(ClusterParameters.of(), requests=20)
    far = spreading.cluster_spreading_ms(
        ClusterParameters.of({"server_geography": "aws"}), requests=20
    )
    assert len(near) == len(far) == 20
    assert min(near) > 0.2 and max(near) < 1 and min(far) > 20


def test_real_values_are_there_for_cells_that_exist() -> None:
    known = {**real.saved_etcd(), **real.bitcoin()}
    assert known.keys() <= tolerances.tolerances().keys()
    assert 50 < known["finality", "nakamoto"].value < 70
    assert known["payload_limit", "raft"].value == constants.ETCD_REQUEST_SIZE_BYTES_MAX


def test_every_cell_has_one_tolerance_with_a_reason() -> None:
    rows = [row.key for row in (*constants.ESSAY_TABLE, *constants.ESSAY_TEXT)]
    found = tolerances.tolerances()
    assert list(found) == [(row, system) for row in rows for system in tolerances.SYSTEMS]
    assert all(tolerance.reason for tolerance in found.values())


@pytest.mark.parametrize(
    ("kind", "factor", "value", "low", "high", "verdict"),
    [
        ("about", 1.1, 10.9, 10.8, 11.0, WITHIN), ("about", 1.1, 11.1, 11.05, 11.2, DIFFERS),
        ("about", 1.0, 11.1, 9.9, 12.0, WITHIN), ("about", 1.1, 9.0, 8.9, 9.05, DIFFERS),
        ("at most", 1.0, 9.0, 8.0, 10.0, WITHIN), ("at most", 1.0, 9.0, 8.0, 10.1, OPEN),
        ("at most", 1.0, 11.0, 10.1, 12.0, DIFFERS), ("at most", 1.2, 11.0, 10.1, 12.0, WITHIN),
        ("at least", 1.0, 11.0, 10.0, 12.0, WITHIN), ("at least", 1.0, 11.0, 9.9, 12.0, OPEN),
        ("at least", 1.0, 9.0, 8.0, 9.9, DIFFERS), ("at least", 1.05, 9.6, 9.55, 9.7, WITHIN),
    ],
)  # fmt: skip
def test_verdicts(
    kind: str, factor: float, value: float, low: float, high: float, verdict: str
) -> None:
    cell = Cell("10", SIMULATED, WITHIN, value, low, high, "s", published_value=10.0)
    held = tolerances.Tolerance(kind, factor, "essay", "a reason")
    judged = tolerances.judged(cell, held)
    assert (judged.verdict, judged.is_kept) == (verdict, verdict != DIFFERS)
    broken = tolerances.judged(cell._replace(verdict=DIFFERS), held)
    assert (broken.verdict, broken.is_kept) == (DIFFERS, False)
    # Against real data the verdict stays the one on what was published.
    stale = cell._replace(published_value=1000.0, live_value=10.0)
    real_one = tolerances.judged(stale, held._replace(against="real"))
    assert real_one.is_kept == (verdict != DIFFERS)
    assert real_one.verdict == (WITHIN if kind == "at most" else DIFFERS)
