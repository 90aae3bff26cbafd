"""The story of a cluster: steps, deeds, and going back to the very bytes that were there."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus_lab.experiments.clusters import ClusterParameters
from consensus_lab.explorers.raft_story import (
    HEARTBEATS,
    MOMENT_NS,
    STEP_NS_MAX,
    Action,
    RaftStory,
    as_program,
    from_program,
    is_visible,
)
from consensus_lab.node import ParameterError
from consensus_lab.sim.log_invariants import LogInvariants
from tests.swarm.protocols import LogOnDisk

ELECTED = "wait 4000 ms, propose, wait 400 ms"


def logs(story: RaftStory) -> list[tuple[tuple[int, str], ...]]:
    return [one.entries for one in story.servers()]


def elected(n_servers: int = 3, seed: int = 1) -> RaftStory:
    parameters = ClusterParameters.of({"n_servers": n_servers, "seed": seed})
    return RaftStory(parameters, actions=ELECTED)


def leader_and_others(story: RaftStory) -> tuple[int, list[int]]:
    leader = story.leader()
    assert leader is not None
    return leader, [server for server in story.engine.processes if server != leader]


deeds = st.sampled_from(
    [Action("step")] * 6
    + [Action("propose"), Action("wait", ms=700), Action("heal")]
    + [Action(kind, (server,)) for kind in ("crash", "restart", "cut") for server in (1, 2, 3)]
)


@settings(max_examples=10, deadline=None)
@given(st.lists(deeds, max_size=20), st.integers(1, 3))
def test_going_back_gives_the_same_bytes_and_logs(actions: list[Action], seed: int) -> None:
    story = RaftStory(ClusterParameters.of({"seed": seed}))
    seen = [(story.trace.digest(), story.engine.now, story.servers())]
    for action in actions:
        try:
            story.do(action)
        except ParameterError:
            continue
        seen.append((story.trace.digest(), story.engine.now, story.servers()))
    for digest, now, servers in reversed(seen[:-1]):
        story.back()
        assert (story.trace.digest(), story.engine.now, story.servers()) == (digest, now, servers)
    assert story.actions == []


def test_what_is_refused_changes_nothing() -> None:
    story = elected()
    before = story.trace.digest(), list(story.actions)
    for action, words in (
        (Action("restart", (1,)), "server to restart must be one that is down"),
        (Action("heal"), "network to heal"),
        (Action("crash", (9,)), "server must be one of"),
        (Action("cut", (1, 2, 3)), "not all"),
        (Action("cut"), "servers to cut off"),
        (Action("dance"), "kind must be one of step, wait"),
        (Action("wait", ms=0), "ms must be from 1"),
        (Action("crash"), "at least one"),
    ):
        with pytest.raises(ParameterError, match=words):
            story.do(action)
    assert (story.trace.digest(), story.actions) == before


def test_a_value_is_in_every_log_and_known_to_be_committed() -> None:
    story = elected()
    for one in story.servers():
        assert one.entries == ((1, "·"), (1, "x=1"))
        assert one.committed == one.on_disk == 2
    assert sorted(one.role for one in story.servers()) == ["follower", "follower", "leader"]


def test_a_crashed_leader_is_replaced_and_catches_up_after_its_restart() -> None:
    story = elected()
    leader, _ = leader_and_others(story)
    for action in (Action("crash", (leader,)), Action("wait", ms=4000), Action("propose")):
        story.do(action)
    assert story.leader() not in (None, leader)
    down = story.servers()[leader - 1]
    assert (down.role, down.entries) == ("down", ((1, "·"), (1, "x=1")))
    story.do(Action("restart", (leader,)))
    story.do(Action("wait", ms=1000))
    assert logs(story) == [((1, "·"), (1, "x=1"), (2, "·"), (2, "x=2"))] * 3


def test_what_a_leader_without_a_quorum_takes_is_overwritten() -> None:
    """Raft §5.3, figure 7: an uncommitted entry of an old term gives way to the new leader's."""
    story = elected(5)
    old, others = leader_and_others(story)
    story.do(Action("cut", (old, others[0])))
    story.do(Action("propose", (old,)))
    story.do(Action("wait", ms=10))
    lonely = story.servers()[old - 1]
    assert lonely.entries[-1] == (1, "x=2") and lonely.committed == 2
    story.do(Action("wait", ms=6000))
    story.do(Action("propose", (next(s for s in others[1:] if s == story.leader()),)))
    story.do(Action("wait", ms=100))
    story.do(Action("heal"))
    story.do(Action("wait", ms=6000))
    final = logs(story)
    assert final[0].count((1, "x=2")) == 0 and [text for _, text in final[0]].count("x=3") == 1
    assert final == [final[0]] * 5
    assert story.cut_off() == []


def test_without_a_quorum_nothing_is_committed_and_time_goes_on() -> None:
    story = elected()
    leader, others = leader_and_others(story)
    story.do(Action("crash", tuple(others)))
    story.do(Action("propose"))
    for _ in range(5):
        story.step()
    assert story.servers()[leader - 1].entries[-1] == (1, "x=2")
    assert story.servers()[leader - 1].committed == 2
    story.do(Action("crash", (leader,)))
    before = story.engine.now
    story.step()
    assert story.engine.now == before + STEP_NS_MAX


def test_a_step_ends_where_something_but_a_heartbeat_happens() -> None:
    story = elected()
    leader, _ = leader_and_others(story)
    story.do(Action("propose", (leader,)))
    moments = []
    for _ in range(8):
        before = len(story.trace)
        story.step()
        moments.append([r for r in story.trace.records[before:] if is_visible(r)])
    busy = [moment for moment in moments if moment]
    assert len(busy) >= 4 and moments[: len(busy)] == busy, "the exchange, then silence"
    for moment in busy:
        assert moment[-1].time_ns - moment[0].time_ns <= MOMENT_NS
    told = {r.kind for moment in busy for r in moment if r.event == "receive"}
    assert told == {"MsgApp", "MsgAppResp"} and not told & set(HEARTBEATS)


def test_an_entry_is_not_on_disk_before_the_disk_says_so() -> None:
    story = elected()
    leader, _ = leader_and_others(story)
    story.do(Action("propose", (leader,)))
    states = [story.servers()[leader - 1]]
    while len(states) < 6 and states[-1].on_disk < 3:
        story.step()
        states.append(story.servers()[leader - 1])
    assert len(states[0].entries) == 3 and states[0].on_disk == 2
    assert states[-1].on_disk == 3


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(st.lists(deeds, max_size=40), st.integers(1, 1000))
def test_no_deed_of_a_reader_breaks_raft(actions: list[Action], seed: int) -> None:
    story = RaftStory(ClusterParameters.of({"seed": seed}))
    rules = LogInvariants(view=lambda node: node.core, durable=LogOnDisk)
    story.engine.invariants = (rules,)
    for action in actions:
        try:
            story.do(action)
        except ParameterError:
            continue
        story.step()
    assert len(rules.committed) >= max(one.committed for one in story.servers())


def test_a_program_is_the_actions_in_few_words() -> None:
    story = elected()
    story.step()
    story.step()
    assert as_program(story.actions) == "wait 4000 ms, propose, wait 400 ms, 2 steps"
    assert from_program(as_program(story.actions)) == story.actions
    assert as_program([]) == "" and from_program(" , ") == []


@given(st.lists(deeds, max_size=30))
def test_a_program_says_all_there_is_to_an_action(actions: list[Action]) -> None:
    assert from_program(as_program(actions)) == actions


@pytest.mark.parametrize("text", ["jump", "crash one", "wait 5", "steps", "step", "wait -5 ms"])
def test_words_that_are_not_understood_are_named(text: str) -> None:
    with pytest.raises(ParameterError, match=f"action must be .*; got '{text}'"):
        RaftStory(actions=f"1 step, {text}")


def test_other_protocols_are_refused_by_name() -> None:
    with pytest.raises(ParameterError, match="protocol must be raft"):
        RaftStory(ClusterParameters.of({"protocol": "multi-paxos"}))
