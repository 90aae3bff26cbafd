"""Who takes part: voters, learners, and the way from one membership to the next.

Theory of operation (Raft §6, thesis §4; etcd-io/raft `confchange`).  Two memberships that differ
by one voter always have overlapping majorities, so a *simple* change needs no detour.  A larger
change goes through a *joint* configuration, in which every decision needs a majority of the old
voters (outgoing) and one of the new (incoming); then the outgoing half is dropped.

A learner receives the log and has no vote.  A voter that is to become a learner in a joint change
stays a voter of the outgoing half, so it waits in `learners_next` until the joint configuration
is left: nobody is a voter and a learner at once.

Changes are made on copies; a change that is refused leaves everything as it was.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from consensus_lab.node import NodeId, ParameterError, ProtocolViolation
from consensus_lab.raft.entries import ConfChange, ConfChangeSingle, ConfChangeType, ConfState
from consensus_lab.raft.progress import Inflights, Progress, ProgressMap


class MembershipError(ProtocolViolation):
    """A membership change that must not be made; `rule` is etcd's wording."""


def _ids(ids: Iterable[NodeId]) -> str:
    return "(" + " ".join(str(i) for i in sorted(ids)) + ")"


class Configuration(NamedTuple):
    """A membership.

    Attributes
    ----------
    voters : frozenset of int
        The incoming half, the only one unless joint.
    outgoing : frozenset of int
        The old voters while the configuration is joint; else empty.
    learners : frozenset of int
        Receive the log, do not vote.
    learners_next : frozenset of int
        Voters of the outgoing half that become learners when it is dropped.
    auto_leave : bool
        The leader ends the joint configuration by itself.
    """

    voters: frozenset[NodeId] = frozenset()
    outgoing: frozenset[NodeId] = frozenset()
    learners: frozenset[NodeId] = frozenset()
    learners_next: frozenset[NodeId] = frozenset()
    auto_leave: bool = False

    @property
    def is_joint(self) -> bool:
        """True while two majorities are needed."""
        return bool(self.outgoing)

    @property
    def is_singleton(self) -> bool:
        """True when one voter decides alone."""
        return len(self.voters) == 1 and not self.outgoing

    @property
    def all_voters(self) -> tuple[NodeId, ...]:
        """The voters of both halves, ascending."""
        return tuple(sorted(self.voters | self.outgoing))

    def conf_state(self) -> ConfState:
        """The form in which snapshots carry it."""
        return ConfState(
            tuple(sorted(self.voters)),
            tuple(sorted(self.outgoing)),
            tuple(sorted(self.learners)),
            tuple(sorted(self.learners_next)),
            self.auto_leave,
        )

    def __str__(self) -> str:
        """The line that etcd prints."""
        text = f"voters={_ids(self.voters)}"
        if self.outgoing:
            text += f"&&{_ids(self.outgoing)}"
        if self.learners:
            text += f" learners={_ids(self.learners)}"
        if self.learners_next:
            text += f" learners_next={_ids(self.learners_next)}"
        return text + (" autoleave" if self.auto_leave else "")


class Membership(NamedTuple):
    """A configuration with the progress of its members."""

    configuration: Configuration
    progress: ProgressMap


class Changer:
    """Works out the membership after a change.

    Parameters
    ----------
    membership : Membership
        Where the change starts from.
    last_index : int
        Last index of the leader's log: where probing of a new member begins.
    inflight_messages_max, inflight_bytes_max : int, int or None
        Window of a new member; see `Inflights`.
    """

    def __init__(
        self,
        membership: Membership,
        *,
        last_index: int,
        inflight_messages_max: int,
        inflight_bytes_max: int | None,
    ) -> None:
        self.base = membership
        self.last_index = last_index
        self.inflight_messages_max = inflight_messages_max
        self.inflight_bytes_max = inflight_bytes_max

    def change(self, change: ConfChange) -> Membership:
        """The membership after that change, by whichever way it asks for.

        Raises
        ------
        MembershipError
            When the change must not be made; `rule` says why, in etcd's words.
        """
        if change.leaves_joint:
            return self.leave_joint()
        if change.enters_joint:
            return self.enter_joint(change.changes, auto_leave=change.auto_leave)
        return self.simple(change.changes)

    def simple(self, changes: Iterable[ConfChangeSingle]) -> Membership:
        """Change at most one voter (and any learners) without a joint configuration."""
        if self.base.configuration.is_joint:
            raise MembershipError("can't apply simple config change in joint config")
        draft = _Draft(self)
        draft.apply(changes)
        if len(draft.voters ^ self.base.configuration.voters) > 1:
            raise MembershipError("more than one voter changed without entering joint config")
        return draft.finished()

    def enter_joint(
        self, changes: Iterable[ConfChangeSingle], *, auto_leave: bool = False
    ) -> Membership:
        """Keep the present voters as the outgoing half and apply the changes to the incoming."""
        if self.base.configuration.is_joint:
            raise MembershipError("config is already joint")
        if not self.base.configuration.voters:
            raise MembershipError("can't make a zero-voter config joint")
        draft = _Draft(self)
        draft.outgoing = set(draft.voters)
        draft.apply(changes)
        draft.auto_leave = auto_leave
        return draft.finished()

    def leave_joint(self) -> Membership:
        """Drop the outgoing half; who was waiting to become a learner becomes one."""
        if not self.base.configuration.is_joint:
            raise MembershipError("can't leave a non-joint config")
        draft = _Draft(self)
        for node_id in sorted(draft.learners_next):
            draft.progress[node_id].is_learner = True
        draft.learners |= draft.learners_next
        draft.learners_next = set()
        for node_id in sorted(draft.outgoing):
            if node_id not in draft.voters and node_id not in draft.learners:
                del draft.progress[node_id]
        draft.outgoing = set()
        draft.auto_leave = False
        return draft.finished()


class _Draft:
    """A membership while it is being changed."""

    def __init__(self, changer: Changer) -> None:
        configuration, progress = changer.base
        self.changer = changer
        self.voters = set(configuration.voters)
        self.outgoing = set(configuration.outgoing)
        self.learners = set(configuration.learners)
        self.learners_next = set(configuration.learners_next)
        self.auto_leave = configuration.auto_leave
        self.progress = {node_id: member.copy() for node_id, member in progress.items()}

    def apply(self, changes: Iterable[ConfChangeSingle]) -> None:
        """Make the steps one after the other; node 0 marks a step that was taken back."""
        for change in changes:
            if change.node_id == 0:
                continue
            if change.type is ConfChangeType.ADD_NODE:
                self.make_voter(change.node_id)
            elif change.type is ConfChangeType.ADD_LEARNER_NODE:
                self.make_learner(change.node_id)
            elif change.type is ConfChangeType.REMOVE_NODE:
                self.remove(change.node_id)
        if not self.voters:
            raise MembershipError("removed all voters")

    def make_voter(self, node_id: NodeId) -> None:
        """Add a voter, or promote a learner."""
        member = self.progress.get(node_id)
        if member is None:
            self.add(node_id, is_learner=False)
        else:
            member.is_learner = False
        self.learners.discard(node_id)
        self.learners_next.discard(node_id)
        self.voters.add(node_id)

    def make_learner(self, node_id: NodeId) -> None:
        """Add a learner, or demote a voter; now, or when the joint configuration is left."""
        member = self.progress.get(node_id)
        if member is None:
            self.add(node_id, is_learner=True)
            self.learners.add(node_id)
            return
        if member.is_learner:
            return
        self.remove(node_id)
        self.progress[node_id] = member
        if node_id in self.outgoing:
            self.learners_next.add(node_id)
        else:
            member.is_learner = True
            self.learners.add(node_id)

    def remove(self, node_id: NodeId) -> None:
        """Take a member out; a voter of the outgoing half is still followed."""
        if node_id not in self.progress:
            return
        self.voters.discard(node_id)
        self.learners.discard(node_id)
        self.learners_next.discard(node_id)
        if node_id not in self.outgoing:
            del self.progress[node_id]

    def add(self, node_id: NodeId, *, is_learner: bool) -> None:
        """Begin to follow a new member.

        It counts as recently active, or a check of the quorum that comes before it had a chance
        to speak would depose the leader.
        """
        changer = self.changer
        self.progress[node_id] = Progress(
            next_index=max(changer.last_index, 1),
            inflights=Inflights(changer.inflight_messages_max, changer.inflight_bytes_max),
            is_learner=is_learner,
            is_recent_active=True,
        )

    def finished(self) -> Membership:
        """The new membership, checked."""
        configuration = Configuration(
            frozenset(self.voters),
            frozenset(self.outgoing),
            frozenset(self.learners),
            frozenset(self.learners_next),
            self.auto_leave,
        )
        progress = {node_id: self.progress[node_id] for node_id in sorted(self.progress)}
        check_membership(configuration, progress)
        return Membership(configuration, progress)


def check_membership(configuration: Configuration, progress: ProgressMap) -> None:
    """Assert what holds of every membership, whatever changes made it."""
    voters, outgoing, learners, learners_next, auto_leave = configuration
    followed = voters | outgoing | learners | learners_next
    assert followed <= progress.keys(), "a member without progress"
    assert learners_next <= outgoing, "waits to be a learner, but is no outgoing voter"
    assert not learners & (voters | outgoing), "a voter and a learner at once"
    for node_id, member in progress.items():
        assert member.is_learner == (node_id in learners), "progress and role disagree"
    if not outgoing:
        assert not learners_next
        assert not auto_leave


def restore(state: ConfState, changer: Changer) -> Membership:
    """Build the membership that a snapshot describes, starting from none.

    A joint configuration is built as it came to be: first the outgoing voters one by one, then
    one joint change that removes them and adds the incoming ones (etcd-io/raft
    `confchange/restore.go`).
    """

    def steps(type: ConfChangeType, ids: Iterable[NodeId]) -> list[ConfChangeSingle]:
        return [ConfChangeSingle(type, node_id) for node_id in ids]

    outgoing = steps(ConfChangeType.ADD_NODE, state.voters_outgoing)
    incoming = [
        *steps(ConfChangeType.REMOVE_NODE, state.voters_outgoing),
        *steps(ConfChangeType.ADD_NODE, state.voters),
        *steps(ConfChangeType.ADD_LEARNER_NODE, state.learners),
        *steps(ConfChangeType.ADD_LEARNER_NODE, state.learners_next),
    ]
    for step in outgoing or incoming:
        changer.base = changer.simple((step,))
    if outgoing:
        changer.base = changer.enter_joint(incoming, auto_leave=state.auto_leave)
    return changer.base


def first_configuration(members: Iterable[NodeId], learners: Iterable[NodeId] = ()) -> ConfState:
    """The configuration that a cluster starts with, checked."""
    voters, others = tuple(sorted(members)), tuple(sorted(learners))
    if not voters or len(set(voters)) != len(voters) or min(voters) < 1:
        raise ParameterError("members", voters, "one or more different integers of at least 1")
    if set(others) & set(voters) or len(set(others)) != len(others):
        raise ParameterError("learners", others, "different integers that are not in members")
    return ConfState(voters, learners=others)
