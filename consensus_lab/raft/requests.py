"""What a client may ask of a Raft node beyond commands and reads.

Commands and linearizable reads are `client.Request` and `client.Query`, as for every replicated
log; what stands here is Raft's own.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NamedTuple

from consensus_lab.node import NodeId
from consensus_lab.raft.entries import ConfChange
from consensus_lab.raft.messages import Role


class SerializableQuery(NamedTuple):
    """A read from whatever this node has applied: fast, and possibly stale."""

    request_id: Hashable
    query: Any


class ChangeMembership(NamedTuple):
    """Change who takes part; the result is the new `ConfState`, or `client.Refused`."""

    request_id: Hashable
    change: ConfChange


class TransferLeadership(NamedTuple):
    """Hand leadership to that node; the result is the leader, once it leads."""

    request_id: Hashable
    transferee: NodeId


class Campaign(NamedTuple):
    """Campaign now, as if the election timeout had passed; there is no answer."""


class ForgetLeader(NamedTuple):
    """Forget who leads, so that this node may vote at once; there is no answer."""


class RoleChange(NamedTuple):
    """Detail of the note "role": what a node has become.

    Attributes
    ----------
    role : Role
    term : int
    lead : int
        Who leads that term, as far as the node knows; 0 for nobody.
    """

    role: Role
    term: int
    lead: NodeId
