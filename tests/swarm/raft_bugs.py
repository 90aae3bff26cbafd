"""Classic bugs of Raft, one each, which the swarm must find; `bug` says what a bug is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from consensus_lab.client import Sessions
from consensus_lab.kv import KeyValueStore, StoreSnapshot
from consensus_lab.node import Effects, NodeId, Send
from consensus_lab.raft import election, quorum, read_index, replication, sending
from consensus_lab.raft.config import ReadMode
from consensus_lab.raft.core import RaftCore
from consensus_lab.raft.disk import HARD_STATE
from consensus_lab.raft.entries import NONE, Entries, HardState, Snapshot
from consensus_lab.raft.log import RaftLog
from consensus_lab.raft.messages import MsgHeartbeat, MsgVote, MsgVoteResp, Role
from consensus_lab.raft.node import RaftNode
from tests.swarm.bug import HISTORY, INVARIANT, Bug, Doctored, with_writes, written_last
from tests.swarm.protocols import raft

# What is written to disk, and when.


class ForgetsVote(Doctored, RaftNode):
    """Term and log reach the disk, the vote does not."""

    __slots__ = ()

    def doctor(self, effects: Effects) -> Effects:
        return with_writes(
            effects, lambda key, v: v._replace(vote=NONE) if key == HARD_STATE else v
        )


class ForgetsTerm(Doctored, RaftNode):
    """The log reaches the disk, term and vote do not."""

    __slots__ = ()

    def doctor(self, effects: Effects) -> Effects:
        return with_writes(
            effects, lambda key, v: HardState(0, NONE, v.commit) if key == HARD_STATE else v
        )


class AnswersBeforeWriting(Doctored, RaftNode):
    """Everything goes out at once; the disk comes last."""

    __slots__ = ()

    def doctor(self, effects: Effects) -> Effects:
        return written_last(effects)


# The log.


class WithLog(RaftNode):
    """A node with another log."""

    __slots__ = ()
    log_class: type[RaftLog] = RaftLog

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.core.log.__class__ = self.log_class


class CountsOldTerms(RaftLog):
    """Commits by counting what earlier leaders appended."""

    __slots__ = ()

    def maybe_commit(self, index: int, term: int) -> bool:
        return self.commit_to(index)


class TruncatesAlways(RaftLog):
    """Whatever an append brings replaces all that stood behind it."""

    __slots__ = ()

    def maybe_append(self, index: int, log_term: int, commit: int, entries: Entries) -> int | None:
        if self.term(index) == log_term and index >= self.committed:
            self.cut(index)
        return super().maybe_append(index, log_term, commit, entries)

    def cut(self, index: int) -> None:
        """Drop everything behind that index."""
        del self.entries[index - self.base_index :]
        self.last_index = index
        self.stable = min(self.stable, index)
        self.handed_out = min(self.handed_out, index)


class CommitsWhatItHas(RaftLog):
    """Takes a commit index as far as the log reaches, instead of trusting that it does."""

    __slots__ = ()

    def commit_to(self, index: int) -> bool:
        return super().commit_to(min(index, self.last_index))


def beats_with_full_commit(core: RaftCore, context: object) -> None:
    """Heartbeats carry the whole commit index, not only what the follower is known to hold."""
    for node_id, _ in core.peers:
        beat = MsgHeartbeat(core.node_id, core.term, core.log.committed, context)
        core.messages.append(Send(node_id, beat))


class ComparesLengthOnly(RaftLog):
    """A longer log is a better log, whatever its terms."""

    __slots__ = ()

    def is_up_to_date(self, last_index: int, last_term: int) -> bool:
        return last_index >= self.last_index


class AppliesAppended(RaftLog):
    """Gives to the state machine whatever is in the log."""

    __slots__ = ()

    def appliable_to(self, *, allow_unstable: bool) -> int:
        return self.last_index

    def accept_applying(self, entries: Entries, *, allow_unstable: bool = True) -> None:
        self.applying = entries[-1].index

    def applied_to(self, index: int, size_bytes: int = 0) -> None:
        self.applied = self.applying = index


def _node_with(log: type[RaftLog]) -> type[RaftNode]:
    return type(f"With{log.__name__}", (WithLog,), {"__slots__": (), "log_class": log})


# The core.


class WithCore(RaftNode):
    """A node with another core."""

    __slots__ = ()
    core_class: type[RaftCore] = RaftCore

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.core.__class__ = self.core_class
        self.core._take_role(self.core.role)


def _votes_for_all(core: RaftCore, message: MsgVote) -> None:
    """Votes for every candidate with a good log, however often in a term."""
    if core.log.is_up_to_date(message.index, message.log_term):
        core.vote = message.sender
        core.send_after_append(message.sender, MsgVoteResp(core.node_id, message.term))


class VotesTwice(RaftCore):
    """Does not look whether it has voted."""

    __slots__ = ()

    def _take_role(self, role: Role) -> None:
        super()._take_role(role)
        self.handlers = {**self.handlers, MsgVote: _votes_for_all}


class NodeThatVotesTwice(WithCore):
    """See `VotesTwice`."""

    __slots__ = ()
    core_class = VotesTwice


# Quorums.


def _one_less(voters: Any, acked: Mapping[NodeId, int]) -> int:
    """The index that one server less than a majority has."""
    ordered = sorted((acked.get(voter, 0) for voter in voters), reverse=True)
    return ordered[max(0, len(ordered) // 2 - 1)] if ordered else quorum.UNBOUNDED_INDEX


def commits_with_one_less(incoming: Any, outgoing: Any, acked: Mapping[NodeId, int]) -> int:
    """Of three servers one is enough."""
    return min(_one_less(incoming, acked), _one_less(outgoing, acked))


def wins_with_one_less(incoming: Any, outgoing: Any, votes: Mapping[NodeId, bool]) -> Any:
    """Of three votes one is enough."""
    granted = sum(votes.get(voter, False) for voter in incoming)
    enough = granted >= max(1, len(incoming) // 2)
    return quorum.VoteResult.WON if enough else quorum.joint_vote(incoming, outgoing, votes)


def commits_with_new_half(incoming: Any, outgoing: Any, acked: Mapping[NodeId, int]) -> int:
    """A joint configuration that asks the new members only."""
    return quorum.majority_committed(incoming, acked)


def wins_with_new_half(incoming: Any, outgoing: Any, votes: Mapping[NodeId, bool]) -> Any:
    """A joint configuration that asks the new members only."""
    return quorum.majority_vote(incoming, votes)


# Reads and clients.


class ReadsLocally(RaftNode):
    """Serves every read from what this node has applied."""

    __slots__ = ()

    def _submit_query(self, query: Any, now: int) -> Effects:
        return self._submit_serializable(query, now)


def answers_unconfirmed(core: RaftCore, message: Any) -> None:
    """Who thinks that it leads answers reads without asking anybody."""
    read_index._answer(core, message, core.log.committed)


class NoSessions(Sessions):
    """Remembers no request, so a command that was sent twice takes effect twice."""

    __slots__ = ()

    def record(self, request_id: Any, result: Any) -> None:
        self._results.clear()


class NodeWithoutSessions(RaftNode):
    """See `NoSessions`."""

    __slots__ = ()

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.sessions = NoSessions()


# Snapshots.


class LossyStore(KeyValueStore):
    """Its snapshots lack the key that was created last."""

    def restore(self, snapshot: StoreSnapshot) -> None:
        super().restore(snapshot._replace(items=snapshot.items[:-1]))


class SnapshotWithoutSessions(RaftNode):
    """A node that takes over a snapshot forgets which requests took effect."""

    __slots__ = ()

    def _restore_machine(self, snapshot: Snapshot) -> None:
        self.machine.restore(snapshot.data.machine)
        self.sessions.restore(())


UNSAFE = tuple(
    INVARIANT + rule
    for rule in ("state-machine safety", "leader completeness", "election safety", "log matching",
                 "committed is durable on a quorum")
)  # fmt: skip

RAFT_BUGS = (
    Bug(
        "vote-not-persisted", "A vote is on disk before it is answered (Raft Fig. 2).",
        (INVARIANT + "elected by a durable quorum", INVARIANT + "one vote per term", *UNSAFE),
        protocol=raft(ForgetsVote),
    ),
    Bug(
        "term-not-persisted", "The term is on disk before it is answered (Raft Fig. 2).",
        (INVARIANT + "elected by a durable quorum", INVARIANT + "term never goes back", *UNSAFE),
        protocol=raft(ForgetsTerm),
    ),
    Bug(
        "reply-before-fsync", "Entries are on disk before they are acknowledged (thesis §3.8).",
        (INVARIANT + "elected by a durable quorum", *UNSAFE),
        protocol=raft(AnswersBeforeWriting),
    ),
    Bug(
        "commit-old-term-by-counting", "Only entries of the leader's term are counted (§5.4.2).",
        (INVARIANT + "commits its own term", *UNSAFE),
        protocol=raft(_node_with(CountsOldTerms)),
    ),
    Bug(
        "commit-quorum-minus-one", "A majority holds what is committed (§5.3).",
        UNSAFE,
        protocol=raft(),
        replaced=((sending, "joint_committed", commits_with_one_less),),
    ),
    Bug(
        "election-quorum-minus-one", "A majority elects (§5.2).",
        (INVARIANT + "elected by a durable quorum", *UNSAFE),
        protocol=raft(),
        replaced=((election, "joint_vote", wins_with_one_less),),
    ),
    Bug(
        "votes-twice", "A server votes once per term (§5.2).",
        (INVARIANT + "one vote per term", *UNSAFE),
        protocol=raft(NodeThatVotesTwice),
    ),
    Bug(
        "compares-length-only", "The higher last term is more up to date (§5.4.1).",
        UNSAFE,
        protocol=raft(_node_with(ComparesLengthOnly)),
    ),
    Bug(
        "truncates-on-every-append", "Only a conflict truncates (Raft Fig. 2, AppendEntries 3).",
        (*UNSAFE, "error: AssertionError: commit beyond the log"),
        protocol=raft(_node_with(TruncatesAlways)),
    ),
    Bug(
        "heartbeat-commits-unmatched",
        "A commit index goes to what is known to match at most (Raft Fig. 2, AppendEntries 5).",
        UNSAFE,
        protocol=raft(_node_with(CommitsWhatItHas)),
        replaced=(
            (replication, "broadcast_heartbeat", beats_with_full_commit),
            (read_index, "broadcast_heartbeat", beats_with_full_commit),
        ),
    ),
    Bug(
        "applies-uncommitted", "Only committed entries are applied (§5.3).",
        (*UNSAFE, INVARIANT + "equal states", INVARIANT + "applied in order", HISTORY),
        protocol=raft(_node_with(AppliesAppended)),
    ),
    Bug(
        "joint-commit-by-new-half", "A joint configuration needs both majorities (§6).",
        UNSAFE,
        protocol=raft(),
        replaced=((sending, "joint_committed", commits_with_new_half),),
    ),
    Bug(
        "joint-election-by-new-half", "A joint configuration needs both majorities (§6).",
        (INVARIANT + "elected by a durable quorum", *UNSAFE),
        protocol=raft(),
        replaced=((election, "joint_vote", wins_with_new_half),),
    ),
    Bug(
        "lease-read-under-clock-skew", "A lease trusts the clocks (thesis §6.4.1).",
        (HISTORY,),
        protocol=raft(settings={"read_mode": ReadMode.LEASE, "check_quorum": True}),
        seeds_max=400,
    ),
    Bug(
        "local-reads", "A read sees all that was answered before it (thesis §6.4).",
        (HISTORY,),
        protocol=raft(ReadsLocally),
    ),
    Bug(
        "read-index-without-quorum", "The leader makes sure that it still leads (thesis §6.4).",
        (HISTORY,),
        protocol=raft(),
        replaced=((read_index, "_begin", answers_unconfirmed),),
    ),
    Bug(
        "read-index-too-early", "A new leader commits in its term first (Raft §8).",
        (HISTORY,),
        protocol=raft(),
        replaced=((read_index, "_has_committed_in_term", lambda core: True),),
    ),
    Bug(
        "retries-take-effect-twice", "A command takes effect once (thesis §6.3).",
        (HISTORY,),
        protocol=raft(NodeWithoutSessions),
    ),
    Bug(
        "snapshot-loses-a-key", "A snapshot holds the whole state (§7).",
        (INVARIANT + "equal states", HISTORY),
        protocol=raft(machine=LossyStore),
    ),
    Bug(
        "snapshot-without-sessions", "A snapshot holds the sessions too (thesis §6.3).",
        (INVARIANT + "equal states", HISTORY),
        protocol=raft(SnapshotWithoutSessions),
    ),
)  # fmt: skip
