"""When a node takes a snapshot of its own and drops old entries (Raft §7).

Theory of operation.  Each node does so by itself, after so many applied entries; no agreement is
needed, for a snapshot says what is committed.  Some entries are kept behind it, so that a follower
that is a little slow is served from the log and not with the whole state (etcd's snapshot-count
and catch-up entries).
"""

from __future__ import annotations

from consensus_lab.client import Sessions, StateMachine
from consensus_lab.node import Effects, Note
from consensus_lab.raft.config import RaftConfig
from consensus_lab.raft.core import RaftCore
from consensus_lab.raft.disk import Outcome, Writer
from consensus_lab.raft.entries import Snapshot

NEVER = 1 << 200
"""An index that no log reaches."""


def take_snapshot(core: RaftCore, machine: StateMachine, sessions: Sessions) -> Snapshot:
    """The state after everything that is applied, with the membership in force."""
    applied = core.log.applied
    term = core.log.term(applied)
    assert term is not None
    outcome = Outcome(machine.snapshot(), sessions.snapshot())
    return Snapshot(applied, term, core.configuration.conf_state(), outcome)


class Compactor:
    """Knows when the next snapshot is due.

    Attributes
    ----------
    due_at : int
        The applied index at which it is.
    """

    __slots__ = ("_catch_up", "_every", "due_at")

    def __init__(self, config: RaftConfig) -> None:
        self._every = config.snapshot_entries
        self._catch_up = config.catch_up_entries
        self.due_at = NEVER

    def begin_from(self, snapshot: Snapshot | None) -> None:
        """That is the latest snapshot, whoever took it."""
        if self._every is not None:
            self.due_at = self._every + (0 if snapshot is None else snapshot.index)

    def compact(
        self, core: RaftCore, writer: Writer, machine: StateMachine, sessions: Sessions
    ) -> Effects:
        """Take a snapshot of what is applied, write it, and drop what is far enough behind."""
        log = core.log
        snapshot = take_snapshot(core, machine, sessions)
        self.begin_from(snapshot)
        log.compact(log.applied - self._catch_up)
        written = writer.compact(
            core.hard_state(), snapshot, base_index=log.base_index, base_term=log.base_term
        )
        return [written, Note("snapshot", (snapshot.index, snapshot.term))]
