"""A follower in the leader's eyes: the window, probing, and that match < next always."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus_lab.raft.progress import Inflights, Progress, ProgressState, describe_progress


def follower(*, match=0, next_index=1, messages=8, limit=None, **settings):
    """Progress with a small window."""
    inflights = Inflights(messages, limit)
    return Progress(match=match, next_index=next_index, inflights=inflights, **settings)


def test_the_window_is_bounded_in_messages_and_in_bytes():
    """It is full at either bound; one message may be larger than the bound."""
    window = Inflights(2, 100)
    window.add(3, 10)
    assert not window.is_full
    window.add(5, 10)
    assert window.is_full
    window.free_to(3)
    assert (len(window), window.bytes) == (1, 10)
    window.add(6, 500)
    assert window.is_full
    with pytest.raises(AssertionError):
        window.add(7, 1)
    window.free_to(99)
    assert (len(window), window.bytes) == (0, 0)


def test_a_probe_sends_one_append_and_waits():
    """After a message with entries the flow is paused until an answer or a heartbeat's."""
    member = follower()
    member.sent_probe()
    assert not member.is_paused
    member.sent_entries(2, 20)
    assert member.is_paused
    assert member.next == 1
    assert member.maybe_update(2)
    assert not member.is_paused


def test_replication_runs_ahead_until_the_window_is_full():
    """Next moves with what is sent; the message that fills the window pauses the flow."""
    member = follower(messages=2)
    member.become_replicate()
    member.sent_entries(3, 30)
    assert (member.next, member.is_paused) == (4, False)
    member.sent_entries(1, 10)
    assert (member.next, member.is_paused) == (5, True)
    assert str(member) == (
        "StateReplicate match=0 next=5 paused inactive inflight=2[full]"
    )


def test_a_snapshot_stops_everything_and_probing_goes_on_behind_it():
    """Or from the last match, when the snapshot failed."""
    member = follower(match=2, next_index=9)
    member.become_snapshot(7)
    assert member.is_paused
    assert (member.pending_snapshot, member.next) == (7, 8)
    member.become_probe()
    assert (member.state, member.next, member.pending_snapshot) == (ProgressState.PROBE, 8, 0)
    member.become_snapshot(7)
    member.pending_snapshot = 0
    member.become_probe()
    assert member.next == 3


@pytest.mark.parametrize(
    ("rejected", "hint", "changed", "next_index"),
    [
        (9, 4, True, 5),  # The hint says where to go on.
        (9, 9, True, 9),  # But not beyond what was refused.
        (9, 0, True, 3),  # Nor before what is known to match.
        (8, 4, False, 10),  # The answer to an older probe.
    ],
)
def test_a_rejected_probe_moves_next_back(rejected, hint, changed, next_index):
    """Only the probe that is out now counts."""
    member = follower(match=2, next_index=10)
    assert member.maybe_decrease_to(rejected, hint) is changed
    assert member.next == next_index


def test_a_rejection_of_what_matches_is_old():
    """In state replicate, everything after the match is sent anew."""
    member = follower(match=5, next_index=6)
    member.become_replicate()
    member.sent_entries(4, 4)
    member.sent_commit = 9
    assert not member.maybe_decrease_to(5, 1)
    assert member.maybe_decrease_to(7, 1)
    assert (member.next, member.sent_commit) == (6, 5)


def test_the_commit_index_is_sent_when_it_can_move_the_followers():
    """Not again after it was sent, and not beyond what the follower will hold."""
    member = follower(match=3, next_index=4)
    member.become_replicate()
    assert member.can_bump_commit(3)
    member.sent_commit = 3
    assert not member.can_bump_commit(3)
    assert not member.can_bump_commit(9)
    member.sent_entries(1, 1)
    assert member.can_bump_commit(4)


def test_the_map_is_printed_in_order_of_identity():
    """One line per member."""
    text = describe_progress({3: follower(is_recent_active=True), 1: follower(is_learner=True)})
    assert text == (
        "1: StateProbe match=0 next=1 learner inactive\n3: StateProbe match=0 next=1\n"
    )


STEPS = st.one_of(
    st.tuples(st.just("send"), st.integers(0, 3), st.integers(0, 50)),
    st.tuples(st.just("ack"), st.integers(0, 30), st.just(0)),
    st.tuples(st.just("reject"), st.integers(0, 30), st.integers(0, 30)),
    st.tuples(st.just("snapshot"), st.integers(1, 30), st.just(0)),
    st.tuples(st.sampled_from(["probe", "replicate"]), st.just(0), st.just(0)),
)


@pytest.mark.slow
@given(steps=st.lists(STEPS, max_size=40), bytes_max=st.one_of(st.none(), st.integers(1, 60)))
def test_match_stays_below_next_and_never_goes_back(steps, bytes_max):
    """Whatever happens, in any order; and the window never holds more than it may."""
    member = follower(messages=3, limit=bytes_max)
    for step, first, second in steps:
        before = member.match
        if step == "send" and not member.is_paused:
            if first == 0 or member.inflights.is_full:
                member.sent_probe()
            else:
                member.sent_entries(first, second)
        elif step == "ack":
            if member.maybe_update(first) and member.state is ProgressState.REPLICATE:
                member.inflights.free_to(first)
        elif step == "reject":
            member.maybe_decrease_to(first, second)
        elif step == "snapshot" and first > member.match:
            member.become_snapshot(first)
        elif step == "probe":
            member.become_probe()
        elif step == "replicate":
            member.become_replicate()
        assert before <= member.match < member.next
        assert len(member.inflights) <= 3
        assert member.inflights.bytes == sum(size for _, size in member.inflights.window)
