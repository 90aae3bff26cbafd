"""Messages and message delays until one decision, counted in the case without faults.

Conventions.  n is the cluster, f the faults tolerated: n = 3 f + 1 against Byzantine nodes,
n = 2 f + 1 against crashes.  Messages to oneself are free; a broadcast is n - 1 messages.  Delays
count one-way trips in a row: from the client's request to its answer where a client takes part,
otherwise from the proposal.
"""

from __future__ import annotations

from typing import NamedTuple

from consensus_lab.theory._checks import count


class MessageCount(NamedTuple):
    """Cost of one decision.

    Attributes
    ----------
    n_nodes : int
        Nodes needed for f faults.
    messages : int
        Messages until everybody can know the decision, as counted below.
    delays : int
        One-way trips in a row, see each function.
    """

    n_nodes: int
    messages: int
    delays: int


def pbft_messages(faults: int) -> MessageCount:
    """PBFT: request, pre-prepare, prepare, commit, reply (Castro and Liskov 1999 figure 1).

    1 + (n-1) + (n-1)^2 + n (n-1) + n messages with n = 3 f + 1; 5 delays seen by the client.

    Parameters
    ----------
    faults : int
        f, at least 1.

    Returns
    -------
    MessageCount
        With the client's request and the n replies.

    Examples
    --------
    >>> pbft_messages(1)
    MessageCount(n_nodes=4, messages=29, delays=5)
    """
    n = 3 * count("faults", faults, at_least=1) + 1
    return MessageCount(n, 1 + (n - 1) + (n - 1) ** 2 + n * (n - 1) + n, 5)


def tendermint_messages(faults: int) -> MessageCount:
    """Tendermint: proposal, prevote, precommit, all broadcast (Buchman, Kwon, Milosevic 2018).

    (n-1) + 2 n (n-1) messages with n = 3 f + 1; 3 delays from the proposal.

    Parameters
    ----------
    faults : int
        f, at least 1.

    Returns
    -------
    MessageCount
        One round, without clients.

    Examples
    --------
    >>> tendermint_messages(1)
    MessageCount(n_nodes=4, messages=27, delays=3)
    """
    n = 3 * count("faults", faults, at_least=1) + 1
    return MessageCount(n, (n - 1) + 2 * n * (n - 1), 3)


def hotstuff_messages(faults: int, *, chained: bool = False) -> MessageCount:
    """HotStuff: new-view, then prepare, pre-commit, commit, each with votes, and decide.

    8 (n-1) messages and 8 delays for one basic decision with n = 3 f + 1; chained, a command
    commits 7 delays after its proposal while the phases of three others share its messages
    (Yin et al. 2019).

    Parameters
    ----------
    faults : int
        f, at least 1.
    chained : bool
        Count the delays of chained HotStuff; per decision it then sends 2 (n-1) messages.

    Returns
    -------
    MessageCount
        One decision in a stable view, without clients.

    Examples
    --------
    >>> hotstuff_messages(1)
    MessageCount(n_nodes=4, messages=24, delays=8)
    """
    n = 3 * count("faults", faults, at_least=1) + 1
    if chained:
        return MessageCount(n, 2 * (n - 1), 7)
    return MessageCount(n, 8 * (n - 1), 8)


def raft_messages(faults: int, *, from_client: bool = True) -> MessageCount:
    """Raft: MsgApp and its answer for each follower (Ongaro 2014 chapter 3).

    2 (n-1) messages with n = 2 f + 1; 2 delays until the leader commits, 4 for a client
    (request, append, answer, reply).  The commit index rides on the next message.

    Parameters
    ----------
    faults : int
        f, at least 1.
    from_client : bool
        Count the delays as the client sees them, otherwise as the leader does.

    Returns
    -------
    MessageCount
        One entry under a stable leader, the messages between servers.

    Examples
    --------
    >>> raft_messages(1), raft_messages(1, from_client=False).delays
    (MessageCount(n_nodes=3, messages=4, delays=4), 2)
    """
    n = 2 * count("faults", faults, at_least=1) + 1
    return MessageCount(n, 2 * (n - 1), 4 if from_client else 2)


def basic_paxos_messages(faults: int) -> MessageCount:
    """Single-decree Paxos: prepare, promise, accept, accepted (Lamport 2001 section 2.2).

    4 (n-1) messages with n = 2 f + 1, the proposer being one of the acceptors; 4 delays until
    the proposer knows.

    Parameters
    ----------
    faults : int
        f, at least 1.

    Returns
    -------
    MessageCount
        One undisturbed ballot, without the learners.

    Examples
    --------
    >>> basic_paxos_messages(1)
    MessageCount(n_nodes=3, messages=8, delays=4)
    """
    n = 2 * count("faults", faults, at_least=1) + 1
    return MessageCount(n, 4 * (n - 1), 4)
