"""Membership changes: refusals, and that simple and joint ways lead to the same place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus_lab.node import ParameterError
from consensus_lab.raft.entries import (
    ConfChange,
    ConfChangeSingle,
    ConfChangeType,
    ConfState,
    Transition,
)
from consensus_lab.raft.membership import (
    Changer,
    Configuration,
    Membership,
    MembershipError,
    check_membership,
    first_configuration,
    restore,
)
from consensus_lab.raft.quorum import majority_size

LETTERS = {kind.value: kind for kind in ConfChangeType}


def steps(text):
    """Steps in etcd's notation."""
    return tuple(ConfChangeSingle(LETTERS[word[0]], int(word[1:])) for word in text.split())


def changer(membership=None):
    """Works on a membership, or on none."""
    start = membership or Membership(Configuration(), {})
    return Changer(start, last_index=10, inflight_messages_max=4, inflight_bytes_max=None)


def members(text):
    """A membership built step by step."""
    built = changer()
    for step in steps(text):
        built.base = built.simple((step,))
    return built.base


@pytest.mark.parametrize(
    ("start", "change", "refusal"),
    [
        ("v1", ConfChange(steps("r1")), "removed all voters"),
        ("v1", ConfChange(steps("l1")), "removed all voters"),
        ("v1", ConfChange(), "can't leave a non-joint config"),
        ("", ConfChange(steps("v1 v2")), "can't make a zero-voter config joint"),
    ],
)
def test_refusals(start, change, refusal):
    """etcd's words; the membership stays as it was."""
    before = members(start)
    with pytest.raises(MembershipError) as caught:
        changer(before).change(change)
    assert caught.value.rule == refusal
    check_membership(*before)


def test_a_simple_change_moves_one_voter_only():
    """Two at once need a joint configuration; learners may come along."""
    before = members("v1 v2 v3")
    with pytest.raises(MembershipError, match="more than one voter changed"):
        changer(before).simple(steps("v4 v5"))
    after = changer(before).simple(steps("v4 l5 l6")).configuration
    assert (after.voters, after.learners) == ({1, 2, 3, 4}, {5, 6})
    assert before.configuration.voters == {1, 2, 3}


def test_no_second_change_while_joint():
    """The joint configuration must be left first."""
    joint = changer(members("v1 v2 v3")).enter_joint(steps("r1"))
    for attempt in (steps("v4"), steps("v4 v5")):
        with pytest.raises(MembershipError):
            changer(joint).change(ConfChange(attempt))


def test_a_demoted_voter_waits_until_the_old_half_is_dropped():
    """Nobody is a voter and a learner at once; its progress is kept."""
    before = members("v1 v2 v3")
    before.progress[3].match = 7
    before.progress[3].next = 8
    joint = changer(before).enter_joint(steps("l3 v4"), auto_leave=True)
    assert str(joint.configuration) == (
        "voters=(1 2 4)&&(1 2 3) learners_next=(3) autoleave"
    )
    assert not joint.progress[3].is_learner
    after = changer(joint).leave_joint()
    assert str(after.configuration) == "voters=(1 2 4) learners=(3)"
    assert (after.progress[3].is_learner, after.progress[3].match) == (True, 7)


def test_a_new_member_counts_as_active():
    """A check of the quorum must not depose the leader before the member could speak."""
    after = changer(members("v1")).simple(steps("v2"))
    assert after.progress[2].is_recent_active
    assert after.progress[2].next == 10


def test_transitions():
    """Automatic joins only when it must; the others always; only explicit does not leave."""
    one, two = steps("v1"), steps("v1 v2")
    assert not ConfChange(one).enters_joint
    assert ConfChange(two).enters_joint
    assert ConfChange(two).auto_leave
    assert ConfChange(one, Transition.JOINT_IMPLICIT).enters_joint
    assert not ConfChange(one, Transition.JOINT_EXPLICIT).auto_leave
    assert ConfChange().leaves_joint
    assert not ConfChange((), Transition.JOINT_EXPLICIT).leaves_joint


@pytest.mark.parametrize("voters", [(), (0, 1), (1, 1)])
def test_a_first_configuration_needs_different_voters(voters):
    """A user's mistake names the parameter."""
    with pytest.raises(ParameterError, match="members"):
        first_configuration(voters)


def test_a_learner_cannot_be_a_voter_too():
    """A user's mistake names the parameter."""
    with pytest.raises(ParameterError, match="learners"):
        first_configuration((1, 2), (2,))
    assert first_configuration((2, 1), (3,)) == ConfState((1, 2), learners=(3,))


STEP = st.builds(
    ConfChangeSingle, st.sampled_from(list(ConfChangeType)), st.integers(min_value=0, max_value=6)
)
STEPS = st.lists(STEP, max_size=6).map(tuple)


def reached(start, changes):
    """The configuration after a joint change and leaving it; None when it is refused."""
    try:
        joint = changer(start).enter_joint(changes)
    except MembershipError:
        return None
    return changer(joint).leave_joint()


@pytest.mark.slow
@given(first=STEPS, changes=STEPS)
def test_joint_and_simple_changes_agree(first, changes):
    """Where one step at a time is allowed, it leads to the same members as all at once."""
    start = members("v1 v2 v3")
    started = reached(start, first)
    if started is None:
        return
    joint = reached(started, changes)
    one_by_one = started
    try:
        for step in changes:
            one_by_one = changer(one_by_one).simple((step,))
    except MembershipError:
        return
    assert joint is not None
    assert joint.configuration == one_by_one.configuration
    assert joint.progress.keys() == one_by_one.progress.keys()


@pytest.mark.slow
@given(changes=st.lists(STEPS, max_size=4), leave=st.booleans())
def test_a_snapshot_of_a_membership_restores_it(changes, leave):
    """Also a joint one: voters, outgoing voters, learners, and who waits to be one."""
    membership = members("v1 v2 v3 l4")
    for steps_ in changes:
        try:
            membership = changer(membership).enter_joint(steps_, auto_leave=bool(len(steps_) % 2))
            if leave:
                membership = changer(membership).leave_joint()
        except MembershipError:
            continue
    restored = restore(membership.configuration.conf_state(), changer())
    assert restored.configuration == membership.configuration
    assert list(restored.progress) == sorted(membership.progress)


@pytest.mark.slow
@given(changes=STEPS)
def test_majorities_before_and_after_a_simple_change_overlap(changes):
    """The reason why no joint configuration is needed (thesis §4.1): a majority of the old and
    one of the new voters are too large together to be disjoint.
    """
    old = members("v1 v2 v3")
    try:
        new = changer(old).simple(changes)
    except MembershipError:
        return
    before, after = old.configuration.voters, new.configuration.voters
    sizes = majority_size(len(before)) + majority_size(len(after))
    assert sizes > len(before | after)
