"""Primary and backups: replication without agreement, and the smallest protocol of this package.

Rules of this file: pure; standard library, `node` and `client` only.  It is the example of
CONTRIBUTING.md: everything that a protocol has to have, and nothing else.

Theory of operation.  One server, the primary, takes all writes.  It writes each to its disk, sends
a copy to every backup, and answers the client once `copies_needed` servers have the write on disk,
itself included.  Nobody votes and nobody takes over: when the primary is gone, some person names a
backup the new primary (Alsberg and Day 1976 is the ancestor of the scheme).  A backup that missed
a copy then misses an acknowledged write.  That is the gap which consensus closes: a Paxos or Raft
leader is chosen by a majority that, together, has seen every acknowledged write.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from consensus_lab.client import Request
from consensus_lab.node import (
    Apply,
    Disk,
    Effects,
    NodeId,
    ParameterError,
    Persist,
    Reply,
    Send,
    message_size,
)


class Copy(NamedTuple):
    """Primary to backup: keep this write at that place of the log."""

    index: int  # type: ignore[assignment]  # Hides tuple.index, which nobody needs here.
    command: Any

    @property
    def size_bytes(self) -> int:
        """Bytes on the wire: those of the command."""
        return message_size(self.command)


class Kept(NamedTuple):
    """Backup to primary: that write is on my disk."""

    index: int  # type: ignore[assignment]


class PrimaryBackup:
    """One server: the primary when its identity is the first of the servers, else a backup.

    Parameters
    ----------
    node_id : int
        Its own identity.
    disk : Disk
        What survived a crash: index -> command.
    servers : iterable of int
        All servers; the first is the primary.
    copies_needed : int
        Servers that must have a write on disk before the client is answered, 1 to all.

    Attributes
    ----------
    log : dict of int to command
        What this server has on disk, or is writing there.
    acknowledged : set of int
        At the primary: places of the log that a client was told are safe.
    """

    def __init__(
        self, node_id: NodeId, disk: Disk, *, servers: Iterable[NodeId], copies_needed: int
    ) -> None:
        self.node_id = node_id
        self.primary, *self.backups = servers
        if not 1 <= copies_needed <= 1 + len(self.backups):
            allowed = f"from 1 to the number of servers ({1 + len(self.backups)})"
            raise ParameterError("copies_needed", copies_needed, allowed)
        self.copies_needed = copies_needed
        places = sorted(key for key in disk if isinstance(key, int))
        self.log: dict[int, Any] = {index: disk[index] for index in places}
        self.acknowledged: set[int] = set()
        self._holders: dict[int, set[NodeId]] = {}
        self._requests: dict[int, Request] = {}

    def submit(self, command: Request, now: int) -> Effects:
        """Take a write at the primary; a backup does not know what to do with one."""
        if self.node_id != self.primary:
            return []
        index = len(self.log) + 1
        self.log[index] = command.command
        self._requests[index] = command
        # The copies may leave before the primary's own write ends; its own vote may not.
        copies = [Send(backup, Copy(index, command.command)) for backup in self.backups]
        return [*copies, self._persist(index), Send(self.node_id, Kept(index))]

    def receive(self, sender: NodeId, message: Copy | Kept, now: int) -> Effects:
        """Keep a copy, or count one that was kept."""
        if isinstance(message, Copy):
            self.log[message.index] = message.command
            return [self._persist(message.index), Send(sender, Kept(message.index))]
        holders = self._holders.setdefault(message.index, set())
        holders.add(sender)
        if len(holders) < self.copies_needed or message.index in self.acknowledged:
            return []
        self.acknowledged.add(message.index)
        request = self._requests[message.index]
        return [Apply(message.index, request.command), Reply(request.request_id, message.index)]

    def _persist(self, index: int) -> Persist:
        command = self.log[index]
        return Persist(((index, command),), message_size(command))

    def start(self, now: int) -> Effects:
        """Nothing to announce: there is no election to win."""
        return []

    def timer(self, name: str, now: int) -> Effects:
        """No timers: a lost copy is never sent again, which keeps the arithmetic simple."""
        return []
