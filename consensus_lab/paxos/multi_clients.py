"""Clients that wait at a replica for the answer to what they handed in.

Rules of this file: bookkeeping only.

A replica that does not lead sends a client's operation on to the leader, and again to each new
leader until it is answered: the first copy may have been lost with the old one.  Commands take
effect once all the same (`client.Sessions`).  The answer comes from the leader, or, for a
command, when it takes effect here, whichever is first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

from consensus_lab.node import Effects, Reply
from consensus_lab.paxos.multi_messages import Operation


class Clients:
    """Operations without an answer, in the order in which they came.

    Parameters
    ----------
    queue_count_max : int
        When one more comes, the oldest is forgotten: its client has given up long since.
    """

    __slots__ = ("_waiting", "queue_count_max")

    def __init__(self, *, queue_count_max: int) -> None:
        self.queue_count_max = queue_count_max
        self._waiting: OrderedDict[Hashable, Operation] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, operation: Operation) -> None:
        """A client waits for this one from now on."""
        self._waiting[operation.request_id] = operation
        if len(self._waiting) > self.queue_count_max:
            self._waiting.popitem(last=False)

    def waiting(self) -> list[Operation]:
        """All that wait, oldest first."""
        return list(self._waiting.values())

    def answer(self, request_id: Hashable, result: Any) -> Effects:
        """The reply, if the client still waits."""
        if self._waiting.pop(request_id, None) is None:
            return []
        return [Reply(request_id, result)]
