"""Schedules: turns in the order that was written down, and nothing else."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from consensus_lab.node import Effects, ParameterError, Send, SetTimer
from consensus_lab.sim.schedule import Schedule, ScheduledRun


class Word(NamedTuple):
    text: str


class Echo:
    """Passes each message on to the next of three processes, and remembers it."""

    def __init__(self, node_id: int, disk: Any) -> None:
        self.node_id = node_id
        self.got: list[str] = []

    def start(self, now: int) -> Effects:
        return [SetTimer("alarm", 5)]

    def receive(self, sender: int, message: Word, now: int) -> Effects:
        self.got.append(message.text)
        if message.text == "self":
            return [Send(self.node_id, Word("again"))]
        return [Send(self.node_id % 3 + 1, message)] if message.text == "on" else []

    def timer(self, name: str, now: int) -> Effects:
        return [Send(self.node_id % 3 + 1, Word(name))]

    def submit(self, command: Any, now: int) -> Effects:
        return [Send(self.node_id, Word(command))]


def run_of_three() -> ScheduledRun:
    return ScheduledRun(Echo, {"a": 1, "b": 2, "c": 3})


def got(run: ScheduledRun) -> list[list[str]]:
    return [run.nodes[node].got for node in (1, 2, 3)]


def test_a_turn_takes_what_was_waiting_and_no_more():
    run = run_of_three()
    run.submit("a", "on")
    assert got(run) == [["on"], [], []]
    taken = run.run(Schedule.of("c b a", "b c"), turns_max=4)
    assert taken == 4
    assert got(run) == [["on"], ["on"], []]
    run.turn("c")
    assert got(run) == [["on"], ["on"], ["on"]]
    run.turn("a")
    assert got(run) == [["on", "on"], ["on"], ["on"]]


def test_what_a_process_tells_itself_comes_at_once():
    run = run_of_three()
    run.submit("b", "self")
    assert got(run) == [[], ["self", "again"], []]


def test_a_turn_can_let_a_timer_go_off():
    run = run_of_three()
    run.run(Schedule.of("a:alarm b"), turns_max=9)
    assert got(run) == [[], ["alarm"], []]
    with pytest.raises(ParameterError, match="schedule must be a timer that a has set"):
        run.turn("a:alarm")


def test_a_run_stops_at_its_condition_or_its_end():
    run = run_of_three()
    run.submit("a", "on")
    assert run.run(Schedule.of("", "a b c"), turns_max=99, until=lambda: got(run)[2] != []) == 3
    assert run.run(Schedule.of("a b"), turns_max=99) == 2


@pytest.mark.parametrize("schedule", [Schedule.of("a x"), Schedule.of("a", "b x:alarm")], ids=str)
def test_a_schedule_that_names_an_unknown_process_is_refused_before_its_first_turn(schedule):
    run = run_of_three()
    with pytest.raises(ParameterError) as refused:
        run.run(schedule, turns_max=9)
    assert refused.value.parameter == "schedule"
    assert refused.value.allowed == "turns of a, b, c"
    assert run.turn_count == 0


def test_other_mistakes_are_refused_by_name():
    with pytest.raises(ParameterError, match="schedule"):
        Schedule()
    with pytest.raises(ParameterError, match="one of a, b, c"):
        run_of_three().submit("x", "on")
    for wrong in ({"a b": 1}, {"a:b": 1}, {}, {"a": 1, "b": 1}):
        with pytest.raises(ParameterError, match="processes"):
            ScheduledRun(Echo, wrong)


def test_the_trace_pairs_every_reception_with_its_sending():
    run = run_of_three()
    run.submit("a", "on")
    run.run(Schedule.of("", "a b c"), turns_max=30)
    sent = {r.number: (r.node, r.peer) for r in run.trace if r.event == "send"}
    received = {r.number: (r.peer, r.node) for r in run.trace if r.event == "receive"}
    assert received and all(sent[number] == pair for number, pair in received.items())
    assert [r.time_ns for r in run.trace] == sorted(r.time_ns for r in run.trace)
