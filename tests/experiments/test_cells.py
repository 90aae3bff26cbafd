"""Cells of the table: each can come out otherwise, and does when the rule behind it is broken."""

from __future__ import annotations

import pytest

from consensus_lab import constants
from consensus_lab.experiments import comparison
from consensus_lab.experiments.cells import limits, loads, membership
from consensus_lab.experiments.clusters import ClusterParameters, start
from consensus_lab.kv import KeyValueStore
from consensus_lab.report.table import AGREES, DIFFERS


def test_the_largest_put_is_etcds() -> None:
    """Found by bisection on real etcd: 1,572,839 bytes with a one-byte key."""
    assert limits.largest_put() == 1_572_839


def test_the_payload_cell_differs_when_the_store_takes_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert limits.payload_of_etcd("1.5 MB").verdict == AGREES
    monkeypatch.setattr(KeyValueStore, "check", lambda self, command: None)
    assert limits.payload_of_etcd("1.5 MB").verdict == DIFFERS


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


def test_a_leader_commits_on_its_peers_word_and_on_no_strangers() -> None:
    assert not membership.commits_with_strangers(10)
    engine, leader = start(ClusterParameters.of())
    one_peer = next(server for server in (1, 2, 3) if server != leader)
    engine.crash(one_peer)
    assert membership.is_committed(engine, leader)


def test_four_identities_outvote_three_servers_and_three_do_not() -> None:
    assert not membership.commits_without_honest(3)
    assert membership.commits_without_honest(4)
    assert membership.identities_to_take_over() == 4


def test_the_share_of_the_chain_follows_work() -> None:
    """A third of the work gives about a third of 3000 blocks: 5 sigma is 4.3 %."""
    blocks, total = membership.share_of_chain(10, work=1 / 3, seed=3)
    assert abs(blocks / total - 1 / 3) < 0.043


@pytest.mark.parametrize(("n_servers", "survived"), [(1, 0), (2, 0), (3, 1), (4, 1), (5, 2)])
def test_a_majority_survives(n_servers: int, survived: int) -> None:
    assert loads.failures_survived(n_servers) == survived


def test_the_leader_sends_most_bytes() -> None:
    share, is_leader = loads.cluster_busiest_share(ClusterParameters.of({"n_servers": 5}))
    assert is_leader and share > 0.5


@pytest.mark.slow
def test_the_table_has_every_row_and_saves_the_same_bytes(tmp_path) -> None:
    small = comparison.Parameters.of({"n_nodes": 100, "replicates": 2})
    result = comparison.run(small)
    keys = [row.key for row in constants.ESSAY_TABLE]
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
    for row in constants.ESSAY_TABLE:
        assert row.title in text


@pytest.mark.slow
def test_a_tenth_of_the_interval_is_a_tenth_of_the_wait() -> None:
    small = {"n_nodes": 100, "replicates": 2}
    slow = comparison.run(comparison.Parameters.of(small))
    fast = comparison.run(comparison.Parameters.of({**small, "block_interval_s": 60.0}))
    name = "finality, Nakamoto (Bitcoin)"
    ratio = slow.measure(name).value / fast.measure(name).value
    assert 8.0 < ratio < 12.0
