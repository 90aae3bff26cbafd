"""Multi-Paxos under fire: seeded faults of all kinds, every promise of the log checked.

A failure names its seed; `random_run(settings, seed=...)` replays it to the byte.  The second part
plants classic bugs and shows that such runs find them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from consensus_lab.client import Refused
from consensus_lab.paxos.multi_messages import Reconfigure
from consensus_lab.paxos.quorum import Quorums
from consensus_lab.sim.streams import stream
from tests.paxos import multi_bugs as bugs
from tests.paxos.multi_cluster import MS, Cluster, parameters
from tests.paxos.multi_random_run import ROUGH, STORM, random_run

SMALL = {
    "snapshot_entries": 20, "catch_up_entries": 5, "learn_count_max": 8, "window_slots": 16,
}  # fmt: skip
HASTY = {
    **SMALL, "election_timeout_ns": 50 * MS, "heartbeat_interval_ns": 15 * MS,
    "pre_vote": False, "check_quorum": False,
}  # fmt: skip
TINY = {
    "snapshot_entries": 3, "catch_up_entries": 0, "learn_count_max": 1, "window_slots": 1,
    "pipeline_batches_max": 1,
}  # fmt: skip


def drifting(cluster: Cluster) -> None:
    """Clocks that run fast and slow, within the bound of 1000 parts per million."""
    for node, drift in zip(cluster.node_ids, (990, -990, 500, -300, 0), strict=False):
        cluster.engine.set_clock(node, drift_ppm=drift)


def reconfiguring(cluster: Cluster) -> None:
    """Every 250 ms somebody asks for other acceptors, any set of them."""
    source = stream(cluster.engine.seed, "reconfigure")

    def change(number: int) -> None:
        members = source.sample(cluster.node_ids, source.randrange(1, 6))
        command = Reconfigure(("change", number), Quorums(sorted(members)))
        cluster.engine.submit(cluster.leader() or 1, command)

    for number in range(11):
        cluster.engine.at((300 + 250 * number) * MS, lambda n=number: change(n))


def changing(weather: Any, **settings: Any) -> dict[str, Any]:
    """Three of five replicas are acceptors, and others all the time."""
    return {
        "settings": parameters((1, 2, 3), **settings), "nodes": (1, 2, 3, 4, 5),
        "is_watched": False, "before": reconfiguring, "weather": weather,
    }  # fmt: skip


RUNS: dict[str, dict[str, Any]] = {
    "three": {"settings": parameters(**SMALL)},
    "five": {"settings": parameters((1, 2, 3, 4, 5), **SMALL)},
    "one": {"settings": parameters((1,), **SMALL)},
    "two": {"settings": parameters((1, 2), **SMALL)},
    "tiny limits": {"settings": parameters(**TINY)},
    "no snapshots": {"settings": parameters(snapshot_entries=None)},
    "batches": {"settings": parameters(batch_delay_ns=5 * MS, batch_count_max=4, **SMALL)},
    "lease": {"settings": parameters(leader_lease=True, **SMALL), "before": drifting},
    "flexible": {
        "settings": parameters(Quorums((1, 2, 3, 4, 5), phase1=4, phase2=2), **SMALL)
    },
    "flexible lease": {
        "settings": parameters(Quorums((1, 2, 3, 4), phase1=2, phase2=3), leader_lease=True),
        "before": drifting,
    },
    "storm": {"settings": parameters(**HASTY), "weather": STORM},
    "storm of five": {"settings": parameters((1, 2, 3, 4, 5), **HASTY), "weather": STORM},
    "storm lease": {
        "settings": parameters(leader_lease=True, **HASTY), "weather": STORM, "before": drifting,
    },
    "changing": changing(ROUGH, **SMALL),
    "changing lease": changing(ROUGH, leader_lease=True, **SMALL),
    "changing, window of 2": changing(ROUGH, **{**SMALL, "window_slots": 2}),
    "changing storm": changing(STORM, **HASTY),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_nothing_breaks_under_fire(name: str) -> None:
    """Agreement, one value per slot, equal prefixes, linearizable clients, and a leader after."""
    for seed in range(6):
        random_run(**RUNS[name], seed=seed)


@pytest.mark.full
@pytest.mark.parametrize("name", RUNS)
def test_nothing_breaks_under_fire_for_long(name: str) -> None:
    """The same with many more seeds."""
    for seed in range(100, 250):
        random_run(**RUNS[name], seed=seed)


@pytest.mark.slow
def test_the_runs_are_what_they_claim_to_be() -> None:
    """Leaders change, snapshots travel, reconfigurations take effect, clients get answers."""
    runs = [random_run(**RUNS["tiny limits"], seed=seed) for seed in range(3)]
    assert sum(run.count("leader") for run in runs) > 6
    assert sum(run.count("install") for run in runs) > 3
    assert sum(len(client.history) for run in runs for client in run.clients) > 150
    changed = random_run(**RUNS["changing"], seed=1)
    results = [r for i, r in changed.replies.items() if i[0] == "change"]
    assert sum(not isinstance(result, Refused) for result in results) >= 3


SEEDS_MAX = 150
"""Runs within which a planted bug has to show."""

IN_A_STORM = {"settings": parameters(**HASTY), "weather": STORM}
IN_A_STORM_OF_SNAPSHOTS = {"settings": parameters(**{**HASTY, **TINY}), "weather": STORM}

CAUGHT_BY_CHANCE: tuple[tuple[Callable[..., None], dict[str, Any]], ...] = (
    (bugs.phase_1_value_not_adopted, IN_A_STORM),
    (bugs.no_op_over_a_chosen_value, IN_A_STORM),
    (bugs.accepted_value_not_persisted, IN_A_STORM),
    (bugs.quorum_minus_one, IN_A_STORM),
    (bugs.accepts_below_the_promise, IN_A_STORM),
    (bugs.chosen_whatever_the_ballot, IN_A_STORM),
    (bugs.read_without_a_round, IN_A_STORM),
    (bugs.read_before_catching_up, IN_A_STORM),
    (bugs.command_takes_effect_twice, IN_A_STORM),
    (bugs.snapshot_without_sessions, IN_A_STORM_OF_SNAPSHOTS),
    (bugs.era_begins_at_once, RUNS["changing storm"]),
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bug", "run"), CAUGHT_BY_CHANCE, ids=[bug.__name__ for bug, _ in CAUGHT_BY_CHANCE]
)
def test_a_planted_bug_is_found(
    bug: Callable[..., None], run: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some seed shows it."""
    bug(monkeypatch)
    for seed in range(SEEDS_MAX):
        try:
            random_run(**run, seed=seed)
        except AssertionError:
            return
    pytest.fail(f"{bug.__name__} was not found in {SEEDS_MAX} runs")


@pytest.mark.slow
def test_a_lease_beyond_the_clock_bound_is_found() -> None:
    """Clocks that drift by 60 % under a bound of 0.1 %: some client reads what is over."""

    def broken_clocks(cluster: Cluster) -> None:
        for node in cluster.node_ids:
            cluster.engine.set_clock(node, drift_ppm=600_000 - 600_000 * (node % 3))

    settings = parameters(leader_lease=True, check_quorum=False, pre_vote=False, **SMALL)
    for seed in range(SEEDS_MAX):
        try:
            random_run(settings, seed=seed, before=broken_clocks)
        except AssertionError as error:
            assert "not linearizable" in str(error)
            return
    pytest.fail("the unsafe lease was not found")
