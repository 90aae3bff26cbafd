"""The engine keeps the Node contract: order, durability before sending, crashes, determinism."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from consensus_lab.node import (
    Apply,
    CancelTimer,
    Effects,
    ParameterError,
    Persist,
    Reply,
    Send,
    SetTimer,
)
from consensus_lab.sim.engine import Engine
from consensus_lab.sim.faults import ClockFault, Crash, SlowDisk, Trouble, install, partition
from consensus_lab.sim.links import Bandwidth, Link, Links
from consensus_lab.sim.process import Cores, Host
from consensus_lab.sim.trace import Trace

ROOT = Path(__file__).parents[2]


class Text(NamedTuple):
    """A message for the tests."""

    text: str
    size_bytes: int = 100


class Scripted:
    """A node that answers each input with the effects that its script names for it."""

    def __init__(self, node_id: int, disk: dict[Any, Any], script: dict[Any, Effects]) -> None:
        self.node_id = node_id
        self.disk = disk
        self.script = script
        self.log: list[tuple[Any, int]] = []

    def _answer(self, key: Any, now: int) -> Effects:
        self.log.append((key, now))
        return self.script.get(key, [])

    def start(self, now: int) -> Effects:
        return self._answer("start", now)

    def receive(self, sender: int, message: Any, now: int) -> Effects:
        return self._answer(message.text, now)

    def timer(self, name: str, now: int) -> Effects:
        return self._answer(name, now)

    def submit(self, command: Any, now: int) -> Effects:
        return self._answer(command, now)


def engine_of(scripts: dict[int, dict[Any, Effects]], **keywords: Any) -> Engine:
    keywords.setdefault("seed", 1)
    return Engine(lambda i, disk: Scripted(i, disk, scripts[i]), sorted(scripts), **keywords)


def write(key: str, value: Any = 1) -> Persist:
    return Persist(((key, value),))


def test_a_message_takes_its_links_latency() -> None:
    engine = engine_of({0: {"go": [Send(1, Text("hi"))]}, 1: {}}, links=Link(250))
    engine.submit(0, "go", 1000)
    engine.run()
    assert engine.nodes[1].log == [("start", 0), ("hi", 1250)]


def test_equal_times_come_out_in_the_order_of_scheduling() -> None:
    sends = [Send(1, Text(name)) for name in "cab"]
    engine = engine_of({0: {"go": sends}, 1: {}}, links=Link(10))
    engine.submit(0, "go")
    engine.run()
    assert [key for key, _ in engine.nodes[1].log] == ["start", "c", "a", "b"]


def test_what_stands_before_a_send_is_durable_before_it_is_sent() -> None:
    go = [Send(1, Text("early")), write("x"), Send(1, Text("late")), Reply("r", "ok")]
    engine = engine_of({0: {"go": go}, 1: {}}, links=Link(10), hosts=Host(fsync_ns=500))
    replies = []
    engine.on_reply = lambda node, effect, now: replies.append((effect, now, dict(engine.disks[0])))
    engine.submit(0, "go")
    engine.run()
    assert engine.nodes[1].log[1:] == [("early", 10), ("late", 510)]
    assert replies == [(Reply("r", "ok"), 500, {"x": 1})]


def test_a_later_inputs_send_waits_for_an_earlier_inputs_write() -> None:
    script = {"one": [write("promise")], "two": [Send(1, Text("told"))]}
    engine = engine_of({0: script, 1: {}}, links=Link(0), hosts=Host(fsync_ns=100))
    engine.submit(0, "one", 0)
    engine.submit(0, "two", 10)
    engine.run()
    assert engine.nodes[1].log[1:] == [("told", 100)]


def test_writes_that_queue_behind_an_fsync_share_the_next_one() -> None:
    script = {name: [write(name), Send(1, Text(name))] for name in "abc"}
    engine = engine_of({0: script, 1: {}}, hosts=Host(fsync_ns=100))
    for time, name in enumerate("abc"):
        engine.submit(0, name, time)
    engine.run()
    assert engine.nodes[1].log[1:] == [("a", 100), ("b", 200), ("c", 200)]


def test_a_message_to_oneself_keeps_its_place_behind_the_write() -> None:
    script = {"go": [write("vote"), Send(0, Text("counted"))]}
    engine = engine_of({0: script}, links=Link(999), hosts=Host(fsync_ns=70, receive_ns=5))
    engine.submit(0, "go")
    engine.run()
    assert engine.nodes[0].log[1:] == [("go", 5), ("counted", 75)]


def test_a_crash_loses_memory_and_unsynced_writes_and_their_messages() -> None:
    script = {"a": [write("a")], "b": [write("b"), Send(1, Text("b"))]}
    engine = engine_of({0: script, 1: {}}, hosts=Host(fsync_ns=100))
    engine.submit(0, "a", 0)
    engine.submit(0, "b", 50)
    install(engine, [Crash(0, at_ns=150, restart_ns=400)])
    engine.run()
    assert engine.disks[0] == {"a": 1}
    assert engine.nodes[0].disk == {"a": 1}
    assert engine.nodes[0].log == [("start", 400)]
    assert engine.nodes[1].log == [("start", 0)]


@pytest.mark.parametrize(("kept", "disk"), [(0, {}), (1, {"a": 1}), (2, {"a": 1, "b": 1})])
def test_a_prefix_of_the_unsynced_writes_may_survive(kept: int, disk: dict[str, int]) -> None:
    engine = engine_of({0: {"go": [write("a"), write("b")]}}, hosts=Host(fsync_ns=100))
    engine.submit(0, "go")
    install(engine, [Crash(0, at_ns=50, keep_unsynced=kept)])
    engine.run()
    assert engine.disks[0] == disk


def test_a_value_of_none_deletes_the_key() -> None:
    engine = engine_of({0: {"put": [write("a")], "cut": [write("a", None)]}})
    engine.submit(0, "put", 1)
    engine.submit(0, "cut", 2)
    engine.run(until_ns=1)
    assert engine.disks[0] == {"a": 1}
    engine.run()
    assert engine.disks[0] == {}


def test_a_timer_that_is_set_again_goes_off_once_at_the_later_time() -> None:
    script = {"start": [SetTimer("t", 100)], "beat": [SetTimer("t", 100)]}
    engine = engine_of({0: script})
    for time in (30, 60, 90):
        engine.submit(0, "beat", time)
    engine.run()
    assert [entry for entry in engine.nodes[0].log if entry[0] == "t"] == [("t", 190)]


def test_a_timer_may_be_set_earlier_and_may_be_cancelled() -> None:
    script = {
        "start": [SetTimer("t", 100), SetTimer("u", 50)],
        "sooner": [SetTimer("t", 5)],
        "stop": [CancelTimer("u")],
    }
    engine = engine_of({0: script})
    engine.submit(0, "sooner", 10)
    engine.submit(0, "stop", 20)
    engine.run()
    assert [entry for entry in engine.nodes[0].log if entry[0] in "tu"] == [("t", 15)]


def test_timers_of_before_a_crash_do_not_go_off_after_it() -> None:
    engine = engine_of({0: {"go": [SetTimer("t", 100)]}})
    engine.submit(0, "go")
    install(engine, [Crash(0, at_ns=50, restart_ns=60)])
    engine.run()
    assert engine.nodes[0].log == [("start", 60)]


def test_cpu_handles_one_input_after_the_other_and_charges_each_send() -> None:
    script = {"go": [Send(1, Text("x")), Send(1, Text("y"))]}
    hosts = {0: Host(receive_ns=100, send_ns=10)}
    engine = engine_of({0: script, 1: {}}, links=Link(0), hosts=hosts)
    engine.submit(0, "go", 0)
    engine.submit(0, "go", 0)
    engine.run()
    assert [time for _, time in engine.nodes[0].log[1:]] == [100, 200]
    # The second input was queued before the first one's messages were sent.
    assert [time for _, time in engine.nodes[1].log[1:]] == [210, 220, 230, 240]


def test_hosts_that_share_cores_wait_for_each_other_and_the_others_do_not() -> None:
    """Three inputs at once: on two cores the third waits, on one the second does, too."""
    for count, expected in ((1, [100, 200, 300]), (2, [100, 100, 200]), (3, [100] * 3)):
        host = Host(receive_ns=100, cores=Cores(count))
        engine = engine_of({0: {}, 1: {}, 2: {}, 3: {}}, hosts=dict.fromkeys((0, 1, 2), host))
        for node_id in (0, 1, 2, 3):
            engine.submit(node_id, "go", 0)
        engine.run()
        assert [engine.nodes[i].log[1][1] for i in (0, 1, 2)] == expected
        assert engine.nodes[3].log[1][1] == 0
    with pytest.raises(ParameterError, match="cores"):
        Cores(0)


def test_long_messages_queue_for_upload_and_short_ones_slip_between() -> None:
    sends = [Send(1, Text("big", 10_000)), Send(2, Text("big", 10_000)), Send(2, Text("tiny", 100))]
    links = Links(Link(5), bandwidth=Bandwidth(upload_bytes_per_s=10**9))
    engine = engine_of({0: {"go": sends}, 1: {}, 2: {}}, links=links)
    engine.submit(0, "go")
    engine.run()
    assert engine.nodes[1].log[1:] == [("big", 10_005)]
    assert engine.nodes[2].log[1:] == [("tiny", 105), ("big", 20_005)]


def test_long_messages_queue_for_download_and_overlap_their_upload() -> None:
    links = Links(Link(5), bandwidth={
        0: Bandwidth(upload_bytes_per_s=10**9), 1: Bandwidth(upload_bytes_per_s=10**9),
        2: Bandwidth(download_bytes_per_s=5 * 10**8),
    })  # fmt: skip
    script = {"go": [Send(2, Text("big", 10_000))]}
    engine = engine_of({0: script, 1: script, 2: {}}, links=links)
    engine.submit(0, "go", 0)
    engine.submit(1, "go", 1000)
    engine.run()
    # First byte at 5, 20,000 ns through the slower line; the second waits for the first.
    assert [time for _, time in engine.nodes[2].log[1:]] == [20_005, 40_005]


def test_partitions_cut_one_direction_and_heal() -> None:
    script = {"go": [Send(1, Text("x"))], "back": [Send(0, Text("y"))]}
    engine = engine_of({0: script, 1: script}, links=Link(1))
    install(engine, partition([0], [1], at_ns=10, until_ns=20)[:1])
    for time in (5, 15, 25):
        engine.submit(0, "go", time)
        engine.submit(1, "back", time)
    engine.run()
    assert [time for _, time in engine.nodes[1].log if _ == "x"] == [6, 26]
    assert [time for _, time in engine.nodes[0].log if _ == "y"] == [6, 16, 26]


def test_overlapping_partitions_heal_when_the_last_one_ends() -> None:
    engine = engine_of({0: {"go": [Send(1, Text("x"))]}, 1: {}}, links=Link(1))
    install(engine, partition([0], [1], at_ns=10, until_ns=30))
    install(engine, partition([0], [1], at_ns=20, until_ns=50))
    for time in (40, 60):
        engine.submit(0, "go", time)
    engine.run()
    assert engine.nodes[1].log[1:] == [("x", 61)]


def test_a_link_may_be_changed_in_a_run() -> None:
    links = Links(Link(10))
    engine = engine_of({0: {"go": [Send(1, Text("x"))]}, 1: {}}, links=links)
    engine.submit(0, "go", 0)
    engine.at(50, lambda: links.change(0, 1, Link(1000)))
    engine.submit(0, "go", 100)
    engine.run()
    assert engine.nodes[1].log[1:] == [("x", 10), ("x", 1100)]


def test_loss_and_duplication_come_at_their_rates() -> None:
    script = {"go": [Send(1, Text("x"))]}
    links = Link(1, loss=0.2, duplicate=0.1, reorder_ns=50)
    engine = engine_of({0: script, 1: {}}, links=links)
    for time in range(10_000):
        engine.submit(0, "go", time)
    engine.run()
    arrived = len(engine.nodes[1].log) - 1
    # 10,000 x 0.8 x 1.1 = 8800; the standard deviation of that sum is 51.
    assert abs(arrived - 8800) < 5 * 51


def test_fifo_links_keep_order_under_jitter_and_others_do_not() -> None:
    for fifo in (False, True):
        script = {n: [Send(1, Text(str(n)))] for n in range(200)}
        links = Link(100, jitter_ns=1000, fifo=fifo)
        engine = engine_of({0: script, 1: {}}, links=links)
        for n in range(200):
            engine.submit(0, n, n)
        engine.run()
        order = [int(key) for key, _ in engine.nodes[1].log[1:]]
        assert (order == sorted(order)) is fifo


def test_trouble_and_slow_disks_pass() -> None:
    script = {"go": [write("x"), Send(1, Text("x"))]}
    engine = engine_of({0: script, 1: {}}, links=Link(0), hosts=Host(fsync_ns=1))
    install(engine, [Trouble(10, 20, loss=1.0), SlowDisk(0, 500, 30, 40)])
    for time in (0, 15, 35, 1000):
        engine.submit(0, "go", time)
    engine.run()
    assert [time for _, time in engine.nodes[1].log[1:]] == [1, 535, 1001]


def test_a_fast_clock_shows_more_and_its_timers_go_off_sooner() -> None:
    script = {"go": [SetTimer("t", 1000)]}
    engine = engine_of({0: script})
    install(engine, [ClockFault(0, at_ns=0, offset_ns=50, drift_ppm=1_000_000)])
    engine.submit(0, "go", 100)
    engine.run()
    # 100 ns true are 250 shown; the timer needs 1000 shown, which is 500 true.
    assert engine.nodes[0].log[1:] == [("go", 250), ("t", 1250)]
    assert engine.now == 600


def test_invariants_see_every_event_and_stop_the_run() -> None:
    def never_x(engine: Engine, node_id: int) -> None:
        assert "x" not in engine.disks[node_id], f"x at {engine.now}"

    engine = engine_of({0: {"go": [write("x")]}}, invariants=[never_x])
    engine.submit(0, "go", 7)
    with pytest.raises(AssertionError, match="x at 7"):
        engine.run()


def test_applies_reach_the_hook_in_order() -> None:
    engine = engine_of({0: {"go": [Apply(1, "a"), Apply(2, "b")]}})
    seen = []
    engine.on_apply = lambda node, effect, now: seen.append((node, effect.index, effect.command))
    engine.submit(0, "go")
    engine.run()
    assert seen == [(0, 1, "a"), (0, 2, "b")]


def test_wrong_use_is_refused_by_name() -> None:
    engine = engine_of({0: {}})
    with pytest.raises(ParameterError, match="node_id must be one of"):
        engine.submit(5, "go")
    with pytest.raises(ParameterError, match="node must be one of"):
        install(engine, [Crash(9, at_ns=0)])
    with pytest.raises(ParameterError, match="until_ns"):
        install(engine, [SlowDisk(0, 1, at_ns=10, until_ns=5)])
    with pytest.raises(ParameterError, match="duplicates"):
        Engine(lambda i, disk: Scripted(i, disk, {}), [0, 0], seed=1)
    with pytest.raises(ParameterError, match="loss"):
        Link(1, loss=1.5).validated()
    with pytest.raises(ParameterError, match="fsync_ns"):
        Host(fsync_ns=-1)
    wrong = engine_of({0: {"go": ["no effect"]}})  # type: ignore[list-item]
    wrong.submit(0, "go")
    with pytest.raises(AssertionError, match="not an effect: 'no effect'"):
        wrong.run()


PROGRAM = """
from tests.sim.test_engine import digest
print(digest({seed}))
"""


def digest(seed: int) -> str:
    """Digest of a run in which everything may go wrong."""
    script = {
        n: [write("n", n), Send((n + 1) % 3, Text(str(n))), Send((n + 2) % 3, Text(str(n)))]
        for n in range(50)
    }
    trace = Trace()
    links = Link(1000, jitter_ns=500, loss=0.1, duplicate=0.1, reorder=0.2, reorder_ns=4000)
    hosts = Host(receive_ns=50, send_ns=20, fsync_ns=300, fsync_jitter_ns=300)
    engine = engine_of(
        dict.fromkeys(range(3), script), seed=seed, links=links, hosts=hosts, trace=trace
    )
    faults = [Crash(1, at_ns=10_000, restart_ns=20_000, keep_unsynced=1)]
    install(engine, [*faults, *partition([0], [1, 2], at_ns=30_000, until_ns=40_000)])
    for n in range(50):
        engine.submit(n % 3, n, n * 1000)
    engine.run()
    return trace.digest()


@pytest.mark.slow
def test_one_seed_gives_the_same_bytes_in_two_processes_and_another_seed_others() -> None:
    def elsewhere(hash_seed: str, seed: int) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-c", PROGRAM.format(seed=seed)]
        done = subprocess.run(
            command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    assert elsewhere("1", 7) == elsewhere("2", 7) == digest(7)
    assert elsewhere("1", 8) != digest(7)
