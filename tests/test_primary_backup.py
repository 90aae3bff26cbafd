"""The example protocol: when it answers, what a backup lacks, what a crash leaves."""

from __future__ import annotations

import pytest

from consensus_lab.client import Request
from consensus_lab.experiments import primary_backup
from consensus_lab.node import ParameterError, Persist, Reply, Send
from consensus_lab.primary_backup import Copy, Kept, PrimaryBackup
from consensus_lab.sim.engine import Engine
from consensus_lab.sim.links import Link


def server(node_id: int, *, copies_needed: int = 2) -> PrimaryBackup:
    """One of three servers; 1 is the primary."""
    return PrimaryBackup(node_id, {}, servers=(1, 2, 3), copies_needed=copies_needed)


def test_the_client_is_answered_once_enough_servers_have_the_write() -> None:
    primary = server(1)
    effects = primary.submit(Request("r", "x"), 0)
    assert [e.to for e in effects if isinstance(e, Send)] == [2, 3, 1]
    assert primary.receive(1, Kept(1), 1) == []
    assert Reply("r", 1) in primary.receive(3, Kept(1), 2)
    assert primary.receive(2, Kept(1), 3) == []


def test_its_own_copy_counts_only_once_it_is_on_disk() -> None:
    effects = server(1).submit(Request("r", "x"), 0)
    own = effects.index(Send(1, Kept(1)))
    assert any(isinstance(effect, Persist) for effect in effects[:own])


def test_a_backup_keeps_the_copy_before_it_says_so() -> None:
    backup = server(2)
    persist, kept = backup.receive(1, Copy(1, "x"), 0)
    assert persist.writes == ((1, "x"),) and kept == Send(1, Kept(1))
    assert backup.submit(Request("r", "x"), 0) == []


def test_a_copy_that_comes_twice_changes_nothing() -> None:
    primary = server(1, copies_needed=3)
    primary.submit(Request("r", "x"), 0)
    answers = [primary.receive(sender, Kept(1), 0) for sender in (1, 2, 2, 2)]
    assert answers == [[], [], [], []]


def test_what_was_on_disk_is_there_after_a_crash() -> None:
    make = lambda i, disk: PrimaryBackup(i, disk, servers=(1, 2), copies_needed=2)
    engine = Engine(make, (1, 2), seed=1, links=Link(1000))
    engine.submit(1, Request("r", "x"))
    engine.run()
    engine.crash(2)
    engine.restart(2)
    assert engine.nodes[2].log == {1: "x"}  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.parametrize("loss", [0.0, 0.1, 0.4])
def test_simulated_shares_are_those_of_the_binomial_law(loss: float) -> None:
    parameters = primary_backup.Parameters.of({"loss": loss, "n_writes": 2000, "n_servers": 4})
    frame = primary_backup.run(parameters).frame
    for row in frame.itertuples():
        for share, exact, count in (
            (row.acknowledged_share, row.acknowledged_exact, row.writes),
            (row.lost_share, row.lost_exact, row.acknowledged),
        ):
            sigma = (exact * (1 - exact) / count) ** 0.5
            assert abs(share - exact) <= 3.5 * sigma + 1e-12, row


def test_a_number_of_copies_that_cannot_be_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"from 1 to the number of servers \(3\)"):
        server(1, copies_needed=4)
