"""The swarm itself: a few seeds of both protocols, replay to the byte, and the command."""

import os
import subprocess
import sys

import pytest
from hypothesis import strategies as st

from consensus_lab.node import ParameterError
from consensus_lab.sim import faults
from consensus_lab.sim.swarm import run_plan
from consensus_lab.sim.swarm_plan import SERVERS_MAX, draw_plan
from consensus_lab.sim.trace import Trace
from tests.swarm import __main__ as command
from tests.swarm import parsers
from tests.swarm.protocols import PROTOCOLS

NAMES = sorted(PROTOCOLS)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 40, 10))
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_found(name, first):
    """Ten seeds: no invariant broken, every history linearizable, no cluster stuck."""
    outcomes = command.run_seeds(name, [*range(first, first + 10)])
    assert [(o.seed, o.failure) for o in outcomes if o.failure is not None] == []
    assert sum(outcome.answered for outcome in outcomes) > 100, "the clients get answers"


@pytest.mark.slow
@pytest.mark.parametrize("seed", [5162, 5250])
def test_a_clients_bad_luck_is_not_the_clusters(seed):
    """A client that only asks servers which were removed, without knowing, is no stuck cluster."""
    (outcome,) = command.run_seeds("raft", [seed])
    assert outcome.failure is None
    assert outcome.pending > 0


@pytest.mark.full
@pytest.mark.parametrize("first", range(1000, 2000, 50))
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_found_in_many_seeds(name, first):
    """The same with a thousand other seeds."""
    outcomes = command.run_seeds(name, [*range(first, first + 50)])
    assert [(o.seed, o.failure) for o in outcomes if o.failure is not None] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_seed_replays_to_the_byte_in_another_process(name):
    """Two processes with different string hashing print the same trace digest."""
    printed = []
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "SEED": "3"}
        run = subprocess.run(
            [sys.executable, "-m", "tests.swarm", "--protocol", name],
            env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        printed.append(run.stdout)
    assert printed[0] == printed[1]
    assert "trace digest " in printed[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_trace_does_not_change_the_run(name):
    """With and without a trace the same events happen."""
    plan, protocol = draw_plan(5), PROTOCOLS[name]()
    watched = run_plan(plan, protocol, trace=Trace())
    alone = run_plan(plan, protocol)
    assert watched._replace(digest="") == alone._replace(digest="")


def test_plans_are_drawn_from_the_seed_alone():
    """Equal seeds, equal plans; other seeds, other plans."""
    assert draw_plan(7) == draw_plan(7)
    assert draw_plan(7) != draw_plan(8)


def test_plans_cover_what_the_swarm_promises():
    """1 to 7 servers; every kind of fault; membership changes; none after the calm."""
    plans = [draw_plan(seed) for seed in range(300)]
    assert {len(plan.servers) for plan in plans} == set(range(1, SERVERS_MAX + 1))
    kinds = {type(fault) for plan in plans for fault in plan.faults}
    assert kinds == {
        faults.Crash, faults.Partition, faults.Trouble, faults.SlowDisk, faults.ClockFault,
    }  # fmt: skip
    assert {f.kind for plan in plans for f in plan.leader_faults} == {
        "crash", "isolate", "mute", "deaf",
    }  # fmt: skip
    assert any(plan.changes for plan in plans)
    assert any(not plan.changes for plan in plans)
    one_way = [
        fault for plan in plans for fault in plan.faults
        if isinstance(fault, faults.Partition)
        and fault._replace(senders=fault.receivers, receivers=fault.senders) not in plan.faults
    ]  # fmt: skip
    assert one_way, "some partitions are asymmetric"
    for plan in plans:
        for fault in (*plan.faults, *plan.leader_faults):
            assert fault.at_ns < plan.calm_ns
            end = getattr(fault, "until_ns", getattr(fault, "restart_ns", 0))
            assert end <= plan.calm_ns


def test_links_are_lossy_double_and_reorder_in_some_plans():
    """The network is good in some runs and bad in others."""
    links = [draw_plan(seed).link for seed in range(100)]
    for name in ("loss", "duplicate", "reorder", "jitter_ns"):
        values = {getattr(link, name) > 0 for link in links}
        assert values == {True, False}, name


@pytest.mark.parametrize("servers_max", [0, 8])
def test_a_wrong_number_of_servers_is_refused(servers_max):
    """From 1 to 7."""
    with pytest.raises(ParameterError, match="servers_max must be from 1 to 7"):
        draw_plan(1, servers_max=servers_max)


@pytest.mark.slow
def test_the_command_counts_and_exits_with_zero(capsys):
    """A sweep that finds nothing."""
    assert command.main(["--seeds", "3", "--jobs", "1", "--protocol", "multipaxos"]) == 0
    assert "multipaxos: 3 seeds, 0 failed" in capsys.readouterr().out


@pytest.mark.slow
def test_workers_find_what_one_process_finds():
    """The number of workers changes nothing but the time."""
    alone = [o for chunk in command.run_swarm("multipaxos", range(12), 1) for o in chunk]
    shared = [o for chunk in command.run_swarm("multipaxos", range(12), 2) for o in chunk]
    assert sorted(shared) == sorted(alone)


@pytest.mark.slow
def test_damaged_bytes_are_thrown_at_every_parser(capsys):
    """The command's second half, a few cases of it; by default there are more than 100,000."""
    assert parsers.CASES * len(parsers.PARSERS) >= 100_000
    assert parsers.main(["--cases", "5", "--jobs", "1"]) == 0
    words = capsys.readouterr().out.split()
    assert words[:2] == ["parsers:", f"{len(parsers.PARSERS)},"]
    assert int(words[2]) > 4 * len(parsers.PARSERS)


def test_a_parser_that_breaks_is_found_again_with_its_number(monkeypatch, capsys):
    """An exception of another kind is a failure; the same start finds the same case."""
    broken = (st.integers(0, 1000), lambda value: [][value] if value > 700 else None)
    monkeypatch.setitem(parsers.PARSERS, "broken", broken)
    found = [parsers.attack("broken", 200, start=7) for _ in range(2)]
    assert found[0] == found[1]
    assert found[0][1].startswith("IndexError") and "value=701" in found[0][1]
