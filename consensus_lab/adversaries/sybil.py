"""Sybil identities: many members of one person, who says to each server what it likes to hear.

Rules of this file: Nodes that speak Paxos or Raft; they remember nothing and save nothing.

Theory of operation (Douceur 2002; essay, "Sybil attack").  Paxos and Raft count members.  Where
anybody may become one, a person becomes many, and members that lie break what quorums stand for:
any two of them share a member, and the shared member remembers.  A *two-faced* identity promises
everything, accepts everything and tells nobody of it but who asked.  Two groups of honest servers
that do not hear of each other then each find a quorum.  With h honest servers and k identities a
quorum has q = floor((h + k) / 2) + 1 members; two quorums can share identities alone as soon as
2 (q - k) <= h.  That takes one identity where h is even and two where it is odd, however many
honest servers there are; with k >= q the identities decide without any of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from consensus_lab.node import Disk, Effects, Message, NodeId, ParameterError, Send
from consensus_lab.paxos.messages import NO_PROPOSAL, Accept, Accepted, Prepare, Promise
from consensus_lab.paxos.quorum import majority
from consensus_lab.raft.messages import (
    MsgApp,
    MsgAppResp,
    MsgHeartbeat,
    MsgHeartbeatResp,
    MsgPreVote,
    MsgPreVoteResp,
    MsgVote,
    MsgVoteResp,
)


def can_break_agreement(honest: int, identities: int) -> bool:
    """Can two quorums be formed that share no honest member?

    Parameters
    ----------
    honest, identities : int
        Members of either kind; quorums are majorities of all.

    Examples
    --------
    Two of five suffice, one of four does not:

    >>> can_break_agreement(3, 2), can_break_agreement(3, 1)
    (True, False)
    """
    if honest < 1:
        raise ParameterError("honest", honest, "at least 1")
    if identities < 0:
        raise ParameterError("identities", identities, "0 or more")
    lacking = max(0, majority(honest + identities) - identities)
    return identities > 0 and 2 * lacking <= honest


class _Obliging:
    """A member that answers each message by a fixed rule and does nothing else."""

    answers: dict[type, Callable[[NodeId, Any], Message]]

    def __init__(self, node_id: NodeId, disk: Disk | None = None) -> None:
        self.node_id = node_id

    def start(self, now: int) -> Effects:
        """Wait to be asked."""
        return []

    def receive(self, sender: NodeId, message: Message, now: int) -> Effects:
        """Say yes to whoever asks, and to nobody else."""
        answer = self.answers.get(type(message))
        return [] if answer is None else [Send(sender, answer(self.node_id, message))]

    def timer(self, name: str, now: int) -> Effects:
        """It sets none."""
        return []

    def submit(self, command: Any, now: int) -> Effects:
        """It serves no clients."""
        raise ParameterError("command", command, "none: an identity takes no commands")


class TwoFacedAcceptor(_Obliging):
    """A Paxos acceptor that promises every number and reports nothing that it accepted."""

    answers = {  # noqa: RUF012  # The same for all, and never changed.
        Prepare: lambda me, asked: Promise(asked.number, NO_PROPOSAL, None),
        Accept: lambda me, asked: Accepted(asked.number, asked.value),
    }


class TwoFacedVoter(_Obliging):
    """A Raft follower that votes for every candidate and acknowledges every leader's entries."""

    answers = {  # noqa: RUF012  # The same for all, and never changed.
        MsgPreVote: lambda me, asked: MsgPreVoteResp(me, asked.term),
        MsgVote: lambda me, asked: MsgVoteResp(me, asked.term),
        MsgApp: lambda me, asked: MsgAppResp(me, asked.term, asked.index + len(asked.entries)),
        MsgHeartbeat: lambda me, asked: MsgHeartbeatResp(me, asked.term, asked.context),
    }
